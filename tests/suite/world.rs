//! A world for the engine, in memory: a clock that is set, a store, bodies, and calls made under a policy.

use mcp_policy::enforce::{Governed, Outcome, enforce};
use mcp_policy::exchange::Environment;
use mcp_policy::identity::Caller;
use mcp_policy::json::Bounds;
use mcp_policy::matcher::work::Work;
use mcp_policy::mcp::headers::facts::Facts;
use mcp_policy::mcp::headers::{Admission, Follows, Head, Header, admit};
use mcp_policy::mcp::message::{Body, Message, Request, parse_body};
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
        let caller = Caller::read(&self.config, &facts, &|_| None).unwrap();
        self.decide(&message, &head, &caller, at, answer)
    }

    fn decide(
        &self,
        request: &Request<'_>,
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
        match enforce(
            &self.config,
            &self.config.policy,
            &governed,
            caller,
            &limiter,
            UnixMillis(at),
            &Work::of(1 << 20),
        ) {
            Outcome::Permitted(permit, _) => {
                if answer == Answer::Error {
                    limiter.give_back(permit.into_refundable().iter());
                }
                allowed
            }
            Outcome::Denied(denial) => {
                let (policy, form) = (&self.config.policy.name, self.config.denials);
                let reply = Reply::denial(request, &denial, &Context { policy, head, form });
                // Nobody waits for an answer to a notification.
                assert_eq!(request.id.is_none(), (reply.status, &*reply.body) == (202, b""));
                let body = if reply.body.is_empty() { b"null" } else { &*reply.body };
                let answer: serde_json::Value = serde_json::from_slice(body).unwrap();
                let result = &answer["result"];
                let told = answer["error"]["message"].as_str();
                let modern = result.get("resultType").is_some();
                let form =
                    result.get("isError").map(|_| if modern { "modern result" } else { "result" });
                Decided {
                    allowed: false,
                    reason: Some(denial.reason.label()),
                    rule: Some(denial.rule.to_owned()),
                    message: told.or(result["content"][0]["text"].as_str()).map(str::to_owned),
                    code: Some(denial.reason.code()),
                    form,
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

/// The caller with this `authorization`.
pub(crate) fn named(config: &Config, caller: &str) -> Caller {
    let headers = post_headers(caller);
    let facts = Facts::of(&headers, &config.headers);
    Caller::read(config, &facts, &|_| None).unwrap()
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

    fn attribute(&self, _path: &[&str]) -> Option<Vec<u8>> {
        None
    }

    fn request_body(&self, length: usize) -> Option<Vec<u8>> {
        self.body.get(..length).map(<[u8]>::to_vec)
    }

    fn response_chunk(&self, length: usize) -> Option<Vec<u8>> {
        self.chunk.get(..length).map(<[u8]>::to_vec)
    }
}
