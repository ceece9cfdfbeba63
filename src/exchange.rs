//! One HTTP exchange as a state machine: events in, actions out.
//!
//! Everything about buffering, the end of a body and trailers lives here, away from the host, where tests can feed any
//! sequence of events. A request is judged once, at the end of its body or at its trailers, whichever comes; nothing is
//! forwarded unjudged.

mod arrival;
mod events;
mod judgement;
mod refusals;
mod response;

use std::borrow::Cow;
use std::rc::Rc;

use crate::identity::{Attribute, Caller};
use crate::mcp::Refusal;
use crate::mcp::headers::facts::Facts;
use crate::mcp::headers::steering::{controls, detours};
use crate::mcp::headers::{Admission, Follows, Head, Header, admit};
use crate::mcp::unread::Seeker;
use crate::policy::compiled::{Config, Policy};
use crate::rate::limiter::{Limiter, Reservation};
use crate::rate::table::CallerId;
use crate::reason::Reason;
use crate::record::Record;
use crate::reply::Reply;
pub use events::{Action, BodyAction, Chunk, Environment, HeaderEdit, Hold, ResponseHead};

use arrival::{Route, route, seal_session};
use judgement::Judgement;
use response::{Asked, Expected, Lists, Response};

/// What a response must not be encoded for: events and lists have to be read.
const PLAIN: HeaderEdit = HeaderEdit::Set("accept-encoding", Cow::Borrowed("identity"));

/// The state of one exchange.
#[derive(Debug)]
pub struct Exchange {
    config: Rc<Config>,
    state: State,
    record: Option<Record>,
    edits: Vec<HeaderEdit>,
    /// Whether request headers can still be changed when the body has been judged.
    holds: bool,
    /// The policy that governs the request, by its index; `None` where no binding matches.
    policy: Option<usize>,
    /// To whom session ids in the response are sealed.
    sealed_to: Option<CallerId>,
}

#[derive(Debug)]
enum State {
    /// Nothing was seen.
    Fresh,
    /// Nothing is left to judge.
    Passing,
    /// The body is being collected; this much of it is buffered.
    Collecting {
        head: Box<Head>,
        caller: Box<Caller>,
        buffered: usize,
        /// What becomes of the response, where it is on its way already: a server need not wait for the body.
        early: Option<Box<State>>,
        /// Whether that response refuses the caller.
        refused: bool,
        /// The id that is looked for, where the body is too long to be read.
        sought: Option<Box<Seeker>>,
    },
    /// Forwarded; the response is needed for this.
    Forwarded(Expected),
    /// The response is on its way through.
    Responding(Box<Response>),
    /// Answered here.
    Answered,
}

impl State {
    /// The response that is on its way, perhaps before the request is judged.
    fn response(&mut self) -> Option<&mut Response> {
        match self {
            State::Responding(response) => Some(response),
            State::Collecting { early: Some(state), .. } => state.response(),
            State::Collecting { early: None, .. }
            | State::Fresh
            | State::Passing
            | State::Forwarded(_)
            | State::Answered => None,
        }
    }
}

impl Exchange {
    /// An exchange that has seen nothing.
    #[must_use]
    pub fn new(config: Rc<Config>) -> Exchange {
        let state = State::Fresh;
        let edits = Vec::new();
        Exchange {
            config,
            state,
            record: None,
            edits,
            holds: false,
            policy: Some(0),
            sealed_to: None,
        }
    }

