//! What tools can do together that none of them does alone: over all servers that one agent reaches.

use serde_json::{Value, json};

use super::scanned::ScannedServer;
use mcp_policy::tools::classify::kinds::{Classification, ToolClass, ToolMark};
use mcp_policy::tools::one_line;

/// Most tools that are named of each part, for people.
const MOST_NAMED: usize = 4;

/// Parts that come together, and what becomes of it.
pub(super) struct Combination<'s> {
    kind: &'static str,
    says: &'static str,
    configuration: Option<&'s str>,
    parts: Vec<CombinedPart<'s>>,
}

struct CombinedPart<'s> {
    role: &'static str,
    /// Server and tool.
    tools: Vec<(&'s str, &'s str)>,
}

type Fits = fn(&Classification) -> bool;

const PRIVATE: (&str, Fits) =
    ("private_data", |judgement| judgement.is_marked(ToolMark::PrivateData));
const UNTRUSTED: (&str, Fits) =
    ("untrusted_content", |judgement| judgement.is_marked(ToolMark::UntrustedContent));
const WAY_OUT: (&str, Fits) = ("way_out", |judgement| judgement.is_marked(ToolMark::OpenWorld));
const RUNS: (&str, Fits) = ("execute", |judgement| judgement.class == ToolClass::Execute);
const PAYS: (&str, Fits) = ("financial", |judgement| judgement.class == ToolClass::Financial);

/// A word for it, what it means, and its parts.
type CombinationKind = (&'static str, &'static str, &'static [(&'static str, Fits)]);

const KINDS: &[CombinationKind] = &[
    (
        "exfiltration",
        "what a stranger wrote can have an agent send private data out",
        &[PRIVATE, UNTRUSTED, WAY_OUT],
    ),
    ("injected_code", "what a stranger wrote can have an agent run code", &[UNTRUSTED, RUNS]),
    ("injected_payment", "what a stranger wrote can have an agent move money", &[UNTRUSTED, PAYS]),
];

/// The combinations of each configuration.
pub(super) fn combinations(servers: &[ScannedServer]) -> Vec<Combination<'_>> {
    let mut configurations: Vec<Option<&str>> = Vec::new();
    for server in servers {
        if !configurations.contains(&server.configuration.as_deref()) {
            configurations.push(server.configuration.as_deref());
        }
    }
    let mut found = Vec::new();
    for configuration in configurations {
        for (kind, says, parts) in KINDS {
            let parts: Vec<CombinedPart<'_>> = parts
                .iter()
                .map(|(role, fits)| CombinedPart { role, tools: of(servers, configuration, *fits) })
                .collect();
            if parts.iter().all(|part| !part.tools.is_empty()) {
                found.push(Combination { kind, says, configuration, parts });
            }
        }
    }
    found
}

fn of<'s>(
    servers: &'s [ScannedServer],
    configuration: Option<&str>,
    fits: Fits,
) -> Vec<(&'s str, &'s str)> {
    let within = servers.iter().filter(|server| server.configuration.as_deref() == configuration);
    let tools = within.flat_map(|server| {
        let judged = server.outcome.iter().flat_map(|judged| &judged.tools);
        judged.map(|(tool, judgement)| (server.name.as_str(), tool.name.as_str(), judgement))
    });
    tools
        .filter(|(_, _, judgement)| fits(judgement))
        .map(|(server, tool, _)| (server, tool))
        .collect()
}

impl Combination<'_> {
    /// For people: what it is, and of which tools, each on a line.
    pub(super) fn lines(&self, several: bool) -> Vec<String> {
        let of =
            self.configuration.map(|name| format!(" ({})", one_line(name, 80))).unwrap_or_default();
        let mut lines = vec![format!("{}{of}: {}", self.kind, self.says)];
        for part in &self.parts {
            let named = part.tools.iter().take(MOST_NAMED).map(|(server, tool)| {
                let tool = one_line(tool, 60);
                if several { format!("{tool} of {}", one_line(server, 40)) } else { tool }
            });
            let named: Vec<String> = named.collect();
            let more = part.tools.len().saturating_sub(MOST_NAMED);
            let more = if more > 0 { format!(" and {more} more") } else { String::new() };
            lines.push(format!("  {}: {}{more}", part.role, named.join(", ")));
        }
        lines
    }

    /// For programs.
    pub(super) fn json(&self) -> Value {
        let tools = |part: &CombinedPart<'_>| -> Vec<Value> {
            part.tools
                .iter()
                .map(|(server, tool)| json!({"server": server, "tool": tool}))
                .collect()
        };
        let mut object = json!({"kind": self.kind, "meaning": self.says});
        if let Some(members) = object.as_object_mut() {
            if let Some(configuration) = self.configuration {
                members.insert("configuration".to_owned(), json!(configuration));
            }
            members
                .extend(self.parts.iter().map(|part| (part.role.to_owned(), json!(tools(part)))));
        }
        object
    }
}
