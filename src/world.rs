//! What the engine asks of the world around it, in the product's own words.
//!
//! A shell answers: it knows by which attribute, and in which bytes, its host tells such a thing. Nothing is asked before it is
//! needed, for every question costs.

use std::borrow::Cow;

use crate::json::Value;
use crate::mcp::headers::Header;
use crate::mcp::outcome::Origin;
use crate::policy::binding::RouteFact;
use crate::policy::callers::Peer;
use crate::rate::store::SharedStore;
use crate::seal::NONCE_BYTES;
use crate::time::{Moment, UnixMillis};
use crate::witness::Witness;

/// Bytes that nobody can foresee: the nonce of a sealed text, and an id.
pub type Random = [u8; NONCE_BYTES + 16];

/// The world around one exchange.
pub trait World {
    /// Where counts are kept.
    type Store: SharedStore;

    /// Who listens while calls are decided; nobody in the filter.
    type Witness: Witness;

    /// The time; `None` if the host fails.
    fn now(&self) -> Option<UnixMillis>;

    /// The time by two clocks, for counts; `None` if the host fails. A world whose clock is set by hand needs no second one.
    fn moment(&self) -> Option<Moment> {
        self.now().map(Moment::from)
    }

    /// Bytes that nobody can foresee; `None` if the host fails.
    fn random(&self) -> Option<Random>;

    /// The store.
    fn store(&self) -> &Self::Store;

    /// Who listens.
    fn witness(&self) -> &Self::Witness;

    /// A claim of a verified token, by the payload that it stands in and the names on the way to it. Its numbers are as [`double`]
    /// writes them.
    fn claim(&self, payload: &str, path: &[Box<str>]) -> Option<Value<'static>>;

    /// A field of the client's verified certificate.
    fn certificate(&self, field: Peer) -> Option<Vec<u8>>;

    /// The address of the client.
    fn address(&self) -> Option<Vec<u8>>;

    /// What is known of the route that the request takes.
    fn route(&self, fact: RouteFact<'_>) -> Option<Vec<u8>>;

    /// The first `length` bytes that are buffered of the request body; `None` if the host fails.
    fn request_body(&self, length: usize) -> Option<Vec<u8>>;

    /// Shows the headers of the response that is just passing; none of them if the host fails.
    fn response_headers<T>(&self, read: impl FnOnce(&[Header<'_>]) -> T) -> T;

    /// Who made that response.
    fn origin(&self) -> Origin;

    /// The chunk of the response body that is just passing; `None` if the host fails.
    fn response_chunk(&self, length: usize) -> Option<Vec<u8>>;
}

/// A claim among the payloads of all verified tokens, which are there by their names.
#[must_use]
pub fn claim_of(
    payloads: &Value<'static>,
    payload: &str,
    path: &[Box<str>],
) -> Option<Value<'static>> {
    let mut value = payloads;
    for key in std::iter::once(payload).chain(path.iter().map(|part| &**part)) {
        value = value.as_object()?.get(key)?;
    }
    Some(value.clone())
}

/// A number of a claim, which reaches the engine as a double: the shortest text that reads back as the same, integers without a point.
#[must_use]
pub fn double(number: f64) -> Value<'static> {
    Value::Number(Cow::Owned(number.to_string()))
}
