//! The arguments of a tool as its schema has them, those within others too.

use serde_json::Value;

use super::words::{flat, says, words};
use crate::tools::{Tool, one_line};

/// How deep arguments within arguments are looked at, how many of them, and at how many schemas: a schema can name itself.
const DEEPEST: usize = 6;
const MOST_ARGUMENTS: usize = 500;
const MOST_SCHEMAS: usize = 5_000;
const MOST_PARTS: usize = 100;

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

/// All arguments of a tool, and whether these are really all.
pub(super) fn seen(tool: &Tool) -> (Vec<ArgumentSeen<'_>>, bool) {
    let mut walk = SchemaWalk { root: &tool.input, found: Vec::new(), looked: 0, whole: true };
    walk.look(&tool.input, "", false, 0);
    (walk.found, walk.whole)
}

struct SchemaWalk<'t> {
    root: &'t Value,
    found: Vec<ArgumentSeen<'t>>,
    looked: usize,
    whole: bool,
}

impl<'t> SchemaWalk<'t> {
    fn look(&mut self, schema: &'t Value, within: &str, aside: bool, depth: usize) {
        for part in self.parts(schema) {
            let required = part.get("required").and_then(Value::as_array);
            let members = part.get("properties").and_then(Value::as_object);
            let items = part.get("items").filter(|items| items.is_object());
            if depth > DEEPEST || self.looked > MOST_SCHEMAS || self.found.len() > MOST_ARGUMENTS {
                self.whole &= members.is_none_or(serde_json::Map::is_empty) && items.is_none();
                continue;
            }
            self.looked += 1;
            for (name, schema) in members.into_iter().flatten() {
                let full =
                    if within.is_empty() { name.clone() } else { format!("{within}.{name}") };
                let needed =
                    required.is_some_and(|names| names.iter().any(|each| each == name.as_str()));
                let schemas = self.parts(schema);
                let texts = schemas.iter().filter_map(|part| part.get("description")?.as_str());
                self.found.push(ArgumentSeen {
                    name: full.clone(),
                    words: words(name),
                    text: flat(&texts.collect::<Vec<_>>().join("\n")),
                    schema: schemas,
                    required: needed,
                    aside,
                });
                self.look(schema, &full, aside || !needed, depth + 1);
            }
            if let Some(items) = items {
                self.look(items, within, aside, depth + 1);
            }
        }
    }

    /// A schema and those that it is made of: `$ref`, `anyOf`, `oneOf`, `allOf`. Each once.
    fn parts(&mut self, schema: &'t Value) -> Vec<&'t Value> {
        let mut found = vec![schema];
        let mut at = 0;
        while let Some(part) = found.get(at).copied() {
            at += 1;
            let named = part.get("$ref").and_then(Value::as_str);
            let named = named.and_then(|name| self.root.pointer(name.strip_prefix('#')?));
            let choices =
                ["anyOf", "oneOf", "allOf"].into_iter().filter_map(|key| part.get(key)?.as_array());
            for part in named.into_iter().chain(choices.flatten()) {
                if found.iter().any(|known| std::ptr::eq(*known, part)) {
                    continue;
                }
                if found.len() >= MOST_PARTS {
                    self.whole = false;
                    return found;
                }
                found.push(part);
            }
        }
        found
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
