//! Tests on one value, with three outcomes.

use super::path::Decode;
use super::regex::Regex;
use super::{Mismatch, Truth, name::Pattern};
use crate::json::Value;
use crate::json::lenient::may_be_json;
use crate::number::Decimal;

/// A scalar of the policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scalar {
    /// A boolean.
    Bool(bool),
    /// A number within the exact range.
    Number(Decimal),
    /// A string.
    String(Box<str>),
}

/// What an operator asks of a value, negation aside.
#[derive(Clone, Debug)]
pub enum Test {
    /// `eq`
    Equal(Scalar),
    /// `in`
    OneOf(Box<[Scalar]>),
    /// `lt`
    Less(Decimal),
    /// `lte`
    AtMost(Decimal),
    /// `gt`
    Greater(Decimal),
    /// `gte`
    AtLeast(Decimal),
    /// `regex`
    Regex(Regex),
    /// `glob`
    Glob(Pattern),
    /// `contains`
    Contains(Scalar),
    /// `starts_with`
    StartsWith(Box<str>),
    /// `ends_with`
    EndsWith(Box<str>),
    /// `exists: true`
    Present,
}

/// The side of the policy on which a condition stands: it decides what an absent value means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// `require` and `rules`: an absent value fails every operator but `exists: false`.
    Require,
    /// `deny_if`: an absent value matches `exists: false` and the negated operators.
    DenyIf,
}

/// An operator with its value.
#[derive(Clone, Debug)]
pub struct Matcher {
    /// What is tested.
    pub test: Test,
    /// Whether the operator is a negated one: `neq`, `not_in`, `not_regex`, `not_contains`, `exists: false`.
    pub negated: bool,
}

impl Matcher {
    /// Tests a value; `None` is an absent one. `decode` says how the server takes a string that is JSON text.
    #[must_use]
    pub fn test(&self, value: Option<&Value<'_>>, side: Side, decode: Decode) -> Truth {
        let present = matches!(self.test, Test::Present);
        let Some(value) = value else {
            return Truth::from(self.negated && (present || side == Side::DenyIf));
        };
        let truth = match read_twice(value, decode) {
            Some(mismatch) => Truth::Undecidable(mismatch),
            None if present => Truth::True,
            None => self.test.holds(value, decode),
        };
        if self.negated { truth.negate() } else { truth }
    }

    /// Tests the count of a counter.
    #[must_use]
    pub fn test_count(&self, count: Decimal) -> Truth {
        let truth = if matches!(self.test, Test::Present) {
            Truth::True
        } else {
            self.test.holds_number(count)
        };
        if self.negated { truth.negate() } else { truth }
    }
}

impl Test {
    /// The values that `eq` and `in` compare with; none for other operators.
    #[must_use]
    pub fn scalars(&self) -> &[Scalar] {
        match self {
            Test::Equal(scalar) => std::slice::from_ref(scalar),
            Test::OneOf(scalars) => scalars,
            Test::Less(_) | Test::AtMost(_) | Test::Greater(_) | Test::AtLeast(_) => &[],
            Test::Regex(_) | Test::Glob(_) | Test::Contains(_) => &[],
            Test::StartsWith(_) | Test::EndsWith(_) | Test::Present => &[],
        }
    }

    /// Whether a number can be tested.
    #[must_use]
    pub fn fits_numbers(&self) -> bool {
        match self {
            Test::Equal(scalar) => matches!(scalar, Scalar::Number(_)),
            Test::OneOf(scalars) => {
                scalars.iter().all(|scalar| matches!(scalar, Scalar::Number(_)))
            }
            Test::Less(_) | Test::AtMost(_) | Test::Greater(_) | Test::AtLeast(_) => true,
            Test::Regex(_) | Test::Glob(_) | Test::Contains(_) => false,
            Test::StartsWith(_) | Test::EndsWith(_) | Test::Present => false,
        }
    }

    fn holds(&self, value: &Value<'_>, decode: Decode) -> Truth {
        match self {
            Test::Equal(scalar) => scalar.equals(value),
            Test::OneOf(scalars) => one_of(scalars, |scalar| scalar.equals(value)),
            Test::Less(_) | Test::AtMost(_) | Test::Greater(_) | Test::AtLeast(_) => {
                number(value, |number| self.holds_number(number))
            }
            Test::Regex(regex) => string(value, |text| regex.is_match(text)),
            Test::Glob(pattern) => string(value, |text| pattern.matches(text)),
            Test::StartsWith(prefix) => string(value, |text| text.starts_with(&**prefix)),
            Test::EndsWith(suffix) => string(value, |text| text.ends_with(&**suffix)),
            Test::Contains(scalar) => scalar.is_in(value, decode),
            Test::Present => Truth::True,
        }
    }

