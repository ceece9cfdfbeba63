//! Patterns of tool names: `*` is any run of characters, `?` exactly one, everything else itself.

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
    Glob(Box<[char]>),
}

impl Pattern {
    /// Compiles a pattern. Every text is a pattern.
    #[must_use]
    pub fn new(text: &str) -> Pattern {
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
            _ => Pattern::Glob(text.chars().collect()),
        }
    }

    /// Whether the whole of `name` matches.
    #[must_use]
    pub fn matches(&self, name: &str) -> bool {
        match self {
            Pattern::Exact(text) => **text == *name,
            Pattern::Any => true,
            Pattern::Prefix(prefix) => name.starts_with(&**prefix),
            Pattern::Suffix(suffix) => name.ends_with(&**suffix),
            Pattern::Glob(pattern) => glob(pattern, name),
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
            Pattern::Glob(pattern) => pattern.iter().filter(|&&c| c != '*' && c != '?').count(),
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
            Pattern::Glob(pattern) => formatter.write_str(&pattern.iter().collect::<String>()),
        }
    }
}

/// Greedy matching with one point of return, the last star: at most pattern × name steps, no allocation.
fn glob(pattern: &[char], name: &str) -> bool {
    let mut rest = name.chars();
    let mut at = 0;
    let mut last_star: Option<(usize, std::str::Chars<'_>)> = None;
    loop {
        match (pattern.get(at), rest.clone().next()) {
            (Some('*'), _) => {
                at += 1;
                last_star = Some((at, rest.clone()));
            }
            (Some(&expected), Some(found)) if expected == '?' || expected == found => {
                at += 1;
                rest.next();
            }
            (None, None) => return true,
            _ => {
                let Some((after, from)) = &mut last_star else {
                    return false;
                };
                if from.next().is_none() {
                    return false;
                }
                at = *after;
                rest = from.clone();
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
