//! A world for the engine, in memory: a clock that is set, a store, bodies, and calls made under a policy.

use mcp_policy::enforce::{Outcome, enforce};
use mcp_policy::exchange::Environment;
use mcp_policy::identity::Caller;
use mcp_policy::mcp::headers::{Admission, Follows, Head, Header, admit};
use mcp_policy::mcp::message::{Body, Call, Message, parse_body};
use mcp_policy::policy::compiled::Config;
use mcp_policy::policy::diagnostic::Diagnostic;
use mcp_policy::rate::limiter::Limiter;
use mcp_policy::rate::memory::MemoryStore;
use mcp_policy::reply::{Context, Reply};
use mcp_policy::time::UnixMillis;

/// What became of a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Decided {
    pub(crate) allowed: bool,
    pub(crate) reason: Option<&'static str>,
    pub(crate) rule: Option<String>,
    pub(crate) message: Option<String>,
    pub(crate) code: Option<i32>,
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

    /// Sends a call the way a request goes: headers, body, message, decision, reply.
    pub(crate) fn call(
        &self,
        tool: &str,
        arguments: Option<&str>,
        caller: &str,
        at: u64,
    ) -> Decided {
        self.call_answered(tool, arguments, caller, at, Answer::Success)
    }

    /// The same, with what the server says of the call if it gets there.
    pub(crate) fn call_answered(
        &self,
        tool: &str,
        arguments: Option<&str>,
        caller: &str,
        at: u64,
        answer: Answer,
    ) -> Decided {
        let body = tools_call("1", tool, arguments);
        let head = head(caller);
        let value = parse_body(body.as_bytes()).unwrap();
        let message = match Body::read(&value) {
            Ok(Body::Single(Message::Call(call))) => call,
            other => panic!("not a call: {other:?}"),
        };
        self.decide(&message, &head, at, answer)
    }

    fn decide(&self, call: &Call<'_>, head: &Head, at: u64, answer: Answer) -> Decided {
        let limiter = Limiter::new(&self.store, self.config.counters.shards);
        let caller = Caller::of(head, self.config.sessions);
        match enforce(&self.config, call, &caller, &limiter, UnixMillis(at)) {
            Outcome::Permitted(permit, _) => {
                if answer == Answer::Error {
                    limiter.give_back(permit.into_refundable().iter());
                }
                Decided { allowed: true, reason: None, rule: None, message: None, code: None }
            }
            Outcome::Denied(denial) => {
                let context = Context { policy: &self.config.policy.name, head };
                let reply = Reply::denial(call, &denial, &context);
                let error: serde_json::Value = serde_json::from_slice(&reply.body).unwrap();
                Decided {
                    allowed: false,
                    reason: Some(denial.reason.label()),
                    rule: Some(denial.rule.to_owned()),
                    message: error["error"]["message"].as_str().map(str::to_owned),
                    code: Some(denial.reason.code()),
                }
            }
        }
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

/// The same headers, read.
pub(crate) fn head(caller: &str) -> Head {
    match admit(&post_headers(caller), Follows::Body, usize::MAX) {
        Ok(Admission::Judge(head)) => *head,
        other => panic!("not a POST: {other:?}"),
    }
}

/// What an exchange sees of the world.
pub(crate) struct World<'w> {
    pub(crate) store: &'w MemoryStore,
    pub(crate) body: Vec<u8>,
    pub(crate) chunk: Vec<u8>,
    pub(crate) now: u64,
}

impl Environment for World<'_> {
    type Store = MemoryStore;

    fn now(&self) -> Option<UnixMillis> {
        Some(UnixMillis(self.now))
    }

    fn store(&self) -> &MemoryStore {
        self.store
    }

    fn request_body(&self, length: usize) -> Option<Vec<u8>> {
        self.body.get(..length).map(<[u8]>::to_vec)
    }

    fn response_chunk(&self, length: usize) -> Option<Vec<u8>> {
        self.chunk.get(..length).map(<[u8]>::to_vec)
    }
}
