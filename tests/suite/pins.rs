//! Tools that are pinned: however a server, its pages, its events or its bytes change, a client is shown no definition but the pinned one,
//! and what was seen to be another is not called.

use std::collections::BTreeMap;
use std::rc::Rc;

use mcp_policy::exchange::{Chunk, Event, Flow, Step};
use mcp_policy::json::{Duplicates, parse};
use mcp_policy::mcp::definition::DefinitionDigest;
use mcp_policy::mcp::headers::{Follows, Header};
use mcp_policy::policy::compiled::Config;
use mcp_policy::rate::memory::MemoryStore;
use mcp_policy::record::Record;
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::world::{Responded, World, exchange, tools_call};

const LIST: &str = r#"{"jsonrpc":"2.0","id":7,"method":"tools/list"}"#;
const PING: &str = r#"{"jsonrpc":"2.0","id":7,"method":"ping"}"#;

/// A tool of this name, with this word in its description.
fn tool(name: &str, word: &str) -> Value {
    let schema =
        json!({"type": "object", "properties": {"id": {"type": "string", "maxLength": 64}}});
    let description = format!("Gets a {word} customer.");
    json!({"name": name, "title": "Get", "description": description, "inputSchema": schema, "annotations": {"readOnlyHint": true}})
}

fn digest(tool: &Value) -> String {
    let text = tool.to_string();
    let value = parse(&text, Duplicates::Refuse).unwrap();
    DefinitionDigest::of(value.as_object().unwrap()).unwrap().named()
}

/// A policy that pins these tools, and lists `free` beside them.
fn pinning(tools: &[Value], more: Value) -> Value {
    let mut policy = json!({"version": "1", "default": "deny", "tools": {"free": {}}});
    for tool in tools {
        policy["tools"][tool["name"].as_str().unwrap()] = json!({"definition": digest(tool)});
    }
    for (key, value) in more.as_object().unwrap() {
        policy[key] = value.clone();
    }
    policy
}

/// A gateway, and what its worker threads share.
struct Stage {
    config: Rc<Config>,
    store: MemoryStore,
    path: &'static str,
}

impl Stage {
    fn new(policy: &Value) -> Stage {
        let config = Config::load(policy.to_string().as_bytes(), "test");
        let config = config.unwrap_or_else(|problems| panic!("{problems:?}")).config;
        Stage { config: Rc::new(config), store: MemoryStore::default(), path: "/mcp" }
    }

    fn at(&self, path: &'static str) -> Stage {
        Stage { config: Rc::clone(&self.config), store: self.store.clone(), path }
    }

