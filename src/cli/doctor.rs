//! `mcp-policy doctor`: what is missing around the filter in Envoy's configuration.
//!
//! Envoy's configuration is looked at as it was written, by the names of its fields: what comes from a control plane is not seen, unless it
//! is in what `/config_dump` says.

mod bounds;
mod chain;
mod filter;
mod findings;
mod found;
mod layout;
mod module;
mod plugin;
mod shell;
mod tokens;

use std::path::PathBuf;

use mcp_policy::json::Value;
use mcp_policy::language::diagnostic::{Code, Diagnostic};
use mcp_policy::source::finding::{self, Finding};
use mcp_policy::source::{Problem, SourceText, sort};
use serde::Serialize;

use super::input::{self, CliError};
use super::report;
use super::sarif::{self, SarifFile};
use super::{Exit, Format};
use crate::cli::out::err;
use findings::{Complaint, Findings};
use found::Found;
use layout::Layout;
use shell::ConfiguredPolicy;

/// Say what is missing around the filter in Envoy's configuration, with a cure each.
#[derive(clap::Args)]
#[command(after_help = "\
It looks at header hold, what happens after a crash, the order of filters, tokens, CORS, buffers, time-outs, counters' scope, secrets,
clusters, and ways past the filter, and knows the native module too. Where a listener only names the filter (`render --live`, ECDS), give that
file too.

Examples:
  mcp-policy doctor envoy.yaml
  mcp-policy doctor envoy.yaml live/mcp_policy.yaml
  curl -s http://127.0.0.1:9901/config_dump | mcp-policy doctor -

Exit codes: 0 nothing that fails was found, 1 something was (or a warning, with --deny-warnings), 2 a file cannot be read.")]
pub(super) struct Arguments {
    /// Envoy's configuration, YAML or JSON, whole or in parts that belong together: its file, the filter's own, an EnvoyFilter, or what
    /// `/config_dump` says; `-` is standard input.
    #[arg(required = true)]
    files: Vec<PathBuf>,

    /// Take warnings for errors.
    #[arg(long)]
    deny_warnings: bool,

    #[command(flatten)]
    sarif: SarifFile,
}

/// What was found in one file, as `--format json` has it.
#[derive(Serialize)]
struct Examined {
    file: String,
    problems: Vec<Finding>,
}

/// Looks at the files and prints what is wrong with them.
pub(super) fn run(arguments: &Arguments, format: Format) -> Exit {
    examine(arguments, format).unwrap_or_else(|trouble| {
        trouble.tell();
        Exit::Unusable
    })
}

fn examine(arguments: &Arguments, format: Format) -> Result<Exit, CliError> {
    let sources: Vec<SourceText> =
        arguments.files.iter().map(|file| input::source(file)).collect::<Result<_, _>>()?;
    let values: Vec<Value<'_>> = sources.iter().map(input::value).collect::<Result<_, _>>()?;
    let (findings, notes) = look(&values);
    let by_file: Vec<(&SourceText, Vec<Problem>)> = sources
        .iter()
        .enumerate()
        .map(|(at, source)| {
            (source, located(source, findings.0.iter().filter(|found| found.document == at)))
        })
        .collect();
    for (at, note) in notes {
        let name = sources.get(at).map_or("", |source| &source.name);
        report::note(&format!("{name}: {note}"));
    }
    sarif::write(&arguments.sarif, by_file.iter().map(|(source, problems)| (*source, &**problems)))
        .map_err(CliError::Line)?;
    if format == Format::Json {
        let examined = by_file.iter().map(|(source, problems)| Examined {
            file: source.name.clone(),
            problems: finding::findings(source, problems),
        });
        report::json(&examined.collect::<Vec<_>>());
    }
    let mut exit = Exit::Ok;
    for (source, problems) in &by_file {
        let errors = problems.iter().filter(|problem| problem.is_error()).count();
        let bad = errors > 0 || (arguments.deny_warnings && !problems.is_empty());
        exit = exit.max(if bad { Exit::No } else { Exit::Ok });
        if format == Format::Human {
            tell(source, problems, bad, arguments.deny_warnings);
        }
    }
    Ok(exit)
}

fn tell(source: &SourceText, problems: &[Problem], bad: bool, warnings_count: bool) {
    report::problems(source, problems, warnings_count);
    let name = &source.name;
    match (problems.len(), bad) {
        (0, _) => report::well(&format!("{name}: nothing is missing around the filter")),
        (count, true) => err!("{name}: {}", report::counted(count as u64, "problem")),
        (count, false) => {
            let warnings = report::counted(count as u64, "warning");
            report::well(&format!("{name}: works, with {warnings}"));
        }
    }
}

/// Looks at documents that belong together; also says what cannot be seen in which of them.
fn look(documents: &[Value<'_>]) -> (Findings, Vec<(usize, String)>) {
    let layout = Layout::of(documents);
    let mut findings = Findings::default();
    if layout.placed.is_empty() && layout.elsewhere.is_empty() {
        let roots = documents.iter().take(1);
        for root in roots.map(|document| Found::root(0, document)) {
            findings.error(
                &root,
                Code::NoFilter,
                "there is no filter of mcp-policy in it: nothing is judged",
                "`mcp-policy render POLICY --for envoy` (or `--for envoy-module`) writes a configuration that has it; envoy/README.md explains every line",
            );
        }
    }
    for placed in &layout.placed {
        plugin::check(placed, &mut findings);
        let config = match &placed.policy {
            ConfiguredPolicy::Loaded(config) => Some(&**config),
            ConfiguredPolicy::Missing
            | ConfiguredPolicy::Unread(_)
            | ConfiguredPolicy::Refused(..) => None,
        };
        let Some(place) = placed.place else { continue };
        if let Some(chain) = layout.chains.get(place.chain) {
            chain::check(placed, place.at, chain, config, &mut findings);
            if let Some(config) = config {
                bounds::check(chain, config, &mut findings);
            }
        }
    }
    plugin::together(&layout, &mut findings);
    module::around(&layout, &mut findings);
    bounds::clusters(&layout, &mut findings);
    (findings, unseen(&layout))
}

/// What is not in a document and has to be there all the same, with the document.
fn unseen(layout: &Layout<'_>) -> Vec<(usize, String)> {
    let mut unseen = Vec::new();
    for found in &layout.elsewhere {
        let note = "the filter's own configuration comes from elsewhere: give that file too";
        unseen.push((found.document, note.to_owned()));
    }
    for placed in &layout.placed {
        for name in module::needed(placed) {
            let note = format!(
                "the policy needs the secret `{name}`, and the module reads it from the environment that Envoy is started with: see that it is there"
            );
            unseen.push((placed.plugin.document, note));
        }
    }
    unseen.dedup();
    unseen
}

/// The problems of one file, each with its place in the text.
fn located<'f>(
    source: &SourceText,
    complaints: impl Iterator<Item = &'f Complaint>,
) -> Vec<Problem> {
    let spans = source.spans();
    let problem = |complaint: &Complaint| {
        let diagnostic: Diagnostic = complaint.diagnostic.clone();
        Problem { diagnostic, at: spans.range(&complaint.pointer), earlier: None }
    };
    let mut problems: Vec<Problem> = complaints.map(problem).collect();
    sort(&mut problems);
    problems
}
