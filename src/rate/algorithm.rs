//! What a count is, and how it changes: each algorithm owns its state and every transition of it.
//!
//! A table keeps a [`CountState`] for each caller and knows nothing of what is in it. So a new algorithm is a file here and a word in the
//! policy's language; tables, shards and the compare-and-swap loop stay as they are.
//!
//! What every algorithm owes the rest:
//!
//! - *No state is a count of nothing*: `None` and a state that has expired come to the same.
//! - *A state is copied for a newcomer.* A caller's slot begins as a copy of the counter's floor, so any state must be a fair start for
//!   somebody else: it may count too much for him, never too little.
//! - *A refund takes back no more than what still counts of its call*, however late it comes. What it cannot tell stays counted.

mod bucket;
mod windows;

use self::bucket::Bucket;
use self::windows::{Join, Windows};
use super::window::Window;
use crate::number::Micros;
use crate::time::{Moment, UnixMillis};

/// How calls are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Algorithm {
    /// Each window counts for itself.
    Fixed,
    /// The previous window counts with the share of it that lies within one window's length.
    Sliding,
    /// What is counted drains away at a steady rate; the most that a call asks with is what the bucket holds.
    Bucket {
        /// How much drains in a window, which must be one of a fixed length.
        refill: Micros,
    },
    /// What is counted is given back when it ends. Whoever does not say that it has is forgotten when the window after his is over.
    InFlight,
}

/// How many words a state has, which is what a table has room for.
pub const STATE_WORDS: usize = 3;

/// What an algorithm remembers of one caller. Only the algorithm that made it can read it: a counter's id says which one that was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CountState(pub [u64; STATE_WORDS]);

/// What a call asks of a count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Demand {
    /// How much it counts.
    pub amount: Micros,
    /// The most that the count may come to.
    pub max: Micros,
}

/// A call that is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Admitted {
    /// The state after it.
    pub state: CountState,
    /// What a refund needs to know.
    pub mark: Mark,
    /// When the state can be forgotten, in seconds of the clock that cannot be set. So nothing outlives the time that it was made for,
    /// wherever the wall clock goes.
    pub expires: u64,
}

/// Where in its algorithm's time a call was counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark(u64);

/// A call that is not counted, as there is no room for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full {
    /// What there is still room for.
    pub remaining: Micros,
    /// Length of the window, in seconds.
    pub window_seconds: u64,
    /// Milliseconds until the call could pass if nobody else called; `None` if it never can.
    pub retry_after: Option<u64>,
}

impl Algorithm {
    /// The words of the policy's language, the usual one first.
    pub const WORDS: &[&str] = &["fixed", "sliding", "bucket"];

    /// The word in policies.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Algorithm::Fixed => "fixed",
            Algorithm::Sliding => "sliding",
            Algorithm::Bucket { .. } => "bucket",
            Algorithm::InFlight => "in_flight",
        }
    }

    /// How much counts against the limit at this time, rounded up to a millionth.
    #[must_use]
    pub fn used(self, window: Window, state: Option<&CountState>, now: Moment) -> Micros {
        let now = self.time(now);
        self.read(window, state, now).used(now)
    }

    /// Counts a call, if there is room for it.
    ///
    /// # Errors
    /// [`Full`] if there is none.
    pub fn admit(
        self,
        window: Window,
        state: Option<&CountState>,
        now: Moment,
        ask: Demand,
    ) -> Result<Admitted, Full> {
        let now = self.time(now);
        let count = self.read(window, state, now);
        match count.used(now).0.checked_add(ask.amount.0) {
            Some(after) if after <= ask.max.0 => Ok(count.add(ask.amount, window, now)),
            Some(_) | None => Err(count.full(window, now, ask)),
        }
    }

    /// What is said of a call that is not counted.
    #[must_use]
    pub fn full(
        self,
        window: Window,
        state: Option<&CountState>,
        now: Moment,
        ask: Demand,
    ) -> Full {
        let now = self.time(now);
        self.read(window, state, now).full(window, now, ask)
    }

    /// The time that it goes by: what is in flight knows no days, so the clock that cannot be set is the only one.
    fn time(self, now: Moment) -> Moment {
        match self {
            Algorithm::Fixed | Algorithm::Sliding | Algorithm::Bucket { .. } => now,
            Algorithm::InFlight => Moment { wall: UnixMillis(now.running), ..now },
        }
    }

    /// Whether a call that was counted there has to be counted anew, to be counted still.
    #[must_use]
    pub fn is_due(self, mark: Mark, now: Moment) -> bool {
        self == Algorithm::InFlight && mark.0 <= now.running / 1000
    }

    fn read(self, window: Window, state: Option<&CountState>, now: Moment) -> Count {
        let windows = || Windows::at(state, window, now.wall);
        match self {
            Algorithm::Fixed => Count::Windows(windows(), Join::Apart),
            Algorithm::Sliding => Count::Windows(windows(), Join::Sliding),
            Algorithm::InFlight => Count::Windows(windows(), Join::Both),
            Algorithm::Bucket { refill } => {
                Count::Bucket(Bucket::at(state, window, refill, now.running))
            }
        }
    }

    /// Takes back what a call counted, as far as it still counts; `None` if nothing is left.
    #[must_use]
    pub fn refund(
        self,
        window: Window,
        state: &CountState,
        mark: Mark,
        amount: Micros,
    ) -> Option<CountState> {
        match self {
            Algorithm::Fixed | Algorithm::Sliding | Algorithm::InFlight => {
                Windows::unpack(state).refund(mark, amount)
            }
            Algorithm::Bucket { refill } => {
                Bucket::unpack(state, window, refill).refund(mark, amount)
            }
        }
    }
}

/// A state as its algorithm reads it at one time.
enum Count {
    Windows(Windows, Join),
    Bucket(Bucket),
}

impl Count {
    fn used(&self, now: Moment) -> Micros {
        match self {
            Count::Windows(windows, join) => windows.used(*join, now.wall),
            Count::Bucket(bucket) => bucket.used(),
        }
    }

    fn add(self, amount: Micros, window: Window, now: Moment) -> Admitted {
        match self {
            Count::Windows(windows, join) => windows.add(amount, join, (window, now)),
            Count::Bucket(bucket) => bucket.add(amount),
        }
    }

    fn full(&self, window: Window, now: Moment, ask: Demand) -> Full {
        let retry_after = match self {
            Count::Windows(windows, join) => windows.retry_after(*join, now.wall, ask),
            Count::Bucket(bucket) => bucket.retry_after(ask),
        };
        Full {
            remaining: Micros(ask.max.0.saturating_sub(self.used(now).0)),
            window_seconds: window.span_at(now.wall).seconds(),
            retry_after,
        }
    }
}
