//! What is done in an emergency, whatever the policies say.

use super::Deployable;
use super::options::Switch;
use crate::policy::compiled::Config;
use crate::source::{SourceText, Syntax};
use crate::tree::Node;
use crate::tree::print::print;

/// Under this no request is governed, so that none passes, by any method: a binding that no caller can meet, whatever he writes.
const STOP: &str = r#"{
    "policies": { "stopped": { "version": "1", "description": "Stopped: nothing reaches the servers.", "default": "deny" } },
    "bindings": [{ "match": { "metadata": { "mcp-policy": { "stopped": "never" } } }, "policy": "stopped" }],
    "unmatched": "deny"
}"#;

/// The configuration when this is done.
pub(super) fn applied(way: Switch, all: Deployable) -> Result<Deployable, String> {
    let mut document = all.document;
    match way {
        Switch::Off => return Ok(Deployable { document, ..all }),
        Switch::Shadow => shadow(&mut document),
        Switch::Stop => {
            let stop = compiled(STOP.to_owned())?;
            document = stop.0;
        }
    }
    let (document, config) = compiled(print(&document, Syntax::Json, 0))?;
    Ok(Deployable { document, config, ..all })
}

fn compiled(text: String) -> Result<(Node, Config), String> {
    let source = SourceText { name: String::new(), text, syntax: Syntax::Json };
    let (config, problems) = source.compile();
    let told = || problems.first().map(|problem| problem.diagnostic.to_string());
    let config = config.ok_or_else(|| told().unwrap_or_default())?;
    let value = source.value().map_err(|problem| problem.diagnostic.to_string())?;
    Ok((Node::from(&value), config))
}

/// Puts every policy into shadow.
fn shadow(document: &mut Node) {
    // Beside `policies` it is for all of them, and a policy that stands alone has one of its own.
    if let Some(members) = document.as_map_mut() {
        members.take("mode");
        members.push("mode", Node::text("shadow"));
    }
}
