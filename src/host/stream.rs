//! One HTTP stream: each callback hands an event to the exchange, and performs the step that comes of it.

use std::rc::Rc;

use proxy_wasm::types::{Action, BufferType, MapType};

use super::envoy::Envoy;
use super::meters::Meters;
use super::{callouts, calls};
use crate::ask::{Answer, Ask, AskId};
use crate::exchange::{Chunk, Event, Exchange, Flow, HeaderEdit, Level, Step};
use crate::mcp::headers::Follows;
use crate::metrics::{Sample, Series};
use crate::policy::compiled::Config;
use crate::reply::{CODE_DETAILS, Reply};

/// What the operator reads of a held request that can no longer be reached.
const STUCK: &str = "mcp_policy: a held request could not be continued or answered";

/// As many bytes of a body as there are.
const ALL: usize = u32::MAX as usize;

/// One HTTP stream.
pub(super) struct Stream {
    context: u32,
    /// The context of the plugin.
    root: u32,
    exchange: Exchange,
    /// Whether the last step asked for ticks.
    ticks: bool,
    pulses: bool,
    /// The two as they were last told.
    noted: (bool, bool),
    /// The questions that are under way, by Envoy's numbers.
    asked: Vec<(u32, AskId)>,
    meters: Rc<Meters>,
    /// The nanoseconds that this stream has taken so far, where its time is taken.
    spent: Option<u64>,
}

/// From where a step is performed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum CalledFrom {
    /// A callback for the request, of whose body so many bytes are held.
    Request { held: usize },
    /// A callback for the response, of whose body so many bytes are passing.
    Response { passing: usize },
    /// Outside the stream's callbacks.
    Outside,
}

impl Stream {
    pub(super) fn new(context: u32, root: u32, exchange: Exchange, meters: Rc<Meters>) -> Stream {
        let timed = exchange.config().telling.metrics && meters.timing.takes_next();
        let spent = timed.then_some(0);
        Stream {
            context,
            root,
            exchange,
            ticks: false,
            pulses: false,
            noted: (false, false),
            asked: Vec::new(),
            meters,
            spent,
        }
    }

    /// Whether it wants ticks, and one now and then, where that is news.
    pub(super) fn wants_otherwise(&mut self) -> Option<(bool, bool)> {
        let wants = (self.ticks, self.pulses);
        (std::mem::replace(&mut self.noted, wants) != wants).then_some(wants)
    }

    /// Whether it is noted somewhere that it wants any.
    pub(super) fn is_noted(&self) -> bool {
        self.noted != (false, false)
    }

    /// Envoy's numbers of the questions that are under way.
    pub(super) fn tokens(&self) -> Vec<u32> {
        self.asked.iter().map(|(token, _)| *token).collect()
    }

    pub(super) fn request_headers(&mut self, end_of_stream: bool) -> Action {
        let headers = calls::headers(MapType::HttpRequestHeaders).unwrap_or_default();
        match headers.pairs() {
            Some(headers) => {
                let event =
                    Event::RequestHead { headers: &headers, follows: Follows::when(end_of_stream) };
                self.on(event, CalledFrom::Request { held: 0 })
            }
            None => self.on(Event::HostFailed, CalledFrom::Request { held: 0 }),
        }
    }

    pub(super) fn request_body(&mut self, buffered: usize, end_of_stream: bool) -> Action {
        let event = Event::RequestBody { buffered, chunk: Chunk::when(end_of_stream) };
        self.on(event, CalledFrom::Request { held: buffered })
    }

    pub(super) fn request_trailers(&mut self) -> Action {
        // All that is held of the body, whose length is not told here.
        self.on(Event::RequestTrailers, CalledFrom::Request { held: ALL })
    }

    pub(super) fn response_headers(&mut self, end_of_stream: bool) -> Action {
        let event = Event::ResponseHead { follows: Follows::when(end_of_stream) };
        self.on(event, CalledFrom::Response { passing: 0 })
    }

    pub(super) fn response_body(&mut self, length: usize, end_of_stream: bool) -> Action {
        let event = Event::ResponseBody { length, chunk: Chunk::when(end_of_stream) };
        self.on(event, CalledFrom::Response { passing: length })
    }

    pub(super) fn response_trailers(&mut self) -> Action {
        self.on(Event::ResponseTrailers, CalledFrom::Response { passing: 0 })
    }

    /// The timer has run.
    pub(super) fn tick(&mut self) {
        self.on(Event::Tick, CalledFrom::Outside);
    }

    /// A question is answered, with a body of so many bytes, or will not be.
    pub(super) fn answered(&mut self, token: u32, size: usize) -> Action {
        let Some(at) = self.asked.iter().position(|(known, _)| *known == token) else {
            return Action::Pause;
        };
        let (_, ask) = self.asked.swap_remove(at);
        // The answer is there for who has asked.
        let answer = calls::act_on(self.root).ok().and_then(|()| callouts::answer(size));
        let answer = match &answer {
            Some((status, body)) => Answer::Http { status: *status, body },
            None => Answer::Failed,
        };
        self.on(Event::Answered { ask, answer }, CalledFrom::Outside)
    }

