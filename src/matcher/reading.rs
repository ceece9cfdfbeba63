//! How a text of a request is read before it is compared: as one text, or not at all.

use super::Mismatch;
use super::terms::{Decode, Terms};
use super::work::Price;
use crate::json::lenient::{begins_as_json, may_be_json};

/// What bringing a text into normal form C costs.
pub(super) const NORMALIZE: Price = Price { fixed: 16, eighths_per_byte: 24 };

/// What is said of a text that servers take in either form.
pub(super) const NOT_NORMAL: Mismatch = Mismatch {
    expected: "text in normal form C",
    found: "text whose normal form compares otherwise",
};

/// Refuses a string that some servers take as a string, and others as the object, the array or nothing that it holds.
pub(super) fn read_once(text: &str, terms: Terms<'_>) -> Result<(), Mismatch> {
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
