//! The values of `in` and `not_in`, looked up by hash: a long list costs a value no more than a short one.

use std::collections::HashSet;

use super::scalar::{Scalar, kind_mismatch};
use super::{Mismatch, Truth};
use crate::json::Value;
use crate::number::Decimal;

/// The values.
#[derive(Clone, Debug)]
pub struct Members {
    scalars: Box<[Scalar]>,
    texts: HashSet<Box<str>>,
    numbers: HashSet<Decimal>,
    flags: HashSet<bool>,
    /// Where the first value of each kind is.
    kinds: Box<[usize]>,
}

impl Members {
    /// Takes the values in the order of the policy.
    #[must_use]
    pub fn new(scalars: Box<[Scalar]>) -> Members {
        let text = |scalar: &Scalar| match scalar {
            Scalar::String(text) => Some(text.clone()),
            Scalar::Bool(_) | Scalar::Number(_) => None,
        };
        let number = |scalar: &Scalar| match scalar {
            Scalar::Number(number) => Some(*number),
            Scalar::Bool(_) | Scalar::String(_) => None,
        };
        let flag = |scalar: &Scalar| match scalar {
            Scalar::Bool(flag) => Some(*flag),
            Scalar::Number(_) | Scalar::String(_) => None,
        };
        let flags = scalars.iter().filter_map(flag).collect();
        let texts = scalars.iter().filter_map(text).collect();
        let numbers = scalars.iter().filter_map(number).collect();
        let first = |kind: &str| scalars.iter().position(|scalar| scalar.kind() == kind);
        let mut kinds: Vec<usize> =
            ["a boolean", "a number", "a string"].into_iter().filter_map(first).collect();
        kinds.sort_unstable();
        Members { scalars, texts, numbers, flags, kinds: kinds.into() }
    }

    /// The values, in the order of the policy.
    #[must_use]
    pub fn scalars(&self) -> &[Scalar] {
        &self.scalars
    }

    /// Whether a value is one of them; undecidable if it is none, and of another type than some.
    pub(super) fn holds(&self, value: &Value<'_>) -> Truth {
        let is_one = match value {
            Value::String(text) => self.texts.contains(&**text),
            Value::Bool(flag) => self.flags.contains(flag),
            Value::Number(text) => match Decimal::parse(text) {
                Some(number) => return self.holds_number(number),
                None => return self.first(|scalar| Some(scalar.equals(value))),
            },
            Value::Null | Value::Array(_) | Value::Object(_) => false,
        };
        let other = |scalar: &Scalar| kind_mismatch(scalar, value).map(Truth::Undecidable);
        if is_one { Truth::True } else { self.first(other) }
    }

    pub(super) fn holds_number(&self, number: Decimal) -> Truth {
        let other = |scalar: &Scalar| match scalar {
            Scalar::Number(_) => None,
            Scalar::Bool(_) | Scalar::String(_) => {
                let expected = scalar.kind();
                Some(Truth::Undecidable(Mismatch { expected, found: "a number" }))
            }
        };
        if self.numbers.contains(&number) { Truth::True } else { self.first(other) }
    }

    /// The first answer of a kind of values, in the order of the policy; else false.
    fn first(&self, answer: impl Fn(&Scalar) -> Option<Truth>) -> Truth {
        let kinds = self.kinds.iter().filter_map(|at| self.scalars.get(*at));
        kinds.into_iter().find_map(answer).unwrap_or(Truth::False)
    }
}
