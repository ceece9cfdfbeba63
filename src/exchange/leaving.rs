//! The ways out of the state of waiting: the answer, a tick past the patience, and the end of the stream.

use super::state::{Early, State};
use super::waiting::{Left, Waiting};
use super::{Exchange, Flow, Step};
use crate::ask::{Answer, AskId};
use crate::rate::limiter::Limiter;
use crate::reply::Context;
use crate::world::World;

impl Exchange {
    /// An answer has come. One that nobody waits for changes nothing.
    #[inline(never)]
    pub(super) fn answered<W: World>(
        &mut self,
        world: &W,
        ask: AskId,
        answer: &Answer<'_>,
        step: &mut Step,
    ) -> Flow {
        match &self.state {
            State::Waiting { waiting, .. } if waiting.awaits(ask) => {
                self.leave(world, step, |waiting, limiter, context| {
                    waiting.answered(answer, limiter, context)
                })
            }
            State::Waiting { .. }
            | State::Fresh
            | State::Passing
            | State::Collecting { .. }
            | State::Forwarded(_)
            | State::Responding(_)
            | State::Answered => Flow::Pause,
        }
    }

    /// The call has waited long enough.
    pub(super) fn give_up_waiting<W: World>(&mut self, world: &W, step: &mut Step) -> Flow {
        self.leave(world, step, Waiting::given_up)
    }

    /// Nobody waits any more, if somebody did.
    pub(super) fn stop_waiting<W: World>(&mut self, world: &W) {
        if let Some((waiting, _)) = self.take_waiting() {
            let limiter = Limiter::new(world.store(), self.config.counters.shards);
            let _ = waiting.pending.abandon(&limiter);
        }
    }

    fn leave<W: World>(
        &mut self,
        world: &W,
        step: &mut Step,
        end: impl FnOnce(Waiting, &Limiter<'_, W::Store>, &Context<'_>) -> Left,
    ) -> Flow {
        let Some((waiting, early)) = self.take_waiting() else { return Flow::Pause };
        let limiter = Limiter::new(world.store(), self.config.counters.shards);
        let context = Context { policy: self.policy(), form: self.config.denials };
        match end(*waiting, &limiter, &context) {
            Left::Forwarded(expected, record) => {
                step.record = Some(record);
                self.forward(world, expected, early, step)
            }
            Left::Answered(reply, record) => {
                step.record = Some(record);
                Flow::Reply(reply)
            }
        }
    }

    /// Leaves the state of waiting; until something else is said, the request goes nowhere.
    fn take_waiting(&mut self) -> Option<(Box<Waiting>, Early)> {
        if !matches!(self.state, State::Waiting { .. }) {
            return None;
        }
        match std::mem::replace(&mut self.state, State::Answered) {
            State::Waiting { waiting, early } => Some((waiting, early)),
            State::Fresh
            | State::Passing
            | State::Collecting { .. }
            | State::Forwarded(_)
            | State::Responding(_)
            | State::Answered => None,
        }
    }
}
