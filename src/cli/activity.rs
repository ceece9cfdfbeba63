//! `mcp-policy report`: what was decided, of whom and why, on one page for people.

mod answer;
mod chart;
mod figures;
mod markup;
mod page;
mod tables;
mod timeline;

use std::path::PathBuf;

use mcp_policy::source::Syntax;
use mcp_policy::tree::print::escaped;

use super::audited::AuditedLines;
use super::input::CliError;
use super::output::{OutputFile, deliver};
use super::{Exit, Format, report};
use answer::Activity;
use figures::Figures;

/// Write a page about recorded decisions: what was stopped, of whom, by which rule, and which limits are near full.
#[derive(clap::Args)]
#[command(after_help = "\
A log has one line a decision: audit lines, or lines of the access log as envoy/envoy.yaml has them. The page is one file that loads
nothing and runs nothing. `--format json` writes the same figures for programs. Only audit lines tell how full limits were.

Examples:
  mcp-policy report --log audit.jsonl --output report.html
  mcp-policy report --log envoy-1.jsonl --log envoy-2.jsonl --format json

Exit codes: 0 written, 2 a file cannot be used.")]
pub(super) struct Arguments {
    /// A log of decisions; may be given several times. `-` is standard input.
    #[arg(long, value_name = "FILE", required = true)]
    log: Vec<PathBuf>,

    #[command(flatten)]
    output: OutputFile,
}

/// Writes the report.
pub(super) fn run(arguments: &Arguments, format: Format) -> Exit {
    let activity = match activity(arguments) {
        Ok(activity) => activity,
        Err(trouble) => {
            trouble.tell();
            return Exit::Unusable;
        }
    };
    let text = match format {
        Format::Human => page::page(&activity),
        Format::Json => match serde_json::to_string_pretty(&activity) {
            Ok(text) => format!("{}\n", escaped(&text, Syntax::Json)),
            Err(error) => {
                report::trouble(&format!("the figures cannot be written as JSON: {error}"));
                return Exit::Unusable;
            }
        },
    };
    deliver(&text, &arguments.output)
}

fn activity(arguments: &Arguments) -> Result<Activity, CliError> {
    let mut lines = AuditedLines::open(&arguments.log)?;
    let mut figures = Figures::default();
    while let Some(call) = lines.next()? {
        figures.note(&call);
    }
    lines.end()?;
    figures.align();
    Ok(Activity::from(&figures, lines.names().to_vec(), lines.read, lines.unreadable))
}
