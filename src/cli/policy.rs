//! `mcp-policy policy`: a reviewed policy for a well-known server, out of the catalogue.

use clap::Args;
use serde::Serialize;

use super::catalogue::{self, CataloguedServer};
use super::output::{OutputFile, deliver};
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
    #[command(flatten)]
    output: OutputFile,
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
        return list(arguments, format);
    };
    let found = catalogue::named(name).and_then(|server| Some((server.policy()?, server)));
    let Some((policy, server)) = found else {
        let name = name.escape_debug();
        report::trouble(&format!(
            "there is no server `{name}` in the catalogue; `mcp-policy policy` lists those that there are"
        ));
        return Exit::Unusable;
    };
    if format == Format::Json && arguments.output.file().is_none() {
        report::json(&CatalogueRow::of(&server, Some(policy)));
        return Exit::Ok;
    }
    deliver(policy, &arguments.output)
}

fn list(arguments: &Arguments, format: Format) -> Exit {
    if arguments.output.file().is_some() {
        report::trouble(
            "name a server, whose policy is to be written; without one, all are listed",
        );
        return Exit::Unusable;
    }
    let servers = catalogue::all();
    if format == Format::Json {
        let rows: Vec<CatalogueRow> =
            servers.iter().map(|server| CatalogueRow::of(server, None)).collect();
        report::json(&rows);
        return Exit::Ok;
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
    Exit::Ok
}
