//! The arguments of a tool as its schema has them, those within others too.

use serde_json::Value;

use super::words::{flat, says, words};
use crate::cli::server::tool::{Tool, one_line};

/// How deep arguments within arguments are looked at, and how many of them.
const DEEPEST: usize = 5;
const MOST_ARGUMENTS: usize = 500;

/// An argument as its schema has it.
pub(super) struct ArgumentSeen<'t> {
    pub(super) name: String,
    pub(super) words: Vec<String>,
    pub(super) schema: Vec<&'t Value>,
    pub(super) required: bool,
    /// Whether it is within another argument that may be left out.
    pub(super) aside: bool,
    /// What its schema says of it, flat.
    pub(super) text: String,
}

/// All arguments of a tool.
pub(super) fn seen(tool: &Tool) -> Vec<ArgumentSeen<'_>> {
    let mut found = Vec::new();
    collect(&tool.input, &tool.input, ("", false), 0, &mut found);
    found
}

/// A schema and those that it is made of: `$ref`, `anyOf`, `oneOf`, `allOf`.
fn parts<'t>(schema: &'t Value, root: &'t Value, depth: usize) -> Vec<&'t Value> {
    let mut found = vec![schema];
    if depth >= DEEPEST {
        return found;
    }
    let named = schema
        .get("$ref")
        .and_then(Value::as_str)
        .and_then(|name| root.pointer(name.strip_prefix('#')?));
    let choices =
        ["anyOf", "oneOf", "allOf"].into_iter().filter_map(|key| schema.get(key)?.as_array());
    for part in named.into_iter().chain(choices.flatten()) {
        found.extend(parts(part, root, depth + 1));
    }
    found.truncate(MOST_ARGUMENTS);
    found
}

fn collect<'t>(
    schema: &'t Value,
    root: &'t Value,
    (within, aside): (&str, bool),
    depth: usize,
    found: &mut Vec<ArgumentSeen<'t>>,
) {
    if depth > DEEPEST {
        return;
    }
    for part in parts(schema, root, depth) {
        let required = part.get("required").and_then(Value::as_array);
        for (name, schema) in
            part.get("properties").and_then(Value::as_object).into_iter().flatten()
        {
            if found.len() >= MOST_ARGUMENTS {
                return;
            }
            let full = if within.is_empty() { name.clone() } else { format!("{within}.{name}") };
            let schemas = parts(schema, root, 0);
            let texts = schemas.iter().filter_map(|part| part.get("description")?.as_str());
            let required =
                required.is_some_and(|names| names.iter().any(|each| each == name.as_str()));
            found.push(ArgumentSeen {
                name: full.clone(),
                words: words(name),
                text: flat(&texts.collect::<Vec<_>>().join("\n")),
                schema: schemas,
                required,
                aside,
            });
            collect(schema, root, (&full, aside || !required), depth + 1, found);
        }
        if let Some(items) = part.get("items") {
            collect(items, root, (within, aside), depth + 1, found);
        }
    }
}

impl ArgumentSeen<'_> {
    pub(super) fn is_of(&self, kind: &str) -> bool {
        let named = |value: &Value| value.as_str() == Some(kind);
        self.schema.iter().filter_map(|part| part.get("type")).any(|value| {
            named(value) || value.as_array().is_some_and(|kinds| kinds.iter().any(named))
        })
    }

    pub(super) fn values(&self) -> Vec<&str> {
        let listed = self.schema.iter().filter_map(|part| part.get("enum")?.as_array()).flatten();
        listed
            .chain(self.schema.iter().filter_map(|part| part.get("const")))
            .filter_map(Value::as_str)
            .collect()
    }

    pub(super) fn is_array(&self) -> bool {
        self.is_of("array")
    }

    /// Whether the caller can write any text in it: a text without a list of values, or several.
    pub(super) fn is_free(&self) -> bool {
        let kinds = ["boolean", "integer", "number", "object"];
        let typed = self.schema.iter().any(|part| part.get("type").is_some());
        self.values().is_empty()
            && (self.is_of("string")
                || self.is_array()
                || !typed
                || !kinds.iter().any(|kind| self.is_of(kind)))
    }

    /// Where it chooses among kinds of things, and secrets can be one of them: that place, and why.
    pub(super) fn names_any_of<'s>(
        &self,
        stores: &'s [(String, String)],
        said: &str,
    ) -> Option<&'s (String, String)> {
        let chooses = self.words.last().is_some_and(|last| {
            matches!(last.as_str(), "type" | "types" | "kind" | "kinds" | "resource" | "resources")
        });
        if !chooses {
            return None;
        }
        let values = flat(&self.values().join("; "));
        let free = self.is_free();
        stores.iter().find(|(word, _)| {
            if free { says(said, word) || says(&self.text, word) } else { says(&values, word) }
        })
    }

    pub(super) fn evidence(&self, why: &str) -> String {
        format!("argument `{}`: {why}", one_line(&self.name, 60))
    }
}
