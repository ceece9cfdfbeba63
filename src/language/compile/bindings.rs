//! `bindings` and `unmatched`: which policy governs which request.

use crate::json::canonical;
use crate::language::diagnostic::Code;
use crate::language::reader::{Field, Fields, Reader};
use crate::matcher::name::Pattern;
use crate::pins::ServerId;
use crate::policy::binding::{Binding, Bindings, PathPattern, Unmatched, host};

/// Reads the bindings to policies of these names. Without any, the only policy governs every request.
pub(super) fn read(
    fields: &mut Fields<'_>,
    policies: &[&str],
    reader: &mut Reader,
    namespace: &str,
) -> Option<Option<Bindings>> {
    let bindings = fields.take("bindings");
    let unmatched = fields.take("unmatched");
    let stated = unmatched.as_ref().map(|field| reader.word(field, &Unmatched::WORDS));
    let Some(field) = bindings else {
        if let Some(field) = unmatched {
            let message = "`unmatched` says nothing without `bindings`".to_owned();
            let help = "leave it out: the policy governs every request".to_owned();
            reader.error_with_help(Code::NoEffect, &field.place, message, help);
        }
        if policies.len() > 1 {
            let message =
                "several policies need `bindings` that say which of them governs a request"
                    .to_owned();
            let help =
                "add \"bindings\": [{\"match\": {\"path\": \"/mcp/*\"}, \"policy\": \"name\"}]";
            reader.error_with_help(Code::MissingField, fields.place(), message, help.to_owned());
        }
        return Some(None);
    };
    let items = reader.list(&field);
    let mut rows = Vec::new();
    for item in &items {
        rows.extend(binding(item, policies, reader, namespace));
    }
    for (at, name) in policies.iter().enumerate() {
        if rows.len() == items.len() && !rows.iter().any(|row| row.policy == at) {
            let message = format!("no binding names the policy `{}`", name.escape_debug());
            let help = "add one, or remove the policy".to_owned();
            reader.error_with_help(Code::NoEffect, &field.place, message, help);
        }
    }
    Some(Some(Bindings::new(rows, stated.unwrap_or(Some(Unmatched::Deny))?)))
}

fn binding(
    field: &Field<'_>,
    policies: &[&str],
    reader: &mut Reader,
    namespace: &str,
) -> Option<Binding> {
    let mut fields = reader.fields(field)?;
    let policy = fields.require("policy", reader).and_then(|field| {
        let name = reader.text(&field)?;
        let at = policies.iter().position(|known| *known == name);
        if at.is_none() {
            reader.unknown_word(&field.place, name, policies.iter().copied());
        }
        at
    });
    let place = fields.require("match", reader);
    let row = place.as_ref().and_then(|field| conditions(field, reader));
    reader.close(&fields);
    // What leads there is the server, wherever in the list it stands.
    let name = policies.get(policy?).copied().unwrap_or_default();
    let server = ServerId::of(namespace, name, &canonical(place?.value).text);
    Some(Binding { policy: policy?, server, ..row? })
}

fn conditions(field: &Field<'_>, reader: &mut Reader) -> Option<Binding> {
    let mut fields = reader.fields(field)?;
    let mut row = Binding {
        host: None,
        path: None,
        route: None,
        metadata: Vec::new(),
        identity: Vec::new(),
        policy: 0,
        server: ServerId::default(),
    };
    let mut complete = true;
    if let Some(field) = fields.take("host") {
        row.host = reader.text(&field).and_then(|text| {
            let plain = text.replace(['*', '?'], "a");
            if host(plain.as_bytes()).as_deref() == Some(&*plain) {
                return Some(Pattern::new(text));
            }
            let message = format!("not a host: `{}`", text.escape_debug());
            let help =
                "a name in lower case, without port; `*.example.com` for all below it".to_owned();
            reader.error_with_help(Code::BadPattern, &field.place, message, help);
            None
        });
        complete &= row.host.is_some();
    }
    if let Some(field) = fields.take("path") {
        row.path = reader.text(&field).and_then(|text| pattern(text, &field, reader));
        complete &= row.path.is_some();
    }
    if let Some(field) = fields.take("route") {
        row.route = reader.text(&field).map(Into::into);
        complete &= row.route.is_some();
    }
    if let Some(field) = fields.take("metadata") {
        row.metadata = metadata(&field, reader);
    }
    if let Some(field) = fields.take("identity") {
        row.identity = identity(&field, reader);
    }
    reader.close(&fields);
    complete.then_some(row)
}

/// A path or a glob of paths.
pub(super) fn pattern(text: &str, field: &Field<'_>, reader: &mut Reader) -> Option<PathPattern> {
    let pattern = PathPattern::new(text);
    if pattern.is_none() {
        let message = format!("no path is matched in this spelling: `{}`", text.escape_debug());
        let help = "a path such as `/mcp` or `/mcp/*`, without query, dot segments, doubled slashes or needless escapes".to_owned();
        reader.error_with_help(Code::BadPattern, &field.place, message, help);
    }
    pattern
}

/// `{namespace: {key: value}}`
fn metadata(field: &Field<'_>, reader: &mut Reader) -> Vec<[Box<str>; 3]> {
    let mut texts = Vec::new();
    let spaces = reader.fields(field).map(|fields| fields.members()).unwrap_or_default();
    for (space, field) in &spaces {
        let keys = reader.fields(field).map(|fields| fields.members()).unwrap_or_default();
        for (key, field) in &keys {
            let value = reader.text(field);
            texts.extend(value.map(|value| [(*space).into(), (*key).into(), value.into()]));
        }
    }
    texts
}

/// `{key: value}`, with keys of `identity.keys`.
fn identity(field: &Field<'_>, reader: &mut Reader) -> Vec<(usize, Box<str>)> {
    let members = reader.fields(field).map(|fields| fields.members()).unwrap_or_default();
    let mut names = Vec::new();
    for (name, field) in &members {
        let at = reader.key(name, &field.place);
        let value = reader.text(field);
        names.extend(at.zip(value).map(|(at, value)| (at, value.into())));
    }
    names
}
