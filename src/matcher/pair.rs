//! One field of a request compared with another: neither is a value of the policy, so each is read with the same suspicion.
//!
//! What an author's value can be trusted with is not given to a caller's: no field is a pattern, an empty text is no piece of
//! anything, and a field that is not there cannot be compared with.

use std::cmp::Ordering;

use super::folder::lies_under;
use super::instant::{Time, no_time};
use super::normal::nfc;
use super::reading::{NORMALIZE, NOT_NORMAL, read_once};
use super::scalar::number;
use super::terms::Terms;
use super::work::Price;
use super::{Mismatch, Truth};
use crate::json::Value;
use crate::number::Decimal;

/// How an operator compares what stands in an order with its value.
pub type Order = fn(Ordering) -> bool;

/// How an operator compares a text with its value.
pub type OfText = fn(&str, &str) -> bool;

/// How two fields are compared.
#[derive(Clone, Copy, Debug)]
pub enum Pairing {
    /// They are equal.
    Equal,
    /// The second is a list, one of whose elements equals the first.
    OneOf,
    /// Both are numbers, in this order.
    Number(Order),
    /// The second is a piece of the first, or one of its elements.
    Contained,
    /// Both are texts, compared so.
    Text(OfText),
    /// Both are times, in this order.
    Time(Order),
    /// The second is a folder, in or below which the first lies.
    Below,
}

/// A field with the terms on which it is read.
#[derive(Clone, Copy, Debug)]
pub struct FieldRead<'v> {
    /// What it holds.
    pub value: &'v Value<'v>,
    /// How it is read.
    pub terms: Terms<'v>,
}

/// What is said where the second field is not there.
pub const NOTHING: Mismatch =
    Mismatch { expected: "something to compare it with", found: "nothing to compare it with" };

const EMPTY: Mismatch =
    Mismatch { expected: "a text to look for", found: "an empty text to look for" };

/// What comparing two texts whole costs.
const WHOLE: Price = Price { fixed: 16, eighths_per_byte: 1 };

/// What telling a place costs.
const PLACE: Price = Price { fixed: 64, eighths_per_byte: 256 };

/// What looking for one in the other costs.
const PIECE: Price = Price { fixed: 32, eighths_per_byte: 24 };

impl Pairing {
    /// Compares the first with the second.
    pub(super) fn holds(
        self,
        first: FieldRead<'_>,
        second: FieldRead<'_>,
    ) -> Result<Truth, Mismatch> {
        first.terms.work.spend(16)?;
        match self {
            Pairing::Equal => equal(first, second),
            Pairing::OneOf => match second.value.as_array() {
                Some(items) => any_equal(first, items, second.terms),
                None => {
                    let found = second.value.kind();
                    Err(Mismatch { expected: "a list to look in", found })
                }
            },
            Pairing::Contained => match first.value.as_array() {
                Some(items) => any_equal(second, items, first.terms),
                None => {
                    texts(first, second, PIECE, |text, piece| Truth::from(text.contains(piece)))
                }
            },
            Pairing::Text(holds) => {
                texts(first, second, WHOLE, |text, piece| Truth::from(holds(text, piece)))
            }
            Pairing::Below => texts(first, second, PLACE, lies_under),
            Pairing::Number(holds) => {
                numbers(first, second, |first, second| Truth::from(holds(first.cmp(&second))))
            }
            Pairing::Time(holds) => times(first, second, holds),
        }
    }
}

/// Whether two scalars are equal.
fn equal(first: FieldRead<'_>, second: FieldRead<'_>) -> Result<Truth, Mismatch> {
    match (first.value, second.value) {
        (Value::Bool(one), Value::Bool(other)) => Ok(Truth::from(one == other)),
        (Value::Number(_), Value::Number(_)) => {
            numbers(first, second, |one, other| Truth::from(one == other))
        }
        (Value::String(one), Value::String(other)) => {
            read_once(one, first.terms)?;
            read_once(other, second.terms)?;
            agreed((one, other), first.terms, WHOLE, |one, other| Truth::from(one == other))
        }
        (Value::Null | Value::Array(_) | Value::Object(_), _) => {
            let (expected, found) = ("a string, a number or a boolean", first.value.kind());
            Err(Mismatch { expected, found })
        }
        (_, expected) => Err(Mismatch { expected: expected.kind(), found: first.value.kind() }),
    }
}

