//! From a document to a [`Config`]: every value read strictly, every problem collected.

mod condition;
mod entry;
mod limit;
mod settings;

use std::collections::HashMap;

use super::compiled::{Config, Default, Entry, ExactName, Hidden, Limit, Policy};
use super::diagnostic::{Code, Diagnostic};
use super::reader::{Field, Fields, Place, Reader};
use crate::json::Value;
use crate::matcher::name::Pattern;
use crate::rate::limiter::Force;
use limit::CounterBook;

/// The name of a policy that has none of its own.
const BARE_POLICY: &str = "default";

/// Compiles a configuration: a bare policy, or the full form with `policies`.
pub(super) fn configuration(
    document: &Value<'_>,
    namespace: &str,
) -> (Option<Config>, Vec<Diagnostic>) {
    let mut reader = Reader::default();
    let root = Field { value: document, place: Place::default() };
    let config = reader.fields(&root).and_then(|mut fields| {
        let full = document.as_object().is_some_and(|object| object.get("policies").is_some());
        let policy = if full {
            full_form(&mut fields, &mut reader, namespace)
        } else {
            policy(&mut fields, &mut reader, BARE_POLICY, namespace)
        };
        let settings = settings::read(&mut fields, &mut reader);
        reader.close(&fields);
        let (requests, sessions, counters) = settings?;
        Some(Config { policy: policy?, requests, sessions, counters })
    });
    (config, reader.diagnostics)
}

fn full_form(fields: &mut Fields<'_>, reader: &mut Reader, namespace: &str) -> Option<Policy> {
    for (key, what) in [
        ("bindings", "choosing a policy by request"),
        ("unmatched", "choosing a policy by request"),
    ] {
        if let Some(field) = fields.take(key) {
            reader.not_supported(&field.place, what);
        }
    }
    let policies = fields.take("policies")?;
    let members = reader.fields(&policies)?.members();
    let mut compiled = Vec::new();
    for (name, field) in &members {
        // Pointers are pointers into the policy.
        let place = Place { pointer: String::new(), ..field.place.clone() };
        let field = Field { value: field.value, place };
        if let Some(mut fields) = reader.fields(&field) {
            let policy = policy(&mut fields, reader, name, namespace);
            reader.close(&fields);
            compiled.extend(policy);
        }
    }
    match members.len() {
        1 => compiled.pop(),
        0 => {
            let help = "add one, by a name of your choice".to_owned();
            reader.error_with_help(
                Code::MissingField,
                &policies.place,
                "there is no policy".to_owned(),
                help,
            );
            None
        }
        _ => {
            reader.not_supported(&policies.place, "more than one policy");
            None
        }
    }
}

fn policy(
    fields: &mut Fields<'_>,
    reader: &mut Reader,
    name: &str,
    namespace: &str,
) -> Option<Policy> {
    version(fields, reader);
    if let Some(field) = fields.take("description") {
        reader.text(&field);
    }
    let default = fields.take("default");
    let default = default
        .map(|field| reader.word(&field, &[("allow", Default::Allow), ("deny", Default::Deny)]));
    let force = force(fields, reader);
    if let Some(field) = fields.take("tools_list") {
        reader.not_supported(&field.place, "filtering tools/list");
    }
    let hide = hide(fields, reader);
    let tools = fields.take("tools").map(|field| (reader.fields(&field), field.value));
    let only_rules = tools.as_ref().is_some_and(|(_, value)| has_only_rules(value));
    let default = match default {
        Some(default) => default,
        None if only_rules => Some(Default::Allow),
        None => missing_default(fields, reader),
    };

    let mut book = CounterBook::new(namespace, name);
    let members =
        tools.and_then(|(fields, _)| fields).map(|fields| fields.members()).unwrap_or_default();
    let mut entries: Vec<Entry> = Vec::new();
    let mut drafts = Vec::new();
    for (key, field) in &members {
        drafts.extend(entry::limits(key, field, reader, &mut book));
    }
    let all_limits = all_tools(fields, reader, &mut book);
    // Conditions may read counters of any entry, so they come when all counters are known.
    for draft in drafts {
        entries.push(entry::checks(draft, reader, &book));
    }
    Some(assemble(name, default?, force?, hide, entries, all_limits, book))
}

