//! Hours of days of the week, by the clock of a place.

use super::instant::Instant;
use super::zone::Zone;
use crate::time::UnixMillis;

/// Minutes of a day.
const DAY: i64 = 1440;

/// The days of the week, as policies write them, from Monday.
pub const DAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];

/// Which hours of which days.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Schedule {
    /// A flag for each day of the week.
    days: [bool; 7],
    /// First minute of a day, and first minute after; without any, all of it.
    hours: Box<[(i64, i64)]>,
    /// By which clock.
    zone: Zone,
    /// As JSON, as the policy writes it.
    text: Box<str>,
}

impl Schedule {
    /// Makes one.
    #[must_use]
    pub fn new(days: [bool; 7], hours: Box<[(i64, i64)]>, zone: Zone, text: Box<str>) -> Schedule {
        Schedule { days, hours, zone, text }
    }

    /// As JSON, as the policy writes it.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Whether an instant lies in these hours.
    pub(super) fn holds(&self, instant: Instant<'_>) -> bool {
        let local = instant.seconds.saturating_add(self.zone.ahead(instant.seconds));
        let minute = local.div_euclid(60);
        // 1970-01-01 was a Thursday.
        let day = (minute.div_euclid(DAY) + 3).rem_euclid(7);
        let minute = minute.rem_euclid(DAY);
        let is_day = usize::try_from(day).ok().and_then(|day| self.days.get(day));
        let within = |(start, end): &(i64, i64)| (*start..*end).contains(&minute);
        is_day.is_some_and(|is_day| *is_day)
            && (self.hours.is_empty() || self.hours.iter().any(within))
    }
}

/// The times at which a rule holds: all that are said must agree.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Times {
    /// The hours of the week.
    pub during: Option<Schedule>,
    /// The first instant, in milliseconds since the epoch.
    pub not_before: Option<UnixMillis>,
    /// The last one.
    pub not_after: Option<UnixMillis>,
}

impl Times {
    /// Whether a rule with these times holds now.
    #[must_use]
    pub fn hold(&self, now: UnixMillis) -> bool {
        let seconds = i64::try_from(now.seconds()).unwrap_or(i64::MAX);
        let instant = Instant { seconds, fraction: &[] };
        self.not_before.is_none_or(|first| first <= now)
            && self.not_after.is_none_or(|last| now <= last)
            && self.during.as_ref().is_none_or(|schedule| schedule.holds(instant))
    }
}

/// One day (`sat`), or those from one to another (`mon-fri`, `sat-mon`).
#[must_use]
pub fn days(text: &str) -> Option<[bool; 7]> {
    let place = |word: &str| DAYS.iter().position(|day| *day == word);
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let (first, last) = (place(first)?, place(last)?);
    let mut days = [false; 7];
    for (at, day) in days.iter_mut().enumerate() {
        *day = if first <= last { first <= at && at <= last } else { first <= at || at <= last };
    }
    Some(days)
}

/// `09:00-17:30`: the first minute, and the first one after. Nothing goes past midnight, for then nobody knows which day is meant.
#[must_use]
pub fn hours(text: &str) -> Option<(i64, i64)> {
    let (start, end) = text.split_once('-')?;
    let (start, end) = (minute(start)?, minute(end)?);
    (start < end).then_some((start, end))
}

fn minute(text: &str) -> Option<i64> {
    let &[h1, h2, b':', m1, m2] = text.as_bytes() else { return None };
    let number = |one: u8, other: u8| {
        let digits = one.is_ascii_digit() && other.is_ascii_digit();
        digits.then(|| i64::from(one - b'0') * 10 + i64::from(other - b'0'))
    };
    let (hour, minute) = (number(h1, h2)?, number(m1, m2)?);
    let exists = (hour < 24 && minute < 60) || (hour == 24 && minute == 0);
    exists.then_some(hour * 60 + minute)
}
