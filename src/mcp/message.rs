//! From the bytes of a body to JSON-RPC messages, refusing everything that two parsers could read differently.

use std::borrow::Cow;

use super::Refusal;
use super::call::{Call, Kind, LISTS, SENSITIVE};
use super::unread::request_id;
use crate::bounds::{BODY_BYTES_PER_VALUE, MAX_BATCH, MAX_NAMED_BYTES, MAX_SUBSCRIPTIONS};
use crate::json::{Bounds, Duplicates, Fault, FaultKind, Object, Value, parse, parse_within};
use crate::matcher::fold::{confusable_with_any, folded};
use crate::matcher::path::has_meaning;
use crate::reason::Reason;

/// What a body holds.
#[derive(Clone, Debug, PartialEq)]
pub enum Body<'v> {
    /// One message.
    Single(Message<'v>),
    /// A batch, as revision 2025-03-26 has it; some servers still execute them under any revision.
    Batch(Vec<Message<'v>>),
}

/// One JSON-RPC message.
#[derive(Clone, Debug, PartialEq)]
pub enum Message<'v> {
    /// A request, or a notification.
    Request(Request<'v>),
    /// A response to a request of the server, or of ours.
    Response(ClientAnswer<'v>),
}

/// What a client answers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ClientAnswer<'v> {
    /// The id of what it answers, where that is a text.
    pub id: Option<&'v str>,
    /// The result, where there is one.
    pub result: Option<&'v Value<'v>>,
}

/// A request or notification, borrowed from the parsed body.
#[derive(Clone, Debug, PartialEq)]
pub struct Request<'v> {
    /// The id's own bytes; `None` for a notification.
    pub id: Option<&'v str>,
    /// The method.
    pub method: &'v str,
    /// The parameters, always an object.
    pub params: Option<&'v Value<'v>>,
    /// The protocol version in `_meta`, where there is one.
    pub version: Option<&'v str>,
    /// What it calls, reads or gets.
    pub call: Option<Call<'v>>,
}

const ENVELOPE_KEYS: [&str; 6] = ["jsonrpc", "id", "method", "params", "result", "error"];

/// The members of `params` that any method of any revision gives a meaning.
const PARAMS_KEYS: [&str; 16] = [
    "name",
    "arguments",
    "_meta",
    "task",
    "taskId",
    "uri",
    "cursor",
    "ref",
    "argument",
    "context",
    "level",
    "protocolVersion",
    "capabilities",
    "clientInfo",
    "inputResponses",
    "requestState",
];

const META_VERSION: &str = "io.modelcontextprotocol/protocolVersion";

/// Reads the bytes of a body as one strict JSON value.
///
/// # Errors
/// A refusal that names what is wrong with the bytes; of JSON that is too large or has a key twice, under the request's id.
pub fn parse_body(bytes: &[u8], bounds: Bounds) -> Result<Value<'_>, Refusal> {
    let refuse = |reason| Refusal::new(reason, "");
    let marks: [&[u8]; 3] = [b"\xef\xbb\xbf", b"\xfe\xff", b"\xff\xfe"];
    if marks.iter().any(|mark| bytes.starts_with(mark)) {
        return Err(refuse(Reason::ByteOrderMark));
    }
    let text = std::str::from_utf8(bytes).map_err(|_| refuse(Reason::InvalidUtf8))?;
    parse_within(text, Duplicates::Refuse, bounds).map_err(|fault| {
        let refusal = beyond(fault, bounds);
        match fault.kind {
            // What is not JSON has no id (JSON-RPC 2.0, section 5).
            FaultKind::Syntax => refusal,
            FaultKind::Depth | FaultKind::Size | FaultKind::Duplicate => {
                refusal.answering(request_id(bytes).as_deref())
            }
        }
    })
}

