//! Windows of time: pure arithmetic.
//!
//! Not here: what they admit, which is [`super::algorithm`].

use std::num::NonZeroU32;

use crate::time::UnixMillis;

const DAY: u64 = 86_400;

/// The length of a window, and where windows begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Window {
    /// Windows of this many seconds, counted from the epoch: seconds, minutes, hours and days of UTC.
    Every(NonZeroU32),
    /// Weeks of UTC, from Monday.
    Week,
    /// Months of UTC.
    Month,
}

/// One window: `start` inclusive, `end` exclusive, in seconds since the epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// First second.
    pub start: u64,
    /// First second after.
    pub end: u64,
}

/// A window that has a name.
#[derive(Debug)]
pub struct NamedWindow {
    /// How policies write it.
    pub word: &'static str,
    /// What it means.
    pub window: Window,
    /// What people write who mean it. It is not taken: the word is told instead.
    short: &'static [&'static str],
}

/// Every window that has a name, from the shortest to the longest.
pub const NAMED: [NamedWindow; 6] = [
    row("second", every(1), &["s", "sec", "secs"]),
    row("minute", every(60), &["min", "mins"]),
    row("hour", every(3600), &["h", "hr", "hrs"]),
    row("day", every(86_400), &["d"]),
    row("week", Window::Week, &["w", "wk"]),
    row("month", Window::Month, &["mo", "mon"]),
];

const fn row(word: &'static str, window: Window, short: &'static [&'static str]) -> NamedWindow {
    NamedWindow { word, window, short }
}

const fn every(seconds: u32) -> Window {
    Window::Every(NonZeroU32::MIN.saturating_add(seconds.saturating_sub(1)))
}

/// The names of windows.
pub fn words() -> impl Iterator<Item = &'static str> {
    NAMED.iter().map(|named| named.word)
}

/// The window of this name.
///
/// ```
/// use mcp_policy::rate::window::{Window, name, named};
///
/// assert_eq!(named("week"), Some(Window::Week));
/// assert_eq!(name(60), Some("minute"));
/// ```
#[must_use]
pub fn named(word: &str) -> Option<Window> {
    NAMED.iter().find(|named| named.word == word).map(|named| named.window)
}

/// The name that somebody means by a common short form of it.
#[must_use]
pub fn meant(short: &str) -> Option<&'static str> {
    NAMED.iter().find(|named| named.short.contains(&short)).map(|named| named.word)
}

/// What a window of so many seconds is called, where it has a name.
#[must_use]
pub fn name(seconds: u64) -> Option<&'static str> {
    let named = NAMED.iter().find(|named| match named.window {
        // Months differ in length.
        Window::Month => (28 * DAY..=31 * DAY).contains(&seconds),
        window @ (Window::Every(_) | Window::Week) => window.seconds() == seconds,
    });
    named.map(|named| named.word)
}

impl Window {
    /// Its length in seconds; of months, which differ, that of the longest.
    #[must_use]
    pub fn seconds(self) -> u64 {
        match self {
            Window::Every(length) => u64::from(length.get()),
            Window::Week => 7 * DAY,
            Window::Month => 31 * DAY,
        }
    }

    /// The window that holds this time.
    #[must_use]
    pub fn span_at(self, now: UnixMillis) -> Span {
        let second = now.seconds();
        match self {
            Window::Every(length) => aligned(second, u64::from(length.get()), 0),
            // 1970-01-01 was a Thursday, so weeks begin three days before multiples of seven.
            Window::Week => aligned(second, 7 * DAY, 3 * DAY),
            Window::Month => {
                let (year, month) = year_and_month(second / DAY);
                let (next_year, next_month) =
                    if month == 12 { (year + 1, 1) } else { (year, month + 1) };
                Span {
                    start: days_before(year, month) * DAY,
                    end: days_before(next_year, next_month) * DAY,
                }
            }
        }
    }
}

impl Span {
    /// Length in seconds.
    #[must_use]
    pub fn seconds(self) -> u64 {
        self.end.saturating_sub(self.start)
    }

    /// Milliseconds from `now` to the end.
    #[must_use]
    pub fn millis_left(self, now: UnixMillis) -> u64 {
        self.end.saturating_mul(1000).saturating_sub(now.0)
    }
}

