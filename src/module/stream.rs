//! What a stream does in each hook: hands an event to the exchange, and performs the step that comes of it.

use super::abi::{Filter, Half, log};
use super::callouts::{self, Called};
use super::clock;
use super::envoy::HookWorld;
#[cfg(debug_assertions)]
use super::fault::AskedPanic;
use super::meters::ModuleMeters;
use super::plugin::Worker;
use super::ticker::Ticks;
use crate::ask::{Answer, Ask, AskId};
use crate::exchange::{Chunk, Event, Exchange, Flow, HeaderEdit, PULSE_MILLIS, Step, TICK_MILLIS};
use crate::mcp::headers::Follows;
use crate::metrics::{Sample, Series};

/// The prefix of the filter's values in filter state: those of the proxy-wasm filter, so that access logs name them once.
const STATE_PREFIX: &str = "wasm.";

/// One stream.
pub(super) struct ModuleStream {
    meters: ModuleMeters,
    exchange: Exchange,
    /// While the last step wants ticks.
    ticking: Option<Ticks>,
    /// The questions that are under way, by Envoy's numbers.
    asked: Vec<(u64, AskId)>,
    /// The nanoseconds that this stream has taken so far, where its time is taken.
    spent: Option<u64>,
    #[cfg(debug_assertions)]
    fault: AskedPanic,
}

/// From where a step is performed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum HookPlace {
    /// A hook for what passes of this message.
    Passing(Half),
    /// Outside those.
    Outside,
}

impl ModuleStream {
    pub(super) fn new(worker: &Worker, meters: ModuleMeters) -> ModuleStream {
        let exchange = worker.exchange();
        let timed = exchange.config().telling.metrics && worker.timing.takes_next();
        let spent = timed.then_some(0);
        ModuleStream {
            meters,
            exchange,
            ticking: None,
            asked: Vec::new(),
            spent,
            #[cfg(debug_assertions)]
            fault: AskedPanic::default(),
        }
    }

    pub(super) fn request_headers(&mut self, filter: &mut Filter<'_>, ends: bool) -> Flow {
        let begun = self.begun();
        let step = match filter.headers(Half::Request) {
            Some(headers) => {
                let event = Event::RequestHead { headers: &headers, follows: Follows::when(ends) };
                self.step(filter, event)
            }
            None => self.step(filter, Event::HostFailed),
        };
        let flow = self.perform(filter, step, HookPlace::Passing(Half::Request));
        self.ended(begun);
        flow
    }

    pub(super) fn request_body(&mut self, filter: &mut Filter<'_>, ends: bool) -> Flow {
        let buffered = filter.body_length(Half::Request);
        let event = Event::RequestBody { buffered, chunk: Chunk::when(ends) };
        self.on(filter, event, HookPlace::Passing(Half::Request))
    }

    pub(super) fn request_trailers(&mut self, filter: &mut Filter<'_>) -> Flow {
        self.on(filter, Event::RequestTrailers, HookPlace::Passing(Half::Request))
    }

    pub(super) fn response_headers(&mut self, filter: &mut Filter<'_>, ends: bool) -> Flow {
        let event = Event::ResponseHead { follows: Follows::when(ends) };
        self.on(filter, event, HookPlace::Passing(Half::Response))
    }

    pub(super) fn response_body(&mut self, filter: &mut Filter<'_>, ends: bool) -> Flow {
        let length = filter.body_length(Half::Response);
        let event = Event::ResponseBody { length, chunk: Chunk::when(ends) };
        self.on(filter, event, HookPlace::Passing(Half::Response))
    }

    pub(super) fn response_trailers(&mut self, filter: &mut Filter<'_>) -> Flow {
        self.on(filter, Event::ResponseTrailers, HookPlace::Passing(Half::Response))
    }

    pub(super) fn tick(&mut self, filter: &mut Filter<'_>) -> Flow {
        match &self.ticking {
            Some(ticking) => ticking.came(),
            None => return Flow::Pause,
        }
        self.on(filter, Event::Tick, HookPlace::Outside)
    }

    pub(super) fn answered(
        &mut self,
        filter: &mut Filter<'_>,
        id: u64,
        answer: Called<'_>,
    ) -> Flow {
        let Some(at) = self.asked.iter().position(|(known, _)| *known == id) else {
            return Flow::Pause;
        };
        let (_, ask) = self.asked.swap_remove(at);
        let answer = answer.and_then(|answer| callouts::read(&answer));
        let answer = match &answer {
            Some((status, body)) => Answer::Http { status: *status, body },
            None => Answer::Failed,
        };
        self.on(filter, Event::Answered { ask, answer }, HookPlace::Outside)
    }

    /// The stream is over.
    pub(super) fn over(&mut self, filter: &mut Filter<'_>) {
        let _ = self.on(filter, Event::Closed, HookPlace::Outside);
        if let Some(spent) = self.spent {
            let spent = Sample { series: Series::Duration, value: spent / 1000 };
            self.meters.count(filter, &[spent], self.exchange.config());
        }
    }

