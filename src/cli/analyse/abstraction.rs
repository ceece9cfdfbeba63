//! A policy in which every condition is known by a few values.
//!
//! Conditions that compare a field with values stay as they are. Every other becomes an *atom*: a condition on an argument of its own, so that it
//! can come to anything, whatever others do. So an abstracted policy does all that the policy can do, and perhaps more: what it cannot do, the
//! policy cannot. What counts is taken out: it is the same for both policies of a comparison, or nothing is said.

use std::collections::BTreeMap;

use mcp_policy::matcher::name::Pattern;
use serde_json::{Map, Value, json};

use super::candidates::is_exact;
use super::place::CallField;

/// Fields of an entry that say when its action holds.
pub(super) const TIMES: [&str; 3] = ["during", "not_before", "not_after"];

/// Fields of entries and rules that count, or are held against what a server said.
const COUNTING: [&str; 6] = ["limits", "rate_limit", "state", "count", "definition", "reason"];

/// Members of a policy that count, or change no decision.
const IDLE: [&str; 6] = ["all_tools", "pins", "candidate", "count_in", "description", "tools_list"];

/// A condition of an entry that a name meets.
#[derive(Clone, Debug)]
pub(super) struct MetCondition {
    /// Whose it is: the place among the policies.
    pub(super) policy: usize,
    pub(super) condition: Value,
    pub(super) place: CallField,
    pub(super) decode: Option<bool>,
}

impl MetCondition {
    /// What it compares its place with, where that is another one.
    pub(super) fn from(&self) -> Option<CallField> {
        self.condition.get("from").and_then(Value::as_str).map(CallField::new)
    }
}

/// Policies, as far as one name meets them.
pub(super) struct Abstraction {
    /// Every condition, of all policies.
    pub(super) met: Vec<MetCondition>,
    /// When entries hold, as the policies say it.
    pub(super) times: Vec<Value>,
    /// The places whose values fall into regions.
    pub(super) exact: Vec<CallField>,
    /// The abstracted policies.
    pub(super) policies: Vec<Value>,
    /// The paths of the atoms.
    pub(super) atoms: BTreeMap<String, String>,
    /// How the arguments of atoms are called.
    atom: String,
}

impl Abstraction {
    pub(super) fn new(policies: &[Value], name: &str) -> Abstraction {
        let mut met = Vec::new();
        let mut times = Vec::new();
        for (at, policy) in policies.iter().enumerate() {
            for entry in entries(policy).filter(|(key, _)| Pattern::new(key).matches(name)) {
                let decode = entry.1["decode_json_strings"].as_bool();
                let mut entry = entry.1.clone();
                each_condition(&mut entry, &mut |_, condition| {
                    let place = CallField::new(condition["path"].as_str().unwrap_or_default());
                    met.push(MetCondition {
                        policy: at,
                        condition: condition.clone(),
                        place,
                        decode,
                    });
                });
                times.extend(TIMES.iter().filter_map(|word| entry.get(*word)).cloned());
            }
        }
        let exact = exact(&met);
        // An argument that no policy names.
        let mut atom = "analysedatom".to_owned();
        while policies.iter().any(|policy| policy.to_string().to_lowercase().contains(&atom)) {
            atom.push('x');
        }
        let (policies_of_atoms, atoms) = (Vec::new(), BTreeMap::new());
        let mut found = Abstraction { met, times, exact, policies: policies_of_atoms, atoms, atom };
        found.policies =
            policies.iter().map(|policy| found.abstracted(policy.clone(), name)).collect();
        found
    }

    /// Whether all of them decide the same of this name, by what they say.
    pub(super) fn is_one(&self) -> bool {
        self.policies.windows(2).all(|pair| matches!(pair, [one, other] if one == other))
    }

    fn abstracted(&mut self, mut policy: Value, name: &str) -> Value {
        if let Some(members) = policy.as_object_mut() {
            for member in IDLE {
                members.remove(member);
            }
            members.entry("default").or_insert("allow".into());
        }
        let Some(tools) = policy.get_mut("tools").and_then(Value::as_object_mut) else {
            return policy;
        };
        for (key, entry) in tools.iter_mut() {
            if Pattern::new(key).matches(name) {
                self.abstract_entry(entry);
            } else {
                // Its name may still resemble others.
                *entry = json!({});
            }
        }
        policy
    }

