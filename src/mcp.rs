//! The protocol: JSON-RPC messages, the HTTP headers that mirror them, and what a response says of success.
//!
//! Everything here reads and judges form; nothing here knows a policy.

pub mod call;
pub mod carried;
pub mod definition;
pub mod headers;
pub mod message;
pub mod outcome;
pub mod percent;
pub mod skim;
pub mod sse;
pub mod unread;
pub mod uri;

use std::borrow::Cow;

use crate::reason::Reason;

/// The method that calls a tool.
pub const TOOLS_CALL: &str = "tools/call";

/// A request that is refused before any policy is asked: it is malformed, or two readers could take it for two requests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Why.
    pub reason: Reason,
    /// What exactly, such as the name of a header; empty where the reason says it all.
    pub detail: Cow<'static, str>,
    /// The bytes of the request's id, where one can be read without guessing.
    pub id: Option<String>,
}

impl Refusal {
    /// A refusal before any id could be read.
    #[must_use]
    pub fn new(reason: Reason, detail: impl Into<Cow<'static, str>>) -> Refusal {
        Refusal { reason, detail: detail.into(), id: None }
    }

    /// The same refusal, answering the request with this id.
    #[must_use]
    pub fn answering(self, id: Option<&str>) -> Refusal {
        Refusal { id: id.map(str::to_owned), ..self }
    }
}
