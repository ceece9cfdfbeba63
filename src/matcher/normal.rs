//! Unicode normal form C, in which texts are compared: one text has many spellings (`ö` alone, or `o` with two dots above it), and
//! servers that compare by meaning, or whose file system does, take them for one.

use std::borrow::Cow;

use unicode_normalization::char::{canonical_combining_class, compose, decompose_canonical};
use unicode_normalization::{IsNormalized, is_nfc_quick};

/// The text in normal form C: borrowed where it is so already, which ASCII always is.
#[must_use]
pub fn nfc(text: &str) -> Cow<'_, str> {
    if text.is_ascii() || is_nfc_quick(text.chars()) == IsNormalized::Yes {
        return Cow::Borrowed(text);
    }
    let composed: String = composed(text.chars()).into_iter().collect();
    if composed == text { Cow::Borrowed(text) } else { Cow::Owned(composed) }
}

/// Normal form D, by the tables of the crate. Its iterators would bring those of the compatibility forms along, which are twice as
/// large as all that is needed here.
pub fn decomposed(characters: impl Iterator<Item = char>) -> Vec<char> {
    let mut marked: Vec<(u8, char)> = Vec::new();
    for character in characters {
        decompose_canonical(character, |part| marked.push((canonical_combining_class(part), part)));
    }
    // Marks have an order within each run of them; the sort is stable.
    for run in marked.chunk_by_mut(|(one, _), (other, _)| (*one == 0) == (*other == 0)) {
        run.sort_by_key(|(class, _)| *class);
    }
    marked.into_iter().map(|(_, character)| character).collect()
}

/// Normal form C (Unicode standard 3.11, D117): each character joins the last starter, unless another mark of its class or a starter
/// stands between.
pub fn composed(characters: impl Iterator<Item = char>) -> Vec<char> {
    let mut out: Vec<char> = Vec::new();
    let mut starter: Option<usize> = None;
    let mut last_class = 0;
    for character in decomposed(characters) {
        let class = canonical_combining_class(character);
        let blocked = starter.is_some_and(|at| at + 1 < out.len()) && last_class >= class;
        let first = starter.and_then(|at| out.get_mut(at)).filter(|_| !blocked);
        if let Some(first) = first
            && let Some(joined) = compose(*first, character)
        {
            *first = joined;
            continue;
        }
        if class == 0 {
            starter = Some(out.len());
        }
        last_class = class;
        out.push(character);
    }
    out
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
