//! The tables as JSON Schema 2020-12.

use mcp_policy::json::{Duplicates, parse};
use mcp_policy::matcher::operator::OPERATORS;
use mcp_policy::policy::entry::Scope;
use mcp_policy::rate::window;

use super::language::{
    FieldKind, FieldSpec, KeyKind, ObjectSpec, Presence, SETTINGS, of_gateways, section, sections,
};
use crate::cli::tree::{Map, Node};

const DIALECT: &str = "https://json-schema.org/draft/2020-12/schema";

/// The schema of a policy with settings beside its fields.
pub(super) fn policy() -> Node {
    let mut schema = head("policy", "An mcp-policy policy");
    schema.0.extend(bare().0);
    schema.push("$defs", definitions(&["policy", "bare", "plugin", SETTINGS]));
    Node::Map(schema)
}

/// The schema of a plugin configuration: either form.
pub(super) fn plugin() -> Node {
    let mut schema = head("plugin", "The plugin configuration of mcp-policy");
    schema.push("if", json(r#"{"required":["policies"]}"#));
    schema.push("then", Node::Map(object(&[section("plugin"), section(SETTINGS)])));
    schema.push("else", Node::Map(bare()));
    schema.push("$defs", definitions(&["bare", "plugin", SETTINGS]));
    Node::Map(schema)
}

/// The schema of a gateway file.
pub(super) fn gateway() -> Node {
    let mut schema = head("gateway", "An mcp-policy gateway file");
    schema.0.extend(object(&[section("gateway"), section(SETTINGS)]).0);
    let named = sections().chain(of_gateways());
    let named = named.filter(|section| {
        !["policy", "bare", "plugin", "binding", "gateway", SETTINGS].contains(&section.id)
    });
    let all = Node::map(named.map(|named| (named.id, Node::Map(object(&[Some(named)])))));
    schema.push("$defs", all);
    Node::Map(schema)
}

/// Where the schemas are, by their names: editors fetch them from there.
const HOME: &str = "https://raw.githubusercontent.com/mcp-policy/mcp-policy/main/policies/schema";

fn head(name: &str, title: &str) -> Map {
    let mut schema = Map::default();
    schema.push("$schema", Node::text(DIALECT));
    schema.push("$id", Node::Text(format!("{HOME}/{name}.schema.json")));
    schema.push("title", Node::text(title));
    schema
}

fn bare() -> Map {
    object(&[section("policy"), section("bare"), section(SETTINGS)])
}

/// Every section that others refer to.
fn definitions(without: &[&str]) -> Node {
    let named = sections().filter(|section| !without.contains(&section.id));
    Node::map(named.map(|named| (named.id, Node::Map(object(&[Some(named)])))))
}

/// An object with the fields of these sections, and no others.
fn object(sections: &[Option<&ObjectSpec>]) -> Map {
    let sections: Vec<&ObjectSpec> = sections.iter().copied().flatten().collect();
    let fields = || sections.iter().flat_map(|section| section.fields());
    let mut schema = Map::default();
    schema.push("type", Node::text("object"));
    if let Some(first) = sections.first() {
        schema.push("description", Node::text(first.about));
    }
    schema.push("properties", Node::map(fields().map(|field| (field.name, property(field)))));
    let required = fields().filter(|field| field.presence == Presence::Required);
    let required: Vec<Node> = required.map(|field| Node::text(field.name)).collect();
    if !required.is_empty() {
        schema.push("required", Node::list(required));
    }
    let others = sections.iter().find_map(|section| section.others);
    let others = others.map_or(Node::Plain("false".to_owned()), reference);
    schema.push("additionalProperties", others);
    for section in &sections {
        merge(&mut schema, section.rules);
    }
    if fields().any(|field| matches!(field.kind, FieldKind::Operator)) {
        schema.push("allOf", operands());
    }
    schema
}

/// What the value beside an operator must be: one rule for all operators that take the same; and which operators compare fields.
fn operands() -> Node {
    let mut rules: Vec<(&str, Vec<Node>)> = Vec::new();
    for operator in OPERATORS {
        let schema = operator.takes.schema();
        let word = Node::text(operator.word);
        match rules.iter_mut().find(|(known, _)| *known == schema) {
            Some((_, words)) => words.push(word),
            None => rules.push((schema, vec![word])),
        }
    }
    let of = |field, schema| Node::map([("properties", Node::map([(field, schema)]))]);
    let rule = |(schema, words)| {
        let mut asked = Map::default();
        asked.push("properties", Node::map([("op", Node::map([("enum", Node::list(words))]))]));
        asked.push("required", json(r#"["op"]"#));
        Node::map([("if", Node::Map(asked)), ("then", of("value", json(schema)))])
    };
    let patterns = OPERATORS.iter().filter(|operator| operator.takes.pairing().is_none());
    let patterns = Node::list(patterns.map(|operator| Node::text(operator.word)));
    let barred = Node::map([("not", Node::map([("enum", patterns)]))]);
    let paired = Node::map([("if", json(r#"{"required":["from"]}"#)), ("then", of("op", barred))]);
    Node::list(rules.into_iter().map(rule).chain([paired]))
}

/// Adds what must hold between fields; `properties` among it adds to those of the same name.
fn merge(schema: &mut Map, rules: &str) {
    let Node::Map(rules) = json(rules) else { return };
    add(schema, rules);
}

/// Adds members to those that are there: each key stays there once.
fn add(known: &mut Map, more: Map) {
    for member in more.0 {
        match (known.get_mut(&member.key), member.value) {
            (Some(Node::Map(known)), Node::Map(more)) => add(known, more),
            (Some(known), value) => *known = value,
            (None, value) => known.push(member.key, value),
        }
    }
}

fn property(field: &FieldSpec) -> Node {
    let mut schema = kind(&field.kind);
    schema.push("description", Node::Text(description(field)));
    if let Presence::Default(value) = field.presence {
        schema.push("default", json(value));
    }
    schema.push("examples", Node::list([json(field.example)]));
    Node::Map(schema)
}

/// What a field means, and what each word means where it has a table of them.
fn description(field: &FieldSpec) -> String {
    let mut text = field.about.to_owned();
    if matches!(field.kind, FieldKind::Operator) {
        for operator in OPERATORS {
            text.push_str(&format!("\n- `{}`: {}", operator.word, operator.about));
        }
    }
    text
}

fn kind(kind: &FieldKind) -> Map {
    let node = match kind {
        FieldKind::Text => json(r#"{"type":"string"}"#),
        FieldKind::Digest => json(r#"{"type":"string","pattern":"^sha-256:[A-Za-z0-9_-]{43}$"}"#),
        FieldKind::Flag => json(r#"{"type":"boolean"}"#),
        FieldKind::Amount => json(r#"{"type":"number","minimum":0}"#),
        FieldKind::Increment => json(r#"{"type":"number","exclusiveMinimum":0}"#),
        FieldKind::Whole(least, most) => {
            json(&format!(r#"{{"type":"integer","minimum":{least},"maximum":{most}}}"#))
        }
        FieldKind::Words(words) => one_of(words.iter().copied()),
        FieldKind::Pattern => json(r#"{"type":"string","minLength":1,"maxLength":4096}"#),
        FieldKind::ArgumentPath => json(r#"{"type":"string","pattern":"^args[.\\[]"}"#),
        FieldKind::Path => json(
            r#"{"type":"string","pattern":"^((args|state|identity|header)[.\\[]|(tool|resource|prompt|method|now)$)"}"#,
        ),
        FieldKind::FieldPath => json(
            r#"{"type":"string","pattern":"^((args|identity|header)[.\\[]|(tool|resource|prompt|method)$)","not":{"pattern":"\\[\\*\\]"}}"#,
        ),
        FieldKind::Scope => Node::map([(
            "anyOf",
            Node::list([
                one_of(Scope::WORDS.iter().map(|(word, _)| *word)),
                json(r#"{"type":"string","pattern":"^[A-Za-z0-9_-]{1,64}$"}"#),
            ]),
        )]),
        FieldKind::Window => Node::map([(
            "anyOf",
            Node::list([
                one_of(window::words()),
                json(r#"{"type":"string","pattern":"^[0-9]+[smh]$"}"#),
                json(r#"{"type":"integer","minimum":1,"maximum":31622400}"#),
            ]),
        )]),
        FieldKind::Length(least, most) => json(&format!(
            r#"{{"anyOf":[{{"type":"string","pattern":"^[0-9]+[smh]$"}},{{"type":"integer","minimum":{least},"maximum":{most}}}]}}"#
        )),
        FieldKind::Rate => {
            let words = window::words().collect::<Vec<_>>().join("|");
            let pattern = format!("^[0-9]+/({words}|[0-9]+[smh])$");
            Node::map([("type", Node::text("string")), ("pattern", Node::Text(pattern))])
        }
        FieldKind::Operator => one_of(OPERATORS.iter().map(|operator| operator.word)),
        FieldKind::Operand => json(
            r#"{"type":["string","number","boolean","array","object"],"items":{"type":["string","number","boolean"]}}"#,
        ),
        FieldKind::Object(id) => reference(id),
        FieldKind::Objects(id) => {
            Node::map([("type", Node::text("array")), ("items", reference(id))])
        }
        FieldKind::List(items) => {
            Node::map([("type", Node::text("array")), ("items", Node::Map(self::kind(items)))])
        }
        FieldKind::Named(members, keys) => Node::Map(named(members, *keys)),
        FieldKind::Either(kinds) => {
            Node::map([("anyOf", Node::list(kinds.iter().map(|each| Node::Map(self::kind(each)))))])
        }
    };
    if let Node::Map(map) = node { map } else { Map::default() }
}

fn one_of<'w>(words: impl Iterator<Item = &'w str>) -> Node {
    Node::map([("enum", Node::list(words.map(Node::text)))])
}

fn named(members: &FieldKind, keys: KeyKind) -> Map {
    let mut schema = Map::default();
    schema.push("type", Node::text("object"));
    if keys == KeyKind::Tools {
        schema.push("propertyNames", Node::Map(kind(&FieldKind::Pattern)));
    }
    if keys == KeyKind::Servers {
        schema.push("propertyNames", json(r#"{"pattern":"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$"}"#));
    }
    schema.push("additionalProperties", Node::Map(kind(members)));
    schema
}

fn reference(id: &str) -> Node {
    Node::map([("$ref", Node::Text(format!("#/$defs/{id}")))])
}

/// JSON of the tables, which a test reads too.
fn json(text: &str) -> Node {
    parse(text, Duplicates::Refuse).map_or(Node::Map(Map::default()), |value| Node::from(&value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tables_are_json() {
        for section in sections().chain(of_gateways()) {
            let of_fields = section.fields().flat_map(|field| {
                let default =
                    if let Presence::Default(text) = field.presence { Some(text) } else { None };
                std::iter::once(field.example).chain(default)
            });
            let rules = Some(section.rules).filter(|rules| !rules.is_empty());
            for text in of_fields.chain(rules) {
                assert!(parse(text, Duplicates::Refuse).is_ok(), "{}: {text}", section.id);
            }
        }
    }
}
