//! A small proxy-wasm host, ABI 0.2.1: what Envoy does for the filter, as far as the filter can
//! tell, around the built wasm in an interpreter.
//!
//! The quirks that the filter has to live with are here on purpose, each seen in Envoy or read in
//! proxy-wasm-cpp-host: no end of stream where trailers follow, a pause at the headers that stops
//! the body too unless Envoy allows more, no headers once they have gone ahead, callbacks for the
//! filter's own replies, and the compare-and-swap of shared data. An import that the filter is not
//! known to call traps with its name; the SDK brings many along.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, OnceLock};
use std::time::SystemTime;

use wasmi::{Config, Engine, Instance, Module, Store, Val};

pub(crate) use imports::IMPORTS;

mod imports;

/// Names and values of headers, repeated ones included.
pub(crate) type Pairs = Vec<(Vec<u8>, Vec<u8>)>;

const OK: u32 = 0;
const NOT_FOUND: u32 = 1;
const BAD_ARGUMENT: u32 = 2;
const CAS_MISMATCH: u32 = 8;

/// The shared data of one VM id, with the host's semantics (`shared_data.cc`): a version of 0
/// overwrites, and an absent key is created whatever version is given.
#[derive(Default)]
pub(crate) struct Shared {
    data: Mutex<Data>,
}

#[derive(Default)]
struct Data {
    values: HashMap<Vec<u8>, (Vec<u8>, u32)>,
    last_version: u32,
}

impl Shared {
    fn get(&self, key: &[u8]) -> Option<(Vec<u8>, u32)> {
        self.data.lock().unwrap().values.get(key).cloned()
    }

    fn set(&self, key: &[u8], value: &[u8], cas: u32) -> u32 {
        let mut data = self.data.lock().unwrap();
        let current = data.values.get(key).map(|(_, version)| *version);
        if current.is_some_and(|current| cas != 0 && cas != current) {
            return CAS_MISMATCH;
        }
        data.last_version = data.last_version.wrapping_add(1).max(1);
        let version = data.last_version;
        data.values.insert(key.to_vec(), (value.to_vec(), version));
        OK
    }

    /// Bytes of all keys and values.
    pub(crate) fn bytes(&self) -> usize {
        let data = self.data.lock().unwrap();
        data.values.iter().map(|(key, (value, _))| key.len() + value.len()).sum()
    }
}

/// Lets threads run one at a time, in an order that a seed decides: a thread hands over before and
/// after everything that others could see.
pub(crate) struct Turns {
    state: Mutex<Table>,
    moved: Condvar,
}

struct Table {
    seats: Vec<bool>,
    turn: usize,
    random: u64,
}

impl Turns {
    pub(crate) fn new(seats: usize, seed: u64) -> Arc<Turns> {
        let table = Table { seats: vec![true; seats], turn: 0, random: seed };
        Arc::new(Turns { state: Mutex::new(table), moved: Condvar::new() })
    }

    /// Hands over, and waits to be next.
    pub(crate) fn pass(&self, seat: usize) {
        let mut table = self.state.lock().unwrap();
        if table.turn == seat {
            table.next();
            self.moved.notify_all();
        }
        while table.turn != seat {
            table = self.moved.wait(table).unwrap();
        }
    }

    /// Takes no more turns.
    pub(crate) fn leave(&self, seat: usize) {
        let mut table = self.state.lock().unwrap();
        table.seats[seat] = false;
        table.next();
        self.moved.notify_all();
    }
}

impl Table {
    fn next(&mut self) {
        let taken: Vec<usize> = (0..self.seats.len()).filter(|seat| self.seats[*seat]).collect();
        // An xorshift generator: any order will do, if it is the same each time.
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        let at = usize::try_from(self.random % 1000).unwrap();
        self.turn = taken.get(at % taken.len().max(1)).copied().unwrap_or(usize::MAX);
    }
}

/// What a host call does instead of its work.
#[derive(Clone, Debug)]
pub(crate) enum Fault {
    /// Returns this status.
    Status(u32),
    /// Says that it is done, and hands nothing over.
    Nothing,
    /// Says that it is done, and hands these bytes over.
    Bytes(Vec<u8>),
}

