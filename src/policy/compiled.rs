//! A configuration as the engine uses it: names resolved, patterns compiled, every rule with its pointer.

use std::cell::Cell;
use std::rc::Rc;

use super::binding::Bindings;
use super::callers::{AsksAddress, Callers};
use super::doors::Doors;
use super::rules::{RuleId, Rules};
use super::section::Section;
use super::sessions::Sessions;
use super::settings::{Counters, Denials, Requests};
use crate::matcher::name::Pattern;
use crate::matcher::path::Path;
use crate::matcher::terms::Decode;
use crate::matcher::value::{Matcher, Side};
use crate::mcp::call::Kind;
use crate::number::Micros;
use crate::rate::limiter::{Counter, Mode};

/// Everything that the filter was told.
#[derive(Debug)]
pub struct Config {
    /// The first policy.
    pub policy: Policy,
    /// The others, where there are several.
    pub others: Vec<Policy>,
    /// Which policy governs which request; without bindings the only one governs every request.
    pub bindings: Option<Bindings>,
    /// How callers are named.
    pub callers: Callers,
    /// The headers that conditions and callers' names are read from, in lower case.
    pub headers: Vec<Box<str>>,
    /// Which of them conditions read, in the same order.
    pub read_headers: Vec<bool>,
    /// How requests are read.
    pub requests: Requests,
    /// Which paths speak MCP, and what passes beside it.
    pub doors: Doors,
    /// The longest list that is read of a response, in bytes.
    pub max_list_bytes: usize,
    /// How many bytes of responses all exchanges hold together.
    pub held: Rc<Cell<usize>>,
    /// Whether the server vouches for session ids.
    pub sessions: Sessions,
    /// How denied calls are answered.
    pub denials: Denials,
    /// Where counts are kept.
    pub counters: Counters,
    /// When the address of the client is needed.
    pub asks_address: AsksAddress,
}

/// A compiled policy.
#[derive(Debug)]
pub struct Policy {
    /// Its name.
    pub name: Box<str>,
    /// Whether denials deny.
    pub mode: Mode,
    /// What lists show.
    pub listing: Listing,
    /// Who is asked for approval. Nothing in a configuration names one yet, so `require_approval` denies.
    pub approver: Option<Approver>,
    /// The rules for tools.
    pub tools: Section,
    /// The rules for resources, prompts and methods, where there are any.
    pub others: Vec<Section>,
    /// The limits of every tool call.
    pub all_limits: Box<[Limit]>,
    /// All counters; limits refer to them by index.
    pub counters: Box<[NamedCounter]>,
    /// All rules, by number.
    pub rules: Rules,
}

/// Somebody who is asked whether a call may run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Approver {
    /// Envoy's cluster.
    pub cluster: Box<str>,
    /// The path of the AuthZEN evaluation endpoint.
    pub path: Box<str>,
    /// How long a call waits for the answer, in milliseconds.
    pub patience_millis: u32,
}

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

/// What becomes of tools that no entry lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DefaultAction {
    /// They may be called.
    Allow,
    /// They may not.
    Deny,
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
    /// Whether its denials deny.
    pub mode: Mode,
    /// Requirements, denials and rules, in order.
    pub checks: Box<[Check]>,
    /// Its limits, in order.
    pub limits: Box<[Limit]>,
    /// How the server takes strings that are JSON text.
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
    /// Its number.
    pub rule: RuleId,
}

impl Limit {
    /// The most that the count may come to; `None` only counts.
    #[must_use]
    pub fn ceiling(&self) -> Option<Micros> {
        self.burst.or(self.max)
    }
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
    /// All callers of one name, by the index of the key.
    Key(usize),
    /// All callers of one address, or of one IPv6 network.
    Address,
}

impl Config {
    /// A policy, by the index that bindings have.
    #[must_use]
    pub fn policy_at(&self, at: usize) -> Option<&Policy> {
        match at.checked_sub(1) {
            None => Some(&self.policy),
            Some(at) => self.others.get(at),
        }
    }

    /// Every policy.
    pub fn policies(&self) -> impl Iterator<Item = &Policy> {
        std::iter::once(&self.policy).chain(&self.others)
    }
}

impl Policy {
    /// Every section: that for tools, and those that are there of the others.
    pub fn sections(&self) -> impl Iterator<Item = &Section> {
        std::iter::once(&self.tools).chain(&self.others)
    }

    /// The rules for names of this kind, where there are any.
    #[must_use]
    pub fn section(&self, kind: Kind) -> Option<&Section> {
        self.sections().find(|section| section.kind == kind)
    }

    /// The entries of every section.
    pub fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.sections().flat_map(|section| section.entries())
    }

    /// The limits of every entry, and then of every tool call.
    pub fn limits(&self) -> impl Iterator<Item = &Limit> {
        self.entries().flat_map(|entry| &entry.limits).chain(&self.all_limits)
    }

    /// Whether any count can be given back, so that responses have to be looked at.
    #[must_use]
    pub fn needs_responses(&self) -> bool {
        self.limits().any(|limit| limit.refund == Refund::OnError)
    }

    /// Whether lists of this kind are filtered.
    #[must_use]
    pub fn filters(&self, kind: Kind) -> bool {
        self.mode == Mode::Enforce
            && self.section(kind).is_some_and(|section| section.filters(self.listing))
    }

    /// Whether any list is filtered.
    #[must_use]
    pub fn filters_any(&self) -> bool {
        [Kind::Tool, Kind::Resource, Kind::Prompt].into_iter().any(|kind| self.filters(kind))
    }
}

impl Entry {
    /// Whether the entry lists the names that it matches under `default: deny`.
    #[must_use]
    pub fn lists(&self) -> bool {
        self.pattern != Pattern::Any
    }

    /// Whether the entry denies whatever the arguments and counts are.
    #[must_use]
    pub fn denies_always(&self) -> bool {
        self.mode == Mode::Enforce
            && (self.action == Action::Deny || self.checks.iter().any(Check::denies_always))
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

    /// Whether it denies whatever the arguments and counts are.
    #[must_use]
    pub fn denies_always(&self) -> bool {
        match self.kind {
            CheckKind::Deny => true,
            CheckKind::DenyIf => self.conditions.is_empty(),
            CheckKind::Require => false,
        }
    }

    /// Whether any condition reads a counter.
    #[must_use]
    pub fn reads_counters(&self) -> bool {
        self.conditions.iter().any(|condition| matches!(condition.subject, Subject::Counter(_)))
    }
}
