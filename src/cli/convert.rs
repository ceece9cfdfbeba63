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
use mcp_policy::policy::compiled::Config;

use super::Exit;
use super::source::{Source, deliver};
use super::tree::print::{Format, print};
use super::tree::{Map, Node};

#[derive(Args)]
#[command(after_help = "Examples:\n  \
    mcp-policy convert stripe.yaml --output stripe.json --format json\n  \
    mcp-policy convert my-policy.json --to rules\n\n\
    The result goes to standard output, notes about what could not be said go to standard error.\n\
    Exit codes: 0 converted, 1 the policy is not valid, 2 a file cannot be read or written.")]
pub(super) struct Arguments {
    /// A policy or plugin configuration, JSON or YAML (by its ending: .yaml, .yml); `-` is standard input.
    file: PathBuf,
    /// The dialect to come to.
    #[arg(long, value_enum, default_value = "native")]
    to: Dialect,
    /// How to write the result; as the input is written, if not given.
    #[arg(long, value_enum)]
    format: Option<Format>,
    /// Where to write the result, instead of standard output.
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Dialect {
    /// `require`, `deny_if`, `limits`.
    Native,
    /// Lists of `rules`, as other MCP proxies read them.
    Rules,
}

/// What an author should know of a conversion: a place, and what became of it.
#[derive(Default)]
struct Notes(Vec<String>);

impl Notes {
    fn add(&mut self, place: &str, note: &str) {
        self.0.push(format!("{place}: {note}"));
    }
}

pub(super) fn run(arguments: &Arguments) -> Exit {
    convert(arguments).unwrap_or_else(|exit| exit)
}

fn convert(arguments: &Arguments) -> Result<Exit, Exit> {
    let source = Source::open(&arguments.file)?;
    let mut document = Node::from(&source.policy()?);
    let mut notes = Notes::default();
    for (place, policy) in policies(&mut document) {
        match arguments.to {
            Dialect::Native => to_native::policy(policy, &place, &mut notes),
            Dialect::Rules => to_rules::policy(policy, &place, &mut notes),
        }
    }
    for note in &notes.0 {
        eprintln!("{}: note: {note}", source.name);
    }
    holds(&document, &source)?;
    let text = print(&document, arguments.format.unwrap_or(source.format), 0);
    Ok(deliver(&text, arguments.output.as_deref()))
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
fn holds(document: &Node, source: &Source) -> Result<(), Exit> {
    let text = print(document, Format::Json, 0);
    let value = parse(&text, Duplicates::Keep).map_err(|_| Exit::Unusable)?;
    let Err(problems) = Config::compile(&value, "") else { return Ok(()) };
    for problem in problems {
        eprintln!("{}: the conversion is at fault: {problem}", source.name);
    }
    Err(Exit::Unusable)
}
