//! Who is calling: by sources that the operator trusts. Credentials become digests here and are never seen again.

use std::borrow::Cow;

use sha2::{Digest as _, Sha256};

use crate::bounds::MAX_NAME_BYTES;
use crate::json::{Value, write_string};
use crate::mcp::Refusal;
use crate::mcp::headers::facts::{Facts, Single, credential};
use crate::number::Decimal;
use crate::policy::callers::{Peer, Source};
use crate::policy::compiled::{Config, Scope};
use crate::policy::sessions::Sessions;
use crate::rate::table::CallerId;
use crate::reason::Reason;

mod metadata;

/// Reads one of Envoy's attributes, by its path.
pub type Attribute<'a> = dyn Fn(&[&str]) -> Option<Vec<u8>> + 'a;

/// The caller of a request.
#[derive(Clone, Debug, PartialEq)]
pub struct Caller {
    grant: CallerId,
    session: CallerId,
    /// The grant as conditions and logs see it; a digest where it is a credential.
    name: Option<Box<str>>,
    keys: Vec<Named>,
    headers: Vec<Option<Value<'static>>>,
}

/// A further name of a caller.
#[derive(Clone, Debug, PartialEq)]
struct Named {
    id: CallerId,
    value: Option<Value<'static>>,
}

/// What a source yields.
struct Yield {
    id: CallerId,
    value: Value<'static>,
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
        let session = match (sessions, id) {
            (Sessions::Trusted | Sessions::Pinned(_), Some(id)) => {
                digest(&[b"session", &self.grant.0.to_le_bytes(), id])
            }
            (Sessions::Trusted | Sessions::Pinned(_), None) | (Sessions::Untrusted, _) => {
                self.grant
            }
        };
        Caller { session, ..self }
    }

    /// Whose count a limit of this scope counts.
    #[must_use]
    pub fn counted_as(&self, scope: Scope) -> CallerId {
        match scope {
            Scope::Grant => self.grant,
            Scope::Session => self.session,
            Scope::Global => CallerId::EVERYBODY,
            // The compiler gives no index that is not there; nobody is better than everybody.
            Scope::Key(at) => self.keys.get(at).map_or(self.grant, |key| key.id),
        }
    }

    /// The grant.
    #[must_use]
    pub fn grant(&self) -> CallerId {
        self.grant
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

    /// The further names as they are logged: `team=sre,tenant=acme`.
    #[must_use]
    pub fn names(&self, config: &Config) -> String {
        let named = config.callers.keys.iter().zip(&self.keys);
        let texts = named.filter_map(|(key, known)| {
            Some(format!("{}={}", key.name, text(known.value.as_ref()?)))
        });
        texts.collect::<Vec<_>>().join(",")
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
        let mut keys = Vec::with_capacity(callers.keys.len());
        for key in &callers.keys {
            let found = self.first(&key.sources)?;
            let id = match &found {
                Some(found) => digest(&[b"key", key.name.as_bytes(), &found.id.0.to_le_bytes()]),
                None => digest(&[b"no key", key.name.as_bytes()]),
            };
            keys.push(Named { id, value: found.map(|found| found.value) });
        }
        let mut headers = Vec::with_capacity(self.facts.kept.len());
        for header in &self.facts.kept {
            headers.push(match header.value("one that the policy reads")? {
                Some(value) => Some(Value::String(Cow::Owned(readable(value)?))),
                None => None,
            });
        }
        let (id, name) = match grant {
            Some(found) => (found.id, Some(text(&found.value).into())),
            None => (digest(&[b"anonymous"]), None),
        };
        Ok(Caller { grant: id, session: id, name, keys, headers })
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
        let named = |kind: &'static [u8], found: Option<String>| {
            found.filter(|text| !text.is_empty()).map(|text| Yield {
                id: digest(&[kind, text.as_bytes()]),
                value: Value::String(Cow::Owned(text)),
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
                Some(Yield { id: digest(&[b"claim", text.as_bytes()]), value })
            }
            Source::Header(at) => {
                let kept = self.facts.kept.get(*at).copied().unwrap_or_default();
                let value = kept.value("one that names the caller")?.map(readable).transpose()?;
                named(b"header", value)
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
                named(b"peer", value.filter(spiffe))
            }
            Source::Credential(at) => {
                let (kept, name) = match at {
                    None => (self.facts.credential, "authorization"),
                    Some(at) => (self.kept(*at), "one that is the caller's credential"),
                };
                let Some(value) = kept.value(name)?.filter(|value| !value.is_empty()) else {
                    return Ok(None);
                };
                let id = match at {
                    None => digest(&[b"credential", &credential(value)?]),
                    Some(at) => {
                        let header = self.config.headers.get(*at).map_or("", |name| name);
                        digest(&[b"credential of", header.as_bytes(), value.trim_ascii()])
                    }
                };
                Some(Yield { id, value: Value::String(Cow::Owned(hexadecimal(id))) })
            }
            Source::SourceIp => {
                let address = (self.attribute)(&["source", "address"]);
                let address = address.map(|address| readable(&address)).transpose()?;
                named(b"address", address.map(|address| without_port(&address).to_owned()))
            }
        })
    }

    fn kept(&self, at: usize) -> Single<'_> {
        self.facts.kept.get(at).copied().unwrap_or_default()
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

/// Numbers come as doubles: two that no double keeps apart would be one caller.
fn is_exact(value: &Value<'_>) -> bool {
    !matches!(value, Value::Number(text) if Decimal::parse(text).is_none())
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
    text.map(|text| text.trim().to_owned())
        .ok_or_else(|| Refusal::new(Reason::IdentityUnreadable, "a header or certificate"))
}

/// `10.0.0.1:5000` and `[2001:db8::1]:5000` without the port.
fn without_port(address: &str) -> &str {
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
    host.trim_start_matches('[').trim_end_matches(']')
}

fn hexadecimal(id: CallerId) -> String {
    format!("{:032x}", id.0)
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
