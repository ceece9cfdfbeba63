//! `mcp-policy scan`: a first policy from what a server says of its tools, and an inventory of everything that agents can call.
//!
//! Whatever a server says is untrusted: it is shown on one line, it can make a tool look more dangerous but never less, and it
//! never becomes a part of the policy.

mod combine;
mod config;
mod gateway;
mod inventory;
mod over;
mod policy;
mod profile;
mod scanned;

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};

use clap::{ArgGroup, Args, ValueEnum};
use mcp_policy::source::Syntax;

use super::output::{Notes, OutputFile, deliver};
use super::server::Access;
use super::server::target::{Process, Target};
use super::tree::print::escaped;
use super::{Exit, Format, input, report};
use gateway::PlacedServer;
use mcp_policy::tools::classify::Classifier;
use mcp_policy::tools::{Tool, one_line};
use over::ToScan;
use profile::Profile;
use scanned::ScannedServer;

/// Write a first policy from a server's tools, or an inventory of everything that agents can call.
#[derive(Args)]
#[command(group = ArgGroup::new("from").required(true).args(["url", "command", "config", "installed", "tools"]))]
#[command(after_help = "Examples:\n  \
    mcp-policy scan http://127.0.0.1:8000/mcp > policy.yaml\n  \
    mcp-policy scan https://mcp.example.com/mcp --bearer-env TOKEN --profile cautious --output policy.yaml\n  \
    mcp-policy scan -- npx -y @modelcontextprotocol/server-everything\n  \
    mcp-policy scan --config ~/.cursor/mcp.json --output-folder policies/ --as markdown\n  \
    mcp-policy scan --config mcp.json --output-folder policies/ --gateway gateway.yaml\n  \
    mcp-policy scan --installed --as table\n\n\
    Servers that are given as a command, here or in a configuration, are started.\n\
    Exit codes: 0 scanned, 1 something is missing (a server of several, a tool that cannot be read, the end of a list), 2 nothing could be scanned or written.")]
pub(super) struct Arguments {
    /// The address of an MCP server: Streamable HTTP of any revision, or HTTP with SSE.
    url: Option<String>,
    /// The command of an MCP server that speaks over standard input and output.
    #[arg(last = true)]
    command: Vec<String>,
    /// The configuration of an MCP client (Claude Desktop, Claude Code, Cursor, VS Code, Gemini CLI, Codex, Zed, Windsurf, Continue): scans
    /// all of its servers. May be repeated.
    #[arg(long, value_name = "FILE")]
    config: Vec<PathBuf>,
    /// Looks for your own configurations where these clients keep them, and scans all servers in them. Those of the folder where you are
    /// are only named: give them to --config if you trust them.
    #[arg(long)]
    installed: bool,
    /// A file with the answer of `tools/list`, instead of a server.
    #[arg(long, value_name = "FILE")]
    tools: Option<PathBuf>,
    /// How much the policy lets through.
    #[arg(long, value_enum, default_value = "balanced")]
    profile: Profile,
    /// Your own rules for classes and marks, in the form of rules.tsv, before those that are built in.
    #[arg(long, value_name = "FILE")]
    rules: Option<PathBuf>,
    /// Takes `readOnlyHint` for true where the name of a tool says nothing, and its description that it reads.
    #[arg(long)]
    trust_annotations: bool,
    /// What to print: a policy (for one server), the inventory, or the tools as `tools/list` has them.
    /// [default: policy; with --config and --installed: table; with --format json: the inventory in JSON]
    #[arg(long = "as", value_enum, value_name = "WHAT")]
    what: Option<ReportForm>,
    #[command(flatten)]
    access: Access,
    /// With --config or --installed: writes a policy for each server into this folder.
    #[arg(long = "output-folder", alias = "out", value_name = "FOLDER")]
    folder: Option<PathBuf>,
    /// With --output-folder: writes a gateway file for `render`, with all of these servers behind one Envoy.
    #[arg(long, value_name = "FILE", requires = "folder")]
    gateway: Option<PathBuf>,
    /// With --gateway: where a bridge serves servers that speak over standard input and output; `{name}` is a server's name.
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:8100/servers/{name}/mcp")]
    bridge: String,
    /// Writes into each entry the digest of the tool's definition: the tool is shown and called only as long as it has this one.
    #[arg(long)]
    pin: bool,
    #[command(flatten)]
    output: OutputFile,
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
    let several = arguments.installed || !arguments.config.is_empty();
    let what = arguments.what.unwrap_or(match format {
        Format::Json => ReportForm::Json,
        Format::Human if several => ReportForm::Table,
        Format::Human => ReportForm::Policy,
    });
    if several && matches!(what, ReportForm::Policy | ReportForm::Tools) {
        return Err("--as policy and tools are for one server; with --config, --output-folder writes a policy for each".to_owned());
    }
    if arguments.folder.is_some() && !several {
        return Err(
            "--output-folder is for --config and --installed; --output names a file".to_owned()
        );
    }
    if arguments.access.has_credentials() && arguments.url.is_none() {
        return Err(
            "--header, --header-env and --bearer-env are for a server that is given by its address"
                .to_owned(),
        );
    }
    for file in arguments.output.file().into_iter().chain(arguments.gateway.as_deref()) {
        arguments.output.free(file)?;
    }
    let classifier = classifier(arguments)?;
    let mut missing = 0;
    let servers = match &arguments.tools {
        Some(file) => vec![from_file(file, &classifier)?],
        None => {
            let (targets, unread) = targets(arguments)?;
            missing += unread;
            over::the_wire(targets, arguments.access.within(), &classifier)?
        }
    };
    for server in &servers {
        let name = one_line(&server.name, 100);
        match &server.outcome {
            Err(problem) => report::trouble(&format!("{name}: {problem}")),
            Ok(_) => {
                server.left_out.iter().for_each(|line| report::warning(&format!("{name}: {line}")));
                if let Some(found) = server.recognised().filter(|_| format == Format::Human) {
                    report::note(&format!("{name}: {}", found.proposal()));
                }
            }
        }
    }
    let failed = servers.iter().filter(|server| server.outcome.is_err()).count();
    if failed > 0 && (failed == servers.len() || !several) {
        return Ok(Exit::Unusable);
    }
    missing += failed + servers.iter().filter(|server| !server.left_out.is_empty()).count();
    if let Some(folder) = &arguments.folder {
        let governed = write_policies(folder, &servers, arguments)?;
        if let Some(file) = &arguments.gateway {
            write_gateway(file, &governed, arguments)?;
        }
    }
    let exit = print(&servers, what, arguments, format);
    Ok(if missing > 0 { exit.max(Exit::No) } else { exit })
}

