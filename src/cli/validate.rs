//! `mcp-policy validate`: what the filter would say of a configuration, and what it would not.

use std::path::{Path, PathBuf};

use mcp_policy::lint::fit::{self, ToolSchema};
use mcp_policy::policy::compiled::Config;
use mcp_policy::rehearsal::suite::Suite;
use mcp_policy::source::finding::{Finding, findings};
use mcp_policy::source::{Problem, SourceText, Syntax, sort};
use serde::Serialize;

use super::input::{self, ByFile, CliError};
use super::report;
use super::sarif::{self, SarifFile};
use super::server::target::Target;
use super::server::{self, Access, connected};
use super::{Exit, Format, folder, gateway};
use crate::cli::out::err;

/// Check policies and plugin configurations, and print every problem.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  mcp-policy validate policies/
  mcp-policy validate --deny-warnings --tools tools.json policy.yaml
  mcp-policy validate new.json --against old.json
  mcp-policy validate --deny-warnings --sarif policies.sarif policies/
  mcp-policy validate --server https://mcp.example.com/mcp --bearer-env TOKEN policy.yaml

`tools.json` is the server's answer to tools/list, whole or only its tools, one page or a list of pages; `--server` asks the
server itself. With them, a policy that names unknown tools or arguments, or compares them with values that they never have,
draws warnings.

With `--against`, each count that starts anew when the new configuration takes the place of the old one draws a warning (P301), and
each whose limit is gone (P302). Both must have the same plugin name.

Files are read as JSON or YAML by their ending; others, and standard input, are JSON if they begin with `{`.
Files named `*.test.yaml` are checked as policy tests. A folder stands for the policies, gateway files and tests in it and below it;
what is hidden or behind a link is left out, and so are documents that are none of these.
Exit codes: 0 all valid, 1 at least one is not, 2 a file or the server cannot be read.")]
pub(super) struct Arguments {
    /// Policies, plugin configurations or gateway files, with the policies that they name, or folders of them; JSON or YAML; `-` is standard
    /// input.
    #[arg(required = true)]
    files: Vec<PathBuf>,

    /// Check the policies against a server's tools and their schemas.
    #[arg(long, value_name = "FILE")]
    tools: Option<PathBuf>,

    /// Check the policies against the tools of a running server: its address (Streamable HTTP, or HTTP with SSE).
    #[arg(long, value_name = "URL", conflicts_with = "tools")]
    server: Option<String>,

    #[command(flatten)]
    access: Access,

    /// The policy that is checked against the tools, where there are several.
    #[arg(long = "policy", value_name = "NAME")]
    policy_name: Option<String>,

    /// Say which counts start anew when the file takes the place of this one.
    #[arg(long, value_name = "OLD")]
    against: Option<PathBuf>,

    /// Take warnings for errors.
    #[arg(long)]
    deny_warnings: bool,

    #[command(flatten)]
    sarif: SarifFile,
}

/// One file, as `--format json` has it.
#[derive(Serialize)]
struct FileReport {
    file: String,
    valid: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    /// The policies of a file that can be used.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    policies: Vec<NamedPolicy>,
    problems: Vec<Finding>,
    /// The same with their document, for SARIF.
    #[serde(skip)]
    found: Option<(SourceText, Vec<Problem>)>,
}

/// A policy by what logs, metrics and denials call it.
#[derive(Serialize)]
struct NamedPolicy {
    name: String,
    digest: String,
}

/// The policies of a file; none of a file that is no configuration.
fn named(source: &SourceText) -> Vec<NamedPolicy> {
    let config = source.compile().0;
    let policies = config.iter().flat_map(Config::policies);
    let named = policies.map(|policy| NamedPolicy {
        name: policy.name.to_string(),
        digest: policy.named_digest.to_string(),
    });
    named.collect()
}

/// Checks every file and prints what is wrong with it. The worst one decides the exit code.
pub(super) fn run(arguments: &Arguments, format: Format) -> Exit {
    checked(arguments, format).unwrap_or_else(|trouble| {
        trouble.tell();
        Exit::Unusable
    })
}

