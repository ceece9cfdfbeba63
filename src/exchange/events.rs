//! What comes in and goes out of an exchange.

use std::borrow::Cow;

use crate::rate::store::SharedStore;
use crate::reply::Reply;
use crate::time::UnixMillis;
use crate::witness::Witness;

/// What the exchange asks of the world when it needs it.
pub trait Environment {
    /// Where counts are kept.
    type Store: SharedStore;

    /// Who listens while calls are decided; nobody in the filter.
    type Witness: Witness;

    /// The time; `None` if the host fails.
    fn now(&self) -> Option<UnixMillis>;

    /// The store.
    fn store(&self) -> &Self::Store;

    /// Who listens.
    fn witness(&self) -> &Self::Witness;

    /// One of Envoy's attributes, by its path; `None` where there is none.
    fn attribute(&self, path: &[&str]) -> Option<Vec<u8>>;

    /// The first `length` bytes that are buffered of the request body; `None` if the host fails.
    fn request_body(&self, length: usize) -> Option<Vec<u8>>;

    /// The chunk of the response body that is just passing; `None` if the host fails.
    fn response_chunk(&self, length: usize) -> Option<Vec<u8>>;
}

/// Whether request headers can wait for the decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hold {
    /// They wait.
    Yes,
    /// They wait, unless it turns out that Envoy does not let them.
    Maybe,
    /// They go ahead; the body still waits.
    No,
}

/// Whether more of a body follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Chunk {
    /// More follows.
    More,
    /// This is the end.
    Last,
}

/// What Envoy shall do next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Go on.
    Continue,
    /// Wait.
    Pause,
    /// Answer, and forward nothing.
    Reply(Reply),
}

/// What Envoy shall do with the bytes of a response that are there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BodyAction {
    /// Let them pass.
    Continue,
    /// Let these pass instead.
    Replace(Vec<u8>),
}

/// A change of a header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HeaderEdit {
    /// It is removed.
    Remove(Cow<'static, str>),
    /// It gets this value, and no other.
    Set(&'static str, Cow<'static, str>),
}

/// The headers of a response, as far as counts and lists depend on them.
#[derive(Clone, Copy, Debug)]
pub struct ResponseHead<'h> {
    /// HTTP status.
    pub status: u16,
    /// `Content-Type`.
    pub content_type: Option<&'h [u8]>,
    /// Whether a `Content-Encoding` other than identity is there.
    pub encoded: bool,
    /// Whether the answer tells what became of the call: see [`crate::mcp::outcome::is_conclusive`].
    pub conclusive: bool,
    /// `Mcp-Session-Id`
    pub session: Option<&'h [u8]>,
    /// Whether the response has no body.
    pub ends: bool,
}

impl ResponseHead<'_> {
    /// Whether the server itself says that it does not take the caller's credential, so that nothing was done for him.
    #[must_use]
    pub fn refuses_the_caller(&self) -> bool {
        self.conclusive && matches!(self.status, 401 | 403)
    }
}
