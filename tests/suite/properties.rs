//! What must hold of every policy, call and document.

use mcp_policy::json::{Bounds, Duplicates, FaultKind, Value, parse};
use mcp_policy::matcher::name::Pattern;
use mcp_policy::mcp::headers::{Follows, admit};
use mcp_policy::mcp::message::{Body, parse_body};
use mcp_policy::mcp::sse::{EventStream, EventVerdict};
use mcp_policy::number::Decimal;
use mcp_policy::policy::binding::{Ambiguous, BindingInput};
use mcp_policy::policy::compiled::Config;
use mcp_policy::rehearsal::{SimulatedRequest, Simulator};
use mcp_policy::time::UnixMillis;
use proptest::prelude::*;
use serde_json::json;

use crate::oracle::{Call, Oracle};
use crate::world::{Engine, explained, tools_call};

/// JSON text, mostly valid, with keys that collide now and then.
fn json_text() -> impl Strategy<Value = String> {
    let scalar = prop_oneof![
        Just("null".to_owned()),
        Just("true".to_owned()),
        "-?(0|[1-9][0-9]{0,20})(\\.[0-9]{1,5})?([eE][+-]?[0-9]{1,3})?",
        "\"([a-zé😀 ]|\\\\u00[0-9a-f]{2}|\\\\n|\\\\\"){0,6}\"",
        "\\PC{0,4}",
    ];
    scalar.prop_recursive(5, 40, 5, |inner| {
        let key =
            prop_oneof![Just("\"a\"".to_owned()), Just("\"\\u0061\"".to_owned()), "\"[b-z]{1,3}\""];
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..5)
                .prop_map(|items| format!("[{}]", items.join(","))),
            proptest::collection::vec((key, inner), 0..5).prop_map(|members| {
                let members: Vec<String> =
                    members.into_iter().map(|(key, value)| format!("{key}: {value}")).collect();
                format!("{{{}}}", members.join(" ,"))
            }),
        ]
    })
}

/// An operator with a value that it takes.
fn operand(
    scalar: impl Strategy<Value = serde_json::Value> + Clone + 'static,
) -> impl Strategy<Value = (&'static str, serde_json::Value)> + Clone {
    let list = proptest::collection::vec(scalar.clone(), 1..3).prop_map(serde_json::Value::from);
    let number = prop::sample::select(vec![json!(1), json!(2.5), json!(-3)]);
    let text = prop::sample::select(vec![json!("a"), json!("abc"), json!("^a.c$")]);
    prop_oneof![
        (prop::sample::select(vec!["eq", "neq", "contains", "not_contains"]), scalar),
        (prop::sample::select(vec!["in", "not_in"]), list),
        (prop::sample::select(vec!["lt", "lte", "gt", "gte"]), number),
        (
            prop::sample::select(vec!["regex", "not_regex", "starts_with", "ends_with", "glob"]),
            text
        ),
        (
            prop::sample::select(vec!["before", "after", "not_before", "not_after"]),
            prop::sample::select(vec![
                json!("now"),
                json!("1970-01-01T00:00:00.5Z"),
                json!("2026-12-01T00:00:00+01:00")
            ])
        ),
        (
            prop::sample::select(vec!["length_lte", "length_gte", "length_eq"]),
            prop::sample::select(vec![json!(0), json!(2), json!(3)])
        ),
        (
            prop::sample::select(vec!["host_in", "not_host_in"]),
            prop::sample::select(vec![
                json!(["example.com", "private"]),
                json!(["*.example.com", "10.0.0.1"])
            ])
        ),
        (
            prop::sample::select(vec!["cidr", "not_cidr"]),
            prop::sample::select(vec![json!(["10.0.0.0/8"]), json!(["loopback", "fd00::/8"])])
        ),
        (
            prop::sample::select(vec!["path_under", "not_path_under"]),
            prop::sample::select(vec![json!("/"), json!("/a"), json!("/a/b/")])
        ),
        (
            prop::sample::select(vec!["during", "not_during"]),
            prop::sample::select(vec![
                json!({"days": ["thu"], "hours": ["00:01-01:00"]}),
                json!({"days": ["sat-wed"], "timezone": "-05:00"}),
                json!({"hours": ["00:00-00:01", "23:00-24:00"], "timezone": "+00:30"}),
            ])
        ),
        (Just("exists"), prop::sample::select(vec![json!(true), json!(false)])),
    ]
}