    /// Request headers.
    pub fn request_headers<E: Environment>(
        &mut self,
        env: &E,
        headers: &[Header<'_>],
        follows: Follows,
        hold: Hold,
    ) -> Action {
        self.begin(env, headers, follows, hold).unwrap_or_else(|refusal| self.refuse(refusal))
    }

    fn begin<E: Environment>(
        &mut self,
        env: &E,
        headers: &[Header<'_>],
        follows: Follows,
        hold: Hold,
    ) -> Result<Action, Refusal> {
        let config = self.config.clone();
        let facts = Facts::of(headers, &config.headers);
        let attribute = |path: &[&str]| env.attribute(path);
        let (route, known) = route(&config, headers, &facts, &attribute)?;
        self.policy = match route {
            Route::Governed(at) => Some(at),
            Route::Unmatched | Route::Unread => None,
        };
        let away = detours(headers, config.bindings.is_some());
        self.edits.extend(away.map(|name| HeaderEdit::Remove(name.into())));
        if route == Route::Unread {
            return Ok(self.pass(Lists::None));
        }
        let admission = admit(headers, follows, config.requests.max_body_bytes)?;
        let caller = self.identify(&facts, &attribute, known)?;
        let turned_away = config.callers.required && caller.is_anonymous();
        self.edits.extend(controls(headers).map(|name| HeaderEdit::Remove(name.into())));
        match admission {
            Admission::Judge(_) if follows == Follows::Nothing => {
                Err(Refusal::new(Reason::InvalidJson, ""))
            }
            Admission::Judge(head) => Ok(self.collect(head, Box::new(caller), hold)),
            // A browser asks before it shows any credential.
            Admission::Preflight => Ok(self.pass(Lists::None)),
            Admission::Stream | Admission::End if turned_away => {
                Err(Refusal::new(Reason::IdentityRequired, ""))
            }
            Admission::End => Ok(self.pass(Lists::None)),
            Admission::Stream => {
                let filters = self.policy().is_none_or(Policy::filters_any);
                self.edits.extend(filters.then_some(PLAIN));
                Ok(self.pass(if filters { Lists::Any } else { Lists::None }))
            }
        }
    }

    /// Waits for the body.
    fn collect(&mut self, head: Box<Head>, caller: Box<Caller>, hold: Hold) -> Action {
        self.holds = hold == Hold::Yes;
        let needed = |policy: &Policy| policy.needs_responses() || policy.filters_any();
        if !self.holds && self.policy().is_some_and(needed) {
            // When the body tells whether the response is needed, it may be too late.
            self.edits.push(PLAIN);
        }
        let (early, sought) = (None, None);
        let refused = false;
        self.state = State::Collecting { head, caller, buffered: 0, early, refused, sought };
        if hold == Hold::No { Action::Continue } else { Action::Pause }
    }

    /// Lets a request go that cannot carry a call.
    fn pass(&mut self, lists: Lists) -> Action {
        self.record = Some(Record::passed("", self.policy_name()));
        self.state = State::Forwarded(Expected { lists, ..Expected::default() });
        Action::Continue
    }

    /// Names the caller, and gives the server its own session id if that is pinned.
    fn identify(
        &mut self,
        facts: &Facts<'_>,
        attribute: &Attribute<'_>,
        known: Option<Caller>,
    ) -> Result<Caller, Refusal> {
        let arrived = arrival::identify(&self.config, facts, attribute, known)?;
        self.sealed_to = arrived.sealed_to;
        self.edits.extend(arrived.session.map(|id| HeaderEdit::Set("mcp-session-id", id.into())));
        Ok(arrived.caller)
    }

    fn policy(&self) -> Option<&Policy> {
        self.policy.and_then(|at| self.config.policy_at(at))
    }

    fn policy_name(&self) -> &str {
        self.policy().map_or("", |policy| &policy.name)
    }

    /// Request body: `buffered` counts all of it that Envoy holds so far.
    pub fn request_body<E: Environment>(
        &mut self,
        env: &E,
        buffered: usize,
        chunk: Chunk,
    ) -> Action {
        if self.is_oversized(buffered) {
            return self.seek_id(env, buffered, chunk);
        }
        let State::Collecting { buffered: known, .. } = &mut self.state else {
            return self.settled();
        };
        *known = buffered;
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
        match &self.state {
            State::Forwarded(expected) => !expected.is_nothing() || self.sealed_to.is_some(),
            // A server answers before it has the body.
            State::Collecting { caller, .. } => {
                !caller.is_proven() || self.policy().is_some_and(Policy::filters_any)
            }
            State::Fresh | State::Passing | State::Responding(_) | State::Answered => false,
        }
    }

    /// Response headers.
    pub fn response_headers<E: Environment>(&mut self, env: &E, head: ResponseHead<'_>) {
        let filters = self.policy().is_some_and(Policy::filters_any);
        let refuses = head.refuses_the_caller();
        let expected = match &mut self.state {
            State::Forwarded(expected) => std::mem::take(expected),
            // Nobody knows yet what is asked.
            State::Collecting { head, refused, .. } => {
                *refused = refuses;
                let (ids, framing) = (Vec::new(), head.framing);
                let asked = Asked { lists: false, ids, batch: false, framing };
                let lists = if filters { Lists::To(asked) } else { Lists::None };
                Expected { lists, ..Expected::default() }
            }
            State::Fresh | State::Passing | State::Responding(_) | State::Answered => return,
        };
        if let (Some(grant), Some(id)) = (self.sealed_to, head.session) {
            self.edits.push(seal_session(&self.config.sessions, grant, id));
        }
        let started = Response::start(&self.config, self.policy, env, expected, head);
        let next = match started {
            None => State::Passing,
            Some((mut response, edits)) => {
                self.edits.extend(edits);
                self.record = response.take_record(&self.config).or(self.record.take());
                State::Responding(Box::new(response))
            }
        };
        self.respond(next);
    }

    /// Response body: `length` bytes are passing.
    pub fn response_body<E: Environment>(
        &mut self,
        env: &E,
        length: usize,
        chunk: Chunk,
    ) -> BodyAction {
        let config = Rc::clone(&self.config);
        let Some(response) = self.state.response() else { return BodyAction::Continue };
        let action = response.body(&config, env, length, chunk);
        let record = response.take_record(&config);
        if response.is_over() {
            self.respond(State::Passing);
        }
        self.record = record.or(self.record.take());
        action
    }

    /// Response trailers: where they come, the body never says that it has ended.
    pub fn response_trailers<E: Environment>(&mut self, env: &E) {
        let config = Rc::clone(&self.config);
        let Some(response) = self.state.response() else { return };
        response.trailers(&config, env);
        let record = response.take_record(&config);
        self.record = record.or(self.record.take());
    }

    /// What becomes of the response, which may be on its way before the request is judged.
    fn respond(&mut self, next: State) {
        if let State::Collecting { early, .. } = &mut self.state {
            *early = Some(Box::new(next));
        } else {
            self.state = next;
        }
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
        if self.is_oversized(0) {
            return self.seek_id(env, 0, Chunk::Last);
        }
        let State::Collecting { head, caller, buffered, early, refused, sought: _ } =
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
        let verdict = match Judgement::new(&self.config, self.policy(), &head, *caller, env, now)
            .of_body(&body)
        {
            Ok(verdict) => verdict,
            Err(refusal) => return self.refuse_as(refusal, head.framing),
        };
        self.record = verdict.record;
        match verdict.result {
            Ok(expected) => {
                if let Some(early) = early {
                    // The answer tells nothing of what becomes of the call, unless the server refuses the caller.
                    if refused {
                        give_back(&self.config, env, expected.unproven.iter());
                    }
                    self.state = *early;
                    return Action::Continue;
                }
                if self.holds && !expected.needs_no_body() {
                    self.edits.push(PLAIN);
                }
                self.state = State::Forwarded(expected);
                Action::Continue
            }
            Err(reply) => Action::Reply(reply),
        }
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
