//! The decision about one call: total, pure, and without allocation. Lists show what the same functions say of a name.
//!
//! Counters are not seen here; conditions that read them wait for [`crate::enforce`].

mod unlisted;

use crate::identity::Caller;
use crate::json::Value;
use crate::matcher::path::{Decode, Path};
use crate::matcher::value::{Side, Terms};
use crate::matcher::work::Work;
use crate::matcher::{Mismatch, Truth};
use crate::mcp::call::{Call, Kind};
use crate::number::{Decimal, Micros};
use crate::policy::compiled::{
    Action, Amount, Check, CheckKind, Condition, Default, Entry, Listing, Policy, Subject,
};
use crate::policy::section::Section;
use crate::rate::limiter::Force;
use crate::reason::Reason;

/// Why a call is denied, and by which line of the policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Denial<'p> {
    /// The reason.
    pub reason: Reason,
    /// What is denied.
    pub kind: Kind,
    /// JSON Pointer to the line in the policy; empty where no line decided.
    pub rule: &'p str,
    /// The author's text.
    pub text: Option<&'p str>,
    /// What else there is to say.
    pub detail: Detail<'p>,
}

/// What a denial says beyond its reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Detail<'p> {
    /// Nothing.
    None,
    /// The argument whose condition does not hold.
    Path(&'p str),
    /// The argument that cannot be decided, with what it needed and what it had.
    Mismatch(&'p str, Mismatch),
    /// What is told in place of the reason: the name is hidden, and no entry lists it, so it must answer as others that no entry lists.
    Unlisted {
        /// The reason that such a name has.
        reason: Reason,
        /// Its rule.
        rule: &'p str,
    },
    /// The limit that is reached.
    Limit {
        /// The name of the counter.
        counter: &'p str,
        /// The most that the window admits.
        max: Micros,
        /// What it still admits.
        remaining: Micros,
        /// Its length.
        window_seconds: u64,
        /// Milliseconds until the call could pass.
        retry_after: Option<u64>,
    },
}

/// What the policy says of a call, counters aside.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Decision<'p> {
    /// The first denial.
    pub denial: Option<Denial<'p>>,
    /// The first denial by an entry in shadow, before any other.
    pub would_deny: Option<Denial<'p>>,
}

/// A counter could not be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CounterUnread;

/// Decides what a call names, by the section for its kind.
#[must_use]
pub fn decide<'p>(
    policy: &'p Policy,
    call: &Call<'_>,
    caller: &Caller,
    work: &Work,
) -> Decision<'p> {
    let Some(section) = policy.section(call.kind) else {
        return Decision::default();
    };
    let name = match admitted(section, call) {
        Ok(name) => name,
        Err(denial) => return Decision { denial: Some(denial), would_deny: None },
    };
    let mut decision = Decision::default();
    for entry in section.entries_for(name) {
        if decision.note(entry.force, by_entry(section, entry, (call, caller), work)) {
            return decision;
        }
    }
    for entry in section.entries_for(name) {
        let approval = (entry.action == Action::RequireApproval)
            .then(|| entry.action_denial(section.kind, Reason::ApprovalRequired));
        if decision.note(entry.force, approval) {
            return decision;
        }
    }
    decision
}

/// Decides a name that a request only refers to: whether it may be called with some arguments.
#[must_use]
pub fn decide_reference<'p>(policy: &'p Policy, call: &Call<'_>) -> Decision<'p> {
    let Some(section) = policy.section(call.kind) else {
        return Decision::default();
    };
    let denial = match admitted(section, call) {
        Ok(name) => always(section, name),
        Err(denial) => Some(denial),
    };
    Decision { denial, would_deny: None }
}

/// Whether a list shows what this names.
#[must_use]
pub fn is_visible(policy: &Policy, call: &Call<'_>) -> bool {
    let Some(section) = policy.section(call.kind).filter(|_| policy.force == Force::Enforced)
    else {
        return true;
    };
    let Ok(name) = readable(section, call) else {
        // What hides a name cannot be compared with it.
        return !section.filters(policy.listing);
    };
    match by_name(section, call, name).map(|denial| denial.reason) {
        Some(Reason::NameNotExact) => match policy.listing {
            Listing::Listed => section.default == Default::Allow,
            Listing::Callable => false,
            Listing::All => true,
        },
        Some(reason) if reason == not_allowed(section.kind) => policy.listing == Listing::All,
        Some(_) => false,
        None => policy.listing != Listing::Callable || always(section, name).is_none(),
    }
}

/// The name of a call that may go on to the entries, or the denial by its name alone.
fn admitted<'p, 'c>(section: &'p Section, call: &'c Call<'_>) -> Result<&'c str, Denial<'p>> {
    let name = readable(section, call)?;
    by_name(section, call, name).map_or(Ok(name), Err)
}

