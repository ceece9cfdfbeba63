//! Values and conditions, as an explanation shows them.

use crate::json::{Value, written};
use crate::matcher::Truth;
use crate::matcher::path::Path;
use crate::matcher::value::{Matcher, Scalar, Terms, Test};

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
    written(text)
}

/// The operator of a condition and its value, as the policy writes them.
pub(super) fn operator(matcher: &Matcher) -> (&'static str, String) {
    let (plain, negated, value) = match &matcher.test {
        Test::Equal(value) => ("eq", "neq", scalar(value)),
        Test::OneOf(members) => {
            let values: Vec<String> = members.scalars().iter().map(scalar).collect();
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
