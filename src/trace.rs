//! Why a call is decided as it is, rule by rule, with what was compared. For authors only.
//!
//! The decision is made by the filter's exchange (see [`crate::rehearsal`]). What is here listens to it, and writes down what it
//! is told; it decides nothing. Rules behind the one that decided are told of too.

pub mod explanation;
mod words;

use std::cell::RefCell;

use serde::Serialize;

use crate::denial::{Denial, Detail};
use crate::json::Value;
use crate::matcher::{Mismatch, Truth};
use crate::mcp::call::Kind;
use crate::policy::approvals::Need;
use crate::policy::compiled::{Config, Policy};
use crate::policy::entry::{Action, Check, Entry, Limit, Subject};
use crate::policy::rules::{RuleId, RuleKind};
use crate::rate::limiter::{Charge, Mode, Refused, Weighed};
use crate::reason::Reason;
use crate::rehearsal::body::asked;
use crate::rehearsal::{SimulatedRequest, Simulator, Verdict};
use crate::time::UnixMillis;
use crate::witness::{self, CounterUnread, Told, Witness};
use words::{found, scope, section, shown_or_nothing};

/// The rules that a call meets, in the order in which they are asked.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Trace {
    /// The name of the tool that is called, else the method with what it names.
    pub call: String,
    /// The rules.
    pub rules: Vec<TracedRule>,
}

/// One rule of the policy and what it says of the call.
#[derive(Clone, Debug, Serialize)]
pub struct TracedRule {
    /// JSON Pointer into the policy.
    pub rule: String,
    /// Its line in the document, from 1; filled in by who knows the text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line: Option<usize>,
    /// The key of its entry; none for rules of the whole policy.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub entry: Option<String>,
    /// `hide`, `default`, `action`, `require`, `deny_if`, `ask_if`, `rule`, `definition`, or `limit`.
    pub kind: &'static str,
    /// Whether it denies.
    pub denies: bool,
    /// Whether it is in shadow, so that its denial is only recorded.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub shadow: bool,
    /// Whether somebody can approve what it denies.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub asks: bool,
    /// The reason of its denial.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<&'static str>,
    /// Its conditions.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<TracedCondition>,
    /// Its count.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub count: Option<TracedCount>,
    /// Its place within its entry or section, such as `require[0]`; of an entry its key.
    #[serde(skip)]
    pub label: String,
    /// What it is about.
    #[serde(skip)]
    pub section: &'static str,
}

/// A condition, and what it was compared with.
#[derive(Clone, Debug, Serialize)]
pub struct TracedCondition {
    /// The path of the argument, name or header, or the name of the counter.
    pub path: String,
    /// The operator.
    pub op: String,
    /// The value in the policy, as JSON, or the field that it is compared with.
    pub value: String,
    /// What the path leads to, with its type: several for `[*]`, none if the way there is blocked.
    pub found: Vec<String>,
    /// `true`, `false` or `undecidable`.
    pub outcome: &'static str,
    /// The type that was needed, where the outcome is undecidable.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expected: Option<&'static str>,
}

/// A limit, and what was counted before the call.
#[derive(Clone, Debug, Serialize)]
pub struct TracedCount {
    /// The name of the counter.
    pub counter: String,
    /// `grant`, `session`, `global`, `address`, or a key of `identity.keys`.
    pub scope: String,
    /// What the window held before the call.
    pub used: Option<String>,
    /// What the call counts on the counter, through all limits that share it; none where its argument cannot be counted.
    pub amount: Option<String>,
    /// Why the argument cannot be counted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
    /// The most that the window admits, or what comes back to a bucket in one.
    pub max: Option<String>,
    /// The most that a bucket holds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub burst: Option<String>,
    /// The length of the window, in seconds.
    pub window_seconds: u64,
    /// Milliseconds until the call could pass.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry_after_ms: Option<u64>,
}

/// Sends a request, and writes down every rule that it meets: none where it is admitted or rejected before any rule.
#[must_use]
pub fn trace(simulator: &Simulator, request: &SimulatedRequest) -> (Verdict, Trace) {
    let listener =
        Listener { config: &simulator.config, at: request.at, heard: RefCell::default() };
    let verdict = simulator.send_before(request, &listener);
    let rules = listener.heard.into_inner().rules;
    (verdict, Trace { call: asked(&request.body), rules })
}

/// Writes down what it hears.
struct Listener<'c> {
    config: &'c Config,
    at: UnixMillis,
    heard: RefCell<Heard<'c>>,
}

#[derive(Default)]
struct Heard<'c> {
    policy: Option<&'c Policy>,
    rules: Vec<TracedRule>,
    /// The conditions of the check that is being judged.
    compared: Vec<TracedCondition>,
    /// The rules of checks among `rules`, of the call that is being judged: one that is judged again keeps its place.
    checks: Vec<(RuleId, RuleId, usize)>,
    /// The limits among `rules`, by their counters.
    limits: Vec<(usize, RuleId, usize)>,
}

