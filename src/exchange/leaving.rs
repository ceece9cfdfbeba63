//! The ways out of the state of waiting: the answer, a tick past the patience, and the end of the stream.

use super::counting::{Begun, CountedEnd, Counting};
use super::ending::Ending;
use super::going::Going;
use super::state::{Early, State, WaitsFor};
use super::waiting::{Left, Waiting};
use super::{Exchange, Flow, Step};
use crate::approval::approver::Next;
use crate::ask::{Answer, AskId};
use crate::metrics::{Sample, Series, ServiceOutcome};
use crate::rate::limiter::Limiter;
use crate::reason::Reason;
use crate::reply::Context;
use crate::time::Moment;
use crate::world::World;

impl Exchange {
    /// What to do with more of a request that is already settled: an answered one goes nowhere.
    pub(super) fn settled(&self) -> Flow {
        match self.state {
            State::Answered | State::Fresh | State::Collecting { .. } | State::Waiting { .. } => {
                Flow::Pause
            }
            State::Passing | State::Forwarded(_) | State::Responding(_) => Flow::Continue,
        }
    }

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
        let waiting = match waiting {
            WaitsFor::Approval(waiting) => waiting,
            WaitsFor::Count(counting) if counting.awaits(ask) => {
                return self.counted(world, answer, step);
            }
            WaitsFor::Count(_) => return Flow::Pause,
        };
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
        let waiting = match waiting {
            WaitsFor::Approval(waiting) => waiting,
            WaitsFor::Count(counting) if counting.is_overdue(&self.config, now) => {
                return self.counted(world, &Answer::Failed, step);
            }
            WaitsFor::Count(_) => return Flow::Pause,
        };
        if waiting.is_overdue(now) {
            return self.leave(world, step, Waiting::given_up);
        }
        step.asks.extend(now.and_then(|now| waiting.inquiry.tick(now)));
        Flow::Pause
    }

    /// Nobody waits any more, if somebody did.
    pub(super) fn stop_waiting<W: World>(&mut self, world: &W) {
        match self.take_waiting() {
            Some((WaitsFor::Approval(waiting), _)) => {
                let limiter = Limiter::new(world.store(), self.config.counters.shards);
                let _ = waiting.pending.abandon(&limiter);
            }
            Some((WaitsFor::Count(counting), _)) => counting.abandon(&self.config, world),
            None => {}
        }
    }

    /// Goes on, where nothing is to be asked; else waits for the rate limit service.
    pub(super) fn go<W: World>(
        &mut self,
        world: &W,
        going: Box<Going>,
        (early, now): (Early, Moment),
        step: &mut Step,
    ) -> Flow {
        if !going.asks_service() {
            return self.gone(world, *going, early, step);
        }
        match Counting::begin(going, &self.config, self.policy(), world, now) {
            Begun::Goes(going, leased) => {
                let (policy, outcome) = (self.policy, ServiceOutcome::Leased);
                let sample = Sample::one(Series::Service { policy, outcome });
                step.samples.extend(leased.then_some(sample));
                self.gone(world, *going, early, step)
            }
            Begun::Waits(mut counting, ask) => {
                step.body = counting.take_body();
                step.asks.push(ask);
                self.state = State::Waiting { waiting: WaitsFor::Count(counting), early };
                Flow::Pause
            }
            Begun::Fails(counting) => {
                self.state = State::Waiting { waiting: WaitsFor::Count(counting), early };
                self.counted(world, &Answer::Failed, step)
            }
        }
    }

    fn gone<W: World>(&mut self, world: &W, going: Going, early: Early, step: &mut Step) -> Flow {
        let (mut expected, records, body) = going.into_parts();
        self.depart(world, std::mem::take(&mut expected.in_flight));
        step.records = records;
        step.body = body;
        self.forward(world, expected, early, step)
    }

    /// The rate limit service has answered, or will not.
    fn counted<W: World>(&mut self, world: &W, answer: &Answer<'_>, step: &mut Step) -> Flow {
        let Some((WaitsFor::Count(counting), early)) = self.take_waiting() else {
            return Flow::Pause;
        };
        let context = Context { policy: self.policy(), form: self.config.denials };
        let (end, outcome) =
            counting.answered(answer, &Ending { config: &self.config, world, context });
        let policy = self.policy;
        step.samples.push(Sample::one(Series::Service { policy, outcome }));
        match end {
            CountedEnd::Goes(going) => self.gone(world, *going, early, step),
            CountedEnd::Answered(reply, records) => {
                step.records = records;
                Flow::Reply(reply)
            }
        }
    }

    fn leave<W: World>(
        &mut self,
        world: &W,
        step: &mut Step,
        end: impl FnOnce(Waiting, &Ending<'_, W>) -> Left,
    ) -> Flow {
        let Some((WaitsFor::Approval(waiting), early)) = self.take_waiting() else {
            return Flow::Pause;
        };
        let context = Context { policy: self.policy(), form: self.config.denials };
        let began = waiting.began;
        match end(*waiting, &Ending { config: &self.config, world, context }) {
            Left::Forwarded(going) => {
                let now = world.moment().unwrap_or(began.into());
                self.go(world, going, (early, now), step)
            }
            Left::Answered(reply, record) => {
                step.records.push(*record);
                Flow::Reply(reply)
            }
        }
    }

    /// Leaves the state of waiting; until something else is said, the request goes nowhere.
    fn take_waiting(&mut self) -> Option<(WaitsFor, Early)> {
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
