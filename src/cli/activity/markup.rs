//! HTML that says what it is meant to: texts are escaped wherever they stand, and tags are ours.

use mcp_policy::matcher::fold::legible;

/// Longest text of a log that is shown, in characters.
const LONGEST: usize = 100;

/// A piece of a page.
#[derive(Clone, Debug, Default)]
pub(super) struct Markup(String);

impl Markup {
    /// The page.
    pub(super) fn into_text(self) -> String {
        self.0
    }
}

/// A text of ours, or a number.
pub(super) fn text(text: &str) -> Markup {
    Markup(escaped(text))
}

/// A text that somebody else chose: short, with escapes for what does not show, and with a direction of its own.
pub(super) fn foreign(text: &str) -> Markup {
    let shown = legible(text);
    let mut short: String = shown.chars().take(LONGEST).collect();
    if short.len() < shown.len() {
        short.push('…');
    }
    element("bdi", &[("dir", "auto")], [Markup(escaped(&short))])
}

/// The same, as a name or a path.
pub(super) fn name(text: &str) -> Markup {
    if text.is_empty() { Markup::default() } else { element("code", &[], [foreign(text)]) }
}

/// An element with what is in it.
pub(super) fn element(
    tag: &'static str,
    attributes: &[(&'static str, &str)],
    inner: impl IntoIterator<Item = Markup>,
) -> Markup {
    let inner: String = inner.into_iter().map(Markup::into_text).collect();
    Markup(format!("{}{inner}</{tag}>", start(tag, attributes)))
}

/// An element that has no end.
pub(super) fn void(tag: &'static str, attributes: &[(&'static str, &str)]) -> Markup {
    Markup(start(tag, attributes))
}

/// What was written by us, with the program.
pub(super) fn fixed(markup: &'static str) -> Markup {
    Markup(markup.to_owned())
}

/// Pieces one after the other.
pub(super) fn all(pieces: impl IntoIterator<Item = Markup>) -> Markup {
    Markup(pieces.into_iter().map(Markup::into_text).collect())
}

fn start(tag: &str, attributes: &[(&str, &str)]) -> String {
    let attributes: String =
        attributes.iter().map(|(key, value)| format!(" {key}=\"{}\"", escaped(value))).collect();
    format!("<{tag}{attributes}>")
}

fn escaped(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => shown.push_str("&amp;"),
            '<' => shown.push_str("&lt;"),
            '>' => shown.push_str("&gt;"),
            '"' => shown.push_str("&quot;"),
            '\'' => shown.push_str("&#39;"),
            character => shown.push(character),
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::{element, foreign, text};

    #[test]
    fn no_text_is_markup() {
        let hostile = "</td><script>alert('x\u{202e}')</script>&lt;\"";
        let page =
            element("p", &[("title", hostile)], [text(hostile), foreign(hostile)]).into_text();
        assert_eq!(page.matches('<').count(), 4, "{page}");
        assert!(!page.contains("<script") && !page.contains("='") && page.contains("\\u{202e}"));
        let long = foreign(&"x".repeat(1000)).into_text();
        assert!(long.len() < 200 && long.contains('…'), "{long}");
    }
}
