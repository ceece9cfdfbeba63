//! What `analyse` says holds against calls that were made up without it.

use mcp_policy::policy::compiled::Config;
use mcp_policy::rehearsal::{SimulatedRequest, Simulator};
use mcp_policy::time::UnixMillis;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::{callable, condition, never, no_more_permissive};

fn scalar() -> impl Strategy<Value = Value> + Clone {
    prop::sample::select(vec![
        json!(1),
        json!(2.5),
        json!(10),
        json!("a"),
        json!("abc"),
        json!(true),
    ])
}

/// Conditions of which a few values tell everything, and others.
fn conditions() -> impl Strategy<Value = Value> {
    let path = || prop::sample::select(vec!["args.a", "args.b", "args.c.d", "header.x-team"]);
    let exact = prop_oneof![
        (prop::sample::select(vec!["eq", "neq"]), scalar()),
        (
            prop::sample::select(vec!["in", "not_in"]),
            proptest::collection::vec(scalar(), 1..3).prop_map(Value::from)
        ),
        (
            prop::sample::select(vec!["lt", "lte", "gt", "gte"]),
            prop::sample::select(vec![json!(1), json!(2.5), json!(10)])
        ),
        (Just("exists"), any::<bool>().prop_map(Value::from)),
    ];
    let open = prop::sample::select(vec![
        ("regex", json!("^a.c$")),
        ("not_regex", json!("b")),
        ("starts_with", json!("ab")),
        ("contains", json!("b")),
        ("length_lte", json!(2)),
        ("glob", json!("a*")),
    ]);
    let one = prop_oneof![4 => (path(), exact).prop_map(|(path, (op, value))| json!({"path": path, "op": op, "value": value})),
        1 => (path(), open).prop_map(|(path, (op, value))| json!({"path": path, "op": op, "value": value})),
        1 => path().prop_map(|path| json!({"path": path, "op": "eq", "from": "args.b"}))];
    proptest::collection::vec(one, 1..3).prop_map(Value::from)
}

fn policy() -> impl Strategy<Value = Value> {
    let rules =
        || proptest::collection::vec(conditions().prop_map(|all| json!({"conditions": all})), 0..2);
    let entry = (prop::sample::select(vec!["allow", "allow", "allow", "deny"]), rules(), rules())
        .prop_map(|(action, require, deny_if)| json!({"action": action, "require": require, "deny_if": deny_if}));
    let key = prop::sample::select(vec!["pay", "pay_*", "p*", "read"]);
    let tools = proptest::collection::vec((key, entry), 0..3);
    let hide = proptest::collection::vec(prop::sample::select(vec!["read", "*_x"]), 0..2);
    (tools, prop::sample::select(vec!["allow", "deny"]), hide).prop_map(|(tools, default, hide)| {
        let tools: serde_json::Map<String, Value> =
            tools.into_iter().map(|(key, entry)| (key.to_owned(), entry)).collect();
        let mut hide = hide;
        hide.dedup();
        json!({"version": "1", "default": default, "hide": hide, "tools": tools})
    })
}

/// Calls as nobody who knows the policies makes them.
fn calls() -> impl Strategy<Value = Vec<(String, Value, Option<String>)>> {
    let value = || {
        prop_oneof![
            2 => scalar(),
            1 => prop::sample::select(vec![json!(0), json!(2), json!(5), json!(100), json!("b"), json!("abd"), json!([]), json!({"d": 1}),
                json!("[]"), json!(null), json!(0.123_456_789_012_345_68), json!(false)]),
        ]
    };
    let arguments = (
        prop::option::of(value()),
        prop::option::of(value()),
        prop::option::of(value()),
        any::<bool>(),
    );
    let arguments = arguments.prop_map(|(a, b, d, blocked)| {
        let mut arguments = json!({});
        for (key, value) in [("a", a), ("b", b)] {
            if let Some(value) = value {
                arguments[key] = value;
            }
        }
        if let Some(d) = d {
            arguments["c"] = if blocked { d } else { json!({"d": d}) };
        }
        arguments
    });
    let name =
        prop::sample::select(vec!["pay", "pay_x", "pay_y", "pz", "read", "other", "Pay", "q_x"]);
    let team =
        prop::option::of(prop::sample::select(vec!["a", "abc", "z"]).prop_map(str::to_owned));
    proptest::collection::vec((name.prop_map(str::to_owned), arguments, team), 40)
}

