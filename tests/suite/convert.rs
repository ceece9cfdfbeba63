//! `mcp-policy convert`: a document and its conversion decide the same, in whatever sequence calls come, and whatever the
//! server answers.

use std::fs;
use std::path::Path;

use proptest::prelude::*;
use serde_json::{Value, json};

use crate::command::{command, run};
use crate::corpus;
use crate::world::{Answer, Decided, Engine, post_headers, tools_call};

/// Runs the command; the conversion, and what it notes.
fn convert(document: &str, arguments: &[&str]) -> Result<(String, String), String> {
    let arguments = [&["convert", "-"], arguments].concat();
    let (code, out, notes) = run(&mut command(&arguments), document.as_bytes());
    if code == 0 { Ok((out, notes)) } else { Err(notes) }
}

/// What two dialects may say differently: which of the words for "the author denies this" it is, and a limit in numbers
/// (`lt 100` is `max: 99`).
fn said(decided: &Decided) -> (bool, Option<&'static str>, Option<&str>) {
    match decided.reason {
        Some("tool_denied" | "denied_by_condition" | "requirement_not_met") => {
            let texts = decided.message.as_deref().filter(|text| !text.starts_with("Tool `"));
            (decided.allowed, Some("denied"), texts)
        }
        Some("limit_reached") => {
            let texts =
                decided.message.as_deref().filter(|text| !text.starts_with("Limit reached"));
            (decided.allowed, decided.reason, texts)
        }
        other => (decided.allowed, other, decided.message.as_deref()),
    }
}

/// Where an entry has both dialects, the order of its parts changes, and with it which of several denials is told.
fn is_mixed(document: &str) -> bool {
    let document: Value = serde_json::from_str(document).unwrap();
    let native = ["action", "require", "deny_if", "limits", "rate_limit"];
    document["tools"].as_object().is_some_and(|tools| {
        let mut entries = tools.values();
        entries.any(|entry| {
            entry.get("rules").is_some() && native.iter().any(|key| entry.get(key).is_some())
        })
    })
}

struct Sent {
    body: String,
    caller: String,
    /// Further headers.
    headers: Vec<(String, String)>,
    at: u64,
    answer: Answer,
}

/// The first call that two policies do not decide alike.
fn difference(before: &str, after: &str, calls: &[Sent]) -> Option<String> {
    let engine =
        |text: &str| Engine::new(text).unwrap_or_else(|problems| panic!("{problems:?}\n{text}"));
    let mixed = is_mixed(before);
    let (before, after) = (engine(before), engine(after));
    calls.iter().find_map(|call| {
        let decide = |engine: &Engine| {
            let mut headers = post_headers(&call.caller);
            let further = call.headers.iter();
            headers.extend(further.map(|(name, value)| (name.as_bytes(), value.as_bytes())));
            engine.request(&call.body, &headers, call.at, call.answer)
        };
        let (left, right) = (decide(&before), decide(&after));
        let alike = if mixed { left.allowed == right.allowed } else { said(&left) == said(&right) };
        (!alike).then(|| {
            format!("{} by {:?} at {}: {left:?} became {right:?}", call.body, call.caller, call.at)
        })
    })
}

fn in_every_way(document: &str, calls: &[Sent]) -> Result<(), String> {
    for way in [&["--to", "native"][..], &["--to", "rules"]] {
        let (after, _) = convert(document, way)?;
        if let Some(difference) = difference(document, &after, calls) {
            return Err(format!(
                "{way:?}: {difference}\n--- before\n{document}\n--- after\n{after}"
            ));
        }
        let (again, _) = convert(&after, &["--to", "native"])?;
        if let Some(difference) = difference(document, &again, calls) {
            return Err(format!(
                "{way:?} and back: {difference}\n--- before\n{document}\n--- after\n{again}"
            ));
        }
    }
    Ok(())
}

#[test]
fn the_corpus_is_decided_alike() {
    let mut wrong = Vec::new();
    let mut calls_made = 0;
    for row in corpus::rows() {
        let document = row.policy.to_string();
        if Engine::new(&document).is_err() {
            continue;
        }
        let calls = row.calls.iter().enumerate().map(|(at, call)| Sent {
            body: call.body("1"),
            caller: call.caller.clone(),
            headers: call.headers.clone(),
            at: call.at,
            answer: if at % 3 == 2 { Answer::Error } else { Answer::Success },
        });
        let calls: Vec<Sent> = calls.collect();
        calls_made += calls.len();
        if let Err(problem) = in_every_way(&document, &calls) {
            wrong.push(format!("{} {}: {problem}", row.file, row.name));
        }
    }
    assert!(calls_made > 2000, "{calls_made} calls");
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
}

