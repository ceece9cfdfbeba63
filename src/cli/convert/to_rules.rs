//! From requirements, denials and limits to rules, where rules can say it: entry by entry.

use std::collections::HashMap;

use super::names::{of_limits, owner, path_to, rules, state_path};
use crate::cli::output::Notes;
use crate::cli::tree::{Map, Node, TreeItem};

/// Rewrites every entry that rules can say.
pub(super) fn policy(policy: &mut Map, place: &str, notes: &mut Notes) {
    for (key, note) in [
        ("hide", "rules have nothing like it"),
        ("all_tools", "limits over all tools stay limits"),
        ("mode", "rules have nothing like it"),
        ("tools_list", "rules have nothing like it"),
        ("methods", "rules are about tools"),
        ("resources", "rules are about tools"),
        ("prompts", "rules are about tools"),
    ] {
        if policy.get(key).is_some() {
            notes.add(key, format!("{note}; kept, which other readers of rules may not know"));
        }
    }
    let counters = RuleCounters::of(policy);
    let tools = policy.get_mut("tools").and_then(Node::as_map_mut);
    for member in tools.into_iter().flat_map(|tools| &mut tools.0) {
        let Some(entry) = member.value.as_map_mut() else { continue };
        let place = format!("{place}.{}", member.key);
        match (ToRules { tool: owner(&member.key), counters: &counters }).rules(entry) {
            Ok(rules) => rewrite(entry, rules, &place, notes),
            Err(obstacles) => {
                for (part, why) in obstacles {
                    notes.add(&place, format!("stays as it is, because of `{part}`: {why}"));
                }
            }
        }
    }
}

fn rewrite(entry: &mut Map, mut rules: Vec<TreeItem>, place: &str, notes: &mut Notes) {
    if entry.get("deny_if").is_some() {
        let told = "`tool_denied` or `requirement_not_met` instead of `denied_by_condition`";
        notes.add(place, format!("denies the same calls, with the reason {told}"));
    }
    if let Some(Node::List(old)) = entry.take("rules") {
        rules.extend(old);
    }
    // Without rules it still lists its tool.
    *entry = Map::default();
    entry.push("rules", Node::List(rules));
}

/// Which counters a rule can keep: those of one tool, counted in the way of rules.
struct RuleCounters(HashMap<String, Result<(), &'static str>>);

impl RuleCounters {
    fn of(policy: &Map) -> RuleCounters {
        let mut found: HashMap<String, Result<(), &'static str>> = HashMap::new();
        let mut owners: HashMap<String, String> = HashMap::new();
        for (owner, name) in of_limits(policy) {
            let first = owners.entry(name.clone()).or_insert_with(|| owner.clone());
            let shared =
                if *first == owner { Ok(()) } else { Err("several entries share the counter") };
            let known = found.entry(name).or_insert(Ok(()));
            *known = known.and(shared);
        }
        let all = policy.get("all_tools").and_then(|all| all.as_map()?.get("limits"));
        for limit in all.into_iter().flat_map(Node::values).filter_map(Node::as_map) {
            if let Some(known) = limit.text("counter").and_then(|name| found.get_mut(name)) {
                *known = Err("all tools share the counter");
            }
        }
        for (tool, rule) in rules(policy) {
            let name = rule.get("state").and_then(|state| state.as_map()?.text("counter"));
            let name = name.or_else(|| rule.get("rate_limit").map(|_| "rate_limit"));
            if let Some(known) = name.and_then(|name| found.get_mut(name))
                && owners.get(name.unwrap_or_default()).is_some_and(|owner| owner == tool)
            {
                *known = Err("a rule of this tool has a counter of this name");
            }
        }
        for limit in limits(policy) {
            if let (Some(known), Err(why)) =
                (limit.text("counter").and_then(|name| found.get_mut(name)), fits(limit))
            {
                *known = Err(why);
            }
        }
        RuleCounters(found)
    }

    fn fits(&self, limit: &Map) -> Result<(), &'static str> {
        let known = limit.text("counter").and_then(|name| self.0.get(name));
        known.copied().unwrap_or(Err("it has no counter"))
    }
}

