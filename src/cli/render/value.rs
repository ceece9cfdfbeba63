//! What may stand in a deployment file: names and addresses, checked when they are given.

use std::net::IpAddr;
use std::path::Path;
use std::str::FromStr;

use crate::cli::tree::print::quoted;

/// A name as Kubernetes takes it: lower-case letters, digits and `-`, a letter or digit at both ends, at most 63.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct KubernetesName(String);

const LONGEST: usize = 63;

impl FromStr for KubernetesName {
    type Err = String;

    fn from_str(text: &str) -> Result<KubernetesName, String> {
        let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        let ends = !text.starts_with('-') && !text.ends_with('-');
        if text.is_empty() || text.len() > LONGEST || !text.chars().all(fits) || !ends {
            return Err(
                "expected lower-case letters, digits and `-`, at most 63, with no `-` at the ends"
                    .to_owned(),
            );
        }
        Ok(KubernetesName(text.to_owned()))
    }
}

impl KubernetesName {
    /// A name after a policy's file: `stripe` after `policies/Stripe.test.yaml`.
    pub(super) fn after(file: &Path) -> KubernetesName {
        let stem =
            file.file_name().map(|name| name.to_string_lossy().to_lowercase()).unwrap_or_default();
        let stem = stem.split('.').next().unwrap_or_default();
        let words =
            stem.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
        let name = words.collect::<Vec<_>>().join("-");
        let name = name.get(..name.len().min(LONGEST - "mcp-policy-".len())).unwrap_or_default();
        KubernetesName(name.trim_end_matches('-').to_owned())
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
pub(super) struct Address {
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

impl Address {
    pub(super) fn is_ip(&self) -> bool {
        self.host.parse::<IpAddr>().is_ok()
    }

    pub(super) fn host_as_yaml(&self) -> String {
        if self.host.contains(':') { format!("\"{}\"", self.host) } else { self.host.clone() }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{Address, KubernetesName};

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
            ("policies/stripe.json", "mcp-policy-stripe", "mcp_policy_stripe"),
            ("My Policy (2).yaml", "mcp-policy-my-policy-2", "mcp_policy_my_policy_2"),
            ("-", "mcp-policy", "mcp_policy"),
            ("ü.json", "mcp-policy", "mcp_policy"),
        ] {
            let name = KubernetesName::after(Path::new(file));
            assert_eq!((&*name.of_resource(), &*name.vm_id()), (resource, vm_id), "{file}");
        }
    }

    #[test]
    fn addresses() {
        for (text, expected) in [
            ("127.0.0.1:80", Some(("127.0.0.1", true))),
            ("[::1]:80", Some(("\"::1\"", true))),
            ("mcp.internal:80", Some(("mcp.internal", false))),
            ("::1:80", None),
            ("a:0", None),
            ("a:65536", None),
            ("a", None),
            (":80", None),
            ("a b:80", None),
            ("https://a:80", None),
        ] {
            let found = text.parse::<Address>().ok();
            let found = found.as_ref().map(|address| (address.host_as_yaml(), address.is_ip()));
            assert_eq!(found, expected.map(|(host, ip)| (host.to_owned(), ip)), "{text}");
        }
    }
}
