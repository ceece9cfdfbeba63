//! What may stand in a deployment file: names and addresses, checked when they are given.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use crate::gateway::is_plain_name;
use crate::gateway::upstream::Upstream;

use crate::tree::print::quoted;

/// A name as Kubernetes takes it: lower-case letters, digits and `-`, a letter or digit at both ends, at most 63.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KubernetesName(String);

const LONGEST: usize = 63;

impl FromStr for KubernetesName {
    type Err = String;

    fn from_str(text: &str) -> Result<KubernetesName, String> {
        if !is_plain_name(text) {
            return Err(
                "expected lower-case letters, digits and `-`, at most 63, with no `-` at the ends"
                    .to_owned(),
            );
        }
        Ok(KubernetesName(text.to_owned()))
    }
}

impl KubernetesName {
    /// A name that was made after a file, which may be nothing.
    pub(super) fn made(name: &str) -> KubernetesName {
        KubernetesName(name.to_owned())
    }

    pub(super) fn as_str(&self) -> &str {
        &self.0
    }

    /// Of the Istio resource.
    pub(super) fn of_resource(&self) -> String {
        let name = if self.0.is_empty() {
            "mcp-policy".to_owned()
        } else {
            format!("mcp-policy-{}", self.0)
        };
        name.chars().take(LONGEST).collect::<String>().trim_end_matches('-').to_owned()
    }

    /// Of the filter's VM: one for each deployment, so that counters of the same name do not meet.
    pub(super) fn vm_id(&self) -> String {
        self.of_resource().replace('-', "_")
    }

    pub(super) fn as_yaml(&self) -> String {
        // All digits, or a word such as `on`, would not be a string.
        quoted(&self.0)
    }
}

/// A host and a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    host: String,
    pub(super) port: u16,
}

impl FromStr for Address {
    type Err = String;

    fn from_str(text: &str) -> Result<Address, String> {
        let wrong = || {
            "expected HOST:PORT, such as 127.0.0.1:8000, [::1]:8000 or mcp.internal:8000".to_owned()
        };
        let (host, port) = text.rsplit_once(':').ok_or_else(wrong)?;
        let port = port.parse().ok().filter(|port| *port > 0).ok_or_else(wrong)?;
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        let ip = bare.parse::<IpAddr>().is_ok_and(|ip| ip.is_ipv4() == (bare == host));
        let letters = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '.' || c == '_';
        if !ip && (host.is_empty() || !host.chars().all(letters)) {
            return Err(wrong());
        }
        Ok(Address { host: bare.to_owned(), port })
    }
}

/// Where the MCP server is, as `--upstream` says it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpstreamArgument {
    /// Where it is.
    pub at: Upstream,
    /// Whether it was given as a URL, which also says what the server reads as `host`.
    pub by_url: bool,
}

/// The ports on which TLS is spoken, unless somebody says otherwise.
const TLS_PORTS: [u16; 2] = [443, 8443];

impl FromStr for UpstreamArgument {
    type Err = String;

    fn from_str(text: &str) -> Result<UpstreamArgument, String> {
        if text.contains("://") {
            let at = Upstream::parse(text)?;
            if at.path != "/" {
                return Err(format!(
                    "agents' paths are passed on as they are, so `{}` says nothing here; a gateway file can lead one path to another",
                    at.path
                ));
            }
            return Ok(UpstreamArgument { at, by_url: true });
        }
        let Address { host, port } = text.parse().map_err(|problem| {
            format!("{problem}, or an address such as https://mcp.example.com")
        })?;
        if TLS_PORTS.contains(&port) {
            return Err(format!(
                "write https://{text} if the server speaks TLS there, or http://{text} for plain text"
            ));
        }
        let at = Upstream { tls: false, host, port, path: "/".to_owned() };
        Ok(UpstreamArgument { at, by_url: false })
    }
}

impl UpstreamArgument {
    /// Where a server is, if nobody says.
    pub(super) fn usual() -> UpstreamArgument {
        let host = "127.0.0.1".to_owned();
        let at = Upstream { tls: false, host, port: 8000, path: "/".to_owned() };
        UpstreamArgument { at, by_url: false }
    }

    pub(super) fn host_as_yaml(&self) -> String {
        let host = &self.at.host;
        if host.contains(':') { format!("\"{host}\"") } else { host.clone() }
    }

