//! Lists and responses: what is shown is what can be called, kept as it was, however the bytes come; and no bytes can do harm.

use std::rc::Rc;

use mcp_policy::exchange::{Chunk, Event, Exchange, Flow};
use mcp_policy::identity::Caller;
use mcp_policy::listing::{Filtered, ShownTo, filter};
use mcp_policy::mcp::headers::facts::Facts;
use mcp_policy::mcp::headers::{Follows, Header};
use mcp_policy::mcp::outcome::Origin;
use mcp_policy::pins::Sightings;
use mcp_policy::policy::compiled::Config;
use mcp_policy::rate::memory::MemoryStore;
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::oracle::{Call, Oracle};
use crate::properties::{Calls, calls, policy};
use crate::world::{Answer, Engine, Responded, World, exchange, named, post_headers};

const NAMES: [&str; 9] =
    ["t", "tool", "Tool", "toil", "x1", "secret", "tool ", "other", "se\u{ad}cret"];

/// A policy in which one of the sections is the generated one.
fn placed(policy: &Value, kind: &str, listing: &str) -> Value {
    let mut placed = policy.clone();
    placed["tools_list"] = listing.into();
    if kind == "prompt" {
        // The name has another word there.
        let named = policy["tools"].to_string();
        let named = named.replace("\"path\":\"tool\"", "\"path\":\"prompt\"");
        let named = named.replace("\"from\":\"tool\"", "\"from\":\"prompt\"");
        let mut section: Value = serde_json::from_str(&named).unwrap();
        section["default"] = policy["default"].clone();
        section["hide"] = policy["hide"].clone();
        placed["prompts"] = section;
        placed["tools"] = json!({});
        placed["hide"] = json!([]);
    }
    placed
}

fn screened(engine: &Engine, viewer: Option<&Caller>, bytes: &[u8]) -> Filtered {
    let sightings = Sightings::new(&engine.store, engine.config.policy.server);
    filter(ShownTo { policy: &engine.config.policy, viewer }, bytes, sightings).0
}

/// The answer to a list of one kind, and what is left of it; none if nothing is taken away.
fn filtered(engine: &Engine, text: &str) -> Option<String> {
    match screened(engine, Some(&named(&engine.config, "")), text.as_bytes()) {
        Filtered::Unchanged => None,
        Filtered::Changed(text) => Some(text),
        Filtered::Unreadable(cause) => panic!("unreadable: {text}: {cause:?}"),
    }
}

/// Items in all their spellings, with what stands between them.
fn items() -> impl Strategy<Value = Vec<(String, String)>> {
    let name = prop::sample::select(NAMES.to_vec());
    let form = prop::sample::select(vec![
        "{\"name\":<>}",
        "{ \"name\" : <> }",
        "{\"title\":\"secret\",\"name\":<>,\"x\":[1e3,{\"name\":\"x\"}]}",
        "{\"\\u006eame\":<>,\"é\":\"\\ud83d\\ude00\"}",
    ]);
    let item = (name, form, any::<bool>()).prop_map(|(name, form, escape)| {
        let mut text = Value::from(name).to_string();
        if escape {
            text = text.replace('e', "\\u0065").replace('t', "\\u0074");
        }
        (name.to_owned(), form.replace("<>", &text))
    });
    proptest::collection::vec(item, 0..8)
}

