//! Clocks of places: `UTC`, a fixed offset, or a zone by its name with the rule by which it changes its clocks.
//!
//! Rules and names come from the IANA time zone database, as its files have them for all times to come (RFC 9636, 3.3; the form is that of POSIX's
//! `TZ`): ten kilobytes, where its history would be most of what the filter has to carry. `tests/zones.py` writes the table. Zones whose
//! changes are decided from year to year are not in it. A law that changes a zone reaches the filter with its next version.

use super::instant::{days_before, number, offset_minutes};

/// One rule for each line, and the zones that have it.
const ZONES: &str = include_str!("zones.tsv");

const DAY: i64 = 86_400;

/// The clock of a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Zone {
    /// Always so many seconds ahead of UTC.
    Fixed(i64),
    /// Two clocks, one after the other, each year.
    Changing {
        /// The usual clock.
        standard: i64,
        /// The one from `begins` to `ends`.
        summer: i64,
        /// Told by the usual clock.
        begins: ClockChange,
        /// Told by the other.
        ends: ClockChange,
    },
}

/// When clocks change: on a weekday of a week of a month.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClockChange {
    month: i64,
    /// From 1; the last is 5.
    week: i64,
    /// From Sunday, which is 0.
    weekday: i64,
    /// Seconds after midnight; some are on another day.
    seconds: i64,
}

impl Zone {
    /// Reads `UTC`, an offset such as `+01:00`, or the name of a zone such as `Europe/Berlin`.
    #[must_use]
    pub fn new(text: &str) -> Option<Zone> {
        // `Z` and its like are for times.
        if text.len() == 6
            && let Some(ahead) = offset_minutes(text.as_bytes())
        {
            return (ahead.abs() <= 14 * 60).then_some(Zone::Fixed(ahead * 60));
        }
        let mut lines = ZONES.lines().filter_map(|line| line.split_once('\t'));
        let (rule, _) = lines.find(|(_, names)| names.split(' ').any(|name| name == text))?;
        Zone::of_rule(rule)
    }

    /// Every name.
    pub fn names() -> impl Iterator<Item = &'static str> {
        ZONES
            .lines()
            .filter_map(|line| line.split_once('\t'))
            .flat_map(|(_, names)| names.split(' '))
    }

    /// How many seconds the clock is ahead of UTC, at so many seconds since the epoch.
    #[must_use]
    pub fn ahead(self, at: i64) -> i64 {
        match self {
            Zone::Fixed(ahead) => ahead,
            Zone::Changing { standard, summer, begins, ends } => {
                let year = year_of(at.saturating_add(standard).div_euclid(DAY));
                if !(0..=9999).contains(&year) {
                    // No calendar that times are written in goes there.
                    return standard;
                }
                let begins = begins.in_year(year).saturating_sub(standard);
                let ends = ends.in_year(year).saturating_sub(summer);
                let is_summer = if begins < ends {
                    begins <= at && at < ends
                } else {
                    // South of the equator it begins in one year and ends in the next.
                    at < ends || begins <= at
                };
                if is_summer { summer } else { standard }
            }
        }
    }

    /// `CET-1CEST,M3.5.0,M10.5.0/3`: what is written is how far the clock is behind.
    fn of_rule(rule: &str) -> Option<Zone> {
        let rest = after_name(rule)?;
        let (behind, rest) = clock_time(rest)?;
        let standard = -behind;
        if rest.is_empty() {
            return Some(Zone::Fixed(standard));
        }
        let rest = after_name(rest)?;
        let (summer, rest) = match clock_time(rest) {
            Some((behind, rest)) => (-behind, rest),
            None => (standard + 3600, rest),
        };
        let (begins, ends) = rest.strip_prefix(',')?.split_once(',')?;
        let (begins, ends) = (ClockChange::new(begins)?, ClockChange::new(ends)?);
        Some(Zone::Changing { standard, summer, begins, ends })
    }
}

impl ClockChange {
    /// `M3.5.0/3`: month, week, weekday, and the time if it is not two o'clock.
    fn new(text: &str) -> Option<ClockChange> {
        let (date, time) = text.split_once('/').unwrap_or((text, "2"));
        let mut parts = date.strip_prefix('M')?.split('.').map(|part| number(part.as_bytes()));
        let (month, week, weekday) = (parts.next()??, parts.next()??, parts.next()??);
        let (seconds, rest) = clock_time(time)?;
        let is_whole = parts.next().is_none() && rest.is_empty();
        is_whole.then_some(ClockChange { month, week, weekday, seconds })
    }

