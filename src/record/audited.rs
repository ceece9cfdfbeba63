//! What an audit line says beyond the rest of the record: where the request went, in which session, with which arguments.
//!
//! Nothing of it is collected where no audit line is asked for.

use std::borrow::Cow;

use sha2::{Digest as _, Sha256};

use crate::bounds::{MAX_AUDITED_BYTES, MAX_AUDITED_KEYS};
use crate::digest::named_digest;
use crate::json::{Member, Object, Value, canonical, written};
use crate::matcher::fold::folded;
use crate::mcp::call::Kind;
use crate::mcp::headers::facts::{Facts, Single};
use crate::mcp::message::Request;
use crate::policy::settings::{AuditedArguments, RedactedPath};
use crate::reply::echoed;

/// What takes the place of a value that is not told.
const REDACTED: &str = "[redacted]";

/// The way of a request, as its headers tell it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RequestTrail {
    /// The host.
    pub host: String,
    /// The path, without its query, which could hold a credential.
    pub path: String,
    /// The digest of the session id, with which whoever has it could speak in that session.
    pub session: Option<String>,
    /// `MCP-Protocol-Version`.
    pub revision: String,
    /// `X-Request-Id`.
    pub request_id: String,
}

/// What is said of the call.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CallDetail {
    /// The digest of the arguments' canonical text (RFC 8785), by which approvals know them too; none where a number in them stands for
    /// several. Of a call without arguments it is that of `{}`.
    pub digest: Option<String>,
    /// Their names.
    pub keys: Option<Vec<String>>,
    /// Their JSON text.
    pub text: Option<String>,
    /// Whether names or values are left out because there are too many.
    pub omitted: bool,
    /// The revision that the request's `_meta` names.
    pub revision: Option<String>,
    /// W3C Trace Context, as the client sent it.
    pub traceparent: Option<String>,
}

impl RequestTrail {
    /// Reads it.
    #[must_use]
    pub fn of(facts: &Facts<'_>, headers: &[(&[u8], &[u8])]) -> RequestTrail {
        let text = |bytes: &[u8]| echoed(&String::from_utf8_lossy(bytes));
        let named = |name: &[u8]| headers.iter().find(|(known, _)| *known == name);
        let header = |name| named(name).map_or_else(String::new, |(_, value)| text(value));
        let path = facts.path.unwrap_or_default();
        let path = path.split(|byte| *byte == b'?').next().unwrap_or_default();
        let session = match facts.session {
            Single::Once(id) => Some(named_digest(&Sha256::digest(id))),
            Single::Absent | Single::Repeated => None,
        };
        RequestTrail {
            host: text(facts.authority.unwrap_or_default()),
            path: text(path),
            session,
            revision: header(b"mcp-protocol-version"),
            request_id: header(b"x-request-id"),
        }
    }
}

impl CallDetail {
    /// Reads it, as far as it may be told.
    #[must_use]
    pub fn of(request: &Request<'_>, told: &AuditedArguments) -> CallDetail {
        let called = request.call.as_ref();
        let called = called.filter(|call| matches!(call.kind, Kind::Tool | Kind::Prompt));
        let mut call = CallDetail {
            revision: request.version.map(echoed),
            traceparent: traceparent(request).map(str::to_owned),
            ..CallDetail::default()
        };
        if called.is_none() {
            return call;
        }
        let nothing = Value::Object(Object(Vec::new()));
        let arguments = called.and_then(|call| call.arguments).unwrap_or(&nothing);
        let exact = canonical(arguments);
        let digest = named_digest(&Sha256::digest(&exact.text));
        call.digest = exact.is_exact.then_some(digest);
        match told {
            AuditedArguments::None => {}
            AuditedArguments::Keys => call.name(arguments),
            AuditedArguments::Redacted(paths) => {
                let paths: Vec<&[Box<str>]> =
                    paths.iter().map(|path: &RedactedPath| &**path).collect();
                call.tell(&redacted(arguments, &paths));
            }
            AuditedArguments::Full => call.tell(arguments),
        }
        call
    }

    fn name(&mut self, arguments: &Value<'_>) {
        let members = arguments.as_object().map(|Object(members)| &**members).unwrap_or_default();
        let keys = members.iter().take(MAX_AUDITED_KEYS).map(|member| echoed(&member.key));
        self.keys = Some(keys.collect());
        self.omitted = members.len() > MAX_AUDITED_KEYS;
    }

    fn tell(&mut self, arguments: &Value<'_>) {
        let text = written(arguments);
        match text.len() <= MAX_AUDITED_BYTES {
            true => self.text = Some(text),
            false => self.omitted = true,
        }
    }
}

