//! A world in which the body of a request is there, and nobody else: for the targets, and for who asks how the filter reads a body.

use std::rc::Rc;

use mcp_policy::exchange::{Chunk, Event, Exchange, Flow, Holds};
use mcp_policy::json::Value;
use mcp_policy::mcp::headers::{Follows, Header};
use mcp_policy::mcp::outcome::Origin;
use mcp_policy::policy::binding::RouteFact;
use mcp_policy::policy::callers::Peer;
use mcp_policy::policy::compiled::Config;
use mcp_policy::policy::settings::HoldHeaders;
use mcp_policy::rate::memory::MemoryStore;
use mcp_policy::time::UnixMillis;

/// A world in which the body is there, and nobody else.
pub(crate) struct World<'w> {
    pub(crate) store: &'w MemoryStore,
    pub(crate) body: &'w [u8],
    pub(crate) chunk: &'w [u8],
    pub(crate) media: &'w [u8],
    /// Every claim of a token.
    pub(crate) claim: Option<&'w Value<'static>>,
}

impl<'w> World<'w> {
    pub(crate) fn new(store: &'w MemoryStore, body: &'w [u8]) -> World<'w> {
        World { store, body, chunk: b"", media: b"", claim: None }
    }
}

impl mcp_policy::world::World for World<'_> {
    type Store = MemoryStore;
    type Witness = ();

    fn now(&self) -> Option<UnixMillis> {
        Some(UnixMillis(1_700_000_000_000))
    }

    fn random(&self) -> Option<mcp_policy::world::Random> {
        Some([7; _])
    }

    fn store(&self) -> &MemoryStore {
        self.store
    }

    fn witness(&self) -> &() {
        &()
    }

    fn claim(&self, _: &str, _: &[Box<str>]) -> Option<Value<'static>> {
        self.claim.cloned()
    }

    fn certificate(&self, _: Peer) -> Option<Vec<u8>> {
        None
    }

    fn address(&self) -> Option<Vec<u8>> {
        None
    }

    fn route(&self, _: RouteFact<'_>) -> Option<Vec<u8>> {
        None
    }

    fn request_body(&self, length: usize) -> Option<Vec<u8>> {
        self.body.get(..length).map(<[u8]>::to_vec)
    }

    fn response_headers<T>(&self, read: impl FnOnce(&[Header<'_>]) -> T) -> T {
        read(&[(b":status", b"200"), (b"content-type", self.media)])
    }

    fn origin(&self) -> Origin {
        Origin::Server
    }

    fn response_chunk(&self, length: usize) -> Option<Vec<u8>> {
        self.chunk.get(..length).map(<[u8]>::to_vec)
    }
}

pub(crate) const HEADERS: [Header<'static>; 5] = [
    (b":method", b"POST"),
    (b":path", b"/mcp"),
    (b":authority", b"h"),
    (b"content-type", b"application/json"),
    (b"authorization", b"Bearer t"),
];

/// An exchange under this configuration, at its begin.
pub(crate) fn exchange(config: &Rc<Config>) -> Exchange {
    Exchange::new(Rc::clone(config), Rc::new(Holds::new(HoldHeaders::Always)))
}

/// What becomes of a request whose body comes in pieces of this size.
pub(crate) fn sent(config: &Rc<Config>, body: &[u8], size: usize) -> Flow {
    let store = MemoryStore::default();
    let mut exchange = exchange(config);
    let follows = if body.is_empty() { Follows::Nothing } else { Follows::Body };
    let mut world = World::new(&store, b"");
    let mut flow = exchange.on(&world, Event::RequestHead { headers: &HEADERS, follows }).flow;
    let (mut from, mut to) = (0, 0);
    while flow == Flow::Pause && to < body.len() {
        to = (to + size).min(body.len());
        world.body = body.get(from..to).unwrap_or_default();
        let chunk = if to == body.len() { Chunk::Last } else { Chunk::More };
        let step = exchange.on(&world, Event::RequestBody { buffered: world.body.len(), chunk });
        if step.body.is_some() {
            // What was looked at is dropped.
            from = to;
        }
        flow = step.flow;
    }
    assert_ne!(flow, Flow::Pause, "a whole request waits");
    flow
}