fn passes(policy: &Value, (name, arguments, team): &(String, Value, Option<String>)) -> bool {
    let config = Config::load(policy.to_string().as_bytes(), "").unwrap().config;
    let body = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": name, "arguments": arguments}});
    let mut request = SimulatedRequest::new(body.to_string(), UnixMillis(1));
    request.headers.extend(team.clone().map(|team| ("x-team".to_owned(), team)));
    Simulator::new(config).send(&request).is_forwarded()
}

fn is_policy(policy: &Value) -> bool {
    Config::load(policy.to_string().as_bytes(), "").is_ok()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// No call passes of which it says that none does; and where all is compared with values, it always says one or the other.
    #[test]
    fn what_never_passes_does_not_pass(policy in policy(), calls in calls()) {
        prop_assume!(is_policy(&policy));
        let asked = condition("args.a > 2").unwrap();
        for tool in ["pay", "pay_x", "read"] {
            let answer = never(&policy, tool, std::slice::from_ref(&asked), "").unwrap();
            let open = ["regex", "starts_with", "contains", "length", "glob", "from"];
            let text = policy.to_string();
            prop_assert!(answer.answer != "unknown" || open.iter().any(|word| text.contains(word)), "{:?}", answer.because);
            if answer.answer == "yes" {
                let many = |call: &&(String, Value, Option<String>)| call.0 == tool && call.1["a"].as_f64().is_some_and(|a| a > 2.0);
                let passed = calls.iter().filter(many).find(|call| passes(&policy, call));
                prop_assert!(passed.is_none(), "{passed:?}");
            }
        }
    }

    /// Nothing passes a policy that does not pass the one that is said to let as much through.
    #[test]
    fn what_is_no_more_permissive_lets_no_more_through(new in policy(), old in policy(), calls in calls()) {
        prop_assume!(is_policy(&new) && is_policy(&old));
        let answer = no_more_permissive(&new, &old);
        let passed = calls.iter().find(|call| passes(&new, call) && !passes(&old, call));
        prop_assert!(answer.answer != "yes" || passed.is_none(), "{passed:?}");
        prop_assert_eq!(no_more_permissive(&new, &new).answer == "no", false);
    }
}

#[test]
fn it_answers_what_people_ask() {
    let policy = json!({"version": "1", "default": "deny", "tools": {
        "pay": {"require": [{"conditions": [{"path": "args.amount", "op": "lte", "value": 100}]}]},
        "refund": {"require": [{"conditions": [{"path": "args.amount", "op": "lte", "value": 100}]}], "mode": "shadow"},
        "closed": {"require": [{"conditions": [{"path": "args.a", "op": "eq", "value": 1}, {"path": "args.a", "op": "eq", "value": 2}]}]},
        "odd": {"require": [{"conditions": [{"path": "args.a", "op": "regex", "value": "^a$"}, {"path": "args.a", "op": "regex", "value": "^b$"}]}]},
        "timed": {"not_before": "2031-01-01T00:00:00Z"},
    }});
    let more = [condition("args.amount > 100").unwrap()];
    assert_eq!(never(&policy, "pay", &more, "").unwrap().answer, "yes");
    assert_eq!(never(&policy, "refund", &more, "").unwrap().answer, "no", "in shadow it passes");
    let answer = never(&policy, "pay", &[], "").unwrap();
    assert_eq!(answer.answer, "no");
    assert_eq!(answer.example.unwrap().verdicts[0].decision, "allow");
    let tools = ["pay", "closed", "odd", "unlisted", "timed"];
    let answer = callable(&policy, tools.into_iter().map(str::to_owned));
    assert_eq!(answer.uncallable, ["closed", "unlisted"]);
    assert_eq!(answer.because.len(), 1, "two expressions: {:?}", answer.because);

    let mut looser = policy.clone();
    looser["tools"]["pay"]["require"][0]["conditions"][0]["value"] = json!(101);
    assert_eq!(no_more_permissive(&looser, &policy).answer, "no");
    assert_eq!(no_more_permissive(&policy, &looser).answer, "yes");
    looser["tools"]["pay"]["limits"] = json!([{"counter": "c", "window": "day", "max": 1}]);
    assert_eq!(no_more_permissive(&policy, &looser).answer, "unknown", "limits are not compared");
}
