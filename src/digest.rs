//! Digests: of several parts, and as they are named in texts; and other numbers as texts have them.

use base64ct::{Base64UrlUnpadded, Encoding as _};
use sha2::{Digest as _, Sha256};

/// A digest of SHA-256 by its algorithm, and then in base64url: `sha-256:…`.
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

/// Appends a number in hexadecimal, with at least so many digits. Each counted call does it, and `format!` touches more code than all of the
/// counting.
pub fn push_hexadecimal(text: &mut String, number: u64, least: u32) {
    let digits = (u64::BITS - number.leading_zeros()).div_ceil(4).max(least);
    for place in (0..digits).rev() {
        let digit = u32::try_from((number >> (4 * place)) & 0xf).unwrap_or(0);
        text.extend(char::from_digit(digit, 16));
    }
}
