//! Envoy as the world around an exchange, as the ABI of dynamic modules tells of it.

use std::borrow::Cow;
use std::cell::OnceCell;

use super::abi::{Filter, Half};
use super::clock;
use super::store::ProcessStore;
use crate::host::origin;
use crate::json::{Bounds, Duplicates, Member, Object, Value, parse_within};
use crate::mcp::headers::Header;
use crate::mcp::outcome::Origin;
use crate::metrics::Sample;
use crate::metrics::counted::CountedStore;
use crate::policy::binding::RouteFact;
use crate::policy::callers::Peer;
use crate::time::{Moment, UnixMillis};
use crate::world::{Random, World, claim_of, double};

/// The counts of the process.
pub(super) static STORE: ProcessStore = ProcessStore::new();

/// Where the verified tokens' payloads are, as the JSON text of the metadata of `envoy.filters.http.jwt_authn`. The ABI hands over values of
/// metadata that are texts, numbers, flags and lists, and a payload is none of those; so a filter of Envoy's own writes them down.
const PAYLOADS: &str = "mcp_policy.jwt_payloads";

/// Numbers of attributes, by `envoy_dynamic_module_type_attribute_id`.
mod attribute {
    pub(super) const RESPONSE_CODE: u32 = 15;
    pub(super) const RESPONSE_CODE_DETAILS: u32 = 16;
    pub(super) const SOURCE_ADDRESS: u32 = 24;
    pub(super) const SUBJECT_PEER: u32 = 33;
    pub(super) const URI_SAN_PEER: u32 = 37;
    pub(super) const DIGEST_PEER: u32 = 38;
    pub(super) const ATTEMPTS: u32 = 53;
    pub(super) const ROUTE_NAME: u32 = 61;
}

/// What Envoy tells during one hook.
pub(super) struct HookWorld<'f, 'h> {
    filter: &'f Filter<'h>,
    store: CountedStore<&'static ProcessStore>,
    payloads: OnceCell<Option<Value<'static>>>,
}

impl<'f, 'h> HookWorld<'f, 'h> {
    pub(super) fn new(filter: &'f Filter<'h>) -> HookWorld<'f, 'h> {
        HookWorld { filter, store: CountedStore::new(&STORE), payloads: OnceCell::new() }
    }

    /// What is counted of the store.
    pub(super) fn samples(&self) -> impl Iterator<Item = Sample> + use<> {
        self.store.samples()
    }

    fn payloads(&self) -> Option<&Value<'static>> {
        let read = || {
            let text = std::str::from_utf8(self.filter.filter_state(PAYLOADS)?).ok()?;
            let value = parse_within(text, Duplicates::Refuse, Bounds::of_any_body()).ok()?;
            Some(owned(&value))
        };
        self.payloads.get_or_init(read).as_ref()
    }

    fn attribute(&self, id: u32) -> Option<Vec<u8>> {
        self.filter.attribute(id).map(<[u8]>::to_vec)
    }
}

/// A value of a payload, whose numbers were doubles before they were text.
fn owned(value: &Value<'_>) -> Value<'static> {
    match value {
        Value::Null => Value::Null,
        Value::Bool(flag) => Value::Bool(*flag),
        Value::Number(text) => text.parse().map_or(Value::Null, double),
        Value::String(text) => Value::String(Cow::Owned(text.clone().into_owned())),
        Value::Array(items) => Value::Array(items.iter().map(owned).collect()),
        Value::Object(Object(members)) => {
            let member = |member: &Member<'_>| Member {
                key: Cow::Owned(member.key.clone().into_owned()),
                raw: "",
                value: owned(&member.value),
            };
            Value::Object(Object(members.iter().map(member).collect()))
        }
    }
}

impl World for HookWorld<'_, '_> {
    type Store = CountedStore<&'static ProcessStore>;
    type Witness = ();

    fn witness(&self) -> &() {
        &()
    }

    fn now(&self) -> Option<UnixMillis> {
        clock::now()
    }

    fn moment(&self) -> Option<Moment> {
        clock::moment()
    }

    fn random(&self) -> Option<Random> {
        let mut bytes: Random = [0; _];
        getrandom::fill(&mut bytes).ok().map(|()| bytes)
    }

    fn store(&self) -> &CountedStore<&'static ProcessStore> {
        &self.store
    }

    fn claim(&self, payload: &str, path: &[Box<str>]) -> Option<Value<'static>> {
        claim_of(self.payloads()?, payload, path)
    }

    fn certificate(&self, field: Peer) -> Option<Vec<u8>> {
        self.attribute(match field {
            Peer::Spiffe => attribute::URI_SAN_PEER,
            Peer::Subject => attribute::SUBJECT_PEER,
            Peer::Digest => attribute::DIGEST_PEER,
        })
    }

    fn address(&self) -> Option<Vec<u8>> {
        self.attribute(attribute::SOURCE_ADDRESS)
    }

    fn route(&self, fact: RouteFact<'_>) -> Option<Vec<u8>> {
        match fact {
            RouteFact::Name => self.attribute(attribute::ROUTE_NAME),
            RouteFact::Metadata(space, key) => self.filter.route_metadata(space, key),
        }
    }

    fn request_body(&self, length: usize) -> Option<Vec<u8>> {
        Some(self.filter.body(Half::Request, length))
    }

    fn response_headers<T>(&self, read: impl FnOnce(&[Header<'_>]) -> T) -> T {
        read(&self.filter.headers(Half::Response).unwrap_or_default())
    }

    fn origin(&self) -> Origin {
        let Some(details) = self.filter.attribute(attribute::RESPONSE_CODE_DETAILS) else {
            return Origin::Unknown;
        };
        // There is no number of tries where nothing was tried.
        let tries = self.filter.number(attribute::ATTEMPTS).unwrap_or(0);
        let status = self.filter.number(attribute::RESPONSE_CODE).unwrap_or(0);
        origin::of_details(details, tries, status)
    }

    fn response_chunk(&self, length: usize) -> Option<Vec<u8>> {
        Some(self.filter.body(Half::Response, length))
    }
}