    /// Whether plain text goes over a network, and nobody said that it should.
    pub(super) fn is_plain_by_default(&self) -> bool {
        !self.by_url && !self.at.is_loopback()
    }
}

impl fmt::Display for UpstreamArgument {
    /// As the option has it.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Upstream { tls, host, port, .. } = &self.at;
        match (self.by_url, tls) {
            (false, _) => Address { host: host.clone(), port: *port }.fmt(out),
            (true, false) => write!(out, "http://{}", self.at.authority()),
            (true, true) => write!(out, "https://{}", self.at.authority()),
        }
    }
}

impl fmt::Display for Address {
    /// As the option has it.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Address { host, port } = self;
        if host.contains(':') {
            write!(out, "[{host}]:{port}")
        } else {
            write!(out, "{host}:{port}")
        }
    }
}

impl Address {
    /// This machine.
    pub(super) fn loopback(port: u16) -> Address {
        Address { host: "127.0.0.1".to_owned(), port }
    }

    pub(super) fn host_as_yaml(&self) -> String {
        if self.host.contains(':') { format!("\"{}\"", self.host) } else { self.host.clone() }
    }
}

/// The name of a policy after its file: `stripe` after `Stripe.test.yaml`. The folders of the file are not looked at.
#[must_use]
pub fn name_after(file: &str) -> String {
    const MOST: usize = LONGEST - "mcp-policy-".len();
    let name = file.to_lowercase();
    let stem = name.split('.').next().unwrap_or_default();
    let words = stem.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    let name = words.collect::<Vec<_>>().join("-");
    let name = name.get(..name.len().min(MOST)).unwrap_or_default();
    name.trim_end_matches('-').to_owned()
}

#[cfg(test)]
mod tests {
    use super::{Address, KubernetesName, UpstreamArgument, name_after};

    #[test]
    fn names() {
        for (text, fits) in [
            ("a", true),
            ("payments-2", true),
            ("", false),
            ("A", false),
            ("-a", false),
            ("a_b", false),
            ("a b", false),
        ] {
            assert_eq!(text.parse::<KubernetesName>().is_ok(), fits, "{text}");
        }
        for (file, resource, vm_id) in [
            ("stripe.json", "mcp-policy-stripe", "mcp_policy_stripe"),
            ("My Policy (2).yaml", "mcp-policy-my-policy-2", "mcp_policy_my_policy_2"),
            ("-", "mcp-policy", "mcp_policy"),
            ("ü.json", "mcp-policy", "mcp_policy"),
        ] {
            let name = KubernetesName::made(&name_after(file));
            assert_eq!((&*name.of_resource(), &*name.vm_id()), (resource, vm_id), "{file}");
        }
    }

    #[test]
    fn addresses() {
        for (text, expected) in [
            ("127.0.0.1:80", Some("127.0.0.1")),
            ("[::1]:80", Some("\"::1\"")),
            ("mcp.internal:80", Some("mcp.internal")),
            ("::1:80", None),
            ("a:0", None),
            ("a:65536", None),
            ("a", None),
            (":80", None),
            ("a b:80", None),
            ("https://a:80", None),
        ] {
            let found = text.parse::<Address>().ok();
            let found = found.as_ref().map(Address::host_as_yaml);
            assert_eq!(found, expected.map(str::to_owned), "{text}");
        }
    }

    #[test]
    fn servers() {
        for (text, expected) in [
            ("127.0.0.1:8000", Ok((false, "127.0.0.1", 8000, false))),
            ("mcp.internal:8000", Ok((false, "mcp.internal", 8000, true))),
            ("https://mcp.example.com", Ok((true, "mcp.example.com", 443, false))),
            ("http://mcp.example.com:443", Ok((false, "mcp.example.com", 443, false))),
            ("mcp.example.com:443", Err("https://mcp.example.com:443")),
            ("127.0.0.1:8443", Err("http://127.0.0.1:8443")),
            ("https://mcp.example.com/mcp", Err("gateway file")),
            ("mcp.example.com", Err("https://")),
        ] {
            let found = text.parse::<UpstreamArgument>();
            match (found, expected) {
                (Ok(server), Ok((tls, host, port, plain))) => {
                    let at = (server.at.tls, &*server.at.host, server.at.port);
                    assert_eq!((at, server.is_plain_by_default()), ((tls, host, port), plain));
                }
                (Err(problem), Err(said)) => assert!(problem.contains(said), "{problem}"),
                (found, _) => panic!("{text}: {found:?}"),
            }
        }
    }
}
