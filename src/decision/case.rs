//! One call before one entry: its checks, and their conditions.

use super::denied;
use crate::denial::{Denial, Detail};
use crate::identity::Caller;
use crate::json::Value;
use crate::matcher::terms::{Decode, Terms};
use crate::matcher::work::Work;
use crate::matcher::{Mismatch, Truth};
use crate::mcp::call::{Call, Kind};
use crate::number::{Decimal, Micros};
use crate::policy::entry::{Action, Check, CheckKind, Condition, Entry, Subject};
use crate::reason::Reason;
use crate::time::UnixMillis;
use crate::witness::{Compared, CounterUnread, Told, Witness};

/// One call by one caller, to be judged.
#[derive(Debug)]
pub struct Case<'c, W> {
    /// The call.
    pub call: &'c Call<'c>,
    /// Who calls.
    pub caller: &'c Caller,
    /// When he does.
    pub now: UnixMillis,
    /// What comparisons are paid with.
    pub work: &'c Work,
    /// Who listens.
    pub witness: &'c W,
}

impl<W: Witness> Case<'_, W> {
    /// The first denial of an entry that depends on the call alone.
    pub(super) fn by_entry(&self, entry: &Entry) -> Option<Denial> {
        let kind = self.call.kind;
        let mut first = (entry.action == Action::Deny)
            .then(|| Denial::by(entry.action_rule, kind, denied(kind)));
        // Approval is asked for when everything else has been decided.
        if entry.action != Action::RequireApproval {
            self.witness.hear(&Told::Acted(entry, first.as_ref()));
        }
        for check in &entry.checks {
            if first.is_some() && !W::HEARS_ALL {
                return first;
            }
            // A `deny_if` that reads a counter has to wait for it; a requirement can fail already by what it asks of the call.
            if check.kind == CheckKind::DenyIf && check.reads_counters() {
                continue;
            }
            let denial = self
                .by_check(entry, check, &mut |_| Ok(None))
                .unwrap_or_else(|CounterUnread| Some(check.unread(kind)));
            self.witness.hear(&Told::Checked(entry, check, denial.as_ref()));
            first = first.or(denial);
        }
        first
    }

    /// Judges one check; `count` reads a counter by index, or says `None` to leave it out of account.
    ///
    /// # Errors
    /// [`CounterUnread`] where `count` fails.
    pub fn by_check(
        &self,
        entry: &Entry,
        check: &Check,
        count: &mut impl FnMut(usize) -> Result<Option<Micros>, CounterUnread>,
    ) -> Result<Option<Denial>, CounterUnread> {
        let kind = self.call.kind;
        let denial = |reason, detail| Some(Denial { reason, kind, rule: Some(check.rule), detail });
        if check.kind == CheckKind::Deny {
            return Ok(denial(check.reason(kind), Detail::None));
        }
        let terms = Terms { decode: entry.decode, work: self.work, now: self.now };
        let mut undecided = None;
        for (at, condition) in check.conditions.iter().enumerate() {
            match self.compare(check, condition, terms, count)? {
                Truth::True => {}
                // False wins over undecidable: look no further.
                Truth::False => {
                    self.compare_rest(check, at + 1, terms, count);
                    return Ok(match check.kind {
                        CheckKind::Require => denial(check.reason(kind), condition.detail()),
                        CheckKind::DenyIf | CheckKind::Deny => None,
                    });
                }
                Truth::Undecidable(mismatch) => {
                    undecided = undecided.or(Some((condition, mismatch)));
                }
            }
        }
        Ok(match (undecided, check.kind) {
            (Some((condition, mismatch)), _) => {
                denial(Reason::ValueUndecidable, condition.mismatch_detail(mismatch))
            }
            (None, CheckKind::DenyIf) => denial(check.reason(kind), Detail::None),
            (None, CheckKind::Require | CheckKind::Deny) => None,
        })
    }

    /// Compares what no longer matters, for a witness that wants to hear it; not at the cost of what still does.
    fn compare_rest(
        &self,
        check: &Check,
        from: usize,
        terms: Terms<'_>,
        count: &mut impl FnMut(usize) -> Result<Option<Micros>, CounterUnread>,
    ) {
        if W::HEARS_ALL {
            let work = terms.work.copied();
            for condition in check.conditions.iter().skip(from) {
                let _ = self.compare(check, condition, Terms { work: &work, ..terms }, count);
            }
        }
    }

    fn compare(
        &self,
        check: &Check,
        condition: &Condition,
        terms: Terms<'_>,
        count: &mut impl FnMut(usize) -> Result<Option<Micros>, CounterUnread>,
    ) -> Result<Truth, CounterUnread> {
        let (call, caller) = (self.call, self.caller);
        // What is said of the caller is text, whatever it looks like.
        let of_caller = |value: Option<&Value<'_>>| {
            condition.matcher.test(value, check.side(), Terms { decode: Decode::Never, ..terms })
        };
        let tell = |value: Option<&Value<'_>>, used, truth| {
            let compared = Compared { call, check, condition, terms, value, used, truth };
            self.witness.hear(&Told::Compared(&compared));
            truth
        };
        match &condition.subject {
            Subject::Argument(path) => {
                let test = &mut |value: Option<&Value<'_>>| {
                    condition.matcher.test(value, check.side(), terms)
                };
                tell(None, None, Ok(path.visit(call.arguments, terms, test)))
            }
            Subject::Identity(None) => {
                let grant = caller.grant_value();
                tell(grant.as_ref(), None, Ok(of_caller(grant.as_ref())))
            }
            Subject::Identity(Some(key)) => {
                let value = caller.key(*key);
                tell(value, None, Ok(of_caller(value)))
            }
            Subject::Header(header) => {
                let value = caller.header(*header);
                tell(value, None, Ok(of_caller(value)))
            }
            Subject::Counter(counter) => match count(*counter) {
                Ok(Some(used)) => {
                    let truth = condition.matcher.test_count(Decimal::from(used));
                    tell(None, Some(used), Ok(truth))
                }
                Ok(None) => Ok(Truth::True),
                Err(CounterUnread) => tell(None, None, Err(CounterUnread)),
            },
        }
    }
}

impl Check {
    /// The denial of a check whose counter cannot be read.
    #[must_use]
    pub fn unread(&self, kind: Kind) -> Denial {
        Denial::by(self.rule, kind, Reason::CountersUnavailable)
    }

    pub(super) fn reason(&self, kind: Kind) -> Reason {
        match self.kind {
            CheckKind::Require => Reason::RequirementNotMet,
            CheckKind::DenyIf => Reason::DeniedByCondition,
            CheckKind::Deny => denied(kind),
        }
    }
}

impl Condition {
    fn detail(&self) -> Detail {
        match &self.subject {
            Subject::Argument(path) => Detail::Path(path.shared_text()),
            Subject::Counter(_) | Subject::Identity(_) | Subject::Header(_) => Detail::None,
        }
    }

    fn mismatch_detail(&self, mismatch: Mismatch) -> Detail {
        match &self.subject {
            Subject::Argument(path) => Detail::Mismatch(path.shared_text(), mismatch),
            Subject::Counter(_) | Subject::Identity(_) | Subject::Header(_) => Detail::None,
        }
    }
}
