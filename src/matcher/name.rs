//! Patterns of names: `*` is any run of characters, `?` exactly one, everything else itself. A pattern is in Unicode's normal form C,
//! as the names are that it is compared with. Matching takes time in proportion to the name, whatever the pattern is.

use crate::matcher::normal::nfc;

/// A compiled pattern. Classified once, so that the common shapes are one comparison.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pattern {
    /// No wildcard.
    Exact(Box<str>),
    /// `*` alone, however often.
    Any,
    /// `literal*`
    Prefix(Box<str>),
    /// `*literal`
    Suffix(Box<str>),
    /// Any other mixture.
    Glob(Box<Glob>),
}

/// A mixture of wildcards and literal characters, cut at its stars.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Glob {
    text: Box<str>,
    head: Box<[char]>,
    inner: Box<[Piece]>,
    /// What stands behind the last star, from its end; `None` without a star.
    tail: Option<Box<[char]>>,
}

/// What stands between two stars.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Literal(Box<str>),
    /// With `?` in it: for each character, the places of the piece where it fits.
    Wild {
        length: usize,
        of_letters: Box<[(char, Box<[u64]>)]>,
        of_others: Box<[u64]>,
    },
}

impl Pattern {
    /// Compiles a pattern. Every text is a pattern.
    ///
    /// ```
    /// use mcp_policy::matcher::name::Pattern;
    ///
    /// assert!(Pattern::new("delete_*").matches("delete_table"));
    /// assert!(!Pattern::new("delete_*").matches("undelete_table"));
    /// ```
    #[must_use]
    pub fn new(text: &str) -> Pattern {
        let text = &*nfc(text);
        let wild = |text: &str| text.contains(['*', '?']);
        if !text.is_empty() && text.bytes().all(|byte| byte == b'*') {
            return Pattern::Any;
        }
        if !wild(text) {
            return Pattern::Exact(text.into());
        }
        match (text.strip_suffix('*'), text.strip_prefix('*')) {
            (Some(prefix), _) if !wild(prefix) => Pattern::Prefix(prefix.into()),
            (_, Some(suffix)) if !wild(suffix) => Pattern::Suffix(suffix.into()),
            _ => Pattern::Glob(Box::new(Glob::new(text))),
        }
    }

    /// Whether the whole of a name matches that may be in any normal form.
    #[must_use]
    pub fn accepts(&self, name: &str) -> bool {
        self.matches(&nfc(name))
    }

    /// Whether the whole of `name`, which is in normal form C, matches.
    #[must_use]
    pub fn matches(&self, name: &str) -> bool {
        match self {
            Pattern::Exact(text) => **text == *name,
            Pattern::Any => true,
            Pattern::Prefix(prefix) => name.starts_with(&**prefix),
            Pattern::Suffix(suffix) => name.ends_with(&**suffix),
            Pattern::Glob(glob) => glob.matches(name),
        }
    }

    /// How many characters are literal: the more, the more specific.
    #[must_use]
    pub fn literal_chars(&self) -> usize {
        match self {
            Pattern::Exact(text) | Pattern::Prefix(text) | Pattern::Suffix(text) => {
                text.chars().count()
            }
            Pattern::Any => 0,
            Pattern::Glob(glob) => glob.text.chars().filter(|&c| c != '*' && c != '?').count(),
        }
    }
}

impl std::fmt::Display for Pattern {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Pattern::Exact(text) => formatter.write_str(text),
            Pattern::Any => formatter.write_str("*"),
            Pattern::Prefix(text) => write!(formatter, "{text}*"),
            Pattern::Suffix(text) => write!(formatter, "*{text}"),
            Pattern::Glob(glob) => formatter.write_str(&glob.text),
        }
    }
}

impl Glob {
    fn new(text: &str) -> Glob {
        let mut pieces = text.split('*');
        let head = pieces.next().unwrap_or_default();
        let tail = pieces.next_back();
        let inner = pieces.filter(|piece| !piece.is_empty()).map(Piece::new);
        Glob {
            text: text.into(),
            head: head.chars().collect(),
            inner: inner.collect(),
            tail: tail.map(|tail| tail.chars().rev().collect()),
        }
    }

    /// The length of its text, in bytes.
    #[must_use]
    pub fn length(&self) -> usize {
        self.text.len()
    }

    /// How many words of bits are looked at for each character of a name, at most.
    #[must_use]
    pub fn words(&self) -> usize {
        let words = |piece: &Piece| match piece {
            Piece::Literal(_) => 1,
            Piece::Wild { of_others, .. } => of_others.len(),
        };
        self.inner.iter().map(words).max().unwrap_or(1)
    }

    /// What stands at the ends is compared there; what stands between two stars is found from left to right, each piece at its first
    /// place: that leaves the most for those behind it. So every character of the name is looked at once or twice.
    fn matches(&self, name: &str) -> bool {
        let mut rest = name.chars();
        if !self.head.iter().all(|&wanted| fits(wanted, rest.next())) {
            return false;
        }
        let Some(tail) = &self.tail else { return rest.next().is_none() };
        if !tail.iter().all(|&wanted| fits(wanted, rest.next_back())) {
            return false;
        }
        let mut rest = rest.as_str();
        self.inner.iter().all(|piece| match piece.end_in(rest) {
            Some(end) => rest.get(end..).map(|after| rest = after).is_some(),
            None => false,
        })
    }
}

