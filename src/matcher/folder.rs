//! Folders and what lies below them, by paths that every reader takes for the same place, or not at all.

use super::fold::{folded, invisible};
use super::{Mismatch, Truth};

/// A folder of the policy: an absolute path without a slash at its end; empty for `/`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Folder(Box<str>);

const PLAIN: &str = "an absolute path that all read alike, such as /data/a.txt";

const OTHER: Mismatch = Mismatch { expected: PLAIN, found: "another text" };

const BY_CASE: Mismatch = Mismatch {
    expected: PLAIN,
    found: "a path that differs from the folder by its spelling alone",
};

impl Folder {
    /// Reads an absolute path; `None` where it has more than one reading.
    #[must_use]
    pub fn new(text: &str) -> Option<Folder> {
        plain(text).map(|path| Folder(path.into()))
    }

    /// As the policy writes it, but for a slash at the end.
    #[must_use]
    pub fn text(&self) -> &str {
        if self.0.is_empty() { "/" } else { &self.0 }
    }

    /// Whether a path is this folder, or lies below it.
    pub(super) fn holds(&self, path: &str) -> Truth {
        is_under(path, &self.0)
    }
}

/// The same of two texts of a request.
pub(super) fn lies_under(path: &str, folder: &str) -> Truth {
    plain(folder).map_or(Truth::Undecidable(OTHER), |folder| is_under(path, folder))
}

fn is_under(path: &str, folder: &str) -> Truth {
    let Some(path) = plain(path) else { return Truth::Undecidable(OTHER) };
    let below = |rest: &str| rest.is_empty() || rest.starts_with('/');
    if path.strip_prefix(folder).is_some_and(below) {
        return Truth::True;
    }
    // Many file systems do not tell cases apart.
    let mut letters = folded(path);
    let alike = folded(folder).all(|letter| letters.next() == Some(letter));
    match alike && matches!(letters.next(), None | Some('/')) {
        true => Truth::Undecidable(BY_CASE),
        false => Truth::False,
    }
}

/// An absolute path without the slash at its end, if nothing in it has a second reading: no dots or empty segments, no escapes, no
/// backslashes, nothing that only looks like a dot or a slash, nothing that does not show, no dot or space that some systems cut off.
fn plain(text: &str) -> Option<&str> {
    let path = text.strip_suffix('/').unwrap_or(text);
    let segments = match path.strip_prefix('/') {
        Some(segments) => segments,
        None => return (text == "/").then_some(path),
    };
    let whole = |segment: &str| {
        // Some servers cut parameters off.
        let name = segment.split(';').next().unwrap_or_default();
        !name.is_empty() && !name.ends_with(['.', ' ']) && !segment.ends_with(['.', ' '])
    };
    (!path.contains(doubtful) && segments.split('/').all(whole)).then_some(path)
}

fn doubtful(character: char) -> bool {
    // A space may stand in a name, but not where it is cut off.
    let space = character.is_whitespace() && character != ' ';
    space
        || character.is_control()
        || invisible(character)
        || matches!(
            character,
            '\\' | '%' | '\u{2024}'
                ..='\u{2026}'
                    | '\u{fe19}'
                    | '\u{fe30}'
                    | '\u{fe52}'
                    | '\u{ff0e}'
                    | '\u{ff61}'
                    | '\u{3002}'
                    | '\u{2044}'
                    | '\u{2215}'
                    | '\u{29f8}'
                    | '\u{ff0f}'
                    | '\u{2216}'
                    | '\u{29f5}'
                    | '\u{fe68}'
                    | '\u{ff3c}'
        )
}
