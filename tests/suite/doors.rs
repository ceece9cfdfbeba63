//! What reaches a server at all: by every method, path and shape, under every kind of configuration.

use std::rc::Rc;

use mcp_policy::exchange::{Chunk, Event, Flow};
use mcp_policy::mcp::headers::{Follows, Header};
use mcp_policy::policy::compiled::Config;
use mcp_policy::rate::memory::MemoryStore;
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::world::{World, exchange};

pub(crate) const PING: &str = r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#;

/// One request: method, target and further headers.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) method: &'static str,
    pub(crate) target: String,
    pub(crate) headers: Vec<(&'static str, &'static str)>,
}

/// What a configuration says of paths, to be told by hand.
#[derive(Clone, Debug)]
pub(crate) struct Doors {
    paths: Option<Vec<&'static str>>,
    bindings: Option<Vec<&'static str>>,
    unmatched_passes: bool,
    pass: Option<Vec<&'static str>>,
    required: bool,
}

impl Doors {
    pub(crate) fn document(&self) -> Value {
        let policy = json!({"version": "1", "default": "allow"});
        let mut document = match &self.bindings {
            None => policy,
            Some(paths) => {
                let rows = paths.iter().map(|path| json!({"match": {"path": path}, "policy": "p"}));
                let unmatched = if self.unmatched_passes { "pass" } else { "deny" };
                json!({"policies": {"p": policy}, "bindings": rows.collect::<Vec<_>>(), "unmatched": unmatched})
            }
        };
        let mut requests = json!({});
        if let Some(paths) = &self.paths {
            requests["paths"] = json!(paths);
        }
        if let Some(pass) = &self.pass {
            requests["pass"] = json!(pass);
        }
        document["requests"] = requests;
        document["identity"] =
            json!({"grant": {"header": "x-agent-id"}, "required": self.required});
        document
    }

    /// The globs that name what passes unread by this method.
    fn unread(&self, asked: &Asked) -> Vec<&'static str> {
        let preflight = asked.is_preflight();
        // What is said to be MCP does not pass by default.
        let everywhere = self.paths.as_ref().is_some_and(|paths| paths.contains(&"/*"));
        let closed = self.bindings.is_some() || everywhere;
        let default = if closed { Vec::new() } else { vec!["discovery"] };
        let takes = |methods: &[&str]| preflight || methods.contains(&asked.method);
        let mut globs = Vec::new();
        for entry in self.pass.as_ref().unwrap_or(&default) {
            match *entry {
                "discovery" if takes(&["GET"]) => globs.extend([
                    "/.well-known/oauth-protected-resource",
                    "/.well-known/oauth-protected-resource/*",
                ]),
                "oauth" => {
                    globs.extend(takes(&["POST"]).then_some("/token"));
                    globs.extend(takes(&["GET", "POST"]).then_some("/authorize"));
                }
                "discovery" => {}
                own => globs.push(own),
            }
        }
        globs
    }
}

impl Asked {
    fn has(&self, name: &str, value: &str) -> bool {
        self.headers.contains(&(name, value))
    }

    fn is_preflight(&self) -> bool {
        self.method == "OPTIONS"
            && ["origin", "access-control-request-method"]
                .iter()
                .all(|wanted| self.headers.iter().filter(|(name, _)| name == wanted).count() == 1)
    }

    /// Whether it has the shape of MCP.
    fn is_mcp(&self) -> bool {
        let session = self.headers.iter().filter(|(name, _)| *name == "mcp-session-id");
        match self.method {
            "POST" => true,
            "GET" => self.has("accept", "text/event-stream") && !self.has("upgrade", "websocket"),
            "DELETE" => session.count() == 1,
            "OPTIONS" => self.is_preflight(),
            _ => false,
        }
    }

    fn path(&self) -> &str {
        self.target.split('?').next().unwrap_or_default()
    }

