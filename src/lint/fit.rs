//! How a policy fits the tools that a server really has: unknown tools and arguments, types and values that never meet.

mod range;

use super::schema::{PathTarget, ValueFacts, target};
use super::{PolicyText, condition_pointer};
use crate::json::Value;
use crate::language::diagnostic::{Code, Diagnostic};
use crate::language::suggest::nearest;
use crate::matcher::name::Pattern;
use crate::matcher::operator::Test;
use crate::matcher::path::Path;
use crate::matcher::scalar::Scalar;
use crate::matcher::value::Side;
use crate::policy::compiled::Policy;
use crate::policy::entry::{Amount, Check, Condition, Entry, Subject};
use crate::policy::rules::Rules;
use range::Range;

/// A tool of a server.
#[derive(Clone, Copy, Debug)]
pub struct ToolSchema<'t> {
    /// Its name.
    pub name: &'t str,
    /// Its inputSchema.
    pub schema: Option<&'t Value<'t>>,
}

/// The tools of a document: a list of tools, a `tools/list` result or response, or a list of these, such as its pages.
///
/// # Errors
/// What is wrong with it, in one sentence.
pub fn tools<'t>(document: &'t Value<'t>) -> Result<Vec<ToolSchema<'t>>, String> {
    let mut found = Vec::new();
    collect(document, &mut found)?;
    Ok(found)
}

fn collect<'t>(value: &'t Value<'t>, found: &mut Vec<ToolSchema<'t>>) -> Result<(), String> {
    match value {
        Value::Array(items) => items.iter().try_for_each(|item| collect(item, found)),
        Value::Object(object) => {
            if let Some(inner) = object.get("result").or_else(|| object.get("tools")) {
                return collect(inner, found);
            }
            match object.get("name").and_then(Value::as_str) {
                Some(name) => {
                    found.push(ToolSchema { name, schema: object.get("inputSchema") });
                    Ok(())
                }
                None => {
                    Err("expected tools, each with a `name`, or the answer to tools/list"
                        .to_owned())
                }
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {
            Err(format!("expected tools, or the answer to tools/list, found {}", value.kind()))
        }
    }
}

/// Finds what in a policy does not fit a server's tools.
#[must_use]
pub fn fit(policy: &Policy, document: &Value<'_>, tools: &[ToolSchema<'_>]) -> Vec<Diagnostic> {
    let Some(text) = PolicyText::of(policy, document) else { return Vec::new() };
    let rules = &policy.rules;
    let mut fit = Fit { text, rules, tools, found: Vec::new() };
    for hidden in &policy.tools.hide {
        fit.known(&hidden.pattern, rules.pointer(hidden.rule));
    }
    for entry in policy.tools.entries() {
        fit.entry(entry);
    }
    fit.found
}

struct Fit<'f> {
    text: PolicyText<'f>,
    rules: &'f Rules,
    tools: &'f [ToolSchema<'f>],
    found: Vec<Diagnostic>,
}

/// A condition with what it stands in.
struct ConditionAt<'a> {
    check: &'a Check,
    condition: &'a Condition,
    path: &'a Path,
    pointer: String,
}