struct Arranged {
    import: &'static str,
    fault: Fault,
    /// How many calls work before, and how many fail then.
    after: u32,
    times: u32,
}

/// One HTTP request as it arrives.
#[derive(Clone)]
pub(crate) struct Request {
    pub(crate) headers: Pairs,
    /// The pieces of the body; an empty last one is an end that comes late, as on HTTP/1.
    pub(crate) chunks: Vec<Vec<u8>>,
    pub(crate) trailers: bool,
    /// The body comes later, if at all: see [`Vm::arrive`].
    pub(crate) slow: bool,
}

impl Request {
    /// A POST of JSON by this caller, as one piece.
    pub(crate) fn post(caller: &str, body: &str) -> Request {
        let mut request = Request {
            headers: Pairs::new(),
            chunks: vec![body.into()],
            trailers: false,
            slow: false,
        };
        for (name, value) in [
            (":method", "POST"),
            (":path", "/mcp"),
            (":authority", "mcp.example"),
            ("content-type", "application/json"),
            ("accept", "application/json, text/event-stream"),
            ("authorization", caller),
        ] {
            if !value.is_empty() {
                request = request.with(name, value);
            }
        }
        request
    }

    pub(crate) fn with(mut self, name: &str, value: impl AsRef<[u8]>) -> Request {
        self.headers.retain(|(known, _)| known != name.as_bytes());
        self.headers.push((name.into(), value.as_ref().to_vec()));
        self
    }

    /// The same body in pieces of this size.
    pub(crate) fn in_pieces(mut self, size: usize) -> Request {
        self.chunks = self.chunks.concat().chunks(size).map(<[u8]>::to_vec).collect();
        self
    }

    /// The same, with the end of the body on its own.
    pub(crate) fn ending_late(mut self) -> Request {
        self.chunks.push(Vec::new());
        self
    }

    pub(crate) fn with_trailers(mut self) -> Request {
        self.trailers = true;
        self
    }

    /// The headers alone, with a body to come.
    pub(crate) fn without_body_yet(mut self) -> Request {
        self.chunks.clear();
        self.slow = true;
        self
    }
}

impl fmt::Debug for Request {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, value) in &self.headers {
            write!(formatter, "{}: {}, ", name.escape_ascii(), value.escape_ascii())?;
        }
        let body = self.chunks.concat();
        let start = body.get(..200).unwrap_or(&body).escape_ascii();
        write!(formatter, "{} pieces, {} bytes: {start}", self.chunks.len(), body.len())?;
        formatter.write_str(if self.trailers { ", trailers" } else { "" })
    }
}

/// A response of the server, or of Envoy.
#[derive(Clone, Debug)]
pub(crate) struct Response {
    pub(crate) status: &'static str,
    pub(crate) content_type: &'static str,
    pub(crate) chunks: Vec<Vec<u8>>,
    pub(crate) trailers: bool,
    /// The response code details: who answered.
    pub(crate) details: &'static str,
}

/// A reply that the filter made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Reply {
    pub(crate) status: u32,
    pub(crate) details: String,
    pub(crate) headers: Pairs,
    pub(crate) body: Vec<u8>,
}

/// One stream, from Envoy's side.
#[derive(Default)]
pub(crate) struct Stream {
    root: u32,
    headers: Pairs,
    /// The whole body, as the client sent it.
    sent: Vec<u8>,
    /// What has not arrived yet; `true` ends the body. The last one may be trailers.
    arriving: VecDeque<Event>,
    buffer: Vec<u8>,
    /// Nothing more is delivered until the filter continues the stream.
    blocked: bool,
    /// Whether it was continued after that.
    unblocked: bool,
    paused: bool,
    /// The headers, once they have gone to the server.
    pub(crate) forwarded: Option<Pairs>,
    /// What the server got of the body.
    pub(crate) body: Vec<u8>,
    /// Whether the server got all.
    pub(crate) complete: bool,
    pub(crate) reply: Option<Reply>,
    /// The filter state, for the access log.
    pub(crate) state: BTreeMap<String, String>,
    response: Pairs,
    passing: Vec<u8>,
    /// What the client got of the response's body.
    pub(crate) received: Vec<u8>,
    details: String,
    /// Whether the filter has seen its own reply pass.
    replied: bool,
    /// Whether all of the request has arrived.
    ended: bool,
}

