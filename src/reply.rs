//! Answers: JSON-RPC errors with the request's own id, framed as the client reads them.
//!
//! A denial is HTTP 200: measured with the SDKs, it is the only form that every client shows to the agent and survives.

use std::fmt::Write as _;

use crate::bounds::MAX_ECHO_BYTES;
use crate::decision::{Denial, Detail};
use crate::json::write_string;
use crate::listing::Cause;
use crate::mcp::Refusal;
use crate::mcp::call::Kind;
use crate::mcp::headers::{Framing, Head};
use crate::mcp::message::Request;
use crate::policy::settings::Denials;
use crate::reason::Reason;

/// The response code details by which an answer of ours is known in Envoy's access log.
pub const CODE_DETAILS: &str = "mcp_policy_denied";

/// The key of `_meta` under which a denial that is a tool's result has its data.
const DENIAL_META: &str = "mcp-policy/denial";

/// An HTTP answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// HTTP status.
    pub status: u16,
    /// Headers.
    pub headers: Vec<(&'static str, &'static str)>,
    /// Body.
    pub body: Vec<u8>,
}

/// What a denial is told with.
#[derive(Clone, Copy, Debug)]
pub struct Context<'c> {
    /// The name of the policy.
    pub policy: &'c str,
    /// The request's headers.
    pub head: &'c Head,
    /// How denied tool calls are answered.
    pub form: Denials,
}

impl Reply {
    /// Answers a request that the strict front door refuses. Where its id is known, the client gets an answer that it waits for, in the
    /// framing that it reads; else an HTTP error.
    #[must_use]
    pub fn refusal(refusal: &Refusal, framing: Framing) -> Reply {
        let reason = refusal.reason;
        let mut message = reason.sentence().to_owned();
        if !refusal.detail.is_empty() {
            message.push_str(": ");
            message.push_str(&refusal.detail);
        }
        let data = format!("{{\"reason\":\"{}\"}}", reason.label());
        let error = error_object(refusal.id.as_deref(), reason.code(), &message, &data);
        let mut reply = match (reason.status_to_request(), &refusal.id) {
            (200, Some(_)) => Reply::framed(200, framing, &error),
            (status, Some(_)) => Reply::framed(status, Framing::Json, &error),
            (_, None) => Reply::framed(reason.bare_status(), Framing::Json, &error),
        };
        match reply.status {
            405 => reply.headers.push(("allow", "GET, POST, DELETE, OPTIONS")),
            401 => reply.headers.push(("www-authenticate", "Bearer")),
            _ => {}
        }
        reply
    }

    /// Answers a request that the policy denies.
    #[must_use]
    pub fn denial(request: &Request<'_>, denial: &Denial<'_>, context: &Context<'_>) -> Reply {
        match denial_object(request, denial, context) {
            Some(error) => Reply::framed(denial.reason.status(), context.head.framing, &error),
            None => Reply::nothing(),
        }
    }

    /// Answers a batch with one response for each of its requests.
    #[must_use]
    pub fn batch(errors: &[String], context: &Context<'_>) -> Reply {
        if errors.is_empty() {
            return Reply::nothing();
        }
        Reply::framed(200, context.head.framing, &format!("[{}]", errors.join(",")))
    }

    /// Answers what nobody waits for an answer to. Any status that says more ends the session of some clients.
    #[must_use]
    pub fn nothing() -> Reply {
        Reply { status: 202, headers: Vec::new(), body: Vec::new() }
    }

    fn framed(status: u16, framing: Framing, json: &str) -> Reply {
        let headers = vec![("content-type", framing.media())];
        Reply { status, headers, body: framed_body(framing, json) }
    }
}

/// A JSON text as the body of an answer.
#[must_use]
pub fn framed_body(framing: Framing, json: &str) -> Vec<u8> {
    match framing {
        Framing::Json => json.as_bytes().to_vec(),
        Framing::EventStream => format!("event: message\ndata: {json}\n\n").into_bytes(),
    }
}

