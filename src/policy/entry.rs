//! The rules of a compiled policy: entries, what they check, what they count.

use super::approvals::{Need, Shown};
use super::rules::RuleId;
use crate::matcher::Truth;
use crate::matcher::name::Pattern;
use crate::matcher::path::Path;
use crate::matcher::terms::Decode;
use crate::matcher::value::{Matcher, Side};
use crate::mcp::definition::DefinitionDigest;
use crate::number::Micros;
use crate::rate::limiter::{Counter, Mode};
use crate::rate::table::Per;
use crate::time::UnixMillis;

/// What a list shows of what no entry lists, and of what is denied whatever the arguments are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Listing {
    /// What an entry lists, the denied included: the agent can read why.
    Listed,
    /// What can be called with some arguments.
    Callable,
    /// All but the hidden.
    All,
}

impl Listing {
    /// The words of policies, the usual one first.
    pub const WORDS: [(&'static str, Listing); 3] =
        [("listed", Listing::Listed), ("callable", Listing::Callable), ("all", Listing::All)];
}

/// What becomes of tools that no entry lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DefaultAction {
    /// They may be called.
    Allow,
    /// They may not.
    Deny,
}

impl DefaultAction {
    /// The words of policies.
    pub const WORDS: [(&'static str, DefaultAction); 2] =
        [("allow", DefaultAction::Allow), ("deny", DefaultAction::Deny)];
}

/// An entry of a section.
#[derive(Debug)]
pub struct Entry {
    /// The entry as a rule.
    pub rule: RuleId,
    /// The names that it is about.
    pub pattern: Pattern,
    /// What it does with a call.
    pub action: Action,
    /// Its action as a rule; the entry itself where it says none.
    pub action_rule: RuleId,
    /// What approval it needs where it asks for one; `None` where nobody can give it.
    pub approval: Option<Need>,
    /// What a person is shown who is asked.
    pub shown: Option<Shown>,
    /// Whether its denials deny.
    pub mode: Mode,
    /// Requirements, denials, questions and rules, in order.
    pub checks: Box<[Check]>,
    /// Its limits, in order.
    pub limits: Box<[Limit]>,
    /// How the server takes strings that are JSON text.
    pub decode: Decode,
    /// Every argument path that the entry names.
    pub paths: Box<[Path]>,
    /// The definition that the tool must have.
    pub definition: Option<PinnedDefinition>,
}

/// The definition that somebody has read, in an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PinnedDefinition {
    /// Its digest.
    pub digest: DefinitionDigest,
    /// Its number.
    pub rule: RuleId,
}

/// What an entry does with a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Checks it.
    Allow,
    /// Denies it.
    Deny,
    /// Asks for approval.
    RequireApproval,
}

impl Action {
    /// The words of policies, the usual one first.
    pub const WORDS: [(&'static str, Action); 3] = [
        ("allow", Action::Allow),
        ("deny", Action::Deny),
        ("require_approval", Action::RequireApproval),
    ];
}

/// One `require`, `deny_if` or rule.
#[derive(Debug)]
pub struct Check {
    /// What it does with its conditions.
    pub kind: CheckKind,
    /// The conditions.
    pub conditions: Box<[Condition]>,
    /// Its number.
    pub rule: RuleId,
}

/// What a check does with its conditions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CheckKind {
    /// All must hold.
    Require,
    /// Denies when all hold.
    DenyIf,
    /// Asks for approval when all hold.
    AskIf,
    /// Denies always, as a rule with `action: deny`.
    Deny,
}

/// The words of `action` in a rule, and whether it denies always.
pub const RULE_ACTIONS: [(&str, bool); 2] = [("evaluate", false), ("deny", true)];

/// One condition.
#[derive(Debug)]
pub struct Condition {
    /// What it looks at.
    pub subject: Subject,
    /// What it asks.
    pub matcher: Matcher,
    /// What it is compared with, where that is no value of the policy.
    pub from: Option<Subject>,
    /// Whether every element of a list has to meet it, and not just one.
    pub every: bool,
}

impl Condition {
    /// What it looks at: one thing, or two.
    pub fn subjects(&self) -> impl Iterator<Item = &Subject> {
        std::iter::once(&self.subject).chain(&self.from)
    }

    /// The arguments that it looks at.
    pub fn paths(&self) -> impl Iterator<Item = &Path> {
        self.subjects().filter_map(|subject| match subject {
            Subject::Argument(path) => Some(path),
            Subject::Name | Subject::Now | Subject::Counter(_) => None,
            Subject::Identity(_) | Subject::Header(_) => None,
        })
    }

    /// Whether it comes to something else at another time.
    #[must_use]
    pub fn depends_on_time(&self) -> bool {
        matches!(self.subject, Subject::Now) || self.matcher.test.depends_on_time()
    }

