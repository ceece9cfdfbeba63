//! Which policy governs a request: the first binding that matches it.
//!
//! Bindings are found by host or by the first segment of the path, so that many cost no more than few.

use std::collections::HashMap;

use crate::json::Value;
use crate::matcher::name::Pattern;
use crate::mcp::uri::canonical;

/// The bindings, in order.
#[derive(Debug, Default)]
pub struct Bindings {
    rows: Vec<Binding>,
    by_host: HashMap<Box<str>, Vec<usize>>,
    by_segment: HashMap<Box<str>, Vec<usize>>,
    anywhere: Vec<usize>,
    /// What becomes of requests that no binding matches.
    pub unmatched: Unmatched,
}

/// What becomes of requests that no binding matches.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Unmatched {
    /// What a POST asks for is denied.
    #[default]
    Deny,
    /// They pass unread.
    Pass,
}

/// One binding: all that it names must match.
#[derive(Clone, Debug)]
pub struct Binding {
    /// The host, without port, in lower case.
    pub host: Option<Pattern>,
    /// The path, without query.
    pub path: Option<Spot>,
    /// The name of Envoy's route.
    pub route: Option<Box<str>>,
    /// Texts in the metadata of Envoy's route: namespace, key and value.
    pub metadata: Vec<[Box<str>; 3]>,
    /// Names of the caller: index of the key, and value.
    pub identity: Vec<(usize, Box<str>)>,
    /// The index of the policy.
    pub policy: usize,
}

/// The pattern of a path, and what a lenient server could take for the same.
#[derive(Clone, Debug)]
pub struct Spot {
    exact: Pattern,
    lenient: Pattern,
    /// The first segment, where the pattern says all of it.
    segment: Option<Box<str>>,
}

/// What a request shows of itself to bindings.
pub struct Shown<'s> {
    /// `:authority`, normalised by [`host`].
    pub host: &'s str,
    /// `:path`, normalised by [`path`].
    pub path: &'s str,
    /// The name of Envoy's route, and texts of its metadata.
    pub route: &'s dyn Fn(RouteFact<'_>) -> Option<Vec<u8>>,
    /// The caller's names, by index of the key.
    pub identity: &'s dyn Fn(usize) -> Option<&'s Value<'static>>,
}

/// Something that Envoy knows of the route.
pub enum RouteFact<'f> {
    /// Its name.
    Name,
    /// A text in its metadata, by namespace and key.
    Metadata(&'f str, &'f str),
}

/// Two bindings match, depending on how strictly a path is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ambiguous;

impl Bindings {
    /// Indexes bindings.
    #[must_use]
    pub fn new(rows: Vec<Binding>, unmatched: Unmatched) -> Bindings {
        let mut bindings = Bindings { unmatched, ..Bindings::default() };
        for (at, row) in rows.iter().enumerate() {
            let segment = row.path.as_ref().and_then(|path| path.segment.as_ref());
            let list = match (&row.host, segment) {
                (Some(Pattern::Exact(host)), _) => {
                    bindings.by_host.entry(host.clone()).or_default()
                }
                (_, Some(segment)) => bindings.by_segment.entry(segment.clone()).or_default(),
                (_, None) => &mut bindings.anywhere,
            };
            list.push(at);
        }
        bindings.rows = rows;
        bindings
    }

    /// Whether any binding asks who the caller is.
    #[must_use]
    pub fn ask_identity(&self) -> bool {
        self.rows.iter().any(|row| !row.identity.is_empty())
    }

    /// The index of the policy of the first binding that matches; `None` where none does.
    ///
    /// # Errors
    /// [`Ambiguous`] where a server that ignores the case of a path, or a slash at its end, would see another binding.
    pub fn select(&self, shown: &Shown<'_>) -> Result<Option<usize>, Ambiguous> {
        let folded = lenient(shown.path);
        let exactly = self.first(shown, &folded, |spot| spot.exact.matches(shown.path));
        let leniently = self.first(shown, &folded, |spot| spot.lenient.matches(&folded));
        if exactly == leniently {
            Ok(exactly.and_then(|at| self.rows.get(at)).map(|row| row.policy))
        } else {
            Err(Ambiguous)
        }
    }

    fn first(
        &self,
        shown: &Shown<'_>,
        folded: &str,
        is_there: impl Fn(&Spot) -> bool,
    ) -> Option<usize> {
        let segment = first_segment(folded).unwrap_or_default();
        let lists = [
            self.by_host.get(shown.host).map(Vec::as_slice).unwrap_or_default(),
            self.by_segment.get(segment).map(Vec::as_slice).unwrap_or_default(),
            &self.anywhere,
        ];
        let of_list = |list: &[usize]| {
            list.iter()
                .copied()
                .find(|&at| self.rows.get(at).is_some_and(|row| row.matches(shown, &is_there)))
        };
        lists.into_iter().filter_map(of_list).min()
    }
}

impl Binding {
    fn matches(&self, shown: &Shown<'_>, is_there: &impl Fn(&Spot) -> bool) -> bool {
        let route = |fact, wanted: &str| {
            (shown.route)(fact).is_some_and(|found| found == wanted.as_bytes())
        };
        self.host.as_ref().is_none_or(|host| host.matches(shown.host))
            && self.path.as_ref().is_none_or(is_there)
            && self.route.as_ref().is_none_or(|name| route(RouteFact::Name, name))
            && self
                .metadata
                .iter()
                .all(|[space, key, value]| route(RouteFact::Metadata(space, key), value))
            && self.identity.iter().all(|(key, wanted)| has((shown.identity)(*key), wanted))
    }
}

