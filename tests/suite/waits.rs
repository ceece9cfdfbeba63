//! A call that waits for an answer from outside: whatever happens in whatever order, it is granted at most once, no count leaks,
//! and it ends.

use std::rc::Rc;

use mcp_policy::ask::{Answer, AskId};
use mcp_policy::exchange::{Chunk, Event, Exchange, Flow, Step};
use mcp_policy::mcp::headers::Follows;
use mcp_policy::policy::compiled::Config;
use mcp_policy::rate::limiter::Limiter;
use mcp_policy::rate::memory::MemoryStore;
use mcp_policy::time::UnixMillis;
use proptest::prelude::*;

use crate::world::{World, exchange, named, post_headers, tools_call};

const POLICY: &str = r#"{"version":"1","default":"deny","tools":{
    "pay":{"action":"require_approval","approval":"approver","limits":[{"counter":"c","window":"day","max":1000},
        {"counter":"s","window":"day","max":1000,"count":"successes","scope":"global"}]},
    "never":{"action":"deny"},"free":{}},
    "approvals":{"cooldown":0,"wait":"25s","approver":{"cluster":"approver","timeout":"2s"}}}"#;

fn config(policy: &str) -> Rc<Config> {
    Rc::new(Config::load(policy.as_bytes(), "test").unwrap().config)
}

/// What the counters of the policy hold.
fn counted(config: &Config, store: &MemoryStore) -> Vec<u64> {
    let limiter = Limiter::new(store, config.counters.shards);
    let caller = named(config, "Bearer a");
    let used = config.policy.counters.iter().map(|named| {
        let account = caller.counted_as(named.scope);
        limiter.used(named.counter, account, UnixMillis(0)).unwrap().0 / 1_000_000
    });
    used.collect()
}

/// Sends a call up to the end of its body.
fn send(exchange: &mut Exchange, world: &mut World<'_>, body: &str) -> Step {
    let headers = post_headers("Bearer a");
    let head = Event::RequestHead { headers: &headers, follows: Follows::Body };
    assert_eq!(exchange.on(world, head).flow, Flow::Pause);
    world.body = body.as_bytes().to_vec();
    exchange.on(world, Event::RequestBody { buffered: body.len(), chunk: Chunk::Last })
}

fn answered(body: &[u8]) -> Event<'_> {
    Event::Answered { ask: AskId(0), answer: Answer::Http { status: 200, body } }
}

const YES: &[u8] = br#"{"decision":true}"#;
const NO: &[u8] = br#"{"decision":false}"#;

#[test]
fn an_ask_says_who_wants_to_call_what_and_a_yes_lets_it_run() {
    let (config, store) = (config(POLICY), MemoryStore::default());
    for (answer, forwarded) in [(YES, true), (NO, false), (b"", false), (b"{", false)] {
        let before = counted(&config, &store);
        let mut world = World::new(&store);
        let mut exchange = exchange(&config);
        let step = send(&mut exchange, &mut world, &tools_call("7", "pay", None));
        assert_eq!((&step.flow, step.asks.len(), step.ticks), (&Flow::Pause, 1, true));
        assert!(step.records.is_empty(), "nothing is decided yet");
        let ask = &step.asks[0];
        assert_eq!((&*ask.cluster, ask.timeout_millis), ("approver", 2000));
        let asked: serde_json::Value = serde_json::from_str(ask.json().unwrap()).unwrap();
        assert_eq!(asked["action"]["name"], "tools/call");
        assert_eq!(
            asked["resource"],
            serde_json::json!({"type": "tool", "id": "pay", "properties": {"server": ""}})
        );
        assert_eq!(asked["subject"]["id"].as_str().unwrap().len(), 32, "a digest");
        let step = exchange.on(&world, answered(answer));
        assert!(!step.ticks);
        let record = step.records.last().cloned().unwrap();
        match step.flow {
            Flow::Continue => assert_eq!(record.decision, "allow"),
            Flow::Reply(reply) => {
                let (reason, code) = match answer {
                    NO => ("approval_declined", "403"),
                    _ => ("approver_unavailable", "428"),
                };
                assert_eq!((record.decision, record.reason), ("deny", reason));
                let text = String::from_utf8(reply.body).unwrap();
                assert!(text.contains("\"id\":7,") && text.contains(code), "{text}");
            }
            Flow::Pause => panic!("it still waits"),
        }
        let after = counted(&config, &store);
        let grants = u64::from(forwarded);
        assert!(before.iter().zip(&after).all(|(before, after)| before + grants == *after));
    }
}

#[test]
fn nobody_is_asked_for_what_is_denied_anyway() {
    let denied = r#"{"version":"1","default":"deny","tools":{"pay":{"action":"require_approval","approval":"approver",
        "limits":[{"counter":"c","window":"day","max":0}]}},"approvals":{"cooldown":0,"approver":{"cluster":"approver"}}}"#;
    let shadow = POLICY.replacen("\"tools\"", "\"mode\":\"shadow\",\"tools\"", 1);
    let entry =
        POLICY.replacen("\"require_approval\",", "\"require_approval\",\"mode\":\"shadow\",", 1);
    let pay = tools_call("1", "pay", None);
    let batch = format!("[{},{}]", tools_call("2", "free", None), pay);
    for (policy, body, record) in [
        (denied, &pay, "deny"),
        (&*shadow, &pay, "would_ask"),
        (&*entry, &pay, "would_ask"),
        // The calls of a batch have one answer, so none of them waits.
        (POLICY, &batch, "deny"),
    ] {
        let (config, store) = (config(policy), MemoryStore::default());
        let mut world = World::new(&store);
        let step = send(&mut exchange(&config), &mut world, body);
        assert!(step.asks.is_empty() && !step.ticks, "{policy} {body}");
        assert_eq!(step.records.last().cloned().unwrap().decision, record, "{policy} {body}");
    }
}

