//! Why a call is decided as it is, rule by rule, with what was compared. For the command only.
//!
//! The decision itself is made by the filter's exchange (see [`crate::rehearsal`]); here each rule is asked once more, by the
//! same functions, and its answer written down. Rules behind the one that decided are asked too.

mod words;

use serde::Serialize;

use crate::decision::{CounterUnread, Detail, by_check, by_name, denied};
use crate::enforce::{Governed, amount};
use crate::identity::Caller;
use crate::matcher::path::Decode;
use crate::matcher::value::Terms;
use crate::matcher::work::Work;
use crate::matcher::{Mismatch, Truth};
use crate::mcp::call::{Call, Kind};
use crate::number::Micros;
use crate::policy::compiled::{
    Action, Check, CheckKind, Condition, Config, Entry, Limit, Policy, Scope, Subject,
};
use crate::policy::section::Section;
use crate::rate::limiter::{Charge, Force, Limiter};
use crate::rate::memory::MemoryStore;
use crate::reason::Reason;
use crate::rehearsal::body::{asked, governed};
use crate::rehearsal::{Request, Stage};
use crate::time::UnixMillis;
use words::{found, operator, shown_or_nothing};

/// The rules that a call meets, in the order in which they are asked.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Trace {
    /// The name of the tool that is called, else the method with what it names.
    pub call: String,
    /// The rules.
    pub rules: Vec<Rule>,
}

/// One rule of the policy and what it says of the call.
#[derive(Clone, Debug, Serialize)]
pub struct Rule {
    /// JSON Pointer into the policy.
    pub rule: String,
    /// Its line in the document, from 1; filled in by who knows the text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line: Option<usize>,
    /// The key of its entry; none for rules of the whole policy.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub entry: Option<String>,
    /// `hide`, `default`, `action`, `require`, `deny_if`, `rule`, or `limit`.
    pub kind: &'static str,
    /// Whether it denies.
    pub denies: bool,
    /// Whether it is in shadow, so that its denial is only recorded.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub shadow: bool,
    /// The reason of its denial.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<&'static str>,
    /// Its conditions.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Compared>,
    /// Its count.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub count: Option<Counted>,
}

/// A condition, and what it was compared with.
#[derive(Clone, Debug, Serialize)]
pub struct Compared {
    /// The path of the argument, name or header, or the name of the counter.
    pub path: String,
    /// The operator.
    pub op: &'static str,
    /// The value in the policy, as JSON.
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
pub struct Counted {
    /// The name of the counter.
    pub counter: String,
    /// `grant`, `session`, `global`, `address`, or a key of `identity.keys`.
    pub scope: String,
    /// What the window held before the call.
    pub used: Option<String>,
    /// What the call counts; none where its argument cannot be counted.
    pub amount: Option<String>,
    /// Why the argument cannot be counted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
    /// The most that the window admits.
    pub max: Option<String>,
    /// The length of the window, in seconds.
    pub window_seconds: u64,
    /// Milliseconds until the call could pass.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry_after_ms: Option<u64>,
}

/// Asks every rule that a request meets; none where it is let in or turned away before any rule.
#[must_use]
pub fn trace(stage: &Stage, request: &Request) -> Trace {
    let rules = stage.policy_for(request).and_then(|policy| {
        let caller = stage.caller(request).ok()?;
        let store = stage.store.clone();
        governed(policy, &request.body, |governed| {
            rules((stage, request), policy, &caller, &store, governed)
        })
    });
    Trace { call: asked(&request.body), rules: rules.unwrap_or_default() }
}

fn rules(
    (stage, request): (&Stage, &Request),
    policy: &Policy,
    caller: &Caller,
    store: &MemoryStore,
    governed: &Governed<'_>,
) -> Vec<Rule> {
    let config = &stage.config;
    let tracer = |call| Tracer {
        config,
        policy,
        call,
        caller,
        limiter: Limiter::new(store, config.counters.shards),
        now: request.at,
        work: Work::of(request.body.len()),
    };
    let calls = governed.calls().iter().flat_map(|call| tracer(call).rules());
    let references = governed.references().iter().flat_map(|call| tracer(call).of_reference());
    calls.chain(references).collect()
}

struct Tracer<'t> {
    config: &'t Config,
    policy: &'t Policy,
    call: &'t Call<'t>,
    caller: &'t Caller,
    limiter: Limiter<'t, MemoryStore>,
    now: UnixMillis,
    work: Work,
}

