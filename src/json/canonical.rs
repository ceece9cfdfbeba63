//! The one text of a JSON value that stays the same however it was written: RFC 8785, JSON Canonicalization Scheme (JCS).
//!
//! What a person approves is bound to this text, so it may not depend on white space, escapes or the order of keys, and no two values
//! may share it.

use std::cmp::Ordering;
use std::fmt::Write as _;

use super::{Member, Object, Value};
use crate::number::Decimal;

/// The canonical text of a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Canonical {
    /// The text. A number that is not exact stands in it as it was written.
    pub text: String,
    /// Whether the text stands for this value alone. It does not where a number has more digits than a double keeps apart, or lies
    /// outside ±(2^53 - 1): RFC 8785 writes such numbers as their doubles, and several become one.
    pub is_exact: bool,
}

/// Writes a value canonically.
///
/// ```
/// use mcp_policy::json::{Duplicates, canonical, parse};
///
/// let value = parse(r#"{"b": 1.0, "a": "\u0061"}"#, Duplicates::Refuse).unwrap();
/// assert_eq!(canonical(&value).text, r#"{"a":"a","b":1}"#);
/// ```
#[must_use]
pub fn canonical(value: &Value<'_>) -> Canonical {
    let mut canonical = Canonical { text: String::new(), is_exact: true };
    canonical.value(value);
    canonical
}

/// Writes some members canonically, as an object of their own.
#[must_use]
pub fn canonical_members<'m, 'v: 'm>(members: impl Iterator<Item = &'m Member<'v>>) -> Canonical {
    let mut canonical = Canonical { text: String::new(), is_exact: true };
    canonical.members(members);
    canonical
}

impl Canonical {
    fn value(&mut self, value: &Value<'_>) {
        match value {
            Value::Null => self.text.push_str("null"),
            Value::Bool(true) => self.text.push_str("true"),
            Value::Bool(false) => self.text.push_str("false"),
            Value::Number(written) => self.number(written),
            Value::String(text) => self.string(text),
            Value::Array(items) => {
                self.text.push('[');
                for (at, item) in items.iter().enumerate() {
                    self.separate(at);
                    self.value(item);
                }
                self.text.push(']');
            }
            Value::Object(Object(members)) => self.members(members.iter()),
        }
    }

    /// Members in the order of their keys' UTF-16 code units (RFC 8785, section 3.2.3).
    fn members<'m, 'v: 'm>(&mut self, members: impl Iterator<Item = &'m Member<'v>>) {
        let mut sorted: Vec<_> = members.collect();
        sorted.sort_unstable_by(|one, other| utf16(&one.key, &other.key));
        self.text.push('{');
        for (at, member) in sorted.into_iter().enumerate() {
            self.separate(at);
            self.string(&member.key);
            self.text.push(':');
            self.value(&member.value);
        }
        self.text.push('}');
    }

    fn separate(&mut self, at: usize) {
        if at > 0 {
            self.text.push(',');
        }
    }

    /// Only what JSON cannot hold is escaped (RFC 8785, section 3.2.2.2).
    fn string(&mut self, text: &str) {
        self.text.push('"');
        for character in text.chars() {
            match character {
                '"' => self.text.push_str("\\\""),
                '\\' => self.text.push_str("\\\\"),
                '\u{8}' => self.text.push_str("\\b"),
                '\t' => self.text.push_str("\\t"),
                '\n' => self.text.push_str("\\n"),
                '\u{c}' => self.text.push_str("\\f"),
                '\r' => self.text.push_str("\\r"),
                control if control < ' ' => {
                    // A String takes all that is written to it.
                    let _ = write!(self.text, "\\u{:04x}", u32::from(control));
                }
                other => self.text.push(other),
            }
        }
        self.text.push('"');
    }

    fn number(&mut self, written: &str) {
        let exact = Decimal::parse(written).filter(|number| number.is_safe());
        match exact {
            Some(number) => self.text.push_str(&number.as_ecmascript()),
            None => {
                self.is_exact = false;
                self.text.push_str(written);
            }
        }
    }
}

/// The order of two texts by their UTF-16 code units. Never inlined: sorting would hold it a dozen times.
#[inline(never)]
fn utf16(one: &str, other: &str) -> Ordering {
    one.encode_utf16().cmp(other.encode_utf16())
}

#[cfg(test)]
mod tests {
    use super::canonical;
    use crate::json::{Duplicates, parse};

    fn of(text: &str) -> (String, bool) {
        let canonical = canonical(&parse(text, Duplicates::Refuse).unwrap());
        (canonical.text, canonical.is_exact)
    }

    #[test]
    fn vectors_of_rfc_8785() {
        // Section 3.2.2, without its number beyond 2^53; and 3.2.3.
        let input = r#"{"numbers": [4.50, 2e-3, 0.000000000000000000000000001], "string": "\u20ac$\u000F\u000aA'\u0042\u0022\u005c\\\"\/", "literals": [null, true, false]}"#;
        let expected = "{\"literals\":[null,true,false],\"numbers\":[4.5,0.002,1e-27],\"string\":\"€$\\u000f\\nA'B\\\"\\\\\\\\\\\"/\"}";
        assert_eq!(of(input), (expected.to_owned(), true));
        let input = "{\"\\u20ac\": \"Euro Sign\", \"\\r\": \"Carriage Return\", \"\\ufb33\": \"Hebrew Letter Dalet With Dagesh\", \"1\": \"One\", \"\\ud83d\\ude00\": \"Emoji: Grinning Face\", \"\\u0080\": \"Control\", \"\\u00f6\": \"Latin Small Letter O With Diaeresis\"}";
        let keys = ["\\r", "1", "\u{80}", "ö", "€", "😀", "\u{fb33}"];
        let (text, _) = of(input);
        let places: Vec<_> =
            keys.iter().map(|key| text.find(&format!("\"{key}\":")).unwrap()).collect();
        assert!(places.is_sorted(), "{text}");
    }

    #[test]
    fn only_what_stands_for_one_value_is_exact() {
        for (text, expected, exact) in [
            ("1.0", "1", true),
            ("-0.0", "0", true),
            ("1e2", "100", true),
            ("-12.50", "-12.5", true),
            ("1.5e15", "1500000000000000", true),
            ("0.000001", "0.000001", true),
            ("0.0000001", "1e-7", true),
            ("-123e-9", "-1.23e-7", true),
            ("0.00012", "0.00012", true),
            ("333333333.333333", "333333333.333333", true),
            ("9007199254740991", "9007199254740991", true),
            ("9007199254740992", "9007199254740992", false),
            ("9007199254740993", "9007199254740993", false),
            ("-9007199254740992", "-9007199254740992", false),
            ("1e400", "1e400", false),
            ("1e300", "1e300", false),
            ("0.1000000000000000055", "0.1000000000000000055", false),
            ("[1,{\"a\":9007199254740993}]", "[1,{\"a\":9007199254740993}]", false),
            ("{\"b\":{},\"a\":[]}", "{\"a\":[],\"b\":{}}", true),
            ("\"\u{2028}\u{7f}é\"", "\"\u{2028}\u{7f}é\"", true),
        ] {
            assert_eq!(of(text), (expected.to_owned(), exact), "{text}");
        }
    }
}
