//! One line of a record: an audit line of the filter, or a line of the access log that `envoy/envoy.yaml` has Envoy write.
//!
//! What is not on record is empty here, and so is what Envoy writes as `null` or `-`.

use mcp_policy::json::{Member, Object, Value, written};
use mcp_policy::mcp::call::Kind;
use mcp_policy::rehearsal::suite::parse_time;
use mcp_policy::time::UnixMillis;

/// The formats of audit lines that are read.
const FORMATS: [&str; 1] = ["1"];

/// What tells a line of the access log: it has one of them at least.
const ACCESS_MARKS: [&str; 3] = ["mcp_decision", "mcp_method", "mcp_policy"];

/// A call as the filter put it on record.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct AuditedCall {
    /// When it was decided.
    pub(super) time: Option<UnixMillis>,
    /// The policy's name.
    pub(super) policy: String,
    /// The policy's digest.
    pub(super) digest: String,
    /// `enforce` or `shadow`.
    pub(super) mode: String,
    /// `allow`, `deny`, `ask`, `would_deny`, `would_ask`, `refuse`, `pass` or `withheld`.
    pub(super) decision: String,
    /// Why not.
    pub(super) reason: String,
    /// JSON Pointer to the line of the policy that decided.
    pub(super) rule: String,
    /// Why a response was withheld.
    pub(super) cause: String,
    /// The JSON-RPC method.
    pub(super) method: String,
    /// What `name` names.
    pub(super) kind: Option<Kind>,
    /// The tool, resource, prompt or method.
    pub(super) name: String,
    /// Who called.
    pub(super) grant: String,
    /// The caller's further names.
    pub(super) identity: Vec<(String, String)>,
    /// A digest of the session's id.
    pub(super) session: String,
    /// The revision of MCP.
    pub(super) revision: String,
    /// The host that was called.
    pub(super) host: String,
    /// The path that was called.
    pub(super) path: String,
    /// The arguments, as JSON text.
    pub(super) arguments: Option<String>,
    /// The keys of the arguments, where only they are recorded.
    pub(super) argument_keys: Option<Vec<String>>,
    /// A digest of the arguments.
    pub(super) arguments_digest: String,
    /// How full each limit was.
    pub(super) limits: Vec<AuditedLimit>,
    /// Who approved the call.
    pub(super) approval: String,
    /// Envoy's id of the request.
    pub(super) request_id: String,
    /// The trace that the request belongs to.
    pub(super) traceparent: String,
    /// What the policy that is tried beside the live one decided, where that is something else.
    pub(super) candidate: Option<AuditedOther>,
}

/// How full a limit was after the call.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct AuditedLimit {
    /// JSON Pointer to the limit.
    pub(super) rule: String,
    /// Its counter.
    pub(super) counter: String,
    /// 100 is full.
    pub(super) used_percent: u64,
}

/// What a candidate decided.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct AuditedOther {
    pub(super) decision: String,
    pub(super) reason: String,
    pub(super) rule: String,
}

/// Reads a line; `None` if it is neither an audit line nor one of the access log.
///
/// # Errors
/// What is wrong with it, in one sentence.
pub(super) fn read(object: &Object<'_>) -> Result<Option<AuditedCall>, String> {
    if let Some(Value::Number(format)) = object.get("audit") {
        if !FORMATS.contains(&&**format) {
            let known = FORMATS.join(", ");
            return Err(format!("audit lines of format {format} are not known; known is {known}"));
        }
        return audit_line(object).map(Some);
    }
    if ACCESS_MARKS.iter().any(|mark| object.get(mark).is_some()) {
        return access_line(object).map(Some);
    }
    Ok(None)
}

