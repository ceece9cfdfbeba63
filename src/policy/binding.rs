//! Which policy governs a request: the first binding that matches it.
//!
//! Bindings are found by what they name, so that many cost no more than few.

mod index;

use crate::json::Value;
use crate::matcher::fold::{folded, narrow};
use crate::matcher::name::Pattern;
use crate::mcp::percent::percent_decoded;
use crate::mcp::uri::canonical_path;
use crate::pins::ServerId;
use index::Index;

/// The bindings, in order.
#[derive(Debug)]
pub struct Bindings {
    rows: Vec<Binding>,
    index: Index,
    /// What becomes of requests that no binding matches.
    pub unmatched: Unmatched,
}

/// What becomes of requests that no binding matches.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Unmatched {
    /// Nothing of them passes; what a POST asks for is denied.
    #[default]
    Deny,
    /// They pass unread.
    Pass,
}

impl Unmatched {
    /// The words of policies, the usual one first.
    pub const WORDS: [(&'static str, Unmatched); 2] =
        [("deny", Unmatched::Deny), ("pass", Unmatched::Pass)];
}

/// One binding: all that it names must match.
#[derive(Clone, Debug)]
pub struct Binding {
    /// The host, without port, in lower case.
    pub host: Option<Pattern>,
    /// The path, without query.
    pub path: Option<PathPattern>,
    /// The name of Envoy's route.
    pub route: Option<Box<str>>,
    /// Texts in the metadata of Envoy's route: namespace, key and value.
    pub metadata: Vec<[Box<str>; 3]>,
    /// Names of the caller: index of the key, and value.
    pub identity: Vec<(usize, Box<str>)>,
    /// The index of the policy.
    pub policy: usize,
    /// The server that is behind it.
    pub server: ServerId,
}

/// The pattern of a path, and what a lenient server could take for the same.
#[derive(Clone, Debug)]
pub struct PathPattern {
    pub(crate) exact: Pattern,
    pub(crate) lenient: Pattern,
    /// The first segment, where the pattern says all of it.
    segment: Option<Box<str>>,
}

/// What a request shows of itself to bindings.
pub struct BindingInput<'s> {
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
        let index = Index::new(&rows);
        Bindings { rows, index, unmatched }
    }

    /// The paths that bindings name.
    pub fn patterns(&self) -> impl Iterator<Item = &PathPattern> {
        self.rows.iter().filter_map(|row| row.path.as_ref())
    }

    /// Whether some binding is for every path.
    #[cfg(not(target_os = "wasi"))]
    #[must_use]
    pub fn leave_paths_open(&self) -> bool {
        self.rows.iter().any(|row| row.path.is_none())
    }

    /// Whether any binding asks who the caller is.
    #[must_use]
    pub fn ask_identity(&self) -> bool {
        self.rows.iter().any(|row| !row.identity.is_empty())
    }

    /// The first binding that matches; `None` where none does.
    ///
    /// # Errors
    /// [`Ambiguous`] where a server that ignores the case of a path, or a slash at its end, or unescapes more of it, would see another
    /// binding.
    pub fn select(&self, shown: &BindingInput<'_>) -> Result<Option<&Binding>, Ambiguous> {
        let seen = lenient(shown.path);
        let near = self.index.near(shown, first_segment(&seen).unwrap_or_default());
        let first = |is_there: &dyn Fn(&PathPattern) -> bool| {
            let of_list = |list: &[usize]| {
                let mut rows = list.iter().copied();
                rows.find(|&at| self.rows.get(at).is_some_and(|row| row.matches(shown, is_there)))
            };
            near.iter().filter_map(|list| of_list(list)).min()
        };
        let exactly = first(&|pattern| pattern.exact.matches(shown.path));
        let leniently = first(&|pattern| pattern.lenient.matches(&seen));
        if exactly == leniently {
            Ok(exactly.and_then(|at| self.rows.get(at)))
        } else {
            Err(Ambiguous)
        }
    }
}

