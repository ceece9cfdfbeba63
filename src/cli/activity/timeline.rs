//! What happened when: in equal stretches of time, which grow as the log goes on, so that there are never many.

use std::collections::BTreeMap;

use mcp_policy::time::UnixMillis;

/// Most stretches.
const MOST: u64 = 72;

/// Lengths of a stretch, in seconds: each divides the next, so that stretches can be joined.
const LENGTHS: [u64; 12] = [
    60,
    300,
    900,
    1800,
    3600,
    3 * 3600,
    6 * 3600,
    12 * 3600,
    86_400,
    7 * 86_400,
    28 * 86_400,
    364 * 86_400,
];

/// What can be put together.
pub(super) trait Joined: Default {
    fn join(&mut self, other: Self);
}

/// Values by the stretch of time that they belong to.
#[derive(Debug)]
pub(super) struct Timeline<V> {
    /// In seconds.
    length: u64,
    stretches: BTreeMap<u64, V>,
}

impl<V: Joined> Default for Timeline<V> {
    fn default() -> Timeline<V> {
        Timeline { length: 60, stretches: BTreeMap::new() }
    }
}

impl<V: Joined> Timeline<V> {
    /// Takes a value in.
    pub(super) fn note(&mut self, time: UnixMillis, value: V) {
        self.stretches.entry(time.seconds() / self.length).or_default().join(value);
        while self.span() > MOST {
            let longer = LENGTHS.into_iter().find(|length| *length > self.length);
            self.stretch_to(longer.unwrap_or(self.length.saturating_mul(4)));
        }
    }

    /// Joins stretches to longer ones. A length that is no multiple of what it is now changes nothing.
    pub(super) fn stretch_to(&mut self, length: u64) {
        let times = length.checked_div(self.length).unwrap_or_default();
        if times < 2 {
            return;
        }
        for (at, value) in std::mem::take(&mut self.stretches) {
            self.stretches.entry(at / times).or_default().join(value);
        }
        self.length = length;
    }

    /// The length of a stretch, in seconds.
    pub(super) fn length(&self) -> u64 {
        self.length
    }

    /// How many stretches there are from the first to the last.
    fn span(&self) -> u64 {
        let last = self.stretches.keys().next_back().copied().unwrap_or_default();
        last - self.stretches.keys().next().copied().unwrap_or_default() + 1
    }

    /// The stretches in which something is, by the seconds at which they begin.
    pub(super) fn stretches(&self) -> impl Iterator<Item = (u64, &V)> {
        self.stretches.iter().map(|(at, value)| (at * self.length, value))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Joined, MOST, Timeline, UnixMillis};

    #[derive(Default)]
    struct Sum(u64);

    impl Joined for Sum {
        fn join(&mut self, other: Sum) {
            self.0 += other.0;
        }
    }

    proptest! {
        #[test]
        fn nothing_is_lost_and_there_are_never_many(
            times in proptest::collection::vec(prop_oneof![0..u64::MAX, 1_767_000_000_000..1_768_000_000_000u64], 1..60)
        ) {
            let mut timeline = Timeline::default();
            for time in &times {
                timeline.note(UnixMillis(*time), Sum(1));
                prop_assert!(timeline.span() <= MOST);
            }
            prop_assert_eq!(timeline.stretches().map(|(_, sum)| sum.0).sum::<u64>(), times.len() as u64);
        }
    }
}