fn audit_line(object: &Object<'_>) -> Result<AuditedCall, String> {
    let text = |key| text(object, key);
    let method = text("method")?;
    let (kind, name) = named(object, ["tool", "resource", "prompt"], &method)?;
    Ok(AuditedCall {
        time: time(object)?,
        policy: text("policy")?,
        digest: text("digest")?,
        mode: text("mode")?,
        decision: text("decision")?,
        reason: text("reason")?,
        rule: text("rule")?,
        cause: text("cause")?,
        method,
        kind,
        name,
        grant: text("grant")?,
        identity: members(object, "identity")?.iter().map(identity).collect::<Result<_, _>>()?,
        session: text("session")?,
        revision: text("revision")?,
        host: text("host")?,
        path: text("path")?,
        arguments: arguments(object)?,
        argument_keys: argument_keys(object)?,
        arguments_digest: text("arguments_digest")?,
        limits: limits(object)?,
        approval: text("approval")?,
        request_id: text("request_id")?,
        traceparent: text("traceparent")?,
        candidate: candidate(object)?,
    })
}

fn access_line(object: &Object<'_>) -> Result<AuditedCall, String> {
    let text = |key| {
        let text = text(object, key)?;
        Ok::<_, String>(if text == "-" { String::new() } else { text })
    };
    let method = text("mcp_method")?;
    let (kind, name) = named(object, ["mcp_tool", "mcp_resource", "mcp_prompt"], &method)?;
    let absent = name == "-";
    Ok(AuditedCall {
        time: time(object)?,
        policy: text("mcp_policy")?,
        digest: text("mcp_digest")?,
        decision: text("mcp_decision")?,
        reason: text("mcp_reason")?,
        rule: text("mcp_rule")?,
        cause: text("mcp_cause")?,
        method,
        kind: kind.filter(|_| !absent),
        name: if absent { String::new() } else { name },
        grant: text("mcp_grant")?,
        identity: listed(&text("mcp_identity")?),
        host: text("host")?,
        path: text("path")?,
        approval: text("mcp_approval")?,
        request_id: text("request_id")?,
        traceparent: text("traceparent")?,
        candidate: spelled(&text("mcp_candidate")?),
        ..AuditedCall::default()
    })
}

/// What the call names, and of which kind it is: the first of a tool, resource and prompt that is there.
fn named(
    object: &Object<'_>,
    keys: [&'static str; 3],
    method: &str,
) -> Result<(Option<Kind>, String), String> {
    // A method that has a rule of its own stands where tools do.
    let tool = if matches!(method, "" | "tools/call") { Kind::Tool } else { Kind::Method };
    for (key, kind) in keys.into_iter().zip([tool, Kind::Resource, Kind::Prompt]) {
        let name = text(object, key)?;
        if !name.is_empty() {
            return Ok((Some(kind), name));
        }
    }
    Ok((None, String::new()))
}

/// A text; empty where there is none.
fn text(object: &Object<'_>, key: &str) -> Result<String, String> {
    match object.get(key) {
        None | Some(Value::Null) => Ok(String::new()),
        Some(Value::String(text)) => Ok(text.to_string()),
        Some(other) => Err(format!("`{key}` is {}, not a text", other.kind())),
    }
}

/// When the call happened.
pub(super) fn time(object: &Object<'_>) -> Result<Option<UnixMillis>, String> {
    let read = match object.get("time") {
        None | Some(Value::Null) => return Ok(None),
        // The filter's clock can fail, and Envoy writes a dash.
        Some(Value::String(text)) if matches!(&**text, "" | "-") => return Ok(None),
        Some(Value::String(text)) => parse_time(text),
        Some(Value::Number(text)) => text.parse().ok().map(UnixMillis),
        Some(Value::Bool(_) | Value::Array(_) | Value::Object(_)) => None,
    };
    read.map(Some).ok_or_else(|| "`time` is RFC 3339 or milliseconds since 1970".to_owned())
}

/// The members of an object that may be there.
pub(super) fn members<'o, 'v>(
    object: &'o Object<'v>,
    key: &str,
) -> Result<&'o [Member<'v>], String> {
    match object.get(key) {
        None | Some(Value::Null) => Ok(&[]),
        Some(Value::Object(members)) => Ok(&members.0),
        Some(other) => Err(format!("`{key}` is {}, not an object", other.kind())),
    }
}