fn aligned(second: u64, length: u64, offset: u64) -> Span {
    let into = second.saturating_add(offset).checked_rem(length).unwrap_or(0);
    let start = second.saturating_sub(into);
    Span { start, end: second.saturating_add(length.saturating_sub(into)) }
}

/// Days from the epoch to the first of a month (Gregorian, year ≥ 1970).
fn days_before(year: u64, month: u64) -> u64 {
    let shifted = if month <= 2 { year - 1 } else { year };
    let of_month = (153 * ((month + 9) % 12) + 2) / 5;
    // 719468 days lie between 0000-03-01 and the epoch.
    (365 * shifted + shifted / 4 - shifted / 100 + shifted / 400 + of_month).saturating_sub(719_468)
}

/// The windows that a rate limit service knows (`envoy.type.v3.RateLimitUnit`), with their numbers there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// One second.
    Second = 1,
    /// One minute.
    Minute = 2,
    /// One hour.
    Hour = 3,
    /// One day.
    Day = 4,
    /// One month.
    Month = 5,
}

impl Unit {
    /// The unit of a window, where it is one.
    #[must_use]
    pub fn of(window: Window) -> Option<Unit> {
        match window {
            Window::Month => Some(Unit::Month),
            Window::Week => None,
            Window::Every(seconds) => match seconds.get() {
                1 => Some(Unit::Second),
                60 => Some(Unit::Minute),
                3600 => Some(Unit::Hour),
                86_400 => Some(Unit::Day),
                _ => None,
            },
        }
    }

    /// Its word in policies.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Unit::Second => "second",
            Unit::Minute => "minute",
            Unit::Hour => "hour",
            Unit::Day => "day",
            Unit::Month => "month",
        }
    }
}

/// Year, month and day of a day since the epoch.
#[must_use]
pub fn date(day: u64) -> (u64, u64, u64) {
    let (year, month) = year_and_month(day);
    (year, month, day.saturating_sub(days_before(year, month)) + 1)
}

fn year_and_month(day: u64) -> (u64, u64) {
    let mut year = 1970 + day / 366;
    while days_before(year + 1, 1) <= day {
        year += 1;
    }
    let month = (2..=12).rev().find(|&month| days_before(year, month) <= day).unwrap_or(1);
    (year, month)
}

#[cfg(test)]
mod tests {
    use super::{Span, Window};
    use crate::time::UnixMillis;
    use std::num::NonZeroU32;

    fn span(window: Window, second: u64) -> (u64, u64) {
        let Span { start, end } = window.span_at(UnixMillis(second * 1000 + 999));
        (start, end)
    }

    #[test]
    fn windows_begin_where_the_calendar_says() {
        let every = |seconds| Window::Every(NonZeroU32::new(seconds).unwrap());
        for (window, second, expected) in [
            (every(60), 119, (60, 120)),
            (every(60), 120, (120, 180)),
            (every(1), 5, (5, 6)),
            // Monday 2023-11-13 to Monday 2023-11-20.
            (Window::Week, 1_700_000_000, (1_699_833_600, 1_700_438_400)),
            (Window::Week, 1_699_833_600, (1_699_833_600, 1_700_438_400)),
            (Window::Week, 1_699_833_599, (1_699_228_800, 1_699_833_600)),
            // November 2023; February of a leap year; December.
            (Window::Month, 1_700_000_000, (1_698_796_800, 1_701_388_800)),
            (Window::Month, 1_709_164_800, (1_706_745_600, 1_709_251_200)),
            (Window::Month, 1_704_067_199, (1_701_388_800, 1_704_067_200)),
            (Window::Month, 0, (0, 31 * 86_400)),
        ] {
            assert_eq!(span(window, second), expected, "{window:?} {second}");
        }
    }

    #[test]
    fn months_cover_time_without_gaps() {
        let mut at = 0;
        for _ in 0..2400 {
            let (start, end) = span(Window::Month, at);
            assert_eq!(start, at);
            assert!((28..=31).contains(&((end - start) / 86_400)));
            at = end;
        }
        assert_eq!(at, 6_311_433_600, "2400 months are 200 Gregorian years");
    }
}