    /// What a client gets of an answer to a request, in pieces of so many bytes, and what is told of it.
    fn asked(&self, request: &str, media: &str, body: &str, size: usize) -> (String, Vec<Record>) {
        let method: &[u8] = if request.is_empty() { b"GET" } else { b"POST" };
        let headers: Vec<Header<'_>> = vec![
            (b":method", method),
            (b":authority", b"a.test"),
            (b":path", self.path.as_bytes()),
            (b"content-type", b"application/json"),
            (b"accept", b"application/json, text/event-stream"),
        ];
        let mut world = World::new(&self.store);
        world.response = Responded { media: Some(media), ..world.response };
        let mut exchange = exchange(&self.config);
        let follows = if request.is_empty() { Follows::Nothing } else { Follows::Body };
        let mut step = exchange.on(&world, Event::RequestHead { headers: &headers, follows });
        if step.flow == Flow::Pause {
            world.body = request.as_bytes().to_vec();
            let event = Event::RequestBody { buffered: request.len(), chunk: Chunk::Last };
            step = exchange.on(&world, event);
        }
        assert_eq!(step.flow, Flow::Continue, "{request}: {step:?}");
        let mut records = Vec::new();
        let _ = exchange.on(&world, Event::ResponseHead { follows: Follows::Body });
        let mut out = Vec::new();
        let chunks: Vec<&[u8]> = body.as_bytes().chunks(size).chain([&b""[..]]).collect();
        for (at, bytes) in chunks.iter().enumerate() {
            world.chunk = bytes.to_vec();
            let chunk = if at + 1 == chunks.len() { Chunk::Last } else { Chunk::More };
            let step = exchange.on(&world, Event::ResponseBody { length: bytes.len(), chunk });
            out.extend(step.body.unwrap_or_else(|| bytes.to_vec()));
            records.extend(step.records);
        }
        let _ = exchange.on(&world, Event::Closed);
        (String::from_utf8(out).unwrap(), records)
    }

    /// What is shown of a page.
    fn listed(&self, tools: &[Value]) -> Vec<Value> {
        let body = json!({"jsonrpc": "2.0", "id": 7, "result": {"tools": tools}}).to_string();
        let (shown, _) = self.asked(LIST, "application/json", &body, body.len());
        let shown: Value = serde_json::from_str(&shown).unwrap();
        shown["result"]["tools"].as_array().unwrap().clone()
    }

    fn step(&self, body: &str) -> Step {
        let headers: Vec<Header<'_>> = vec![
            (b":method", b"POST"),
            (b":authority", b"a.test"),
            (b":path", self.path.as_bytes()),
            (b"content-type", b"application/json"),
        ];
        let mut world = World::new(&self.store);
        world.body = body.as_bytes().to_vec();
        let mut exchange = exchange(&self.config);
        let follows = Follows::Body;
        let step = exchange.on(&world, Event::RequestHead { headers: &headers, follows });
        if step.flow != Flow::Pause {
            return step;
        }
        exchange.on(&world, Event::RequestBody { buffered: body.len(), chunk: Chunk::Last })
    }

    /// What is decided of a call, and why.
    fn called(&self, tool: &str) -> String {
        let step = self.step(&tools_call("1", tool, Some("{}")));
        let record = step.records.last().unwrap();
        let forwarded = step.flow == Flow::Continue;
        assert_eq!(forwarded, record.decision != "deny", "{record:?}");
        format!("{} {}", record.decision, record.reason).trim().to_owned()
    }
}

const DENIED: &str = "deny definition_changed";

#[test]
fn one_word_takes_a_tool_off_the_list_and_its_calls_with_it() {
    let (good, evil, free) = (tool("get", "known"), tool("get", "paying"), tool("free", "any"));
    let stage = Stage::new(&pinning(std::slice::from_ref(&good), json!({})));
    assert_eq!(stage.called("get"), "allow", "nobody has seen another definition");
    assert_eq!(stage.listed(&[good.clone(), free.clone()]), [good.clone(), free.clone()]);
    assert_eq!(stage.called("get"), "allow");
    assert_eq!(stage.listed(&[evil.clone(), free.clone()]), std::slice::from_ref(&free));
    assert_eq!((stage.called("get"), stage.called("free")), (DENIED.into(), "allow".into()));
    assert_eq!(stage.called("GET"), "deny name_not_exact");
    // What is not in a list is not defined otherwise.
    assert_eq!(stage.listed(std::slice::from_ref(&free)), std::slice::from_ref(&free));
    assert_eq!(stage.called("get"), DENIED);
    assert_eq!(stage.listed(std::slice::from_ref(&good)), std::slice::from_ref(&good));
    assert_eq!(stage.called("get"), "allow");
}

