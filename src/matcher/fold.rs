//! Texts that a lenient reader takes for another: equal after Unicode case folding, after dropping invisible characters
//! and outer white space, after undoing full-width forms, in any normal form.
//!
//! Parsers that fold keys (Go's `encoding/json` is the best known) would read such a text as the other one; we refuse it.
//! INVARIANT: being folded to one text is one relation for all disguises together: whoever puts several on is seen through
//! as well. `tests/suite/disguises.rs` holds it.

mod invisible;

use std::borrow::Cow;

pub use invisible::invisible;

use unicode_normalization::char::decompose_canonical;

use super::normal::{composed, decomposed};

/// A text with every character as an escape that shows nothing, ends a line or turns the direction: `\u{a}`.
#[must_use]
pub fn legible(text: &str) -> Cow<'_, str> {
    if text.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
        return text.into();
    }
    let odd = |character| invisible(character) || matches!(character, '\u{2028}' | '\u{2029}');
    if !text.contains(odd) {
        return text.into();
    }
    let mut shown = String::with_capacity(text.len());
    for character in text.chars() {
        match odd(character) {
            true => shown.extend(character.escape_unicode()),
            false => shown.push(character),
        }
    }
    shown.into()
}

/// What a lenient reader sees of a text. Never inlined: folding is long.
#[must_use]
#[inline(never)]
pub fn look(text: &str) -> String {
    folded(text).collect()
}

/// Whether `text` is not `name`, but a lenient reader could take it for `name`.
#[must_use]
pub fn confusable(text: &str, name: &str) -> bool {
    confusable_with_any(text, &[name])
}

/// Whether `text` is none of these names, but a lenient reader could take it for one. The text is folded once at most.
#[must_use]
pub fn confusable_with_any(text: &str, names: &[&str]) -> bool {
    if names.contains(&text) {
        return false;
    }
    if is_plain(text) {
        // Folding such a text writes it in lower case, and nothing else.
        let alike = |name: &&str| match is_plain(name) {
            true => name.eq_ignore_ascii_case(text),
            false => is_alike(text, name),
        };
        return names.iter().any(alike);
    }
    let text = shown(text);
    let mut first = None;
    if let Some(character) = text.chars().find(|character| !invisible(*character)) {
        decompose_canonical(narrow(character), |part| {
            first = first.or_else(|| in_lower_case(narrow(part)).next());
        });
    }
    names.iter().any(|name| {
        if is_plain(name) { is_folded_to(text, first, name) } else { is_alike(text, name) }
    })
}

/// Whether a text has visible ASCII and nothing else.
fn is_plain(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_graphic())
}

/// Whether a text is folded to a name of plain ASCII. Then each of its characters is, by itself: nearly all texts are told apart by what
/// their first one is folded to.
fn is_folded_to(text: &str, first: Option<char>, name: &str) -> bool {
    let mut wanted = name.bytes().map(|byte| char::from(byte.to_ascii_lowercase()));
    first == wanted.clone().next()
        && text.chars().filter(|character| !invisible(*character)).all(|character| {
            let mut same = true;
            decompose_canonical(narrow(character), |part| {
                same &= in_lower_case(narrow(part)).all(|found| wanted.next() == Some(found));
            });
            same
        })
        && wanted.next().is_none()
}

/// Whether a text is folded to what a name is folded to. Of a text that is much longer not all is folded: no name is composed of more
/// characters than its bytes times 64.
fn is_alike(text: &str, name: &str) -> bool {
    let most = name.len().saturating_add(1).saturating_mul(64);
    beginning(text, most).eq(folded(name))
}

/// The text as a lenient reader sees it: two texts that fold to one could be taken for each other.
///
/// ```
/// use mcp_policy::matcher::fold::folded;
///
/// assert!(folded("Delete_Table").eq(folded("delete_table")));
/// assert!(folded("delete\u{200b}").eq(folded("delete")));
/// ```
pub fn folded(text: &str) -> impl Iterator<Item = char> + '_ {
    beginning(shown(text), usize::MAX)
}