/// What depends on the name and the caller alone takes off a list what he cannot call, and what depends on more takes off nothing.
#[test]
fn a_list_shows_what_its_reader_can_call() {
    let policy = r#"{"version":"1","default":"deny","tools_list":"callable",
        "identity":{"keys":{"team":{"header":"x-team"},"tool":{"header":"x-tool"}}},"tools":{
        "one":{"require":[{"conditions":[{"path":"tool","op":"eq","from":"identity.tool"}]}]},
        "two":{"deny_if":[{"conditions":[{"path":"identity.team","op":"neq","value":"sre"}]}]},
        "args":{"require":[{"conditions":[{"path":"args.x","op":"eq","from":"identity.tool"}]}]},
        "both":{"require":[{"conditions":[{"path":"args.x","op":"eq","value":1},{"path":"identity.team","op":"eq","value":"sre"}]}]},
        "some":{"deny_if":[{"conditions":[{"path":"args.x","op":"eq","value":1},{"path":"identity.team","op":"neq","value":"sre"}]}]},
        "head":{"require":[{"conditions":[{"path":"header.x-stage","op":"eq","value":"test"}]}]},
        "time":{"require":[{"conditions":[{"path":"identity.team","op":"after","value":"now"}]}]},
        "ask":{"ask_if":[{"conditions":[{"path":"identity.team","op":"neq","value":"sre"}]}]},
        "rule":{"rules":[{"conditions":[{"path":"identity.team","op":"eq","value":"sre"}]}]},
        "shadow":{"mode":"shadow","require":[{"conditions":[{"path":"identity.team","op":"eq","value":"sre"}]}]}}}"#;
    let engine = Engine::new(policy).unwrap();
    let names = ["one", "two", "args", "both", "some", "head", "time", "ask", "rule", "shadow"];
    let items: Vec<Value> = names.iter().map(|name| json!({"name": name})).collect();
    let list = json!({"id": 1, "result": {"tools": items}}).to_string();
    let free = ["args", "some", "head", "time", "ask", "shadow"];
    for (team, tool, more) in [
        ("", "", &[][..]),
        ("sre", "", &["two", "both", "rule"]),
        ("dev", "one", &["one"]),
        ("sre", "one", &["one", "two", "both", "rule"]),
        ("sre", "two", &["two", "both", "rule"]),
    ] {
        let mut headers = post_headers("");
        headers.extend([(&b"x-team"[..], team.as_bytes()), (b"x-tool", tool.as_bytes())]);
        let facts = Facts::of(&headers, &engine.config.headers);
        let world = World::new(&engine.store);
        let caller = Caller::read(&engine.config, &facts, &world).unwrap();
        for (viewer, more) in [(Some(&caller), more), (None, &[])] {
            let shown = match screened(&engine, viewer, list.as_bytes()) {
                Filtered::Unchanged => list.clone(),
                Filtered::Changed(text) => text,
                Filtered::Unreadable(cause) => panic!("{cause:?}"),
            };
            let shown: Value = serde_json::from_str(&shown).unwrap();
            let shown = shown["result"]["tools"].as_array().unwrap().iter();
            let shown: Vec<&str> = shown.filter_map(|tool| tool["name"].as_str()).collect();
            // Nobody sees what depends on who asks, where nobody asks.
            let expected: Vec<&&str> = names
                .iter()
                .filter(|name| free.contains(name) || more.contains(name))
                .filter(|name| viewer.is_some() || **name != "time")
                .collect();
            assert_eq!(shown, expected.into_iter().copied().collect::<Vec<_>>(), "{team} {tool}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn what_can_be_called_is_shown_and_what_does_not_exist_is_not(
        policy in policy(), calls in calls(),
        kind in prop::sample::select(vec!["tool", "prompt"]),
        listing in prop::sample::select(vec!["listed", "callable", "all"]),
    ) {
        let policy = placed(&policy, kind, listing);
        let Ok(engine) = Engine::new(&policy.to_string()) else { return Err(TestCaseError::reject("counters clash")) };
        let calls: Calls = calls;
        for (name, arguments, caller, at) in &calls {
            let method = if kind == "tool" { "tools/call" } else { "prompts/get" };
            let params = json!({"name": name, "arguments": arguments});
            let body = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params});
            let decided = engine.request(&body.to_string(), &post_headers(caller), *at, Answer::Success);
            let list = json!({"result": {format!("{kind}s"): [{"name": name}]}}).to_string();
            let shown = filtered(&engine, &list).is_none();
            prop_assert!(!decided.allowed || shown, "{name} can be called, and is not shown");
            let unknown = decided.reason.is_some_and(|reason| reason.ends_with("_hidden") || reason.ends_with("_not_allowed"));
            let hidden = decided.reason.is_some_and(|reason| reason.ends_with("_hidden"));
            prop_assert!(!(hidden || unknown && listing != "all") || !shown, "{name} is {:?}, and shown", decided.reason);
        }
    }

    #[test]
    fn engine_and_oracle_show_the_same_and_keep_its_bytes(
        policy in policy(), items in items(),
        kind in prop::sample::select(vec!["tool", "prompt"]),
        listing in prop::sample::select(vec!["listed", "callable", "all"]),
        space in prop::sample::select(vec!["", " ", "\n\t"]),
    ) {
        let policy = placed(&policy, kind, listing);
        let Ok(engine) = Engine::new(&policy.to_string()) else { return Err(TestCaseError::reject("counters clash")) };
        let oracle = Oracle::new(policy);
        let nobody = Call::tool("", &Value::Null, "", 0);
        let all: Vec<&str> = items.iter().map(|(_, text)| &**text).collect();
        let kept: Vec<&str> =
            items.iter().filter(|(name, _)| oracle.shows(kind, name, &nobody)).map(|(_, text)| &**text).collect();
        let answer = |list: String| format!("{{\"id\":1,{space}\"result\":{{\"{kind}s\":{list},\"other\":{{\"{kind}s\":[{{\"name\":\"secret\"}}]}}}}{space}}}");
        let full = answer(format!("{space}[{}]", all.join(&format!("{space},{space}"))));
        let found = filtered(&engine, &full);
        if kept.len() == all.len() {
            prop_assert_eq!(found, None);
        } else {
            let expected = answer(format!("{space}[{}]", kept.join(",")));
            prop_assert_eq!(found.as_ref(), Some(&expected));
            prop_assert_eq!(filtered(&engine, &expected), None, "once more changes nothing");
        }
    }

    #[test]
    fn no_bytes_get_a_hidden_name_past_a_reader(
        damage in proptest::collection::vec((any::<prop::sample::Index>(), damage()), 0..4),
        bytes in proptest::collection::vec(any::<u8>(), 0..60),
    ) {
        let engine = Engine::new(POLICY).unwrap();
        let mut text = LIST.as_bytes().to_vec();
        for (at, (remove, insert)) in &damage {
            let at = at.index(text.len());
            text.splice(at..(at + remove).min(text.len()), insert.iter().copied());
        }
        for bytes in [&text, &bytes] {
            let shown = match screened(&engine, None, bytes) {
                Filtered::Unreadable(_) => continue,
                Filtered::Unchanged => bytes.clone(),
                Filtered::Changed(text) => text.into_bytes(),
            };
            prop_assert!(!tells(&shown), "{}", shown.escape_ascii());
        }
    }

    #[test]
    fn no_event_gets_a_hidden_name_past_a_reader(
        pieces in proptest::collection::vec(piece(), 0..12), sizes in sizes(), request in asked(),
    ) {
        let stream = pieces.concat();
        let out = receive(request, "text/event-stream", stream.as_bytes(), &sizes, End::Body);
        for event in events(&out) {
            prop_assert!(!tells(event.as_bytes()), "{}\nof {}", out.escape_ascii(), stream.escape_default());
        }
    }

    #[test]
    fn what_holds_no_list_passes_byte_for_byte(
        texts in proptest::collection::vec(honest(), 1..4), sizes in sizes(), request in asked(), end in prop::sample::select(vec!["\n", "\r\n", "\r"]),
    ) {
        let stream: String = texts.iter().map(|text| format!(": hi{end}id: 1{end}data: {text}{end}{end}")).collect();
        let out = receive(request, "text/event-stream", stream.as_bytes(), &sizes, End::Body);
        prop_assert!(out == stream.as_bytes(), "{:?}: {} bytes of {}", request, out.len(), stream.len());
        // What is no JSON is no answer to a request for a list.
        let text = texts.concat();
        if request != Asked::List || text.starts_with('{') {
            for end in [End::Body, End::EmptyChunk, End::Trailers] {
                let out = receive(if request == Asked::List { Asked::Call } else { request }, "application/json", text.as_bytes(), &sizes, end);
                prop_assert!(out == text.as_bytes(), "{:?}: {} bytes of {}", request, out.len(), text.len());
            }
        }
    }

    #[test]
    fn no_list_gets_past_in_a_text_that_is_large_deep_or_odd(
        before in honest_members(), after in honest_members(), sizes in sizes(), request in asked(), nested in any::<bool>(), events in any::<bool>(),
        tools in prop::sample::select(vec!["tools", "\\u0074ools", "Tools", "tool\u{17f}", "to\u{200b}ols", "tools\\u0000"]),
    ) {
        let list = format!(r#"{{{before}"result":{{{after}"{tools}":[{{"name":"secret"}}],{after}"x":1}},{before}"id":1}}"#);
        let text = if nested { format!("[1,{list}]") } else { list };
        let (media, body) = if events { ("text/event-stream", format!("data: {text}\n\ndata: 1\n\n")) } else { ("application/json", text) };
        let out = receive(request, media, body.as_bytes(), &sizes, End::Body);
        let shown = String::from_utf8_lossy(&out);
        prop_assert!(!shown.contains("secret"), "{:?} {} of {}", request, out.len(), body.len());
        prop_assert!(!events || shown.ends_with("\ndata: 1\n\n"), "the next event stands for itself");
        prop_assert_eq!(&out, &receive(request, media, body.as_bytes(), &[], End::Body));
    }

    #[test]
    fn no_chunking_changes_what_the_client_gets(
        pieces in proptest::collection::vec(piece(), 0..12), json in prop::sample::select(JSON.to_vec()), sizes in sizes(),
    ) {
        let stream = pieces.concat();
        for (media, body) in [("text/event-stream", &*stream), ("application/json", json), ("text/plain", json)] {
            for request in [Asked::List, Asked::Stream, Asked::Call, Asked::Nothing, Asked::Early] {
                for ends in [[End::Body, End::EmptyChunk].as_slice(), &[End::Trailers]] {
                    let whole = receive(request, media, body.as_bytes(), &[], ends[0]);
                    for end in ends {
                        let cut = receive(request, media, body.as_bytes(), &sizes, *end);
                        prop_assert_eq!(cut.escape_ascii().to_string(), whole.escape_ascii().to_string(), "{:?} {:?} {}", request, end, media);
                    }
                    prop_assert!(!events(&whole).iter().any(|event| tells(event.as_bytes())) && !tells(&whole));
                }
            }
        }
    }
}