fn limits(policy: &Map) -> impl Iterator<Item = &Map> {
    let tools = policy.get("tools").and_then(Node::as_map).into_iter().flat_map(|tools| &tools.0);
    let limits = tools.filter_map(|member| member.value.as_map()?.get("limits"));
    limits.flat_map(Node::values).filter_map(Node::as_map)
}

fn fits(limit: &Map) -> Result<(), &'static str> {
    if ["during", "not_before", "not_after"].iter().any(|word| limit.get(word).is_some()) {
        return Err("rules count at all times");
    }
    if ["per", "concurrent"].iter().any(|word| limit.get(word).is_some()) {
        return Err("rules count calls, whatever they are");
    }
    match limit.text("algorithm") {
        None | Some("fixed") => Ok(()),
        Some("bucket") => Err("rules have no buckets, only fixed windows"),
        Some(_) => Err("rules have no other windows than fixed ones"),
    }
}

struct ToRules<'c> {
    tool: &'c str,
    counters: &'c RuleCounters,
}

/// Why an entry cannot be said in rules: the part of it, and the reason.
type Obstacle = (String, &'static str);

impl ToRules<'_> {
    /// The rules that say what the entry says, in the order in which it is judged. An entry is rewritten whole or not at all:
    /// half of one would mean something else to a reader that knows rules only.
    fn rules(&self, entry: &Map) -> Result<Vec<TreeItem>, Vec<Obstacle>> {
        let mut rules = Vec::new();
        let mut obstacles = Vec::new();
        for key in [
            "action",
            "mode",
            "during",
            "not_before",
            "not_after",
            "decode_json_strings",
            "rate_limit",
            "definition",
        ] {
            match entry.get(key).map_or(Ok(None), |value| field(key, value, entry)) {
                Ok(rule) => rules.extend(rule.map(|rule| TreeItem::from(Node::Map(rule)))),
                Err(why) => obstacles.push((key.to_owned(), why)),
            }
        }
        // `approval` says nothing without one of these.
        if entry.get("ask_if").is_some() {
            obstacles.push(("ask_if".to_owned(), "rules cannot ask for approval"));
        }
        for key in ["require", "deny_if", "limits"] {
            let values = entry.get(key).into_iter().flat_map(Node::values).filter_map(Node::as_map);
            for (at, value) in values.enumerate() {
                let rule = match key {
                    "require" => Ok(value.clone()),
                    "deny_if" => denial(value),
                    _ => self.limit(value),
                };
                match rule {
                    Ok(rule) => rules.push(TreeItem::from(Node::Map(rule))),
                    Err(why) => obstacles.push((format!("{key}[{at}]"), why)),
                }
            }
        }
        if obstacles.is_empty() { Ok(rules) } else { Err(obstacles) }
    }

    fn limit(&self, limit: &Map) -> Result<Map, &'static str> {
        self.counters.fits(limit)?;
        let mut limit = limit.clone();
        let mut take = |key| limit.take(key);
        let (counter, max) = (take("counter"), take("max"));
        let counter = counter.as_ref().and_then(Node::as_text).ok_or("it has no counter")?;
        let scope = take("scope").unwrap_or_else(|| Node::text("grant"));
        let (count, text) = (take("count"), take("on_deny"));
        let mut state = Map::default();
        state.push("counter", Node::text(counter));
        for key in ["window", "increment", "increment_from"] {
            if let Some(value) = take(key) {
                state.push(key, value);
            }
        }
        if scope.as_text() != Some("global") {
            state.push("scope", scope);
        }
        let bound = Node::map([
            ("path", Node::Text(path_to(self.tool, counter))),
            ("op", Node::text("lte")),
            ("value", max.ok_or("it has no maximum")?),
        ]);
        let mut rule = Map::default();
        rule.push("conditions", Node::list([bound]));
        rule.push("state", Node::Map(state));
        if let Some(count) = count {
            rule.push("count", count);
        }
        if let Some(text) = text {
            rule.push("on_deny", text);
        }
        Ok(rule)
    }
}

