//! What a tool's inputSchema says of one argument: as much of JSON Schema as servers use, and no guess beyond it.

use crate::json::pointer::unescaped;
use crate::json::{Object, Value};
use crate::matcher::path::Step;
use crate::number::Decimal;

/// Most subschemas that are looked at for one path: schemas can refer to themselves.
const MOST_SCHEMAS: usize = 256;

/// What a path leads to.
#[derive(Debug)]
pub(super) enum Target<'s> {
    /// The schema does not say.
    Unknown,
    /// The schema names its members, and not this one.
    Missing {
        /// The member that is not there.
        key: String,
        /// Those that are.
        known: Vec<&'s str>,
    },
    /// The way there leads through values of another type.
    Blocked {
        /// The type that the path needs on its way.
        expected: &'static str,
        /// The types that the schema has there.
        found: String,
    },
    /// Values of these kinds.
    Values(Facts<'s>),
}

/// What is known of the values at the end of a path. Where alternatives differ, what holds of all of them.
#[derive(Debug, Default)]
pub(super) struct Facts<'s> {
    /// The types, as JSON Schema names them; empty where any may come. `null`, which counts as absent, is left out.
    pub(super) types: Vec<&'s str>,
    /// The values, where they are listed.
    pub(super) values: Option<Vec<&'s Value<'s>>>,
    /// The least number.
    pub(super) least: Option<Decimal>,
    /// The greatest number.
    pub(super) most: Option<Decimal>,
    /// The value that the server uses where the argument is absent.
    pub(super) default: Option<&'s Value<'s>>,
    /// Whether every step of the way is required.
    pub(super) required: bool,
}

/// Follows a path through a schema.
pub(super) fn target<'s>(root: &'s Value<'s>, steps: &[Step]) -> Target<'s> {
    let mut walk = Walk { root, left: MOST_SCHEMAS };
    let mut schemas = walk.alternatives(root);
    let mut required = true;
    for step in steps {
        let inner = match step {
            Step::Key(key) => {
                required &=
                    !schemas.is_empty() && schemas.iter().all(|schema| requires(schema, key));
                walk.members(&schemas, key)
            }
            Step::Index(_) | Step::Each => {
                required = false;
                walk.items(&schemas)
            }
        };
        schemas = match inner {
            Ok(inner) => inner,
            Err(target) => return target,
        };
    }
    if walk.left == 0 || schemas.is_empty() {
        return Target::Unknown;
    }
    Target::Values(facts(&schemas, required))
}

struct Walk<'s> {
    root: &'s Value<'s>,
    left: usize,
}

impl<'s> Walk<'s> {
    /// The schemas that a schema stands for: references followed, alternatives one by one. A schema with `allOf` is taken for
    /// its parts together.
    fn alternatives(&mut self, schema: &'s Value<'s>) -> Vec<&'s Object<'s>> {
        let Some(left) = self.left.checked_sub(1) else { return Vec::new() };
        self.left = left;
        let Some(object) = schema.as_object() else { return Vec::new() };
        if let Some(reference) = object.get("$ref").and_then(Value::as_str) {
            let target =
                reference.strip_prefix('#').and_then(|pointer| resolve(self.root, pointer));
            return target.map(|target| self.alternatives(target)).unwrap_or_default();
        }
        for word in ["anyOf", "oneOf"] {
            if let Some(Value::Array(items)) = object.get(word) {
                let found: Vec<Vec<&Object<'_>>> = items
                    .iter()
                    .filter(|item| !is_null(item))
                    .map(|item| self.alternatives(item))
                    .collect();
                // An alternative that is not understood may be anything.
                let unclear = found.iter().any(Vec::is_empty);
                return if unclear { Vec::new() } else { found.into_iter().flatten().collect() };
            }
        }
        if let Some(Value::Array(items)) = object.get("allOf") {
            let found = items.iter().map(|item| self.alternatives(item)).max_by_key(Vec::len);
            return if items.len() == 1 { found.unwrap_or_default() } else { Vec::new() };
        }
        vec![object]
    }