/// A condition over few names and values, so that they meet.
fn condition() -> impl Strategy<Value = serde_json::Value> {
    let path = prop::sample::select(vec![
        "args.a",
        "args.b",
        "args.a.x",
        "args.l[0]",
        "args.l[*]",
        "args.missing",
        "tool",
    ]);
    let from =
        prop::sample::select(vec!["args.a", "args.b", "args.l", "args.a.x", "header.x", "tool"]);
    let scalar = prop_oneof![
        Just(json!(1)),
        Just(json!(2.5)),
        Just(json!(10)),
        Just(json!("1")),
        Just(json!("abc")),
        Just(json!(true)),
    ];
    let operand = operand(scalar);
    let against = prop::sample::select(vec![
        "eq",
        "neq",
        "in",
        "not_in",
        "lt",
        "lte",
        "gt",
        "gte",
        "contains",
        "not_contains",
        "starts_with",
        "ends_with",
        "before",
        "after",
        "path_under",
        "not_path_under",
    ]);
    let counts = (
        prop::sample::select(vec!["args.l[*]", "args.l[*].x"]),
        prop::sample::select(vec!["count_lte", "count_gte", "count_eq"]),
        0..3u32,
    );
    let now = prop::sample::select(vec![
        ("before", json!("1970-01-01T00:01:00Z")),
        ("after", json!("1970-01-01T00:00:59.998Z")),
        ("not_before", json!("1970-01-01T00:01:00Z")),
        ("not_after", json!("1970-01-01T00:01:00Z")),
        ("during", json!({"days": ["thu"], "hours": ["00:01-01:00"]})),
        ("not_during", json!({"days": ["wed"], "timezone": "-01:00"})),
    ]);
    let each = prop::sample::select(vec!["args.l[*]", "args.l[*].x"]);
    let quantified = (operand.clone(), each, any::<bool>());
    prop_oneof![
        3 => (path.clone(), operand).prop_map(|(path, (op, value))| json!({"path": path, "op": op, "value": value})),
        1 => now.prop_map(|(op, value)| json!({"path": "now", "op": op, "value": value})),
        1 => counts.prop_map(|(path, op, value)| json!({"path": path, "op": op, "value": value})),
        1 => quantified.prop_map(|((op, value), path, every)| json!({"path": path, "op": op, "value": value, "every": every})),
        1 => (path, against, from).prop_map(|(path, op, from)| json!({"path": path, "op": op, "from": from})),
    ]
}

/// When an entry or a limit holds: around the minute in which calls come.
fn times() -> impl Strategy<Value = serde_json::Map<String, serde_json::Value>> {
    let times = vec![
        json!({"during": {"days": ["thu"], "hours": ["00:01-01:00"]}}),
        json!({"during": {"days": ["wed"], "timezone": "-01:00"}}),
        json!({"during": {"hours": ["00:00-12:00"]}, "not_before": "1970-01-01T00:01:00.001Z"}),
        json!({"not_before": "1970-01-01T00:01:00Z"}),
        json!({"not_before": "1970-01-01T00:00:00Z", "not_after": "1970-01-01T00:01:00Z"}),
        json!({"not_after": "1970-01-01T00:00:59.999Z"}),
    ];
    prop::sample::select(times).prop_map(|times| times.as_object().unwrap().clone())
}

