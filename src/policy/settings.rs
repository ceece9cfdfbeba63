//! How the filter behaves beside the policy: how requests are read, denials answered, counts kept.

use std::cell::RefCell;

use super::log_key::LogKeys;
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
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Counters {
    /// How many shards.
    pub shards: Shards,
    /// What becomes of a call that cannot be counted.
    pub on_error: OnError,
    /// The rate limit service, for limits that count there.
    pub service: Option<RateLimitService>,
}

/// The rate limit service of the mesh, which counts for all Envoys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RateLimitService {
    /// Envoy's cluster.
    pub cluster: Box<str>,
    /// The domain of its limits.
    pub domain: Box<str>,
    /// How long an answer is waited for, in milliseconds.
    pub timeout_millis: u32,
    /// What becomes of a call of which no answer comes that can be understood.
    pub on_error: ServiceError,
    /// How long a look at the switch holds, in seconds; `None` where nobody looks.
    pub switch: Option<u32>,
}

/// What becomes of a call that the rate limit service does not count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServiceError {
    /// It is denied.
    Deny,
    /// It passes uncounted.
    Allow,
    /// It counts in this Envoy alone, by the same maximum.
    Local,
}

impl ServiceError {
    /// The words of policies, the usual one first.
    pub const WORDS: [(&'static str, ServiceError); 3] = [
        ("deny", ServiceError::Deny),
        ("allow", ServiceError::Allow),
        ("local", ServiceError::Local),
    ];
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

/// What is told of decisions.
#[derive(Debug, Default)]
pub struct Telling {
    /// The audit lines, where there are any.
    pub audit: Option<Audit>,
    /// Whether metrics are kept.
    pub metrics: bool,
    /// Whether `traceparent` of a request's `_meta` becomes the header that the server gets.
    pub traces_from_meta: bool,
    /// What is left in filter state.
    pub access_log: LogKeys,
}

/// The audit lines: one for each decision.
#[derive(Debug)]
pub struct Audit {
    /// Whether access logs can print them.
    pub to_access_log: bool,
    /// Whether they go to Envoy's own log.
    pub to_log: bool,
    /// What they say of arguments.
    pub arguments: AuditedArguments,
    /// The chain, where each line holds a digest of the one before it.
    pub chain: Option<RefCell<ChainEnd>>,
}

/// Where an audit line goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuditTarget {
    /// Envoy's access logs, by filter state.
    AccessLog,
    /// Envoy's own log.
    Log,
}

impl AuditTarget {
    /// The words of policies, the usual one first.
    pub const WORDS: [(&'static str, AuditTarget); 2] =
        [("access_log", AuditTarget::AccessLog), ("log", AuditTarget::Log)];
}

/// How much of the arguments an audit line says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AuditedArguments {
    /// Their digest alone.
    None,
    /// Their names too.
    Keys,
    /// Their values too, but not at these places.
    Redacted(Box<[RedactedPath]>),
    /// All values.
    Full,
}

/// The keys that lead to a value that is not told, outermost first.
pub type RedactedPath = Box<[Box<str>]>;

/// The last line of this worker's chain.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ChainEnd {
    /// The chain, by a number that was drawn when it began; none before that.
    pub id: Option<u64>,
    /// How many lines it has.
    pub lines: u64,
    /// The digest of the last, in hexadecimal; empty before the first.
    pub digest: String,
}
