//! What must hold of any bytes: one function for each reader, which panics where it does not hold.
//!
//! `make fuzz` feeds them with coverage as the guide; `tests/suite/fuzz.rs` feeds them with changed seeds in `make check`.

#[path = "world.rs"]
mod world;

use std::num::NonZeroU32;
use std::rc::Rc;

use mcp_policy::approval::approver::{Inquiry, Next, Question, Task};
use mcp_policy::approval::call::CallDigest;
use mcp_policy::ask::Answer;
use mcp_policy::exchange::{Chunk, Event, Flow};
use mcp_policy::identity::Caller;
use mcp_policy::json::{Bounds, Duplicates, FaultKind, Value, parse};
use mcp_policy::mcp::headers::Follows;
use mcp_policy::mcp::headers::facts::Facts;
use mcp_policy::mcp::message::{Body, Message, parse_body};
use mcp_policy::mcp::unread::{Seeker, request_id};
use mcp_policy::mcp::uri::{canonical, relax};
use mcp_policy::number::Micros;
use mcp_policy::policy::compiled::Config;
use mcp_policy::rate::algorithm::{Algorithm, Demand};
use mcp_policy::rate::memory::MemoryStore;
use mcp_policy::rate::table::{Account, CallerId, CounterId, Per, Table};
use mcp_policy::rate::window::Window;
use mcp_policy::rls;
use mcp_policy::source::SourceText;
use mcp_policy::time::UnixMillis;
use world::{HEADERS, World, exchange, sent};

/// A reader, by the name that `make fuzz` gives it.
pub(crate) type Target = fn(&[u8]);

/// All of them.
pub(crate) const TARGETS: [(&str, Target); 9] = [
    ("json", json),
    ("request", request),
    ("response", response),
    ("policy", policy),
    ("uri", uri),
    ("identity", identity),
    ("table", table),
    ("approver", approver),
    ("service", service),
];

const POLICY: &str = r#"{"version":"1","default":"deny","hide":["secret"],"requests":{"max_body_bytes":2000},
    "identity":{"grant":[{"jwt_claim":"sub"},{"credential":"authorization"}],"keys":{"team":{"jwt_claim":["a.b","c"]}}},
    "tools":{"ok":{},"never":{"action":"deny"},"few":{"rate_limit":"3/day"},
        "pay":{"require":[{"conditions":[{"path":"args.amount","op":"lte","value":5}]}]}}}"#;

fn config() -> Rc<Config> {
    let loaded = Config::load(POLICY.as_bytes(), "fuzz");
    Rc::new(loaded.unwrap_or_else(|problems| panic!("{problems:?}")).config)
}

/// What serde_json takes for JSON we take too, and nothing else; what is skimmed of it agrees with what is read.
fn json(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let theirs: Result<serde_json::Value, _> = serde_json::from_str(text);
    match (parse(text, Duplicates::Keep), theirs) {
        (Err(fault), Ok(_)) => assert_ne!(fault.kind, FaultKind::Syntax, "{text}"),
        // Numbers that no double holds are errors there.
        (Ok(_), Err(error)) => {
            assert!(error.to_string().contains("out of range"), "{text}: {error}")
        }
        (Ok(_), Ok(_)) | (Err(_), Err(_)) => {}
    }
    let skimmed = request_id(bytes);
    let mut seeker = Seeker::default();
    bytes.iter().for_each(|byte| seeker.push(&[*byte]));
    if let Ok(value) = parse_body(bytes, Bounds::DOCUMENT) {
        let id = value.as_object().and_then(|envelope| envelope.member("id"));
        if let Some(found) = &skimmed {
            assert_eq!(id.map(|id| id.raw), Some(&**found), "{text}");
            assert_eq!(seeker.into_request_id(), skimmed, "{text}");
        }
        if let Ok(Body::Single(Message::Request(request))) = Body::read(&value)
            && let Some(id) = request.id.filter(|id| id.len() <= 256)
        {
            assert_eq!(skimmed.as_deref(), Some(id), "{text}");
        }
    }
}

