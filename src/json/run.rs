//! Runs of plain bytes within strings, eight at a time: most of a text is strings.

const ONES: u64 = 0x0101_0101_0101_0101;
const HIGH: u64 = ONES << 7;

/// How many bytes there are before the next quote or backslash.
#[must_use]
pub fn string_run(bytes: &[u8]) -> usize {
    run(bytes, |word| has(word, b'"') || has(word, b'\\'), ends)
}

/// How many bytes there are before the next quote, backslash or control character.
pub(super) fn strict_string_run(bytes: &[u8]) -> usize {
    let ends_word = |word| has(word, b'"') || has(word, b'\\') || has_control(word);
    run(bytes, ends_word, |byte| ends(byte) || byte < 0x20)
}

fn ends(byte: u8) -> bool {
    byte == b'"' || byte == b'\\'
}

#[inline]
fn run(bytes: &[u8], ends_word: impl Fn(u64) -> bool, ends: impl Fn(u8) -> bool) -> usize {
    let mut run = 0;
    let (words, _) = bytes.as_chunks::<8>();
    for word in words {
        if ends_word(u64::from_le_bytes(*word)) {
            break;
        }
        run += 8;
    }
    let rest = bytes.get(run..).unwrap_or_default();
    run + rest.iter().position(|byte| ends(*byte)).unwrap_or(rest.len())
}

/// Whether any byte of a word is this one (Hacker's Delight, section 6-1).
fn has(word: u64, byte: u8) -> bool {
    let zeroed = word ^ (ONES * u64::from(byte));
    zeroed.wrapping_sub(ONES) & !zeroed & HIGH != 0
}

/// Whether any byte of a word is below 0x20 (the same section).
fn has_control(word: u64) -> bool {
    word.wrapping_sub(ONES * 0x20) & !word & HIGH != 0
}

#[cfg(test)]
mod tests {
    use super::{strict_string_run, string_run};

    #[test]
    fn runs_end_where_a_look_at_each_byte_ends_them() {
        for length in 0..20 {
            for at in 0..length {
                for byte in 0..=255_u8 {
                    for plain in [b'a', 0x20, 0x7f, 0x80, 0xff] {
                        let mut text = vec![plain; length];
                        text[at] = byte;
                        let ends = |byte: &u8| matches!(byte, b'"' | b'\\');
                        let run = text.iter().position(ends).unwrap_or(length);
                        assert_eq!(string_run(&text), run, "{text:?}");
                        let ends = |byte: &u8| ends(byte) || *byte < 0x20;
                        let run = text.iter().position(ends).unwrap_or(length);
                        assert_eq!(strict_string_run(&text), run, "{text:?}");
                    }
                }
            }
        }
    }
}