/// The items of a list that may be there.
fn items<'o, 'v>(object: &'o Object<'v>, key: &str) -> Result<&'o [Value<'v>], String> {
    match object.get(key) {
        None | Some(Value::Null) => Ok(&[]),
        Some(Value::Array(items)) => Ok(items),
        Some(other) => Err(format!("`{key}` is {}, not a list", other.kind())),
    }
}

/// A further name of the caller, as the access log spells it.
fn identity(member: &Member<'_>) -> Result<(String, String), String> {
    let value = match &member.value {
        Value::String(text) => text.to_string(),
        Value::Number(_) | Value::Bool(_) | Value::Array(_) => written(&member.value),
        Value::Null | Value::Object(_) => {
            let (key, found) = (member.key.escape_debug(), member.value.kind());
            return Err(format!(
                "`identity.{key}` is {found}, not a text, a number, a boolean or a list of texts"
            ));
        }
    };
    Ok((member.key.to_string(), value))
}

/// Further names as the access log has them: `team=sre,tenant=acme`, with `%2C` for a comma within a name.
fn listed(text: &str) -> Vec<(String, String)> {
    let pairs = text.split(',').filter_map(|pair| pair.split_once('='));
    pairs.map(|(key, value)| (key.to_owned(), value.replace("%2C", ","))).collect()
}

/// Arguments that are there are an object, or JSON text of one would not be what was sent.
fn arguments(object: &Object<'_>) -> Result<Option<String>, String> {
    let Some(member) = object.member("arguments").filter(|member| member.value != Value::Null)
    else {
        return Ok(None);
    };
    if member.value.as_object().is_none() {
        return Err(format!("`arguments` is {}, not an object", member.value.kind()));
    }
    Ok(Some(if member.raw.is_empty() { written(&member.value) } else { member.raw.to_owned() }))
}

fn argument_keys(object: &Object<'_>) -> Result<Option<Vec<String>>, String> {
    if object.get("argument_keys").is_none() {
        return Ok(None);
    }
    let key = |item: &Value<'_>| {
        let text = item.as_str().map(str::to_owned);
        text.ok_or_else(|| format!("`argument_keys` has {}, not a text", item.kind()))
    };
    items(object, "argument_keys")?.iter().map(key).collect::<Result<_, _>>().map(Some)
}

fn limits(object: &Object<'_>) -> Result<Vec<AuditedLimit>, String> {
    let limit = |item: &Value<'_>| {
        let Some(limit) = item.as_object() else {
            return Err(format!("`limits` has {}, not an object", item.kind()));
        };
        let used = match limit.get("used_percent") {
            Some(Value::Number(text)) => text.parse().ok(),
            Some(_) | None => None,
        };
        Ok(AuditedLimit {
            rule: text(limit, "rule")?,
            counter: text(limit, "counter")?,
            used_percent: used.ok_or("`limits` has a `used_percent` that is no whole number")?,
        })
    };
    items(object, "limits")?.iter().map(limit).collect()
}

fn candidate(object: &Object<'_>) -> Result<Option<AuditedOther>, String> {
    match object.get("candidate") {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Object(other)) => Ok(Some(AuditedOther {
            decision: text(other, "decision")?,
            reason: text(other, "reason")?,
            rule: text(other, "rule")?,
        })),
        Some(other) => Err(format!("`candidate` is {}, not an object", other.kind())),
    }
}

/// What a candidate decided, in the words of the access log: `deny limit_reached /tools/x`.
fn spelled(text: &str) -> Option<AuditedOther> {
    let mut words = text.splitn(3, ' ').map(str::to_owned);
    let decision = words.next().filter(|word| !word.is_empty())?;
    let mut next = || words.next().unwrap_or_default();
    Some(AuditedOther { decision, reason: next(), rule: next() })
}

