//! A world for the engine, in memory: a clock that is set, a store, bodies, and calls made under a policy.

use std::cell::Cell;
use std::rc::Rc;

use mcp_policy::enforce::{Enforcer, Governed, Outcome};
use mcp_policy::exchange::{Exchange, Holds};
use mcp_policy::identity::Caller;
use mcp_policy::json::{Bounds, Value};
use mcp_policy::language::diagnostic::Diagnostic;
use mcp_policy::matcher::work::Work;
use mcp_policy::mcp::headers::facts::Facts;
use mcp_policy::mcp::headers::{Admission, Follows, Head, Header, admit};
use mcp_policy::mcp::message::{self, Body, Message, parse_body};
use mcp_policy::mcp::outcome::Origin;
use mcp_policy::pins::Sightings;
use mcp_policy::policy::binding::RouteFact;
use mcp_policy::policy::callers::Peer;
use mcp_policy::policy::compiled::Config;
use mcp_policy::policy::settings::HoldHeaders;
use mcp_policy::rate::limiter::Limiter;
use mcp_policy::rate::memory::MemoryStore;
use mcp_policy::rehearsal::{SimulatedRequest, Simulator, Verdict};
use mcp_policy::reply::{Addressee, Context, Reply};
use mcp_policy::time::UnixMillis;
use mcp_policy::trace::{TracedRule, trace};

/// What became of a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Decided {
    pub(crate) allowed: bool,
    pub(crate) reason: Option<&'static str>,
    pub(crate) rule: Option<String>,
    pub(crate) message: Option<String>,
    pub(crate) code: Option<i32>,
    /// `result` or `modern result` where a denial is a tool's result.
    pub(crate) form: Option<&'static str>,
}

/// What the server says of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    Success,
    Error,
}

/// A policy with its counters.
pub(crate) struct Engine {
    pub(crate) config: Config,
    pub(crate) store: MemoryStore,
}

impl Engine {
    pub(crate) fn new(policy: &str) -> Result<Engine, Vec<Diagnostic>> {
        let config = Config::load(policy.as_bytes(), "test")?.config;
        Ok(Engine { config, store: MemoryStore::default() })
    }

    /// Sends a call with this `authorization`.
    pub(crate) fn call(
        &self,
        tool: &str,
        arguments: Option<&str>,
        caller: &str,
        at: u64,
    ) -> Decided {
        let body = tools_call("1", tool, arguments);
        self.request(&body, &post_headers(caller), at, Answer::Success)
    }

    /// The same with any request, and what the server says of it if it gets there.
    pub(crate) fn request(
        &self,
        body: &str,
        headers: &[Header<'_>],
        at: u64,
        answer: Answer,
    ) -> Decided {
        let head = match admit(headers, Follows::Body, usize::MAX) {
            Ok(Admission::Judge(head)) => *head,
            other => panic!("not a POST: {other:?}"),
        };
        let value = parse_body(body.as_bytes(), Bounds::DOCUMENT).unwrap();
        let message = match Body::read(&value) {
            Ok(Body::Single(Message::Request(request))) => request,
            other => panic!("not a call: {other:?}"),
        };
        let facts = Facts::of(headers, &self.config.headers);
        let caller = Caller::read(&self.config, &facts, &World::new(&self.store)).unwrap();
        self.decide(&message, &head, &caller, at, answer)
    }

    fn decide(
        &self,
        request: &message::Request<'_>,
        head: &Head,
        caller: &Caller,
        at: u64,
        answer: Answer,
    ) -> Decided {
        let limiter = Limiter::new(&self.store, self.config.counters.shards);
        let allowed = Decided {
            allowed: true,
            reason: None,
            rule: None,
            message: None,
            code: None,
            form: None,
        };
        let Some(governed) = Governed::of(&self.config.policy, request) else {
            return allowed;
        };
        let enforcer = Enforcer {
            config: &self.config,
            policy: &self.config.policy,
            caller,
            limiter: &limiter,
            sightings: Sightings::new(&self.store, self.config.policy.server),
            now: UnixMillis(at).into(),
            work: &Work::of(1 << 20),
            witness: &(),
        };
        let denial = match enforcer.enforce(&governed) {
            Outcome::Permitted(permit, _) => {
                let counted = permit.forward();
                if answer == Answer::Error {
                    limiter.give_back(&counted.refundable);
                }
                // Its stream is over.
                limiter.give_back(&counted.in_flight);
                return allowed;
            }
            // Nobody is here to approve.
            Outcome::Pending(pending) => pending.abandon(&limiter),
            Outcome::Denied(denial) => denial,
        };
        let (policy, form) = (Some(&self.config.policy), self.config.denials);
        let to = Addressee::of(request, head);
        let reply = Reply::denial(&to, &denial, &Context { policy, form });
        // Nobody waits for an answer to a notification.
        assert_eq!(request.id.is_none(), (reply.status, &*reply.body) == (202, b""));
        let body = if reply.body.is_empty() { b"null" } else { &*reply.body };
        let answer: serde_json::Value = serde_json::from_slice(body).unwrap();
        let result = &answer["result"];
        let told = answer["error"]["message"].as_str();
        let modern = result.get("resultType").is_some();
        let form = result.get("isError").map(|_| if modern { "modern result" } else { "result" });
        Decided {
            allowed: false,
            reason: Some(denial.reason.label()),
            rule: Some(denial.pointer(&self.config.policy).to_owned()),
            message: told.or(result["content"][0]["text"].as_str()).map(str::to_owned),
            code: Some(denial.reason.code()),
            form,
        }
    }
}

/// Explains a request and sends it. What is wrong if the explanation does not say what is decided: the rule that decides must be
/// one of those that deny or ask in it, with the same reason; and where none decides, none may deny.
pub(crate) fn explained(
    simulator: &Simulator,
    request: &SimulatedRequest,
) -> Result<Verdict, String> {
    let expected = simulator.clone().send(request);
    let (verdict, trace) = trace(simulator, request);
    let denies = |rule: &&TracedRule| rule.denies && !rule.shadow;
    let decided = trace.rules.iter().any(|rule| {
        rule.denies && rule.rule == verdict.rule && rule.reason == Some(&*verdict.reason)
    });
    let right = match &*verdict.decision {
        "deny" => verdict.rule.is_empty() || decided,
        "would_deny" | "would_ask" | "ask" => decided,
        _ => trace.rules.iter().find(denies).is_none(),
    };
    match right && verdict == expected {
        true => Ok(verdict),
        false => Err(format!("{}\n  {verdict:?}\n  {expected:?}\n  {trace:#?}", request.body)),
    }
}

/// The body of a call.
pub(crate) fn tools_call(id: &str, tool: &str, arguments: Option<&str>) -> String {
    let name = serde_json::Value::from(tool);
    let arguments = arguments.map_or(String::new(), |text| format!(",\"arguments\":{text}"));
    format!(
        r#"{{"jsonrpc":"2.0","id":{id},"method":"tools/call","params":{{"name":{name}{arguments}}}}}"#
    )
}

/// The headers of a POST by this caller.
pub(crate) fn post_headers(caller: &str) -> Vec<Header<'_>> {
    let mut headers: Vec<Header<'_>> =
        vec![(b":method", b"POST"), (b"content-type", b"application/json")];
    if !caller.is_empty() {
        headers.push((b"authorization", caller.as_bytes()));
    }
    headers
}

