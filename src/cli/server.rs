//! MCP servers as a client sees them: where they are, which credentials they want, and which tools they list.

mod client;
pub(super) mod listing;
mod process;
mod said;
pub(super) mod secrets;
mod sse;
pub(super) mod target;

use std::future::Future;
use std::time::Duration;

use clap::Args;

use super::report;
use listing::ToolsRead;
use secrets::Secrets;
use serde_json::Value;
use target::{Remote, Target};

/// More bytes than any list of tools has.
const MOST_BYTES: usize = 64 << 20;

/// How a server is asked, on the command line.
#[derive(Args)]
pub(super) struct Access {
    /// Sends a header with every request; may be repeated.
    #[arg(long, value_name = "NAME:VALUE")]
    header: Vec<String>,
    /// Sends a header with the value of a variable; may be repeated.
    #[arg(long, value_name = "NAME=VARIABLE")]
    header_env: Vec<String>,
    /// Sends the value of a variable as bearer token.
    #[arg(long, value_name = "VARIABLE")]
    bearer_env: Option<String>,
    /// How long to wait for a server, in seconds.
    #[arg(long, value_name = "SECONDS", default_value = "30", value_parser = clap::value_parser!(u64).range(1..=3600))]
    timeout: u64,
}

impl Access {
    /// The server at an address, with the credentials that were given for it.
    ///
    /// # Errors
    /// Where it is no address, or a credential is not there.
    pub(super) fn remote(&self, url: &str) -> Result<Remote, String> {
        let mut remote =
            Remote::new(url).map_err(|problem| format!("{}: {problem}", target::shown(url)))?;
        remote.headers =
            target::headers(&self.header, &self.header_env, self.bearer_env.as_deref())?;
        Ok(remote)
    }

    /// How long to wait for a server.
    pub(super) fn within(&self) -> Duration {
        Duration::from_secs(self.timeout)
    }

    /// Whether credentials were given, which are for one address.
    pub(super) fn has_credentials(&self) -> bool {
        !self.header.is_empty() || !self.header_env.is_empty() || self.bearer_env.is_some()
    }
}

/// Does what needs servers, until it is done or the user interrupts it.
///
/// # Errors
/// Where it cannot start, or is interrupted.
pub(super) fn connected<T>(work: impl Future<Output = T>) -> Result<T, String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| format!("cannot start: {error}"))?;
    let done = runtime.block_on(async {
        tokio::select! {
            done = work => Ok(done),
            _ = tokio::signal::ctrl_c() => Err("interrupted".to_owned()),
        }
    });
    // What servers leave running is not waited for.
    runtime.shutdown_timeout(Duration::from_secs(1));
    done
}

/// Reads the tools of a server, all pages of them; `progress` hears how many there are so far. No secret that the server was
/// given is in what is returned.
///
/// # Errors
/// In a few words, why they cannot be read.
pub(super) async fn tools(
    target: &Target,
    name: &str,
    within: Duration,
    progress: &dyn Fn(usize),
) -> Result<ToolsRead, String> {
    if let Target::Remote(remote) = target
        && remote.is_exposed()
    {
        report::warning(&format!("{name}: credentials cross the network in the clear; use https"));
    }
    let secrets = Secrets::of(target);
    let mut read =
        client::tools(target, within, progress).await.map_err(|problem| secrets.hide(&problem))?;
    read.server = read.server.map(|name| secrets.hide(&name));
    for line in &mut read.left_out {
        *line = secrets.hide(line);
    }
    for tool in &mut read.tools {
        tool.description = secrets.hide(&tool.description);
        secrets.hide_in(&mut tool.input);
        if let Value::Object(members) = &mut tool.raw {
            // A tool is called by its name, whatever that is.
            members
                .iter_mut()
                .filter(|(key, _)| *key != "name")
                .for_each(|(_, member)| secrets.hide_in(member));
        }
    }
    Ok(read)
}
