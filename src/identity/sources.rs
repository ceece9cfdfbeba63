//! What the sources of names yield, and the caller that they make.

use std::borrow::Cow;
use std::convert::Infallible;

use super::network::{Network, without_port};
use super::{Caller, Named, Spelling, digest, maker};
use crate::bounds::MAX_NAME_BYTES;
use crate::digest::push_hexadecimal;
use crate::json::{Value, written};
use crate::mcp::Refusal;
use crate::mcp::headers::credential::{canonical, canonical_cookie, canonical_key};
use crate::mcp::headers::facts::{Facts, Single};
use crate::number::Decimal;
use crate::policy::callers::{AsksAddress, Key, Peer, Source};
use crate::policy::compiled::Config;
use crate::rate::table::{Account, CallerId, Class, Maker, Per};
use crate::reason::Reason;
use crate::world::World;

/// What a source yields.
struct SourceValue {
    id: CallerId,
    class: Class,
    spelling: Spelling,
    value: Value<'static>,
    /// What a key counts by, where that is not the value.
    counted: Option<String>,
}

/// A name before it is known who brought it.
struct Whose {
    caller: CallerId,
    class: Class,
    spelling: Spelling,
    value: Option<Value<'static>>,
}

impl Whose {
    /// Those who have no name, all together.
    fn constant(caller: CallerId) -> Whose {
        let (class, spelling) = (Class::Verified, Spelling::Canonical);
        Whose { caller, class, spelling, value: None }
    }
}

/// Where the client is, if that is asked for and known.
struct Where {
    /// Who brings names that can be invented.
    own: Maker,
    /// Who has all that is around him.
    around: Maker,
    /// Whose count a limit by address counts.
    account: Account,
}

impl Where {
    fn of(network: Option<&Network>) -> Where {
        let Some(network) = network else {
            let (own, caller) = (maker(&[b"nowhere"]), digest(&[b"no address"]));
            let (class, maker, per) = (Class::Verified, Maker::NOBODY, Per::Caller);
            let account = Account { caller, class, maker, per };
            return Where { own, around: own, account };
        };
        let (own, around) = (maker(&[network.own.as_bytes()]), maker(&[network.around.as_bytes()]));
        let caller = digest(&[b"address of", network.own.as_bytes()]);
        let (class, per) = (Class::Address, Per::Caller);
        let account = Account { caller, class, maker: around, per };
        Where { own, around, account }
    }

    fn named(&self, whose: Whose) -> Named {
        let Whose { caller, class, spelling, value } = whose;
        let maker = match class {
            Class::Claimed => self.own,
            Class::Address => self.around,
            Class::Verified | Class::Session | Class::Global => Maker::NOBODY,
        };
        Named { account: Account { caller, class, maker, per: Per::Caller }, spelling, value }
    }
}

impl SourceValue {
    fn verified(id: CallerId, value: Value<'static>) -> SourceValue {
        SourceValue {
            id,
            class: Class::Verified,
            spelling: Spelling::Canonical,
            value,
            counted: None,
        }
    }
}

pub(super) struct Sources<'s, W: World> {
    pub(super) config: &'s Config,
    pub(super) facts: &'s Facts<'s>,
    pub(super) world: &'s W,
}

