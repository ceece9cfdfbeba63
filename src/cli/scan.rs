//! `mcp-policy scan`: a first policy from what a server says of its tools, and an inventory of everything that agents can call.
//!
//! Whatever a server says is untrusted: it is shown on one line, it can make a tool look more dangerous but never less, and it
//! never becomes a part of the policy.

mod classify;
mod client;
mod config;
mod inventory;
mod policy;
mod profile;
mod sse;
mod target;
mod tool;

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{ArgGroup, Args, ValueEnum};
use indicatif::{ProgressBar, ProgressStyle};

use super::Exit;
use super::source::deliver;
use classify::{Classifier, Judgement};
use config::Configured;
use inventory::Server;
use profile::Profile;
use target::{Process, Remote, Target};
use tool::{Tool, one_line};

#[derive(Args)]
#[command(group = ArgGroup::new("what").required(true).args(["url", "command", "config", "tools"]))]
#[command(after_help = "Examples:\n  \
    mcp-policy scan http://127.0.0.1:8000/mcp > policy.yaml\n  \
    mcp-policy scan https://mcp.example.com/mcp --bearer-env TOKEN --profile cautious --output policy.yaml\n  \
    mcp-policy scan -- npx -y @modelcontextprotocol/server-everything\n  \
    mcp-policy scan --config ~/.cursor/mcp.json --out policies/ --format markdown\n\n\
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
    /// [default: policy; with --config: table]
    #[arg(long, value_enum)]
    format: Option<Report>,
    /// Sends a header with every request; may be repeated.
    #[arg(long, value_name = "NAME:VALUE", requires = "url")]
    header: Vec<String>,
    /// Sends a header with the value of a variable; may be repeated.
    #[arg(long, value_name = "NAME=VARIABLE", requires = "url")]
    header_env: Vec<String>,
    /// Sends the value of a variable as bearer token.
    #[arg(long, value_name = "VARIABLE", requires = "url")]
    bearer_env: Option<String>,
    /// How long to wait for a server, in seconds.
    #[arg(long, value_name = "SECONDS", default_value = "30", value_parser = clap::value_parser!(u64).range(1..=3600))]
    timeout: u64,
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
enum Report {
    /// A policy, in YAML.
    Policy,
    /// The inventory, for people.
    Table,
    /// The inventory, for programs.
    Json,
    /// The inventory, for a page.
    Markdown,
    /// The tools as the server lists them, for `--tools`.
    Tools,
}

pub(super) fn run(arguments: &Arguments) -> Exit {
    match scan(arguments) {
        Ok(exit) => exit,
        Err(problem) => {
            eprintln!("{problem}");
            Exit::Unusable
        }
    }
}

fn scan(arguments: &Arguments) -> Result<Exit, String> {
    let several = arguments.config.is_some();
    let report = arguments.format.unwrap_or(if several { Report::Table } else { Report::Policy });
    if several && matches!(report, Report::Policy | Report::Tools) {
        return Err("--format policy and tools are for one server; with --config, --out writes a policy for each".to_owned());
    }
    for file in arguments.output.iter().filter(|_| !arguments.force) {
        unused(file)?;
    }
    let servers = match &arguments.tools {
        Some(file) => vec![from_file(file)?],
        None => over_the_wire(arguments, targets(arguments)?)?,
    };
    for server in &servers {
        if let Err(problem) = &server.tools {
            eprintln!("{}: {problem}", one_line(&server.name, 100));
        }
    }
    let failed = servers.iter().filter(|server| server.tools.is_err()).count();
    if failed > 0 && (failed == servers.len() || !several) {
        return Ok(Exit::Unusable);
    }
    if let Some(folder) = &arguments.out {
        write_policies(folder, &servers, arguments)?;
    }
    let text = print(&servers, report, arguments.profile);
    let exit = deliver(&text, arguments.output.as_deref());
    Ok(if failed > 0 { exit.max(Exit::Invalid) } else { exit })
}

fn from_file(file: &Path) -> Result<Server, String> {
    let text = fs::read_to_string(file)
        .map_err(|error| format!("{}: cannot be read: {error}", file.display()))?;
    let tools =
        Tool::read_list(&text).map_err(|problem| format!("{}: {problem}", file.display()))?;
    let name = file.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
    Ok(Server { name, tools: Ok(judged(tools, &Classifier::new())) })
}

