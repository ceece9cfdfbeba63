//! What a tool's inputSchema says of one argument: as much of JSON Schema as servers use, and no guess beyond it.

use crate::json::pointer::unescaped;
use crate::json::{Member, Object, Value};
use crate::matcher::path::PathStep;
use crate::number::Decimal;

/// Most subschemas that are looked at for one path: schemas can refer to themselves.
const MOST_SCHEMAS: usize = 256;

/// What a path leads to.
#[derive(Debug)]
pub(super) enum PathTarget<'s> {
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
    Values(ValueFacts<'s>),
}

/// What is known of the values at the end of a path. Where alternatives differ, what holds of all of them.
#[derive(Debug, Default)]
pub(super) struct ValueFacts<'s> {
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
pub(super) fn target<'s>(root: &'s Value<'s>, steps: &[PathStep]) -> PathTarget<'s> {
    let mut walk = Walk { root, left: MOST_SCHEMAS };
    let mut shapes = walk.shapes(root);
    let mut required = true;
    for step in steps {
        let inner = match step {
            PathStep::Key(key) => {
                required &= !shapes.is_empty() && shapes.iter().all(|shape| shape.requires(key));
                walk.members(&shapes, key)
            }
            PathStep::Index(_) | PathStep::Each => {
                required = false;
                walk.items(&shapes)
            }
        };
        shapes = match inner {
            Ok(inner) => inner,
            Err(target) => return target,
        };
    }
    if walk.left == 0 || shapes.is_empty() {
        return PathTarget::Unknown;
    }
    PathTarget::Values(facts(&shapes, required))
}

/// Schemas that hold together: one with what `$ref`, `allOf` and one alternative of `anyOf` and `oneOf` add to it
/// (JSON Schema 2020-12, section 10.2: they apply beside the keywords around them).
#[derive(Clone)]
struct Shape<'s>(Vec<&'s Object<'s>>);

struct Walk<'s> {
    root: &'s Value<'s>,
    left: usize,
}

impl<'s> Walk<'s> {
    /// The shapes that a value of this schema may have; none where the schema is not understood.
    fn shapes(&mut self, schema: &'s Value<'s>) -> Vec<Shape<'s>> {
        self.understood(schema).unwrap_or_default()
    }

    fn understood(&mut self, schema: &'s Value<'s>) -> Option<Vec<Shape<'s>>> {
        self.left = self.left.checked_sub(1)?;
        let object = schema.as_object()?;
        let mut shapes = vec![Shape(vec![object])];
        if let Some(reference) = object.get("$ref").and_then(Value::as_str) {
            let target = resolve(self.root, reference.strip_prefix('#')?)?;
            let target = self.understood(target)?;
            shapes = self.joined(&shapes, &target)?;
        }
        if let Some(Value::Array(parts)) = object.get("allOf") {
            for part in parts {
                let part = self.understood(part)?;
                shapes = self.joined(&shapes, &part)?;
            }
        }
        for word in ["anyOf", "oneOf"] {
            let Some(Value::Array(items)) = object.get(word) else { continue };
            let mut alternatives = Vec::new();
            for item in items.iter().filter(|item| !is_null(item)) {
                // An alternative that is not understood may be anything.
                alternatives.extend(self.understood(item)?);
            }
            shapes = self.joined(&shapes, &alternatives)?;
        }
        Some(shapes)
    }

    /// Every shape of the one with every shape of the other, but for those that no value has.
    fn joined(&mut self, left: &[Shape<'s>], right: &[Shape<'s>]) -> Option<Vec<Shape<'s>>> {
        self.left = self.left.checked_sub(left.len().checked_mul(right.len())?)?;
        let pairs = left.iter().flat_map(|one| right.iter().map(move |other| (one, other)));
        let joined = pairs.map(|(one, other)| Shape([&*one.0, &*other.0].concat()));
        Some(joined.filter(|shape| !shape.is_impossible()).collect())
    }

    /// The shapes of all of these schemas together.
    fn together(&mut self, schemas: &[&'s Value<'s>]) -> Vec<Shape<'s>> {
        let (first, rest) = match schemas.split_first() {
            Some((first, rest)) => (self.shapes(first), rest),
            None => return Vec::new(),
        };
        rest.iter().fold(first, |shapes, schema| {
            let more = self.shapes(schema);
            self.joined(&shapes, &more).unwrap_or_default()
        })
    }

    fn members(
        &mut self,
        shapes: &[Shape<'s>],
        key: &str,
    ) -> Result<Vec<Shape<'s>>, PathTarget<'s>> {
        let objects: Vec<&Shape<'_>> =
            shapes.iter().filter(|shape| shape.may_be("object")).collect();
        if objects.is_empty() && !shapes.is_empty() {
            return Err(PathTarget::Blocked { expected: "an object", found: types_text(shapes) });
        }
        let mut found = Vec::new();
        let mut known = Vec::new();
        for shape in objects {
            let named = shape.properties();
            known.extend(named.iter().map(|member| &*member.key));
            let members: Vec<&Value<'_>> = named
                .iter()
                .filter(|member| member.key == key)
                .map(|member| &member.value)
                .collect();
            if members.is_empty() && !shape.is_open() {
                continue;
            }
            let inner = self.together(&members);
            if inner.is_empty() {
                return Err(PathTarget::Unknown);
            }
            found.extend(inner);
        }
        known.sort_unstable();
        known.dedup();
        match (found.is_empty(), shapes.is_empty()) {
            (_, true) => Err(PathTarget::Unknown),
            (true, false) => Err(PathTarget::Missing { key: key.to_owned(), known }),
            (false, false) => Ok(found),
        }
    }

    fn items(&mut self, shapes: &[Shape<'s>]) -> Result<Vec<Shape<'s>>, PathTarget<'s>> {
        let arrays: Vec<&Shape<'_>> = shapes.iter().filter(|shape| shape.may_be("array")).collect();
        if arrays.is_empty() && !shapes.is_empty() {
            return Err(PathTarget::Blocked { expected: "an array", found: types_text(shapes) });
        }
        let mut found = Vec::new();
        for shape in arrays {
            let items: Vec<&Value<'_>> = shape.all("items").collect();
            let inner = self.together(&items);
            if inner.is_empty() || shape.all("prefixItems").next().is_some() {
                return Err(PathTarget::Unknown);
            }
            found.extend(inner);
        }
        if found.is_empty() { Err(PathTarget::Unknown) } else { Ok(found) }
    }
}

impl<'s> Shape<'s> {
    /// What its schemas say under a keyword.
    fn all(&self, keyword: &'static str) -> impl Iterator<Item = &'s Value<'s>> {
        self.0.iter().filter_map(move |schema| schema.get(keyword))
    }

    fn properties(&self) -> Vec<&'s Member<'s>> {
        let named = self.all("properties").filter_map(Value::as_object);
        named.flat_map(|object| &object.0).collect()
    }

    /// The types that all of its schemas allow; empty where none of them names one. `null` is left out.
    fn types(&self) -> Vec<&'s str> {
        let named = self.0.iter().map(|schema| types(schema)).filter(|types| !types.is_empty());
        named.reduce(|left, right| common(&left, &right)).unwrap_or_default()
    }

    /// Whether its schemas name types that no value has at once.
    fn is_impossible(&self) -> bool {
        self.types().is_empty() && self.0.iter().any(|schema| !types(schema).is_empty())
    }

    fn may_be(&self, name: &str) -> bool {
        let types = self.types();
        types.is_empty() || types.contains(&name)
    }

    fn requires(&self, key: &str) -> bool {
        self.0.iter().any(|schema| requires(schema, key))
    }

    /// Whether members beyond its `properties` are welcome. A shape that names none says nothing.
    fn is_open(&self) -> bool {
        let closed = self.all("additionalProperties").any(|more| *more == Value::Bool(false));
        let opened = self.all("patternProperties").chain(self.all("additionalProperties"));
        !closed && (opened.count() > 0 || self.all("properties").next().is_none())
    }

    fn values(&self) -> Option<Vec<&'s Value<'s>>> {
        let listed = self.0.iter().filter_map(|schema| values(schema));
        listed
            .reduce(|left, right| left.into_iter().filter(|value| right.contains(value)).collect())
    }
}