enum Event {
    Body(Vec<u8>, bool),
    Trailers,
}

/// The host's side of one VM.
struct Host {
    shared: Arc<Shared>,
    turns: Option<(Arc<Turns>, usize)>,
    log: Vec<String>,
    now: u64,
    /// The timers that run, by root context.
    ticks: BTreeMap<u32, u32>,
    configuration: Vec<u8>,
    plugin: Vec<u8>,
    context: u32,
    streams: BTreeMap<u32, Stream>,
    roots: BTreeSet<u32>,
    /// The questions that are under way.
    callouts: Vec<Callout>,
    metrics: Vec<Metric>,
    /// How many questions there have been.
    asked: u32,
    /// How often random bytes were drawn.
    drawn: u64,
    /// The answer that is being told, to this context.
    answer: Option<(u32, Answer)>,
    arranged: Option<Arranged>,
}

/// A statistic: a counter, a gauge or a histogram.
#[derive(Clone, Debug)]
pub(crate) struct Metric {
    kind: u32,
    pub(crate) name: String,
    /// The sum, the last, or all.
    pub(crate) values: Vec<u64>,
}

/// A question by HTTP that waits for its answer.
#[derive(Clone, Debug)]
pub(crate) struct Callout {
    pub(crate) token: u32,
    /// Who asked: a stream takes its questions with it when it ends, and nobody is told.
    pub(crate) owner: u32,
    pub(crate) cluster: String,
    pub(crate) headers: Pairs,
    pub(crate) body: String,
    pub(crate) timeout: u32,
}

/// What comes back: none where Envoy could not take it.
pub(crate) type Answer = Option<(&'static str, Vec<u8>)>;

/// One VM with the filter in it: a worker thread of Envoy.
pub(crate) struct Vm {
    store: Store<Host>,
    instance: Instance,
    root: u32,
    next_context: u32,
    /// Whether Envoy lets a filter stop at the headers only (`allow_on_headers_stop_iteration`).
    pub(crate) holds: bool,
    /// Whether a response may be stopped: where the host does not let the filter change it.
    pub(crate) stops: bool,
    /// What killed the VM.
    pub(crate) trap: Option<String>,
}

/// The filter that `make check` built, read and compiled once.
fn module() -> &'static (Engine, Module) {
    static FILTER: OnceLock<(Engine, Module)> = OnceLock::new();
    FILTER.get_or_init(|| read("MCP_POLICY_WASM"))
}

/// What the filter lets its host call.
pub(crate) fn exports() -> Vec<String> {
    module().1.exports().map(|export| export.name().to_owned()).collect()
}

fn read(variable: &str) -> (Engine, Module) {
    let path = std::env::var_os(variable);
    let path = path
        .unwrap_or_else(|| panic!("{variable} does not name the built filter: run `make check`"));
    let read = std::fs::read(&path);
    let bytes = read.unwrap_or_else(|error| {
        panic!("cannot read the built filter {path:?}: {error}; run `make check`")
    });
    let built = std::fs::metadata(&path).unwrap().modified().unwrap();
    let newer = newer_than(built, Path::new(env!("CARGO_MANIFEST_DIR")).join("src"));
    assert_eq!(newer, None, "the built filter {path:?} is older: run `make check`");
    let mut config = Config::default();
    config.consume_fuel(true);
    let engine = Engine::new(&config);
    let module = Module::new(&engine, bytes).unwrap();
    (engine, module)
}

/// A source that was changed after this time.
fn newer_than(built: SystemTime, folder: PathBuf) -> Option<PathBuf> {
    let mut paths = std::fs::read_dir(folder).unwrap().map(|item| item.unwrap().path());
    paths.find_map(|path| {
        if path.is_dir() {
            return newer_than(built, path);
        }
        (path.metadata().unwrap().modified().unwrap() > built).then_some(path)
    })
}

impl Vm {
    /// The statistics.
    pub(crate) fn metrics(&self) -> &[Metric] {
        &self.store.data().metrics
    }

