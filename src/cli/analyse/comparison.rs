//! Does a policy let nothing through that another one does not? Of every kind of names that patterns tell apart one is tried; what differs and
//! is not tried is said.

use std::collections::BTreeSet;

use mcp_policy::matcher::fold::look;
use mcp_policy::matcher::name::Pattern;
use serde_json::Value;

use super::abstraction::{Abstraction, entries};
use super::names;
use super::question::{Existence, Passage, find, resembling};
use super::{Analysis, strange};

/// Members of a policy and of an entry that change no decision.
const SILENT: [&str; 14] = [
    "name",
    "description",
    "version",
    "$schema",
    "metrics",
    "access_log",
    "audit",
    "tracing",
    "candidate",
    "tools_list",
    "denials",
    "responses",
    "reason",
    "on_deny",
];

/// Members that are compared by their calls.
const COMPARED: [&str; 4] = ["default", "mode", "hide", "tools"];

/// Members of a policy that only ever deny: where the old one has none, nothing is lost.
const STRICTER: [&str; 2] = ["all_tools", "pins"];

/// The same of an entry.
const STRICTER_OF_ENTRY: [&str; 3] = ["limits", "rate_limit", "definition"];

/// Members of an entry that are compared so.
const COMPARED_OF_ENTRY: [&str; 11] = [
    "action",
    "mode",
    "require",
    "deny_if",
    "ask_if",
    "rules",
    "decode_json_strings",
    "reason",
    "during",
    "not_before",
    "not_after",
];

pub(super) fn no_more_permissive(new: &Value, old: &Value) -> Analysis {
    let question = "Does the policy let nothing through that the other one does not?".to_owned();
    let policies = [new.clone(), old.clone()];
    let wanted = |passages: &[Passage]| matches!(passages, [new, old] if new > old);
    let mut because = differences(new, old);
    because.extend(strange(new).or_else(|| strange(old)));
    let (names, whole) = named(&policies);
    if !whole {
        because.push("names fall into more kinds than can be tried".to_owned());
    }
    for name in names {
        if Abstraction::new(&policies, &name).is_one() {
            continue;
        }
        let found = match find(&policies, &name, &wanted) {
            Existence::No => resembling(&policies, &name, &wanted),
            found @ (Existence::Yes(_) | Existence::Unknown(_)) => found,
        };
        match found {
            Existence::Yes(example) => return Analysis::of(question, Existence::Yes(example)),
            Existence::No => {}
            Existence::Unknown(reason) => because.push(format!("`{name}`: {reason}")),
        }
    }
    because.extend(lookalikes(new, old));
    let answer = if because.is_empty() { "yes" } else { "unknown" };
    Analysis { answer, question, example: None, because, uncallable: Vec::new() }
}

/// What differs between two policies and is not compared.
fn differences(new: &Value, old: &Value) -> Vec<String> {
    let mut found = BTreeSet::new();
    let keys = |value: &Value| -> BTreeSet<String> {
        value.as_object().into_iter().flatten().map(|(key, _)| key.clone()).collect()
    };
    let all: BTreeSet<String> = keys(new).union(&keys(old)).cloned().collect();
    for key in all
        .iter()
        .filter(|key| !SILENT.contains(&key.as_str()) && !COMPARED.contains(&key.as_str()))
    {
        let only_stricter = STRICTER.contains(&key.as_str()) && old.get(key).is_none();
        if new.get(key) != old.get(key) && !only_stricter {
            found.insert(format!("`{key}` differs, and is not compared"));
        }
    }
    let tools: BTreeSet<&String> = entries(new).chain(entries(old)).map(|(key, _)| key).collect();
    for tool in tools {
        let of =
            |policy: &Value| policy.pointer("/tools").and_then(|tools| tools.get(tool)).cloned();
        let (new, old) = (&of(new).unwrap_or_default(), &of(old).unwrap_or_default());
        let fields: BTreeSet<String> = keys(new).union(&keys(old)).cloned().collect();
        for key in fields.iter().filter(|key| !COMPARED_OF_ENTRY.contains(&key.as_str())) {
            let only_stricter = match key.as_str() {
                "approval" => !asks(old),
                key => STRICTER_OF_ENTRY.contains(&key) && old.get(key).is_none(),
            };
            if new.get(key) != old.get(key) && !only_stricter {
                found.insert(format!("`{key}` of `{tool}` differs, and is not compared"));
            }
        }
        if new.get("mode") != old.get("mode") && counts(old) {
            found.insert(format!("`mode` of `{tool}` differs, and it goes by more than the call"));
        }
        if counted(new) != counted(old) && !counted(old).is_empty() {
            found.insert(format!("what rules of `{tool}` count differs, and is not compared"));
        }
    }
    let more = |policy: &Value| {
        ["all_tools", "pins"].iter().any(|key| policy.get(*key).is_some())
            || entries(policy).any(|(_, entry)| counts(entry))
    };
    if new.get("mode") != old.get("mode") && more(old) {
        found.insert("`mode` differs, and the policy goes by more than calls".to_owned());
    }
    found.into_iter().collect()
}

