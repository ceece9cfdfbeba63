//! `mcp-policy policy`: a reviewed policy for a well-known server, out of the catalogue.

use std::path::PathBuf;

use clap::Args;
use serde::Serialize;

use super::catalogue::{self, CataloguedServer};
use super::output::deliver;
use super::report::{self, counted};
use super::table::{self, First};
use super::{Exit, Format};
use crate::cli::out::out;

/// Write the reviewed policy of a well-known server, or list the servers that have one.
#[derive(Args)]
#[command(after_help = "Examples:\n  \
    mcp-policy policy\n  \
    mcp-policy policy filesystem --output policy.yaml\n  \
    mcp-policy policy awslabs.prometheus-mcp-server\n\n\
    Its head says what to set: roots, hosts, names of your own. `validate --server URL` says what your server has that it does not know.\n\
    Exit codes: 0 written, 2 there is no such server, or it cannot be written.")]
pub(super) struct Arguments {
    /// A server: its name in the catalogue, or that of its package. Without one, all are listed.
    name: Option<String>,
    /// Where to write it, instead of standard output.
    #[arg(long, short, value_name = "FILE", requires = "name")]
    output: Option<PathBuf>,
    /// Replaces a file that is there already.
    #[arg(long)]
    force: bool,
}

/// A server, as `--format json` has it.
#[derive(Serialize)]
struct CatalogueRow {
    name: &'static str,
    package: &'static str,
    version: &'static str,
    scanned: &'static str,
    about: &'static str,
    tools: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    policy: Option<&'static str>,
}

impl CatalogueRow {
    fn of(server: &CataloguedServer, policy: Option<&'static str>) -> CatalogueRow {
        CatalogueRow {
            name: server.name,
            package: server.package,
            version: server.version,
            scanned: server.scanned,
            about: server.about,
            tools: server.tools.len(),
            policy,
        }
    }
}

pub(super) fn run(arguments: &Arguments, format: Format) -> Exit {
    let Some(name) = &arguments.name else {
        list(format);
        return Exit::Ok;
    };
    let found = catalogue::named(name).and_then(|server| Some((server.policy()?, server)));
    let Some((policy, server)) = found else {
        let name = name.escape_debug();
        report::trouble(&format!(
            "there is no server `{name}` in the catalogue; `mcp-policy policy` lists those that there are"
        ));
        return Exit::Unusable;
    };
    if let Some(file) = &arguments.output
        && !arguments.force
        && file.symlink_metadata().is_ok()
    {
        report::trouble(&format!("{} is there already; --force replaces it", file.display()));
        return Exit::Unusable;
    }
    if format == Format::Json && arguments.output.is_none() {
        report::json(&CatalogueRow::of(&server, Some(policy)));
        return Exit::Ok;
    }
    deliver(policy, arguments.output.as_deref())
}

fn list(format: Format) {
    let servers = catalogue::all();
    if format == Format::Json {
        let rows: Vec<CatalogueRow> =
            servers.iter().map(|server| CatalogueRow::of(server, None)).collect();
        report::json(&rows);
        return;
    }
    let cells = |server: &CataloguedServer| {
        let tools = server.tools.len().to_string();
        [server.name, server.package, server.version, &tools, server.about]
            .map(str::to_owned)
            .to_vec()
    };
    let rows: Vec<Vec<String>> = servers.iter().map(cells).collect();
    let heads = ["NAME", "PACKAGE", "VERSION", "TOOLS", "WHAT IT IS FOR"];
    out!("{}", table::lines(&heads, &rows, First::Word).join("\n"));
    out!("\n{}; `mcp-policy policy NAME` writes its policy", counted(servers.len(), "server"));
}
