//! Digests as they are named in texts: by their algorithm, and then in base64url.

use base64ct::{Base64UrlUnpadded, Encoding as _};

/// A digest of SHA-256: `sha-256:…`.
#[must_use]
pub fn named_digest(digest: &[u8]) -> String {
    format!("sha-256:{}", Base64UrlUnpadded::encode_string(digest))
}