fn checked(arguments: &Arguments, format: Format) -> Result<Exit, CliError> {
    let files = folder::expanded(&arguments.files)?;
    if arguments.against.is_some() && files.len() > 1 {
        return Err(CliError::Line("--against compares one file with another".to_owned()));
    }
    let old = arguments.against.as_deref().map(input::policy).transpose()?;
    let old = old.as_ref().map(|(_, config)| config);
    let Some(source) = tools(arguments)? else {
        if arguments.policy_name.is_some() {
            return Err(CliError::Line("--policy needs --tools or --server".to_owned()));
        }
        return check_all(&files, arguments, &[], old, format);
    };
    let value = input::value(&source)?;
    match fit::tools(&value) {
        Ok(tools) if tools.is_empty() => {
            Err(CliError::Line(format!("{}: there is no tool in it", source.name)))
        }
        Ok(tools) => check_all(&files, arguments, &tools, old, format),
        Err(problem) => Err(CliError::Line(format!("{}: {problem}", source.name))),
    }
}

/// The tools of a server as a document, where the policies are checked against them.
fn tools(arguments: &Arguments) -> Result<Option<SourceText>, CliError> {
    if let Some(url) = &arguments.server {
        return listed(url, &arguments.access).map(Some).map_err(CliError::Line);
    }
    if arguments.access.has_credentials() {
        let line = "--header, --header-env and --bearer-env need --server";
        return Err(CliError::Line(line.to_owned()));
    }
    arguments.tools.as_deref().map(input::source).transpose()
}

/// Asks a server for its tools.
fn listed(url: &str, access: &Access) -> Result<SourceText, String> {
    let target = Target::Remote(access.remote(url)?);
    let name = target.shown();
    let read = connected(server::tools(&target, &name, access.within(), &|_| ()))?
        .map_err(|problem| format!("{name}: {problem}"))?;
    for line in &read.left_out {
        report::warning(&format!("{name}: {line}"));
    }
    let tools: Vec<&serde_json::Value> = read.tools.iter().map(|tool| &tool.raw).collect();
    let text = serde_json::json!({ "tools": tools }).to_string();
    Ok(SourceText { name, text, syntax: Syntax::Json })
}

