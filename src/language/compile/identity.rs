//! `identity`: the sources of callers' names.

use crate::json::Value;
use crate::language::diagnostic::Code;
use crate::language::reader::{Field, Fields, Reader};
use crate::policy::callers::{Callers, Key, Peer, Source};

/// Names that mean something else where a key could stand.
const RESERVED: [&str; 5] = ["grant", "session", "global", "anonymous", "address"];

pub(super) fn read(fields: &mut Fields<'_>, reader: &mut Reader) -> Option<Callers> {
    let Some(field) = fields.take("identity") else {
        return Some(Callers::default());
    };
    let mut fields = reader.fields(&field)?;
    let grant = match fields.take("grant") {
        None => Some(Callers::default().grant),
        Some(field) => sources(&field, reader),
    };
    let keys = match fields.take("keys") {
        None => Some(Vec::new()),
        Some(field) => keys(&field, reader),
    };
    let required = match fields.take("required") {
        None => Some(false),
        Some(field) => reader.flag(&field),
    };
    reader.close(&fields);
    Some(Callers { grant: grant?, keys: keys?, required: required? })
}

fn keys(field: &Field<'_>, reader: &mut Reader) -> Option<Vec<Key>> {
    let members = reader.fields(field)?.members();
    let mut keys = Vec::new();
    for (name, field) in &members {
        let plain = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte));
        if RESERVED.contains(name) || name.is_empty() || !plain || name.len() > 64 {
            let message = format!("`{}` cannot be the name of a key", name.escape_debug());
            let help = "1 to 64 letters, digits, `_` and `-`; not grant, session, global, address or anonymous";
            reader.error_with_help(Code::BadPattern, &field.place, message, help.to_owned());
            continue;
        }
        let sources = sources(field, reader);
        keys.push(Key { name: (*name).into(), sources: sources.unwrap_or_default() });
    }
    reader.keys = keys.iter().map(|key| key.name.clone()).collect();
    Some(keys)
}

/// A source, or a list of them.
fn sources(field: &Field<'_>, reader: &mut Reader) -> Option<Vec<Source>> {
    if !matches!(field.value, Value::Array(_)) {
        return Some(vec![source(field, reader)?]);
    }
    let items = reader.list(field);
    if items.is_empty() {
        let message = "no source: it would name nobody".to_owned();
        let help = "leave it out, or name a source such as {\"header\": \"x-agent-id\"}".to_owned();
        reader.error_with_help(Code::NoEffect, &field.place, message, help);
    }
    let read: Vec<Option<Source>> = items.iter().map(|item| source(item, reader)).collect();
    read.into_iter().collect()
}

fn source(field: &Field<'_>, reader: &mut Reader) -> Option<Source> {
    let mut fields = reader.fields(field)?;
    let claim = fields.take("jwt_claim");
    let header = fields.take("header");
    let peer = fields.take("peer");
    let credential = fields.take("credential");
    let address = fields.take("source");
    let (payload, stated) = (fields.take("payload"), fields.take("use_remote_address"));
    let before = reader.diagnostics.len();
    reader.close(&fields);
    let misspelt = reader.diagnostics.len() > before;
    only_with("jwt_claim", claim.as_ref(), payload.as_ref(), reader);
    only_with("source", address.as_ref(), stated.as_ref(), reader);
    match (claim, header, peer, credential, address) {
        (Some(claim), None, None, None, None) => {
            let payload = match payload {
                None => Some("jwt_payload"),
                Some(field) => reader.text(&field),
            };
            jwt_claim(&claim, reader).zip(payload).map(|(claim, payload)| {
                let payload = payload.into();
                Source::JwtClaim { payload, claim }
            })
        }
        (None, Some(header), None, None, None) => header_index(&header, reader).map(Source::Header),
        (None, None, Some(peer), None, None) => reader.word(&peer, &Peer::WORDS).map(Source::Peer),
        (None, None, None, Some(credential), None) => match credential.value.as_str() {
            Some(name) if name.eq_ignore_ascii_case("authorization") => {
                Some(Source::Credential(None))
            }
            _ => header_index(&credential, reader).map(|at| Source::Credential(Some(at))),
        },
        (None, None, None, None, Some(address)) => {
            let ip = reader.word(&address, &[("ip", ())]);
            let stated = stated.and_then(|field| reader.flag(&field)) == Some(true);
            if ip.is_some() && !stated {
                let message = "without `use_remote_address: true` in Envoy's HTTP connection manager a client names any address in x-forwarded-for";
                let help = "set it in Envoy, and say so here: {\"source\": \"ip\", \"use_remote_address\": true}";
                reader.error_with_help(
                    Code::Contradiction,
                    &address.place,
                    message.to_owned(),
                    help.to_owned(),
                );
            }
            ip.map(|()| Source::SourceIp)
        }
        _ if misspelt => None,
        _ => {
            let message =
                "expected exactly one of `jwt_claim`, `header`, `peer`, `credential`, `source`"
                    .to_owned();
            let help = "a further source is a further member of the list".to_owned();
            reader.error_with_help(Code::Contradiction, &field.place, message, help);
            None
        }
    }
}

/// Refuses a field that says something about another one, where that is not there.
fn only_with(of: &str, there: Option<&Field<'_>>, field: Option<&Field<'_>>, reader: &mut Reader) {
    if let (None, Some(field)) = (there, field) {
        let message = format!("it says nothing without `{of}`");
        let help = format!("leave it out, or add `{of}`");
        reader.error_with_help(Code::NoEffect, &field.place, message, help);
    }
}

/// A claim, with dots where it is nested, or as the list of its names: `act.sub`, `["kubernetes.io", "namespace"]`.
fn jwt_claim(field: &Field<'_>, reader: &mut Reader) -> Option<Box<[Box<str>]>> {
    let parts: Vec<Box<str>> = if matches!(field.value, Value::Array(_)) {
        let items = reader.list(field);
        let parts: Option<_> = items.iter().map(|item| reader.text(item).map(Into::into)).collect();
        parts?
    } else {
        let text = reader.text(field)?;
        // A claim that is named by a URL has dots of its own.
        let dotted = !text.contains('/');
        text.split(|character| dotted && character == '.').map(Into::into).collect()
    };
    if parts.is_empty() || parts.iter().any(|part| part.is_empty()) {
        let message = "not the name of a claim".to_owned();
        let help = "with dots where it is nested, `act.sub`, or a list if dots are part of a name: [\"kubernetes.io\", \"namespace\"]";
        reader.error_with_help(Code::BadPath, &field.place, message, help.to_owned());
        return None;
    }
    Some(parts.into())
}

/// The index of a header that requests are searched for.
pub(super) fn header_index(field: &Field<'_>, reader: &mut Reader) -> Option<usize> {
    let name = reader.text(field)?;
    reader.header(name, &field.place)
}
