//! Calls in flight: what a `concurrent` limit counts, from their going on to the end of their stream, however it ends.
//!
//! Envoy tells of the end of every stream, so a place is given back once and never forgotten. Where it cannot tell, as the VM has ended, nobody
//! counts the call anew when its window is over, and the place is free after the next one (`bounds::IN_FLIGHT_SECONDS`).

use super::state::State;
use super::{Exchange, Flow, refunds};
use crate::rate::limiter::{Limiter, Reservation};
use crate::world::World;

/// How often a call in flight is seen, in milliseconds: several times in a window.
pub const PULSE_MILLIS: u32 = 60_000;

impl Exchange {
    /// Calls go on that are counted while they are in flight.
    pub(super) fn depart<W: World>(&mut self, world: &W, places: Vec<Reservation>) {
        if !places.is_empty() {
            self.in_flight.extend(places);
            // They may have waited for long.
            self.stay(world);
        }
    }

    /// Counts anew what is still in flight. Where the clock fails, the next pulse does.
    pub(super) fn stay<W: World>(&mut self, world: &W) {
        if self.in_flight.is_empty() {
            return;
        }
        let Some(now) = world.moment() else { return };
        let limiter = Limiter::new(world.store(), self.config.counters.shards);
        for place in &mut self.in_flight {
            if place.is_due(now) {
                limiter.renew(place, now);
            }
        }
    }

    /// The end, for whatever reason. What was held of a response is let go of with its state.
    #[inline(never)]
    pub(super) fn close<W: World>(&mut self, world: &W) -> Flow {
        self.hold.forget();
        self.stop_waiting(world);
        if let State::Forwarded(expected) = &self.state {
            refunds::of_sent_on(&self.config, world, expected);
        }
        self.state = State::Answered;
        let places = std::mem::take(&mut self.in_flight);
        Limiter::new(world.store(), self.config.counters.shards).give_back(&places);
        Flow::Pause
    }
}
