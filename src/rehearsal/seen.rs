//! The world that an exchange on the stage sees: everything in it is stated.

use std::cell::Cell;

use super::names::{self, CallerName};
use crate::json::Value;
use crate::mcp::headers::Header;
use crate::mcp::outcome::Origin;
use crate::policy::binding::RouteFact;
use crate::policy::callers::{Callers, Peer};
use crate::rate::memory::MemoryStore;
use crate::time::UnixMillis;
use crate::witness::Witness;
use crate::world::{Random, World};

/// What an exchange sees of the stage.
pub(super) struct Seen<'w, W> {
    pub(super) callers: &'w Callers,
    pub(super) names: &'w [CallerName],
    pub(super) route: Option<&'w str>,
    pub(super) body: &'w str,
    /// What the server answers.
    pub(super) status: &'static [u8],
    /// The body of its answer, where somebody looks at it.
    pub(super) answer: &'w str,
    pub(super) store: &'w MemoryStore,
    pub(super) witness: &'w W,
    pub(super) now: Cell<UnixMillis>,
    /// What nobody else has drawn on this stage.
    pub(super) drawn: u64,
}

impl<W: Witness> World for Seen<'_, W> {
    type Store = MemoryStore;
    type Witness = W;

    fn witness(&self) -> &W {
        self.witness
    }

    fn now(&self) -> Option<UnixMillis> {
        Some(self.now.get())
    }

    fn random(&self) -> Option<Random> {
        let mut random = [7; _];
        let drawn = self.drawn.to_le_bytes();
        // The end of it becomes the id of an approval.
        random.iter_mut().rev().zip(drawn).for_each(|(byte, drawn)| *byte = drawn);
        Some(random)
    }

    fn store(&self) -> &MemoryStore {
        self.store
    }

    fn claim(&self, payload: &str, path: &[Box<str>]) -> Option<Value<'static>> {
        names::claim(self.callers, self.names, payload, path)
    }

    fn certificate(&self, _: Peer) -> Option<Vec<u8>> {
        None
    }

    fn address(&self) -> Option<Vec<u8>> {
        None
    }

    fn route(&self, fact: RouteFact<'_>) -> Option<Vec<u8>> {
        match fact {
            RouteFact::Name => self.route.map(|name| name.as_bytes().to_vec()),
            RouteFact::Metadata(..) => None,
        }
    }

    fn request_body(&self, length: usize) -> Option<Vec<u8>> {
        self.body.as_bytes().get(..length).map(<[u8]>::to_vec)
    }

    fn response_headers<T>(&self, read: impl FnOnce(&[Header<'_>]) -> T) -> T {
        read(&[(b":status", self.status), (b"content-type", b"application/json")])
    }

    fn origin(&self) -> Origin {
        Origin::Server
    }

    fn response_chunk(&self, length: usize) -> Option<Vec<u8>> {
        self.answer.as_bytes().get(..length).map(<[u8]>::to_vec)
    }
}
