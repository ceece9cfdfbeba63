//! The filter on a stage: whole exchanges against an in-memory store, at times that the caller names. For authors only.
//!
//! Nothing is decided here: every request goes the way it goes in Envoy, through [`Exchange`].

pub mod approver;
pub mod body;
mod client;
pub mod coverage;
mod listed;
pub mod names;
mod overheard;
mod play;
mod request;
mod seen;
pub mod suite;
mod verdict;

use std::cell::Cell;
use std::rc::Rc;

use crate::ask::Answer;
use crate::exchange::{Chunk, Event, Exchange, Flow, Holds, Step};
use crate::identity::Caller;
use crate::mcp::Refusal;
use crate::mcp::headers::Follows;
use crate::mcp::headers::facts::Facts;
use crate::number::Micros;
use crate::policy::approvals::{ApprovalWay, Need};
use crate::policy::compiled::{Config, Policy};
use crate::policy::entry::{CountIn, NamedCounter};
use crate::policy::environment::Environment;
use crate::policy::sessions::Sessions;
use crate::policy::settings::HoldHeaders;
use crate::rate::limiter::{Charge, Limiter, Mode};
use crate::rate::memory::MemoryStore;
use crate::reason::Reason;
use crate::time::UnixMillis;
use crate::witness::Witness;
use approver::StagedApprover;
pub use listed::ListSeen;
use overheard::Overheard;
use request::borrowed;
pub use request::{Destination, SimulatedRequest, SimulatedResponse};
use seen::Seen;
pub use verdict::Verdict;

/// The secret of everything that is sealed on a stage. It seals nothing elsewhere.
const SECRET: &[u8] = b"a rehearsal has nothing to keep secret";

/// Every variable has the secret.
const ENVIRONMENT: Environment =
    Environment { owner: "the stage", cure: "", read: |_| Some(SECRET.to_vec()) };

/// A configuration with its counters.
#[derive(Clone, Debug)]
pub struct Simulator {
    /// The configuration, changed so that callers can be named and sessions need no seal.
    pub config: Rc<Config>,
    /// What has been counted.
    pub store: MemoryStore,
    /// How many draws of what nobody can foresee there have been.
    draws: Cell<u64>,
    /// Whether users are asked, so that clients are such as can.
    asks_users: bool,
}

/// One request and its answer.
#[derive(Debug)]
struct Round {
    verdict: Verdict,
    /// Who was asked.
    asked: Option<ApprovalWay>,
    /// What the client shall carry back.
    state: Option<String>,
}

impl Simulator {
    /// A stage on which nothing has been counted.
    #[must_use]
    pub fn new(mut config: Config) -> Simulator {
        names::prepend(&mut config.callers);
        if matches!(config.sessions, Sessions::Pinned(_)) {
            // A session id here is the one that the seal would hold.
            config.sessions = Sessions::Trusted;
        }
        // One Envoy counts as exactly as all together do.
        for policy in std::iter::once(&mut config.policy).chain(&mut config.others) {
            policy.counters.iter_mut().for_each(|counter| counter.count_in = CountIn::Envoy);
        }
        // It fails for a secret that is too short, which this one is not, or is no text.
        let _ = config.approvals.unlock("", true, &ENVIRONMENT);
        let asks_users = config.policies().any(|policy| policy.names_way(ApprovalWay::User));
        Simulator {
            config: Rc::new(config),
            store: MemoryStore::default(),
            draws: Cell::new(0),
            asks_users,
        }
    }

    /// The same stage, with nothing counted.
    #[must_use]
    pub fn afresh(&self) -> Simulator {
        Simulator { store: MemoryStore::default(), ..self.clone() }
    }

    /// The policy that governs a request; `None` where none does, or the front door refuses it.
    #[must_use]
    pub fn policy_for(&self, request: &SimulatedRequest) -> Option<&Policy> {
        self.policy_named(&self.clone().send(request).policy)
    }

