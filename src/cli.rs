//! Arguments and exit codes.

mod completions;
mod convert;
mod render;
mod scan;
mod schema;
mod source;
mod tree;
mod validate;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{CommandFactory as _, Parser, Subcommand};

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Exit {
    /// As hoped.
    Ok = 0,
    /// A document is not valid.
    Invalid = 1,
    /// A file cannot be read, or the arguments are wrong.
    Unusable = 2,
}

/// Decides which MCP tool calls an AI agent may make.
#[derive(Parser)]
#[command(name = "mcp-policy", version, about)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Check policies and plugin configurations, and print every problem.
    #[command(after_help = "Example:\n  mcp-policy validate policies/*.json\n\n\
        Exit codes: 0 all valid, 1 at least one is not, 2 a file cannot be read.")]
    Validate {
        /// JSON or YAML files (by their ending: .yaml, .yml); `-` is standard input, read as JSON.
        #[arg(required = true)]
        files: Vec<PathBuf>,
    },
    /// Write a policy in the other dialect, deciding the same.
    Convert(convert::Arguments),
    /// Write a policy as a complete deployment file.
    Render(render::Arguments),
    /// Write a first policy from a server's tools, or an inventory of everything that agents can call.
    Scan(Box<scan::Arguments>),
    /// Write the JSON Schema of policies for editors, or the reference page.
    Schema(schema::Arguments),
    /// Write a completion script for a shell.
    Completions(completions::Arguments),
}

/// Runs the command.
pub(crate) fn run() -> ExitCode {
    let exit = match Arguments::parse().command {
        Command::Validate { files } => validate::run(&files),
        Command::Convert(arguments) => convert::run(&arguments),
        Command::Render(arguments) => render::run(&arguments),
        Command::Scan(arguments) => scan::run(&arguments),
        Command::Schema(arguments) => schema::run(&arguments),
        Command::Completions(arguments) => completions::run(&arguments, &mut Arguments::command()),
    };
    ExitCode::from(exit as u8)
}
