//! The operators of conditions: one row each.
//!
//! The compiler of policies, the JSON Schema, the lint, explanations and the reference page all read this table, so a new
//! operator is a row here. Only one that takes a value of a new kind needs more: a member of [`Takes`] and of [`Test`], and the
//! reader of that kind in `language/compile/condition.rs`; the compiler leads to each place. Prose is for authors, so the filter's
//! rows have none.

use std::cmp::Ordering;

use super::instant::{TIME, Time, TimeOperand, no_time};
use super::members::Members;
use super::name::Pattern;
use super::pair::{NOTHING, OfText, Order, Pairing};
use super::regex::Regex;
use super::scalar::{Scalar, number};
use super::work::Price;
use super::{Mismatch, Truth};
use crate::json::Value;
#[cfg(not(target_os = "wasi"))]
use crate::json::written;
use crate::number::Decimal;
use crate::time::UnixMillis;

/// An operator of the language.
#[derive(Debug)]
pub struct Operator {
    /// How policies write it.
    pub word: &'static str,
    /// What it takes, and how it compares.
    pub takes: Takes,
    /// Whether it is the opposite of the operator that takes the same.
    pub negated: bool,
    /// When it holds, in Markdown.
    #[cfg(not(target_os = "wasi"))]
    pub about: &'static str,
}

/// What an operator takes in the policy, and how that is compared with a value.
#[derive(Clone, Copy, Debug)]
pub enum Takes {
    /// A string, number or boolean, which the value equals.
    Equal,
    /// A list of these, one of which the value equals.
    OneOf,
    /// A number.
    Number(Order),
    /// A regular expression.
    Regex,
    /// A pattern of the whole text.
    Glob,
    /// A string, number or boolean, which is in the value.
    Contained,
    /// A string.
    Text(OfText),
    /// A time, or `now`.
    Time(Order),
    /// Whether there is a value.
    Presence,
}

/// Every operator, in the order of the reference.
pub static OPERATORS: &[Operator] = &[
    row("eq", Takes::Equal, "the argument equals the value"),
    not("neq", Takes::Equal, "the argument does not equal the value"),
    row("in", Takes::OneOf, "the argument equals a member of the list"),
    not("not_in", Takes::OneOf, "the argument equals no member of the list"),
    row("lt", Takes::Number(Ordering::is_lt), "the argument is less"),
    row("lte", Takes::Number(Ordering::is_le), "the argument is less or equal"),
    row("gt", Takes::Number(Ordering::is_gt), "the argument is more"),
    row("gte", Takes::Number(Ordering::is_ge), "the argument is more or equal"),
    row("regex", Takes::Regex, "the expression finds something in the argument (unanchored)"),
    not("not_regex", Takes::Regex, "the expression finds nothing in it"),
    row(
        "contains",
        Takes::Contained,
        "the string has this piece, or the list has an element that equals it",
    ),
    not("not_contains", Takes::Contained, "it has no such piece or element"),
    row("exists", Takes::Presence, "`true`: the argument is there; `false`: it is not, or `null`"),
    row(
        "starts_with",
        Takes::Text(|text, piece| text.starts_with(piece)),
        "the argument begins with the value",
    ),
    row(
        "ends_with",
        Takes::Text(|text, piece| text.ends_with(piece)),
        "the argument ends with the value",
    ),
    row(
        "glob",
        Takes::Glob,
        "the pattern matches the whole argument: `*` any run of characters, `?` exactly one",
    ),
    row(
        "before",
        Takes::Time(Ordering::is_lt),
        "the argument is an earlier instant; `now` is the time of the call",
    ),
    row("after", Takes::Time(Ordering::is_gt), "the argument is a later instant"),
];

/// A row of the table. In the filter its prose is read by nobody, and left out.
const fn row(word: &'static str, takes: Takes, about: &'static str) -> Operator {
    #[cfg(target_os = "wasi")]
    let _ = about;
    Operator {
        word,
        takes,
        negated: false,
        #[cfg(not(target_os = "wasi"))]
        about,
    }
}

/// A row of an operator that holds where the one above it does not.
const fn not(word: &'static str, takes: Takes, about: &'static str) -> Operator {
    Operator { negated: true, ..row(word, takes, about) }
}

impl Takes {
    /// How it compares two fields of a request; `None` where the value has to be the author's.
    #[must_use]
    pub fn pairing(self) -> Option<Pairing> {
        match self {
            Takes::Equal => Some(Pairing::Equal),
            Takes::OneOf => Some(Pairing::OneOf),
            Takes::Number(order) => Some(Pairing::Number(order)),
            Takes::Contained => Some(Pairing::Contained),
            Takes::Text(holds) => Some(Pairing::Text(holds)),
            Takes::Time(order) => Some(Pairing::Time(order)),
            // Nobody but the author writes patterns.
            Takes::Regex | Takes::Glob | Takes::Presence => None,
        }
    }

