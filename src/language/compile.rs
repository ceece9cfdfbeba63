//! From a document to a [`Config`]: every value read strictly, every problem collected.

mod approvals;
mod bindings;
mod book;
mod condition;
mod counted;
mod definition;
mod doors;
mod entry;
mod hours;
mod identity;
mod limit;
mod loops;
mod pattern;
mod places;
mod rule;
mod sections;
mod service;
mod settings;
mod telling;
mod times;

use super::diagnostic::{Code, Diagnostic};
use super::reader::{Field, Fields, Place, Reader};
use crate::bounds::MAX_POLICY_NAME_BYTES;
use crate::digest::named_digest;
use crate::json::{Value, canonical_members};
use crate::matcher::fold::legible;
use crate::mcp::call::Kind;
use crate::pins::ServerId;
use crate::policy::binding::Bindings;
use crate::policy::callers::{AsksAddress, Recalled};
use crate::policy::compiled::{Config, Policy};
use crate::policy::entry::{DefaultAction, Entry, Limit, Listing};
use crate::policy::section::Section;
use crate::rate::limiter::Mode;
use book::{Book, GLOBAL, Owner};
use sha2::{Digest as _, Sha256};

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
        // Policies speak of callers by the names that are given here.
        let callers = identity::read(&mut fields, &mut reader);
        let full = document.as_object().is_some_and(|object| object.get("policies").is_some());
        let (policies, bindings) = if full {
            full_form(&mut fields, &mut reader, namespace)
        } else {
            let name = bare_name(&mut fields, &mut reader);
            let mut policy = policy(&mut fields, &mut reader, &name, namespace);
            candidate(&mut fields, policy.as_mut(), &mut reader, namespace);
            (policy.into_iter().collect(), Some(None))
        };
        let bound = bindings.as_ref().and_then(Option::as_ref);
        let settings = settings::read(&mut fields, bound, &mut reader);
        let approvals = approvals::read(&mut fields, &mut reader, namespace);
        let telling = telling::read(&mut fields, &mut reader);
        service::exists(settings.as_ref(), &mut reader);
        reader.close(&fields);
        let settings::Settings { requests, doors, max_list_bytes, sessions, counters, denials } =
            settings?;
        let mut policies = policies.into_iter().enumerate().map(numbered);
        let (policy, others) = (policies.next()?, policies.collect());
        let headers = std::mem::take(&mut reader.headers);
        let read = std::mem::take(&mut reader.read_headers);
        let read_headers = (0..headers.len()).map(|at| read.contains(&at)).collect();
        let (callers, bindings) = (callers?, bindings?);
        let asks_address = {
            let policies = std::iter::once(&policy).chain(&others);
            let both = policies.flat_map(|policy| [Some(policy), policy.candidate.as_deref()]);
            let counters = both.flatten().flat_map(|policy| &policy.counters);
            AsksAddress::of(counters.map(|counter| counter.scope))
        };
        Some(Config {
            policy,
            others,
            bindings,
            callers,
            recalled: Recalled::default(),
            headers,
            read_headers,
            requests,
            doors,
            max_list_bytes,
            held: std::rc::Rc::default(),
            sessions,
            approvals: approvals?,
            counters,
            denials,
            asks_address,
            telling: telling?,
        })
    });
    (config, reader.diagnostics)
}

/// A policy with its place among the others.
fn numbered((index, policy): (usize, Policy)) -> Policy {
    let candidate = policy.candidate.map(|candidate| Box::new(Policy { index, ..*candidate }));
    Policy { index, candidate, ..policy }
}

