//! One exchange, under every way in which its bytes can arrive.

use std::rc::Rc;

use mcp_policy::exchange::{Action, Chunk, Exchange, Hold, ResponseHead};
use mcp_policy::mcp::headers::{Follows, Header};
use mcp_policy::policy::compiled::Config;
use mcp_policy::rate::memory::MemoryStore;
use proptest::prelude::*;

use crate::world::{World, post_headers, tools_call};

const POLICY: &str = r#"{"version":"1","default":"deny","requests":{"max_body_bytes":2000},
    "tools":{"ok":{},"never":{"action":"deny"},
        "counted":{"limits":[{"counter":"c","window":"minute","max":2,"count":"successes"}]}}}"#;

/// How a request ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// The last chunk says so.
    Body,
    /// An empty last chunk says so.
    EmptyChunk,
    /// Trailers come.
    Trailers,
}

fn config() -> Rc<Config> {
    Rc::new(Config::load(POLICY.as_bytes(), "test").unwrap().config)
}

/// Sends a request and returns what finally becomes of it.
fn send(
    exchange: &mut Exchange,
    world: &mut World<'_>,
    headers: &[Header<'_>],
    body: &[u8],
    sizes: &[usize],
    end: End,
    hold: Hold,
) -> Action {
    let follows =
        if body.is_empty() && end == End::Body { Follows::Nothing } else { Follows::Body };
    let action = exchange.request_headers(world, headers, follows, hold);
    if matches!(action, Action::Reply(_)) || follows == Follows::Nothing {
        return action;
    }
    assert_eq!(action, if hold == Hold::No { Action::Continue } else { Action::Pause });
    let mut sizes = sizes.iter().copied();
    let mut from = 0;
    while from < body.len() {
        let size = sizes.next().unwrap_or(usize::MAX).min(body.len() - from);
        world.body.extend_from_slice(&body[from..from + size]);
        from += size;
        let whole = from == body.len();
        let chunk = if whole && end == End::Body { Chunk::Last } else { Chunk::More };
        let action = exchange.request_body(world, world.body.len(), chunk);
        if chunk == Chunk::Last || matches!(action, Action::Reply(_)) {
            return action;
        }
        assert_eq!(action, Action::Pause, "nothing goes on before the end");
        if exchange.drops_body() {
            world.body.clear();
        }
    }
    match end {
        End::Trailers => exchange.request_trailers(world),
        End::Body | End::EmptyChunk => exchange.request_body(world, world.body.len(), Chunk::Last),
    }
}

fn outcome(body: &[u8], sizes: &[usize], end: End, hold: Hold) -> String {
    let store = MemoryStore::default();
    let mut world = World { store: &store, body: Vec::new(), chunk: Vec::new(), now: 0 };
    let mut exchange = Exchange::new(config());
    match send(&mut exchange, &mut world, &post_headers(""), body, sizes, end, hold) {
        Action::Continue => "continue".to_owned(),
        Action::Pause => "pause".to_owned(),
        Action::Reply(reply) => {
            format!("{} {}", reply.status, String::from_utf8_lossy(&reply.body))
        }
    }
}

proptest! {
    #[test]
    fn no_chunking_changes_what_becomes_of_a_body(
        at in 0usize..12,
        sizes in proptest::collection::vec(1usize..90, 0..60),
    ) {
        let long = tools_call("1", "ok", Some(&format!("{{\"text\":\"{}\"}}", "x".repeat(3000))));
        let bodies = [
            tools_call("\"\\u00e9\"", "ok", Some("{\"t\":\"😀\"}")), tools_call("1", "never", None),
            tools_call("1", "unlisted", Some("{}")), tools_call("null", "ok", None), long,
            "[]".into(), format!("[{},{}]", tools_call("1", "ok", None), tools_call("2", "never", None)),
            format!("[{}]", tools_call("1", "ok", None)), "{\"jsonrpc\":\"2.0\",\"method\":\"notifications/x\"}".into(),
            "{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{}}".into(), "{".into(), "\u{feff}{}".into(),
        ];
        let body = bodies[at].as_bytes();
        let expected = outcome(body, &[], End::Body, Hold::Yes);
        for end in [End::Body, End::EmptyChunk, End::Trailers] {
            for hold in [Hold::Yes, Hold::Maybe, Hold::No] {
                prop_assert_eq!(&outcome(body, &sizes, end, hold), &expected, "{:?} {:?}", end, hold);
            }
        }
    }
}

#[test]
fn outcomes() {
    let refused = |reason: &str| format!("\"reason\":\"{reason}\"");
    for (body, expected) in [
        (tools_call("7", "ok", None), "continue".to_owned()),
        (tools_call("7", "never", None), refused("tool_denied")),
        (tools_call("7", "x", None), refused("tool_not_allowed")),
        (String::new(), refused("invalid_json")),
        ("{".repeat(3000), refused("body_too_large")),
        ("{".repeat(300), refused("invalid_json")),
    ] {
        for end in [End::Body, End::EmptyChunk, End::Trailers] {
            let found = outcome(body.as_bytes(), &[], end, Hold::Yes);
            assert!(found.contains(&expected), "{body} {end:?}: {found}");
        }
    }
}

/// A client waits for an answer under its id, and the Python SDK 1.x ends the session at an HTTP error (case 08).
#[test]
fn a_refusal_answers_the_request_where_its_id_can_be_read() {
    let call = |arguments: &str| tools_call("7", "ok", Some(arguments));
    let last = |method: &str| {
        format!(r#"{{"method":"{method}","params":{{"x":"{}"}},"id":7}}"#, "x".repeat(3000))
    };
    let answer = format!(r#"{{"jsonrpc":"2.0","id":7,"result":{{"x":"{}"}}}}"#, "x".repeat(3000));
    for (body, status, expected) in [
        (
            call(&format!("{{\"x\":{}{}}}", "[".repeat(126), "]".repeat(126))),
            200,
            "than 128 levels at byte",
        ),
        (
            call(&format!("{{\"x\":\"{}\"}}", "x".repeat(3000))),
            200,
            "more than requests.max_body_bytes, 2000",
        ),
        (call(r#"{"x":1,"x":2}"#), 200, "duplicate_key"),
        // What is no JSON has no id.
        (call(r#"{"x":NaN}"#), 400, "invalid_json"),
        (tools_call("7", "ok", Some("[]")), 200, "invalid_params"),
        (last("tools/call"), 200, "body_too_large"),
        // The id is the server's, who may have used it for a request as the client has.
        (answer, 413, "body_too_large"),
        (format!("[{}]", call(r#"{"x":1,"x":2}"#)), 400, "duplicate_key"),
    ] {
        let found = outcome(body.as_bytes(), &[], End::Body, Hold::Yes);
        let id = if status == 200 { "\"id\":7" } else { "\"id\":null" };
        let fits = found.starts_with(&status.to_string()) && found.contains(id);
        assert!(fits && found.contains(expected), "{body}: {found}");
    }
}

#[test]
fn a_body_that_is_announced_too_long_is_dropped_until_its_id_is_known() {
    let store = MemoryStore::default();
    let mut headers = post_headers("").to_vec();
    headers.push((b"content-length", b"3000"));
    headers.push((b"accept", b"text/event-stream"));
    let body = tools_call("7", "ok", Some(&format!("{{\"x\":\"{}\"}}", "x".repeat(3000))));
    let late = format!(r#"{{"method":"a","params":{{"x":"{}"}},"id":7}}"#, "x".repeat(2970));
    let trailers = |body: &str| (body.to_owned(), 100, End::Trailers);
    for ((sent, size, end), expected) in [
        ((body.clone(), 100, End::Body), 200),
        ((body.clone(), 1, End::Body), 200),
        ((late.clone(), 100, End::Body), 200),
        (trailers(&late), 200),
        (trailers(late.split_once("},\"id\"").unwrap().0), 413),
        // Shorter than announced: it is not judged.
        (trailers(&tools_call("7", "ok", None)), 200),
        (trailers("{\"a\":[}"), 413),
    ] {
        let sizes = vec![size; sent.len() / size];
        let mut world = World { store: &store, body: Vec::new(), chunk: Vec::new(), now: 0 };
        let mut exchange = Exchange::new(config());
        let bytes = sent.as_bytes();
        let action = send(&mut exchange, &mut world, &headers, bytes, &sizes, end, Hold::Yes);
        let Action::Reply(reply) = action else { panic!("{sent}: {action:?}") };
        assert_eq!(reply.status, expected, "{sent}");
        let text = String::from_utf8(reply.body).unwrap();
        assert!(text.contains("3000, more than requests.max_body_bytes, 2000"), "{text}");
        assert_eq!(text.starts_with("event: "), reply.status == 200, "{text}");
        assert!(world.body.len() <= size, "nothing of it is kept");
    }
}

#[test]
fn holding_can_be_given_up_until_the_request_is_answered() {
    let store = MemoryStore::default();
    let mut world = World { store: &store, body: Vec::new(), chunk: Vec::new(), now: 0 };
    let mut exchange = Exchange::new(config());
    exchange.request_headers(&world, &post_headers(""), Follows::Body, Hold::Yes);
    let reply = exchange.give_up_holding().unwrap();
    assert_eq!(reply.status, 503);
    assert!(String::from_utf8(reply.body).unwrap().contains("headers_not_held"));
    assert_eq!(exchange.request_trailers(&world), Action::Pause);

    let mut exchange = Exchange::new(config());
    let call = tools_call("7", "never", None);
    send(&mut exchange, &mut world, &post_headers(""), call.as_bytes(), &[], End::Body, Hold::Yes);
    assert_eq!(exchange.give_up_holding(), None);
}

#[test]
fn an_answered_exchange_stays_answered() {
    let store = MemoryStore::default();
    let mut world = World { store: &store, body: Vec::new(), chunk: Vec::new(), now: 0 };
    let mut exchange = Exchange::new(config());
    let denied = tools_call("1", "never", None);
    let action = send(
        &mut exchange,
        &mut world,
        &post_headers(""),
        denied.as_bytes(),
        &[],
        End::Body,
        Hold::Yes,
    );
    assert!(matches!(action, Action::Reply(_)));
    let allowed = tools_call("1", "ok", None);
    world.body = allowed.clone().into_bytes();
    assert_eq!(exchange.request_body(&world, allowed.len(), Chunk::Last), Action::Pause);
    assert_eq!(exchange.request_trailers(&world), Action::Pause);
}

#[test]
fn a_body_that_envoy_does_not_hand_over_is_refused() {
    let store = MemoryStore::default();
    let world = World { store: &store, body: b"{}".to_vec(), chunk: Vec::new(), now: 0 };
    let mut exchange = Exchange::new(config());
    exchange.request_headers(&world, &post_headers(""), Follows::Body, Hold::Yes);
    let action = exchange.request_body(&world, 100, Chunk::Last);
    assert!(matches!(action, Action::Reply(reply) if reply.status == 500));
}

#[test]
fn successes_are_counted_and_errors_given_back() {
    let ok = ResponseHead {
        status: 200,
        content_type: Some(b"application/json"),
        encoded: false,
        conclusive: true,
        session: None,
        ends: false,
    };
    let stream = ResponseHead { content_type: Some(b"text/event-stream; charset=utf-8"), ..ok };
    let error = "{\"jsonrpc\":\"2.0\",\"id\":1,\"error\":{\"code\":1,\"message\":\"\"}}";
    let result = "{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{}}";
    for (head, body, given_back) in [
        (ok, result.to_owned(), false),
        (ok, error.to_owned(), true),
        (stream, format!("data: {error}\n\n"), true),
        (stream, format!(": hi\r\n\r\ndata: {result}\n\n"), false),
        (ResponseHead { status: 500, ..ok }, String::new(), true),
        (ResponseHead { status: 504, conclusive: false, ..ok }, String::new(), false),
        (ResponseHead { encoded: true, ..ok }, error.to_owned(), false),
        (ok, error.replace("\"id\":1", "\"id\":2"), false),
    ] {
        for trailers in [false, true] {
            let store = MemoryStore::default();
            let calls = (0..5).filter(|_| {
                let mut world =
                    World { store: &store, body: Vec::new(), chunk: Vec::new(), now: 0 };
                let mut exchange = Exchange::new(config());
                let call = tools_call("1", "counted", None);
                let sent = send(
                    &mut exchange,
                    &mut world,
                    &post_headers(""),
                    call.as_bytes(),
                    &[],
                    End::Body,
                    Hold::Yes,
                );
                if sent != Action::Continue {
                    return false;
                }
                exchange.response_headers(&world, head);
                for byte in body.bytes() {
                    world.chunk = vec![byte];
                    exchange.response_body(&world, 1, Chunk::More);
                }
                if trailers {
                    exchange.response_trailers(&world);
                } else {
                    exchange.response_body(&world, 0, Chunk::Last);
                }
                true
            });
            let expected = if given_back { 5 } else { 2 };
            assert_eq!(calls.count(), expected, "{head:?} {body} {trailers}");
        }
    }
}

/// One limit in each way in which a policy can write it, of three calls a day.
const COUNTING: &str = r#"{"version":"1","default":"allow","all_tools":{"limits":[{"counter":"all","window":"day","max":12}]},"tools":{
    "limit":{"limits":[{"counter":"c","window":"day","max":3}]},
    "attempts":{"limits":[{"counter":"d","window":"day","max":3,"count":"attempts"}]},
    "rate":{"rules":[{"rate_limit":"3/day"}]},
    "state":{"rules":[{"conditions":[{"path":"state.state.n","op":"lte","value":3}],"state":{"counter":"n","window":"day"}}]}}}"#;

/// What a server, or somebody before it, says of a call.
fn said() -> impl Strategy<Value = (u16, &'static str, bool, String)> {
    let status = prop::sample::select(vec![200, 202, 400, 404, 409, 429, 499, 500, 502, 503, 504]);
    let media = prop::sample::select(vec!["application/json", "text/event-stream", "text/plain"]);
    let body = prop::sample::select(vec![
        r#"{"jsonrpc":"2.0","id":1,"error":{"code":1,"message":"cancelled"}}"#,
        r#"{"jsonrpc":"2.0","id":1.0,"error":{"code":1,"message":""}}"#,
        r#"[{"jsonrpc":"2.0","id":1,"error":{}},{"jsonrpc":"2.0","id":2,"error":{}}]"#,
        r#"{"jsonrpc":"2.0","id":"\u0031","error":{}}"#,
        "",
    ]);
    (status, media, any::<bool>(), body).prop_map(|(status, media, conclusive, body)| {
        let body =
            if media == "application/json" { body.into() } else { format!("data: {body}\n\n") };
        (status, media, conclusive, body)
    })
}

proptest! {
    #[test]
    fn no_sequence_of_answers_makes_a_count_smaller_unless_that_was_asked(
        tool in prop::sample::select(vec!["limit", "attempts", "rate", "state"]), batch in any::<bool>(), answers in proptest::collection::vec(said(), 8),
    ) {
        let config = Rc::new(Config::load(COUNTING.as_bytes(), "test").unwrap().config);
        let store = MemoryStore::default();
        let mut allowed = 0;
        for (status, media, conclusive, body) in answers {
            let mut world = World { store: &store, body: Vec::new(), chunk: Vec::new(), now: 0 };
            let mut exchange = Exchange::new(config.clone());
            let call = tools_call("1", tool, None);
            let call = if batch { format!("[{call}]") } else { call };
            let action = send(&mut exchange, &mut world, &post_headers("Bearer a"), call.as_bytes(), &[], End::Body, Hold::Yes);
            if action != Action::Continue {
                continue;
            }
            allowed += 1;
            let head = ResponseHead { status, content_type: Some(media.as_bytes()), encoded: false, conclusive, session: None, ends: false };
            exchange.response_headers(&world, head);
            world.chunk = body.into_bytes();
            exchange.response_body(&world, world.chunk.len(), Chunk::Last);
        }
        prop_assert_eq!(allowed, 3);
    }
}