    /// Whether a count can be compared with what it takes.
    #[must_use]
    pub fn fits_counters(self) -> bool {
        match self {
            Takes::Equal | Takes::Number(_) => true,
            // A list may hold numbers, but nobody needs to be told of that.
            Takes::OneOf | Takes::Regex | Takes::Glob | Takes::Contained => false,
            Takes::Text(_) | Takes::Time(_) | Takes::Presence => false,
        }
    }
}

#[cfg(not(target_os = "wasi"))]
impl Takes {
    /// The value in the policy, in words.
    #[must_use]
    pub fn value(self) -> &'static str {
        match self {
            Takes::Equal | Takes::Contained => "string, number, boolean",
            Takes::OneOf => "list of strings, numbers, booleans",
            Takes::Number(_) => "number",
            Takes::Regex => "[RE2](README.md#regular-expressions)",
            Takes::Glob => "pattern",
            Takes::Text(_) => "string",
            Takes::Time(_) => "[time](README.md#times), or `now`",
            Takes::Presence => "boolean",
        }
    }

    /// The argument that it can be compared with, in words.
    #[must_use]
    pub fn argument(self) -> &'static str {
        match self {
            Takes::Equal => "the same type",
            Takes::OneOf => "the same type as each member",
            Takes::Number(_) => "number",
            Takes::Regex | Takes::Glob | Takes::Text(_) => "string",
            Takes::Time(_) => "string that is a time with its offset",
            Takes::Contained => "string, if the value is one; list",
            Takes::Presence => "any; `null` counts as absent",
        }
    }

    /// The value in the policy, as JSON Schema.
    #[must_use]
    pub fn schema(self) -> &'static str {
        match self {
            Takes::Equal | Takes::Contained => r#"{"type":["string","number","boolean"]}"#,
            Takes::OneOf => r#"{"type":"array","minItems":1}"#,
            Takes::Number(_) => r#"{"type":"number"}"#,
            Takes::Regex | Takes::Glob | Takes::Text(_) => r#"{"type":"string"}"#,
            Takes::Time(_) => {
                r#"{"type":"string","pattern":"^(now|[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt][0-9]{2}:[0-9]{2}:[0-5][0-9]([.][0-9]+)?([Zz]|[+-][0-9]{2}:[0-9]{2}))$"}"#
            }
            Takes::Presence => r#"{"type":"boolean"}"#,
        }
    }
}

/// An operator's comparison with the value that a policy gives it, negation aside.
#[derive(Clone, Debug)]
pub enum Test {
    /// Equals.
    Equal(Scalar),
    /// Equals one of these.
    OneOf(Members),
    /// A number, in this order to that.
    Number(Order, Decimal),
    /// A regular expression finds something.
    Regex(Regex),
    /// A pattern matches the whole.
    Glob(Pattern),
    /// A piece of a text, or an element of a list.
    Contains(Scalar),
    /// A text, compared so with that.
    Text(OfText, Box<str>),
    /// A time, in this order to that.
    Time(Order, TimeOperand),
    /// Another field of the request, compared so: it stands beside the test, in its condition.
    Field(Pairing),
    /// There is a value.
    Present,
}

impl Test {
    /// The values that `eq` and `in` compare with; none for other operators.
    #[must_use]
    pub fn scalars(&self) -> &[Scalar] {
        match self {
            Test::Equal(scalar) => std::slice::from_ref(scalar),
            Test::OneOf(members) => members.scalars(),
            Test::Number(..) | Test::Regex(_) | Test::Glob(_) | Test::Contains(_) => &[],
            Test::Text(..) | Test::Time(..) | Test::Field(_) | Test::Present => &[],
        }
    }

    /// Whether a number can be tested.
    #[must_use]
    pub fn fits_numbers(&self) -> bool {
        match self {
            Test::Equal(scalar) => matches!(scalar, Scalar::Number(_)),
            Test::OneOf(members) => {
                members.scalars().iter().all(|scalar| matches!(scalar, Scalar::Number(_)))
            }
            Test::Number(..) => true,
            Test::Regex(_) | Test::Glob(_) | Test::Contains(_) => false,
            Test::Text(..) | Test::Time(..) | Test::Field(_) | Test::Present => false,
        }
    }

