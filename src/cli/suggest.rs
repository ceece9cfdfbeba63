//! `mcp-policy suggest`: the policy that what is on record would need, and nothing more.
//!
//! Callers choose what stands in a log. A name becomes a key only where it means itself alone; values become conditions only where
//! asked for; everything else is a comment, on its own line.

mod arguments;
mod conditions;
mod draft;
mod secret;
mod seen;
mod told;

use std::path::PathBuf;

use mcp_policy::tree::notes::Notes;

use super::audited::AuditedLines;
use super::input::CliError;
use super::output::{OutputFile, deliver_noted};
use super::{Exit, Format};
use draft::Suggestion;
use seen::LogSeen;

/// Write the policy that recorded calls would need: what was allowed, and nothing else.
#[derive(clap::Args)]
#[command(after_help = "\
A log has one line a decision: audit lines, or lines of the access log as envoy/envoy.yaml has them. Names that were allowed are listed.
What was denied, or would have been, stands in the policy as comments, with the reason. Conditions and limits are comments too.
Values of arguments are written only where there are few, and never those that were redacted, are long or could be credentials.

Examples:
  mcp-policy suggest --log audit.jsonl --output policy.yaml
  mcp-policy suggest --log envoy-1.jsonl --log envoy-2.jsonl --policy git --strict

Exit codes: 0 written, 1 several policies are on record and none was chosen, 2 a file cannot be used.")]
pub(super) struct Arguments {
    /// A log of decisions; may be given several times. `-` is standard input.
    #[arg(long, value_name = "FILE", required = true)]
    log: Vec<PathBuf>,

    /// Takes the calls that this policy decided, where several did.
    #[arg(long, value_name = "NAME")]
    policy: Option<String>,

    /// Writes conditions as rules: calls that differ from those that were seen are denied.
    #[arg(long)]
    strict: bool,

    #[command(flatten)]
    output: OutputFile,
}

/// Writes the policy.
pub(super) fn run(arguments: &Arguments, format: Format) -> Exit {
    match suggest(arguments) {
        Ok(Suggestion { text, notes }) => {
            let mut told = Notes::default();
            for (place, note) in notes {
                told.add(place, note);
            }
            deliver_noted(&told, "the policy", &text, &arguments.output, format)
        }
        Err((trouble, exit)) => {
            trouble.tell();
            exit
        }
    }
}

fn suggest(arguments: &Arguments) -> Result<Suggestion, (CliError, Exit)> {
    let unusable = |trouble| (trouble, Exit::Unusable);
    let mut lines = AuditedLines::open(&arguments.log).map_err(unusable)?;
    let mut seen = LogSeen::default();
    while let Some(call) = lines.next().map_err(unusable)? {
        seen.note(&call, arguments.policy.as_deref());
    }
    lines.end().map_err(unusable)?;
    let files = lines.names().join(", ");
    if seen.calls == 0 {
        let of = arguments.policy.as_ref().map(|name| format!(" of policy `{name}`"));
        let line = format!("{files}: no call{} is on record", of.unwrap_or_default());
        return Err(unusable(CliError::Line(line)));
    }
    if seen.policies.len() > 1 {
        let names: Vec<String> = seen.policies.iter().map(|name| format!("`{name}`")).collect();
        let line = format!(
            "{files}: several policies decided, and what one server needs another does not: choose one with `--policy`: {}",
            names.join(", ")
        );
        return Err((CliError::Line(line), Exit::No));
    }
    let draft = draft::draft(&seen, arguments.strict);
    draft.map_err(|problem| {
        unusable(CliError::Line(format!("{files}: no policy could be written: {problem}")))
    })
}