/// Something that happens to one of several exchanges.
#[derive(Clone, Copy, Debug)]
enum Happens {
    Sent,
    Answered(&'static [u8], u32),
    Failed,
    /// A tick with the clock moved by so much; none where it fails.
    Ticked(Option<i64>),
    Closed,
    Body,
    Trailers,
    Responded(u16),
}

fn happens() -> impl Strategy<Value = Happens> {
    let tick =
        prop::sample::select(vec![Some(0), Some(10), Some(24_000), Some(60_000), Some(-5), None]);
    prop_oneof![
        3 => Just(Happens::Sent),
        3 => (prop::sample::select(vec![YES, NO, b"".as_slice()]), 0u32..2)
            .prop_map(|(body, ask)| Happens::Answered(body, ask)),
        1 => Just(Happens::Failed),
        2 => tick.prop_map(Happens::Ticked),
        1 => Just(Happens::Closed),
        1 => Just(Happens::Body),
        1 => Just(Happens::Trailers),
        1 => prop::sample::select(vec![200u16, 401, 500]).prop_map(Happens::Responded),
    ]
}

/// One exchange as the test sees it.
struct Call {
    exchange: Exchange,
    sent: bool,
    closed: bool,
    waits: bool,
    grants: u64,
    /// The first response, and whether the call had been granted by then.
    responded: Option<(u16, bool)>,
}

impl Call {
    fn happen(&mut self, world: &mut World<'_>, what: Happens) {
        if self.closed {
            return;
        }
        let body = tools_call("1", "pay", None);
        let length = body.len();
        let step = match what {
            Happens::Sent if self.sent => return,
            Happens::Sent => {
                self.sent = true;
                send(&mut self.exchange, world, &body)
            }
            Happens::Answered(body, ask) => {
                let answer = Answer::Http { status: 200, body };
                let step = self.exchange.on(world, Event::Answered { ask: AskId(ask), answer });
                // Nothing of the kind was asked.
                assert!(ask == 0 || (step.flow == Flow::Pause && step.records.is_empty()));
                step
            }
            Happens::Failed => {
                let answer = Answer::Failed;
                self.exchange.on(world, Event::Answered { ask: AskId(0), answer })
            }
            Happens::Ticked(by) => {
                world.now = by.and_then(|by| world.now.unwrap_or(0).checked_add_signed(by));
                self.exchange.on(world, Event::Tick)
            }
            Happens::Closed => {
                self.closed = true;
                self.exchange.on(world, Event::Closed)
            }
            _ if !self.sent => return,
            Happens::Body => {
                self.exchange.on(world, Event::RequestBody { buffered: length, chunk: Chunk::Last })
            }
            Happens::Trailers => self.exchange.on(world, Event::RequestTrailers),
            Happens::Responded(status) => {
                self.responded = self.responded.or(Some((status, self.grants > 0)));
                world.response.status = status;
                self.exchange.on(world, Event::ResponseHead { follows: Follows::Nothing })
            }
        };
        self.waits = step.ticks;
        // What was let go stays so: more of its body passes.
        let granted = step.flow == Flow::Continue
            && step.records.last().is_some_and(|record| record.decision == "allow");
        self.grants += u64::from(granted);
    }

    /// What it counts on the limits of the policy. A server that refuses a caller whom nothing verified gives everything back; one
    /// that answers a granted call with an error, what counts successes.
    fn counts(&self) -> [u64; 2] {
        match self.responded {
            _ if self.grants == 0 => [0, 0],
            Some((401, _)) => [0, 0],
            Some((500, true)) => [1, 0],
            Some(_) | None => [1, 1],
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens_a_call_runs_at_most_once_and_no_count_leaks(
        events in proptest::collection::vec((0usize..3, happens()), 0..40),
    ) {
        let (config, store) = (config(POLICY), MemoryStore::default());
        let mut world = World::new(&store);
        let mut calls: Vec<Call> = (0..3)
            .map(|_| Call { exchange: exchange(&config), sent: false, closed: false, waits: false, grants: 0, responded: None })
            .collect();
        for (at, what) in events {
            calls[at].happen(&mut world, what);
            prop_assert!(calls[at].grants <= 1, "{:?}", what);
        }
        // Time passes, and everything ends by itself.
        world.now = Some(1_000_000_000);
        for call in &mut calls {
            call.happen(&mut world, Happens::Ticked(Some(0)));
            prop_assert!(!call.waits);
            call.happen(&mut world, Happens::Answered(YES, 0));
            prop_assert!(call.grants <= 1);
        }
        let expected = calls.iter().map(Call::counts).fold([0, 0], |[c, s], [one, other]| [c + one, s + other]);
        prop_assert_eq!(counted(&config, &store), expected);
    }
}
