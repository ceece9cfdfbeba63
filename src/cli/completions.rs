//! `mcp-policy completions`: scripts that complete the command in a shell.

use clap::{Args, Command};
use clap_complete::{Shell, generate};

use super::Exit;
use super::output::{OutputFile, deliver};

/// Write a script that completes this command in a shell.
#[derive(Args)]
#[command(after_help = "Examples:\n  \
    mcp-policy completions bash > ~/.local/share/bash-completion/completions/mcp-policy\n  \
    mcp-policy completions zsh > ~/.zfunc/_mcp-policy\n  \
    mcp-policy completions fish > ~/.config/fish/completions/mcp-policy.fish\n\n\
    Exit codes: 0 written, 2 it cannot be written.")]
pub(super) struct Arguments {
    /// The shell.
    #[arg(value_enum)]
    shell: Shell,
    #[command(flatten)]
    output: OutputFile,
}

pub(super) fn run(arguments: &Arguments, command: &mut Command) -> Exit {
    let mut script = Vec::new();
    generate(arguments.shell, command, "mcp-policy", &mut script);
    deliver(&String::from_utf8_lossy(&script), &arguments.output)
}
