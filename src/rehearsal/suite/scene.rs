//! The circumstances of a call: when, by whom, where to. A step takes them over from its test, and a test from its document.

use std::borrow::Cow;

use jiff::{SignedDuration, Timestamp};

use crate::json::Value;
use crate::language::diagnostic::Code;
use crate::language::reader::{Field, Fields, Reader};
use crate::rehearsal::Destination;
use crate::rehearsal::names::{CallerName, GRANT};
use crate::time::UnixMillis;

/// Which keys of `identity` are accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AcceptedKeys {
    /// All: the configuration is not known.
    Any,
    /// Those that the configuration has.
    Known,
}

/// The circumstances of a call.
#[derive(Clone, Debug, Default)]
pub(super) struct Scene {
    pub(super) now: Option<UnixMillis>,
    pub(super) names: Vec<CallerName>,
    pub(super) session: Option<String>,
    pub(super) target: Destination,
    pub(super) headers: Vec<(String, String)>,
}

impl Scene {
    pub(super) fn of(fields: &mut Fields<'_>, known: AcceptedKeys, reader: &mut Reader) -> Scene {
        let now = fields.take("at").and_then(|field| time(&field, reader));
        let caller = text(fields, "caller", reader);
        let mut names: Vec<CallerName> = Vec::new();
        names.extend(caller.map(|name| (GRANT.to_owned(), Value::String(Cow::Owned(name)))));
        if let Some(field) = fields.take("identity") {
            names.extend(identity(&field, known, reader));
        }
        let headers = fields.take("headers").map(|field| headers(&field, reader));
        Scene {
            now,
            names,
            session: text(fields, "session", reader),
            target: Destination {
                host: text(fields, "host", reader),
                path: text(fields, "path", reader),
                route: text(fields, "route", reader),
            },
            headers: headers.unwrap_or_default(),
        }
    }

    pub(super) fn or(self, outer: &Scene) -> Scene {
        let inherit = |own: Option<String>, outer: &Option<String>| own.or_else(|| outer.clone());
        Scene {
            now: self.now.or(outer.now),
            names: merged(self.names, &outer.names),
            session: inherit(self.session, &outer.session),
            target: Destination {
                host: inherit(self.target.host, &outer.target.host),
                path: inherit(self.target.path, &outer.target.path),
                route: inherit(self.target.route, &outer.target.route),
            },
            headers: merged(self.headers, &outer.headers),
        }
    }
}

/// Rows of its own, and those of the outer scene with other keys.
fn merged<T: Clone>(own: Vec<(String, T)>, outer: &[(String, T)]) -> Vec<(String, T)> {
    let inherited = outer.iter().filter(|(key, _)| !own.iter().any(|(known, _)| known == key));
    let inherited: Vec<(String, T)> = inherited.cloned().collect();
    own.into_iter().chain(inherited).collect()
}

fn identity(field: &Field<'_>, known: AcceptedKeys, reader: &mut Reader) -> Vec<CallerName> {
    let members = reader.fields(field).map(|fields| fields.members()).unwrap_or_default();
    let mut names = Vec::new();
    for (key, field) in &members {
        if *key == GRANT {
            let message = "the name of the caller is `caller`".to_owned();
            let help = "write `caller: alice` beside `identity`".to_owned();
            reader.error_with_help(Code::Contradiction, &field.place, message, help);
        } else if known == AcceptedKeys::Known {
            reader.key(key, &field.place);
        }
        match name_of(field.value) {
            Some(value) => names.push(((*key).to_owned(), value)),
            None => {
                reader
                    .wrong_type::<()>(field, "a text, a number, a boolean or a list of texts")
                    .unwrap_or_default();
            }
        }
    }
    names
}

/// A name of a caller: a text, a number, a boolean or a list of texts.
#[must_use]
pub fn name_of(value: &Value<'_>) -> Option<Value<'static>> {
    let own = |text: &str| Cow::Owned(text.to_owned());
    match value {
        Value::String(text) => Some(Value::String(own(text))),
        Value::Number(text) => Some(Value::Number(own(text))),
        Value::Bool(flag) => Some(Value::Bool(*flag)),
        Value::Array(items) => {
            let text = |item: &Value<'_>| item.as_str().map(|text| Value::String(own(text)));
            items.iter().map(text).collect::<Option<_>>().map(Value::Array)
        }
        Value::Null | Value::Object(_) => None,
    }
}

fn headers(field: &Field<'_>, reader: &mut Reader) -> Vec<(String, String)> {
    let members = reader.fields(field).map(|fields| fields.members()).unwrap_or_default();
    let mut headers = Vec::new();
    for (name, field) in &members {
        let plain = name.bytes().all(|byte| byte.is_ascii_graphic() && byte != b':');
        if name.is_empty() || !plain {
            let message = format!("not the name of a header: `{}`", name.escape_debug());
            let help = "write host and path as `host` and `path` beside `headers`".to_owned();
            reader.error_with_help(Code::BadPattern, &field.place, message, help);
        }
        let value = reader.text(field);
        headers.extend(value.map(|value| (name.to_ascii_lowercase(), value.to_owned())));
    }
    headers
}

pub(super) fn text(
    fields: &mut Fields<'_>,
    key: &'static str,
    reader: &mut Reader,
) -> Option<String> {
    let field = fields.take(key)?;
    reader.text(&field).map(str::to_owned)
}

fn time(field: &Field<'_>, reader: &mut Reader) -> Option<UnixMillis> {
    let text = reader.text(field)?;
    let time = parse_time(text);
    if time.is_none() {
        let message = format!("not a time: `{}`", text.escape_debug());
        let help = "write it as RFC 3339 does: \"2026-01-05T09:00:00Z\"".to_owned();
        reader.error_with_help(Code::BadWindow, &field.place, message, help);
    }
    time
}

/// Reads a time as RFC 3339 writes it; nothing before 1970.
#[must_use]
pub fn parse_time(text: &str) -> Option<UnixMillis> {
    let time: Timestamp = text.parse().ok()?;
    u64::try_from(time.as_millisecond()).ok().map(UnixMillis)
}

pub(super) fn duration(field: &Field<'_>, reader: &mut Reader) -> Option<u64> {
    let text = reader.text(field)?;
    let duration = text.parse::<SignedDuration>().ok();
    let millis = duration.and_then(|duration| u64::try_from(duration.as_millis()).ok());
    if millis.is_none() {
        let message = format!("not a length of time: `{}`", text.escape_debug());
        let help = "write it like 30s, 5m, 24h or 1h30m".to_owned();
        reader.error_with_help(Code::BadWindow, &field.place, message, help);
    }
    millis
}
