//! Values and conditions, as an explanation shows them.

use crate::json::{Value, written};
use crate::matcher::Truth;
use crate::matcher::path::Path;
use crate::matcher::terms::Terms;
use crate::mcp::call::Kind;
use crate::policy::compiled::Config;
use crate::policy::entry::Scope;
use crate::policy::rules::{RuleId, RuleKind};

/// Longest text of an argument that is shown, in characters.
const LONGEST: usize = 60;

pub(super) fn shown_or_nothing(value: Option<&Value<'_>>) -> String {
    value.map_or("nothing".to_owned(), shown)
}

/// What a path leads to, with its type.
pub(super) fn found(path: &Path, arguments: Option<&Value<'_>>, terms: Terms<'_>) -> Vec<String> {
    let mut found = Vec::new();
    path.visit(arguments, terms, &mut |value| {
        found.push(shown_or_nothing(value));
        Truth::False
    });
    found
}

/// Who counts together, as policies write it.
pub(super) fn scope(config: &Config, scope: Scope) -> String {
    let word = match scope {
        Scope::Grant => "grant",
        Scope::Session => "session",
        Scope::Global => "global",
        Scope::Address => "address",
        Scope::Key(at) => config.callers.keys.get(at).map_or("", |key| &*key.name),
    };
    word.to_owned()
}

/// The member of the policy in which a rule stands.
pub(super) fn section(subject: Kind, entry: Option<RuleId>, kind: RuleKind) -> &'static str {
    match subject {
        Kind::Tool if entry.is_none() && kind == RuleKind::Limit => "all_tools",
        Kind::Tool => "tools",
        Kind::Resource => "resources",
        Kind::Prompt => "prompts",
        Kind::Method => "methods",
    }
}

fn shown(value: &Value<'_>) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::Bool(flag) => format!("the boolean {flag}"),
        Value::Number(text) => format!("the number {}", shortened(text)),
        Value::String(text) => format!("the string {}", written(&shortened(text))),
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