impl Witness for Listener<'_> {
    const HEARS_ALL: bool = true;

    fn hear(&self, told: &Told<'_>) {
        // Nobody tells anything while this is written down.
        let Ok(mut heard) = self.heard.try_borrow_mut() else { return };
        match told {
            Told::Begun(policy) => heard.begin(self.config, policy),
            Told::Named(denial) => heard.named(denial),
            Told::Met(_) | Told::Owed(_) | Told::Ended(_) => {}
            Told::Acted(entry, denial) => heard.acted(entry, *denial),
            Told::Compared(compared) => {
                let compared = heard.compared(self.config, compared);
                heard.compared.push(compared);
            }
            Told::Checked(entry, check, denial) => heard.checked(entry, check, *denial),
            Told::Pinned(rule, entry, denial) => heard.pinned(*rule, *entry, *denial),
            Told::Due(due) => heard.due(self.config, self.at, due),
            Told::Weighed(charge, limit, weighed) => heard.weighed(charge, limit, weighed),
        }
    }
}

impl<'c> Heard<'c> {
    fn begin(&mut self, config: &'c Config, policy: &Policy) {
        self.policy = config.policies().find(|known| known.name == policy.name);
        self.compared.clear();
        self.checks.clear();
        self.limits.clear();
    }

    fn rule(&self, rule: RuleId, kind: &'static str) -> TracedRule {
        let row = self.policy.and_then(|policy| policy.rules.get(rule));
        TracedRule {
            rule: row.map_or("", |row| &row.pointer).to_owned(),
            line: None,
            entry: None,
            kind,
            denies: false,
            shadow: false,
            asks: false,
            reason: None,
            conditions: Vec::new(),
            count: None,
            label: row.map_or("", |row| &row.label).to_owned(),
            section: row.map_or("", |row| section(row.subject, row.entry, row.kind)),
        }
    }

    fn of_entry(&self, entry: &Entry, rule: TracedRule) -> TracedRule {
        let key = self.policy.map_or("", |policy| policy.rules.label(entry.rule));
        let asks = rule.reason == Some(Reason::ApprovalRequired.label());
        let asks = asks && entry.approval.is_some_and(Need::asks);
        let shadow = entry.mode == Mode::Shadow;
        TracedRule { entry: Some(key.to_owned()), shadow, asks, ..rule }
    }

    fn named(&mut self, denial: &Denial) {
        // A name that could be read in two ways meets nothing at all.
        let Some(rule) = denial.rule else { return };
        let row = self.policy.and_then(|policy| policy.rules.get(rule));
        let kind = match row.map(|row| row.kind) {
            Some(RuleKind::Hide) => "hide",
            Some(RuleKind::Entry) => "name",
            Some(_) | None => "default",
        };
        let rule = denied(self.rule(rule, kind), Some(denial));
        self.rules.push(rule);
    }

    fn acted(&mut self, entry: &Entry, denial: Option<&Denial>) {
        if self.policy.is_some_and(|policy| policy.is_timed(entry)) {
            // Its times say what it does.
            return;
        }
        let mut rule = self.rule(entry.action_rule, "action");
        rule.label = match entry.action {
            Action::Allow => "action: allow",
            Action::Deny => "action: deny",
            Action::RequireApproval => "action: require_approval",
        }
        .to_owned();
        let rule = self.of_entry(entry, denied(rule, denial));
        self.rules.push(rule);
    }

    fn checked(&mut self, entry: &Entry, check: &Check, denial: Option<&Denial>) {
        let row = self.policy.and_then(|policy| policy.rules.get(check.rule));
        let kind = match row.map(|row| row.kind) {
            Some(RuleKind::Require) => "require",
            Some(RuleKind::DenyIf) => "deny_if",
            Some(RuleKind::AskIf) => "ask_if",
            Some(RuleKind::Times | RuleKind::Action) => "times",
            Some(_) | None => "rule",
        };
        let conditions = std::mem::take(&mut self.compared);
        let rule = TracedRule { conditions, ..denied(self.rule(check.rule, kind), denial) };
        let rule = self.of_entry(entry, rule);
        let judged =
            self.checks.iter().find(|(of, known, _)| (*of, *known) == (entry.rule, check.rule));
        match judged.and_then(|(.., at)| self.rules.get_mut(*at)) {
            Some(known) => *known = rule,
            None => {
                self.checks.push((entry.rule, check.rule, self.rules.len()));
                self.rules.push(rule);
            }
        }
    }

    fn pinned(&mut self, rule: RuleId, entry: Option<&Entry>, denial: Option<&Denial>) {
        let rule = denied(self.rule(rule, "definition"), denial);
        let rule = match entry {
            Some(entry) => self.of_entry(entry, rule),
            None => rule,
        };
        self.rules.push(rule);
    }

