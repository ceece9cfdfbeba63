//! Approvals that were given beforehand: a token that Envoy's `jwt_authn` has verified, with `authorization_details` (RFC 9396).

use sha2::{Digest as _, Sha256};

use super::call::BoundCall;
use crate::json::{Object, Value};
use crate::mcp::message::Request;
use crate::once::{Use, UseId};
use crate::policy::approvals::TokenSource;
use crate::policy::compiled::Policy;
use crate::time::UnixMillis;

/// The type of a detail that approves a call.
const TYPE: &str = "mcp_tool_call";

/// Most uses that one detail can give.
const MAX_USES: u32 = 100;

/// What a token gives for a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Given {
    /// It approves the call, if it has a use left. The text is its `jti`.
    Approves(Use, String),
    /// It does not, for this reason. Nothing of it is used up.
    Mismatch(&'static str),
}

/// What a token is held against.
#[derive(Clone, Copy, Debug)]
pub struct Held<'h> {
    /// Where tokens come from.
    pub source: &'h TokenSource,
    /// The policy.
    pub policy: &'h Policy,
    /// The name of the caller, if something verified it.
    pub caller: Option<&'h str>,
    /// The request.
    pub request: &'h Request<'h>,
    /// What is called.
    pub name: &'h str,
    /// The call.
    pub call: &'h BoundCall,
    /// When.
    pub now: UnixMillis,
}

impl Held<'_> {
    /// Whether a verified payload approves the call.
    #[must_use]
    pub fn against(&self, payload: &Value<'_>) -> Given {
        let Some(payload) = payload.as_object() else { return Given::Mismatch("type") };
        let text = |key| payload.get(key).and_then(Value::as_str);
        if self.caller.is_none() || text("sub") != self.caller {
            return Given::Mismatch("caller");
        }
        let now = self.now.seconds();
        let until = whole(payload.get("exp"));
        let Some(expires) = until.filter(|until| *until > now) else {
            return Given::Mismatch("expired");
        };
        if expires - now > u64::from(self.source.longest) {
            return Given::Mismatch("too_long");
        }
        let Some(jti) = text("jti").filter(|jti| !jti.is_empty()) else {
            return Given::Mismatch("jti");
        };
        let Some(Value::Array(details)) = payload.get("authorization_details") else {
            return Given::Mismatch("type");
        };
        let mut mismatch = "type";
        for (at, detail) in details.iter().enumerate() {
            let Some(detail) = detail.as_object() else { continue };
            match self.detail(detail) {
                Ok(most) => {
                    let id = use_id(text("iss").unwrap_or_default(), jti, at);
                    return Given::Approves(Use { id, most, expires }, jti.to_owned());
                }
                // What a detail for this very tool lacks tells more than that another is for another.
                Err(found) if mismatch == "type" || found != "tool" => mismatch = found,
                Err(_) => {}
            }
        }
        Given::Mismatch(mismatch)
    }

    /// How often a detail approves this call.
    fn detail(&self, detail: &Object<'_>) -> Result<u32, &'static str> {
        let text = |key| detail.get(key).and_then(Value::as_str);
        if text("type") != Some(TYPE) {
            return Err("type");
        }
        let Some(Value::Array(actions)) = detail.get("actions") else { return Err("tool") };
        let named = actions.iter().any(|action| action.as_str() == Some(self.request.method));
        if !named || text("identifier") != Some(self.name) {
            return Err("tool");
        }
        if text("policy") != Some(&*self.policy.name) {
            return Err("policy");
        }
        let digest = &*self.policy.named_digest;
        match detail.get("policy_digest") {
            None if !self.source.pins_policy => {}
            stated if stated.and_then(Value::as_str) == Some(digest) => {}
            Some(_) | None => return Err("policy"),
        }
        if text("arguments_digest") != Some(&*self.call.arguments_digest()) {
            return Err("arguments");
        }
        match detail.get("uses") {
            None => Ok(1),
            uses => match whole(uses).and_then(|uses| u32::try_from(uses).ok()) {
                Some(uses @ 1..=MAX_USES) => Ok(uses),
                Some(_) | None => Err("uses"),
            },
        }
    }
}

/// A whole number. Envoy hands numbers over as doubles.
fn whole(value: Option<&Value<'_>>) -> Option<u64> {
    if let Some(Value::Number(text)) = value { text.parse().ok() } else { None }
}

/// By which a detail of a token is used.
fn use_id(issuer: &str, jti: &str, at: usize) -> UseId {
    let mut hash = Sha256::new();
    for part in ["mcp-policy token 1", issuer, jti] {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part);
    }
    hash.update((at as u64).to_le_bytes());
    UseId(hash.finalize().first_chunk().copied().unwrap_or_default())
}
