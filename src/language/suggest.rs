//! The nearest known word.

/// Longest text for which a word is looked for, in bytes.
const MAX_WORD_BYTES: usize = 256;

/// Words of other languages, and what they are called here.
const ELSEWHERE: [(&str, &str); 24] = [
    ("equals", "eq"),
    ("equal", "eq"),
    ("is", "eq"),
    ("==", "eq"),
    ("not_equals", "neq"),
    ("ne", "neq"),
    ("!=", "neq"),
    ("<", "lt"),
    ("less_than", "lt"),
    ("<=", "lte"),
    ("le", "lte"),
    (">", "gt"),
    ("greater_than", "gt"),
    (">=", "gte"),
    ("ge", "gte"),
    ("matches", "regex"),
    ("match", "regex"),
    ("like", "glob"),
    ("one_of", "in"),
    ("reason", "on_deny"),
    ("message", "on_deny"),
    ("block", "deny"),
    ("reject", "deny"),
    ("permit", "allow"),
];

/// The word among `known` that `found` most likely means, if any is near: one edit for each three characters.
pub fn nearest<'w>(found: &str, known: impl IntoIterator<Item = &'w str>) -> Option<&'w str> {
    // No known word is as long, and the comparison takes time for each character.
    if found.len() > MAX_WORD_BYTES {
        return None;
    }
    let found = found.to_lowercase();
    let known: Vec<&str> = known.into_iter().collect();
    let here = ELSEWHERE.iter().filter(|(elsewhere, _)| *elsewhere == found);
    let here = here.filter_map(|(_, here)| known.iter().find(|word| *word == here));
    if let Some(word) = here.copied().next() {
        return Some(word);
    }
    let bound = found.chars().count().div_ceil(3);
    known
        .into_iter()
        .map(|word| (distance(&found, &word.to_lowercase()), word))
        .filter(|(distance, _)| *distance <= bound)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, word)| word)
}

/// Levenshtein distance, in characters.
fn distance(left: &str, right: &str) -> usize {
    let right: Vec<char> = right.chars().collect();
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (at, character) in left.chars().enumerate() {
        let mut diagonal = at;
        let mut last = at + 1;
        for (cell, other) in row.iter_mut().skip(1).zip(&right) {
            let replace = diagonal + usize::from(character != *other);
            diagonal = *cell;
            last = replace.min(last + 1).min(*cell + 1);
            *cell = last;
        }
        if let Some(first) = row.first_mut() {
            *first = at + 1;
        }
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::nearest;

    #[test]
    fn finds_what_was_meant() {
        let known = ["minute", "hour", "day", "increment_from"];
        for (found, expected) in [
            ("minuet", Some("minute")),
            ("Hour", Some("hour")),
            ("increment-from", Some("increment_from")),
            ("dya", None),
            ("fortnight", None),
            ("", None),
            ("matches", None),
        ] {
            assert_eq!(nearest(found, known), expected, "{found}");
        }
        for (found, expected) in [("Equals", "eq"), ("matches", "regex"), ("lte ", "lte")] {
            assert_eq!(nearest(found, ["eq", "lte", "regex"]), Some(expected), "{found}");
        }
    }
}
