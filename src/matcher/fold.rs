//! Texts that a lenient reader takes for another: equal after Unicode case folding, after dropping invisible characters
//! and outer white space, or after undoing full-width forms.
//!
//! Parsers that fold keys (Go's `encoding/json` is the best known) would read such a text as the other one; we refuse it.

/// Whether `text` is not `name`, but a lenient reader could take it for `name`.
#[must_use]
pub fn confusable(text: &str, name: &str) -> bool {
    if text == name {
        return false;
    }
    let plain = |text: &str| text.bytes().all(|byte| byte.is_ascii_graphic());
    if plain(text) && plain(name) {
        return text.eq_ignore_ascii_case(name);
    }
    folded(text).eq(folded(name))
}

fn folded(text: &str) -> impl Iterator<Item = char> + '_ {
    let visible = |character: &char| !invisible(*character);
    text.trim_matches(|character: char| character.is_whitespace() || invisible(character))
        .chars()
        .filter(visible)
        .map(narrow)
        // Upper case first: U+017F becomes S only that way, U+212A becomes k on the way back.
        .flat_map(char::to_uppercase)
        .flat_map(char::to_lowercase)
}

/// Controls, and the format characters that no font shows.
#[must_use]
pub fn invisible(character: char) -> bool {
    character.is_control()
        || matches!(character,
            '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}'
            | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}'
            | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}' | '\u{e0000}'..='\u{e0fff}')
}

/// The ASCII character that a full-width form stands for.
fn narrow(character: char) -> char {
    match character {
        '\u{ff01}'..='\u{ff5e}' => {
            char::from_u32(u32::from(character) - 0xfee0).unwrap_or(character)
        }
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::confusable;

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
            ("ｎａｍｅ", true),
            ("names", false),
            ("n\u{e4}me", false),
        ] {
            assert_eq!(confusable(text, "name"), expected, "{text:?}");
        }
        assert!(confusable("param\u{17f}", "params"));
        assert!(confusable("to\u{212a}en", "token"));
        assert!(confusable("STRASSE", "straße"));
    }
}
