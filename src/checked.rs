//! Which configurations were checked in this Envoy: noted in the store that all worker threads share.
//!
//! Envoy hands a configuration to a copy of the filter that only checks it, and then to each worker. What the first has compiled to see whether
//! it can be, the workers need not compile again before they go on.

use crate::bounds::MAX_SWAPS;
use crate::live::VERSION;
use crate::rate::store::{SharedStore, Swap};

/// The digest of a configuration's bytes, by SHA-256.
pub type ConfigurationDigest = [u8; 32];

/// How many configurations are noted of one plugin, the newest first. An older one is checked again.
const MOST_NOTED: usize = 16;

fn key(plugin: &str) -> String {
    // Another version may refuse what this one takes.
    format!("mcp-policy/checked/1/{VERSION}/{plugin}")
}

/// Whether this configuration was checked. Where the store fails, nobody knows, so it was not.
pub fn is_checked<S: SharedStore>(
    store: &S,
    plugin: &str,
    configuration: &ConfigurationDigest,
) -> bool {
    store.get(&key(plugin)).is_ok_and(|noted| is_among(&noted.value, configuration))
}

/// Notes that this configuration was checked, and holds.
pub fn note<S: SharedStore>(store: &S, plugin: &str, configuration: &ConfigurationDigest) {
    let key = key(plugin);
    for _ in 0..MAX_SWAPS {
        let Ok(before) = store.get(&key) else { return };
        if is_among(&before.value, configuration) {
            return;
        }
        let mut noted = configuration.to_vec();
        noted.extend_from_slice(&before.value);
        noted.truncate(MOST_NOTED * configuration.len());
        match store.compare_and_set(&key, &noted, before.version) {
            Ok(Swap::Lost) => {}
            Ok(Swap::Done) | Err(_) => return,
        }
    }
}

fn is_among(noted: &[u8], configuration: &ConfigurationDigest) -> bool {
    noted.chunks_exact(configuration.len()).any(|other| other == configuration)
}

#[cfg(test)]
mod tests {
    use super::{MOST_NOTED, is_checked, note};
    use crate::rate::memory::MemoryStore;

    #[test]
    fn what_was_checked_is_known_to_all_of_the_same_plugin() {
        let store = MemoryStore::default();
        let digest = |number: usize| [u8::try_from(number).unwrap(); 32];
        assert!(!is_checked(&store, "p", &digest(0)));
        for number in 0..=MOST_NOTED {
            note(&store, "p", &digest(number));
            note(&store, "p", &digest(number));
            assert!(is_checked(&store, "p", &digest(number)));
        }
        assert!(!is_checked(&store, "p", &digest(0)), "the oldest makes room");
        assert!(is_checked(&store, "p", &digest(1)));
        assert!(!is_checked(&store, "another", &digest(1)));
    }
}
