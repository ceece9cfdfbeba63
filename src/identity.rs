//! Who is calling: by sources that the operator trusts. Credentials become digests here and are never seen again.
//!
//! A caller is one, however his credential, his session id or his address is spelled. A credential without a canonical spelling names
//! its bearer in logs, but whoever tells callers apart by it refuses the request.

use std::borrow::Cow;

use sha2::{Digest as _, Sha256};

use crate::bounds::MAX_NAME_BYTES;
use crate::json::{Value, write_string};
use crate::mcp::Refusal;
use crate::mcp::headers::credential::{canonical, canonical_cookie};
use crate::mcp::headers::facts::{Facts, Single};
use crate::number::Decimal;
use crate::policy::callers::{Peer, Source};
use crate::policy::compiled::{AsksAddress, Config, Policy, Scope, Subject};
use crate::policy::sessions::Sessions;
use crate::rate::table::{Account, CallerId, Class, Maker};
use crate::reason::Reason;

mod metadata;
mod network;

use network::{Network, without_port};

/// Reads one of Envoy's attributes, by its path.
pub type Attribute<'a> = dyn Fn(&[&str]) -> Option<Vec<u8>> + 'a;

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

/// What a source yields.
struct Yield {
    id: CallerId,
    class: Class,
    spelling: Spelling,
    value: Value<'static>,
    /// What a key counts by, where that is not the value.
    counted: Option<String>,
}

impl Caller {
    /// Names the caller of a request. One whom no source names is `anonymous`, together with all like him.
    ///
    /// # Errors
    /// A refusal where a header that names callers is repeated, or a name cannot be read.
    pub fn read(
        config: &Config,
        facts: &Facts<'_>,
        attribute: &Attribute<'_>,
    ) -> Result<Caller, Refusal> {
        let reader = Sources { config, facts, attribute, metadata: None };
        reader.caller()
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
            Account { caller, class, maker }
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
            // The compiler gives no index that is not there; nobody is better than everybody.
            Scope::Key(at) => self.keys.get(at).map_or(self.grant.account, |key| key.account),
        }
    }

    /// Refuses a caller whose credential tells nobody apart, where a policy, or a seal, tells callers apart by it.
    ///
    /// # Errors
    /// [`Reason::CredentialAmbiguous`].
    pub fn suits(&self, policy: Option<&Policy>, sessions: &Sessions) -> Result<(), Refusal> {
        let ambiguous = |named: &Named| named.spelling == Spelling::Ambiguous;
        let (grant, keys) = (ambiguous(&self.grant), self.keys.iter().any(ambiguous));
        if !grant && !keys {
            return Ok(());
        }
        let key = |at: usize| self.keys.get(at).is_some_and(ambiguous);
        let counts = |policy: &Policy| {
            policy.counters.iter().any(|counter| match counter.scope {
                Scope::Grant | Scope::Session => grant,
                Scope::Key(at) => key(at),
                Scope::Address | Scope::Global => false,
            })
        };
        let reads = |policy: &Policy| {
            let checks = policy.entries().flat_map(|entry| &entry.checks);
            checks.flat_map(|check| &check.conditions).any(|condition| match condition.subject {
                Subject::Identity(None) => grant,
                Subject::Identity(Some(at)) => key(at),
                Subject::Argument(_) | Subject::Counter(_) | Subject::Header(_) => false,
            })
        };
        let sealed = grant && matches!(sessions, Sessions::Pinned(_));
        if sealed || policy.is_some_and(|policy| counts(policy) || reads(policy)) {
            return Err(Refusal::new(Reason::CredentialAmbiguous, ""));
        }
        Ok(())
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

impl Yield {
    fn verified(id: CallerId, value: Value<'static>) -> Yield {
        Yield { id, class: Class::Verified, spelling: Spelling::Canonical, value, counted: None }
    }
}

struct Sources<'s> {
    config: &'s Config,
    facts: &'s Facts<'s>,
    attribute: &'s Attribute<'s>,
    /// All dynamic metadata, once it has been asked for.
    metadata: Option<Option<Vec<u8>>>,
}

