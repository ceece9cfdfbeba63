//! `mcp-policy suggest`: whatever is on record, the policy loads, denies no call that was allowed, allows no name that never was, and
//! tells no secret.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use proptest::prelude::*;
use serde_json::{Value, json};

use crate::command::{Ran, command, run};

/// A line of an audit log.
fn line(second: usize, decision: &str, tool: &str, arguments: Option<Value>) -> Value {
    let (minute, second) = (second / 60 % 60, second % 60);
    let mut line = json!({
        "audit": 1, "time": format!("2026-11-27T02:{minute:02}:{second:02}Z"), "policy": "p", "decision": decision,
        "method": "tools/call", "tool": tool, "grant": "alice",
    });
    if let Some(arguments) = arguments {
        line["arguments"] = arguments;
    }
    if decision != "allow" {
        line["reason"] = json!("tool_denied");
        line["rule"] = json!("/tools/x/action");
    }
    line
}

fn log(name: &str, lines: &[Value]) -> PathBuf {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("suggest");
    fs::create_dir_all(&folder).unwrap();
    let path = folder.join(name);
    let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
    fs::write(&path, text).unwrap();
    path
}

fn command_on(arguments: &[&str], input: &str) -> Ran {
    run(&mut command(arguments), input.as_bytes())
}

fn suggested(name: &str, lines: &[Value], more: &[&str]) -> (String, String) {
    let log = log(name, lines);
    let arguments = [&["suggest", "--log", log.to_str().unwrap()], more].concat();
    let (code, policy, said) = command_on(&arguments, "");
    assert_eq!(code, 0, "{said}");
    let (code, _, problems) = command_on(&["validate", "-"], &policy);
    assert_eq!(code, 0, "{problems}\n{policy}");
    (policy, said)
}

/// What a policy decides of the lines of a log: how many calls, by decision and name.
fn replayed(name: &str, policy: &str, lines: &[Value]) -> Vec<(String, String, u64)> {
    let log = log(name, lines);
    let arguments = ["replay", "-", "--format", "json", "--log", log.to_str().unwrap()];
    let (code, out, said) = command_on(&arguments, policy);
    assert_eq!((code, &*said), (0, ""), "{policy}");
    let answer: Value = serde_json::from_str(&out).unwrap();
    let row = |row: &Value| {
        let text = |key: &str| row[key].as_str().unwrap().to_owned();
        (text("decision"), text("call"), row["calls"].as_u64().unwrap())
    };
    answer["outcomes"].as_array().unwrap().iter().map(row).collect()
}

/// The entries of the policy that are no comments.
fn entries(policy: &str) -> BTreeSet<String> {
    let value = mcp_policy::yaml::read(policy).unwrap();
    let tools = value.as_object().unwrap().get("tools").unwrap();
    tools.as_object().unwrap().0.iter().map(|member| member.key.to_string()).collect()
}

fn name() -> impl Strategy<Value = String> {
    prop_oneof![
        prop::sample::select(vec![
            "search",
            "Search",
            "refund",
            "yes",
            "null",
            "1",
            "a: b",
            "- a",
            "#x",
            "x: {}\n# y",
            "\u{202e}evil",
            "caf\u{e9}",
            "cafe\u{301}",
            "工具",
            "\"q\"",
            "{}",
            "default",
            "hide",
            "<script>",
        ])
        .prop_map(str::to_owned),
        "[a-z_]{1,8}",
        "\\PC{1,10}",
    ]
    // What matches other names, and what is never exact, cannot be listed; that is told by another test.
    .prop_filter("a name that can be listed", |name| {
        !name.contains(['*', '?']) && name.trim() == name && !name.chars().any(char::is_control)
    })
}

fn value() -> impl Strategy<Value = Value> {
    prop_oneof![
        4 => prop::sample::select(vec!["EUR", "USD", "null", "[1]", "{}", "5", "caf\u{e9}", "cafe\u{301}", "", "a\u{200b}"])
            .prop_map(Value::from),
        2 => (-5i64..5).prop_map(Value::from),
        1 => prop::sample::select(vec!["0.5", "1e3", "12345678901234567890", "0.1234567890123456789"])
            .prop_map(|number| serde_json::from_str(number).unwrap()),
        1 => any::<bool>().prop_map(Value::from),
        1 => Just(Value::Null),
        1 => Just(json!(["a"])),
    ]
}

