//! Where the names of callers come from, as the operator says it.

use std::cell::OnceCell;

use super::entry::Scope;
use crate::rate::table::{Account, CallerId, Maker};
use crate::remembered::Remembered;

/// How callers are named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Callers {
    /// The sources of the grant, in order.
    pub grant: Vec<Source>,
    /// Further names.
    pub keys: Vec<Key>,
    /// Whether a caller that no source of the grant names is refused.
    pub required: bool,
}

/// What was computed of callers' names before, without what it was computed of.
#[derive(Debug, Default)]
pub struct Recalled {
    /// Digests of names.
    pub digests: Remembered<CallerId>,
    /// Digests of credentials in their canonical spelling, and whether there is one.
    pub credentials: Remembered<(CallerId, bool)>,
    /// Who brings names from an address: by it alone, by what is around it, and who is counted by it.
    pub places: Remembered<(Maker, Maker, Account)>,
    /// The same of who comes from nowhere.
    pub nowhere: OnceCell<(Maker, Maker, Account)>,
}

/// A further name of callers, for scopes, bindings and conditions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    /// What it is called.
    pub name: Box<str>,
    /// Its sources, in order.
    pub sources: Vec<Source>,
}

/// Something that names a caller, which he cannot choose himself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// A claim of a token that Envoy's jwt_authn filter has verified.
    JwtClaim {
        /// `payload_in_metadata` of the provider.
        payload: Box<str>,
        /// The claim, and what it is nested in.
        claim: Box<[Box<str>]>,
    },
    /// A header that the operator's own proxies set; an index into [`super::compiled::Config::headers`].
    Header(usize),
    /// The client's certificate.
    Peer(Peer),
    /// The digest of a header's value, by the same index; `None` is `authorization`.
    Credential(Option<usize>),
    /// The address of the client.
    SourceIp,
}

/// What of a client's certificate is the name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    /// The URI among its alternative names, if it is a SPIFFE id.
    Spiffe,
    /// Its subject.
    Subject,
    /// SHA-256 of the certificate.
    Digest,
}

impl Peer {
    /// The words of policies.
    pub const WORDS: [(&'static str, Peer); 3] =
        [("spiffe", Peer::Spiffe), ("subject", Peer::Subject), ("digest", Peer::Digest)];
}

/// When the address of the client is needed, which costs a question to Envoy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AsksAddress {
    /// Nothing counts by caller.
    Never,
    /// Where nothing verified the caller: an address has its share of their tables.
    OfTheUnverified,
    /// A limit counts by address.
    Always,
}

impl AsksAddress {
    /// What counters of these scopes need.
    #[must_use]
    pub fn of(scopes: impl Iterator<Item = Scope>) -> AsksAddress {
        let mut asks = AsksAddress::Never;
        for scope in scopes {
            match scope {
                Scope::Address => return AsksAddress::Always,
                Scope::Grant | Scope::Session | Scope::Key(_) => {
                    asks = AsksAddress::OfTheUnverified
                }
                Scope::Global => {}
            }
        }
        asks
    }
}

impl Default for Callers {
    fn default() -> Callers {
        Callers { grant: vec![Source::Credential(None)], keys: Vec::new(), required: false }
    }
}
