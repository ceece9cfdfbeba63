//! What is counted of a log: in memory that has a bound, since callers choose the names in it.

use std::collections::{BTreeMap, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher as _};

use jiff::Timestamp;
use mcp_policy::time::UnixMillis;

use super::audit_log::AuditedCall;

/// Who has no name.
pub(super) const ANONYMOUS: &str = "anonymous";

/// A map of so many keys at most. Keys that come when it is full are counted, and not kept.
#[derive(Debug)]
pub(super) struct Capped<K, V> {
    kept: BTreeMap<K, V>,
    most: usize,
    /// How often something came that there was no room for.
    pub(super) beyond: u64,
}

impl<K: Ord, V: Default> Capped<K, V> {
    pub(super) fn of(most: usize) -> Capped<K, V> {
        Capped { kept: BTreeMap::new(), most, beyond: 0 }
    }

    /// The value of a key, which is made if there is room.
    pub(super) fn at(&mut self, key: K) -> Option<&mut V> {
        if self.kept.len() >= self.most && !self.kept.contains_key(&key) {
            self.beyond += 1;
            return None;
        }
        Some(self.kept.entry(key).or_default())
    }

    pub(super) fn get(&self, key: &K) -> Option<&V> {
        self.kept.get(key)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.kept.iter()
    }

    pub(super) fn values_mut(&mut self) -> impl Iterator<Item = &mut V> {
        self.kept.values_mut()
    }

    pub(super) fn len(&self) -> usize {
        self.kept.len()
    }
}

/// The time from the first to the last of something.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Period(Option<(UnixMillis, UnixMillis)>);

impl Period {
    /// Takes a time in.
    pub(super) fn note(&mut self, time: Option<UnixMillis>) {
        let Some(time) = time else { return };
        let (first, last) = self.0.unwrap_or((time, time));
        self.0 = Some((first.min(time), last.max(time)));
    }

    pub(super) fn first(&self) -> Option<UnixMillis> {
        self.0.map(|(first, _)| first)
    }

    pub(super) fn last(&self) -> Option<UnixMillis> {
        self.0.map(|(_, last)| last)
    }

    /// `2026-01-05 09:00 to 2026-01-06 10:30 UTC`; nothing where no time is known.
    pub(super) fn text(&self) -> Option<String> {
        let (first, last) = self.0.map(|(first, last)| (minute(first), minute(last)))?;
        Some(if first == last { format!("{first} UTC") } else { format!("{first} to {last} UTC") })
    }
}

/// A time for people, to the minute, in UTC.
pub(super) fn minute(time: UnixMillis) -> String {
    shown(time, "%Y-%m-%d %H:%M")
}

/// A time for programs, as RFC 3339 writes it.
pub(super) fn rfc3339(time: UnixMillis) -> String {
    shown(time, "%Y-%m-%dT%H:%M:%SZ")
}

fn shown(time: UnixMillis, format: &str) -> String {
    let millis = i64::try_from(time.0).ok().and_then(|time| Timestamp::from_millisecond(time).ok());
    millis.map_or_else(|| time.0.to_string(), |time| time.strftime(format).to_string())
}

/// Who called, as people know it: the grant, or the first of the caller's further names.
pub(super) fn caller(call: &AuditedCall) -> String {
    match (call.grant.as_str(), call.identity.first()) {
        ("", Some((key, value))) => format!("{key}={value}"),
        ("", None) => ANONYMOUS.to_owned(),
        (grant, _) => grant.to_owned(),
    }
}

/// How many different callers there were, up to a number.
#[derive(Debug, Default)]
pub(super) struct CallerCount {
    known: HashSet<u64>,
    more: bool,
}

/// Most callers that are told apart in one place.
pub(super) const MOST_CALLERS: usize = 256;

impl CallerCount {
    /// Takes a caller in, as long as there is room.
    pub(super) fn note(&mut self, caller: u64, room: &mut usize) {
        if self.known.contains(&caller) {
            return;
        }
        if self.known.len() >= MOST_CALLERS || *room == 0 {
            self.more = true;
            return;
        }
        *room -= 1;
        self.known.insert(caller);
    }

    /// `3`, `over 256`.
    pub(super) fn number(&self) -> String {
        let counted = self.known.len().to_string();
        if self.more { format!("over {counted}") } else { counted }
    }

    /// `3 callers`, `more than 256 callers`.
    pub(super) fn text(&self) -> String {
        let counted = super::report::counted(self.known.len(), "caller");
        if self.more { format!("more than {counted}") } else { counted }
    }
}

/// A number that stands for a text.
pub(super) fn fingerprint(text: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    hasher.finish()
}
