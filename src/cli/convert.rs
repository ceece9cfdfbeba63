//! `mcp-policy convert`: a policy in the other dialect, deciding the same.
//!
//! What the other dialect cannot say stays as it is (both may meet in one document), and a note says so. Order and
//! descriptions are kept; comments are not, as no reader of policies sees them.

mod names;
mod to_native;
mod to_rules;

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use mcp_policy::json::{Duplicates, parse};
use mcp_policy::language::diagnostic::Diagnostic;
use mcp_policy::policy::compiled::Config;
use mcp_policy::source::Syntax;
use mcp_policy::tree::notes::Notes;
use mcp_policy::tree::print::print;
use mcp_policy::tree::{Map, Node};

use super::input::CliError;
use super::output::{OutputFile, deliver_noted};
use super::{Exit, Format, input};

/// Write a policy in the other dialect, deciding the same.
#[derive(Args)]
#[command(after_help = "Examples:\n  \
    mcp-policy convert stripe.yaml --output stripe.json --as json\n  \
    mcp-policy convert my-policy.json --to rules\n\n\
    The result goes to standard output, notes about what could not be said go to standard error.\n\
    Exit codes: 0 converted, 2 the policy cannot be used, or a file cannot be read or written.")]
pub(super) struct Arguments {
    /// A policy or plugin configuration, JSON or YAML (by its ending: .yaml, .yml); `-` is standard input.
    file: PathBuf,
    /// The dialect to come to.
    #[arg(long, value_enum, default_value = "native")]
    to: Dialect,
    /// How to write the result; as the input is written, if not given.
    #[arg(long = "as", value_enum, value_name = "SYNTAX")]
    syntax: Option<OutputSyntax>,
    #[command(flatten)]
    output: OutputFile,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Dialect {
    /// `require`, `deny_if`, `limits`.
    Native,
    /// Lists of `rules`, as other MCP proxies read them.
    Rules,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum OutputSyntax {
    /// YAML 1.2.
    Yaml,
    /// JSON.
    Json,
}

pub(super) fn run(arguments: &Arguments, format: Format) -> Exit {
    convert(arguments, format).unwrap_or_else(|trouble| {
        trouble.tell();
        Exit::Unusable
    })
}

fn convert(arguments: &Arguments, format: Format) -> Result<Exit, CliError> {
    let (source, _) = input::policy(&arguments.file)?;
    let mut document = Node::from(&input::value(&source)?);
    let mut notes = Notes::default();
    for (place, policy) in policies(&mut document) {
        match arguments.to {
            Dialect::Native => to_native::policy(policy, &place, &mut notes),
            Dialect::Rules => to_rules::policy(policy, &place, &mut notes),
        }
    }
    holds(&document).map_err(|problem| {
        CliError::Line(format!("{}: the conversion is at fault: {problem}", source.name))
    })?;
    let syntax = match arguments.syntax {
        None => source.syntax,
        Some(OutputSyntax::Yaml) => Syntax::Yaml,
        Some(OutputSyntax::Json) => Syntax::Json,
    };
    let text = print(&document, syntax, 0);
    Ok(deliver_noted(&notes, &source.name, &text, &arguments.output, format))
}

/// The policies of a document, each with the place of its tools.
fn policies(document: &mut Node) -> Vec<(String, &mut Map)> {
    let Node::Map(root) = document else { return Vec::new() };
    if root.get("policies").is_none() {
        return vec![("tools".to_owned(), root)];
    }
    let Some(Node::Map(named)) = root.get_mut("policies") else { return Vec::new() };
    let named = named.0.iter_mut().filter_map(|member| {
        Some((format!("policies.{}.tools", member.key), member.value.as_map_mut()?))
    });
    named.collect()
}

/// A result that does not load would be our fault, and must not be taken for a policy.
fn holds(document: &Node) -> Result<(), String> {
    let text = print(document, Syntax::Json, 0);
    let value = parse(&text, Duplicates::Keep).map_err(|fault| format!("{fault:?}"))?;
    let all = |problems: Vec<Diagnostic>| {
        problems.iter().map(Diagnostic::to_string).collect::<Vec<_>>().join("; ")
    };
    Config::compile(&value, "").map(|_| ()).map_err(all)
}
