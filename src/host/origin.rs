//! Who made a response, by Envoy's response code details.

use crate::mcp::outcome::Origin;

/// Details of answers that Envoy made because it could not send the request.
const NEVER_SENT: [&[u8]; 3] = [
    b"no_healthy_upstream",
    b"cluster_not_found",
    b"upstream_reset_before_response_started{remote_connection_failure",
];

/// Who made the response with these details.
pub(super) fn of_details(details: &[u8]) -> Origin {
    match details {
        b"via_upstream" => Origin::Server,
        _ if NEVER_SENT.iter().any(|start| details.starts_with(start)) => Origin::NeverSent,
        _ => Origin::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::{Origin, of_details};

    #[test]
    fn only_what_was_never_sent_is_known_not_to_have_run() {
        for (details, expected) in [
            ("via_upstream", Origin::Server),
            ("no_healthy_upstream", Origin::NeverSent),
            ("cluster_not_found", Origin::NeverSent),
            (
                "upstream_reset_before_response_started{remote_connection_failure|delayed_connect_error:_111}",
                Origin::NeverSent,
            ),
            ("upstream_reset_before_response_started{connection_termination}", Origin::Unknown),
            ("response_timeout", Origin::Unknown),
            ("via_upstream_or_so", Origin::Unknown),
            ("", Origin::Unknown),
        ] {
            assert_eq!(of_details(details.as_bytes()), expected, "{details}");
        }
    }
}
