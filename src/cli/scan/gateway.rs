//! The servers of a client's configuration as a gateway file.

use std::path::{Path, PathBuf};

use mcp_policy::gateway::upstream::Upstream;
use mcp_policy::source::Syntax;

use crate::cli::server::target::Target;
use crate::cli::tree::print::print;
use crate::cli::tree::{Map, Node, TreeMember};
use mcp_policy::tools::one_line;

/// How a gateway comes to a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Reached {
    /// By its own address.
    Url(String),
    /// It speaks over standard input and output, so by a bridge.
    Bridge,
    /// It speaks HTTP with SSE, where no filter can answer a call.
    Sse,
}

impl Reached {
    pub(super) fn of(target: &Target) -> Reached {
        match target {
            Target::Process(_) => Reached::Bridge,
            Target::Remote(remote) if remote.sse => Reached::Sse,
            Target::Remote(remote) => Reached::Url(remote.url.clone()),
        }
    }
}

/// A server whose policy has been written.
pub(super) struct PlacedServer {
    /// Its name in the configuration.
    pub(super) called: String,
    /// Its name in the gateway file.
    pub(super) name: String,
    pub(super) reached: Reached,
    /// The file of its policy.
    pub(super) policy: PathBuf,
}

/// The gateway file, and what is to be known of it. `bridge` is where bridges serve, with `{name}` for a server's name.
pub(super) fn draft(
    servers: &[PlacedServer],
    file: &Path,
    config: &str,
    bridge: &str,
) -> (String, Vec<String>) {
    let mut notes = Vec::new();
    let mut members = Map::default();
    for server in servers {
        let (url, comment) = match &server.reached {
            Reached::Url(url) => (url.clone(), None),
            Reached::Bridge => {
                let url = bridge.replace("{name}", &escaped(&server.called));
                (url, Some("It speaks over standard input and output: start a bridge that serves it there.".to_owned()))
            }
            Reached::Sse => {
                notes.push(left_out(server, "it speaks HTTP with SSE, where no answer can be given in its place; put a bridge to Streamable HTTP before it"));
                continue;
            }
        };
        if let Err(problem) = Upstream::parse(&url) {
            notes.push(left_out(server, &format!("its address: {problem}")));
            continue;
        }
        let policy = beside(file, &server.policy);
        let value = Node::map([("url", Node::Text(url)), ("policy", Node::Text(policy))]);
        let comments = comment.into_iter().collect();
        members.0.push(TreeMember { comments, key: server.name.clone(), value });
    }
    let mut gateway = Map::default();
    gateway.push("version", Node::text("1"));
    gateway.push("servers", Node::Map(members));
    if let Some(first) = gateway.0.first_mut() {
        let config = one_line(config, 200);
        first.comments = vec![
            format!("The servers of {config} behind one Envoy, written by `mcp-policy scan`. Agents reach each at /NAME/mcp."),
            "`mcp-policy render` makes Envoy's configuration of it. Agents send their own credentials; none are in here.".to_owned(),
        ];
        if servers.iter().any(|server| server.reached == Reached::Bridge) {
            let port = Upstream::parse(bridge).map_or(8100, |bridge| bridge.port);
            first.comments.push(format!(
                "A bridge for all of them: `mcp-proxy --port {port} --named-server-config {config}`"
            ));
        }
    }
    (print(&Node::Map(gateway), Syntax::Yaml, 0), notes)
}

fn left_out(server: &PlacedServer, why: &str) -> String {
    format!("`{}` is left out: {why}", one_line(&server.called, 100))
}

/// The file of a policy as it is seen from the gateway file.
fn beside(gateway: &Path, policy: &Path) -> String {
    let folder = gateway.parent().filter(|folder| !folder.as_os_str().is_empty());
    let folder = folder.unwrap_or(Path::new(".")).canonicalize();
    let policy = policy.canonicalize().unwrap_or_else(|_| policy.to_owned());
    let relative = folder.ok().and_then(|folder| policy.strip_prefix(folder).ok());
    relative.unwrap_or(&policy).display().to_string()
}

/// A name as a segment of a path.
fn escaped(name: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    let escape =
        |byte: u8| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") };
    name.bytes().map(escape).collect()
}

#[cfg(test)]
mod tests {
    use std::path::{Path, PathBuf};

    use super::{PlacedServer, Reached, draft};

    #[test]
    fn what_is_left_out_is_said() {
        let server = |called: &str, reached| PlacedServer {
            called: called.to_owned(),
            name: called.to_lowercase(),
            reached,
            policy: PathBuf::from("/nowhere/p.yaml"),
        };
        let servers = [
            server("Git Hub", Reached::Bridge),
            server("old", Reached::Sse),
            server("keyed", Reached::Url("https://a/mcp?key=1".to_owned())),
            server("plain", Reached::Url("https://a/mcp".to_owned())),
        ];
        let (text, notes) = draft(
            &servers,
            Path::new("gateway.yaml"),
            "mcp.json",
            "http://127.0.0.1:8100/servers/{name}/mcp",
        );
        assert!(text.contains("http://127.0.0.1:8100/servers/Git%20Hub/mcp"), "{text}");
        assert!(
            text.contains("url: \"https://a/mcp\"") || text.contains("https://a/mcp"),
            "{text}"
        );
        assert!(!text.contains("key=1"), "{text}");
        assert_eq!(notes.len(), 2, "{notes:?}");
    }
}
