//! What `analyse` says holds against calls that were made up without it.

use mcp_policy::json::Value as Read;
use mcp_policy::policy::compiled::Config;
use mcp_policy::rehearsal::{SimulatedRequest, Simulator};
use mcp_policy::time::UnixMillis;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::comparison::no_more_permissive;
use super::{callable, condition, never};

fn scalar() -> impl Strategy<Value = Value> + Clone {
    prop::sample::select(vec![
        json!(1),
        json!(2.5),
        json!(10),
        json!("a"),
        json!("abc"),
        json!("K"),
        json!("null"),
        json!(true),
    ])
}

/// Conditions of which a few values tell everything, and others.
fn conditions() -> impl Strategy<Value = Value> {
    let path = || {
        let paths =
            vec!["args.a", "args.b", "args.c.d", "args.c.e.f", "header.x-team", "identity.team"];
        prop::sample::select(paths)
    };
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
    let actions = prop::sample::select(vec!["allow", "allow", "allow", "deny"]);
    let modes = prop::sample::select(vec!["enforce", "enforce", "enforce", "shadow"]);
    let decode = prop::sample::select(vec![None, None, Some(true), Some(false)]);
    let entry = (actions, modes, decode, rules(), rules());
    let entry = entry.prop_map(|(action, mode, decode, require, deny_if)| {
        let mut entry =
            json!({"action": action, "mode": mode, "require": require, "deny_if": deny_if});
        if let Some(decode) = decode {
            entry["decode_json_strings"] = decode.into();
        }
        entry
    });
    let key = prop::sample::select(vec!["pay", "pay_*", "p*", "*_x", "read"]);
    let tools = proptest::collection::vec((key, entry), 0..3);
    let hide = proptest::collection::vec(prop::sample::select(vec!["read", "*_x"]), 0..2);
    (tools, prop::sample::select(vec!["allow", "deny"]), hide).prop_map(|(tools, default, hide)| {
        let tools: serde_json::Map<String, Value> =
            tools.into_iter().map(|(key, entry)| (key.to_owned(), entry)).collect();
        let mut hide = hide;
        hide.dedup();
        let identity = json!({"grant": {"jwt_claim": "sub"}, "keys": {"team": {"jwt_claim": "team"}}});
        json!({"version": "1", "default": default, "hide": hide, "identity": identity, "tools": tools})
    })
}

/// A tool, its arguments, and the team that a header and a token name.
type MadeUp = (String, Value, Option<String>);

/// Calls as nobody who knows the policies makes them.
fn calls() -> impl Strategy<Value = Vec<MadeUp>> {
    let value = || {
        prop_oneof![
            2 => scalar(),
            1 => prop::sample::select(vec![json!(0), json!(2), json!(5), json!(100), json!("b"), json!("abd"), json!([]), json!({"d": 1}),
                json!("[]"), json!("null"), json!("{\"d\":1}"), json!("\u{212a}"), json!(null), json!(0.123_456_789_012_345_68), json!(false)]),
        ]
    };
    let arguments = (
        prop::option::of(value()),
        prop::option::of(value()),
        prop::option::of(value()),
        0..5,
        prop::sample::select(vec!["", "", "", "a_", "B", "__proto__"]),
    );
    let arguments = arguments.prop_map(|(a, b, d, way, alike)| {
        let mut arguments = json!({});
        for (key, value) in [("a", a), ("b", b)] {
            if let Some(value) = value {
                arguments[key] = value;
            }
        }
        if let Some(d) = d {
            arguments["c"] = match way {
                0 => d,
                1 => json!({"d": d, "e": 5}),
                2 => json!({"d": 1, "e": {"f": d}}),
                3 => json!({"e": {"f": d}}),
                _ => json!({"d": d}),
            };
        }
        if !alike.is_empty() {
            arguments[alike] = 1.into();
        }
        arguments
    });
    let name = prop::sample::select(vec![
        "pay", "pay_x", "pay_y", "pz", "read", "other", "Pay", "paY", "q_x",
    ]);
    let team = prop::option::of(
        prop::sample::select(vec!["a", "abc", "null", "z"]).prop_map(str::to_owned),
    );
    proptest::collection::vec((name.prop_map(str::to_owned), arguments, team), 40)
}

fn passes(policy: &Value, (name, arguments, team): &MadeUp) -> bool {
    let config = Config::load(policy.to_string().as_bytes(), "").unwrap().config;
    let body = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": name, "arguments": arguments}});
    let mut request = SimulatedRequest::new(body.to_string(), UnixMillis(1));
    request.headers.extend(team.clone().map(|team| ("x-team".to_owned(), team)));
    let claim = team.clone().map(|team| ("team".to_owned(), Read::String(team.into())));
    request.names.extend(claim);
    Simulator::new(config).send(&request).is_forwarded()
}