#[test]
fn it_is_told_once_that_a_definition_has_changed() {
    let (good, evil) = (tool("get", "known"), tool("get", "paying"));
    let mut policy = pinning(std::slice::from_ref(&good), json!({}));
    policy["audit"] = json!({"arguments": "none"});
    let stage = Stage::new(&policy);
    let told = |tool: &Value| {
        let body = json!({"jsonrpc": "2.0", "id": 7, "result": {"tools": [tool]}}).to_string();
        stage.asked(LIST, "application/json", &body, 10).1
    };
    assert_eq!(told(&good).len(), 0);
    let [record] = &*told(&evil) else { panic!("not one record") };
    let Record { decision, reason, cause, .. } = record;
    assert_eq!(
        (*decision, *reason, *cause),
        ("withheld", "definition_changed", "definition_changed")
    );
    assert_eq!(record.pointer(&stage.config), "/tools/get/definition");
    assert_eq!(record.name.as_ref().unwrap().1, "get");
    let [sample] = &*record.samples(&stage.config) else { panic!("not one sample") };
    let series = sample.series.name(Some(&stage.config));
    assert!(series.contains("outcome=.=withheld;.;cause=.=definition_changed"), "{series}");
    assert_eq!(told(&evil).len(), 0, "it is known");
    let step = stage.step(&tools_call("1", "get", None));
    let Flow::Reply(reply) = &step.flow else { panic!("{step:?}") };
    let reply: Value = serde_json::from_slice(&reply.body).unwrap();
    assert_eq!(reply["error"]["code"], 403);
    assert_eq!(reply["error"]["data"]["reason"], "definition_changed");
    assert_eq!(reply["error"]["data"]["rule"], "/tools/get/definition");
    assert!(reply["error"]["message"].as_str().unwrap().contains("is not defined as it was"));
    let line: Value = serde_json::from_str(step.audit.as_deref().unwrap()).unwrap();
    assert_eq!(
        (&line["decision"], &line["reason"]),
        (&json!("deny"), &json!("definition_changed"))
    );
    assert_eq!(told(&good).len(), 0);
    assert_eq!(told(&evil).len(), 1, "again");
}