#[test]
fn a_doubt_begins_at_the_same_byte_wherever_chunks_end() {
    for line in [
        format!("data: {{\"id\":1,event: x\u{2028}data: {LIST}"),
        format!("data: {{\"id\":1,\"x\":\u{2028}data: {LIST}"),
        format!("data: {{\"id\":1}}\u{85}data: {LIST}"),
        format!("\u{feff}data: {{\"id\":1,\0{LIST}"),
        format!("data:\u{c}data: {LIST}"),
        format!("data: {LIST}\u{1c} data"),
    ] {
        for stream in [format!("{line}\n"), format!("{line}\n\ndata: 1\n\n"), line] {
            for request in [Asked::List, Asked::Stream, Asked::Call, Asked::Nothing, Asked::Early] {
                let whole =
                    receive(request, "text/event-stream", stream.as_bytes(), &[], End::Body);
                for size in 1..60 {
                    let sizes = vec![size; stream.len()];
                    let cut =
                        receive(request, "text/event-stream", stream.as_bytes(), &sizes, End::Body);
                    assert_eq!(
                        cut.escape_ascii().to_string(),
                        whole.escape_ascii().to_string(),
                        "{request:?} {size} {stream:?}"
                    );
                }
            }
        }
    }
}

const POLICY: &str = r#"{"version":"1","default":"allow","hide":["secret"],"tools":{}}"#;
const LIST: &str = r#"{"jsonrpc":"2.0","id":1,"result":{"tools":[{"name":"search"},{"name":"secret"},{"name":"read","x":[]}],"nextCursor":"2"}}"#;
const JSON: [&str; 8] = [
    LIST,
    r#"[{"id":1,"result":{"tools":[{"name":"secret"}]}},{"id":2,"result":{}}]"#,
    r#"{"id":1,"result":{"tools":[{"name":"é😀"},{"name":"\u0073ecret"}]}}"#,
    r#"{"id":1,"error":{"code":1,"message":"no"}}"#,
    r#"{"id":1,"result":{"tools":[{"name":"secret"}"#,
    "\u{feff}{}",
    "an error page, no JSON",
    "",
];

