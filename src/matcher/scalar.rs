//! The single values that a policy compares with.

use super::{Mismatch, Truth};
use crate::json::Value;
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

impl Scalar {
    pub(super) fn equals(&self, value: &Value<'_>) -> Truth {
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

    pub(super) fn equals_number(&self, found: Decimal) -> Truth {
        match self {
            Scalar::Number(expected) => Truth::from(*expected == found),
            Scalar::Bool(_) | Scalar::String(_) => {
                Truth::Undecidable(Mismatch { expected: self.kind(), found: "a number" })
            }
        }
    }

    /// `contains` of what is not a list: a piece of a string.
    pub(super) fn is_in(&self, value: &Value<'_>) -> Truth {
        match (self, value) {
            (Scalar::String(piece), Value::String(text)) => Truth::from(text.contains(&**piece)),
            (Scalar::String(_), found) => Truth::Undecidable(Mismatch {
                expected: "a string or an array",
                found: found.kind(),
            }),
            (Scalar::Bool(_) | Scalar::Number(_), found) => {
                Truth::Undecidable(Mismatch { expected: "an array", found: found.kind() })
            }
        }
    }

    pub(super) fn kind(&self) -> &'static str {
        match self {
            Scalar::Bool(_) => "a boolean",
            Scalar::Number(_) => "a number",
            Scalar::String(_) => "a string",
        }
    }
}

/// What is wrong with comparing these, where they are of two kinds.
pub(super) fn kind_mismatch(scalar: &Scalar, value: &Value<'_>) -> Option<Mismatch> {
    (scalar.kind() != value.kind())
        .then(|| Mismatch { expected: scalar.kind(), found: value.kind() })
}

/// Tests a number; undecidable if the value is none, or none that a double keeps apart.
pub(super) fn number(value: &Value<'_>, holds: impl FnOnce(Decimal) -> Truth) -> Truth {
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

#[cfg(not(target_os = "wasi"))]
impl Scalar {
    /// The types of a JSON Schema that can equal it.
    #[must_use]
    pub fn types(&self) -> &'static [&'static str] {
        match self {
            Scalar::Bool(_) => &["boolean"],
            Scalar::Number(_) => &["number", "integer"],
            Scalar::String(_) => &["string"],
        }
    }
}

/// As JSON.
#[cfg(not(target_os = "wasi"))]
impl std::fmt::Display for Scalar {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Scalar::Bool(flag) => write!(formatter, "{flag}"),
            Scalar::Number(number) => write!(formatter, "{number}"),
            Scalar::String(text) => formatter.write_str(&crate::json::written(&**text)),
        }
    }
}