impl Sources<'_> {
    fn caller(mut self) -> Result<Caller, Refusal> {
        let callers = &self.config.callers;
        let grant = self.first(&callers.grant)?;
        let name = grant.as_ref().map(|found| text(&found.value).into());
        let (class, spelling) = grant
            .as_ref()
            .map_or((Class::Verified, Spelling::Canonical), |found| (found.class, found.spelling));
        let proven = grant.is_some() && class == Class::Verified;
        let mut named =
            vec![(grant.map_or(digest(&[b"anonymous"]), |found| found.id), class, spelling, None)];
        for key in &callers.keys {
            named.push(match self.first(&key.sources)? {
                Some(found) => {
                    let kind = kind(&found.value);
                    let text = found.counted.unwrap_or_else(|| text(&found.value));
                    let id = digest(&[b"key", key.name.as_bytes(), kind, text.as_bytes()]);
                    // One name is one count, whatever source says so.
                    let class = match (found.class, &key.sources) {
                        (Class::Verified, sources) if sources.contains(&Source::SourceIp) => {
                            Class::Address
                        }
                        (class, _) => class,
                    };
                    (id, class, found.spelling, Some(found.value))
                }
                None => (
                    digest(&[b"no key", key.name.as_bytes()]),
                    Class::Verified,
                    Spelling::Canonical,
                    None,
                ),
            });
        }
        let claimed = !proven || named.iter().any(|(_, class, ..)| *class == Class::Claimed);
        let network = self.network(claimed)?;
        let place = |around: bool| {
            let network = network.as_ref().map(|it| if around { &*it.around } else { &*it.own });
            maker(&[network.unwrap_or("nowhere").as_bytes()])
        };
        let mut accounts = named.into_iter().map(|(caller, class, spelling, value)| {
            let maker = match class {
                Class::Claimed => place(false),
                Class::Address => place(true),
                Class::Verified | Class::Session | Class::Global => Maker::NOBODY,
            };
            Named { account: Account { caller, class, maker }, spelling, value }
        });
        let nobody = Named { account: Account::EVERYBODY, spelling, value: None };
        let grant = accounts.next().unwrap_or(nobody);
        let keys = accounts.collect();
        let address = match &network {
            Some(network) => Account {
                caller: digest(&[b"address of", network.own.as_bytes()]),
                class: Class::Address,
                maker: place(true),
            },
            None => Account {
                caller: digest(&[b"no address"]),
                class: Class::Verified,
                maker: Maker::NOBODY,
            },
        };
        let headers = self.headers()?;
        let (session, maker) = (grant.account, place(false));
        Ok(Caller { grant, session, address, maker, proven, name, keys, headers })
    }

    /// The headers that conditions read.
    fn headers(&self) -> Result<Vec<Option<Value<'static>>>, Refusal> {
        let kept = self.facts.kept.iter().zip(&self.config.read_headers);
        kept.map(|(header, is_read)| {
            Ok(match header.value("one that the policy reads")? {
                Some(value) if *is_read => Some(Value::String(Cow::Owned(readable(value)?))),
                Some(_) | None => None,
            })
        })
        .collect()
    }

    /// Where the client is, if anything counts by it; `claimed` says that he has a name which he could have invented.
    fn network(&self, claimed: bool) -> Result<Option<Network>, Refusal> {
        let asked = match self.config.asks_address {
            AsksAddress::Always => true,
            AsksAddress::OfTheUnverified => claimed,
            AsksAddress::Never => false,
        };
        let address = if asked { (self.attribute)(&["source", "address"]) } else { None };
        let address = address.map(|address| readable(&address)).transpose()?;
        Ok(address.filter(|address| !address.is_empty()).map(|address| Network::of(&address)))
    }

    fn first(&mut self, sources: &[Source]) -> Result<Option<Yield>, Refusal> {
        for source in sources {
            let found = self.ask(source)?;
            if found.is_some() {
                return Ok(found);
            }
        }
        Ok(None)
    }

    fn ask(&mut self, source: &Source) -> Result<Option<Yield>, Refusal> {
        // What two issuers or two proxies call by one name are two callers.
        let named = |kind: &'static [u8], source: &str, found: Option<String>| {
            found.filter(|text| !text.is_empty()).map(|text| {
                let id = digest(&[kind, source.as_bytes(), text.as_bytes()]);
                Yield::verified(id, Value::String(Cow::Owned(text)))
            })
        };
        Ok(match source {
            Source::JwtClaim { payload, claim } => {
                let value = self.claim(payload, claim);
                let Some(value) = value.and_then(usable) else { return Ok(None) };
                let text = text(&value);
                if text.len() > MAX_NAME_BYTES || !is_exact(&value) {
                    return Err(Refusal::new(Reason::IdentityUnreadable, "a claim of the token"));
                }
                let mut parts = vec![b"claim", payload.as_bytes(), kind(&value), text.as_bytes()];
                parts.extend(claim.iter().map(|part| part.as_bytes()));
                Some(Yield::verified(digest(&parts), value))
            }
            Source::Header(at) => {
                let value = self.kept(*at).value("one that names the caller")?;
                named(b"header", self.header(*at), value.map(readable).transpose()?)
            }
            Source::Peer(peer) => {
                let attribute = match peer {
                    Peer::Spiffe => "uri_san_peer_certificate",
                    Peer::Subject => "subject_peer_certificate",
                    Peer::Digest => "sha256_peer_certificate_digest",
                };
                let value = (self.attribute)(&["connection", attribute]);
                let value = value.map(|value| readable(&value)).transpose()?;
                let spiffe = |name: &String| *peer != Peer::Spiffe || name.starts_with("spiffe://");
                named(b"peer", attribute, value.filter(spiffe))
            }
            Source::Credential(at) => self.credential(*at)?,
            Source::SourceIp => {
                let address = (self.attribute)(&["source", "address"]);
                let address = address.map(|address| readable(&address)).transpose()?;
                // The name is the address, but a client with a network of his own is one caller.
                let network = address.as_deref().map(|address| Network::of(address).own);
                let address = address.map(|address| without_port(&address).to_owned());
                named(b"address", "", address).zip(network).map(|(found, network)| Yield {
                    id: digest(&[b"address", b"", network.as_bytes()]),
                    class: Class::Address,
                    counted: Some(network),
                    ..found
                })
            }
        })
    }

    /// The digest of a credential in its canonical spelling; where it has none, of its bytes.
    fn credential(&self, at: Option<usize>) -> Result<Option<Yield>, Refusal> {
        let (kept, name) = match at {
            None => (self.facts.credential, "authorization"),
            Some(at) => (self.kept(at), "one that is the caller's credential"),
        };
        let Some(value) = kept.value(name)?.filter(|value| !value.is_empty()) else {
            return Ok(None);
        };
        let header = at.map(|at| self.header(at));
        let spelled = match header {
            Some("cookie") => canonical_cookie(value),
            Some(_) | None => canonical(value)?,
        };
        let spelling = if spelled.is_some() { Spelling::Canonical } else { Spelling::Ambiguous };
        let spelled = spelled.as_deref().unwrap_or(value);
        let id = match header {
            None => digest(&[b"credential", spelled]),
            Some(header) => {
                let word = spelled.strip_prefix(b"bearer ").unwrap_or(spelled);
                digest(&[b"credential of", header.as_bytes(), word])
            }
        };
        let value = Value::String(Cow::Owned(hexadecimal(id)));
        Ok(Some(Yield { class: Class::Claimed, spelling, ..Yield::verified(id, value) }))
    }

    fn kept(&self, at: usize) -> Single<'_> {
        self.facts.kept.get(at).copied().unwrap_or_default()
    }

    fn header(&self, at: usize) -> &str {
        self.config.headers.get(at).map_or("", |name| name)
    }

    fn claim(&mut self, payload: &str, claim: &[Box<str>]) -> Option<Value<'static>> {
        let attribute = self.attribute;
        let metadata = self.metadata.get_or_insert_with(|| attribute(&["metadata"]));
        let mut value = metadata::of_filter(metadata.as_deref()?, "envoy.filters.http.jwt_authn")?;
        for key in std::iter::once(payload).chain(claim.iter().map(|part| &**part)) {
            let Value::Object(object) = value else { return None };
            value = object.0.into_iter().find(|member| member.key == key)?.value;
        }
        Some(value)
    }
}

