//! Operators in words, as JSON Schema, and as policies write their values. For authors only.

use super::{Takes, Test};
use crate::json::written;
use crate::matcher::scalar::Scalar;

impl Takes {
    /// The value in the policy, in words.
    #[must_use]
    pub fn value(self) -> &'static str {
        match self {
            Takes::Equal | Takes::Contained => "string, number, boolean",
            Takes::OneOf => "list of strings, numbers, booleans",
            Takes::Number(_) => "number",
            Takes::Regex => "[RE2](README.md#regular-expressions)",
            Takes::Glob => "pattern",
            Takes::Text(_) => "string",
            Takes::Length(_) | Takes::Count(_) => "whole number",
            Takes::Hosts => "list of [hosts](README.md#hosts-networks-and-folders)",
            Takes::Ranges => "list of [networks](README.md#hosts-networks-and-folders)",
            Takes::Folder => "[absolute path](README.md#hosts-networks-and-folders)",
            Takes::Schedule => "[hours](#hours)",
            Takes::Time(_) => "[time](README.md#times), or `now`",
            Takes::Presence => "boolean",
        }
    }

    /// The argument that it can be compared with, in words.
    #[must_use]
    pub fn argument(self) -> &'static str {
        match self {
            Takes::Equal => "the same type",
            Takes::OneOf => "the same type as each member",
            Takes::Number(_) => "number",
            Takes::Regex | Takes::Glob | Takes::Text(_) => "string",
            Takes::Time(_) | Takes::Schedule => "string that is a time with its offset; `now`",
            Takes::Length(_) => "string or list",
            Takes::Count(_) => "any, at a path with `[*]`",
            Takes::Hosts => "string that is a URL all read alike",
            Takes::Ranges => "string that is a plain address",
            Takes::Folder => "string that is an absolute path all read alike",
            Takes::Contained => "string, if the value is one; list",
            Takes::Presence => "any; `null` counts as absent",
        }
    }

    /// The value in the policy, as JSON Schema.
    #[must_use]
    pub fn schema(self) -> &'static str {
        match self {
            Takes::Equal | Takes::Contained => r#"{"type":["string","number","boolean"]}"#,
            Takes::OneOf => r#"{"type":"array","minItems":1}"#,
            Takes::Number(_) => r#"{"type":"number"}"#,
            Takes::Regex | Takes::Glob | Takes::Text(_) => r#"{"type":"string"}"#,
            Takes::Time(_) => {
                r#"{"type":"string","pattern":"^(now|[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt][0-9]{2}:[0-9]{2}:[0-5][0-9]([.][0-9]+)?([Zz]|[+-][0-9]{2}:[0-9]{2}))$"}"#
            }
            Takes::Length(_) | Takes::Count(_) => {
                r#"{"type":"integer","minimum":0,"maximum":4294967295}"#
            }
            Takes::Hosts | Takes::Ranges => {
                r#"{"type":"array","minItems":1,"items":{"type":"string"}}"#
            }
            Takes::Folder => r#"{"type":"string","pattern":"^/"}"#,
            Takes::Schedule => r##"{"$ref":"#/$defs/hours"}"##,
            Takes::Presence => r#"{"type":"boolean"}"#,
        }
    }
}

impl Test {
    /// The types of a JSON Schema that it can decide on; empty where it takes any.
    #[must_use]
    pub fn types(&self) -> &'static [&'static str] {
        match self {
            Test::Equal(scalar) => scalar.types(),
            Test::OneOf(members) => members.scalars().first().map_or(&[][..], Scalar::types),
            Test::Number(..) => &["number", "integer"],
            Test::Regex(_) | Test::Glob(_) | Test::Text(..) | Test::Time(..) => &["string"],
            Test::Contains(Scalar::String(_)) => &["string", "array"],
            Test::Contains(Scalar::Bool(_) | Scalar::Number(_)) => &["array"],
            Test::Length(..) => &["string", "array"],
            Test::Hosts(_) | Test::Ranges(_) | Test::Below(_) => &["string"],
            Test::During(_) => &["string"],
            Test::Count(..) | Test::Field(_) | Test::Present => &[],
        }
    }

    /// The value that the policy gives it, as JSON; nothing where that is only whether to negate.
    #[must_use]
    pub fn value(&self) -> Option<String> {
        Some(match self {
            Test::Equal(scalar) | Test::Contains(scalar) => scalar.to_string(),
            Test::OneOf(members) => {
                let values: Vec<String> = members.scalars().iter().map(Scalar::to_string).collect();
                format!("[{}]", values.join(", "))
            }
            Test::Number(_, bound) => bound.to_string(),
            Test::Regex(regex) => written(regex.as_str()),
            Test::Glob(pattern) => written(&pattern.to_string()),
            Test::Text(_, piece) => written(piece),
            Test::Time(_, moment) => written(moment.text()),
            Test::Length(_, bound) | Test::Count(_, bound) => bound.to_string(),
            Test::Hosts(hosts) | Test::Ranges(hosts) => written(hosts.texts()),
            Test::Below(folder) => written(folder.text()),
            Test::During(schedule) => schedule.text().to_owned(),
            Test::Field(_) | Test::Present => return None,
        })
    }
}
