//! `mcp-policy man`: the manual pages, from the same words as the help.

use clap::{Args, Command};
use clap_mangen::Man;

use super::Exit;
use super::output::{OutputFile, deliver};
use super::report;

/// Write a manual page: of the command, or of one of its sub-commands.
#[derive(Args)]
#[command(after_help = "Examples:\n  \
    mcp-policy man | man -l -\n  \
    mcp-policy man validate --output mcp-policy-validate.1\n\n\
    Exit codes: 0 written, 2 there is no such sub-command, or the page cannot be written.")]
pub(super) struct Arguments {
    /// The sub-command; without one, the page of the whole command.
    #[arg(value_name = "COMMAND")]
    name: Option<String>,
    #[command(flatten)]
    output: OutputFile,
}

pub(super) fn run(arguments: &Arguments, command: &mut Command) -> Exit {
    command.build();
    let page = match &arguments.name {
        None => command.clone(),
        Some(name) => match command.find_subcommand(name) {
            // The name of a page is one word: mcp-policy-validate(1).
            Some(found) => found.clone().name(format!("mcp-policy-{name}")),
            None => {
                let line =
                    format!("there is no sub-command `{name}`; `mcp-policy help` has them all");
                report::trouble(&line);
                return Exit::Unusable;
            }
        },
    };
    let mut text = Vec::new();
    if let Err(error) = Man::new(page).render(&mut text) {
        report::trouble(&format!("the page cannot be made: {error}"));
        return Exit::Unusable;
    }
    deliver(&String::from_utf8_lossy(&text), &arguments.output)
}