/// How many bytes go, and which come in their place.
fn damage() -> impl Strategy<Value = (usize, Vec<u8>)> {
    let inserted = prop::sample::select(vec![
        "",
        "\"",
        "{",
        "}",
        "[",
        "]",
        ",",
        ":",
        " ",
        "\\",
        "\0",
        "\u{feff}",
        "\u{200b}",
        "T",
        "name",
        "\"tools\":",
        "\"tools\":[{\"name\":\"secret\"}],",
        "\"result\":{},",
        "\\u0073ecret",
        "//",
        "1e999",
        "-",
        "null",
    ]);
    prop_oneof![
        4 => (0usize..3, inserted.prop_map(|text| text.as_bytes().to_vec())),
        1 => (0usize..20, proptest::collection::vec(any::<u8>(), 0..3)),
    ]
}

/// A piece of a stream of events, whole lines mostly.
fn piece() -> impl Strategy<Value = String> {
    let line = prop::sample::select(vec![
        format!("data: {LIST}"),
        format!("data:{LIST}"),
        format!("data : {LIST}"),
        format!("\u{feff}data: {LIST}"),
        format!(": {LIST}"),
        format!("event: x\u{2028}data: {LIST}"),
        "data: {\"id\":1,".to_owned(),
        "data: \"result\":{\"tools\":[{\"name\":\"secret\"}]}}".to_owned(),
        "data: [".to_owned(),
        "data: ]".to_owned(),
        "data".to_owned(),
        "data: é".to_owned(),
        "data: {}".to_owned(),
        ": hi".to_owned(),
        "id: 1".to_owned(),
        "retry: 2".to_owned(),
        "\u{feff}".to_owned(),
        String::new(),
    ]);
    let end =
        prop::sample::select(vec!["\n", "\r", "\r\n", "\n\n", "\r\r", "\r\n\r\n", "\n\r\n", ""]);
    (line, end).prop_map(|(line, end)| format!("{line}{end}"))
}

