//! Approval by the user: whatever is asked, answered, changed, replayed and reloaded, nothing runs that was not approved as it runs, and
//! nothing runs twice.

use std::collections::HashMap;
use std::rc::Rc;

use mcp_policy::exchange::{Chunk, Event, Flow};
use mcp_policy::mcp::headers::{Follows, Header};
use mcp_policy::policy::compiled::Config;
use mcp_policy::policy::environment::Environment;
use mcp_policy::rate::memory::MemoryStore;
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::world::{World, exchange, post_headers};

const SECRET: [u8; 32] = [7; 32];
const VERSION: &str = "2026-07-28";
const EXPIRES: u64 = 300;

/// Two policies that ask about the same calls, and differ in what has nothing to do with them.
fn config(other: bool) -> Rc<Config> {
    let entry = r#"{"action":"require_approval","approval":"user"}"#;
    let more = if other { r#","unrelated":{}"# } else { "" };
    let text = format!(
        r#"{{"version":"1","default":"deny","approvals":{{"cooldown":0}},"tools":{{"pay":{entry},"close":{entry}{more}}}}}"#
    );
    let mut config = Config::load(text.as_bytes(), "test").unwrap().config;
    let environment = Environment { owner: "", cure: "", read: |_| Some(SECRET.to_vec()) };
    config.approvals.unlock("test", true, &environment).unwrap();
    Rc::new(config)
}

/// Who calls what, under which policy.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Try {
    caller: &'static str,
    tool: &'static str,
    arguments: Value,
    other: bool,
}

/// What the model knows of a question.
#[derive(Clone, Debug)]
struct Asked {
    about: Try,
    until: u64,
    used: bool,
}

/// What becomes of a request.
#[derive(Debug, PartialEq, Eq)]
enum Became {
    Ran,
    Asked(String),
    Refused(String),
}

fn send(world: &mut World<'_>, configs: &[Rc<Config>; 2], subject: &Try, more: &Value) -> Became {
    let mut params = json!({
        "name": subject.tool,
        "arguments": subject.arguments,
        "_meta": {
            "io.modelcontextprotocol/protocolVersion": VERSION,
            "io.modelcontextprotocol/clientCapabilities": {"elicitation": {}},
        },
    });
    params.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let body = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params});
    let body = body.to_string();
    let mut headers: Vec<Header<'_>> = post_headers(subject.caller).to_vec();
    headers.push((b"mcp-protocol-version", VERSION.as_bytes()));
    headers.push((b"mcp-method", b"tools/call"));
    headers.push((b"mcp-name", subject.tool.as_bytes()));
    let mut exchange = exchange(&configs[usize::from(subject.other)]);
    let head = Event::RequestHead { headers: &headers, follows: Follows::Body };
    assert_eq!(exchange.on(world, head).flow, Flow::Pause);
    world.body = body.clone().into_bytes();
    let step = exchange.on(world, Event::RequestBody { buffered: body.len(), chunk: Chunk::Last });
    match step.flow {
        Flow::Continue => {
            let seen = step.body.unwrap_or_else(|| body.clone().into_bytes());
            assert_eq!(seen.len(), body.len());
            let seen: Value = serde_json::from_slice(&seen).unwrap();
            let params = seen["params"].as_object().unwrap();
            assert!(!params.contains_key("inputResponses") && !params.contains_key("requestState"));
            assert_eq!(params["arguments"], subject.arguments);
            Became::Ran
        }
        Flow::Reply(reply) => {
            let reply: Value = serde_json::from_slice(&reply.body).unwrap();
            match reply["result"]["requestState"].as_str() {
                Some(state) => Became::Asked(state.to_owned()),
                None => Became::Refused(reply["error"]["data"]["reason"].as_str().unwrap().into()),
            }
        }
        Flow::Pause => panic!("it waits"),
    }
}

/// Something that happens.
#[derive(Clone, Debug)]
enum Happens {
    Ask(Try),
    /// A retry with the state of some question, by its number; as this subject, or as the one it is about.
    Retry {
        state: usize,
        subject: Option<Try>,
        says: u8,
        spoiled: Option<usize>,
    },
    Later(u64),
}

fn subject() -> impl Strategy<Value = Try> {
    let arguments = prop::sample::select(vec![
        json!({"id": 1}),
        json!({"id": 2}),
        json!({"id": "1"}),
        json!({}),
    ]);
    (
        prop::sample::select(vec!["Bearer a", "Bearer b"]),
        prop::sample::select(vec!["pay", "close"]),
        arguments,
        any::<bool>(),
    )
        .prop_map(|(caller, tool, arguments, other)| Try { caller, tool, arguments, other })
}

