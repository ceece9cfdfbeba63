//! Lists of tools, resources and prompts, cut down to what the policy shows.
//!
//! Visibility is asked of [`crate::decision`], which also decides calls. What is kept stays as the server wrote it, byte for byte; a list
//! that two readers could take for two lists is not shown at all.

use crate::decision::is_visible;
use crate::json::{Duplicates, Item, Member, Object, Value, parse, parse_items};
use crate::matcher::fold::confusable;
use crate::mcp::call::{Call, Kind, LISTS};
use crate::policy::compiled::Policy;

/// What becomes of one JSON text of a response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Filtered {
    /// It passes as it is.
    Unchanged,
    /// This takes its place.
    Changed(String),
    /// It may hold a list, and cannot be read without guessing.
    Unreadable,
}

/// The keys that make a message an answer with a list; one that only resembles one of them is for a lenient reader the same.
const RESULT: &str = "result";

/// Removes from a message, or a batch of them, what the policy does not show.
#[must_use]
pub fn filter(policy: &Policy, bytes: &[u8]) -> Filtered {
    let parsed = std::str::from_utf8(bytes)
        .ok()
        .and_then(|text| Some((text, parse(text, Duplicates::Refuse).ok()?)));
    let Some((text, value)) = parsed else {
        return Filtered::Unreadable;
    };
    let mut edits = Edits { text, edits: Vec::new() };
    let read = match &value {
        Value::Object(message) => message_edits(policy, message, &mut edits),
        Value::Array(messages) => messages.iter().try_for_each(|message| match message {
            Value::Object(message) => message_edits(policy, message, &mut edits),
            // Nothing that a client takes for a message.
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Some(()),
            Value::Array(_) => None,
        }),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Some(()),
    };
    match read {
        None => Filtered::Unreadable,
        Some(()) if edits.edits.is_empty() => Filtered::Unchanged,
        Some(()) => edits.apply().map_or(Filtered::Unreadable, Filtered::Changed),
    }
}

/// Finds what is to be changed in a message; `None` where it cannot be read.
fn message_edits<'t>(policy: &Policy, message: &Object<'t>, edits: &mut Edits<'t>) -> Option<()> {
    // Whatever else the message has: a client may look at the result first.
    let Some(result) = exactly(message, RESULT)? else { return Some(()) };
    let members = match &result.value {
        Value::Object(members) => members,
        // No result of MCP, but items could stand in it.
        Value::Array(_) => return None,
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => return Some(()),
    };
    let mut filtered = false;
    for (_, key, name, kind) in LISTS {
        if !policy.filters(kind) {
            continue;
        }
        let Some(list) = exactly(members, key)? else { continue };
        filtered = true;
        if list.value == Value::Null {
            continue;
        }
        let items = parse_items(list.raw).ok()?;
        let kept: Vec<&str> = items
            .iter()
            .filter(|item| is_shown(policy, kind, name, item))
            .map(|item| item.raw)
            .collect();
        if kept.len() < items.len() {
            edits.replace(list.raw, format!("[{}]", kept.join(",")))?;
        }
    }
    // What one caller may see is not what all may see (MCP 2026-07-28, caching).
    if let Some(scope) = exactly(members, "cacheScope")?
        && filtered
        && scope.value.as_str() != Some("private")
    {
        edits.replace(scope.raw, "\"private\"".to_owned())?;
    }
    Some(())
}

fn is_shown(policy: &Policy, kind: Kind, key: &str, item: &Item<'_>) -> bool {
    let named = item.value.as_object().and_then(|item| exactly(item, key)?);
    named
        .and_then(|name| name.value.as_str())
        .is_some_and(|name| is_visible(policy, &Call::new(kind, name, None)))
}

/// The member of this key; `None` where another key could be taken for it.
fn exactly<'o, 't>(object: &'o Object<'t>, key: &str) -> Option<Option<&'o Member<'t>>> {
    let doubtful = object.0.iter().any(|member| confusable(&member.key, key));
    (!doubtful).then(|| object.member(key))
}

/// Replacements of pieces of a text.
struct Edits<'t> {
    text: &'t str,
    edits: Vec<(usize, usize, String)>,
}

impl<'t> Edits<'t> {
    /// `piece` is a slice of the text.
    fn replace(&mut self, piece: &'t str, by: String) -> Option<()> {
        let start = (piece.as_ptr() as usize).checked_sub(self.text.as_ptr() as usize)?;
        let end = start.checked_add(piece.len()).filter(|end| *end <= self.text.len())?;
        self.edits.push((start, end, by));
        Some(())
    }

    fn apply(mut self) -> Option<String> {
        self.edits.sort_by_key(|(start, ..)| *start);
        let mut out = String::with_capacity(self.text.len());
        let mut at = 0;
        for (start, end, by) in &self.edits {
            out.push_str(self.text.get(at..*start)?);
            out.push_str(by);
            at = *end;
        }
        out.push_str(self.text.get(at..)?);
        Some(out)
    }
}
#[cfg(test)]
mod tests;