fn full_form(
    fields: &mut Fields<'_>,
    reader: &mut Reader,
    namespace: &str,
) -> (Vec<Policy>, Option<Option<Bindings>>) {
    let mut compiled = Vec::new();
    let all = mode(fields, reader);
    let Some(policies) = fields.take("policies") else { return (compiled, None) };
    let Some(members) = reader.fields(&policies).map(|fields| fields.members()) else {
        return (compiled, None);
    };
    for (name, field) in &members {
        // Pointers are pointers into the policy.
        let place = Place { pointer: String::new(), ..field.place.clone() };
        let field = Field { value: field.value, place };
        if let Some(mut fields) = reader.fields(&field) {
            let mut policy = policy(&mut fields, reader, name, namespace);
            candidate(&mut fields, policy.as_mut(), reader, namespace);
            reader.close(&fields);
            // What puts all in shadow puts each there; nothing takes one out of it.
            let of_all = |policy| match all {
                Some(Mode::Shadow) => Policy { mode: Mode::Shadow, ..policy },
                Some(Mode::Enforce) | None => policy,
            };
            compiled.extend(policy.map(of_all));
        }
    }
    if members.is_empty() {
        let message = "there is no policy".to_owned();
        let help = "add one, by a name of your choice".to_owned();
        reader.error_with_help(Code::MissingField, &policies.place, message, help);
    }
    let names: Vec<&str> = members.iter().map(|(name, _)| *name).collect();
    let bindings = bindings::read(fields, &names, reader, namespace);
    (compiled, bindings)
}

/// `name` of a policy that stands alone.
fn bare_name(fields: &mut Fields<'_>, reader: &mut Reader) -> String {
    let named = fields.take("name").and_then(|field| Some((reader.text(&field)?, field)));
    let Some((name, field)) = named else { return BARE_POLICY.to_owned() };
    if name.is_empty() || name.len() > MAX_POLICY_NAME_BYTES || legible(name) != name {
        let message = format!(
            "a name has 1 to {MAX_POLICY_NAME_BYTES} bytes, and no characters that do not show"
        );
        reader.error(Code::BadPattern, &field.place, message);
    }
    name.to_owned()
}