/// Nothing that an approver says lets a call run, but a yes that another reader of JSON takes for one too; and nothing that it says leads
/// anywhere but below its own paths.
fn approver(bytes: &[u8]) {
    let text = r#"{"version":"1","default":"deny","approvals":{"approver":{"cluster":"a","requests":"/r"}}}"#;
    let loaded = Config::load(text.as_bytes(), "fuzz");
    let config = loaded.unwrap_or_else(|problems| panic!("{problems:?}")).config;
    let Some(approver) = &config.approvals.approver else { return };
    let now = UnixMillis(1_700_000_000_000);
    let says = |body| Answer::Http { status: 200, body };
    let requestable: &[u8] =
        br#"{"decision":false,"context":{"evaluation_id":"e","access_request":{}}}"#;
    let pending: &[u8] = br#"{"status":"pending","id":"t","status_endpoint":"/r/t"}"#;
    let approved: &[u8] =
        br#"{"status":"approved","result":{"mode":"reevaluate","approval":{"id":"a"}}}"#;
    for before in [&[][..], &[requestable], &[requestable, pending], &[requestable, approved]] {
        let (mut inquiry, _) = Inquiry::begin(approver, asked(), None);
        for answer in before {
            let _ = inquiry.answered(&says(answer), now);
        }
        let _ = inquiry.tick(UnixMillis(now.0 + 60_000));
        match inquiry.answered(&says(bytes), now) {
            Next::Approved(_) => {
                let read: Result<serde_json::Value, _> = serde_json::from_slice(bytes);
                let yes = read.is_ok_and(|read| read["decision"] == serde_json::Value::Bool(true));
                assert!(yes, "{}", String::from_utf8_lossy(bytes));
            }
            Next::Ask(ask) => {
                assert!(ask.path.starts_with("/r") || *ask.path == *approver.path, "{}", ask.path)
            }
            Next::Rest | Next::Used | Next::Declined | Next::Unavailable => {}
        }
        if let Some(task) = inquiry.task() {
            let plain = task.path.split('/').all(|segment| !matches!(segment, "." | ".."));
            assert!(task.path.starts_with("/r/") && plain, "{}", task.path);
            assert_eq!(Task::read(&task.written()).as_ref(), Some(task));
        }
    }
}

/// An answer of the rate limit service has a status for each descriptor, and one that lets a limit through says what is left or speaks for all.
fn service(bytes: &[u8]) {
    for (limits, looks) in [(1, 0), (2, 0), (0, 3), (2, 3)] {
        let Some(statuses) = rls::read(bytes, limits, looks) else { continue };
        let length = bytes
            .get(1..5)
            .map(|length| length.iter().fold(0, |all, byte| all << 8 | usize::from(*byte)));
        assert_eq!((bytes.first(), length), (Some(&0), Some(bytes.len() - 5)), "{bytes:?}");
        assert_eq!(statuses.len(), limits + looks, "{bytes:?}");
        let for_all = statuses
            .iter()
            .all(|status| status.remaining.is_none() && status.reset_millis.is_none());
        let told =
            statuses.iter().take(limits).all(|status| status.is_over || status.remaining.is_some());
        assert!(for_all || told, "{bytes:?}");
    }
}

fn asked() -> Question {
    let text = String::new;
    Question {
        caller: text(),
        verified: false,
        names: Vec::new(),
        method: text(),
        kind: "tool",
        name: text(),
        server: text(),
        arguments: Some("{}".to_owned()),
        arguments_digest: text(),
        policy: text(),
        policy_digest: text(),
        rule: text(),
        reason: None,
        call: CallDigest([0; 32]),
        request_id: None,
        denial: None,
    }
}

/// The bytes of an input, and where they are cut: the first says how long pieces are.
fn cut(bytes: &[u8]) -> (usize, &[u8]) {
    match bytes.split_first() {
        Some((size, rest)) => (usize::from(*size).max(1), rest),
        None => (1, bytes),
    }
}

/// No cut changes what becomes of a request, and none passes that serde_json reads as a call of what is denied.
fn request(bytes: &[u8]) {
    let (size, body) = cut(bytes);
    let config = config();
    let whole = sent(&config, body, usize::MAX / 2);
    assert_eq!(sent(&config, body, size), whole);
    if whole == Flow::Continue {
        let read: serde_json::Value = serde_json::from_slice(body).unwrap_or_default();
        let messages = read.as_array().cloned().unwrap_or_else(|| vec![read]);
        for message in messages {
            let called = message["method"] == "tools/call";
            let tool = message["params"]["name"].as_str().unwrap_or_default();
            let allowed = ["ok", "few", "pay"].contains(&tool);
            assert!(!called || allowed, "{}", String::from_utf8_lossy(body));
        }
    }
}

fn answered(body: &[u8], size: usize, media: &[u8]) -> Vec<u8> {
    let store = MemoryStore::default();
    let mut exchange = exchange(&config());
    let asked = br#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#;
    let mut world = World { media, ..World::new(&store, asked) };
    let head = Event::RequestHead { headers: &HEADERS, follows: Follows::Body };
    let _ = exchange.on(&world, head);
    let whole = Event::RequestBody { buffered: asked.len(), chunk: Chunk::Last };
    assert_eq!(exchange.on(&world, whole).flow, Flow::Continue);
    let follows = if body.is_empty() { Follows::Nothing } else { Follows::Body };
    let _ = exchange.on(&world, Event::ResponseHead { follows });
    let mut out = Vec::new();
    let mut to = 0;
    while to < body.len() {
        let from = to;
        to = to.saturating_add(size).min(body.len());
        world.chunk = body.get(from..to).unwrap_or_default();
        let chunk = if to == body.len() { Chunk::Last } else { Chunk::More };
        let event = Event::ResponseBody { length: world.chunk.len(), chunk };
        match exchange.on(&world, event).body {
            None => out.extend_from_slice(world.chunk),
            Some(bytes) => out.extend(bytes),
        }
    }
    out
}

/// The names of the tools that a JSON text lists.
fn listed(text: &[u8]) -> Vec<String> {
    let read: serde_json::Value = serde_json::from_slice(text).unwrap_or_default();
    let messages = read.as_array().cloned().unwrap_or_else(|| vec![read]);
    let tools = messages.iter().filter_map(|message| message["result"]["tools"].as_array());
    let names = tools.flatten().filter_map(|tool| tool["name"].as_str());
    names.map(str::to_owned).collect()
}

