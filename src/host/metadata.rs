//! Envoy's dynamic metadata, `envoy.config.core.v3.Metadata` in protobuf's wire format: the only form in which Envoy tells a
//! number from a text of eight bytes.

use std::borrow::Cow;

use crate::bounds::MAX_DEPTH;
use crate::json::{Member, Object, Value};
use crate::proto::{Content, fields};
use crate::world::double;

/// The metadata of one filter: `google.protobuf.Struct` as JSON. `None` where there is none, or the bytes are not what they should be.
pub(super) fn of_filter(metadata: &[u8], filter: &str) -> Option<Value<'static>> {
    // Metadata { map<string, Struct> filter_metadata = 1; }
    let entries = fields(metadata)?.into_iter().filter(|field| field.number == 1);
    for entry in entries {
        let (key, value) = map_entry(entry.bytes()?)?;
        if key == filter {
            return structure(value, MAX_DEPTH);
        }
    }
    None
}

/// `key = 1`, `value = 2`.
fn map_entry(bytes: &[u8]) -> Option<(&str, &[u8])> {
    let (mut key, mut value): (&[u8], &[u8]) = (b"", b"");
    for field in fields(bytes)? {
        match field.number {
            1 => key = field.bytes()?,
            2 => value = field.bytes()?,
            _ => {}
        }
    }
    Some((std::str::from_utf8(key).ok()?, value))
}

/// `Struct { map<string, Value> fields = 1; }`
fn structure(bytes: &[u8], depth: usize) -> Option<Value<'static>> {
    let mut members = Vec::new();
    for field in fields(bytes)?.into_iter().filter(|field| field.number == 1) {
        let (key, value) = map_entry(field.bytes()?)?;
        let value = self::value(value, depth)?;
        members.push(Member { key: Cow::Owned(key.to_owned()), raw: "", value });
    }
    Some(Value::Object(Object(members)))
}

/// `Value { oneof kind { null = 1; double number = 2; string = 3; bool = 4; Struct = 5; ListValue = 6; } }`
fn value(bytes: &[u8], depth: usize) -> Option<Value<'static>> {
    let depth = depth.checked_sub(1)?;
    let mut found = Value::Null;
    for field in fields(bytes)? {
        found = match (field.number, field.content) {
            (2, Content::Fixed64(bits)) => double(f64::from_bits(bits)),
            (3, Content::Bytes(text)) => {
                Value::String(Cow::Owned(std::str::from_utf8(text).ok()?.to_owned()))
            }
            (4, Content::Varint(flag)) => Value::Bool(flag != 0),
            (5, Content::Bytes(inner)) => structure(inner, depth)?,
            (6, Content::Bytes(inner)) => {
                let items = fields(inner)?.into_iter().filter(|field| field.number == 1);
                let items = items.map(|field| value(field.bytes()?, depth));
                Value::Array(items.collect::<Option<_>>()?)
            }
            _ => Value::Null,
        };
    }
    Some(found)
}

#[cfg(test)]
mod tests {
    use super::of_filter;

    fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
        let mut out = vec![number << 3 | 2, u8::try_from(bytes.len()).unwrap()];
        out.extend_from_slice(bytes);
        out
    }

    fn entry(key: &str, value: &[u8]) -> Vec<u8> {
        field(1, &[field(1, key.as_bytes()), field(2, value)].concat())
    }

    #[test]
    fn reads_what_envoy_writes_and_nothing_else() {
        let text = |text: &str| field(3, text.as_bytes());
        let number = |number: f64| [vec![0x11], number.to_le_bytes().to_vec()].concat();
        let list = field(6, &[field(1, &text("a")), field(1, &number(2.0))].concat());
        let payload = [
            entry("sub", &text("alice")),
            entry("id", &number(1_234_567.0)),
            entry("ok", &[0x20, 1]),
            entry("groups", &list),
            entry("act", &field(5, &entry("sub", &text("agent")))),
        ];
        let metadata = entry("jwt", &entry("payload", &field(5, &payload.concat())));
        let found = format!("{:?}", of_filter(&metadata, "jwt").unwrap());
        for part in ["\"alice\"", "Number(\"1234567\")", "Bool(true)", "Number(\"2\")", "\"agent\""]
        {
            assert!(found.contains(part), "{part} in {found}");
        }
        assert!(of_filter(&metadata, "other").is_none());
        for cut in 1..metadata.len() {
            let _ = of_filter(metadata.get(..cut).unwrap(), "jwt");
        }
        for byte in 0..metadata.len() {
            let mut broken = metadata.clone();
            *broken.get_mut(byte).unwrap() ^= 0x5a;
            let _ = of_filter(&broken, "jwt");
        }
    }
}
