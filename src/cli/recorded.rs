//! A recorded call, as it can be sent once more: from a line that a person or a program wrote, or from one that the filter wrote.

use mcp_policy::digest::named_digest;
use mcp_policy::json::{
    Bounds, Duplicates, Member, Object, Value, canonical, parse, parse_within, written,
};
use mcp_policy::mcp::call::Kind;
use mcp_policy::rehearsal::body::body_of;
use mcp_policy::rehearsal::names::CallerName;
use mcp_policy::rehearsal::suite::name_of;
use mcp_policy::rehearsal::{Destination, SimulatedRequest, SimulatedResponse};
use mcp_policy::time::UnixMillis;
use serde::Serialize;
use sha2::{Digest as _, Sha256};

use super::audit_log::{self, AuditedCall, members};

/// What stands for a value that was not to be recorded.
const REDACTED: &str = "[redacted]";

/// What the filter calls a caller without a name.
const ANONYMOUS: &str = "anonymous";

/// A text of this many bytes or more that ends with an ellipsis was cut short on record.
const CUT_BYTES: usize = 120;

/// What a recorded line is.
#[derive(Debug)]
pub(super) enum RecordedLine {
    /// A call that can be sent once more.
    Call(Box<RecordedCall>),
    /// A line that is as it should be, of something that cannot be sent once more.
    LeftOut(LeftOut),
}

/// A recorded call.
#[derive(Debug)]
pub(super) struct RecordedCall {
    pub(super) request: SimulatedRequest,
    /// How much of its arguments is on record.
    pub(super) arguments: KnownArguments,
    /// What was decided.
    pub(super) decided: Option<RecordedDecision>,
}

/// How much of a call's arguments is on record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum KnownArguments {
    /// All of them, or the call has none.
    Whole,
    /// Some values are hidden.
    Redacted,
    /// Nothing but, at most, their keys.
    Unknown,
}

/// What was decided of a recorded call.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct RecordedDecision {
    pub(super) decision: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) reason: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) rule: String,
    /// Who approved the call.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) approval: String,
}

/// Why a line is no call that can be sent once more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub(super) enum LeftOut {
    /// The front door refused it, so nobody read what it asks.
    #[serde(rename = "refuse")]
    Refused,
    /// No policy has a rule for it.
    #[serde(rename = "pass")]
    Passed,
    /// It is about a response.
    #[serde(rename = "withheld")]
    Withheld,
    /// It is about no message of MCP.
    #[serde(rename = "no_decision")]
    Undecided,
    /// What was called is not on record.
    #[serde(rename = "no_name")]
    Unnamed,
    /// The record has only the beginning of the name, of the caller's or of where the call went.
    #[serde(rename = "name_cut")]
    Cut,
}

/// Reads a line. A call without a time of its own happens `before`, with the one before it.
///
/// # Errors
/// What is wrong with it, in one sentence.
pub(super) fn read(line: &[u8], before: UnixMillis) -> Result<RecordedLine, String> {
    let text = std::str::from_utf8(line).map_err(|_| "not UTF-8".to_owned())?;
    let value = parse_within(text, Duplicates::Keep, Bounds::of_any_body())
        .map_err(|fault| format!("not JSON: {} at byte {}", fault.kind.describe(), fault.at))?;
    let Some(object) = value.as_object() else {
        return Err(format!("expected an object, found {}", value.kind()));
    };
    let written_by_hand =
        ["request", "jsonrpc", "tool"].iter().any(|key| object.get(key).is_some())
            && !matches!(object.get("audit"), Some(Value::Number(_)));
    if written_by_hand {
        return by_hand(text, object, before).map(Box::new).map(RecordedLine::Call);
    }
    match audit_log::read(object)? {
        Some(call) => Ok(audited(&call, before)),
        None => Err(
            "it has neither `tool` nor `request`, and is no JSON-RPC message, audit line or line of the access log"
                .to_owned(),
        ),
    }
}

impl LeftOut {
    /// What people read.
    pub(super) fn phrase(self) -> &'static str {
        match self {
            LeftOut::Refused => "refused by the front door",
            LeftOut::Passed => "passed without a rule",
            LeftOut::Withheld => "about a response",
            LeftOut::Undecided => "without a decision",
            LeftOut::Unnamed => "without the name of what was called",
            LeftOut::Cut => "with a name cut short",
        }
    }
}

impl RecordedDecision {
    /// Whether the policy asked for an approval, whoever gave it or not.
    pub(super) fn asked(&self) -> bool {
        !self.approval.is_empty() || self.decision == "ask" || self.reason.starts_with("approval_")
    }
}

