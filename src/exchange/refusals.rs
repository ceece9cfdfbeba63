//! Refusals by the strict front door: the checks that a request must pass before any policy is asked.
//!
//! A body over the bound is refused under the id of its request, which may stand at its end: the Python SDK 1.x, which ends its session at an
//! HTTP error, writes it there. So such a body is skimmed as it comes, and dropped.

use super::state::State;
use super::{Chunk, Exchange, Flow, Step};
use crate::bounds::MAX_BODY_BYTES;
use crate::mcp::Refusal;
use crate::mcp::headers::Framing;
use crate::reason::Reason;
use crate::record::Record;
use crate::reply::Reply;
use crate::world::World;

/// What the operator reads where other bytes of a response were to pass than the host lets pass.
const UNCHANGED: &str = "mcp_policy: a response could not be changed, and is withheld";

impl Exchange {
    /// The host did not do what it was asked: the request is refused, unless its answer has begun.
    #[inline(never)]
    pub(super) fn host_failed<W: World>(&mut self, world: &W, step: &mut Step) -> Flow {
        if self.speaking {
            // The bytes stay where they are: they were not to pass.
            step.complain(UNCHANGED);
            return Flow::Pause;
        }
        match &self.state {
            // A response that has begun cannot be answered instead.
            State::Passing | State::Responding(_) => Flow::Continue,
            State::Collecting { early, .. } | State::Waiting { early, .. }
                if early.state.is_some() =>
            {
                Flow::Continue
            }
            State::Fresh
            | State::Collecting { .. }
            | State::Waiting { .. }
            | State::Forwarded(_)
            | State::Answered => {
                self.stop_waiting(world);
                self.refuse(Refusal::new(Reason::HostFailure, ""), step)
            }
        }
    }

    /// Whether the body is longer than what is read. What was dropped of it once is never forwarded.
    pub(super) fn is_oversized(&self, buffered: usize) -> bool {
        let State::Collecting { head, sought, .. } = &self.state else { return false };
        let most = self.config.requests.max_body_bytes;
        buffered > most || head.oversized.is_some() || sought.is_some()
    }

    /// Looks for the id in so many further bytes, and refuses the body once there is nothing more to learn.
    pub(super) fn seek_id<W: World>(
        &mut self,
        world: &W,
        length: usize,
        chunk: Chunk,
        step: &mut Step,
    ) -> Flow {
        let State::Collecting { head, sought, .. } = &mut self.state else { return self.settled() };
        let bytes = if length == 0 { Some(Vec::new()) } else { world.request_body(length) };
        let seeker = sought.get_or_insert_default();
        bytes.iter().for_each(|bytes| seeker.push(bytes));
        let more = bytes.is_some() && chunk == Chunk::More && !seeker.is_lost();
        if more && seeker.request_id().is_none() && seeker.seen() <= MAX_BODY_BYTES {
            // What was looked at goes: it would be looked at again, and Envoy would refuse it by a bound of its own.
            step.body = Some(Vec::new());
            return Flow::Pause;
        }
        let most = self.config.requests.max_body_bytes;
        let met = head.oversized.as_ref().map_or_else(String::new, |length| format!("{length}, "));
        let detail = format!("{met}more than requests.max_body_bytes, {most}");
        let framing = head.framing;
        let id = std::mem::take(&mut **seeker).into_request_id();
        let refusal = Refusal::new(Reason::BodyTooLarge, detail).answering(id.as_deref());
        self.refuse_as(refusal, framing, step)
    }

    pub(super) fn refuse(&mut self, refusal: Refusal, step: &mut Step) -> Flow {
        self.refuse_as(refusal, Framing::Json, step)
    }

    pub(super) fn refuse_as(
        &mut self,
        refusal: Refusal,
        framing: Framing,
        step: &mut Step,
    ) -> Flow {
        self.hold.forget();
        self.state = State::Answered;
        step.records.push(Record::refused(&refusal, self.policy));
        Flow::Reply(Reply::refusal(&refusal, framing))
    }
}
