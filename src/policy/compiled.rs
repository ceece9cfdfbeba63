//! A configuration as the engine uses it: names resolved, patterns compiled, every rule with its pointer.

use std::cell::Cell;
use std::rc::Rc;

use super::approvals::{ApprovalWay, Approvals, Need};
use super::binding::Bindings;
use super::callers::{AsksAddress, Callers, Recalled};
use super::doors::Doors;
use super::entry::{Entry, Limit, Listing, NamedCounter, Refund};
use super::environment::Environment;
use super::rules::{RuleId, RuleKind, Rules};
use super::section::Section;
use super::sessions::Sessions;
use super::settings::{Counters, Denials, Requests, Telling};
use crate::mcp::call::Kind;
use crate::pins::ServerId;
use crate::rate::limiter::Mode;

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
    /// What was computed of their names before.
    pub recalled: Recalled,
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
    /// Who can approve calls that need it.
    pub approvals: Approvals,
    /// How denied calls are answered.
    pub denials: Denials,
    /// Where counts are kept.
    pub counters: Counters,
    /// When the address of the client is needed.
    pub asks_address: AsksAddress,
    /// What is told of decisions.
    pub telling: Telling,
}

/// A compiled policy.
#[derive(Debug)]
pub struct Policy {
    /// Its place among the policies of the configuration.
    pub index: usize,
    /// Its name.
    pub name: Box<str>,
    /// Whether denials deny.
    pub mode: Mode,
    /// What lists show.
    pub listing: Listing,
    /// SHA-256 of its canonical text (RFC 8785): two policies of one digest say the same.
    pub digest: [u8; 32],
    /// The same as text: `sha-256:…`.
    pub named_digest: Box<str>,
    /// The rules for tools.
    pub tools: Section,
    /// The rules for resources, prompts and methods, where there are any.
    pub others: Vec<Section>,
    /// The limits of every tool call.
    pub all_limits: Box<[Limit]>,
    /// What says that tools are trusted as they are seen first; nothing where they are not.
    pub first_use: Option<RuleId>,
    /// The server that it governs where no binding leads there.
    pub server: ServerId,
    /// All counters; limits refer to them by index.
    pub counters: Box<[NamedCounter]>,
    /// All rules, by number.
    pub rules: Rules,
    /// The policy that decides the same calls beside this one, and touches nothing.
    pub candidate: Option<Box<Policy>>,
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

    /// Reads the secrets that the configuration names; `audience` is the plugin that they are for.
    ///
    /// # Errors
    /// What is wrong, and the cure.
    pub fn unlock(&mut self, audience: &str, environment: &Environment) -> Result<(), String> {
        self.sessions.unlock(audience, environment)?;
        let asks_users = self.policies().any(|policy| policy.names_way(ApprovalWay::User));
        self.approvals.unlock(audience, asks_users, environment)
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

    /// Whether the action of an entry holds at some times only, so that a check says what it does.
    #[must_use]
    pub fn is_timed(&self, entry: &Entry) -> bool {
        let first = entry.checks.first().and_then(|check| self.rules.get(check.rule));
        first.is_some_and(|row| matches!(row.kind, RuleKind::Times | RuleKind::Action))
    }

    /// The limits of every entry, and then of every tool call.
    pub fn limits(&self) -> impl Iterator<Item = &Limit> {
        self.entries().flat_map(|entry| &entry.limits).chain(&self.all_limits)
    }

    /// Whether any count can be given back, so that responses have to be looked at.
    #[must_use]
    pub fn needs_responses(&self) -> bool {
        let mut for_all = self.all_limits.iter();
        self.sections().any(|section| section.some.refunds)
            || for_all.any(|limit| limit.refund == Refund::OnError)
    }

    /// Whether decisions of this policy can hang on more than the call and its caller: on counts, or on how a tool was defined.
    #[must_use]
    pub fn looks_beyond(&self) -> bool {
        !self.counters.is_empty() || self.pins()
    }

    /// Whether anything is counted, by this policy or its candidate.
    #[must_use]
    pub fn counts(&self) -> bool {
        let beside = self.candidate.as_ref().is_some_and(|candidate| candidate.counts());
        !self.counters.is_empty() || beside
    }

    /// Whether a call can come to wait for an approval, so that what a client carries for us has to be looked at.
    #[must_use]
    pub fn asks(&self) -> bool {
        self.mode == Mode::Enforce && self.sections().any(|section| section.some.asks)
    }

    /// What approval the entry of a rule asks for, whether it is in force or in shadow.
    #[must_use]
    pub fn need_of(&self, rule: RuleId) -> Option<Need> {
        let entry = self.rules.get(rule)?.entry?;
        self.entries().find(|known| known.rule == entry)?.approval
    }

    /// Whether any rule asks in this way.
    #[must_use]
    pub fn names_way(&self, way: ApprovalWay) -> bool {
        self.entries().any(|entry| entry.approval.is_some_and(|need| need.by.have(way)))
    }

    /// Whether what lists show depends on who asks.
    #[must_use]
    pub fn lists_by_caller(&self) -> bool {
        self.mode == Mode::Enforce
            && self.listing == Listing::Callable
            && self.sections().any(|section| section.some.lists_by_caller)
    }

    /// Whether lists of this kind are filtered.
    #[must_use]
    pub fn filters(&self, kind: Kind) -> bool {
        let section = || self.section(kind).is_some_and(|section| section.filters(self.listing));
        self.mode == Mode::Enforce && (section() || (kind == Kind::Tool && self.pins()))
    }

    /// Whether any list is filtered.
    #[must_use]
    pub fn filters_any(&self) -> bool {
        [Kind::Tool, Kind::Resource, Kind::Prompt].into_iter().any(|kind| self.filters(kind))
    }
}