/// Whether an entry asks somebody.
fn asks(entry: &Value) -> bool {
    entry["action"].as_str() == Some("require_approval") || entry.get("ask_if").is_some()
}

/// Whether an entry decides by more than the call: by counts, by what a server says, or by how a credential is spelled.
fn counts(entry: &Value) -> bool {
    entry.to_string().contains("\"identity")
        || ["limits", "rate_limit", "definition"].iter().any(|key| entry.get(*key).is_some())
        || !counted(entry).is_empty()
}

/// What resembles a name that only the old policy has, it refuses. The new one does not pass it either, unless one of its patterns or its
/// default does.
fn lookalikes(new: &Value, old: &Value) -> Vec<String> {
    let exact = |policy: &Value| -> BTreeSet<String> {
        let mut names = patterns(policy);
        names.retain(|name| !name.contains(['*', '?']));
        names
    };
    let folded = |text: &str| look(&text.replace('?', "*"));
    let listed: Vec<String> =
        entries(new).map(|(key, _)| key).filter(|key| key.contains(['*', '?'])).cloned().collect();
    let denies = new["default"].as_str() == Some("deny");
    let can_pass = |name: &String| {
        let alike = look(name);
        let mut globs = listed.iter().filter(|key| *key != "*");
        !denies || globs.any(|key| Pattern::new(&folded(key)).matches(&alike))
    };
    let only = exact(old).difference(&exact(new)).cloned().collect::<Vec<String>>();
    let open = only.into_iter().filter(can_pass);
    open.map(|name| {
        format!("what resembles `{name}`, which only the other policy names, is not compared")
    })
    .collect()
}

/// The patterns of a policy's entries and of what it hides.
fn patterns(policy: &Value) -> BTreeSet<String> {
    let hidden = policy.get("hide").and_then(Value::as_array).into_iter().flatten();
    let hidden = hidden.filter_map(Value::as_str).map(str::to_owned);
    entries(policy).map(|(key, _)| key.clone()).chain(hidden).collect()
}

/// What the rules of an entry count.
fn counted(entry: &Value) -> Vec<Value> {
    let rules = entry.get("rules").and_then(Value::as_array);
    let counts = rules
        .into_iter()
        .flatten()
        .filter(|rule| rule.get("state").is_some() || rule.get("rate_limit").is_some());
    counts.cloned().collect()
}

/// Names that stand for all names, and whether they do.
fn named(policies: &[Value]) -> (Vec<String>, bool) {
    let patterns: BTreeSet<String> = policies.iter().flat_map(patterns).collect();
    let mut further = Vec::new();
    let mut whole = true;
    for policy in policies {
        let text = policy["tools"].to_string();
        // Conditions on the name tell names apart that no pattern does.
        whole &= !text.contains(r#""path":"tool""#) && !text.contains(r#""from":"tool""#);
    }
    for pattern in patterns.iter().filter(|pattern| !pattern.contains(['*', '?'])) {
        // What resembles a name is refused where the name is known.
        further.extend([pattern.to_uppercase(), pattern.to_lowercase(), format!(" {pattern}")]);
        // Its last letter in the other case, which a pattern may still match.
        let (rest, last) = pattern.split_at(pattern.char_indices().last().map_or(0, |(at, _)| at));
        further.extend([
            format!("{rest}{}", last.to_uppercase()),
            format!("{rest}{}", last.to_lowercase()),
        ]);
    }
    let (mut names, all) = names::of(&patterns.iter().map(|text| &**text).collect::<Vec<_>>());
    names.extend(further.into_iter().filter(|name| !patterns.contains(name)));
    (names, whole && all)
}
