//! Who is calling: by sources that the operator trusts. Credentials become digests here and are never seen again.
//!
//! A caller is one, however his credential, his session id or his address is spelled. A credential without a canonical spelling names
//! its bearer in logs, but whoever tells callers apart by it refuses the request.

use std::borrow::Cow;

use crate::digest::short_of_parts;
use crate::json::Value;
use crate::mcp::Refusal;
use crate::mcp::headers::facts::Facts;
use crate::policy::compiled::Config;
use crate::policy::entry::Scope;
use crate::policy::sessions::Sessions;
use crate::rate::table::{Account, CallerId, Class, Maker, Per};
use crate::reason::Reason;
use crate::world::World;

mod network;
mod sources;

use sources::{Sources, text};

/// The caller of a request.
#[derive(Clone, Debug, PartialEq)]
pub struct Caller {
    grant: Named,
    session: Account,
    address: Account,
    /// Who brings the names that this caller can invent.
    maker: Maker,
    proven: bool,
    /// The grant as conditions and logs see it; a digest where it is a credential.
    name: Option<Box<str>>,
    keys: Vec<Named>,
    headers: Vec<Option<Value<'static>>>,
}

/// A name of a caller.
#[derive(Clone, Debug, PartialEq)]
struct Named {
    account: Account,
    spelling: Spelling,
    value: Option<Value<'static>>,
}

/// Whether a name is the only one for what it stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Spelling {
    Canonical,
    Ambiguous,
}

impl Caller {
    /// Names the caller of a request. One whom no source names is `anonymous`, together with all like him.
    ///
    /// # Errors
    /// A refusal where a header that names callers is repeated, or a name cannot be read.
    pub fn read<W: World>(
        config: &Config,
        facts: &Facts<'_>,
        world: &W,
    ) -> Result<Caller, Refusal> {
        Sources { config, facts, world }.caller()
    }

    /// The same caller in a session. A session id that nobody vouches for is the caller's own invention, and would be a fresh count at
    /// will: then the session is the grant.
    #[must_use]
    pub fn in_session(self, sessions: &Sessions, id: Option<&[u8]>) -> Caller {
        let id = match sessions {
            Sessions::Trusted | Sessions::Pinned(_) => id.and_then(canonical_session),
            Sessions::Untrusted => None,
        };
        let grant = self.grant.account;
        let session = id.map_or(grant, |id| {
            let caller = digest(&[b"session", &grant.caller.0.to_le_bytes(), &id]);
            // A caller can begin as many as he likes.
            let (class, maker) = match self.proven {
                true => (Class::Session, maker(&[&grant.caller.0.to_le_bytes()])),
                false => (Class::Claimed, self.maker),
            };
            Account { caller, class, maker, per: Per::Caller }
        });
        Caller { session, ..self }
    }

    /// Whose count a limit of this scope counts.
    #[must_use]
    pub fn counted_as(&self, scope: Scope) -> Account {
        match scope {
            Scope::Grant => self.grant.account,
            Scope::Session => self.session,
            Scope::Address => self.address,
            Scope::Global => Account::EVERYBODY,
            // The compiler gives only indices that exist. If one did not, counting for the caller alone would still be a limit; counting for all
            // callers together would lock them out.
            Scope::Key(at) => self.keys.get(at).map_or(self.grant.account, |key| key.account),
        }
    }

    /// Whether a count of this scope would go by a credential that could be spelled otherwise.
    #[must_use]
    pub fn is_ambiguous_as(&self, scope: Scope) -> bool {
        let named = match scope {
            Scope::Grant | Scope::Session => Some(&self.grant),
            Scope::Key(at) => self.keys.get(at),
            Scope::Address | Scope::Global => None,
        };
        named.is_some_and(|named| named.spelling == Spelling::Ambiguous)
    }

    /// Whether anything of what names the caller is a credential that could be spelled otherwise.
    #[must_use]
    pub fn is_ambiguous(&self) -> bool {
        let mut names = std::iter::once(&self.grant).chain(&self.keys);
        names.any(|named| named.spelling == Spelling::Ambiguous)
    }

    /// Refuses a caller of whom a further name tells nobody apart, where bindings look at names.
    ///
    /// # Errors
    /// [`Reason::CredentialAmbiguous`].
    pub fn suits_bindings(self) -> Result<Caller, Refusal> {
        match self.keys.iter().all(|key| key.spelling == Spelling::Canonical) {
            true => Ok(self),
            false => Err(Refusal::new(Reason::CredentialAmbiguous, "")),
        }
    }

    /// The grant.
    #[must_use]
    pub fn grant(&self) -> CallerId {
        self.grant.account.caller
    }

    /// Whether something that Envoy or the operator's own proxies have verified names the caller: neither a credential that only the
    /// server can tell from an invented one, nor an address, which is no proof of who calls.
    #[must_use]
    pub fn is_proven(&self) -> bool {
        self.proven
    }

    /// Whether no source named the caller.
    #[must_use]
    pub fn is_anonymous(&self) -> bool {
        self.name.is_none()
    }

    /// The grant as it is logged: the name, or the digest of a credential.
    #[must_use]
    pub fn label(&self) -> &str {
        self.name.as_deref().unwrap_or("anonymous")
    }

    /// A further name, by the index of its key; as conditions see it.
    #[must_use]
    pub fn key(&self, at: usize) -> Option<&Value<'static>> {
        self.keys.get(at).and_then(|key| key.value.as_ref())
    }

    /// The further names, by key, as they are logged.
    pub fn names<'c>(&'c self, config: &'c Config) -> impl Iterator<Item = (&'c str, String)> {
        let named = config.callers.keys.iter().zip(&self.keys);
        named.filter_map(|(key, known)| Some((&*key.name, text(known.value.as_ref()?))))
    }

    /// A header of the request, by its index in the configuration; as conditions see it.
    #[must_use]
    pub fn header(&self, at: usize) -> Option<&Value<'static>> {
        self.headers.get(at).and_then(Option::as_ref)
    }

    /// The grant's name as conditions see it.
    #[must_use]
    pub fn grant_value(&self) -> Option<Value<'_>> {
        self.name.as_deref().map(|name| Value::String(Cow::Borrowed(name)))
    }
}

/// A session id as the server may take it for the same: visible ASCII, and UUIDs in any of their forms.
fn canonical_session(id: &[u8]) -> Option<Vec<u8>> {
    if id.is_empty() || !id.iter().all(u8::is_ascii_graphic) {
        return None;
    }
    let digits = id.iter().filter(|byte| !b"-{}".contains(byte)).map(u8::to_ascii_lowercase);
    let digits: Vec<u8> = digits.collect();
    let uuid = digits.len() == 32 && digits.iter().all(u8::is_ascii_hexdigit);
    Some(if uuid { digits } else { id.to_vec() })
}

/// Who brings names, by a small digest of what he is known by.
fn maker(parts: &[&[u8]]) -> Maker {
    let [first, second, third, fourth, ..] = digest(parts).0.to_le_bytes();
    Maker(u32::from_le_bytes([first, second, third, fourth]).max(1))
}

/// Who is known by these parts.
fn digest(parts: &[&[u8]]) -> CallerId {
    // Zero stands for everybody.
    CallerId(short_of_parts(parts).max(1))
}

#[cfg(test)]
mod tests;