/// A condition that meets few arguments and counters often.
fn condition(state: bool) -> impl Strategy<Value = Value> {
    let argument = prop_oneof![
        (prop::sample::select(vec!["lt", "lte", "gt", "gte"]), (0i32..4).prop_map(Value::from)),
        (prop::sample::select(vec!["eq", "neq"]), prop_oneof![Just(json!(1)), Just(json!("x"))]),
        (prop::sample::select(vec!["in", "not_in"]), Just(json!(["x", 1]))),
        (
            prop::sample::select(vec!["regex", "not_regex", "contains", "not_contains"]),
            Just(json!("x"))
        ),
        (Just("exists"), any::<bool>().prop_map(Value::from)),
    ];
    let argument = (prop::sample::select(vec!["args.a", "args.b", "args.l[*]"]), argument)
        .prop_map(|(path, (op, value))| json!({"path": path, "op": op, "value": value}));
    let counter = (
        prop::sample::select(vec![
            "state.t.c",
            "state.u.c",
            "state.t.d",
            "state._global.c",
            "state.*.c",
            "state.t.rate_limit",
        ]),
        prop::sample::select(vec!["lt", "lte", "gt", "gte", "eq", "neq"]),
        0u32..4,
    )
        .prop_map(|(path, op, value)| json!({"path": path, "op": op, "value": value}));
    prop_oneof![3 => argument, u32::from(state) => counter]
}

fn state() -> impl Strategy<Value = (Value, &'static str)> {
    let increment = prop::sample::select(vec![
        json!({}),
        json!({"increment": 2}),
        json!({"increment": 0.5}),
        json!({"increment_from": "args.a"}),
    ]);
    let counter = prop::sample::select(vec!["c", "d"]);
    let scope = prop::sample::select(vec![
        json!({}),
        json!({"scope": "grant"}),
        json!({"scope": "global"}),
    ]);
    (counter, increment, scope).prop_map(|(counter, increment, scope)| {
        let mut state = json!({"counter": counter, "window": "hour"});
        for more in [increment, scope] {
            state.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        }
        (state, counter)
    })
}

/// A rule of an entry; bounds on its own counter need the entry's key.
fn rule(key: &'static str) -> impl Strategy<Value = Value> {
    let owner = if key == "*" { "_global" } else { key };
    let bound = (
        prop::sample::select(vec!["lt", "lte"]),
        prop::sample::select(vec![json!(1), json!(2), json!(2.5), json!(4)]),
    );
    let counted = (
        state(),
        proptest::collection::vec(bound, 0..2),
        proptest::collection::vec(condition(true), 0..2),
    )
        .prop_map(move |((state, counter), bounds, mut conditions)| {
            for (op, value) in bounds {
                conditions.push(
                    json!({"path": format!("state.{owner}.{counter}"), "op": op, "value": value}),
                );
            }
            json!({"conditions": conditions, "state": state, "on_deny": "counted"})
        });
    let counts = prop_oneof![
        4 => counted,
        2 => (1u32..4).prop_map(|max| json!({"name": "some rate", "rate_limit": format!("{max}/minute")})),
        1 => (1u32..4).prop_map(|max| json!({"rate_limit": {"max": max, "window": 60}, "reason": "often"})),
    ];
    let count = prop::sample::select(vec![None, Some("attempts"), Some("successes")]);
    let counts = (counts, count).prop_map(|(mut rule, count)| {
        if let Some(count) = count {
            rule["count"] = count.into();
        }
        rule
    });
    prop_oneof![
        4 => proptest::collection::vec(condition(true), 1..3).prop_map(|conditions| json!({"name": "checks", "conditions": conditions})),
        7 => counts,
        1 => Just(json!({"action": "deny", "on_deny": "never"})),
    ]
}

/// The native fields of an entry that has rules too, or not.
fn native() -> impl Strategy<Value = Value> {
    let conditions = proptest::collection::vec(condition(false), 1..3)
        .prop_map(|conditions| json!([{"conditions": conditions}]))
        .boxed();
    let limits = (prop::sample::select(vec!["c", "d", "e"]), 1u32..4, prop::sample::select(vec!["attempts", "successes"]), prop::sample::select(vec!["fixed", "sliding", "bucket"]))
        .prop_map(|(counter, max, count, algorithm)| {
            json!([{"counter": format!("{counter}{algorithm}{count}"), "window": "minute", "max": max, "count": count, "algorithm": algorithm}])
        });
    prop_oneof![
        5 => Just(json!({})),
        1 => conditions.clone().prop_map(|items| json!({"require": items})),
        2 => conditions.prop_map(|items| json!({"deny_if": items})),
        2 => limits.prop_map(|items| json!({"limits": items})),
        1 => Just(json!({"action": "deny", "reason": "no"})),
        1 => Just(json!({"mode": "shadow"})),
        1 => Just(json!({"rate_limit": "2/minute"})),
    ]
}

