//! Trees as YAML or JSON text, short things on one line.

use std::fmt::Write as _;

use crate::matcher::fold::invisible;
use crate::source::Syntax;

use super::{Map, Node, TreeItem, TreeMember};

/// Lines are broken where they would be longer.
const WIDTH: usize = 100;

/// Prints a whole document, each line indented by so many spaces, with a line break at its end.
pub fn print(node: &Node, syntax: Syntax, indent: usize) -> String {
    let mut printer = Printer { syntax, out: String::new() };
    printer.start_line(indent);
    match syntax {
        Syntax::Json => printer.json(node, indent),
        Syntax::Yaml => printer.yaml(node, indent),
    }
    printer.out.push('\n');
    printer.out
}

/// A string in quotes, as YAML has it: see [`quoted_as`].
pub fn quoted(text: &str) -> String {
    quoted_as(Syntax::Yaml, text)
}

/// A string in quotes. Escaped is also what YAML takes for a line break or does not allow, and what a reader of the file could
/// not see: servers choose these texts.
fn quoted_as(syntax: Syntax, text: &str) -> String {
    let json = crate::json::written(text);
    let plain = json.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' ');
    if plain { json } else { escaped(&json, syntax) }
}

/// Text in JSON or YAML, with every character that does not show as an escape: they can only stand in strings.
pub fn escaped(text: &str, syntax: Syntax) -> String {
    let awkward = |c: char| {
        let odd =
            matches!(c, '\u{80}'..='\u{9f}' | '\u{2028}' | '\u{2029}' | '\u{fffe}' | '\u{ffff}');
        odd || (!c.is_ascii() && invisible(c))
    };
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        // Writing to a String cannot fail.
        let _ = match (awkward(character), syntax) {
            (false, _) => out.write_char(character),
            (true, Syntax::Yaml) if u32::from(character) > 0xffff => {
                write!(out, "\\U{:08x}", u32::from(character))
            }
            (true, _) => {
                let units = &mut [0; 2];
                let units = character.encode_utf16(units);
                units.iter().try_for_each(|unit| write!(out, "\\u{unit:04x}"))
            }
        };
    }
    out
}

struct Printer {
    syntax: Syntax,
    out: String,
}

impl Printer {
    fn start_line(&mut self, indent: usize) {
        self.out.extend(std::iter::repeat_n(' ', indent));
    }

    fn new_line(&mut self, indent: usize) {
        self.out.push('\n');
        self.start_line(indent);
    }

    /// The node on one line, where it is flat and short enough for what is left of this one.
    fn on_one_line(&self, node: &Node) -> Option<String> {
        let line = self.out.rsplit('\n').next().unwrap_or_default();
        let text = (height(node)? <= 2).then(|| inline(node, self.syntax))?;
        (line.chars().count() + text.chars().count() < WIDTH).then_some(text)
    }

    fn json(&mut self, node: &Node, indent: usize) {
        if let Some(line) = self.on_one_line(node).filter(|_| !self.out.trim().is_empty()) {
            self.out.push_str(&line);
            return;
        }
        match node {
            Node::List(items) if !items.is_empty() => {
                self.out.push('[');
                for (at, item) in items.iter().enumerate() {
                    self.out.push_str(if at == 0 { "" } else { "," });
                    self.new_line(indent + 2);
                    self.json(&item.value, indent + 2);
                }
                self.new_line(indent);
                self.out.push(']');
            }
            Node::Map(Map(members)) if !members.is_empty() => {
                self.out.push('{');
                for (at, member) in members.iter().enumerate() {
                    self.out.push_str(if at == 0 { "" } else { "," });
                    self.new_line(indent + 2);
                    self.out.push_str(&quoted_as(Syntax::Json, &member.key));
                    self.out.push_str(": ");
                    self.json(&member.value, indent + 2);
                }
                self.new_line(indent);
                self.out.push('}');
            }
            Node::Plain(_) | Node::Text(_) | Node::List(_) | Node::Map(_) => {
                self.out.push_str(&inline(node, Syntax::Json));
            }
        }
    }

    fn yaml(&mut self, node: &Node, indent: usize) {
        match node {
            Node::List(items) if !items.is_empty() => {
                for (at, item) in items.iter().enumerate() {
                    if at > 0 {
                        self.new_line(indent);
                    }
                    self.comments(&item.comments, indent);
                    self.out.push_str("- ");
                    match self.on_one_line(&item.value) {
                        // A short mapping is as clear in a line as in several; anything else of a list too.
                        Some(line) => self.out.push_str(&line),
                        None => self.yaml(&item.value, indent + 2),
                    }
                }
            }
            Node::Map(Map(members)) if !members.is_empty() => {
                for (at, member) in members.iter().enumerate() {
                    if at > 0 {
                        self.new_line(indent);
                    }
                    self.comments(&member.comments, indent);
                    self.out.push_str(&scalar(&member.key, NodeStyle::Flow));
                    self.out.push(':');
                    self.yaml_member(&member.value, indent);
                }
            }
            Node::Plain(text) => self.out.push_str(text),
            Node::Text(text) => self.out.push_str(&scalar(text, NodeStyle::Block)),
            Node::List(_) | Node::Map(_) => self.out.push_str(&inline(node, Syntax::Yaml)),
        }
    }