fn assemble(
    name: &str,
    default: Default,
    force: Force,
    hide: Vec<Hidden>,
    entries: Vec<Entry>,
    all_limits: Vec<Limit>,
    book: CounterBook,
) -> Policy {
    let mut exact = HashMap::new();
    let mut wild = Vec::new();
    let mut exact_names = Vec::new();
    for (at, entry) in entries.iter().enumerate() {
        if let Pattern::Exact(name) = &entry.pattern {
            exact.insert(name.clone(), at);
            let pointer = entry.pointer().into();
            exact_names.push(ExactName { text: name.clone(), pointer, hides: false });
        } else {
            wild.push(at);
        }
    }
    // The sort is stable: equally specific globs keep the order of the document. `"*"` has no literal and comes last,
    // after other patterns without one.
    wild.sort_by_key(|&at| {
        entries
            .get(at)
            .map(|entry| (std::cmp::Reverse(entry.pattern.literal_chars()), !entry.lists()))
    });
    for hidden in &hide {
        if let Pattern::Exact(name) = &hidden.pattern {
            exact_names.push(ExactName {
                text: name.clone(),
                pointer: hidden.pointer.clone(),
                hides: true,
            });
        }
    }
    Policy {
        name: name.into(),
        default,
        force,
        hide: hide.into(),
        all_limits: all_limits.into(),
        counters: book.into_counters(),
        entries: entries.into(),
        exact,
        wild: wild.into(),
        exact_names: exact_names.into(),
    }
}

fn version(fields: &mut Fields<'_>, reader: &mut Reader) {
    let Some(field) = fields.require("version", reader) else {
        return;
    };
    if field.value.as_str() != Some("1") {
        let message =
            format!("expected the string `1`, found {}", super::reader::describe(field.value));
        reader.error(Code::UnknownWord, &field.place, message);
    }
}

fn missing_default(fields: &Fields<'_>, reader: &mut Reader) -> Option<Default> {
    let message =
        "missing field `default`: it says whether tools that no entry lists may be called";
    let help = "add \"default\": \"deny\"; it may be left out only where every tool entry has `rules` and nothing else";
    reader.error_with_help(Code::MissingField, fields.place(), message.to_owned(), help.to_owned());
    None
}

/// The rules dialect: every entry has `rules`, and nothing else.
fn has_only_rules(tools: &Value<'_>) -> bool {
    tools.as_object().is_some_and(|tools| {
        !tools.0.is_empty()
            && tools.0.iter().all(|member| {
                member.value.as_object().is_some_and(|entry| {
                    entry.get("rules").is_some()
                        && entry.0.iter().all(|member| member.key == "rules")
                })
            })
    })
}

/// `mode`, of a policy or of an entry.
fn force(fields: &mut Fields<'_>, reader: &mut Reader) -> Option<Force> {
    match fields.take("mode") {
        None => Some(Force::Enforced),
        Some(field) => {
            reader.word(&field, &[("enforce", Force::Enforced), ("shadow", Force::Shadow)])
        }
    }
}

fn hide(fields: &mut Fields<'_>, reader: &mut Reader) -> Vec<Hidden> {
    let items = fields.take("hide").map(|field| reader.list(&field)).unwrap_or_default();
    let hidden = items.iter().filter_map(|item| {
        let pattern = tool_pattern(reader.text(item)?, &item.place, reader)?;
        Some(Hidden { pattern, pointer: item.place.pointer.as_str().into() })
    });
    hidden.collect()
}

fn tool_pattern(text: &str, place: &Place, reader: &mut Reader) -> Option<Pattern> {
    if text.is_empty() || text.len() > crate::bounds::MAX_PATTERN_BYTES {
        let message = "a tool name must have 1 to 4096 bytes".to_owned();
        reader.error(Code::BadPattern, place, message);
        return None;
    }
    if text == limit::GLOBAL {
        let message = format!("`{text}` is the name of the counters under `*`");
        let help =
            "a tool of this name cannot have an entry of its own; use a glob such as `_globa?`";
        reader.error_with_help(Code::Contradiction, place, message, help.to_owned());
        return None;
    }
    Some(Pattern::new(text))
}

fn all_tools(fields: &mut Fields<'_>, reader: &mut Reader, book: &mut CounterBook) -> Vec<Limit> {
    let Some(field) = fields.take("all_tools") else {
        return Vec::new();
    };
    let Some(mut fields) = reader.fields(&field) else {
        return Vec::new();
    };
    let limits = fields.take("limits").map(|field| reader.list(&field)).unwrap_or_default();
    reader.close(&fields);
    let limits =
        limits.iter().filter_map(|field| limit::native(field, limit::GLOBAL, reader, book));
    limits.collect()
}
