//! What the judgement of a body comes to, and a call on its way there.

use super::expected::Lists;
use super::going::Going;
use super::waiting::Waiting;
use crate::ask::Ask;
use crate::enforce::Pending;
use crate::mcp::message::Request;
use crate::record::Record;
use crate::reply::Reply;

/// What the judgement of a body comes to.
pub(super) enum Judged {
    /// It goes on, once it is counted.
    Forward(Box<Going>),
    /// It is answered here.
    Answer(Reply, Vec<Record>),
    /// It waits for an answer from outside; with this body, where that is another than the one that came.
    Wait(Box<Waiting>, Ask, Option<Vec<u8>>),
}

/// A call that needs approval, with all that is known of it.
pub(super) struct Matter<'m> {
    pub(super) request: &'m Request<'m>,
    pub(super) body: &'m [u8],
    pub(super) pending: Pending,
    pub(super) lists: Lists,
    pub(super) denied: Record,
}

impl Matter<'_> {
    /// The name of what is called, whole: what is approved must be what runs.
    pub(super) fn name(&self) -> &str {
        let kind = self.pending.denial().kind;
        let called = self.request.call.as_ref().filter(|call| call.kind == kind);
        called.map_or(self.request.method, |call| call.name)
    }
}