/// Says what is wrong with a text, and of a bound also which one, where it was met, and by which setting it moves.
fn beyond(fault: Fault, Bounds { depth, values }: Bounds) -> Refusal {
    let at = fault.at;
    match fault.kind {
        FaultKind::Syntax => Refusal::new(Reason::InvalidJson, ""),
        FaultKind::Duplicate => Refusal::new(Reason::DuplicateKey, ""),
        FaultKind::Depth => {
            let met = format!("more than {depth} levels at byte {at} (requests.max_depth)");
            Refusal::new(Reason::TooDeep, met)
        }
        FaultKind::Size => {
            let met = format!(
                "more than {values} at byte {at} (one for {BODY_BYTES_PER_VALUE} bytes of requests.max_body_bytes)"
            );
            Refusal::new(Reason::TooComplex, met)
        }
    }
}

impl<'v> Body<'v> {
    /// Reads the messages of a parsed body.
    ///
    /// # Errors
    /// A refusal where a message is not JSON-RPC 2.0 as MCP uses it, or a key is ambiguous.
    pub fn read(value: &'v Value<'v>) -> Result<Body<'v>, Refusal> {
        let Value::Array(items) = value else {
            return Message::read(value).map(Body::Single);
        };
        let refuse = |detail| Err(Refusal::new(Reason::BatchNotAllowed, detail));
        if items.is_empty() {
            return refuse("it is empty");
        }
        if items.len() > MAX_BATCH {
            return refuse("it has too many messages");
        }
        if items.iter().any(|item| matches!(item, Value::Array(_))) {
            return refuse("it is nested");
        }
        let messages: Vec<Message<'v>> =
            items.iter().map(Message::read).collect::<Result<_, _>>()?;
        let named = messages.iter().filter_map(Message::request).map(Request::named_bytes);
        if named.sum::<usize>() > MAX_NAMED_BYTES {
            return refuse("its names are too long");
        }
        let ids = messages.iter().filter_map(Message::id);
        let mut ids: Vec<Cow<'_, str>> = ids.map(|raw| comparable_id(raw)).collect();
        ids.sort_unstable();
        if ids.windows(2).any(|pair| pair.first() == pair.last()) {
            return refuse("an id is repeated");
        }
        Ok(Body::Batch(messages))
    }
}

impl<'v> Message<'v> {
    fn read(value: &'v Value<'v>) -> Result<Message<'v>, Refusal> {
        let Some(envelope) = value.as_object() else {
            return Err(Refusal::new(Reason::InvalidMessage, "not an object"));
        };
        let id = readable_id(envelope);
        read_envelope(envelope, id).map_err(|refusal| refusal.answering(id))
    }

    /// The request, unless it is a response.
    #[must_use]
    pub fn request(&self) -> Option<&Request<'v>> {
        if let Message::Request(request) = self { Some(request) } else { None }
    }

    /// The id's own bytes, where the message is a request.
    #[must_use]
    pub fn id(&self) -> Option<&'v str> {
        self.request().and_then(|request| request.id)
    }
}

fn read_envelope<'v>(
    envelope: &'v Object<'v>,
    id: Option<&'v str>,
) -> Result<Message<'v>, Refusal> {
    let refuse = |reason, detail| Err(Refusal::new(reason, detail));
    if ambiguous(envelope, &ENVELOPE_KEYS) {
        return refuse(Reason::AmbiguousKey, "in the message");
    }
    if envelope.get("jsonrpc").and_then(Value::as_str) != Some("2.0") {
        return refuse(Reason::InvalidMessage, "jsonrpc must be \"2.0\"");
    }
    let answers = envelope.get("result").is_some() || envelope.get("error").is_some();
    let method = match envelope.get("method") {
        None if answers => {
            let id = envelope.get("id").and_then(Value::as_str);
            return Ok(Message::Response(ClientAnswer { id, result: envelope.get("result") }));
        }
        Some(Value::String(method)) if !answers => &**method,
        _ => {
            return refuse(
                Reason::InvalidMessage,
                "it needs either a method, or a result or error",
            );
        }
    };
    if confusable_with_any(method, &SENSITIVE) {
        return refuse(Reason::InvalidMessage, "the method resembles one of MCP's");
    }
    if envelope.get("id").is_some() && id.is_none() {
        return refuse(Reason::MissingId, "");
    }
    let params = envelope.get("params").filter(|params| **params != Value::Null);
    if params.is_some_and(|params| params.as_object().is_none()) {
        return refuse(Reason::InvalidParams, "params must be an object");
    }
    let members = params.and_then(Value::as_object);
    if members.is_some_and(|members| ambiguous(members, &PARAMS_KEYS)) {
        return refuse(Reason::AmbiguousKey, "in params");
    }
    let version = members.and_then(meta_version);
    let call = Call::read(method, params)?;
    if id.is_none() && call.as_ref().is_some_and(|call| call.kind == Kind::Tool) {
        return refuse(Reason::MissingId, "");
    }
    Ok(Message::Request(Request { id, method, params, version, call }))
}

