//! Limits in the rate limit service: several Envoys before one service, by every way in which it can answer or fail to. The service here
//! is a model that counts exactly; `tests/e2e/test_fleet.py` has a real one.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;

use mcp_policy::ask::{Answer, Ask, AskBody};
use mcp_policy::exchange::{Chunk, Event, Exchange, Flow, Step};
use mcp_policy::mcp::headers::Follows;
use mcp_policy::metrics::{Series, ServiceOutcome};
use mcp_policy::policy::compiled::Config;
use mcp_policy::proto::{Content, WireMessage, fields};
use mcp_policy::rate::memory::MemoryStore;
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::world::{World, exchange, post_headers, tools_call};

/// What the model answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Manner {
    /// As it should.
    Exact,
    /// The same, with one answer for all together.
    Terse,
    /// HTTP 504: nothing in time.
    Late,
    /// Bytes that are no answer.
    Garbage,
    /// It cannot be asked.
    Gone,
}

/// An asked descriptor: its entries, the maximum that it carries, and how many hits.
#[derive(Clone, Debug, PartialEq, Eq)]
struct AskedDescriptor {
    entries: String,
    max: Option<u64>,
    hits: u64,
}

/// A service that counts all of a question, or nothing of it.
#[derive(Default)]
struct Model {
    counts: RefCell<BTreeMap<String, u64>>,
    /// Descriptors with a limit of zero.
    off: RefCell<Vec<String>>,
    questions: Cell<u64>,
}

fn number(message: &[u8], field: u64) -> Option<u64> {
    let found = fields(message).unwrap();
    let field = found.iter().find(|known| known.number == field)?;
    if let Content::Varint(value) = field.content { Some(value) } else { None }
}

fn parts(message: &[u8], field: u64) -> Vec<Vec<u8>> {
    let found = fields(message).unwrap();
    let parts = found.iter().filter(|known| known.number == field);
    parts.map(|part| part.bytes().unwrap().to_vec()).collect()
}

fn text(bytes: &[Vec<u8>]) -> String {
    bytes.first().map(|bytes| String::from_utf8(bytes.clone()).unwrap()).unwrap_or_default()
}

fn asked(ask: &Ask) -> Vec<AskedDescriptor> {
    let AskBody::Grpc(body) = &ask.body else { panic!("{ask:?}") };
    let message = &body[5..];
    assert_eq!(
        body[..5],
        [&[0][..], &u32::try_from(message.len()).unwrap().to_be_bytes()].concat()
    );
    assert_eq!(text(&parts(message, 1)), "mcp_policy");
    assert_eq!(&*ask.path, "/envoy.service.ratelimit.v3.RateLimitService/ShouldRateLimit");
    let common = number(message, 3).unwrap_or(1);
    let descriptor = |descriptor: Vec<u8>| {
        let entries = parts(&descriptor, 1);
        let entries = entries
            .iter()
            .map(|entry| format!("{}={}", text(&parts(entry, 1)), text(&parts(entry, 2))));
        let max = parts(&descriptor, 2).first().map(|limit| number(limit, 1).unwrap_or(0));
        let hits =
            parts(&descriptor, 3).first().map_or(common, |hits| number(hits, 1).unwrap_or(0));
        AskedDescriptor { entries: entries.collect::<Vec<_>>().join(","), max, hits }
    };
    parts(message, 2).into_iter().map(descriptor).collect()
}

impl Model {
    fn answer(&self, ask: &Ask, manner: Manner) -> Vec<u8> {
        self.questions.set(self.questions.get() + 1);
        let asked = asked(ask);
        let off = |one: &AskedDescriptor| self.off.borrow().contains(&one.entries);
        let mut counts = self.counts.borrow_mut();
        let mut wanted: BTreeMap<&str, u64> = BTreeMap::new();
        let over: Vec<bool> = asked
            .iter()
            .map(|one| {
                let wants = wanted.entry(&one.entries).or_default();
                *wants += one.hits;
                let has = counts.get(&one.entries).copied().unwrap_or(0);
                off(one) || one.max.is_some_and(|max| has + *wants > max)
            })
            .collect();
        let refuses = over.contains(&true);
        if !refuses {
            for one in &asked {
                *counts.entry(one.entries.clone()).or_default() += one.hits;
            }
        }
        let mut message = WireMessage::default().number(1, if refuses { 2 } else { 1 });
        if manner == Manner::Exact {
            for (one, over) in asked.iter().zip(&over) {
                let mut status = WireMessage::default().number(1, if *over { 2 } else { 1 });
                if let Some(max) = one.max {
                    let left = max.saturating_sub(counts.get(&one.entries).copied().unwrap_or(0));
                    status =
                        status.message(2, &WireMessage::default().number(1, max)).number(3, left);
                    status = status.message(4, &WireMessage::default().number(1, 30));
                }
                message = message.message(2, &status);
            }
        }
        let message = message.into_bytes();
        [&[0][..], &u32::try_from(message.len()).unwrap().to_be_bytes(), &message].concat()
    }
}

