//! What the comparisons of one body may cost, counted in steps before they are made.
//!
//! A caller chooses the texts and lists, and the policy how often and with what they are compared: without a bound the work is
//! one times the other. A step is about a nanosecond; what is not paid for is undecidable, which denies.

use std::cell::Cell;

use super::Mismatch;
use crate::bounds::{STEPS_PER_BODY, STEPS_PER_BYTE};

/// The steps that are left.
#[derive(Debug)]
pub struct Work(Cell<u64>);

/// What is said of a comparison that would take too many.
pub const TOO_MUCH: Mismatch =
    Mismatch { expected: "less to compare in one request", found: "more than its size allows" };

/// What one test costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Price {
    /// Steps of each test.
    pub fixed: u64,
    /// Steps of each byte of a text, in eighths.
    pub eighths_per_byte: u64,
}

impl Work {
    /// The steps of a body of so many bytes.
    #[must_use]
    pub fn of(bytes: usize) -> Work {
        let work = Work(Cell::new(0));
        work.renew(bytes);
        work
    }

    /// Begins with a new body.
    pub fn renew(&self, bytes: usize) {
        self.0.set(STEPS_PER_BODY.saturating_add(STEPS_PER_BYTE.saturating_mul(bytes as u64)));
    }

    /// The same number of steps, to be spent apart.
    #[must_use]
    pub fn copied(&self) -> Work {
        Work(self.0.clone())
    }

    /// Pays for steps.
    ///
    /// # Errors
    /// There are not so many left; from then on there are none.
    pub fn spend(&self, steps: u64) -> Result<(), Mismatch> {
        let left = self.0.get().checked_sub(steps);
        self.0.set(left.unwrap_or_default());
        left.map(|_| ()).ok_or(TOO_MUCH)
    }

    /// Pays for a test of a text.
    ///
    /// # Errors
    /// As [`Work::spend`].
    pub fn spend_on(&self, price: Price, bytes: usize) -> Result<(), Mismatch> {
        let all = price.eighths_per_byte.saturating_mul(bytes as u64) / 8;
        self.spend(price.fixed.saturating_add(all))
    }
}
