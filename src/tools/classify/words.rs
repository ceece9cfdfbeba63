//! Names and texts, cut into words.

/// The words of a name: `executeSQLQuery` and `execute-sql_query` are execute, sql, query.
pub(super) fn words(name: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let characters: Vec<char> = name.chars().collect();
    for (at, &c) in characters.iter().enumerate() {
        let before = at.checked_sub(1).and_then(|at| characters.get(at));
        let after = characters.get(at + 1);
        let lower = |c: Option<&char>| c.is_some_and(|c| c.is_lowercase());
        let capital = c.is_uppercase()
            && (lower(before) || (lower(after) && before.is_some_and(|c| c.is_uppercase())));
        if capital || !c.is_alphabetic() {
            words.push(String::new());
        }
        if let Some(last) = words.last_mut().filter(|_| c.is_alphabetic()) {
            last.extend(c.to_lowercase());
        }
    }
    words.retain(|word| !word.is_empty());
    words
}

/// A text in lower case, with single spaces instead of everything else, and one at each end: so that ` sql ` is found in it where
/// it is a word. `|` stands at the end of a sentence, and a comma is a word.
pub(super) fn flat(text: &str) -> String {
    let mut flat = " ".to_owned();
    let mut characters = text.chars().peekable();
    while let Some(c) = characters.next() {
        let ends = matches!(c, '.' | '!' | '?' | '\n' | ';')
            && characters.peek().is_none_or(|next| next.is_whitespace() || c == '\n');
        if c.is_alphanumeric() || matches!(c, '$' | '\'') {
            flat.extend(c.to_lowercase());
        } else if c == ',' {
            flat.push_str(if flat.ends_with(' ') { ", " } else { " , " });
        } else if ends && !flat.ends_with("| ") && flat.len() > 1 {
            flat.push_str(if flat.ends_with(' ') { "| " } else { " | " });
        } else if !flat.ends_with(' ') {
            flat.push(' ');
        }
    }
    if !flat.ends_with(' ') {
        flat.push(' ');
    }
    flat
}

/// Whether these words stand together in a flat text.
pub(super) fn says(flat: &str, words: &str) -> bool {
    flat.match_indices(words).any(|(at, _)| {
        flat.get(..at).is_some_and(|before| before.ends_with(' '))
            && flat.get(at + words.len()..).is_some_and(|after| after.starts_with(' '))
    })
}

/// The first sentence of a flat text.
pub(super) fn first_sentence(flat: &str) -> &str {
    flat.split('|').find(|sentence| !sentence.trim().is_empty()).unwrap_or_default()
}

/// What a word is derived from, as far as its end tells: `retrieves` and `retrieving` may come from `retrieve`.
pub(super) fn stems(word: &str) -> Vec<String> {
    let mut stems = vec![word.to_owned()];
    for ending in ["s", "es", "d", "ed", "ing"] {
        if let Some(stem) = word.strip_suffix(ending).filter(|stem| stem.len() > 2) {
            stems.push(stem.to_owned());
            if ending == "ing" {
                stems.push(format!("{stem}e"));
            }
            if let Some(single) = doubled(stem) {
                stems.push(single.to_owned());
            }
        }
    }
    if let Some(stem) = word.strip_suffix("ies") {
        stems.push(format!("{stem}y"));
    }
    stems
}

/// `get` of `gett`, as in `getting`.
fn doubled(stem: &str) -> Option<&str> {
    let mut back = stem.chars().rev();
    let last = back.next()?;
    (back.next() == Some(last)).then(|| stem.strip_suffix(last)).flatten()
}
