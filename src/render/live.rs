//! The filter as a file that Envoy watches (ECDS from a path).

use crate::gateway::version;
use crate::source::{SourceText, Syntax};

use super::Deployable;
use super::options::Switch;
use crate::tree::Node;
use crate::tree::print::{print, quoted};

/// The name of the file in the folder that Envoy watches.
pub const FILE: &str = "mcp_policy.yaml";

/// The type of the filter that Envoy makes of a Wasm file.
pub(super) const WASM: &str = "type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm";
/// A filter that does nothing, if nothing is written into it.
const NOTHING: &str =
    "type.googleapis.com/envoy.extensions.filters.http.header_mutation.v3.HeaderMutation";

/// A folder that Envoy watches.
pub(super) struct Live {
    folder: String,
}

impl Live {
    pub(super) fn new(folder: &str) -> Live {
        let trimmed = folder.trim_end_matches('/');
        let folder = if trimmed.is_empty() { folder } else { trimmed };
        Live { folder: folder.to_owned() }
    }

    /// The filter in Envoy's list, whose configuration has this type: what is in the folder.
    pub(super) fn watched(&self, filter: &'static str) -> Node {
        let path = format!("{}/{FILE}", self.folder.trim_end_matches('/'));
        let watched = Node::map([
            ("path", Node::Text(path)),
            ("watched_directory", Node::map([("path", Node::text(&self.folder))])),
        ]);
        let source = Node::map([
            ("path_config_source", watched),
            ("resource_api_version", Node::text("V3")),
        ]);
        let kinds = Node::list([filter, NOTHING].map(Node::text));
        Node::map([(
            "config_discovery",
            Node::map([("config_source", source), ("type_urls", kinds)]),
        )])
    }
}

/// The configuration of a filter that does nothing.
pub(super) fn nothing() -> Node {
    Node::map([("@type", Node::text(NOTHING))])
}

/// The file, with a filter's `typed_config` in it.
pub(super) fn file(version: &str, filter: &str) -> String {
    let mut out = String::from(
        "# The filter of mcp-policy, as `mcp-policy render --for envoy-filter` writes it. Envoy reads it when another file is renamed to this\n\
         # one's name. It shows `version_info` as extension_config_discovery.http_filter.mcp_policy.version_text.\n\n",
    );
    out.push_str(&format!("version_info: {}\nresources:\n", quoted(version)));
    let kind = "type.googleapis.com/envoy.config.core.v3.TypedExtensionConfig";
    out.push_str(&format!("  - \"@type\": {kind}\n    name: mcp_policy\n"));
    for line in filter.lines() {
        out.push_str(&if line.is_empty() { "\n".to_owned() } else { format!("    {line}\n") });
    }
    out
}

/// What tells this configuration from the next.
pub(super) fn version(all: &Deployable, switch: Option<Switch>) -> Result<String, String> {
    if switch == Some(Switch::Off) {
        return Ok("off".to_owned());
    }
    let text = print(&all.document, Syntax::Json, 0);
    let source = SourceText { name: String::new(), text, syntax: Syntax::Json };
    let value = source.value().map_err(|problem| problem.diagnostic.message)?;
    Ok(version::version(&all.config, &value))
}
