//! What becomes of a request on the stage.

use serde::Serialize;

use crate::approval::user::KEY;
use crate::json::{Duplicates, Object, Value, parse};

/// What becomes of a request.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Verdict {
    /// `allow`, `deny`, `ask` (somebody is asked whether it may run), `would_deny` and `would_ask` (in shadow), `refuse` (by the strict
    /// front door), or `pass` (no call).
    pub decision: String,
    /// Why not.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// JSON Pointer to the line of the policy that decided.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub rule: String,
    /// The policy that governs the request; empty where none does, or the front door refuses it.
    #[serde(skip)]
    pub policy: String,
    /// The HTTP status of the answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// The JSON-RPC error code of the answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<i64>,
    /// The text that the agent reads, or the user who is asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// Who is asked, or would be.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub asks: Option<&'static str>,
    /// The ways by which the call can be approved. Any one of them is enough.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub approval_by: Vec<&'static str>,
}

impl Verdict {
    /// Whether the call gets to the server.
    #[must_use]
    pub fn is_forwarded(&self) -> bool {
        matches!(&*self.decision, "allow" | "would_deny" | "would_ask" | "pass")
    }

    /// Reads an answer; yields the state that the client shall carry back.
    pub(super) fn read_reply(&mut self, status: u16, body: &[u8]) -> Option<String> {
        self.status = Some(status);
        let text = std::str::from_utf8(body).ok()?;
        let reply = parse(text, Duplicates::Keep).ok()?;
        let member = |key| reply.as_object()?.get(key)?.as_object();
        if let Some(error) = member("error") {
            if let Some(Value::Number(code)) = error.get("code") {
                self.code = code.parse().ok();
            }
            self.message = error.get("message").and_then(Value::as_str).map(str::to_owned);
            return None;
        }
        let result = member("result")?;
        // `denials.as: tool_result`: one piece of text.
        if let Some(Value::Array(content)) = result.get("content") {
            let text = content.first().and_then(Value::as_object);
            let text = text.and_then(|piece| piece.get("text")?.as_str());
            self.message = text.map(str::to_owned);
        }
        if let Some(question) = question(result) {
            self.message = Some(question.to_owned());
        }
        result.get("requestState").and_then(Value::as_str).map(str::to_owned)
    }
}

/// What a result asks the user.
fn question<'v>(result: &'v Object<'_>) -> Option<&'v str> {
    let mut found = result.get("inputRequests")?;
    for key in [KEY, "params", "message"] {
        found = found.as_object()?.get(key)?;
    }
    found.as_str()
}