    /// What a test of a text costs: measured, and rounded up.
    pub(super) fn price(&self) -> Price {
        let price = |fixed, eighths_per_byte| Price { fixed, eighths_per_byte };
        match self {
            Test::Regex(regex) => match regex.states_per_byte() as u64 {
                1 => price(32, 16),
                states => price(64 * states, 64 * states),
            },
            Test::Glob(Pattern::Glob(glob)) => {
                price(2 * glob.length() as u64, 16 * (glob.words() as u64 + 1))
            }
            Test::Contains(_) => price(32, 24),
            Test::OneOf(_) => price(32, 16),
            Test::Equal(_) | Test::Glob(_) | Test::Text(..) => price(8, 1),
            Test::Time(..) => price(32, 16),
            // Two fields are paid for as they are compared.
            Test::Number(..) | Test::Field(_) | Test::Present => price(8, 0),
        }
    }

    pub(super) fn holds(&self, value: &Value<'_>, now: UnixMillis) -> Truth {
        match self {
            Test::Equal(scalar) => scalar.equals(value),
            Test::OneOf(members) => members.holds(value),
            Test::Number(..) => number(value, |number| self.holds_number(number)),
            Test::Regex(regex) => string(value, |text| regex.is_match(text)),
            Test::Glob(pattern) => string(value, |text| pattern.matches(text)),
            Test::Text(holds, piece) => string(value, |text| holds(text, piece)),
            Test::Time(holds, moment) => match value.as_str().and_then(Time::parse) {
                Some(time) => time.stands(*holds, moment, now),
                None => Truth::Undecidable(no_time(value)),
            },
            Test::Contains(scalar) => scalar.is_in(value),
            Test::Field(_) => Truth::Undecidable(NOTHING),
            Test::Present => Truth::True,
        }
    }

    pub(super) fn holds_number(&self, found: Decimal) -> Truth {
        let needs_string = Truth::Undecidable(Mismatch { expected: "a string", found: "a number" });
        match self {
            Test::Equal(scalar) => scalar.equals_number(found),
            Test::OneOf(members) => members.holds_number(found),
            Test::Number(holds, bound) => Truth::from(holds(found.cmp(bound))),
            Test::Regex(_) | Test::Glob(_) | Test::Contains(_) | Test::Text(..) => needs_string,
            Test::Time(..) => Truth::Undecidable(Mismatch { expected: TIME, found: "a number" }),
            Test::Field(_) => Truth::Undecidable(NOTHING),
            Test::Present => Truth::True,
        }
    }
}

impl Test {
    /// Whether it comes to something else at another time.
    #[must_use]
    pub fn depends_on_time(&self) -> bool {
        matches!(self, Test::Time(_, TimeOperand::Now))
    }
}

#[cfg(not(target_os = "wasi"))]
impl Test {
    /// The types of a JSON Schema that it can decide on; empty where it takes any.
    #[must_use]
    pub fn types(&self) -> &'static [&'static str] {
        match self {
            Test::Equal(scalar) => scalar.types(),
            Test::OneOf(members) => members.scalars().first().map_or(&[][..], Scalar::types),
            Test::Number(..) => &["number", "integer"],
            Test::Regex(_) | Test::Glob(_) | Test::Text(..) | Test::Time(..) => &["string"],
            Test::Contains(Scalar::String(_)) => &["string", "array"],
            Test::Contains(Scalar::Bool(_) | Scalar::Number(_)) => &["array"],
            Test::Field(_) | Test::Present => &[],
        }
    }

    /// The value that the policy gives it, as JSON; nothing where that is only whether to negate.
    #[must_use]
    pub fn value(&self) -> Option<String> {
        Some(match self {
            Test::Equal(scalar) | Test::Contains(scalar) => scalar.to_string(),
            Test::OneOf(members) => {
                let values: Vec<String> = members.scalars().iter().map(Scalar::to_string).collect();
                format!("[{}]", values.join(", "))
            }
            Test::Number(_, bound) => bound.to_string(),
            Test::Regex(regex) => written(regex.as_str()),
            Test::Glob(pattern) => written(&pattern.to_string()),
            Test::Text(_, piece) => written(piece),
            Test::Time(_, moment) => written(moment.text()),
            Test::Field(_) | Test::Present => return None,
        })
    }
}

fn string(value: &Value<'_>, holds: impl FnOnce(&str) -> bool) -> Truth {
    match value.as_str() {
        Some(text) => Truth::from(holds(text)),
        None => Truth::Undecidable(Mismatch { expected: "a string", found: value.kind() }),
    }
}
