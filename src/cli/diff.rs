//! `mcp-policy diff`: what a server says of its tools, beside what somebody has read and allowed.

mod changes;
mod compare;
mod lookalike;
mod speech;

use std::path::PathBuf;

use clap::{ArgGroup, Args};
use mcp_policy::policy::compiled::{Config, Policy};
use serde::Serialize;

use super::definition::{ListedTool, listed, read};
use super::input::{self, CliError};
use super::report::{self, bad, counted, doubtful, good};
use super::server::target::{Process, Target};
use super::server::{self, Access, connected};
use super::{Exit, Format};
use crate::cli::out::out;
use compare::{Standing, ToolChange, compare};
use speech::TextWarning;

/// Show which tools of a server are new, gone or defined otherwise than a policy knows them, and what in their definitions speaks to models.
#[derive(Args)]
#[command(group = ArgGroup::new("from").required(true).args(["server", "tools", "command"]))]
#[command(after_help = "\
Examples:
  mcp-policy scan http://127.0.0.1:8000/mcp --as tools --output reviewed.json
  mcp-policy scan --tools reviewed.json --pin > policy.yaml
  mcp-policy diff policy.yaml --server http://127.0.0.1:8000/mcp --was reviewed.json
  mcp-policy diff policy.yaml --tools tools.json --deny-warnings

A policy has the digest of a definition, and not its text. `--was` has the text: a definition in it is believed if it has that digest.

Exit codes: 0 nothing has changed, 1 something has (with --deny-warnings also if a text speaks to models), 2 a file or the server cannot be read.")]
pub(super) struct Arguments {
    /// A policy or plugin configuration, JSON or YAML.
    file: PathBuf,

    /// The address of the server: Streamable HTTP of any revision, or HTTP with SSE.
    #[arg(long, value_name = "URL")]
    server: Option<String>,

    /// A file with the answer of `tools/list`, instead of a server.
    #[arg(long, value_name = "FILE")]
    tools: Option<PathBuf>,

    /// The command of a server that speaks over standard input and output.
    #[arg(last = true)]
    command: Vec<String>,

    /// The tools as they were when somebody read them, as `scan --as tools` writes them.
    #[arg(long, value_name = "FILE")]
    was: Option<PathBuf>,

    /// The policy of this server, where there are several.
    #[arg(long = "policy", value_name = "NAME")]
    policy_name: Option<String>,

    /// Take warnings for changes.
    #[arg(long)]
    deny_warnings: bool,

    #[command(flatten)]
    access: Access,
}

/// The answer, as `--format json` has it.
#[derive(Serialize)]
struct ToolsDifference {
    changes: Vec<ToolChange>,
    warnings: Vec<TextWarning>,
    /// How many tools are defined as they are pinned.
    pinned: usize,
    /// How many tools the policy knows, but does not pin.
    unpinned: usize,
}

pub(super) fn run(arguments: &Arguments, format: Format) -> Exit {
    difference(arguments, format).unwrap_or_else(|trouble| {
        trouble.tell();
        Exit::Unusable
    })
}

fn difference(arguments: &Arguments, format: Format) -> Result<Exit, CliError> {
    if arguments.access.has_credentials() && arguments.server.is_none() {
        let line = "--header, --header-env and --bearer-env need --server";
        return Err(CliError::Line(line.to_owned()));
    }
    let (_, config) = input::policy(&arguments.file)?;
    let policy = chosen(arguments, &config).map_err(CliError::Line)?;
    let was = match &arguments.was {
        Some(file) => Some((input::name(file), input::source(file)?.text)),
        None => None,
    };
    let (name, text) = found(arguments)?;
    let of = |name: &str, problem| CliError::Line(format!("{name}: {problem}"));
    let document = read(&text).map_err(|problem| of(&name, problem))?;
    let tools = listed(&document).map_err(|problem| of(&name, problem))?;
    let before = was.as_ref().map(|(name, text)| read(text).map_err(|problem| of(name, problem)));
    let before = before.transpose()?;
    let before = match (&before, &was) {
        (Some(document), Some((name, _))) => {
            listed(document).map_err(|problem| of(name, problem))?
        }
        _ => Vec::new(),
    };
    let found = ToolsDifference::of(&config, policy, &tools, &before);
    match format {
        Format::Json => report::json(&found),
        Format::Human => found.print(),
    }
    let warned = arguments.deny_warnings && !found.warnings.is_empty();
    Ok(if found.changes.is_empty() && !warned { Exit::Ok } else { Exit::No })
}

