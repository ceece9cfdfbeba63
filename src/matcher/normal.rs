//! Unicode normal form C, in which texts are compared: one text has many spellings (`ö` alone, or `o` with two dots above it), and
//! servers that compare by meaning, or whose file system does, take them for one.

use std::borrow::Cow;

use unicode_normalization::{UnicodeNormalization, is_nfc};

/// The text in normal form C: borrowed where it is so already, which ASCII always is.
#[must_use]
pub fn nfc(text: &str) -> Cow<'_, str> {
    if text.is_ascii() || is_nfc(text) {
        Cow::Borrowed(text)
    } else {
        Cow::Owned(text.nfc().collect())
    }
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use super::nfc;

    #[test]
    fn spellings_of_one_text_are_one() {
        for (text, expected) in [
            ("lo\u{308}schen", "l\u{f6}schen"),
            ("\u{1107}\u{1175}\u{1106}\u{1175}\u{11af}", "비밀"),
            ("\u{212b}", "\u{c5}"),
            ("a\u{323}\u{307}", "\u{1ea1}\u{307}"),
            ("a\u{307}\u{323}", "\u{1ea1}\u{307}"),
            // An exclusion from composition stays apart.
            ("\u{958}", "\u{915}\u{93c}"),
        ] {
            assert_eq!(nfc(text), expected, "{text:?}");
        }
    }

    #[test]
    fn what_is_normal_is_borrowed() {
        for text in ["", "delete_all", "l\u{f6}schen", "비밀", "x\u{301}"] {
            assert!(matches!(nfc(text), Cow::Borrowed(_)), "{text:?}");
        }
    }
}