/// The raw id if it is a string or an integer, which is what MCP allows.
fn readable_id<'v>(envelope: &'v Object<'v>) -> Option<&'v str> {
    let member = envelope.member("id")?;
    let readable = match &member.value {
        Value::String(_) => true,
        Value::Number(text) => !text.contains(['.', 'e', 'E']),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => false,
    };
    readable.then_some(member.raw)
}

/// An id as the most lenient server compares it: decoded; a number as a double; a text that looks like a number as that number (the
/// Python SDK 1.x turns `"1"` into 1).
fn comparable_id(raw: &str) -> Cow<'_, str> {
    let number = |text: &str| {
        let number: f64 = text.parse().ok().filter(|number: &f64| !number.is_nan())?;
        // Zero has no sign.
        Some(Cow::Owned((number + 0.0).to_string()))
    };
    match parse(raw, Duplicates::Refuse) {
        Ok(Value::Number(text)) => number(&text).unwrap_or(Cow::Borrowed(raw)),
        Ok(Value::String(text)) => {
            let digits: String = folded(&text).filter(|character| *character != '_').collect();
            let unsigned = digits.trim_start_matches(['+', '-']);
            let whole = unsigned.bytes().all(|byte| byte.is_ascii_digit());
            let whole = whole.then(|| number(&digits)).flatten();
            whole.unwrap_or_else(|| Cow::Owned(format!("\"{text}")))
        }
        Ok(Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_)) | Err(_) => {
            Cow::Borrowed(raw)
        }
    }
}

pub(super) fn ambiguous(object: &Object<'_>, known: &[&str]) -> bool {
    object.0.iter().any(|member| {
        member.key.contains('\0')
            || has_meaning(&member.key)
            || confusable_with_any(&member.key, known)
    })
}

fn meta_version<'v>(params: &'v Object<'v>) -> Option<&'v str> {
    // A version that is not text equals no header.
    let version = params.get("_meta")?.as_object()?.get(META_VERSION)?;
    Some(version.as_str().unwrap_or_default())
}

impl<'v> Request<'v> {
    /// The method, as a name that rules can be about.
    #[must_use]
    pub fn as_method(&self) -> Call<'v> {
        Call::new(Kind::Method, self.method, self.params)
    }

    /// The names that the request only refers to: completions (2025-03-26 and later) and subscriptions (2026-07-28).
    #[must_use]
    pub fn references(&self) -> Vec<Call<'v>> {
        let member = |key| self.params.and_then(Value::as_object).and_then(|all| all.get(key));
        match self.method {
            "completion/complete" => completed(member("ref")),
            "subscriptions/listen" => subscribed(member("notifications")),
            _ => Vec::new(),
        }
    }

    /// The bytes of all names that the request is about.
    pub(super) fn named_bytes(&self) -> usize {
        let called = self.call.iter().map(|call| call.name.len());
        let referred: usize = self.references().iter().map(|call| call.name.len()).sum();
        self.method.len() + called.sum::<usize>() + referred
    }

    /// The list that the request asks for.
    #[must_use]
    pub fn list(&self) -> Option<Kind> {
        let list = LISTS.iter().find(|(method, ..)| *method == self.method);
        list.map(|(_, _, _, kind)| *kind)
    }
}