fn classifier(arguments: &Arguments) -> Result<Classifier, String> {
    let mut classifier = Classifier::new();
    if let Some(file) = &arguments.rules {
        classifier
            .extend(&text(file)?)
            .map_err(|problem| format!("{}: {problem}", input::name(file)))?;
    }
    if arguments.trust_annotations {
        classifier.trust_annotations();
    }
    Ok(classifier)
}

fn from_file(file: &Path, classifier: &Classifier) -> Result<ScannedServer, String> {
    let text = text(file)?;
    let tools =
        Tool::read_list(&text).map_err(|problem| format!("{}: {problem}", input::name(file)))?;
    let name = file.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
    let outcome = Ok(classifier.judge_all(tools));
    Ok(ScannedServer {
        name,
        calls_itself: None,
        configuration: None,
        reached: None,
        outcome,
        left_out: Vec::new(),
    })
}

fn text(file: &Path) -> Result<String, String> {
    String::from_utf8(input::bytes(file)?)
        .map_err(|_| format!("{}: not text in UTF-8", input::name(file)))
}

/// What is to be scanned, and how many configurations could not be read.
fn targets(arguments: &Arguments) -> Result<(Vec<ToScan>, usize), String> {
    if arguments.installed {
        return installed();
    }
    if !arguments.config.is_empty() {
        let mut found = Vec::new();
        for file in &arguments.config {
            let name = input::name(file);
            let read =
                config::read(&text(file)?, file).map_err(|problem| format!("{name}: {problem}"))?;
            let read = read.ok_or_else(|| {
                format!("{name}: no servers in it: expected `mcpServers`, `servers`, `mcp.servers`, `mcp_servers` or `context_servers`")
            })?;
            found.extend(configured(read, &name));
        }
        if found.is_empty() {
            let names: Vec<String> =
                arguments.config.iter().map(|file| input::name(file)).collect();
            return Err(format!("{}: no servers in it", names.join(", ")));
        }
        return Ok((found, 0));
    }
    let target = if let Some(url) = &arguments.url {
        Target::Remote(arguments.access.remote(url)?)
    } else {
        let (command, rest) = arguments.command.split_first().ok_or("no command")?;
        let process =
            Process { command: command.clone(), arguments: rest.to_vec(), ..Process::default() };
        Target::Process(process)
    };
    Ok((vec![ToScan { name: None, configuration: None, target: Ok(target) }], 0))
}

