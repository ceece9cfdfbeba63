//! What became of a question for tools: those that came, the name that the server gives itself, and what was left out.

use std::collections::HashSet;

use serde_json::Value;

use super::MOST_BYTES;
use mcp_policy::tools::{Tool, one_line};

/// More tools than any server has; a list that goes on is one that never ends.
const MOST_TOOLS: usize = 10_000;
const MOST_PAGES: usize = 1_000;

/// Most odd tools that are named.
const MOST_NAMED: usize = 20;

/// The tools of a server, as far as they could be read.
#[derive(Clone, Debug, Default)]
pub(in crate::cli) struct ToolsRead {
    pub(in crate::cli) tools: Vec<Tool>,
    /// What the server calls itself.
    pub(in crate::cli) server: Option<String>,
    /// What is missing, each in one line.
    pub(in crate::cli) left_out: Vec<String>,
    pages: usize,
    odd: usize,
    bytes: usize,
    cursors: HashSet<String>,
}

impl ToolsRead {
    /// Takes a page; returns the cursor of the next, where there is one to ask for.
    pub(super) fn take(&mut self, page: &Value) -> Option<String> {
        self.pages += 1;
        match page.get("tools") {
            Some(Value::Array(tools)) => tools.iter().for_each(|tool| self.take_tool(tool)),
            Some(Value::Null) | None => {
                self.leave_out(format!("page {} of tools/list has no tools", self.pages))
            }
            Some(_) => {
                self.leave_out(format!("page {} of tools/list: `tools` is no list", self.pages))
            }
        }
        let next = match page.get("nextCursor") {
            None | Some(Value::Null) => return None,
            Some(Value::String(cursor)) if cursor.is_empty() => {
                self.leave_out(
                    "tools/list ends with an empty cursor, which was taken for the end".to_owned(),
                );
                return None;
            }
            Some(Value::String(cursor)) => cursor.clone(),
            Some(_) => {
                self.leave_out(format!(
                    "page {} of tools/list: `nextCursor` is no text",
                    self.pages
                ));
                return None;
            }
        };
        self.bytes += next.len();
        if !self.cursors.insert(next.clone()) {
            self.leave_out("tools/list never ends: it gave the same cursor twice".to_owned());
            return None;
        }
        if self.tools.len() > MOST_TOOLS || self.pages >= MOST_PAGES || self.bytes > MOST_BYTES {
            self.leave_out(format!(
                "tools/list never ends: {} tools on {} pages so far",
                self.tools.len(),
                self.pages
            ));
            return None;
        }
        Some(next)
    }

    fn take_tool(&mut self, tool: &Value) {
        if self.tools.len() > MOST_TOOLS || self.bytes > MOST_BYTES {
            return;
        }
        self.bytes += tool.to_string().len();
        match Tool::read(tool.clone()) {
            Some(read) => {
                if let Some(odd) = read.oddity() {
                    let name = one_line(&read.name, 60);
                    self.leave_out_tool(format!(
                        "tool `{name}`: {odd}, so its arguments are not known"
                    ));
                }
                self.tools.push(read);
            }
            None => {
                let text = one_line(&tool.to_string(), 60);
                self.leave_out_tool(format!("a tool of page {} has no name: {text}", self.pages));
            }
        }
    }

    fn leave_out_tool(&mut self, line: String) {
        self.odd += 1;
        if self.odd <= MOST_NAMED {
            self.leave_out(line);
        } else if self.odd == MOST_NAMED + 1 {
            self.leave_out("and more such tools".to_owned());
        }
    }

    /// Says what is missing.
    pub(super) fn leave_out(&mut self, line: String) {
        self.left_out.push(line);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_odd_loses_nothing_of_the_rest() {
        for (pages, names, said) in [
            (
                json!([{"tools": [{"name": "a", "inputSchema": {}}, {"name": 1}, "x", {"name": "b", "inputSchema": "odd"}]}]),
                "a b",
                3,
            ),
            (json!([{"tools": [{"name": "a", "inputSchema": {}}], "nextCursor": ""}]), "a", 1),
            (json!([{"tools": [{"name": "a", "inputSchema": {}}], "nextCursor": 7}]), "a", 1),
            (json!([{"nextCursor": "1"}, {"tools": [{"name": "a", "inputSchema": {}}]}]), "a", 1),
            (
                json!([{"tools": {}, "nextCursor": "1"}, {"tools": [{"name": "a", "inputSchema": {}}], "nextCursor": null}]),
                "a",
                1,
            ),
            (
                json!([{"tools": [{"name": "a", "inputSchema": {}}], "nextCursor": "1"}, {"tools": [{"name": "b", "inputSchema": {}}], "nextCursor": "1"}]),
                "a b",
                1,
            ),
            (json!([{"tools": []}]), "", 0),
        ] {
            let mut read = ToolsRead::default();
            let mut more = true;
            for page in pages.as_array().unwrap() {
                assert!(more, "{pages}");
                more = read.take(page).is_some();
            }
            assert!(!more, "{pages}");
            let found: Vec<&str> = read.tools.iter().map(|tool| tool.name.as_str()).collect();
            assert_eq!(
                (found.join(" ").as_str(), read.left_out.len()),
                (names, said),
                "{pages} {:?}",
                read.left_out
            );
        }
    }

    #[test]
    fn a_list_without_end_is_ended() {
        let mut read = ToolsRead::default();
        let mut at = 0;
        while read
            .take(
                &json!({"tools": [{"name": "a", "inputSchema": {}}], "nextCursor": at.to_string()}),
            )
            .is_some()
        {
            at += 1;
        }
        assert_eq!((read.tools.len(), read.left_out.len()), (MOST_PAGES, 1));
    }
}
