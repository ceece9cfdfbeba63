//! Where a client is: its network, of which one client has one address, or as many as he likes.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

/// Where a client is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Network {
    /// The address without port; of IPv6 the /64, within which a client takes any address.
    pub(super) own: String,
    /// What is around it, which somebody may hold as a whole: /48 of IPv6, /24 of IPv4.
    pub(super) around: String,
}

impl Network {
    /// Reads Envoy's `source.address`, such as `10.0.0.1:5000` or `[2001:db8::1]:5000`.
    #[must_use]
    pub(super) fn of(address: &str) -> Network {
        match parse(address) {
            Some(IpAddr::V4(address)) => {
                let [first, second, third, _] = address.octets();
                Network {
                    own: address.to_string(),
                    around: format!("{first}.{second}.{third}.0/24"),
                }
            }
            Some(IpAddr::V6(address)) => {
                let of = |bits: u32| {
                    let kept = address.to_bits() & (u128::MAX << (128 - bits));
                    format!("{}/{bits}", Ipv6Addr::from_bits(kept))
                };
                Network { own: of(64), around: of(48) }
            }
            // A socket of the machine's own.
            None => Network { own: address.to_owned(), around: address.to_owned() },
        }
    }
}

/// `10.0.0.1:5000` and `[2001:db8::1]:5000` without the port.
pub(super) fn without_port(address: &str) -> &str {
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
    host.trim_start_matches('[').trim_end_matches(']')
}

fn parse(address: &str) -> Option<IpAddr> {
    let address = match address.parse::<SocketAddr>() {
        Ok(address) => address.ip(),
        Err(_) => address.parse().ok()?,
    };
    Some(address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::Network;

    #[test]
    fn a_client_is_where_his_network_is() {
        for (address, own, around) in [
            ("10.0.0.1:5000", "10.0.0.1", "10.0.0.0/24"),
            ("10.0.0.1", "10.0.0.1", "10.0.0.0/24"),
            ("[2001:db8:1:2:3:4:5:6]:80", "2001:db8:1:2::/64", "2001:db8:1::/48"),
            ("[2001:db8:1:2::]:81", "2001:db8:1:2::/64", "2001:db8:1::/48"),
            ("2001:db8:1:2::7", "2001:db8:1:2::/64", "2001:db8:1::/48"),
            ("[::ffff:10.0.0.1]:80", "10.0.0.1", "10.0.0.0/24"),
            ("/run/agent.sock", "/run/agent.sock", "/run/agent.sock"),
        ] {
            let network = Network::of(address);
            assert_eq!((&*network.own, &*network.around), (own, around), "{address}");
        }
    }
}
