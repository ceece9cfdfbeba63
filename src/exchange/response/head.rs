//! The headers of a response, as far as counts and lists depend on them.

use crate::mcp::headers::{Follows, Header};
use crate::mcp::outcome::{Origin, is_conclusive};

/// The headers of a response.
#[derive(Clone, Copy, Debug)]
pub(in crate::exchange) struct ResponseHead<'h> {
    headers: &'h [Header<'h>],
    /// HTTP status; zero where there is none.
    pub(in crate::exchange) status: u16,
    /// `Content-Type`.
    pub(in crate::exchange) content_type: Option<&'h [u8]>,
    /// Whether a `Content-Encoding` other than identity is there.
    pub(in crate::exchange) encoded: bool,
    /// Whether the answer tells what became of the call.
    pub(in crate::exchange) conclusive: bool,
    /// Whether it tells that the call was never sent to anybody.
    pub(in crate::exchange) never_sent: bool,
    /// Whether it tells that the call failed, whatever its body says.
    pub(in crate::exchange) failed: bool,
    /// `Mcp-Session-Id`
    pub(in crate::exchange) session: Option<&'h [u8]>,
    /// Whether a body follows.
    pub(in crate::exchange) follows: Follows,
}

impl<'h> ResponseHead<'h> {
    /// Reads headers. Where the host hands none over, it is an answer of no known form. Who made it is asked where that tells something:
    /// where counts hang on the answer, and where it could refuse the caller.
    pub(in crate::exchange) fn read(
        headers: &'h [Header<'h>],
        counts: bool,
        origin: impl FnOnce() -> Origin,
        follows: Follows,
    ) -> ResponseHead<'h> {
        let status = values(headers, b":status").next();
        let status = status.and_then(|status| std::str::from_utf8(status).ok()?.parse().ok());
        let status = status.unwrap_or(0);
        let origin = if counts || is_refusal(status) { origin() } else { Origin::Unknown };
        let conclusive = is_conclusive(origin, status);
        // A redirect of the server's tells nothing of the call, but one that the gateway makes tells that the call was not sent.
        let astray = origin == Origin::NeverSent && !(200..300).contains(&status);
        let mut encodings = values(headers, b"content-encoding");
        ResponseHead {
            headers,
            status,
            // Envoy joins repeated content types with a comma, and leaves repeated encodings apart.
            content_type: values(headers, b"content-type").next(),
            encoded: encodings.any(|value| !value.eq_ignore_ascii_case(b"identity")),
            conclusive,
            never_sent: origin == Origin::NeverSent,
            failed: astray || (conclusive && status >= 400),
            session: values(headers, b"mcp-session-id").next(),
            follows,
        }
    }

    /// The encodings, as one text.
    pub(in crate::exchange) fn encoding(&self) -> Vec<u8> {
        values(self.headers, b"content-encoding").collect::<Vec<_>>().join(&b',')
    }

    /// Whether the server itself says that it does not take the caller's credential, so that nothing was done for him.
    pub(in crate::exchange) fn refuses_the_caller(&self) -> bool {
        self.conclusive && is_refusal(self.status)
    }
}

fn is_refusal(status: u16) -> bool {
    matches!(status, 401 | 403)
}

fn values<'h>(headers: &'h [Header<'h>], wanted: &'static [u8]) -> impl Iterator<Item = &'h [u8]> {
    headers.iter().filter(move |(name, _)| *name == wanted).map(|(_, value)| *value)
}
