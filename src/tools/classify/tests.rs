use std::collections::{BTreeMap, HashSet};

use serde_json::{Value, json};

use super::words::words;
use super::*;

#[test]
fn names_are_cut_into_words() {
    for (name, expected) in [
        ("execute_sql", "execute sql"),
        ("executeSQLQuery", "execute sql query"),
        ("ListMetrics", "list metrics"),
        ("get-sum", "get sum"),
        ("list_k8s_resources", "list k s resources"),
        ("a.b/c d", "a b c d"),
        ("", ""),
        ("*", ""),
    ] {
        assert_eq!(words(name).join(" "), expected, "{name}");
    }
}

/// Every line of the table is read: none is dropped for a wrong column or an unknown word.
#[test]
fn every_rule_is_read() {
    let text = include_str!("../rules.tsv");
    RuleBook::default().extend(text).unwrap();
    let mut seen = HashSet::new();
    let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    for line in lines {
        let columns: Vec<&str> = line.split('\t').collect();
        let [kind, value, words, _] = *columns else { panic!("not four columns: {line}") };
        let several = matches!(
            kind,
            "thing" | "phrase" | "description" | "pair" | "hint" | "text" | "language"
        );
        let value = if matches!(kind, "mark" | "send" | "unmark" | "hint" | "text" | "maybe") {
            value
        } else {
            ""
        };
        let words: Vec<&str> = if several { vec![words] } else { words.split(' ').collect() };
        for word in words {
            // A list of files is both: a path, and many at once.
            let bulk = kind == "argument" && columns[1] == "bulk";
            assert!(seen.insert((kind, value, word, bulk)), "`{word}` is there twice as {kind}");
        }
    }
    assert!(seen.len() > 900, "{}", seen.len());
}