    /// What forgiving servers could take the path for.
    fn readings(&self) -> Vec<String> {
        let mut found = vec![self.path().to_owned()];
        for _ in 0..3 {
            for text in found.clone() {
                let plain = text
                    .replace("%2e", ".")
                    .replace("%2f", "/")
                    .replace("%5c", "\\")
                    .replace("%6d", "m")
                    .replace("%25", "%");
                let cut: Vec<&str> =
                    text.split('/').map(|part| part.split(';').next().unwrap()).collect();
                found.extend([
                    plain,
                    text.to_lowercase(),
                    text.replace('\\', "/"),
                    text.replace("//", "/"),
                    cut.join("/"),
                    resolved(&text),
                    text.trim_end_matches('/').to_owned(),
                    text.split('#').next().unwrap().to_owned(),
                ]);
            }
            found.sort();
            found.dedup();
        }
        found
    }
}

/// A path with its dot segments resolved.
fn resolved(path: &str) -> String {
    let mut segments = Vec::new();
    for segment in path.split('/') {
        match segment {
            "." => {}
            ".." => {
                segments.pop();
            }
            other => segments.push(other),
        }
    }
    format!("/{}", segments.join("/").trim_start_matches('/'))
}

/// A glob with one star at its end, or none.
fn matches(glob: &str, path: &str) -> bool {
    glob.strip_suffix('*').map_or(glob == path, |start| path.starts_with(start))
}

fn holds(globs: &[&str], path: &str) -> bool {
    globs.iter().any(|glob| matches(glob, path))
}

/// The same for a server that does not mind a slash at the end.
fn at(globs: &[&str], path: &str) -> bool {
    holds(globs, path) || holds(globs, &format!("{path}/"))
}

/// What becomes of a request: whether it reaches the server, and the status if it is answered.
pub(crate) fn becomes(config: &Rc<Config>, asked: &Asked) -> Option<u16> {
    let mut headers: Vec<Header<'_>> = vec![
        (b":method", asked.method.as_bytes()),
        (b":authority", b"mcp.test"),
        (b":path", asked.target.as_bytes()),
    ];
    let posts = asked.method == "POST";
    headers.extend(posts.then_some((&b"content-type"[..], &b"application/json"[..])));
    headers.extend(asked.headers.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())));
    let store = MemoryStore::default();
    let mut world = World::new(&store);
    let mut exchange = exchange(config);
    let follows = if posts { Follows::Body } else { Follows::Nothing };
    let mut flow = exchange.on(&world, Event::RequestHead { headers: &headers, follows }).flow;
    if flow == Flow::Pause {
        world.body = PING.into();
        let event = Event::RequestBody { buffered: PING.len(), chunk: Chunk::Last };
        flow = exchange.on(&world, event).flow;
    }
    match flow {
        Flow::Continue => None,
        Flow::Reply(reply) => Some(reply.status),
        Flow::Pause => panic!("{asked:?} hangs"),
    }
}

pub(crate) fn doors() -> impl Strategy<Value = Doors> {
    let paths = prop::sample::select(vec![
        None,
        Some(vec!["/mcp"]),
        Some(vec!["/mcp", "/team/*"]),
        Some(vec!["/*"]),
    ]);
    let bindings =
        prop::sample::select(vec![None, Some(vec!["/mcp"]), Some(vec!["/mcp", "/team/*"])]);
    let pass = prop::sample::select(vec![
        None,
        Some(vec![]),
        Some(vec!["discovery", "oauth"]),
        Some(vec!["/docs/*", "/health"]),
    ]);
    (paths, bindings, any::<bool>(), pass, any::<bool>()).prop_map(
        |(paths, bindings, unmatched_passes, pass, required)| Doors {
            paths,
            unmatched_passes: unmatched_passes && bindings.is_some(),
            bindings,
            pass,
            required,
        },
    )
}

