//! The clock of one table: it follows the wall clock, but not every step of it.
//!
//! Windows of days and months are those of the wall clock, and that one is set now and then: by NTP, by hand, after a pause of the
//! machine. If counts followed each step, a clock that flaps would begin a fresh window with each of them. So a table's time goes on
//! by the clock that cannot be set. Where the wall clock tells something else by a second and more, it has been set, and the table
//! follows it, forwards or back; but then not again for an hour. See [`crate::rate`] for what that promises.
//!
//! Each table has a clock of its own, so it costs no look into another key, and no worker can have another opinion than the rest.

use crate::bounds::{CLOCK_NOISE_MILLIS, CLOCK_STEADY_MILLIS};
use crate::time::{Moment, UnixMillis};

/// What a table knows of time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Clock {
    /// The table's time when it was last looked at, in milliseconds since the epoch.
    pub(super) wall: u64,
    /// When that was, by the clock that cannot be set; it never goes back.
    pub(super) running: u64,
    /// When the table will follow a step of the wall clock again, by the same clock.
    pub(super) steady_until: u64,
}

impl Clock {
    /// Moves the table's time on, and returns it. It never goes back by the clock that cannot be set: a thread that read its clocks
    /// before another, and comes after it, would count in a window that the other has swept already.
    pub(super) fn advance(&mut self, now: Moment) -> Moment {
        let running = now.running.max(self.running);
        let passed = running.saturating_sub(self.running);
        let steady = self.wall.saturating_add(passed);
        let is_new = *self == Clock::default();
        let was_set = now.wall.0.abs_diff(steady) >= CLOCK_NOISE_MILLIS;
        self.running = running;
        self.wall = if is_new {
            now.wall.0
        } else if was_set && running >= self.steady_until {
            self.steady_until = running.saturating_add(CLOCK_STEADY_MILLIS);
            now.wall.0
        } else {
            steady
        };
        Moment { wall: UnixMillis(self.wall), running }
    }
}

#[cfg(test)]
mod tests {
    use super::Clock;
    use crate::time::{Moment, UnixMillis};

    const HOUR: u64 = 3_600_000;

    /// What a clock tells at each of these readings: the wall clock, and the one that cannot be set.
    fn told(readings: &[(u64, u64)]) -> Vec<u64> {
        let mut clock = Clock::default();
        let moment = |&(wall, running)| Moment { wall: UnixMillis(wall), running };
        readings.iter().map(|reading| clock.advance(moment(reading)).wall.0).collect()
    }

    #[test]
    fn it_goes_on_and_does_not_wobble() {
        assert_eq!(told(&[(9000, 50), (9999, 1049), (9950, 1000)]), [9000, 9999, 9999]);
        assert_eq!(told(&[(9000, 50), (9999, 60), (9001, 70)]), [9000, 9010, 9020], "noise");
    }

    #[test]
    fn it_follows_one_step_and_is_steady_for_an_hour() {
        let year = 365 * 24 * HOUR;
        for (step, back) in [(9000 + year, 9002), (2000, 9002)] {
            let readings =
                [(9000, 1), (step, 2), (back, 3), (9001 + HOUR, 1 + HOUR), (9002 + HOUR, 2 + HOUR)];
            let expected = [9000, step, step + 1, step + HOUR - 1, 9002 + HOUR];
            assert_eq!(told(&readings), expected, "after {step}");
        }
    }
}
