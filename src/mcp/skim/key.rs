//! Keys, decoded as they stream by and judged in memory that does not grow with them.

use super::Wanted;
use crate::matcher::fold::{confusable, invisible};
use crate::mcp::call::LISTS;

/// More characters that can be seen than any key has that is looked for.
const MAX_KEY_CHARS: usize = 64;

/// What a member is by its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum KeyMeaning {
    Result,
    Error,
    Method,
    List,
    Id,
    /// Not `id`, but a lenient reader could take it for that.
    LikeId,
    Other,
}

/// A key that is being read. Only what can be seen of it is kept: the rest could not make another key of it.
#[derive(Debug, Default)]
pub(super) struct KeyReader {
    seen: String,
    chars: usize,
    /// Whether it has more than can be kept.
    long: bool,
    /// Whether anything was left out.
    altered: bool,
    escape: Escape,
    /// A high surrogate that waits for its other half.
    high: Option<u32>,
    /// The beginning of a character.
    bytes: Vec<u8>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Escape {
    #[default]
    None,
    Begun,
    /// So many hexadecimal digits, and what they come to.
    Code(u8, u32),
}

impl KeyReader {
    /// Begins another key.
    pub(super) fn renew(&mut self) {
        let mut seen = std::mem::take(&mut self.seen);
        seen.clear();
        *self = KeyReader { seen, ..KeyReader::default() };
    }

    /// Takes what the key begins with as far as each byte is a character that shows: mostly all of it. How many bytes that was.
    pub(super) fn take_plain(&mut self, bytes: &[u8]) -> usize {
        let ends = |byte: &u8| !byte.is_ascii_graphic() || matches!(byte, b'"' | b'\\');
        let length = bytes.iter().take(MAX_KEY_CHARS).position(ends);
        let length = length.unwrap_or(bytes.len().min(MAX_KEY_CHARS));
        if let Some(Ok(text)) = bytes.get(..length).map(std::str::from_utf8) {
            self.seen.push_str(text);
            self.chars = length;
        }
        length
    }

    pub(super) fn in_escape(&self) -> bool {
        self.escape != Escape::None
    }

    pub(super) fn in_character(&self) -> bool {
        !self.bytes.is_empty()
    }

    /// Takes the next byte of the key; false where it is broken.
    pub(super) fn push(&mut self, byte: u8) -> bool {
        match self.escape {
            Escape::None if byte == b'\\' => {
                self.escape = Escape::Begun;
                self.bytes.is_empty()
            }
            Escape::None => self.byte(byte),
            Escape::Begun => {
                self.escape = Escape::None;
                match byte {
                    b'u' => self.escape = Escape::Code(0, 0),
                    b'b' | b'f' | b'n' | b'r' | b't' => self.see('\t'),
                    other => self.see(char::from(other)),
                }
                true
            }
            Escape::Code(digits, code) => {
                let Some(digit) = char::from(byte).to_digit(16) else { return false };
                let code = code * 16 + digit;
                self.escape =
                    if digits < 3 { Escape::Code(digits + 1, code) } else { Escape::None };
                if digits == 3 {
                    self.unit(code);
                }
                true
            }
        }
    }

    fn byte(&mut self, byte: u8) -> bool {
        if byte.is_ascii() {
            self.see(char::from(byte));
            return self.bytes.is_empty();
        }
        self.bytes.push(byte);
        match std::str::from_utf8(&self.bytes) {
            Ok(text) => {
                let character = text.chars().next();
                self.bytes.clear();
                character.into_iter().for_each(|character| self.see(character));
                true
            }
            // Lenient readers drop what is not a character, or put another in its place.
            Err(error) => error.error_len().is_none(),
        }
    }

    /// A UTF-16 unit. Half of a pair without the other is dropped by some readers.
    fn unit(&mut self, code: u32) {
        match (self.high.take(), code) {
            (_, 0xd800..0xdc00) => {
                self.altered = true;
                self.high = Some(code);
            }
            (Some(high), 0xdc00..0xe000) => {
                let code = 0x10000 + ((high - 0xd800) << 10) + (code - 0xdc00);
                char::from_u32(code).into_iter().for_each(|character| self.see(character));
            }
            (_, code) => match char::from_u32(code) {
                Some(character) => self.see(character),
                None => self.altered = true,
            },
        }
    }

    fn see(&mut self, character: char) {
        self.high = None;
        if invisible(character) || (character.is_whitespace() && self.seen.is_empty()) {
            self.altered = true;
        } else if self.chars < MAX_KEY_CHARS {
            self.chars += 1;
            self.seen.push(character);
        } else {
            // White space at the end is dropped by some readers.
            self.long |= !character.is_whitespace();
        }
    }

    fn could_be(&self, word: &str) -> bool {
        !self.long && (self.seen == word || confusable(&self.seen, word))
    }

    pub(super) fn of_message(&self) -> KeyMeaning {
        match () {
            () if self.could_be("result") => KeyMeaning::Result,
            () if self.could_be("error") => KeyMeaning::Error,
            () if self.seen == "method" && !self.altered && !self.long => KeyMeaning::Method,
            () if self.seen == "id" && !self.altered && !self.long => KeyMeaning::Id,
            () if self.could_be("id") => KeyMeaning::LikeId,
            () => KeyMeaning::Other,
        }
    }

    pub(super) fn of_result(&self, wanted: Wanted) -> KeyMeaning {
        let mut lists = LISTS.iter().zip(wanted.0).filter(|(_, wanted)| *wanted);
        match lists.any(|((_, key, ..), _)| self.could_be(key)) {
            true => KeyMeaning::List,
            false => KeyMeaning::Other,
        }
    }
}
