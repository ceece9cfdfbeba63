//! A tool as a server describes it. Every text in it is the server's, and not to be trusted: not even to be printed as it is.

pub mod classify;
pub mod judged;

use crate::matcher::fold::invisible;
use serde_json::Value;

/// What a server says of one of its tools.
#[derive(Clone, Debug)]
pub struct Tool {
    /// Its name.
    pub name: String,
    /// What the server says it does; its title where it says nothing.
    pub description: String,
    /// The JSON Schema of its arguments.
    pub input: Value,
    /// `readOnlyHint`, where the server says it.
    pub read_only: Option<bool>,
    /// `destructiveHint`, where the server says it.
    pub destructive: Option<bool>,
    /// `openWorldHint`, where the server says it.
    pub open_world: Option<bool>,
    /// As it came.
    pub raw: Value,
}

impl Tool {
    /// Reads an element of `tools/list`; `None` where it has no name.
    #[must_use]
    pub fn read(raw: Value) -> Option<Tool> {
        let text = |key: &str| raw.get(key).and_then(Value::as_str).map(str::to_owned);
        let hint = |key: &str| raw.get("annotations").and_then(|hints| hints.get(key)?.as_bool());
        Some(Tool {
            name: text("name")?,
            description: text("description").or_else(|| text("title")).unwrap_or_default(),
            input: raw.get("inputSchema").cloned().unwrap_or(Value::Null),
            read_only: hint("readOnlyHint"),
            destructive: hint("destructiveHint"),
            open_world: hint("openWorldHint"),
            raw,
        })
    }

    /// What is not as the protocol has it, where that hides what it takes.
    #[must_use]
    pub fn oddity(&self) -> Option<&'static str> {
        match &self.input {
            Value::Object(_) => None,
            Value::Null => Some("it has no `inputSchema`"),
            Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
                Some("its `inputSchema` is no object")
            }
        }
    }

    /// Reads a list of tools from a file: an answer to `tools/list`, its result, the list alone, or a list of these, such as
    /// its pages. `validate --tools` reads the same documents ([`crate::lint::fit::tools`]).
    ///
    /// # Errors
    /// What is wrong with the document.
    pub fn read_list(text: &str) -> Result<Vec<Tool>, String> {
        let document: Value =
            serde_json::from_str(text).map_err(|error| format!("not JSON: {error}"))?;
        let mut found = Vec::new();
        collect(document, &mut found)?;
        Ok(found)
    }

    /// The arguments of its schema, in order: name, schema, whether it is required.
    pub fn arguments(&self) -> impl Iterator<Item = (&str, &Value, bool)> {
        let required = self.input.get("required").and_then(Value::as_array);
        let properties = self.input.get("properties").and_then(Value::as_object);
        properties.into_iter().flatten().map(move |(name, schema)| {
            let needed =
                required.is_some_and(|required| required.iter().any(|each| each == name.as_str()));
            (name.as_str(), schema, needed)
        })
    }
}

fn collect(value: Value, found: &mut Vec<Tool>) -> Result<(), String> {
    match value {
        Value::Array(items) => items.into_iter().try_for_each(|item| collect(item, found)),
        Value::Object(mut object) => {
            if let Some(inner) = object.remove("result").or_else(|| object.remove("tools")) {
                return collect(inner, found);
            }
            let tool = Tool::read(Value::Object(object));
            found.push(tool.ok_or("not a list of tools: something in it has no `name`")?);
            Ok(())
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {
            Err("not a list of tools: expected {\"tools\": […]} as `tools/list` answers".to_owned())
        }
    }
}

/// A server's text on one line of at most so many characters, without anything that a terminal, an editor or a reader could
/// take for something else: control characters, marks that turn the direction of text, invisible ones.
#[must_use]
pub fn one_line(text: &str, most: usize) -> String {
    let visible = text.chars().map(|c| if c.is_whitespace() || c.is_control() { ' ' } else { c });
    let visible: String = visible.filter(|c| !invisible(*c)).collect();
    let words: Vec<&str> = visible.split_whitespace().collect();
    let line = words.join(" ");
    if line.chars().count() <= most {
        return line;
    }
    let mut short: String = line.chars().take(most.saturating_sub(1)).collect();
    short.push('…');
    short
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_stay_on_their_line() {
        for (text, expected) in [
            ("a\nb\r\n\tc  d", "a b c d"),
            ("a\u{85}b\u{2028}c\u{0}d\u{1b}[31me", "a b c d [31me"),
            ("\u{202e}evil\u{200b} tag\u{e0041}", "evil tag"),
            ("0123456789abcdefg", "0123456789abcde…"),
            ("", ""),
        ] {
            assert_eq!(one_line(text, 16), expected, "{text:?}");
        }
    }

    /// How many tools `scan` and `validate` find in a document.
    fn counted(text: &str) -> [Option<usize>; 2] {
        use crate::json::{Duplicates, parse};
        use crate::lint::fit;

        let document = parse(text, Duplicates::Keep).ok();
        let fitted = document.and_then(|document| Some(fit::tools(&document).ok()?.len()));
        [Tool::read_list(text).ok().map(|tools| tools.len()), fitted]
    }

    #[test]
    fn scan_and_validate_read_the_same_lists() {
        for (text, expected) in [
            (r#"{"jsonrpc":"2.0","id":1,"result":{"tools":[{"name":"a"}]}}"#, Some(1)),
            (r#"{"tools":[{"name":"a","inputSchema":{"type":"object"}}]}"#, Some(1)),
            (r#"[{"name":"a","annotations":{"readOnlyHint":true}}]"#, Some(1)),
            (r#"[{"result":{"tools":[{"name":"a"}]}},{"tools":[{"name":"b"}]}]"#, Some(2)),
            (r#"{"tools":[]}"#, Some(0)),
            ("", None),
            ("{", None),
            ("{}", None),
            ("[1]", None),
            (r#"{"tools":{}}"#, None),
            (r#"{"tools":[{"name":1}]}"#, None),
        ] {
            assert_eq!(counted(text), [expected; 2], "{text}");
        }
    }
}
