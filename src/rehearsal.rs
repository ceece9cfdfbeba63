//! The filter on a stage: whole exchanges against an in-memory store, at times that the caller names. For the command only.
//!
//! Nothing is decided here: every request goes the way it goes in Envoy, through [`Exchange`].

pub mod coverage;
pub mod suite;

use std::rc::Rc;

use serde::Serialize;

use crate::exchange::{Action, Chunk, Environment, Exchange, Hold, ResponseHead};
use crate::identity::Caller;
use crate::json::{Duplicates, Object, Value, parse, write_string};
use crate::mcp::headers::{Admission, Follows, Head, Header, admit};
use crate::number::Micros;
use crate::policy::compiled::{Config, NamedCounter};
use crate::rate::limiter::{Charge, Force, Limiter};
use crate::rate::memory::MemoryStore;
use crate::time::UnixMillis;

/// A policy with its counters.
#[derive(Debug)]
pub struct Stage {
    /// The configuration.
    pub config: Rc<Config>,
    /// What has been counted.
    pub store: MemoryStore,
}

/// One request as the filter would see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// The JSON-RPC message.
    pub body: String,
    /// Who calls: stands for a credential of this caller's own. `None` is an anonymous one.
    pub caller: Option<String>,
    /// The MCP session.
    pub session: Option<String>,
    /// When.
    pub at: UnixMillis,
    /// What the server answers, if it is asked.
    pub response: Response,
}

/// What the server answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Response {
    /// A result.
    Result,
    /// An error, so that counts of successes are given back.
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

impl Stage {
    /// A stage on which nothing has been counted.
    #[must_use]
    pub fn new(config: Rc<Config>) -> Stage {
        Stage { config, store: MemoryStore::default() }
    }

    /// Sends a request, and what the server answers if it is forwarded.
    #[must_use]
    pub fn send(&self, request: &Request) -> Verdict {
        let world = World { stage: self, request };
        let mut exchange = Exchange::new(Rc::clone(&self.config));
        let sent = request.headers();
        let headers = borrowed(&sent);
        let (mut action, _) = exchange.request_headers(&headers, Follows::Body, Hold::Yes);
        if action == Action::Pause {
            action = exchange.request_body(&world, request.body.len(), Chunk::Last);
        }
        let mut verdict = Verdict::default();
        if let Some(record) = exchange.take_record() {
            verdict.decision = record.decision.to_owned();
            verdict.reason = record.reason.to_owned();
            verdict.rule = record.rule;
        }
        match action {
            Action::Reply(reply) => verdict.read_reply(reply.status, &reply.body),
            Action::Continue | Action::Pause => {
                let status = if request.response == Response::Error { 500 } else { 200 };
                let head =
                    ResponseHead { status, content_type: None, encoded: false, conclusive: true };
                exchange.response_headers(&world, head);
            }
        }
        verdict
    }

    /// Puts a count on a counter, as if it had been made at this time.
    pub fn preset(&self, counter: &NamedCounter, request: &Request, amount: Micros) {
        let charge = Charge {
            counter: counter.counter,
            caller: self.caller(request).counted_as(counter.scope),
            amount,
            max: None,
            force: Force::Enforced,
        };
        // Without a maximum only a broken store refuses, and this one is in memory.
        let _ = self.limiter().reserve(&[charge], request.at);
    }

    /// Who calls, as far as counting is concerned.
    #[must_use]
    pub fn caller(&self, request: &Request) -> Caller {
        let sent = request.headers();
        let head = match admit(&borrowed(&sent), Follows::Body, usize::MAX) {
            Ok(Admission::Judge(head)) => *head,
            Ok(Admission::Pass) | Err(_) => Head::default(),
        };
        Caller::of(&head, self.config.sessions)
    }

    /// The limiter over the stage's store.
    #[must_use]
    pub fn limiter(&self) -> Limiter<'_, MemoryStore> {
        Limiter::new(&self.store, self.config.counters.shards)
    }
}

impl Request {
    /// A request by an anonymous caller, that the server answers with a result.
    #[must_use]
    pub fn new(body: String, at: UnixMillis) -> Request {
        Request { body, caller: None, session: None, at, response: Response::Result }
    }