    /// A VM with the filter started and not yet configured.
    pub(crate) fn start(shared: &Arc<Shared>) -> Vm {
        Vm::start_with(shared, None)
    }

    /// The same, where a host call fails from the start and whoever makes it: as with one that an
    /// operator's `capability_restriction_config` leaves out, to which Envoy answers 10.
    pub(crate) fn restricted(shared: &Arc<Shared>, import: &'static str, fault: Fault) -> Vm {
        let arranged = Arranged { import, fault, after: 0, times: u32::MAX };
        Vm::start_with(shared, Some(arranged))
    }

    fn start_with(shared: &Arc<Shared>, arranged: Option<Arranged>) -> Vm {
        let (engine, module) = module();
        let host = Host {
            shared: shared.clone(),
            turns: None,
            log: Vec::new(),
            now: 1_700_000_000_000,
            ticks: BTreeMap::new(),
            configuration: Vec::new(),
            plugin: b"mcp_policy".to_vec(),
            context: 0,
            streams: BTreeMap::new(),
            roots: BTreeSet::new(),
            callouts: Vec::new(),
            metrics: Vec::new(),
            asked: 0,
            drawn: 0,
            answer: None,
            arranged,
        };
        let mut store = Store::new(engine, host);
        store.set_fuel(u64::MAX).unwrap();
        let linker = imports::link(engine, module);
        let instance = linker.instantiate_and_start(&mut store, module).unwrap();
        let mut vm =
            Vm { store, instance, root: 0, next_context: 1, holds: true, stops: false, trap: None };
        vm.call("_initialize", &[]);
        vm
    }

    /// How many instructions the VM has run.
    pub(crate) fn steps(&self) -> u64 {
        u64::MAX - self.store.get_fuel().unwrap()
    }

    /// A VM that runs under this configuration.
    pub(crate) fn configured(shared: &Arc<Shared>, configuration: &str) -> Vm {
        let mut vm = Vm::start(shared);
        let taken = vm.configure(configuration.as_bytes());
        assert!(taken, "{:?} {:?}", vm.trap, vm.log());
        vm.announce();
        vm
    }

    /// Lets the first tick come, at which a configuration is in force, and takes the time back.
    pub(crate) fn announce(&mut self) {
        let now = self.host().now;
        self.wait(1000);
        self.at(now);
    }

    /// Gives the filter a configuration, in a root context of its own; a refused one changes
    /// nothing.
    pub(crate) fn configure(&mut self, configuration: &[u8]) -> bool {
        let root = self.context();
        self.host().roots.insert(root);
        self.host().configuration = configuration.to_vec();
        self.host().context = root;
        self.call("proxy_on_context_create", &[root, 0]);
        let size = u32::try_from(configuration.len()).unwrap();
        let taken = self.call("proxy_on_vm_start", &[root, 0]) == Some(1)
            && self.call("proxy_on_configure", &[root, size]) == Some(1);
        if taken {
            self.root = root;
        }
        taken
    }

    /// A root context that was never asked to take a configuration.
    pub(crate) fn bare_root(&mut self) -> u32 {
        let root = self.context();
        self.host().roots.insert(root);
        self.call("proxy_on_context_create", &[root, 0]);
        root
    }

    /// The context that was made last.
    pub(crate) fn last_context(&self) -> u32 {
        self.next_context - 1
    }

    /// Makes the streams to come those of this root context.
    pub(crate) fn take_root(&mut self, root: u32) {
        self.root = root;
    }

    /// Sends a request and lets time pass until nothing more can come of it.
    pub(crate) fn send(&mut self, request: &Request) -> u32 {
        let context = self.open(request);
        for _ in 0..400 {
            if !self.stream(context).blocked {
                break;
            }
            self.wait(10);
        }
        context
    }