    fn yaml_member(&mut self, value: &Node, indent: usize) {
        self.out.push(' ');
        if let Node::Text(text) = value {
            self.out.push_str(&scalar(text, NodeStyle::Block));
            return;
        }
        if let Some(line) = self.on_one_line(value) {
            self.out.push_str(&line);
            return;
        }
        let long = matches!(value, Node::List(items) if !items.is_empty())
            || matches!(value, Node::Map(Map(members)) if !members.is_empty());
        if long {
            self.out.pop();
            self.new_line(indent + 2);
        }
        self.yaml(value, indent + 2);
    }

    fn comments(&mut self, comments: &[String], indent: usize) {
        for comment in comments {
            self.out.push_str(if comment.is_empty() { "#" } else { "# " });
            self.out.push_str(comment);
            self.new_line(indent);
        }
    }
}

/// How many containers are within each other; `None` where a comment needs a line of its own.
fn height(node: &Node) -> Option<usize> {
    let inner =
        |value: &Node, comments: &[String]| if comments.is_empty() { height(value) } else { None };
    let highest =
        |heights: Option<Vec<usize>>| Some(heights?.into_iter().max().map_or(0, |most| most + 1));
    match node {
        Node::Plain(_) | Node::Text(_) => Some(0),
        Node::List(items) => highest(
            items.iter().map(|TreeItem { comments, value }| inner(value, comments)).collect(),
        ),
        Node::Map(Map(members)) => highest(
            members
                .iter()
                .map(|TreeMember { comments, value, .. }| inner(value, comments))
                .collect(),
        ),
    }
}

fn inline(node: &Node, syntax: Syntax) -> String {
    let text = |text: &str| match syntax {
        Syntax::Json => quoted_as(Syntax::Json, text),
        Syntax::Yaml => scalar(text, NodeStyle::Flow),
    };
    match node {
        Node::Plain(plain) => plain.clone(),
        Node::Text(string) => text(string),
        Node::List(items) => {
            let items: Vec<String> = items.iter().map(|item| inline(&item.value, syntax)).collect();
            format!("[{}]", items.join(", "))
        }
        Node::Map(Map(members)) if members.is_empty() => "{}".to_owned(),
        Node::Map(Map(members)) => {
            let member = |member: &TreeMember| {
                format!("{}: {}", text(&member.key), inline(&member.value, syntax))
            };
            let members: Vec<String> = members.iter().map(member).collect();
            match syntax {
                Syntax::Json => format!("{{ {} }}", members.join(", ")),
                Syntax::Yaml => format!("{{{}}}", members.join(", ")),
            }
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum NodeStyle {
    Block,
    Flow,
}

/// A string as YAML: plain where every reader of YAML 1.1 and 1.2 takes it for the same string, else as JSON.
fn scalar(text: &str, place: NodeStyle) -> String {
    const WORDS: [&str; 8] = ["true", "false", "null", "yes", "no", "on", "off", "y"];
    let also = if place == NodeStyle::Block { " _-./+@$()'\",;!?=<>%" } else { "_-./+@$ " };
    let fits = |character: char| character.is_ascii_alphanumeric() || also.contains(character);
    let plain = text.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_')
        && text.chars().all(fits)
        && !text.ends_with(' ')
        && text != "n"
        && text != "N"
        && !WORDS.contains(&text.to_ascii_lowercase().as_str());
    if plain { text.to_owned() } else { quoted(text) }
}

#[cfg(test)]
mod tests {
    use crate::json::{Duplicates, parse};
    use proptest::prelude::*;

    use super::{Node, Syntax, print};

    fn node() -> impl Strategy<Value = Node> {
        let text = prop_oneof![
            "\\PC{0,12}",
            "[a-zA-Z0-9 :#'\"{}\\[\\],&*!|>%@`?~\n\t\\\\-]{0,12}",
            prop::sample::select(vec![
                "yes",
                "No",
                "~",
                "1",
                "0x1",
                ".5",
                "- a",
                "a: b",
                "a #b",
                "\u{85}",
                "\u{2028}",
                "\u{feff}",
                "",
                " ",
                "a\u{202e}b\u{200b}",
                "\u{1d173}\u{e0041}"
            ])
            .prop_map(str::to_owned),
        ];
        let leaf = prop_oneof![
            text.clone().prop_map(Node::Text),
            prop::sample::select(vec!["null", "true", "1", "-2.50", "1e3"])
                .prop_map(|plain| Node::Plain(plain.to_owned())),
        ];
        leaf.prop_recursive(5, 40, 5, move |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..5).prop_map(Node::list),
                proptest::collection::btree_map(text.clone(), inner, 0..5).prop_map(Node::map),
            ]
        })
    }

    proptest! {
        #[test]
        fn what_is_printed_is_read_back(node in node()) {
            let node = Node::map([("root", node)]);
            let json = print(&node, Syntax::Json, 0);
            prop_assert_eq!(&Node::from(&parse(&json, Duplicates::Refuse).unwrap()), &node, "{}", json);
            let yaml = print(&node, Syntax::Yaml, 2);
            let read = crate::yaml::read(&yaml);
            prop_assert!(read.is_ok(), "{:?}\n{}", read, yaml);
            prop_assert_eq!(&Node::from(&read.unwrap()), &node, "{}", yaml);
        }
    }
}
