//! The filter on a stage: whole exchanges against an in-memory store, at times that the caller names. For authors only.
//!
//! Nothing is decided here: every request goes the way it goes in Envoy, through [`Exchange`].

pub mod body;
pub mod coverage;
pub mod names;
pub mod suite;

use std::rc::Rc;

use serde::Serialize;

use crate::exchange::{Chunk, Event, Exchange, Flow, Holds};
use crate::identity::Caller;
use crate::json::{Duplicates, Value, parse};
use crate::mcp::Refusal;
use crate::mcp::headers::facts::Facts;
use crate::mcp::headers::{Follows, Header};
use crate::mcp::outcome::Origin;
use crate::number::Micros;
use crate::policy::binding::RouteFact;
use crate::policy::callers::Peer;
use crate::policy::compiled::{Config, Policy};
use crate::policy::entry::NamedCounter;
use crate::policy::sessions::Sessions;
use crate::policy::settings::HoldHeaders;
use crate::rate::limiter::{Charge, Limiter, Mode};
use crate::rate::memory::MemoryStore;
use crate::time::UnixMillis;
use crate::witness::Witness;
use crate::world::World;
use names::{CallerName, GRANT};

/// A configuration with its counters.
#[derive(Clone, Debug)]
pub struct Simulator {
    /// The configuration, changed so that callers can be named and sessions need no seal.
    pub config: Rc<Config>,
    /// What has been counted.
    pub store: MemoryStore,
}

/// One request as the filter would see it.
#[derive(Clone, Debug, PartialEq)]
pub struct SimulatedRequest {
    /// The JSON-RPC message.
    pub body: String,
    /// Who calls, by which names. One whom neither `grant` nor a header names is anonymous.
    pub names: Vec<CallerName>,
    /// The MCP session.
    pub session: Option<String>,
    /// Where it goes.
    pub target: Destination,
    /// Further headers, their names in lower case.
    pub headers: Vec<(String, String)>,
    /// When.
    pub at: UnixMillis,
    /// What the server answers, if it is asked.
    pub response: SimulatedResponse,
}

/// Where a request goes, for bindings.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Destination {
    /// The host; `localhost` by default.
    pub host: Option<String>,
    /// The path; by default the first of `requests.paths`, or `/mcp`.
    pub path: Option<String>,
    /// The name of Envoy's route.
    pub route: Option<String>,
}

/// What the server answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SimulatedResponse {
    /// A result.
    Result,
    /// An error, so that what counts successes only is given back.
    Error,
}

/// What becomes of a request.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Verdict {
    /// `allow`, `deny`, `would_deny` (in shadow), `refuse` (by the strict front door), or `pass` (no call).
    pub decision: String,
    /// Why not.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// JSON Pointer to the line of the policy that decided.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub rule: String,
    /// The policy that governs the request; empty where none does, or the front door refuses it.
    #[serde(skip)]
    pub policy: String,
    /// The HTTP status of the answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// The JSON-RPC error code of the answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<i64>,
    /// The text that the agent reads.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
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
        Simulator { config: Rc::new(config), store: MemoryStore::default() }
    }

    /// The same stage, with nothing counted.
    #[must_use]
    pub fn afresh(&self) -> Simulator {
        Simulator { config: Rc::clone(&self.config), store: MemoryStore::default() }
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
        let world = Seen { simulator: self, request, witness };
        let holds = Rc::new(Holds::new(HoldHeaders::Always));
        let mut exchange = Exchange::new(Rc::clone(&self.config), holds);
        let place = self.config.doors.example();
        let sent = request.headers(place.as_deref());
        let headers = borrowed(&sent);
        let event = Event::RequestHead { headers: &headers, follows: Follows::Body };
        let mut step = exchange.on(&world, event);
        if step.flow == Flow::Pause {
            let event = Event::RequestBody { buffered: request.body.len(), chunk: Chunk::Last };
            step = exchange.on(&world, event);
        }
        let mut verdict = Verdict::default();
        if let Some(record) = step.record {
            verdict.decision = record.decision.to_owned();
            verdict.reason = record.reason.to_owned();
            verdict.rule = record.rule;
            verdict.policy = record.policy;
        }
        match step.flow {
            Flow::Reply(reply) => verdict.read_reply(reply.status, &reply.body),
            Flow::Continue | Flow::Pause => {
                // What it changes in the response, nobody sees here.
                let _ = exchange.on(&world, Event::ResponseHead { follows: Follows::Nothing });
            }
        }
        verdict
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
        let world = Seen { simulator: self, request, witness: &() };
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

impl SimulatedRequest {
    /// A request by an anonymous caller, that the server answers with a result.
    #[must_use]
    pub fn new(body: String, at: UnixMillis) -> SimulatedRequest {
        SimulatedRequest {
            body,
            names: Vec::new(),
            session: None,
            target: Destination::default(),
            headers: Vec::new(),
            at,
            response: SimulatedResponse::Result,
        }
    }

    /// The same, called by this one.
    #[must_use]
    pub fn by(mut self, caller: Option<String>) -> SimulatedRequest {
        self.names.extend(caller.map(|name| (GRANT.to_owned(), Value::String(name.into()))));
        self
    }

    /// The name of the caller.
    #[must_use]
    pub fn caller(&self) -> Option<&str> {
        self.names.iter().find(|(key, _)| key == GRANT).and_then(|(_, name)| name.as_str())
    }

    /// All headers, with a path where the request says none.
    fn headers<'r>(&'r self, place: Option<&'r str>) -> Vec<(&'r str, &'r str)> {
        let host = self.target.host.as_deref().unwrap_or("localhost");
        let path = self.target.path.as_deref().or(place).unwrap_or("/mcp");
        let mut headers = vec![
            (":method", "POST"),
            (":authority", host),
            (":path", path),
            ("content-type", "application/json"),
        ];
        headers.extend(self.session.iter().map(|session| ("mcp-session-id", &**session)));
        headers.retain(|(name, _)| !self.headers.iter().any(|(own, _)| own == name));
        headers.extend(self.headers.iter().map(|(name, value)| (&**name, &**value)));
        headers
    }
}

