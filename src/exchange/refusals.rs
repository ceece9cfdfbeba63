//! Refusals by the strict front door.
//!
//! A body over the bound is refused under the id of its request, which may stand at its end: the Python SDK 1.x, which ends its session at an
//! HTTP error, writes it there. So such a body is skimmed as it comes, and dropped.

use super::{Action, Chunk, Environment, Exchange, State};
use crate::bounds::MAX_BODY_BYTES;
use crate::mcp::Refusal;
use crate::mcp::headers::Framing;
use crate::reason::Reason;
use crate::record::Record;
use crate::reply::Reply;

impl Exchange {
    /// Whether what has come of the body is to be dropped. What was dropped once is never forwarded.
    #[must_use]
    pub fn drops_body(&self) -> bool {
        matches!(&self.state, State::Collecting { sought: Some(_), .. })
    }

    /// Whether the body is longer than what is read.
    pub(super) fn is_oversized(&self, buffered: usize) -> bool {
        let State::Collecting { head, .. } = &self.state else { return false };
        let most = self.config.requests.max_body_bytes;
        buffered > most || head.oversized.is_some() || self.drops_body()
    }

    /// Looks for the id in so many further bytes, and refuses the body once there is nothing more to learn.
    pub(super) fn seek_id<E: Environment>(
        &mut self,
        env: &E,
        length: usize,
        chunk: Chunk,
    ) -> Action {
        let State::Collecting { head, sought, .. } = &mut self.state else { return self.settled() };
        let bytes = if length == 0 { Some(Vec::new()) } else { env.request_body(length) };
        let seeker = sought.get_or_insert_default();
        bytes.iter().for_each(|bytes| seeker.push(bytes));
        let id = seeker.request_id();
        let more = bytes.is_some() && chunk == Chunk::More && !seeker.is_lost();
        if more && id.is_none() && seeker.seen() <= MAX_BODY_BYTES {
            return Action::Pause;
        }
        let most = self.config.requests.max_body_bytes;
        let met = head.oversized.as_ref().map_or_else(String::new, |length| format!("{length}, "));
        let detail = format!("{met}more than requests.max_body_bytes, {most}");
        let framing = head.framing;
        let refusal = Refusal::new(Reason::BodyTooLarge, detail).answering(id.as_deref());
        self.refuse_as(refusal, framing)
    }

    pub(super) fn refuse(&mut self, refusal: Refusal) -> Action {
        self.refuse_as(refusal, Framing::Json)
    }

    pub(super) fn refuse_as(&mut self, refusal: Refusal, framing: Framing) -> Action {
        self.state = State::Answered;
        self.record = Some(Record::refused(&refusal));
        Action::Reply(Reply::refusal(&refusal, framing))
    }
}