/// Members of an object that say nothing of lists, and could make a reader stumble.
fn honest_members() -> impl Strategy<Value = String> {
    let deep = format!(r#""deep":{}1{},"#, r#"{"c":["#.repeat(90), "]}".repeat(90));
    let member = prop::sample::select(vec![
        r#""a":1,"a":2,"#.to_owned(),
        r#""x":"\"}]{[\\\\","#.to_owned(),
        r#""é":["\ud800",NaN,{"tools":[{"name":"x"}]}],"#.to_owned(),
        r#""params":{"result":{"tools":[1]},"tools":[]},"#.to_owned(),
        format!(r#""v":[{}0],"#, "1,".repeat(9000)),
        format!(r#""image":"{}","#, "A".repeat(70_000)),
        deep,
    ]);
    proptest::collection::vec(member, 0..3).prop_map(|members| members.concat())
}

/// A text that holds no list.
fn honest() -> impl Strategy<Value = String> {
    (honest_members(), honest_members(), prop::sample::select(vec!["id", "jsonrpc", "method"]))
        .prop_map(|(before, inner, key)| {
            format!(r#"{{{before}"result":{{{inner}"content":[],"structuredContent":{{"tools":[]}}}},"{key}":1}}"#)
        })
}

fn sizes() -> impl Strategy<Value = Vec<usize>> {
    proptest::collection::vec(prop_oneof![1usize..4, 1usize..200], 0..60)
}

/// Whether a reader finds the hidden tool in a message. It takes the last of repeated keys, and skips a byte order mark.
fn tells(text: &[u8]) -> bool {
    let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text);
    let Ok(message) = serde_json::from_slice::<Value>(text) else { return false };
    let messages = message.as_array().cloned().unwrap_or_else(|| vec![message]);
    let named = |item: &Value| item["name"] == "secret";
    messages.iter().any(|message| {
        message["result"]["tools"].as_array().is_some_and(|tools| tools.iter().any(named))
    })
}

/// The data of a stream's events, as the specification reads them.
fn events(stream: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(stream).replace("\r\n", "\n").replace('\r', "\n");
    let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
    let mut found = Vec::new();
    for event in text.split("\n\n") {
        let data: Vec<&str> =
            event.split('\n').filter_map(|line| line.strip_prefix("data:")).collect();
        let data: Vec<&str> =
            data.into_iter().map(|data| data.strip_prefix(' ').unwrap_or(data)).collect();
        found.push(data.join("\n"));
    }
    found
}

/// What the response is to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asked {
    List,
    Stream,
    Call,
    /// A notification.
    Nothing,
    /// The server answers before it has the request.
    Early,
}

fn asked() -> impl Strategy<Value = Asked> {
    prop::sample::select(vec![
        Asked::List,
        Asked::Stream,
        Asked::Call,
        Asked::Nothing,
        Asked::Early,
    ])
}

/// How a response ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Body,
    EmptyChunk,
    Trailers,
}

/// Hands in the whole body of the request.
fn judge(exchange: &mut Exchange, world: &World<'_>) -> Flow {
    let event = Event::RequestBody { buffered: world.body.len(), chunk: Chunk::Last };
    exchange.on(world, event).flow
}

/// What the client gets of a response that comes in pieces of these sizes.
fn receive(asked: Asked, media: &str, body: &[u8], sizes: &[usize], end: End) -> Vec<u8> {
    let store = MemoryStore::default();
    let media = Some(media);
    let response = Responded { status: 200, media, encoding: None, origin: Origin::Server };
    let mut world = World { response, ..World::new(&store) };
    let config = Config::load(POLICY.as_bytes(), "test").unwrap().config;
    let mut exchange = exchange(&Rc::new(config));
    if asked == Asked::Stream {
        let headers: [Header<'_>; 2] = [(b":method", b"GET"), (b"accept", b"text/event-stream")];
        let event = Event::RequestHead { headers: &headers, follows: Follows::Nothing };
        assert_eq!(exchange.on(&world, event).flow, Flow::Continue);
    } else {
        let method = if asked == Asked::List { "tools/list" } else { "ping" };
        let id = if asked == Asked::Nothing { "" } else { r#""id":1,"# };
        world.body = format!(r#"{{"jsonrpc":"2.0",{id}"method":"{method}"}}"#).into_bytes();
        let headers = post_headers("");
        let event = Event::RequestHead { headers: &headers, follows: Follows::Body };
        assert_eq!(exchange.on(&world, event).flow, Flow::Pause);
        if asked != Asked::Early {
            assert_eq!(judge(&mut exchange, &world), Flow::Continue);
        }
    }
    let event = Event::ResponseHead { follows: Follows::Body };
    assert_eq!(exchange.on(&world, event).flow, Flow::Continue);
    assert!(world.looked.get());
    let mut judged = asked != Asked::Early;
    let mut received = Vec::new();
    let mut rest = body;
    let mut sizes = sizes.iter().copied();
    while !rest.is_empty() {
        let (piece, after) = rest.split_at(sizes.next().unwrap_or(rest.len()).min(rest.len()));
        rest = after;
        if !std::mem::replace(&mut judged, true) {
            assert_eq!(judge(&mut exchange, &world), Flow::Continue);
        }
        world.chunk.extend_from_slice(piece);
        let last = rest.is_empty() && end == End::Body;
        pass(
            &mut exchange,
            &mut world,
            &mut received,
            if last { Chunk::Last } else { Chunk::More },
        );
    }
    match end {
        End::EmptyChunk => pass(&mut exchange, &mut world, &mut received, Chunk::Last),
        End::Trailers => {
            assert_eq!(exchange.on(&world, Event::ResponseTrailers).flow, Flow::Continue);
        }
        End::Body if body.is_empty() => pass(&mut exchange, &mut world, &mut received, Chunk::Last),
        End::Body => {}
    }
    assert!(world.chunk.is_empty(), "nothing stays behind");
    received
}

/// What Envoy does with what is there.
fn pass(exchange: &mut Exchange, world: &mut World<'_>, received: &mut Vec<u8>, chunk: Chunk) {
    let event = Event::ResponseBody { length: world.chunk.len(), chunk };
    let step = exchange.on(world, event);
    assert_eq!(step.flow, Flow::Continue);
    received.extend(step.body.as_ref().unwrap_or(&world.chunk));
    world.chunk.clear();
}

#[test]
fn readers_find_what_is_not_filtered() {
    assert!(tells(LIST.as_bytes()));
    assert_eq!(events(b"data: a\r\ndata:b\r\rdata: c\n\n"), ["a\nb", "c", ""]);
    for asked in [Asked::List, Asked::Stream] {
        let body = format!("id: 1\ndata: {LIST}\n\n");
        let out = receive(asked, "text/event-stream", body.as_bytes(), &[], End::Body);
        let expected = body.replace("{\"name\":\"secret\"},", "");
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }
}