    fn holds_number(&self, found: Decimal) -> Truth {
        let needs_string = Truth::Undecidable(Mismatch { expected: "a string", found: "a number" });
        match self {
            Test::Equal(scalar) => scalar.equals_number(found),
            Test::OneOf(scalars) => one_of(scalars, |scalar| scalar.equals_number(found)),
            Test::Less(bound) => Truth::from(found < *bound),
            Test::AtMost(bound) => Truth::from(found <= *bound),
            Test::Greater(bound) => Truth::from(found > *bound),
            Test::AtLeast(bound) => Truth::from(found >= *bound),
            Test::Regex(_) | Test::Glob(_) | Test::Contains(_) => needs_string,
            Test::StartsWith(_) | Test::EndsWith(_) => needs_string,
            Test::Present => Truth::True,
        }
    }
}

impl Scalar {
    fn equals(&self, value: &Value<'_>) -> Truth {
        match (self, value) {
            (Scalar::Bool(expected), Value::Bool(found)) => Truth::from(expected == found),
            (Scalar::String(expected), Value::String(found)) => Truth::from(**expected == **found),
            (Scalar::Number(_), Value::Number(_)) => {
                number(value, |found| self.equals_number(found))
            }
            (expected, found) => {
                Truth::Undecidable(Mismatch { expected: expected.kind(), found: found.kind() })
            }
        }
    }

    fn equals_number(&self, found: Decimal) -> Truth {
        match self {
            Scalar::Number(expected) => Truth::from(*expected == found),
            Scalar::Bool(_) | Scalar::String(_) => {
                Truth::Undecidable(Mismatch { expected: self.kind(), found: "a number" })
            }
        }
    }

    /// `contains`: a piece of a string, or an element of an array.
    fn is_in(&self, value: &Value<'_>, decode: Decode) -> Truth {
        match (self, value) {
            (Scalar::String(piece), Value::String(text)) => Truth::from(text.contains(&**piece)),
            // As everywhere, null is nothing.
            (_, Value::Array(items)) => items
                .iter()
                .filter(|item| **item != Value::Null)
                .fold(Truth::False, |truth, item| truth.or(self.is_item(item, decode))),
            (Scalar::String(_), found) => Truth::Undecidable(Mismatch {
                expected: "a string or an array",
                found: found.kind(),
            }),
            (Scalar::Bool(_) | Scalar::Number(_), found) => {
                Truth::Undecidable(Mismatch { expected: "an array", found: found.kind() })
            }
        }
    }

    fn is_item(&self, item: &Value<'_>, decode: Decode) -> Truth {
        read_twice(item, decode).map_or_else(|| self.equals(item), Truth::Undecidable)
    }

    fn kind(&self) -> &'static str {
        match self {
            Scalar::Bool(_) => "a boolean",
            Scalar::Number(_) => "a number",
            Scalar::String(_) => "a string",
        }
    }
}

/// A string that some servers take as a string, and others as the object, the array or nothing that it holds.
fn read_twice(value: &Value<'_>, decode: Decode) -> Option<Mismatch> {
    let text = value.as_str().filter(|_| decode == Decode::Unsaid)?;
    may_be_json(text).then_some(Mismatch {
        expected: "text that is no JSON",
        found: "JSON text, which servers read in two ways",
    })
}

fn one_of(scalars: &[Scalar], equals: impl Fn(&Scalar) -> Truth) -> Truth {
    scalars.iter().fold(Truth::False, |truth, scalar| truth.or(equals(scalar)))
}

fn string(value: &Value<'_>, holds: impl FnOnce(&str) -> bool) -> Truth {
    match value.as_str() {
        Some(text) => Truth::from(holds(text)),
        None => Truth::Undecidable(Mismatch { expected: "a string", found: value.kind() }),
    }
}

fn number(value: &Value<'_>, holds: impl FnOnce(Decimal) -> Truth) -> Truth {
    let Value::Number(text) = value else {
        return Truth::Undecidable(Mismatch { expected: "a number", found: value.kind() });
    };
    match Decimal::parse(text) {
        Some(number) => holds(number),
        None => Truth::Undecidable(Mismatch {
            expected: "a number within the exact range",
            found: "a number beyond it",
        }),
    }
}
