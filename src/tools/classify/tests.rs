use std::collections::{BTreeMap, HashSet};

use serde_json::json;

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
    let kinds = [
        "thing",
        "topic",
        "phrase",
        "verb",
        "money",
        "noun",
        "argument",
        "description",
        "first",
        "sensitive",
    ];
    let mut seen = HashSet::new();
    for line in include_str!("../rules.tsv")
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
    {
        let columns: Vec<&str> = line.split('\t').collect();
        let [kind, class, words, why] = *columns else { panic!("not four columns: {line}") };
        assert!(
            kinds.contains(&kind) && !why.is_empty() && ToolClass::of(class).is_some(),
            "{line}"
        );
        if !matches!(kind, "thing" | "phrase" | "description") {
            for word in words.split(' ') {
                let again = !seen.insert((kind, word));
                assert!(!again, "`{word}` is there twice as {kind}");
            }
        }
        seen.insert((kind, words));
    }
    assert!(seen.len() > 200, "{}", seen.len());
}

/// The table of real tools. A fourth column is what the classifier says of a name that it takes for worse than it is; it may
/// never take one for better.
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
        let (found, evidence) = classifier.by_name(name);
        let cautious = columns.get(3).map(|class| ToolClass::of(class).unwrap());
        exact += usize::from(found == class);
        assert!(cautious.is_none_or(|cautious| cautious > class), "{line}");
        if found != cautious.unwrap_or(class) {
            wrong.push(format!("{name} of {server}: {found}, not {class} ({evidence})"));
        }
    }
    assert!(rows >= 300 && servers.len() >= 40, "{rows} tools of {} servers", servers.len());
    assert!(wrong.is_empty(), "{} of {rows} wrong:\n{}", wrong.len(), wrong.join("\n"));
    assert!(exact * 100 >= rows * 95, "{exact} of {rows}");
}

fn judge(tool: serde_json::Value) -> (ToolClass, Risk) {
    let judgement = Classifier::new().judge(&Tool::read(tool).unwrap());
    (judgement.class, judgement.risk)
}

#[test]
fn what_a_server_says_can_raise_but_never_lower() {
    for (tool, class, risk) in [
        (json!({"name": "get_x"}), ToolClass::Read, Risk::Low),
        (json!({"name": "obliterate_logs"}), ToolClass::Write, Risk::Medium),
        (json!({"name": "pod_logs"}), ToolClass::Read, Risk::Low),
        (json!({"name": "frobnicate"}), ToolClass::Write, Risk::Medium),
        (
            json!({"name": "frobnicate", "annotations": {"readOnlyHint": true}}),
            ToolClass::Write,
            Risk::Medium,
        ),
        (
            json!({"name": "delete_x", "annotations": {"readOnlyHint": true, "destructiveHint": false}, "description": "Only reads."}),
            ToolClass::Destructive,
            Risk::High,
        ),
        (
            json!({"name": "get_x", "annotations": {"readOnlyHint": false}}),
            ToolClass::Write,
            Risk::Medium,
        ),
        (
            json!({"name": "get_x", "annotations": {"destructiveHint": true}}),
            ToolClass::Destructive,
            Risk::High,
        ),
        (
            json!({"name": "get_x", "annotations": {"destructiveHint": true, "readOnlyHint": true}}),
            ToolClass::Read,
            Risk::Low,
        ),
        (json!({"name": "get_x", "description": "Deletes x."}), ToolClass::Destructive, Risk::High),
        (
            json!({"name": "get_x", "description": "Get x. This CANNOT be undone!"}),
            ToolClass::Destructive,
            Risk::High,
        ),
        (
            json!({"name": "query", "inputSchema": {"properties": {"sql": {}}}}),
            ToolClass::Execute,
            Risk::Critical,
        ),
        (
            json!({"name": "query", "inputSchema": {"properties": {"text": {}}}}),
            ToolClass::Read,
            Risk::Low,
        ),
        (
            json!({"name": "query", "inputSchema": {"properties": "sql"}}),
            ToolClass::Read,
            Risk::Low,
        ),
        (json!({"name": "get_secret"}), ToolClass::Read, Risk::High),
        (json!({"name": "create_refund"}), ToolClass::Financial, Risk::Critical),
        (json!({"name": "list_refunds"}), ToolClass::Read, Risk::Low),
        (json!({"name": "get_or_create_refund"}), ToolClass::Financial, Risk::Critical),
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
        let bare = classifier.judge(&Tool::read(json!({"name": name})).unwrap());
        for more in [
            json!({"name": name, "description": "Read-only, safe, idempotent. Lists things.", "annotations": {"readOnlyHint": true, "destructiveHint": false, "idempotentHint": true, "openWorldHint": false}}),
            json!({"name": name, "title": "Get", "inputSchema": {"type": "object", "properties": {"id": {"type": "string"}}}}),
            json!({"name": name, "annotations": {"title": "List", "destructiveHint": true}, "description": "Deletes."}),
        ] {
            let more = classifier.judge(&Tool::read(more).unwrap());
            assert!(
                more.class >= bare.class && more.risk >= bare.risk,
                "{name}: {bare:?} {more:?}"
            );
        }
    }
}