fn entry() -> impl Strategy<Value = serde_json::Value> {
    let conditions = || proptest::collection::vec(condition(), 1..3);
    let windows = prop::sample::select(vec!["minute", "hour"]);
    let scopes = prop::sample::select(vec!["grant", "global"]);
    let parts = prop::sample::select(vec![None, None, None, Some("call"), Some("name")]);
    let limit = (1u32..4, windows, scopes, 0u32..3, parts, prop::option::of(times())).prop_map(
        |(max, window, scope, name, per, times)| {
            let counter = format!("c{name}{window}{scope}{}", per.unwrap_or_default());
            let mut limit =
                json!({"counter": counter, "window": window, "max": max, "scope": scope});
            if let Some(per) = per {
                limit["per"] = per.into();
            }
            let times = times.filter(|_| name == 0);
            limit.as_object_mut().unwrap().extend(times.unwrap_or_default());
            limit
        },
    );
    (
        prop::sample::select(vec!["allow", "allow", "allow", "deny", "require_approval"]),
        proptest::collection::vec(
            conditions().prop_map(|conditions| json!({"conditions": conditions})),
            0..2,
        ),
        proptest::collection::vec(
            conditions().prop_map(|conditions| json!({"conditions": conditions})),
            0..2,
        ),
        proptest::collection::vec(
            conditions().prop_map(|conditions| json!({"conditions": conditions})),
            0..2,
        ),
        proptest::collection::vec(limit, 0..2),
        any::<Option<bool>>(),
        any::<bool>(),
        prop::option::weighted(0.2, times()),
    )
        .prop_map(|(action, require, deny_if, ask_if, limits, decode, approved, times)| {
            let mut entry =
                json!({"action": action, "require": require, "deny_if": deny_if, "limits": limits});
            entry.as_object_mut().unwrap().extend(times.unwrap_or_default());
            if approved && (action == "require_approval" || !ask_if.is_empty()) {
                entry["approval"] = "token".into();
            }
            if !ask_if.is_empty() {
                entry["ask_if"] = ask_if.into();
            }
            if let Some(decode) = decode {
                entry["decode_json_strings"] = decode.into();
            }
            entry
        })
}

pub(crate) fn policy() -> impl Strategy<Value = serde_json::Value> {
    let key = prop::sample::select(vec!["t", "tool", "to*", "*l", "t?ol", "*"]);
    let hide = proptest::collection::vec(prop::sample::select(vec!["secret", "to?l", "x*"]), 0..2);
    (prop::sample::select(vec!["allow", "deny"]), proptest::collection::btree_map(key, entry(), 0..4), hide).prop_map(
        |(default, tools, hide)| json!({"version": "1", "default": default, "hide": hide, "tools": tools}),
    )
}

fn arguments() -> impl Strategy<Value = serde_json::Value> {
    let scalar = prop_oneof![
        Just(json!(null)),
        Just(json!(1)),
        Just(json!(2.5)),
        Just(json!(10)),
        Just(json!("1")),
        Just(json!("abc")),
        Just(json!(true)),
        Just(json!([])),
        Just(json!({"x": 1})),
        Just(json!("{\"x\":1}")),
        Just(json!("[1]")),
        Just(json!("[NaN]")),
        Just(json!("null")),
        Just(json!("[x]")),
        prop::sample::select(vec![
            "https://example.com/x",
            "http://a.EXAMPLE.com",
            "http://10.0.0.1:80/",
            "http://u@example.com/",
            "10.0.0.1",
            "::ffff:10.1.2.3",
            "::1",
            "/a",
            "/A/x",
            "/a/b/c",
            "/a/../b",
            "/ab",
            "é",
            "e\u{301}x",
            "😀",
        ])
        .prop_map(|text| json!(text)),
        Just(json!("1970-01-01T00:00:00Z")),
        Just(json!("1970-01-01T01:00:01+01:00")),
        Just(json!("2026-12-01T00:00:00Z")),
        Just(json!("2026-12-01T00:00:00")),
    ];
    let list = proptest::collection::vec(scalar.clone(), 0..3).prop_map(serde_json::Value::from);
    let member = prop_oneof![3 => scalar, 1 => list];
    proptest::collection::btree_map(prop::sample::select(vec!["a", "b", "l"]), member, 0..4)
        .prop_map(|members| json!(members))
}

pub(crate) type Calls = Vec<(&'static str, serde_json::Value, &'static str, u64)>;

