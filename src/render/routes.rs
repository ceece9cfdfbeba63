//! The routes and clusters of MCP servers, as Envoy has them.

use crate::gateway::{GatewayServer, HostHeader};

use crate::tree::{Map, Node};

/// Where Debian, Ubuntu, Alpine and Envoy's own images keep the authorities that they trust.
pub(super) const SYSTEM_AUTHORITIES: &str = "/etc/ssl/certs/ca-certificates.crt";

fn plain(text: &str) -> Node {
    Node::Plain(text.to_owned())
}

fn text(text: &str) -> Node {
    Node::text(text)
}

/// Which request goes to which server, and how much of a request Envoy holds. What no route names is answered with 404 by Envoy, after the
/// filter.
pub(super) fn route_config(servers: &[GatewayServer], body_limit: u64) -> Node {
    let mut hosts: Vec<Node> = Vec::new();
    let mut named: Vec<&str> = Vec::new();
    let anywhere = || servers.iter().filter(|server| server.host.is_none());
    for host in servers.iter().filter_map(|server| server.host.as_deref()) {
        if named.contains(&host) {
            continue;
        }
        named.push(host);
        let own: Vec<&GatewayServer> =
            servers.iter().filter(|server| server.host.as_deref() == Some(host)).collect();
        // As bindings have it: a path that is one server's on every host is so here too.
        let mut routes: Vec<Node> = own.iter().copied().chain(anywhere()).map(exact).collect();
        if let [only] = own.as_slice() {
            routes.push(rest(only));
        }
        hosts.push(virtual_host(host, host, body_limit, routes));
    }
    let routes: Vec<Node> = anywhere().map(exact).collect();
    if !routes.is_empty() {
        hosts.push(virtual_host("mcp", "*", body_limit, routes));
    }
    let mut config = Map::default();
    config.push("name", text("mcp"));
    if !named.is_empty() {
        config.push("ignore_port_in_host_matching", plain("true"));
    }
    config.push("virtual_hosts", Node::list(hosts));
    Node::Map(config)
}

fn virtual_host(name: &str, domain: &str, body_limit: u64, routes: Vec<Node>) -> Node {
    Node::map([
        ("name", text(name)),
        ("domains", Node::list([text(domain)])),
        ("request_body_buffer_limit", plain(&body_limit.to_string())),
        ("routes", Node::list(routes)),
    ])
}

/// The path at which agents reach a server.
fn exact(server: &GatewayServer) -> Node {
    let mut action = action(server);
    if server.path != server.upstream.path {
        action.push("prefix_rewrite", text(&server.upstream.path));
    }
    let matched = Node::map([("path", text(&server.path))]);
    Node::map([("match", matched), ("route", Node::Map(action))])
}

/// What else has a server's own host: the filter refuses it, unless a setting lets it pass.
fn rest(server: &GatewayServer) -> Node {
    let matched = Node::map([("prefix", text("/"))]);
    Node::map([("match", matched), ("route", Node::Map(action(server)))])
}

fn action(server: &GatewayServer) -> Map {
    let mut action = Map::default();
    action.push("cluster", text(&server.name));
    // An answer may stream for as long as it likes.
    action.push("timeout", text("0s"));
    let host = match &server.host_header {
        HostHeader::OfAddress => Some(server.upstream.authority()),
        HostHeader::OfAgent => None,
        HostHeader::Fixed(host) => Some(host.clone()),
    };
    if let Some(host) = host {
        action.push("host_rewrite_literal", Node::Text(host));
    }
    action
}

/// Where the servers are.
pub(super) fn clusters(servers: &[GatewayServer], authorities: &str) -> Node {
    Node::list(servers.iter().map(|server| cluster(server, authorities)))
}

fn cluster(server: &GatewayServer, authorities: &str) -> Node {
    let upstream = &server.upstream;
    let mut cluster = Map::default();
    cluster.push("name", text(&server.name));
    if upstream.is_ip() {
        cluster.push("type", text("STATIC"));
    } else {
        // A name of the internet stands for many addresses, of which one is enough.
        cluster.push("type", text(if upstream.tls { "LOGICAL_DNS" } else { "STRICT_DNS" }));
        cluster.push("dns_lookup_family", text("V4_PREFERRED"));
    }
    cluster.push("connect_timeout", text(if upstream.tls { "5s" } else { "1s" }));
    let socket =
        Node::map([("address", text(&upstream.host)), ("port_value", Node::number(upstream.port))]);
    let address = Node::map([("address", Node::map([("socket_address", socket)]))]);
    let endpoints = Node::map([("lb_endpoints", Node::list([Node::map([("endpoint", address)])]))]);
    let assignment =
        Node::map([("cluster_name", text(&server.name)), ("endpoints", Node::list([endpoints]))]);
    cluster.push("load_assignment", assignment);
    if upstream.tls {
        cluster.push("transport_socket", tls(server, authorities));
    }
    Node::Map(cluster)
}

/// TLS to a server whose certificate has to be for its name, and vouched for.
fn tls(server: &GatewayServer, authorities: &str) -> Node {
    let (upstream, ca) = (&server.upstream, server.ca.as_deref().unwrap_or(authorities));
    let name = server.sni.as_ref().unwrap_or(&upstream.host);
    let is_address = server.sni.is_none() && upstream.is_ip();
    let kind = if is_address { "IP_ADDRESS" } else { "DNS" };
    let san =
        Node::map([("san_type", text(kind)), ("matcher", Node::map([("exact", text(name))]))]);
    let validation = Node::map([
        ("trusted_ca", Node::map([("filename", text(ca))])),
        ("match_typed_subject_alt_names", Node::list([san])),
    ]);
    let mut context = Map::default();
    let kind = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext";
    context.push("@type", text(kind));
    // There is no server name that is an address (RFC 6066).
    if !is_address {
        context.push("sni", text(name));
    }
    context.push("common_tls_context", Node::map([("validation_context", validation)]));
    Node::map([("name", text("envoy.transport_sockets.tls")), ("typed_config", Node::Map(context))])
}