    /// Whether it looks at the name, the caller and the time alone.
    #[must_use]
    pub fn is_of_caller(&self) -> bool {
        self.subjects().all(|subject| match subject {
            Subject::Name | Subject::Now | Subject::Identity(_) => true,
            Subject::Argument(_) | Subject::Counter(_) | Subject::Header(_) => false,
        })
    }
}

/// What a condition looks at.
#[derive(Debug)]
pub enum Subject {
    /// The name of what is called: of the tool, resource, prompt or method.
    Name,
    /// The time of the call.
    Now,
    /// An argument.
    Argument(Path),
    /// A counter, by index.
    Counter(usize),
    /// A name of the caller; `None` is the grant.
    Identity(Option<usize>),
    /// A header of the request, by its index in [`Config::headers`].
    Header(usize),
}

/// One limit.
#[derive(Debug)]
pub struct Limit {
    /// The counter, by index.
    pub counter: usize,
    /// The most that the window admits, or what comes back to a bucket in one; `None` only counts.
    pub max: Option<Micros>,
    /// The most that a bucket holds; `None` where there is no bucket.
    pub burst: Option<Micros>,
    /// How much a call counts.
    pub amount: Amount,
    /// Whether an error of the server gives it back.
    pub refund: Refund,
    /// How many are taken of the rate limit service at a time; `None` takes what each call needs.
    pub lease: Option<u32>,
    /// What the time of a call must meet that it counts; nothing where it counts all.
    pub when: Box<[Condition]>,
    /// Its number.
    pub rule: RuleId,
}

impl Limit {
    /// Whether calls count on it now.
    #[must_use]
    pub fn holds_at(&self, now: UnixMillis) -> bool {
        self.when.iter().all(|condition| condition.matcher.test_now(now) == Truth::True)
    }

    /// The most that the count may come to; `None` only counts.
    #[must_use]
    pub fn ceiling(&self) -> Option<Micros> {
        self.burst.or(self.max)
    }
}

/// Where a count is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CountIn {
    /// In the shared data of this Envoy.
    Envoy,
    /// In the rate limit service, for all Envoys.
    Service,
}

impl CountIn {
    /// The words of policies, the usual one first.
    pub const WORDS: [(&'static str, CountIn); 2] =
        [("envoy", CountIn::Envoy), ("service", CountIn::Service)];
}

/// How much a call counts.
#[derive(Debug)]
pub enum Amount {
    /// Always the same.
    Fixed(Micros),
    /// The number in an argument.
    Argument(Path),
}

/// Whether an error of the server gives a count back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refund {
    /// Attempts count.
    Never,
    /// Successes count.
    OnError,
    /// What is in flight counts.
    AtEnd,
}

impl Refund {
    /// The words of policies, the usual one first.
    pub const WORDS: [(&'static str, Refund); 2] =
        [("attempts", Refund::Never), ("successes", Refund::OnError)];
}

/// A counter with the name that its limits share.
#[derive(Debug)]
pub struct NamedCounter {
    /// The name, as a denial tells it.
    pub name: Box<str>,
    /// Who counts together.
    pub scope: Scope,
    /// What is counted.
    pub counter: Counter,
    /// Where.
    pub count_in: CountIn,
    /// What of a caller it counts.
    pub per: Per,
    /// How the rate limit service knows it: by its name, or by the limit's pointer where it has none of its own.
    pub service_name: Box<str>,
}

/// Who counts together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scope {
    /// Each caller for himself.
    Grant,
    /// Each session of a caller, where session ids can be trusted.
    Session,
    /// Everybody.
    Global,
    /// All callers of one name, by the index of the key.
    Key(usize),
    /// All callers of one address, or of one IPv6 network.
    Address,
}

impl Scope {
    /// The words of policies, beside the keys of `identity.keys`.
    pub const WORDS: [(&'static str, Scope); 4] = [
        ("grant", Scope::Grant),
        ("session", Scope::Session),
        ("global", Scope::Global),
        ("address", Scope::Address),
    ];
}

impl Entry {
    /// Whether the entry lists the names that it matches under `default: deny`.
    #[must_use]
    pub fn lists(&self) -> bool {
        self.pattern != Pattern::Any
    }

    /// Whether the entry lets somebody approve.
    #[must_use]
    pub fn asks(&self) -> bool {
        self.mode == Mode::Enforce && self.approval.is_some()
    }

    /// Whether the entry can deny by the name and the caller alone.
    #[must_use]
    pub fn denies_by_caller(&self) -> bool {
        self.mode == Mode::Enforce
            && (self.action == Action::Deny || self.checks.iter().any(Check::denies_by_caller))
    }

    /// Whether what lists show of its names depends on who asks.
    #[must_use]
    pub fn lists_by_caller(&self) -> bool {
        let asks = |condition: &Condition| condition.is_of_caller() && !condition.depends_on_time();
        let mut checks = self.checks.iter().filter(|check| check.denies_by_caller());
        self.mode == Mode::Enforce && checks.any(|check| check.conditions.iter().any(asks))
    }
}

impl Check {
    /// The side on which the conditions stand.
    #[must_use]
    pub fn side(&self) -> Side {
        match self.kind {
            CheckKind::Require => Side::Require,
            CheckKind::DenyIf | CheckKind::AskIf | CheckKind::Deny => Side::DenyIf,
        }
    }

    /// Whether it denies whatever the arguments and counts are.
    #[must_use]
    pub fn denies_always(&self) -> bool {
        match self.kind {
            CheckKind::Deny => true,
            CheckKind::DenyIf => self.conditions.is_empty(),
            CheckKind::Require | CheckKind::AskIf => false,
        }
    }

    /// Whether it can deny by the name and the caller alone, whatever the arguments and counts are.
    #[must_use]
    pub fn denies_by_caller(&self) -> bool {
        let mut conditions = self.conditions.iter();
        match self.kind {
            CheckKind::Deny => true,
            CheckKind::DenyIf => conditions.all(Condition::is_of_caller),
            CheckKind::Require => conditions.any(Condition::is_of_caller),
            CheckKind::AskIf => false,
        }
    }

    /// Whether any condition reads a counter.
    #[must_use]
    pub fn reads_counters(&self) -> bool {
        self.conditions.iter().any(|condition| matches!(condition.subject, Subject::Counter(_)))
    }
}