/// The response to a denied request; none to a notification.
#[must_use]
pub fn denial_object(
    request: &Request<'_>,
    denial: &Denial<'_>,
    context: &Context<'_>,
) -> Option<String> {
    let id = request.id?;
    let denial = &denial.told();
    let name = echoed(denied_name(request, denial.kind));
    let code = denial.reason.code();
    // As servers answer for what they do not have: nothing else may tell that it is there.
    if denial.reason.hides() {
        let unknown = match denial.kind {
            Kind::Tool => format!("Unknown tool: {name}"),
            Kind::Prompt => format!("Unknown prompt: {name}"),
            Kind::Resource => format!("Resource not found: {name}"),
            Kind::Method => "Method not found".to_owned(),
        };
        return Some(error_object(Some(id), code, &unknown, ""));
    }
    let (message, data) = (message(&name, denial), data(&name, denial, context));
    let calls_tool = request.call.as_ref().is_some_and(|call| call.kind == Kind::Tool);
    if context.form == Denials::ToolResult && calls_tool {
        let modern = request.version.is_some() || context.head.is_modern();
        return Some(result_object(id, &message, &data, modern));
    }
    Some(error_object(Some(id), code, &message, &data))
}

/// What a denial of this kind is about.
fn denied_name<'v>(request: &Request<'v>, kind: Kind) -> &'v str {
    let called = request.call.as_ref().filter(|call| call.kind == kind).map(|call| call.name);
    let referred =
        || request.references().iter().find(|call| call.kind == kind).map(|call| call.name);
    called.or_else(referred).unwrap_or(request.method)
}

/// A tool's result that says it is an error, with the data for programs in `_meta`: `structuredContent` is the tool's own.
fn result_object(id: &str, message: &str, data: &str, modern: bool) -> String {
    let mut text = String::new();
    write_string(&mut text, message);
    // Revision 2026-07-28 tells results apart by their type.
    let kind = if modern { "\"resultType\":\"complete\"," } else { "" };
    format!(
        "{{\"jsonrpc\":\"2.0\",\"id\":{id},\"result\":{{{kind}\"content\":[{{\"type\":\"text\",\"text\":{text}}}],\"isError\":true,\"_meta\":{{\"{DENIAL_META}\":{data}}}}}}}"
    )
}

/// The response to a list that cannot be shown.
#[must_use]
pub fn list_unreadable_object(id: &str, cause: &Cause) -> String {
    let reason = Reason::ListUnreadable;
    let data = format!("{{\"reason\":\"{}\",\"cause\":\"{}\"}}", reason.label(), cause.word());
    let message = format!("{}: {}", reason.sentence(), cause.text());
    error_object(Some(id), reason.code(), &message, &data)
}

/// The response to a request whose batch is refused for another one's sake.
#[must_use]
pub fn batch_refused_object(id: &str) -> String {
    let reason = Reason::BatchRefused;
    let data = format!("{{\"reason\":\"{}\"}}", reason.label());
    error_object(Some(id), reason.code(), reason.sentence(), &data)
}

fn error_object(id: Option<&str>, code: i32, message: &str, data: &str) -> String {
    let mut object = format!(
        "{{\"jsonrpc\":\"2.0\",\"id\":{},\"error\":{{\"code\":{code},\"message\":",
        id.unwrap_or("null")
    );
    write_string(&mut object, message);
    if !data.is_empty() {
        object.push_str(",\"data\":");
        object.push_str(data);
    }
    object.push_str("}}");
    object
}

