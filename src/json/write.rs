//! Writing JSON, by serde: the product's own reader is for what comes in.

use serde::ser::{Error as _, SerializeMap as _, SerializeSeq as _};
use serde::{Serialize, Serializer};
use serde_json::value::RawValue;

use super::{Object, Value};

/// Something as JSON text.
#[must_use]
pub fn written<T: Serialize + ?Sized>(value: &T) -> String {
    // Only maps whose keys are no text cannot be written, and the product has none.
    serde_json::to_string(value).unwrap_or_default()
}

/// A value as it was read: numbers with all their digits, and keys that are there twice.
impl Serialize for Value<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Value::Null => serializer.serialize_unit(),
            Value::Bool(flag) => serializer.serialize_bool(*flag),
            Value::Number(text) => {
                let number: &RawValue = serde_json::from_str(text).map_err(S::Error::custom)?;
                number.serialize(serializer)
            }
            Value::String(text) => serializer.serialize_str(text),
            Value::Array(items) => {
                let mut list = serializer.serialize_seq(Some(items.len()))?;
                for item in items {
                    list.serialize_element(item)?;
                }
                list.end()
            }
            Value::Object(Object(members)) => {
                let mut map = serializer.serialize_map(Some(members.len()))?;
                for member in members {
                    map.serialize_entry(&*member.key, &member.value)?;
                }
                map.end()
            }
        }
    }
}