fn happens() -> impl Strategy<Value = Happens> {
    let spoiled = prop_oneof![4 => Just(None), 1 => (0usize..200).prop_map(Some)];
    let retry = (0usize..8, prop::option::weighted(0.3, subject()), 0u8..6, spoiled).prop_map(
        |(state, subject, says, spoiled)| Happens::Retry { state, subject, says, spoiled },
    );
    prop_oneof![
        2 => subject().prop_map(Happens::Ask),
        4 => retry,
        1 => prop::sample::select(vec![1, 100, EXPIRES]).prop_map(Happens::Later),
    ]
}

fn answer(says: u8) -> Value {
    match says {
        0 => json!({}),
        1 => json!({"mcp-policy/approval": {"action": "decline"}}),
        2 => json!({"mcp-policy/approval": {"action": "accept", "content": {"approve": false}}}),
        _ => {
            json!({"mcp-policy/approval": {"action": "accept", "content": {"approve": true}}, "other": {}})
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn nothing_runs_that_was_not_approved_as_it_runs_and_nothing_twice(
        events in proptest::collection::vec(happens(), 1..30),
    ) {
        let (store, configs) = (MemoryStore::default(), [config(false), config(true)]);
        let mut world = World::new(&store);
        let (mut now, mut states) = (1_000_000, Vec::new());
        let mut asked: HashMap<String, Asked> = HashMap::new();
        for event in events {
            world.now = Some(now * 1000);
            match event {
                Happens::Later(seconds) => now += seconds,
                Happens::Ask(about) => {
                    let Became::Asked(state) = send(&mut world, &configs, &about, &json!({})) else {
                        panic!("not asked");
                    };
                    states.push(state.clone());
                    asked.insert(state, Asked { about, until: now + EXPIRES, used: false });
                }
                Happens::Retry { state, subject, says, spoiled } => {
                    let Some(state) = states.get(state).cloned() else { continue };
                    let known = asked[&state].clone();
                    let subject = subject.unwrap_or(known.about.clone());
                    let mut carried = state.clone().into_bytes();
                    if let Some(at) = spoiled {
                        let at = 4 + at % (carried.len() - 4);
                        carried[at] = if carried[at] == b'A' { b'B' } else { b'A' };
                    }
                    let carried = String::from_utf8(carried).unwrap();
                    let more = json!({"requestState": carried, "inputResponses": answer(says)});
                    let became = send(&mut world, &configs, &subject, &more);
                    let ours = carried == state && subject.caller == known.about.caller;
                    let good = ours && subject == known.about && now < known.until;
                    let expected = match (ours, good, says > 2, known.used) {
                        (false, ..) => Became::Refused("approval_invalid".into()),
                        (true, false, ..) => Became::Asked(String::new()),
                        (true, true, false, _) => Became::Refused("approval_declined".into()),
                        (true, true, true, true) => Became::Refused("approval_used".into()),
                        (true, true, true, false) => Became::Ran,
                    };
                    match became {
                        Became::Asked(fresh) => {
                            prop_assert!(matches!(expected, Became::Asked(_)), "asked, not {expected:?}");
                            states.push(fresh.clone());
                            asked.insert(fresh, Asked { about: subject, until: now + EXPIRES, used: false });
                        }
                        became @ (Became::Ran | Became::Refused(_)) => {
                            asked.get_mut(&state).unwrap().used |= became == Became::Ran;
                            prop_assert_eq!(became, expected);
                        }
                    }
                }
            }
        }
        // However many invented states came, only used ones take room.
        prop_assert!(store.size().1 < 64 * 1024);
    }
}

#[test]
fn a_flood_of_invented_states_takes_no_room() {
    let (store, configs) = (MemoryStore::default(), [config(false), config(true)]);
    let mut world = World::new(&store);
    let subject = Try { caller: "Bearer a", tool: "pay", arguments: json!({}), other: false };
    for number in 0..2000 {
        let more =
            json!({"requestState": format!("mp1.{number:064}"), "inputResponses": answer(3)});
        assert_eq!(
            send(&mut world, &configs, &subject, &more),
            Became::Refused("approval_invalid".into())
        );
        assert!(matches!(send(&mut world, &configs, &subject, &json!({})), Became::Asked(_)));
    }
    assert_eq!(store.size(), (0, 0));
}
