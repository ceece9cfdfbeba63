//! Whom an answer is for. It is owned, so that a call that waits can still be answered when its body is gone.

use super::echoed;
use crate::bounds::MAX_ECHO_BYTES;
use crate::mcp::call::Kind;
use crate::mcp::headers::{Framing, Head};
use crate::mcp::message::Request;

/// Whom an answer is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Addressee {
    /// The request's id, byte for byte; none of a notification, which nobody waits for.
    pub(super) id: Option<String>,
    /// Whether its revision tells results apart by their type.
    pub(super) modern: bool,
    /// How the client reads answers.
    pub(super) framing: Framing,
    /// `X-Request-Id`, where it is short enough to repeat.
    pub(super) request_id: Option<String>,
    method: String,
    /// What it calls, and then what it refers to.
    named: Vec<(Kind, String)>,
    calls: Option<Kind>,
}

impl Addressee {
    /// Who sent this request.
    #[must_use]
    pub fn of(request: &Request<'_>, head: &Head) -> Addressee {
        let called = request.call.iter().map(|call| (call.kind, echoed(call.name)));
        let referred = request.references();
        let referred = referred.iter().map(|call| (call.kind, echoed(call.name)));
        let request_id = head.request_id.as_deref().and_then(|id| std::str::from_utf8(id).ok());
        Addressee {
            id: request.id.map(str::to_owned),
            modern: request.version.is_some() || head.is_modern(),
            framing: head.framing,
            request_id: request_id.filter(|id| id.len() <= MAX_ECHO_BYTES).map(str::to_owned),
            method: echoed(request.method),
            named: called.chain(referred).collect(),
            calls: request.call.as_ref().map(|call| call.kind),
        }
    }

    /// The request's id.
    #[must_use]
    pub fn id(&self) -> Option<&str> {
        self.id.as_deref()
    }

    /// Whether its revision knows results that ask for input.
    #[must_use]
    pub fn is_modern(&self) -> bool {
        self.modern
    }

    /// `X-Request-Id`, where it is short enough to repeat.
    #[must_use]
    pub fn request_id(&self) -> Option<&str> {
        self.request_id.as_deref()
    }

    /// How the client reads answers.
    #[must_use]
    pub fn framing(&self) -> Framing {
        self.framing
    }

    /// What a denial of this kind is about.
    pub(super) fn name(&self, kind: Kind) -> &str {
        let named = self.named.iter().find(|(known, _)| *known == kind);
        named.map_or(&self.method, |(_, name)| name)
    }

    pub(super) fn calls_tool(&self) -> bool {
        self.calls == Some(Kind::Tool)
    }
}
