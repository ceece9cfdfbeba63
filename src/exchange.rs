//! One HTTP exchange as a state machine: events in, actions out.
//!
//! Everything about buffering, the end of a body and trailers lives here, away from the host, where tests can feed any
//! sequence of events. A request is judged once, at the end of its body or at its trailers, whichever comes; nothing is
//! forwarded unjudged.

mod judgement;
mod response;

use std::rc::Rc;

use crate::mcp::Refusal;
use crate::mcp::headers::{Admission, Follows, Head, Header, admit};
use crate::policy::compiled::Config;
use crate::rate::limiter::{Limiter, Reservation};
use crate::rate::store::SharedStore;
use crate::reason::Reason;
use crate::record::Record;
use crate::reply::Reply;
use crate::time::UnixMillis;
use judgement::Judgement;
use response::{Expected, Lists, Response};

/// What the exchange asks of the world when it needs it.
pub trait Environment {
    /// Where counts are kept.
    type Store: SharedStore;

    /// The time; `None` if the host fails.
    fn now(&self) -> Option<UnixMillis>;

    /// The store.
    fn store(&self) -> &Self::Store;

    /// The first `length` bytes that are buffered of the request body; `None` if the host fails.
    fn request_body(&self, length: usize) -> Option<Vec<u8>>;

    /// The chunk of the response body that is just passing; `None` if the host fails.
    fn response_chunk(&self, length: usize) -> Option<Vec<u8>>;
}

/// Whether request headers can wait for the decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hold {
    /// They wait.
    Yes,
    /// They wait, unless it turns out that Envoy does not let them.
    Maybe,
    /// They go ahead; the body still waits.
    No,
}

/// Whether more of a body follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Chunk {
    /// More follows.
    More,
    /// This is the end.
    Last,
}

/// What Envoy shall do next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Go on.
    Continue,
    /// Wait.
    Pause,
    /// Answer, and forward nothing.
    Reply(Reply),
}

/// What Envoy shall do with the bytes of a response that are there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BodyAction {
    /// Let them pass.
    Continue,
    /// Keep them, and come back when there are more.
    Pause,
    /// Let these pass instead.
    Replace(Vec<u8>),
}

/// A change of a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeaderEdit {
    /// It is removed.
    Remove(&'static str),
    /// It gets this value, and no other.
    Set(&'static str, &'static str),
}

/// The headers of a response, as far as counts and lists depend on them.
#[derive(Clone, Copy, Debug)]
pub struct ResponseHead<'h> {
    /// HTTP status.
    pub status: u16,
    /// `Content-Type`.
    pub content_type: Option<&'h [u8]>,
    /// Whether a `Content-Encoding` other than identity is there.
    pub encoded: bool,
    /// Whether the answer tells what became of the call: see [`crate::mcp::outcome::is_conclusive`].
    pub conclusive: bool,
    /// Whether the response has no body.
    pub ends: bool,
}

/// What a response must not be encoded for: events and lists have to be read.
const PLAIN: HeaderEdit = HeaderEdit::Set("accept-encoding", "identity");

/// The state of one exchange.
#[derive(Debug)]
pub struct Exchange {
    config: Rc<Config>,
    state: State,
    record: Option<Record>,
    edits: Vec<HeaderEdit>,
    /// Whether request headers can still be changed when the body has been judged.
    holds: bool,
}

#[derive(Debug)]
enum State {
    /// Nothing was seen.
    Fresh,
    /// Nothing is left to judge.
    Passing,
    /// The body is being collected; this much of it is buffered.
    Collecting { head: Box<Head>, buffered: usize },
    /// Forwarded; the response is needed for this.
    Forwarded(Expected),
    /// The response is on its way through.
    Responding(Box<Response>),
    /// Answered here.
    Answered,
}

impl Exchange {
    /// An exchange that has seen nothing.
    #[must_use]
    pub fn new(config: Rc<Config>) -> Exchange {
        let state = State::Fresh;
        Exchange { config, state, record: None, edits: Vec::new(), holds: false }
    }