pub(crate) fn calls() -> impl Strategy<Value = Calls> {
    let tool = prop::sample::select(vec!["t", "tool", "Tool", "toil", "x1", "secret", "tool "]);
    let caller = prop::sample::select(vec!["", "Bearer a", "Bearer b"]);
    let at = prop::sample::select(vec![0u64, 59_999, 60_000, 3_600_000]);
    proptest::collection::vec((tool, arguments(), caller, at), 1..12).prop_map(|mut calls| {
        calls.sort_by_key(|call| call.3);
        calls
    })
}

/// A binding and how it is told: host, path and team, each perhaps empty, and the policy.
fn binding_rows() -> impl Strategy<Value = Vec<(&'static str, &'static str, &'static str)>> {
    let host = prop::sample::select(vec!["", "", "a.test", "b.test", "*.test", "a.*", "*"]);
    let path = prop::sample::select(vec![
        "",
        "/a",
        "/a/",
        "/a/*",
        "/a*",
        "/A/*",
        "/a/b",
        "/*",
        "/?/b",
        "/a/*/c",
        "/b+c/*",
        "/caf%C3%A9",
        "/b*c/*",
    ]);
    let team = prop::sample::select(vec!["", "", "", "sre", "dev"]);
    proptest::collection::vec((host, path, team), 1..12)
}

