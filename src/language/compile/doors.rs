//! `requests.paths` and `requests.pass`: which paths speak MCP, and what passes beside it.

use super::bindings::pattern;
use crate::json::Value;
use crate::language::diagnostic::Code;
use crate::language::reader::{Field, Fields, Reader};
use crate::policy::binding::{Bindings, PathPattern};
use crate::policy::doors::{DISCOVERY, Doors, OAUTH, Unread, meet};

/// What holds where there is no `requests`.
pub(super) fn by_default(bindings: Option<&Bindings>) -> Doors {
    Doors { mcp: None, unread: unread_by_default(bindings, std::iter::empty()) }
}

/// Reads both fields. `None` where one of them does not hold.
pub(super) fn read(
    fields: &mut Fields<'_>,
    bindings: Option<&Bindings>,
    reader: &mut Reader,
) -> Option<Doors> {
    let stated = fields.take("paths").map(|field| paths(&field, reader));
    let named = stated.iter().flatten().flatten();
    let unread = match fields.take("pass") {
        None => Some(unread_by_default(bindings, named.clone())),
        Some(field) => {
            let bound = bindings.into_iter().flat_map(Bindings::patterns);
            passing(&field, &named.chain(bound).collect::<Vec<_>>(), reader)
        }
    };
    let mcp = stated.map_or(Some(None), |patterns| patterns.map(Some));
    Some(Doors { unread: unread?, mcp: mcp? })
}

/// `requests.pass`: nothing in it may be at a path that speaks MCP.
fn passing(field: &Field<'_>, mcp: &[&PathPattern], reader: &mut Reader) -> Option<Vec<Unread>> {
    let items = reader.list(field);
    let mut unread = Vec::new();
    let mut sound = matches!(field.value, Value::Array(_));
    for item in &items {
        let Some(entry) = pass(item, reader) else {
            sound = false;
            continue;
        };
        let meeting = |one: &Unread| mcp.iter().find(|other| meet(&one.pattern, other)).copied();
        if let Some((one, other)) = entry.iter().find_map(|one| Some((one, meeting(one)?))) {
            let message = format!(
                "`{}` would pass unread, but `{}` speaks MCP: one path can be at both",
                one.pattern.exact, other.exact
            );
            let help = "name paths that no binding and no entry of `requests.paths` matches; a binding for all paths needs no `path`";
            reader.error_with_help(Code::Contradiction, &item.place, message, help.to_owned());
            sound = false;
        }
        unread.extend(entry);
    }
    sound.then_some(unread)
}

/// Without bindings the documents of discovery: an agent needs them to log in, and they run nothing. What `requests.paths` names is MCP.
fn unread_by_default<'s>(
    bindings: Option<&Bindings>,
    mcp: impl Iterator<Item = &'s PathPattern> + Clone,
) -> Vec<Unread> {
    let mut unread = if bindings.is_none() { of_table(DISCOVERY) } else { Vec::new() };
    unread.retain(|one| !mcp.clone().any(|pattern| meet(&one.pattern, pattern)));
    unread
}

fn of_table(table: &[(&str, &'static [&'static [u8]])]) -> Vec<Unread> {
    let row =
        |&(path, methods): &(&str, _)| Some(Unread { pattern: PathPattern::new(path)?, methods });
    table.iter().filter_map(row).collect()
}

fn paths(field: &Field<'_>, reader: &mut Reader) -> Option<Vec<PathPattern>> {
    let items = reader.list(field);
    if matches!(field.value, Value::Array(_)) && items.is_empty() {
        let message = "no path speaks MCP, so nothing passes".to_owned();
        let help = "name one, such as \"/mcp\", or leave `paths` out: then every path does";
        reader.error_with_help(Code::NoEffect, &field.place, message, help.to_owned());
    }
    let mut patterns = Vec::new();
    for item in &items {
        let text = reader.text(item);
        patterns.extend(text.and_then(|text| pattern(text, item, reader)));
    }
    (!items.is_empty() && patterns.len() == items.len()).then_some(patterns)
}

/// What one entry of `requests.pass` lets by.
fn pass(field: &Field<'_>, reader: &mut Reader) -> Option<Vec<Unread>> {
    match reader.text(field)? {
        "discovery" => Some(of_table(DISCOVERY)),
        "oauth" => Some(of_table(OAUTH)),
        path if path.starts_with('/') => {
            let pattern = pattern(path, field, reader)?;
            if path.starts_with("/*") || path.starts_with("/?") {
                let message =
                    format!("`{}` lets nearly everything pass unread", path.escape_debug());
                let help = "begin with the name of what passes, such as \"/docs/*\"".to_owned();
                reader.error_with_help(Code::Contradiction, &field.place, message, help);
                return None;
            }
            Some(vec![Unread { pattern, methods: &[] }])
        }
        word => {
            let message =
                format!("expected `discovery`, `oauth` or a path, found `{}`", word.escape_debug());
            let help = "a path begins with `/`, such as \"/docs/*\"".to_owned();
            reader.error_with_help(Code::UnknownWord, &field.place, message, help);
            None
        }
    }
}
