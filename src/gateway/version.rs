//! The version of what the filter is configured with, by which an operator knows what is live.

use sha2::{Digest as _, Sha256};

use super::SETTINGS;
use crate::digest::named_digest;
use crate::json::{Value, canonical_members};
use crate::policy::compiled::Config;

/// How many characters of the digest of settings are enough to tell one from the next.
const SHORT: usize = 16;

/// The version of a configuration: the digest of its policy, as logs and `mcp-policy digest` have it, or of all its policies
/// together; and what tells its settings from others, where it has any.
#[must_use]
pub fn version(config: &Config, document: &Value<'_>) -> String {
    let mut policies = config.policies();
    let mut version = match (policies.next(), policies.next()) {
        (Some(only), None) => named_digest(&only.digest),
        _ => named_digest(&of_all(config)),
    };
    let beside = document.as_object().map(|object| object.0.as_slice()).unwrap_or_default();
    let full = beside.iter().any(|member| member.key == "policies");
    let settings = || {
        beside.iter().filter(|member| {
            let of_full = ["bindings", "unmatched", "mode"].contains(&&*member.key);
            SETTINGS.contains(&&*member.key) || (full && of_full)
        })
    };
    if settings().next().is_some() {
        let digest = Sha256::digest(canonical_members(settings()).text);
        let hex: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        version.push_str("+settings:");
        version.extend(hex.chars().take(SHORT));
    }
    version
}

fn of_all(config: &Config) -> Vec<u8> {
    let mut all = Sha256::new();
    for policy in config.policies() {
        all.update(named_digest(&policy.digest));
        all.update(policy.name.as_bytes());
        all.update([0]);
    }
    all.finalize().to_vec()
}