/// A claim that can be a name: a text, a number, or a list of texts (in one order, however the token has them).
fn usable(value: Value<'static>) -> Option<Value<'static>> {
    match value {
        Value::String(text) if text.is_empty() => None,
        Value::String(_) | Value::Number(_) | Value::Bool(_) => Some(value),
        Value::Array(mut items) if !items.is_empty() => {
            items.sort_by_key(text);
            items.iter().all(|item| item.as_str().is_some()).then_some(Value::Array(items))
        }
        Value::Array(_) | Value::Null | Value::Object(_) => None,
    }
}

/// Numbers come as doubles: two that no double keeps apart would be one caller. From 2^53 on a double may stand for its neighbour.
fn is_exact(value: &Value<'_>) -> bool {
    let Value::Number(text) = value else { return true };
    let below = text.parse::<f64>().is_ok_and(|number| number.abs() < 9_007_199_254_740_992.0);
    below && Decimal::parse(text).is_some()
}

/// What keeps the number 7 and the text `7` apart.
fn kind(value: &Value<'_>) -> &'static [u8] {
    match value {
        Value::String(_) => b"text",
        Value::Number(_) => b"number",
        Value::Bool(_) => b"flag",
        Value::Array(_) => b"list",
        Value::Null | Value::Object(_) => b"",
    }
}

fn text(value: &Value<'_>) -> String {
    match value {
        Value::String(text) | Value::Number(text) => text.clone().into_owned(),
        Value::Bool(flag) => flag.to_string(),
        Value::Array(items) => {
            let mut out = "[".to_owned();
            for item in items {
                if out.len() > 1 {
                    out.push(',');
                }
                write_string(&mut out, &text(item));
            }
            out.push(']');
            out
        }
        Value::Null | Value::Object(_) => String::new(),
    }
}

fn readable(bytes: &[u8]) -> Result<String, Refusal> {
    let text = std::str::from_utf8(bytes).ok().filter(|text| text.len() <= MAX_NAME_BYTES);
    // No other white space: what is not the same name must not become it.
    text.map(|text| text.trim_matches([' ', '\t']).to_owned())
        .ok_or_else(|| Refusal::new(Reason::IdentityUnreadable, "a header or certificate"))
}

fn hexadecimal(id: CallerId) -> String {
    format!("{:032x}", id.0)
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

/// 128 bits of SHA-256 over the parts, each with its length, so that no two lists of parts run together.
fn digest(parts: &[&[u8]]) -> CallerId {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part);
    }
    let bytes = hash.finalize();
    let number = bytes.first_chunk().map_or(0, |bytes| u128::from_le_bytes(*bytes));
    // Zero stands for everybody.
    CallerId(number.max(1))
}

#[cfg(test)]
mod tests;
