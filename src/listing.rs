//! Lists of tools, resources and prompts, cut down to what the policy shows.
//!
//! Visibility is asked of [`crate::decision`], which also decides calls. What is kept stays as the server wrote it, byte for byte; a list
//! that two readers could take for two lists is not shown at all.

mod cause;
mod definitions;

pub use self::cause::Cause;
pub use self::definitions::ChangedTool;

use crate::decision::is_visible;
use crate::identity::Caller;
use crate::json::{
    Bounds, Duplicates, FaultKind, Item, Member, Object, Value, parse_items, parse_within,
};
use crate::matcher::fold::confusable;
use crate::mcp::call::{Call, Kind, LISTS};
use crate::mcp::skim::Wanted;
use crate::pins::Sightings;
use crate::policy::compiled::Policy;
use crate::rate::store::SharedStore;
use definitions::Comparison;

/// What becomes of one JSON text of a response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Filtered {
    /// It passes as it is.
    Unchanged,
    /// This takes its place.
    Changed(String),
    /// It may hold a list, and cannot be read without guessing.
    Unreadable(Cause),
}

/// The keys that make a message an answer with a list; one that only resembles one of them is for a lenient reader the same.
const RESULT: &str = "result";

/// What decides what is shown: a policy, and who asks where that depends on him.
#[derive(Clone, Copy, Debug)]
pub struct ShownTo<'s> {
    /// The policy.
    pub policy: &'s Policy,
    /// Who asks; nobody where what is shown depends on nobody.
    pub viewer: Option<&'s Caller>,
}

/// The lists that the policy filters.
#[must_use]
pub fn wanted(policy: &Policy) -> Wanted {
    Wanted(LISTS.map(|(.., kind)| policy.filters(kind)))
}

/// Removes from a message, or a batch of them, what the policy does not show; and tells which tools are newly seen to be defined otherwise
/// than the policy pins them. What is not shown at all, nobody has seen.
#[must_use]
pub fn filter<S: SharedStore>(
    shown: ShownTo<'_>,
    bytes: &[u8],
    sightings: Sightings<'_, S>,
) -> (Filtered, Vec<ChangedTool>) {
    let ShownTo { policy, viewer } = shown;
    let mut comparison = Comparison::new(policy, sightings);
    let mut shows = |kind, key: &str, item: &Item<'_>| match named(kind, key, item) {
        Some((call, object)) => {
            is_visible(policy, &call, viewer) && comparison.shows(&call, object)
        }
        None => false,
    };
    match edited(policy, bytes, &mut shows) {
        Ok(None) => (Filtered::Unchanged, comparison.finish()),
        Ok(Some(text)) => (Filtered::Changed(text), comparison.finish()),
        Err(cause) => (Filtered::Unreadable(cause), Vec::new()),
    }
}

/// Says whether an item of a list is shown: by what it names, and by the key under which it does.
type Shows<'s> = &'s mut dyn FnMut(Kind, &str, &Item<'_>) -> bool;

fn edited(policy: &Policy, bytes: &[u8], shows: Shows<'_>) -> Result<Option<String>, Cause> {
    let text = std::str::from_utf8(bytes).map_err(|_| Cause::NotJson)?;
    // Whatever is read here was held, so the setting bounds it.
    let bounds = Bounds::of_list(bytes.len());
    let value = parse_within(text, Duplicates::Refuse, bounds).map_err(|fault| fault.kind)?;
    let mut edits = Edits { text, bounds, edits: Vec::new() };
    match &value {
        Value::Object(message) => message_edits(policy, message, shows, &mut edits)?,
        Value::Array(messages) => {
            for message in messages {
                match message {
                    Value::Object(message) => message_edits(policy, message, shows, &mut edits)?,
                    // Nothing that a client takes for a message.
                    Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
                    Value::Array(_) => return Err(Cause::NotAList),
                }
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
    match edits.edits.is_empty() {
        true => Ok(None),
        false => edits.apply().map(Some).ok_or(Cause::NotJson),
    }
}

/// Finds what is to be changed in a message.
fn message_edits<'t>(
    policy: &Policy,
    message: &Object<'t>,
    shows: Shows<'_>,
    edits: &mut Edits<'t>,
) -> Result<(), Cause> {
    // Whatever else the message has: a client may look at the result first.
    let Some(result) = exactly(message, RESULT)? else { return Ok(()) };
    let members = match &result.value {
        Value::Object(members) => members,
        // No result of MCP, but items could stand in it.
        Value::Array(items) if items.iter().any(is_nested) => return Err(Cause::NotAList),
        Value::Array(_) | Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {
            return Ok(());
        }
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
        let items = parse_items(list.raw, edits.bounds).map_err(|fault| match fault.kind {
            FaultKind::Syntax => Cause::NotAList,
            kind @ (FaultKind::Depth | FaultKind::Size | FaultKind::Duplicate) => kind.into(),
        })?;
        let kept: Vec<&str> =
            items.iter().filter(|item| shows(kind, name, item)).map(|item| item.raw).collect();
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
    Ok(())
}

fn is_nested(value: &Value<'_>) -> bool {
    matches!(value, Value::Object(_) | Value::Array(_))
}

/// What an item names, by the member of this key.
fn named<'i>(kind: Kind, key: &str, item: &'i Item<'_>) -> Option<(Call<'i>, &'i Object<'i>)> {
    let object = item.value.as_object()?;
    let name = exactly(object, key).ok()??.value.as_str()?;
    Some((Call::new(kind, name, None), object))
}

/// The member of this key, unless another key could be taken for it.
fn exactly<'o, 't>(object: &'o Object<'t>, key: &str) -> Result<Option<&'o Member<'t>>, Cause> {
    let doubtful = object.0.iter().any(|member| confusable(&member.key, key));
    if doubtful { Err(Cause::AmbiguousKey) } else { Ok(object.member(key)) }
}

/// Replacements of pieces of a text.
struct Edits<'t> {
    text: &'t str,
    /// How large it may be.
    bounds: Bounds,
    edits: Vec<(usize, usize, String)>,
}

impl<'t> Edits<'t> {
    /// `piece` is a slice of the text.
    fn replace(&mut self, piece: &'t str, by: String) -> Result<(), Cause> {
        let start = (piece.as_ptr() as usize).checked_sub(self.text.as_ptr() as usize);
        let end = start.and_then(|start| start.checked_add(piece.len()));
        let (Some(start), Some(end)) = (start, end.filter(|end| *end <= self.text.len())) else {
            return Err(Cause::NotJson);
        };
        self.edits.push((start, end, by));
        Ok(())
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