/// Whether a name of a caller is this text, or a list that has it.
fn has(value: Option<&Value<'static>>, wanted: &str) -> bool {
    match value {
        Some(Value::Array(items)) => items.iter().any(|item| item.as_str() == Some(wanted)),
        Some(Value::Number(text)) => &**text == wanted,
        Some(value) => value.as_str() == Some(wanted),
        None => false,
    }
}

impl Spot {
    /// Compiles the pattern of a path; `None` where no path is spelled so.
    #[must_use]
    pub fn new(text: &str) -> Option<Spot> {
        let plain = text.replace(['*', '?'], "a");
        if path(plain.as_bytes()).as_deref() != Some(&*plain) {
            return None;
        }
        let folded = if text.ends_with('*') { text.to_lowercase() } else { lenient(text) };
        let segment = first_segment(&folded).filter(|segment| !segment.contains(['*', '?']));
        Some(Spot {
            exact: Pattern::new(text),
            segment: segment.map(Into::into),
            lenient: Pattern::new(&folded),
        })
    }
}

/// The host of an authority as bindings match it: lower case, without port and without the dot of the root. `None` where it
/// is not one, or has a user name.
#[must_use]
pub fn host(authority: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(authority).ok()?.to_ascii_lowercase();
    let host = match text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, port)) if port.is_empty() || port.starts_with(':') => format!("[{address}]"),
        Some(_) => return None,
        None => text.split(':').next().unwrap_or_default().to_owned(),
    };
    let host = host.strip_suffix('.').unwrap_or(&host);
    let plain = !host.is_empty()
        && host.bytes().all(|byte| {
            byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_' | b':' | b'[' | b']')
        });
    (plain && !host.ends_with('.')).then(|| host.to_owned())
}

/// A path as bindings match it: without query, plain characters unescaped. `None` where two servers could read it as two paths: dot
/// segments, empty segments, encoded slashes, backslashes, semicolons, fragments, escapes that are none.
#[must_use]
pub fn path(bytes: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(bytes).ok()?;
    let way = text.split('?').next().unwrap_or_default();
    if !way.starts_with('/') || way.contains(';') {
        return None;
    }
    // The rules for the path of a URI are those for the path of a resource.
    let uri = format!("x://x{way}");
    canonical(&uri)?.strip_prefix("x://x").map(str::to_owned)
}

/// What a server sees that ignores case and slashes at the end.
fn lenient(path: &str) -> String {
    let mut folded = path.to_lowercase();
    folded.truncate(folded.trim_end_matches('/').len());
    folded.push('/');
    folded
}

/// The first segment of a folded path, where a slash ends it.
fn first_segment(folded: &str) -> Option<&str> {
    folded.strip_prefix('/')?.split_once('/').map(|(segment, _)| segment)
}

#[cfg(test)]
mod tests {
    use super::{Ambiguous, Binding, Bindings, Shown, Spot, Unmatched, host, path};
    use crate::matcher::name::Pattern;

    #[test]
    fn hosts_and_paths_have_one_spelling() {
        for (text, expected) in [
            ("Example.com:8080", Some("example.com")),
            ("example.com.", Some("example.com")),
            ("example.com..", None),
            ("[2001:DB8::1]:80", Some("[2001:db8::1]")),
            ("[::1]x", None),
            ("user@example.com", None),
            ("", None),
            (":80", None),
            ("exam ple.com", None),
        ] {
            assert_eq!(host(text.as_bytes()).as_deref(), expected, "{text}");
        }
        for (text, expected) in [
            ("/mcp?x=1", Some("/mcp")),
            ("/%6dcp", Some("/mcp")),
            ("/a/b/", Some("/a/b/")),
            ("/", Some("/")),
            ("/a/../b", None),
            ("/a/%2e%2e/b", None),
            ("/a%2fb", None),
            ("/a%5cb", None),
            ("/a//b", None),
            ("//a", None),
            ("/a\\b", None),
            ("/a;b", None),
            ("/a#b", None),
            ("/a%25b", None),
            ("a", None),
            ("*", None),
            ("http://x/a", None),
            ("", None),
        ] {
            assert_eq!(path(text.as_bytes()).as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn the_first_binding_that_matches_governs() {
        let row = |host: &str, path: &str, policy| Binding {
            host: (!host.is_empty()).then(|| Pattern::new(host)),
            path: (!path.is_empty()).then(|| Spot::new(path).unwrap()),
            route: None,
            metadata: Vec::new(),
            identity: Vec::new(),
            policy,
        };
        let rows = vec![
            row("a.test", "/strict/*", 0),
            row("", "/strict/*", 1),
            row("*.test", "", 2),
            row("", "/one", 3),
            row("", "/p*/x", 4),
            row("", "/*", 5),
        ];
        let bindings = Bindings::new(rows, Unmatched::Deny);
        for (host, path, expected) in [
            ("a.test", "/strict/x", Ok(Some(0))),
            ("a.test", "/other", Ok(Some(2))),
            ("b.test", "/strict/x", Ok(Some(1))),
            ("b.test", "/one", Ok(Some(2))),
            ("c", "/one", Ok(Some(3))),
            ("c", "/pp/x", Ok(Some(4))),
            ("c", "/two", Ok(Some(5))),
            // What a lenient server takes for the path of another binding.
            ("c", "/Strict/x", Err(Ambiguous)),
            ("c", "/strict", Err(Ambiguous)),
            ("c", "/one/", Err(Ambiguous)),
            ("c", "/ONE", Err(Ambiguous)),
            ("c", "/Two", Ok(Some(5))),
        ] {
            let shown = Shown { host, path, route: &|_| None, identity: &|_| None };
            assert_eq!(bindings.select(&shown), expected, "{host}{path}");
        }
    }
}
