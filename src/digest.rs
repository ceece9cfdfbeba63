//! Digests: of several parts, and as they are named in texts, by their algorithm and then in base64url.

use base64ct::{Base64UrlUnpadded, Encoding as _};
use sha2::{Digest as _, Sha256};

/// A digest of SHA-256: `sha-256:…`.
#[must_use]
pub fn named_digest(digest: &[u8]) -> String {
    format!("sha-256:{}", Base64UrlUnpadded::encode_string(digest))
}

/// SHA-256 over the parts, each with its length, so that no two lists of parts run together.
#[must_use]
pub fn of_parts(parts: &[&[u8]]) -> [u8; 32] {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part);
    }
    hash.finalize().into()
}

/// The first 128 bits of that.
#[must_use]
pub fn short_of_parts(parts: &[&[u8]]) -> u128 {
    of_parts(parts).first_chunk().map_or(0, |bytes| u128::from_le_bytes(*bytes))
}
