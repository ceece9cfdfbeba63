//! What is told of decisions: audit lines, metrics and their documentation, and candidates, which touch nothing.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::rc::Rc;

use mcp_policy::exchange::{Chunk, Event, Exchange, Flow, HeaderEdit, Step};
use mcp_policy::mcp::headers::{Follows, Header};
use mcp_policy::metrics::{METERS, Series};
use mcp_policy::policy::compiled::Config;
use mcp_policy::policy::log_key::LogKey;
use mcp_policy::rate::memory::MemoryStore;
use mcp_policy::record::Record;
use serde_json::{Value, json};

use crate::corpus::{Case, Row, rows};
use crate::world::{World, exchange, post_headers, tools_call};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn load(policy: &Value) -> Rc<Config> {
    Rc::new(Config::load(policy.to_string().as_bytes(), "test").unwrap().config)
}

/// The last step of a request whose body comes in one piece, and the exchange after it.
fn sent(
    config: &Rc<Config>,
    world: &mut World<'_>,
    headers: &[Header<'_>],
    body: &str,
) -> (Step, Exchange) {
    let mut exchange = exchange(config);
    let head = Event::RequestHead { headers, follows: Follows::Body };
    let step = exchange.on(world, head);
    if step.flow != Flow::Pause {
        return (step, exchange);
    }
    world.body = body.as_bytes().to_vec();
    let event = Event::RequestBody { buffered: body.len(), chunk: Chunk::Last };
    (exchange.on(world, event), exchange)
}

fn headers_of(case: &Case) -> Vec<Header<'_>> {
    let mut headers = post_headers(&case.caller);
    headers.extend(case.headers.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())));
    headers
}

/// The rows whose policies stand alone.
fn bare() -> Vec<Row> {
    rows().into_iter().filter(|row| row.policy.get("policies").is_none()).collect()
}

fn with(policy: &Value, key: &str, value: Value) -> Value {
    let mut policy = policy.clone();
    policy[key] = value;
    policy
}

fn schema() -> jsonschema::Validator {
    let file = root().join("policies/schema/audit.schema.json");
    let schema: Value = serde_json::from_str(&fs::read_to_string(file).unwrap()).unwrap();
    jsonschema::meta::validate(&schema).unwrap();
    jsonschema::draft202012::new(&schema).unwrap()
}

/// Every decision of the corpus has a line that the schema knows, that is one line and safe to print, and that says what is on record.
#[test]
fn an_audit_line_is_as_its_schema_says() {
    let schema = schema();
    let mut wrong = Vec::new();
    let mut lines = 0;
    let mut members = BTreeSet::new();
    for (at, row) in bare().iter().enumerate() {
        let arguments = [
            json!({"arguments": "full", "chain": true}),
            json!({"arguments": "redacted", "redact": ["/amount", "/a/b"]}),
            json!({"arguments": "keys", "to": ["access_log", "log"]}),
            json!({}),
        ];
        let policy = with(&row.policy, "audit", arguments[at % arguments.len()].clone());
        let config = load(&policy);
        let store = MemoryStore::default();
        for case in &row.calls {
            let mut world = World { now: Some(case.at), ..World::new(&store) };
            let (step, _) = sent(&config, &mut world, &headers_of(case), &case.body("1"));
            let Some(record) = step.records.last() else {
                wrong.push(format!("{}: nothing is on record", row.name));
                continue;
            };
            let line = step.audit.unwrap_or_default();
            let read: Value = serde_json::from_str(&line).unwrap_or_default();
            lines += 1;
            members.extend(read.as_object().into_iter().flatten().map(|(key, _)| key.clone()));
            let printable = line.chars().all(|c| !c.is_control() && c != '\u{202e}');
            if !schema.is_valid(&read) || !printable || read["decision"] != record.decision {
                let errors: Vec<String> =
                    schema.iter_errors(&read).map(|error| error.to_string()).collect();
                wrong.push(format!("{}: {line} {errors:?}", row.name));
            }
            let (rule, reason) = (record.pointer(&config), record.reason);
            if read["rule"].as_str().unwrap_or_default() != rule
                || read["reason"].as_str().unwrap_or_default() != reason
            {
                wrong.push(format!("{}: {line}", row.name));
            }
        }
    }
    assert!(lines > 1500, "{lines}");
    assert!(wrong.is_empty(), "{wrong:#?}");
    for member in ["arguments", "argument_keys", "limits", "chain", "session", "resource", "prompt"]
    {
        assert!(members.contains(member) || member == "session", "no line has `{member}`");
    }
}

