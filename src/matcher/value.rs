//! Tests on one value, with three outcomes.

use std::borrow::Cow;

use super::members::Members;
use super::normal::nfc;
use super::path::Decode;
use super::regex::Regex;
use super::work::{Price, Work};
use super::{Mismatch, Truth, name::Pattern};
use crate::json::Value;
use crate::json::lenient::{begins_as_json, may_be_json};
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
    OneOf(Members),
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
    /// What a test of a text costs.
    price: Price,
}

/// On what terms a value is tested.
#[derive(Clone, Copy, Debug)]
pub struct Terms<'w> {
    /// How the server takes a string that is JSON text.
    pub decode: Decode,
    /// What the test is paid with.
    pub work: &'w Work,
}

impl Matcher {
    /// An operator with its value.
    #[must_use]
    pub fn new(test: Test, negated: bool) -> Matcher {
        let price = test.price();
        Matcher { test, negated, price }
    }

    /// Tests a value; `None` is an absent one.
    #[must_use]
    pub fn test(&self, value: Option<&Value<'_>>, side: Side, terms: Terms<'_>) -> Truth {
        let present = matches!(self.test, Test::Present);
        let Some(value) = value else {
            return Truth::from(self.negated && (present || side == Side::DenyIf));
        };
        let truth = self.plainly(value, terms).unwrap_or_else(Truth::Undecidable);
        if self.negated { truth.negate() } else { truth }
    }

    /// Whether a value of a schema holds, strings taken as strings. For those who look at policies, not at requests.
    #[must_use]
    pub fn meets(&self, value: Option<&Value<'_>>, side: Side) -> bool {
        let work = Work::of(usize::MAX);
        self.test(value, side, Terms { decode: Decode::Never, work: &work }) == Truth::True
    }