/// `candidate`: a policy beside the one in force. Its pointers are pointers into itself.
fn candidate(
    fields: &mut Fields<'_>,
    active: Option<&mut Policy>,
    reader: &mut Reader,
    namespace: &str,
) {
    let Some(field) = fields.take("candidate") else { return };
    let place = Place { pointer: String::new(), ..field.place.clone() };
    let field = Field { value: field.value, place };
    let Some(mut fields) = reader.fields(&field) else { return };
    let name = active.as_ref().map_or(BARE_POLICY, |active| &active.name).to_owned();
    let policy = policy(&mut fields, reader, &name, namespace);
    reader.close(&fields);
    if let (Some(active), Some(policy)) = (active, policy) {
        active.candidate = Some(Box::new(policy));
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
    let default = default.map(|field| reader.word(&field, &DefaultAction::WORDS));
    let mode = mode(fields, reader);
    reader.count_in = service::default(fields, reader);
    let listing = listing(fields, reader);
    let mut book = Book::new(namespace, name);
    let first_use = definition::first_use(fields, reader, &mut book);
    let hide = sections::hide(fields, Kind::Tool, reader, &mut book);
    let tools = fields.take("tools").map(|field| (reader.fields(&field), field.value));
    let only_rules = tools.as_ref().is_some_and(|(_, value)| has_only_rules(value));
    let default = match default {
        Some(default) => default,
        None if only_rules => Some(DefaultAction::Allow),
        None => missing_default(fields, reader),
    };

    let members =
        tools.and_then(|(fields, _)| fields).map(|fields| fields.members()).unwrap_or_default();
    sections::distinct(&members, reader);
    let mut drafts = Vec::new();
    for (key, field) in &members {
        drafts.extend(entry::limits(Kind::Tool, key, field, reader, &mut book));
    }
    let others = sections::drafts(fields, reader, &mut book);
    let all_limits = all_tools(fields, reader, &mut book);
    // Conditions may read counters of any entry, so they come when all counters are known.
    let mut entries: Vec<Entry> = Vec::new();
    for draft in drafts {
        entries.push(entry::checks(draft, reader, &mut book));
    }
    let others = others.into_iter().map(|section| section.finish(reader, &mut book)).collect();
    let default_rule = sections::default(Kind::Tool, &fields.place().key("default"), &mut book);
    let tools = Section::new(Kind::Tool, (default?, default_rule), hide, entries);
    let (counters, rules) = book.finish();
    let digest = digest(fields);
    Some(Policy {
        index: 0,
        name: name.into(),
        mode: mode?,
        listing: listing?,
        named_digest: named_digest(&digest).into(),
        digest,
        tools,
        others,
        all_limits: all_limits.into(),
        first_use,
        server: ServerId::of(namespace, name, ""),
        counters,
        rules,
        candidate: None,
    })
}

/// The digest of a policy: of its canonical text, so that it does not depend on how it is written, as JSON or YAML, or whether settings
/// stand beside it, nor on its name.
fn digest(fields: &Fields<'_>) -> [u8; 32] {
    let beside = ["identity", "name"];
    let own = fields.taken().filter(|member| !beside.contains(&&*member.key));
    Sha256::digest(canonical_members(own).text).into()
}

/// `tools_list`.
fn listing(fields: &mut Fields<'_>, reader: &mut Reader) -> Option<Listing> {
    let Some(field) = fields.take("tools_list") else {
        return Some(Listing::Listed);
    };
    reader.word(&field, &Listing::WORDS)
}

fn version(fields: &mut Fields<'_>, reader: &mut Reader) {
    let Some(field) = fields.require("version", reader) else {
        return;
    };
    if field.value.as_str() != Some("1") {
        let message =
            format!("expected the string `1`, found {}", super::reader::describe(field.value));
        let help = "write it in quotes, \"1\": it is the only version there is".to_owned();
        reader.error_with_help(Code::UnknownWord, &field.place, message, help);
    }
}

fn missing_default(fields: &Fields<'_>, reader: &mut Reader) -> Option<DefaultAction> {
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
fn mode(fields: &mut Fields<'_>, reader: &mut Reader) -> Option<Mode> {
    match fields.take("mode") {
        None => Some(Mode::Enforce),
        Some(field) => reader.word(&field, &Mode::WORDS),
    }
}

fn all_tools(fields: &mut Fields<'_>, reader: &mut Reader, book: &mut Book) -> Vec<Limit> {
    let Some(field) = fields.take("all_tools") else {
        return Vec::new();
    };
    let Some(mut fields) = reader.fields(&field) else {
        return Vec::new();
    };
    let limits = fields.take("limits").map(|field| reader.list(&field)).unwrap_or_default();
    reader.close(&fields);
    let owner = Owner { tool: GLOBAL.to_owned(), subject: Kind::Tool, entry: None };
    let limits = limits.iter().enumerate();
    limits.filter_map(|field| limit::native(field, &owner, reader, book)).collect()
}

#[cfg(test)]
mod tests {
    use crate::policy::compiled::Config;

    #[test]
    fn a_policy_has_one_digest_wherever_it_stands() {
        let policy = r#""version":"1","default":"deny","tools":{"a":{"limits":[{"counter":"c","window":"day","max":1}]}}"#;
        let settings = r#""identity":{"required":true},"requests":{"hold_headers":"always"}"#;
        let bare = format!("{{{policy}}}");
        let digest = |text: &str| {
            let config = Config::load(text.as_bytes(), "").unwrap().config;
            config.policy.digest
        };
        for same in [
            format!("{{ {policy} }}"),
            format!("{{{policy},{settings}}}"),
            format!("{{{settings},{policy}}}"),
            format!(
                r#"{{"policies":{{"default":{{{policy}}}}},"bindings":[{{"match":{{}},"policy":"default"}}],{settings}}}"#
            ),
        ] {
            assert_eq!(digest(&same), digest(&bare), "{same}");
        }
        assert_ne!(digest(&bare.replace("deny", "allow")), digest(&bare));
        assert_ne!(digest(&bare.replace("\"max\":1", "\"max\":2")), digest(&bare));
    }
}
