//! Arguments and exit codes.

mod activity;
mod analyse;
mod audit;
mod audit_log;
mod audited;
mod catalogue;
mod completions;
mod convert;
mod definition;
mod diff;
mod digest;
mod doctor;
mod explain;
mod folder;
mod gateway;
mod input;
mod key;
mod lines;
mod man;
mod out;
mod output;
mod page;
mod policy;
mod recorded;
mod render;
mod replay;
mod report;
mod sarif;
mod scan;
mod schema;
mod server;
mod suggest;
mod table;
mod tally;
mod test;
mod tree;
mod validate;

use std::process::ExitCode;

use clap::{CommandFactory as _, Parser, Subcommand, ValueEnum};

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Exit {
    /// Success: the answer is yes.
    Ok = 0,
    /// The answer is no: a document is not valid, a call is denied, a test failed, decisions differ.
    No = 1,
    /// There is no answer: a file cannot be read, a policy cannot be used, the arguments are wrong.
    Unusable = 2,
}

/// How answers and problems are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// Text for people, in colour on a terminal.
    Human,
    /// One JSON document on standard output, for machines.
    Json,
}

/// Decides which MCP tool calls an AI agent may make.
#[derive(Parser)]
#[command(
    name = "mcp-policy",
    version,
    about = "Decides which MCP tool calls an AI agent may make"
)]
struct Arguments {
    /// How answers and problems are printed.
    #[arg(long, global = true, value_enum, default_value = "human", display_order = 900)]
    format: Format,

    /// Says only what is wrong, besides results: no notes, and no warnings that change nothing.
    #[arg(long, short, global = true, display_order = 901)]
    quiet: bool,

    /// When the output is in colour: auto (on a terminal, unless `NO_COLOR` is set), always or never.
    #[arg(
        long,
        global = true,
        value_enum,
        value_name = "WHEN",
        default_value = "auto",
        hide_possible_values = true,
        display_order = 902
    )]
    color: Color,

    #[command(subcommand)]
    command: Command,
}

/// When the output is in colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Color {
    /// On a terminal, unless `NO_COLOR` is set.
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

impl From<Color> for anstream::ColorChoice {
    fn from(color: Color) -> anstream::ColorChoice {
        match color {
            Color::Auto => anstream::ColorChoice::Auto,
            Color::Always => anstream::ColorChoice::Always,
            Color::Never => anstream::ColorChoice::Never,
        }
    }
}

#[derive(Subcommand)]
enum Command {
    Scan(Box<scan::Arguments>),
    Policy(policy::Arguments),
    Validate(validate::Arguments),
    Diff(Box<diff::Arguments>),
    Analyse(analyse::Arguments),
    Explain(Box<explain::Arguments>),
    Test(test::Arguments),
    Replay(replay::Arguments),
    Audit(audit::Arguments),
    Suggest(suggest::Arguments),
    Report(activity::Arguments),
    Digest(digest::Arguments),
    Convert(convert::Arguments),
    Render(render::Arguments),
    Page(page::Arguments),
    Doctor(doctor::Arguments),
    Schema(schema::Arguments),
    Completions(completions::Arguments),
    Man(man::Arguments),
}

/// Runs the command.
pub(crate) fn run() -> ExitCode {
    let arguments = Arguments::parse();
    let format = arguments.format;
    anstream::ColorChoice::from(arguments.color).write_global();
    if arguments.quiet {
        report::be_quiet();
    }
    let exit = match arguments.command {
        Command::Scan(arguments) => scan::run(&arguments, format),
        Command::Policy(arguments) => policy::run(&arguments, format),
        Command::Validate(arguments) => validate::run(&arguments, format),
        Command::Diff(arguments) => diff::run(&arguments, format),
        Command::Analyse(arguments) => analyse::run(&arguments, format),
        Command::Explain(arguments) => explain::run(&arguments, format),
        Command::Test(arguments) => test::run(&arguments, format),
        Command::Replay(arguments) => replay::run(&arguments, format),
        Command::Audit(arguments) => audit::run(&arguments, format),
        Command::Suggest(arguments) => suggest::run(&arguments, format),
        Command::Report(arguments) => activity::run(&arguments, format),
        Command::Digest(arguments) => digest::run(&arguments, format),
        Command::Convert(arguments) => convert::run(&arguments, format),
        Command::Render(arguments) => render::run(&arguments, format),
        Command::Page(arguments) => page::run(&arguments),
        Command::Doctor(arguments) => doctor::run(&arguments, format),
        Command::Schema(arguments) => schema::run(&arguments),
        Command::Completions(arguments) => completions::run(&arguments, &mut Arguments::command()),
        Command::Man(arguments) => man::run(&arguments, &mut Arguments::command()),
    };
    ExitCode::from(exit as u8)
}