/// What a completion completes: `{"type": "ref/prompt", "name"}` or `{"type": "ref/resource", "uri"}`.
fn completed<'v>(reference: Option<&'v Value<'v>>) -> Vec<Call<'v>> {
    let members = reference.and_then(Value::as_object);
    let text = |key| members.and_then(|members| members.get(key)).and_then(Value::as_str);
    let clear = members.is_some_and(|members| !ambiguous(members, &["type", "name", "uri"]));
    match (text("type"), text("name"), text("uri")) {
        (Some("ref/prompt"), Some(name), _) if clear => vec![Call::new(Kind::Prompt, name, None)],
        (Some("ref/resource"), _, Some(uri)) if clear => vec![Call::new(Kind::Resource, uri, None)],
        _ => vec![Call::unreadable(Kind::Prompt), Call::unreadable(Kind::Resource)],
    }
}

/// The resources of `{"resourceSubscriptions": [uri, …]}`.
fn subscribed<'v>(filter: Option<&'v Value<'v>>) -> Vec<Call<'v>> {
    const KEY: &str = "resourceSubscriptions";
    let Some(filter) = filter.and_then(Value::as_object) else { return Vec::new() };
    match filter.get(KEY) {
        _ if ambiguous(filter, &[KEY]) => vec![Call::unreadable(Kind::Resource)],
        None | Some(Value::Null) => Vec::new(),
        Some(Value::Array(uris)) if few(uris) => uris
            .iter()
            .map(|uri| match uri.as_str() {
                Some(uri) => Call::new(Kind::Resource, uri, None),
                None => Call::unreadable(Kind::Resource),
            })
            .collect(),
        Some(_) => vec![Call::unreadable(Kind::Resource)],
    }
}