    fn members(
        &mut self,
        schemas: &[&'s Object<'s>],
        key: &str,
    ) -> Result<Vec<&'s Object<'s>>, Target<'s>> {
        let objects: Vec<&Object<'_>> =
            schemas.iter().copied().filter(|schema| may_be(schema, "object")).collect();
        if objects.is_empty() && !schemas.is_empty() {
            return Err(Target::Blocked { expected: "an object", found: types_text(schemas) });
        }
        let mut found = Vec::new();
        let mut known = Vec::new();
        for schema in objects {
            let properties = schema.get("properties").and_then(Value::as_object);
            known.extend(properties.iter().flat_map(|object| &object.0).map(|member| &*member.key));
            match properties.and_then(|properties| properties.get(key)) {
                Some(member) => {
                    let inner = self.alternatives(member);
                    if inner.is_empty() {
                        return Err(Target::Unknown);
                    }
                    found.extend(inner);
                }
                None if is_open(schema) => return Err(Target::Unknown),
                None => {}
            }
        }
        match (found.is_empty(), schemas.is_empty()) {
            (_, true) => Err(Target::Unknown),
            (true, false) => Err(Target::Missing { key: key.to_owned(), known }),
            (false, false) => Ok(found),
        }
    }

    fn items(&mut self, schemas: &[&'s Object<'s>]) -> Result<Vec<&'s Object<'s>>, Target<'s>> {
        let arrays: Vec<&Object<'_>> =
            schemas.iter().copied().filter(|schema| may_be(schema, "array")).collect();
        if arrays.is_empty() && !schemas.is_empty() {
            return Err(Target::Blocked { expected: "an array", found: types_text(schemas) });
        }
        let mut found = Vec::new();
        for schema in arrays {
            let items = schema.get("items").map(|items| self.alternatives(items));
            match items {
                Some(items) if !items.is_empty() && schema.get("prefixItems").is_none() => {
                    found.extend(items)
                }
                Some(_) | None => return Err(Target::Unknown),
            }
        }
        if found.is_empty() { Err(Target::Unknown) } else { Ok(found) }
    }
}

fn facts<'s>(schemas: &[&'s Object<'s>], required: bool) -> Facts<'s> {
    let types: Vec<Vec<&str>> = schemas.iter().map(|schema| types(schema)).collect();
    let any = types.iter().any(Vec::is_empty);
    let values: Option<Vec<Vec<&Value<'_>>>> =
        schemas.iter().map(|schema| values(schema)).collect();
    let mut facts = Facts {
        types: if any { Vec::new() } else { types.into_iter().flatten().collect() },
        values: values.map(|values| values.into_iter().flatten().collect()),
        required,
        ..Facts::default()
    };
    if let [schema] = schemas {
        let number = |key| match schema.get(key) {
            Some(Value::Number(text)) => Decimal::parse(text),
            _ => None,
        };
        facts.least = number("minimum");
        facts.most = number("maximum");
        facts.default = schema.get("default").filter(|value| **value != Value::Null);
    }
    facts
}

fn values<'s>(schema: &'s Object<'s>) -> Option<Vec<&'s Value<'s>>> {
    match (schema.get("const"), schema.get("enum")) {
        (Some(value), _) => Some(vec![value]),
        (None, Some(Value::Array(items))) => Some(items.iter().collect()),
        (None, _) => None,
    }
}

/// The types that a schema names, `null` aside; empty where it names none.
fn types<'s>(schema: &'s Object<'s>) -> Vec<&'s str> {
    let names: Vec<&str> = match schema.get("type") {
        Some(Value::String(name)) => vec![name],
        Some(Value::Array(names)) => names.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    };
    names.into_iter().filter(|name| *name != "null").collect()
}

fn types_text(schemas: &[&Object<'_>]) -> String {
    let mut names: Vec<&str> = schemas.iter().flat_map(|schema| types(schema)).collect();
    names.dedup();
    names.join(" or ")
}

fn may_be(schema: &Object<'_>, name: &str) -> bool {
    let types = types(schema);
    types.is_empty() || types.contains(&name)
}

fn requires(schema: &Object<'_>, key: &str) -> bool {
    let Some(Value::Array(names)) = schema.get("required") else { return false };
    names.iter().any(|name| name.as_str() == Some(key))
}

/// Whether a schema says that members beyond its `properties` are welcome. One that names none says nothing.
fn is_open(schema: &Object<'_>) -> bool {
    let named = schema.get("properties").and_then(Value::as_object);
    let more = schema.get("additionalProperties");
    schema.get("patternProperties").is_some()
        || match more {
            Some(Value::Bool(false)) => false,
            Some(_) => true,
            None => named.is_none(),
        }
}

fn is_null(schema: &Value<'_>) -> bool {
    schema.as_object().and_then(|schema| schema.get("type")?.as_str()) == Some("null")
}

/// The value at a JSON Pointer.
fn resolve<'s>(root: &'s Value<'s>, pointer: &str) -> Option<&'s Value<'s>> {
    pointer.split('/').skip(1).try_fold(root, |value, token| {
        let key = unescaped(token);
        match value {
            Value::Object(object) => object.get(&key),
            Value::Array(items) => items.get(key.parse::<usize>().ok()?),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => None,
        }
    })
}
