//! What a server says of its tools, read as the filter reads it: by the filter's own parser, with every digit and every key.

use mcp_policy::json::{Bounds, Duplicates, Object, Value, parse_within};
use mcp_policy::mcp::definition::DefinitionDigest;

use super::tree::{Map, Node};
use mcp_policy::tools::{Tool, one_line};

/// Writes the digest of a tool's definition into its entry, or tells why it cannot.
pub(super) fn pin(entry: &mut Map, tool: &Tool) -> Option<String> {
    let text = tool.raw.to_string();
    let read = read(&text).ok();
    let digest = read.as_ref().and_then(Value::as_object).and_then(DefinitionDigest::of);
    match digest {
        Some(digest) => {
            entry.push("definition", Node::Text(digest.named()));
            None
        }
        None => Some(format!(
            "`{}` is not pinned: its definition could be read in two ways, so the filter would not show it",
            one_line(&tool.name, 80)
        )),
    }
}

/// Reads a list of tools, of which a key that stands twice is kept twice.
///
/// # Errors
/// What is wrong with the text.
pub(super) fn read(text: &str) -> Result<Value<'_>, String> {
    let read = parse_within(text, Duplicates::Keep, Bounds::of_list(text.len()));
    read.map_err(|fault| format!("not JSON: {}", fault.kind.describe()))
}

/// A tool as a list has it.
#[derive(Clone, Copy, Debug)]
pub(super) struct ListedTool<'v> {
    pub(super) name: &'v str,
    pub(super) members: &'v Object<'v>,
    pub(super) digest: Option<DefinitionDigest>,
}

/// The tools of a document: an answer to `tools/list`, its result, the list alone, or a list of these, such as its pages.
///
/// # Errors
/// What is wrong with the document.
pub(super) fn listed<'v>(document: &'v Value<'v>) -> Result<Vec<ListedTool<'v>>, String> {
    let mut found = Vec::new();
    collect(document, &mut found)?;
    Ok(found)
}

fn collect<'v>(value: &'v Value<'v>, found: &mut Vec<ListedTool<'v>>) -> Result<(), String> {
    match value {
        Value::Array(items) => items.iter().try_for_each(|item| collect(item, found)),
        Value::Object(members) => {
            if let Some(inner) = members.get("result").or_else(|| members.get("tools")) {
                return collect(inner, found);
            }
            let name = members.get("name").and_then(Value::as_str);
            let name = name.ok_or("not a list of tools: something in it has no `name`")?;
            found.push(ListedTool { name, members, digest: DefinitionDigest::of(members) });
            Ok(())
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {
            Err("not a list of tools: expected {\"tools\": […]} as `tools/list` answers".to_owned())
        }
    }
}