/// A call as the filter put it on record.
fn audited(call: &AuditedCall, before: UnixMillis) -> RecordedLine {
    let body = match body(call) {
        Ok(body) => body,
        Err(why) => return RecordedLine::LeftOut(why),
    };
    let own = |text: &String| Some(text.clone()).filter(|text| !text.is_empty());
    let request = SimulatedRequest {
        names: call.identity.iter().map(identity).collect(),
        session: own(&call.session),
        target: Destination { host: own(&call.host), path: own(&call.path), route: None },
        ..SimulatedRequest::new(body, call.time.unwrap_or(before))
    };
    RecordedLine::Call(Box::new(RecordedCall {
        request: request.by(own(&call.grant).filter(|name| name != ANONYMOUS)),
        arguments: known(call),
        decided: Some(RecordedDecision {
            decision: call.decision.clone(),
            reason: call.reason.clone(),
            rule: call.rule.clone(),
            approval: call.approval.clone(),
        }),
    }))
}

/// A name of the caller. A list of texts is on record as JSON, every other name as a text.
fn identity((key, text): &(String, String)) -> CallerName {
    let list = if text.starts_with('[') { parse(text, Duplicates::Refuse).ok() } else { None };
    let list = list.as_ref().and_then(name_of);
    (key.clone(), list.unwrap_or_else(|| Value::String(text.clone().into())))
}

/// The message of a call that is on record.
fn body(call: &AuditedCall) -> Result<String, LeftOut> {
    match &*call.decision {
        "refuse" => return Err(LeftOut::Refused),
        "pass" => return Err(LeftOut::Passed),
        "withheld" => return Err(LeftOut::Withheld),
        "" => return Err(LeftOut::Undecided),
        _ => {}
    }
    let mut names = call.identity.iter().map(|(_, name)| name);
    let cut = |text: &String| text.len() >= CUT_BYTES && text.ends_with('…');
    if [&call.name, &call.grant, &call.host, &call.path].into_iter().any(cut) || names.any(cut) {
        return Err(LeftOut::Cut);
    }
    let arguments = call.arguments.as_deref();
    let given = arguments.map(|text| format!(",\"arguments\":{text}")).unwrap_or_default();
    let name = written(&call.name);
    let (method, params) = match (&*call.method, call.kind) {
        ("tools/call" | "", Some(Kind::Tool)) => {
            ("tools/call", format!("{{\"name\":{name}{given}}}"))
        }
        ("prompts/get" | "", Some(Kind::Prompt)) => {
            ("prompts/get", format!("{{\"name\":{name}{given}}}"))
        }
        ("", Some(Kind::Resource)) => ("resources/read", format!("{{\"uri\":{name}}}")),
        (
            method @ ("resources/read" | "resources/subscribe" | "resources/unsubscribe"),
            Some(Kind::Resource),
        ) => (method, format!("{{\"uri\":{name}}}")),
        (method, None | Some(Kind::Method)) if stands_alone(method) => {
            (method, arguments.unwrap_or("{}").to_owned())
        }
        (_, None | Some(Kind::Tool | Kind::Prompt | Kind::Resource | Kind::Method)) => {
            return Err(LeftOut::Unnamed);
        }
    };
    let method = written(method);
    Ok(format!("{{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":{method},\"params\":{params}}}"))
}

/// Whether a method says by itself what is asked: it is a request that names nothing else, and no list of messages.
fn stands_alone(method: &str) -> bool {
    let names_something = [
        "",
        "batch",
        "response",
        "tools/call",
        "prompts/get",
        "resources/read",
        "resources/subscribe",
        "resources/unsubscribe",
        "completion/complete",
        "subscriptions/listen",
    ];
    !names_something.contains(&method) && !method.starts_with("notifications/")
}

/// How much of the arguments is on record.
pub(super) fn known(call: &AuditedCall) -> KnownArguments {
    // A resource has no other argument than its URI.
    if call.kind == Some(Kind::Resource) {
        return KnownArguments::Whole;
    }
    let text = call.arguments.as_deref().unwrap_or("{}");
    let value = parse_within(text, Duplicates::Keep, Bounds::of_any_body());
    let proven = value.as_ref().is_ok_and(|value| {
        call.arguments_digest == named_digest(&Sha256::digest(canonical(value).text))
    });
    let hidden = value.as_ref().is_ok_and(has_redacted);
    match &call.arguments {
        _ if proven => KnownArguments::Whole,
        Some(_) if hidden => KnownArguments::Redacted,
        Some(_) => KnownArguments::Whole,
        None if call.argument_keys.as_ref().is_some_and(Vec::is_empty) => KnownArguments::Whole,
        None => KnownArguments::Unknown,
    }
}