impl Fit<'_> {
    fn warn(&mut self, code: Code, pointer: &str, message: String, help: String) {
        let diagnostic = Diagnostic::warning(code, self.text.place(pointer), message);
        self.found.push(diagnostic.with_help(help));
    }

    /// Whether the server has a tool that a pattern matches.
    fn known(&mut self, pattern: &Pattern, pointer: &str) -> bool {
        if *pattern == Pattern::Any || self.tools.iter().any(|tool| pattern.accepts(tool.name)) {
            return true;
        }
        let names = || self.tools.iter().map(|tool| tool.name);
        let shown = pattern.to_string().escape_debug().to_string();
        let (message, near) = if let Pattern::Exact(name) = pattern {
            (format!("the server has no tool `{shown}`"), nearest(name, names()))
        } else {
            let all = self.tools.len();
            (format!("`{shown}` matches none of the server's {all} tools"), None)
        };
        let help = match near {
            Some(near) => format!("did you mean `{near}`?"),
            None => "remove it, or check the name with the server's tools/list".to_owned(),
        };
        self.warn(Code::UnknownTool, pointer, message, help);
        false
    }

    fn entry(&mut self, entry: &Entry) {
        let rules = self.rules;
        if !self.known(&entry.pattern, rules.pointer(entry.rule)) {
            return;
        }
        for check in &entry.checks {
            for condition in &check.conditions {
                for path in condition.paths() {
                    let pointer = condition_pointer(rules, check, condition);
                    self.condition(entry, &ConditionAt { check, condition, path, pointer });
                }
            }
        }
        for limit in &entry.limits {
            if let Amount::Argument(path) = &limit.amount {
                self.increment(entry, path, rules.pointer(limit.rule));
            }
        }
    }

    /// The tools of an entry with what their schemas say of a path, those aside that say nothing.
    fn targets<'t>(&'t self, entry: &Entry, path: &Path) -> Vec<(&'t str, PathTarget<'t>)> {
        let tools = self.tools.iter().filter(|tool| entry.pattern.accepts(tool.name));
        tools.filter_map(|tool| Some((tool.name, target(tool.schema?, path.steps())))).collect()
    }

    fn condition(&mut self, entry: &Entry, asked: &ConditionAt<'_>) {
        let mut found = Vec::new();
        let targets = self.targets(entry, asked.path);
        let all = targets.len();
        for (tool, target) in &targets {
            found.extend(asked.against(tool, target));
        }
        // Under a glob, a condition that denies may be about some of the tools only.
        let partial = asked.check.side() == Side::DenyIf && found.len() < all;
        let exact = matches!(entry.pattern, Pattern::Exact(_));
        if let Some((code, message, help)) = found.into_iter().next().filter(|_| exact || !partial)
        {
            self.warn(code, &asked.pointer, message, help);
        }
    }

    fn increment(&mut self, entry: &Entry, path: &Path, pointer: &str) {
        let mut found = None;
        for (tool, target) in self.targets(entry, path) {
            found = found.or_else(|| match target {
                PathTarget::Unknown => None,
                PathTarget::Missing { key, known } => Some(missing(tool, &key, &known)),
                PathTarget::Blocked { expected, found } => Some(blocked(tool, path, expected, &found)),
                PathTarget::Values(facts) if !facts.may_be(&["number", "integer"]) => {
                    let message = format!(
                        "`{}` of `{tool}` has type {}, and only numbers can be counted: every call is denied",
                        path.text(),
                        facts.types.join(" or ")
                    );
                    Some((Code::ArgumentType, message, "count another argument".to_owned()))
                }
                PathTarget::Values(facts) if !facts.required => {
                    let message = format!("`{}` is optional for `{tool}`: calls without it are denied", path.text());
                    let help = "say so with a condition `exists: true` and an `on_deny` of its own";
                    let says = entry.checks.iter().any(|check| mentions_presence(check, path));
                    (!says).then(|| (Code::ArgumentPresence, message, help.to_owned()))
                }
                PathTarget::Values(_) => None,
            });
        }
        if let Some((code, message, help)) = found {
            self.warn(code, pointer, message, help);
        }
    }
}

type Unfit = (Code, String, String);

