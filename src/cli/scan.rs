//! `mcp-policy scan`: a first policy from what a server says of its tools, and an inventory of everything that agents can call.
//!
//! Whatever a server says is untrusted: it is shown on one line, it can make a tool look more dangerous but never less, and it
//! never becomes a part of the policy.

mod config;
mod inventory;
mod policy;
mod profile;

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{ArgGroup, Args, ValueEnum};
use indicatif::{ProgressBar, ProgressStyle};
use mcp_policy::source::Syntax;

use super::output::{Notes, deliver};
use super::server::target::{Process, Target};
use super::server::{Access, connected, tools};
use super::tree::print::escaped;
use super::{Exit, Format, input, report};
use config::Configured;
use inventory::Server;
use mcp_policy::tools::classify::{Classification, Classifier};
use mcp_policy::tools::{Tool, one_line};
use profile::Profile;

/// Write a first policy from a server's tools, or an inventory of everything that agents can call.
#[derive(Args)]
#[command(group = ArgGroup::new("from").required(true).args(["url", "command", "config", "tools"]))]
#[command(after_help = "Examples:\n  \
    mcp-policy scan http://127.0.0.1:8000/mcp > policy.yaml\n  \
    mcp-policy scan https://mcp.example.com/mcp --bearer-env TOKEN --profile cautious --output policy.yaml\n  \
    mcp-policy scan -- npx -y @modelcontextprotocol/server-everything\n  \
    mcp-policy scan --config ~/.cursor/mcp.json --out policies/ --as markdown\n\n\
    Servers that are given as a command, here or in a configuration, are started.\n\
    Exit codes: 0 scanned, 1 some servers of a configuration could not be scanned, 2 nothing could be scanned or written.")]
pub(super) struct Arguments {
    /// The address of an MCP server: Streamable HTTP of any revision, or HTTP with SSE.
    url: Option<String>,
    /// The command of an MCP server that speaks over standard input and output.
    #[arg(last = true)]
    command: Vec<String>,
    /// The configuration of an MCP client (Claude Desktop, Cursor, VS Code, .mcp.json): scans all of its servers.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// A file with the answer of `tools/list`, instead of a server.
    #[arg(long, value_name = "FILE")]
    tools: Option<PathBuf>,
    /// How much the policy lets through.
    #[arg(long, value_enum, default_value = "balanced")]
    profile: Profile,
    /// What to print: a policy (for one server), the inventory, or the tools as `tools/list` has them.
    /// [default: policy; with --config: table; with --format json: the inventory in JSON]
    #[arg(long = "as", value_enum, value_name = "WHAT")]
    what: Option<ReportForm>,
    #[command(flatten)]
    access: Access,
    /// With --config: writes a policy for each server into this folder.
    #[arg(long, value_name = "FOLDER", requires = "config")]
    out: Option<PathBuf>,
    /// Where to write what is printed, instead of standard output.
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Replaces files that are there already.
    #[arg(long)]
    force: bool,
}

/// What is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum ReportForm {
    /// A policy, in YAML.
    Policy,
    /// The inventory, for people.
    Table,
    /// The inventory, for programs.
    #[value(skip)]
    Json,
    /// The inventory, for a page.
    Markdown,
    /// The tools as the server lists them, for `--tools`.
    Tools,
}

pub(super) fn run(arguments: &Arguments, format: Format) -> Exit {
    scan(arguments, format).unwrap_or_else(|problem| {
        report::trouble(&problem);
        Exit::Unusable
    })
}

fn scan(arguments: &Arguments, format: Format) -> Result<Exit, String> {
    let several = arguments.config.is_some();
    let what = arguments.what.unwrap_or(match format {
        Format::Json => ReportForm::Json,
        Format::Human if several => ReportForm::Table,
        Format::Human => ReportForm::Policy,
    });
    if several && matches!(what, ReportForm::Policy | ReportForm::Tools) {
        return Err("--as policy and tools are for one server; with --config, --out writes a policy for each".to_owned());
    }
    if arguments.access.has_credentials() && arguments.url.is_none() {
        return Err(
            "--header, --header-env and --bearer-env are for a server that is given by its address"
                .to_owned(),
        );
    }
    for file in arguments.output.iter().filter(|_| !arguments.force) {
        unused(file)?;
    }
    let servers = match &arguments.tools {
        Some(file) => vec![from_file(file)?],
        None => over_the_wire(targets(arguments)?, arguments.access.within())?,
    };
    for server in &servers {
        if let Err(problem) = &server.tools {
            report::trouble(&format!("{}: {problem}", one_line(&server.name, 100)));
        }
    }
    let failed = servers.iter().filter(|server| server.tools.is_err()).count();
    if failed > 0 && (failed == servers.len() || !several) {
        return Ok(Exit::Unusable);
    }
    if let Some(folder) = &arguments.out {
        write_policies(folder, &servers, arguments)?;
    }
    let exit = print(&servers, what, arguments, format);
    Ok(if failed > 0 { exit.max(Exit::No) } else { exit })
}

fn from_file(file: &Path) -> Result<Server, String> {
    let text = text(file)?;
    let tools =
        Tool::read_list(&text).map_err(|problem| format!("{}: {problem}", input::name(file)))?;
    let name = file.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
    Ok(Server { name, tools: Ok(judged(tools, &Classifier::new())) })
}