fn is_policy(policy: &Value) -> bool {
    Config::load(policy.to_string().as_bytes(), "").is_ok()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// No call passes of which it says that none does; and where all is compared with values, it always says one or the other.
    #[test]
    fn what_never_passes_does_not_pass(policy in policy(), calls in calls()) {
        prop_assume!(is_policy(&policy));
        let asked = condition("args.a > 2").unwrap();
        for tool in ["pay", "pay_x", "read"] {
            let answer = never(&policy, tool, std::slice::from_ref(&asked), "").unwrap();
            let open = ["regex", "starts_with", "contains", "length", "glob", "from", "decode"];
            let text = policy.to_string();
            prop_assert!(answer.answer != "unknown" || open.iter().any(|word| text.contains(word)), "{:?}", answer.because);
            if answer.answer == "yes" {
                let many = |call: &&MadeUp| call.0 == tool && call.1["a"].as_f64().is_some_and(|a| a > 2.0);
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
        if let Some(example) = answer.example {
            let [one, other] = &*example.verdicts else { panic!("two verdicts") };
            prop_assert!(one.is_forwarded() && !other.is_forwarded(), "{example:?}");
        }
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

/// One tool, `pay`, in a policy that denies the others.
fn pay(entry: Value) -> Value {
    json!({"version": "1", "default": "deny", "tools": {"pay": entry}})
}

fn requires(conditions: Value) -> Value {
    pay(json!({"require": [{"conditions": conditions}]}))
}

/// Each was, or could have been, a `yes` that is none.
#[test]
fn what_hides_between_values_is_found() {
    let a = |op: &str, value: Value| json!([{"path": "args.a", "op": op, "value": value}]);
    for (policy, asked, expected) in [
        (requires(a("neq", json!(0.123_456_789_012_345))), "args.a > 0.123456789012345", "no"),
        (requires(a("neq", json!(0.123_456_789_012_345))), "args.a < 0.123456789012345", "no"),
        (requires(a("gt", json!(9_007_199_254_740_991_u64))), "args.a neq 9007199254740992", "no"),
        (requires(a("gt", json!(0.1))), "args.a < 0.10000000000001", "no"),
        (requires(a("gt", json!(0.1))), "args.a < 0.100000000000001", "yes"),
        (requires(a("lt", json!(-0.5))), "args.a neq -0.75", "no"),
        (requires(a("neq", json!("another"))), "args.a exists true", "no"),
        (requires(a("gt", json!(1e250))), "args.a > 1e251", "no"),
        (
            requires(json!([{"path": "header.x-team", "op": "eq", "value": "[1]"}])),
            "args.a exists true",
            "no",
        ),
        (
            requires(
                json!([{"path": "args.analysedatom0", "op": "eq", "value": 1}, {"path": "args.b", "op": "regex", "value": "^(a|b)$"}]),
            ),
            "args.a exists true",
            "no",
        ),
    ] {
        let answer = never(&policy, "pay", &[condition(asked).unwrap()], "").unwrap();
        assert_eq!(answer.answer, expected, "{policy} {asked}: {:?}", answer.because);
    }
}

/// A new policy, an old one, and whether the new one lets no more through.
type Row = (Value, Value, &'static str);

fn hold(rows: impl IntoIterator<Item = Row>) {
    for (new, old, expected) in rows {
        assert!(is_policy(&new) && is_policy(&old), "{new} {old}");
        let answer = no_more_permissive(&new, &old);
        assert_eq!(answer.answer, expected, "{new} {old}: {:?}", answer.because);
    }
}

#[test]
fn what_counts_is_not_lost_sight_of() {
    let limits = || json!([{"counter": "c", "window": "day", "max": 1}]);
    let limited = || pay(json!({"limits": limits()}));
    let mut in_shadow = limited();
    in_shadow["mode"] = "shadow".into();
    hold([
        // In shadow, limits limit nothing.
        (pay(json!({"limits": limits(), "mode": "shadow"})), limited(), "unknown"),
        (in_shadow, limited(), "no"),
        (limited(), limited(), "yes"),
        (limited(), pay(json!({})), "yes"),
        (pay(json!({})), limited(), "unknown"),
    ]);
}

#[test]
fn what_resembles_something_is_not_forgotten() {
    let never = || {
        json!({"deny_if": [{"conditions": [{"path": "args.a", "op": "exists", "value": true},
            {"path": "args.b", "op": "exists", "value": false}, {"path": "args.b", "op": "exists", "value": true}]}]})
    };
    let tools = |tools: Value| json!({"version": "1", "default": "deny", "tools": tools});
    hold([
        // What resembles an argument that a policy reads, it refuses.
        (pay(json!({})), pay(never()), "no"),
        (pay(json!({"action": "deny"})), pay(never()), "yes"),
        (pay(never()), pay(json!({})), "yes"),
        // So with names.
        (tools(json!({"*_admin": {}})), tools(json!({"*_admin": {}, "x_admin": {}})), "no"),
        (tools(json!({"y*": {}})), tools(json!({"y*": {}, "x_admin": {}})), "yes"),
    ]);
}

#[test]
fn what_is_read_in_two_ways_is_no_yes() {
    let plain = json!([{"conditions": [{"path": "args.a", "op": "neq", "value": "b"}]}]);
    let kelvin = json!([{"conditions": [{"path": "args.a", "op": "eq", "value": "K"}, {"path": "args.a", "op": "neq", "value": "K"}]}]);
    let inner = |decode: bool| {
        let condition = json!([{"conditions": [{"path": "args.a.b", "op": "eq", "value": 1}]}]);
        pay(json!({"decode_json_strings": decode, "require": condition}))
    };
    hold([
        // `K` has another spelling.
        (pay(json!({"require": plain})), pay(json!({"require": plain, "deny_if": kelvin})), "no"),
        // Texts that are JSON are read as each entry says.
        (inner(true), inner(false), "unknown"),
        (inner(true), inner(true), "yes"),
    ]);
}

#[test]
fn what_asks_and_what_waits_lets_less_through() {
    let asks = || pay(json!({"action": "require_approval", "approval": {"by": "user"}}));
    let waits = || pay(json!({"not_before": "2031-01-01T00:00:00Z"}));
    hold([
        (pay(json!({})), asks(), "no"),
        (asks(), pay(json!({})), "yes"),
        (waits(), waits(), "yes"),
        (pay(json!({})), waits(), "no"),
        (waits(), pay(json!({})), "yes"),
    ]);
}
