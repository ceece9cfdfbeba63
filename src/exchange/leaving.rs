//! The ways out of the state of waiting: the answer, a tick past the patience, and the end of the stream.

use super::state::{Early, State};
use super::waiting::{Ending, Left, Waiting};
use super::{Exchange, Flow, Step};
use crate::approval::approver::Next;
use crate::ask::{Answer, AskId};
use crate::rate::limiter::Limiter;
use crate::reason::Reason;
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
        let State::Waiting { waiting, .. } = &mut self.state else { return Flow::Pause };
        if !waiting.inquiry.awaits(ask) {
            return Flow::Pause;
        }
        // Where the clock fails, what comes next is looked at with the next tick.
        let now = world.now().unwrap_or(waiting.began);
        match waiting.inquiry.answered(answer, now) {
            Next::Ask(ask) => {
                // From here on somebody looks.
                let asker = waiting.asker.filter(|_| waiting.inquiry.is_new_request());
                let limiter = Limiter::new(world.store(), self.config.counters.shards);
                let moment = world.moment().unwrap_or(now.into());
                if let Some(denial) = asker.and_then(|asker| asker.count(&limiter, moment)) {
                    return self
                        .leave(world, step, |waiting, ending| waiting.refused(denial, ending));
                }
                step.asks.push(ask);
                Flow::Pause
            }
            Next::Rest => {
                if let Some(task) = waiting.inquiry.task() {
                    waiting.noted.think(world.store(), task, waiting.expires, now);
                }
                Flow::Pause
            }
            Next::Approved(by) => {
                self.leave(world, step, |waiting, ending| waiting.approved(by, ending))
            }
            Next::Used => self
                .leave(world, step, |waiting, ending| waiting.ended(Reason::ApprovalUsed, ending)),
            Next::Declined => self.leave(world, step, Waiting::declined),
            Next::Unavailable => self.leave(world, step, |waiting, ending| {
                waiting.ended(Reason::ApproverUnavailable, ending)
            }),
        }
    }

    /// Time has passed while the call waits.
    pub(super) fn tick_waiting<W: World>(&mut self, world: &W, step: &mut Step) -> Flow {
        let State::Waiting { waiting, .. } = &mut self.state else { return Flow::Pause };
        let now = world.now();
        if waiting.is_overdue(now) {
            return self.leave(world, step, Waiting::given_up);
        }
        step.asks.extend(now.and_then(|now| waiting.inquiry.tick(now)));
        Flow::Pause
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
        end: impl FnOnce(Waiting, &Ending<'_, W>) -> Left,
    ) -> Flow {
        let Some((waiting, early)) = self.take_waiting() else { return Flow::Pause };
        let context = Context { policy: self.policy(), form: self.config.denials };
        match end(*waiting, &Ending { config: &self.config, world, context }) {
            Left::Forwarded(expected, record) => {
                step.records.push(record);
                self.forward(world, expected, early, step)
            }
            Left::Answered(reply, record) => {
                step.records.push(record);
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