    fn on(&mut self, filter: &mut Filter<'_>, event: Event<'_>, place: HookPlace) -> Flow {
        let begun = self.begun();
        let step = self.step(filter, event);
        let flow = self.perform(filter, step, place);
        self.ended(begun);
        flow
    }

    fn begun(&self) -> Option<u64> {
        self.spent.map(|_| clock::nanoseconds())
    }

    fn ended(&mut self, begun: Option<u64>) {
        if let (Some(spent), Some(begun)) = (&mut self.spent, begun) {
            *spent = spent.saturating_add(clock::nanoseconds().saturating_sub(begun));
        }
    }

    fn step(&mut self, filter: &Filter<'_>, event: Event<'_>) -> Step {
        #[cfg(debug_assertions)]
        self.strike(&event);
        let world = HookWorld::new(filter);
        let mut step = self.exchange.on(&world, event);
        if self.exchange.config().telling.metrics {
            step.samples.extend(world.samples());
        }
        step
    }

    /// Panics where a test asks for it.
    #[cfg(debug_assertions)]
    fn strike(&mut self, event: &Event<'_>) {
        let hook = match event {
            Event::RequestHead { headers, .. } => {
                self.fault = AskedPanic::asked(headers);
                "request_headers"
            }
            Event::RequestBody { .. } => "request_body",
            Event::RequestTrailers => "request_trailers",
            Event::ResponseHead { .. } => "response_headers",
            Event::ResponseBody { .. } => "response_body",
            Event::ResponseTrailers => "response_trailers",
            Event::Answered { .. } => "answered",
            Event::Tick => "tick",
            Event::Closed => "closed",
            Event::HostFailed => "host_failed",
        };
        self.fault.strike(hook);
    }

    /// Does what a step says: the only place that does. What is left to do of it, and may come back to this stream, is its flow.
    fn perform(&mut self, filter: &mut Filter<'_>, step: Step, place: HookPlace) -> Flow {
        let pace = if step.ticks { Some(TICK_MILLIS) } else { step.pulses.then_some(PULSE_MILLIS) };
        self.tick_every(pace, filter);
        for line in &step.log {
            log(line.level, &line.text);
        }
        self.meters.count(filter, &step.samples, self.exchange.config());
        if place == HookPlace::Outside && step.flow == Flow::Pause && step.asks.is_empty() {
            return Flow::Pause;
        }
        self.keep(filter, &step);
        if !(edit(filter, &step.edits, place) && replace(filter, step.body.as_deref(), place)) {
            return self.on(filter, Event::HostFailed, place);
        }
        for ask in &step.asks {
            if !self.ask(filter, ask) {
                let (ask, answer) = (ask.id, Answer::Failed);
                return self.on(filter, Event::Answered { ask, answer }, place);
            }
        }
        step.flow
    }

    fn tick_every(&mut self, pace: Option<u32>, filter: &Filter<'_>) {
        if self.ticking.as_ref().map(Ticks::pace) != pace {
            let begin = |pace| filter.scheduler().map(|scheduler| Ticks::begin(scheduler, pace));
            self.ticking = pace.and_then(begin);
        }
    }

    /// Asks a question; false if it cannot be asked.
    fn ask(&mut self, filter: &mut Filter<'_>, ask: &Ask) -> bool {
        let id = filter.ask(ask);
        self.asked.extend(id.map(|id| (id, ask.id)));
        id.is_some()
    }

    /// Puts what is on record into the filter state of the stream.
    fn keep(&self, filter: &mut Filter<'_>, step: &Step) {
        for (name, value) in step.filter_state(self.exchange.config()) {
            filter.set_filter_state(&[STATE_PREFIX, name].concat(), &value);
        }
    }
}

/// Changes headers; false if one stayed that was to go.
fn edit(filter: &mut Filter<'_>, edits: &[HeaderEdit], place: HookPlace) -> bool {
    let message = match place {
        HookPlace::Passing(message) => message,
        HookPlace::Outside => Half::Request,
    };
    edits.iter().all(|edit| match edit {
        HeaderEdit::Remove(name) => filter.set_header(message, name, None),
        HeaderEdit::Set(name, value) => {
            // One that cannot be set was not there to be read either.
            let _ = filter.set_header(message, name, Some(value));
            true
        }
    })
}

/// Puts other bytes of the body in the place of those that are there; false if they stayed.
fn replace(filter: &mut Filter<'_>, body: Option<&[u8]>, place: HookPlace) -> bool {
    match (body, place) {
        (Some(bytes), HookPlace::Passing(message)) => filter.replace_body(message, bytes),
        (Some(_), HookPlace::Outside) => false,
        (None, _) => true,
    }
}
