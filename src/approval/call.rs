//! What an approval is for: one call, by what it does, however it is written.

use sha2::{Digest as _, Sha256};

use crate::digest::named_digest;
use crate::json::{Member, Object, Value, canonical, canonical_members};
use crate::mcp::message::Request;
use crate::policy::compiled::Policy;

/// Members of `params` that are no part of what a call does. The server gets none of the latter two with a call that is approved.
const OUTSIDE: [&str; 3] = ["_meta", RESPONSES, STATE];

/// The member in which a client answers what a result asked (MCP 2026-07-28, multi-round-trip requests).
pub const RESPONSES: &str = "inputResponses";

/// The member in which a client carries a server's state back to it.
pub const STATE: &str = "requestState";

/// Where a request is sent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Site {
    /// `:authority`.
    pub host: Vec<u8>,
    /// `:path`.
    pub path: Vec<u8>,
}

impl Site {
    /// As text, for the approver.
    #[must_use]
    pub fn text(&self) -> String {
        let text = [&*self.host, &*self.path].concat();
        String::from_utf8_lossy(&text).into_owned()
    }
}

/// The digest of a call: of all that decides what it does, and of the policy that asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CallDigest(pub [u8; 32]);

/// A call that somebody is asked about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BoundCall {
    /// Its digest.
    pub digest: CallDigest,
    /// Its arguments, in their canonical text; of a call that has none `{}`.
    pub arguments: String,
}

impl BoundCall {
    /// Binds a request under a policy. `None` where a number in it stands for several: what a person sees might not be what runs.
    #[must_use]
    pub fn of(request: &Request<'_>, policy: &Policy, site: &Site) -> Option<BoundCall> {
        let params = request.params.and_then(Value::as_object);
        let members = params.map(|Object(members)| &**members).unwrap_or_default();
        let inside = |member: &&Member<'_>| !OUTSIDE.contains(&&*member.key);
        let bound = canonical_members(members.iter().filter(inside));
        let arguments = match params.and_then(|params| params.get("arguments")) {
            Some(arguments) => canonical(arguments).text,
            None => canonical_members(std::iter::empty()).text,
        };
        let mut hash = Sha256::new();
        let parts: [&[u8]; 7] = [
            b"mcp-policy call 1",
            policy.name.as_bytes(),
            &policy.digest,
            request.method.as_bytes(),
            bound.text.as_bytes(),
            &site.host,
            &site.path,
        ];
        for part in parts {
            hash.update((part.len() as u64).to_le_bytes());
            hash.update(part);
        }
        bound.is_exact.then(|| BoundCall { digest: CallDigest(hash.finalize().into()), arguments })
    }

    /// The digest of the arguments, as approvers and tokens name it.
    #[must_use]
    pub fn arguments_digest(&self) -> String {
        named_digest(&Sha256::digest(&self.arguments))
    }
}
