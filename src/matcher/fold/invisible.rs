//! The characters that show nothing, from the data of Unicode 17: general category Cf (format), Default_Ignorable_Code_Point (of
//! which many are not assigned yet) and controls. `tests/suite/disguises.rs` compares this table with another source of the data,
//! and prints what it should be.

/// Whether a character is a control, a format character, or one that readers may ignore.
#[must_use]
pub fn invisible(character: char) -> bool {
    if (' '..='~').contains(&character) {
        return false;
    }
    let at = INVISIBLE.partition_point(|(_, last)| *last < character);
    INVISIBLE.get(at).is_some_and(|(first, _)| *first <= character)
}

const INVISIBLE: [(char, char); 27] = [
    ('\u{0}', '\u{1f}'),
    ('\u{7f}', '\u{9f}'),
    ('\u{ad}', '\u{ad}'),
    ('\u{34f}', '\u{34f}'),
    ('\u{600}', '\u{605}'),
    ('\u{61c}', '\u{61c}'),
    ('\u{6dd}', '\u{6dd}'),
    ('\u{70f}', '\u{70f}'),
    ('\u{890}', '\u{891}'),
    ('\u{8e2}', '\u{8e2}'),
    ('\u{115f}', '\u{1160}'),
    ('\u{17b4}', '\u{17b5}'),
    ('\u{180b}', '\u{180f}'),
    ('\u{200b}', '\u{200f}'),
    ('\u{202a}', '\u{202e}'),
    ('\u{2060}', '\u{206f}'),
    ('\u{3164}', '\u{3164}'),
    ('\u{fe00}', '\u{fe0f}'),
    ('\u{feff}', '\u{feff}'),
    ('\u{ffa0}', '\u{ffa0}'),
    ('\u{fff0}', '\u{fffb}'),
    ('\u{110bd}', '\u{110bd}'),
    ('\u{110cd}', '\u{110cd}'),
    ('\u{13430}', '\u{1343f}'),
    ('\u{1bca0}', '\u{1bca3}'),
    ('\u{1d173}', '\u{1d17a}'),
    ('\u{e0000}', '\u{e0fff}'),
];
