//! The keys of filter state, by which access logs find what was decided.

/// One of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogKey {
    /// The decision.
    Decision,
    /// The JSON-RPC method.
    Method,
    /// The tool.
    Tool,
    /// The resource.
    Resource,
    /// The prompt.
    Prompt,
    /// Why.
    Reason,
    /// Why a response was withheld.
    Cause,
    /// The line of the policy that decided.
    Rule,
    /// The policy's name.
    Policy,
    /// The policy's digest.
    Digest,
    /// How the call was counted without the rate limit service.
    Counted,
    /// Who approved the call.
    Approval,
    /// Who called.
    Grant,
    /// Further names of who called.
    Identity,
    /// What the candidate would have decided.
    Candidate,
    /// The trace that the request names.
    Traceparent,
}

impl LogKey {
    /// Their words, in the order in which they are left. In filter state they are called `wasm.<word>`.
    pub const WORDS: [(&'static str, LogKey); 16] = [
        ("mcp_decision", LogKey::Decision),
        ("mcp_method", LogKey::Method),
        ("mcp_tool", LogKey::Tool),
        ("mcp_resource", LogKey::Resource),
        ("mcp_prompt", LogKey::Prompt),
        ("mcp_reason", LogKey::Reason),
        ("mcp_cause", LogKey::Cause),
        ("mcp_rule", LogKey::Rule),
        ("mcp_policy", LogKey::Policy),
        ("mcp_digest", LogKey::Digest),
        ("mcp_counted", LogKey::Counted),
        ("mcp_approval", LogKey::Approval),
        ("mcp_grant", LogKey::Grant),
        ("mcp_identity", LogKey::Identity),
        ("mcp_candidate", LogKey::Candidate),
        ("mcp_traceparent", LogKey::Traceparent),
    ];
}

/// Which of them are left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogKeys(u16);

impl LogKeys {
    /// All of them.
    pub const ALL: LogKeys = LogKeys(u16::MAX);

    /// Whether this one is.
    #[must_use]
    pub fn has(self, key: LogKey) -> bool {
        self.0 & (1 << key as u16) != 0
    }
}

impl FromIterator<LogKey> for LogKeys {
    fn from_iter<T: IntoIterator<Item = LogKey>>(keys: T) -> LogKeys {
        LogKeys(keys.into_iter().fold(0, |bits, key| bits | 1 << key as u16))
    }
}

impl Default for LogKeys {
    fn default() -> LogKeys {
        LogKeys::ALL
    }
}
