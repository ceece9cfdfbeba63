//! `mcp-policy audit`: what can be asked of audit lines themselves.

mod chain;
mod runs;
mod verify;

use clap::{Args, Subcommand};

use super::{Exit, Format};

/// Say whether audit lines are all there, and as they were written.
#[derive(Args)]
#[command(after_help = "\
Example:
  mcp-policy audit verify audit.jsonl

Exit codes: 0 the lines are intact; 1 they are not; 2 a file cannot be used, or no line is in a chain.")]
pub(super) struct Arguments {
    #[command(subcommand)]
    command: AuditCommand,
}

#[derive(Subcommand)]
enum AuditCommand {
    Verify(verify::Arguments),
}

pub(super) fn run(arguments: &Arguments, format: Format) -> Exit {
    match &arguments.command {
        AuditCommand::Verify(arguments) => verify::run(arguments, format),
    }
}
