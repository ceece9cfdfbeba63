//! One HTTP exchange as a state machine: an event in, a step out.
//!
//! Everything about buffering, the end of a body, trailers and the holding of headers lives here, away from the host, where tests can
//! feed any sequence of events. A request is judged once, at the end of its body or at its trailers, whichever comes; nothing is
//! forwarded unjudged.

mod answer;
mod approving;
mod arrival;
mod asking;
mod beside;
mod chain;
mod counting;
mod elicitation;
mod ending;
mod expected;
mod flight;
mod going;
mod hold;
mod judged;
mod judgement;
mod leaving;
mod noted;
mod port;
mod refunds;
mod refusals;
mod response;
mod state;
mod telling;
mod waiting;

use std::borrow::Cow;
use std::rc::Rc;

use crate::approval::call::Site;
use crate::identity::Caller;
use crate::mcp::Refusal;
use crate::mcp::headers::facts::Facts;
use crate::mcp::headers::steering::{controls, detours};
use crate::mcp::headers::{Admission, Follows, Head, Header, admit};
use crate::pins::ServerId;
use crate::policy::compiled::{Config, Policy};
use crate::rate::limiter::Reservation;
use crate::rate::table::CallerId;
use crate::reason::Reason;
use crate::record::Record;
use crate::time::Moment;
use crate::world::World;
pub use flight::PULSE_MILLIS;
pub use hold::{Holds, TICK_MILLIS};
pub use port::{Chunk, Event, Flow, HeaderEdit, Level, Line, Step};

use arrival::{Route, route};
use expected::{Expected, Lists};
use hold::{Hold, NOT_HELD, Overdue, Wait};
use judged::Judged;
use judgement::Judgement;
use refunds::give_back;
use state::{Early, State, WaitsFor};
use telling::AuditTrail;

/// What a response must not be encoded for: events and lists have to be read.
const PLAIN: HeaderEdit = HeaderEdit::Set("accept-encoding", Cow::Borrowed("identity"));

/// The state of one exchange.
#[derive(Debug)]
pub struct Exchange {
    config: Rc<Config>,
    state: State,
    hold: Hold,
    /// Whether request headers can still be changed when the body has been judged.
    waits: bool,
    /// The policy that governs the request, by its index; `None` where no binding matches.
    policy: Option<usize>,
    /// Who asks, where what lists show depends on him.
    viewer: Option<Rc<Caller>>,
    /// What is given back when the stream ends.
    in_flight: Vec<Reservation>,
    /// The server that it goes to.
    server: ServerId,
    /// To whom session ids in the response are sealed.
    sealed_to: Option<CallerId>,
    /// Whether bytes of the response's body have come.
    speaking: bool,
    /// Whether the client sent `traceparent` as a header.
    is_traced: bool,
    /// Where the request goes, for audit lines; and those that were written of it.
    trail: Option<Box<AuditTrail>>,
}

impl Exchange {
    /// An exchange that has seen nothing.
    #[must_use]
    pub fn new(config: Rc<Config>, holds: Rc<Holds>) -> Exchange {
        Exchange {
            config,
            state: State::Fresh,
            hold: Hold::new(holds),
            waits: false,
            policy: Some(0),
            viewer: None,
            in_flight: Vec::new(),
            server: ServerId::default(),
            sealed_to: None,
            speaking: false,
            is_traced: false,
            trail: None,
        }
    }

    /// The configuration.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Takes an event, and says what to do. All events go through here, and all that comes of them is in the step.
    pub fn on<W: World>(&mut self, world: &W, event: Event<'_>) -> Step {
        let mut step = Step::new(Flow::Pause);
        // Each arm is a function that is never inlined: else every event would pay for the locals of all of them (2000 instructions of the
        // built filter; without them 300).
        step.flow = match event {
            Event::RequestHead { headers, follows } => {
                self.request_head(world, headers, follows, &mut step)
            }
            Event::RequestBody { buffered, chunk } => {
                self.request_body(world, buffered, chunk, &mut step)
            }
            Event::RequestTrailers => self.request_trailers(world, &mut step),
            Event::ResponseHead { follows } => self.response_head(world, follows, &mut step),
            Event::ResponseBody { length, chunk } => {
                self.response_body(world, length, chunk, &mut step)
            }
            Event::ResponseTrailers => self.response_trailers(world, &mut step),
            Event::Answered { ask, answer } => self.answered(world, ask, &answer, &mut step),
            Event::Tick => self.tick(world, &mut step),
            Event::Closed => self.close(world),
            Event::HostFailed => self.host_failed(world, &mut step),
        };
        self.tell(world, &mut step);
        step.ticks = self.hold.is_watched() || matches!(self.state, State::Waiting { .. });
        step.pulses = !self.in_flight.is_empty();
        step
    }