fn borrowed<'h>(headers: &[(&'h str, &'h str)]) -> Vec<Header<'h>> {
    headers.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())).collect()
}

/// Lets one policy govern every request; false where there is none of this name.
pub fn let_govern(config: &mut Config, name: &str) -> bool {
    if *config.policy.name != *name {
        let mut others = config.others.iter_mut();
        let Some(other) = others.find(|policy| *policy.name == *name) else { return false };
        std::mem::swap(&mut config.policy, other);
    }
    config.bindings = None;
    true
}

impl Verdict {
    /// Whether the call gets to the server.
    #[must_use]
    pub fn is_forwarded(&self) -> bool {
        matches!(&*self.decision, "allow" | "would_deny" | "pass")
    }

    fn read_reply(&mut self, status: u16, body: &[u8]) {
        self.status = Some(status);
        let Some(Ok(reply)) =
            std::str::from_utf8(body).ok().map(|text| parse(text, Duplicates::Keep))
        else {
            return;
        };
        let member = |key| reply.as_object().and_then(|reply| reply.get(key)?.as_object());
        let Some(error) = member("error") else {
            // `denials.as: tool_result`: one piece of text.
            if let Some(Value::Array(content)) = member("result").and_then(|it| it.get("content")) {
                let text = content.first().and_then(Value::as_object);
                let text = text.and_then(|piece| piece.get("text")?.as_str());
                self.message = text.map(str::to_owned);
            }
            return;
        };
        if let Some(Value::Number(code)) = error.get("code") {
            self.code = code.parse().ok();
        }
        self.message = error.get("message").and_then(Value::as_str).map(str::to_owned);
    }
}

/// What an exchange sees of the stage.
struct Seen<'w, W> {
    simulator: &'w Simulator,
    request: &'w SimulatedRequest,
    witness: &'w W,
}

impl<W: Witness> World for Seen<'_, W> {
    type Store = MemoryStore;
    type Witness = W;

    fn witness(&self) -> &W {
        self.witness
    }

    fn now(&self) -> Option<UnixMillis> {
        Some(self.request.at)
    }

    fn store(&self) -> &MemoryStore {
        &self.simulator.store
    }

    fn claim(&self, payload: &str, path: &[Box<str>]) -> Option<Value<'static>> {
        names::claim(&self.simulator.config.callers, &self.request.names, payload, path)
    }

    fn certificate(&self, _: Peer) -> Option<Vec<u8>> {
        None
    }

    fn address(&self) -> Option<Vec<u8>> {
        None
    }

    fn route(&self, fact: RouteFact<'_>) -> Option<Vec<u8>> {
        match fact {
            RouteFact::Name => self.request.target.route.clone().map(String::into_bytes),
            RouteFact::Metadata(..) => None,
        }
    }

    fn request_body(&self, length: usize) -> Option<Vec<u8>> {
        self.request.body.as_bytes().get(..length).map(<[u8]>::to_vec)
    }

    fn response_headers<T>(&self, read: impl FnOnce(&[Header<'_>]) -> T) -> T {
        let status: &[u8] = match self.request.response {
            SimulatedResponse::Result => b"200",
            SimulatedResponse::Error => b"500",
        };
        read(&[(b":status", status)])
    }

    fn origin(&self) -> Origin {
        Origin::Server
    }

    fn response_chunk(&self, _: usize) -> Option<Vec<u8>> {
        None
    }
}