/// `traceparent` in `_meta` (MCP 2026-07-28, OpenTelemetry trace context), if it has the form of W3C Trace Context, version 00.
#[must_use]
pub fn traceparent<'v>(request: &Request<'v>) -> Option<&'v str> {
    let text =
        request.params?.as_object()?.get("_meta")?.as_object()?.get("traceparent")?.as_str()?;
    let hex = |part: &str, length: usize| {
        part.len() == length && part.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
    };
    let zero = |part: &str| part.bytes().all(|byte| byte == b'0');
    let parts: Vec<&str> = text.split('-').collect();
    let [version, trace, parent, flags] = *parts else { return None };
    let formed = version == "00" && hex(trace, 32) && hex(parent, 16) && hex(flags, 2);
    (formed && !zero(trace) && !zero(parent)).then_some(text)
}

/// A value without what may not be told. A key that a lenient reader takes for one of a path is that one, a path goes through lists into
/// each of their elements, and a text in which a path would have to go on is left out as a whole: it may be JSON text.
fn redacted<'v>(value: &'v Value<'v>, paths: &[&[Box<str>]]) -> Value<'v> {
    if paths.iter().any(|path| path.is_empty()) {
        return Value::String(Cow::Borrowed(REDACTED));
    }
    if paths.is_empty() {
        return value.clone();
    }
    match value {
        Value::String(_) => Value::String(Cow::Borrowed(REDACTED)),
        Value::Array(items) => {
            let below = |(at, item): (usize, &'v Value<'v>)| {
                let at = at.to_string();
                let here = paths.iter().filter_map(|path| Some((path.split_first()?, *path)));
                let further = here.map(|((first, rest), path)| match **first == *at {
                    true => rest,
                    false => path,
                });
                redacted(item, &further.collect::<Vec<_>>())
            };
            Value::Array(items.iter().enumerate().map(below).collect())
        }
        Value::Object(Object(members)) => {
            let below = |member: &'v Member<'v>| {
                let further: Vec<&[Box<str>]> = paths
                    .iter()
                    .filter_map(|path| path.split_first())
                    .filter(|(first, _)| folded(first).eq(folded(&member.key)))
                    .map(|(_, rest)| rest)
                    .collect();
                let value = redacted(&member.value, &further);
                Member { key: Cow::Borrowed(&*member.key), raw: "", value }
            };
            Value::Object(Object(members.iter().map(below).collect()))
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => value.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::redacted;
    use crate::json::{Duplicates, parse, written};

    #[test]
    fn what_is_redacted_does_not_show_in_any_disguise() {
        for (paths, arguments, told) in [
            (
                "/password",
                r#"{"password":"x","user":"u"}"#,
                r#"{"password":"[redacted]","user":"u"}"#,
            ),
            ("/password", r#"{"PassWord":"x"}"#, r#"{"PassWord":"[redacted]"}"#),
            (
                "/password",
                "{\"pass\u{200b}word\":{\"deep\":[1]}}",
                "{\"pass\u{200b}word\":\"[redacted]\"}",
            ),
            (
                "/card/number",
                r#"{"card":{"number":4111,"name":"n"}}"#,
                r#"{"card":{"number":"[redacted]","name":"n"}}"#,
            ),
            // A server may read it as JSON.
            ("/card/number", r#"{"card":"{\"number\":4111}"}"#, r#"{"card":"[redacted]"}"#),
            ("/card/number", r#"{"card":null,"number":1}"#, r#"{"card":null,"number":1}"#),
            (
                "/users/password",
                r#"{"users":[{"password":1},{"password":2,"a":3}]}"#,
                r#"{"users":[{"password":"[redacted]"},{"password":"[redacted]","a":3}]}"#,
            ),
            ("/list/1", r#"{"list":[1,2,3]}"#, r#"{"list":[1,"[redacted]",3]}"#),
            ("/a /b", r#"{"a":1,"b":2,"c":3}"#, r#"{"a":"[redacted]","b":"[redacted]","c":3}"#),
            ("/", r#"{"":1,"b":2}"#, r#"{"":"[redacted]","b":2}"#),
        ] {
            let paths: Vec<Vec<Box<str>>> = paths
                .split(' ')
                .map(|path| path.split('/').skip(1).map(Into::into).collect())
                .collect();
            let paths: Vec<&[Box<str>]> = paths.iter().map(|path| &**path).collect();
            let value = parse(arguments, Duplicates::Refuse).unwrap();
            assert_eq!(written(&redacted(&value, &paths)), told, "{arguments}");
        }
    }
}
