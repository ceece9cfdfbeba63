//! A call that waits for an answer from outside. It is left by that answer, by a tick past its patience, or by the end of its
//! stream; each way consumes it, so that what was counted for it is kept or given back exactly once.

use super::expected::{Expected, Lists};
use super::state::{Early, State};
use super::{Exchange, Flow, Step};
use crate::approval::approves;
use crate::ask::{Answer, AskId};
use crate::enforce::Pending;
use crate::rate::limiter::Limiter;
use crate::rate::store::SharedStore;
use crate::record::Record;
use crate::reply::{Addressee, Context, Reply};
use crate::time::UnixMillis;
use crate::world::World;

/// A call that waits.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) pending: Pending,
    pub(super) ask: AskId,
    /// When it has begun to wait, and until when it does.
    pub(super) began: UnixMillis,
    pub(super) until: UnixMillis,
    pub(super) to: Addressee,
    /// What goes on record, whichever way it goes.
    pub(super) allowed: Record,
    pub(super) denied: Record,
    pub(super) lists: Lists,
    /// Whether something verified the caller.
    pub(super) proven: bool,
}

/// How a wait ends.
pub(super) enum Left {
    Forwarded(Expected, Record),
    Answered(Reply, Record),
}

impl Waiting {
    /// Whether this is the question whose answer it waits for.
    pub(super) fn awaits(&self, ask: AskId) -> bool {
        self.ask == ask
    }

    /// Whether it has waited long enough. A clock that fails or has gone back tells nothing, so nothing is waited for by it.
    pub(super) fn is_overdue(&self, now: Option<UnixMillis>) -> bool {
        now.is_none_or(|now| now >= self.until || now < self.began)
    }

    /// The answer has come.
    pub(super) fn answered<S: SharedStore>(
        self,
        answer: &Answer<'_>,
        limiter: &Limiter<'_, S>,
        context: &Context<'_>,
    ) -> Left {
        if !approves(answer) {
            return self.given_up(limiter, context);
        }
        let permit = self.pending.settle();
        let expected = Expected::of(self.to.id(), permit, self.proven, self.lists);
        Left::Forwarded(expected, self.allowed)
    }

    /// Nothing comes that would approve.
    pub(super) fn given_up<S: SharedStore>(
        self,
        limiter: &Limiter<'_, S>,
        context: &Context<'_>,
    ) -> Left {
        let denial = self.pending.abandon(limiter);
        Left::Answered(Reply::denial(&self.to, &denial, context), self.denied)
    }
}

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
