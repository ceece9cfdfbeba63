//! A token bucket, seen from the other side: what is counted drains away at a steady rate, and the bucket holds so much and no more.
//!
//! Levels are counted in millionths divided by the milliseconds of the window. In this unit a millisecond drains exactly what is refilled
//! in a window, a whole number, so nothing is ever rounded, and calls cannot gain by being many. The largest level, 2^64 millionths in a
//! window of 366 days, has 99 bits.

use super::{Admitted, CountState, Demand, Mark};
use crate::number::Micros;
use crate::rate::window::Window;

/// What a bucket holds, and since when it has been draining.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Bucket {
    /// In millionths divided by `length`.
    level: u128,
    /// When it held so much, in milliseconds of the clock that cannot be set: a bucket knows no days, so no other concerns it.
    at: u64,
    /// Milliseconds of a window; never zero.
    length: u64,
    /// Millionths that drain in a window, which is what drains of `level` in a millisecond.
    refill: u64,
}

impl Bucket {
    /// A state as it is at this time.
    pub(super) fn at(
        state: Option<&CountState>,
        window: Window,
        refill: Micros,
        now: u64,
    ) -> Bucket {
        let length = window.seconds().saturating_mul(1000).max(1);
        let empty = Bucket { level: 0, at: now, length, refill: refill.0 };
        let Some(CountState([high, low, at])) = state.copied() else { return empty };
        let level = u128::from(high) << 64 | u128::from(low);
        let bucket = Bucket { level, at, ..empty };
        Bucket { level: level.saturating_sub(bucket.drained_since(now)), at: now.max(at), ..bucket }
    }

    /// How much counts, rounded up to a millionth.
    pub(super) fn used(&self) -> Micros {
        let micros = self.level.div_ceil(u128::from(self.length));
        Micros(u64::try_from(micros).unwrap_or(u64::MAX))
    }

    /// Counts an amount, whatever the level comes to.
    pub(super) fn add(self, amount: Micros) -> Admitted {
        let level = self.level.saturating_add(self.level_of(amount));
        let after = Bucket { level, ..self };
        let empty_in = after.millis_to(0).unwrap_or(u64::MAX);
        let expires = self.at.saturating_add(empty_in).div_ceil(1000);
        Admitted { state: after.pack(), mark: Mark(self.at), expires }
    }

    /// Milliseconds until there is room; `None` if there never is.
    pub(super) fn retry_after(&self, ask: Demand) -> Option<u64> {
        let room = ask.max.0.checked_sub(ask.amount.0)?;
        self.millis_to(self.level_of(Micros(room)))
    }

    /// Takes back what a call counted, less all that can have drained since. Nobody knows whose share has drained, the call's or that of
    /// others. If it was the call's, taking back more would admit it twice.
    pub(super) fn refund(self, mark: Mark, amount: Micros) -> Option<CountState> {
        let still = self.level_of(amount).saturating_sub(self.drained_between(mark.0, self.at));
        let level = self.level.saturating_sub(still);
        (level > 0).then(|| Bucket { level, ..self }.pack())
    }

    /// A state as it is packed, without the time that has passed since.
    pub(super) fn unpack(state: &CountState, window: Window, refill: Micros) -> Bucket {
        let CountState([_, _, at]) = *state;
        Bucket::at(Some(state), window, refill, at)
    }

    /// Milliseconds until no more than this is left.
    fn millis_to(&self, level: u128) -> Option<u64> {
        let drain = self.level.saturating_sub(level);
        if drain == 0 {
            return Some(0);
        }
        let millis = drain.checked_add(u128::from(self.refill).checked_sub(1)?)?;
        u64::try_from(millis.checked_div(u128::from(self.refill))?).ok()
    }

    fn level_of(&self, amount: Micros) -> u128 {
        u128::from(amount.0).saturating_mul(u128::from(self.length))
    }

    fn drained_since(&self, now: u64) -> u128 {
        self.drained_between(self.at, now)
    }

    fn drained_between(&self, from: u64, until: u64) -> u128 {
        u128::from(until.saturating_sub(from)).saturating_mul(u128::from(self.refill))
    }

    fn pack(self) -> CountState {
        let low = u64::try_from(self.level & u128::from(u64::MAX)).unwrap_or(u64::MAX);
        let high = u64::try_from(self.level >> 64).unwrap_or(u64::MAX);
        CountState([high, low, self.at])
    }
}

#[cfg(test)]
mod tests;
