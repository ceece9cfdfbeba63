//! The id of a request whose body is refused unread: too long, too deep, with a key twice.
//!
//! A client waits for an answer under its id, and some end the whole session where none comes. So the id is looked for with the reader that
//! skims responses, which takes texts however large and odd they are. Not here: what is done with a body that can be read.

use super::skim::{Skim, Wanted};
use crate::json::{Duplicates, Value, parse};

/// The id of the one request that a body is, where it can be read without guessing.
#[must_use]
pub fn request_id(body: &[u8]) -> Option<String> {
    let mut skim = Skim::new(Wanted([false; 4]));
    skim.push(body);
    let id = skim.request_id().filter(|id| skim.is_whole() && is_id(id));
    id.map(str::to_owned)
}

/// Looks for the id of a request in a body that nobody will read, as it comes.
#[derive(Debug)]
pub struct Seeker {
    skim: Skim,
    seen: usize,
    found: Option<String>,
}

impl Default for Seeker {
    fn default() -> Seeker {
        Seeker { skim: Skim::new(Wanted([false; 4])), seen: 0, found: None }
    }
}

impl Seeker {
    /// Takes the next bytes.
    pub fn push(&mut self, bytes: &[u8]) {
        self.seen = self.seen.saturating_add(bytes.len());
        // Looked at where a member can end, and nowhere else: what is found must not depend on where the body was cut.
        for piece in bytes.split_inclusive(|byte| matches!(byte, b',' | b'}')) {
            if self.found.is_some() {
                return;
            }
            self.skim.push(piece);
            if piece.ends_with(b",") || piece.ends_with(b"}") {
                self.found = self.so_far();
            }
        }
    }

    /// How many bytes there were.
    #[must_use]
    pub fn seen(&self) -> usize {
        self.seen
    }

    /// Whether no id can be found any more.
    #[must_use]
    pub fn is_lost(&self) -> bool {
        self.skim.is_broken() || self.skim.has_prose()
    }

    /// The id, as soon as it is known whose it is. Nobody reads what follows, so nothing there can make another id of it.
    #[must_use]
    pub fn request_id(&self) -> Option<&str> {
        self.found.as_deref()
    }

    /// The same, where nothing follows.
    #[must_use]
    pub fn into_request_id(self) -> Option<String> {
        let last = self.so_far();
        self.found.or(last)
    }

    fn so_far(&self) -> Option<String> {
        self.skim.request_id().filter(|id| is_id(id)).map(str::to_owned)
    }
}

/// Whether bytes are an id that MCP allows.
#[must_use]
pub fn is_id(raw: &str) -> bool {
    match parse(raw, Duplicates::Refuse) {
        Ok(Value::String(_)) => true,
        Ok(Value::Number(text)) => !text.contains(['.', 'e', 'E']),
        Ok(Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_)) | Err(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::{Seeker, request_id};

    #[test]
    fn ids_are_read_where_nothing_is_guessed() {
        for (body, whole, part) in [
            (r#"{"jsonrpc":"2.0","id":7,"method":"a","params":{"id":8}}"#, Some("7"), Some("7")),
            (
                r#"{"method":"a","params":{"a":[{"id":8}]},"id":"x\"y"}"#,
                Some(r#""x\"y""#),
                Some(r#""x\"y""#),
            ),
            (r#"{"method":"a","id":7,"params":{"a":NaN,"a":"\ud800"}}"#, Some("7"), Some("7")),
            ("\u{feff}{\"method\":\"a\",\"id\":7}", Some("7"), Some("7")),
            (r#"{"id":7,"method":"a","params":{"te"#, None, Some("7")),
            (r#"{"id":7,"method":"a""#, None, Some("7")),
            // Whether a message asks is not known before its method.
            (r#"{"id":7,"params":{"te"#, None, None),
            (r#"{"method":"a","id":7"#, None, None),
            (r#"{"method":"a","params":{}}"#, None, None),
            // The ids of what the server asked are its own: an error under one would answer the client's own request of that id.
            (r#"{"jsonrpc":"2.0","id":7,"result":{}}"#, None, None),
            (r#"{"jsonrpc":"2.0","id":7,"error":{}}"#, None, None),
            (r#"{"id":7,"method":"a","result":{}}"#, None, Some("7")),
            (r#"{"id":7,"method":"a","Error":{}}"#, None, Some("7")),
            (r#"{"id":7,"id":7,"method":"a"}"#, None, None),
            (r#"{"id":7,"ID":8,"method":"a"}"#, None, None),
            (r#"{"id":7,"method":"a","Method":"b"}"#, Some("7"), Some("7")),
            (r#"{"id":7,"METHOD":"a"}"#, None, None),
            (r#"{"id":7.5,"method":"a"}"#, None, None),
            (r#"{"id":null,"method":"a"}"#, None, None),
            (r#"{"id":{"a":7},"method":"a"}"#, None, None),
            (r#"[{"id":7,"method":"a"}]"#, None, None),
            (r#"{"id":7,"method":"a"}{"id":8,"method":"a"}"#, None, Some("7")),
            (r#"{"id":7,"method":"a"} and more"#, None, Some("7")),
            (r#"{{"id":7,"method":"a"}"#, None, None),
        ] {
            assert_eq!(request_id(body.as_bytes()).as_deref(), whole, "{body}");
            for size in [1, 2, 3, 7, 1000] {
                let mut seeker = Seeker::default();
                body.as_bytes().chunks(size).for_each(|chunk| seeker.push(chunk));
                assert_eq!(seeker.into_request_id().as_deref(), part, "{body} {size}");
            }
        }
    }
}
