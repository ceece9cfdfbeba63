//! What becomes of the response, which may be on its way before the request is judged.

use std::rc::Rc;

use super::arrival::seal_session;
use super::expected::Expected;
use super::response::{ListAudience, Response, ResponseHead};
use super::state::State;
use super::{Chunk, Exchange, Flow, Level, Line, Step};
use crate::mcp::headers::Follows;
use crate::metrics::{ListOutcome, Sample, Series};
use crate::policy::compiled::Policy;
use crate::record::Record;
use crate::world::World;

impl Exchange {
    /// The response begins. Where nobody needs it, the world is not even asked for its headers.
    #[inline(never)]
    pub(super) fn response_head<W: World>(
        &mut self,
        world: &W,
        follows: Follows,
        step: &mut Step,
    ) -> Flow {
        if self.needs_response() {
            world.response_headers(|headers| {
                let counts = self.counts_hang_on_the_answer();
                let head = ResponseHead::read(headers, counts, || world.origin(), follows);
                self.begin_response(world, head, step);
            });
        }
        Flow::Continue
    }

    /// Whether the response is needed.
    fn needs_response(&self) -> bool {
        match &self.state {
            State::Forwarded(expected) => !expected.is_nothing() || self.sealed_to.is_some(),
            // There is one response.
            State::Collecting { early, .. } | State::Waiting { early, .. }
                if early.state.is_some() =>
            {
                false
            }
            // A server answers before it has the body.
            State::Collecting { caller, .. } => {
                !caller.is_proven() || self.policy().is_some_and(Policy::filters_any)
            }
            State::Waiting { waiting, .. } => {
                !waiting.is_proven() || self.policy().is_some_and(Policy::filters_any)
            }
            State::Fresh | State::Passing | State::Responding(_) | State::Answered => false,
        }
    }

    /// Whether what became of the call decides over more than a refusal of its caller does.
    fn counts_hang_on_the_answer(&self) -> bool {
        match &self.state {
            State::Forwarded(expected) => !expected.refunds.is_empty() || expected.used.is_some(),
            // An answer that comes before the call is judged says nothing of it.
            State::Collecting { .. } | State::Waiting { .. } => false,
            State::Fresh | State::Passing | State::Responding(_) | State::Answered => false,
        }
    }

    #[inline(never)]
    fn begin_response<W: World>(&mut self, world: &W, head: ResponseHead<'_>, step: &mut Step) {
        let filters = self.policy().is_some_and(Policy::filters_any);
        let refuses = head.refuses_the_caller();
        let expected = match &mut self.state {
            State::Forwarded(expected) => std::mem::take(expected),
            // Nobody knows yet what is asked.
            State::Collecting { head, early, .. } => {
                early.refused = refuses;
                Expected::early(head.framing, filters)
            }
            State::Waiting { waiting, early } => {
                early.refused = refuses;
                Expected::early(waiting.framing(), filters)
            }
            State::Fresh | State::Passing | State::Responding(_) | State::Answered => return,
        };
        if let (Some(grant), Some(id)) = (self.sealed_to, head.session) {
            step.edits.push(seal_session(&self.config.sessions, grant, id));
        }
        let started = {
            let audience = ListAudience {
                policy: self.policy,
                server: self.server,
                viewer: self.viewer.clone(),
            };
            Response::start(&self.config, audience, world, expected, head)
        };
        let next = match started {
            None => State::Passing,
            Some((mut response, edits)) => {
                step.edits.extend(edits);
                withhold(step, response.take_records(&self.config));
                State::Responding(Box::new(response))
            }
        };
        self.respond(next);
    }

    /// More of the body is passing.
    #[inline(never)]
    pub(super) fn response_body<W: World>(
        &mut self,
        world: &W,
        length: usize,
        chunk: Chunk,
        step: &mut Step,
    ) -> Flow {
        self.speaking = true;
        let config = Rc::clone(&self.config);
        let Some(response) = self.state.response() else { return Flow::Continue };
        step.body = response.body(&config, world, length, chunk);
        let value = response.take_filtered();
        let (policy, outcome, cause) = (self.policy, ListOutcome::Filtered, "");
        let series = Series::Lists { policy, outcome, cause };
        step.samples.extend((value > 0).then_some(Sample { series, value }));
        withhold(step, response.take_records(&config));
        if response.is_over() {
            self.respond(State::Passing);
        }
        Flow::Continue
    }

    /// The response ends with trailers.
    #[inline(never)]
    pub(super) fn response_trailers<W: World>(&mut self, world: &W, step: &mut Step) -> Flow {
        let config = Rc::clone(&self.config);
        if let Some(response) = self.state.response() {
            response.trailers(&config, world);
            withhold(step, response.take_records(&config));
        }
        Flow::Continue
    }

    fn respond(&mut self, next: State) {
        match &mut self.state {
            State::Collecting { early, .. } | State::Waiting { early, .. } => {
                early.state = Some(Box::new(next));
            }
            State::Fresh
            | State::Passing
            | State::Forwarded(_)
            | State::Responding(_)
            | State::Answered => self.state = next,
        }
    }
}

/// Puts on record, and tells the operator, what is withheld.
fn withhold(step: &mut Step, records: Vec<Record>) {
    for mut record in records {
        let text = std::mem::take(&mut record.warning);
        step.log.push(Line { level: Level::Warn, text: text.into() });
        step.records.push(record);
    }
}
