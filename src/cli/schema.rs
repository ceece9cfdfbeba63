//! `mcp-policy schema`: JSON Schemas for editors, and the reference page, all written from the tables in `language`.

mod json_schema;
mod language;
mod reference;

use clap::{Args, ValueEnum};

use super::Exit;
use super::output::{OutputFile, deliver};
use mcp_policy::source::Syntax;
use mcp_policy::tree::print::print;

/// Write the JSON Schema of policies, for editors, or the reference of their fields.
#[derive(Args)]
#[command(after_help = "Example:\n  \
    mcp-policy schema --output policy.schema.json\n  \
    mcp-policy schema tests --output policy-tests.schema.json\n\n\
    With this line at its head, a policy in YAML gets completion and inline errors in VS Code (extension `YAML`):\n  \
    # yaml-language-server: $schema=policy.schema.json\n\n\
    Exit codes: 0 written, 2 it cannot be written.")]
pub(super) struct Arguments {
    /// What to write.
    #[arg(value_enum, default_value = "policy")]
    what: What,
    #[command(flatten)]
    output: OutputFile,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum What {
    /// JSON Schema (2020-12) of a policy, with the settings that may stand beside its fields.
    Policy,
    /// JSON Schema of what the filter is configured with: a policy, or policies by name.
    Plugin,
    /// JSON Schema of a gateway file, for `render`.
    Gateway,
    /// JSON Schema of policy tests, for `test`.
    Tests,
    /// JSON Schema of an audit line.
    Audit,
    /// The reference page for authors, in Markdown.
    Reference,
}

pub(super) fn run(arguments: &Arguments) -> Exit {
    let text = match arguments.what {
        What::Policy => print(&json_schema::policy(), Syntax::Json, 0),
        What::Plugin => print(&json_schema::plugin(), Syntax::Json, 0),
        What::Gateway => print(&json_schema::gateway(), Syntax::Json, 0),
        What::Tests => include_str!("../../policies/schema/tests.schema.json").to_owned(),
        What::Audit => include_str!("../../policies/schema/audit.schema.json").to_owned(),
        What::Reference => reference::page(),
    };
    deliver(&text, &arguments.output)
}