    /// Sends a request, and all that the filter lets come of it now.
    pub(crate) fn open(&mut self, request: &Request) -> u32 {
        let context = self.context();
        let last = request.chunks.len().saturating_sub(1);
        let piece = |(at, chunk): (usize, &Vec<u8>)| {
            Event::Body(chunk.clone(), at == last && !request.trailers)
        };
        let mut arriving: VecDeque<Event> = request.chunks.iter().enumerate().map(piece).collect();
        if request.trailers {
            arriving.push_back(Event::Trailers);
        }
        let ends = arriving.is_empty() && !request.slow;
        let headers = request.headers.clone();
        let root = self.root;
        let sent = request.chunks.concat();
        let stream = Stream { root, headers, sent, arriving, ended: ends, ..Stream::default() };
        self.host().streams.insert(context, stream);
        self.call("proxy_on_context_create", &[context, self.root]);
        let size = u32::try_from(request.headers.len()).unwrap();
        let action = self.callback(context, "proxy_on_request_headers", &[size, ends.into()]);
        let holds = self.holds;
        let stream = self.stream(context);
        if stream.reply.is_none() {
            match action {
                Some(0) => stream.forward(),
                _ => stream.blocked = !holds || ends,
            }
        }
        self.proceed(context);
        context
    }

    /// More of a body arrives.
    pub(crate) fn arrive(&mut self, context: u32, chunk: &str, end: bool) {
        let stream = self.stream(context);
        stream.sent.extend_from_slice(chunk.as_bytes());
        stream.arriving.push_back(Event::Body(chunk.into(), end));
        self.proceed(context);
    }

    /// Delivers what has arrived, until the filter stops it.
    fn proceed(&mut self, context: u32) {
        loop {
            let stream = self.stream(context);
            if stream.reply.is_some() || stream.blocked {
                break;
            }
            let Some(event) = stream.arriving.pop_front() else {
                break;
            };
            let trailers = matches!(event, Event::Trailers);
            let action = match event {
                Event::Body(chunk, end) => {
                    stream.ended = end;
                    stream.buffer.extend(chunk);
                    let size = u32::try_from(stream.buffer.len()).unwrap();
                    self.callback(context, "proxy_on_request_body", &[size, end.into()])
                }
                Event::Trailers => {
                    stream.ended = true;
                    self.callback(context, "proxy_on_request_trailers", &[1])
                }
            };
            let stream = self.stream(context);
            stream.paused = action != Some(0);
            if !stream.paused && stream.reply.is_none() && !stream.complete {
                // After a pause of everything, Envoy 1.40 hands on the trailers without the body
                // that was held for them.
                if trailers && stream.unblocked {
                    stream.buffer.clear();
                }
                stream.forward();
            }
        }
        self.deliver_own_reply(context);
    }

    /// The filter also sees its own reply pass, as any other response.
    fn deliver_own_reply(&mut self, context: u32) {
        let stream = self.stream(context);
        let Some(reply) = stream.reply.clone().filter(|_| !stream.replied) else {
            return;
        };
        stream.replied = true;
        stream.details.clone_from(&reply.details);
        stream.response = reply.headers;
        stream.response.push((b":status".to_vec(), reply.status.to_string().into()));
        self.respond(context, vec![reply.body], false);
    }

    /// Lets the server answer a forwarded request. The filter must not stop any of it.
    pub(crate) fn answer(&mut self, context: u32, response: &Response) {
        let stream = self.stream(context);
        assert!(stream.complete, "the server cannot answer what it did not get");
        stream.details = response.details.to_owned();
        stream.response = vec![
            (b":status".to_vec(), response.status.into()),
            (b"content-type".to_vec(), response.content_type.into()),
        ];
        self.respond(context, response.chunks.clone(), response.trailers);
    }

    fn respond(&mut self, context: u32, chunks: Vec<Vec<u8>>, trailers: bool) {
        let ends = chunks.is_empty() && !trailers;
        let head = self.callback(context, "proxy_on_response_headers", &[2, ends.into()]);
        assert!(matches!(head, Some(0) | None), "response headers were stopped");
        let last = chunks.len().saturating_sub(1);
        for (at, chunk) in chunks.into_iter().enumerate() {
            let stream = self.stream(context);
            stream.passing.extend(chunk);
            let size = u32::try_from(stream.passing.len()).unwrap();
            let end = at == last && !trailers;
            let action = self.callback(context, "proxy_on_response_body", &[size, end.into()]);
            self.stream(context).respond(action);
        }
        if trailers {
            let action = self.callback(context, "proxy_on_response_trailers", &[1]);
            self.stream(context).respond(action);
        }
        let stopped = !self.stream(context).passing.is_empty();
        assert!(self.stops || !stopped, "a response was stopped");
    }

