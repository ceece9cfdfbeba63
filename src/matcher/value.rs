//! Tests on one value, with three outcomes.

use std::borrow::Cow;

use super::normal::nfc;
use super::operator::{Operator, Test};
use super::pair::{FieldRead, NOTHING};
use super::reading::{NORMALIZE, NOT_NORMAL, read_once};
use super::scalar::Scalar;
use super::terms::{Decode, Terms};
use super::work::{Price, Work};
use super::{Mismatch, Truth};
use crate::json::Value;
use crate::number::Decimal;
use crate::time::UnixMillis;

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
    /// Its operator.
    pub operator: &'static Operator,
    /// What is tested.
    pub test: Test,
    /// Whether the opposite is asked: by a negated operator, or `exists: false`.
    pub negated: bool,
    /// What a test of a text costs.
    price: Price,
}

impl Matcher {
    /// An operator with its value.
    #[must_use]
    pub fn new(operator: &'static Operator, test: Test, negated: bool) -> Matcher {
        let price = test.price();
        Matcher { operator, test, negated, price }
    }

    /// The value that the policy gives the operator, as JSON.
    #[cfg(not(target_os = "wasi"))]
    #[must_use]
    pub fn value(&self) -> String {
        self.test.value().unwrap_or_else(|| (!self.negated).to_string())
    }

    /// Tests a value; `None` is an absent one.
    #[must_use]
    pub fn test(&self, value: Option<&Value<'_>>, side: Side, terms: Terms<'_>) -> Truth {
        let Some(value) = value else { return self.of_absent(side) };
        let truth = self.plainly(value, terms).unwrap_or_else(Truth::Undecidable);
        if self.negated { truth.negate() } else { truth }
    }

    /// What an absent value comes to.
    #[must_use]
    pub fn of_absent(&self, side: Side) -> Truth {
        let present = matches!(self.test, Test::Present);
        Truth::from(self.negated && (present || side == Side::DenyIf))
    }

    /// Tests a field by another one; `None` is an absent one.
    #[must_use]
    pub fn test_pair(&self, first: FieldRead<'_>, second: Option<FieldRead<'_>>) -> Truth {
        let truth = match (&self.test, second) {
            (Test::Field(pairing), Some(second)) => {
                pairing.holds(first, second).unwrap_or_else(Truth::Undecidable)
            }
            (_, Some(_) | None) => Truth::Undecidable(NOTHING),
        };
        if self.negated { truth.negate() } else { truth }
    }

    /// Whether a value of a schema holds, strings taken as strings. For those who look at policies, not at requests.
    #[must_use]
    pub fn meets(&self, value: Option<&Value<'_>>, side: Side) -> bool {
        let work = Work::of(usize::MAX);
        self.test(value, side, Terms { decode: Decode::Never, work: &work, now: UnixMillis(0) })
            == Truth::True
    }

    /// The test without its negation, once it is paid for.
    fn plainly(&self, value: &Value<'_>, terms: Terms<'_>) -> Result<Truth, Mismatch> {
        match (&self.test, value) {
            (Test::Contains(scalar), Value::Array(items)) => self.element(scalar, items, terms),
            (_, Value::String(text)) => {
                read_once(text, terms)?;
                if matches!(self.test, Test::Present | Test::Count(..)) {
                    return Ok(Truth::True);
                }
                terms.work.spend_on(self.price, text.len())?;
                let truth = self.test.holds(value, terms.now);
                if text.is_ascii() {
                    return Ok(truth);
                }
                self.normalized(text, truth, terms)
            }
            (Test::Present | Test::Count(..), _) => Ok(Truth::True),
            (_, Value::Number(text)) => {
                terms.work.spend_on(Price { fixed: 16, eighths_per_byte: 32 }, text.len())?;
                Ok(self.test.holds(value, terms.now))
            }
            (_, Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_)) => {
                terms.work.spend(8)?;
                Ok(self.test.holds(value, terms.now))
            }
        }
    }

    /// A text that has another normal form is compared in both; servers take either.
    fn normalized(&self, text: &str, truth: Truth, terms: Terms<'_>) -> Result<Truth, Mismatch> {
        terms.work.spend_on(NORMALIZE, text.len())?;
        let Cow::Owned(normal) = nfc(text) else { return Ok(truth) };
        terms.work.spend_on(NORMALIZE, 4 * text.len())?;
        terms.work.spend_on(self.price, normal.len())?;
        let again = self.test.holds(&Value::String(Cow::Borrowed(&normal)), terms.now);
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

    /// Tests the time of the call itself.
    #[must_use]
    pub fn test_now(&self, now: UnixMillis) -> Truth {
        let truth = self.test.holds_now(now);
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
