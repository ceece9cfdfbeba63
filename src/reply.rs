//! Answers: JSON-RPC errors with the request's own id, framed as the client reads them.
//!
//! A denial is HTTP 200: measured with the SDKs, it is the only form that every client shows to the agent and survives.

use std::fmt::Write as _;

use crate::bounds::MAX_ECHO_BYTES;
use crate::decision::{Denial, Detail};
use crate::json::write_string;
use crate::mcp::Refusal;
use crate::mcp::headers::{Framing, Head};
use crate::mcp::message::Call;
use crate::reason::Reason;

/// The response code details by which an answer of ours is known in Envoy's access log.
pub const CODE_DETAILS: &str = "mcp_policy_denied";

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
}

impl Reply {
    /// Answers a request that the strict front door refuses.
    #[must_use]
    pub fn refusal(refusal: &Refusal) -> Reply {
        let reason = refusal.reason;
        let mut message = reason.sentence().to_owned();
        if !refusal.detail.is_empty() {
            message.push_str(": ");
            message.push_str(refusal.detail);
        }
        let data = format!("{{\"reason\":\"{}\"}}", reason.label());
        let error = error_object(refusal.id.as_deref(), reason.code(), &message, &data);
        let mut reply = Reply::framed(reason.status(), Framing::Json, &error);
        if reason == Reason::MethodNotAllowed {
            reply.headers.push(("allow", "GET, POST, DELETE, HEAD, OPTIONS"));
        }
        reply
    }

    /// Answers a call that the policy denies.
    #[must_use]
    pub fn denial(call: &Call<'_>, denial: &Denial<'_>, context: &Context<'_>) -> Reply {
        let error = denial_object(call, denial, context);
        Reply::framed(denial.reason.status(), context.head.framing, &error)
    }

    /// Answers a batch with one response for each of its requests.
    #[must_use]
    pub fn batch(errors: &[String], context: &Context<'_>) -> Reply {
        Reply::framed(200, context.head.framing, &format!("[{}]", errors.join(",")))
    }

    fn framed(status: u16, framing: Framing, json: &str) -> Reply {
        let (media, body) = match framing {
            Framing::Json => ("application/json", json.to_owned()),
            Framing::EventStream => {
                ("text/event-stream", format!("event: message\ndata: {json}\n\n"))
            }
        };
        Reply { status, headers: vec![("content-type", media)], body: body.into_bytes() }
    }
}

/// The response to a denied call.
#[must_use]
pub fn denial_object(call: &Call<'_>, denial: &Denial<'_>, context: &Context<'_>) -> String {
    let tool = echoed(call.tool);
    // As servers answer for a tool that they do not have: nothing else may tell that it is there.
    if denial.reason == Reason::ToolHidden {
        return error_object(
            Some(call.id),
            denial.reason.code(),
            &format!("Unknown tool: {tool}"),
            "",
        );
    }
    let data = data(&tool, denial, context);
    error_object(Some(call.id), denial.reason.code(), &message(&tool, denial), &data)
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
fn data(tool: &str, denial: &Denial<'_>, context: &Context<'_>) -> String {
    let mut data = format!("{{\"reason\":\"{}\"", denial.reason.label());
    let mut text = |key: &str, value: &str| {
        data.push_str(&format!(",\"{key}\":"));
        write_string(&mut data, value);
    };
    text("tool", tool);
    text("policy", context.policy);
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
fn message(tool: &str, denial: &Denial<'_>) -> String {
    // What cannot be decided is not what the author wrote about, so our sentence says it.
    if let (Detail::Mismatch(path, mismatch), Reason::ValueUndecidable | Reason::InvalidIncrement) =
        (denial.detail, denial.reason)
    {
        let (expected, found) = (mismatch.expected, mismatch.found);
        return format!(
            "Argument `{path}` of tool `{tool}` cannot be checked: expected {expected}, found {found}."
        );
    }
    if let Some(text) = denial.text {
        return text.to_owned();
    }
    match (denial.reason, denial.detail) {
        (Reason::RequirementNotMet, Detail::Path(path)) => {
            format!("Tool `{tool}` requires a condition on `{path}` that this call does not meet.")
        }
        (Reason::RequirementNotMet, _) => {
            format!("Tool `{tool}` requires a condition that this call does not meet.")
        }
        (Reason::DeniedByCondition, _) => {
            format!("Tool `{tool}` is denied by policy for these arguments.")
        }
        (Reason::ApprovalRequired, _) => format!("Tool `{tool}` requires approval."),
        (Reason::LimitReached, Detail::Limit { max, window_seconds, retry_after, .. }) => {
            limit_message(tool, &max.to_string(), window_seconds, retry_after)
        }
        (reason, _) if !reason.sentence().is_empty() => format!("{}.", reason.sentence()),
        _ => format!("Tool `{tool}` is not allowed by policy."),
    }
}

fn limit_message(tool: &str, max: &str, window_seconds: u64, retry_after: Option<u64>) -> String {
    let window = match window_seconds {
        1 => "second".to_owned(),
        60 => "minute".to_owned(),
        3600 => "hour".to_owned(),
        86_400 => "day".to_owned(),
        604_800 => "week".to_owned(),
        seconds if (28 * 86_400..=31 * 86_400).contains(&seconds) => "month".to_owned(),
        seconds => format!("{seconds} seconds"),
    };
    let retry = match retry_after {
        Some(millis) => format!("retry in {} s", millis.div_ceil(1000)),
        None => "this call alone exceeds it".to_owned(),
    };
    format!("Limit reached for tool `{tool}`: at most {max} per {window}; {retry}.")
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