impl<'t> Tracer<'t> {
    /// The section and the name, of a name that is let in; else the rule that keeps it out, if there is one. It meets no entry.
    fn admitted(&self) -> Result<(&'t Section, &'t str), Vec<Rule>> {
        // A name that could be read in two ways meets nothing at all.
        let named = self.policy.section(self.call.kind).zip(self.call.exact.as_deref());
        let (section, name) = named.ok_or_else(Vec::new)?;
        by_its_name(section, self.call, name).map_or(Ok((section, name)), |rule| Err(vec![rule]))
    }

    fn rules(&self) -> Vec<Rule> {
        self.admitted().map_or_else(|rules| rules, |(section, name)| self.of_call(section, name))
    }

    /// What is only referred to is denied where every call of it would be.
    fn of_reference(&self) -> Vec<Rule> {
        self.admitted().map_or_else(|rules| rules, |(section, name)| self.always(section, name))
    }

    fn of_call(&self, section: &Section, name: &str) -> Vec<Rule> {
        let mut rules = Vec::new();
        for entry in section.entries_for(name) {
            rules.push(of_entry(entry, action(entry, section.kind)));
            rules
                .extend(entry.checks.iter().map(|check| of_entry(entry, self.check(check, entry))));
            let limits = entry.limits.iter();
            rules.extend(limits.map(|limit| of_entry(entry, self.limit(limit, entry.decode))));
        }
        let limits = self.policy.all_limits.iter().filter(|_| section.kind == Kind::Tool);
        rules.extend(limits.map(|limit| self.limit(limit, Decode::Unsaid)));
        rules
    }

    fn always(&self, section: &Section, name: &str) -> Vec<Rule> {
        let mut rules = Vec::new();
        for entry in section.entries_for(name) {
            rules.push(of_entry(entry, action(entry, section.kind)));
            let checks = entry.checks.iter().filter(|check| check.denies_always());
            rules.extend(checks.map(|check| of_entry(entry, self.check(check, entry))));
        }
        rules
    }

    fn used(&self, counter: usize) -> Result<Micros, CounterUnread> {
        let named = self.policy.counters.get(counter).ok_or(CounterUnread)?;
        let account = self.caller.counted_as(named.scope);
        self.limiter.used(named.counter, account, self.now).map_err(|_| CounterUnread)
    }

    fn check(&self, check: &Check, entry: &Entry) -> Rule {
        let mut count = |counter| self.used(counter).map(Some);
        let apart = self.work.copied();
        let terms = |work| Terms { decode: entry.decode, work };
        let denial = by_check((self.call, self.caller), check, terms(&self.work), &mut count)
            .unwrap_or_else(|CounterUnread| Some(check.unread(self.call.kind)));
        let kind = match (check.kind, check.pointer.rsplit('/').nth(1)) {
            (_, Some("rules")) | (CheckKind::Deny, _) => "rule",
            (CheckKind::Require, _) => "require",
            (CheckKind::DenyIf, _) => "deny_if",
        };
        let compared = |condition| self.compared(condition, check, terms(&apart));
        Rule {
            denies: denial.is_some(),
            reason: denial.map(|denial| denial.reason.label()),
            conditions: check.conditions.iter().map(compared).collect(),
            ..Rule::new(&check.pointer, kind)
        }
    }

    fn compared(&self, condition: &Condition, check: &Check, terms: Terms<'_>) -> Compared {
        let mut count = |counter| self.used(counter).map(Some);
        let truth = condition.holds((self.call, self.caller), terms, check.side(), &mut count);
        let (path, found) = match &condition.subject {
            Subject::Argument(path) => {
                (path.text().to_owned(), found(path, self.call.arguments, terms))
            }
            Subject::Identity(None) => {
                let found = self.caller.grant_value();
                ("identity.grant".to_owned(), vec![shown_or_nothing(found.as_ref())])
            }
            Subject::Identity(Some(at)) => {
                let key = self.config.callers.keys.get(*at).map_or("", |key| &*key.name);
                (format!("identity.{key}"), vec![shown_or_nothing(self.caller.key(*at))])
            }
            Subject::Header(at) => {
                let name = self.config.headers.get(*at).map_or("", |name| name);
                (format!("header.{name}"), vec![shown_or_nothing(self.caller.header(*at))])
            }
            Subject::Counter(at) => {
                let name = self.policy.counters.get(*at).map_or("", |named| &named.name);
                let used = self.used(*at).map_or("unreadable".to_owned(), |used| used.to_string());
                (format!("counter {name}"), vec![format!("a count of {used}")])
            }
        };
        let (op, value) = operator(&condition.matcher);
        let (outcome, expected) = match truth {
            Ok(Truth::True) => ("true", None),
            Ok(Truth::False) => ("false", None),
            Ok(Truth::Undecidable(Mismatch { expected, .. })) => ("undecidable", Some(expected)),
            Err(CounterUnread) => ("undecidable", Some("a counter that can be read")),
        };
        let blocked = match truth {
            Ok(Truth::Undecidable(Mismatch { found, .. })) => Some(found.to_owned()),
            _ => None,
        };
        let found = if found.is_empty() { blocked.into_iter().collect() } else { found };
        Compared { path, op, value, found, outcome, expected }
    }

