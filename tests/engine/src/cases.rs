//! What is counted: whole exchanges, from the headers of a request to the end of its response.

use std::cell::RefCell;
use std::fmt::Write as _;
use std::hint::black_box;
use std::rc::Rc;

use mcp_policy::exchange::{Chunk, Event, Exchange, Flow, Holds, Step};
use mcp_policy::json::Value;
use mcp_policy::mcp::headers::{Follows, Header};
use mcp_policy::mcp::outcome::Origin;
use mcp_policy::policy::binding::RouteFact;
use mcp_policy::policy::callers::Peer;
use mcp_policy::policy::compiled::Config;
use mcp_policy::rate::store::{SharedStore, Snapshot, StoreFailed, Swap, Version};
use mcp_policy::time::{Moment, UnixMillis};
use mcp_policy::world::{Random, World};

/// A policy, and calls under it.
pub(crate) struct Case {
    pub(crate) name: &'static str,
    /// How many tools there are.
    tools: usize,
    /// What stands in the entry of each.
    entry: &'static str,
    /// What stands beside the tools.
    beside: &'static str,
    asks: Asks,
    /// How many bytes the arguments are longer.
    padding: usize,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Asks {
    Call,
    Denied,
    List,
}

const CONDITIONS: &str = r#""require":[{"conditions":[{"path":"args.amount","op":"lte","value":10000}]},
    {"conditions":[{"path":"args.currency","op":"in","value":["EUR","USD","GBP"]}]}],
    "deny_if":[{"conditions":[{"path":"args.path","op":"regex","value":"(^|/)\\.\\.(/|$)"}]}]"#;

const FULL: &str = r#""require":[{"conditions":[{"path":"args.amount","op":"lte","value":10000}]},
    {"conditions":[{"path":"args.currency","op":"in","value":["EUR","USD","GBP"]}]}],
    "deny_if":[{"conditions":[{"path":"args.path","op":"regex","value":"(^|/)\\.\\.(/|$)"}]}],
    "limits":[{"counter":"calls","window":"hour","max":1000000000,"scope":"grant"}]"#;

const LIMIT: &str =
    r#""limits":[{"counter":"calls","window":"hour","max":1000000000,"scope":"grant"}]"#;

const LOOPS: &str = r#""limits":[{"counter":"loop","window":"5m","max":1000000000,"per":"call"},
    {"counter":"flying","concurrent":1000}]"#;

const TOLD: &str = r#","audit":{"arguments":"full"}"#;

const fn case(name: &'static str, entry: &'static str) -> Case {
    Case { name, tools: 100, entry, beside: "", asks: Asks::Call, padding: 0 }
}

pub(crate) const CASES: &[Case] = &[
    case("100 tools", ""),
    // No call looks at more than it is about.
    Case { tools: 2000, ..case("2,000 tools", "") },
    case("100 tools, a limit", LIMIT),
    case("100 tools, three conditions", CONDITIONS),
    case("100 tools, equal calls and calls in flight", LOOPS),
    case("100 tools, three conditions, a limit", FULL),
    Case { beside: TOLD, ..case("the same, with audit lines", FULL) },
    Case { padding: 10_000, ..case("the same, a call of 10 KB", FULL) },
    Case { asks: Asks::Denied, ..case("denied", "") },
    Case { asks: Asks::List, ..case("a list of 50 tools", "") },
];

impl Case {
    pub(crate) fn rig(&self) -> Result<Rig, String> {
        let mut tools = String::new();
        for number in 0..self.tools {
            let comma = if number == 0 { "" } else { "," };
            let _ = write!(tools, "{comma}\"tool_{number:02}\":{{{}}}", self.entry);
        }
        let policy = format!(
            r#"{{"version":"1","default":"deny","tools":{{{tools}}},"requests":{{"hold_headers":"always"}}{}}}"#,
            self.beside
        );
        let config = Config::load(policy.as_bytes(), "engine")
            .map_err(|problems| format!("{}: {problems:?}", self.name))?
            .config;
        let holds = Rc::new(Holds::new(config.requests.hold_headers));
        let bodies = (0..8).map(|caller| self.body(caller)).collect();
        let answer = if self.asks == Asks::List { list() } else { RESULT.to_owned() };
        let store = Store::default();
        let denied = self.asks == Asks::Denied;
        let world = Memory { store, body: Vec::new(), answer: answer.into_bytes() };
        Ok(Rig { config: Rc::new(config), holds, bodies, world, next: 0, denied })
    }

