//! Each tool of a server, beside what the policy and the reviewed list know of it.

use std::collections::HashSet;

use mcp_policy::matcher::fold::legible;
use mcp_policy::matcher::name::Pattern;
use mcp_policy::matcher::normal::nfc;
use mcp_policy::mcp::definition::DefinitionDigest;
use mcp_policy::policy::compiled::Policy;
use mcp_policy::policy::entry::{Action, Entry};
use serde::{Serialize, Serializer};

use super::changes::{described, differences};
use crate::cli::definition::ListedTool;

/// How a tool stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// It is defined as it is pinned, or as it was where nothing is pinned.
    Same,
    /// The policy knows it, and nobody says how it was defined.
    Unpinned,
    /// The policy does not know it.
    New,
    /// The policy knows it, and the server does not have it.
    Gone,
    /// It is defined otherwise.
    Changed,
    /// Its definition could be read in two ways.
    Unreadable,
    /// The server defines it twice, in two ways.
    Twice,
}

impl Standing {
    pub(super) fn word(self) -> &'static str {
        match self {
            Standing::Same => "same",
            Standing::Unpinned => "unpinned",
            Standing::New => "new",
            Standing::Gone => "gone",
            Standing::Changed => "changed",
            Standing::Unreadable => "unreadable",
            Standing::Twice => "twice",
        }
    }
}

impl Serialize for Standing {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.word())
    }
}

/// How one tool stands, and what has changed of it.
#[derive(Clone, Debug, Serialize)]
pub(super) struct ToolChange {
    pub(super) tool: String,
    pub(super) standing: Standing,
    /// The digest in the policy.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) pinned: Option<String>,
    /// The digest of what the server says now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) found: Option<String>,
    #[serde(skip)]
    pub(super) about: String,
    /// The difference, line by line.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) lines: Vec<String>,
}

/// Every tool that the server, the policy or the reviewed list has, each once.
pub(super) fn compare(
    policy: &Policy,
    tools: &[ListedTool<'_>],
    before: &[ListedTool<'_>],
) -> Vec<ToolChange> {
    let mut seen: HashSet<String> = HashSet::new();
    let mut compared = Vec::new();
    for tool in tools {
        if seen.insert(nfc(tool.name).into_owned()) {
            compared.push(stand(policy, tool, tools, before));
        }
    }
    let of_policy = policy.tools.entries().iter().filter_map(named);
    let before = before.iter().map(|tool| (tool.name, None));
    for (name, pinned) in of_policy.chain(before) {
        if seen.insert(nfc(name).into_owned()) {
            compared.push(ToolChange {
                tool: legible(name).into_owned(),
                standing: Standing::Gone,
                pinned: pinned.map(|pinned: DefinitionDigest| pinned.named()),
                found: None,
                about: "the server does not have it".to_owned(),
                lines: Vec::new(),
            });
        }
    }
    compared
}

/// The tool that an entry is for, if it is for one that may be called.
fn named(entry: &Entry) -> Option<(&str, Option<DefinitionDigest>)> {
    match &entry.pattern {
        Pattern::Exact(name) if entry.action != Action::Deny => {
            Some((name, entry.definition.map(|pinned| pinned.digest)))
        }
        Pattern::Exact(_)
        | Pattern::Any
        | Pattern::Prefix(_)
        | Pattern::Suffix(_)
        | Pattern::Glob(_) => None,
    }
}

fn stand(
    policy: &Policy,
    tool: &ListedTool<'_>,
    tools: &[ListedTool<'_>],
    before: &[ListedTool<'_>],
) -> ToolChange {
    let name = nfc(tool.name);
    let same_name = |other: &&ListedTool<'_>| nfc(other.name) == name;
    let entry = policy.tools.exact(&name);
    let pinned = entry.and_then(|entry| entry.definition).map(|pinned| pinned.digest);
    // Of a tool that is pinned, only the text of the pinned definition tells what it was.
    let mut was = before.iter().filter(same_name);
    let was = was.find(|was| pinned.is_none() || was.digest == pinned);
    let twice = tools.iter().filter(same_name).any(|other| other.digest != tool.digest);
    let known =
        policy.tools.hidden(&name).is_some() || policy.tools.entries_for(&name).any(Entry::lists);
    let wanted = pinned.or(was.and_then(|was| was.digest));
    let (standing, about) = match (wanted, tool.digest) {
        _ if twice => {
            (Standing::Twice, "the server lists it more than once, defined in different ways")
        }
        (_, None) => (
            Standing::Unreadable,
            "its definition could be read in two ways: a key stands twice, or resembles a known one, or a number has too many digits",
        ),
        (Some(wanted), Some(found)) if wanted == found => (Standing::Same, ""),
        (Some(_), Some(_)) if was.is_none() => (
            Standing::Changed,
            "its definition is not the pinned one; --was FILE shows what it was",
        ),
        (Some(_), Some(_)) => (Standing::Changed, "its definition has changed"),
        (None, Some(_)) if known => (Standing::Unpinned, ""),
        (None, Some(_)) => (Standing::New, "no entry of the policy lists it"),
    };
    let lines = match (standing, was) {
        (Standing::Same | Standing::Unpinned, _) => Vec::new(),
        (_, Some(was)) => differences(was.members, tool.members),
        (_, None) => described(tool.members),
    };
    ToolChange {
        tool: legible(tool.name).into_owned(),
        standing,
        pinned: pinned.map(|pinned| pinned.named()),
        found: tool.digest.map(|found| found.named()),
        about: about.to_owned(),
        lines,
    }
}