/// Arguments of one shape, so that there is something in common.
fn arguments() -> impl Strategy<Value = Value> {
    let key = prop::sample::select(vec![
        "a",
        "A",
        "a_b",
        "aB",
        "odd key",
        "__proto__",
        "n",
        "a.b",
        "token",
    ]);
    let flat = prop::collection::btree_map(key, value(), 0..3);
    (flat, prop::option::of(value()), prop::option::of(value())).prop_map(
        |(flat, inner, currency)| {
            let mut object: serde_json::Map<String, Value> =
                flat.into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
            if let Some(inner) = inner {
                object.insert("within".to_owned(), json!({"deep": inner}));
            }
            if let Some(currency) = currency {
                object.insert("currency".to_owned(), currency);
            }
            Value::Object(object)
        },
    )
}

fn lines() -> impl Strategy<Value = Vec<Value>> {
    let decision =
        prop::sample::select(vec!["allow", "allow", "allow", "deny", "would_deny", "ask"]);
    // One shape of arguments for each tool, repeated often enough to be evidence.
    let tool = (name(), decision, arguments(), arguments(), prop::bool::weighted(0.9), 1usize..45);
    prop::collection::vec(tool, 1..6).prop_map(|tools| {
        let mut lines = Vec::new();
        for (name, decision, often, seldom, recorded, count) in tools {
            for at in 0..count {
                let arguments = if at % 7 == 3 { &seldom } else { &often };
                lines.push((at, decision, name.clone(), recorded.then(|| arguments.clone())));
            }
        }
        lines.sort_by_key(|(at, ..)| *at);
        let with_time = lines.into_iter().enumerate();
        let call = |(second, (_, decision, name, arguments)): (usize, (usize, &str, String, _))| {
            line(second, decision, &name, arguments)
        };
        with_time.map(call).collect()
    })
}

