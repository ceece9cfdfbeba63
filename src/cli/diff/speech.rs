//! What in a definition speaks to the model that reads it: characters that people do not see, instructions, places of secrets, and names of
//! other tools. These are signs, and no proof: an honest description can have them, and a malicious one need not.

use mcp_policy::json::{Object, Value};
use mcp_policy::matcher::fold::{folded, invisible, legible};
use mcp_policy::matcher::name::Pattern;
use mcp_policy::mcp::definition::DEFINING;
use mcp_policy::policy::compiled::Config;
use serde::Serialize;

use crate::cli::definition::ListedTool;

/// The phrases, and what to tell of them.
const PHRASES: &str = include_str!("phrases.tsv");

/// Marks by which texts pass for something that is above a description, in lower case.
const MARKS: [(&str, &str); 18] = [
    ("<important", "marks a part as above the rest"),
    ("<system", "marks a part as above the rest"),
    ("<instruction", "marks a part as above the rest"),
    ("<secret", "marks a part as above the rest"),
    ("<hidden", "marks a part as above the rest"),
    ("<!--", "has a comment, which pages do not show"),
    ("[system]", "marks a part as above the rest"),
    ("<|im_start|>", "has a mark of model templates"),
    ("[inst]", "has a mark of model templates"),
    ("~/.ssh", "names a place of secrets"),
    ("~/.aws", "names a place of secrets"),
    ("~/.kube", "names a place of secrets"),
    ("~/.gnupg", "names a place of secrets"),
    ("~/.cursor", "names a place of secrets"),
    ("id_rsa", "names a place of secrets"),
    (".aws/credentials", "names a place of secrets"),
    ("/etc/passwd", "names a place of secrets"),
    ("![", "shows a picture from elsewhere, by which a client could send what it was told"),
];

/// How much of a text is shown around what is found, in characters.
const AROUND: usize = 60;

/// One sign in a text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct TextWarning {
    pub(super) tool: String,
    /// JSON Pointer into the definition.
    pub(super) place: String,
    pub(super) warning: String,
    /// The text around it.
    pub(super) text: String,
}

/// What is told of one definition: each thing once for each place.
pub(super) fn of(tool: &ListedTool<'_>) -> Vec<TextWarning> {
    let mut found: Vec<TextWarning> = Vec::new();
    for (place, text) in texts(tool.members) {
        let mut tell = |warning: &str, shown: String| {
            let tool = legible(tool.name).into_owned();
            let (place, warning) = (place.clone(), warning.to_owned());
            if !found.iter().any(|known| known.place == place && known.warning == warning) {
                found.push(TextWarning { tool, place, warning, text: shown });
            }
        };
        if let Some(at) = hidden(&text) {
            tell("has characters that people do not see", shown(&text, at));
        }
        for (mark, warning) in MARKS {
            let at = text.to_ascii_lowercase().find(mark);
            // A picture is one only with its address.
            if let Some(at) = at.filter(|_| mark != "![" || text.contains("](http")) {
                tell(warning, shown(&text, at));
            }
        }
        let words = words(&text);
        for (phrase, warning) in phrases() {
            if words.contains(&format!(" {phrase} ")) {
                tell(warning, phrase.to_owned());
            }
        }
    }
    found
}