    fn headers(&self) -> Vec<(&'static str, String)> {
        let mut headers =
            vec![(":method", "POST".to_owned()), ("content-type", "application/json".to_owned())];
        headers.extend(self.caller.iter().map(|name| ("authorization", credential(name))));
        headers.extend(self.session.iter().map(|session| ("mcp-session-id", session.clone())));
        headers
    }
}

/// A credential of this caller's own. A comma or white space would make it look like two.
fn credential(caller: &str) -> String {
    let mut credential = String::from("Bearer ");
    for byte in caller.bytes() {
        if byte.is_ascii_alphanumeric() {
            credential.push(char::from(byte));
        } else {
            credential.push_str(&format!("-{byte:02x}"));
        }
    }
    credential
}

fn borrowed<'h>(headers: &'h [(&'static str, String)]) -> Vec<Header<'h>> {
    headers.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())).collect()
}

/// The body of a request, from what a person writes of it: a whole JSON-RPC message, or `{tool, arguments}`.
///
/// # Errors
/// What is wrong with it, in one sentence.
pub fn body_of(call: &Value<'_>) -> Result<String, String> {
    let Some(object) = call.as_object() else {
        return Err(format!(
            "expected an object with `tool` and `arguments`, found {}",
            call.kind()
        ));
    };
    let mut body = String::new();
    if object.get("jsonrpc").is_some() {
        write_value(&mut body, call);
        return Ok(body);
    }
    let unknown = object.0.iter().find(|member| !matches!(&*member.key, "tool" | "arguments"));
    if let Some(unknown) = unknown {
        let key = unknown.key.escape_debug();
        return Err(format!(
            "unknown field `{key}`: a call has `tool` and `arguments`, or is a JSON-RPC message"
        ));
    }
    let Some(tool) = object.get("tool").and_then(Value::as_str) else {
        return Err("a call needs `tool`, the name of a tool".to_owned());
    };
    body.push_str("{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"tools/call\",\"params\":{\"name\":");
    write_string(&mut body, tool);
    if let Some(arguments) = object.get("arguments") {
        body.push_str(",\"arguments\":");
        write_value(&mut body, arguments);
    }
    body.push_str("}}");
    Ok(body)
}

/// Writes a value as JSON. Duplicate keys stay.
fn write_value(out: &mut String, value: &Value<'_>) {
    match value {
        Value::Null => out.push_str("null"),
        Value::Bool(flag) => out.push_str(if *flag { "true" } else { "false" }),
        Value::Number(text) => out.push_str(text),
        Value::String(text) => write_string(out, text),
        Value::Array(items) => {
            out.push('[');
            for (at, item) in items.iter().enumerate() {
                if at > 0 {
                    out.push(',');
                }
                write_value(out, item);
            }
            out.push(']');
        }
        Value::Object(Object(members)) => {
            out.push('{');
            for (at, member) in members.iter().enumerate() {
                if at > 0 {
                    out.push(',');
                }
                write_string(out, &member.key);
                out.push(':');
                write_value(out, &member.value);
            }
            out.push('}');
        }
    }
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
        let error = reply.as_object().and_then(|reply| reply.get("error")?.as_object());
        let Some(error) = error else { return };
        if let Some(Value::Number(code)) = error.get("code") {
            self.code = code.parse().ok();
        }
        self.message = error.get("message").and_then(Value::as_str).map(str::to_owned);
    }
}

/// What an exchange sees of the stage.
struct World<'w> {
    stage: &'w Stage,
    request: &'w Request,
}

impl Environment for World<'_> {
    type Store = MemoryStore;

    fn now(&self) -> Option<UnixMillis> {
        Some(self.request.at)
    }

    fn store(&self) -> &MemoryStore {
        &self.stage.store
    }

    fn request_body(&self, length: usize) -> Option<Vec<u8>> {
        self.request.body.as_bytes().get(..length).map(<[u8]>::to_vec)
    }

    fn response_chunk(&self, _: usize) -> Option<Vec<u8>> {
        None
    }
}
