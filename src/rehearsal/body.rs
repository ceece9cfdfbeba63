//! Bodies of requests: written from what a person says of a call, and read for what they ask.

use crate::enforce::Governed;
use crate::json::{Bounds, Duplicates, Object, Value, parse_within, write_string};
use crate::mcp::call::Kind;
use crate::mcp::message::{Body, Message};
use crate::policy::compiled::Policy;

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

/// What a body asks for, in short: the name of a tool, else the method with what it names. Empty where it is no single request.
#[must_use]
pub fn asked(body: &str) -> String {
    let Ok(value) = parse_within(body, Duplicates::Refuse, Bounds::of_any_body()) else {
        return String::new();
    };
    let Ok(Body::Single(Message::Request(request))) = Body::read(&value) else {
        return String::new();
    };
    match &request.call {
        Some(call) if call.kind == Kind::Tool => call.name.to_owned(),
        Some(call) => format!("{} {}", request.method, call.name),
        None => request.method.to_owned(),
    }
}

/// Looks at what of a body a policy has rules for, if there is anything.
pub fn governed<T>(
    policy: &Policy,
    body: &str,
    look: impl FnOnce(&Governed<'_>) -> T,
) -> Option<T> {
    let value = parse_within(body, Duplicates::Refuse, Bounds::of_any_body()).ok()?;
    match Body::read(&value).ok()? {
        Body::Single(Message::Request(request)) => {
            Governed::of(policy, &request).map(|governed| look(&governed))
        }
        Body::Single(Message::Response) | Body::Batch(_) => None,
    }
}
