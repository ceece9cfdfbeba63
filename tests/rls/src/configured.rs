//! Limits of a file, for services that take none from the question. As JSON, since tests have a reader of YAML at hand.

use limitador::limit::Limit;
use serde::Deserialize;

use crate::Trouble;
use crate::engine::{Unit, Volume};

/// The limits of a file: a list for Limitador, a tree for Envoy's `ratelimit`.
#[derive(Debug, Default, Deserialize)]
#[serde(untagged)]
pub enum Limits {
    #[default]
    None,
    List(Vec<Limit>),
    Tree(Domain),
}

/// A file of Envoy's `ratelimit`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Domain {
    domain: String,
    descriptors: Vec<Node>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Node {
    key: String,
    value: Option<String>,
    rate_limit: Option<RateLimit>,
    #[serde(default)]
    descriptors: Vec<Node>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RateLimit {
    unit: String,
    requests_per_unit: u32,
}

/// Reads a file.
pub fn read(text: &str) -> Result<Limits, Trouble> {
    let limits: Limits = serde_json::from_str(text)?;
    if let Limits::Tree(domain) = &limits {
        let mut nodes: Vec<&Node> = domain.descriptors.iter().collect();
        while let Some(node) = nodes.pop() {
            nodes.extend(&node.descriptors);
            if let Some(limit) = &node.rate_limit
                && Unit::named(&limit.unit).is_none()
            {
                return Err(format!("{}: no such unit", limit.unit).into());
            }
        }
    }
    Ok(limits)
}

impl Domain {
    /// The limit of a descriptor: each entry must have its node, one with the value before one without, and the last a limit.
    pub fn limit(&self, domain: &str, entries: &[(String, String)]) -> Option<Volume> {
        if domain != self.domain {
            return None;
        }
        let mut nodes = &self.descriptors;
        let mut last = None;
        for (key, value) in entries {
            let of_key = |node: &&Node| node.key == *key;
            let node = nodes
                .iter()
                .filter(of_key)
                .find(|node| node.value.as_deref() == Some(value))
                .or_else(|| nodes.iter().filter(of_key).find(|node| node.value.is_none()))?;
            nodes = &node.descriptors;
            last = node.rate_limit.as_ref();
        }
        last.and_then(|limit| {
            Some(Volume { max: limit.requests_per_unit, unit: Unit::named(&limit.unit)? })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::{Limits, read};
    use crate::engine::Unit;

    const TREE: &str = r#"{"domain": "mcp", "descriptors": [{"key": "policy", "value": "p", "descriptors": [
        {"key": "counter", "value": "a", "rate_limit": {"unit": "minute", "requests_per_unit": 3},
         "descriptors": [{"key": "caller", "rate_limit": {"unit": "hour", "requests_per_unit": 5}}]}]}]}"#;

    fn entries(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn a_descriptor_has_the_limit_of_its_last_entry() {
        let Ok(Limits::Tree(tree)) = read(TREE) else { panic!() };
        let limit = |pairs: &[(&str, &str)]| {
            tree.limit("mcp", &entries(pairs)).map(|limit| (limit.max, limit.unit))
        };
        assert_eq!(limit(&[("policy", "p"), ("counter", "a")]), Some((3, Unit::Minute)));
        let callers = [("policy", "p"), ("counter", "a"), ("caller", "c")];
        assert_eq!(limit(&callers), Some((5, Unit::Hour)));
        assert_eq!(limit(&[("policy", "p")]), None);
        assert_eq!(limit(&[("policy", "q"), ("counter", "a")]), None);
        assert!(tree.limit("other", &entries(&callers)).is_none());
    }

    #[test]
    fn units_are_known() {
        assert!(read(&TREE.replace("minute", "fortnight")).is_err());
    }

    #[test]
    fn limitador_reads_its_own() {
        let list = r#"[{"namespace": "mcp", "max_value": 3, "seconds": 60, "name": "a",
            "conditions": ["descriptors[0].counter == 'a'"], "variables": []}]"#;
        assert!(matches!(read(list), Ok(Limits::List(limits)) if limits.len() == 1));
    }
}
