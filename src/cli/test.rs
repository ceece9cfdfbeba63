//! `mcp-policy test`: policy tests, and what they cover.

mod junit;

use std::path::{Path, PathBuf};

use mcp_policy::language::diagnostic::Diagnostic;
use mcp_policy::rehearsal::suite::report::{
    CoverageReport, TestFileReport, expected, found, run_suite,
};
use mcp_policy::rehearsal::suite::{Failure, Suite};
use mcp_policy::source::SourceText;

use super::input::{self, CliError, ENDINGS};
use super::{Exit, Format, folder, report};
use crate::cli::out::out;

/// Run policy tests: calls, and what must become of them.
#[derive(clap::Args)]
#[command(after_help = "\
The tests of `stripe.json` stand beside it in `stripe.test.yaml`:

  tests:
    - name: a refund over $100 needs a person
      call: {tool: create_refund, arguments: {amount: 25000}}
      expect: {decision: deny, reason: requirement_not_met, rule: /tools/create_refund/require/0}
    - name: twenty refunds a day
      caller: alice
      steps:
        - {call: {tool: create_refund, arguments: {amount: 1}}, repeat: 20, expect: allow}
        - {call: {tool: create_refund, arguments: {amount: 1}}, expect: {decision: deny, reason: limit_reached}}
        - {after: 24h, call: {tool: create_refund, arguments: {amount: 1}}, expect: allow}

policies/README.md names every field. A folder stands for the tests in it and below it. Examples:
  mcp-policy test policies/
  mcp-policy test --require-coverage 100 --junit target/policies.xml stripe.json
  mcp-policy convert stripe.json | mcp-policy test - --tests stripe.test.yaml

Exit codes: 0 all pass, 1 a test fails or too little is covered, 2 a file cannot be used.")]
pub(super) struct Arguments {
    /// Policies with tests beside them, test files (`*.test.yaml`) with a policy beside them, or folders of them; `-` is a policy from
    /// standard input.
    #[arg(required = true)]
    files: Vec<PathBuf>,

    /// The tests of the policy, wherever they are, whatever policy they name.
    #[arg(long, value_name = "FILE")]
    tests: Option<PathBuf>,

    /// Print the rules that no test covers: entries that no call met, and checks and limits that denied none.
    #[arg(long)]
    coverage: bool,

    /// Fail if less than this share of a policy's rules is covered.
    #[arg(long, value_name = "PERCENT", value_parser = clap::value_parser!(u8).range(0..=100))]
    require_coverage: Option<u8>,

    /// Also write the results as JUnit XML.
    #[arg(long, value_name = "FILE", value_parser = output)]
    junit: Option<PathBuf>,
}

/// A policy with its tests.
#[derive(PartialEq, Eq)]
struct Pair {
    policy: PathBuf,
    tests: PathBuf,
}

/// Runs all tests. The worst of them decides the exit code.
pub(super) fn run(arguments: &Arguments, format: Format) -> Exit {
    let mut worst = Exit::Ok;
    let mut reports = Vec::new();
    let mut pairs: Vec<Pair> = Vec::new();
    let files = match named(arguments) {
        Ok(files) => files,
        Err(trouble) => {
            trouble.tell();
            return Exit::Unusable;
        }
    };
    for file in &files {
        match pair(file, arguments.tests.as_deref()) {
            // `policies/*.yaml` names a policy and its tests.
            Ok(pair) if pairs.contains(&pair) => {}
            Ok(pair) => pairs.push(pair),
            Err(trouble) => {
                trouble.tell();
                worst = Exit::Unusable;
            }
        }
    }
    for pair in &pairs {
        match check(pair, arguments, format) {
            Ok(report) => {
                worst = worst.max(if passes(&report, arguments) { Exit::Ok } else { Exit::No });
                reports.push(report);
            }
            Err(trouble) => {
                trouble.tell();
                worst = Exit::Unusable;
            }
        }
    }
    if format == Format::Json {
        report::json(&reports);
    }
    if let Some(path) = &arguments.junit
        && let Err(error) = junit::write(path, &reports, arguments.require_coverage)
    {
        report::trouble(&format!("{}: cannot be written: {error}", path.display()));
        worst = Exit::Unusable;
    }
    worst
}

/// The files that are named. Of a folder, those that have tests; a note says which have none.
fn named(arguments: &Arguments) -> Result<Vec<PathBuf>, CliError> {
    let mut named = Vec::new();
    for file in &arguments.files {
        if !file.is_dir() {
            named.push(file.clone());
            continue;
        }
        let (tested, untested): (Vec<PathBuf>, Vec<PathBuf>) =
            folder::expanded(std::slice::from_ref(file))?
                .into_iter()
                .partition(|file| has_tests(file));
        for policy in untested {
            report::note(&format!("{}: there are no tests beside it", input::name(&policy)));
        }
        if tested.is_empty() {
            let line =
                "there are no tests in this folder: those of `shop.yaml` are in `shop.test.yaml`";
            return Err(CliError::Line(format!("{}: {line}", file.display())));
        }
        named.extend(tested);
    }
    if arguments.tests.is_some() && named.len() > 1 {
        return Err(CliError::Line("--tests goes with one policy: name that one alone".to_owned()));
    }
    Ok(named)
}