/// The servers of a configuration. What is left out of it is said.
fn configured(read: config::ConfigurationRead, configuration: &str) -> Vec<ToScan> {
    for line in &read.left_out {
        report::note(&format!("{configuration}: {line}"));
    }
    let servers = read.servers.into_iter().map(|server| {
        for note in &server.notes {
            report::warning(&format!("{configuration}: {}: {note}", one_line(&server.name, 100)));
        }
        ToScan {
            name: Some(server.name),
            configuration: Some(configuration.to_owned()),
            target: server.target,
        }
    });
    servers.collect()
}

/// The configurations in the well-known places. One that cannot be read is said and counted.
fn installed() -> Result<(Vec<ToScan>, usize), String> {
    let mut found = Vec::new();
    let mut unread = 0;
    for file in config::program::places() {
        let name = input::name(&file);
        let read = text(&file).and_then(|text| {
            config::read(&text, &file).map_err(|problem| format!("{name}: {problem}"))
        });
        match read {
            Ok(Some(read)) => {
                report::note(&format!("{name}: {}", report::counted(read.servers.len(), "server")));
                found.extend(configured(read, &name));
            }
            // Settings without servers.
            Ok(None) => {}
            Err(problem) => {
                report::trouble(&problem);
                unread += 1;
            }
        }
    }
    for file in config::program::of_this_folder() {
        let name = input::name(&file);
        report::note(&format!(
            "{name} is not scanned: whoever wrote this folder says there what is started; --config {name} scans it"
        ));
    }
    if found.is_empty() {
        return Err(
            "no configuration with servers in the well-known places; --config names one".to_owned()
        );
    }
    Ok((found, unread))
}

fn print(
    servers: &[ScannedServer],
    what: ReportForm,
    arguments: &Arguments,
    format: Format,
) -> Exit {
    let first = servers.first().filter(|server| server.outcome.is_ok());
    let output = &arguments.output;
    let text = match (what, first) {
        (ReportForm::Policy, Some(server)) => {
            let draft = policy::draft(server, (arguments.profile, arguments.pin));
            let notes = Notes::on("tools", draft.notes);
            return notes.deliver(&one_line(&server.name, 100), &draft.text, output, format);
        }
        (ReportForm::Tools, Some(server)) => {
            let judged = server.outcome.iter().flat_map(|judged| &judged.tools);
            let tools: Vec<&serde_json::Value> = judged.map(|(tool, _)| &tool.raw).collect();
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

fn write_policies(
    folder: &Path,
    servers: &[ScannedServer],
    arguments: &Arguments,
) -> Result<Vec<PlacedServer>, String> {
    fs::create_dir_all(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let mut taken = HashSet::new();
    let mut governed = Vec::new();
    for server in servers {
        if server.outcome.is_err() {
            continue;
        }
        let base = policy::policy_name(&server.name).unwrap_or_else(|| "server".to_owned());
        let numbered =
            std::iter::once(base.to_owned()).chain((2..).map(|number| format!("{base}-{number}")));
        let name = numbered.into_iter().find(|name| taken.insert(name.clone())).unwrap_or_default();
        let path = folder.join(format!("{name}.yaml"));
        arguments.output.free(&path)?;
        let draft = policy::draft(server, (arguments.profile, arguments.pin));
        let called = one_line(&server.name, 100);
        let notes = Notes::on("tools", draft.notes);
        let output = arguments.output.at(&path);
        if notes.deliver(&called, &draft.text, &output, Format::Human) != Exit::Ok {
            return Err(format!("{}: the policies are not all written", folder.display()));
        }
        report::note(&format!("wrote {}", path.display()));
        if let Some(reached) = server.reached.clone() {
            let called = server.name.clone();
            governed.push(PlacedServer { called, name, reached, policy: path });
        }
    }
    Ok(governed)
}

fn write_gateway(
    file: &Path,
    governed: &[PlacedServer],
    arguments: &Arguments,
) -> Result<(), String> {
    let configs: Vec<String> = arguments.config.iter().map(|file| input::name(file)).collect();
    let (text, notes) = gateway::draft(governed, file, &configs.join(", "), &arguments.bridge);
    let notes = Notes::on("servers", notes);
    let output = arguments.output.at(file);
    if notes.deliver(&input::name(file), &text, &output, Format::Human) != Exit::Ok {
        return Err(format!("{}: it is not written", file.display()));
    }
    report::note(&format!("wrote {}", file.display()));
    Ok(())
}
