//! How the filter behaves beside the policy: how requests are read, denials answered, counts kept.

use crate::json::Bounds;
use crate::rate::limiter::Shards;

/// How requests are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Requests {
    /// The longest body that is read, in bytes.
    pub max_body_bytes: usize,
    /// How deep it may be nested.
    pub max_depth: usize,
    /// What becomes of batches.
    pub batch: Batch,
    /// Whether headers wait for the decision.
    pub hold_headers: HoldHeaders,
}

impl Requests {
    /// How large the JSON of a body may be.
    #[must_use]
    pub fn bounds(&self) -> Bounds {
        Bounds::of_body(self.max_body_bytes, self.max_depth)
    }
}

/// What becomes of batches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Batch {
    /// Each element is decided.
    Decide,
    /// They are refused.
    Deny,
}

impl Batch {
    /// The words of policies, the usual one first.
    pub const WORDS: [(&'static str, Batch); 2] =
        [("decide", Batch::Decide), ("deny", Batch::Deny)];
}

/// Whether the headers of a request wait until its body is judged. Envoy allows that only with
/// `allow_on_headers_stop_iteration`, which a filter cannot ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HoldHeaders {
    /// Found out by the first requests.
    Auto,
    /// The operator states that Envoy allows it.
    Always,
    /// The headers go ahead of the decision.
    Never,
}

impl HoldHeaders {
    /// The words of policies, the usual one first.
    pub const WORDS: [(&'static str, HoldHeaders); 3] = [
        ("auto", HoldHeaders::Auto),
        ("always", HoldHeaders::Always),
        ("never", HoldHeaders::Never),
    ];
}

/// How denied tool calls are answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Denials {
    /// With a JSON-RPC error.
    Error,
    /// With a result that says it is an error, for agents that drop errors.
    ToolResult,
}

impl Denials {
    /// The words of policies, the usual one first.
    pub const WORDS: [(&'static str, Denials); 2] =
        [("error", Denials::Error), ("tool_result", Denials::ToolResult)];
}

/// Where counts are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counters {
    /// How many shards.
    pub shards: Shards,
    /// What becomes of a call that cannot be counted.
    pub on_error: OnError,
}

/// What becomes of a call that cannot be counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnError {
    /// It is denied.
    Deny,
    /// It passes uncounted.
    Allow,
}

impl OnError {
    /// The words of policies, the usual one first.
    pub const WORDS: [(&'static str, OnError); 2] =
        [("deny", OnError::Deny), ("allow", OnError::Allow)];
}