impl<W: World> Sources<'_, W> {
    pub(super) fn caller(&self) -> Result<Caller, Refusal> {
        let callers = &self.config.callers;
        let grant = self.first(&callers.grant)?;
        let proven = grant.as_ref().is_some_and(|found| found.class == Class::Verified);
        let (grant, name) = match grant {
            None => (Whose::constant(self.digest(&[b"anonymous"])), None),
            Some(SourceValue { id: caller, class, spelling, value, counted: _ }) => {
                let name = into_text(value).into_boxed_str();
                (Whose { caller, class, spelling, value: None }, Some(name))
            }
        };
        let keys: Vec<Whose> =
            callers.keys.iter().map(|key| self.key(key)).collect::<Result<_, _>>()?;
        let claimed = !proven || keys.iter().any(|key| key.class == Class::Claimed);
        let place = self.place(claimed)?;
        let grant = place.named(grant);
        let keys = keys.into_iter().map(|key| place.named(key)).collect();
        let (session, address, maker) = (grant.account, place.account, place.own);
        Ok(Caller { grant, session, address, maker, proven, name, keys, headers: self.headers()? })
    }

    /// A further name.
    fn key(&self, key: &Key) -> Result<Whose, Refusal> {
        let Some(found) = self.first(&key.sources)? else {
            return Ok(Whose::constant(self.digest(&[b"no key", key.name.as_bytes()])));
        };
        let kind = kind(&found.value);
        let text = found.counted.unwrap_or_else(|| text(&found.value));
        // One name is one count, whatever source says so.
        let by_address = key.sources.contains(&Source::SourceIp);
        let moves = by_address && found.class == Class::Verified;
        let class = if moves { Class::Address } else { found.class };
        Ok(Whose {
            caller: self.digest(&[b"key", key.name.as_bytes(), kind, text.as_bytes()]),
            class,
            spelling: found.spelling,
            value: Some(found.value),
        })
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
    fn place(&self, claimed: bool) -> Result<Where, Refusal> {
        let asked = match self.config.asks_address {
            AsksAddress::Always => true,
            AsksAddress::OfTheUnverified => claimed,
            AsksAddress::Never => false,
        };
        let address = if asked { self.world.address() } else { None };
        let address = address.map(|address| readable(&address)).transpose()?;
        let address = address.filter(|address| !address.is_empty());
        let compute = |address: Option<&str>| {
            let Where { own, around, account } = Where::of(address.map(Network::of).as_ref());
            (own, around, account)
        };
        let recalled = &self.config.recalled;
        let (own, around, account) = match address.as_deref() {
            Some(at) => recalled.places.or_computed(&[at.as_bytes()], || Ok(compute(Some(at))))?,
            None => *recalled.nowhere.get_or_init(|| compute(None)),
        };
        Ok(Where { own, around, account })
    }

    /// As [`digest`], but computed once.
    fn digest(&self, parts: &[&[u8]]) -> CallerId {
        let compute = || Ok::<_, Infallible>(digest(parts));
        match self.config.recalled.digests.or_computed(parts, compute) {
            Ok(digest) => digest,
        }
    }

    fn first(&self, sources: &[Source]) -> Result<Option<SourceValue>, Refusal> {
        for source in sources {
            let found = self.ask(source)?;
            if found.is_some() {
                return Ok(found);
            }
        }
        Ok(None)
    }

    fn ask(&self, source: &Source) -> Result<Option<SourceValue>, Refusal> {
        // What two issuers or two proxies call by one name are two callers.
        let named = |kind: &'static [u8], source: &str, found: Option<String>| {
            found.filter(|text| !text.is_empty()).map(|text| {
                let id = self.digest(&[kind, source.as_bytes(), text.as_bytes()]);
                SourceValue::verified(id, Value::String(Cow::Owned(text)))
            })
        };
        Ok(match source {
            Source::JwtClaim { payload, claim } => {
                let value = self.world.claim(payload, claim);
                let Some(value) = value.and_then(usable) else { return Ok(None) };
                let text = text(&value);
                if text.len() > MAX_NAME_BYTES || !is_exact(&value) {
                    return Err(Refusal::new(Reason::IdentityUnreadable, "a claim of the token"));
                }
                let mut parts = vec![b"claim", payload.as_bytes(), kind(&value), text.as_bytes()];
                parts.extend(claim.iter().map(|part| part.as_bytes()));
                Some(SourceValue::verified(self.digest(&parts), value))
            }
            Source::Header(at) => {
                let value = self.kept(*at).value("one that names the caller")?;
                named(b"header", self.header(*at), value.map(readable).transpose()?)
            }
            Source::Peer(peer) => {
                let field = match peer {
                    Peer::Spiffe => "spiffe",
                    Peer::Subject => "subject",
                    Peer::Digest => "digest",
                };
                let value = self.world.certificate(*peer);
                let value = value.map(|value| readable(&value)).transpose()?;
                let spiffe = |name: &String| *peer != Peer::Spiffe || name.starts_with("spiffe://");
                named(b"peer", field, value.filter(spiffe))
            }
            Source::Credential(at) => self.credential(*at)?,
            Source::SourceIp => {
                let address = self.world.address();
                let address = address.map(|address| readable(&address)).transpose()?;
                // The name is the address, but a client with a network of his own is one caller.
                let network = address.as_deref().map(|address| Network::of(address).own);
                let address = address.map(|address| without_port(&address).to_owned());
                named(b"address", "", address).zip(network).map(|(found, network)| SourceValue {
                    id: self.digest(&[b"address", b"", network.as_bytes()]),
                    class: Class::Address,
                    counted: Some(network),
                    ..found
                })
            }
        })
    }

    /// The digest of a credential in its canonical spelling; where it has none, of its bytes.
    fn credential(&self, at: Option<usize>) -> Result<Option<SourceValue>, Refusal> {
        let (kept, name) = match at {
            None => (self.facts.credential, "authorization"),
            Some(at) => (self.kept(at), "one that is the caller's credential"),
        };
        let Some(value) = kept.value(name)?.filter(|value| !value.is_empty()) else {
            return Ok(None);
        };
        let header = at.map(|at| self.header(at));
        let known = [&b"credential"[..], header.unwrap_or_default().as_bytes(), value];
        let compute = || credential_id(header, value);
        let (id, canonical) = self.config.recalled.credentials.or_computed(&known, compute)?;
        let spelling = if canonical { Spelling::Canonical } else { Spelling::Ambiguous };
        let value = Value::String(Cow::Owned(hexadecimal(id)));
        Ok(Some(SourceValue {
            class: Class::Claimed,
            spelling,
            ..SourceValue::verified(id, value)
        }))
    }

    fn kept(&self, at: usize) -> Single<'_> {
        self.facts.kept.get(at).copied().unwrap_or_default()
    }

    fn header(&self, at: usize) -> &str {
        self.config.headers.get(at).map_or("", |name| name)
    }
}

