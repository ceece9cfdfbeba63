//! One exchange, under every way in which its bytes can arrive.

use std::rc::Rc;

use mcp_policy::exchange::{Chunk, Event, Exchange, Flow, Holds};
use mcp_policy::mcp::headers::{Follows, Header};
use mcp_policy::mcp::outcome::Origin;
use mcp_policy::policy::compiled::Config;
use mcp_policy::policy::settings::HoldHeaders;
use mcp_policy::rate::memory::MemoryStore;
use proptest::prelude::*;

use crate::world::{Responded, World, exchange, post_headers, tools_call};

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
    hold: HoldHeaders,
) -> Flow {
    let follows =
        if body.is_empty() && end == End::Body { Follows::Nothing } else { Follows::Body };
    let flow = exchange.on(world, Event::RequestHead { headers, follows }).flow;
    if matches!(flow, Flow::Reply(_)) || follows == Follows::Nothing {
        return flow;
    }
    assert_eq!(flow, if hold == HoldHeaders::Never { Flow::Continue } else { Flow::Pause });
    let mut sizes = sizes.iter().copied();
    let mut from = 0;
    while from < body.len() {
        let size = sizes.next().unwrap_or(usize::MAX).min(body.len() - from);
        world.body.extend_from_slice(&body[from..from + size]);
        from += size;
        let whole = from == body.len();
        let chunk = if whole && end == End::Body { Chunk::Last } else { Chunk::More };
        let event = Event::RequestBody { buffered: world.body.len(), chunk };
        let step = exchange.on(world, event);
        if chunk == Chunk::Last || matches!(step.flow, Flow::Reply(_)) {
            return step.flow;
        }
        assert_eq!(step.flow, Flow::Pause, "nothing goes on before the end");
        world.body = step.body.unwrap_or(std::mem::take(&mut world.body));
    }
    match end {
        End::Trailers => exchange.on(world, Event::RequestTrailers).flow,
        End::Body | End::EmptyChunk => piece(exchange, world, Chunk::Last),
    }
}

/// Sends a whole request in one piece.
fn send_whole(exchange: &mut Exchange, world: &mut World<'_>, caller: &str, body: &[u8]) -> Flow {
    send(exchange, world, &post_headers(caller), body, &[], End::Body, HoldHeaders::Always)
}

fn piece(exchange: &mut Exchange, world: &World<'_>, chunk: Chunk) -> Flow {
    exchange.on(world, Event::RequestBody { buffered: world.body.len(), chunk }).flow
}

/// Hands in the headers of a request with a body.
fn begin(exchange: &mut Exchange, world: &World<'_>) -> Flow {
    let headers = post_headers("");
    exchange.on(world, Event::RequestHead { headers: &headers, follows: Follows::Body }).flow
}

/// Hands in the headers of a response with a body, and then its body.
fn answer(exchange: &mut Exchange, world: &mut World<'_>, body: &[u8], size: usize, end: End) {
    let head = exchange.on(world, Event::ResponseHead { follows: Follows::Body });
    assert_eq!(head.flow, Flow::Continue);
    for chunk in body.chunks(size) {
        world.chunk = chunk.to_vec();
        let event = Event::ResponseBody { length: chunk.len(), chunk: Chunk::More };
        assert_eq!(exchange.on(world, event).flow, Flow::Continue);
    }
    let end = match end {
        End::Trailers => Event::ResponseTrailers,
        End::Body | End::EmptyChunk => Event::ResponseBody { length: 0, chunk: Chunk::Last },
    };
    assert_eq!(exchange.on(world, end).flow, Flow::Continue);
}

