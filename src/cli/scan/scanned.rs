//! What a scan of a server came to.

use super::gateway::Reached;
use mcp_policy::tools::classify::JudgedTools;

/// A server with its tools, or why there are none.
pub(super) struct ScannedServer {
    pub(super) name: String,
    /// What it calls itself, where it has another name here.
    pub(super) calls_itself: Option<String>,
    /// The configuration that it is of.
    pub(super) configuration: Option<String>,
    /// How a gateway comes to it, where that is known.
    pub(super) reached: Option<Reached>,
    pub(super) outcome: Result<JudgedTools, String>,
    /// What is missing of it, each in one line.
    pub(super) left_out: Vec<String>,
}
