//! Why a call is decided as it is, rule by rule, with what was compared. For the command only.
//!
//! The decision itself is made by the filter's exchange (see [`crate::rehearsal`]); here each rule is asked once more, by the
//! same functions, and its answer written down. Rules behind the one that decided are asked too.

use serde::Serialize;

use crate::decision::{CounterUnread, by_check, by_name};
use crate::enforce::amount;
use crate::identity::Caller;
use crate::json::{Duplicates, Value, parse};
use crate::matcher::path::{Decode, Path};
use crate::matcher::value::{Matcher, Scalar, Test};
use crate::matcher::{Mismatch, Truth};
use crate::mcp::message::{Body, Call, Message};
use crate::number::Micros;
use crate::policy::compiled::{
    Action, Check, CheckKind, Condition, Entry, Limit, Policy, Scope, Subject,
};
use crate::rate::limiter::{Charge, Force, Limiter};
use crate::rate::memory::MemoryStore;
use crate::rehearsal::{Request, Stage};
use crate::time::UnixMillis;

/// Longest text of an argument that is shown, in characters.
const LONGEST: usize = 60;

/// The rules that a call meets, in the order in which they are asked.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Trace {
    /// The tool that is called.
    pub tool: String,
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
    /// The tool key of its entry; none for rules of the whole policy.
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
    /// The path of the argument, or the name of the counter.
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
    /// `grant`, `session` or `global`.
    pub scope: &'static str,
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

/// Asks every rule that a request meets; none where it is no tool call.
#[must_use]
pub fn trace(stage: &Stage, request: &Request) -> Trace {
    let Ok(body) = parse(&request.body, Duplicates::Refuse) else { return Trace::default() };
    let Ok(Body::Single(Message::Call(call))) = Body::read(&body) else {
        return Trace::default();
    };
    let policy = &stage.config.policy;
    let store = stage.store.clone();
    let tracer = Tracer {
        policy,
        call: &call,
        caller: stage.caller(request),
        limiter: Limiter::new(&store, stage.config.counters.shards),
        now: request.at,
    };
    Trace { tool: call.tool.to_owned(), rules: tracer.rules() }
}

struct Tracer<'t> {
    policy: &'t Policy,
    call: &'t Call<'t>,
    caller: Caller,
    limiter: Limiter<'t, MemoryStore>,
    now: UnixMillis,
}

