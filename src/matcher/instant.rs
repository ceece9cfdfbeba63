//! Times as RFC 3339 writes them, compared exactly and by the instant that they name.
//!
//! Without a crate: the filter needs one form of text and one question, which is the earlier. A fraction stays the digits that
//! it is, so its length does not matter. What RFC 3339 leaves open is not guessed: a text without an offset is no time here, and
//! a leap second, which readers take for the second before or after it, is both.

use std::cmp::Ordering;

use super::{Mismatch, Truth};
use crate::json::Value;
use crate::time::UnixMillis;

/// An instant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Instant<'t> {
    /// Whole seconds since 1970-01-01T00:00:00Z, rounded down.
    pub seconds: i64,
    /// Digits of the fraction, in ASCII, without zeros at the end: so their order is that of the fractions.
    pub fraction: &'t [u8],
}

/// What a text says of an instant: it is not before the first, and not after the last. They are one, but for leap seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Time<'t> {
    /// The earliest instant that a reader could take it for.
    pub first: Instant<'t>,
    /// The latest one.
    pub last: Instant<'t>,
}

impl<'t> Time<'t> {
    /// The time of a call, by the three digits of its milliseconds.
    pub(super) fn of(now: UnixMillis, millis: &'t [u8; 3]) -> Time<'t> {
        let seconds = i64::try_from(now.seconds()).unwrap_or(i64::MAX);
        let instant = Instant { seconds, fraction: trimmed(millis) };
        Time { first: instant, last: instant }
    }

    /// Whether something holds of it, whichever instant a reader takes it for.
    pub(super) fn whichever(self, holds: impl Fn(Instant<'_>) -> bool) -> Truth {
        match (holds(self.first), holds(self.last)) {
            (true, true) => Truth::True,
            (false, false) => Truth::False,
            (true, false) | (false, true) => Truth::Undecidable(LEAP),
        }
    }
}

const LEAP: Mismatch = Mismatch {
    expected: "a time that all read alike",
    found: "a leap second at the very time that it is compared with",
};

/// What a policy compares times with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TimeOperand {
    /// The time of the call: `now`.
    Now,
    /// A time of the policy, as it is written, with its instant.
    At {
        /// The text.
        text: Box<str>,
        /// Whole seconds.
        seconds: i64,
        /// Digits of the fraction.
        fraction: Box<[u8]>,
    },
}

const DAY: i64 = 86_400;

impl<'t> Time<'t> {
    /// Reads a `date-time` of RFC 3339; `None` if the text is none.
    #[must_use]
    pub fn parse(text: &'t str) -> Option<Time<'t>> {
        let (clock, rest) = text.as_bytes().split_at_checked(19)?;
        let &[
            y1,
            y2,
            y3,
            y4,
            b'-',
            mo1,
            mo2,
            b'-',
            d1,
            d2,
            b'T' | b't',
            h1,
            h2,
            b':',
            mi1,
            mi2,
            b':',
            s1,
            s2,
        ] = clock
        else {
            return None;
        };
        let (year, month) = (number(&[y1, y2, y3, y4])?, number(&[mo1, mo2])?);
        let day = number(&[d1, d2]).filter(|day| (1..=days_of(year, month)).contains(day))?;
        let hour = number(&[h1, h2]).filter(|hour| *hour < 24)?;
        let minute = number(&[mi1, mi2]).filter(|minute| *minute < 60)?;
        let second = number(&[s1, s2]).filter(|second| *second <= 60)?;
        let (fraction, offset) = split_fraction(rest)?;
        let minutes = (hour * 60 + minute) - offset_minutes(offset)?;
        let seconds = days_before(year, month, day) * DAY + minutes * 60 + second;
        let last = Instant { seconds, fraction: trimmed(fraction) };
        if second < 60 {
            return Some(Time { first: last, last });
        }
        // There is one only at the end of a month of UTC.
        let (next_year, next) = if month == 12 { (year + 1, 1) } else { (year, month + 1) };
        let ends = [days_before(year, month, 1), days_before(next_year, next, 1)];
        let first = Instant { seconds: seconds - 1, fraction: &[] };
        ends.contains(&(seconds / DAY))
            .then_some(Time { first, last })
            .filter(|_| seconds % DAY == 0)
    }

    /// Whether its order to the operand holds, whichever instant a reader takes it for.
    pub(super) fn stands(
        self,
        holds: fn(Ordering) -> bool,
        moment: &TimeOperand,
        now: UnixMillis,
    ) -> Truth {
        let millis = millis(now);
        let to = match moment {
            TimeOperand::Now => Instant {
                seconds: i64::try_from(now.seconds()).unwrap_or(i64::MAX),
                fraction: trimmed(&millis),
            },
            TimeOperand::At { seconds, fraction, .. } => Instant { seconds: *seconds, fraction },
        };
        self.whichever(|instant| holds(instant.cmp(&to)))
    }
}

impl TimeOperand {
    /// Reads `now`, or a time; `None` if the text is neither, or a leap second, which is no one instant.
    #[must_use]
    pub fn new(text: &str) -> Option<TimeOperand> {
        if text == "now" {
            return Some(TimeOperand::Now);
        }
        let Time { first, last } = Time::parse(text)?;
        let Instant { seconds, fraction } = first;
        (first == last).then(|| TimeOperand::At {
            text: text.into(),
            seconds,
            fraction: fraction.into(),
        })
    }

