//! Bodies of requests: written from what a person says of a call, and read for what they ask.

use serde::Serialize;

use crate::json::{Bounds, Duplicates, Value, parse_within, written};
use crate::mcp::call::Kind;
use crate::mcp::message::{self, Body};

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
    if object.get("jsonrpc").is_some() {
        return Ok(written(call));
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
    Ok(tool_call(tool, object.get("arguments")))
}

/// The body of a call of a tool.
#[must_use]
pub fn tool_call(tool: &str, arguments: Option<&Value<'_>>) -> String {
    let params = Params { name: tool, arguments };
    written(&RpcRequest { jsonrpc: "2.0", id: 1, method: "tools/call", params })
}

#[derive(Serialize)]
struct RpcRequest<'m> {
    jsonrpc: &'static str,
    id: u32,
    method: &'static str,
    params: Params<'m>,
}

#[derive(Serialize)]
struct Params<'m> {
    name: &'m str,
    #[serde(skip_serializing_if = "Option::is_none")]
    arguments: Option<&'m Value<'m>>,
}

/// What a body asks for, in short: the name of a tool, else the method with what it names. Empty where it is no single request.
#[must_use]
pub fn asked(body: &str) -> String {
    let Ok(value) = parse_within(body, Duplicates::Refuse, Bounds::of_any_body()) else {
        return String::new();
    };
    let Ok(Body::Single(message::Message::Request(request))) = Body::read(&value) else {
        return String::new();
    };
    match &request.call {
        Some(call) if call.kind == Kind::Tool => call.name.to_owned(),
        Some(call) => format!("{} {}", request.method, call.name),
        None => request.method.to_owned(),
    }
}
