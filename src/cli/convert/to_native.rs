//! From rules to requirements, denials and limits.

use mcp_policy::number::{Decimal, Micros};
use mcp_policy::tree::notes::Notes;
use mcp_policy::tree::{Map, Node, TreeItem, TreeMember};

use super::names::{Names, owner, path_to, rules, state_path};

/// More than any window comes to: for a counter that has no limit, which limits cannot say.
const UNREACHED: &str = "18000000000000";

const WHOLE: u64 = 1_000_000;

/// Rewrites the rules of every entry.
pub(super) fn policy(policy: &mut Map, place: &str, notes: &mut Notes) {
    let names = Names::of(policy);
    let whole = whole_counters(policy);
    explicit_default(policy, notes);
    let mut converter = ToNative { names, whole, notes };
    let tools = policy.get_mut("tools").and_then(Node::as_map_mut);
    for member in tools.into_iter().flat_map(|tools| &mut tools.0) {
        let place = format!("{place}.{}", member.key);
        if let Some(entry) = member.value.as_map_mut() {
            converter.entry(&member.key, entry, &place);
        }
    }
    let names = converter.names;
    for member in &mut policy.0 {
        member.value.visit(&mut |node| {
            if let Some(Node::Text(path)) = node.as_map_mut().and_then(|map| map.get_mut("path")) {
                rename(path, &names);
            }
        });
    }
}

/// Rules may leave `default` out; then it is `allow`.
fn explicit_default(policy: &mut Map, notes: &mut Notes) {
    if policy.get("default").is_none() {
        notes.add("default", "said nothing, which means `allow` in rules; now it says so");
        let at = policy.0.iter().position(|member| member.key == "tools").unwrap_or(policy.0.len());
        let default = TreeMember {
            comments: Vec::new(),
            key: "default".to_owned(),
            value: Node::text("allow"),
        };
        policy.0.insert(at, default);
    }
}

/// Follows a counter to the name that it has as a limit.
fn rename(path: &mut String, names: &Names) {
    if let Some((tool, counter)) = state_path(path)
        && let Some(name) = names.of_state(&tool, &counter)
        && name != counter
    {
        *path = path_to(&tool, name);
    }
}

/// The `state` counters that only ever come to whole numbers.
fn whole_counters(policy: &Map) -> impl Fn(&str, &str) -> bool + use<> {
    let states = rules(policy).filter_map(|(tool, rule)| {
        let state = rule.get("state")?.as_map()?;
        let fraction = match state.get("increment") {
            Some(Node::Plain(text)) => micros(text).is_none_or(|micros| micros.0 % WHOLE != 0),
            _ => state.get("increment_from").is_some(),
        };
        fraction.then(|| (tool.to_owned(), state.text("counter").unwrap_or_default().to_owned()))
    });
    let broken: Vec<(String, String)> = states.collect();
    move |tool, counter| !broken.iter().any(|(of, name)| of == tool && name == counter)
}

struct ToNative<'n, F> {
    names: Names,
    whole: F,
    notes: &'n mut Notes,
}

/// What the rules of an entry come to.
#[derive(Default)]
struct Parts {
    require: Vec<TreeItem>,
    deny_if: Vec<TreeItem>,
    limits: Vec<TreeItem>,
}