impl Binding {
    fn matches(&self, shown: &BindingInput<'_>, is_there: &dyn Fn(&PathPattern) -> bool) -> bool {
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
    texts(value).any(|text| text == wanted)
}

/// The texts that a name of a caller is.
fn texts<'v>(value: Option<&'v Value<'static>>) -> impl Iterator<Item = &'v str> {
    let items = match value {
        Some(Value::Array(items)) => &**items,
        Some(value) => std::slice::from_ref(value),
        None => &[],
    };
    items.iter().filter_map(|item| match item {
        Value::String(text) | Value::Number(text) => Some(&**text),
        Value::Bool(flag) => Some(if *flag { "true" } else { "false" }),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    })
}

impl PathPattern {
    /// Compiles the pattern of a path; `None` where no path is spelled so.
    #[must_use]
    pub fn new(text: &str) -> Option<PathPattern> {
        let plain = text.replace(['*', '?'], "a");
        if path(plain.as_bytes()).as_deref() != Some(&*plain) {
            return None;
        }
        let seen = if text.ends_with('*') { disguised(text) } else { lenient(text) };
        let segment = first_segment(&seen).filter(|segment| !segment.contains(['*', '?']));
        Some(PathPattern {
            exact: Pattern::new(text),
            segment: segment.map(Into::into),
            lenient: Pattern::new(&seen),
        })
    }
}

/// The host of an authority as bindings match it: lower case, without port and without the dot of the root. `None` where it
/// is not one, or has a user name.
#[must_use]
pub fn host(authority: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(authority).ok()?.to_ascii_lowercase();
    let end = match text.strip_prefix('[') {
        Some(rest) => rest.find(']')? + 2,
        None => text.find(':').unwrap_or(text.len()),
    };
    let (host, port) = text.split_at_checked(end)?;
    let port = if port.is_empty() { port } else { port.strip_prefix(':')? };
    let host = host.strip_suffix('.').unwrap_or(host);
    let address = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    let plain = match address {
        Some(address) => {
            address.bytes().all(|byte| byte.is_ascii_hexdigit() || b":.".contains(&byte))
        }
        None => host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-_".contains(&byte)),
    };
    let whole = plain && !host.is_empty() && !host.ends_with('.');
    (whole && port.bytes().all(|byte| byte.is_ascii_digit())).then(|| host.to_owned())
}

/// A path as bindings match it: without query, plain characters unescaped.
///
/// `None` where two servers could read it as two paths: it has dot segments, empty segments, backslashes, semicolons or fragments, or
/// escaped or full-width forms of these, or percent-escapes that are malformed or not UTF-8.
#[must_use]
pub fn path(bytes: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(bytes).ok()?;
    let way = text.split('?').next().unwrap_or_default();
    if !way.starts_with('/') || way.contains(';') {
        return None;
    }
    let path = canonical_path(way)?;
    let escaped = path
        .contains('%')
        .then(|| String::from_utf8(percent_decoded(path.as_bytes())))
        .transpose()
        .ok()?;
    let odd = |character: char| {
        let plain = narrow(character);
        matches!(plain, ';' | '?' | '#')
            || (plain != character && matches!(plain, '/' | '\\' | '.' | '%'))
    };
    (!escaped.as_deref().unwrap_or(&path).contains(odd)).then_some(path)
}

/// What a server sees that ignores case and slashes at the end.
pub(super) fn lenient(path: &str) -> String {
    let mut seen = disguised(path);
    seen.truncate(seen.trim_end_matches('/').len());
    seen.push('/');
    seen
}

/// A path with every escape undone, in one case, without what does not show.
fn disguised(path: &str) -> String {
    if path.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'%') {
        return path.to_ascii_lowercase();
    }
    folded(&String::from_utf8_lossy(&percent_decoded(path.as_bytes()))).collect()
}

/// The first segment of a lenient path, where a slash ends it.
fn first_segment(seen: &str) -> Option<&str> {
    seen.strip_prefix('/')?.split_once('/').map(|(segment, _)| segment)
}

#[cfg(test)]
mod tests;
