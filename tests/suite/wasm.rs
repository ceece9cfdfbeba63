//! The built filter in an embedded runtime: what becomes of requests, never in which order the
//! filter asks its host.
//!
//! The module is the one that ships, run by an interpreter in [`host`], a small host of our own.
//! What is here and not in the library's own tests is what lies between the library and Envoy:
//! callbacks and their ends, bytes that are not text, host calls that fail, several VMs that share
//! their counts, and headers that cannot be held.
#![cfg(test)]

use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;

use mcp_policy::audit::{AFTER_DIGEST, BEFORE_DIGEST, BEGINNING, link_digest};
use mcp_policy::policy::compiled::Config;
use proptest::strategy::{Strategy as _, ValueTree as _};
use proptest::test_runner::TestRunner;

use crate::corpus::rows;
use crate::doors;
use crate::world::tools_call;
use host::{Fault, IMPORTS, Request, Response, Shared, Turns, Vm};

/// Envoy's side of a VM.
mod host;

/// Calls that wait for an answer from outside.
mod waits;
/// What a request may cost, in instructions.
mod work;

const POLICY: &str = r#"{
  "version": "1",
  "default": "deny",
  "hide": [ "secret" ],
  "tools": {
    "open": {},
    "closed": { "action": "deny" },
    "asks": { "action": "require_approval" },
    "checked": { "require": [
      { "conditions": [ { "path": "args.n", "op": "lte", "value": 5 } ] }
    ] },
    "counted": { "limits": [ { "counter": "calls", "window": "hour", "max": 2 } ] },
    "reads": { "deny_if": [
      { "conditions": [ { "path": "state.counted.calls", "op": "gte", "value": 2 } ] }
    ] },
    "spent": { "limits": [
      { "counter": "spend", "window": "hour", "max": 10, "increment_from": "args.n" }
    ] },
    "earned": { "limits": [
      { "counter": "successes", "window": "hour", "max": 1, "count": "successes" }
    ] }
  }
}"#;

/// The policy with settings beside it.
fn with_settings(settings: &str) -> String {
    format!("{{ \"policies\": {{ \"main\": {POLICY} }}, {settings} }}")
}

fn call(tool: &str, arguments: &str) -> Request {
    Request::post("", &tools_call("1", tool, Some(arguments)))
}

fn by(caller: &str, tool: &str) -> Request {
    Request::post(caller, &tools_call("1", tool, Some("{}")))
}

fn vm() -> Vm {
    Vm::configured(&Arc::default(), POLICY)
}

/// Fails once, with every row that is wrong.
#[track_caller]
fn check(wrong: &[String]) {
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
}

/// Envoy enters the VM for every callback that is exported.
#[test]
fn no_callback_is_exported_for_nothing() {
    let mut callbacks = host::exports();
    callbacks.retain(|name| name.starts_with("proxy_on_"));
    callbacks.sort();
    let wanted = [
        "proxy_on_configure",
        "proxy_on_context_create",
        "proxy_on_delete",
        "proxy_on_http_call_response",
        "proxy_on_memory_allocate",
        "proxy_on_request_body",
        "proxy_on_request_headers",
        "proxy_on_request_trailers",
        "proxy_on_response_body",
        "proxy_on_response_headers",
        "proxy_on_response_trailers",
        "proxy_on_tick",
        "proxy_on_vm_start",
    ];
    assert_eq!(callbacks, wanted);
}

