//! The `mcp-policy` command: the engine of the filter, for people who write policies.

mod cli;

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::run()
}
