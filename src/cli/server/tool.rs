//! A tool as a server describes it. Every text in it is the server's, and not to be trusted: not even to be printed as it is.

use mcp_policy::matcher::fold::invisible;
use serde_json::Value;

/// What a server says of one of its tools.
#[derive(Clone, Debug)]
pub(in crate::cli) struct Tool {
    pub(in crate::cli) name: String,
    pub(in crate::cli) description: String,
    /// The JSON Schema of its arguments.
    pub(in crate::cli) input: Value,
    /// `readOnlyHint`, where the server says it.
    pub(in crate::cli) read_only: Option<bool>,
    /// `destructiveHint`, where the server says it.
    pub(in crate::cli) destructive: Option<bool>,
    /// As it came.
    pub(in crate::cli) raw: Value,
}

impl Tool {
    /// Reads an element of `tools/list`; `None` where it has no name.
    pub(in crate::cli) fn read(raw: Value) -> Option<Tool> {
        let text = |key: &str| raw.get(key).and_then(Value::as_str).map(str::to_owned);
        let hint = |key: &str| raw.get("annotations").and_then(|hints| hints.get(key)?.as_bool());
        Some(Tool {
            name: text("name")?,
            description: text("description").or_else(|| text("title")).unwrap_or_default(),
            input: raw.get("inputSchema").cloned().unwrap_or(Value::Null),
            read_only: hint("readOnlyHint"),
            destructive: hint("destructiveHint"),
            raw,
        })
    }

    /// Reads a list of tools from a file: an answer to `tools/list`, its result, or the list alone.
    ///
    /// # Errors
    /// What is wrong with the document.
    pub(in crate::cli) fn read_list(text: &str) -> Result<Vec<Tool>, String> {
        let document: Value =
            serde_json::from_str(text).map_err(|error| format!("not JSON: {error}"))?;
        let result = document.get("result").unwrap_or(&document);
        let list = result.get("tools").unwrap_or(result);
        let Value::Array(items) = list else {
            return Err(
                "not a list of tools: expected {\"tools\": […]} as `tools/list` answers".to_owned()
            );
        };
        let tools = items.iter().enumerate().map(|(at, item)| {
            Tool::read(item.clone()).ok_or_else(|| format!("tools[{at}] has no name"))
        });
        tools.collect()
    }

    /// The arguments of its schema, in order: name, schema, whether it is required.
    pub(in crate::cli) fn arguments(&self) -> impl Iterator<Item = (&str, &Value, bool)> {
        let required = self.input.get("required").and_then(Value::as_array);
        let properties = self.input.get("properties").and_then(Value::as_object);
        properties.into_iter().flatten().map(move |(name, schema)| {
            let needed =
                required.is_some_and(|required| required.iter().any(|each| each == name.as_str()));
            (name.as_str(), schema, needed)
        })
    }
}

/// A server's text on one line of at most so many characters, without anything that a terminal, an editor or a reader could
/// take for something else: control characters, marks that turn the direction of text, invisible ones.
pub(in crate::cli) fn one_line(text: &str, most: usize) -> String {
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

    #[test]
    fn lists_are_read_in_each_shape() {
        for text in [
            r#"{"jsonrpc":"2.0","id":1,"result":{"tools":[{"name":"a"}]}}"#,
            r#"{"tools":[{"name":"a","inputSchema":{"type":"object"}}]}"#,
            r#"[{"name":"a","annotations":{"readOnlyHint":true}}]"#,
        ] {
            assert_eq!(Tool::read_list(text).unwrap().len(), 1, "{text}");
        }
        for text in ["", "{", "{}", "[1]", r#"{"tools":{}}"#, r#"{"tools":[{"name":1}]}"#] {
            assert!(Tool::read_list(text).is_err(), "{text}");
        }
    }
}
