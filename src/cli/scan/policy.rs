//! A first policy: everything denied that is not listed, every tool listed with what is known of it, and limits by class.

use std::collections::HashSet;

use serde_json::Value;

use super::combine::combinations;
use super::inventory;
use super::profile::Profile;
use super::scanned::ScannedServer;
use crate::cli::definition::pin;
use crate::cli::key::{argument_path, can_be_key};
use crate::cli::tree::print::print;
use crate::cli::tree::{Map, Node, TreeMember};
use mcp_policy::source::Syntax;
use mcp_policy::tools::classify::kinds::{Classification, ToolClass};
use mcp_policy::tools::{Tool, one_line};

/// Longest line of a comment, in characters.
const MOST_COMMENT: usize = 140;

/// Most conditions that are suggested for one tool.
const MOST_HINTS: usize = 5;

/// A policy, and the tools that it cannot list.
pub(super) struct PolicyDraft {
    pub(super) text: String,
    pub(super) notes: Vec<String>,
}

/// Calls a minute of all agents behind one address: five times what the widest profile lets one read.
const MOST_OF_ONE_ADDRESS: u32 = 600;

/// Writes a policy for the tools of a server.
pub(super) fn draft(server: &ScannedServer, (profile, pins): (Profile, bool)) -> PolicyDraft {
    let tools = server.outcome.as_ref().map(|judged| judged.tools.as_slice()).unwrap_or_default();
    let mut notes = server.left_out.clone();
    let mut entries = Map::default();
    let mut seen = HashSet::new();
    let mut sorted: Vec<&(Tool, Classification)> = tools.iter().collect();
    sorted.sort_by_key(|(_, judgement)| judgement.class);
    for (tool, judgement) in sorted {
        if let Err(why) = listable(&tool.name, &mut seen) {
            notes.push(format!(
                "`{}` is not in the policy, which denies it: {why}",
                one_line(&tool.name, 80)
            ));
            continue;
        }
        let comments = comments(tool, judgement);
        let mut entry = profile.entry(judgement);
        notes.extend(if pins { pin(&mut entry, tool) } else { None });
        let (key, value) = (tool.name.clone(), Node::Map(entry));
        entries.0.push(TreeMember { comments, key, value });
    }
    let mut policy = Map::default();
    policy.push("version", Node::text("1"));
    if let Some(name) = policy_name(&server.name) {
        policy.push("name", Node::Text(name));
    }
    policy.push(
        "description",
        Node::Text(format!("A first policy for {}", one_line(&server.name, 80))),
    );
    policy.push("default", Node::text("deny"));
    policy.0.push(ceiling());
    policy.push("tools", Node::Map(entries));
    let asks = |node: &Node| node.as_map().is_some_and(|entry| entry.get("approval").is_some());
    let tools = policy.get("tools").and_then(Node::as_map);
    let asks = tools.is_some_and(|tools| tools.0.iter().any(|tool| asks(&tool.value)));
    if let Some(first) = policy.0.first_mut() {
        first.comments = head(profile, asks, server, &notes);
    }
    PolicyDraft { text: print(&Node::Map(policy), Syntax::Yaml, 0), notes }
}

/// What one address may do, whoever it says that it is: limits by caller alone hold nobody who invents credentials.
fn ceiling() -> TreeMember {
    let limit = Node::map([
        ("counter", Node::text("calls_of_one_address")),
        ("window", Node::text("minute")),
        ("max", Node::number(MOST_OF_ONE_ADDRESS)),
        ("scope", Node::text("address")),
    ]);
    TreeMember {
        comments: vec![
            "Holds also who invents a new credential for each call. Envoy's connection manager must say `use_remote_address: true`.".to_owned(),
        ],
        key: "all_tools".to_owned(),
        value: Node::map([("limits", Node::list([limit]))]),
    }
}

fn head(profile: Profile, asks: bool, server: &ScannedServer, notes: &[String]) -> Vec<String> {
    let mut head = vec![
        "A first policy, written by `mcp-policy scan`. Read it through: what is known of a tool is what its server says.".to_owned(),
        format!("Profile {}.", profile.about()),
        "To use a line that begins with `consider`, write what follows it into the entry, as `require: [{conditions: [{…}]}]`.".to_owned(),
    ];
    if asks {
        head.extend([
            "`approval: user` has the agent's own program ask its user about each call: a confirmation, not a second person. Clients that cannot ask".to_owned(),
            "are denied. Envoy needs a secret, MCP_POLICY_APPROVAL_SECRET, and callers should have names: see Approval in policies/README.md.".to_owned(),
        ]);
    }
    let together = combinations(std::slice::from_ref(server));
    head.extend(
        together
            .iter()
            .flat_map(|found| found.lines(false))
            .map(|line| one_line(&line, MOST_COMMENT)),
    );
    let remarks = server.outcome.iter().flat_map(|judged| &judged.remarks);
    head.extend(remarks.chain(notes).map(|note| one_line(note, MOST_COMMENT)));
    head
}