    /// The questions that are under way.
    pub(crate) fn asked(&self) -> Vec<Callout> {
        self.store.data().callouts.clone()
    }

    /// Answers a question. Envoy tells whoever asked, and then goes on with the streams.
    pub(crate) fn answer_ask(&mut self, token: u32, answer: Answer) {
        let at = self.host().callouts.iter().position(|callout| callout.token == token);
        let Callout { owner, .. } = self.host().callouts.remove(at.unwrap());
        let size = answer.as_ref().map_or(0, |(_, body)| u32::try_from(body.len()).unwrap());
        let headers = u32::from(answer.is_some());
        self.host().answer = Some((owner, answer));
        self.callback(owner, "proxy_on_http_call_response", &[token, headers, size, 0]);
        self.host().answer = None;
        let contexts: Vec<u32> = self.host().streams.keys().copied().collect();
        contexts.into_iter().for_each(|context| self.proceed(context));
    }

    /// Ends a stream, and tells what became of it. Envoy also tells of its log and of its end before, which the filter does not hear of.
    pub(crate) fn close(&mut self, context: u32) -> Stream {
        self.callback(context, "proxy_on_delete", &[]);
        self.host().callouts.retain(|callout| callout.owner != context);
        self.host().streams.remove(&context).unwrap()
    }

    /// Sends a request, ends it, and says in a few words what became of it.
    pub(crate) fn outcome(&mut self, request: &Request) -> String {
        let context = self.send(request);
        let stream = self.close(context);
        self.told(&stream)
    }

    /// `passed`, `waits`, or the reply's status and reason; and whatever must never be.
    pub(crate) fn told(&self, stream: &Stream) -> String {
        if let Some(trap) = &self.trap {
            return format!("trapped: {trap}");
        }
        let Some(reply) = &stream.reply else {
            return match (stream.complete, stream.body.len()) {
                (true, _) if stream.body == stream.sent => "passed".to_owned(),
                (false, 0) => "waits".to_owned(),
                (_, some) => format!("LOST: the server got {some} of {} bytes", stream.sent.len()),
            };
        };
        let leaked = stream.complete
            || !stream.body.is_empty()
            || (self.holds && stream.forwarded.is_some());
        match (leaked, &*reply.details) {
            (true, _) => format!("LEAKED: the server got {} bytes", stream.body.len()),
            (false, "mcp_policy_denied") => format!("{} {}", reply.status, reply.reason()),
            (false, details) => format!("answered with details {details:?}"),
        }
    }

    /// Lets time pass, with its ticks.
    pub(crate) fn wait(&mut self, millis: u64) {
        let until = self.host().now + millis;
        while let Some(period) = self.host().ticks.values().min().copied().map(u64::from)
            && self.host().now + period <= until
        {
            self.host().now += period;
            let roots: Vec<u32> = self.host().ticks.keys().copied().collect();
            for root in roots {
                self.callback(root, "proxy_on_tick", &[]);
            }
            let contexts: Vec<u32> = self.host().streams.keys().copied().collect();
            contexts.into_iter().for_each(|context| self.proceed(context));
        }
        self.host().now = until;
    }

    /// Whether the filter has asked for ticks.
    pub(crate) fn ticks(&self) -> bool {
        !self.store.data().ticks.is_empty()
    }

    pub(crate) fn at(&mut self, millis: u64) {
        self.host().now = millis;
    }

    /// Makes an import fail: some calls work before, and so many fail.
    pub(crate) fn fail(&mut self, import: &'static str, fault: Fault, after: u32, times: u32) {
        self.host().arranged = Some(Arranged { import, fault, after, times });
    }

    /// Makes every import work again.
    pub(crate) fn heal(&mut self) {
        self.host().arranged = None;
    }

    /// Takes turns with other VMs at everything that they share.
    pub(crate) fn take_turns(&mut self, turns: &Arc<Turns>, seat: usize) {
        self.host().turns = Some((turns.clone(), seat));
    }

    pub(crate) fn named(mut self, plugin: &str) -> Vm {
        self.host().plugin = plugin.into();
        self
    }