/// `error.data`: what a program needs, and nothing of other callers, other policies or the arguments.
fn data(name: &str, denial: &Denial<'_>, context: &Context<'_>) -> String {
    let mut data = format!("{{\"reason\":\"{}\"", denial.reason.label());
    let mut text = |key: &str, value: &str| {
        data.push_str(&format!(",\"{key}\":"));
        write_string(&mut data, value);
    };
    text(denial.kind.word(), name);
    if !context.policy.is_empty() {
        text("policy", context.policy);
    }
    if !denial.rule.is_empty() {
        text("rule", denial.rule);
    }
    if let Detail::Limit { counter, .. } = denial.detail {
        text("counter", counter);
    }
    let request_id = context.head.request_id.as_deref().and_then(|id| std::str::from_utf8(id).ok());
    if let Some(id) = request_id.filter(|id| id.len() <= MAX_ECHO_BYTES) {
        text("requestId", id);
    }
    if let Detail::Limit { max, remaining, window_seconds, retry_after, .. } = denial.detail {
        // Writing to a String cannot fail.
        let _ = write!(
            data,
            ",\"limit\":{max},\"remaining\":{remaining},\"windowSeconds\":{window_seconds}"
        );
        if let Some(millis) = retry_after {
            let _ = write!(data, ",\"retryAfterMs\":{millis}");
        }
    }
    data.push('}');
    data
}

/// One sentence for the model: the author's, or ours.
fn message(name: &str, denial: &Denial<'_>) -> String {
    let kind = denial.kind.word();
    // What cannot be decided is not what the author wrote about, so our sentence says it.
    if let (Detail::Mismatch(path, mismatch), Reason::ValueUndecidable | Reason::InvalidIncrement) =
        (denial.detail, denial.reason)
    {
        let (expected, found) = (mismatch.expected, mismatch.found);
        return format!(
            "Argument `{path}` of {kind} `{name}` cannot be checked: expected {expected}, found {found}."
        );
    }
    if let Some(text) = denial.text {
        return text.to_owned();
    }
    let subject = match denial.kind {
        Kind::Tool => "Tool",
        Kind::Resource => "Resource",
        Kind::Prompt => "Prompt",
        Kind::Method => "Method",
    };
    match (denial.reason, denial.detail) {
        (Reason::RequirementNotMet, Detail::Path(path)) => {
            format!(
                "{subject} `{name}` requires a condition on `{path}` that this call does not meet."
            )
        }
        (Reason::RequirementNotMet, _) => {
            format!("{subject} `{name}` requires a condition that this call does not meet.")
        }
        (Reason::DeniedByCondition, _) => {
            format!("{subject} `{name}` is denied by policy for these arguments.")
        }
        (Reason::ApprovalRequired, _) => format!("{subject} `{name}` requires approval."),
        (Reason::LimitReached, Detail::Limit { max, window_seconds, retry_after, .. }) => {
            let per = window_name(window_seconds);
            let retry = match retry_after {
                Some(millis) => format!("retry in {} s", millis.div_ceil(1000)),
                None => "this call alone exceeds it".to_owned(),
            };
            format!("Limit reached for {kind} `{name}`: at most {max} per {per}; {retry}.")
        }
        (reason, _) if !reason.sentence().is_empty() => format!("{}.", reason.sentence()),
        _ => format!("{subject} `{name}` is not allowed by policy."),
    }
}

fn window_name(seconds: u64) -> String {
    match seconds {
        1 => "second".to_owned(),
        60 => "minute".to_owned(),
        3600 => "hour".to_owned(),
        86_400 => "day".to_owned(),
        604_800 => "week".to_owned(),
        seconds if (28 * 86_400..=31 * 86_400).contains(&seconds) => "month".to_owned(),
        seconds => format!("{seconds} seconds"),
    }
}

/// A caller's text, short enough to repeat.
#[must_use]
pub fn echoed(text: &str) -> String {
    if text.len() <= MAX_ECHO_BYTES {
        return text.to_owned();
    }
    let mut short = String::new();
    for character in text.chars() {
        if short.len() + character.len_utf8() > MAX_ECHO_BYTES {
            break;
        }
        short.push(character);
    }
    short.push('…');
    short
}