    /// The stream is over.
    pub(super) fn over(&mut self) {
        self.on(Event::Closed, CalledFrom::Outside);
        let spent =
            self.spent.map(|spent| Sample { series: Series::Duration, value: spent / 1000 });
        self.meters.count(spent.as_slice(), None);
    }

    fn on(&mut self, event: Event<'_>, place: CalledFrom) -> Action {
        let begun = self.spent.and_then(|_| calls::running());
        let world = Envoy::new();
        let mut step = self.exchange.on(&world, event);
        if self.exchange.config().telling.metrics {
            step.samples.extend(world.samples());
        }
        let action = self.perform(&step, place);
        let ended = begun.and_then(|_| calls::running());
        if let (Some(spent), Some(begun), Some(ended)) = (&mut self.spent, begun, ended) {
            *spent = spent.saturating_add(ended.saturating_sub(begun));
        }
        action
    }

    /// Does what a step says: the only place that does.
    fn perform(&mut self, step: &Step, place: CalledFrom) -> Action {
        self.ticks = step.ticks;
        self.pulses = step.pulses;
        for line in &step.log {
            match line.level {
                Level::Info => log::info!("{}", line.text),
                Level::Warn => log::warn!("{}", line.text),
                Level::Error => log::error!("{}", line.text),
            }
        }
        self.meters.count(&step.samples, Some(self.exchange.config()));
        // Outside its callbacks, calls act on another stream until they are told which.
        let nothing = step.flow == Flow::Pause && step.asks.is_empty();
        if place == CalledFrom::Outside && (nothing || !self.is_reached()) {
            return Action::Pause;
        }
        keep(step, self.exchange.config());
        if !(edit(&step.edits, place) && replace(step.body.as_deref(), place)) {
            return self.on(Event::HostFailed, place);
        }
        for ask in &step.asks {
            if !self.ask(ask) {
                let (ask, answer) = (ask.id, Answer::Failed);
                return self.on(Event::Answered { ask, answer }, place);
            }
        }
        match &step.flow {
            Flow::Continue => go_on(place),
            Flow::Pause => Action::Pause,
            Flow::Reply(reply) => {
                send(reply);
                Action::Pause
            }
        }
    }

    /// Asks a question; false if it cannot be asked.
    ///
    /// The plugin asks, not the stream: Envoy tells it of the end of every question, and lets go of those of a stream with the stream,
    /// without a word; the SDK would keep their numbers for ever. That the plugin and the stream can be acted on is made sure of here,
    /// because the SDK panics if it is not so when the answer comes; Envoy takes that right away from a plugin for good, or not at all.
    fn ask(&mut self, ask: &Ask) -> bool {
        if calls::act_on(self.root).is_err() {
            return false;
        }
        let token = callouts::ask(ask);
        let reached = calls::act_on(self.context);
        if let (Ok(token), Ok(())) = (token, reached) {
            self.asked.push((token, ask.id));
        }
        token.is_ok() && reached.is_ok()
    }

    /// Makes the calls that follow act on this stream.
    fn is_reached(&self) -> bool {
        let reached = calls::act_on(self.context).is_ok();
        if !reached {
            log::error!("{STUCK}");
        }
        reached
    }
}

/// Puts what is on record into the filter state of the stream.
fn keep(step: &Step, config: &Config) {
    for (name, value) in step.filter_state(config) {
        let _ = calls::set_filter_state(name, &value);
    }
}

/// Changes headers; false if one stayed that was to go.
fn edit(edits: &[HeaderEdit], place: CalledFrom) -> bool {
    let map = match place {
        CalledFrom::Request { .. } | CalledFrom::Outside => MapType::HttpRequestHeaders,
        CalledFrom::Response { .. } => MapType::HttpResponseHeaders,
    };
    edits.iter().all(|edit| {
        let edited = calls::edit_header(map, edit);
        edited.is_ok() || matches!(edit, HeaderEdit::Set(..))
    })
}

/// Puts other bytes of the body in the place of those that are there; false if they stayed.
fn replace(body: Option<&[u8]>, place: CalledFrom) -> bool {
    match (body, place) {
        (Some(bytes), CalledFrom::Response { passing }) => {
            calls::replace(BufferType::HttpResponseBody, passing, bytes).is_ok()
        }
        (Some(bytes), CalledFrom::Request { held }) => {
            calls::replace(BufferType::HttpRequestBody, held, bytes).is_ok()
        }
        (Some(_), CalledFrom::Outside) => false,
        (None, _) => true,
    }
}

fn go_on(place: CalledFrom) -> Action {
    if place == CalledFrom::Outside && calls::continue_request().is_err() {
        log::error!("{STUCK}");
    }
    Action::Continue
}

fn send(reply: &Reply) {
    let sent = calls::reply(reply.status, CODE_DETAILS, &reply.headers, &reply.body);
    if sent.is_err() {
        // The request stays paused: not answered, but not forwarded either.
        log::error!("mcp_policy: Envoy did not take the answer to a request");
    }
}