/// The digest of a credential in its canonical spelling, and whether it has one.
fn credential_id(header: Option<&str>, value: &[u8]) -> Result<(CallerId, bool), Refusal> {
    let spelled = match header {
        Some("cookie") => canonical_cookie(value),
        Some(_) => canonical_key(value)?,
        None => canonical(value)?,
    };
    let is_canonical = spelled.is_some();
    let spelled = spelled.as_deref().unwrap_or(value);
    let id = match header {
        None => digest(&[b"credential", spelled]),
        Some(header) => {
            let word = spelled.strip_prefix(b"bearer ").unwrap_or(spelled);
            digest(&[b"credential of", header.as_bytes(), word])
        }
    };
    Ok((id, is_canonical))
}

/// A claim that can be a name: a text, a number, or a list of texts (in one order, however the token has them).
fn usable(value: Value<'static>) -> Option<Value<'static>> {
    match value {
        Value::String(text) if text.is_empty() => None,
        Value::String(_) | Value::Number(_) | Value::Bool(_) => Some(value),
        // Asked first: the text of a list in a list is twice as long with each level.
        Value::Array(mut items) if !items.is_empty() && items.iter().all(is_text) => {
            items.sort_by(|one, other| one.as_str().cmp(&other.as_str()));
            Some(Value::Array(items))
        }
        Value::Array(_) | Value::Null | Value::Object(_) => None,
    }
}

fn is_text(value: &Value<'_>) -> bool {
    value.as_str().is_some()
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

fn into_text(value: Value<'_>) -> String {
    match value {
        Value::String(text) | Value::Number(text) => text.into_owned(),
        Value::Bool(_) | Value::Array(_) | Value::Null | Value::Object(_) => text(&value),
    }
}

pub(super) fn text(value: &Value<'_>) -> String {
    match value {
        Value::String(text) | Value::Number(text) => text.clone().into_owned(),
        Value::Bool(flag) => flag.to_string(),
        Value::Array(items) => {
            let texts: Vec<&str> = items.iter().filter_map(Value::as_str).collect();
            written(&texts)
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
    let mut text = String::with_capacity(32);
    for half in id.0.to_be_bytes().as_chunks().0 {
        push_hexadecimal(&mut text, u64::from_be_bytes(*half), 16);
    }
    text
}
