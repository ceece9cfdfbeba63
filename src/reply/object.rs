//! The JSON-RPC objects of answers, as serde writes them. Field names and their order are what clients and goldens have seen.

use serde::Serialize;
use serde_json::value::RawValue;

use super::{Addressee, Context, sentence};
use crate::denial::{ApprovalDetail, Denial, Detail};
use crate::json::written;
use crate::listing::Cause;
use crate::mcp::Refusal;
use crate::mcp::call::Kind;
use crate::number::Micros;
use crate::policy::compiled::Policy;
use crate::policy::settings::Denials;
use crate::reason::Reason;

/// A response of JSON-RPC 2.0.
#[derive(Serialize)]
struct RpcResponse<'o> {
    jsonrpc: &'static str,
    /// The request's own bytes; `null` where none could be read.
    id: Option<&'o RawValue>,
    #[serde(flatten)]
    outcome: RpcOutcome<'o>,
}

#[derive(Serialize)]
#[serde(rename_all = "lowercase")]
enum RpcOutcome<'o> {
    Error(RpcError<'o>),
    Result(ToolResult<'o>),
    #[serde(rename = "result")]
    InputRequired(InputRequired<'o>),
}

#[derive(Serialize)]
struct RpcError<'o> {
    code: i32,
    message: &'o str,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<Data<'o>>,
}

/// A tool's result that says it is an error.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ToolResult<'o> {
    /// Revision 2026-07-28 tells results apart by their type.
    #[serde(skip_serializing_if = "Option::is_none")]
    result_type: Option<&'static str>,
    content: [TextContent<'o>; 1],
    is_error: bool,
    #[serde(rename = "_meta")]
    meta: Meta<'o>,
}

#[derive(Serialize)]
struct TextContent<'o> {
    r#type: &'static str,
    text: &'o str,
}

/// `structuredContent` is the tool's own, so the data for programs stands here.
#[derive(Serialize)]
struct Meta<'o> {
    #[serde(rename = "mcp-policy/denial")]
    denial: Data<'o>,
}

/// `error.data`: what a program needs, and nothing of other callers, other policies or the arguments.
#[derive(Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct Data<'o> {
    reason: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    cause: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tool: Option<&'o str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    resource: Option<&'o str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    prompt: Option<&'o str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    method: Option<&'o str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    policy: Option<&'o str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    policy_digest: Option<&'o str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rule: Option<&'o str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    counter: Option<&'o str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    request_id: Option<&'o str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    approval: Option<ApprovalData<'o>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    limit: Option<Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    remaining: Option<Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    window_seconds: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_after_ms: Option<u64>,
}

/// `error.data.approval`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ApprovalData<'o> {
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    by: &'o [&'static str],
    #[serde(skip_serializing_if = "Option::is_none")]
    missing: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mismatch: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'o str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    url: Option<&'o str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at: Option<&'o str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    arguments_digest: Option<&'o str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    policy_digest: Option<&'o str>,
}

/// A result that asks for input (MCP 2026-07-28, multi-round-trip requests).
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct InputRequired<'o> {
    result_type: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    input_requests: Option<InputRequests<'o>>,
    request_state: &'o str,
}

#[derive(Serialize)]
struct InputRequests<'o> {
    #[serde(rename = "mcp-policy/approval")]
    approval: Elicitation<'o>,
}

#[derive(Serialize)]
struct Elicitation<'o> {
    method: &'static str,
    params: ElicitationParams<'o>,
}

/// Either a form, or an address that the user opens.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ElicitationParams<'o> {
    mode: &'static str,
    message: &'o str,
    requested_schema: Box<RawValue>,
}

/// The form: one box, not ticked. An answer that takes what stands there approves nothing.
const FORM: &str = r#"{"type":"object","properties":{"approve":{"type":"boolean","title":"Approve this call","default":false}},"required":["approve"]}"#;

/// The response that asks the client to ask its user, or only to come again with this state.
#[must_use]
pub(super) fn input_required_object(to: &Addressee, message: Option<&str>, state: &str) -> String {
    let form = || serde_json::from_str(FORM).ok();
    let input_requests = message.and_then(|message| {
        let params = ElicitationParams { mode: "form", message, requested_schema: form()? };
        let approval = Elicitation { method: "elicitation/create", params };
        Some(InputRequests { approval })
    });
    let result_type = "input_required";
    let result = InputRequired { result_type, input_requests, request_state: state };
    response(to.id.as_deref(), RpcOutcome::InputRequired(result))
}

/// A request of ours that the client ask its user (MCP 2025-06-18 and 2025-11-25).
#[must_use]
pub fn elicitation_object(id: &str, message: &str) -> String {
    #[derive(Serialize)]
    struct Elicit<'o> {
        jsonrpc: &'static str,
        id: &'o str,
        method: &'static str,
        params: ElicitParams<'o>,
    }
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct ElicitParams<'o> {
        message: &'o str,
        requested_schema: Option<Box<RawValue>>,
    }
    let params = ElicitParams { message, requested_schema: serde_json::from_str(FORM).ok() };
    written(&Elicit { jsonrpc: "2.0", id, method: "elicitation/create", params })
}