/// The tools, as text, and what they are called.
fn found(arguments: &Arguments) -> Result<(String, String), CliError> {
    if let Some(file) = &arguments.tools {
        let source = input::source(file)?;
        return Ok((source.name, source.text));
    }
    let (target, name) = match (&arguments.server, arguments.command.split_first()) {
        (Some(url), _) => {
            let remote = arguments.access.remote(url).map_err(CliError::Line)?;
            (Target::Remote(remote), url.clone())
        }
        (None, Some((command, rest))) => {
            let (command, arguments) = (command.clone(), rest.to_vec());
            let process = Process { command, arguments, ..Process::default() };
            (Target::Process(process), "the server".to_owned())
        }
        (None, None) => return Err(CliError::Line("no server".to_owned())),
    };
    let within = arguments.access.within();
    let tools = connected(server::tools(&target, &name, within, &|_| ()))
        .and_then(|tools| tools)
        .map_err(|problem| CliError::Line(format!("{name}: {problem}")))?;
    let tools: Vec<&serde_json::Value> = tools.tools.iter().map(|tool| &tool.raw).collect();
    Ok((name, serde_json::json!({ "tools": tools }).to_string()))
}

/// The policy that the user names; without a name the only one.
fn chosen<'c>(arguments: &Arguments, config: &'c Config) -> Result<&'c Policy, String> {
    let names: Vec<String> =
        config.policies().map(|policy| policy.name.escape_debug().to_string()).collect();
    let names = names.join(", ");
    match &arguments.policy_name {
        Some(name) => config.policies().find(|policy| *policy.name == **name).ok_or_else(|| {
            format!("there is no policy `{}`; there is {names}", name.escape_debug())
        }),
        None if config.others.is_empty() => Ok(&config.policy),
        None => Err(format!("give one of {names} with --policy")),
    }
}

impl ToolsDifference {
    fn of(
        config: &Config,
        policy: &Policy,
        tools: &[ListedTool<'_>],
        before: &[ListedTool<'_>],
    ) -> ToolsDifference {
        let compared = compare(policy, tools, before);
        let count = |wanted| compared.iter().filter(|change| change.standing == wanted).count();
        let (pinned, unpinned) = (count(Standing::Same), count(Standing::Unpinned));
        let mut warnings: Vec<TextWarning> = Vec::new();
        for tool in tools {
            warnings.extend(speech::of(tool));
            warnings.extend(speech::mentions(tool, config, tools, before));
        }
        warnings.extend(lookalike::of(policy, tools));
        let changed =
            |change: &ToolChange| !matches!(change.standing, Standing::Same | Standing::Unpinned);
        let changes = compared.into_iter().filter(changed).collect();
        ToolsDifference { changes, warnings, pinned, unpinned }
    }

    fn print(&self) {
        for change in &self.changes {
            let word = change.standing.word();
            let styled = match change.standing {
                Standing::Same | Standing::Unpinned => good(word),
                Standing::New | Standing::Gone => doubtful(word),
                Standing::Changed | Standing::Unreadable | Standing::Twice => bad(word),
            };
            out!("{styled} {}: {}", change.tool, change.about);
            for line in &change.lines {
                out!("    {line}");
            }
        }
        for TextWarning { tool, place, warning, text } in &self.warnings {
            out!("{} {tool}: {warning}", doubtful("warning"));
            out!("    {place}: {text}");
        }
        let (changed, warned) = (self.changes.len(), self.warnings.len());
        out!(
            "{}, {}; {} as pinned, {} not pinned",
            counted(changed, "change"),
            counted(warned, "warning"),
            self.pinned,
            self.unpinned
        );
    }
}