/// The same steps, with a candidate or without: whatever it says, however it counts, and whatever it would refuse.
#[test]
fn a_candidate_touches_nothing() {
    let rows = bare();
    let own = |policy: &Value| {
        let settings = [
            "identity",
            "requests",
            "responses",
            "approvals",
            "sessions",
            "counters",
            "denials",
            "name",
            "candidate",
        ];
        let mut policy = policy.clone();
        settings.iter().for_each(|key| drop(policy.as_object_mut().unwrap().remove(*key)));
        policy
    };
    let (mut pairs, mut differences) = (0, 0);
    for (at, row) in rows.iter().enumerate() {
        for step in [1, 7, 31, 97] {
            let other = &rows[(at + step) % rows.len()].policy;
            let policy = with(&row.policy, "candidate", own(other));
            // A candidate can name callers that this policy's settings do not know.
            let Ok(loaded) = Config::load(policy.to_string().as_bytes(), "test") else { continue };
            pairs += 1;
            let (beside, alone) = (Rc::new(loaded.config), load(&row.policy));
            let stores = [MemoryStore::default(), MemoryStore::default()];
            for case in &row.calls {
                let [mut one, mut other] =
                    [0, 1].map(|at| World { now: Some(case.at), ..World::new(&stores[at]) });
                let headers = headers_of(case);
                let (mut found, _) = sent(&beside, &mut one, &headers, &case.body("1"));
                let (expected, _) = sent(&alone, &mut other, &headers, &case.body("1"));
                for record in &mut found.records {
                    differences += usize::from(record.candidate.take().is_some());
                }
                found.samples = expected.samples.clone();
                assert_eq!(found, expected, "{}: {policy}", row.name);
            }
        }
    }
    assert!(pairs > 500 && differences > 500, "{pairs} pairs, {differences} differences");
}