fn check_all(
    files: &[PathBuf],
    arguments: &Arguments,
    tools: &[ToolSchema<'_>],
    old: Option<&Config>,
    format: Format,
) -> Result<Exit, CliError> {
    let mut reports = Vec::new();
    let mut worst = Exit::Ok;
    for file in files {
        let checked = check(file, tools, old, arguments, format);
        for (report, exit) in checked {
            reports.push(report);
            worst = worst.max(exit);
        }
    }
    if format == Format::Json {
        report::json(&reports);
    }
    let found = reports.iter().filter_map(|report| report.found.as_ref());
    sarif::write(&arguments.sarif, found.map(|(source, problems)| (source, &**problems)))
        .map_err(CliError::Line)?;
    Ok(worst)
}

/// One file, or a gateway file and each of the policies that it names.
fn check(
    file: &Path,
    tools: &[ToolSchema<'_>],
    old: Option<&Config>,
    arguments: &Arguments,
    format: Format,
) -> Vec<(FileReport, Exit)> {
    let name = input::name(file);
    let source = match input::source(file) {
        Ok(source) => source,
        Err(trouble) => return found(name, Err(trouble), arguments, format),
    };
    if input::tested(file).is_some() {
        let problems = tests(&source);
        return found(name, Ok(vec![(source, problems)]), arguments, format);
    }
    if let Some(problems) = gateway::problems(file, &source) {
        let beside = !tools.is_empty() || old.is_some();
        let line = "--tools, --server and --against are for a policy, and this is a gateway file";
        let refused = || CliError::Line(format!("{name}: {line}"));
        let problems =
            problems.and_then(|problems| if beside { Err(refused()) } else { Ok(problems) });
        return found(name, problems, arguments, format);
    }
    let problems = compiled(&source, tools, old, arguments.policy_name.as_deref());
    let problems = problems.map_err(|line| CliError::Line(format!("{name}: {line}")));
    found(name, problems.map(|problems| vec![(source, problems)]), arguments, format)
}

/// What was found in files, or why they cannot be used.
fn found(
    name: String,
    problems: Result<ByFile, CliError>,
    arguments: &Arguments,
    format: Format,
) -> Vec<(FileReport, Exit)> {
    let found = match problems {
        Ok(found) | Err(CliError::Documents(found)) => found,
        Err(CliError::Document(source, problems)) => vec![(*source, problems)],
        Err(CliError::Line(line)) => return vec![unusable(name, line)],
    };
    let each = found.iter();
    each.map(|(source, problems)| told(source, problems, arguments, format)).collect()
}

/// What was found in a file, said and counted.
fn told(
    source: &SourceText,
    problems: &[Problem],
    arguments: &Arguments,
    format: Format,
) -> (FileReport, Exit) {
    let name = source.name.clone();
    let errors = problems.iter().filter(|problem| problem.is_error()).count();
    let warnings = problems.len() - errors;
    let valid = errors == 0 && (warnings == 0 || !arguments.deny_warnings);
    let policies = if errors == 0 { named(source) } else { Vec::new() };
    if format == Format::Human {
        report::problems(source, problems, arguments.deny_warnings);
        let counts = counts(errors, warnings);
        match (valid, counts.is_empty()) {
            (true, true) => report::well(&format!("{name}: valid")),
            (true, false) => report::well(&format!("{name}: valid, with {counts}")),
            (false, _) => err!("{name}: not valid: {counts}"),
        }
        for NamedPolicy { name, digest } in policies.iter().filter(|_| valid) {
            report::well(&format!("  {} {digest}", name.escape_debug()));
        }
    }
    let found = Some((source.clone(), problems.to_vec()));
    let problems = match format {
        Format::Human => Vec::new(),
        Format::Json => findings(source, problems),
    };
    let exit = if valid { Exit::Ok } else { Exit::No };
    (FileReport { file: name, valid, error: None, policies, problems, found }, exit)
}

/// What is wrong with a policy, by itself, beside a server's tools, and in the place of an old one.
fn compiled(
    source: &SourceText,
    tools: &[ToolSchema<'_>],
    old: Option<&Config>,
    policy: Option<&str>,
) -> Result<Vec<Problem>, String> {
    let (config, mut problems) = match tools.is_empty() {
        true => source.compile(),
        false => source.compile_for(tools, policy),
    };
    let Some(config) = config else { return Ok(problems) };
    if let Some(line) = unchosen(&config, policy).filter(|_| !tools.is_empty()) {
        return Err(line);
    }
    if let Some(old) = old {
        problems.extend(source.renewal(old, &config));
        sort(&mut problems);
    }
    Ok(problems)
}

/// Why it is not known which policy is to be compared with the tools.
fn unchosen(config: &Config, chosen: Option<&str>) -> Option<String> {
    let names = || {
        let names = config.policies().map(|policy| policy.name.escape_debug().to_string());
        names.collect::<Vec<_>>().join(", ")
    };
    match chosen {
        None if config.others.is_empty() => None,
        None => {
            Some(format!("say which policy these tools are for: --policy with one of {}", names()))
        }
        Some(name) if config.policies().any(|policy| *policy.name == *name) => None,
        Some(name) => {
            Some(format!("there is no policy `{}`; there is {}", name.escape_debug(), names()))
        }
    }
}

fn unusable(file: String, line: String) -> (FileReport, Exit) {
    report::trouble(&line);
    (
        FileReport {
            file,
            valid: false,
            error: Some(line),
            policies: Vec::new(),
            problems: Vec::new(),
            found: None,
        },
        Exit::Unusable,
    )
}

/// What is wrong with a document of policy tests.
fn tests(source: &SourceText) -> Vec<Problem> {
    match source.value().map(|value| Suite::read(&value, None)) {
        Ok(Ok(_)) => Vec::new(),
        Ok(Err(problems)) => source.locate(problems),
        Err(problem) => vec![*problem],
    }
}

fn counts(errors: usize, warnings: usize) -> String {
    let counted = [(errors, "error"), (warnings, "warning")].into_iter();
    let words = counted.filter(|(count, _)| *count > 0);
    let words = words.map(|(count, word)| report::counted(count, word));
    words.collect::<Vec<_>>().join(", ")
}