/// One call through one Envoy, whose shared data that is.
fn call(
    config: &Rc<Config>,
    store: &MemoryStore,
    service: &Model,
    manner: Manner,
    body: &str,
) -> Step {
    let (mut exchange, step) = begun(config, store, body);
    let [ask] = &*step.asks else { return step };
    let (ask, world) = (ask.clone(), World { now: Some(30_000), ..World::new(store) });
    let bytes = service.answer(&ask, manner);
    let answer = match manner {
        Manner::Exact | Manner::Terse => Answer::Http { status: 200, body: &bytes },
        Manner::Garbage => Answer::Http { status: 200, body: b"\0\0\0\0\x02hello" },
        Manner::Late => Answer::Http { status: 504, body: b"upstream request timeout" },
        Manner::Gone => Answer::Failed,
    };
    let step = exchange.on(&world, Event::Answered { ask: ask.id, answer });
    let _ = exchange.on(&world, Event::Closed);
    step
}

/// A call up to where it waits, or is decided.
fn begun(config: &Rc<Config>, store: &MemoryStore, body: &str) -> (Exchange, Step) {
    let mut exchange = exchange(config);
    let mut world = World { now: Some(30_000), ..World::new(store) };
    let headers = post_headers("Bearer a");
    let head =
        exchange.on(&world, Event::RequestHead { headers: &headers, follows: Follows::Body });
    assert_eq!(head.flow, Flow::Pause);
    world.body = body.as_bytes().to_vec();
    let event = Event::RequestBody { buffered: body.len(), chunk: Chunk::Last };
    let step = exchange.on(&world, event);
    (exchange, step)
}

fn reason(step: &Step) -> String {
    match &step.flow {
        Flow::Continue => "passes".to_owned(),
        Flow::Pause => "waits".to_owned(),
        Flow::Reply(reply) => {
            let body: Value = serde_json::from_slice(&reply.body).unwrap();
            let error = if body.is_array() { &body[0] } else { &body };
            error["error"]["data"]["reason"].as_str().unwrap().to_owned()
        }
    }
}

fn load(tools: Value, service: Value) -> Rc<Config> {
    let mut service = service;
    service["cluster"] = "ratelimit".into();
    let policy = json!({"version": "1", "name": "shop", "default": "deny", "tools": tools, "counters": {"service": service}});
    Rc::new(Config::load(policy.to_string().as_bytes(), "test").unwrap().config)
}

fn limit(max: u64, more: Value) -> Value {
    let mut limit =
        json!({"counter": "calls", "window": "minute", "max": max, "count_in": "service"});
    limit.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    limit
}

proptest! {
    /// All Envoys together never admit more than the maximum, with leases or without, whatever fails in between under `deny`; and without
    /// failures and where leases come out even, they admit exactly that.
    #[test]
    fn all_envoys_together_admit_no_more_than_the_maximum(
        lease in prop_oneof![Just(None), (2u64..12).prop_map(Some)],
        max in 1u64..60,
        calls in proptest::collection::vec((0usize..3, 0u8..12), 1..200),
    ) {
        let more = lease.map_or(json!({}), |lease| json!({"lease": lease}));
        let config = load(json!({"ok": {"limits": [limit(max, more)]}}), json!({}));
        let stores = [MemoryStore::default(), MemoryStore::default(), MemoryStore::default()];
        let service = Model::default();
        let (mut admitted, mut failed) = (0, false);
        for (envoy, chance) in &calls {
            let manner = match chance {
                0 => Manner::Late,
                1 => Manner::Garbage,
                2 => Manner::Gone,
                3 => Manner::Terse,
                _ => Manner::Exact,
            };
            let step = call(&config, &stores[*envoy], &service, manner, &tools_call("1", "ok", None));
            failed |= *chance < 3;
            admitted += u64::from(step.flow == Flow::Continue);
        }
        prop_assert!(admitted <= max, "{admitted} of {max}");
        if !failed && lease.is_none() {
            prop_assert_eq!(admitted, max.min(calls.len() as u64));
        }
        // What is left goes to whoever comes: leases that come out even leave nothing.
        if !failed && lease.is_some_and(|lease| max % lease == 0) {
            for envoy in (0..3).cycle().take(3 * 60) {
                let step = call(&config, &stores[envoy], &service, Manner::Exact, &tools_call("1", "ok", None));
                admitted += u64::from(step.flow == Flow::Continue);
            }
            prop_assert_eq!(admitted, max);
        }
    }
}

