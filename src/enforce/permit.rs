//! The right to forward a call, and what becomes of its counts when it is not forwarded.
//!
//! A count that was made for a call is kept when the call is forwarded, and given back when it is not. Which of the two is the
//! last thing that happens to a [`Permit`] or a [`Pending`]; where neither happens, a debug build says so.

use super::due::DueCharge;
use super::fill::Fill;
use crate::decision::Owed;
use crate::denial::Denial;
use crate::policy::approvals::Need;
use crate::policy::entry::Refund;
use crate::rate::limiter::{Granted, Limiter, Reservation};
use crate::rate::store::SharedStore;
use crate::rls::ServiceCharge;

/// The right to forward one call, with what was counted for it. Only [`super::Enforcer::enforce`] and [`Pending::settle`] make one.
#[derive(Debug)]
#[must_use]
pub struct Permit {
    counted: OpenCount,
    refundable: OpenCount,
    in_flight: OpenCount,
    fills: Vec<Fill>,
    /// What is still to be counted in the rate limit service, before the call goes on.
    service: Vec<ServiceCharge>,
}

/// What was counted for a call whose fate is open.
#[derive(Debug, Default)]
struct OpenCount(Vec<Reservation>);

impl OpenCount {
    fn take(&mut self) -> Vec<Reservation> {
        std::mem::take(&mut self.0)
    }
}

impl Drop for OpenCount {
    fn drop(&mut self) {
        debug_assert!(
            self.0.is_empty() || std::thread::panicking(),
            "a count was neither kept nor given back"
        );
    }
}

impl Permit {
    /// The right to forward a call for which nothing was counted.
    pub(super) fn uncounted() -> Permit {
        Permit {
            counted: OpenCount::default(),
            refundable: OpenCount::default(),
            in_flight: OpenCount::default(),
            fills: Vec::new(),
            service: Vec::new(),
        }
    }

    /// The right to forward a call for which this was counted.
    pub(super) fn of(granted: Granted, dues: &[DueCharge<'_>]) -> Permit {
        let mut permit = Permit::uncounted();
        for (at, reservation) in granted.reservations {
            permit.fills.extend(dues.get(at).and_then(|due| due.fill(&reservation)));
            match dues.get(at).map(|due| due.refund) {
                Some(Refund::OnError) => permit.refundable.0.push(reservation),
                Some(Refund::AtEnd) => permit.in_flight.0.push(reservation),
                Some(Refund::Never) | None => permit.counted.0.push(reservation),
            }
        }
        permit
    }

    /// How full the limits are that the call was counted on.
    #[must_use]
    pub fn fills(&self) -> &[Fill] {
        &self.fills
    }

    /// The same, with what is still to be counted elsewhere.
    pub(super) fn owing(self, service: Vec<ServiceCharge>) -> Permit {
        Permit { service, ..self }
    }

    /// Whether something is still to be counted in the rate limit service.
    #[must_use]
    pub fn owes_service(&self) -> bool {
        !self.service.is_empty()
    }

    /// What is still to be counted in the rate limit service. Whoever takes it sees to it.
    pub fn take_service(&mut self) -> Vec<ServiceCharge> {
        std::mem::take(&mut self.service)
    }

    /// Takes back everything: the call is not forwarded after all.
    pub fn revoke<S: SharedStore>(mut self, limiter: &Limiter<'_, S>) {
        limiter.give_back(&self.counted.take());
        limiter.give_back(&self.refundable.take());
        limiter.give_back(&self.in_flight.take());
    }

    /// Forwards the call: what was counted stays.
    #[must_use]
    pub fn forward(mut self) -> Forwarded {
        debug_assert!(self.service.is_empty(), "the rate limit service was not asked");
        Forwarded {
            counted: self.counted.take(),
            refundable: self.refundable.take(),
            in_flight: self.in_flight.take(),
        }
    }
}

/// What was counted for a call that is forwarded.
#[derive(Debug)]
pub struct Forwarded {
    /// What only a server gives back that refuses a caller whom nothing verified.
    pub counted: Vec<Reservation>,
    /// What is to be given back if the server answers with an error.
    pub refundable: Vec<Reservation>,
    /// What is given back when the stream ends, however it does.
    pub in_flight: Vec<Reservation>,
}

/// A call that waits for something from outside, with what was counted for it.
#[derive(Debug)]
#[must_use]
pub struct Pending {
    held: Permit,
    owed: Owed,
    would_deny: Option<Denial>,
}

impl Pending {
    pub(super) fn new(held: Permit, owed: Owed, would_deny: Option<Denial>) -> Pending {
        Pending { held, owed, would_deny }
    }

    /// The denial that stands as long as what is owed has not come.
    #[must_use]
    pub fn denial(&self) -> &Denial {
        &self.owed.denial
    }

    /// How full the limits are that the call was counted on.
    #[must_use]
    pub fn fills(&self) -> &[Fill] {
        self.held.fills()
    }

    /// What approval is enough.
    #[must_use]
    pub fn need(&self) -> Need {
        self.owed.need
    }

    /// What a rule in shadow would have said.
    #[must_use]
    pub fn would_deny(&self) -> Option<&Denial> {
        self.would_deny.as_ref()
    }

    /// What is owed has come: the call may be forwarded.
    pub fn settle(self) -> Permit {
        self.held
    }

    /// It does not come, or nobody waits for it any more: nothing stays counted.
    #[must_use]
    pub fn abandon<S: SharedStore>(self, limiter: &Limiter<'_, S>) -> Denial {
        self.held.revoke(limiter);
        self.owed.denial
    }
}