#[test]
fn a_users_rules_hold_before_the_others() {
    let mut classifier = Classifier::new();
    for wrong in [
        "verb\tread\tx",
        "verb\tnone\tx\twhy",
        "x\tread\tx\twhy",
        "hint\truns\tx\twhy",
        "verb\tread\t\twhy",
        "mark\tread\tx\twhy",
    ] {
        assert!(classifier.extend(wrong).is_err(), "{wrong}");
    }
    let rules = "# mine\n\nverb\tread\tdelete\tmeans nothing here\ntool\tfinancial\tbook_*\tcosts\ntool\topen_world\tget_x\tsends it on\nargument\tcode\tget\truns\n";
    classifier.extend(rules).unwrap();
    let judged = classifier.judge_all(
        Tool::read_list(r#"[{"name": "delete_x"}, {"name": "book_flight"}, {"name": "get_x"}]"#)
            .unwrap(),
    );
    let found: Vec<ToolClass> = judged.tools.iter().map(|(_, judgement)| judgement.class).collect();
    assert_eq!(found, [ToolClass::Read, ToolClass::Financial, ToolClass::Read]);
    assert!(judged.tools[2].1.is_marked(ToolMark::OpenWorld));
    assert_eq!(judged.tools[1].1.severity, ToolSeverity::Critical);
}

/// The table of real tools. A fourth column is what the classifier says of a name that it takes for worse than it is, or that it
/// does not understand; it may never take one for better.
#[test]
fn real_tools_get_their_class() {
    let classifier = Classifier::new();
    let table = include_str!("../../../tests/data/scan/tools.tsv");
    let (mut wrong, mut rows, mut exact) = (Vec::new(), 0, 0);
    let mut servers: BTreeMap<&str, usize> = BTreeMap::new();
    for line in table.lines().filter(|line| !line.starts_with('#')) {
        let columns: Vec<&str> = line.split('\t').collect();
        let (name, server, class) = (columns[0], columns[1], ToolClass::of(columns[2]).unwrap());
        rows += 1;
        *servers.entry(server).or_default() += 1;
        let verdict = classifier.rules.by_name(name);
        let (found, evidence) = (verdict.class, verdict.evidence);
        let cautious = columns.get(3).map(|class| ToolClass::of(class).unwrap());
        exact += usize::from(found == class);
        assert!(
            cautious.is_none_or(|cautious| cautious > class || cautious == ToolClass::Unknown),
            "{line}"
        );
        if found != cautious.unwrap_or(class) {
            wrong.push(format!("{name} of {server}: {found}, not {class} ({evidence})"));
        }
    }
    assert!(rows >= 300 && servers.len() >= 40, "{rows} tools of {} servers", servers.len());
    assert!(wrong.is_empty(), "{} of {rows} wrong:\n{}", wrong.len(), wrong.join("\n"));
    assert!(exact * 100 >= rows * 95, "{exact} of {rows}");
}

fn judge_one(classifier: &Classifier, tool: Value) -> Classification {
    let judged = classifier.judge_all(vec![Tool::read(tool).unwrap()]);
    judged.tools[0].1.clone()
}

fn judge(tool: Value) -> (ToolClass, ToolSeverity) {
    let judgement = judge_one(&Classifier::new(), tool);
    (judgement.class, judgement.severity)
}

#[test]
#[expect(clippy::too_many_lines, reason = "a table")]
fn what_a_server_says_can_raise_but_never_lower() {
    for (tool, class, risk) in [
        (json!({"name": "get_x"}), ToolClass::Read, ToolSeverity::Low),
        (json!({"name": "obliterate_logs"}), ToolClass::Unknown, ToolSeverity::Medium),
        (json!({"name": "pod_logs"}), ToolClass::Read, ToolSeverity::Low),
        (json!({"name": "frobnicate"}), ToolClass::Unknown, ToolSeverity::Medium),
        (
            json!({"name": "frobnicate", "annotations": {"readOnlyHint": true}}),
            ToolClass::Unknown,
            ToolSeverity::Medium,
        ),
        (
            json!({"name": "delete_x", "annotations": {"readOnlyHint": true, "destructiveHint": false}, "description": "Only reads."}),
            ToolClass::Destructive,
            ToolSeverity::High,
        ),
        (
            json!({"name": "get_x", "annotations": {"readOnlyHint": false}}),
            ToolClass::Write,
            ToolSeverity::Medium,
        ),
        (
            json!({"name": "get_x", "annotations": {"destructiveHint": true}}),
            ToolClass::Destructive,
            ToolSeverity::High,
        ),
        (
            json!({"name": "get_x", "annotations": {"destructiveHint": true, "readOnlyHint": true}}),
            ToolClass::Read,
            ToolSeverity::Low,
        ),
        (
            json!({"name": "get_x", "description": "Deletes x."}),
            ToolClass::Destructive,
            ToolSeverity::High,
        ),
        (
            json!({"name": "get_x", "description": "Get x. This CANNOT be undone!"}),
            ToolClass::Destructive,
            ToolSeverity::High,
        ),
        (
            json!({"name": "query", "inputSchema": {"properties": {"sql": {}}}}),
            ToolClass::Execute,
            ToolSeverity::Critical,
        ),
        (
            json!({"name": "query", "inputSchema": {"properties": {"text": {}}}}),
            ToolClass::Read,
            ToolSeverity::Low,
        ),
        (
            json!({"name": "query", "inputSchema": {"properties": "sql"}}),
            ToolClass::Read,
            ToolSeverity::Low,
        ),
        (json!({"name": "get_secret"}), ToolClass::Read, ToolSeverity::High),
        (json!({"name": "create_refund"}), ToolClass::Financial, ToolSeverity::Critical),
        (json!({"name": "list_refunds"}), ToolClass::Read, ToolSeverity::Low),
        (json!({"name": "get_or_create_refund"}), ToolClass::Financial, ToolSeverity::Critical),
    ] {
        assert_eq!(judge(tool.clone()), (class, risk), "{tool}");
    }
}

/// Nothing that a server can add to a tool makes it look more harmless than its name.
#[test]
fn no_addition_lowers_a_risk() {
    let classifier = Classifier::new();
    let names = include_str!("../../../tests/data/scan/tools.tsv")
        .lines()
        .filter(|line| !line.starts_with('#'));
    for name in names.filter_map(|line| line.split('\t').next()) {
        let bare = judge_one(&classifier, json!({"name": name}));
        for more in [
            json!({"name": name, "description": "Read-only, safe, idempotent. Lists things.", "annotations": {"readOnlyHint": true, "destructiveHint": false, "idempotentHint": true, "openWorldHint": false}}),
            json!({"name": name, "title": "Get", "inputSchema": {"type": "object", "properties": {"id": {"type": "string"}}}}),
            json!({"name": name, "annotations": {"title": "List", "destructiveHint": true}, "description": "Deletes."}),
        ] {
            let more = judge_one(&classifier, more);
            assert!(
                more.class >= bare.class && more.severity >= bare.severity,
                "{name}: {bare:?} {more:?}"
            );
        }
    }
}

/// Definitions of tools with what they must come to, beside the other tools of their servers: what hand tests found.
#[test]
fn definitions_get_their_class_severity_and_marks() {
    let classifier = Classifier::new();
    let servers: Vec<Value> =
        serde_json::from_str(include_str!("../../../tests/data/scan/findings.json")).unwrap();
    let (mut wrong, mut checked) = (Vec::new(), 0);
    for server in &servers {
        let tools = Tool::read_list(&server["tools"].to_string()).unwrap();
        for (tool, judgement) in classifier.judge_all(tools).tools {
            let Some(expected) = tool.raw.get("expect") else { continue };
            let mut found = json!({
                "class": judgement.class.word(),
                "severity": judgement.severity.to_string(),
                "marks": judgement.shown_marks().map(|found| found.mark.to_string()).collect::<Vec<_>>(),
            });
            if judgement.class == ToolClass::Unknown {
                found["proposal"] =
                    judgement.proposal.as_ref().map(|proposal| proposal.class.word()).into();
            }
            checked += 1;
            let mut keys: Vec<&String> = expected.as_object().unwrap().keys().collect();
            keys.sort();
            if keys.iter().any(|key| found[key.as_str()] != expected[key.as_str()]) {
                wrong.push(format!(
                    "{} of {}: {found}, not {expected}; {judgement:?}",
                    tool.name, server["server"]
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{} of {checked} wrong:\n{}", wrong.len(), wrong.join("\n"));
    assert!(checked >= 60, "{checked}");
}

/// A schema that names itself, many times over, is looked at for a bounded time; what was not looked at makes a read unknown.
#[test]
fn no_schema_takes_for_ever() {
    let many: Vec<Value> = (0..90).map(|_| json!({"$ref": "#/$defs/a"})).collect();
    let itself = json!({"anyOf": many, "properties": {"x": {"$ref": "#/$defs/a"}, "y": {"items": {"$ref": "#/$defs/a"}}}});
    let deep = json!({"name": "get_x", "inputSchema": {"$defs": {"a": itself}, "properties": {"z": {"$ref": "#/$defs/a"}}}});
    assert_eq!(judge(deep).0, ToolClass::Unknown);
    let wide: serde_json::Map<String, Value> =
        (0..2000).map(|at| (format!("a{at}"), json!({"type": "string"}))).collect();
    let wide = json!({"name": "get_x", "inputSchema": {"properties": {"x": {"properties": wide}, "y": {"properties": {"sql": {"type": "string"}}}}}});
    assert_eq!(judge(wide).0, ToolClass::Unknown);
}
