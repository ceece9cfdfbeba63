//! A value of a document together with its place. Keys are read as protobuf's JSON has them: `http_filters` and `httpFilters` are one.

use mcp_policy::json::Value;
use mcp_policy::json::pointer::escaped;

/// A value, and where it stands.
#[derive(Clone, Debug)]
pub(super) struct Found<'v> {
    /// Which of the documents.
    pub(super) document: usize,
    pub(super) value: &'v Value<'v>,
    /// Its JSON Pointer.
    pub(super) pointer: String,
}

impl<'v> Found<'v> {
    /// A whole document.
    pub(super) fn root(document: usize, value: &'v Value<'v>) -> Found<'v> {
        Found { document, value, pointer: String::new() }
    }

    /// A member of an object.
    pub(super) fn at(&self, key: &str) -> Option<Found<'v>> {
        let object = self.value.as_object()?;
        let camel = camel(key);
        let (key, value) = match object.get(key) {
            Some(value) => (key, value),
            None => (&*camel, object.get(&camel)?),
        };
        Some(self.within(&escaped(key), value))
    }

    /// A member of a member.
    pub(super) fn path(&self, keys: &[&str]) -> Option<Found<'v>> {
        keys.iter().try_fold(self.clone(), |found, key| found.at(key))
    }

    /// The members of a list, or the values of an object; nothing of anything else.
    pub(super) fn children(&self) -> Vec<Found<'v>> {
        match self.value {
            Value::Array(items) => {
                let items = items.iter().enumerate();
                items.map(|(at, item)| self.within(&at.to_string(), item)).collect()
            }
            Value::Object(object) => {
                let members = object.0.iter();
                members.map(|member| self.within(&escaped(&member.key), &member.value)).collect()
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Vec::new(),
        }
    }

    /// This value and every one in it, this one first, with the values that it stands in, the nearest last.
    pub(super) fn visit(
        &self,
        above: &mut Vec<Found<'v>>,
        see: &mut impl FnMut(&Found<'v>, &[Found<'v>]),
    ) {
        see(self, above);
        above.push(self.clone());
        for child in self.children() {
            child.visit(above, see);
        }
        above.pop();
    }

    pub(super) fn text(&self, key: &str) -> Option<&'v str> {
        self.at(key)?.value.as_str()
    }

    /// A number, as it is written, quoted or not.
    pub(super) fn number(&self, key: &str) -> Option<u64> {
        match self.at(key)?.value {
            Value::Number(text) | Value::String(text) => text.parse().ok(),
            Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
        }
    }

    /// Whether a member is there, and true.
    pub(super) fn is_set(&self, key: &str) -> bool {
        self.at(key).is_some_and(|found| *found.value == Value::Bool(true))
    }

    /// Whether its `@type` is this message.
    pub(super) fn is_a(&self, message: &str) -> bool {
        let kind = self.value.as_object().and_then(|object| object.get("@type")?.as_str());
        kind.is_some_and(|kind| {
            kind.strip_suffix(message).is_some_and(|before| before.ends_with(['.', '/']))
        })
    }

    /// Whether its `typed_config` is this message.
    pub(super) fn is_configured_as(&self, message: &str) -> bool {
        self.at("typed_config").is_some_and(|typed| typed.is_a(message))
    }

    /// Whether it stands in another value, or is that one.
    pub(super) fn is_within(&self, other: &Found<'_>) -> bool {
        let rest = self.pointer.strip_prefix(&other.pointer);
        self.document == other.document
            && rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }

    /// Whether it is the field of this name.
    pub(super) fn is_field(&self, name: &str) -> bool {
        let key = self.key();
        key == name || key == camel(name)
    }

    /// The last part of its pointer.
    pub(super) fn key(&self) -> String {
        mcp_policy::json::pointer::last_key(&self.pointer)
    }

    fn within(&self, token: &str, value: &'v Value<'v>) -> Found<'v> {
        Found { document: self.document, value, pointer: format!("{}/{token}", self.pointer) }
    }
}

/// The name of a field in protobuf's JSON.
fn camel(key: &str) -> String {
    let mut words = key.split('_');
    let mut camel = words.next().unwrap_or_default().to_owned();
    for word in words {
        let mut letters = word.chars();
        camel.extend(letters.next().map(|letter| letter.to_ascii_uppercase()));
        camel.push_str(letters.as_str());
    }
    camel
}
