//! How counters are called in both dialects: within a tool in rules, within the policy in limits.

use std::collections::{HashMap, HashSet};

use mcp_policy::matcher::path::keys;
use mcp_policy::tree::{Map, Node};

/// The name of the counters under `"*"` in `state` paths.
pub(super) const GLOBAL: &str = "_global";

/// The sections beside `tools`. Their entries have no rules, but counters of the same policy.
pub(super) const SECTIONS: [&str; 3] = ["methods", "resources", "prompts"];

/// What a tool key is called in `state` paths.
pub(super) fn owner(key: &str) -> &str {
    if key == "*" { GLOBAL } else { key }
}

/// The tool and the counter that a `state` path names.
pub(super) fn state_path(path: &str) -> Option<(String, String)> {
    let mut keys = keys(path.strip_prefix("state")?)?;
    let counter = keys.pop()?;
    let tool = keys.join(".");
    (!tool.is_empty()).then(|| (owner(&tool).to_owned(), counter.into_string()))
}

/// A `state` path to a counter.
pub(super) fn path_to(tool: &str, counter: &str) -> String {
    let mut path = "state".to_owned();
    for key in [tool, counter] {
        let plain = format!(".{key}");
        if keys(&plain).is_some_and(|keys| matches!(&*keys, [only] if **only == *key)) {
            path.push_str(&plain);
        } else {
            path.push('[');
            path.push_str(&mcp_policy::json::written(key));
            path.push(']');
        }
    }
    path
}

/// The names of all counters of `limits`, with the owner of each; one name may be there several times.
pub(super) fn of_limits(policy: &Map) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut collect = |tool: &str, entry: Option<&Map>| {
        let limits = entry.and_then(|entry| entry.get("limits"));
        for limit in limits.into_iter().flat_map(Node::values) {
            let name = limit.as_map().and_then(|limit| limit.text("counter"));
            found.extend(name.map(|name| (owner(tool).to_owned(), name.to_owned())));
        }
    };
    for member in policy.get("tools").and_then(Node::as_map).into_iter().flat_map(|tools| &tools.0)
    {
        collect(&member.key, member.value.as_map());
    }
    collect(GLOBAL, policy.get("all_tools").and_then(Node::as_map));
    for section in SECTIONS {
        let entries = policy.get(section).and_then(Node::as_map);
        for member in entries.into_iter().flat_map(|entries| &entries.0) {
            // No tool is called so.
            collect(&format!("\0{section}\0{}", member.key), member.value.as_map());
        }
    }
    found
}

/// Every entry's rules, with the owner of their counters.
pub(super) fn rules(policy: &Map) -> impl Iterator<Item = (&str, &Map)> {
    let tools = policy.get("tools").and_then(Node::as_map).into_iter().flat_map(|tools| &tools.0);
    tools.flat_map(|member| {
        let rules = member.value.as_map().and_then(|entry| entry.get("rules"));
        let rules = rules.into_iter().flat_map(Node::values).filter_map(Node::as_map);
        rules.map(|rule| (owner(&member.key), rule))
    })
}

/// Names for the counters of rules that no other counter of the policy has.
#[derive(Debug, Default)]
pub(super) struct Names {
    taken: HashSet<String>,
    states: HashMap<(String, String), String>,
}

impl Names {
    /// Names every `state` counter: as it is called, unless another tool's or a limit's is called so.
    pub(super) fn of(policy: &Map) -> Names {
        let mut names = Names::default();
        names.taken.extend(of_limits(policy).into_iter().map(|(_, name)| name));
        let mut owners: HashMap<String, HashSet<String>> = HashMap::new();
        let mut states = Vec::new();
        for (tool, rule) in rules(policy) {
            let state = rule.get("state").and_then(Node::as_map);
            if let Some(name) = state.and_then(|state| state.text("counter")) {
                owners.entry(name.to_owned()).or_default().insert(tool.to_owned());
                states.push((tool.to_owned(), name.to_owned()));
            }
        }
        let alone = |name: &str| owners.get(name).is_none_or(|owners| owners.len() == 1);
        for (tool, name) in states {
            let wanted =
                if alone(&name) { name.clone() } else { format!("{}_{name}", plain(&tool)) };
            if !names.states.contains_key(&(tool.clone(), name.clone())) {
                let fresh = names.fresh(&wanted);
                names.states.insert((tool, name), fresh);
            }
        }
        names
    }

    /// What a `state` counter of a rule is called as a limit.
    pub(super) fn of_state(&self, tool: &str, counter: &str) -> Option<&str> {
        self.states.get(&(tool.to_owned(), counter.to_owned())).map(String::as_str)
    }

    /// A name for a `rate_limit`, which has none: after the tool, and after the rule's name if it has one.
    pub(super) fn of_rate(&mut self, tool: &str, rule: Option<&str>) -> String {
        let rule = rule.map(plain).filter(|name| !name.is_empty());
        let fresh = self.fresh(&format!("{}_{}", plain(tool), rule.as_deref().unwrap_or("rate")));
        // Conditions may read it by this name, if it is the only one that the tool has.
        self.states.entry((tool.to_owned(), "rate_limit".to_owned())).or_insert(fresh.clone());
        fresh
    }

    fn fresh(&mut self, wanted: &str) -> String {
        let numbered = (2..).map(|number| format!("{wanted}_{number}"));
        let mut candidates = std::iter::once(wanted.to_owned()).chain(numbered);
        let fresh = candidates.find(|name| !self.taken.contains(name)).unwrap_or_default();
        self.taken.insert(fresh.clone());
        fresh
    }
}

/// A text as part of a counter's name.
fn plain(text: &str) -> String {
    if text == GLOBAL {
        return "all".to_owned();
    }
    let words = text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty());
    words.map(str::to_lowercase).take(8).collect::<Vec<_>>().join("_").chars().take(100).collect()
}