    /// The test without its negation, once it is paid for.
    fn plainly(&self, value: &Value<'_>, terms: Terms<'_>) -> Result<Truth, Mismatch> {
        match (&self.test, value) {
            (Test::Contains(scalar), Value::Array(items)) => self.element(scalar, items, terms),
            (_, Value::String(text)) => {
                read_once(text, terms)?;
                if matches!(self.test, Test::Present) {
                    return Ok(Truth::True);
                }
                terms.work.spend_on(self.price, text.len())?;
                let truth = self.test.holds(value);
                if text.is_ascii() {
                    return Ok(truth);
                }
                self.normalized(text, truth, terms)
            }
            (Test::Present, _) => Ok(Truth::True),
            (_, Value::Number(text)) => {
                terms.work.spend_on(Price { fixed: 16, eighths_per_byte: 32 }, text.len())?;
                Ok(self.test.holds(value))
            }
            (_, Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_)) => {
                terms.work.spend(8)?;
                Ok(self.test.holds(value))
            }
        }
    }

    /// A text that has another normal form is compared in both; servers take either.
    fn normalized(&self, text: &str, truth: Truth, terms: Terms<'_>) -> Result<Truth, Mismatch> {
        terms.work.spend_on(NORMALIZE, text.len())?;
        let Cow::Owned(normal) = nfc(text) else { return Ok(truth) };
        terms.work.spend_on(NORMALIZE, 4 * text.len())?;
        terms.work.spend_on(self.price, normal.len())?;
        let again = self.test.holds(&Value::String(Cow::Borrowed(&normal)));
        if again == truth { Ok(truth) } else { Err(NOT_NORMAL) }
    }

    /// `contains` of a list: an element equals.
    fn element(
        &self,
        scalar: &Scalar,
        items: &[Value<'_>],
        terms: Terms<'_>,
    ) -> Result<Truth, Mismatch> {
        terms.work.spend(8 * items.len() as u64)?;
        let mut truth = Truth::False;
        // As everywhere, null is nothing.
        for item in items.iter().filter(|item| **item != Value::Null) {
            truth =
                truth.or(self.is_element(scalar, item, terms).unwrap_or_else(Truth::Undecidable));
        }
        Ok(truth)
    }

    fn is_element(
        &self,
        scalar: &Scalar,
        item: &Value<'_>,
        terms: Terms<'_>,
    ) -> Result<Truth, Mismatch> {
        let truth = scalar.equals(item);
        match item {
            Value::String(text) => {
                read_once(text, terms)?;
                if text.is_ascii() {
                    return Ok(truth);
                }
                terms.work.spend_on(NORMALIZE, 4 * text.len())?;
                let normal = nfc(text);
                let again = scalar.equals(&Value::String(Cow::Borrowed(&normal)));
                if again == truth { Ok(truth) } else { Err(NOT_NORMAL) }
            }
            Value::Number(text) => {
                terms.work.spend_on(Price { fixed: 16, eighths_per_byte: 32 }, text.len())?;
                Ok(truth)
            }
            Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => Ok(truth),
        }
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
            Test::OneOf(members) => members.scalars(),
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
            Test::OneOf(members) => {
                members.scalars().iter().all(|scalar| matches!(scalar, Scalar::Number(_)))
            }
            Test::Less(_) | Test::AtMost(_) | Test::Greater(_) | Test::AtLeast(_) => true,
            Test::Regex(_) | Test::Glob(_) | Test::Contains(_) => false,
            Test::StartsWith(_) | Test::EndsWith(_) | Test::Present => false,
        }
    }

    /// What a test of a text costs: measured, and rounded up.
    fn price(&self) -> Price {
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
            Test::Equal(_) | Test::Glob(_) | Test::StartsWith(_) | Test::EndsWith(_) => price(8, 1),
            Test::Less(_) | Test::AtMost(_) | Test::Greater(_) | Test::AtLeast(_) => price(8, 0),
            Test::Present => price(8, 0),
        }
    }

    fn holds(&self, value: &Value<'_>) -> Truth {
        match self {
            Test::Equal(scalar) => scalar.equals(value),
            Test::OneOf(members) => members.holds(value),
            Test::Less(_) | Test::AtMost(_) | Test::Greater(_) | Test::AtLeast(_) => {
                number(value, |number| self.holds_number(number))
            }
            Test::Regex(regex) => string(value, |text| regex.is_match(text)),
            Test::Glob(pattern) => string(value, |text| pattern.matches(text)),
            Test::StartsWith(prefix) => string(value, |text| text.starts_with(&**prefix)),
            Test::EndsWith(suffix) => string(value, |text| text.ends_with(&**suffix)),
            Test::Contains(scalar) => scalar.is_in(value),
            Test::Present => Truth::True,
        }
    }

    fn holds_number(&self, found: Decimal) -> Truth {
        let needs_string = Truth::Undecidable(Mismatch { expected: "a string", found: "a number" });
        match self {
            Test::Equal(scalar) => scalar.equals_number(found),
            Test::OneOf(members) => members.holds_number(found),
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

    fn equals_number(&self, found: Decimal) -> Truth {
        match self {
            Scalar::Number(expected) => Truth::from(*expected == found),
            Scalar::Bool(_) | Scalar::String(_) => {
                Truth::Undecidable(Mismatch { expected: self.kind(), found: "a number" })
            }
        }
    }

    /// `contains` of what is no list: a piece of a string.
    fn is_in(&self, value: &Value<'_>) -> Truth {
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

const NORMALIZE: Price = Price { fixed: 16, eighths_per_byte: 24 };

const NOT_NORMAL: Mismatch = Mismatch {
    expected: "text in normal form C",
    found: "text whose normal form compares otherwise",
};

/// Refuses a string that some servers take as a string, and others as the object, the array or nothing that it holds.
fn read_once(text: &str, terms: Terms<'_>) -> Result<(), Mismatch> {
    terms.work.spend_on(Price { fixed: 8, eighths_per_byte: 1 }, text.len())?;
    if terms.decode != Decode::Unsaid {
        return Ok(());
    }
    // Looked through to the end only where it begins as JSON.
    if begins_as_json(text) {
        terms.work.spend_on(Price { fixed: 8, eighths_per_byte: 96 }, text.len())?;
    }
    let mismatch = Mismatch {
        expected: "text that is no JSON",
        found: "JSON text, which servers read in two ways",
    };
    if may_be_json(text) { Err(mismatch) } else { Ok(()) }
}

/// What is wrong with comparing these, where they are of two kinds.
pub(super) fn kind_mismatch(scalar: &Scalar, value: &Value<'_>) -> Option<Mismatch> {
    (scalar.kind() != value.kind())
        .then(|| Mismatch { expected: scalar.kind(), found: value.kind() })
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
