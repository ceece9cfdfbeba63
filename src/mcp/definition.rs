//! The definition of a tool, and its digest: by it a policy says which definition somebody has read.
//!
//! The digest is of the meaning. White space, escapes, the order of keys and the spelling of numbers make no difference; every
//! character of every text does.

use base64ct::{Base64UrlUnpadded, Encoding as _};
use sha2::{Digest as _, Sha256};

use crate::digest::named_digest;
use crate::json::{Object, Value, canonical_members};
use crate::matcher::fold::confusable;

/// The members that are a tool's definition: what agents and their models go by. One that is `null` is as one that is not there.
pub const DEFINING: [&str; 6] =
    ["name", "title", "description", "inputSchema", "outputSchema", "annotations"];

/// The digest of a definition: SHA-256 of the canonical text (RFC 8785) of an object of its members.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DefinitionDigest(pub [u8; 32]);

impl DefinitionDigest {
    /// The digest of a tool as a list has it. `None` where readers could take it for different definitions: a key resembles one of its
    /// members, or stands twice, or a number has more digits than all readers keep apart.
    ///
    /// ```
    /// use mcp_policy::json::{Duplicates, parse};
    /// use mcp_policy::mcp::definition::DefinitionDigest;
    ///
    /// let digest = |text| DefinitionDigest::of(parse(text, Duplicates::Keep).unwrap().as_object().unwrap());
    /// let one = digest(r#"{"name":"a","inputSchema":{"maximum":1,"type":"object"}}"#);
    /// assert_eq!(digest(r#"{"inputSchema":{"type":"object","maximum":1.0},"name":"\u0061","_meta":{}}"#), one);
    /// assert_ne!(digest(r#"{"name":"a","inputSchema":{"maximum":2,"type":"object"}}"#), one);
    /// assert_eq!(digest(r#"{"name":"a","Name":"b"}"#), None);
    /// ```
    #[must_use]
    pub fn of(tool: &Object<'_>) -> Option<DefinitionDigest> {
        Some(DefinitionDigest(Sha256::digest(definition(tool)?).into()))
    }

    /// Reads a digest as a policy names it: `sha-256:…`, in the one spelling that there is.
    #[must_use]
    pub fn read(text: &str) -> Option<DefinitionDigest> {
        let bytes = Base64UrlUnpadded::decode_vec(text.strip_prefix("sha-256:")?).ok()?;
        let digest = DefinitionDigest(bytes.try_into().ok()?);
        (digest.named() == text).then_some(digest)
    }

    /// The digest as a policy names it.
    #[must_use]
    pub fn named(&self) -> String {
        named_digest(&self.0)
    }
}

/// The canonical text of a tool's definition; `None` where it could be read in two ways.
#[must_use]
#[inline(never)]
pub fn definition(tool: &Object<'_>) -> Option<String> {
    let doubtful = |key: &str| DEFINING.iter().any(|known| confusable(key, known));
    if tool.0.iter().any(|member| doubtful(&member.key)) {
        return None;
    }
    let members = tool.0.iter().filter(|member| DEFINING.contains(&&*member.key));
    if tool.has_duplicate() || members.clone().any(|member| repeats(&member.value)) {
        return None;
    }
    let exact = canonical_members(members.filter(|member| member.value != Value::Null));
    exact.is_exact.then_some(exact.text)
}

/// Whether a key stands twice, at any depth that a parser lets through.
fn repeats(value: &Value<'_>) -> bool {
    match value {
        Value::Object(object) => {
            object.has_duplicate() || object.0.iter().any(|member| repeats(&member.value))
        }
        Value::Array(items) => items.iter().any(repeats),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::{DefinitionDigest, definition};
    use crate::json::{Duplicates, parse};

    fn digest(text: &str) -> Option<String> {
        let value = parse(text, Duplicates::Keep).unwrap();
        DefinitionDigest::of(value.as_object().unwrap()).map(|digest| digest.named())
    }

    const TOOL: &str = r#"{"name":"get","title":"Get","description":"Gets é.","inputSchema":{"type":"object","properties":{"n":{"maximum":100}}},"annotations":{"readOnlyHint":true}}"#;

    #[test]
    fn the_digest_is_of_the_meaning() {
        for same in [
            r#" { "annotations" : {"readOnlyHint":true}, "inputSchema":{"properties":{"n":{"maximum":1e2}},"type":"object"}, "description":"Gets \u00e9.", "title":"Get","name":"get" } "#,
            r#"{"name":"get","title":"Get","description":"Gets é.","inputSchema":{"type":"object","properties":{"n":{"maximum":100.0}}},"outputSchema":null,"annotations":{"readOnlyHint":true},"_meta":{"a":1},"icons":[],"execution":{}}"#,
        ] {
            assert_eq!(digest(same), digest(TOOL), "{same}");
        }
        for (from, to) in [
            ("\"get\"", "\"Get\""),
            ("\"Get\"", "\"get\""),
            ("Gets", "gets"),
            ("é", "e\\u0301"),
            ("Gets", "\u{200b}Gets"),
            ("100", "101"),
            ("\"n\"", "\"N\""),
            ("\"object\"", "[\"object\"]"),
            ("true", "\"true\""),
            ("\"annotations\":{\"readOnlyHint\":true}", "\"outputSchema\":{}"),
        ] {
            let other = TOOL.replacen(from, to, 1);
            assert_ne!(other, TOOL, "{from}");
            assert!(digest(&other).is_some_and(|other| Some(other) != digest(TOOL)), "{other}");
        }
    }

    #[test]
    fn what_could_be_read_in_two_ways_has_no_digest() {
        for text in [
            r#"{"name":"a","Description":"x"}"#,
            r#"{"name":"a","descr\u200biption":"x"}"#,
            r#"{"name":"a","name":"b"}"#,
            r#"{"name":"a","x":1,"x":2}"#,
            r#"{"name":"a","inputSchema":{"a":1,"a":1}}"#,
            r#"{"name":"a","inputSchema":{"maximum":9007199254740993}}"#,
            r#"{"name":"a","inputSchema":{"maximum":0.1234567890123456789}}"#,
            r#"{"name":"a","inputSchema":{"maximum":1e999}}"#,
        ] {
            assert_eq!(digest(text), None, "{text}");
        }
    }

    /// Somebody else's JCS, and `sha256sum`, come to the same.
    #[test]
    fn a_digest_that_anybody_can_make() {
        let value = parse(TOOL, Duplicates::Keep).unwrap();
        assert_eq!(
            definition(value.as_object().unwrap()).unwrap(),
            r#"{"annotations":{"readOnlyHint":true},"description":"Gets é.","inputSchema":{"properties":{"n":{"maximum":100}},"type":"object"},"name":"get","title":"Get"}"#
        );
        assert_eq!(digest(r#"{"name":"a"}"#).unwrap(), KNOWN);
        assert!(DefinitionDigest::read(KNOWN).is_some());
        for text in [
            "",
            "sha-256:",
            &KNOWN.replace("sha-256:", ""),
            &KNOWN.replace('0', ""),
            &KNOWN.to_uppercase(),
        ] {
            assert_eq!(DefinitionDigest::read(text), None, "{text}");
        }
    }

    const KNOWN: &str = "sha-256:2dcZsnSAtVzUkYAg50c-cW7TVpyK2v6SbPmxC0-O8GQ";
}
