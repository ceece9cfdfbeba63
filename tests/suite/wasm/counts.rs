//! Calls as agents make them, on a filter that counts what it runs (`make profile`), and its counts in the raw form that `llvm-profdata` reads.

use std::path::PathBuf;
use std::sync::Arc;

use serde_json::{Value, json};

use super::host::{Request, Response, Shared, Vm};
use crate::world::tools_call;

const CALLERS: usize = 8;
const CALLS: usize = 400;

/// A name, a policy, and what each of its callers sends.
type Work = (&'static str, Value, fn(usize) -> String);

fn work() -> Vec<Work> {
    let conditions = json!({
        "require": [
            {"conditions": [{"path": "args.amount", "op": "lte", "value": 10_000}]},
            {"conditions": [{"path": "args.currency", "op": "in", "value": ["EUR", "USD", "GBP"]}]},
        ],
        "deny_if": [{"conditions": [{"path": "args.path", "op": "regex", "value": "(^|/)\\.\\.(/|$)"}]}],
    });
    let limit =
        json!([{"counter": "calls", "window": "hour", "max": 1_000_000_000, "scope": "grant"}]);
    let mut full = conditions.clone();
    full["limits"] = limit.clone();
    let mut told = of_entry(&full);
    told["audit"] = json!({"arguments": "full", "chain": true});
    let loops = json!({"limits": [
        {"counter": "loop", "window": "5m", "max": 1_000_000_000, "per": "call"},
        {"counter": "flying", "concurrent": 1000},
    ]});
    let bound = json!({
        "policies": {"main": of_entry(&full), "other": of_entry(&json!({}))},
        "bindings": [
            {"match": {"path": "/other/*"}, "policy": "other"},
            {"match": {"path": "/mcp"}, "policy": "main"},
        ],
    });
    vec![
        ("names", of_entry(&json!({})), call),
        ("conditions", of_entry(&conditions), call),
        ("limit", of_entry(&json!({"limits": limit})), call),
        ("full", of_entry(&full), call),
        ("told", told, call),
        ("loops", of_entry(&loops), call),
        ("bound", bound, call),
        ("denied", json!({"version": "1", "default": "deny"}), call),
        ("lists", of_entry(&json!({})), list),
        ("odd", of_entry(&full), odd),
    ]
}

fn of_entry(entry: &Value) -> Value {
    let tools: serde_json::Map<String, Value> =
        (0..100).map(|at| (format!("tool_{at:02}"), entry.clone())).collect();
    json!({"version": "1", "default": "deny", "tools": tools})
}

fn call(caller: usize) -> String {
    json!({"jsonrpc": "2.0", "id": 4711, "method": "tools/call", "params": {
        "name": format!("tool_{caller:02}"),
        "arguments": {
            "path": format!("/srv/accounts/{caller:04}/reports/2026/summary.json"),
            "amount": 1250.5,
            "currency": "EUR",
            "labels": ["monthly", "reviewed"],
            "note": "Monthly settlement, second run",
        },
        "_meta": {"progressToken": 7},
    }})
    .to_string()
}

fn list(_: usize) -> String {
    json!({"jsonrpc": "2.0", "id": 4711, "method": "tools/list"}).to_string()
}

/// What no honest client sends must not be slow either.
fn odd(caller: usize) -> String {
    let long = |piece: &str| piece.repeat(4000 / piece.len());
    let key =
        |key: &str| format!(r#"{{"jsonrpc":"2.0","id":1,"method":"ping","params":{{"{key}":1}}}}"#);
    match caller {
        0 => key(&long("a")),
        1 => key(&long("\u{301}\u{323}")),
        2 => tools_call("1", &long("\u{200b}"), Some("{}")),
        3 => tools_call("1", &long("\u{ff50}\u{e9}"), Some(r#"{"amount":1}"#)),
        4 => tools_call("1", "tool_00", Some(&format!(r#"{{"path":"{}"}}"#, long("\\u00e9/")))),
        5 => tools_call("1", "tool_00", Some(&format!("[{}1]", long("[1,{\"a\":[]}],")))),
        6 => format!(
            r#"{{"jsonrpc":"2.0","id":1,"method":"resources/read","params":{{"uri":"memo://{}"}}}}"#,
            long("a%62")
        ),
        _ => format!("[{}]", vec![call(0); 8].join(",")),
    }
}

fn answer(body: &str) -> String {
    if body.contains("tools/call") {
        let content = json!([{"type": "text", "text": "ok"}]);
        return json!({"jsonrpc": "2.0", "id": 4711, "result": {"content": content, "isError": false}})
            .to_string();
    }
    let tool = |at: usize| {
        let kind = if at.is_multiple_of(2) { "tool" } else { "other" };
        let schema = json!({"type": "object", "properties": {"path": {"type": "string"}}});
        json!({"name": format!("{kind}_{at:02}"), "description": "Settles an account.", "inputSchema": schema})
    };
    let tools: Vec<Value> = (0..50).map(tool).collect();
    json!({"jsonrpc": "2.0", "id": 4711, "result": {"tools": tools}}).to_string()
}

fn sent(caller: usize, body: &str) -> Request {
    Request::post(&format!("Bearer {}", format!("{caller:02x}").repeat(32)), body)
        .with(":scheme", "http")
        .with("user-agent", "agent/1.0")
        .with("content-length", body.len().to_string())
        .with("mcp-session-id", "0123456789abcdef0123456789abcdef")
        .with("mcp-protocol-version", "2025-11-25")
        .with("x-forwarded-proto", "http")
        .with("x-request-id", "5d1f5c7e-1a2b-4c3d-8e9f-0123456789ab")
        .ending_late()
}

#[test]
#[ignore = "`make profile` runs it, on a filter that counts what it runs"]
fn counts_are_written() {
    let folder = PathBuf::from(std::env::var_os("MCP_POLICY_COUNTS").unwrap());
    for (name, policy, body) in work() {
        let mut vm = Vm::configured(&Arc::<Shared>::default(), &policy.to_string());
        for at in 0..CALLS {
            let body = body(at % CALLERS);
            let context = vm.open(&sent(at % CALLERS, &body));
            if vm.stream(context).complete && name != "odd" {
                let chunks = vec![answer(&body).into_bytes(), Vec::new()];
                let (status, content_type, details) = ("200", "application/json", "via_upstream");
                vm.answer(
                    context,
                    &Response { status, content_type, chunks, trailers: false, details },
                );
            }
            let stream = vm.close(context);
            let told = vm.told(&stream);
            match name {
                "odd" => assert_eq!(vm.trap, None),
                "denied" => assert_eq!(told, "200 tool_not_allowed"),
                _ => assert_eq!(told, "passed", "{name}"),
            }
        }
        std::fs::write(folder.join(format!("{name}.profraw")), raw(&vm)).unwrap();
    }
}

/// The counts as LLVM 22 writes them: `INSTR_PROF_RAW_HEADER` of `InstrProfData.inc`, version 10, and three sections.
fn raw(vm: &Vm) -> Vec<u8> {
    const MAGIC: u64 = u64::from_le_bytes(*b"\x81Rforpl\xff");
    /// Counted by the compiler's own form of the program.
    const VERSION: u64 = 10 | 1 << 56;
    const DATA_SIZE: u64 = 48;
    const LAST_KIND: u64 = 2;
    let [(data_at, data), (counts_at, counts), (names_at, names)] =
        ["data", "cnts", "names"].map(|section| vm.section(&format!("__llvm_prf_{section}")));
    let size = |bytes: &[u8]| u64::try_from(bytes.len()).unwrap();
    // Relative to the data, in 32 bits.
    let counts_from_data = u64::from(counts_at.wrapping_sub(data_at));
    let header = [
        MAGIC,
        VERSION,
        0, // Build ids.
        size(&data) / DATA_SIZE,
        0, // Padding.
        size(&counts) / 8,
        0, // Padding.
        0, // Bitmaps.
        0, // Padding.
        size(&names),
        counts_from_data,
        0, // Bitmaps.
        u64::from(names_at),
        0, // Virtual tables.
        0, // Their names.
        LAST_KIND,
    ];
    let mut bytes: Vec<u8> = header.iter().flat_map(|word| word.to_le_bytes()).collect();
    for section in [data, counts, names] {
        bytes.extend(section);
    }
    bytes.resize(bytes.len().next_multiple_of(8), 0);
    bytes
}