    /// Seconds since the epoch, as the clock of the place tells them.
    fn in_year(self, year: i64) -> i64 {
        let first = days_before(year, self.month, 1);
        let next = if self.month == 12 {
            days_before(year + 1, 1, 1)
        } else {
            days_before(year, self.month + 1, 1)
        };
        // 1970-01-01 was a Thursday.
        let to_weekday = (self.weekday - (first + 4)).rem_euclid(7);
        let day = first + to_weekday + (self.week - 1) * 7;
        // The fifth is the last, and some months have four.
        let day = if day < next { day } else { day - 7 };
        day * DAY + self.seconds
    }
}

/// What follows the name of a clock: letters, or anything in angle brackets.
fn after_name(text: &str) -> Option<&str> {
    match text.strip_prefix('<') {
        Some(rest) => rest.split_once('>').map(|(_, rest)| rest),
        None => Some(text.trim_start_matches(|letter: char| letter.is_ascii_alphabetic())),
    }
}

/// `-3:30`, in seconds, and what follows it.
fn clock_time(text: &str) -> Option<(i64, &str)> {
    let end = text.find(|letter: char| !matches!(letter, '-' | '+' | ':' | '0'..='9'));
    let (time, rest) = text.split_at_checked(end.unwrap_or(text.len()))?;
    let (sign, time) = match time.strip_prefix('-') {
        Some(time) => (-1, time),
        None => (1, time.strip_prefix('+').unwrap_or(time)),
    };
    let (hours, minutes) = time.split_once(':').unwrap_or((time, "0"));
    if hours.is_empty() {
        return None;
    }
    let (hours, minutes) = (number(hours.as_bytes())?, number(minutes.as_bytes())?);
    Some((sign * (hours * 3600 + minutes * 60), rest))
}

/// The year of a day since 1970-01-01: four hundred years have 146097 days, so the guess is wrong by one at most.
fn year_of(day: i64) -> i64 {
    let guess = 1970 + day.saturating_mul(400).div_euclid(146_097);
    let fits = |year: &i64| days_before(*year, 1, 1) <= day && day < days_before(year + 1, 1, 1);
    [guess, guess - 1, guess + 1].into_iter().find(fits).unwrap_or(guess)
}

#[cfg(test)]
mod tests {
    use super::Zone;

    #[test]
    fn every_zone_has_a_rule() {
        let unread: Vec<&str> = Zone::names().filter(|name| Zone::new(name).is_none()).collect();
        assert!(unread.is_empty(), "{unread:?}");
        assert!(Zone::names().count() > 500);
    }

    #[test]
    fn clocks_are_ahead_as_another_reader_of_the_database_says() {
        let rows = include_str!("../../tests/data/zones.tsv");
        for row in rows.lines().filter(|row| !row.starts_with('#')) {
            let [zone, at, minutes] = row.split('\t').collect::<Vec<_>>()[..] else {
                panic!("{row}")
            };
            let ahead = Zone::new(zone).unwrap().ahead(at.parse().unwrap());
            assert_eq!(ahead, minutes.parse::<i64>().unwrap() * 60, "{row}");
        }
    }

    #[test]
    fn the_version_of_the_database_is_told() {
        let version =
            super::ZONES.lines().next().and_then(|line| line.strip_prefix("# IANA time zone "));
        let told = include_str!("../../policies/README.md").contains(version.unwrap());
        assert!(told, "policies/README.md says otherwise than {version:?}");
        assert!(super::ZONES.len() < 12_000, "it stays small");
    }

    #[test]
    fn what_is_no_zone_is_none() {
        for text in [
            "",
            "utc",
            "Z",
            "+1",
            "+01",
            "01:00",
            "+15:00",
            "+01:60",
            "Europe/Bielefeld",
            "europe/berlin",
            "Asia/Gaza",
            " ",
            "Europe",
            "CET-1CEST",
        ] {
            assert_eq!(Zone::new(text), None, "{text}");
        }
    }

    #[test]
    fn times_beyond_all_calendars_have_an_offset() {
        let berlin = Zone::new("Europe/Berlin").unwrap();
        for at in [i64::MIN, i64::MAX] {
            let _ = berlin.ahead(at);
        }
    }
}