fn outcome(body: &[u8], sizes: &[usize], end: End, hold: HoldHeaders) -> String {
    let store = MemoryStore::default();
    let mut world = World::new(&store);
    let mut exchange = Exchange::new(config(), Rc::new(Holds::new(hold)));
    match send(&mut exchange, &mut world, &post_headers(""), body, sizes, end, hold) {
        Flow::Continue => "continue".to_owned(),
        Flow::Pause => "pause".to_owned(),
        Flow::Reply(reply) => {
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
        let expected = outcome(body, &[], End::Body, HoldHeaders::Always);
        for end in [End::Body, End::EmptyChunk, End::Trailers] {
            for hold in [HoldHeaders::Always, HoldHeaders::Auto, HoldHeaders::Never] {
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
            let found = outcome(body.as_bytes(), &[], end, HoldHeaders::Always);
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
        let found = outcome(body.as_bytes(), &[], End::Body, HoldHeaders::Always);
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
        let mut world = World::new(&store);
        let mut exchange = exchange(&config());
        let bytes = sent.as_bytes();
        let always = HoldHeaders::Always;
        let flow = send(&mut exchange, &mut world, &headers, bytes, &sizes, end, always);
        let Flow::Reply(reply) = flow else { panic!("{sent}: {flow:?}") };
        assert_eq!(reply.status, expected, "{sent}");
        let text = String::from_utf8(reply.body).unwrap();
        assert!(text.contains("3000, more than requests.max_body_bytes, 2000"), "{text}");
        assert_eq!(text.starts_with("event: "), reply.status == 200, "{text}");
        assert!(world.body.len() <= size, "nothing of it is kept");
    }
}

#[test]
fn an_answered_exchange_stays_answered() {
    let store = MemoryStore::default();
    let mut world = World::new(&store);
    let mut exchange = exchange(&config());
    let denied = tools_call("1", "never", None);
    let flow = send_whole(&mut exchange, &mut world, "", denied.as_bytes());
    assert!(matches!(flow, Flow::Reply(_)));
    world.body = tools_call("1", "ok", None).into_bytes();
    assert_eq!(piece(&mut exchange, &world, Chunk::Last), Flow::Pause);
    assert_eq!(exchange.on(&world, Event::RequestTrailers).flow, Flow::Pause);
}

#[test]
fn a_host_that_fails_is_answered_until_the_response_has_begun() {
    let store = MemoryStore::default();
    let world = World { body: b"{}".to_vec(), ..World::new(&store) };
    let is_refused = |flow: &Flow| matches!(flow, Flow::Reply(reply) if reply.status == 500);
    let mut early = exchange(&config());
    let step = early.on(&world, Event::HostFailed);
    assert!(is_refused(&step.flow), "headers that it keeps back");
    let mut short = exchange(&config());
    assert_eq!(begin(&mut short, &world), Flow::Pause);
    let event = Event::RequestBody { buffered: 100, chunk: Chunk::Last };
    assert!(is_refused(&short.on(&world, event).flow), "a body that it keeps back");
    let mut held = exchange(&config());
    assert_eq!(begin(&mut held, &world), Flow::Pause);
    let step = held.on(&world, Event::HostFailed);
    assert!(is_refused(&step.flow) && !step.ticks, "a header that it keeps");

    let mut world = World::new(&store);
    world.response.media = Some("application/json");
    let mut late = exchange(&config());
    let call = tools_call("1", "counted", None);
    assert_eq!(send_whole(&mut late, &mut world, "", call.as_bytes()), Flow::Continue);
    let head = late.on(&world, Event::ResponseHead { follows: Follows::Body });
    assert_eq!(
        (head.flow, late.on(&world, Event::HostFailed).flow),
        (Flow::Continue, Flow::Continue)
    );
    world.chunk = b"{".to_vec();
    let event = Event::ResponseBody { length: 1, chunk: Chunk::More };
    assert_eq!(late.on(&world, event).flow, Flow::Continue);
    let step = late.on(&world, Event::HostFailed);
    assert_eq!(step.flow, Flow::Pause, "bytes that were not to pass");
    assert!(step.log.iter().any(|line| line.text.contains("withheld")));
}

#[test]
fn a_response_is_looked_at_only_where_it_is_needed() {
    let free = Config::load(br#"{"version":"1","default":"allow","tools":{}}"#, "").unwrap().config;
    let ping = br#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#;
    for (config, body, looked) in [
        (Rc::new(free), &ping[..], false),
        (config(), tools_call("1", "never", None).as_bytes(), false),
        (config(), tools_call("1", "counted", None).as_bytes(), true),
    ] {
        let store = MemoryStore::default();
        let mut world = World::new(&store);
        let mut exchange = exchange(&config);
        send_whole(&mut exchange, &mut world, "", body);
        answer(&mut exchange, &mut world, b"{}", 2, End::Body);
        assert_eq!(world.looked.get(), looked, "{}", body.escape_ascii());
    }
}

#[test]
fn nothing_is_left_behind_by_an_exchange_that_is_over() {
    let policy = br#"{"version":"1","default":"allow","hide":["secret"],"tools":{}}"#;
    let config = Rc::new(Config::load(policy, "").unwrap().config);
    let store = MemoryStore::default();
    let mut world = World::new(&store);
    world.response.media = Some("application/json");
    let mut exchange = exchange(&config);
    let list = br#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#;
    assert_eq!(send_whole(&mut exchange, &mut world, "", list), Flow::Continue);
    assert_eq!(
        exchange.on(&world, Event::ResponseHead { follows: Follows::Body }).flow,
        Flow::Continue
    );
    world.chunk = br#"{"result":{"tools":["#.to_vec();
    let event = Event::ResponseBody { length: world.chunk.len(), chunk: Chunk::More };
    assert_eq!(exchange.on(&world, event).body.as_deref(), Some(&b""[..]));
    assert_eq!(config.held.get(), world.chunk.len());
    let step = exchange.on(&world, Event::Closed);
    assert!(step.flow == Flow::Pause && !step.ticks);
    assert_eq!(config.held.get(), 0);
}

#[test]
fn successes_are_counted_and_errors_given_back() {
    let media = Some("application/json");
    let ok = Responded { status: 200, media, encoding: None, origin: Origin::Server };
    let stream = Responded { media: Some("text/event-stream; charset=utf-8"), ..ok };
    let error = "{\"jsonrpc\":\"2.0\",\"id\":1,\"error\":{\"code\":1,\"message\":\"\"}}";
    let result = "{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{}}";
    for (response, body, given_back) in [
        (ok, result.to_owned(), false),
        (ok, error.to_owned(), true),
        (stream, format!("data: {error}\n\n"), true),
        (stream, format!(": hi\r\n\r\ndata: {result}\n\n"), false),
        (Responded { status: 500, ..ok }, String::new(), true),
        (Responded { status: 504, ..ok }, String::new(), false),
        (Responded { status: 500, origin: Origin::Unknown, ..ok }, String::new(), false),
        (Responded { status: 503, origin: Origin::NeverSent, ..ok }, String::new(), true),
        (Responded { encoding: Some("gzip"), ..ok }, error.to_owned(), false),
        (Responded { encoding: Some("Identity"), ..ok }, error.to_owned(), true),
        (ok, error.replace("\"id\":1", "\"id\":2"), false),
    ] {
        for end in [End::EmptyChunk, End::Trailers] {
            let store = MemoryStore::default();
            let calls = (0..5).filter(|_| {
                let mut world = World { response, ..World::new(&store) };
                let mut exchange = exchange(&config());
                let call = tools_call("1", "counted", None);
                let sent = send_whole(&mut exchange, &mut world, "", call.as_bytes());
                if sent != Flow::Continue {
                    return false;
                }
                answer(&mut exchange, &mut world, body.as_bytes(), 1, end);
                true
            });
            let expected = if given_back { 5 } else { 2 };
            assert_eq!(calls.count(), expected, "{response:?} {body} {end:?}");
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
fn said() -> impl Strategy<Value = (u16, &'static str, Origin, String)> {
    let status = prop::sample::select(vec![200, 202, 400, 404, 409, 429, 499, 500, 502, 503, 504]);
    let media = prop::sample::select(vec!["application/json", "text/event-stream", "text/plain"]);
    let body = prop::sample::select(vec![
        r#"{"jsonrpc":"2.0","id":1,"error":{"code":1,"message":"cancelled"}}"#,
        r#"{"jsonrpc":"2.0","id":1.0,"error":{"code":1,"message":""}}"#,
        r#"[{"jsonrpc":"2.0","id":1,"error":{}},{"jsonrpc":"2.0","id":2,"error":{}}]"#,
        r#"{"jsonrpc":"2.0","id":"\u0031","error":{}}"#,
        "",
    ]);
    let origin = prop::sample::select(vec![Origin::Server, Origin::NeverSent, Origin::Unknown]);
    (status, media, origin, body).prop_map(|(status, media, origin, body)| {
        let body =
            if media == "application/json" { body.into() } else { format!("data: {body}\n\n") };
        (status, media, origin, body)
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
        for (status, media, origin, body) in answers {
            let response = Responded { status, media: Some(media), encoding: None, origin };
            let mut world = World { response, ..World::new(&store) };
            let mut exchange = exchange(&config);
            let call = tools_call("1", tool, None);
            let call = if batch { format!("[{call}]") } else { call };
            if send_whole(&mut exchange, &mut world, "Bearer a", call.as_bytes()) != Flow::Continue {
                continue;
            }
            allowed += 1;
            answer(&mut exchange, &mut world, body.as_bytes(), body.len().max(1), End::Body);
        }
        prop_assert_eq!(allowed, 3);
    }
}