/// What the page says: the first binding of which all holds. A path is as given, or as a lenient server reads it.
fn first_match(
    rows: &[(&str, &str, &str)],
    (host, path, team): (&str, &str, &str),
    lenient: bool,
) -> Option<usize> {
    let read = |text: &str| {
        if !lenient {
            return text.to_owned();
        }
        let text =
            text.replace("%2B", "+").replace("%C3%A9", "é").replace("%C3%89", "É").to_lowercase();
        if text.ends_with('*') { text } else { format!("{}/", text.trim_end_matches('/')) }
    };
    rows.iter().position(|(of_host, of_path, of_team)| {
        let holds =
            |pattern: &str, text: &str| pattern.is_empty() || Pattern::new(pattern).matches(text);
        let path_holds = of_path.is_empty() || Pattern::new(&read(of_path)).matches(&read(path));
        holds(of_host, host) && path_holds && (of_team.is_empty() || *of_team == team)
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, ..ProptestConfig::default() })]

    #[test]
    fn json_is_read_as_serde_reads_it(text in json_text()) {
        let theirs: Result<serde_json::Value, _> = serde_json::from_str(&text);
        match (parse(&text, Duplicates::Keep), theirs) {
            (Ok(ours), Ok(theirs)) => prop_assert!(has_duplicate(&ours) || same(&ours, &theirs), "{text}"),
            (Err(fault), Ok(_)) => prop_assert_ne!(fault.kind, FaultKind::Syntax, "{}", text),
            (Ok(_), Err(error)) => prop_assert!(false, "{text}: {error}"),
            (Err(_), Err(_)) => {}
        }
        let strict = parse(&text, Duplicates::Refuse);
        if let Ok(kept) = parse(&text, Duplicates::Keep) {
            let refused = strict.is_err_and(|fault| fault.kind == FaultKind::Duplicate);
            prop_assert_eq!(refused, has_duplicate(&kept), "{}", text);
        } else {
            prop_assert!(strict.is_err());
        }
    }

    #[test]
    fn no_bytes_can_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200), text in json_text()) {
        for bytes in [&*bytes, text.as_bytes()] {
            if let Ok(value) = parse_body(bytes, Bounds::DOCUMENT) {
                let _ = Body::read(&value);
            }
            prop_assert!(Config::load(bytes, "").is_err());
        }
    }

    #[test]
    fn no_header_can_panic(
        headers in proptest::collection::vec((
            prop::sample::select(vec!["accept", "authorization", "content-type", "content-length", "content-encoding",
                "mcp-name", "mcp-method", "mcp-param-a", "mcp-protocol-version", "mcp-session-id", "x-request-id"]),
            proptest::collection::vec(any::<u8>(), 0..30),
        ), 0..8)
    ) {
        let mut list: Vec<(&[u8], &[u8])> = vec![(b":method", b"POST")];
        list.extend(headers.iter().map(|(name, value)| (name.as_bytes(), &**value)));
        let _ = admit(&list, Follows::Body, 100);
    }

    #[test]
    fn engine_agrees_with_the_oracle(policy in policy(), calls in calls()) {
        let Ok(engine) = Engine::new(&policy.to_string()) else { return Err(TestCaseError::reject("counters clash")) };
        let mut oracle = Oracle::new(policy.clone());
        let simulator = Simulator::new(Config::load(policy.to_string().as_bytes(), "test").unwrap().config);
        for (tool, arguments, caller, at_ms) in &calls {
            let mut request = SimulatedRequest::new(tools_call("1", tool, Some(&arguments.to_string())), UnixMillis(*at_ms));
            request.headers = vec![("authorization".to_owned(), caller.to_string())];
            request.headers.retain(|(_, caller)| !caller.is_empty());
            let explained = explained(&simulator, &request);
            prop_assert!(explained.is_ok(), "{:?}", explained);
            let ours = engine.call(tool, Some(&arguments.to_string()), caller, *at_ms);
            let theirs = oracle.decide(&Call::tool(tool, arguments, caller, *at_ms));
            prop_assert_eq!(
                (ours.allowed, ours.reason, ours.rule),
                (theirs.decision == "allow", theirs.reason, theirs.rule),
                "{} {}", tool, arguments
            );
        }
    }

    #[test]
    fn bindings_select_as_a_scan_does(
        rows in binding_rows(),
        host in prop::sample::select(vec!["a.test", "b.test", "c.test", "a.b", "other"]),
        path in prop::sample::select(vec![
            "/", "/a", "/a/", "/A", "/a/b", "/A/B", "/a/b/", "/a/b/c", "/ab", "/b+c/x", "/b%2Bc/x", "/x/b", "/b/b",
            "/caf%C3%A9", "/caf%C3%89", "/bxc/x", "/a/x/c",
        ]),
        team in prop::sample::select(vec!["", "sre", "dev", "ops"]),
    ) {
        let written: Vec<serde_json::Value> = rows.iter().enumerate().map(|(at, (host, path, team))| {
            let mut binding = json!({"match": {}, "policy": format!("p{at}")});
            for (key, text) in [("host", host), ("path", path)] {
                if !text.is_empty() {
                    binding["match"][key] = json!(text);
                }
            }
            if !team.is_empty() {
                binding["match"]["identity"] = json!({"team": team});
            }
            binding
        }).collect();
        let policies: serde_json::Map<String, serde_json::Value> =
            (0..rows.len()).map(|at| (format!("p{at}"), json!({"version": "1", "default": "deny"}))).collect();
        let keys = json!({"keys": {"team": {"header": "x-team"}}});
        let text = json!({"policies": policies, "bindings": written, "identity": keys}).to_string();
        let config = Config::load(text.as_bytes(), "").map_err(|problems| TestCaseError::fail(format!("{problems:?}")))?.config;
        let named = Value::String(team.into());
        let identity = |_| (!team.is_empty()).then_some(&named);
        let found = config.bindings.as_ref().unwrap().select(&BindingInput { host, path, route: &|_| None, identity: &identity });
        let found = found.map(|row| row.map(|row| row.policy));
        let strictly = first_match(&rows, (host, path, team), false);
        let expected = if strictly == first_match(&rows, (host, path, team), true) { Ok(strictly) } else { Err(Ambiguous) };
        let name = |at: usize| config.policy_at(at).unwrap().name.to_string();
        prop_assert_eq!(found.map(|at| at.map(name)), expected.map(|at| at.map(|at| format!("p{at}"))));
    }

    #[test]
    fn a_further_denial_never_allows_more(policy in policy(), calls in calls(), denial in condition()) {
        let mut stricter = policy.clone();
        let tools = stricter["tools"].as_object_mut().unwrap();
        for (_, entry) in tools.iter_mut() {
            entry["limits"] = json!([]);
            entry["deny_if"].as_array_mut().unwrap().push(json!({"conditions": [denial]}));
        }
        let mut plain = policy;
        for (_, entry) in plain["tools"].as_object_mut().unwrap().iter_mut() {
            entry["limits"] = json!([]);
        }
        let plain = Engine::new(&plain.to_string()).unwrap();
        let stricter = Engine::new(&stricter.to_string()).unwrap();
        for (tool, arguments, caller, at) in &calls {
            let arguments = arguments.to_string();
            let allowed = stricter.call(tool, Some(&arguments), caller, *at).allowed;
            prop_assert!(!allowed || plain.call(tool, Some(&arguments), caller, *at).allowed);
        }
    }

    #[test]
    fn globs_match_as_regular_expressions(pattern in "[ab*?é]{0,8}", name in "[abé]{0,8}") {
        let regex: String = pattern.chars().map(|c| match c { '*' => ".*".into(), '?' => ".".into(), c => c.to_string() }).collect();
        let regex = regex::Regex::new(&format!("^(?s:{regex})$")).unwrap();
        prop_assert_eq!(Pattern::new(&pattern).matches(&name), regex.is_match(&name));
    }

    #[test]
    fn decimals_order_as_doubles_do(left in "-?[0-9]{1,8}(\\.[0-9]{1,6})?(e-?[0-9]{1,2})?", right in "-?[0-9]{1,8}(\\.[0-9]{1,6})?(e-?[0-9]{1,2})?") {
        let exact = Decimal::parse(&left).unwrap().cmp(&Decimal::parse(&right).unwrap());
        let (left, right): (f64, f64) = (left.parse().unwrap(), right.parse().unwrap());
        prop_assert_eq!(exact, left.partial_cmp(&right).unwrap());
    }

    #[test]
    fn events_do_not_depend_on_chunks(stream in "(data: ?[a-zé]{0,4}|id: 1|:x|)(\n|\r|\r\n)(data:b)?[\r\n]{0,4}(data: c\n\n)?", cuts in proptest::collection::vec(1usize..5, 1..20)) {
        let collect = |sizes: &mut dyn Iterator<Item = usize>| {
            let mut events = EventStream::new(1000);
            let mut found = Vec::new();
            let mut out = Vec::new();
            let mut rest = stream.as_bytes();
            while !rest.is_empty() {
                let (chunk, after) = rest.split_at(sizes.next().unwrap_or(1).min(rest.len()));
                out.extend(events.push(chunk, &mut |data| {
                    let data = data.map(<[u8]>::to_vec);
                    let verdict = match found.len() % 3 {
                        0 => EventVerdict::Pass,
                        1 => EventVerdict::Replace("x\ny".to_owned()),
                        _ => EventVerdict::Drop,
                    };
                    found.push(data);
                    verdict
                }));
                rest = after;
            }
            (found, out)
        };
        prop_assert_eq!(collect(&mut cuts.iter().copied()), collect(&mut std::iter::once(usize::MAX)));
    }
}

