//! What a scan of a server came to.

use super::gateway::Reached;
use crate::cli::catalogue::{Recognised, recognise};
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

impl ScannedServer {
    /// The server of the catalogue that this one looks like.
    pub(super) fn recognised(&self) -> Option<Recognised> {
        let judged = self.outcome.as_ref().ok()?;
        let calls_itself = self.calls_itself.as_deref().unwrap_or(&self.name);
        recognise(calls_itself, judged.tools.iter().map(|(tool, _)| &*tool.name))
    }
}