/// Whether a file is tests, or has them beside it.
fn has_tests(file: &Path) -> bool {
    input::tested(file).is_some() || beside(file).is_some()
}

/// The tests that stand beside a policy.
fn beside(file: &Path) -> Option<PathBuf> {
    let stem = file.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
    let beside = ENDINGS.map(|ending| file.with_file_name(format!("{stem}.test.{ending}")));
    beside.into_iter().find(|path| path.exists())
}

/// The policy and the tests that a name on the command line stands for.
fn pair(file: &Path, tests: Option<&Path>) -> Result<Pair, CliError> {
    if let Some(tests) = tests {
        return Ok(Pair { policy: file.to_owned(), tests: tests.to_owned() });
    }
    if file == Path::new("-") {
        let line =
            "a policy from standard input has no tests beside it: give them with --tests FILE";
        return Err(CliError::Line(line.to_owned()));
    }
    if let Some(stem) = input::tested(file) {
        let source = input::source(file)?;
        let named = source.value().ok().and_then(|value| {
            value.as_object().and_then(|value| value.get("policy")?.as_str().map(str::to_owned))
        });
        let beside = ENDINGS.map(|ending| file.with_file_name(format!("{stem}.{ending}")));
        let policy = match named {
            Some(named) => Some(file.with_file_name(named)),
            None => beside.into_iter().find(|path| path.exists()),
        };
        let missing = || {
            CliError::Line(format!(
                "{}: there is no policy `{stem}.json` beside it; name one in `policy`",
                input::name(file)
            ))
        };
        return Ok(Pair { policy: policy.ok_or_else(missing)?, tests: file.to_owned() });
    }
    let stem = file.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
    match beside(file) {
        Some(tests) => Ok(Pair { policy: file.to_owned(), tests }),
        // Whatever is wrong with the policy itself is said first.
        None => input::policy(file).and_then(|_| {
            Err(CliError::Line(format!(
                "{}: there are no tests: `{stem}.test.yaml` is not beside it",
                input::name(file)
            )))
        }),
    }
}

fn check(pair: &Pair, arguments: &Arguments, format: Format) -> Result<TestFileReport, CliError> {
    let (policy, config) = input::policy(&pair.policy)?;
    let source = input::source(&pair.tests)?;
    let suite = match Suite::read(&input::value(&source)?, Some(&config)) {
        Ok(suite) => suite,
        Err(diagnostics) => return Err(refused(&source, diagnostics)),
    };
    let (report, failures) = run_suite(&suite, config, &policy, &source);
    if format == Format::Human {
        for (test, failure) in &failures {
            draw(&source, test, failure);
        }
        print(&report, arguments);
    }
    Ok(report)
}

/// Whether all is as it should be.
fn passes(report: &TestFileReport, arguments: &Arguments) -> bool {
    report.failed() == 0 && report.covers(arguments.require_coverage)
}

fn print(report: &TestFileReport, arguments: &Arguments) {
    let word = if passes(report, arguments) { report::good("ok  ") } else { report::bad("FAIL") };
    let tests = match (report.failed(), report.tests.len()) {
        (0, all) => report::counted(all, "test"),
        (failed, all) => format!("{failed} of {all} tests failed"),
    };
    let CoverageReport { rules, covered, percent, .. } = report.coverage;
    let required = match arguments.require_coverage {
        Some(required) if !report.covers(Some(required)) => format!(", {required} % required"),
        Some(_) | None => String::new(),
    };
    let line = format!(
        "{word} {}: {tests}, {covered} of {rules} rules covered ({percent} %){required}",
        report.tests_file
    );
    if passes(report, arguments) {
        report::well(&line);
    } else {
        out!("{line}");
    }
    if arguments.coverage || !report.covers(arguments.require_coverage) {
        for missing in &report.coverage.missing {
            let line = missing.line.map(|line| format!(":{line}")).unwrap_or_default();
            let policy = missing.policy.as_ref().map(|name| format!("{name} "));
            let policy = policy.unwrap_or_default();
            out!("     not covered: {}{line}  {policy}{}", report.policy, missing.rule);
        }
    }
}

/// Standard output has the other results already.
fn output(text: &str) -> Result<PathBuf, String> {
    if text == "-" { Err("name a file".to_owned()) } else { Ok(PathBuf::from(text)) }
}

fn refused(source: &SourceText, diagnostics: Vec<Diagnostic>) -> CliError {
    let problems = source.locate(diagnostics);
    CliError::Document(Box::new(source.clone()), problems)
}

fn draw(source: &SourceText, test: &str, failure: &Failure) {
    let title = match failure.repetition {
        Some(repetition) => format!("{test}: call {repetition} of this step is not as expected"),
        None => format!("{test}: not as expected"),
    };
    let notes = [
        format!("expected {}", expected(&failure.expected)),
        format!("found    {}", found(failure)),
    ];
    report::failure(source, &failure.pointer, &title, &notes);
}
