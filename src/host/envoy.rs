//! Envoy as the world around an exchange: what the engine asks for in its own words, by Envoy's attributes.

use std::cell::OnceCell;

use proxy_wasm::types::{BufferType, MapType};

use super::shared::SharedData;
use super::{calls, metadata, origin};
use crate::json::Value;
use crate::mcp::headers::Header;
use crate::mcp::outcome::Origin;
use crate::metrics::Sample;
use crate::metrics::counted::CountedStore;
use crate::policy::binding::RouteFact;
use crate::policy::callers::Peer;
use crate::time::{Moment, UnixMillis};
use crate::world::{Random, World, claim_of};

/// The filter that verifies tokens, and leaves their payloads in the dynamic metadata.
const JWT_FILTER: &str = "envoy.filters.http.jwt_authn";

/// What Envoy tells during one callback.
pub(super) struct Envoy {
    store: CountedStore<SharedData>,
    /// The payloads of all verified tokens. Envoy hands metadata over only as a whole, so that is asked for once, if at all.
    payloads: OnceCell<Option<Value<'static>>>,
}

impl Envoy {
    pub(super) fn new() -> Envoy {
        Envoy { store: CountedStore::new(SharedData), payloads: OnceCell::new() }
    }

    /// What is counted of the store.
    pub(super) fn samples(&self) -> impl Iterator<Item = Sample> + use<> {
        self.store.samples()
    }

    fn payloads(&self) -> Option<&Value<'static>> {
        let read = || metadata::of_filter(&attribute(&["metadata"])?, JWT_FILTER);
        self.payloads.get_or_init(read).as_ref()
    }
}

fn attribute(path: &[&str]) -> Option<Vec<u8>> {
    calls::property(path).ok().flatten()
}

/// An attribute that is a number; zero where there is none.
fn number(path: &[&str]) -> u64 {
    let bytes = attribute(path).and_then(|bytes| bytes.try_into().ok());
    bytes.map_or(0, u64::from_le_bytes)
}

impl World for Envoy {
    type Store = CountedStore<SharedData>;
    type Witness = ();

    fn witness(&self) -> &() {
        &()
    }

    fn now(&self) -> Option<UnixMillis> {
        calls::now()
    }

    fn moment(&self) -> Option<Moment> {
        calls::moment()
    }

    fn random(&self) -> Option<Random> {
        calls::random()
    }

    fn store(&self) -> &CountedStore<SharedData> {
        &self.store
    }

    fn claim(&self, payload: &str, path: &[Box<str>]) -> Option<Value<'static>> {
        claim_of(self.payloads()?, payload, path)
    }

    fn certificate(&self, field: Peer) -> Option<Vec<u8>> {
        let name = match field {
            Peer::Spiffe => "uri_san_peer_certificate",
            Peer::Subject => "subject_peer_certificate",
            Peer::Digest => "sha256_peer_certificate_digest",
        };
        attribute(&["connection", name])
    }

    fn address(&self) -> Option<Vec<u8>> {
        attribute(&["source", "address"])
    }

    fn route(&self, fact: RouteFact<'_>) -> Option<Vec<u8>> {
        match fact {
            RouteFact::Name => attribute(&["xds", "route_name"]),
            RouteFact::Metadata(space, key) => {
                attribute(&["xds", "route_metadata", "filter_metadata", space, key])
            }
        }
    }

    fn request_body(&self, length: usize) -> Option<Vec<u8>> {
        calls::buffer(BufferType::HttpRequestBody, length).ok().flatten()
    }

    fn response_headers<T>(&self, read: impl FnOnce(&[Header<'_>]) -> T) -> T {
        let headers = calls::headers(MapType::HttpResponseHeaders).unwrap_or_default();
        read(&headers.pairs().unwrap_or_default())
    }

    fn origin(&self) -> Origin {
        let Some(details) = attribute(&["response", "code_details"]) else {
            return Origin::Unknown;
        };
        // There is no number of tries where nothing was tried.
        let tries = number(&["upstream", "request_attempt_count"]);
        origin::of_details(&details, tries, number(&["response", "code"]))
    }

    fn response_chunk(&self, length: usize) -> Option<Vec<u8>> {
        calls::buffer(BufferType::HttpResponseBody, length).ok().flatten()
    }
}