/// Whether these are no more, and no longer, than is compared with a policy.
fn few(uris: &[Value<'_>]) -> bool {
    let bytes: usize = uris.iter().filter_map(Value::as_str).map(str::len).sum();
    uris.len() <= MAX_SUBSCRIPTIONS && bytes <= MAX_NAMED_BYTES
}

#[cfg(test)]
mod tests {
    use super::{Body, Message, parse_body};
    use crate::json::Bounds;
    use crate::reason::Reason;

    /// The label of what becomes of a body.
    fn read(text: &str) -> String {
        let outcome = parse_body(text.as_bytes(), Bounds::DOCUMENT).and_then(|value| {
            Body::read(&value).map(|body| match body {
                Body::Single(Message::Request(request)) => match request.call {
                    Some(call) => format!("call {} {}", request.id.unwrap_or_default(), call.name),
                    None => format!("{:?} {}", request.id, request.method),
                },
                Body::Single(Message::Response(_)) => "response".to_owned(),
                Body::Batch(messages) => format!("batch of {}", messages.len()),
            })
        });
        outcome.unwrap_or_else(|refusal| {
            format!("{} {}", refusal.reason.label(), refusal.id.unwrap_or_default())
        })
    }

    #[test]
    fn sorts_messages() {
        let call = |rest: &str| format!(r#"{{"jsonrpc":"2.0","method":"tools/call",{rest}}}"#);
        for (text, expected) in [
            (call(r#""id":1,"params":{"name":"a"}"#), "call 1 a"),
            (
                call(r#""id":"\u0061","params":{"arguments":{},"name":"\u0062"}"#),
                r#"call "\u0061" b"#,
            ),
            (call(r#""params":{"name":"a"}"#), "missing_id "),
            (call(r#""id":null,"params":{"name":"a"}"#), "missing_id "),
            (call(r#""id":1.5,"params":{"name":"a"}"#), "missing_id "),
            (call(r#""id":1"#), "invalid_params 1"),
            (call(r#""id":1,"params":["a"]"#), "invalid_params 1"),
            (call(r#""id":1,"params":{"name":1}"#), "invalid_params 1"),
            (call(r#""id":1,"params":{"name":"a","arguments":[]}"#), "invalid_params 1"),
            (call(r#""id":1,"params":{"name":"a","arguments":null}"#), "invalid_params 1"),
            (call(r#""id":1,"params":{"name":"a","Name":"b"}"#), "ambiguous_key 1"),
            (call("\"id\":1,\"param\u{17f}\":{},\"params\":{\"name\":\"a\"}"), "ambiguous_key 1"),
            (call(r#""id":1,"params":{"name":"a"},"result":1"#), "invalid_message 1"),
            (call(r#""id":1,"params":{"name":"a","name":"b"}"#), "duplicate_key 1"),
            (r#"{"jsonrpc":"2.0","id":7,"method":"ping"}"#.into(), r#"Some("7") ping"#),
            (
                r#"{"jsonrpc":"2.0","method":"notifications/x","params":null}"#.into(),
                "None notifications/x",
            ),
            (r#"{"jsonrpc":"2.0","id":1,"result":{}}"#.into(), "response"),
            (r#"{"jsonrpc":"2.0","id":null,"error":{}}"#.into(), "response"),
            (r#"{"jsonrpc":"2.0","id":1}"#.into(), "invalid_message 1"),
            (r#"{"id":1,"method":"ping"}"#.into(), "invalid_message 1"),
            (r#"{"jsonrpc":"2.0","id":1,"method":"Tools/Call"}"#.into(), "invalid_message 1"),
            (r#"{"jsonrpc":"2.0","id":1,"method":"tools/call "}"#.into(), "invalid_message 1"),
            ("[]".into(), "batch_not_allowed "),
            ("[[]]".into(), "batch_not_allowed "),
            (
                r#"[{"jsonrpc":"2.0","id":1,"method":"a"},{"jsonrpc":"2.0","id":1,"method":"b"}]"#
                    .into(),
                "batch_not_allowed ",
            ),
            (
                r#"[{"jsonrpc":"2.0","id":1,"method":"a"},{"jsonrpc":"2.0","method":"b"}]"#.into(),
                "batch of 2",
            ),
            ("1".into(), "invalid_message "),
            ("\u{feff}{}".into(), "byte_order_mark "),
        ] {
            assert_eq!(read(&text), expected, "{text}");
        }
    }

    #[test]
    fn ids_are_compared_as_servers_compare_them() {
        let two = |left: &str, right: &str| {
            let message = |id| format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"a"}}"#);
            format!("[{},{}]", message(left), message(right))
        };
        for (text, expected) in [
            (two("1", "1.0"), "missing_id "),
            (two("1", "-1"), "batch of 2"),
            (two("1", "\"a\""), "batch of 2"),
            (two("\"a\"", "\"A\""), "batch of 2"),
            (two("\"a\"", "\"\\u0061\""), "batch_not_allowed "),
            (two("0", "-0"), "batch_not_allowed "),
            (two("9007199254740992", "9007199254740993"), "batch_not_allowed "),
            (two("1", "\"1\""), "batch_not_allowed "),
            (two("1", "\" +1 \""), "batch_not_allowed "),
            (two("1000", "\"1_000\""), "batch_not_allowed "),
            (two("1", "\"１\""), "batch_not_allowed "),
            (two("\"1e5\"", "\"100000\""), "batch of 2"),
        ] {
            assert_eq!(read(&text), expected, "{text}");
        }
    }

    #[test]
    fn other_encodings_are_refused() {
        for (bytes, expected) in [
            (&b"\xff\xfe{\0}\0"[..], Reason::ByteOrderMark),
            (b"{\0}\0", Reason::InvalidJson),
            (b"\"\xc0\xaf\"", Reason::InvalidUtf8),
            (b"\"\xed\xa0\x80\"", Reason::InvalidUtf8),
            (b"", Reason::InvalidJson),
        ] {
            assert_eq!(
                parse_body(bytes, Bounds::DOCUMENT).unwrap_err().reason,
                expected,
                "{bytes:?}"
            );
        }
    }
}
