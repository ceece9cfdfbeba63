//! Counts by windows, each for itself or joined with the one before.

use super::{Admitted, CountState, Demand, Mark};
use crate::number::Micros;
use crate::rate::window::{Span, Window};
use crate::time::{Moment, UnixMillis};

/// Whether the window before still counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Join {
    /// It does not.
    Apart,
    /// It does, with the share of it that lies within one window's length.
    Sliding,
    /// It does, with all of it.
    Both,
}

/// What is counted in a window and in the one before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Windows {
    /// The window.
    span: Span,
    /// In the window itself, in millionths.
    current: u64,
    /// In the one before, in millionths.
    previous: u64,
}

impl Windows {
    /// A state as it is seen at this time. What was counted ahead of it, before the clock was set back, counts in the window of now:
    /// whoever has used up his limit gains nothing, and whoever waits does not wait until the clock is there again.
    pub(super) fn at(state: Option<&CountState>, window: Window, now: UnixMillis) -> Windows {
        let span = window.span_at(now);
        let Some(known) = state.map(Windows::unpack) else {
            return Windows { span, current: 0, previous: 0 };
        };
        if known.span.end >= span.end {
            Windows { span, ..known }
        } else if known.span.end == span.start {
            Windows { span, current: 0, previous: known.current }
        } else {
            Windows { span, current: 0, previous: 0 }
        }
    }

    /// How much counts, rounded up to a millionth.
    pub(super) fn used(&self, join: Join, now: UnixMillis) -> Micros {
        let carried = match join {
            Join::Apart => 0,
            Join::Both => self.previous,
            Join::Sliding => share(self.previous, self.span.millis_left(now), self.span),
        };
        Micros(self.current.saturating_add(carried))
    }

    /// Counts an amount in the window, whatever it comes to.
    pub(super) fn add(
        self,
        amount: Micros,
        join: Join,
        (window, now): (Window, Moment),
    ) -> Admitted {
        let end = self.span.end;
        let last = match join {
            Join::Apart => self.span,
            Join::Sliding | Join::Both => window.span_at(UnixMillis(end.saturating_mul(1000))),
        };
        let expires = now.running.saturating_add(last.millis_left(now.wall)).div_ceil(1000);
        let state = Windows { current: self.current.saturating_add(amount.0), ..self }.pack();
        Admitted { state, mark: Mark(end), expires }
    }

    /// Milliseconds until there is room; `None` if there never is.
    pub(super) fn retry_after(&self, join: Join, now: UnixMillis, ask: Demand) -> Option<u64> {
        let room = ask.max.0.checked_sub(ask.amount.0)?;
        let left = self.span.millis_left(now);
        let within = |busy: u64, room: u64| {
            // The share of `busy` that may still count, as time left in its window.
            let length = u128::from(self.span.seconds()) * 1000;
            let allowed = u128::from(room) * length / u128::from(busy.max(1));
            u64::try_from(allowed).unwrap_or(u64::MAX)
        };
        match join {
            Join::Apart => Some(left),
            // It ends when it ends, and nobody knows when.
            Join::Both => None,
            Join::Sliding if self.current <= room => {
                Some(left.saturating_sub(within(self.previous, room.saturating_sub(self.current))))
            }
            Join::Sliding => {
                let length = self.span.seconds().saturating_mul(1000);
                Some(left.saturating_add(length.saturating_sub(within(self.current, room))))
            }
        }
    }

    /// What was counted in a window that is over, and no longer the one before, no longer counts: nothing of it is taken back.
    pub(super) fn refund(mut self, mark: Mark, amount: Micros) -> Option<CountState> {
        if self.span.end == mark.0 {
            self.current = self.current.saturating_sub(amount.0);
        } else if self.span.start == mark.0 {
            self.previous = self.previous.saturating_sub(amount.0);
        }
        ((self.current, self.previous) != (0, 0)).then(|| self.pack())
    }

    /// Both ends of the window share a word, in seconds of 32 bits each: enough until 2106, when they stop.
    fn pack(self) -> CountState {
        let seconds = |at: u64| u32::try_from(at).unwrap_or(u32::MAX);
        let span = u64::from(seconds(self.span.start)) << 32 | u64::from(seconds(self.span.end));
        CountState([span, self.current, self.previous])
    }

    pub(super) fn unpack(state: &CountState) -> Windows {
        let CountState([span, current, previous]) = *state;
        let span = Span { start: span >> 32, end: span & u64::from(u32::MAX) };
        Windows { span, current, previous }
    }
}

fn share(amount: u64, millis_left: u64, span: Span) -> u64 {
    let length = (u128::from(span.seconds()) * 1000).max(1);
    let left = u128::from(millis_left).min(length);
    u64::try_from((u128::from(amount) * left).div_ceil(length)).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::{Join, Windows};
    use crate::number::Micros;
    use crate::rate::algorithm::{Demand, Mark};
    use crate::rate::window::Span;
    use crate::time::UnixMillis;

    const SPAN: Span = Span { start: 60, end: 120 };

    #[test]
    fn sliding_carries_a_share() {
        let windows = Windows { span: SPAN, current: 2, previous: 10 };
        for (now, expected) in [(60_000, 12), (90_000, 7), (119_999, 3), (75_000, 10)] {
            let now = UnixMillis(now);
            assert_eq!(windows.used(Join::Sliding, now), Micros(expected), "{now:?}");
            assert_eq!(windows.used(Join::Apart, now), Micros(2));
        }
    }

    #[test]
    fn retrying_when_told_succeeds() {
        for (current, previous, now) in
            [(0, 10, 60_000), (3, 10, 61_234), (9, 10, 100_000), (10, 0, 119_000)]
        {
            let windows = Windows { span: SPAN, current, previous };
            let ask = Demand { amount: Micros(1), max: Micros(10) };
            let wait = windows.retry_after(Join::Sliding, UnixMillis(now), ask).unwrap();
            let then = UnixMillis(now + wait);
            let later = if then.0 < 120_000 {
                windows
            } else {
                Windows { span: Span { start: 120, end: 180 }, current: 0, previous: current }
            };
            assert!(later.used(Join::Sliding, then).0 < 10, "{current} {previous} {now} {wait}");
        }
        let nothing = Windows { span: SPAN, current: 0, previous: 0 };
        let ask = Demand { amount: Micros(11), max: Micros(10) };
        assert_eq!(nothing.retry_after(Join::Apart, UnixMillis(60_000), ask), None);
    }

    #[test]
    fn gives_back_only_what_still_counts() {
        for (end, expected) in [(120, (4, 3)), (60, (5, 2)), (180, (5, 3))] {
            let windows = Windows { span: SPAN, current: 5, previous: 3 };
            let left = Windows::unpack(&windows.refund(Mark(end), Micros(1)).unwrap());
            assert_eq!((left.current, left.previous), expected, "{end}");
        }
    }

    #[test]
    fn what_comes_to_nothing_is_no_state() {
        let windows = Windows { span: SPAN, current: 5, previous: 3 };
        let left = windows.refund(Mark(120), Micros(5));
        let left = Windows::unpack(&left.expect("the window before still counts"));
        assert_eq!(left.refund(Mark(60), Micros(3)), None);
    }

    #[test]
    fn packs_and_unpacks() {
        let end = u64::from(u32::MAX);
        for span in [SPAN, Span { start: 0, end }] {
            let windows = Windows { span, current: u64::MAX, previous: 7 };
            assert_eq!(Windows::unpack(&windows.pack()), windows);
        }
    }
}
