//! Where an exchange is.

use super::counting::Counting;
use super::expected::Expected;
use super::response::Response;
use super::waiting::Waiting;
use crate::approval::call::Site;
use crate::identity::Caller;
use crate::mcp::headers::{Framing, Head};
use crate::mcp::unread::Seeker;

/// Where an exchange is.
#[derive(Debug)]
pub(super) enum State {
    /// Nothing was seen.
    Fresh,
    /// Nothing is left to judge.
    Passing,
    /// The body is being collected; this much of it is buffered.
    Collecting {
        head: Box<Head>,
        /// Where it goes, where an approval has to be bound to that.
        site: Option<Box<Site>>,
        caller: Box<Caller>,
        buffered: usize,
        early: Early,
        /// The id that is looked for, where the body is too long to be read.
        sought: Option<Box<Seeker>>,
    },
    /// The call waits for an answer from outside.
    Waiting { waiting: WaitsFor, early: Early },
    /// Forwarded; the response is needed for this.
    Forwarded(Expected),
    /// The response is on its way through.
    Responding(Box<Response>),
    /// Answered here, or over.
    Answered,
}

/// What a call waits for.
#[derive(Debug)]
pub(super) enum WaitsFor {
    /// An approver.
    Approval(Box<Waiting>),
    /// The rate limit service.
    Count(Box<Counting>),
}

impl WaitsFor {
    /// Whether something verified the caller.
    pub(super) fn is_proven(&self) -> bool {
        match self {
            WaitsFor::Approval(waiting) => waiting.proven,
            WaitsFor::Count(counting) => counting.is_proven(),
        }
    }

    /// How the client wants to be answered.
    pub(super) fn framing(&self) -> Framing {
        match self {
            WaitsFor::Approval(waiting) => waiting.to.framing(),
            WaitsFor::Count(counting) => counting.framing(),
        }
    }
}

/// A response that comes before its request is settled: a server need not wait for the body.
#[derive(Debug, Default)]
pub(super) struct Early {
    /// What becomes of it, once it is on its way.
    pub(super) state: Option<Box<State>>,
    /// Whether it refuses the caller.
    pub(super) refused: bool,
}

impl State {
    /// The response that is on its way, perhaps before the request is judged.
    pub(super) fn response(&mut self) -> Option<&mut Response> {
        match self {
            State::Responding(response) => Some(response),
            State::Collecting { early, .. } | State::Waiting { early, .. } => {
                early.state.as_mut().and_then(|state| state.response())
            }
            State::Fresh | State::Passing | State::Forwarded(_) | State::Answered => None,
        }
    }
}
