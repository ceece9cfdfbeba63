//! What a request calls, reads or gets: a tool, a resource, a prompt, or just its method.

use std::borrow::Cow;

use super::uri::{canonical, relax};
use super::{Refusal, TOOLS_CALL};
use crate::bounds::MAX_CALLED_BYTES;
use crate::json::Value;
use crate::matcher::fold::unveiled;
use crate::matcher::normal::nfc;
use crate::reason::Reason;

/// The kinds of names that a policy has rules for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Tools, by name.
    Tool,
    /// Resources, by URI.
    Resource,
    /// Prompts, by name.
    Prompt,
    /// Methods of the protocol, by name.
    Method,
}

/// One name that a request is about, with what a rule can look at.
#[derive(Clone, Debug, PartialEq)]
pub struct Call<'v> {
    /// What is named.
    pub kind: Kind,
    /// The name as the request has it.
    pub name: &'v str,
    /// The name as a policy matches it; `None` where it could be read in two ways.
    pub exact: Option<Cow<'v, str>>,
    /// The same as some servers read it that are less exact, where that is another; see [`relax`] and [`unveiled`].
    pub relaxed: Option<Box<str>>,
    /// What `args` means in conditions: the arguments of a tool or prompt, else all parameters. Always an object.
    pub arguments: Option<&'v Value<'v>>,
}

/// The lists that are filtered: method, member of the result, the key by which an item is judged, and what it names.
pub const LISTS: [(&str, &str, &str, Kind); 4] = [
    ("tools/list", "tools", "name", Kind::Tool),
    ("resources/list", "resources", "uri", Kind::Resource),
    ("resources/templates/list", "resourceTemplates", "uriTemplate", Kind::Resource),
    ("prompts/list", "prompts", "name", Kind::Prompt),
];

/// The methods that are more to us than their name: a request whose method only resembles one of them could get round its rules.
pub(super) const SENSITIVE: [&str; 10] = [
    TOOLS_CALL,
    "tools/list",
    "resources/read",
    "resources/subscribe",
    "resources/list",
    "resources/templates/list",
    "prompts/get",
    "prompts/list",
    "completion/complete",
    "subscriptions/listen",
];

impl Kind {
    /// The word in `error.data`, in the filter state and in sentences.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Kind::Tool => "tool",
            Kind::Resource => "resource",
            Kind::Prompt => "prompt",
            Kind::Method => "method",
        }
    }
}

impl<'v> Call<'v> {
    /// A name of this kind.
    #[must_use]
    pub fn new(kind: Kind, name: &'v str, arguments: Option<&'v Value<'v>>) -> Call<'v> {
        let exact = match kind {
            Kind::Resource => canonical(name),
            Kind::Prompt | Kind::Method | Kind::Tool => {
                (name.len() <= MAX_CALLED_BYTES && !name.contains('\0')).then(|| nfc(name))
            }
        };
        let other = exact.as_deref().map(|name| match kind {
            Kind::Resource => relax(name),
            Kind::Prompt | Kind::Method | Kind::Tool => unveiled(name),
        });
        let relaxed = match other {
            Some(Cow::Owned(relaxed)) => Some(relaxed.into()),
            Some(Cow::Borrowed(_)) | None => None,
        };
        Call { kind, name, exact, relaxed, arguments }
    }

    /// What a method calls, if it calls anything. Of other kinds than tools, a name that is no text stays without an exact form.
    pub(super) fn read(
        method: &str,
        params: Option<&'v Value<'v>>,
    ) -> Result<Option<Call<'v>>, Refusal> {
        let refuse = |detail| Err(Refusal::new(Reason::InvalidParams, detail));
        let member = |key| params.and_then(Value::as_object).and_then(|params| params.get(key));
        // Without the member nothing is named, so there is nothing to decide: the server says what it lacks.
        let named = |kind, key, arguments| {
            member(key).map(|name| match name.as_str() {
                Some(name) => Call::new(kind, name, arguments),
                None => Call::unreadable(kind),
            })
        };
        Ok(match method {
            TOOLS_CALL => {
                let Some(tool) = member("name").and_then(Value::as_str) else {
                    return refuse("name must be a string");
                };
                if tool.contains('\0') {
                    return refuse("name must not contain NUL");
                }
                let arguments = member("arguments");
                if arguments.is_some_and(|arguments| arguments.as_object().is_none()) {
                    return refuse("arguments must be an object");
                }
                Some(Call::new(Kind::Tool, tool, arguments))
            }
            "prompts/get" => named(Kind::Prompt, "name", member("arguments")),
            "resources/read" | "resources/subscribe" | "resources/unsubscribe" => {
                named(Kind::Resource, "uri", params)
            }
            _ => None,
        })
    }

    pub(super) fn unreadable(kind: Kind) -> Call<'v> {
        Call { kind, name: "", exact: None, relaxed: None, arguments: None }
    }
}
