//! Calls that wait for an answer from outside, through the built filter.

use std::sync::Arc;

use proptest::prelude::*;

use super::host::{Answer, Fault, Request, Shared, Vm};
use crate::world::tools_call;

const POLICY: &str = r#"{"version":"1","default":"deny","tools":{
    "pay":{"action":"require_approval","approval":"approver","limits":[{"counter":"c","window":"day","max":3}]},"free":{}},
    "approvals":{"cooldown":0,"wait":"2s","approver":{"cluster":"approver","timeout":"2s"}}}"#;

/// How long the policy lets a call wait, in milliseconds.
const PATIENCE: u64 = 2000;

fn pay() -> Request {
    Request::post("Bearer a", &tools_call("1", "pay", None))
}

fn says(text: &str) -> Answer {
    Some(("200", text.into()))
}

fn yes() -> Answer {
    says(r#"{"decision":true}"#)
}

fn vm() -> Vm {
    Vm::configured(&Arc::<Shared>::default(), POLICY)
}

/// How many calls the limit still admits.
fn left(vm: &mut Vm) -> usize {
    let passed = (0..4).filter(|_| {
        let context = vm.open(&pay());
        if let Some(callout) = vm.asked().last().cloned() {
            vm.answer_ask(callout.token, yes());
        }
        let stream = vm.close(context);
        vm.told(&stream) == "passed"
    });
    passed.count()
}

#[test]
fn a_call_waits_for_its_answer_and_nothing_else_approves() {
    let whole = |status| Some((status, br#"{"decision":true}"#.to_vec()));
    for (answer, expected) in [
        (yes(), "passed"),
        (says(r#"{"decision":false}"#), "200 approval_declined"),
        (says(""), "200 approver_unavailable"),
        (says("\u{feff}{\"decision\":true}"), "200 approver_unavailable"),
        (Some(("200", vec![0xff; 10])), "200 approver_unavailable"),
        (Some(("200", vec![b' '; 1 << 20])), "200 approver_unavailable"),
        (whole("504"), "200 approver_unavailable"),
        (whole("x"), "200 approver_unavailable"),
        (None, "200 approver_unavailable"),
    ] {
        for trailers in [false, true] {
            let mut vm = vm();
            let request = if trailers { pay().with_trailers() } else { pay() };
            let context = vm.open(&request);
            let asked = vm.asked();
            assert_eq!(asked.len(), 1);
            let callout = &asked[0];
            assert_eq!((&*callout.cluster, u64::from(callout.timeout)), ("approver", PATIENCE));
            let body: serde_json::Value = serde_json::from_str(&callout.body).unwrap();
            assert_eq!(body["resource"]["id"], "pay");
            assert!(!callout.body.contains("Bearer"), "no credential leaves");
            assert!(callout.headers.contains(&(b":method".to_vec(), b"POST".to_vec())));
            // Others go on meanwhile.
            assert_eq!(
                vm.outcome(&Request::post("Bearer a", &tools_call("2", "free", None))),
                "passed"
            );
            vm.answer_ask(callout.token, answer.clone());
            let stream = vm.close(context);
            assert_eq!(vm.told(&stream), expected, "{answer:?}");
            let decision = stream.state["mcp_decision"].as_str();
            assert_eq!(decision == "allow", expected == "passed");
            assert_eq!(left(&mut vm), if expected == "passed" { 2 } else { 3 }, "{answer:?}");
        }
    }
}

#[test]
fn what_cannot_be_asked_or_is_not_answered_is_denied() {
    for (import, status) in
        [("proxy_http_call", 2), ("proxy_http_call", 10), ("proxy_set_effective_context", 10)]
    {
        let mut vm = vm();
        vm.fail(import, Fault::Status(status), 0, u32::MAX);
        let found = vm.outcome(&pay());
        vm.heal();
        assert_eq!(found, "200 approver_unavailable", "{import} {status}");
        assert_eq!(left(&mut vm), 3, "{import} {status}");
    }
    let mut vm = vm();
    let context = vm.open(&pay());
    assert!(vm.ticks());
    vm.wait(PATIENCE + 100);
    assert!(!vm.ticks(), "the timer stops");
    let stream = vm.stream(context);
    assert!(stream.reply.is_some());
    // The answer that comes too late finds a request that is answered.
    let token = vm.asked()[0].token;
    vm.answer_ask(token, yes());
    let stream = vm.close(context);
    assert_eq!(vm.told(&stream), "200 approver_unavailable");
    assert_eq!(left(&mut vm), 3);
}

#[test]
fn who_leaves_while_he_waits_leaves_nothing_behind() {
    let mut vm = vm();
    let before = {
        left(&mut vm);
        vm.memory()
    };
    let mut vm = self::vm();
    for round in 0..2000 {
        let context = vm.open(&pay());
        let token = vm.asked().last().unwrap().token;
        let stream = vm.close(context);
        assert_eq!(vm.told(&stream), "waits", "{round}");
        // Envoy tells the plugin of the end of its question all the same.
        vm.answer_ask(token, if round % 2 == 0 { yes() } else { None });
        assert!(vm.trap.is_none(), "{:?}", vm.trap);
    }
    // The next tick finds nobody.
    vm.wait(20);
    assert!(!vm.ticks());
    assert_eq!(left(&mut vm), 3);
    assert!(vm.memory() <= before + (1 << 20), "{} of {before}", vm.memory());
}

/// Something that happens.
#[derive(Clone, Debug)]
enum Happens {
    Opened(bool),
    Answered(usize, u8),
    Passed(u64),
    Closed(usize),
    /// A host call fails the next time.
    Fails(&'static str),
}

fn happens() -> impl Strategy<Value = Happens> {
    let faults = vec![
        "proxy_continue_stream",
        "proxy_send_local_response",
        "proxy_get_shared_data",
        "proxy_set_shared_data",
        "proxy_get_current_time_nanoseconds",
        "proxy_get_header_map_pairs",
        "proxy_get_buffer_bytes",
        "proxy_http_call",
        "proxy_set_property",
        "proxy_replace_header_map_value",
    ];
    prop_oneof![
        4 => any::<bool>().prop_map(Happens::Opened),
        4 => (0usize..4, 0u8..3).prop_map(|(at, what)| Happens::Answered(at, what)),
        2 => prop::sample::select(vec![10, 500, 2500]).prop_map(Happens::Passed),
        2 => (0usize..4).prop_map(Happens::Closed),
        1 => prop::sample::select(faults).prop_map(Happens::Fails),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens_nothing_traps_and_no_more_runs_than_was_approved(
        holds in any::<bool>(), events in proptest::collection::vec(happens(), 1..25),
    ) {
        let mut vm = vm();
        vm.holds = holds;
        let (mut open, mut approved, mut passed, mut faulty) = (Vec::new(), 0, 0, false);
        for event in events {
            match event {
                Happens::Opened(trailers) => {
                    open.push(vm.open(&if trailers { pay().with_trailers() } else { pay() }));
                }
                Happens::Answered(at, what) => {
                    let Some(callout) = vm.asked().get(at).cloned() else { continue };
                    approved += usize::from(what == 0);
                    vm.answer_ask(callout.token, match what { 0 => yes(), 1 => says("{}"), _ => None });
                }
                Happens::Passed(millis) => vm.wait(millis),
                Happens::Closed(at) if at < open.len() => {
                    let context = open.remove(at);
                    let stream = vm.close(context);
                    let told = vm.told(&stream);
                    prop_assert!(["passed", "waits"].contains(&&*told) || told.starts_with("200 ") || told.starts_with("500 "), "{told}");
                    passed += usize::from(told == "passed");
                }
                Happens::Closed(_) => {}
                Happens::Fails(import) => {
                    faulty = true;
                    vm.fail(import, Fault::Status(10), 0, 1);
                }
            }
            prop_assert!(vm.trap.is_none(), "{:?}", vm.trap);
        }
        vm.heal();
        // Everything ends by itself.
        vm.wait(2 * PATIENCE);
        prop_assert!(!vm.ticks());
        for context in open {
            let stream = vm.close(context);
            let told = vm.told(&stream);
            prop_assert!(faulty || told != "waits", "it has ended");
            passed += usize::from(told == "passed");
        }
        prop_assert!(passed <= approved.min(3), "{passed} of {approved}");
        vm.holds = true;
        let left = left(&mut vm);
        prop_assert!(vm.trap.is_none());
        // Nothing is counted but what ran; where the host failed, what could not be given back stays.
        prop_assert!(if faulty { left <= 3 - passed } else { left == 3 - passed }, "{left} left, {passed} passed");
    }
}
