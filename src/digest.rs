//! Digests and other numbers as texts have them.

use base64ct::{Base64UrlUnpadded, Encoding as _};

/// A digest of SHA-256 by its algorithm, and then in base64url: `sha-256:…`.
#[must_use]
pub fn named_digest(digest: &[u8]) -> String {
    format!("sha-256:{}", Base64UrlUnpadded::encode_string(digest))
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