    /// The policy of a name.
    #[must_use]
    pub fn policy_named(&self, name: &str) -> Option<&Policy> {
        self.config.policies().find(|policy| *policy.name == *name)
    }

    /// Sends a request, and what the server answers if it is forwarded.
    #[must_use]
    pub fn send(&self, request: &SimulatedRequest) -> Verdict {
        self.send_before(request, &())
    }

    /// The same, while somebody listens.
    #[must_use]
    pub fn send_before<W: Witness>(&self, request: &SimulatedRequest, witness: &W) -> Verdict {
        self.round(&self.able(request), witness, None).verdict
    }

    /// The request as a client sends it that can ask its user, where the policies ask users.
    fn able(&self, request: &SimulatedRequest) -> SimulatedRequest {
        let able = self.asks_users.then(|| client::able(&request.body, &request.headers));
        match able.flatten() {
            Some((body, headers)) => SimulatedRequest { body, headers, ..request.clone() },
            None => request.clone(),
        }
    }

    fn draw(&self) -> u64 {
        self.draws.set(self.draws.get().wrapping_add(1));
        self.draws.get()
    }

    fn world<'w, W>(&'w self, request: &'w SimulatedRequest, witness: &'w W) -> Seen<'w, W> {
        Seen {
            callers: &self.config.callers,
            names: &request.names,
            route: request.target.route.as_deref(),
            body: &request.body,
            status: match request.response {
                SimulatedResponse::Result => b"200",
                SimulatedResponse::Error => b"500",
            },
            answer: "",
            store: &self.store,
            witness,
            now: Cell::new(request.at),
            drawn: self.draw(),
        }
    }

    /// Sends a request as it is. Without an approver, a call that waits for one goes on waiting, and is then given up by its client.
    fn round<W: Witness>(
        &self,
        request: &SimulatedRequest,
        witness: &W,
        approver: Option<&StagedApprover>,
    ) -> Round {
        let heard = Overheard::beside(witness);
        let world = self.world(request, &heard);
        let (mut exchange, mut step) = self.begin(request, &world);
        let mut round = Round { verdict: Verdict::default(), asked: None, state: None };
        if !step.asks.is_empty() {
            round.asked = Some(ApprovalWay::Approver);
            step = match approver {
                Some(approver) => self.asked(&mut exchange, &world, step, approver),
                None => step,
            };
        }
        round.read(step, &self.config);
        self.hear(&mut round, &heard);
        // What it changes in the response, nobody sees here.
        if round.verdict.is_forwarded() {
            let _ = exchange.on(&world, Event::ResponseHead { follows: Follows::Nothing });
        }
        let _ = exchange.on(&world, Event::Closed);
        round
    }

    /// Begins an exchange with a request, its body and all.
    fn begin<W: Witness>(
        &self,
        request: &SimulatedRequest,
        world: &Seen<'_, W>,
    ) -> (Exchange, Step) {
        let holds = Rc::new(Holds::new(HoldHeaders::Always));
        let mut exchange = Exchange::new(Rc::clone(&self.config), holds);
        let place = self.config.doors.example();
        let sent = request.headers(place.as_deref());
        let headers = borrowed(&sent);
        let event = Event::RequestHead { headers: &headers, follows: Follows::Body };
        let mut step = exchange.on(world, event);
        if step.flow == Flow::Pause {
            let event = Event::RequestBody { buffered: request.body.len(), chunk: Chunk::Last };
            step = exchange.on(world, event);
        }
        (exchange, step)
    }

    /// Brings the questions to an approver, and its answers back, until the call waits no longer.
    fn asked<W: Witness>(
        &self,
        exchange: &mut Exchange,
        world: &Seen<'_, W>,
        mut step: Step,
        approver: &StagedApprover,
    ) -> Step {
        let Some(service) = &self.config.approvals.approver else { return step };
        while let Some(ask) = step.asks.pop() {
            let body = approver.answer(&ask, &service.requests);
            let answer = Answer::Http { status: 200, body: body.as_bytes() };
            step = exchange.on(world, Event::Answered { ask: ask.id, answer });
        }
        if step.flow == Flow::Pause {
            let patience = u64::from(self.config.approvals.wait_millis);
            world.now.set(UnixMillis(world.now.get().0.saturating_add(patience)));
            step = exchange.on(world, Event::Tick);
        }
        step
    }

    /// Puts down what approval the call needs.
    fn hear<W>(&self, round: &mut Round, heard: &Overheard<'_, W>) {
        let verdict = &mut round.verdict;
        if verdict.decision.is_empty() {
            // It waits, so nothing is on record.
            verdict.decision = "ask".to_owned();
            verdict.reason = Reason::ApprovalRequired.label().to_owned();
            verdict.policy = heard.policy.borrow().clone();
            let rules = self.policy_named(&verdict.policy).map(|policy| &policy.rules);
            let rule = rules.zip(heard.rule.get()).map(|(rules, rule)| rules.pointer(rule));
            verdict.rule = rule.unwrap_or_default().to_owned();
        }
        let need = match &*verdict.decision {
            "would_ask" => self
                .policy_named(&verdict.policy)
                .zip(heard.rule.get())
                .and_then(|(policy, rule)| policy.need_of(rule)),
            "ask" | "deny" => heard.need.get(),
            _ => None,
        };
        let Some(need) = need else { return };
        if verdict.decision != "deny" || verdict.reason == Reason::ApprovalRequired.label() {
            verdict.approval_by = need.by.iter().map(ApprovalWay::word).collect();
        }
        if verdict.decision != "deny" {
            let asked = round.asked.or_else(|| first_asked(need));
            verdict.asks = asked.map(ApprovalWay::word);
            round.asked = asked.filter(|_| verdict.decision == "ask");
        }
    }

    /// Puts a count on a counter, as if it had been made at this time.
    ///
    /// # Errors
    /// As [`Stage::caller`].
    pub fn preset(
        &self,
        counter: &NamedCounter,
        request: &SimulatedRequest,
        amount: Micros,
    ) -> Result<(), Refusal> {
        let charge = Charge {
            counter: counter.counter,
            account: self.caller(request)?.counted_as(counter.scope),
            amount,
            max: None,
            mode: Mode::Enforce,
        };
        // Without a maximum only a broken store refuses, and this one is in memory.
        let _ = self.limiter().reserve(&[charge], request.at);
        Ok(())
    }

    /// Who calls.
    ///
    /// # Errors
    /// The refusal of one whose names cannot be read.
    pub fn caller(&self, request: &SimulatedRequest) -> Result<Caller, Refusal> {
        let sent = request.headers(None);
        let headers = borrowed(&sent);
        let facts = Facts::of(&headers, &self.config.headers);
        let world = self.world(request, &());
        let caller = Caller::read(&self.config, &facts, &world)?;
        let session = facts.session.value("mcp-session-id")?;
        Ok(caller.in_session(&self.config.sessions, session))
    }

    /// The limiter over the stage's store.
    #[must_use]
    pub fn limiter(&self) -> Limiter<'_, MemoryStore> {
        Limiter::new(&self.store, self.config.counters.shards)
    }
}

/// Lets one policy govern every request; false where there is none of this name.
pub fn let_govern(config: &mut Config, name: &str) -> bool {
    if *config.policy.name != *name {
        let mut others = config.others.iter_mut();
        let Some(other) = others.find(|policy| *policy.name == *name) else { return false };
        std::mem::swap(&mut config.policy, other);
        // A policy is known by its place.
        std::mem::swap(&mut config.policy.index, &mut other.index);
    }
    config.bindings = None;
    true
}

/// Who is asked first.
fn first_asked(need: Need) -> Option<ApprovalWay> {
    need.by.iter().find(|way| *way != ApprovalWay::Token)
}
