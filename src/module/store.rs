//! Counts in the memory of the process: a map that all worker threads share, whose values have versions.
//!
//! It stands where the filter has Envoy's shared data, with the same keys and the same semantics. Values outlive configurations and go
//! with the process.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, BuildHasherDefault, DefaultHasher};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::rate::store::{SharedStore, Snapshot, StoreFailed, Swap, Version};

/// Workers meet at a part of the map, not at the whole.
const PARTS: usize = 64;

/// The keys are our own: no caller can choose them so that they meet, and the hasher needs no secret.
type Hasher = BuildHasherDefault<DefaultHasher>;

type Part = HashMap<Box<str>, (Vec<u8>, Version), Hasher>;

/// A store.
#[derive(Debug)]
pub(super) struct ProcessStore {
    parts: [Mutex<Part>; PARTS],
}

impl ProcessStore {
    /// A store with nothing in it.
    pub(super) const fn new() -> ProcessStore {
        let parts = [const { Mutex::new(HashMap::with_hasher(Hasher::new())) }; PARTS];
        ProcessStore { parts }
    }

    /// The part that a key is in. A panic leaves none half-changed: values are replaced as a whole.
    fn part(&self, key: &str) -> Result<MutexGuard<'_, Part>, StoreFailed> {
        let hash = Hasher::new().hash_one(key);
        let at = usize::try_from(hash % PARTS as u64).map_err(|_| StoreFailed)?;
        let part = self.parts.get(at).ok_or(StoreFailed)?;
        Ok(part.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl SharedStore for ProcessStore {
    fn get(&self, key: &str) -> Result<Snapshot, StoreFailed> {
        let part = self.part(key)?;
        Ok(match part.get(key) {
            Some((value, version)) => Snapshot { value: value.clone(), version: *version },
            None => Snapshot { value: Vec::new(), version: Version::ABSENT },
        })
    }

    fn compare_and_set(
        &self,
        key: &str,
        value: &[u8],
        expected: Version,
    ) -> Result<Swap, StoreFailed> {
        let mut part = self.part(key)?;
        match part.get_mut(key) {
            Some((held, version)) if *version == expected => {
                value.clone_into(held);
                *version = next(*version);
                Ok(Swap::Done)
            }
            Some(_) => Ok(Swap::Lost),
            None => {
                part.insert(key.into(), (value.to_vec(), Version(1)));
                Ok(Swap::Done)
            }
        }
    }
}

/// The version after this one. 0 is never used, and the last number stands for absence.
fn next(Version(version): Version) -> Version {
    let next = version.wrapping_add(1);
    if Version(next) == Version::ABSENT { Version(1) } else { Version(next.max(1)) }
}

#[cfg(test)]
mod tests {
    use super::{ProcessStore, next};
    use crate::rate::store::{SharedStore as _, Swap, Version};

    #[test]
    fn threads_that_add_lose_nothing() {
        static STORE: ProcessStore = ProcessStore::new();
        let add = |key: &str| {
            loop {
                let found = STORE.get(key).unwrap();
                let count = found.value.first_chunk().map_or(0, |bytes| u32::from_le_bytes(*bytes));
                let more = (count + 1).to_le_bytes();
                if STORE.compare_and_set(key, &more, found.version).unwrap() == Swap::Done {
                    return;
                }
            }
        };
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| (0..1000).for_each(|at| add(if at % 2 == 0 { "a" } else { "b" })));
            }
        });
        for key in ["a", "b"] {
            assert_eq!(STORE.get(key).unwrap().value, 4000_u32.to_le_bytes());
        }
    }

    #[test]
    fn a_write_under_an_old_version_is_lost() {
        let store = ProcessStore::new();
        assert_eq!(store.get("k").unwrap().version, Version::ABSENT);
        assert_eq!(store.compare_and_set("k", b"1", Version::ABSENT), Ok(Swap::Done));
        // Another thread was first to create it.
        assert_eq!(store.compare_and_set("k", b"2", Version::ABSENT), Ok(Swap::Lost));
        let first = store.get("k").unwrap();
        assert_eq!(store.compare_and_set("k", b"", first.version), Ok(Swap::Done));
        assert_eq!(store.compare_and_set("k", b"3", first.version), Ok(Swap::Lost));
        let emptied = store.get("k").unwrap();
        assert!(emptied.value.is_empty() && emptied.version != Version::ABSENT);
    }

    #[test]
    fn no_version_says_that_a_value_is_absent() {
        assert_eq!(next(Version(u32::MAX - 1)), Version(1));
        assert_eq!(next(Version(1)), Version(2));
    }
}