/// What a field that is no list comes to.
fn field(key: &str, value: &Node, entry: &Map) -> Result<Option<Map>, &'static str> {
    match (key, value) {
        ("action", Node::Text(action)) if action == "deny" => {
            let mut rule = Map::default();
            rule.push("action", Node::text("deny"));
            if let Some(reason) = entry.get("reason") {
                rule.push("on_deny", reason.clone());
            }
            Ok(Some(rule))
        }
        ("action", Node::Text(action)) if action == "allow" => Ok(None),
        ("action", _) => Err("rules cannot ask for approval"),
        ("mode", Node::Text(mode)) if mode == "enforce" => Ok(None),
        ("rate_limit", _) => {
            Err("a rule's rate counts all callers together, this one each for himself")
        }
        _ => Err("rules have nothing like it"),
    }
}

/// A denial as the assertion of the opposite.
fn denial(denial: &Map) -> Result<Map, &'static str> {
    let conditions = denial.get("conditions").ok_or("it has no conditions")?;
    let mut rule = Map::default();
    if conditions.is_empty_list() {
        rule.push("action", Node::text("deny"));
    } else {
        let mut values = conditions.values();
        let (Some(condition), None) = (values.next().and_then(Node::as_map), values.next()) else {
            return Err("rules cannot say that several conditions together deny");
        };
        rule.push("conditions", Node::list([Node::Map(opposite(condition)?)]));
    }
    if let Some(text) = denial.get("on_deny") {
        rule.push("on_deny", text.clone());
    }
    Ok(rule)
}

/// The condition that holds exactly where this one does not, absent arguments included: an assertion fails on them.
fn opposite(condition: &Map) -> Result<Map, &'static str> {
    let path = condition.text("path").unwrap_or_default();
    // A counter is never absent.
    let counted = state_path(path).is_some();
    if path.contains("[*]") {
        return Err("rules cannot bind every element of a list");
    }
    let op = condition.text("op").unwrap_or_default();
    let field = if condition.get("from").is_some() { "from" } else { "value" };
    let mut value = condition.get(field).cloned().ok_or("it has no value")?;
    let op = match (op, counted) {
        ("neq", _) => "eq",
        ("not_in", _) => "in",
        ("not_regex", _) => "regex",
        ("not_contains", _) => "contains",
        ("not_before", _) => "before",
        ("not_after", _) => "after",
        ("not_during", _) => "during",
        ("not_host_in", _) => "host_in",
        ("not_cidr", _) => "cidr",
        ("not_path_under", _) => "path_under",
        ("exists", _) => {
            let present = value == Node::Plain("true".to_owned());
            value = Node::Plain((!present).to_string());
            "exists"
        }
        ("eq", true) => "neq",
        ("in", true) => "not_in",
        ("lt", true) => "gte",
        ("lte", true) => "gt",
        ("gt", true) => "lte",
        ("gte", true) => "lt",
        _ => return Err("as a rule, the opposite would also deny calls without this argument"),
    };
    Ok(match Node::map([("path", Node::text(path)), ("op", Node::text(op)), (field, value)]) {
        Node::Map(map) => map,
        Node::Plain(_) | Node::Text(_) | Node::List(_) => Map::default(),
    })
}

#[cfg(test)]
mod tests {
    use crate::cli::convert::names::{GLOBAL, path_to, state_path};

    #[test]
    fn paths_lead_back() {
        for (tool, counter) in
            [("a", "b"), ("a.b", "c"), ("files_*", "x y"), (GLOBAL, "n"), ("a\"]", "é")]
        {
            let path = path_to(tool, counter);
            assert_eq!(state_path(&path), Some((tool.to_owned(), counter.to_owned())), "{path}");
        }
    }
}