/// The name as it is matched, or the denial of one that could be read in two ways.
fn readable<'p, 'c>(section: &'p Section, call: &'c Call<'_>) -> Result<&'c str, Denial<'p>> {
    call.exact.as_deref().ok_or(Denial {
        reason: Reason::NameUnreadable,
        kind: section.kind,
        rule: "",
        text: None,
        detail: Detail::None,
    })
}

/// The denial that comes whatever the arguments and counts are.
fn always<'p>(section: &'p Section, name: &str) -> Option<Denial<'p>> {
    let mut entries = section.entries_for(name).filter(|entry| entry.denies_always());
    entries.next().map(|entry| {
        let check = entry.checks.iter().find(|check| check.denies_always());
        match check.filter(|_| entry.action != Action::Deny) {
            Some(check) => check.denial(section.kind, check.reason(section.kind), Detail::None),
            None => entry.action_denial(section.kind, denied(section.kind)),
        }
    })
}

fn hidden(kind: Kind) -> Reason {
    match kind {
        Kind::Tool => Reason::ToolHidden,
        Kind::Resource => Reason::ResourceHidden,
        Kind::Prompt => Reason::PromptHidden,
        Kind::Method => Reason::RpcHidden,
    }
}

fn not_allowed(kind: Kind) -> Reason {
    match kind {
        Kind::Tool => Reason::ToolNotAllowed,
        Kind::Resource => Reason::ResourceNotAllowed,
        Kind::Prompt => Reason::PromptNotAllowed,
        Kind::Method => Reason::RpcNotAllowed,
    }
}

/// The reason for what an entry denies.
#[must_use]
pub fn denied(kind: Kind) -> Reason {
    match kind {
        Kind::Tool => Reason::ToolDenied,
        Kind::Resource => Reason::ResourceDenied,
        Kind::Prompt => Reason::PromptDenied,
        Kind::Method => Reason::RpcDenied,
    }
}

/// Whether some argument key is one that a lenient server could take for a key that the policy names for this name, or for
/// something else than a key.
#[must_use]
pub fn has_ambiguous_argument(policy: &Policy, call: &Call<'_>, work: &Work) -> bool {
    let (Some(arguments), Some(section), Some(name)) =
        (call.arguments, policy.section(call.kind), call.exact.as_deref())
    else {
        return false;
    };
    let of_entries = section
        .entries_for(name)
        .flat_map(|entry| entry.paths.iter().map(|path| (path, entry.decode)));
    let limits = policy.all_limits.iter().filter(|_| call.kind == Kind::Tool);
    let of_all = limits.filter_map(|limit| match &limit.amount {
        Amount::Argument(path) => Some((path, Decode::Unsaid)),
        Amount::Fixed(_) => None,
    });
    let paths: Vec<(&Path, Decode)> = of_entries.chain(of_all).collect();
    let named: Vec<&Path> = paths.iter().map(|(path, _)| *path).collect();
    paths.iter().any(|(path, decode)| {
        path.meets_ambiguous(arguments, Terms { decode: *decode, work }, &named)
    })
}