fn facts<'s>(shapes: &[Shape<'s>], required: bool) -> ValueFacts<'s> {
    let types: Vec<Vec<&str>> = shapes.iter().map(Shape::types).collect();
    let any = types.iter().any(Vec::is_empty);
    let mut named = types.concat();
    named.sort_unstable();
    named.dedup();
    let values: Option<Vec<Vec<&Value<'_>>>> = shapes.iter().map(Shape::values).collect();
    let mut facts = ValueFacts {
        types: if any { Vec::new() } else { named },
        values: values.map(|values| values.into_iter().flatten().collect()),
        required,
        ..ValueFacts::default()
    };
    if let [shape] = shapes {
        let numbers = |key| {
            shape.all(key).filter_map(|value| match value {
                Value::Number(text) => Decimal::parse(text),
                Value::Null | Value::Bool(_) | Value::String(_) | Value::Array(_) => None,
                Value::Object(_) => None,
            })
        };
        facts.least =
            numbers("minimum").reduce(|left, right| if left < right { right } else { left });
        facts.most =
            numbers("maximum").reduce(|left, right| if right < left { right } else { left });
        facts.default = shape.all("default").find(|value| **value != Value::Null);
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

/// The types in both lists; every integer is a number.
fn common<'s>(left: &[&'s str], right: &[&'s str]) -> Vec<&'s str> {
    let allows = |types: &[&str], name: &str| {
        types.contains(&name) || (name == "integer" && types.contains(&"number"))
    };
    let mut both: Vec<&str> = left.iter().copied().filter(|name| allows(right, name)).collect();
    both.extend(right.iter().copied().filter(|name| !left.contains(name) && allows(left, name)));
    both
}

fn types_text(shapes: &[Shape<'_>]) -> String {
    let mut names: Vec<&str> = shapes.iter().flat_map(Shape::types).collect();
    names.dedup();
    names.join(" or ")
}

fn requires(schema: &Object<'_>, key: &str) -> bool {
    let Some(Value::Array(names)) = schema.get("required") else { return false };
    names.iter().any(|name| name.as_str() == Some(key))
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
