//! Who made a response, by Envoy's response code details.

use crate::mcp::outcome::Origin;

/// Details of answers that Envoy's router makes instead of sending a request: one route or cluster has them, whatever was tried before.
const NO_TRY: [&[u8]; 6] = [
    b"route_not_found",
    b"route_configuration_not_found",
    b"direct_response",
    b"maintenance_mode",
    b"drop_overload",
    b"unconditional_drop_overload",
];

/// Details of an answer that a filter between us and the router makes instead of handing a request on.
const NOT_HANDED_ON: [&[u8]; 1] = [b"fault_filter_abort"];

/// Details that tell of the last try alone: that one was never sent, of those before it nobody knows.
const LAST_TRY: [&[u8]; 6] = [
    b"no_healthy_upstream",
    b"cluster_not_found",
    b"upstream_reset_before_response_started{overflow",
    b"upstream_reset_before_response_started{remote_connection_failure",
    b"upstream_reset_before_response_started{local_connection_failure",
    b"upstream_reset_before_response_started{connection_timeout",
];

/// Redirects that a request follows as it is. After any other one it goes on without its body, or what it asked for is done.
const ONWARD: [u64; 4] = [301, 302, 307, 308];

/// Who made the response with these details, after so many tries; `status` is the HTTP status that Envoy has noted.
pub(crate) fn of_details(details: &[u8], tries: u64, status: u64) -> Origin {
    let starts = |with: &[&[u8]]| with.iter().any(|start| details.starts_with(start));
    match details {
        b"via_upstream" => Origin::Server,
        b"internal_redirect" if ONWARD.contains(&status) => Origin::SentOn,
        _ if starts(&NO_TRY) || starts(&NOT_HANDED_ON) => Origin::NeverSent,
        _ if starts(&LAST_TRY) && tries <= 1 => Origin::NeverSent,
        _ => Origin::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::{Origin, of_details};

    #[test]
    fn only_what_was_never_sent_is_known_not_to_have_run() {
        let refused = "upstream_reset_before_response_started{remote_connection_failure|delayed_connect_error:_111}";
        let slow = "upstream_reset_before_response_started{connection_timeout}";
        let terminated = "upstream_reset_before_response_started{connection_termination}";
        for (details, tries, status, expected) in [
            ("via_upstream", 1, 200, Origin::Server),
            ("via_upstream", 3, 200, Origin::Server),
            ("no_healthy_upstream", 0, 503, Origin::NeverSent),
            ("no_healthy_upstream", 2, 503, Origin::Unknown),
            ("cluster_not_found", 0, 503, Origin::NeverSent),
            ("route_not_found", 0, 404, Origin::NeverSent),
            ("direct_response", 0, 503, Origin::NeverSent),
            ("fault_filter_abort", 0, 503, Origin::NeverSent),
            ("rbac_access_denied_matched_policy[none]", 0, 403, Origin::Unknown),
            (refused, 1, 503, Origin::NeverSent),
            (refused, 2, 503, Origin::Unknown),
            (slow, 1, 503, Origin::NeverSent),
            ("upstream_reset_before_response_started{overflow}", 1, 503, Origin::NeverSent),
            (terminated, 1, 503, Origin::Unknown),
            ("response_timeout", 1, 504, Origin::Unknown),
            ("upstream_per_try_timeout", 1, 504, Origin::Unknown),
            ("via_upstream_or_so", 1, 200, Origin::Unknown),
            ("internal_redirect", 1, 307, Origin::SentOn),
            ("internal_redirect", 1, 303, Origin::Unknown),
            ("", 0, 0, Origin::Unknown),
        ] {
            assert_eq!(
                of_details(details.as_bytes(), tries, status),
                expected,
                "{details} {tries}"
            );
        }
    }
}
