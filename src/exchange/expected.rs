//! What is needed of the response to a request that is forwarded.

use super::chain::Chain;
use crate::enforce::{Forwarded, Permit};
use crate::mcp::headers::Framing;
use crate::once::UseId;
use crate::rate::limiter::Reservation;

/// Counts that are given back if the server answers a call with an error, by the call's id.
pub(super) type Refunds = Vec<(String, Vec<Reservation>)>;

/// What the response is needed for.
#[derive(Debug, Default)]
pub(super) struct Expected {
    pub(super) refunds: Refunds,
    /// All that was counted for a caller whom nothing verified. Where the server itself refuses him it is given back: else invented
    /// credentials would use up what others have.
    pub(super) unproven: Vec<Reservation>,
    /// What is given back when the stream ends: the exchange takes it.
    pub(super) in_flight: Vec<Reservation>,
    pub(super) lists: Lists,
    /// The approval that was used for the call: it can be used again if the call never left the gateway.
    pub(super) used: Option<UseId>,
    /// What the server's own state is sealed with, if it asks for input.
    pub(super) chain: Option<Box<Chain>>,
}

/// The lists that a response may hold.
#[derive(Debug, Default)]
pub(super) enum Lists {
    /// None that is filtered.
    #[default]
    None,
    /// A POST.
    To(Asked),
    /// A GET: a stream can bring answers to any request (MCP 2024-11-05; resumed streams since 2025-03-26).
    Any,
}

/// What a POST asked for, for an answer in the place of one that cannot be read.
#[derive(Debug)]
pub(super) struct Asked {
    /// Whether it asked for a list that is filtered.
    pub(super) lists: bool,
    /// The ids' own bytes: of the requests for such lists, or else of all requests.
    pub(super) ids: Vec<String>,
    /// Whether the requests came as a batch.
    pub(super) batch: bool,
    /// How the client wants to be answered.
    pub(super) framing: Framing,
}

impl Expected {
    /// What is needed of a response that comes before anybody knows what was asked.
    pub(super) fn early(framing: Framing, filters: bool) -> Expected {
        let asked = Asked { lists: false, ids: Vec::new(), batch: false, framing };
        let lists = if filters { Lists::To(asked) } else { Lists::None };
        Expected { lists, ..Expected::default() }
    }

    /// What is needed of the response to one call more; `proven` says that something verified its caller.
    pub(super) fn add(&mut self, id: Option<&str>, permit: Permit, proven: bool) {
        let Forwarded { counted, refundable, in_flight } = permit.forward();
        self.in_flight.extend(in_flight);
        if !proven {
            self.unproven.extend(counted.iter().chain(&refundable).cloned());
        }
        if let Some(id) = id.filter(|_| !refundable.is_empty()) {
            self.refunds.push((id.to_owned(), refundable));
        }
    }

    pub(super) fn has_lists(&self) -> bool {
        !matches!(self.lists, Lists::None)
    }

    /// Whether the head of the response is enough.
    pub(super) fn needs_no_body(&self) -> bool {
        self.refunds.is_empty() && !self.has_lists() && self.chain.is_none()
    }

    pub(super) fn is_nothing(&self) -> bool {
        self.needs_no_body() && self.unproven.is_empty() && self.used.is_none()
    }
}