fn has_redacted(value: &Value<'_>) -> bool {
    match value {
        Value::String(text) => text == REDACTED,
        Value::Array(items) => items.iter().any(has_redacted),
        Value::Object(Object(members)) => members.iter().any(|member| has_redacted(&member.value)),
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}

/// A call as a person or another program wrote it down.
fn by_hand(text: &str, object: &Object<'_>, before: UnixMillis) -> Result<RecordedCall, String> {
    let at = audit_log::time(object)?.unwrap_or(before);
    let (body, arguments) = body_by_hand(text, object)?;
    let response = match object.get("response").and_then(Value::as_str) {
        Some("error") => SimulatedResponse::Error,
        Some("result") | None => SimulatedResponse::Result,
        Some(_) => return Err("`response` is `result` or `error`".to_owned()),
    };
    let header = |member: &Member<'_>| {
        let value = member.value.as_str().ok_or_else(|| unusable("headers", member, "a text"))?;
        Ok((member.key.to_ascii_lowercase(), value.to_owned()))
    };
    let name = |member: &Member<'_>| {
        let expected = "a text, a number, a boolean or a list of texts";
        let name = name_of(&member.value).ok_or_else(|| unusable("identity", member, expected));
        Ok((member.key.to_string(), name?))
    };
    let request = SimulatedRequest {
        names: members(object, "identity")?.iter().map(name).collect::<Result<_, String>>()?,
        session: text_of(object, "session")?,
        headers: members(object, "headers")?.iter().map(header).collect::<Result<_, String>>()?,
        target: Destination {
            host: text_of(object, "host")?,
            path: text_of(object, "path")?,
            route: text_of(object, "route")?,
        },
        response,
        ..SimulatedRequest::new(body, at)
    };
    let request = request.by(text_of(object, "grant")?);
    Ok(RecordedCall { request, arguments, decided: decided_by_hand(object) })
}

/// A decision that somebody wrote beside a call. A field of this name may also mean something else.
fn decided_by_hand(object: &Object<'_>) -> Option<RecordedDecision> {
    let text = |key| object.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
    let decision = text("decision");
    let known = ["allow", "deny", "ask", "would_deny", "would_ask", "refuse", "pass"];
    known.contains(&&*decision).then(|| RecordedDecision {
        decision,
        reason: text("reason"),
        rule: text("rule"),
        approval: text("approval"),
    })
}

/// A text that may be there.
fn text_of(object: &Object<'_>, key: &str) -> Result<Option<String>, String> {
    match object.get(key) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.to_string())),
        Some(other) => Err(format!("`{key}` is {}, not a text", other.kind())),
    }
}

fn unusable(key: &str, member: &Member<'_>, expected: &str) -> String {
    format!("`{key}.{}` is {}, not {expected}", member.key.escape_debug(), member.value.kind())
}

/// The message of a line, and how much of its arguments is there.
fn body_by_hand(text: &str, object: &Object<'_>) -> Result<(String, KnownArguments), String> {
    if let Some(request) = object.member("request") {
        return Ok((request.raw.to_owned(), KnownArguments::Whole));
    }
    if object.get("jsonrpc").is_some() {
        return Ok((text.to_owned(), KnownArguments::Whole));
    }
    let fields = ["tool", "arguments"].iter().filter_map(|key| object.member(key).cloned());
    let call = Value::Object(Object(fields.collect()));
    let arguments = match object.get("arguments") {
        None => KnownArguments::Unknown,
        Some(arguments) if has_redacted(arguments) => KnownArguments::Redacted,
        Some(_) => KnownArguments::Whole,
    };
    Ok((body_of(&call)?, arguments))
}

#[cfg(test)]
mod tests {
    use mcp_policy::time::UnixMillis;

    use super::KnownArguments::{Redacted, Unknown, Whole};
    use super::{LeftOut, RecordedLine, read};

    fn line(text: &str) -> RecordedLine {
        read(text.as_bytes(), UnixMillis(7)).unwrap()
    }