    /// What the filter has logged, but for what it says of every configuration that it takes.
    pub(crate) fn log(&self) -> String {
        let odd = |line: &&String| !line.starts_with("2 mcp_policy: version ");
        self.store.data().log.iter().filter(odd).cloned().collect::<Vec<_>>().join("\n")
    }

    /// All that the filter has logged.
    pub(crate) fn whole_log(&self) -> &[String] {
        &self.store.data().log
    }

    /// How much memory the VM has, in bytes.
    pub(crate) fn memory(&self) -> usize {
        let memory = self.instance.get_memory(&self.store, "memory").unwrap();
        memory.data_size(&self.store)
    }

    pub(crate) fn stream(&mut self, context: u32) -> &mut Stream {
        self.host().streams.get_mut(&context).unwrap()
    }

    fn host(&mut self) -> &mut Host {
        self.store.data_mut()
    }

    fn context(&mut self) -> u32 {
        let context = self.next_context;
        self.next_context += 1;
        context
    }

    fn callback(&mut self, context: u32, name: &str, arguments: &[u32]) -> Option<u32> {
        self.host().context = context;
        let mut all = vec![context];
        all.extend_from_slice(arguments);
        self.call(name, &all)
    }

    /// Calls an export. After a trap the VM is dead, as Envoy has it, and nothing is called any
    /// more.
    fn call(&mut self, name: &str, arguments: &[u32]) -> Option<u32> {
        if self.trap.is_some() {
            return None;
        }
        let function =
            self.instance.get_func(&self.store, name).unwrap_or_else(|| panic!("no export {name}"));
        let arguments: Vec<Val> =
            arguments.iter().map(|value| Val::I32(value.cast_signed())).collect();
        let mut results = vec![Val::I32(0); function.ty(&self.store).results().len()];
        match function.call(&mut self.store, &arguments, &mut results) {
            Ok(()) => results.first().and_then(Val::i32).map(i32::cast_unsigned),
            Err(error) => {
                let said = self.host().log.last().cloned().unwrap_or_default();
                self.trap = Some(format!("{name}: {error}; {said}"));
                None
            }
        }
    }
}

impl Stream {
    /// What passes goes to the client.
    fn respond(&mut self, action: Option<u32>) {
        if action != Some(1) {
            self.received.append(&mut self.passing);
        }
    }

    /// All that is held goes to the server.
    fn forward(&mut self) {
        if self.forwarded.is_none() {
            self.forwarded = Some(self.headers.clone());
        }
        self.body.append(&mut self.buffer);
        self.complete = self.ended;
    }

    /// The headers that can still be changed.
    fn editable(&mut self, map: u32) -> Option<&mut Pairs> {
        match map {
            0 if self.forwarded.is_none() => Some(&mut self.headers),
            2 => Some(&mut self.response),
            _ => None,
        }
    }

    /// Whether the server got a header of this name.
    pub(crate) fn has_forwarded(&self, name: &str) -> bool {
        self.forwarded.iter().flatten().any(|(known, _)| known == name.as_bytes())
    }

    /// Whether the server got a header of this name with this value, and no other of the name.
    pub(crate) fn has_forwarded_as(&self, name: &str, value: &str) -> bool {
        let headers = self.forwarded.iter().flatten();
        let mut named = headers.filter(|(known, _)| known == name.as_bytes());
        named.next().is_some_and(|(_, found)| found == value.as_bytes()) && named.next().is_none()
    }
}

impl Reply {
    /// The reply's JSON, out of its frame.
    pub(crate) fn json(&self) -> serde_json::Value {
        let text = String::from_utf8(self.body.clone()).unwrap();
        let text = text.strip_prefix("event: message\ndata: ").unwrap_or(&text);
        serde_json::from_str(text).unwrap()
    }

    /// `error.data.reason`, or the code where there is none.
    pub(crate) fn reason(&self) -> String {
        let json = self.json();
        let error = json.get(0).unwrap_or(&json).get("error").cloned().unwrap_or_default();
        let reason = error["data"]["reason"].as_str().map(str::to_owned);
        reason.unwrap_or_else(|| error["code"].to_string())
    }
}