/// Whether one of these equals the field. As everywhere, null is nothing.
fn any_equal(
    field: FieldRead<'_>,
    items: &[Value<'_>],
    terms: Terms<'_>,
) -> Result<Truth, Mismatch> {
    terms.work.spend(8 * items.len() as u64)?;
    let mut truth = Truth::False;
    for value in items.iter().filter(|item| **item != Value::Null) {
        let one = equal(FieldRead { value, terms }, field);
        truth = truth.or(one.unwrap_or_else(Truth::Undecidable));
    }
    Ok(truth)
}

fn numbers(
    first: FieldRead<'_>,
    second: FieldRead<'_>,
    holds: impl Fn(Decimal, Decimal) -> Truth,
) -> Result<Truth, Mismatch> {
    for field in [first, second] {
        if let Value::Number(text) = field.value {
            let price = Price { fixed: 16, eighths_per_byte: 32 };
            field.terms.work.spend_on(price, text.len())?;
        }
    }
    Ok(number(first.value, |first| number(second.value, |second| holds(first, second))))
}

fn text(field: FieldRead<'_>) -> Result<&str, Mismatch> {
    let found = field.value.kind();
    field.value.as_str().ok_or(Mismatch { expected: "a string", found })
}

/// Compares a text with a piece that must not be empty: everything begins with nothing.
fn texts(
    first: FieldRead<'_>,
    second: FieldRead<'_>,
    price: Price,
    holds: impl Fn(&str, &str) -> Truth,
) -> Result<Truth, Mismatch> {
    let (one, other) = (text(first)?, text(second)?);
    read_once(one, first.terms)?;
    read_once(other, second.terms)?;
    if other.is_empty() {
        return Err(EMPTY);
    }
    agreed((one, other), first.terms, price, holds)
}

/// Compares two texts as they came and in normal form C, each with each: nobody knows which the server takes.
fn agreed(
    (one, other): (&str, &str),
    terms: Terms<'_>,
    price: Price,
    holds: impl Fn(&str, &str) -> Truth,
) -> Result<Truth, Mismatch> {
    let bytes = one.len().saturating_add(other.len());
    terms.work.spend_on(price, bytes)?;
    let plainly = holds(one, other);
    if one.is_ascii() && other.is_ascii() {
        return Ok(plainly);
    }
    terms.work.spend_on(NORMALIZE, bytes.saturating_mul(8))?;
    terms.work.spend_on(price, bytes.saturating_mul(8))?;
    let (normal, other_normal) = (nfc(one), nfc(other));
    let others = [holds(&normal, other), holds(one, &other_normal), holds(&normal, &other_normal)];
    if others.iter().all(|other| *other == plainly) { Ok(plainly) } else { Err(NOT_NORMAL) }
}

fn time(field: FieldRead<'_>) -> Result<Time<'_>, Mismatch> {
    let time = field.value.as_str().and_then(Time::parse);
    time.ok_or_else(|| no_time(field.value))
}

fn times(first: FieldRead<'_>, second: FieldRead<'_>, holds: Order) -> Result<Truth, Mismatch> {
    let read = |field: FieldRead<'_>| {
        let text = field.value.as_str();
        text.map_or(Ok(()), |text| {
            read_once(text, field.terms)?;
            field.terms.work.spend_on(Price { fixed: 32, eighths_per_byte: 16 }, text.len())
        })
    };
    read(first)?;
    read(second)?;
    let (one, other) = (time(first)?, time(second)?);
    let plainly = holds(one.first.cmp(&other.first));
    let others = [
        holds(one.first.cmp(&other.last)),
        holds(one.last.cmp(&other.first)),
        holds(one.last.cmp(&other.last)),
    ];
    if others.contains(&!plainly) {
        let expected = "times that all read alike";
        return Err(Mismatch { expected, found: "a leap second beside the other time" });
    }
    Ok(Truth::from(plainly))
}