    fn abstract_entry(&mut self, entry: &mut Value) {
        let decode = entry["decode_json_strings"].clone();
        let mut conditions = Vec::new();
        each_condition(entry, &mut |list, condition| {
            conditions.push((list.to_owned(), condition.clone()));
        });
        let mut replaced = conditions.into_iter().map(|(list, condition)| {
            let path = condition.get("path").and_then(Value::as_str);
            let place = CallField::new(path.unwrap_or_default());
            let of_name = place == CallField::Name && condition.get("from").is_none();
            if of_name || self.exact.contains(&place) {
                return condition;
            }
            // What is absent comes to something else where conditions deny.
            let denies = list == "deny_if" || list == "ask_if";
            self.atom(&format!("{condition} {denies} {decode}"))
        });
        each_condition(entry, &mut |_, condition| {
            if let Some(other) = replaced.next() {
                *condition = other;
            }
        });
        drop(replaced);
        self.abstract_times(entry);
        let Some(members) = entry.as_object_mut() else { return };
        members.retain(|key, _| !COUNTING.contains(&key.as_str()));
        if let Some(rules) = members.get_mut("rules").and_then(Value::as_array_mut) {
            for rule in rules.iter_mut().filter_map(Value::as_object_mut) {
                rule.retain(|key, _| !COUNTING.contains(&key.as_str()));
            }
            rules.retain(|rule| {
                rule.get("conditions").is_some() || rule["action"].as_str() == Some("deny")
            });
        }
    }

    /// `during` and its like become an atom: when they hold, nobody asks.
    fn abstract_times(&mut self, entry: &mut Value) {
        let Some(members) = entry.as_object_mut() else { return };
        let said: Map<String, Value> = TIMES
            .iter()
            .filter_map(|word| Some(((*word).to_owned(), members.shift_remove(*word)?)))
            .collect();
        if said.is_empty() {
            return;
        }
        let action = members.get("action").and_then(Value::as_str).unwrap_or("allow");
        let list = match action {
            "deny" => "deny_if",
            "require_approval" => "ask_if",
            _ => "require",
        };
        let atom = self.atom(&Value::Object(said).to_string());
        members.insert("action".to_owned(), "allow".into());
        let lists = members.entry(list).or_insert(json!([]));
        if let Some(list) = lists.as_array_mut() {
            list.insert(0, json!({"conditions": [atom]}));
        }
    }

    fn atom(&mut self, of: &str) -> Value {
        let next = format!("args.{}{}", self.atom, self.atoms.len());
        let path = self.atoms.entry(of.to_owned()).or_insert(next);
        json!({"path": path, "op": "eq", "value": true})
    }
}

/// The entries for tools.
pub(super) fn entries(policy: &Value) -> impl Iterator<Item = (&String, &Value)> {
    policy.get("tools").and_then(Value::as_object).into_iter().flatten()
}

/// Shows every condition of an entry, with the list in which it stands.
fn each_condition(entry: &mut Value, see: &mut dyn FnMut(&str, &mut Value)) {
    for list in ["require", "deny_if", "ask_if", "rules"] {
        let rules = entry.get_mut(list).and_then(Value::as_array_mut);
        for rule in rules.into_iter().flatten() {
            let conditions = rule.get_mut("conditions").and_then(Value::as_array_mut);
            conditions.into_iter().flatten().for_each(|condition| see(list, condition));
        }
    }
}

/// The places of which a few values tell everything: nothing but comparisons with values looks there, and nothing beside or below.
fn exact(met: &[MetCondition]) -> Vec<CallField> {
    let others = |place: &CallField| {
        let from = met.iter().filter_map(MetCondition::from);
        from.chain(met.iter().map(|met| met.place.clone()))
            .filter(|other| other.meets(place))
            .count()
    };
    let compared =
        |place: &CallField| met.iter().filter_map(MetCondition::from).any(|from| from == *place);
    let mut found: Vec<CallField> = Vec::new();
    for MetCondition { place, decode, .. } in met {
        let known = match place {
            CallField::Argument(_) => place.is_keys(),
            CallField::Header(name) => name.starts_with("x-"),
            CallField::Identity(_) => true,
            CallField::Now | CallField::Name | CallField::Count => false,
        };
        let mut here = met.iter().filter(|met| met.place == *place);
        let mut others_here = met.iter().filter(|met| met.place == *place);
        // Only arguments are ever read as JSON text.
        let one_reading = !matches!(place, CallField::Argument(_))
            || others_here.all(|other| other.decode == *decode);
        if known
            && !found.contains(place)
            && here.all(|met| is_exact(&met.condition))
            && one_reading
            && others(place) == 0
            && !compared(place)
        {
            found.push(place.clone());
        }
    }
    found
}