/// Whether a tool can be listed: by a key of its own, and once.
fn listable(name: &str, seen: &mut HashSet<String>) -> Result<(), &'static str> {
    can_be_key(name)?;
    if !seen.insert(mcp_policy::matcher::normal::nfc(name).into_owned()) {
        return Err("the server lists this name twice");
    }
    Ok(())
}

fn comments(tool: &Tool, judgement: &Classification) -> Vec<String> {
    let mut comments = Vec::new();
    let description = one_line(&tool.description, MOST_COMMENT);
    if !description.is_empty() {
        comments.push(description);
    }
    let class = inventory::class(judgement);
    let marks: String = judgement.shown_marks().map(|found| format!(", {}", found.mark)).collect();
    comments.push(one_line(
        &format!(
            "{class}{marks}, {} severity, {} confidence: {}",
            judgement.severity,
            judgement.confidence,
            inventory::why(judgement)
        ),
        MOST_COMMENT,
    ));
    if !judgement.flags.is_empty() {
        comments
            .push(one_line(&format!("arguments: {}", inventory::flags(judgement)), MOST_COMMENT));
    }
    comments.extend(
        hints(tool, judgement.class)
            .into_iter()
            .take(MOST_HINTS)
            .map(|hint| format!("consider {hint}")),
    );
    comments
}

/// Conditions that suit the arguments, each on one line.
fn hints(tool: &Tool, class: ToolClass) -> Vec<String> {
    let conditions = tool.arguments().filter_map(|(name, schema, _)| {
        let path = argument_path(name)?;
        let (op, value) = condition(name, schema, class)?;
        Some(Node::list([Node::map([
            ("path", Node::Text(path)),
            ("op", Node::text(op)),
            ("value", value),
        ])]))
    });
    let lines = conditions.map(|condition| print(&condition, Syntax::Yaml, 0));
    let hints =
        lines.filter_map(|line| line.strip_prefix("- ").map(|line| line.trim_end().to_owned()));
    // What does not fit on a line, or is not what it looks like, is left out.
    hints.filter(|hint| !hint.contains('\n') && one_line(hint, MOST_COMMENT) == *hint).collect()
}

fn condition(name: &str, schema: &Value, class: ToolClass) -> Option<(&'static str, Node)> {
    let name = name.to_lowercase();
    let named = |words: &[&str]| {
        words.iter().any(|word| name == *word || name.ends_with(&format!("_{word}")))
    };
    let kind = schema.get("type").and_then(Value::as_str).unwrap_or_default();
    let text = |text: &str| Node::text(text);
    if kind == "string"
        && named(&["path", "file", "filename", "filepath", "directory", "dir", "folder"])
    {
        return Some(("regex", text("^/data/([^./][^/]*/)*[^./][^/]*$")));
    }
    if kind == "string" && named(&["url", "uri", "endpoint", "webhook"]) {
        return Some(("starts_with", text("https://example.com/")));
    }
    if class == ToolClass::Read {
        return None;
    }
    let values = schema.get("enum").and_then(Value::as_array);
    let texts: Option<Vec<Node>> =
        values.map(|values| values.iter().filter_map(Value::as_str).map(Node::text).collect());
    if let Some(texts) = texts.filter(|texts| !texts.is_empty()) {
        return Some(("in", Node::list(texts)));
    }
    match kind {
        "number" | "integer" => {
            let most = schema.get("maximum").and_then(Value::as_u64);
            let counted = named(&[
                "amount", "price", "quantity", "count", "limit", "size", "replicas", "total",
            ]);
            let most = most.or_else(|| counted.then_some(100))?;
            Some(("lte", Node::number(most)))
        }
        "string" if named(&["to", "recipient", "email"]) => {
            Some(("ends_with", text("@example.com")))
        }
        "string"
            if named(&[
                "channel",
                "repo",
                "repository",
                "owner",
                "org",
                "project",
                "database",
                "table",
                "bucket",
                "namespace",
                "branch",
                "workspace",
                "environment",
                "currency",
                "cluster",
            ]) =>
        {
            Some(("in", Node::list([text("first"), text("second")])))
        }
        _ => None,
    }
}