    #[test]
    fn a_recorded_call_is_the_message_that_was_sent() {
        for (text, params, arguments) in [
            (
                r#""method":"tools/call","tool":"x\n","arguments":{"n": 1.50}"#,
                r#""tools/call","params":{"name":"x\n","arguments":{"n": 1.50}}"#,
                Whole,
            ),
            (r#""tool":"x""#, r#""tools/call","params":{"name":"x"}"#, Unknown),
            (
                r#""tool":"x","argument_keys":["n"]"#,
                r#""tools/call","params":{"name":"x"}"#,
                Unknown,
            ),
            (r#""tool":"x","argument_keys":[]"#, r#""tools/call","params":{"name":"x"}"#, Whole),
            (
                r#""tool":"x","arguments_digest":"sha-256:RBNvo1WzZ4oRRq0W9-hknpT7T8If536DEMBg9hyq_4o""#,
                r#""tools/call","params":{"name":"x"}"#,
                Whole,
            ),
            (
                r#""tool":"x","arguments":{"a":[{"b":"[redacted]"}]},"arguments_digest":"sha-256:x""#,
                r#""tools/call","params":{"name":"x","arguments":{"a":[{"b":"[redacted]"}]}}"#,
                Redacted,
            ),
            (
                r#""method":"resources/subscribe","resource":"file:///a""#,
                r#""resources/subscribe","params":{"uri":"file:///a"}"#,
                Whole,
            ),
            (
                r#""resource":"file:///a""#,
                r#""resources/read","params":{"uri":"file:///a"}"#,
                Whole,
            ),
            (
                r#""method":"prompts/get","prompt":"p","arguments":{"a":"1"}"#,
                r#""prompts/get","params":{"name":"p","arguments":{"a":"1"}}"#,
                Whole,
            ),
            (r#""method":"tools/list""#, r#""tools/list","params":{}"#, Unknown),
            (
                r#""method":"logging/setLevel","arguments":{"level":"info"}"#,
                r#""logging/setLevel","params":{"level":"info"}"#,
                Whole,
            ),
        ] {
            let text = format!(r#"{{"audit":1,"decision":"allow",{text}}}"#);
            let RecordedLine::Call(call) = line(&text) else { panic!("{text}") };
            assert_eq!(
                call.request.body,
                format!(r#"{{"jsonrpc":"2.0","id":1,"method":{params}}}"#)
            );
            assert_eq!(call.arguments, arguments, "{text}");
            assert_eq!(call.request.at, UnixMillis(7));
        }
    }

    #[test]
    fn what_cannot_be_sent_once_more_is_left_out() {
        let [cut, far, someone] = ["tool", "path", "grant"]
            .map(|key| format!(r#""decision":"deny","tool":"x","{key}":"{}…""#, "x".repeat(126)));
        let cut = cut.replacen(r#""tool":"x","#, "", 1);
        for (text, why) in [
            (r#""decision":"refuse","reason":"duplicate_key""#, LeftOut::Refused),
            (r#""decision":"pass","method":"initialize""#, LeftOut::Passed),
            (r#""decision":"withheld","method":"tools/call","tool":"x""#, LeftOut::Withheld),
            (r#""method":"tools/call","tool":"x""#, LeftOut::Undecided),
            (r#""decision":"allow","method":"batch""#, LeftOut::Unnamed),
            (r#""decision":"deny","method":"tools/call""#, LeftOut::Unnamed),
            (r#""decision":"deny","method":"completion/complete""#, LeftOut::Unnamed),
            (r#""decision":"deny","method":"notifications/x""#, LeftOut::Unnamed),
            (r#""decision":"deny","method":"resources/read","prompt":"p""#, LeftOut::Unnamed),
            (&cut, LeftOut::Cut),
            (&far, LeftOut::Cut),
            (&someone, LeftOut::Cut),
        ] {
            let text = format!(r#"{{"audit":1,{text}}}"#);
            let RecordedLine::LeftOut(found) = line(&text) else { panic!("{text}") };
            assert_eq!(found, why, "{text}");
        }
    }

    #[test]
    fn the_caller_is_the_one_on_record() {
        let text = r#"{"audit":1,"time":9,"decision":"allow","tool":"x","grant":"alice","identity":{"team":"sre","roles":["a","b"],
            "odd":"[a"},"session":"s","host":"h","path":"/p"}"#;
        let RecordedLine::Call(call) = line(text) else { panic!("a call") };
        let names = format!("{:?}", call.request.names);
        let expected = r#"[("team", String("sre")), ("roles", Array([String("a"), String("b")])), ("odd", String("[a")), ("grant", String("alice"))]"#;
        assert_eq!(names, expected);
        let request = &call.request;
        let target = (request.target.host.as_deref(), request.target.path.as_deref());
        assert_eq!((target, request.session.as_deref()), ((Some("h"), Some("/p")), Some("s")));
        assert_eq!(request.at, UnixMillis(9));
        let RecordedLine::Call(call) =
            line(r#"{"mcp_decision":"allow","mcp_tool":"x","mcp_grant":"anonymous"}"#)
        else {
            panic!("a call")
        };
        assert!(call.request.names.is_empty());
    }
}