impl ConditionAt<'_> {
    fn against(&self, tool: &str, target: &PathTarget<'_>) -> Option<Unfit> {
        match target {
            PathTarget::Unknown => None,
            PathTarget::Missing { key, known } => Some(missing(tool, key, known)),
            PathTarget::Blocked { expected, found } => {
                Some(blocked(tool, self.path, expected, found))
            }
            // Of what two fields hold, schemas tell nothing together.
            PathTarget::Values(_) if self.condition.from.is_some() => None,
            PathTarget::Values(facts) => self
                .types(tool, facts)
                .or_else(|| self.values(tool, facts))
                .or_else(|| self.presence(tool, facts)),
        }
    }

    /// A comparison that no value of the schema's types can decide.
    fn types(&self, tool: &str, facts: &ValueFacts<'_>) -> Option<Unfit> {
        let needed = self.condition.matcher.test.types();
        if needed.is_empty() || facts.may_be(needed) {
            return None;
        }
        let message = format!(
            "`{}` of `{tool}` has type {}, and this needs {}: every call with it is denied",
            self.path.text(),
            facts.types.join(" or "),
            needed.join(" or ")
        );
        let help = if facts.types.contains(&"array") {
            "to look at the elements, write `[*]` after the path".to_owned()
        } else {
            "compare with a value of the argument's own type".to_owned()
        };
        Some((Code::ArgumentType, message, help))
    }

    /// A comparison that the schema's values always or never meet.
    fn values(&self, tool: &str, facts: &ValueFacts<'_>) -> Option<Unfit> {
        let path = self.path.text();
        let matcher = &self.condition.matcher;
        let scalars = matcher.test.scalars();
        if let Some(values) = &facts.values {
            for scalar in scalars {
                let Scalar::String(text) = scalar else { continue };
                let names: Vec<&str> = values.iter().filter_map(|value| value.as_str()).collect();
                if !names.contains(&&**text) {
                    let message =
                        format!("`{path}` of `{tool}` is never `{}`", text.escape_debug());
                    let help = match nearest(text, names.iter().copied()) {
                        Some(near) => format!("did you mean `{near}`?"),
                        None => format!("its values are {}", names.join(", ")),
                    };
                    return Some((Code::ArgumentValue, message, help));
                }
            }
            let side = self.check.side();
            let holds = |value: &&&Value<'_>| matcher.meets(Some(value), side);
            if scalars.is_empty()
                && !matches!(matcher.test, Test::Present)
                && !matcher.test.depends_on_time()
                && !values.iter().any(|value| holds(&value))
            {
                let message = format!("no value that `{path}` of `{tool}` can have meets this");
                let shown: Vec<&str> = values.iter().filter_map(|value| value.as_str()).collect();
                return Some((
                    Code::ArgumentValue,
                    message,
                    format!("its values are {}", shown.join(", ")),
                ));
            }
        }
        let range = Range { least: facts.least, most: facts.most };
        let verdict = match (range.verdict(&matcher.test)?, matcher.negated) {
            ("never", true) => "always",
            (verdict, _) => verdict,
        };
        let message =
            format!("`{path}` of `{tool}` is {range}: this {verdict} holds, and denies every call");
        let help = "compare with a number inside that range".to_owned();
        self.denies_all(verdict == "always").then_some((Code::ArgumentValue, message, help))
    }

    /// Whether the check denies every call if this condition always, or never, holds. What a schema says twice is no mistake:
    /// a schema is a hint, and the policy holds where the server does not.
    fn denies_all(&self, always: bool) -> bool {
        match self.check.side() {
            Side::Require => !always,
            Side::DenyIf => always && self.check.conditions.len() == 1,
        }
    }

    /// A condition that supposes presence or absence against the schema.
    fn presence(&self, tool: &str, facts: &ValueFacts<'_>) -> Option<Unfit> {
        let path = self.path.text();
        let matcher = &self.condition.matcher;
        if matches!(matcher.test, Test::Present) {
            let verdict = if matcher.negated { "never" } else { "always" };
            let message =
                format!("`{tool}` requires `{path}`: this {verdict} holds, and denies every call");
            let wrong = facts.required && self.denies_all(!matcher.negated);
            return wrong.then(|| (Code::ArgumentPresence, message, "leave it out".to_owned()));
        }
        if facts.required || mentions_presence(self.check, self.path) {
            return None;
        }
        let side = self.check.side();
        let holds = |value| matcher.meets(value, side);
        // What holds only at some times says nothing of a default.
        let default = facts.default.filter(|_| !matcher.test.depends_on_time());
        let default = default.map(|default| holds(Some(default)));
        match (side, default) {
            (Side::DenyIf, Some(true)) if !holds(None) => {
                let message =
                    format!("`{tool}` takes a value that this denies when `{path}` is left out");
                let help = format!(
                    "also deny with `{{\"path\": \"{path}\", \"op\": \"exists\", \"value\": false}}`"
                );
                Some((Code::ArgumentPresence, message, help))
            }
            (Side::Require, _) if !holds(None) => {
                let message =
                    format!("`{path}` is optional for `{tool}`: calls without it are denied");
                let help = "if that is meant, add a condition `exists: true`; if not, use `deny_if` with the opposite";
                Some((Code::ArgumentPresence, message, help.to_owned()))
            }
            _ => None,
        }
    }
}

impl ValueFacts<'_> {
    /// Whether a value may be of one of these types.
    fn may_be(&self, types: &[&str]) -> bool {
        self.types.is_empty() || self.types.iter().any(|found| types.contains(found))
    }
}

/// Whether a check says itself what absence means.
fn mentions_presence(check: &Check, path: &Path) -> bool {
    check.conditions.iter().any(|condition| {
        matches!(condition.matcher.test, Test::Present)
            && matches!(&condition.subject, Subject::Argument(other) if other == path)
    })
}

fn missing(tool: &str, key: &str, known: &[&str]) -> Unfit {
    let message = format!("`{tool}` has no argument `{}`", key.escape_debug());
    let help = match nearest(key, known.iter().copied()) {
        Some(near) => format!("did you mean `{near}`?"),
        None if known.is_empty() => "it takes no arguments".to_owned(),
        None => format!("it has {}", known.join(", ")),
    };
    (Code::UnknownArgument, message, help)
}

fn blocked(tool: &str, path: &Path, expected: &str, found: &str) -> Unfit {
    let message = format!(
        "`{}` leads through a value of type {found} in `{tool}`, and needs {expected}: every call with it is denied",
        path.text()
    );
    let help = "write `[*]` after a list, and the name of a member after an object".to_owned();
    (Code::ArgumentType, message, help)
}
