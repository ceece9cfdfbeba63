//! Where an MCP server is: an `http` or `https` address.

use std::net::IpAddr;

/// The address of an MCP server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upstream {
    /// Whether it is spoken to over TLS.
    pub tls: bool,
    /// Its name or address; an IPv6 address without brackets.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// The path at which it speaks MCP; `/` at least.
    pub path: String,
}

impl Upstream {
    /// Reads `http://HOST[:PORT][/PATH]` or the same with `https`.
    ///
    /// # Errors
    /// What is wrong with it.
    ///
    /// ```
    /// use mcp_policy::gateway::upstream::Upstream;
    ///
    /// let upstream = Upstream::parse("https://mcp.example.com/mcp").unwrap();
    /// assert_eq!((upstream.tls, upstream.port, &*upstream.authority()), (true, 443, "mcp.example.com"));
    /// assert!(Upstream::parse("mcp.example.com").is_err());
    /// ```
    pub fn parse(url: &str) -> Result<Upstream, String> {
        let (tls, rest) = match (url.strip_prefix("https://"), url.strip_prefix("http://")) {
            (Some(rest), _) => (true, rest),
            (None, Some(rest)) => (false, rest),
            (None, None) => {
                return Err("expected an address that begins with http:// or https://".to_owned());
            }
        };
        let end = rest.find('/').unwrap_or(rest.len());
        let (authority, path) = rest.split_at_checked(end).unwrap_or((rest, ""));
        if authority.contains('@') {
            return Err(
                "no user or password belongs into it: agents send their own credentials".to_owned()
            );
        }
        if rest.contains(['?', '#']) {
            return Err("no query and no fragment belongs into it".to_owned());
        }
        let (host, port) = host_and_port(authority)
            .ok_or_else(|| format!("not a host with or without a port: `{authority}`"))?;
        let plain = |c: char| c.is_ascii_graphic() && !r#""\<>^`{|}"#.contains(c);
        if !path.chars().all(plain) {
            return Err("its path has characters that no path has as they are".to_owned());
        }
        let path = if path.is_empty() { "/" } else { path };
        let port = port.unwrap_or(if tls { 443 } else { 80 });
        Ok(Upstream { tls, host, port, path: path.to_owned() })
    }

    /// Whether the host is an IP address.
    #[must_use]
    pub fn is_ip(&self) -> bool {
        self.host.parse::<IpAddr>().is_ok()
    }

    /// Whether the host is this machine.
    #[must_use]
    pub fn is_loopback(&self) -> bool {
        self.host == "localhost" || self.host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
    }

    /// What an HTTP client sends as `host`: without the port that goes without saying.
    #[must_use]
    pub fn authority(&self) -> String {
        let host =
            if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        let usual = if self.tls { 443 } else { 80 };
        if self.port == usual { host } else { format!("{host}:{}", self.port) }
    }
}

/// A host, without brackets, and its port, if there is one.
#[must_use]
pub fn host_and_port(authority: &str) -> Option<(String, Option<u16>)> {
    let (host, port) = match authority.strip_prefix('[') {
        Some(rest) => {
            let (host, rest) = rest.split_once(']')?;
            host.parse::<std::net::Ipv6Addr>().ok()?;
            (host, rest.strip_prefix(':').or(rest.is_empty().then_some(""))?)
        }
        None => match authority.split_once(':') {
            Some((_, "")) => return None,
            Some((host, port)) => (host, port),
            None => (authority, ""),
        },
    };
    let named = authority.starts_with('[') || is_name(host);
    let port = match port {
        "" => None,
        text => Some(text.parse().ok().filter(|port| *port > 0)?),
    };
    named.then(|| (host.to_ascii_lowercase(), port))
}

/// Whether a text is the name of a host, or an IPv4 address.
fn is_name(host: &str) -> bool {
    let letters = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '.' || c == '_';
    !host.is_empty() && !host.starts_with('.') && host.chars().all(letters)
}

#[cfg(test)]
mod tests {
    use super::Upstream;

    #[test]
    fn addresses() {
        for (text, expected) in [
            (
                "http://127.0.0.1:8000/mcp",
                Some((false, "127.0.0.1", 8000, "/mcp", "127.0.0.1:8000")),
            ),
            (
                "https://MCP.example.com",
                Some((true, "mcp.example.com", 443, "/", "mcp.example.com")),
            ),
            ("http://a", Some((false, "a", 80, "/", "a"))),
            ("https://a:80/", Some((true, "a", 80, "/", "a:80"))),
            ("https://[::1]:8443/x/y", Some((true, "::1", 8443, "/x/y", "[::1]:8443"))),
            ("http://[::1]", Some((false, "::1", 80, "/", "[::1]"))),
            ("a:80", None),
            ("ftp://a", None),
            ("https://", None),
            ("https://:80", None),
            ("https://a:", None),
            ("https://a:0", None),
            ("https://a:65536", None),
            ("https://u:p@a", None),
            ("https://a/?q", None),
            ("https://a#f", None),
            ("https://a b", None),
            ("https://a/b c", None),
            ("https://[a]", None),
            ("https://[::1]x", None),
            ("https://.", None),
        ] {
            let found = Upstream::parse(text).ok();
            let shown = found.as_ref().map(|found| {
                (found.tls, &*found.host, found.port, &*found.path, found.authority())
            });
            let expected = expected
                .map(|(tls, host, port, path, shown)| (tls, host, port, path, shown.to_owned()));
            assert_eq!(shown, expected, "{text}");
        }
    }
}