/// Requests with what must become of them.
fn table() -> Vec<(Request, &'static str)> {
    let json = |body: &str| Request::post("", body);
    let notice = r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#;
    let batch = |first: &str, second: &str| {
        let (first, second) = (tools_call("1", first, None), tools_call("2", second, None));
        json(&format!("[{first},{second}]"))
    };
    vec![
        (call("open", "{}"), "passed"),
        (call("closed", "{}"), "200 tool_denied"),
        (call("asks", "{}"), "200 approval_required"),
        (call("unlisted", "{}"), "200 tool_not_allowed"),
        (call("Open", "{}"), "200 name_not_exact"),
        (call("secret", "{}"), "200 tool_not_allowed"),
        (call("checked", r#"{"n":5}"#), "passed"),
        (call("checked", r#"{"n":6}"#), "200 requirement_not_met"),
        (call("checked", r#"{"n":"5"}"#), "200 value_undecidable"),
        (call("checked", r#"{"n":5,"N":6}"#), "200 ambiguous_key"),
        (call("spent", r#"{"n":11}"#), "200 limit_reached"),
        (call("spent", r#"{"n":-1}"#), "200 invalid_increment"),
        (json(notice), "passed"),
        (json(r#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#), "passed"),
        (batch("open", "open"), "passed"),
        (batch("open", "closed"), "200 batch_refused"),
        (json(""), "400 invalid_json"),
        (json("{"), "400 invalid_json"),
        (json("\u{feff}{}"), "400 byte_order_mark"),
        (
            json(r#"{"jsonrpc":"2.0","id":1,"method":"ping","method":"tools/call"}"#),
            "200 duplicate_key",
        ),
        (json(notice).with("content-type", "text/plain"), "415 content_type"),
        (json(notice).with("content-encoding", "gzip"), "415 content_encoding"),
        (json(notice).with("mcp-method", "tools/call"), "400 header_mismatch"),
        (json(notice).with("x-http-method-override", "PUT"), "400 method_override"),
        (json(notice).with(":method", "PUT"), "405 method_not_allowed"),
        (json(notice).with(":method", "GET"), "400 body_not_allowed"),
    ]
}

/// The ways in which one request can arrive: HTTP/2 ends with the last piece, HTTP/1 after it, and
/// where trailers follow the body never ends.
fn arrivals(request: &Request) -> Vec<Request> {
    let whole = request.clone();
    vec![
        whole.clone(),
        whole.clone().ending_late(),
        whole.clone().in_pieces(1),
        whole.clone().in_pieces(7).ending_late(),
        whole.clone().with_trailers(),
        whole.clone().in_pieces(50).with_trailers(),
        whole.in_pieces(50).ending_late().with_trailers(),
    ]
}

#[test]
fn requests_end_as_they_must_however_they_arrive() {
    let mut wrong = Vec::new();
    for (holds, mode) in
        [(true, "auto"), (true, "always"), (true, "never"), (false, "auto"), (false, "never")]
    {
        let settings = format!(r#""requests": {{ "hold_headers": "{mode}" }}"#);
        let mut vm = Vm::configured(&Arc::default(), &with_settings(&settings));
        // Where the filter does not hold, the headers are at the server before the decision.
        vm.holds = holds && mode != "never";
        let blocks = !holds;
        for (request, expected) in table() {
            for (way, request) in arrivals(&request).iter().enumerate() {
                let found = vm.outcome(request);
                if found != expected {
                    wrong.push(format!(
                        "{mode}, blocks: {blocks}, way {way}: {found}, not {expected}: {request:?}"
                    ));
                }
            }
        }
    }
    check(&wrong);
}

/// The property of `doors`, as far as the built filter can be asked for it in a moment.
#[test]
fn the_same_reaches_a_server_through_the_built_filter() {
    let mut runner = TestRunner::deterministic();
    let mut wrong = Vec::new();
    for _ in 0..12 {
        let doors = doors::doors().new_tree(&mut runner).unwrap().current();
        let document = doors.document().to_string();
        let Ok(loaded) = Config::load(document.as_bytes(), "") else { continue };
        let config = Rc::new(loaded.config);
        let mut vm = Vm::configured(&Arc::default(), &document);
        for _ in 0..120 {
            let mut asked = doors::asked().new_tree(&mut runner).unwrap().current();
            asked.headers.sort_unstable();
            asked.headers.dedup_by_key(|(name, _)| *name);
            if !asked.headers.iter().any(|(name, _)| *name == "accept") {
                asked.headers.push(("accept", "*/*"));
            }
            let mut request = Request::post("", doors::PING)
                .with(":method", asked.method)
                .with(":path", &asked.target);
            for (name, value) in &asked.headers {
                request = request.with(name, value);
            }
            if asked.method != "POST" {
                request.chunks.clear();
            }
            let found = vm.outcome(&request);
            let expected = doors::becomes(&config, &asked);
            let same = match expected {
                None => found == "passed",
                Some(status) => found.starts_with(&status.to_string()),
            };
            if !same {
                wrong.push(format!("{asked:?}: {found}, not {expected:?}; {document}"));
            }
        }
    }
    check(&wrong);
}

#[test]
fn requests_that_carry_nothing() {
    let mut vm = vm();
    let mut wrong = Vec::new();
    for (method, trailers, expected) in [
        ("GET", false, "passed"),
        ("HEAD", false, "405 not_mcp"),
        ("OPTIONS", false, "405 not_mcp"),
        ("DELETE", false, "405 not_mcp"),
        ("POST", false, "400 invalid_json"),
        ("PUT", false, "405 method_not_allowed"),
        ("GET", true, "400 body_not_allowed"),
        ("POST", true, "400 invalid_json"),
    ] {
        let mut request = Request::post("", "").with(":method", method);
        request.chunks.clear();
        request.trailers = trailers;
        let found = vm.outcome(&request);
        if found != expected {
            wrong.push(format!("{method}, trailers: {trailers}: {found}, not {expected}"));
        }
    }
    check(&wrong);
}

#[test]
fn configurations_are_taken_or_their_problems_named() {
    let any = r#"{"version":"1","default":"deny","tools":{"a":{"require":[{"conditions":[
        {"path":"args.x[*]","op":"eq","value":1}]}]}}}"#;
    let two = r#"{"version":"1","default":"denny","tools":{"a":{"rate_limit":"5/fortnight"}}}"#;
    let structure = b"\x0a\x0f\x0a\x07version\x12\x04\x1a\x021";
    let mut wrong = Vec::new();
    for (configuration, taken, told) in [
        (POLICY.as_bytes(), true, vec![]),
        (any.as_bytes(), true, vec!["warning[P101] at tools.a.require[0].conditions[0]"]),
        (b"", false, vec!["error[P001]", "empty"]),
        (b"{", false, vec!["error[P001]", "line 1, column 2"]),
        (b"\xff\xfe", false, vec!["error[P001]"]),
        (structure, false, vec!["error[P002]", "google.protobuf.StringValue"]),
        (b"{}", false, vec!["error[P006]", "`version`", "`default`"]),
        (two.as_bytes(), false, vec!["2 problem(s)", "did you mean `deny`?", "tools.a.rate_limit"]),
    ] {
        let mut vm = Vm::start(&Arc::default());
        let found = vm.configure(configuration);
        let log = vm.log();
        let missing = told.iter().any(|words| !log.contains(words));
        if found != taken || missing || vm.trap.is_some() || (told.is_empty() && !log.is_empty()) {
            wrong.push(format!("{}: {found} {:?}\n{log}", configuration.escape_ascii(), vm.trap));
        }
    }
    check(&wrong);
}

#[test]
fn a_refused_configuration_leaves_the_old_one_and_a_new_one_keeps_the_counts() {
    let mut vm = vm();
    for expected in ["passed", "passed", "200 limit_reached"] {
        assert_eq!(vm.outcome(&call("counted", "{}")), expected);
    }
    assert!(!vm.configure(br#"{"version":"1","default":"allow","tools":{"counted":{"x":1}}}"#));
    assert_eq!(vm.outcome(&call("counted", "{}")), "200 limit_reached");
    assert_eq!(vm.outcome(&call("closed", "{}")), "200 tool_denied");
    let held = vm.open(&call("closed", "{}").without_body_yet());
    assert!(vm.configure(POLICY.replace("\"max\": 2", "\"max\": 3").as_bytes()));
    for expected in ["passed", "200 limit_reached"] {
        assert_eq!(vm.outcome(&call("counted", "{}")), expected);
    }
    vm.arrive(held, &tools_call("1", "closed", None), true);
    let stream = vm.close(held);
    assert_eq!(vm.told(&stream), "200 tool_denied", "begun under the old configuration");
}

#[test]
fn a_denial_reads_as_the_client_reads_it() {
    let mut vm = vm();
    for (accept, kind) in [
        ("application/json, text/event-stream", "application/json"),
        ("text/event-stream", "text/event-stream"),
        ("*/*", "application/json"),
    ] {
        let body = tools_call("\"a\\u0062\"", "closed", Some("{}"));
        let context = vm.send(&Request::post("", &body).with("accept", accept));
        let reply = vm.close(context).reply.unwrap();
        assert_eq!(reply.details, "mcp_policy_denied");
        assert!(reply.headers.contains(&(b"content-type".to_vec(), kind.into())), "{accept}");
        assert_eq!(reply.body.starts_with(b"event: message\ndata: {"), kind == "text/event-stream");
        assert!(String::from_utf8(reply.body.clone()).unwrap().contains(r#""id":"a\u0062""#));
        let error = &reply.json()["error"];
        assert_eq!(error["code"], 403);
        assert_eq!(error["data"]["rule"], "/tools/closed/action");
    }
}

#[test]
fn decisions_are_on_record() {
    let mut vm = vm();
    for (request, expected) in [
        (
            call("open", "{}"),
            vec![("mcp_decision", "allow"), ("mcp_tool", "open"), ("mcp_policy", "default")],
        ),
        (
            call("closed", "{}"),
            vec![
                ("mcp_decision", "deny"),
                ("mcp_reason", "tool_denied"),
                ("mcp_rule", "/tools/closed/action"),
            ],
        ),
        (Request::post("", "{"), vec![("mcp_decision", "refuse"), ("mcp_reason", "invalid_json")]),
        (
            Request::post("", r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#),
            vec![("mcp_decision", "pass"), ("mcp_method", "ping")],
        ),
    ] {
        let context = vm.send(&request);
        let state = vm.close(context).state;
        for (name, value) in expected {
            assert_eq!(state.get(name).map(String::as_str), Some(value), "{request:?}: {state:?}");
        }
    }
}

/// A VM of which another has checked the configuration: nothing of it is compiled that no call has needed.
fn worker(policy: &str) -> Vm {
    let shared = Arc::default();
    assert!(Vm::start(&shared).configure(policy.as_bytes()));
    let mut vm = Vm::start(&shared);
    assert!(vm.configure(policy.as_bytes()));
    vm
}

#[test]
fn the_corpus_of_decisions_holds_in_the_built_filter() {
    let mut wrong = Vec::new();
    for row in rows() {
        let mut vm = worker(&row.policy.to_string());
        for (at, case) in row.calls.iter().enumerate() {
            vm.at(case.at);
            let request = Request::post(&case.caller, &case.body("1"));
            let headers = case.headers.iter();
            let request = headers.fold(request, |request, (name, value)| request.with(name, value));
            let context = vm.send(&request);
            let stream = vm.close(context);
            let expect = &case.expect;
            if case.notification && expect.decision == "deny" {
                let reply = stream.reply.as_ref();
                if reply.map(|reply| (reply.status, reply.body.len())) != Some((202, 0)) {
                    wrong.push(format!("{}: {}, call {at}: {reply:?}", row.file, row.name));
                }
                continue;
            }
            let told = vm.told(&stream);
            let answer = stream.reply.as_ref().map(|reply| reply.json()).unwrap_or_default();
            let (error, result) = (&answer["error"], &answer["result"]);
            let data = [&error["data"], &result["_meta"]["mcp-policy/denial"]];
            let said = |key: &str| data.iter().find_map(|data| data[key].as_str());
            // What is hidden is answered as what does not exist, is not listed, or is denied with others; it is on record as what it is.
            let hidden = expect.reason.as_deref().filter(|reason| reason.ends_with("_hidden"));
            let hidden = hidden.is_some_and(|reason| {
                let gone = if reason == "rpc_method_hidden" { "-32601" } else { "-32602" };
                let unlisted = reason.replace("hidden", "not_allowed");
                told == format!("200 {gone}")
                    || said("reason") == Some(&unlisted)
                    || said("reason") == Some(&reason.replace("hidden", "denied"))
                    || said("reason") == Some("name_not_exact")
            });
            let message = error["message"].as_str().or(result["content"][0]["text"].as_str());
            let form = match (&result["isError"], &result["resultType"]) {
                (serde_json::Value::Null, _) => None,
                (_, serde_json::Value::Null) => Some("result"),
                _ => Some("modern result"),
            };
            let holds = match &*expect.decision {
                "allow" => told == "passed",
                _ => {
                    form == expect.form.as_deref()
                        && (hidden
                            || (said("reason") == expect.reason.as_deref()
                                && said("rule").unwrap_or_default()
                                    == expect.rule.as_deref().unwrap_or_default()))
                        && (expect.message.is_none() || message == expect.message.as_deref())
                }
            };
            if !holds {
                wrong.push(format!(
                    "{}: {}, call {at}: {told} {answer}\n  expected {expect:?}",
                    row.file, row.name
                ));
            }
        }
    }
    check(&wrong);
}

#[test]
fn what_another_has_checked_is_compiled_when_it_is_needed_or_when_there_is_time() {
    let regexes = |number: usize| {
        format!(
            r#""t{number}":{{"require":[{{"conditions":[{{"path":"args.a","op":"regex","value":"(?i)^x{number}-[a-z]+$"}}]}}]}}"#
        )
    };
    let tools = (0..100).map(regexes).collect::<Vec<_>>().join(",");
    let policy = format!(r#"{{"version":"1","default":"deny","tools":{{{tools}}}}}"#);
    let shared = Arc::default();
    let taken = |policy: &str| {
        let mut vm = Vm::start(&shared);
        let before = vm.steps();
        assert!(vm.configure(policy.as_bytes()));
        let steps = vm.steps() - before;
        (vm, steps)
    };
    let ((_, first), (mut vm, second)) = (taken(&policy), taken(&policy));
    assert!(second < first / 5, "{first}, and again {second}");
    // Only the very same bytes are known.
    let (_, other) = taken(&format!("{policy} "));
    assert!(other > first / 2, "{first}, and for other bytes {other}");
    let asked = |vm: &mut Vm, value: &str| {
        let before = vm.steps();
        let told = vm.outcome(&call("t7", &format!(r#"{{"a":"{value}"}}"#)));
        (told, vm.steps() - before)
    };
    let (told, late) = asked(&mut vm, "X7-abc");
    assert_eq!(told, "passed");
    let (told, soon) = asked(&mut vm, "x8-abc");
    assert!(told.starts_with("200"), "{told}");
    assert!(soon < late / 2, "it is compiled once: {late}, {soon}");
    // The ticks compile the rest, and end.
    vm.wait(5000);
    assert!(!vm.ticks());
    let (mut vm, _) = taken(&policy);
    vm.wait(5000);
    let (told, after) = asked(&mut vm, "x7-abc");
    assert_eq!(told, "passed");
    assert!(after < late / 2, "it was compiled before: {late}, {after}");
}

#[test]
fn header_values_that_are_no_text_harm_nobody() {
    let mut vm = vm();
    let mut wrong = Vec::new();
    let names = [
        ("user-agent", "passed"),
        ("x-request-id", "passed"),
        ("authorization", "passed"),
        ("mcp-session-id", "passed"),
        ("mcp-protocol-version", "passed"),
        ("accept", "passed"),
        ("cookie", "passed"),
        (":path", "passed"),
        ("x-envoy-max-retries", "passed"),
        ("mcp-unknown", "passed"),
        ("content-type", "415 content_type"),
        ("content-encoding", "415 content_encoding"),
        ("content-length", "413 body_too_large"),
        ("mcp-method", "400 header_mismatch"),
        ("mcp-name", "400 header_mismatch"),
        ("mcp-param-x", "400 header_mismatch"),
        (":method", "405 method_not_allowed"),
        ("x-http-method", "400 method_override"),
    ];
    for value in [
        &b"\xff\xfe"[..],
        b"\x80",
        b"a\xc3\x28",
        b"\xed\xa0\x80",
        b"\xf4\x90\x80\x80",
        b"\0\xff",
        b"",
    ] {
        for (name, expected) in names {
            let text = value.is_empty();
            let found = vm.outcome(&call("open", "{}").with(name, value));
            // An empty value is text, and some headers may be empty.
            if found != expected && !(text && found != "waits" && !found.contains(':')) {
                wrong.push(format!("{name}: {}: {found}, not {expected}", value.escape_ascii()));
            }
            let denied = vm.outcome(&call("closed", "{}").with(name, value));
            if denied == "passed" || denied == "waits" || vm.trap.is_some() {
                wrong.push(format!("{name}: {}: {denied}", value.escape_ascii()));
            }
        }
    }
    let mut odd = call("closed", "{}");
    odd.headers.push((b"\xff\xfe".to_vec(), b"x".to_vec()));
    assert_eq!(vm.outcome(&odd), "200 tool_denied");
    check(&wrong);
}

const STATUSES: &[u32] = &[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, u32::MAX];

/// The statuses that a host call is made to return while the filter runs: all, but where the SDK makes
/// the call and panics on what no host answers.
fn statuses(import: &str) -> &'static [u32] {
    match import {
        // Envoy's `Context::getProperty` answers 0, 1, 3 or 10, and the SDK's wrapper returns these.
        // Others come from `exports.cc` alone, where the guest's memory is not its memory.
        "proxy_get_property" => &[1, 3, 10],
        // The SDK's logger panics on all. Envoy's `Context::log` takes every message, and `exports.cc`
        // refuses levels and memory that the SDK does not give. What remains is a restricted call,
        // which fails from the start: `a_call_that_is_left_out_from_the_start_...` has all statuses.
        "proxy_log" => &[],
        // The SDK's wrapper panics on others. Envoy's `httpCall` has no more to say than that there is no such
        // cluster, and that the call is restricted.
        "proxy_http_call" => &[2, 10],
        _ => STATUSES,
    }
}

/// Faults of every kind that a host call can have.
fn faults(import: &str) -> Vec<Fault> {
    let mut faults: Vec<Fault> = statuses(import).iter().copied().map(Fault::Status).collect();
    faults.push(Fault::Nothing);
    if import.starts_with("proxy_get_") {
        let odd = [&b"\0"[..], b"\x01\0\0\0", b"\xff\xff\xff\xff\xff\xff\xff\xff", b"{}", &[2; 61]];
        faults.extend(odd.map(|bytes| Fault::Bytes(bytes.to_vec())));
        // Another body than the one that waits, and one that would pass.
        faults.push(Fault::Bytes(tools_call("1", "open", None).into()));
    }
    faults
}

#[test]
fn a_host_that_fails_lets_nothing_through() {
    let shared = Arc::<Shared>::default();
    let settings = with_settings(r#""counters": { "max_entries": 2097152 }"#);
    let mut vm = Vm::configured(&shared, &settings);
    let mut wrong = Vec::new();
    let mut callers = 0;
    for &import in IMPORTS {
        for (fault, (after, times)) in
            every(&faults(import), &[(0, u32::MAX), (0, 1), (1, 1), (3, 1)])
        {
            // A caller of its own, who has used up what he may.
            callers += 1;
            let caller = format!("Bearer {callers}");
            assert_eq!(vm.outcome(&by(&caller, "counted")), "passed");
            assert_eq!(vm.outcome(&by(&caller, "counted")), "passed");
            for tool in ["closed", "unlisted", "checked", "counted", "reads", "open"] {
                // A host that says that nothing was counted is believed.
                let nothing = matches!(fault, Fault::Status(1) | Fault::Nothing);
                if tool == "reads" && import == "proxy_get_shared_data" && nothing {
                    continue;
                }
                let request = if callers % 2 == 0 {
                    by(&caller, tool)
                } else {
                    by(&caller, tool).with_trailers()
                };
                vm.fail(import, fault.clone(), after, times);
                let found = vm.outcome(&request);
                vm.heal();
                let got = ["passed", "LOST", "LEAKED"].iter().any(|word| found.starts_with(word));
                if (got && tool != "open") || vm.trap.is_some() {
                    wrong.push(format!("{import} {fault:?} {after} {times}: {tool}: {found}"));
                    vm = Vm::configured(&shared, &settings);
                }
            }
            // It does no lasting harm either.
            for (tool, expected) in [
                ("open", "passed"),
                ("closed", "200 tool_denied"),
                ("counted", "200 limit_reached"),
                ("reads", "200 denied_by_condition"),
            ] {
                let found = vm.outcome(&by(&caller, tool));
                if found != expected {
                    wrong
                        .push(format!("after {import} {fault:?} {after} {times}: {tool}: {found}"));
                }
            }
        }
    }
    check(&wrong);
}

/// As where an operator's `capability_restriction_config` leaves it out.
#[test]
fn a_call_that_is_left_out_from_the_start_lets_nothing_through() {
    let mut wrong = Vec::new();
    for &import in IMPORTS {
        let statuses = if import == "proxy_log" { STATUSES } else { statuses(import) };
        for status in statuses {
            let mut vm = Vm::restricted(&Arc::default(), import, Fault::Status(*status));
            // Something to tell the log: problems, and then a warning.
            let refused = !vm.configure(b"{");
            let settings = with_settings(r#""requests": { "hold_headers": "always" }"#);
            let taken = vm.configure(settings.as_bytes());
            let mut found = Vec::new();
            for tool in ["open", "closed", "unlisted"] {
                found.extend(taken.then(|| vm.outcome(&call(tool, "{}"))));
            }
            vm.holds = false;
            found.extend(taken.then(|| vm.outcome(&call("open", "{}"))));
            let got = found.iter().skip(1).any(|found| found == "passed");
            let odd = found.iter().any(|found| found.contains(':'));
            if vm.trap.is_some() || !refused || got || odd {
                wrong.push(format!("{import} {status}: {taken} {found:?} {:?}", vm.trap));
            }
            if import == "proxy_log" && (found.first().is_none_or(|open| open != "passed")) {
                wrong.push(format!(
                    "{import} {status}: {taken} {found:?}, though only the log fails"
                ));
            }
        }
    }
    check(&wrong);
}

/// What each raw call is there for: an answer of Envoy on which the SDK's wrapper would have ended the
/// VM, and what becomes of the request instead. 2 is Envoy's answer where headers, a buffer, a stream or a
/// value cannot be had or changed, 10 where a call is restricted.
#[test]
fn a_host_call_that_fails_decides_over_its_request_alone() {
    let mut wrong = Vec::new();
    let plain = |tool: &str| call(tool, "{}");
    let steers = || plain("open").with("x-envoy-max-retries", "9");
    for (import, status, holds, request, expected) in [
        ("proxy_get_current_time_nanoseconds", 10, true, plain("open"), "500 host_failure"),
        // WASI's word for what is restricted. The wall clock tells all then.
        ("clock_time_get", 76, true, plain("counted"), "passed"),
        ("proxy_set_tick_period_milliseconds", 10, true, plain("open"), "passed"),
        ("proxy_set_tick_period_milliseconds", 10, false, plain("open"), "waits"),
        ("proxy_set_effective_context", 2, false, plain("open"), "waits"),
        ("proxy_set_effective_context", 10, false, plain("open"), "waits"),
        ("proxy_continue_stream", 10, false, plain("open"), "waits"),
        ("proxy_get_buffer_bytes", 10, true, plain("open"), "500 host_failure"),
        ("proxy_get_header_map_pairs", 10, true, plain("open"), "500 host_failure"),
        ("proxy_remove_header_map_value", 2, true, steers(), "500 host_failure"),
        ("proxy_remove_header_map_value", 10, true, steers(), "500 host_failure"),
        ("proxy_replace_header_map_value", 2, true, plain("earned"), "passed"),
        ("proxy_replace_header_map_value", 10, true, plain("earned"), "passed"),
        ("proxy_get_property", 10, true, plain("open"), "passed"),
        ("proxy_set_property", 2, true, plain("open"), "passed"),
        ("proxy_set_property", 10, true, plain("closed"), "200 tool_denied"),
        ("proxy_get_shared_data", 10, true, plain("counted"), "200 counters_unavailable"),
        ("proxy_set_shared_data", 10, true, plain("counted"), "200 counters_unavailable"),
        ("proxy_send_local_response", 10, true, plain("closed"), "waits"),
    ] {
        let mut vm = vm();
        vm.holds = holds;
        vm.fail(import, Fault::Status(status), 0, u32::MAX);
        let found = vm.outcome(&request);
        vm.heal();
        vm.holds = true;
        let next = vm.outcome(&plain("open"));
        if found != expected || next != "passed" || vm.trap.is_some() {
            wrong.push(format!("{import} {status}: {found}, not {expected}; then {next}"));
        }
    }
    check(&wrong);
}

/// Headers that have gone ahead, because nothing told that they can wait, cannot be changed any more.
#[test]
fn headers_that_have_gone_ahead_stay_as_they_are() {
    let mut vm = vm();
    vm.holds = false;
    assert_eq!(vm.outcome(&call("earned", "{}").with("accept-encoding", "gzip")), "passed");
}

#[test]
fn a_response_that_cannot_be_changed_is_withheld() {
    let list = r#"{"jsonrpc":"2.0","id":1,"result":{"tools":[{"name":"secret"},{"name":"open"}]}}"#;
    for status in [1, 2, 10] {
        let mut vm = vm();
        let request = Request::post("", r#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#);
        let context = vm.send(&request);
        vm.stops = true;
        vm.fail("proxy_set_buffer_bytes", Fault::Status(status), 0, u32::MAX);
        vm.answer(context, &response("200", "application/json", list));
        vm.heal();
        let received = vm.close(context).received;
        assert_eq!(String::from_utf8_lossy(&received), "", "{status}");
        assert!(vm.log().contains("is withheld"), "{status}: {}", vm.log());
        assert_eq!(vm.outcome(&call("open", "{}")), "passed", "{status}");
    }
}

/// Envoy makes none, but a trap would end the VM.
#[test]
fn a_stream_of_a_plugin_without_configuration_waits() {
    let mut vm = Vm::start(&Arc::default());
    assert!(!vm.configure(b"{"));
    for root in [vm.last_context(), vm.bare_root()] {
        vm.take_root(root);
        for request in [call("open", "{}"), call("open", "{}").with_trailers()] {
            assert_eq!(vm.outcome(&request), "waits");
        }
        let mut get = Request::post("", "").with(":method", "GET");
        get.chunks.clear();
        assert_eq!(vm.outcome(&get), "waits");
    }
    assert!(vm.configure(POLICY.as_bytes()));
    assert_eq!(vm.outcome(&call("open", "{}")), "passed");
}

#[test]
fn nobody_watches_a_stream_that_is_over() {
    for mode in ["auto", "always"] {
        let settings = format!(r#""requests": {{ "hold_headers": "{mode}" }}"#);
        let mut vm = Vm::configured(&Arc::default(), &with_settings(&settings));
        vm.holds = false;
        let one = vm.open(&call("open", "{}"));
        let other = vm.open(&call("open", "{}"));
        assert!(vm.ticks(), "{mode}: both are watched");
        let stream = vm.close(one);
        assert_eq!(vm.told(&stream), "waits", "{mode}");
        vm.close(other);
        vm.wait(2000);
        assert!(!vm.ticks(), "{mode}: nobody is watched any more");
        assert_eq!(vm.log(), "", "{mode}: neither was let go or refused");
    }
}

#[test]
fn headers_that_the_host_keeps_back_are_its_failure() {
    for fault in [Fault::Status(10), Fault::Nothing, Fault::Bytes(vec![0xff; 8])] {
        let mut vm = vm();
        vm.fail("proxy_get_header_map_pairs", fault.clone(), 0, u32::MAX);
        assert_eq!(vm.outcome(&call("open", "{}")), "500 host_failure", "{fault:?}");
    }
}

fn every<'e, L: Clone, R: Copy>(
    left: &'e [L],
    right: &'e [R],
) -> impl Iterator<Item = (L, R)> + 'e {
    left.iter().flat_map(move |one| right.iter().map(move |other| (one.clone(), *other)))
}

#[test]
fn a_host_that_fails_to_let_go_lets_nothing_through() {
    let mut wrong = Vec::new();
    for import in [
        "proxy_set_tick_period_milliseconds",
        "proxy_set_effective_context",
        "proxy_continue_stream",
    ] {
        for (fault, tool) in every(&faults(import), &["open", "closed"]) {
            for request in [call(tool, "{}"), call(tool, "{}").with_trailers()] {
                let mut vm = vm();
                vm.holds = false;
                vm.fail(import, fault.clone(), 0, u32::MAX);
                let found = vm.outcome(&request);
                let got = found != "waits" && found != "200 tool_denied";
                if vm.trap.is_some() || (got && tool == "closed") {
                    wrong.push(format!("{import} {fault:?}: {tool}: {found}"));
                }
            }
        }
    }
    check(&wrong);
}

#[test]
fn a_host_that_fails_while_it_configures_loses_the_configuration_and_no_more() {
    let mut wrong = Vec::new();
    for &import in IMPORTS {
        for fault in faults(import) {
            let mut vm = Vm::start(&Arc::default());
            vm.fail(import, fault.clone(), 0, u32::MAX);
            let taken = vm.configure(POLICY.as_bytes());
            vm.heal();
            let found = if taken { vm.outcome(&call("closed", "{}")) } else { String::new() };
            if vm.trap.is_some() || (taken && found != "200 tool_denied") {
                wrong.push(format!("{import} {fault:?}: {taken} {found} {:?}", vm.trap));
            }
        }
    }
    check(&wrong);
}

/// A header that makes Envoy repeat a call must not reach it, even where it cannot be removed.
#[test]
fn headers_that_steer_envoy_do_not_get_past() {
    let mut vm = vm();
    let request = call("open", "{}").with("x-envoy-max-retries", "9");
    let context = vm.send(&request);
    let stream = vm.close(context);
    assert!(stream.complete && !stream.has_forwarded("x-envoy-max-retries"));
    vm.fail("proxy_remove_header_map_value", Fault::Status(10), 0, u32::MAX);
    let context = vm.send(&request);
    let stream = vm.close(context);
    assert!(!stream.has_forwarded("x-envoy-max-retries"), "{}", vm.told(&stream));
}

#[test]
fn a_contended_count_is_exact_or_refused() {
    let lost = Fault::Status(8);
    let mut wrong = Vec::new();
    for times in [0, 1, 2, 5, 100] {
        let mut vm = vm();
        let mut found = Vec::new();
        for _ in 0..3 {
            vm.fail("proxy_set_shared_data", lost.clone(), 0, times);
            found.push(vm.outcome(&call("counted", "{}")));
        }
        if found != ["passed", "passed", "200 limit_reached"] {
            wrong.push(format!("{times}: {found:?}"));
        }
    }
    for (settings, expected) in [
        (r#""counters": { "on_error": "deny" }"#, "200 counters_unavailable"),
        (r#""counters": { "on_error": "allow" }"#, "passed"),
    ] {
        let mut vm = Vm::configured(&Arc::default(), &with_settings(settings));
        vm.fail("proxy_set_shared_data", lost.clone(), 0, u32::MAX);
        let found = vm.outcome(&call("counted", "{}"));
        vm.heal();
        let then: Vec<String> = (0..3).map(|_| vm.outcome(&call("counted", "{}"))).collect();
        if found != expected || then != ["passed", "passed", "200 limit_reached"] {
            wrong.push(format!("{settings}: {found}, then {then:?}"));
        }
    }
    check(&wrong);
}

/// Workers of one Envoy, interleaved at every access to what they share, never admit one too many.
#[test]
fn workers_together_admit_exactly_the_maximum() {
    const WORKERS: usize = 4;
    let policy = r#"{ "version": "1", "default": "deny", "tools": {
        "pooled": { "limits": [
            { "counter": "all", "window": "hour", "max": 13, "scope": "global" },
            { "counter": "each", "window": "hour", "max": 9, "algorithm": "sliding" }
        ] }
    } }"#;
    for seed in 1..=6 {
        let shared = Arc::<Shared>::default();
        let turns = Turns::new(WORKERS, seed);
        let vms: Vec<Vm> = (0..WORKERS).map(|_| Vm::configured(&shared, policy)).collect();
        let work = |(seat, mut vm): (usize, Vm)| {
            let turns = turns.clone();
            std::thread::spawn(move || {
                vm.take_turns(&turns, seat);
                turns.pass(seat);
                let calls = (0..8).map(|at| format!("Bearer {}", at % 2));
                let told: Vec<_> =
                    calls.map(|who| (who.clone(), vm.outcome(&by(&who, "pooled")))).collect();
                turns.leave(seat);
                told
            })
        };
        let threads: Vec<_> = vms.into_iter().enumerate().map(work).collect();
        let told: Vec<_> = threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect();
        let admitted =
            |who: &str| told.iter().filter(|(by, end)| by.contains(who) && end == "passed").count();
        let others: Vec<_> =
            told.iter().filter(|(_, end)| end != "passed" && end != "200 limit_reached").collect();
        assert!(others.is_empty(), "{seed}: {others:?}");
        assert_eq!(admitted("Bearer"), 13, "{seed}: {told:?}");
        assert!(admitted("Bearer 0") <= 9 && admitted("Bearer 1") <= 9, "{seed}: {told:?}");
    }
}

#[test]
fn plugins_of_other_names_count_for_themselves() {
    let shared = Arc::<Shared>::default();
    for (plugin, expected) in [("a", "passed"), ("a", "200 limit_reached"), ("b", "passed")] {
        let mut vm = Vm::start(&shared).named(plugin);
        assert!(vm.configure(POLICY.replace("\"max\": 2", "\"max\": 1").as_bytes()));
        assert_eq!(vm.outcome(&call("counted", "{}")), expected, "{plugin}");
    }
}

#[test]
fn invented_callers_do_not_fill_the_shared_data() {
    let shared = Arc::<Shared>::default();
    let settings = with_settings(r#""counters": { "max_entries": 32 }"#);
    let mut vm = Vm::configured(&shared, &settings);
    let mut bytes_after = |callers: std::ops::Range<u32>| {
        for caller in callers {
            vm.outcome(&by(&format!("Bearer {caller}"), "counted"));
        }
        shared.bytes()
    };
    let filled = bytes_after(0..300);
    assert_eq!(bytes_after(300..600), filled);
}

#[test]
fn where_envoy_blocks_the_body_nothing_hangs_and_holding_is_given_up() {
    let mut vm = vm();
    vm.holds = false;
    for (round, tool) in ["open", "closed", "open"].iter().enumerate() {
        let context = vm.open(&call(tool, "{}"));
        assert!(vm.stream(context).forwarded.is_none() && vm.ticks(), "held at first: {round}");
        vm.wait(60);
        let stream = vm.close(context);
        let expected = if *tool == "open" { "passed" } else { "200 tool_denied" };
        assert_eq!(vm.told(&stream), expected);
    }
    // From now on for a minute, nobody waits.
    for (tool, expected) in [("open", "passed"), ("closed", "200 tool_denied")] {
        let context = vm.open(&call(tool, "{}"));
        let stream = vm.close(context);
        assert_eq!(vm.told(&stream), expected, "at once");
    }
    assert!(!vm.ticks());
    vm.wait(60_001);
    assert_eq!(vm.outcome(&call("open", "{}")), "passed");
    assert_eq!(vm.outcome(&call("closed", "{}")), "200 tool_denied");
}

#[test]
fn many_that_are_blocked_at_once_are_all_judged() {
    let mut vm = vm();
    vm.holds = false;
    let requests = [("open", "passed"), ("closed", "200 tool_denied"), ("counted", "passed")];
    let opened: Vec<_> = requests.iter().map(|(tool, _)| vm.open(&call(tool, "{}"))).collect();
    let gone = vm.open(&call("open", "{}"));
    vm.close(gone);
    vm.wait(100);
    for (context, (tool, expected)) in opened.into_iter().zip(requests) {
        let stream = vm.close(context);
        assert_eq!(vm.told(&stream), expected, "{tool}");
    }
    vm.wait(100);
    assert!(!vm.ticks(), "the timer stops when nobody is held");
    assert_eq!(vm.log(), "", "who has gone is forgotten");
}

#[test]
fn one_that_is_blocked_is_let_go_although_a_new_configuration_has_come() {
    for mode in ["auto", "always"] {
        let settings = format!(r#""requests": {{ "hold_headers": "{mode}" }}"#);
        let mut vm = Vm::configured(&Arc::default(), &with_settings(&settings));
        vm.holds = false;
        let context = vm.open(&call("closed", "{}"));
        assert!(vm.configure(POLICY.as_bytes()));
        vm.wait(1100);
        let stream = vm.close(context);
        let expected = if mode == "auto" { "200 tool_denied" } else { "503 headers_not_held" };
        assert_eq!(vm.told(&stream), expected);
    }
}

#[test]
fn where_envoy_lets_headers_wait_they_wait_for_a_slow_body() {
    let mut vm = vm();
    // The first request is slow, and nothing is known yet: its headers are let go, its body is not.
    let first = vm.open(&call("closed", "{}").without_body_yet());
    vm.wait(500);
    vm.arrive(first, "{\"jsonrpc\":\"2.0\",", false);
    vm.arrive(first, "\"id\":1,\"method\":\"tools/call\",\"params\":{\"name\":\"closed\"}}", true);
    let stream = vm.close(first);
    assert!(stream.reply.is_some() && stream.body.is_empty() && !stream.complete);
    // One that is not slow proves that headers can wait; from then on they do.
    assert_eq!(vm.outcome(&call("closed", "{}")), "200 tool_denied");
    let slow = vm.open(&call("closed", "{}").without_body_yet());
    vm.wait(10_000);
    assert!(vm.stream(slow).forwarded.is_none(), "held");
    vm.arrive(slow, &tools_call("1", "closed", None), true);
    let stream = vm.close(slow);
    assert_eq!(vm.told(&stream), "200 tool_denied");
    assert!(!vm.ticks());
}

#[test]
fn where_headers_must_wait_and_cannot_the_request_is_refused() {
    let mut vm = Vm::configured(
        &Arc::default(),
        &with_settings(r#""requests": { "hold_headers": "always" }"#),
    );
    vm.holds = false;
    let context = vm.open(&call("open", "{}"));
    vm.wait(1100);
    let stream = vm.close(context);
    assert_eq!(vm.told(&stream), "503 headers_not_held");
    assert!(stream.forwarded.is_none());
    assert!(vm.log().contains("allow_on_headers_stop_iteration"), "{}", vm.log());
    let mut get = Request::post("", "").with(":method", "GET");
    get.chunks.clear();
    assert_eq!(vm.outcome(&get), "passed");
}

fn response(status: &'static str, content_type: &'static str, body: &str) -> Response {
    let chunks = if body.is_empty() { Vec::new() } else { vec![body.into()] };
    Response { status, content_type, chunks, trailers: false, details: "via_upstream" }
}

/// Responses, and whether a call so answered is given back.
fn responses() -> Vec<(&'static str, Response, bool)> {
    let (json, sse) = ("application/json", "text/event-stream");
    let error = r#"{"jsonrpc":"2.0","id":1,"error":{"code":-1,"message":"x"}}"#;
    let result = r#"{"jsonrpc":"2.0","id":1,"result":{"content":[],"isError":true}}"#;
    let event = |data: &str| format!(": hello\n\nevent: message\ndata: {data}\n\n");
    let large = error.replace("\"x\"", &format!("\"{}\"", "x".repeat(70_000)));
    vec![
        ("a result", response("200", json, result), false),
        ("an error", response("200", json, error), true),
        (
            "an error with parameters of its type",
            response("200", "Application/JSON; charset=utf-8", error),
            true,
        ),
        ("an event with an error", response("200", sse, &event(error)), true),
        ("an event with a result", response("200", sse, &event(result)), false),
        (
            "first a notification",
            response("200", sse, &(event(r#"{"jsonrpc":"2.0","method":"x"}"#) + &event(error))),
            true,
        ),
        ("another one's error", response("200", json, &error.replace(":1,", ":2,")), false),
        ("a server error", response("500", "text/html", "oops"), true),
        ("a refusal", response("404", json, ""), true),
        ("nothing", response("202", json, ""), false),
        ("no JSON", response("200", json, "{"), false),
        ("an unknown type", response("200", "text/plain", error), false),
        ("an error too long to look at", response("200", json, &large), false),
        (
            "Envoy's own answer",
            Response { details: "response_timeout", ..response("504", "text/plain", "timeout") },
            false,
        ),
        (
            "Envoy's own answer to what it has not sent",
            Response { details: "no_healthy_upstream", ..response("503", "text/plain", "no") },
            true,
        ),
    ]
}

#[test]
fn a_failed_call_is_given_back_where_successes_count() {
    let mut wrong = Vec::new();
    for (name, response, back) in responses() {
        for (size, trailers) in [(usize::MAX, false), (1, false), (9, true)] {
            let mut response = response.clone();
            let size =
                if response.chunks.concat().len() > 10_000 { size.max(10_000) } else { size };
            response.chunks = response.chunks.concat().chunks(size).map(<[u8]>::to_vec).collect();
            response.trailers = trailers;
            let mut vm = vm();
            let context = vm.send(&call("earned", "{}").with("accept-encoding", "gzip"));
            let plain = vm.stream(context).has_forwarded_as("accept-encoding", "identity");
            assert!(plain, "errors must be readable");
            vm.answer(context, &response);
            vm.close(context);
            let expected = if back { "passed" } else { "200 limit_reached" };
            let found = vm.outcome(&call("earned", "{}"));
            if found != expected {
                wrong.push(format!(
                    "{name}, pieces of {size}, trailers: {trailers}: {found}, not {expected}"
                ));
            }
        }
    }
    check(&wrong);
}

#[test]
fn of_a_batch_each_failed_call_is_given_back() {
    let mut vm = Vm::configured(&Arc::default(), &POLICY.replace("\"max\": 1,", "\"max\": 2,"));
    let batch =
        format!("[{},{}]", tools_call("1", "earned", None), tools_call("\"b\"", "earned", None));
    let context = vm.send(&Request::post("", &batch));
    let answer = r#"[
        {"jsonrpc":"2.0","id":"b","error":{"code":-1,"message":"x"}},
        {"jsonrpc":"2.0","id":1,"result":{}}
    ]"#;
    vm.answer(context, &response("200", "application/json", answer));
    vm.close(context);
    for expected in ["passed", "200 limit_reached"] {
        assert_eq!(vm.outcome(&call("earned", "{}")), expected);
    }
}

#[test]
fn bytes_of_a_response_that_are_no_text_harm_nobody() {
    for content_type in ["application/json", "text/event-stream", "\u{ff}"] {
        let mut vm = vm();
        let context = vm.send(&call("earned", "{}"));
        let mut answer = response("200", content_type, "");
        answer.chunks = vec![b"\xff\xfe".to_vec(), b"data: \x80\n\n".to_vec(), vec![0; 70_000]];
        vm.answer(context, &answer);
        vm.close(context);
        assert_eq!(vm.outcome(&call("earned", "{}")), "200 limit_reached", "{content_type}");
    }
}

#[test]
fn of_a_body_beyond_the_bound_nothing_is_kept() {
    let mut vm = vm();
    let bound = 1 << 20;
    let body =
        |size: usize| tools_call("1", "open", Some(&format!("{{\"x\":\"{}\"}}", "x".repeat(size))));
    let fixed = body(0).len();
    let largest = Request::post("", &body(bound - fixed)).in_pieces(16_384);
    assert_eq!(vm.outcome(&largest), "passed");
    let memory = vm.memory();
    let over = Request::post("", &body(bound - fixed + 1));
    for (name, request) in [
        ("one byte more", over.clone().in_pieces(16_384)),
        ("one byte more, with trailers", over.clone().in_pieces(16_384).with_trailers()),
        ("announced", over.with("content-length", "1048577")),
        ("twenty times as much", Request::post("", &body(20 * bound)).in_pieces(65_536)),
        ("announced beyond all numbers", call("open", "{}").with("content-length", "9".repeat(40))),
    ] {
        assert_eq!(vm.outcome(&request), "200 body_too_large", "{name}");
    }
    let late = |size| {
        let beginning = "x".repeat(size);
        let body = format!(r#"{{"method":"a","params":{{"x":"{beginning}"}},"id":1}}"#);
        Request::post("", &body).with("content-length", size.to_string()).in_pieces(65_536)
    };
    assert_eq!(vm.outcome(&late(16_000_000)), "200 body_too_large", "the id is at the end");
    assert_eq!(vm.outcome(&late(17_000_000)), "413 body_too_large", "nobody waits so long");
    assert!(vm.memory() < memory + (200 << 10), "nothing of it is kept");
    assert_eq!(vm.outcome(&call("closed", "{}")), "200 tool_denied");
}

#[test]
fn the_worst_body_within_the_bound_is_judged_in_bounded_memory() {
    let list = |item: &str, count| {
        tools_call("1", "open", Some(&format!(r#"{{"a":[{}]}}"#, vec![item; count].join(","))))
    };
    for megabytes in [1, 4] {
        let many = megabytes * 262_144 - 20;
        for (name, body, expected) in [
            ("open lists", "[".repeat(megabytes << 20), "400 too_deep"),
            ("empty lists", list("[]", many), "passed"),
            ("too many of them", list("[]", many + 20), "200 too_complex"),
            ("numbers", list("1", many), "passed"),
            ("lists of one", list("[1]", many / 2), "passed"),
            ("lists of two", list("[1,1]", many / 3), "passed"),
            ("objects of one", list(r#"{"":1}"#, many / 2), "passed"),
            (
                "objects of two",
                list(r#"{"":1,"a":1}"#, (many / 3).min((megabytes << 20) / 14)),
                "passed",
            ),
            (
                "escapes",
                format!("\"{}\"", "\\u0041".repeat(megabytes * 150_000)),
                "400 invalid_message",
            ),
        ] {
            let limit = format!(r#""requests":{{"max_body_bytes":{}}}"#, megabytes << 20);
            let mut vm = Vm::configured(&Arc::default(), &with_settings(&limit));
            let before = vm.memory();
            assert_eq!(vm.outcome(&Request::post("", &body)), expected, "{megabytes} {name}");
            let grown = vm.memory() - before;
            assert!(grown < 16 * (megabytes << 20), "{megabytes} MB, {name}: {grown} bytes");
        }
    }
}

#[test]
fn the_deepest_body_fits_the_stack() {
    let mut vm = Vm::configured(&Arc::default(), &with_settings(r#""requests":{"max_depth":512}"#));
    let deep = |open: &str, close: &str, times| {
        format!(r#"{{"a":{}1{}}}"#, open.repeat(times), close.repeat(times))
    };
    for (open, close) in [("[", "]"), (r#"{"a":"#, "}")] {
        assert_eq!(vm.outcome(&call("open", &deep(open, close, 509))), "passed");
        assert_eq!(vm.outcome(&call("open", &deep(open, close, 510))), "200 too_deep");
    }
}

#[test]
fn a_long_life_does_not_grow() {
    let mut vm = vm();
    let mut round = |count: usize| {
        for at in 0..count {
            let (request, _) = table().swap_remove(at % table().len());
            vm.outcome(&request);
            let earned = vm.send(&by(&format!("Bearer {at}"), "earned"));
            if vm.stream(earned).complete {
                vm.answer(earned, &response("500", "text/plain", "no"));
            }
            vm.close(earned);
        }
        vm.memory()
    };
    let before = round(60);
    assert_eq!(round(600), before);
}

/// What is told of decisions: metrics, audit lines, and which policy is live. Callers choose none of the labels.
#[test]
fn what_is_decided_is_counted_and_audited() {
    let policy =
        POLICY.replacen('{', r#"{"name":"shop","audit":{"arguments":"keys","chain":true},"#, 1);
    let mut vm = Vm::configured(&Arc::default(), &policy);
    let live = vm.whole_log().iter().filter(|line| line.contains("live: `shop` sha-256:")).count();
    assert_eq!(live, 1, "{:?}", vm.whole_log());
    let mut lines = Vec::new();
    for made_up in 0..50 {
        let requests = [
            call("open", &format!(r#"{{"key{made_up}":1}}"#)),
            call("closed", "{}"),
            call(&format!("made-up-{made_up}\u{202e}\n"), "{}"),
            Request::post(
                "",
                &format!(r#"{{"jsonrpc":"2.0","id":1,"method":"made/up{made_up}"}}"#),
            ),
            Request::post("", "{"),
        ];
        for request in requests {
            let context = vm.send(&request);
            lines.push(vm.close(context).state["mcp_audit"].clone());
        }
    }
    let decisions = |decision: &str, reason: &str, rule: &str| {
        let policy = "policy=.=shop;.;";
        format!(
            "mcp_policy_decisions_total.{policy}decision=.={decision};.;reason=.={reason};.;rule=.={rule};.;mode=.=enforce;.;"
        )
    };
    let expected: BTreeMap<String, u64> = [
        (decisions("allow", "", ""), 50),
        (decisions("deny", "tool_denied", "/tools/closed/action"), 50),
        (decisions("deny", "tool_not_allowed", "/default"), 50),
        (decisions("pass", "", ""), 50),
        (decisions("refuse", "invalid_json", ""), 50),
        ("mcp_policy_configurations_total.outcome=.=taken;.;".to_owned(), 1),
    ]
    .into();
    let told = |metric: &&host::Metric| metric.name.contains("_total.");
    let series: BTreeMap<String, u64> = vm
        .metrics()
        .iter()
        .filter(told)
        .map(|metric| (metric.name.clone(), metric.values.iter().sum()))
        .collect();
    assert_eq!(series, expected);
    let mut before = BEGINNING.to_owned();
    for (at, line) in lines.iter().enumerate() {
        let read: serde_json::Value = serde_json::from_str(line).unwrap();
        assert_eq!(read["chain"]["n"], at + 1, "{line}");
        assert!(line.chars().all(|c| c == ' ' || c.is_ascii_graphic()), "{line}");
        let (prefix, digest) = line.rsplit_once(BEFORE_DIGEST).unwrap();
        before = link_digest(&before, prefix.as_bytes());
        assert_eq!(format!("{before}{AFTER_DIGEST}"), digest, "{line}");
    }
    let durations =
        vm.metrics().iter().find(|metric| metric.name == "mcp_policy_duration_microseconds");
    assert_eq!(durations.map(|metric| metric.values.len()), Some(250_usize.div_ceil(16)));
}
