//! Where a condition looks, and how a request is made that has something there.

use serde_json::{Map, Value};

/// One step of a path to an argument.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum FieldStep {
    Key(String),
    Index(usize),
    Each,
}

/// What a condition looks at.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum CallField {
    Argument(Vec<FieldStep>),
    Header(String),
    Identity(String),
    /// The time of the call.
    Now,
    /// The name of the tool.
    Name,
    /// A count: no request says it.
    Count,
}

/// Far more than any policy asks for, and few enough to write down.
const MOST_ELEMENTS: usize = 64;

impl CallField {
    /// Reads the path of a condition.
    pub(super) fn new(path: &str) -> CallField {
        match path {
            "now" => return CallField::Now,
            "tool" => return CallField::Name,
            _ => {}
        }
        if let Some(name) = path.strip_prefix("header.") {
            return CallField::Header(name.to_ascii_lowercase());
        }
        if let Some(key) = path.strip_prefix("identity.") {
            return CallField::Identity(key.to_owned());
        }
        match path.strip_prefix("args").and_then(steps) {
            Some(steps) => CallField::Argument(steps),
            None => CallField::Count,
        }
    }

    /// Whether it is an argument that is found by keys alone.
    pub(super) fn is_keys(&self) -> bool {
        matches!(self, CallField::Argument(steps) if steps.iter().all(|step| matches!(step, FieldStep::Key(_))))
    }

    /// An argument whose last key some servers take for this one's.
    pub(super) fn lookalike(&self) -> Option<CallField> {
        let CallField::Argument(steps) = self else { return None };
        let mut steps = steps.clone();
        let key = steps.iter_mut().rev().find_map(|step| match step {
            FieldStep::Key(key) => Some(key),
            FieldStep::Index(_) | FieldStep::Each => None,
        })?;
        key.push('_');
        Some(CallField::Argument(steps))
    }

    /// Whether what stands at one of them decides what stands at the other.
    pub(super) fn meets(&self, other: &CallField) -> bool {
        let (CallField::Argument(one), CallField::Argument(other)) = (self, other) else {
            return false;
        };
        one != other
            && one.iter().zip(other).all(|(one, other)| match (one, other) {
                (FieldStep::Key(one), FieldStep::Key(other)) => alike(one) == alike(other),
                (_, _) => true,
            })
    }
}

/// A key as readers that take no notice of case, `_` and `-` see it.
fn alike(key: &str) -> String {
    key.chars().filter(|letter| !matches!(letter, '_' | '-')).flat_map(char::to_lowercase).collect()
}

/// `.a["odd.key"][0][*]`
fn steps(path: &str) -> Option<Vec<FieldStep>> {
    let mut found = Vec::new();
    let mut rest = path;
    while !rest.is_empty() {
        if let Some(after) = rest.strip_prefix("[*]") {
            found.push(FieldStep::Each);
            rest = after;
        } else if rest.starts_with("[\"") {
            let quoted = rest.get(1..)?;
            let mut texts = serde_json::Deserializer::from_str(quoted).into_iter::<String>();
            found.push(FieldStep::Key(texts.next()?.ok()?));
            rest = quoted.get(texts.byte_offset()..)?.strip_prefix(']')?;
        } else if let Some(after) = rest.strip_prefix('[') {
            let (index, after) = after.split_once(']')?;
            found.push(FieldStep::Index(index.parse().ok()?));
            rest = after;
        } else {
            let after = rest.strip_prefix('.')?;
            let end = after.find(['.', '[']).unwrap_or(after.len());
            let (key, after) = after.split_at_checked(end)?;
            found.push(FieldStep::Key(key.to_owned()));
            rest = after;
        }
    }
    (!found.is_empty()).then_some(found)
}

/// What stands at a place.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum FieldValue {
    Absent,
    /// A value; with `[*]` one element.
    One(Value),
    /// Several elements.
    Many(Vec<Value>),
    /// A number after so many steps, where the way to the place needs an object.
    Blocked(usize),
}

/// Puts what stands at a path into arguments.
pub(super) fn put(arguments: &mut Value, steps: &[FieldStep], standing: &FieldValue) {
    match standing {
        FieldValue::Absent => {}
        FieldValue::One(value) => put_all(arguments, steps, std::slice::from_ref(value)),
        FieldValue::Many(values) => put_all(arguments, steps, values),
        FieldValue::Blocked(depth) => {
            if let Some(before) = steps.get(..*depth) {
                put_all(arguments, before, &[Value::from(1)]);
            }
        }
    }
}

fn put_all(at: &mut Value, steps: &[FieldStep], values: &[Value]) {
    let Some((first, rest)) = steps.split_first() else {
        if let Some(value) = values.first() {
            *at = value.clone();
        }
        return;
    };
    match first {
        FieldStep::Key(key) => {
            if !at.is_object() {
                *at = Value::Object(Map::new());
            }
            if let Some(members) = at.as_object_mut() {
                put_all(members.entry(key.clone()).or_insert(Value::Null), rest, values);
            }
        }
        FieldStep::Index(index) if *index < MOST_ELEMENTS => {
            if !at.is_array() {
                *at = Value::Array(Vec::new());
            }
            if let Some(items) = at.as_array_mut() {
                while items.len() <= *index {
                    items.push(Value::Null);
                }
                if let Some(item) = items.get_mut(*index) {
                    put_all(item, rest, values);
                }
            }
        }
        FieldStep::Index(_) => {}
        FieldStep::Each => {
            let items = values.iter().map(|value| {
                let mut item = Value::Null;
                put_all(&mut item, rest, std::slice::from_ref(value));
                item
            });
            *at = Value::Array(items.collect());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{CallField, FieldValue, put};
    use serde_json::json;

    #[test]
    fn what_is_put_somewhere_stands_there() {
        for (path, expected) in [
            ("args.a", json!({"a": 7})),
            ("args.a.b", json!({"a": {"b": 7}})),
            ("args[\"odd.key\"].b", json!({"odd.key": {"b": 7}})),
            ("args.a[1]", json!({"a": [null, 7]})),
            ("args.a[*].b", json!({"a": [{"b": 7}]})),
            ("args.a[\"]\"]", json!({"a": {"]": 7}})),
        ] {
            let CallField::Argument(steps) = CallField::new(path) else { panic!("{path}") };
            let mut arguments = json!({});
            put(&mut arguments, &steps, &FieldValue::One(json!(7)));
            assert_eq!(arguments, expected, "{path}");
        }
        assert_eq!(CallField::new("state.t.c"), CallField::Count);
        assert!(CallField::new("args.a").meets(&CallField::new("args.A.b")));
        assert!(!CallField::new("args.a").meets(&CallField::new("args.b")));
    }
}