fn entry(key: &'static str) -> impl Strategy<Value = Value> {
    (native(), proptest::collection::vec(rule(key), 0..4)).prop_map(|(mut entry, rules)| {
        entry["rules"] = rules.into();
        entry
    })
}

fn policy() -> impl Strategy<Value = Value> {
    let tools = (entry("t"), entry("u"), entry("t*"), entry("*"), any::<[bool; 4]>());
    tools.prop_map(|(t, u, glob, all, kept)| {
        let entries = [("t", t), ("u", u), ("t*", glob), ("*", all)];
        let kept = entries.into_iter().zip(kept).filter(|(_, kept)| *kept);
        let tools: serde_json::Map<String, Value> =
            kept.map(|((key, entry), _)| (key.to_owned(), entry)).collect();
        json!({"version": "1", "default": "allow", "tools": tools})
    })
}

fn sent() -> impl Strategy<Value = Vec<Sent>> {
    let value = prop::sample::select(vec![
        json!(null),
        json!(0),
        json!(1),
        json!(2.5),
        json!(-1),
        json!("x"),
        json!("axb"),
        json!(["x", 1]),
        json!([]),
    ]);
    let arguments =
        proptest::collection::btree_map(prop::sample::select(vec!["a", "b", "l"]), value, 0..4);
    let call = (
        prop::sample::select(vec!["t", "u", "tt", "v"]),
        arguments,
        prop::sample::select(vec!["", "Bearer a", "Bearer b"]),
        prop::sample::select(vec![0u64, 59_999, 60_000, 3_600_000]),
        prop::bool::weighted(0.25),
    );
    proptest::collection::vec(call, 1..16).prop_map(|calls| {
        let mut calls: Vec<Sent> = calls
            .into_iter()
            .map(|(tool, arguments, caller, at, fails)| Sent {
                body: tools_call("1", tool, Some(&json!(arguments).to_string())),
                caller: caller.to_owned(),
                headers: Vec::new(),
                at,
                answer: if fails { Answer::Error } else { Answer::Success },
            })
            .collect();
        calls.sort_by_key(|call| call.at);
        calls
    })
}

impl std::fmt::Debug for Sent {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{} {} {} {:?}", self.body, self.caller, self.at, self.answer)
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, max_global_rejects: 40_000, ..ProptestConfig::default() })]

    #[test]
    fn any_policy_is_decided_alike(policy in policy(), calls in sent()) {
        let document = policy.to_string();
        if Engine::new(&document).is_err() {
            return Err(TestCaseError::reject("counters that nobody counts, or that clash"));
        }
        in_every_way(&document, &calls).map_err(TestCaseError::fail)?;
    }
}

/// What each valid sample becomes, with the notes: `tests/data/convert/`.
#[test]
fn conversions_read_as_their_goldens() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let bless = std::env::var_os("MCP_POLICY_BLESS").is_some();
    let mut wrong = Vec::new();
    for (file, way) in [
        ("every-rules-field", "native"),
        ("both-dialects", "native"),
        ("both-dialects", "rules"),
        ("every-native-field", "rules"),
        ("full-form", "rules"),
        ("pools", "rules"),
        ("operators-deny-if", "rules"),
    ] {
        let document =
            fs::read_to_string(root.join(format!("tests/data/policies/valid/{file}.json")))
                .unwrap();
        let (text, notes) = convert(&document, &["--to", way, "--as", "yaml"]).unwrap();
        let found = format!("{text}--- notes\n{notes}");
        let golden = root.join(format!("tests/data/convert/{file}-to-{way}.txt"));
        if bless {
            fs::create_dir_all(golden.parent().unwrap()).unwrap();
            fs::write(&golden, &found).unwrap();
        }
        if fs::read_to_string(&golden).unwrap_or_default() != found {
            wrong.push(format!("{}: see `make bless`\n{found}", golden.display()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn what_is_not_valid_is_not_converted() {
    let problems = convert(r#"{"version":"1","default":"denny"}"#, &[]).unwrap_err();
    assert!(problems.contains("error[P007]: unknown word `denny`"), "{problems}");
}
