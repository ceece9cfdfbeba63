//! Which policies are live in this Envoy: noted in the store that all worker threads share, so that one of them tells of a change.

use std::fmt::Write as _;

use crate::bounds::MAX_SWAPS;
use crate::matcher::fold::legible;
use crate::policy::compiled::{Config, Policy};
use crate::rate::limiter::Mode;
use crate::rate::store::{SharedStore, Swap};

/// The version of the filter.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Most policies that one line names.
const MOST_NAMED: usize = 20;

/// What was live before under a policy's name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Was {
    /// Nothing that anybody knows of.
    New,
    /// The same policy under the same configuration.
    Same,
    /// The same policy, with other settings beside it.
    Settled,
    /// Another one: its digest, and the version of the filter.
    Other(String, String),
}

/// Notes that a policy is live. `configuration` is a digest of everything that the plugin of this name was told. Of all who note the same
/// thing, one learns what was before.
pub fn replace<S: SharedStore>(
    store: &S,
    plugin: &str,
    configuration: &[u8],
    policy: &Policy,
) -> Was {
    let key = format!("mcp-policy/live/1/{plugin}/{}", policy.name);
    let mut note = format!("{} {VERSION} ", policy.named_digest);
    for byte in configuration.iter().take(8) {
        let _ = write!(note, "{byte:02x}");
    }
    for _ in 0..MAX_SWAPS {
        let Ok(snapshot) = store.get(&key) else { return Was::Same };
        if snapshot.value == note.as_bytes() {
            return Was::Same;
        }
        match store.compare_and_set(&key, note.as_bytes(), snapshot.version) {
            Ok(Swap::Done) => return was(&snapshot.value, policy),
            Ok(Swap::Lost) => {}
            Err(_) => return Was::Same,
        }
    }
    Was::Same
}

fn was(note: &[u8], policy: &Policy) -> Was {
    let note = std::str::from_utf8(note).unwrap_or_default();
    let mut words = note.split(' ').map(str::to_owned);
    match (words.next(), words.next()) {
        (Some(digest), Some(version)) if *digest == *policy.named_digest && version == VERSION => {
            Was::Settled
        }
        (Some(digest), Some(version)) => Was::Other(digest, version),
        _ => Was::New,
    }
}

/// The line that tells the operator which policies are live.
#[must_use]
pub fn line(config: &Config) -> String {
    let named = |policy: &Policy| {
        let shadow = if policy.mode == Mode::Shadow { ", in shadow" } else { "" };
        let candidate = policy.candidate.as_ref().map_or_else(String::new, |candidate| {
            format!(", beside candidate {}", candidate.named_digest)
        });
        format!("`{}` {}{shadow}{candidate}", legible(&policy.name), policy.named_digest)
    };
    let policies: Vec<String> = config.policies().take(MOST_NAMED).map(named).collect();
    let more = match config.policies().count().saturating_sub(MOST_NAMED) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    format!("mcp_policy: version {VERSION}, live: {}{more}", policies.join("; "))
}

#[cfg(test)]
mod tests {
    use super::{Was, replace};
    use crate::policy::compiled::Config;
    use crate::rate::memory::MemoryStore;

    #[test]
    fn one_of_all_workers_tells_of_a_change() {
        let load = |text: &str| Config::load(text.as_bytes(), "").unwrap().config;
        let (old, new) = (
            load(r#"{"version":"1","name":"git","default":"deny"}"#),
            load(r#"{"version":"1","name":"git","default":"allow"}"#),
        );
        let store = MemoryStore::default();
        let live =
            |config: &Config, settings: &[u8]| replace(&store, "p", settings, &config.policy);
        assert_eq!(live(&old, b"1"), Was::New);
        assert_eq!(live(&old, b"1"), Was::Same);
        assert_eq!(live(&old, b"2"), Was::Settled);
        assert_eq!(
            live(&new, b"2"),
            Was::Other(old.policy.named_digest.to_string(), super::VERSION.into())
        );
        assert_eq!(live(&new, b"2"), Was::Same);
        assert_eq!(
            live(&old, b"1"),
            Was::Other(new.policy.named_digest.to_string(), super::VERSION.into())
        );
    }
}
