//! How the filter reads bodies, for a comparison with the readers of servers: `tests/fuzz/readers.py`.
//!
//! Reads from its standard input bodies, each after its length (4 bytes, little-endian), until there are no more. Writes a line for each:
//! `-` where the filter forwards nothing under the policy whose file is the argument, else JSON: `written` is the body as it is written
//! anew from what was read, `messages` what each message asks for.

#[path = "src/world.rs"]
mod world;

use std::io::{BufWriter, Read, Write, stdin, stdout};
use std::rc::Rc;

use mcp_policy::exchange::Flow;
use mcp_policy::json::{Bounds, Value, written};
use mcp_policy::mcp::call::Kind;
use mcp_policy::mcp::message::{Body, Message, parse_body};
use mcp_policy::policy::compiled::Config;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let file = std::env::args().nth(1).ok_or("the policy's file is missing")?;
    let loaded = Config::load(&std::fs::read(&file)?, "reading");
    let config = Rc::new(loaded.map_err(|problems| format!("{problems:?}"))?.config);
    let mut bodies = stdin().lock();
    let mut lines = BufWriter::new(stdout().lock());
    let mut length = [0; 4];
    while bodies.read_exact(&mut length).is_ok() {
        let mut body = vec![0; usize::try_from(u32::from_le_bytes(length))?];
        bodies.read_exact(&mut body)?;
        writeln!(lines, "{}", reading(&config, &body).as_deref().unwrap_or("-"))?;
    }
    Ok(())
}

/// What the filter forwards, as it reads it.
fn reading(config: &Rc<Config>, body: &[u8]) -> Option<String> {
    if world::sent(config, body, usize::MAX / 2) != Flow::Continue {
        return None;
    }
    let value = parse_body(body, Bounds::of_any_body()).ok()?;
    let messages: Vec<String> = match Body::read(&value).ok()? {
        Body::Single(message) => vec![asks(&message)],
        Body::Batch(messages) => messages.iter().map(asks).collect(),
    };
    let whole = written(&written(&value));
    Some(format!("{{\"written\":{whole},\"messages\":[{}]}}", messages.join(",")))
}

fn asks(message: &Message<'_>) -> String {
    let Message::Request(request) = message else { return "{}".to_owned() };
    let mut members = vec![format!("\"method\":{}", written(request.method))];
    members.extend(request.id.map(|id| format!("\"id\":{id}")));
    if let Some(call) = request.call.as_ref().filter(|call| call.kind == Kind::Tool) {
        members.push(format!("\"name\":{}", written(call.name)));
        let arguments: Option<&Value<'_>> = call.arguments;
        members.extend(arguments.map(|value| format!("\"arguments\":{}", written(value))));
    }
    format!("{{{}}}", members.join(","))
}
