//! The client on the stage: where a policy asks users, it is one of MCP 2026-07-28 that can ask its own, and it carries what it is
//! given back.

use base64ct::{Base64, Encoding as _};

use crate::approval::user::{FIELD, KEY};
use crate::json::{Bounds, Duplicates, Value, parse_within, written};
use crate::mcp::message::{Body, Message};

/// The first revision in which a call can be answered with a question.
const REVISION: &str = "2026-07-28";

/// What a client of that revision says of itself in each request.
const META: &str = concat!(
    r#""_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","#,
    r#""io.modelcontextprotocol/clientCapabilities":{"elicitation":{}}},"#
);

/// Headers with their values.
pub(super) type OwnedHeaders = Vec<(String, String)>;

/// The body and the further headers of a client that can ask its user; `None` where the request says itself what its client is, or calls
/// nothing that can be answered with a question.
pub(super) fn able(body: &str, headers: &OwnedHeaders) -> Option<(String, OwnedHeaders)> {
    if headers.iter().any(|(name, _)| name == "mcp-protocol-version") {
        return None;
    }
    let value = parse_within(body, Duplicates::Refuse, Bounds::of_any_body()).ok()?;
    let Ok(Body::Single(Message::Request(request))) = Body::read(&value) else { return None };
    request.id?;
    let params = request.params.and_then(Value::as_object)?;
    if params.get("_meta").is_some() {
        return None;
    }
    let key = match request.method {
        "tools/call" | "prompts/get" => "name",
        "resources/read" => "uri",
        _ => return None,
    };
    let name = params.get(key)?.as_str()?;
    let body = with_members(body, META)?;
    let mirrors = [
        ("mcp-protocol-version", REVISION.to_owned()),
        ("mcp-method", request.method.to_owned()),
        ("mcp-name", mirrored(name)),
    ];
    let mirrors = mirrors.map(|(name, value)| (name.to_owned(), value));
    Some((body, headers.iter().cloned().chain(mirrors).collect()))
}

/// The body of the retry: with the state, and with what the user says if he was asked.
pub(super) fn retry(body: &str, state: &str, says: Option<bool>) -> Option<String> {
    let state = written(state);
    let answer = match says {
        Some(true) => format!(
            r#""inputResponses":{{"{KEY}":{{"action":"accept","content":{{"{FIELD}":true}}}}}},"#
        ),
        Some(false) => format!(r#""inputResponses":{{"{KEY}":{{"action":"decline"}}}},"#),
        None => String::new(),
    };
    with_members(body, &format!("{answer}\"requestState\":{state},"))
}

/// The same body with more members at the beginning of `params`, which has some.
fn with_members(body: &str, members: &str) -> Option<String> {
    let value = parse_within(body, Duplicates::Refuse, Bounds::of_any_body()).ok()?;
    let params = value.as_object()?.member("params")?;
    let at = (params.raw.as_ptr() as usize).checked_sub(body.as_ptr() as usize)?;
    let (before, after) = body.split_at_checked(at.checked_add(1)?)?;
    before.ends_with('{').then(|| [before, members, after].concat())
}

/// A name as a header carries it.
fn mirrored(name: &str) -> String {
    let plain = !name.starts_with("=?") && name.bytes().all(|byte| matches!(byte, b' '..=b'~'));
    match plain {
        true => name.to_owned(),
        false => format!("=?base64?{}?=", Base64::encode_string(name.as_bytes())),
    }
}