pub(crate) fn asked() -> impl Strategy<Value = Asked> {
    let method = prop::sample::select(vec![
        "GET", "GET", "GET", "DELETE", "DELETE", "OPTIONS", "OPTIONS", "POST", "POST", "HEAD",
        "PUT", "PATCH", "TRACE", "get", "PROPFIND",
    ]);
    let whole = prop::sample::select(vec![
        "/mcp",
        "/team/a",
        "/notes/7",
        "/token",
        "/authorize",
        "/docs/a",
        "/health",
        "/",
        "*",
        "/.well-known/oauth-protected-resource",
        "/.well-known/oauth-protected-resource/mcp",
    ]);
    let piece = prop::sample::select(vec![
        "/", "/", "mcp", "MCP", "team", "token", "docs", "notes", "..", ".", "%2e", "%2f", "%5c",
        "%6d", "%25", ";x", "\\", "#", "?", "a", "//",
    ]);
    let made =
        proptest::collection::vec(piece, 1..7).prop_map(|pieces| format!("/{}", pieces.concat()));
    let spoiled = (
        whole.clone(),
        prop::sample::select(vec!["/", "/..", ";x", "?x=/mcp", "/../notes", "%2f"]),
    )
        .prop_map(|(path, end)| format!("{path}{end}"));
    let target = prop_oneof![whole.prop_map(str::to_owned), made, spoiled];
    let header = prop::sample::select(vec![
        ("accept", "text/event-stream"),
        ("accept", "text/event-stream"),
        ("accept", "*/*"),
        ("mcp-session-id", "1"),
        ("mcp-session-id", "1"),
        ("origin", "http://a.test"),
        ("access-control-request-method", "DELETE"),
        ("upgrade", "websocket"),
        ("last-event-id", "1"),
        ("x-agent-id", "a"),
    ]);
    let headers = prop_oneof![
        proptest::collection::vec(header, 0..4),
        Just(vec![("origin", "http://a.test"), ("access-control-request-method", "GET")]),
    ];
    (method, target, headers).prop_map(|(method, target, headers)| Asked {
        method,
        target,
        headers,
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 6000, ..ProptestConfig::default() })]

    /// No path or method reaches a server that no setting names, and what is not shaped as MCP reaches none unless one names it.
    #[test]
    fn what_reaches_a_server_was_named(doors in doors(), asked in asked()) {
        // What passes must not be where MCP is: such a configuration does not load.
        let Ok(loaded) = Config::load(doors.document().to_string().as_bytes(), "") else {
            prop_assert!(doors.pass.as_ref().is_some_and(|pass| !pass.is_empty()));
            prop_assert!(doors.paths.as_ref().is_some_and(|paths| paths.contains(&"/*")), "{doors:?}");
            return Ok(());
        };
        let status = becomes(&Rc::new(loaded.config), &asked);
        let unread = holds(&doors.unread(&asked), asked.path());
        let governing: Vec<&[&str]> =
            [&doors.paths, &doors.bindings].into_iter().flatten().map(Vec::as_slice).collect();
        let elsewhere = doors.unmatched_passes
            && doors.paths.as_ref().is_none_or(|globs| holds(globs, asked.path()))
            && doors.bindings.as_ref().is_some_and(|globs| !asked.readings().iter().any(|path| at(globs, path)));
        if status.is_none() {
            // However a server reads the path, something named it.
            for reading in asked.readings() {
                let named = governing.iter().all(|globs| at(globs, &reading));
                prop_assert!(named || unread || elsewhere, "{asked:?} as {reading}, {doors:?}");
            }
            prop_assert!(asked.is_mcp() || unread || doors.unmatched_passes, "{asked:?} {doors:?}");
            let anonymous = doors.required && !asked.headers.iter().any(|(name, _)| *name == "x-agent-id");
            let admits = unread || doors.unmatched_passes || !anonymous || asked.is_preflight();
            prop_assert!(admits, "{asked:?} {doors:?}");
        } else {
            prop_assert!(status.is_some_and(|status| status >= 200));
        }
        // What honest clients send gets there.
        let honest = !asked.target.contains(['%', '\\', ';', '#', '?']) && asked.readings().len() == 1
            && asked.headers.iter().all(|(name, value)| {
                *value != "websocket" && asked.headers.iter().filter(|(other, _)| other == name).count() == 1
            });
        let known = asked.has("x-agent-id", "a") || !doors.required || asked.is_preflight();
        let at_mcp = governing.iter().all(|globs| holds(globs, asked.path()));
        if honest && ((asked.is_mcp() && at_mcp && known) || unread || elsewhere) {
            prop_assert_eq!(status, None, "{:?} {:?}", asked, doors);
        }
    }
}