/// Every way in which a client can come to read a definition.
#[test]
fn no_way_shows_another_definition() {
    let (good, evil) = (tool("get", "known"), tool("get", "paying"));
    let list =
        |tools: &str| format!(r#"{{"jsonrpc":"2.0","id":7,"result":{{"tools":[{tools}]}}}}"#);
    let event = |text: &str| format!("event: message\ndata: {text}\n\n");
    let respelled = evil
        .to_string()
        .replace("paying", "pay\\u0069ng")
        .replace("\"description\"", "\"descr\\u0069ption\"");
    let batch = format!("[{},{}]", list(&good.to_string()), list(&evil.to_string()));
    let pages = format!("{}{}", event(&list(&good.to_string())), event(&list(&evil.to_string())));
    for (request, media, body, shown) in [
        (LIST, "application/json", list(&evil.to_string()), false),
        (LIST, "application/json", list(&respelled), false),
        (LIST, "text/event-stream", event(&list(&evil.to_string())), false),
        (LIST, "text/event-stream", pages, true),
        (PING, "application/json", list(&evil.to_string()), false),
        (PING, "text/event-stream", event(&list(&evil.to_string())), false),
        (PING, "text/plain", list(&evil.to_string()), false),
        ("", "text/event-stream", event(&list(&evil.to_string())), false),
        (LIST, "application/json", batch, true),
        (LIST, "application/json", list(&format!("{evil},{good}")), true),
        (LIST, "application/json", list(&format!("{good},{evil}")), true),
    ] {
        for size in [1, 7, 4096] {
            let stage = Stage::new(&pinning(std::slice::from_ref(&good), json!({})));
            let (out, _) = stage.asked(request, media, &body, size);
            assert!(
                !out.contains("paying") && !out.contains("pay\\u0069ng"),
                "{request} {media} {out}"
            );
            assert_eq!(out.contains("known"), shown, "{request} {media} {out}");
            assert_eq!(stage.called("get"), DENIED, "{request} {media} {body}");
        }
    }
    // What could be read in two ways is not shown, and is not the pinned one.
    let odd = |from: &str, to: &str| good.to_string().replacen(from, to, 1);
    for tool in [
        odd("{", "{\"Description\":\"paying\","),
        odd("{", "{\"descr\u{200b}iption\":\"paying\","),
        odd("64", "64.00000000000000000001"),
        odd("64", "9007199254740993"),
    ] {
        let stage = Stage::new(&pinning(std::slice::from_ref(&good), json!({})));
        let (out, records) = stage.asked(LIST, "application/json", &list(&tool), 100);
        assert_eq!(out, list(""), "{tool}");
        assert_eq!(records[0].cause, "definition_unreadable");
        assert_eq!(stage.called("get"), DENIED, "{tool}");
    }
    // Of a list that is withheld nobody reads anything.
    let stage = Stage::new(&pinning(std::slice::from_ref(&good), json!({})));
    let twice = list(&odd("{", "{\"description\":\"paying\","));
    let (out, _) = stage.asked(LIST, "application/json", &twice, 100);
    assert!(out.contains("duplicate_key") && !out.contains("paying"), "{out}");
    // The same meaning in another spelling is the same.
    for same in
        [odd("64", "6.4e1"), odd("known", "\\u006bnown"), odd("{", "{ \"_meta\": {\"x\": 1}, ")]
    {
        let (out, _) = stage.asked(LIST, "application/json", &list(&same), 100);
        assert_eq!(out, list(&same));
    }
}

#[test]
fn a_name_that_looks_like_a_pinned_one_is_not_shown() {
    let good = tool("get", "known");
    for listing in ["listed", "callable", "all"] {
        for more in
            [json!({"tools_list": listing}), json!({"tools_list": listing, "default": "allow"})]
        {
            let stage = Stage::new(&pinning(std::slice::from_ref(&good), more));
            let names = ["GET", "ge\u{200b}t", "ｇｅｔ", "g\u{0}et"];
            let tools: Vec<Value> = names.iter().map(|name| tool(name, "paying")).collect();
            assert_eq!(stage.listed(&tools), [] as [Value; 0], "{listing}");
            assert_eq!(stage.called("get"), "allow", "it is another tool");
            assert!(stage.called("GET").starts_with("deny name"), "{listing}");
        }
    }
}

#[test]
fn what_one_server_says_is_nothing_to_another() {
    let (good, evil) = (tool("get", "known"), tool("get", "paying"));
    let policy = pinning(std::slice::from_ref(&good), json!({}));
    let both = json!({"policies": {"p": policy}, "bindings": [
        {"match": {"path": "/one"}, "policy": "p"}, {"match": {"path": "/two"}, "policy": "p"},
    ]});
    let stage = Stage::new(&both);
    let one = stage.at("/one");
    assert_eq!(one.listed(std::slice::from_ref(&evil)), [] as [Value; 0]);
    assert_eq!(one.called("get"), DENIED);
    // All workers share what was seen.
    let two = Stage { path: "/two", ..one.at("/two") };
    assert_eq!(two.called("get"), "allow");
    assert_eq!(two.at("/one").called("get"), DENIED);
}

#[test]
fn shadow_shows_and_records() {
    let (good, evil) = (tool("get", "known"), tool("get", "paying"));
    let mut policy = pinning(std::slice::from_ref(&good), json!({}));
    policy["tools"]["get"]["mode"] = "shadow".into();
    let stage = Stage::new(&policy);
    assert_eq!(stage.listed(std::slice::from_ref(&evil)), std::slice::from_ref(&evil));
    assert_eq!(stage.called("get"), "would_deny definition_changed");
}

#[test]
fn a_pin_goes_with_other_rules() {
    let (good, evil) = (tool("get", "known"), tool("get", "paying"));
    let mut policy = pinning(std::slice::from_ref(&good), json!({}));
    policy["tools"]["g*"] = json!({"rate_limit": "1/minute"});
    policy["tools"]["get"]["deny_if"] =
        json!([{"conditions": [{"path": "args.id", "op": "eq", "value": "x"}]}]);
    let stage = Stage::new(&policy);
    stage.listed(std::slice::from_ref(&evil));
    for _ in 0..3 {
        assert_eq!(stage.called("get"), DENIED, "it counts nothing");
    }
    let denied = stage.step(&tools_call("1", "get", Some(r#"{"id":"x"}"#)));
    assert_eq!(denied.records.last().unwrap().reason, "denied_by_condition");
    stage.listed(std::slice::from_ref(&good));
    assert_eq!(
        (stage.called("get"), stage.called("get")),
        ("allow".into(), "deny limit_reached".into())
    );
    let batch = format!("[{},{}]", tools_call("1", "get", None), tools_call("2", "free", None));
    let Flow::Reply(_) = stage.step(&batch).flow else { panic!("a batch went on") };
}

#[test]
fn what_comes_first_is_trusted() {
    let policy = json!({"version": "1", "default": "allow", "pins": "first_use"});
    let stage = Stage::new(&policy);
    let (good, evil, free) = (tool("get", "known"), tool("get", "paying"), tool("free", "any"));
    assert_eq!(stage.called("get"), "allow");
    assert_eq!(stage.listed(&[good.clone(), evil.clone()]), std::slice::from_ref(&good));
    assert_eq!(stage.called("get"), DENIED);
    assert_eq!(stage.called("GET"), DENIED, "a lenient server takes it for the same");
    assert_eq!(stage.listed(&[good.clone(), free.clone()]), [good.clone(), free.clone()]);
    assert_eq!((stage.called("get"), stage.called("free")), ("allow".into(), "allow".into()));
    let mut odd = free.clone();
    odd["title"] = "Get\u{200b}".into();
    assert_eq!(stage.listed(&[odd]), [] as [Value; 0]);
    assert_eq!(stage.called("free"), DENIED);
    let record = stage.step(&tools_call("1", "free", None)).records.pop().unwrap();
    assert_eq!(record.pointer(&stage.config), "/pins");
    // A definition that somebody has read is more than the first one.
    let mut reviewed = policy;
    reviewed["tools"] = json!({"get": {"definition": digest(&evil)}});
    let reviewed = Stage { store: stage.store.clone(), ..Stage::new(&reviewed) };
    assert_eq!(reviewed.listed(std::slice::from_ref(&evil)), std::slice::from_ref(&evil));
    assert_eq!((reviewed.called("get"), reviewed.called("free")), ("allow".into(), DENIED.into()));
}

/// One page of a server that tries everything: which tools, with which word, in which form.
fn pages() -> impl Strategy<Value = Vec<Vec<(usize, bool, usize)>>> {
    let shown = (0..3usize, any::<bool>(), 0..4usize);
    prop::collection::vec(prop::collection::vec(shown, 0..4), 1..6)
}

fn spelled(tool: &Value, form: usize) -> String {
    let text = tool.to_string();
    match form {
        0 => text,
        1 => text.replace("64", "6.40e+1").replace("known", "\\u006b\\u006eown"),
        2 => {
            let members: BTreeMap<String, Value> = serde_json::from_str(&text).unwrap();
            let members = members.iter().rev().map(|(key, value)| format!("{key:?} : {value}"));
            format!("{{ {} }}", members.collect::<Vec<_>>().join(" ,\n"))
        }
        _ => text.replacen('{', "{\"icons\":[{\"src\":\"data:,\"}],", 1),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    /// Against a model: of every page the pinned definitions are shown and no others, byte for byte; and a tool can be called if the
    /// last page that had it had nothing else.
    #[test]
    fn pins_hold_whatever_a_server_lists(pages in pages(), size in 1..200usize, events in any::<bool>()) {
        let names = ["get", "put", "free"];
        let known: Vec<Value> = names.iter().map(|name| tool(name, "known")).collect();
        let stage = Stage::new(&pinning(&known[..2], json!({})));
        let mut changed = [false; 3];
        for page in &pages {
            let items: Vec<(usize, bool, String)> = page.iter().map(|&(which, evil, form)| {
                let word = if evil { "paying" } else { "known" };
                (which, evil, spelled(&tool(names[which], word), form))
            }).collect();
            let list = |keep: &dyn Fn(usize, bool) -> bool| {
                let items = items.iter().filter(|(which, evil, _)| keep(*which, *evil));
                let items: Vec<&str> = items.map(|(.., text)| &**text).collect();
                let text = format!(r#"{{"jsonrpc":"2.0","id":7,"result":{{"tools":[{}]}}}}"#, items.join(","));
                if events { format!("data: {}\n\n", text.replace('\n', " ")) } else { text }
            };
            let media = if events { "text/event-stream" } else { "application/json" };
            let (out, _) = stage.asked(LIST, media, &list(&|_, _| true), size);
            prop_assert_eq!(out, list(&|which, evil| which == 2 || !evil));
            for (which, changed) in changed.iter_mut().enumerate().take(2) {
                let mut seen = items.iter().filter(|(at, ..)| *at == which).peekable();
                if seen.peek().is_some() {
                    *changed = seen.any(|(_, evil, _)| *evil);
                }
            }
            for (name, changed) in names.iter().zip(changed) {
                prop_assert_eq!(stage.called(name), if changed { DENIED } else { "allow" });
            }
        }
    }
}