    #[inline(never)]
    fn request_head<W: World>(
        &mut self,
        world: &W,
        headers: &[Header<'_>],
        follows: Follows,
        step: &mut Step,
    ) -> Flow {
        let begun = self.begin(world, headers, follows, step);
        begun.unwrap_or_else(|refusal| self.refuse(refusal, step))
    }

    fn begin<W: World>(
        &mut self,
        world: &W,
        headers: &[Header<'_>],
        follows: Follows,
        step: &mut Step,
    ) -> Result<Flow, Refusal> {
        let config = self.config.clone();
        let facts = Facts::of(headers, &config.headers);
        self.follow(&facts, headers);
        self.policy = config.bindings.is_none().then_some(0);
        let (route, known) = route(&config, headers, &facts, world)?;
        self.policy = match route {
            Route::Governed(at, server) => {
                self.server = server;
                Some(at)
            }
            Route::Unmatched | Route::Unread => None,
        };
        let away = detours(headers, config.bindings.is_some());
        step.edits.extend(away.map(|name| HeaderEdit::Remove(name.into())));
        if route == Route::Unread {
            return Ok(self.pass(Lists::None, step));
        }
        let admission = admit(headers, follows, config.requests.max_body_bytes)?;
        let caller = self.identify(&facts, world, known, step)?;
        let rejected = config.callers.required && caller.is_anonymous();
        step.edits.extend(controls(headers).map(|name| HeaderEdit::Remove(name.into())));
        match admission {
            Admission::Judge(_) if follows == Follows::Nothing => {
                Err(Refusal::new(Reason::InvalidJson, ""))
            }
            Admission::Judge(head) => {
                let site = self.site(&facts);
                Ok(self.collect(world, (head, site), Box::new(caller), step))
            }
            // A browser asks before it shows any credential.
            Admission::Preflight => Ok(self.pass(Lists::None, step)),
            Admission::Stream | Admission::End if rejected => {
                Err(Refusal::new(Reason::IdentityRequired, ""))
            }
            Admission::End => Ok(self.pass(Lists::None, step)),
            Admission::Stream => {
                if let Some(resumed) = self.resumed(world, headers, &caller, step) {
                    self.state = State::Answered;
                    return resumed;
                }
                let filters = self.policy().is_none_or(Policy::filters_any);
                step.edits.extend(filters.then_some(PLAIN));
                Ok(self.pass(if filters { Lists::Any } else { Lists::None }, step))
            }
        }
    }

    /// Waits for the body.
    fn collect<W: World>(
        &mut self,
        world: &W,
        (head, site): (Box<Head>, Option<Box<Site>>),
        caller: Box<Caller>,
        step: &mut Step,
    ) -> Flow {
        let wait = self.hold.begin(world);
        self.waits = wait == Wait::Yes;
        let needed =
            |policy: &Policy| policy.needs_responses() || policy.filters_any() || policy.asks();
        if !self.waits && self.policy().is_some_and(needed) {
            // When the body tells whether the response is needed, it may be too late.
            step.edits.push(PLAIN);
        }
        let (early, sought) = (Early::default(), None);
        self.state = State::Collecting { head, site, caller, buffered: 0, early, sought };
        if wait == Wait::No { Flow::Continue } else { Flow::Pause }
    }

    /// Lets a request go that cannot carry a call.
    fn pass(&mut self, lists: Lists, step: &mut Step) -> Flow {
        step.records.push(Record::passed("", self.policy));
        self.state = State::Forwarded(Expected { lists, ..Expected::default() });
        Flow::Continue
    }

    /// Names the caller, and gives the server its own session id if that is pinned.
    fn identify<W: World>(
        &mut self,
        facts: &Facts<'_>,
        world: &W,
        known: Option<Caller>,
        step: &mut Step,
    ) -> Result<Caller, Refusal> {
        let arrived = arrival::identify(&self.config, facts, world, known)?;
        self.sealed_to = arrived.sealed_to;
        let shows_by_caller = self.policy().is_some_and(Policy::lists_by_caller);
        self.viewer = shows_by_caller.then(|| Rc::new(arrived.caller.clone()));
        step.edits.extend(arrived.session.map(|id| HeaderEdit::Set("mcp-session-id", id.into())));
        Ok(arrived.caller)
    }

    fn policy(&self) -> Option<&Policy> {
        self.policy.and_then(|at| self.config.policy_at(at))
    }

    /// `buffered` counts all of the body that is held so far.
    #[inline(never)]
    fn request_body<W: World>(
        &mut self,
        world: &W,
        buffered: usize,
        chunk: Chunk,
        step: &mut Step,
    ) -> Flow {
        self.hold.came(world);
        if self.is_oversized(buffered) {
            return self.seek_id(world, buffered, chunk, step);
        }
        let State::Collecting { buffered: known, .. } = &mut self.state else {
            return self.settled();
        };
        *known = buffered;
        match chunk {
            Chunk::More => Flow::Pause,
            Chunk::Last => self.judge(world, step),
        }
    }

    /// Where trailers come, the body never says that it has ended.
    #[inline(never)]
    fn request_trailers<W: World>(&mut self, world: &W, step: &mut Step) -> Flow {
        self.hold.came(world);
        let flow = match self.state {
            State::Collecting { .. } => self.judge(world, step),
            State::Fresh
            | State::Passing
            | State::Waiting { .. }
            | State::Forwarded(_)
            | State::Responding(_)
            | State::Answered => self.settled(),
        };
        let goes_on = flow == Flow::Continue && matches!(self.state, State::Forwarded(_));
        if goes_on && self.hold.is_late() {
            // After a pause of everything, Envoy 1.40 hands on the trailers without the body that was held for this callback. What
            // the request has counted stays counted.
            return self.refuse(Refusal::new(Reason::HeadersNotHeld, ""), step);
        }
        flow
    }

    /// Time has passed.
    #[inline(never)]
    fn tick<W: World>(&mut self, world: &W, step: &mut Step) -> Flow {
        self.stay(world);
        if matches!(self.state, State::Waiting { .. }) {
            return self.tick_waiting(world, step);
        }
        match self.hold.tick(world) {
            Overdue::Nothing => Flow::Pause,
            Overdue::Release => Flow::Continue,
            Overdue::Refuse => {
                step.complain(NOT_HELD);
                self.refuse(Refusal::new(Reason::HeadersNotHeld, ""), step)
            }
        }
    }

    fn judge<W: World>(&mut self, world: &W, step: &mut Step) -> Flow {
        if self.is_oversized(0) {
            return self.seek_id(world, 0, Chunk::Last, step);
        }
        let State::Collecting { head, site, caller, buffered, early, sought: _ } =
            std::mem::replace(&mut self.state, State::Answered)
        else {
            return self.settled();
        };
        let body = if buffered == 0 { Some(Vec::new()) } else { world.request_body(buffered) };
        let Some(body) = body.filter(|body| body.len() == buffered) else {
            return self.refuse(Refusal::new(Reason::HostFailure, ""), step);
        };
        // Only counts and approvals need the second clock, and asking for it is a host call.
        let looks = self.config.counters.service.is_some();
        let counts = self.policy().is_some_and(|policy| policy.counts() || policy.asks()) || looks;
        let now = if counts { world.moment() } else { world.now().map(Moment::from) };
        let Some(now) = now else {
            return self.refuse(Refusal::new(Reason::HostFailure, ""), step);
        };
        let judged = Judgement::new(
            &self.config,
            (self.policy(), self.server),
            (&head, site.as_deref()),
            *caller,
            world,
            now,
        );
        match judged.of_body(&body) {
            Ok(Judged::Forward(going)) => self.go(world, going, (early, now), step),
            Ok(Judged::Answer(reply, records)) => {
                step.records = records;
                Flow::Reply(reply)
            }
            Ok(Judged::Wait(waiting, ask, body)) => {
                step.asks.push(ask);
                step.body = body;
                let waiting = WaitsFor::Approval(waiting);
                self.state = State::Waiting { waiting, early };
                Flow::Pause
            }
            Err(refusal) => self.refuse_as(refusal, head.framing, step),
        }
    }

    /// Lets a request go on, of whose response this is needed.
    fn forward<W: World>(
        &mut self,
        world: &W,
        expected: Expected,
        early: Early,
        step: &mut Step,
    ) -> Flow {
        if let Some(state) = early.state {
            // The answer tells nothing of what becomes of the call, unless the server refuses the caller.
            if early.refused {
                give_back(&self.config, world, expected.unproven.iter());
            }
            self.state = *state;
            return Flow::Continue;
        }
        self.join_trace(step);
        if self.waits && !expected.needs_no_body() {
            step.edits.push(PLAIN);
        }
        self.state = State::Forwarded(expected);
        Flow::Continue
    }
}
