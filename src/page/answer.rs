//! What the page is told: as `--format json` has it, with places as an editor counts them.

use std::collections::BTreeMap;
use std::ops::Range;

use serde::Serialize;

use crate::policy::compiled::Config;
use crate::policy::entry::NamedCounter;
use crate::rehearsal::Verdict;
use crate::rehearsal::suite::report::TestFileReport;
use crate::source::finding::{Finding, findings};
use crate::source::{Problem, SourceText};
use crate::tools::judged::JudgedTool;
use crate::trace::Trace;
use crate::trace::explanation::{Explanation, Places};

/// An answer.
#[derive(Debug, Serialize)]
pub(super) struct Answered<A> {
    pub(super) answer: A,
}

/// Why there is no answer.
#[derive(Debug, Serialize)]
pub(super) struct Trouble<'p> {
    trouble: &'p str,
}

/// A policy, checked.
#[derive(Debug, Serialize)]
pub(super) struct Checked<'c> {
    answer: CheckedPolicy<'c>,
}

#[derive(Debug, Default, Serialize)]
struct CheckedPolicy<'c> {
    valid: bool,
    problems: Vec<PlacedFinding>,
    /// The names of the policies.
    policies: Vec<&'c str>,
    /// The keys of `identity.keys`.
    keys: Vec<&'c str>,
    /// The headers that conditions look at.
    headers: Vec<&'c str>,
    counters: Vec<&'c str>,
    /// Whether bindings say which policy governs a call.
    bound: bool,
}

/// A problem, with its place in units of UTF-16.
#[derive(Debug, Serialize)]
pub(super) struct PlacedFinding {
    #[serde(flatten)]
    finding: Finding,
    #[serde(skip_serializing_if = "Option::is_none")]
    at: Option<[usize; 2]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    earlier: Option<[usize; 2]>,
}

/// A call that was tried.
#[derive(Debug, Serialize)]
pub(super) struct Tried<'t> {
    pub(super) answer: Explanation<'t, Verdict>,
    pub(super) marks: Marks,
    pub(super) runs: Vec<Run>,
}

/// Where the rules are that a call met, in units of UTF-16, by their pointers.
#[derive(Debug, Serialize)]
pub(super) struct Marks(BTreeMap<String, [usize; 2]>);

/// Calls in a row of which the same became.
#[derive(Debug, Serialize)]
pub(super) struct Run {
    decision: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    reason: String,
    calls: u32,
}

/// A list as a caller gets it; none where the request does not get to the server.
#[derive(Debug, Serialize)]
pub(super) struct Listed {
    pub(super) answer: Option<String>,
}

/// Policy tests, run; or what is wrong with them.
#[derive(Debug, Serialize)]
pub(super) struct Tested {
    pub(super) answer: Option<TestFileReport>,
    pub(super) problems: Vec<PlacedFinding>,
}

/// A server's tools, judged.
#[derive(Debug, Serialize)]
pub(super) struct JudgedServer<'j> {
    pub(super) tools: Vec<JudgedTool<'j>>,
    /// What is worth saying of all of them.
    pub(super) remarks: &'j [String],
}

impl<'p> Trouble<'p> {
    pub(super) fn new(trouble: &'p str) -> Trouble<'p> {
        Trouble { trouble }
    }
}

impl<'c> Checked<'c> {
    pub(super) fn of(source: &SourceText, found: &[Problem], config: &'c Config) -> Checked<'c> {
        let counters = config.policies().flat_map(|policy| &policy.counters);
        let counters = counters.map(|NamedCounter { name, .. }| &**name);
        Checked {
            answer: CheckedPolicy {
                valid: true,
                problems: problems(source, found),
                policies: config.policies().map(|policy| &*policy.name).collect(),
                keys: config.callers.keys.iter().map(|key| &*key.name).collect(),
                headers: config.headers.iter().map(|name| &**name).collect(),
                counters: counters.collect(),
                bound: config.bindings.is_some(),
            },
        }
    }

    pub(super) fn refused(source: &SourceText, found: &[Problem]) -> Checked<'static> {
        let problems = problems(source, found);
        Checked { answer: CheckedPolicy { problems, ..CheckedPolicy::default() } }
    }
}

impl Marks {
    pub(super) fn of(
        source: &SourceText,
        places: &Places<'_>,
        verdict: &Verdict,
        trace: &Trace,
    ) -> Marks {
        let rules = trace.rules.iter().map(|rule| &rule.rule).chain([&verdict.rule]);
        let place = |rule: &String| {
            let range = places.spans.range(&places.pointer(rule))?;
            Some((rule.clone(), units(&source.text, range)))
        };
        Marks(rules.filter(|rule| !rule.is_empty()).filter_map(place).collect())
    }
}

impl Run {
    /// Adds a call to its run.
    pub(super) fn note(runs: &mut Vec<Run>, verdict: &Verdict) {
        let Verdict { decision, reason, .. } = verdict;
        match runs.last_mut() {
            Some(last) if last.decision == *decision && last.reason == *reason => last.calls += 1,
            Some(_) | None => {
                runs.push(Run { decision: decision.clone(), reason: reason.clone(), calls: 1 });
            }
        }
    }
}

/// Problems of a document, for machines and for an editor.
pub(super) fn problems(source: &SourceText, problems: &[Problem]) -> Vec<PlacedFinding> {
    let place = |range: &Range<usize>| units(&source.text, range.clone());
    let found = findings(source, problems).into_iter().zip(problems);
    let placed = found.map(|(finding, problem)| PlacedFinding {
        finding,
        at: problem.at.as_ref().map(place),
        earlier: problem.earlier.as_ref().map(place),
    });
    placed.collect()
}

/// A range of bytes in units of UTF-16, which browsers count in.
fn units(text: &str, range: Range<usize>) -> [usize; 2] {
    if text.is_ascii() {
        return [range.start, range.end];
    }
    let count = |piece: Option<&str>| piece.map_or(0, |piece| piece.encode_utf16().count());
    let start = count(text.get(..range.start));
    [start, start + count(text.get(range))]
}