    /// Request headers.
    pub fn request_headers(
        &mut self,
        headers: &[Header<'_>],
        follows: Follows,
        hold: Hold,
    ) -> Action {
        let policy = &self.config.policy;
        let head = match admit(headers, follows, self.config.requests.max_body_bytes) {
            Ok(Admission::Judge(_)) if follows == Follows::Nothing => {
                return self.refuse(Refusal::new(Reason::InvalidJson, ""));
            }
            Ok(Admission::Judge(head)) => head,
            Ok(admission @ (Admission::Pass | Admission::Stream { .. })) => {
                self.record = Some(Record::passed("", &policy.name));
                self.state = State::Passing;
                if let Admission::Stream { expected } = admission
                    && policy.filters_any()
                {
                    self.edits.extend(expected.then_some(PLAIN));
                    self.state =
                        State::Forwarded(Expected { lists: Lists::Any, ..Expected::default() });
                }
                return Action::Continue;
            }
            Err(refusal) => return self.refuse(refusal),
        };
        self.edits.extend(head.controls.iter().map(|name| HeaderEdit::Remove(name)));
        self.holds = hold == Hold::Yes;
        if !self.holds && (policy.needs_responses() || policy.filters_any()) {
            // When the body tells whether the response is needed, it may be too late.
            self.edits.push(PLAIN);
        }
        self.state = State::Collecting { head, buffered: 0 };
        if hold == Hold::No { Action::Continue } else { Action::Pause }
    }

    /// Request body: `buffered` counts all of it that Envoy holds so far.
    pub fn request_body<E: Environment>(
        &mut self,
        env: &E,
        buffered: usize,
        chunk: Chunk,
    ) -> Action {
        let State::Collecting { buffered: known, .. } = &mut self.state else {
            return self.settled();
        };
        *known = buffered;
        if buffered > self.config.requests.max_body_bytes {
            return self.refuse(Refusal::new(Reason::BodyTooLarge, ""));
        }
        match chunk {
            Chunk::More => Action::Pause,
            Chunk::Last => self.judge(env),
        }
    }

    /// Request trailers: where they come, the body never says that it has ended.
    pub fn request_trailers<E: Environment>(&mut self, env: &E) -> Action {
        if matches!(self.state, State::Collecting { .. }) {
            self.judge(env)
        } else {
            self.settled()
        }
    }

    /// Refuses a request that Envoy cannot hold, or would not forward whole. What it has counted stays counted.
    pub fn give_up_holding(&mut self) -> Option<Reply> {
        if !matches!(self.state, State::Collecting { .. } | State::Forwarded(_)) {
            return None;
        }
        match self.refuse(Refusal::new(Reason::HeadersNotHeld, "")) {
            Action::Reply(reply) => Some(reply),
            Action::Continue | Action::Pause => None,
        }
    }

    /// Refuses a request on which the host did not do what it was asked.
    pub fn host_failed(&mut self) -> Action {
        self.refuse(Refusal::new(Reason::HostFailure, ""))
    }

    /// Whether the response is needed.
    #[must_use]
    pub fn awaits_response(&self) -> bool {
        matches!(&self.state, State::Forwarded(expected) if !expected.is_nothing())
    }

    /// Response headers.
    pub fn response_headers<E: Environment>(&mut self, env: &E, head: ResponseHead<'_>) {
        let State::Forwarded(expected) = &mut self.state else {
            return;
        };
        let expected = std::mem::take(expected);
        self.state = State::Passing;
        if let Some((response, edits)) = Response::start(&self.config, env, expected, head) {
            self.edits.extend(edits);
            self.state = State::Responding(Box::new(response));
        }
    }

    /// Response body: `length` bytes are there, counted anew after each that passed.
    pub fn response_body<E: Environment>(
        &mut self,
        env: &E,
        length: usize,
        chunk: Chunk,
    ) -> BodyAction {
        let State::Responding(response) = &mut self.state else {
            return BodyAction::Continue;
        };
        let action = response.body(&self.config, env, length, chunk);
        if response.is_over() {
            self.state = State::Passing;
        }
        action
    }

    /// Response trailers: where they come, the body never says that it has ended.
    pub fn response_trailers<E: Environment>(&mut self, env: &E) -> BodyAction {
        let State::Responding(response) = &mut self.state else {
            return BodyAction::Continue;
        };
        response.trailers(&self.config, env)
    }

    /// The changes that the headers of the request, or then of the response, still need.
    pub fn take_edits(&mut self) -> Vec<HeaderEdit> {
        std::mem::take(&mut self.edits)
    }

    /// The record of the request, once, as soon as there is one.
    pub fn take_record(&mut self) -> Option<Record> {
        self.record.take()
    }

    fn judge<E: Environment>(&mut self, env: &E) -> Action {
        let State::Collecting { head, buffered } =
            std::mem::replace(&mut self.state, State::Answered)
        else {
            return self.settled();
        };
        let body = if buffered == 0 { Some(Vec::new()) } else { env.request_body(buffered) };
        let Some(body) = body.filter(|body| body.len() == buffered) else {
            return self.host_failed();
        };
        let Some(now) = env.now() else {
            return self.host_failed();
        };
        let verdict = match Judgement::new(&self.config, &head, env, now).of_body(&body) {
            Ok(verdict) => verdict,
            Err(refusal) => return self.refuse(refusal),
        };
        self.record = verdict.record;
        match verdict.result {
            Ok(expected) => {
                if self.holds && !expected.is_nothing() {
                    self.edits.push(PLAIN);
                }
                self.state = State::Forwarded(expected);
                Action::Continue
            }
            Err(reply) => Action::Reply(reply),
        }
    }

    fn refuse(&mut self, refusal: Refusal) -> Action {
        self.state = State::Answered;
        self.record = Some(Record::refused(&refusal));
        Action::Reply(Reply::refusal(&refusal))
    }

    /// What to do with more of a request that is already settled: an answered one goes nowhere.
    fn settled(&self) -> Action {
        match self.state {
            State::Answered | State::Fresh | State::Collecting { .. } => Action::Pause,
            State::Passing | State::Forwarded(_) | State::Responding(_) => Action::Continue,
        }
    }
}

fn give_back<'r, E: Environment>(
    config: &Config,
    env: &E,
    counts: impl Iterator<Item = &'r Reservation>,
) {
    Limiter::new(env.store(), config.counters.shards).give_back(counts);
}
