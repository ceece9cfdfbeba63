//! One call before one entry: its checks, and their conditions.

use std::borrow::Cow;

use super::denied;
use crate::denial::{Denial, Detail};
use crate::identity::Caller;
use crate::json::Value;
use crate::matcher::operator::Test;
use crate::matcher::pair::{FieldRead, NOTHING};
use crate::matcher::terms::{Decode, Terms};
use crate::matcher::work::Work;
use crate::matcher::{Mismatch, Truth};
use crate::mcp::call::{Call, Kind};
use crate::number::{Decimal, Micros};
use crate::policy::entry::{Action, Check, CheckKind, Condition, Entry, Subject};
use crate::rate::limiter::Mode;
use crate::reason::Reason;
use crate::time::UnixMillis;
use crate::witness::{Compared, CounterUnread, Told, Witness};

/// Which conditions are looked at; the others are left out of account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Regards {
    /// All.
    All,
    /// Those that look at the name and the caller alone: what they deny, no arguments can change.
    Caller,
    /// The same without those that come to something else at another time: a list is kept for a while.
    CallerAlways,
}

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
    /// Which conditions are looked at.
    pub regards: Regards,
    /// Who listens.
    pub witness: &'c W,
}

impl<W: Witness> Case<'_, W> {
    /// The first denial of an entry that depends on the call alone.
    pub(super) fn by_entry(&self, entry: &Entry) -> Option<Denial> {
        self.first_denial(entry, |check| match check.kind {
            // What reads a counter has to wait for it; a requirement can fail already by what it asks of the call.
            CheckKind::DenyIf => !check.reads_counters(),
            CheckKind::AskIf => false,
            CheckKind::Deny | CheckKind::Require => true,
        })
    }

    /// The first denial of an entry that comes whatever the arguments and counts are.
    pub(super) fn whatever(&self, entry: &Entry) -> Option<Denial> {
        if entry.mode == Mode::Shadow {
            return None;
        }
        self.first_denial(entry, |check| {
            // A denial for which all must hold is none where one is left out of account.
            let left_out = |condition: &Condition| !self.regards.include(condition);
            check.denies_by_caller()
                && !(check.kind == CheckKind::DenyIf && check.conditions.iter().any(left_out))
        })
    }

    /// The first denial by the action of an entry, or by one of these of its checks.
    fn first_denial(&self, entry: &Entry, is_due: impl Fn(&Check) -> bool) -> Option<Denial> {
        let kind = self.call.kind;
        let mut first = (entry.action == Action::Deny)
            .then(|| Denial::by(entry.action_rule, kind, denied(kind)));
        // Approval is asked for when everything else has been decided.
        if entry.action != Action::RequireApproval {
            self.witness.hear(&Told::Acted(entry, first.as_ref()));
        }
        for check in entry.checks.iter().filter(|check| is_due(check)) {
            if first.is_some() && !W::HEARS_ALL {
                break;
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
                        CheckKind::DenyIf | CheckKind::AskIf | CheckKind::Deny => None,
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
            (None, CheckKind::DenyIf | CheckKind::AskIf) => {
                denial(check.reason(kind), Detail::None)
            }
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
        let Case { call, work: _, regards, .. } = *self;
        if !regards.include(condition) {
            return Ok(Truth::True);
        }
        let tell = |value: Option<&Value<'_>>, used, truth| {
            let other = condition.from.as_ref().and_then(|from| self.said(from));
            let other = other.as_deref();
            let compared = Compared { call, check, condition, terms, value, other, used, truth };
            self.witness.hear(&Told::Compared(&compared));
            truth
        };
        if let Subject::Counter(counter) = &condition.subject {
            return match count(*counter) {
                Ok(Some(used)) => {
                    let truth = condition.matcher.test_count(Decimal::from(used));
                    tell(None, Some(used), Ok(truth))
                }
                Ok(None) => Ok(Truth::True),
                Err(CounterUnread) => tell(None, None, Err(CounterUnread)),
            };
        }
        if matches!(condition.subject, Subject::Now) {
            return tell(None, None, Ok(condition.matcher.test_now(self.now)));
        }
        let (side, matcher) = (check.side(), &condition.matcher);
        let mut test = |value: Option<&Value<'_>>, first: Terms<'_>| {
            let (Some(from), Some(value)) = (&condition.from, value) else {
                return matcher.test(value, side, first);
            };
            let field = FieldRead { value, terms: first };
            self.look(from, terms, &mut |value, terms| {
                matcher.test_pair(field, value.map(|value| FieldRead { value, terms }))
            })
        };
        let truth = self.join(condition, terms, &mut test);
        let said = self.said(&condition.subject);
        tell(said.as_deref(), None, Ok(truth))
    }

    /// Joins what a condition comes to for each value that it looks at.
    fn join(
        &self,
        condition: &Condition,
        terms: Terms<'_>,
        test: &mut dyn FnMut(Option<&Value<'_>>, Terms<'_>) -> Truth,
    ) -> Truth {
        let mut present = 0_u64;
        match (&condition.matcher.test, condition.every) {
            // What every element meets is what none fails to meet.
            (_, true) => {
                let mut fails =
                    |value: Option<&Value<'_>>, terms: Terms<'_>| test(value, terms).negate();
                self.look(&condition.subject, terms, &mut fails).negate()
            }
            (Test::Count(order, bound), false) => {
                let mut count =
                    |value: Option<&Value<'_>>, terms: Terms<'_>| match test(value, terms) {
                        Truth::True => {
                            present += 1;
                            Truth::False
                        }
                        truth @ (Truth::False | Truth::Undecidable(_)) => truth,
                    };
                match self.look(&condition.subject, terms, &mut count) {
                    Truth::True | Truth::False => {
                        Truth::from(order(present.cmp(&u64::from(*bound))))
                    }
                    undecidable @ Truth::Undecidable(_) => undecidable,
                }
            }
            (_, false) => self.look(&condition.subject, terms, test),
        }
    }

    /// Shows what a condition looks at, and on what terms it is read. An absent value is shown as `None`.
    fn look(
        &self,
        subject: &Subject,
        terms: Terms<'_>,
        test: &mut dyn FnMut(Option<&Value<'_>>, Terms<'_>) -> Truth,
    ) -> Truth {
        match subject {
            Subject::Argument(path) => {
                path.visit(self.call.arguments, terms, &mut |value| test(value, terms))
            }
            Subject::Name | Subject::Identity(_) | Subject::Header(_) => {
                // What is said of the caller is text, whatever it looks like.
                let terms = Terms { decode: Decode::Never, ..terms };
                test(self.said(subject).as_deref(), terms)
            }
            // These are no values that could be shown.
            Subject::Now | Subject::Counter(_) => Truth::Undecidable(NOTHING),
        }
    }

    /// What is known of a call beside its arguments.
    fn said(&self, subject: &Subject) -> Option<Cow<'_, Value<'_>>> {
        match subject {
            Subject::Name => {
                let name = self.call.exact.as_deref()?;
                Some(Cow::Owned(Value::String(Cow::Borrowed(name))))
            }
            Subject::Identity(None) => self.caller.grant_value().map(Cow::Owned),
            Subject::Identity(Some(key)) => self.caller.key(*key).map(Cow::Borrowed),
            Subject::Header(header) => self.caller.header(*header).map(Cow::Borrowed),
            Subject::Argument(_) | Subject::Now | Subject::Counter(_) => None,
        }
    }
}

impl Regards {
    fn include(self, condition: &Condition) -> bool {
        match self {
            Regards::All => true,
            Regards::Caller => condition.is_of_caller(),
            Regards::CallerAlways => condition.is_of_caller() && !condition.depends_on_time(),
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
            CheckKind::AskIf => Reason::ApprovalRequired,
            CheckKind::Deny => denied(kind),
        }
    }
}

impl Condition {
    fn detail(&self) -> Detail {
        match &self.subject {
            Subject::Argument(path) => Detail::Path(path.shared_text()),
            Subject::Name | Subject::Now | Subject::Counter(_) => Detail::None,
            Subject::Identity(_) | Subject::Header(_) => Detail::None,
        }
    }

    fn mismatch_detail(&self, mismatch: Mismatch) -> Detail {
        match &self.subject {
            Subject::Argument(path) => Detail::Mismatch(path.shared_text(), mismatch),
            Subject::Name | Subject::Now | Subject::Counter(_) => Detail::None,
            Subject::Identity(_) | Subject::Header(_) => Detail::None,
        }
    }
}