/// What must hold of any log.
fn holds(case: &str, lines: &[Value], more: &[&str]) {
    let (policy, _) = suggested(case, lines, more);
    let of = |decisions: &[&str]| -> Vec<Value> {
        let wanted = |line: &&Value| decisions.contains(&line["decision"].as_str().unwrap());
        lines.iter().filter(wanted).cloned().collect()
    };
    let allowed = of(&["allow"]);
    if !allowed.is_empty() {
        let decided = replayed(&format!("{case}-allowed"), &policy, &allowed);
        assert!(decided.iter().all(|(decision, ..)| decision == "allow"), "{decided:?}\n{policy}");
    }
    let nfc = |line: &Value| {
        mcp_policy::matcher::normal::nfc(line["tool"].as_str().unwrap()).into_owned()
    };
    let names: BTreeSet<String> = allowed.iter().map(nfc).collect();
    assert_eq!(entries(&policy), names, "{policy}");
    let never: Vec<Value> = of(&["deny", "would_deny", "ask"])
        .into_iter()
        .filter(|line| !names.contains(&nfc(line)))
        .collect();
    if !never.is_empty() {
        let decided = replayed(&format!("{case}-never"), &policy, &never);
        assert!(decided.iter().all(|(decision, ..)| decision == "deny"), "{decided:?}\n{policy}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn what_was_allowed_stays_allowed_and_nothing_else(lines in lines()) {
        holds("any.jsonl", &lines, &[]);
        holds("any-strict.jsonl", &lines, &["--strict"]);
    }
}

/// The comments are what they say: without the `#`, the policy is the strict one.
#[test]
fn conditions_are_ready_to_be_uncommented() {
    let arguments = |at: usize| {
        let mut arguments = json!({"currency": if at.is_multiple_of(2) { "EUR" } else { "USD" }, "amount": at, "live": true, "in": {"depth": 1.5}});
        if at.is_multiple_of(3) {
            arguments["note"] = json!("x");
        }
        Some(arguments)
    };
    let lines: Vec<Value> = (0..60).map(|at| line(at, "allow", "refund", arguments(at))).collect();
    let (commented, _) = suggested("comments.jsonl", &lines, &[]);
    let words = ["require:", "  - ", "    ", "deny_if:"];
    let uncommented = commented.lines().map(|line| {
        let bare = line.strip_prefix("    # ");
        let bare = bare.filter(|bare| words.iter().any(|word| bare.starts_with(word)));
        bare.map_or_else(|| format!("{line}\n"), |bare| format!("    {bare}\n"))
    });
    let uncommented: String = uncommented.collect();
    assert_ne!(uncommented, commented);
    let (strict, _) = suggested("comments.jsonl", &lines, &["--strict"]);
    for policy in [&uncommented, &strict] {
        assert_eq!(
            replayed("comments.jsonl", policy, &lines),
            [("allow".to_owned(), "refund".to_owned(), 60)],
            "{policy}"
        );
        for (key, other) in [
            ("currency", json!("GBP")),
            ("amount", json!(60)),
            ("live", json!(false)),
            ("note", json!("y")),
            ("in", json!({"depth": 2})),
        ] {
            let mut arguments = arguments(2).unwrap();
            arguments[key] = other;
            let call = [line(0, "deny", "refund", Some(arguments))];
            assert_eq!(replayed("other.jsonl", policy, &call)[0].0, "deny", "{key}: {policy}");
        }
    }
}

#[test]
fn no_secret_is_written_down() {
    let canary = "c4nary-Value-0123456789";
    let long = canary.repeat(4);
    let mut lines = Vec::new();
    for second in 0..30 {
        let arguments = json!({
            "password": canary, "accessToken": canary, "API-Key": canary, "Authorization": canary, "nested": {"client_secret": {"deep": canary}},
            "text": long, "header": format!("Bearer {canary}"), "taken": "[redacted]", "pin_key": 4711, "url": format!("https://u:{canary}@example.com"),
            "random": "c4naryVALUE0123456789",
        });
        lines.push(line(second, "allow", "login", Some(arguments)));
    }
    for more in [&[][..], &["--strict"]] {
        let (policy, said) = suggested("secrets.jsonl", &lines, more);
        for secret in ["c4nary", "4711"] {
            assert!(!policy.contains(secret) && !said.contains(secret), "{policy}");
        }
        assert!(!policy.contains("op:"), "no condition on what is not told: {policy}");
    }
}

#[test]
fn names_that_mean_more_than_themselves_are_left_out_and_told() {
    let names = ["search_*", "a?", "_global", ""];
    let mut lines: Vec<Value> = names.iter().map(|name| line(0, "allow", name, None)).collect();
    lines.push(line(1, "allow", "search", None));
    let (policy, said) = suggested("globs.jsonl", &lines, &[]);
    assert_eq!(entries(&policy), BTreeSet::from(["search".to_owned()]));
    for name in ["search_*", "a?", "_global"] {
        assert!(said.contains(&format!("\"{name}\" is not listed, and so denied")), "{said}");
    }
}

#[test]
fn many_names_are_bounded_and_those_left_out_are_told() {
    let mut lines: Vec<Value> = (0..10_500)
        .map(|at| {
            line(0, if at % 2 == 0 { "allow" } else { "deny" }, &format!("made_up_{at}"), None)
        })
        .collect();
    lines.extend((0..50).map(|at| line(at, "allow", "search", None)));
    let (policy, said) = suggested("many.jsonl", &lines, &[]);
    let listed = entries(&policy);
    assert_eq!((listed.len(), listed.contains("search")), (500, true));
    assert!(
        said.contains("only the 500 names that were used most are listed; 4751 more are left out"),
        "{said}"
    );
    assert!(policy.len() < 400_000, "{}", policy.len());
    assert!(policy.contains("# and 5150 more names that were not allowed"), "{}", "{policy}");
}

#[test]
fn policies_are_not_mixed() {
    let mut other = line(0, "allow", "wipe", None);
    other["policy"] = json!("q");
    let lines = [line(0, "allow", "search", None), other];
    let path = log("policies.jsonl", &lines);
    let (code, out, said) = command_on(&["suggest", "--log", path.to_str().unwrap()], "");
    assert_eq!((code, &*out), (1, ""));
    assert!(said.contains("`p`, `q`"), "{said}");
    let (policy, _) = suggested("policies.jsonl", &lines, &["--policy", "p"]);
    assert_eq!(entries(&policy), BTreeSet::from(["search".to_owned()]));
}

/// Resources are listed in the spelling in which they are matched; what names nothing is told.
#[test]
fn resources_and_prompts_that_were_governed_are_listed() {
    let of = |method: &str, decision: &str, key: &str, name: &str| json!({"audit": 1, "time": "2026-11-27T02:00:00Z", "policy": "p", "decision": decision, "method": method, key: name, "grant": "alice"});
    let lines = [
        of("resources/read", "allow", "resource", "HTTPS://Example.com:443/a%62c"),
        of("resources/read", "allow", "resource", "https://example.com/abc"),
        of("resources/read", "deny", "resource", "file:///etc/passwd"),
        of("completion/complete", "allow", "revision", "2025-11-25"),
        of("prompts/get", "pass", "revision", "2025-11-25"),
    ];
    let (policy, said) = suggested("resources.jsonl", &lines, &[]);
    let decided = replayed("resources.jsonl", &policy, &lines[..3]);
    let count = |decision: &str| {
        decided.iter().filter(|row| row.0 == decision).map(|row| row.2).sum::<u64>()
    };
    assert_eq!((count("allow"), count("deny")), (2, 1), "{decided:?}\n{policy}");
    assert_eq!(policy.matches("\n  \"https://example.com/abc\":").count(), 1, "{policy}");
    assert!(said.contains("1 request that passed may have been for resources"), "{said}");
    assert!(
        policy.contains("# prompts: {default: deny}")
            && policy.contains("# 2 requests that passed may have been for prompts"),
        "{policy}"
    );
    // Nothing is on record of either: neither is allowed.
    let (policy, _) = suggested("no-resources.jsonl", &[line(0, "allow", "search", None)], &[]);
    assert!(policy.ends_with("resources: {default: deny}\n# No call for prompts is on record.\nprompts: {default: deny}\n"), "{policy}");
}

/// Where keys alone are on record, they are told, and nothing is made of them.
#[test]
fn keys_alone_are_told() {
    let with_keys = |second: usize, keys: Value| {
        let mut line = line(second, "allow", "search", None);
        line["argument_keys"] = keys;
        line
    };
    let lines: Vec<Value> = (0..30)
        .map(|second| {
            with_keys(
                second,
                if second < 20 { json!(["query", "limit"]) } else { json!(["query"]) },
            )
        })
        .collect();
    let (policy, _) = suggested("keys.jsonl", &lines, &["--strict"]);
    for told in [
        "# arguments: their keys alone are on record",
        "# args.limit: values not on record, in 20 of 30 calls",
        "# args.query: values not on record\n",
    ] {
        assert!(policy.contains(told), "{told}: {policy}");
    }
    assert!(!policy.contains("op:"), "{policy}");
}

/// What somebody approved runs unasked under no suggestion.
#[test]
fn what_was_approved_is_still_asked_about() {
    let by = |tool: &str, approval: &str| {
        let mut line = line(0, "allow", tool, Some(json!({})));
        line["approval"] = json!(approval);
        line
    };
    let lines = [
        by("close", "user:1"),
        by("deploy", "approver:2"),
        line(1, "allow", "deploy", Some(json!({}))),
    ];
    let (policy, _) = suggested("approved.jsonl", &lines, &["--strict"]);
    let decided = replayed("approved.jsonl", &policy, &lines);
    assert!(decided.iter().all(|(decision, ..)| decision == "ask"), "{decided:?}\n{policy}");
    let (_, said) = suggested("token.jsonl", &[by("pay", "token:3")], &[]);
    assert!(said.contains("\"pay\" was approved by tokens"), "{said}");
}

/// Whoever can write into a log chooses every text in it.
#[test]
fn a_log_of_made_up_names_is_read_in_little_memory() {
    let lines: Vec<Value> = (0..40_000)
        .map(|at| {
            let mut line = line(at, ["allow", "deny", "would_deny"][at % 3], &format!("{at}{}", "x".repeat(100)), None);
            line["grant"] = json!(format!("sha-256:{at}"));
            line["rule"] = json!(format!("/tools/{at}/action"));
            line["digest"] = json!(format!("sha-256:{at}"));
            line["arguments"] = json!({format!("a{at}"): format!("v{at}"), "b": {format!("c{at}"): at}});
            line["limits"] = json!([{"rule": format!("/{at}"), "counter": format!("c{at}"), "used_percent": at % 101}]);
            line["candidate"] = json!({"decision": "deny", "reason": format!("r{at}"), "rule": "/x"});
            line
        })
        .collect();
    let log = log("made-up.jsonl", &lines);
    for command in ["suggest", "report"] {
        let line =
            format!("ulimit -v 400000; timeout 60 \"$0\" {command} --log \"$1\" 2>&1 | wc -c");
        let arguments = ["-o", "pipefail", "-c", &line, env!("CARGO_BIN_EXE_mcp-policy")];
        let done = std::process::Command::new("bash").args(arguments).arg(&log).output().unwrap();
        let written = String::from_utf8(done.stdout).unwrap();
        assert!(done.status.success(), "{command}: {written}");
        assert!(written.trim().parse::<u64>().unwrap() < 1_000_000, "{command}: {written}");
    }
}