    fn scope(&self, scope: Scope) -> String {
        let word = match scope {
            Scope::Grant => "grant",
            Scope::Session => "session",
            Scope::Global => "global",
            Scope::Address => "address",
            Scope::Key(at) => self.config.callers.keys.get(at).map_or("", |key| &*key.name),
        };
        word.to_owned()
    }

    fn limit(&self, limit: &Limit, decode: Decode) -> Rule {
        let rule = Rule::new(&limit.pointer, "limit");
        let Some(named) = self.policy.counters.get(limit.counter) else { return rule };
        let terms = Terms { decode, work: &self.work };
        let counts = amount(&limit.amount, self.call.arguments, terms);
        let mut counted = Counted {
            counter: named.name.to_string(),
            scope: self.scope(named.scope),
            used: self.used(limit.counter).ok().map(|used| used.to_string()),
            amount: None,
            problem: None,
            max: limit.max.map(|max| max.to_string()),
            window_seconds: named.counter.window.span_at(self.now).seconds(),
            retry_after_ms: None,
        };
        let amount = match counts {
            Ok(amount) => amount,
            Err(detail) => {
                if let Detail::Mismatch(path, Mismatch { expected, found }) = detail {
                    counted.problem = Some(format!("`{path}` must be {expected}, not {found}"));
                }
                let reason = Some(Reason::InvalidIncrement.label());
                return Rule { denies: true, reason, count: Some(counted), ..rule };
            }
        };
        counted.amount = Some(amount.to_string());
        // In shadow, so that the store, a copy, says it of each limit by itself.
        let account = self.caller.counted_as(named.scope);
        let force = Force::Shadow;
        let charge = Charge { counter: named.counter, account, amount, max: limit.max, force };
        let granted = self.limiter.reserve(&[charge], self.now);
        let overrun = granted.as_ref().ok().and_then(|granted| granted.would_exceed);
        if let Ok(granted) = &granted {
            self.limiter.give_back(granted.reservations.iter().map(|(_, reservation)| reservation));
        }
        counted.retry_after_ms = overrun.and_then(|overrun| overrun.retry_after);
        Rule {
            denies: overrun.is_some(),
            reason: overrun.map(|overrun| overrun.cause.reason().label()),
            count: Some(counted),
            ..rule
        }
    }
}

impl Rule {
    fn new(rule: &str, kind: &'static str) -> Rule {
        Rule {
            rule: rule.to_owned(),
            line: None,
            entry: None,
            kind,
            denies: false,
            shadow: false,
            reason: None,
            conditions: Vec::new(),
            count: None,
        }
    }
}

/// What denies a name by itself.
fn by_its_name(section: &Section, call: &Call<'_>, name: &str) -> Option<Rule> {
    let denial = by_name(section, call, name)?;
    let kind = if denial.reason.hides() {
        "hide"
    } else if denial.reason == Reason::NameNotExact {
        "name"
    } else {
        "default"
    };
    let reason = Some(denial.reason.label());
    Some(Rule { reason, denies: true, ..Rule::new(denial.rule, kind) })
}

fn of_entry(entry: &Entry, rule: Rule) -> Rule {
    Rule { entry: Some(entry.key()), shadow: entry.force == Force::Shadow, ..rule }
}

fn action(entry: &Entry, kind: Kind) -> Rule {
    let reason = match entry.action {
        Action::Allow => None,
        Action::Deny => Some(denied(kind).label()),
        Action::RequireApproval => Some(Reason::ApprovalRequired.label()),
    };
    let rule = match entry.action {
        Action::Allow => entry.pointer(),
        Action::Deny | Action::RequireApproval => &entry.action_pointer,
    };
    Rule { denies: reason.is_some(), reason, ..Rule::new(rule, "action") }
}
