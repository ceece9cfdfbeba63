//! Answers: JSON-RPC errors with the request's own id, framed as the client reads them.
//!
//! A denial is HTTP 200: measured with the SDKs, it is the only form that every client shows to the agent and survives.

mod addressee;
mod object;
mod sentence;

pub use addressee::Addressee;
use object::input_required_object;
pub use object::{batch_refused_object, denial_object, list_unreadable_object};
pub use object::{elicitation_object, reason_object};

use std::borrow::Cow;

use crate::bounds::MAX_ECHO_BYTES;
use crate::denial::Denial;
use crate::mcp::Refusal;
use crate::mcp::headers::Framing;
use crate::policy::compiled::Policy;
use crate::policy::settings::Denials;

/// The response code details by which an answer of ours is known in Envoy's access log.
pub const CODE_DETAILS: &str = "mcp_policy_denied";

/// An HTTP answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// HTTP status.
    pub status: u16,
    /// Headers.
    pub headers: Vec<(&'static str, Cow<'static, str>)>,
    /// Body.
    pub body: Vec<u8>,
}

/// What a denial is told with.
#[derive(Clone, Copy, Debug)]
pub struct Context<'c> {
    /// The policy; none where none governs the request.
    pub policy: Option<&'c Policy>,
    /// How denied tool calls are answered.
    pub form: Denials,
}

impl Reply {
    /// Answers a request that the strict front door refuses. Where its id is known, the client gets an answer that it waits for, in the
    /// framing that it reads; else an HTTP error.
    #[must_use]
    pub fn refusal(refusal: &Refusal, framing: Framing) -> Reply {
        let (reason, error) = (refusal.reason, object::refusal_object(refusal));
        let mut reply = match (reason.status_to_request(), &refusal.id) {
            (200, Some(_)) => Reply::framed(200, framing, &error),
            (status, Some(_)) => Reply::framed(status, Framing::Json, &error),
            (_, None) => Reply::framed(reason.bare_status(), Framing::Json, &error),
        };
        match reply.status {
            405 => reply.headers.push(("allow", "GET, POST, DELETE, OPTIONS".into())),
            401 => reply.headers.push(("www-authenticate", "Bearer".into())),
            _ => {}
        }
        reply
    }

    /// Answers a request that the policy denies.
    #[must_use]
    pub fn denial(to: &Addressee, denial: &Denial, context: &Context<'_>) -> Reply {
        match denial_object(to, denial, context) {
            Some(error) => {
                let mut reply = Reply::framed(denial.reason.status(), to.framing, &error);
                let retry = denial.told().retry_after_seconds();
                reply
                    .headers
                    .extend(retry.map(|seconds| ("retry-after", seconds.to_string().into())));
                reply
            }
            None => Reply::nothing(),
        }
    }

    /// Answers a request with what the client needs to go on: a question to its user, or the state alone with which it comes again.
    #[must_use]
    pub fn input_required(to: &Addressee, message: Option<&str>, state: &str) -> Reply {
        Reply::framed(200, to.framing, &input_required_object(to, message, state))
    }

    /// Answers with events of our own: a stream that ends, and that the client resumes.
    #[must_use]
    pub fn events(text: &str) -> Reply {
        let headers = vec![("content-type", Framing::EventStream.media().into())];
        Reply { status: 200, headers, body: text.as_bytes().to_vec() }
    }

    /// Answers a batch with one response for each of its requests.
    #[must_use]
    pub fn batch(errors: &[String], framing: Framing) -> Reply {
        if errors.is_empty() {
            return Reply::nothing();
        }
        Reply::framed(200, framing, &format!("[{}]", errors.join(",")))
    }

    /// Answers what nobody waits for an answer to. Any status that says more ends the session of some clients.
    #[must_use]
    pub fn nothing() -> Reply {
        Reply { status: 202, headers: Vec::new(), body: Vec::new() }
    }

    fn framed(status: u16, framing: Framing, json: &str) -> Reply {
        let headers = vec![("content-type", framing.media().into())];
        Reply { status, headers, body: framed_body(framing, json) }
    }
}

/// A JSON text as the body of an answer.
#[must_use]
pub fn framed_body(framing: Framing, json: &str) -> Vec<u8> {
    match framing {
        Framing::Json => json.as_bytes().to_vec(),
        Framing::EventStream => format!("event: message\ndata: {json}\n\n").into_bytes(),
    }
}

/// A caller's text, short enough to repeat.
#[must_use]
pub fn echoed(text: &str) -> String {
    if text.len() <= MAX_ECHO_BYTES {
        return text.to_owned();
    }
    let mut short = String::new();
    for character in text.chars() {
        if short.len() + character.len_utf8() > MAX_ECHO_BYTES {
            break;
        }
        short.push(character);
    }
    short.push('…');
    short
}
