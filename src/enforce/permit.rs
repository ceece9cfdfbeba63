//! The right to forward a call.

use super::due::Due;
use crate::policy::compiled::Refund;
use crate::rate::limiter::{Granted, Limiter, Reservation};
use crate::rate::store::SharedStore;

/// The right to forward one call, with what was counted for it. Only [`super::Enforcer::enforce`] makes one.
#[derive(Debug)]
pub struct Permit {
    counted: Vec<Reservation>,
    refundable: Vec<Reservation>,
}

impl Permit {
    /// The right to forward a call for which nothing was counted.
    pub(super) fn uncounted() -> Permit {
        Permit { counted: Vec::new(), refundable: Vec::new() }
    }

    /// The right to forward a call for which this was counted.
    pub(super) fn of(granted: Granted, dues: &[Due<'_>]) -> Permit {
        let mut permit = Permit::uncounted();
        for (at, reservation) in granted.reservations {
            match dues.get(at).map(|due| due.refund) {
                Some(Refund::OnError) => permit.refundable.push(reservation),
                Some(Refund::Never) | None => permit.counted.push(reservation),
            }
        }
        permit
    }

    /// Takes back everything: the call is not forwarded after all.
    pub fn revoke<S: SharedStore>(self, limiter: &Limiter<'_, S>) {
        limiter.give_back(self.counted());
    }

    /// Everything that was counted: given back where the server refuses a caller whom nothing verified.
    pub fn counted(&self) -> impl Iterator<Item = &Reservation> {
        self.counted.iter().chain(&self.refundable)
    }

    /// What is to be given back if the server answers with an error.
    #[must_use]
    pub fn into_refundable(self) -> Vec<Reservation> {
        self.refundable
    }
}