fn has_duplicate(value: &Value<'_>) -> bool {
    match value {
        Value::Array(items) => items.iter().any(has_duplicate),
        Value::Object(object) => {
            object.has_duplicate() || object.0.iter().any(|member| has_duplicate(&member.value))
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}

fn same(ours: &Value<'_>, theirs: &serde_json::Value) -> bool {
    match (ours, theirs) {
        (Value::Null, serde_json::Value::Null) => true,
        (Value::Bool(ours), serde_json::Value::Bool(theirs)) => ours == theirs,
        // Theirs normalises the spelling of exponents.
        (Value::Number(ours), serde_json::Value::Number(theirs)) => {
            ours.to_lowercase().replace("e+", "e")
                == theirs.to_string().to_lowercase().replace("e+", "e")
        }
        (Value::String(ours), serde_json::Value::String(theirs)) => ours == theirs,
        (Value::Array(ours), serde_json::Value::Array(theirs)) => {
            ours.len() == theirs.len()
                && ours.iter().zip(theirs).all(|(ours, theirs)| same(ours, theirs))
        }
        (Value::Object(ours), serde_json::Value::Object(theirs)) => {
            ours.0.len() == theirs.len()
                && ours
                    .0
                    .iter()
                    .zip(theirs)
                    .all(|(ours, (key, theirs))| ours.key == *key && same(&ours.value, theirs))
        }
        _ => false,
    }
}