    /// As the policy writes it.
    #[must_use]
    pub fn text(&self) -> &str {
        match self {
            TimeOperand::Now => "now",
            TimeOperand::At { text, .. } => text,
        }
    }
}

/// What a time has to be.
pub(super) const TIME: &str = "a time with its offset, such as 2026-12-01T00:00:00Z";

/// Why a value cannot be compared with a time.
pub(super) fn no_time(value: &Value<'_>) -> Mismatch {
    match value {
        Value::String(_) => Mismatch { expected: TIME, found: "another string" },
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => {
            Mismatch { expected: TIME, found: value.kind() }
        }
    }
}

/// The digits of a fraction, and what stands behind them.
fn split_fraction(rest: &[u8]) -> Option<(&[u8], &[u8])> {
    let Some(rest) = rest.strip_prefix(b".") else { return Some((&[], rest)) };
    let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
    rest.split_at_checked(digits).filter(|_| digits > 0)
}

/// How many minutes a clock of this offset is ahead of UTC. `-00:00` says that nobody knows where the clock stood, but not when.
pub(super) fn offset_minutes(offset: &[u8]) -> Option<i64> {
    match *offset {
        [b'Z' | b'z'] => Some(0),
        [sign @ (b'+' | b'-'), h1, h2, b':', m1, m2] => {
            let hours = number(&[h1, h2]).filter(|hours| *hours < 24)?;
            let minutes = number(&[m1, m2]).filter(|minutes| *minutes < 60)?;
            let ahead = hours * 60 + minutes;
            Some(if sign == b'+' { ahead } else { -ahead })
        }
        _ => None,
    }
}

pub(super) fn number(digits: &[u8]) -> Option<i64> {
    digits.iter().try_fold(0, |number, digit| {
        digit.is_ascii_digit().then(|| number * 10 + i64::from(digit - b'0'))
    })
}

fn trimmed(digits: &[u8]) -> &[u8] {
    let zeros = digits.iter().rev().take_while(|digit| **digit == b'0').count();
    digits.get(..digits.len() - zeros).unwrap_or_default()
}

/// The three digits of a time's milliseconds.
pub(super) fn millis(now: UnixMillis) -> [u8; 3] {
    let digit = |unit: u64| b'0' + u8::try_from(now.0 / unit % 10).unwrap_or_default();
    [digit(100), digit(10), digit(1)]
}

fn days_of(year: i64, month: i64) -> i64 {
    match month {
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
        _ => 0,
    }
}

/// Days from 1970-01-01 to a day. Years are counted from March, so that a leap day is the last day of its year.
pub(super) fn days_before(year: i64, month: i64, day: i64) -> i64 {
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let leap_days = year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
    // From March on, every five months have 153 days.
    year * 365 + leap_days + (153 * month + 2) / 5 + day - 719_469
}