impl Tracer<'_> {
    fn rules(&self) -> Vec<Rule> {
        let mut rules: Vec<Rule> = by_name(self.policy, self.call.tool)
            .map(|denial| Rule {
                reason: Some(denial.reason.label()),
                denies: true,
                ..Rule::new(denial.rule, name_kind(denial.rule))
            })
            .into_iter()
            .collect();
        // A name that is not let in meets no entry.
        if !rules.is_empty() {
            return rules;
        }
        for entry in self.policy.entries_for(self.call.tool) {
            let key = entry.key();
            let of_entry = |rule: Rule| Rule {
                entry: Some(key.clone()),
                shadow: entry.force == Force::Shadow,
                ..rule
            };
            rules.push(of_entry(action(entry)));
            rules.extend(entry.checks.iter().map(|check| of_entry(self.check(check, entry))));
            let limits = entry.limits.iter();
            rules.extend(limits.map(|limit| of_entry(self.limit(limit, entry.decode))));
        }
        let limits = self.policy.all_limits.iter();
        rules.extend(limits.map(|limit| self.limit(limit, Decode::Never)));
        rules
    }

    fn used(&self, counter: usize) -> Result<Micros, CounterUnread> {
        let named = self.policy.counters.get(counter).ok_or(CounterUnread)?;
        let caller = self.caller.counted_as(named.scope);
        self.limiter.used(named.counter, caller, self.now).map_err(|_| CounterUnread)
    }

    fn check(&self, check: &Check, entry: &Entry) -> Rule {
        let mut count = |counter| self.used(counter).map(Some);
        let denial = by_check(check, self.call.arguments, entry.decode, &mut count)
            .unwrap_or_else(|CounterUnread| Some(check.unread()));
        let kind = match (check.kind, check.pointer.rsplit('/').nth(1)) {
            (_, Some("rules")) | (CheckKind::Deny, _) => "rule",
            (CheckKind::Require, _) => "require",
            (CheckKind::DenyIf, _) => "deny_if",
        };
        let compared = |condition| self.compared(condition, check, entry.decode);
        Rule {
            denies: denial.is_some(),
            reason: denial.map(|denial| denial.reason.label()),
            conditions: check.conditions.iter().map(compared).collect(),
            ..Rule::new(&check.pointer, kind)
        }
    }

    fn compared(&self, condition: &Condition, check: &Check, decode: Decode) -> Compared {
        let mut count = |counter| self.used(counter).map(Some);
        let truth = condition.holds(self.call.arguments, decode, check.side(), &mut count);
        let (path, found) = match &condition.subject {
            Subject::Argument(path) => {
                (path.text().to_owned(), found(path, self.call.arguments, decode))
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

    fn limit(&self, limit: &Limit, decode: Decode) -> Rule {
        let rule = Rule::new(&limit.pointer, "limit");
        let Some(named) = self.policy.counters.get(limit.counter) else { return rule };
        let counts = amount(&limit.amount, self.call.arguments, decode);
        let mut counted = Counted {
            counter: named.name.to_string(),
            scope: match named.scope {
                Scope::Grant => "grant",
                Scope::Session => "session",
                Scope::Global => "global",
            },
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
                if let crate::decision::Detail::Mismatch(path, Mismatch { expected, found }) =
                    detail
                {
                    counted.problem = Some(format!("`{path}` must be {expected}, not {found}"));
                }
                let reason = Some(crate::reason::Reason::InvalidIncrement.label());
                return Rule { denies: true, reason, count: Some(counted), ..rule };
            }
        };
        counted.amount = Some(amount.to_string());
        // In shadow, so that the store, a copy, says it of each limit by itself.
        let caller = self.caller.counted_as(named.scope);
        let force = Force::Shadow;
        let charge = Charge { counter: named.counter, caller, amount, max: limit.max, force };
        let granted = self.limiter.reserve(&[charge], self.now);
        let overrun = granted.as_ref().ok().and_then(|granted| granted.would_exceed);
        if let Ok(granted) = &granted {
            self.limiter.give_back(granted.reservations.iter().map(|(_, reservation)| reservation));
        }
        counted.retry_after_ms = overrun.and_then(|overrun| overrun.retry_after);
        Rule {
            denies: overrun.is_some(),
            reason: overrun.map(|_| crate::reason::Reason::LimitReached.label()),
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

fn name_kind(rule: &str) -> &'static str {
    match rule.split('/').nth(1) {
        Some("hide") => "hide",
        Some("default") => "default",
        _ => "name",
    }
}

fn action(entry: &Entry) -> Rule {
    use crate::reason::Reason;
    let reason = match entry.action {
        Action::Allow => None,
        Action::Deny => Some(Reason::ToolDenied.label()),
        Action::RequireApproval => Some(Reason::ApprovalRequired.label()),
    };
    let rule = match entry.action {
        Action::Allow => entry.pointer(),
        Action::Deny | Action::RequireApproval => &entry.action_pointer,
    };
    Rule { denies: reason.is_some(), reason, ..Rule::new(rule, "action") }
}

/// What a path leads to, with its type.
fn found(path: &Path, arguments: Option<&Value<'_>>, decode: Decode) -> Vec<String> {
    let mut found = Vec::new();
    path.visit(arguments, decode, &mut |value| {
        found.push(value.map_or("nothing".to_owned(), shown));
        Truth::False
    });
    found
}

fn shown(value: &Value<'_>) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::Bool(flag) => format!("the boolean {flag}"),
        Value::Number(text) => format!("the number {}", shortened(text)),
        Value::String(text) => format!("the string {}", quoted(&shortened(text))),
        Value::Array(items) => format!("an array of {}", items.len()),
        Value::Object(object) => format!("an object of {}", object.0.len()),
    }
}

fn shortened(text: &str) -> String {
    let mut short: String = text.chars().take(LONGEST).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    short
}

fn quoted(text: &str) -> String {
    let mut out = String::new();
    crate::json::write_string(&mut out, text);
    out
}

/// The operator of a condition and its value, as the policy writes them.
fn operator(matcher: &Matcher) -> (&'static str, String) {
    let (plain, negated, value) = match &matcher.test {
        Test::Equal(value) => ("eq", "neq", scalar(value)),
        Test::OneOf(values) => {
            let values: Vec<String> = values.iter().map(scalar).collect();
            ("in", "not_in", format!("[{}]", values.join(", ")))
        }
        Test::Less(bound) => ("lt", "lt", bound.to_string()),
        Test::AtMost(bound) => ("lte", "lte", bound.to_string()),
        Test::Greater(bound) => ("gt", "gt", bound.to_string()),
        Test::AtLeast(bound) => ("gte", "gte", bound.to_string()),
        Test::Regex(regex) => ("regex", "not_regex", quoted(regex.as_str())),
        Test::Glob(pattern) => ("glob", "glob", quoted(&pattern.to_string())),
        Test::Contains(value) => ("contains", "not_contains", scalar(value)),
        Test::StartsWith(prefix) => ("starts_with", "starts_with", quoted(prefix)),
        Test::EndsWith(suffix) => ("ends_with", "ends_with", quoted(suffix)),
        Test::Present => ("exists", "exists", (!matcher.negated).to_string()),
    };
    (if matcher.negated { negated } else { plain }, value)
}

fn scalar(value: &Scalar) -> String {
    match value {
        Scalar::Bool(flag) => flag.to_string(),
        Scalar::Number(number) => number.to_string(),
        Scalar::String(text) => quoted(text),
    }
}
