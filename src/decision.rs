//! The decision about one call: total, pure, and without allocation.
//!
//! Counters are not seen here; conditions that read them wait for [`crate::enforce`].

use crate::json::Value;
use crate::matcher::path::Decode;
use crate::matcher::value::Side;
use crate::matcher::{Mismatch, Truth, fold::confusable};
use crate::mcp::message::Call;
use crate::number::{Decimal, Micros};
use crate::policy::compiled::{
    Action, Amount, Check, CheckKind, Condition, Default, Entry, ExactName, Policy, Subject,
};
use crate::rate::limiter::Force;
use crate::reason::Reason;

/// Why a call is denied, and by which line of the policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Denial<'p> {
    /// The reason.
    pub reason: Reason,
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

/// Decides a call.
#[must_use]
pub fn decide<'p>(policy: &'p Policy, call: &Call<'p>) -> Decision<'p> {
    if let Some(denial) = by_name(policy, call.tool) {
        return Decision { denial: Some(denial), would_deny: None };
    }
    let mut decision = Decision::default();
    for entry in policy.entries_for(call.tool) {
        if decision.note(entry.force, by_entry(entry, call)) {
            return decision;
        }
    }
    for entry in policy.entries_for(call.tool) {
        let approval = (entry.action == Action::RequireApproval)
            .then(|| entry.action_denial(Reason::ApprovalRequired));
        if decision.note(entry.force, approval) {
            return decision;
        }
    }
    decision
}

/// Whether some argument key is one that a lenient server could take for a key that the policy names for this tool.
#[must_use]
pub fn has_ambiguous_argument(policy: &Policy, call: &Call<'_>) -> bool {
    let Some(arguments) = call.arguments else { return false };
    let of_entries = policy
        .entries_for(call.tool)
        .flat_map(|entry| entry.paths.iter().map(|path| (path, entry.decode)));
    let of_all = policy.all_limits.iter().filter_map(|limit| match &limit.amount {
        Amount::Argument(path) => Some((path, Decode::Never)),
        Amount::Fixed(_) => None,
    });
    of_entries.chain(of_all).any(|(path, decode)| path.meets_confusable(arguments, decode))
}

/// Judges one check; `count` reads a counter by index, or says `None` to leave it out of account.
///
/// # Errors
/// [`CounterUnread`] where `count` fails.
pub fn by_check<'p>(
    check: &'p Check,
    arguments: Option<&Value<'_>>,
    decode: Decode,
    count: &mut impl FnMut(usize) -> Result<Option<Micros>, CounterUnread>,
) -> Result<Option<Denial<'p>>, CounterUnread> {
    let denial = |reason, detail| {
        Some(Denial { reason, rule: &check.pointer, text: check.on_deny.as_deref(), detail })
    };
    if check.kind == CheckKind::Deny {
        return Ok(denial(Reason::ToolDenied, Detail::None));
    }
    let mut undecided = None;
    for condition in &check.conditions {
        match condition.holds(arguments, decode, check.side(), count)? {
            Truth::True => {}
            // False wins over undecidable: look no further.
            Truth::False => {
                return Ok(match check.kind {
                    CheckKind::Require => denial(Reason::RequirementNotMet, condition.detail()),
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
        (None, CheckKind::DenyIf) => denial(Reason::DeniedByCondition, Detail::None),
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

/// The denial of a tool by its name alone: hidden, not exact, or not listed.
#[must_use]
pub fn by_name<'p>(policy: &'p Policy, tool: &str) -> Option<Denial<'p>> {
    let denial = |reason, rule| Some(Denial { reason, rule, text: None, detail: Detail::None });
    if let Some(hidden) = policy.hide.iter().find(|hidden| hidden.pattern.matches(tool)) {
        return denial(Reason::ToolHidden, &*hidden.pointer);
    }
    if let Some(name) = resembled(policy, tool) {
        // What resembles a hidden name must not tell that there is one.
        let reason = if name.hides { Reason::ToolHidden } else { Reason::NameNotExact };
        return denial(reason, &*name.pointer);
    }
    let listed = policy.default == Default::Allow || policy.entries_for(tool).any(Entry::lists);
    if listed { None } else { denial(Reason::ToolNotAllowed, "/default") }
}

/// The exact key that a name is not, but resembles.
fn resembled<'p>(policy: &'p Policy, tool: &str) -> Option<&'p ExactName> {
    if policy.has_exact(tool) {
        return None;
    }
    policy.exact_names().iter().find(|name| confusable(tool, &name.text))
}

fn by_entry<'p>(entry: &'p Entry, call: &Call<'_>) -> Option<Denial<'p>> {
    if entry.action == Action::Deny {
        return Some(entry.action_denial(Reason::ToolDenied));
    }
    // A `deny_if` that reads a counter has to wait for it; a requirement can fail already by what it asks of the call.
    let mut checks = entry.checks.iter();
    checks.find_map(|check| {
        if check.kind == CheckKind::DenyIf && check.reads_counters() {
            return None;
        }
        by_check(check, call.arguments, entry.decode, &mut |_| Ok(None))
            .unwrap_or_else(|CounterUnread| Some(check.unread()))
    })
}

impl Entry {
    fn action_denial(&self, reason: Reason) -> Denial<'_> {
        let text = self.reason.as_deref();
        Denial { reason, rule: &self.action_pointer, text, detail: Detail::None }
    }
}

impl Check {
    /// The denial of a check whose counter cannot be read.
    #[must_use]
    pub fn unread(&self) -> Denial<'_> {
        let reason = Reason::CountersUnavailable;
        Denial { reason, rule: &self.pointer, text: None, detail: Detail::None }
    }
}

impl Condition {
    /// Whether the condition holds; `count` as in [`by_check`].
    ///
    /// # Errors
    /// [`CounterUnread`] where `count` fails.
    pub fn holds(
        &self,
        arguments: Option<&Value<'_>>,
        decode: Decode,
        side: Side,
        count: &mut impl FnMut(usize) -> Result<Option<Micros>, CounterUnread>,
    ) -> Result<Truth, CounterUnread> {
        match &self.subject {
            Subject::Argument(path) => {
                Ok(path.visit(arguments, decode, &mut |value| self.matcher.test(value, side)))
            }
            Subject::Counter(counter) => Ok(match count(*counter)? {
                Some(used) => self.matcher.test_count(Decimal::from(used)),
                None => Truth::True,
            }),
        }
    }

    fn detail(&self) -> Detail<'_> {
        match &self.subject {
            Subject::Argument(path) => Detail::Path(path.text()),
            Subject::Counter(_) => Detail::None,
        }
    }

    fn mismatch_detail(&self, mismatch: Mismatch) -> Detail<'_> {
        match &self.subject {
            Subject::Argument(path) => Detail::Mismatch(path.text(), mismatch),
            Subject::Counter(_) => Detail::None,
        }
    }
}
