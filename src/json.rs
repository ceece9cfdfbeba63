//! The one JSON parser of the product: strict RFC 8259 over UTF-8, bounded, with every number as it was written.
//!
//! Policies, requests and what is looked at of responses are all read here, so no two parts of the product can
//! disagree about the same bytes. Values borrow from the text; only strings with escapes are copied.
//! Not here: what a message or a policy means.

use std::borrow::Cow;

use crate::bounds::{
    BODY_BYTES_PER_VALUE, LIST_BYTES_PER_VALUE, MAX_BODY_BYTES, MAX_BODY_DEPTH, MAX_DEPTH,
    MAX_VALUES,
};

mod canonical;
pub mod lenient;
mod parser;
pub mod pointer;
mod run;
mod write;

pub use canonical::{Canonical, canonical, canonical_members};
pub use run::string_run;
pub use write::written;

/// A JSON value.
#[derive(Clone, Debug, PartialEq)]
pub enum Value<'a> {
    /// `null`
    Null,
    /// `true` or `false`
    Bool(bool),
    /// A number, as it was written.
    Number(Cow<'a, str>),
    /// A string, decoded.
    String(Cow<'a, str>),
    /// An array.
    Array(Vec<Value<'a>>),
    /// An object, its members in the order of the text.
    Object(Object<'a>),
}

/// The members of a JSON object, in the order of the text.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Object<'a>(pub Vec<Member<'a>>);

/// One member of an object.
#[derive(Clone, Debug, PartialEq)]
pub struct Member<'a> {
    /// The key, decoded.
    pub key: Cow<'a, str>,
    /// The value's own bytes in the text; empty where the value was not read from JSON text.
    pub raw: &'a str,
    /// The value.
    pub value: Value<'a>,
}

/// What becomes of a key that an object has twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Duplicates {
    /// The text is refused.
    Refuse,
    /// Both members are kept, for a reader that reports them with their place.
    Keep,
}

/// Why a text is not JSON that we read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FaultKind {
    /// Not exactly one JSON value.
    Syntax,
    /// Deeper than its [`Bounds`].
    Depth,
    /// More values than its [`Bounds`] allow.
    Size,
    /// One key twice in an object.
    Duplicate,
}

impl FaultKind {
    /// What is wrong, for a person.
    #[must_use]
    pub fn describe(self) -> &'static str {
        match self {
            FaultKind::Syntax => "syntax error",
            FaultKind::Depth => "nested too deeply",
            FaultKind::Size => "too many values",
            FaultKind::Duplicate => "duplicate key in an object",
        }
    }
}

/// A refusal to read a text, and the byte where it was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    /// What is wrong.
    pub kind: FaultKind,
    /// Offset in bytes.
    pub at: usize,
}

/// How large a text may be that is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// The most levels.
    pub depth: usize,
    /// The most values.
    pub values: usize,
}

impl Bounds {
    /// What holds for policies and other documents that people write.
    pub const DOCUMENT: Bounds = Bounds { depth: MAX_DEPTH, values: MAX_VALUES };

    /// What holds for the body of a request whose settings allow so many bytes and levels.
    #[must_use]
    pub fn of_body(max_bytes: usize, depth: usize) -> Bounds {
        Bounds { depth, values: (max_bytes / BODY_BYTES_PER_VALUE).max(MAX_VALUES) }
    }

    /// What any settings allow of a request.
    #[must_use]
    pub fn of_any_body() -> Bounds {
        Bounds::of_body(MAX_BODY_BYTES, MAX_BODY_DEPTH)
    }

    /// What holds for a list of so many bytes.
    #[must_use]
    pub fn of_list(bytes: usize) -> Bounds {
        let values = (bytes / LIST_BYTES_PER_VALUE).max(MAX_VALUES);
        Bounds { depth: MAX_BODY_DEPTH, values }
    }
}

/// Reads exactly one JSON value of a document.
///
/// # Errors
/// A [`Fault`] where the text is not one value, is deeper or larger than [`Bounds::DOCUMENT`], or has a duplicate key.
pub fn parse(text: &str, duplicates: Duplicates) -> Result<Value<'_>, Fault> {
    parse_within(text, duplicates, Bounds::DOCUMENT)
}

/// The same of a text with bounds of its own.
///
/// # Errors
/// As [`parse`].
pub fn parse_within(
    text: &str,
    duplicates: Duplicates,
    bounds: Bounds,
) -> Result<Value<'_>, Fault> {
    parser::Parser::new(text, duplicates, bounds).document()
}

/// Reads the items of an array, each with its own bytes in the text.
///
/// # Errors
/// As [`parse`]; and a syntax fault where the text is no array.
pub fn parse_items(text: &str, bounds: Bounds) -> Result<Vec<Item<'_>>, Fault> {
    parser::Parser::new(text, Duplicates::Refuse, bounds).items()
}

/// One item of an array.
#[derive(Clone, Debug, PartialEq)]
pub struct Item<'a> {
    /// The value's own bytes in the text.
    pub raw: &'a str,
    /// The value.
    pub value: Value<'a>,
}

impl<'a> Value<'a> {
    /// The members, if this is an object.
    #[must_use]
    pub fn as_object(&self) -> Option<&Object<'a>> {
        if let Value::Object(object) = self { Some(object) } else { None }
    }

    /// The elements, if this is an array.
    #[must_use]
    pub fn as_array(&self) -> Option<&[Value<'a>]> {
        if let Value::Array(items) = self { Some(items) } else { None }
    }

    /// The text, if this is a string.
    #[must_use]
    pub fn as_str(&self) -> Option<&str> {
        if let Value::String(text) = self { Some(text) } else { None }
    }

    /// The name of the value's type, as error messages say it.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Value::Null => "null",
            Value::Bool(_) => "a boolean",
            Value::Number(_) => "a number",
            Value::String(_) => "a string",
            Value::Array(_) => "an array",
            Value::Object(_) => "an object",
        }
    }
}

impl<'a> Object<'a> {
    /// The first member of this key.
    #[must_use]
    pub fn member(&self, key: &str) -> Option<&Member<'a>> {
        self.0.iter().find(|member| member.key == key)
    }

    /// The value of the first member of this key.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Value<'a>> {
        self.member(key).map(|member| &member.value)
    }

    /// Whether any key is there twice.
    #[must_use]
    pub fn has_duplicate(&self) -> bool {
        let members = &self.0;
        // Small objects are compared pairwise; large ones are sorted, so that no body costs quadratic time.
        if members.len() <= 16 {
            return members.iter().enumerate().any(|(index, member)| {
                members.iter().take(index).any(|earlier| earlier.key == member.key)
            });
        }
        let mut keys: Vec<&str> = members.iter().map(|member| &*member.key).collect();
        keys.sort_unstable();
        keys.windows(2).any(|pair| pair.first() == pair.last())
    }
}

#[cfg(test)]
mod tests;
