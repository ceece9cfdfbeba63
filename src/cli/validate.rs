//! `mcp-policy validate`: what the filter would say of a configuration, and what it would not.

use std::path::{Path, PathBuf};

use serde::Serialize;

use super::input::{self, Trouble};
use super::report::{self, Finding};
use super::{Exit, Format};

/// Check policies and plugin configurations, and print every problem.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  mcp-policy validate policies/*.json
  mcp-policy validate --deny-warnings policy.yaml

Files are read as JSON or YAML by their ending; others, and standard input, are JSON if they begin with `{`.
Exit codes: 0 all valid, 1 at least one is not, 2 a file cannot be read.")]
pub(super) struct Arguments {
    /// Policies or plugin configurations, JSON or YAML; `-` is standard input.
    #[arg(required = true)]
    files: Vec<PathBuf>,

    /// Take warnings for errors.
    #[arg(long)]
    deny_warnings: bool,
}

/// One file, as `--format json` has it.
#[derive(Serialize)]
struct Report {
    file: String,
    valid: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    problems: Vec<Finding>,
}

/// Checks every file and prints what is wrong with it. The worst one decides the exit code.
pub(super) fn run(arguments: &Arguments, format: Format) -> Exit {
    let mut reports = Vec::new();
    let mut worst = Exit::Ok;
    for file in &arguments.files {
        let (report, exit) = check(file, arguments, format);
        reports.push(report);
        worst = worst.max(exit);
    }
    if format == Format::Json {
        report::json(&reports);
    }
    worst
}

fn check(file: &Path, arguments: &Arguments, format: Format) -> (Report, Exit) {
    let name = input::name(file);
    let (source, problems) = match input::source(file) {
        Ok(source) => {
            let (_, problems) = source.compile();
            (source, problems)
        }
        Err(Trouble::Document(source, problems)) => (*source, problems),
        Err(Trouble::Line(line)) => {
            report::trouble(&line);
            let report = Report { file: name, valid: false, error: Some(line), problems: Vec::new() };
            return (report, Exit::Unusable);
        }
    };
    let errors = problems.iter().filter(|problem| problem.is_error()).count();
    let warnings = problems.len() - errors;
    let valid = errors == 0 && (warnings == 0 || !arguments.deny_warnings);
    if format == Format::Human {
        report::problems(&source, &problems);
        let counts = counts(errors, warnings);
        match (valid, counts.is_empty()) {
            (true, true) => anstream::println!("{name}: valid"),
            (true, false) => anstream::println!("{name}: valid, with {counts}"),
            (false, _) => anstream::eprintln!("{name}: not valid: {counts}"),
        }
    }
    let problems = problems.iter().map(|problem| report::finding(&source, problem)).collect();
    let exit = if valid { Exit::Ok } else { Exit::No };
    (Report { file: name, valid, error: None, problems }, exit)
}

fn counts(errors: usize, warnings: usize) -> String {
    let counted = [(errors, "error"), (warnings, "warning")].into_iter();
    let words = counted.filter(|(count, _)| *count > 0).map(|(count, word)| match count {
        1 => format!("1 {word}"),
        _ => format!("{count} {word}s"),
    });
    words.collect::<Vec<_>>().join(", ")
}