/// The text in its own case, without what does not show, outer white space and full-width forms, in normal form C.
#[must_use]
pub fn unveiled(text: &str) -> Cow<'_, str> {
    if is_plain(text) {
        return Cow::Borrowed(text);
    }
    let characters = shown(text).chars().filter(|character| !invisible(*character));
    let plain: String =
        composed(decomposed(characters).into_iter().map(narrow)).into_iter().collect();
    if plain == text { Cow::Borrowed(text) } else { Cow::Owned(plain) }
}

fn shown(text: &str) -> &str {
    text.trim_matches(|character: char| character.is_whitespace() || invisible(character))
}

/// The same of the first so many characters that show.
fn beginning(shown: &str, most: usize) -> impl Iterator<Item = char> + '_ {
    let (plain, other) = if shown.is_ascii() { (shown, "") } else { ("", shown) };
    let plain = plain.bytes().filter(|byte| !byte.is_ascii_control());
    let plain = plain.map(|byte| char::from(byte.to_ascii_lowercase()));
    plain.take(most).chain(lenient(other, most))
}

/// Decomposed first, so that a letter has its case without its marks; composed at the end, so that it is one character again.
fn lenient(text: &str, most: usize) -> Vec<char> {
    let shown = text.chars().filter(|character| !invisible(*character)).take(most);
    composed(decomposed(shown).into_iter().map(narrow).flat_map(in_lower_case))
}

/// U+017F becomes S in upper case only, U+1E9E is ß only in lower case, and that SS only in upper case.
fn in_lower_case(character: char) -> impl Iterator<Item = char> {
    let (plain, other) = if character.is_ascii() {
        (Some(character.to_ascii_lowercase()), None)
    } else {
        (None, Some(character))
    };
    let lower = other.into_iter().flat_map(char::to_lowercase);
    plain.into_iter().chain(lower.flat_map(char::to_uppercase).flat_map(char::to_lowercase))
}

/// The ASCII character that a full-width form stands for.
#[must_use]
pub fn narrow(character: char) -> char {
    match character {
        '\u{ff01}'..='\u{ff5e}' => {
            char::from_u32(u32::from(character) - 0xfee0).unwrap_or(character)
        }
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::{confusable, confusable_with_any, unveiled};

    #[test]
    fn what_does_not_show_is_taken_off_and_case_is_kept() {
        for (text, expected) in [
            ("Delete_x", "Delete_x"),
            ("de lete", "de lete"),
            (" de\u{200b}lete\u{1d173} ", "delete"),
            ("ｄelete", "delete"),
            ("lo\u{200b}\u{308}schen", "l\u{f6}schen"),
            ("\u{200b}", ""),
        ] {
            assert_eq!(unveiled(text), expected, "{text:?}");
        }
    }

    #[test]
    fn sees_through_disguises() {
        for (text, expected) in [
            ("name", false),
            ("nam", false),
            ("Name", true),
            ("NAME", true),
            ("name ", true),
            ("name\0", true),
            ("na\u{200b}me", true),
            ("\u{feff}name", true),
            ("name\u{1d173}", true),
            ("n\u{e0fff}ame", true),
            ("ｎａｍｅ", true),
            ("names", false),
            ("n\u{e4}me", false),
        ] {
            assert_eq!(confusable(text, "name"), expected, "{text:?}");
        }
        assert!(confusable("param\u{17f}", "params"));
        assert!(confusable("to\u{212a}en", "token"));
        assert!(confusable("STRASSE", "straße"));
        assert!(confusable("STRA\u{1e9e}E", "straße"));
        assert!(confusable("lo\u{308}schen", "l\u{f6}schen"));
        assert!(confusable("LO\u{200b}\u{308}SCHEN", "l\u{f6}schen"));
        assert!(confusable("ｏ\u{308}", "\u{f6}"));
    }

    #[test]
    fn a_text_is_none_of_its_own_names() {
        assert!(!confusable_with_any("a", &["A", "a"]));
        assert!(confusable_with_any("b\u{200b}", &["a", "b"]));
        assert!(!confusable_with_any(&"\u{301}".repeat(1000), &["a", "b"]));
    }
}