/// The names of tools that are not this server's, and of others that the reviewed definition did not name.
pub(super) fn mentions(
    tool: &ListedTool<'_>,
    config: &Config,
    tools: &[ListedTool<'_>],
    before: &[ListedTool<'_>],
) -> Vec<TextWarning> {
    let has = |list: &[ListedTool<'_>], name: &str| list.iter().any(|tool| tool.name == name);
    let entries = config.policies().flat_map(|policy| policy.tools.entries());
    let elsewhere = entries.filter_map(|entry| match &entry.pattern {
        Pattern::Exact(name) if !has(tools, name) && !has(before, name) => Some(&**name),
        Pattern::Exact(_)
        | Pattern::Any
        | Pattern::Prefix(_)
        | Pattern::Suffix(_)
        | Pattern::Glob(_) => None,
    });
    let was: Vec<String> = before
        .iter()
        .filter(|was| was.name == tool.name)
        .flat_map(|was| texts(was.members))
        .map(|(_, text)| text)
        .collect();
    let siblings = tools.iter().map(|tool| tool.name).filter(|name| {
        !before.is_empty() && *name != tool.name && !was.iter().any(|text| names(text, name))
    });
    let mut found = Vec::new();
    let others = elsewhere.map(|name| (name, "names a tool that is not this server's"));
    let siblings = siblings.map(|name| (name, "names another tool, which it did not before"));
    let named: Vec<(&str, &str)> = others.chain(siblings).collect();
    for (place, text) in texts(tool.members).filter(|(place, _)| place != "/name") {
        for (name, warning) in &named {
            if telling(name) && names(&text, name) {
                let at = text.find(name).unwrap_or_default();
                found.push(TextWarning {
                    tool: legible(tool.name).into_owned(),
                    place: place.clone(),
                    warning: (*warning).to_owned(),
                    text: shown(&text, at),
                });
            }
        }
    }
    found
}

/// Whether a name is not also a plain word.
fn telling(name: &str) -> bool {
    let chars = || name.chars().skip(1);
    name.chars().count() > 3 && chars().any(|c| !c.is_lowercase())
}

/// Whether a text has a name in it, and not as a part of another.
fn names(text: &str, name: &str) -> bool {
    let part = |c: char| c.is_alphanumeric() || c == '_' || c == '-';
    text.match_indices(name).any(|(at, _)| {
        let (before, rest) = text.split_at(at);
        let after = rest.get(name.len()..).and_then(|rest| rest.chars().next());
        !before.chars().next_back().is_some_and(part) && !after.is_some_and(part)
    })
}

fn phrases() -> impl Iterator<Item = (&'static str, &'static str)> {
    let lines = PHRASES.lines().filter(|line| !line.starts_with('#'));
    lines.filter_map(|line| line.split_once('\t'))
}

/// The words of a text in lower case, without disguises and marks, each between spaces.
fn words(text: &str) -> String {
    let apart = |c: char| if c.is_alphanumeric() { c } else { ' ' };
    // What stands between words shows, so it is taken apart before anything is folded.
    let spaced: String = text.chars().map(|c| if c.is_whitespace() { ' ' } else { c }).collect();
    let plain: String = folded(&spaced).map(apart).collect();
    let mut words = String::from(" ");
    for word in plain.split_whitespace() {
        words.push_str(word);
        words.push(' ');
    }
    words
}

/// Where the first character stands that shows nothing: none of those that end lines, or belong to a picture before them.
fn hidden(text: &str) -> Option<usize> {
    let mut before = ' ';
    for (at, c) in text.char_indices() {
        let joins = matches!(c, '\u{fe0f}' | '\u{200d}')
            && !before.is_alphanumeric()
            && before > '\u{2000}';
        if invisible(c) && !matches!(c, '\n' | '\r' | '\t') && !joins {
            return Some(at);
        }
        before = c;
    }
    None
}

/// The text around a place.
fn shown(text: &str, at: usize) -> String {
    let (before, after) = text.split_at_checked(at).unwrap_or(("", text));
    let start: Vec<char> = before.chars().rev().take(AROUND / 2).collect();
    let piece: String = start.into_iter().rev().chain(after.chars().take(AROUND)).collect();
    legible(&piece).into_owned()
}

/// The texts of a definition with their places: keys too, for models read them.
fn texts(definition: &Object<'_>) -> impl Iterator<Item = (String, String)> + use<> {
    let mut found = Vec::new();
    for member in &definition.0 {
        if DEFINING.contains(&&*member.key) {
            collect(&member.value, format!("/{}", member.key), &mut found);
        }
    }
    found.into_iter()
}

fn collect(value: &Value<'_>, place: String, found: &mut Vec<(String, String)>) {
    match value {
        Value::String(text) => found.push((place, text.to_string())),
        Value::Array(items) => {
            for (at, item) in items.iter().enumerate() {
                collect(item, format!("{place}/{at}"), found);
            }
        }
        Value::Object(Object(members)) => {
            for member in members {
                let below = format!("{place}/{}", legible(&member.key));
                found.push((below.clone(), member.key.to_string()));
                collect(&member.value, below, found);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

#[cfg(test)]
mod tests;
