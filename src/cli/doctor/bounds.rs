//! How much and how long Envoy waits, and which clusters it knows.

use std::collections::BTreeSet;

use mcp_policy::bounds::{CONNECTION_BYTES, envoy_body_limit};
use mcp_policy::language::diagnostic::Code;
use mcp_policy::policy::approvals::ApprovalWay;
use mcp_policy::policy::compiled::Config;

use super::findings::Findings;
use super::found::Found;
use super::layout::{FilterChain, Layout};

/// Checks a chain.
pub(super) fn check(chain: &FilterChain<'_>, config: &Config, findings: &mut Findings) {
    buffer(chain, config, findings);
    times(chain, findings);
}

fn buffer(chain: &FilterChain<'_>, config: &Config, findings: &mut Findings) {
    let Some(listener) = &chain.listener else { return };
    let at_once = listener.number("per_connection_buffer_limit_bytes").unwrap_or(CONNECTION_BYTES);
    let limit = held(chain, at_once);
    let longest = config.requests.max_body_bytes;
    let needed = envoy_body_limit(longest, at_once);
    let cure = format!("add `request_body_buffer_limit: {needed}` to the virtual host");
    if limit <= longest as u64 {
        findings.error(
            listener,
            Code::BufferTooSmall,
            &format!("Envoy holds {limit} bytes of a body, and the policy takes {longest}: Envoy answers longer ones first, without JSON-RPC"),
            &format!("{cure}, or lower `requests.max_body_bytes`"),
        );
    } else if limit < needed {
        findings.warning(
            listener,
            Code::BufferTooSmall,
            &format!("Envoy holds {limit} bytes of a body, and reads up to {at_once} at once: it may be the first to answer one that is longer than the policy's {longest}, without JSON-RPC"),
            &cure,
        );
    }
}

/// How many bytes of a request Envoy holds, on the route where they are fewest. Virtual hosts and routes can only raise what the listener says.
fn held(chain: &FilterChain<'_>, by_listener: u64) -> u64 {
    let mut fewest: Option<u64> = None;
    chain.manager.visit(&mut Vec::new(), &mut |found, above| {
        if found.at("match").is_none() || found.at("route").is_none() {
            return;
        }
        let field = |place: &Found<'_>| place.number("request_body_buffer_limit");
        let said = field(found).or_else(|| above.iter().rev().find_map(field));
        let limit = by_listener.max(said.unwrap_or_default());
        fewest = Some(fewest.map_or(limit, |fewest| fewest.min(limit)));
    });
    fewest.unwrap_or(by_listener)
}

/// Whether a duration switches a time-out off.
fn is_zero(text: &str) -> bool {
    text.trim_end_matches('s').parse::<f64>().is_ok_and(|seconds| seconds == 0.0)
}

fn times(chain: &FilterChain<'_>, findings: &mut Findings) {
    let manager = &chain.manager;
    if !manager.text("stream_idle_timeout").is_some_and(is_zero) {
        findings.warning(
            manager,
            Code::StreamsCut,
            "an event stream, or a call that waits for its approval, is cut off when it is silent for a while (5 minutes, unless it says otherwise)",
            "add `stream_idle_timeout: 0s`, and `request_timeout: 30s` for requests that never end",
        );
    } else if manager.text("request_timeout").is_none_or(is_zero) {
        findings.warning(
            manager,
            Code::StreamsCut,
            "a request that never ends is held for ever",
            "add `request_timeout: 30s`",
        );
    }
    manager.visit(&mut Vec::new(), &mut |found, above| {
        let in_route = above.last().is_some_and(|around| around.at("match").is_some());
        let forwards = found.key() == "route" && in_route;
        if forwards && !found.text("timeout").is_some_and(is_zero) {
            findings.warning(
                found,
                Code::StreamsCut,
                "an answer that streams is cut off after the time-out of the route (15 s, unless it says otherwise)",
                "add `timeout: 0s` to the route",
            );
        }
    });
}

/// Clusters that the policy asks, and listeners that lead past the filter.
pub(super) fn clusters(layout: &Layout<'_>, findings: &mut Findings) {
    for filter in &layout.placed {
        let super::shell::ConfiguredPolicy::Loaded(config) = &filter.policy else { continue };
        for (cluster, place) in asked(config) {
            if !layout.clusters.is_empty() && !layout.clusters.contains(&cluster) {
                findings.error(
                    &filter.plugin,
                    Code::ClusterMissing,
                    &format!("the policy asks the cluster `{cluster}` ({place}), and there is none of that name"),
                    &format!("add a cluster `{cluster}`, or write the name of the one that is there into the policy"),
                );
            }
        }
    }
    past(layout, findings);
}

/// The clusters that a policy asks, with the settings that name them.
fn asked(config: &Config) -> Vec<(&str, &'static str)> {
    let mut asked = Vec::new();
    let by_approver = config.policies().any(|policy| policy.names_way(ApprovalWay::Approver));
    if let Some(approver) = config.approvals.approver.as_ref().filter(|_| by_approver) {
        asked.push((&*approver.cluster, "approvals.approver.cluster"));
    }
    if let Some(service) = &config.counters.service {
        asked.push((&*service.cluster, "counters.service.cluster"));
    }
    asked
}

/// Servers that are behind the filter on one listener, and on another are not.
fn past(layout: &Layout<'_>, findings: &mut Findings) {
    let is_governed = |at: usize| {
        layout.placed.iter().any(|filter| filter.place.is_some_and(|place| place.chain == at))
    };
    let watched = |chain: &FilterChain<'_>| {
        layout.elsewhere.iter().any(|found| found.is_within(&chain.manager))
    };
    let mut governed = BTreeSet::new();
    for (at, chain) in layout.chains.iter().enumerate() {
        if is_governed(at) || watched(chain) {
            governed.extend(targets(chain).into_iter().map(|(_, cluster)| cluster));
        }
    }
    for (at, chain) in layout.chains.iter().enumerate() {
        if is_governed(at) || watched(chain) {
            continue;
        }
        for (route, cluster) in targets(chain) {
            if governed.contains(&cluster) {
                findings.error(
                    &route,
                    Code::NoFilter,
                    &format!(
                        "this leads to `{cluster}` past the filter: its calls are not judged here"
                    ),
                    "put the filter into this list of filters too, or take the route away",
                );
            }
        }
    }
}

/// The clusters that a chain leads to.
fn targets<'v>(chain: &FilterChain<'v>) -> Vec<(Found<'v>, String)> {
    let mut targets = Vec::new();
    chain.manager.visit(&mut Vec::new(), &mut |found, _| {
        if found.key() == "route" {
            targets
                .extend(found.text("cluster").map(|cluster| (found.clone(), cluster.to_owned())));
        }
    });
    targets
}