impl<F: Fn(&str, &str) -> bool> ToNative<'_, F> {
    fn entry(&mut self, key: &str, entry: &mut Map, place: &str) {
        let Some(Node::List(rules)) = entry.take("rules") else { return };
        let mixed = ["require", "deny_if", "limits", "rate_limit"]
            .iter()
            .any(|key| entry.get(key).is_some());
        if mixed && rules.len() > 1 {
            self.notes.add(place, "has fields of both dialects: the same calls are denied, but another of several reasons may be told first");
        }
        let mut parts = Parts::default();
        let mut denied = false;
        for (at, rule) in rules.into_iter().enumerate() {
            let Node::Map(rule) = rule.value else { continue };
            let place = format!("{place}.rules[{at}]");
            if rule.text("action") == Some("deny") {
                if !denied {
                    self.denial(entry, &mut parts, rule, &place);
                }
                denied = true;
            } else if rule.get("rate_limit").is_some() {
                self.rate(owner(key), rule, &mut parts);
            } else {
                self.checks(owner(key), rule, &mut parts, denied, &place);
            }
        }
        entry.extend("require", parts.require);
        entry.extend("deny_if", parts.deny_if);
        entry.extend("limits", parts.limits);
    }

    /// A rule that always denies: the entry's action, if nothing else of the entry speaks first.
    fn denial(&mut self, entry: &mut Map, parts: &mut Parts, mut rule: Map, place: &str) {
        let first = parts.require.is_empty()
            && ["action", "reason", "require", "deny_if"]
                .iter()
                .all(|key| entry.get(key).is_none());
        let text = text(&mut rule);
        if first {
            entry.push("action", Node::text("deny"));
            if let Some(text) = text {
                entry.push("reason", text);
            }
            return;
        }
        self.notes
            .add(place, "denies with the reason `denied_by_condition` instead of `tool_denied`");
        let mut denial = Map::default();
        denial.push("conditions", Node::list([]));
        parts.deny_if.push(item(denial, text, &rule));
    }

    fn rate(&mut self, tool: &str, mut rule: Map, parts: &mut Parts) {
        let Some((max, window)) = rule.take("rate_limit").and_then(rate) else { return };
        let mut limit = Map::default();
        limit.push("counter", Node::Text(self.names.of_rate(tool, rule.text("name"))));
        limit.push("window", window);
        limit.push("max", max);
        parts.limits.push(counted(limit, Node::text("global"), &mut rule));
    }

    fn checks(&mut self, tool: &str, mut rule: Map, parts: &mut Parts, denied: bool, place: &str) {
        let state = rule.take("state");
        let counter =
            state.as_ref().and_then(|state| state.as_map()?.text("counter")).map(str::to_owned);
        let conditions =
            if let Some(Node::List(items)) = rule.take("conditions") { items } else { Vec::new() };
        let own = |item: &TreeItem| {
            let path = item.value.as_map().and_then(|condition| condition.text("path"));
            path.and_then(state_path).is_some_and(|(of, name)| of == tool && Some(name) == counter)
        };
        let (bounds, conditions): (Vec<TreeItem>, Vec<TreeItem>) =
            conditions.into_iter().partition(own);
        if !conditions.is_empty() && denied {
            self.notes.add(place, "can never be reached, and is left out");
        } else if !conditions.is_empty() {
            let mut requirement = Map::default();
            requirement.push("conditions", Node::List(conditions));
            let text = text(&mut rule.clone());
            parts.require.push(item(requirement, text, &rule));
        }
        if let (Some(Node::Map(state)), Some(counter)) = (state, counter) {
            let max = self.bound(tool, &counter, &bounds);
            if max.is_none() {
                self.notes.add(
                    place,
                    "counts without a limit; as a limit it needs a `max`, which nothing reaches",
                );
            }
            let limit = self.limit(tool, &counter, state, max);
            parts.limits.push(counted(limit.0, limit.1, &mut rule));
        }
    }

    /// A limit and its scope.
    fn limit(&self, tool: &str, counter: &str, mut state: Map, max: Option<String>) -> (Map, Node) {
        let mut limit = Map::default();
        limit.push("counter", Node::text(self.names.of_state(tool, counter).unwrap_or(counter)));
        limit.push("window", state.take("window").unwrap_or_else(|| Node::text("")));
        limit.push("max", Node::Plain(max.unwrap_or_else(|| UNREACHED.to_owned())));
        for key in ["increment", "increment_from"] {
            if let Some(value) = state.take(key) {
                limit.push(key, value);
            }
        }
        (limit, state.take("scope").unwrap_or_else(|| Node::text("global")))
    }

    /// The most that the rule's own conditions let its counter come to.
    fn bound(&self, tool: &str, counter: &str, bounds: &[TreeItem]) -> Option<String> {
        let most = bounds.iter().filter_map(|item| {
            let condition = item.value.as_map()?;
            let Some(Node::Plain(value)) = condition.get("value") else { return None };
            let value = micros(value)?;
            let below = match condition.text("op")? {
                "lt" if (self.whole)(tool, counter) && value.0 % WHOLE == 0 => WHOLE,
                "lt" => 1,
                _ => 0,
            };
            value.0.checked_sub(below)
        });
        most.min().map(|most| Micros(most).to_string())
    }
}

/// `5/hour` or `{max, window}`.
fn rate(rate: Node) -> Option<(Node, Node)> {
    match rate {
        Node::Text(text) => {
            let (max, window) = text.split_once('/')?;
            let max = max.trim_start_matches('0');
            Some((Node::number(if max.is_empty() { "0" } else { max }), Node::text(window)))
        }
        Node::Map(mut map) => Some((map.take("max")?, map.take("window")?)),
        Node::Plain(_) | Node::List(_) => None,
    }
}

/// A limit that counts as the rule does, with its text.
fn counted(mut limit: Map, scope: Node, rule: &mut Map) -> TreeItem {
    limit.push("scope", scope);
    if let Some(count) = rule.take("count") {
        limit.push("count", count);
    }
    let text = text(rule);
    item(limit, text, rule)
}

/// What is made of a rule, with its text, and its name as a comment.
fn item(mut map: Map, text: Option<Node>, rule: &Map) -> TreeItem {
    if let Some(text) = text {
        map.push("on_deny", text);
    }
    let name = rule.text("name").map(|name| name.split_whitespace().collect::<Vec<_>>().join(" "));
    let clean = |name: &String| !name.is_empty() && !name.contains(char::is_control);
    TreeItem { comments: name.filter(clean).into_iter().collect(), value: Node::Map(map) }
}

fn text(rule: &mut Map) -> Option<Node> {
    rule.take("on_deny").or_else(|| rule.take("reason"))
}

fn micros(text: &str) -> Option<Micros> {
    Decimal::parse(text)?.micros_exact()
}