fn text(file: &Path) -> Result<String, String> {
    String::from_utf8(input::bytes(file)?)
        .map_err(|_| format!("{}: not text in UTF-8", input::name(file)))
}

fn targets(arguments: &Arguments) -> Result<Vec<Configured>, String> {
    if let Some(file) = &arguments.config {
        let servers = config::read(&text(file)?, file)
            .map_err(|problem| format!("{}: {problem}", input::name(file)))?;
        if servers.is_empty() {
            return Err(format!("{}: no servers in it", input::name(file)));
        }
        return Ok(servers);
    }
    if let Some(url) = &arguments.url {
        let remote = arguments.access.remote(url)?;
        return Ok(vec![Configured { name: url.clone(), target: Ok(Target::Remote(remote)) }]);
    }
    let (command, rest) = arguments.command.split_first().ok_or("no command")?;
    let process =
        Process { command: command.clone(), arguments: rest.to_vec(), ..Process::default() };
    Ok(vec![Configured { name: arguments.command.join(" "), target: Ok(Target::Process(process)) }])
}

/// Scans one server after the other; a progress bar shows on a terminal.
fn over_the_wire(servers: Vec<Configured>, within: Duration) -> Result<Vec<Server>, String> {
    let bar = ProgressBar::new(servers.len() as u64);
    if let Ok(style) = ProgressStyle::with_template("{spinner} {pos}/{len} {wide_msg}") {
        bar.set_style(style);
    }
    bar.enable_steady_tick(Duration::from_millis(100));
    let classifier = Classifier::new();
    let scanned = connected(async {
        let mut scanned = Vec::new();
        for Configured { name, target } in servers {
            let shown = one_line(&name, 60);
            bar.set_message(shown.clone());
            let listed = match &target {
                Ok(target) => {
                    let progress = |count| bar.set_message(format!("{shown}: {count} tools"));
                    tools(target, &shown, within, &progress).await
                }
                Err(problem) => Err(problem.clone()),
            };
            scanned.push(Server { name, tools: listed.map(|tools| judged(tools, &classifier)) });
            bar.inc(1);
        }
        scanned
    });
    bar.finish_and_clear();
    scanned
}

fn judged(tools: Vec<Tool>, classifier: &Classifier) -> Vec<(Tool, Classification)> {
    let judged = tools.into_iter().map(|tool| {
        let judgement = classifier.judge(&tool);
        (tool, judgement)
    });
    judged.collect()
}

fn print(servers: &[Server], what: ReportForm, arguments: &Arguments, format: Format) -> Exit {
    let of_first =
        servers.first().and_then(|server| Some((&server.name, server.tools.as_ref().ok()?)));
    let output = arguments.output.as_deref();
    let text = match (what, of_first) {
        (ReportForm::Policy, Some((name, tools))) => {
            let draft = policy::draft(name, tools, arguments.profile);
            let notes = Notes::on("tools", draft.notes);
            return notes.deliver(&one_line(name, 100), &draft.text, output, format);
        }
        (ReportForm::Tools, Some((_, tools))) => {
            let tools: Vec<&serde_json::Value> = tools.iter().map(|(tool, _)| &tool.raw).collect();
            let text = format!("{:#}\n", serde_json::json!({"tools": tools}));
            return deliver(&escaped(&text, Syntax::Json), output);
        }
        (ReportForm::Json, _) => return deliver(&inventory::json(servers), output),
        (ReportForm::Markdown, _) => inventory::markdown(servers),
        (ReportForm::Table | ReportForm::Policy | ReportForm::Tools, _) => {
            inventory::table(servers)
        }
    };
    Notes::default().deliver("", &text, output, format)
}

fn write_policies(folder: &Path, servers: &[Server], arguments: &Arguments) -> Result<(), String> {
    fs::create_dir_all(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let mut taken = HashSet::new();
    for server in servers {
        let Ok(tools) = &server.tools else { continue };
        let plain = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' };
        let name = server.name.chars().map(plain).take(60).collect::<String>();
        let name = name.trim_matches('-');
        let base = if name.is_empty() { "server" } else { name };
        let numbered =
            std::iter::once(base.to_owned()).chain((2..).map(|number| format!("{base}-{number}")));
        let name = numbered.into_iter().find(|name| taken.insert(name.clone())).unwrap_or_default();
        let path = folder.join(format!("{name}.yaml"));
        if !arguments.force {
            unused(&path)?;
        }
        let draft = policy::draft(&server.name, tools, arguments.profile);
        let name = one_line(&server.name, 100);
        let notes = Notes::on("tools", draft.notes);
        if notes.deliver(&name, &draft.text, Some(&path), Format::Human) != Exit::Ok {
            return Err(format!("{}: the policies are not all written", folder.display()));
        }
        report::note(&format!("wrote {}", path.display()));
    }
    Ok(())
}

/// A policy that somebody has worked on is not to be lost.
fn unused(path: &Path) -> Result<(), String> {
    // Without following links: what is written through one that leads nowhere yet ends up somewhere else.
    if path.symlink_metadata().is_ok() {
        return Err(format!("{} is there already; --force replaces it", path.display()));
    }
    Ok(())
}