    fn body(&self, caller: usize) -> String {
        if self.asks == Asks::List {
            return r#"{"jsonrpc": "2.0", "id": 4711, "method": "tools/list", "params": {"_meta": {"progressToken": 7}}}"#.into();
        }
        let tool =
            if self.asks == Asks::Denied { "other".into() } else { format!("tool_{caller:02}") };
        let mut lines = String::new();
        for number in 0..self.padding / 48 {
            let comma = if number == 0 { r#", "lines": ["# } else { ", " };
            let _ = write!(lines, r#"{comma}"line {number} of the report, as it was settled""#);
        }
        if !lines.is_empty() {
            lines.push(']');
        }
        format!(
            r#"{{"jsonrpc": "2.0", "id": 4711, "method": "tools/call", "params": {{"name": "{tool}", "arguments": {{"path": "/srv/accounts/{caller:04}/reports/2026/summary.json", "amount": 1250.5, "currency": "EUR", "labels": ["monthly", "reviewed"], "note": "Monthly settlement, second run"{lines}}}, "_meta": {{"progressToken": 7}}}}}}"#
        )
    }
}

const RESULT: &str = r#"{"jsonrpc": "2.0", "id": 4711, "result": {"content": [{"type": "text", "text": "ok"}], "isError": false}}"#;

fn list() -> String {
    let mut text = r#"{"jsonrpc": "2.0", "id": 4711, "result": {"tools": ["#.to_owned();
    for number in 0..50 {
        let comma = if number == 0 { "" } else { ", " };
        let name = if number % 2 == 0 { "other" } else { "tool" };
        let _ = write!(
            text,
            r#"{comma}{{"name": "{name}_{number:02}", "description": "Settles an account for the month that is given, and says what was settled.", "inputSchema": {{"type": "object", "properties": {{"path": {{"type": "string", "description": "The path of the account"}}, "currency": {{"type": "string", "description": "The currency of the account"}}}}, "required": ["path"]}}}}"#
        );
    }
    text.push_str("]}}");
    text
}

/// One case, ready to call.
pub(crate) struct Rig {
    config: Rc<Config>,
    holds: Rc<Holds>,
    bodies: Vec<String>,
    world: Memory,
    next: usize,
    denied: bool,
}

impl Rig {
    /// One exchange, as the host's shell drives it.
    pub(crate) fn call(&mut self) -> Result<(), String> {
        let caller = self.next % self.bodies.len();
        self.next += 1;
        let body = self.bodies[caller].as_bytes();
        self.world.body.clear();
        self.world.body.extend_from_slice(body);
        let (length, answer) = (self.world.body.len(), self.world.answer.len());
        let headers: [Header<'_>; 15] = [
            (b":authority", b"mcp.example.com"),
            (b":path", b"/mcp"),
            (b":method", b"POST"),
            (b":scheme", b"http"),
            (b"user-agent", b"agent/1.0"),
            (b"accept", b"application/json, text/event-stream"),
            (b"content-type", b"application/json"),
            (b"content-length", b"301"),
            (b"authorization", CREDENTIALS[caller]),
            (b"mcp-session-id", b"0123456789abcdef0123456789abcdef"),
            (b"mcp-protocol-version", b"2025-11-25"),
            (b"x-forwarded-for", b"127.0.0.1"),
            (b"x-forwarded-proto", b"http"),
            (b"x-envoy-internal", b"true"),
            (b"x-request-id", b"5d1f5c7e-1a2b-4c3d-8e9f-0123456789ab"),
        ];
        let mut exchange = Exchange::new(self.config.clone(), self.holds.clone());
        let on = |exchange: &mut Exchange, event| {
            let step = exchange.on(&self.world, event);
            self.perform(&step);
            step.flow
        };
        on(&mut exchange, Event::RequestHead { headers: &headers, follows: Follows::Body });
        on(&mut exchange, Event::RequestBody { buffered: length, chunk: Chunk::More });
        let flow = on(&mut exchange, Event::RequestBody { buffered: length, chunk: Chunk::Last });
        match (&flow, self.denied) {
            (Flow::Continue, false) => {
                on(&mut exchange, Event::ResponseHead { follows: Follows::Body });
                on(&mut exchange, Event::ResponseBody { length: answer, chunk: Chunk::More });
                on(&mut exchange, Event::ResponseBody { length: 0, chunk: Chunk::Last });
            }
            (Flow::Reply(_), true) => {}
            _ => return Err(format!("not what was expected: {flow:?}")),
        }
        on(&mut exchange, Event::Closed);
        Ok(())
    }

    /// One exchange, of the caller whose exchange is the next.
    pub(crate) fn again(&mut self) -> Result<(), String> {
        self.call()?;
        self.next -= 1;
        Ok(())
    }

    /// What the host does with a step, but for the host's calls.
    fn perform(&self, step: &Step) {
        if let Some(record) = step.records.last() {
            for field in record.fields(&self.config) {
                black_box(field);
            }
        }
        black_box(step);
    }
}

const CREDENTIALS: [&[u8]; 8] = [
    b"Bearer 5feceb66ffc86f38d952786c6d696c79c2dbc239dd4e91b46729d73a27fb57e9",
    b"Bearer 6b86b273ff34fce19d6b804eff5a3f5747ada4eaa22f1d49c01e52ddb7875b4b",
    b"Bearer d4735e3a265e16eee03f59718b9b5d03019c07d8b6c51f90da3a666eec13ab35",
    b"Bearer 4e07408562bedb8b60ce05c1decfe3ad16b72230967de01f640b7e4729b49fce",
    b"Bearer 4b227777d4dd1fc61c6f884f48641d02b4d121d3fd328cb08b5531fcacdabf8a",
    b"Bearer ef2d127de37b942baad06145e54b0c619a1f22327b2ebbcfbec78f5564afe39d",
    b"Bearer e7f6c011776e8db7cd330b54174fd76f7d0216b612387a5ffcfb81e6f0919683",
    b"Bearer 7902699be42c8a8e46fbbb4501726517e86b22c56a189f7625a6da49081b2451",
];

/// A world in memory, which hands out copies, as a host does.
struct Memory {
    store: Store,
    body: Vec<u8>,
    answer: Vec<u8>,
}

/// Few keys, so they are looked for one by one.
#[derive(Default)]
struct Store(RefCell<Vec<(String, Vec<u8>, u32)>>);

impl SharedStore for Store {
    fn get(&self, key: &str) -> Result<Snapshot, StoreFailed> {
        let values = self.0.borrow();
        let found = values.iter().find(|(known, _, _)| known == key);
        Ok(match found {
            Some((_, value, version)) => {
                Snapshot { value: value.clone(), version: Version(*version) }
            }
            None => Snapshot { value: Vec::new(), version: Version::ABSENT },
        })
    }

    fn compare_and_set(&self, key: &str, value: &[u8], _: Version) -> Result<Swap, StoreFailed> {
        let mut values = self.0.borrow_mut();
        match values.iter_mut().find(|(known, _, _)| known == key) {
            Some((_, known, version)) => {
                known.clear();
                known.extend_from_slice(value);
                *version += 1;
            }
            None => values.push((key.to_owned(), value.to_vec(), 1)),
        }
        Ok(Swap::Done)
    }
}

impl World for Memory {
    type Store = Store;
    type Witness = ();

    fn witness(&self) -> &() {
        &()
    }

    fn now(&self) -> Option<UnixMillis> {
        Some(UnixMillis(1_790_000_000_000))
    }

    fn moment(&self) -> Option<Moment> {
        self.now().map(Moment::from)
    }

    fn random(&self) -> Option<Random> {
        None
    }

    fn store(&self) -> &Store {
        &self.store
    }

    fn claim(&self, _: &str, _: &[Box<str>]) -> Option<Value<'static>> {
        None
    }

    fn certificate(&self, _: Peer) -> Option<Vec<u8>> {
        None
    }

    fn address(&self) -> Option<Vec<u8>> {
        Some(b"127.0.0.1:50000".to_vec())
    }

    fn route(&self, _: RouteFact<'_>) -> Option<Vec<u8>> {
        None
    }

    fn request_body(&self, length: usize) -> Option<Vec<u8>> {
        self.body.get(..length).map(<[u8]>::to_vec)
    }

    fn response_headers<T>(&self, read: impl FnOnce(&[Header<'_>]) -> T) -> T {
        read(&[
            (b":status", b"200"),
            (b"content-type", b"application/json"),
            (b"content-length", b"105"),
            (b"date", b"Fri, 27 Nov 2026 05:00:00 GMT"),
        ])
    }

    fn origin(&self) -> Origin {
        Origin::Server
    }

    fn response_chunk(&self, length: usize) -> Option<Vec<u8>> {
        self.answer.get(..length).map(<[u8]>::to_vec)
    }
}
