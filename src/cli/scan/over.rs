//! Scanning over the wire: one server after the other, each once.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use super::gateway::Reached;
use super::scanned::ScannedServer;
use crate::cli::report;
use crate::cli::server::listing::ToolsRead;
use crate::cli::server::target::Target;
use crate::cli::server::{connected, tools};
use mcp_policy::tools::classify::Classifier;
use mcp_policy::tools::one_line;

/// A server that is to be scanned.
pub(super) struct ToScan {
    /// Its name in a configuration.
    pub(super) name: Option<String>,
    pub(super) configuration: Option<String>,
    /// Where it is, or why that cannot be said.
    pub(super) target: Result<Target, String>,
}

impl ToScan {
    /// What it is called before it says itself.
    fn shown(&self) -> String {
        let name = self.name.as_ref().map(|name| one_line(name, 60));
        name.unwrap_or_else(|| self.target.as_ref().map(Target::shown).unwrap_or_default())
    }
}

/// Asks every server; a progress bar shows on a terminal.
///
/// # Errors
/// Where it cannot start, or is interrupted.
pub(super) fn the_wire(
    servers: Vec<ToScan>,
    within: Duration,
    classifier: &Classifier,
) -> Result<Vec<ScannedServer>, String> {
    let bar = match report::is_quiet() {
        true => ProgressBar::hidden(),
        false => ProgressBar::new(servers.len() as u64),
    };
    if let Ok(style) = ProgressStyle::with_template("{spinner} {pos}/{len} {wide_msg}") {
        bar.set_style(style);
    }
    bar.enable_steady_tick(Duration::from_millis(100));
    let scanned = connected(async {
        let mut scanned = Vec::new();
        // Several clients have the same server often: it is started once.
        let mut asked: Vec<(Target, Result<ToolsRead, String>)> = Vec::new();
        for server in servers {
            let shown = server.shown();
            bar.set_message(shown.clone());
            let read = match &server.target {
                Err(problem) => Err(problem.clone()),
                Ok(target) => match asked.iter().find(|(known, _)| known == target) {
                    Some((_, read)) => read.clone(),
                    None => {
                        let progress = |count| bar.set_message(format!("{shown}: {count} tools"));
                        let read = tools(target, &shown, within, &progress).await;
                        asked.push((target.clone(), read.clone()));
                        read
                    }
                },
            };
            scanned.push(told(server, shown, read, classifier));
            bar.inc(1);
        }
        scanned
    });
    bar.finish_and_clear();
    scanned
}

fn told(
    server: ToScan,
    shown: String,
    read: Result<ToolsRead, String>,
    classifier: &Classifier,
) -> ScannedServer {
    let (own, left_out, tools) = match read {
        Ok(read) => (read.server, read.left_out, Ok(read.tools)),
        Err(problem) => (None, Vec::new(), Err(problem)),
    };
    let (name, calls_itself) = match (server.name, own) {
        (Some(name), own) => (name, own),
        (None, Some(own)) => (own, None),
        (None, None) => (shown, None),
    };
    let reached = server.target.as_ref().ok().map(Reached::of);
    ScannedServer {
        reached,
        name,
        calls_itself,
        configuration: server.configuration,
        outcome: tools.map(|tools| classifier.judge_all(tools)),
        left_out,
    }
}
