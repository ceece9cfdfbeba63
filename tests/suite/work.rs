//! What a request may cost is bounded by its size, whatever the policy is; honest requests are far within.

use serde_json::{Value, json};

use crate::world::Engine;

/// The reason of the denial of a call with `v`, which no condition meets.
fn reason(
    conditions: impl Iterator<Item = (&'static str, Value)>,
    v: &Value,
) -> Option<&'static str> {
    let check = |(op, value)| json!({"conditions": [{"path": "args.v", "op": op, "value": value}]});
    let deny_if: Vec<Value> = conditions.map(check).collect();
    let entry = json!({"decode_json_strings": false, "deny_if": deny_if});
    let policy = json!({"version": "1", "default": "deny", "tools": {"t": entry}});
    let engine = Engine::new(&policy.to_string()).unwrap();
    engine.call("t", Some(&json!({"v": v}).to_string()), "", 0).reason
}

#[test]
fn work_is_bounded_by_the_size_of_the_body() {
    let slow = || json!("(?:a|b)*a(?:a|b){20}c");
    let long = "ab".repeat(400_000);
    let many = |op, n: usize| (0..n).map(move |n| (op, json!(format!("{n}"))));
    for (name, reason, expected) in [
        (
            "a slow regex, a long text",
            reason([("regex", slow())].into_iter(), &json!(long)),
            Some("value_undecidable"),
        ),
        ("a slow regex, a short text", reason([("regex", slow())].into_iter(), &json!("ab")), None),
        (
            "a plain regex, a long text",
            reason([("regex", json!("(?i)drop"))].into_iter(), &json!(long)),
            None,
        ),
        (
            "many regexes, a long text",
            reason(many("regex", 300), &json!(long)),
            Some("value_undecidable"),
        ),
        (
            "many regexes, a text of some length",
            reason(many("regex", 300), &json!("ab".repeat(1000))),
            None,
        ),
        (
            "many needles, a long text",
            reason(many("contains", 300), &json!(long)),
            Some("value_undecidable"),
        ),
        ("many values, a long text", reason(many("eq", 300), &json!("ab".repeat(20_000))), None),
        (
            "a long glob, a long text",
            reason(
                [("glob", json!(format!("*{}b*c", "a?".repeat(2000))))].into_iter(),
                &json!(long),
            ),
            Some("value_undecidable"),
        ),
        (
            "a long list, many texts",
            reason(
                [("in", json!((0..1000).map(|n| n.to_string()).collect::<Vec<_>>()))].into_iter(),
                &json!("x"),
            ),
            None,
        ),
    ] {
        assert_eq!(reason, expected, "{name}");
    }
}