#[cfg(test)]
mod tests {
    use mcp_policy::json::{Duplicates, parse};
    use mcp_policy::mcp::call::Kind;
    use mcp_policy::time::UnixMillis;

    use super::{AuditedCall, AuditedLimit, AuditedOther, read};

    fn call(text: &str) -> Result<Option<AuditedCall>, String> {
        read(parse(text, Duplicates::Keep).unwrap().as_object().unwrap())
    }

    fn allowed() -> AuditedCall {
        AuditedCall { decision: "allow".to_owned(), ..AuditedCall::default() }
    }

    fn own(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn a_whole_audit_line_is_read() {
        let line = r#"{"audit":1,"time":"2026-11-27T02:24:50.123Z","policy":"git","digest":"sha-256:p","mode":"shadow",
            "decision":"would_deny","reason":"limit_reached","rule":"/tools/x/limits/0","cause":"c","method":"tools/call","tool":"x",
            "grant":"alice","identity":{"team":"sre","roles":["a","b"],"level":3},"session":"sha-256:s","revision":"2025-11-25",
            "host":"mcp.example.com","path":"/mcp","arguments_digest":"sha-256:a","argument_keys":["n"],"arguments":{"n": 1.50},
            "limits":[{"rule":"/tools/x/limits/0","counter":"rate","used_percent":93}],"approval":"user:7",
            "candidate":{"decision":"deny","reason":"hidden","rule":"/hide/0"},"request_id":"r","traceparent":"00-t",
            "chain":{"id":"0011223344556677","n":1,"digest":"00"}}"#;
        let text = str::to_owned;
        let expected = AuditedCall {
            time: Some(UnixMillis(1_795_746_290_123)),
            policy: text("git"),
            digest: text("sha-256:p"),
            mode: text("shadow"),
            decision: text("would_deny"),
            reason: text("limit_reached"),
            rule: text("/tools/x/limits/0"),
            cause: text("c"),
            method: text("tools/call"),
            kind: Some(Kind::Tool),
            name: text("x"),
            grant: text("alice"),
            identity: own(&[("team", "sre"), ("roles", r#"["a","b"]"#), ("level", "3")]),
            session: text("sha-256:s"),
            revision: text("2025-11-25"),
            host: text("mcp.example.com"),
            path: text("/mcp"),
            arguments: Some(text(r#"{"n": 1.50}"#)),
            argument_keys: Some(vec![text("n")]),
            arguments_digest: text("sha-256:a"),
            limits: vec![AuditedLimit {
                rule: text("/tools/x/limits/0"),
                counter: text("rate"),
                used_percent: 93,
            }],
            approval: text("user:7"),
            request_id: text("r"),
            traceparent: text("00-t"),
            candidate: Some(AuditedOther {
                decision: text("deny"),
                reason: text("hidden"),
                rule: text("/hide/0"),
            }),
        };
        assert_eq!(call(line), Ok(Some(expected)));
    }

    #[test]
    fn a_line_of_the_access_log_is_read() {
        let line = r#"{"time":"2026-11-27T02:24:50.123Z","client":"10.0.0.1:5","http_method":"POST","path":"/mcp","status":403,
            "request_id":"r","mcp_decision":"deny","mcp_reason":"limit_reached","mcp_rule":"/tools/x","mcp_policy":"git",
            "mcp_digest":"sha-256:p","mcp_method":"tools/call","mcp_tool":"x","mcp_resource":null,"mcp_prompt":"-",
            "mcp_grant":"alice","mcp_identity":"team=sre,tenant=a%2Cb=c","mcp_approval":null,
            "mcp_candidate":"deny hidden /hide/0"}"#;
        let text = str::to_owned;
        let expected = AuditedCall {
            time: Some(UnixMillis(1_795_746_290_123)),
            policy: text("git"),
            digest: text("sha-256:p"),
            decision: text("deny"),
            reason: text("limit_reached"),
            rule: text("/tools/x"),
            method: text("tools/call"),
            kind: Some(Kind::Tool),
            name: text("x"),
            grant: text("alice"),
            identity: own(&[("team", "sre"), ("tenant", "a,b=c")]),
            path: text("/mcp"),
            request_id: text("r"),
            candidate: Some(AuditedOther {
                decision: text("deny"),
                reason: text("hidden"),
                rule: text("/hide/0"),
            }),
            ..AuditedCall::default()
        };
        assert_eq!(call(line), Ok(Some(expected)));
    }

    #[test]
    fn what_a_line_does_not_say_is_empty() {
        let named = |kind, method: &str, name: &str| AuditedCall {
            kind: Some(kind),
            name: name.to_owned(),
            method: method.to_owned(),
            ..AuditedCall::default()
        };
        let time = AuditedCall { time: Some(UnixMillis(7)), ..AuditedCall::default() };
        let keys = AuditedCall { argument_keys: Some(Vec::new()), ..AuditedCall::default() };
        for (line, expected) in [
            (r#"{}"#, None),
            (r#"{"tool":"x"}"#, None),
            (r#"{"audit":"yes","tool":"x"}"#, None),
            (r#"{"audit":1}"#, Some(AuditedCall::default())),
            (r#"{"audit":1,"time":7}"#, Some(time)),
            (r#"{"audit":1,"time":""}"#, Some(AuditedCall::default())),
            (r#"{"audit":1,"argument_keys":[]}"#, Some(keys)),
            (r#"{"audit":1,"decision":"allow","tool":null,"identity":null}"#, Some(allowed())),
            (r#"{"mcp_decision":null}"#, Some(AuditedCall::default())),
            (r#"{"mcp_decision":"allow","mcp_tool":"-","time":"-"}"#, Some(allowed())),
            (r#"{"audit":1,"tool":"-"}"#, Some(named(Kind::Tool, "", "-"))),
            (
                r#"{"audit":1,"method":"resources/read","resource":"file:///a"}"#,
                Some(named(Kind::Resource, "resources/read", "file:///a")),
            ),
            (
                r#"{"mcp_method":"prompts/get","mcp_tool":null,"mcp_prompt":"p"}"#,
                Some(named(Kind::Prompt, "prompts/get", "p")),
            ),
            (
                r#"{"audit":1,"method":"logging/setLevel","tool":"logging/setLevel"}"#,
                Some(named(Kind::Method, "logging/setLevel", "logging/setLevel")),
            ),
        ] {
            assert_eq!(call(line), Ok(expected), "{line}");
        }
    }

    #[test]
    fn a_line_that_is_spoilt_says_where() {
        for (line, problem) in [
            (r#"{"audit":2}"#, "audit lines of format 2 are not known; known is 1"),
            (r#"{"audit":1,"tool":7}"#, "`tool` is a number, not a text"),
            (r#"{"mcp_decision":true}"#, "`mcp_decision` is a boolean, not a text"),
            (r#"{"audit":1,"time":"noon"}"#, "`time` is RFC 3339 or milliseconds since 1970"),
            (r#"{"audit":1,"identity":"sre"}"#, "`identity` is a string, not an object"),
            (
                r#"{"audit":1,"identity":{"team":null}}"#,
                "`identity.team` is null, not a text, a number, a boolean or a list of texts",
            ),
            (r#"{"audit":1,"arguments":[]}"#, "`arguments` is an array, not an object"),
            (r#"{"audit":1,"argument_keys":[1]}"#, "`argument_keys` has a number, not a text"),
            (r#"{"audit":1,"limits":{}}"#, "`limits` is an object, not a list"),
            (r#"{"audit":1,"limits":[1]}"#, "`limits` has a number, not an object"),
            (
                r#"{"audit":1,"limits":[{"used_percent":0.5}]}"#,
                "`limits` has a `used_percent` that is no whole number",
            ),
            (r#"{"audit":1,"candidate":"deny"}"#, "`candidate` is a string, not an object"),
        ] {
            assert_eq!(call(line), Err(problem.to_owned()), "{line}");
        }
    }
}