    fn compared(&self, config: &Config, compared: &witness::Compared<'_>) -> TracedCondition {
        let witness::Compared { call, condition, terms, value, other, used, truth, .. } = compared;
        let apart = terms.work.copied();
        let terms = crate::matcher::terms::Terms { work: &apart, ..*terms };
        let shown = |subject: &Subject, value: Option<&Value<'_>>| match subject {
            Subject::Argument(path) => found(path, call.arguments, terms),
            Subject::Name | Subject::Identity(_) | Subject::Header(_) => {
                vec![shown_or_nothing(value)]
            }
            Subject::Now => vec!["the time of the call".to_owned()],
            Subject::Counter(_) => {
                let used = used.map_or("unreadable".to_owned(), |used| used.to_string());
                vec![format!("a count of {used}")]
            }
        };
        let path = self.path(config, call.kind, &condition.subject);
        let found = shown(&condition.subject, *value);
        let word = condition.matcher.operator.word;
        let op = if condition.every { format!("every {word}") } else { word.to_owned() };
        let value = match &condition.from {
            Some(from) => {
                let path = self.path(config, call.kind, from);
                format!("{path} ({})", shown(from, *other).join(", "))
            }
            None => condition.matcher.value(),
        };
        let (outcome, expected) = match truth {
            Ok(Truth::True) => ("true", None),
            Ok(Truth::False) => ("false", None),
            Ok(Truth::Undecidable(Mismatch { expected, .. })) => ("undecidable", Some(*expected)),
            Err(CounterUnread) => ("undecidable", Some("a counter that can be read")),
        };
        let blocked = match truth {
            Ok(Truth::Undecidable(Mismatch { found, .. })) => Some((*found).to_owned()),
            _ => None,
        };
        let found = if found.is_empty() { blocked.into_iter().collect() } else { found };
        TracedCondition { path, op, value, found, outcome, expected }
    }

    /// A path as policies write it; of a counter its name.
    fn path(&self, config: &Config, kind: Kind, subject: &Subject) -> String {
        match subject {
            Subject::Name => kind.word().to_owned(),
            Subject::Now => "now".to_owned(),
            Subject::Argument(path) => path.text().to_owned(),
            Subject::Identity(None) => "identity.grant".to_owned(),
            Subject::Identity(Some(at)) => {
                let key = config.callers.keys.get(*at).map_or("", |key| &*key.name);
                format!("identity.{key}")
            }
            Subject::Header(at) => {
                let name = config.headers.get(*at).map_or("", |name| name);
                format!("header.{name}")
            }
            Subject::Counter(at) => {
                let named = self.policy.and_then(|policy| policy.counters.get(*at));
                format!("counter {}", named.map_or("", |named| &named.name))
            }
        }
    }

    fn due(&mut self, config: &Config, at: UnixMillis, due: &witness::DueLimit<'_>) {
        let witness::DueLimit { entry, limit, named, amount } = due;
        let mut counted = TracedCount {
            counter: named.name.to_string(),
            scope: scope(config, named.scope),
            used: None,
            amount: None,
            problem: None,
            max: limit.max.map(|max| max.to_string()),
            burst: limit.burst.map(|burst| burst.to_string()),
            window_seconds: named.counter.window.span_at(at).seconds(),
            retry_after_ms: None,
        };
        let mut rule = self.rule(limit.rule, "limit");
        match amount {
            Ok(amount) => counted.amount = Some(amount.to_string()),
            Err(detail) => {
                if let Detail::Mismatch(path, Mismatch { expected, found }) = detail {
                    counted.problem = Some(format!("`{path}` must be {expected}, not {found}"));
                }
                if let Detail::Inexact = detail {
                    let problem =
                        "a number among the arguments has more digits than all readers keep apart";
                    counted.problem = Some(problem.to_owned());
                }
                rule.denies = true;
                rule.reason = Some(detail.uncounted().label());
            }
        }
        rule.count = Some(counted);
        let rule = match entry {
            Some(entry) => self.of_entry(entry, rule),
            None => rule,
        };
        self.limits.push((limit.counter, limit.rule, self.rules.len()));
        self.rules.push(rule);
    }

    /// The call counts once on a counter, and one of its limits answers.
    fn weighed(&mut self, charge: &Charge, limit: &Limit, weighed: &Result<Weighed, Refused>) {
        let Ok(Weighed { used, overrun }) = weighed else { return };
        for (counter, rule, at) in &self.limits {
            let Some(known) = self.rules.get_mut(*at).filter(|_| *counter == limit.counter) else {
                continue;
            };
            let overrun = overrun.filter(|_| *rule == limit.rule);
            if let Some(overrun) = overrun {
                known.denies = true;
                known.reason = Some(overrun.cause.reason().label());
            }
            if let Some(counted) = &mut known.count {
                counted.used = Some(used.to_string());
                counted.amount = counted.amount.take().map(|_| charge.amount.to_string());
                counted.retry_after_ms = overrun.and_then(|overrun| overrun.retry_after);
            }
        }
    }
}

fn denied(rule: TracedRule, denial: Option<&Denial>) -> TracedRule {
    let reason = denial.map(|denial| denial.reason.label());
    TracedRule { denies: denial.is_some(), reason, ..rule }
}
