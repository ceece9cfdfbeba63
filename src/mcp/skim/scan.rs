//! Fast runs over bytes.

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

/// How many bytes there are before the next quote or backslash: eight at a time, since most of a long text is strings.
pub(super) fn string_run(bytes: &[u8]) -> usize {
    let mut run = 0;
    let (words, _) = bytes.as_chunks::<8>();
    for word in words {
        let word = u64::from_le_bytes(*word);
        if has(word, b'"') || has(word, b'\\') {
            break;
        }
        run += 8;
    }
    let rest = bytes.get(run..).unwrap_or_default();
    let end = rest.iter().position(|&byte| byte == b'"' || byte == b'\\');
    run + end.unwrap_or(rest.len())
}

/// Whether any byte of a word is this one (Hacker's Delight, section 6-1).
fn has(word: u64, byte: u8) -> bool {
    const ONES: u64 = 0x0101_0101_0101_0101;
    let zeroed = word ^ (ONES * u64::from(byte));
    zeroed.wrapping_sub(ONES) & !zeroed & (ONES << 7) != 0
}