fn targets(arguments: &Arguments) -> Result<Vec<Configured>, String> {
    if let Some(file) = &arguments.config {
        let text = fs::read_to_string(file)
            .map_err(|error| format!("{}: cannot be read: {error}", file.display()))?;
        let servers = config::read(&text, file)
            .map_err(|problem| format!("{}: {problem}", file.display()))?;
        if servers.is_empty() {
            return Err(format!("{}: no servers in it", file.display()));
        }
        return Ok(servers);
    }
    if let Some(url) = &arguments.url {
        let mut remote =
            Remote::new(url).map_err(|problem| format!("{}: {problem}", one_line(url, 100)))?;
        remote.headers = target::headers(
            &arguments.header,
            &arguments.header_env,
            arguments.bearer_env.as_deref(),
        )?;
        return Ok(vec![Configured { name: url.clone(), target: Ok(Target::Remote(remote)) }]);
    }
    let (command, rest) = arguments.command.split_first().ok_or("no command")?;
    let process =
        Process { command: command.clone(), arguments: rest.to_vec(), ..Process::default() };
    Ok(vec![Configured { name: arguments.command.join(" "), target: Ok(Target::Process(process)) }])
}

/// Scans one server after the other; a progress bar shows on a terminal.
fn over_the_wire(arguments: &Arguments, servers: Vec<Configured>) -> Result<Vec<Server>, String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| format!("cannot start: {error}"))?;
    let bar = ProgressBar::new(servers.len() as u64);
    if let Ok(style) = ProgressStyle::with_template("{spinner} {pos}/{len} {wide_msg}") {
        bar.set_style(style);
    }
    bar.enable_steady_tick(Duration::from_millis(100));
    let within = Duration::from_secs(arguments.timeout);
    let classifier = Classifier::new();
    let scanned = runtime.block_on(async {
        let all = async {
            let mut scanned = Vec::new();
            for Configured { name, target } in servers {
                let shown = one_line(&name, 60);
                bar.set_message(shown.clone());
                let tools = match &target {
                    Ok(target) => {
                        warn_if_exposed(target, &shown);
                        client::tools(target, within, &|count| {
                            bar.set_message(format!("{shown}: {count} tools"))
                        })
                        .await
                    }
                    Err(problem) => Err(problem.clone()),
                };
                scanned.push(Server { name, tools: tools.map(|tools| judged(tools, &classifier)) });
                bar.inc(1);
            }
            scanned
        };
        tokio::select! {
            scanned = all => Ok(scanned),
            _ = tokio::signal::ctrl_c() => Err("interrupted".to_owned()),
        }
    });
    bar.finish_and_clear();
    // What servers leave running is not waited for.
    runtime.shutdown_timeout(Duration::from_secs(1));
    scanned
}

fn warn_if_exposed(target: &Target, name: &str) {
    if let Target::Remote(remote) = target
        && remote.is_exposed()
    {
        eprintln!("{name}: warning: credentials cross the network in the clear; use https");
    }
}

fn judged(tools: Vec<Tool>, classifier: &Classifier) -> Vec<(Tool, Judgement)> {
    let judged = tools.into_iter().map(|tool| {
        let judgement = classifier.judge(&tool);
        (tool, judgement)
    });
    judged.collect()
}

fn print(servers: &[Server], report: Report, profile: Profile) -> String {
    let of_first =
        servers.first().and_then(|server| Some((&server.name, server.tools.as_ref().ok()?)));
    match (report, of_first) {
        (Report::Policy, Some((name, tools))) => {
            let draft = policy::draft(name, tools, profile);
            tell(&draft.notes);
            draft.text
        }
        (Report::Tools, Some((_, tools))) => {
            let tools: Vec<&serde_json::Value> = tools.iter().map(|(tool, _)| &tool.raw).collect();
            format!("{:#}\n", serde_json::json!({"tools": tools}))
        }
        (Report::Json, _) => inventory::json(servers),
        (Report::Markdown, _) => inventory::markdown(servers),
        (Report::Table | Report::Policy | Report::Tools, _) => inventory::table(servers),
    }
}

fn tell(notes: &[String]) {
    for note in notes {
        eprintln!("note: {note}");
    }
}

fn write_policies(folder: &Path, servers: &[Server], arguments: &Arguments) -> Result<(), String> {
    fs::create_dir_all(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let mut taken = std::collections::HashSet::new();
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
        tell(&draft.notes);
        fs::write(&path, draft.text).map_err(|error| format!("{}: {error}", path.display()))?;
        let _ = writeln!(std::io::stderr(), "wrote {}", path.display());
    }
    Ok(())
}

/// A policy that somebody has worked on is not to be lost.
fn unused(path: &Path) -> Result<(), String> {
    if path.exists() {
        return Err(format!("{} is there already; --force replaces it", path.display()));
    }
    Ok(())
}
