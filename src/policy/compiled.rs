//! A configuration as the engine uses it: names resolved, patterns compiled, every rule with its pointer.

use std::collections::HashMap;

use crate::matcher::name::Pattern;
use crate::matcher::path::{Decode, Path};
use crate::matcher::value::{Matcher, Side};
use crate::number::Micros;
use crate::rate::limiter::{Counter, Force, Shards};

/// Everything that the filter was told.
#[derive(Debug)]
pub struct Config {
    /// The policy that governs every request.
    pub policy: Policy,
    /// How requests are read.
    pub requests: Requests,
    /// Whether the server vouches for session ids.
    pub sessions: Sessions,
    /// Where counts are kept.
    pub counters: Counters,
}

/// How requests are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Requests {
    /// The longest body that is read, in bytes.
    pub max_body_bytes: usize,
    /// What becomes of batches.
    pub batch: Batch,
    /// Whether headers wait for the decision.
    pub hold_headers: HoldHeaders,
}

/// What becomes of batches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Batch {
    /// Each element is decided.
    Decide,
    /// They are refused.
    Deny,
}

/// Whether the headers of a request wait until its body is judged. Envoy allows that only with
/// `allow_on_headers_stop_iteration`, which a filter cannot ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HoldHeaders {
    /// Found out by the first requests.
    Auto,
    /// The operator states that Envoy allows it.
    Always,
    /// The headers go ahead of the decision.
    Never,
}

/// Whether session ids can be counted by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sessions {
    /// A session id is the caller's own invention: `session` means the caller.
    Untrusted,
    /// The server refuses ids that it did not issue.
    Trusted,
}

/// Where counts are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counters {
    /// How many shards.
    pub shards: Shards,
    /// What becomes of a call that cannot be counted.
    pub on_error: OnError,
}

/// What becomes of a call that cannot be counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnError {
    /// It is denied.
    Deny,
    /// It passes uncounted.
    Allow,
}

/// A compiled policy.
#[derive(Debug)]
pub struct Policy {
    /// Its name.
    pub name: Box<str>,
    /// What becomes of tools that no entry lists.
    pub default: Default,
    /// Whether denials deny.
    pub force: Force,
    /// The hidden tools.
    pub hide: Box<[Hidden]>,
    /// The limits of every call.
    pub all_limits: Box<[Limit]>,
    /// All counters; limits refer to them by index.
    pub counters: Box<[NamedCounter]>,
    pub(super) entries: Box<[Entry]>,
    pub(super) exact: HashMap<Box<str>, usize>,
    pub(super) wild: Box<[usize]>,
    pub(super) exact_names: Box<[ExactName]>,
}

/// What becomes of tools that no entry lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Default {
    /// They may be called.
    Allow,
    /// They may not.
    Deny,
}

/// A key of `tools` or `hide` without wildcards.
#[derive(Debug)]
pub struct ExactName {
    /// The name.
    pub text: Box<str>,
    /// Its pointer.
    pub pointer: Box<str>,
    /// Whether it stands in `hide`.
    pub hides: bool,
}

/// One line of `hide`.
#[derive(Debug)]
pub struct Hidden {
    /// What it matches.
    pub pattern: Pattern,
    /// Its pointer.
    pub pointer: Box<str>,
}

/// A tool entry.
#[derive(Debug)]
pub struct Entry {
    /// The tools that it is about.
    pub pattern: Pattern,
    /// What it does with a call.
    pub action: Action,
    /// The author's reason.
    pub reason: Option<Box<str>>,
    /// Pointer to the action.
    pub action_pointer: Box<str>,
    /// Whether its denials deny.
    pub force: Force,
    /// Requirements, denials and rules, in order.
    pub checks: Box<[Check]>,
    /// Its limits, in order.
    pub limits: Box<[Limit]>,
    /// Whether JSON in strings is looked into.
    pub decode: Decode,
    /// Every argument path that the entry names.
    pub paths: Box<[Path]>,
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

/// One `require`, `deny_if` or rule.
#[derive(Debug)]
pub struct Check {
    /// What it does with its conditions.
    pub kind: CheckKind,
    /// The conditions.
    pub conditions: Box<[Condition]>,
    /// The author's text.
    pub on_deny: Option<Box<str>>,
    /// Its pointer.
    pub pointer: Box<str>,
}

/// What a check does with its conditions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CheckKind {
    /// All must hold.
    Require,
    /// Denies when all hold.
    DenyIf,
    /// Denies always, as a rule with `action: deny`.
    Deny,
}

/// One condition.
#[derive(Debug)]
pub struct Condition {
    /// What it looks at.
    pub subject: Subject,
    /// What it asks.
    pub matcher: Matcher,
}

/// What a condition looks at.
#[derive(Debug)]
pub enum Subject {
    /// An argument.
    Argument(Path),
    /// A counter, by index.
    Counter(usize),
}

/// One limit.
#[derive(Debug)]
pub struct Limit {
    /// The counter, by index.
    pub counter: usize,
    /// The most that the window admits; `None` only counts.
    pub max: Option<Micros>,
    /// How much a call counts.
    pub amount: Amount,
    /// Whether an error of the server gives it back.
    pub refund: Refund,
    /// The author's text.
    pub on_deny: Option<Box<str>>,
    /// Its pointer.
    pub pointer: Box<str>,
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
}

impl Policy {
    /// The entries that match a name: exact, then globs by specificity, then `"*"`.
    pub fn entries_for<'p>(&'p self, tool: &'p str) -> impl Iterator<Item = &'p Entry> {
        let exact = self.exact.get(tool);
        let wild = self.wild.iter().filter(move |&&at| {
            self.entries.get(at).is_some_and(|entry| entry.pattern.matches(tool))
        });
        exact.into_iter().chain(wild).filter_map(|&at| self.entries.get(at))
    }

    /// The names that are compared exactly: keys of `tools` and `hide` without wildcards.
    #[must_use]
    pub fn exact_names(&self) -> &[ExactName] {
        &self.exact_names
    }

    /// Whether an entry has exactly this name.
    #[must_use]
    pub fn has_exact(&self, tool: &str) -> bool {
        self.exact.contains_key(tool)
    }

    /// All entries, in the order of the document.
    #[must_use]
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// Whether any count can be given back, so that responses have to be looked at.
    #[must_use]
    pub fn needs_responses(&self) -> bool {
        let limits = self.entries.iter().flat_map(|entry| &entry.limits).chain(&self.all_limits);
        limits.into_iter().any(|limit| limit.refund == Refund::OnError)
    }
}

impl Entry {
    /// Its pointer.
    #[must_use]
    pub fn pointer(&self) -> &str {
        self.action_pointer.strip_suffix("/action").unwrap_or(&self.action_pointer)
    }

    /// Its tool key.
    #[must_use]
    pub fn key(&self) -> String {
        let token = self.pointer().rsplit('/').next().unwrap_or_default();
        token.replace("~1", "/").replace("~0", "~")
    }

    /// Whether the entry lists the tools that it matches under `default: deny`.
    #[must_use]
    pub fn lists(&self) -> bool {
        self.pattern != Pattern::Any
    }
}

impl Check {
    /// The side on which the conditions stand.
    #[must_use]
    pub fn side(&self) -> Side {
        match self.kind {
            CheckKind::Require => Side::Require,
            CheckKind::DenyIf | CheckKind::Deny => Side::DenyIf,
        }
    }

    /// Whether any condition reads a counter.
    #[must_use]
    pub fn reads_counters(&self) -> bool {
        self.conditions.iter().any(|condition| matches!(condition.subject, Subject::Counter(_)))
    }
}