fn fits(wanted: char, found: Option<char>) -> bool {
    found.is_some_and(|found| wanted == '?' || wanted == found)
}

/// The first place of a literal. The search of the standard library prepares itself for hundreds of instructions, most of which texts as
/// short as names never need.
fn find(text: &str, literal: &str) -> Option<usize> {
    const SHORT: usize = 8;
    let (bytes, wanted) = (text.as_bytes(), literal.as_bytes());
    if wanted.len() > SHORT {
        return text.find(literal);
    }
    let first = wanted.first()?;
    let starts = bytes.iter().enumerate().filter(|(_, byte)| *byte == first);
    starts
        .map(|(at, _)| at)
        .find(|at| bytes.get(*at..).is_some_and(|rest| rest.starts_with(wanted)))
}

impl Piece {
    fn new(text: &str) -> Piece {
        if !text.contains('?') {
            return Piece::Literal(text.into());
        }
        let mut letters: Vec<char> = text.chars().filter(|&letter| letter != '?').collect();
        letters.sort_unstable();
        letters.dedup();
        let places = |fits: &dyn Fn(char) -> bool| {
            let mut places = vec![0_u64; text.chars().count().div_ceil(64)];
            for (at, _) in text.chars().enumerate().filter(|(_, wanted)| fits(*wanted)) {
                places.iter_mut().skip(at / 64).take(1).for_each(|word| *word |= 1 << (at % 64));
            }
            places.into()
        };
        let of_letter = |letter| (letter, places(&|wanted| wanted == '?' || wanted == letter));
        Piece::Wild {
            length: text.chars().count(),
            of_letters: letters.into_iter().map(of_letter).collect(),
            of_others: places(&|wanted| wanted == '?'),
        }
    }

    /// Where the first occurrence ends.
    fn end_in(&self, text: &str) -> Option<usize> {
        match self {
            Piece::Literal(literal) => find(text, literal).map(|at| at + literal.len()),
            Piece::Wild { length, of_letters, of_others } => {
                // Shift-And: bit n says that the last n + 1 characters are the first n + 1 of the piece.
                let (mut few, mut many) = ([0_u64; 4], Vec::new());
                let bits = if of_others.len() <= few.len() {
                    few.as_mut_slice()
                } else {
                    many.resize(of_others.len(), 0);
                    many.as_mut_slice()
                };
                let mut characters = text.char_indices();
                characters.find_map(|(at, found)| {
                    let row = of_letters.binary_search_by_key(&found, |(letter, _)| *letter);
                    let row = row.ok().and_then(|row| of_letters.get(row));
                    let places = row.map_or(of_others, |(_, places)| places);
                    let (mut carry, mut last) = (1, 0);
                    for (word, place) in bits.iter_mut().zip(places) {
                        last = (*word << 1 | carry) & place;
                        carry = *word >> 63;
                        *word = last;
                    }
                    (last >> ((length - 1) % 64) & 1 == 1).then(|| at + found.len_utf8())
                })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Pattern;

    #[test]
    fn matches_whole_names() {
        for (pattern, name, expected) in [
            ("a", "a", true),
            ("a", "A", false),
            ("*", "", true),
            ("a*", "a", true),
            ("a*", "ba", false),
            ("*a", "bca", true),
            ("*a", "ab", false),
            ("a?c", "abc", true),
            ("a?c", "aéc", true),
            ("a?c", "ac", false),
            ("a*c*e", "abcde", true),
            ("a*c*e", "abcd", false),
            ("*a*b", "aabab", true),
            ("**", "x", true),
            ("?*", "", false),
            ("*?", "é", true),
            ("a*a*a*a*a*a*b", &"a".repeat(200), false),
            ("a*b*b", "ab", false),
            ("a*?b*b", "axbb", true),
            ("*a?b*", "aab", true),
            ("*a?b*", "xaabz", true),
            ("*a?b*", "ab", false),
            ("*?é*x", "éx", false),
            ("*?é*x", "ééx", true),
            (&format!("*{}?b*", "a".repeat(130)), &format!("{}cb", "a".repeat(140)), true),
            (&format!("*{}?b*", "a".repeat(130)), &format!("{}cb", "a".repeat(129)), false),
            ("lo\u{308}*n", "l\u{f6}schen", true),
        ] {
            assert_eq!(Pattern::new(pattern).matches(name), expected, "{pattern} {name}");
        }
    }

    #[test]
    fn stars_alone_are_every_name_and_list_none() {
        assert_eq!(Pattern::new("**"), Pattern::Any);
        assert_ne!(Pattern::new(""), Pattern::Any);
        assert_ne!(Pattern::new("*?"), Pattern::Any);
    }

    #[test]
    fn counts_what_is_literal() {
        for (pattern, expected) in [("abc", 3), ("a*", 1), ("*", 0), ("a?b*c", 3)] {
            assert_eq!(Pattern::new(pattern).literal_chars(), expected, "{pattern}");
        }
    }
}
