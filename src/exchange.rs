//! One HTTP exchange as a state machine: events in, actions out.
//!
//! Everything about buffering, the end of a body and trailers lives here, away from the host, where tests can feed any
//! sequence of events. A request is judged once, at the end of its body or at its trailers, whichever comes; nothing is
//! forwarded unjudged.

mod judgement;

use std::rc::Rc;

use crate::mcp::Refusal;
use crate::mcp::headers::{Admission, Follows, Head, Header, admit};
use crate::mcp::outcome::{BodyForm, Observer};
use crate::policy::compiled::Config;
use crate::rate::limiter::{Limiter, Reservation};
use crate::rate::store::SharedStore;
use crate::reason::Reason;
use crate::record::Record;
use crate::reply::Reply;
use crate::time::UnixMillis;
use judgement::{Judgement, Refunds};

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

/// The headers of a response, as far as counts depend on them.
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
}

/// The state of one exchange.
#[derive(Debug)]
pub struct Exchange {
    config: Rc<Config>,
    state: State,
    record: Option<Record>,
}

#[derive(Debug)]
enum State {
    /// Nothing was seen.
    Fresh,
    /// Nothing is left to judge.
    Passing,
    /// The body is being collected; this much of it is buffered.
    Collecting { head: Box<Head>, buffered: usize },
    /// Forwarded; these counts are given back on an error.
    Forwarded(Refunds),
    /// The response is watched for errors.
    Watching { observer: Observer, refunds: Refunds },
    /// Answered here.
    Answered,
}

impl Exchange {
    /// An exchange that has seen nothing.
    #[must_use]
    pub fn new(config: Rc<Config>) -> Exchange {
        Exchange { config, state: State::Fresh, record: None }
    }

    /// Request headers. Also returns the names of the headers to remove before anything is forwarded.
    pub fn request_headers(
        &mut self,
        headers: &[Header<'_>],
        follows: Follows,
        hold: Hold,
    ) -> (Action, Vec<&'static str>) {
        let head = match admit(headers, follows, self.config.requests.max_body_bytes) {
            Ok(Admission::Judge(_)) if follows == Follows::Nothing => {
                return (self.refuse(Refusal::new(Reason::InvalidJson, "")), Vec::new());
            }
            Ok(Admission::Judge(head)) => head,
            Ok(Admission::Pass) => {
                self.state = State::Passing;
                self.record = Some(Record::passed("", &self.config.policy.name));
                return (Action::Continue, Vec::new());
            }
            Err(refusal) => return (self.refuse(refusal), Vec::new()),
        };
        let mut removed = head.controls.clone();
        if self.config.policy.needs_responses() {
            // An error in a compressed response could not be read.
            removed.push("accept-encoding");
        }
        self.state = State::Collecting { head, buffered: 0 };
        let action = if hold == Hold::Yes { Action::Pause } else { Action::Continue };
        (action, removed)
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

    /// Whether the response can change a count.
    #[must_use]
    pub fn awaits_response(&self) -> bool {
        matches!(&self.state, State::Forwarded(refunds) if !refunds.is_empty())
    }

    /// Response headers.
    pub fn response_headers<E: Environment>(&mut self, env: &E, head: ResponseHead<'_>) {
        let State::Forwarded(refunds) = &mut self.state else {
            return;
        };
        let refunds = std::mem::take(refunds);
        self.state = State::Passing;
        if refunds.is_empty() || !head.conclusive {
            return;
        }
        if head.status >= 400 {
            give_back(&self.config, env, refunds.iter().flat_map(|(_, counts)| counts));
            return;
        }
        let form = BodyForm::of(head.content_type, head.encoded);
        let ids = refunds.iter().map(|(id, _)| id.clone()).collect();
        self.state = State::Watching { observer: Observer::new(form, ids), refunds };
    }

    /// Response body: `length` bytes are passing. They are looked at, never held.
    pub fn response_body<E: Environment>(&mut self, env: &E, length: usize, chunk: Chunk) {
        let State::Watching { observer, refunds } = &mut self.state else {
            return;
        };
        let bytes = if length == 0 { Some(Vec::new()) } else { env.response_chunk(length) };
        let failed = match bytes {
            Some(bytes) => observer.push(&bytes, chunk == Chunk::Last),
            None => Vec::new(),
        };
        let counts =
            refunds.iter().filter(|(id, _)| failed.contains(id)).flat_map(|(_, counts)| counts);
        give_back(&self.config, env, counts);
        if !observer.is_watching() {
            self.state = State::Passing;
        }
    }

    /// Response trailers: where they come, the body never says that it has ended.
    pub fn response_trailers<E: Environment>(&mut self, env: &E) {
        self.response_body(env, 0, Chunk::Last);
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
            Ok(refunds) => {
                self.state = State::Forwarded(refunds);
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
            State::Passing | State::Forwarded(_) | State::Watching { .. } => Action::Continue,
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