#[test]
fn leases_spare_questions() {
    let config = load(json!({"ok": {"limits": [limit(1000, json!({"lease": 10}))]}}), json!({}));
    let (store, service) = (MemoryStore::default(), Model::default());
    for _ in 0..100 {
        let step = call(&config, &store, &service, Manner::Exact, &tools_call("1", "ok", None));
        assert_eq!(step.flow, Flow::Continue);
    }
    assert_eq!(service.questions.get(), 10);
}

#[test]
fn one_question_asks_for_all_limits_and_names_no_credential() {
    let tools = json!({"ok": {"limits": [
        limit(5, json!({})),
        {"counter": "sum", "window": "day", "max": 100, "scope": "global", "increment_from": "args.n", "count_in": "service"},
        {"counter": "here", "window": "hour", "max": 5},
    ]}});
    let config = load(tools, json!({"domain": "mcp_policy"}));
    let store = MemoryStore::default();
    let (mut exchange, step) = begun(&config, &store, &tools_call("1", "ok", Some(r#"{"n":2.5}"#)));
    let [ask] = &*step.asks else { panic!("{step:?}") };
    let [calls, sum] = &*asked(ask) else { panic!("{ask:?}") };
    let caller = calls
        .entries
        .strip_prefix("policy=shop,counter=calls,scope=grant,window=minute,caller=")
        .unwrap();
    assert!(caller.len() == 32 && !caller.contains("Bearer"));
    assert_eq!((calls.max, calls.hits), (Some(5), 1));
    // What a part of one counts is rounded up.
    let expected = "policy=shop,counter=sum,scope=global,window=day".to_owned();
    assert_eq!(*sum, AskedDescriptor { entries: expected, max: Some(100), hits: 3 });
    let _ = exchange.on(&World::new(&store), Event::Closed);
}

/// Each way to fail, under each setting, and what becomes of the call, of the count here and of what is told.
#[test]
fn a_service_that_fails_is_answered_as_the_policy_says() {
    for (on_error, first, then, outcome) in [
        ("deny", "counters_unavailable", "counters_unavailable", ServiceOutcome::FailedDeny),
        ("allow", "passes", "passes", ServiceOutcome::FailedAllow),
        ("local", "passes", "limit_reached", ServiceOutcome::FailedLocal),
    ] {
        for manner in [Manner::Late, Manner::Garbage, Manner::Gone] {
            let here = json!({"counter": "here", "window": "hour", "max": 2});
            let tools = json!({"ok": {"limits": [here, limit(1, json!({}))]}});
            let config = load(tools, json!({"on_error": on_error}));
            let (store, service) = (MemoryStore::default(), Model::default());
            let body = tools_call("1", "ok", None);
            let step = call(&config, &store, &service, manner, &body);
            assert_eq!(reason(&step), first, "{on_error} {manner:?}");
            let told = step
                .samples
                .iter()
                .any(|sample| sample.series == Series::Service { policy: Some(0), outcome });
            assert!(told, "{on_error} {manner:?}: {:?}", step.samples);
            let counted = step.records.last().unwrap().counted;
            assert_eq!(counted, Some(outcome).filter(|_| first == "passes"));
            assert_eq!(
                reason(&call(&config, &store, &service, manner, &body)),
                then,
                "{on_error} {manner:?}"
            );
            // What was counted here for a call that did not go on is given back.
            if on_error == "deny" {
                let sound = Model::default();
                assert_eq!(reason(&call(&config, &store, &sound, Manner::Exact, &body)), "passes");
            }
        }
    }
}

#[test]
fn a_refusal_gives_back_what_is_local_and_says_what_the_service_says() {
    let here = json!({"counter": "here", "window": "hour", "max": 2});
    let config = load(json!({"ok": {"limits": [here, limit(1, json!({}))]}}), json!({}));
    let (store, service) = (MemoryStore::default(), Model::default());
    let body = tools_call("1", "ok", None);
    assert_eq!(reason(&call(&config, &store, &service, Manner::Exact, &body)), "passes");
    for _ in 0..5 {
        let step = call(&config, &store, &service, Manner::Exact, &body);
        let Flow::Reply(reply) = &step.flow else { panic!("{step:?}") };
        let data = &serde_json::from_slice::<Value>(&reply.body).unwrap()["error"]["data"];
        let found = (
            &data["reason"],
            &data["limit"],
            &data["remaining"],
            &data["windowSeconds"],
            &data["retryAfterMs"],
        );
        assert_eq!(
            found,
            (&json!("limit_reached"), &json!(1), &json!(0), &json!(60), &json!(30_000))
        );
        assert_eq!(data["rule"], "/tools/ok/limits/1");
    }
    // Each refusal gave its count back, so the local limit has room for one.
    let other = Model::default();
    assert_eq!(reason(&call(&config, &store, &other, Manner::Exact, &body)), "passes");
    let other = Model::default();
    assert_eq!(reason(&call(&config, &store, &other, Manner::Exact, &body)), "limit_reached");
    assert_eq!(other.questions.get(), 0, "nobody is asked for what is refused here");
}

#[test]
fn a_limit_in_shadow_is_asked_for_and_denies_nothing() {
    let tools = json!({"ok": {"mode": "shadow", "limits": [limit(1, json!({}))]}});
    let config = load(tools, json!({}));
    let (store, service) = (MemoryStore::default(), Model::default());
    let told: Vec<(&str, &str)> = (0..2)
        .map(|_| {
            let step = call(&config, &store, &service, Manner::Exact, &tools_call("1", "ok", None));
            assert_eq!(step.flow, Flow::Continue);
            let record = step.records.last().unwrap();
            (record.decision, record.reason)
        })
        .collect();
    assert_eq!(told, [("allow", ""), ("would_deny", "limit_reached")]);
}

#[test]
fn a_batch_asks_once_and_goes_on_as_a_whole() {
    let config = load(json!({"ok": {"limits": [limit(3, json!({}))]}, "free": {}}), json!({}));
    let (store, service) = (MemoryStore::default(), Model::default());
    let batch = format!(
        "[{},{},{}]",
        tools_call("1", "ok", None),
        tools_call("2", "free", None),
        tools_call("3", "ok", None)
    );
    let step = call(&config, &store, &service, Manner::Exact, &batch);
    assert_eq!((reason(&step), service.questions.get()), ("passes".to_owned(), 1));
    let step = call(&config, &store, &service, Manner::Exact, &batch);
    let Flow::Reply(reply) = &step.flow else { panic!("{step:?}") };
    let errors: Value = serde_json::from_slice(&reply.body).unwrap();
    let told: Vec<(&Value, &Value)> = errors
        .as_array()
        .unwrap()
        .iter()
        .map(|error| (&error["id"], &error["error"]["data"]["reason"]))
        .collect();
    let refused = json!("batch_refused");
    // The second of the two is the one too many.
    assert_eq!(
        told,
        [(&json!(1), &refused), (&json!(2), &refused), (&json!(3), &json!("limit_reached"))]
    );
    let decisions: Vec<&str> = step.records.iter().map(|record| record.reason).collect();
    assert_eq!(decisions, ["batch_refused", "batch_refused", "limit_reached"]);
}

/// Whoever leaves while he waits is not counted here, and a late answer changes nothing.
#[test]
fn who_leaves_while_he_waits_leaves_nothing_behind() {
    let here = json!({"counter": "here", "window": "hour", "max": 1});
    let config = load(json!({"ok": {"limits": [here, limit(9, json!({}))]}}), json!({}));
    let (store, service) = (MemoryStore::default(), Model::default());
    let body = tools_call("1", "ok", None);
    let (mut exchange, step) = begun(&config, &store, &body);
    let world = World::new(&store);
    let _ = exchange.on(&world, Event::Closed);
    let late = service.answer(&step.asks[0], Manner::Exact);
    let answer = Answer::Http { status: 200, body: &late };
    let after = exchange.on(&world, Event::Answered { ask: step.asks[0].id, answer });
    assert_eq!((after.flow, after.records.len()), (Flow::Pause, 0));
    assert_eq!(reason(&call(&config, &store, &service, Manner::Exact, &body)), "passes");
}

/// Nothing hangs: where Envoy never says what became of a question, the call is over when its patience is.
#[test]
fn a_question_without_an_end_is_over_in_time() {
    let config = load(json!({"ok": {"limits": [limit(9, json!({}))]}}), json!({"timeout": 100}));
    for later in [Some(30_000 + 100 + 1000), Some(29_000), None] {
        let store = MemoryStore::default();
        let (mut exchange, step) = begun(&config, &store, &tools_call("1", "ok", None));
        assert!(step.ticks);
        let early = World { now: Some(30_500), ..World::new(&store) };
        assert_eq!(exchange.on(&early, Event::Tick).flow, Flow::Pause);
        let world = World { now: later, ..World::new(&store) };
        assert_eq!(reason(&exchange.on(&world, Event::Tick)), "counters_unavailable");
    }
}

#[test]
fn the_operator_switches_a_policy_a_name_or_a_caller_off() {
    let config = load(json!({"ok": {}, "other": {}}), json!({"switch": 5}));
    let body = |tool: &str| tools_call("1", tool, None);
    let (_, step) = begun(&config, &MemoryStore::default(), &body("ok"));
    let looks: Vec<String> = asked(&step.asks[0]).into_iter().map(|one| one.entries).collect();
    assert_eq!(looks[..2], ["switch=policy,policy=shop", "switch=tool,policy=shop,name=ok"]);
    assert!(looks[2].starts_with("switch=caller,caller="));
    for (off, other) in [(0, "switched_off"), (1, "passes"), (2, "switched_off")] {
        let (store, service) = (MemoryStore::default(), Model::default());
        assert_eq!(reason(&call(&config, &store, &service, Manner::Exact, &body("ok"))), "passes");
        assert_eq!(service.questions.get(), 1);
        service.off.borrow_mut().push(looks[off].clone());
        // A look holds for a while, for this name alone.
        assert_eq!(reason(&call(&config, &store, &service, Manner::Exact, &body("ok"))), "passes");
        assert_eq!(service.questions.get(), 1);
        let elsewhere = MemoryStore::default();
        for manner in [Manner::Exact, Manner::Terse] {
            assert_eq!(
                reason(&call(&config, &elsewhere, &service, manner, &body("ok"))),
                "switched_off"
            );
        }
        assert_eq!(
            reason(&call(&config, &elsewhere, &service, Manner::Exact, &body("other"))),
            other
        );
    }
}

/// What a service cannot count is refused when the policy is loaded, with the cure.
#[test]
fn what_a_service_cannot_count_is_refused() {
    let bad = |tools: Value, parts: Value| {
        let mut policy = json!({"version": "1", "default": "deny", "tools": tools, "counters": {"service": {"cluster": "ratelimit"}}});
        policy.as_object_mut().unwrap().extend(parts.as_object().unwrap().clone());
        let problems = Config::load(policy.to_string().as_bytes(), "").unwrap_err();
        problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
    };
    for (more, told) in [
        (json!({"window": "week"}), "the window is none of second, minute, hour, day and month"),
        (json!({"window": 90}), "the window is none of"),
        (json!({"max": 1.5}), "`max` is no whole number"),
        (json!({"increment": 0.5}), "`increment` is no whole number"),
        (json!({"algorithm": "sliding"}), "the algorithm is another than `fixed`"),
        (json!({"count": "successes"}), "nothing can be given back"),
        (json!({"count_in": "envoy", "lease": 5}), "`lease` is read only where"),
    ] {
        let found = bad(json!({"ok": {"limits": [limit(5, more)]}}), json!({}));
        assert!(found.contains(told), "{found}");
    }
    let none = bad(json!({"ok": {"limits": [limit(5, json!({}))]}}), json!({"counters": {}}));
    assert!(
        none.contains("there is no rate limit service") && none.contains("ratelimit"),
        "{none}"
    );
    let rules = json!({"ok": {"rules": [{"rate_limit": "5/hour"}]}});
    assert!(bad(rules, json!({"count_in": "service"})).contains("rules"));
    let read = json!({"ok": {"limits": [limit(5, json!({}))], "deny_if": [{"conditions": [{"path": "state.ok.calls", "op": "gt", "value": 3}]}]}});
    assert!(bad(read, json!({})).contains("state.ok.calls"));
    let two = json!({"a": {"limits": [limit(5, json!({}))]}, "b": {"limits": [limit(5, json!({"count_in": "envoy"}))]}});
    assert!(bad(two, json!({})).contains("another count_in"));
}