/// Nothing hidden is in what a client gets, as JSON or as the data of events, wherever chunks end; and JSON comes out
/// the same. Of what is none, as much passes as was there before it looked like a list, which chunks decide.
fn response(bytes: &[u8]) {
    let (size, body) = cut(bytes);
    let is_json = |text: &str| serde_json::from_str::<serde_json::Value>(text).is_ok();
    let text = String::from_utf8_lossy(body);
    for media in [&b"application/json"[..], b"text/event-stream"] {
        let ways = [answered(body, usize::MAX, media), answered(body, size, media)];
        let clear = media == b"application/json" && is_json(&text);
        assert!(!clear || ways[0] == ways[1], "{text}");
        for out in ways {
            let out = String::from_utf8_lossy(&out);
            let data = |line: &str| line.strip_prefix("data:").unwrap_or_default().to_owned();
            let read: Vec<String> = match media {
                b"text/event-stream" => out.split(['\n', '\r']).map(data).collect(),
                _ => vec![out.into_owned()],
            };
            let shown: Vec<String> = read.iter().flat_map(|text| listed(text.as_bytes())).collect();
            let known = |name: &String| ["ok", "never", "few", "pay"].contains(&&**name);
            assert!(shown.iter().all(known), "{shown:?}: {text}");
        }
    }
}

/// Every document is taken or refused with a place in it, by the filter and the command alike.
fn policy(bytes: &[u8]) {
    let filter = Config::load(bytes, "");
    for name in ["policy.json", "policy.yaml"] {
        let Ok(source) = SourceText::new(name, bytes.to_vec()) else { continue };
        let (config, problems) = source.compile();
        let errors = problems.iter().any(mcp_policy::source::Problem::is_error);
        assert_eq!(config.is_none(), errors, "{problems:?}");
        for problem in &problems {
            let at = problem.at.clone().unwrap_or_default();
            assert!(source.text.get(at).is_some(), "{problem:?}");
        }
        if name == "policy.json" {
            assert_eq!(config.is_some(), filter.is_ok(), "{}", source.text);
        }
        if let Some(config) = config {
            assert!(source.renewal(&config, &config).is_empty());
        }
    }
}

/// A canonical URI is its own canonical form, and so is what it is relaxed to.
fn uri(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let Some(one) = canonical(text) else { return };
    assert_eq!(canonical(&one).as_deref(), Some(&*one), "{text}");
    let relaxed = relax(&one);
    assert_eq!(relax(&relaxed), relaxed, "{text}");
}

/// Any claims name a caller, or refuse him; the same claims always the same. And no bytes of Envoy's metadata trap who reads them.
fn identity(bytes: &[u8]) {
    #[cfg(fuzzing)]
    mcp_policy::read_metadata(bytes);
    let text = String::from_utf8_lossy(bytes);
    let read: Option<Value<'_>> = parse(&text, Duplicates::Refuse).ok();
    let claim = read.map_or_else(|| Value::String(text.to_string().into()), owned);
    let (config, store) = (config(), MemoryStore::default());
    let world = World { claim: Some(&claim), ..World::new(&store, b"") };
    let facts = Facts::of(&HEADERS, &config.headers);
    let read = || Caller::read(&config, &facts, &world);
    assert_eq!(read(), read());
}

/// A value that outlives its text.
fn owned(value: Value<'_>) -> Value<'static> {
    match value {
        Value::Null => Value::Null,
        Value::Bool(flag) => Value::Bool(flag),
        Value::Number(text) => Value::Number(text.into_owned().into()),
        Value::String(text) => Value::String(text.into_owned().into()),
        Value::Array(items) => Value::Array(items.into_iter().map(owned).collect()),
        Value::Object(_) => Value::Object(mcp_policy::json::Object::default()),
    }
}

/// What is read of a table is written as it was, and no time and no count traps it.
fn table(bytes: &[u8]) {
    let (_, packed) = cut(bytes);
    let Ok(mut table) = Table::decode(packed.to_vec()) else { return };
    if !packed.is_empty() {
        assert_eq!(table.packed(), packed);
    }
    let seed = bytes.first().copied().map_or(0, u64::from);
    let now = table.advance(UnixMillis(seed << 40).into());
    let id = CounterId(seed);
    let _ = table.place(id, Account::EVERYBODY);
    let state = table.state(id, CallerId::EVERYBODY, Per::Caller);
    let window = Window::Every(NonZeroU32::MIN);
    for algorithm in
        [Algorithm::Fixed, Algorithm::Sliding, Algorithm::Bucket { refill: Micros(seed) }]
    {
        let ask = Demand { amount: Micros(seed), max: Micros(u64::MAX) };
        if let Ok(admitted) = algorithm.admit(window, state.as_ref(), now, ask) {
            let _ = algorithm.refund(window, &admitted.state, admitted.mark, ask.amount);
        }
    }
    assert!(Table::decode(table.packed().to_vec()).is_ok());
}