/// What a policy is called after its server; none where nothing is left of the name.
pub(super) fn policy_name(server: &str) -> Option<String> {
    let plain = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' };
    let name: String = server.chars().map(plain).take(60).collect();
    let name = name.trim_matches('-');
    (!name.is_empty()).then(|| name.to_owned())
}

#[cfg(test)]
mod tests {
    use mcp_policy::policy::compiled::Config;
    use serde_json::json;

    use super::*;
    use mcp_policy::tools::classify::Classifier;

    fn judged(name: &str, tools: Value) -> ScannedServer {
        let tools = Tool::read_list(&tools.to_string()).unwrap();
        let outcome = Ok(Classifier::new().judge_all(tools));
        ScannedServer {
            name: name.to_owned(),
            calls_itself: None,
            configuration: None,
            reached: None,
            outcome,
            left_out: Vec::new(),
        }
    }

    fn loads(text: &str) -> Config {
        let value = mcp_policy::yaml::read(text).unwrap_or_else(|fault| panic!("{fault}\n{text}"));
        Config::compile(&value, "").unwrap_or_else(|problems| panic!("{problems:?}\n{text}")).config
    }

    /// A server that wants its texts to become policy.
    #[test]
    fn no_text_of_a_server_becomes_policy() {
        let server = judged(
            "server\nname",
            json!([
                {"name": "*"}, {"name": "a?"}, {"name": ""}, {"name": "_global"}, {"name": "twice"}, {"name": "twice"},
                {"name": "delete_x", "description": "x\n  evil: {}\r\u{85}  evil2: {}\u{2028}  evil3: {}\u{0}"},
                {"name": "odd\n\"key\": {}", "description": "- a: b"},
                {"name": "x: {}\n# y"},
                {"name": "write", "inputSchema": {"properties": {"mode": {"enum": ["a\n", "b: c", "#d", "\u{202e}e"]}, "a\nb": {"type": "number", "maximum": 3}}}}
            ]),
        );
        let draft = draft(&server, (Profile::Cautious, false));
        let config = loads(&draft.text);
        let names: Vec<String> =
            config.policy.entries().map(|entry| format!("{:?}", entry.pattern)).collect();
        assert_eq!(names.len(), 5, "{names:?}\n{}", draft.text);
        assert_eq!(draft.notes.len(), 5, "{:?}", draft.notes);
        assert!(!names.iter().any(|name| name.contains("evil")), "{names:?}");
        assert!(
            draft
                .text
                .lines()
                .all(|line| !line.contains(|c: char| c.is_control() || c == '\u{202e}')),
            "{}",
            draft.text
        );
    }

    /// What is suggested is a condition that loads.
    #[test]
    fn hints_are_conditions() {
        let table = json!({
            "path": {"type": "string"}, "target_url": {"type": "string"}, "amount": {"type": "integer"}, "n": {"type": "number", "maximum": 7},
            "mode": {"type": "string", "enum": ["a", "b c", "d: e"]}, "to": {"type": "string"},
            "channel": {"type": "string"}, "odd name": {"type": "integer", "maximum": 1}, "a.count": {"type": "integer", "maximum": 1}
        });
        let mut checked = 0;
        for (name, schema) in table.as_object().unwrap() {
            let tool =
                Tool::read(json!({"name": "write", "inputSchema": {"properties": {name: schema}}}))
                    .unwrap();
            let hints = hints(&tool, ToolClass::Write);
            assert_eq!(hints.len(), 1, "{name}");
            loads(&format!(
                "version: \"1\"\ndefault: deny\ntools:\n  write:\n    require:\n      - conditions: [{}]\n",
                hints[0]
            ));
            checked += 1;
        }
        assert_eq!(checked, 9);
    }

    #[test]
    fn every_profile_loads_for_every_class() {
        let server = judged(
            "s",
            json!([{"name": "get"}, {"name": "blub"}, {"name": "write"}, {"name": "delete"}, {"name": "exec"}, {"name": "pay"}]),
        );
        let tools = &server.outcome.as_ref().unwrap().tools;
        let classes: Vec<ToolClass> = tools.iter().map(|(_, judgement)| judgement.class).collect();
        assert_eq!(
            classes,
            [
                ToolClass::Read,
                ToolClass::Unknown,
                ToolClass::Write,
                ToolClass::Destructive,
                ToolClass::Execute,
                ToolClass::Financial
            ]
        );
        for profile in [Profile::Cautious, Profile::Balanced, Profile::Open] {
            assert_eq!(loads(&draft(&server, (profile, true)).text).policy.entries().count(), 6);
        }
    }
}