/// Judges one check; `count` reads a counter by index, or says `None` to leave it out of account.
///
/// # Errors
/// [`CounterUnread`] where `count` fails.
pub fn by_check<'p>(
    (call, caller): (&Call<'_>, &Caller),
    check: &'p Check,
    terms: Terms<'_>,
    count: &mut impl FnMut(usize) -> Result<Option<Micros>, CounterUnread>,
) -> Result<Option<Denial<'p>>, CounterUnread> {
    let kind = call.kind;
    let denial = |reason, detail| Some(check.denial(kind, reason, detail));
    if check.kind == CheckKind::Deny {
        return Ok(denial(check.reason(kind), Detail::None));
    }
    let mut undecided = None;
    for condition in &check.conditions {
        match condition.holds((call, caller), terms, check.side(), count)? {
            Truth::True => {}
            // False wins over undecidable: look no further.
            Truth::False => {
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

impl<'p> Decision<'p> {
    /// Takes note of a denial; true if it ends the decision.
    pub fn note(&mut self, force: Force, denial: Option<Denial<'p>>) -> bool {
        let Some(denial) = denial else { return false };
        match force {
            Force::Enforced => self.denial = Some(denial),
            Force::Shadow => self.would_deny = self.would_deny.or(Some(denial)),
        }
        force == Force::Enforced
    }
}

/// The denial of a name by itself: hidden, not exact, or not listed.
#[must_use]
pub fn by_name<'p>(section: &'p Section, call: &Call<'_>, name: &str) -> Option<Denial<'p>> {
    let kind = section.kind;
    let relaxed = call.relaxed.as_deref();
    let denial = |reason, rule, detail| Some(Denial { reason, kind, rule, text: None, detail });
    let listed =
        || section.default == Default::Allow || section.entries_for(name).any(Entry::lists);
    // As a server answers for what it does not have, where the policy lets names through that it might have.
    let hides = |rule| {
        let detail = if listed() { Detail::None } else { unlisted::of(section, name, relaxed) };
        denial(hidden(kind), rule, detail)
    };
    if let Some(line) = section.hidden(name) {
        return hides(&*line.pointer);
    }
    match section.resembled(name, relaxed) {
        // What resembles a hidden name must not tell that there is one.
        Some(alike) if alike.hides => hides(&*alike.pointer),
        Some(alike) => denial(Reason::NameNotExact, &*alike.pointer, Detail::None),
        None if listed() => None,
        None => denial(not_allowed(kind), &*section.default_pointer, Detail::None),
    }
}

fn by_entry<'p>(
    section: &Section,
    entry: &'p Entry,
    (call, caller): (&Call<'_>, &Caller),
    work: &Work,
) -> Option<Denial<'p>> {
    let terms = Terms { decode: entry.decode, work };
    if entry.action == Action::Deny {
        return Some(entry.action_denial(section.kind, denied(section.kind)));
    }
    // A `deny_if` that reads a counter has to wait for it; a requirement can fail already by what it asks of the call.
    let mut checks = entry.checks.iter();
    checks.find_map(|check| {
        if check.kind == CheckKind::DenyIf && check.reads_counters() {
            return None;
        }
        by_check((call, caller), check, terms, &mut |_| Ok(None))
            .unwrap_or_else(|CounterUnread| Some(check.unread(section.kind)))
    })
}

impl Entry {
    fn action_denial(&self, kind: Kind, reason: Reason) -> Denial<'_> {
        let text = self.reason.as_deref();
        Denial { reason, kind, rule: &self.action_pointer, text, detail: Detail::None }
    }
}

impl Check {
    /// The denial of a check whose counter cannot be read.
    #[must_use]
    pub fn unread(&self, kind: Kind) -> Denial<'_> {
        let reason = Reason::CountersUnavailable;
        Denial { reason, kind, rule: &self.pointer, text: None, detail: Detail::None }
    }

    fn denial<'p>(&'p self, kind: Kind, reason: Reason, detail: Detail<'p>) -> Denial<'p> {
        Denial { reason, kind, rule: &self.pointer, text: self.on_deny.as_deref(), detail }
    }

    fn reason(&self, kind: Kind) -> Reason {
        match self.kind {
            CheckKind::Require => Reason::RequirementNotMet,
            CheckKind::DenyIf => Reason::DeniedByCondition,
            CheckKind::Deny => denied(kind),
        }
    }
}

impl Condition {
    /// Whether the condition holds; `count` as in [`by_check`].
    ///
    /// # Errors
    /// [`CounterUnread`] where `count` fails.
    pub fn holds(
        &self,
        (call, caller): (&Call<'_>, &Caller),
        terms: Terms<'_>,
        side: Side,
        count: &mut impl FnMut(usize) -> Result<Option<Micros>, CounterUnread>,
    ) -> Result<Truth, CounterUnread> {
        let of_caller = |value: Option<&Value<'_>>| {
            self.matcher.test(value, side, Terms { decode: Decode::Never, ..terms })
        };
        match &self.subject {
            Subject::Argument(path) => {
                let test = &mut |value: Option<&Value<'_>>| self.matcher.test(value, side, terms);
                Ok(path.visit(call.arguments, terms, test))
            }
            // What is said of the caller is text, whatever it looks like.
            Subject::Identity(None) => Ok(of_caller(caller.grant_value().as_ref())),
            Subject::Identity(Some(key)) => Ok(of_caller(caller.key(*key))),
            Subject::Header(header) => Ok(of_caller(caller.header(*header))),
            Subject::Counter(counter) => Ok(match count(*counter)? {
                Some(used) => self.matcher.test_count(Decimal::from(used)),
                None => Truth::True,
            }),
        }
    }

    fn detail(&self) -> Detail<'_> {
        match &self.subject {
            Subject::Argument(path) => Detail::Path(path.text()),
            Subject::Counter(_) | Subject::Identity(_) | Subject::Header(_) => Detail::None,
        }
    }

    fn mismatch_detail(&self, mismatch: Mismatch) -> Detail<'_> {
        match &self.subject {
            Subject::Argument(path) => Detail::Mismatch(path.text(), mismatch),
            Subject::Counter(_) | Subject::Identity(_) | Subject::Header(_) => Detail::None,
        }
    }
}