/// What a candidate says of a call is what it would say in the policy's place: of what depends on the call alone.
#[test]
fn a_candidate_decides_as_if_it_were_in_force() {
    let open = json!({"version": "1", "default": "allow"});
    // In force is what a candidate is taken to be, whatever it says of itself.
    let enforced = |row: &&Row| !row.policy.to_string().contains(r#""shadow""#);
    for row in bare().iter().filter(|row| row.calls.len() == 1).filter(enforced) {
        let case = &row.calls[0];
        let mut candidate = row.policy.clone();
        let object = candidate.as_object_mut().unwrap();
        let mut policy = open.clone();
        for key in
            ["identity", "requests", "responses", "approvals", "sessions", "counters", "denials"]
        {
            if let Some(value) = object.remove(key) {
                policy[key] = value;
            }
        }
        let _ = object.remove("name");
        let config = load(&with(&policy, "candidate", candidate));
        let store = MemoryStore::default();
        let mut world = World { now: Some(case.at), ..World::new(&store) };
        let (step, _) = sent(&config, &mut world, &headers_of(case), &case.body("1"));
        let Some(record) = step.records.last().filter(|record| record.decision == "allow") else {
            continue;
        };
        let expected = (&*case.expect.decision, case.expect.reason.as_deref());
        let found =
            record.candidate.map_or(("allow", None), |other| (other.decision, Some(other.reason)));
        assert!(
            found == expected || (found.0 == "ask" && expected.1 == Some("approval_required")),
            "{}: {found:?}, not {expected:?}",
            row.name
        );
    }
}

#[test]
fn each_call_of_a_batch_is_on_record() {
    let policy = json!({"version": "1", "name": "shop", "default": "deny", "audit": {}, "tools": {
        "ok": {"limits": [{"counter": "calls", "window": "day", "max": 4}]}, "never": {"action": "deny"}}});
    let config = load(&policy);
    let store = MemoryStore::default();
    let call = |id: u8, tool: &str| tools_call(&id.to_string(), tool, None);
    let told = |bodies: &[String]| {
        let mut world = World::new(&store);
        let body = format!("[{}]", bodies.join(","));
        let (step, _) = sent(&config, &mut world, &post_headers("Bearer a"), &body);
        let audit = step.audit.unwrap_or_default();
        let lines: Vec<String> = audit
            .lines()
            .map(|line| {
                let line: Value = serde_json::from_str(line).unwrap();
                format!("{} {} {}", line["tool"], line["decision"], line["reason"])
            })
            .collect();
        let counted: u64 = step
            .samples
            .iter()
            .filter(|sample| matches!(sample.series, Series::Decisions { .. }))
            .map(|sample| sample.value)
            .sum();
        let last =
            step.records.last().map(|record: &Record| (record.method.clone(), record.decision));
        (lines.join("; "), counted, last)
    };
    let (lines, counted, last) = told(&[call(1, "ok"), call(2, "ok")]);
    assert_eq!(lines, r#""ok" "allow" null; "ok" "allow" null"#);
    assert_eq!((counted, last), (2, Some(("batch".to_owned(), "allow"))));
    let (lines, counted, last) =
        told(&[call(1, "ok"), call(2, "never"), call(3, "ok"), call(4, "gone")]);
    assert_eq!(
        lines,
        r#""ok" "deny" "batch_refused"; "ok" "deny" "batch_refused"; "gone" "deny" "tool_not_allowed"; "never" "deny" "tool_denied""#
    );
    assert_eq!((counted, last), (4, Some(("tools/call".to_owned(), "deny"))));
}

#[test]
fn programs_read_when_to_come_again() {
    let policy = json!({"version": "1", "default": "deny", "tools": {
        "ok": {"limits": [{"counter": "calls", "window": "minute", "max": 1}]}}});
    let config = load(&policy);
    let store = MemoryStore::default();
    let mut world = World { now: Some(59_001), ..World::new(&store) };
    let body = tools_call("1", "ok", None);
    let _ = sent(&config, &mut world, &post_headers(""), &body);
    let (step, _) = sent(&config, &mut world, &post_headers(""), &body);
    let Flow::Reply(reply) = step.flow else { panic!("{:?}", step.flow) };
    let data: Value = serde_json::from_slice(&reply.body).unwrap();
    assert_eq!(data["error"]["data"]["retryAfterMs"], 999);
    assert_eq!(data["error"]["data"]["policyDigest"], *config.policy.named_digest);
    let retry = reply.headers.iter().find(|(name, _)| *name == "retry-after");
    assert_eq!(retry.map(|(_, value)| &**value), Some("1"));
}

#[test]
fn filter_state_has_the_keys_that_were_asked_for() {
    let names = |policy: &Value| {
        let config = load(policy);
        let store = MemoryStore::default();
        let body = tools_call("1", "ok", None);
        let (step, _) = sent(&config, &mut World::new(&store), &post_headers("Bearer a"), &body);
        step.filter_state(&config).map(|(name, _)| name).collect::<Vec<_>>()
    };
    let policy = json!({"version": "1", "name": "a", "default": "allow"});
    let all = names(&policy);
    assert_eq!(
        all,
        ["mcp_decision", "mcp_method", "mcp_tool", "mcp_policy", "mcp_digest", "mcp_grant"]
    );
    for (word, _) in LogKey::WORDS {
        let one = names(&with(&policy, "access_log", json!({"keys": [word]})));
        assert_eq!(one, all.iter().copied().filter(|name| *name == word).collect::<Vec<_>>());
    }
    assert!(names(&with(&policy, "access_log", json!({"keys": []}))).is_empty());
    // Audit lines have a setting of their own.
    let audited = with(&policy, "audit", json!({}));
    assert_eq!(names(&with(&audited, "access_log", json!({"keys": []}))), ["mcp_audit"]);
}

/// Every key of filter state stands in the documentation.
#[test]
fn every_key_of_filter_state_is_documented() {
    let page = fs::read_to_string(root().join("envoy/README.md")).unwrap();
    let rows: Vec<&str> = page.lines().filter(|line| line.starts_with("| `mcp_")).collect();
    let is_told = |word: &str| rows.iter().any(|row| row.contains(&format!("`{word}`")));
    let missing = LogKey::WORDS.into_iter().filter(|(word, _)| !is_told(word));
    assert_eq!(missing.map(|(word, _)| word).collect::<Vec<_>>(), [""; 0]);
}

#[test]
fn a_trace_is_joined_by_its_form_alone_and_never_over_another() {
    let policy = json!({"version": "1", "default": "allow", "tracing": {"from_meta": true}});
    let config = load(&policy);
    let good = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    for (trace, header, joined) in [
        (good, None, true),
        (good, Some(good), false),
        ("00-00000000000000000000000000000000-b7ad6b7169203331-01", None, false),
        ("00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01", None, false),
        ("00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01", None, false),
        ("01-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", None, false),
        ("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\\r\\nx: y", None, false),
        ("", None, false),
    ] {
        let store = MemoryStore::default();
        let mut headers = post_headers("");
        headers.extend(header.map(|value: &str| (&b"traceparent"[..], value.as_bytes())));
        for (method, params) in [("tools/call", r#""name":"a","#), ("ping", "")] {
            let body = format!(
                r#"{{"jsonrpc":"2.0","id":1,"method":"{method}","params":{{{params}"_meta":{{"traceparent":"{trace}"}}}}}}"#
            );
            let mut world = World::new(&store);
            let (step, _) = sent(&config, &mut world, &headers, &body);
            assert_eq!(step.flow, Flow::Continue);
            let set = step.edits.contains(&HeaderEdit::Set("traceparent", trace.to_owned().into()));
            assert_eq!(set, joined, "{trace} {header:?}");
        }
    }
}

/// Every metric and label stands in the documentation, and in the configuration that makes labels of them.
#[test]
fn every_metric_and_label_is_documented() {
    let page = fs::read_to_string(root().join("envoy/README.md")).unwrap();
    let shipped = fs::read_to_string(root().join("envoy/envoy.yaml")).unwrap();
    let mut labels = BTreeSet::new();
    for meter in &METERS {
        let named: Vec<String> = meter.labels.iter().map(|label| format!("`{label}`")).collect();
        let kind = format!("{:?}", meter.kind).to_lowercase();
        let row = format!("| `{}` | {kind} | {} |", meter.name, named.join(", "));
        assert!(page.contains(&row.replace("|  |", "| |")), "envoy/README.md has no row `{row}`");
        labels.extend(meter.labels);
    }
    let tags: BTreeSet<&str> = shipped
        .lines()
        .filter_map(|line| line.split_once("tag_name: ")?.1.split(',').next())
        .collect();
    assert_eq!(tags, labels, "envoy/envoy.yaml, stats_tags");
}
