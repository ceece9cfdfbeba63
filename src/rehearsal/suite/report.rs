//! The tests of one document, run: what `mcp-policy test` prints of them, and what a page shows.

use serde::Serialize;

use super::{Expect, Failure, Suite};
use crate::policy::compiled::Config;
use crate::rehearsal::Simulator;
use crate::rehearsal::coverage::Coverage;
use crate::source::SourceText;

/// The tests of one file, run.
#[derive(Clone, Debug, Serialize)]
pub struct TestFileReport {
    /// The name of the policy's file.
    pub policy: String,
    /// The name of the file of the tests.
    pub tests_file: String,
    /// The tests.
    pub tests: Vec<TestReport>,
    /// What they cover.
    pub coverage: CoverageReport,
}

/// One test, run.
#[derive(Clone, Debug, Serialize)]
pub struct TestReport {
    /// Its name.
    pub name: String,
    /// Its line in the document.
    pub line: Option<usize>,
    /// Whether every step went as expected.
    pub passed: bool,
    /// The steps that did not.
    pub failures: Vec<FailureReport>,
}

/// A step that did not go as expected, in words.
#[derive(Clone, Debug, Serialize)]
pub struct FailureReport {
    /// Its line in the document.
    pub line: Option<usize>,
    /// Which repetition, from 1; none for a step that is done once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub repetition: Option<u32>,
    /// What was expected.
    pub expected: String,
    /// What was found.
    pub found: String,
}

/// What tests cover of a policy.
#[derive(Clone, Debug, Serialize)]
pub struct CoverageReport {
    /// How many rules there are.
    pub rules: usize,
    /// How many are covered.
    pub covered: usize,
    /// The share that is covered, in percent.
    pub percent: usize,
    /// The others.
    pub missing: Vec<Missing>,
}

/// A rule that no test covers.
#[derive(Clone, Debug, Serialize)]
pub struct Missing {
    /// The name of the policy, where there are several.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub policy: Option<String>,
    /// Its pointer.
    pub rule: String,
    /// Its line in the policy.
    pub line: Option<usize>,
}

impl TestFileReport {
    /// How many tests failed.
    #[must_use]
    pub fn failed(&self) -> usize {
        self.tests.iter().filter(|test| !test.passed).count()
    }

    /// Whether so much is covered, in percent.
    #[must_use]
    pub fn covers(&self, required: Option<u8>) -> bool {
        required.is_none_or(|required| self.coverage.percent >= usize::from(required))
    }
}

/// Runs tests on a policy. Also yields what failed, each failure with the name of its test.
#[must_use]
pub fn run_suite(
    suite: &Suite,
    config: Config,
    policy: &SourceText,
    tests: &SourceText,
) -> (TestFileReport, Vec<(String, Failure)>) {
    let simulator = Simulator::new(config);
    let coverage = Coverage::of(&simulator.config);
    let spans = tests.spans();
    let (mut reports, mut all) = (Vec::new(), Vec::new());
    for test in &suite.tests {
        let failures = test.run(&simulator, &coverage);
        let told = failures.iter().map(|failure| FailureReport {
            line: spans.line(&failure.pointer),
            repetition: failure.repetition,
            expected: expected(&failure.expected),
            found: found(failure),
        });
        reports.push(TestReport {
            name: test.name.clone(),
            line: spans.line(&test.pointer),
            passed: failures.is_empty(),
            failures: told.collect(),
        });
        all.extend(failures.into_iter().map(|failure| (test.name.clone(), failure)));
    }
    let report = TestFileReport {
        policy: policy.name.clone(),
        tests_file: tests.name.clone(),
        tests: reports,
        coverage: covered(&simulator.config, &coverage, policy),
    };
    (report, all)
}

fn covered(config: &Config, coverage: &Coverage, policy: &SourceText) -> CoverageReport {
    let (rules, covered) = coverage.totals();
    let spans = policy.spans();
    let several = !config.others.is_empty();
    let missing = coverage.missing().map(|(name, rule)| Missing {
        policy: several.then(|| name.to_owned()),
        rule: rule.to_owned(),
        line: spans.line(&format!("{}{rule}", policy.root(name))),
    });
    CoverageReport { rules, covered, percent: coverage.percent(), missing: missing.collect() }
}

/// What was expected, in words.
#[must_use]
pub fn expected(expect: &Expect) -> String {
    let mut text = expect.decision.to_owned();
    for (name, value) in [
        ("reason", &expect.reason),
        ("rule", &expect.rule),
        ("policy", &expect.policy),
        ("message with", &expect.message),
    ] {
        if let Some(value) = value {
            text.push_str(&format!(", {name} {value}"));
        }
    }
    text
}

/// What was found, as far as the expectation asks, and what explains a difference.
#[must_use]
pub fn found(failure: &Failure) -> String {
    let found = &failure.found;
    let mut text = found.decision.clone();
    for (name, value) in [("reason", &found.reason), ("rule", &found.rule)] {
        if !value.is_empty() {
            text.push_str(&format!(", {name} {value}"));
        }
    }
    if failure.unasked {
        text.push_str(", and nobody is asked about this call");
    }
    if failure.expected.policy.is_some() {
        text.push_str(&format!(", policy {}", found.policy));
    }
    if let Some(message) = &found.message {
        text.push_str(&format!(", message {message}"));
    }
    text
}
