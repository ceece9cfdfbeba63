//! What bytes are outside of strings.

/// What a byte is outside of strings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Byte {
    /// Of a number or a word; some writers have NaN and Infinity.
    Scalar,
    /// White space, a comma, or a colon.
    Separator,
    /// A bracket or a quote.
    Bracket,
    /// None of JSON's: a comment, another quote, half of a character.
    Foreign,
}

const BYTES: [Byte; 256] = bytes();

pub(super) fn byte(byte: u8) -> Byte {
    BYTES.get(usize::from(byte)).copied().unwrap_or(Byte::Foreign)
}

const fn bytes() -> [Byte; 256] {
    let mut bytes = [Byte::Foreign; 256];
    let mut at = 0;
    while at < 256 {
        #[expect(clippy::indexing_slicing, reason = "the index is below the length")]
        #[expect(clippy::cast_possible_truncation, reason = "the index is a byte")]
        {
            bytes[at] = match at as u8 {
                b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' | b'+' | b'-' | b'.' => Byte::Scalar,
                b' ' | b'\t' | b'\n' | b'\r' | b',' | b':' => Byte::Separator,
                b'{' | b'}' | b'[' | b']' | b'"' => Byte::Bracket,
                _ => Byte::Foreign,
            };
        }
        at += 1;
    }
    bytes
}