/// The response to a request of which no more is known than its id.
#[must_use]
pub fn reason_object(id: &str, reason: Reason) -> String {
    let message = format!("{}.", reason.sentence());
    error(Some(id), reason.code(), &message, Some(Data::of(reason)))
}

/// The response to a denied request; none to a notification.
#[must_use]
pub fn denial_object(to: &Addressee, denial: &Denial, context: &Context<'_>) -> Option<String> {
    let id = to.id.as_deref()?;
    let denial = &*denial.told();
    let name = to.name(denial.kind);
    let code = denial.reason.code();
    // As servers answer for what they do not have: nothing else may tell that it is there.
    if denial.reason.hides() {
        let unknown = match denial.kind {
            Kind::Tool => format!("Unknown tool: {name}"),
            Kind::Prompt => format!("Unknown prompt: {name}"),
            Kind::Resource => format!("Resource not found: {name}"),
            Kind::Method => "Method not found".to_owned(),
        };
        return Some(error(Some(id), code, &unknown, None));
    }
    let message = sentence::of(name, denial, context.policy);
    let data = data(to, denial, context.policy);
    if context.form == Denials::ToolResult && to.calls_tool() {
        return Some(response(
            Some(id),
            RpcOutcome::Result(ToolResult {
                result_type: to.modern.then_some("complete"),
                content: [TextContent { r#type: "text", text: &message }],
                is_error: true,
                meta: Meta { denial: data },
            }),
        ));
    }
    Some(error(Some(id), code, &message, Some(data)))
}

/// The response to a list that cannot be shown.
#[must_use]
pub fn list_unreadable_object(id: &str, cause: &Cause) -> String {
    let reason = Reason::ListUnreadable;
    let message = format!("{}: {}", reason.sentence(), cause.text());
    let data = Data { cause: Some(cause.word()), ..Data::of(reason) };
    error(Some(id), reason.code(), &message, Some(data))
}

/// The response to a request whose batch is refused for another one's sake.
#[must_use]
pub fn batch_refused_object(id: &str) -> String {
    let reason = Reason::BatchRefused;
    error(Some(id), reason.code(), reason.sentence(), Some(Data::of(reason)))
}

/// The response to a request that the strict front door refuses.
pub(super) fn refusal_object(refusal: &Refusal) -> String {
    let reason = refusal.reason;
    let message = match &*refusal.detail {
        "" => reason.sentence().to_owned(),
        detail => format!("{}: {detail}", reason.sentence()),
    };
    error(refusal.id.as_deref(), reason.code(), &message, Some(Data::of(reason)))
}

fn error(id: Option<&str>, code: i32, message: &str, data: Option<Data<'_>>) -> String {
    response(id, RpcOutcome::Error(RpcError { code, message, data }))
}

fn response(id: Option<&str>, outcome: RpcOutcome<'_>) -> String {
    // The id was read as JSON, so these are its bytes.
    let id = id.and_then(|id| serde_json::from_str(id).ok());
    let response = RpcResponse { jsonrpc: "2.0", id, outcome };
    written(&response)
}

impl<'o> Data<'o> {
    fn of(reason: Reason) -> Data<'o> {
        Data { reason: reason.label(), ..Data::default() }
    }
}

fn data<'o>(to: &'o Addressee, denial: &'o Denial, policy: Option<&'o Policy>) -> Data<'o> {
    let mut data = Data::of(denial.reason);
    let field = match denial.kind {
        Kind::Tool => &mut data.tool,
        Kind::Resource => &mut data.resource,
        Kind::Prompt => &mut data.prompt,
        Kind::Method => &mut data.method,
    };
    *field = Some(to.name(denial.kind));
    data.policy = policy.map(|policy| &*policy.name).filter(|name| !name.is_empty());
    data.policy_digest = policy.map(|policy| &*policy.named_digest);
    data.rule = policy.map(|policy| denial.pointer(policy)).filter(|rule| !rule.is_empty());
    data.request_id = to.request_id.as_deref();
    if let Detail::Limit { counter, max, remaining, window_seconds, retry_after } = denial.detail {
        data.counter = policy.and_then(|policy| Some(&*policy.counters.get(counter?)?.name));
        data.limit = exact(max);
        data.remaining = exact(remaining);
        data.window_seconds = (window_seconds > 0).then_some(window_seconds);
        data.retry_after_ms = retry_after;
    }
    if let Detail::Approval(approval) = &denial.detail {
        data.retry_after_ms = approval.retry_after;
        data.approval = Some(ApprovalData::of(approval));
    }
    data
}

impl<'o> ApprovalData<'o> {
    fn of(approval: &'o ApprovalDetail) -> ApprovalData<'o> {
        ApprovalData {
            by: &approval.by,
            missing: approval.missing,
            mismatch: approval.mismatch,
            id: approval.id.as_deref(),
            url: approval.url.as_deref(),
            expires_at: approval.expires_at.as_deref(),
            arguments_digest: approval.arguments_digest.as_deref(),
            policy_digest: approval.policy_digest.as_deref(),
        }
    }
}

/// A count as a JSON number with all its digits, which a double might not hold.
fn exact(count: Micros) -> Option<Box<RawValue>> {
    RawValue::from_string(count.to_string()).ok()
}