/// The caller with this `authorization`.
pub(crate) fn named(config: &Config, caller: &str) -> Caller {
    let headers = post_headers(caller);
    let facts = Facts::of(&headers, &config.headers);
    Caller::read(config, &facts, &World::new(&MemoryStore::default())).unwrap()
}

/// An exchange of which nobody knows whether its headers can be held.
pub(crate) fn exchange(config: &Rc<Config>) -> Exchange {
    Exchange::new(config.clone(), Rc::new(Holds::new(HoldHeaders::Always)))
}

/// The head of a response.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Responded<'r> {
    pub(crate) status: u16,
    pub(crate) media: Option<&'r str>,
    pub(crate) encoding: Option<&'r str>,
    pub(crate) origin: Origin,
}

/// What an exchange sees of the world.
pub(crate) struct World<'w> {
    pub(crate) store: &'w MemoryStore,
    pub(crate) body: Vec<u8>,
    pub(crate) chunk: Vec<u8>,
    /// None where the clock fails.
    pub(crate) now: Option<u64>,
    pub(crate) address: &'w str,
    pub(crate) response: Responded<'w>,
    /// Whether the head of the response was asked for.
    pub(crate) looked: Cell<bool>,
    /// How often random bytes were drawn.
    pub(crate) drawn: Cell<u64>,
}

impl<'w> World<'w> {
    pub(crate) fn new(store: &'w MemoryStore) -> World<'w> {
        World {
            store,
            body: Vec::new(),
            chunk: Vec::new(),
            now: Some(0),
            address: "",
            response: Responded {
                status: 200,
                media: None,
                encoding: None,
                origin: Origin::Server,
            },
            looked: Cell::default(),
            drawn: Cell::default(),
        }
    }
}

impl mcp_policy::world::World for World<'_> {
    type Store = MemoryStore;
    type Witness = ();

    fn witness(&self) -> &() {
        &()
    }

    fn now(&self) -> Option<UnixMillis> {
        self.now.map(UnixMillis)
    }

    fn random(&self) -> Option<mcp_policy::world::Random> {
        // Never the same twice.
        self.drawn.set(self.drawn.get() + 1);
        let mut bytes: mcp_policy::world::Random = [7; _];
        bytes[..8].copy_from_slice(&self.drawn.get().to_le_bytes());
        bytes[24..32].copy_from_slice(&self.drawn.get().to_le_bytes());
        Some(bytes)
    }

    fn store(&self) -> &MemoryStore {
        self.store
    }

    fn claim(&self, _: &str, _: &[Box<str>]) -> Option<Value<'static>> {
        None
    }

    fn certificate(&self, _: Peer) -> Option<Vec<u8>> {
        None
    }

    fn address(&self) -> Option<Vec<u8>> {
        (!self.address.is_empty()).then(|| self.address.as_bytes().to_vec())
    }

    fn route(&self, _: RouteFact<'_>) -> Option<Vec<u8>> {
        None
    }

    fn request_body(&self, length: usize) -> Option<Vec<u8>> {
        self.body.get(..length).map(<[u8]>::to_vec)
    }

    fn response_headers<T>(&self, read: impl FnOnce(&[Header<'_>]) -> T) -> T {
        self.looked.set(true);
        let Responded { status, media, encoding, .. } = self.response;
        let status = status.to_string();
        let mut headers: Vec<Header<'_>> = vec![(b":status", status.as_bytes())];
        headers.extend(media.map(|media| (&b"content-type"[..], media.as_bytes())));
        headers.extend(encoding.map(|encoding| (&b"content-encoding"[..], encoding.as_bytes())));
        read(&headers)
    }

    fn origin(&self) -> Origin {
        self.response.origin
    }

    fn response_chunk(&self, length: usize) -> Option<Vec<u8>> {
        self.chunk.get(..length).map(<[u8]>::to_vec)
    }
}
