//! `mcp-policy replay`: recorded calls through a policy, or through two, to see what a change would do.

mod log;

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;

use mcp_policy::rehearsal::body::asked;
use mcp_policy::rehearsal::{Simulator, Verdict};
use serde::Serialize;

use super::input::{self, CliError};
use super::recorded::{KnownArguments, LeftOut, RecordedDecision};
use super::report::counted;
use super::{Exit, Format, report, table};
use crate::cli::out::out;
use log::{Log, LoggedCall, Skipped};

/// Most kinds of outcome that are told apart: tools are named by callers, and memory is bounded.
const MOST_KINDS: usize = 10_000;

/// Stands for the names of all kinds beyond these.
const OTHERS: &str = "(others)";

/// What the column of recorded decisions is called.
const RECORDED: &str = "recorded";

/// Send recorded calls through a policy, or through two, and count the decisions.
#[derive(clap::Args)]
#[command(after_help = "\
A log has one call a line, in JSON: audit lines of the filter, the access log of envoy/envoy.yaml, or lines that you write. Fields
that are not named here are ignored:

  {\"audit\": 1, \"time\": \"2026-01-05T09:00:00Z\", \"decision\": \"allow\", \"method\": \"tools/call\", \"tool\": \"search\", …}
  {\"time\": \"2026-01-05T09:00:00Z\", \"path\": \"/mcp\", \"mcp_decision\": \"allow\", \"mcp_method\": \"tools/call\", …}
  {\"time\": \"2026-01-05T09:00:00Z\", \"tool\": \"search\", \"arguments\": {\"query\": \"x\"}, \"grant\": \"alice\", \"session\": \"s1\"}
  {\"time\": 1767603600000, \"grant\": \"alice\", \"response\": \"error\", \"request\": {\"jsonrpc\": \"2.0\", …}}
  {\"jsonrpc\": \"2.0\", \"id\": 1, \"method\": \"tools/call\", \"params\": {\"name\": \"search\", \"arguments\": {}}}

`host`, `path`, `route`, `identity` ({\"team\": \"sre\"}) and `headers` are read too. `time` is RFC 3339, or milliseconds since 1970;
without it a call happens when the one before it did. `response: error` gives back what `count: successes` counted.
Each log must be in order of time (a thousand lines may be mixed up); several logs are merged. A call that somebody would be asked about
is `ask`: nobody is asked, and it goes no further. Recorded lines that hold no call to be sent again are counted as left out.

With --against-log a call is decided differently if its decision is another than `decision` in its line; reasons and rules may have moved.
One that was approved, or whose approval did not come, counts as one that is asked about.

Examples:
  mcp-policy replay new.json --log audit.jsonl
  mcp-policy replay new.json --log audit.jsonl --against-log
  mcp-policy replay new.json --against old.json --log envoy-1.jsonl --log envoy-2.jsonl

Exit codes: 0 done, and with --against or --against-log no decision differs; 1 a decision differs; 2 a file cannot be used.")]
pub(super) struct Arguments {
    /// A policy or plugin configuration, JSON or YAML.
    policy: PathBuf,

    /// A log of calls; may be given several times. `-` is standard input.
    #[arg(long, value_name = "FILE", required = true)]
    log: Vec<PathBuf>,

    /// The policy to compare with.
    #[arg(long, value_name = "OLD")]
    against: Option<PathBuf>,

    /// Compare with the decisions in the log.
    #[arg(long, conflicts_with = "against")]
    against_log: bool,
}

/// What became of calls of one kind, as `--format json` has it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
struct CallGroup {
    /// The tool, or the method and what it names.
    call: String,
    decision: String,
    reason: String,
    rule: String,
}

#[derive(Serialize)]
struct GroupRow {
    calls: u64,
    #[serde(flatten)]
    kind: CallGroup,
}

#[derive(Serialize)]
struct Difference {
    calls: u64,
    call: String,
    old: ReplayOutcome,
    new: ReplayOutcome,
    /// Where the first of them is.
    first: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
struct ReplayOutcome {
    decision: String,
    reason: String,
    rule: String,
}

#[derive(Serialize)]
struct ReplayReport {
    policy: String,
    against: Option<String>,
    calls: u64,
    /// Lines that are no calls that can be read.
    unreadable: u64,
    /// Lines of something that cannot be sent once more, by the decision on record or what is not on record.
    left_out: BTreeMap<LeftOut, u64>,
    /// Calls without recorded arguments: conditions on arguments saw nothing.
    without_arguments: u64,
    /// Calls of whose arguments some are hidden on record: conditions on those saw the text that stands for them.
    redacted_arguments: u64,
    /// With --against-log, calls that are not compared, as no decision is on record.
    #[serde(skip_serializing_if = "Option::is_none")]
    without_decision: Option<u64>,
    outcomes: Vec<GroupRow>,
    /// Calls that are decided differently and of whose arguments some or all are not on record.
    uncertain_differences: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    differences: Option<Vec<Difference>>,
}

/// Replays the logs.
pub(super) fn run(arguments: &Arguments, format: Format) -> Exit {
    match replay(arguments) {
        Ok(answer) => {
            match format {
                Format::Human => answer.print(),
                Format::Json => report::json(&answer),
            }
            let differs = answer.differences.as_ref().is_some_and(|found| !found.is_empty());
            if differs { Exit::No } else { Exit::Ok }
        }
        Err(trouble) => {
            trouble.tell();
            Exit::Unusable
        }
    }
}

fn replay(arguments: &Arguments) -> Result<ReplayReport, CliError> {
    let (policy, config) = input::policy(&arguments.policy)?;
    let simulator = Simulator::new(config);
    let old = match &arguments.against {
        Some(file) => {
            let (source, config) = input::policy(file)?;
            Some((source.name, Simulator::new(config)))
        }
        None => None,
    };
    let mut tally = Tally::default();
    let mut log = Log::open(&arguments.log)?;
    while let Some(call) = log.next()? {
        let new = simulator.send(&call.call.request);
        tally.note(&call, &new);
        match (&old, &call.call.decided) {
            (Some((_, simulator)), _) => {
                let old = ReplayOutcome::of(&simulator.send(&call.call.request));
                if old != ReplayOutcome::of(&new) {
                    tally.differs(&call, old, &new);
                }
            }
            (None, Some(recorded)) if arguments.against_log => {
                tally.compared += 1;
                if differs(recorded, &new) {
                    tally.differs(&call, ReplayOutcome::recorded(recorded), &new);
                }
            }
            (None, Some(_) | None) => {}
        }
    }
    log.skipped.tell_unreadable();
    let problem = |what: &str| {
        let names: Vec<String> = arguments.log.iter().map(|file| input::name(file)).collect();
        CliError::Line(format!("{}: {what}", names.join(", ")))
    };
    if tally.calls == 0 {
        return Err(problem(log.skipped.why_none()));
    }
    if arguments.against_log && tally.compared == 0 {
        return Err(problem("no call has a decision on record"));
    }
    let against = match old {
        Some((name, _)) => Some(name),
        None => arguments.against_log.then(|| RECORDED.to_owned()),
    };
    Ok(tally.answer(policy.name, against, arguments.against_log, &log.skipped))
}

/// Whether a call is decided differently from what was recorded. One that had an approval, or lacked one, is asked about again.
fn differs(recorded: &RecordedDecision, new: &Verdict) -> bool {
    let asked = recorded.asked() && new.decision == "ask";
    recorded.decision != new.decision && !asked
}

#[derive(Default)]
struct Tally {
    calls: u64,
    /// Calls whose recorded decision was compared.
    compared: u64,
    without_arguments: u64,
    redacted_arguments: u64,
    uncertain_differences: u64,
    outcomes: HashMap<CallGroup, u64>,
    differences: HashMap<(String, ReplayOutcome, ReplayOutcome), (u64, String)>,
}

impl Tally {
    fn note(&mut self, call: &LoggedCall, new: &Verdict) {
        self.calls += 1;
        match call.call.arguments {
            KnownArguments::Whole => {}
            KnownArguments::Redacted => self.redacted_arguments += 1,
            KnownArguments::Unknown => self.without_arguments += 1,
        }
        let kind = CallGroup {
            call: asked(&call.call.request.body),
            decision: new.decision.clone(),
            reason: new.reason.clone(),
            rule: new.rule.clone(),
        };
        *bounded(&mut self.outcomes, kind, |kind| kind.call = OTHERS.to_owned()) += 1;
    }

    fn differs(&mut self, call: &LoggedCall, old: ReplayOutcome, new: &Verdict) {
        self.uncertain_differences += u64::from(call.call.arguments != KnownArguments::Whole);
        let key = (asked(&call.call.request.body), old, ReplayOutcome::of(new));
        let (count, first) =
            bounded(&mut self.differences, key, |(call, ..)| *call = OTHERS.to_owned());
        *count += 1;
        if *count == 1 {
            *first = call.place.clone();
        }
    }

    fn answer(
        self,
        policy: String,
        against: Option<String>,
        against_log: bool,
        skipped: &Skipped,
    ) -> ReplayReport {
        let rows = self.outcomes.into_iter().map(|(kind, calls)| GroupRow { calls, kind });
        let mut outcomes: Vec<GroupRow> = rows.collect();
        outcomes.sort_by(|left, right| {
            right.calls.cmp(&left.calls).then_with(|| left.kind.cmp(&right.kind))
        });
        let rows = self
            .differences
            .into_iter()
            .map(|((call, old, new), (calls, first))| Difference { calls, call, old, new, first });
        let mut differences: Vec<Difference> = rows.collect();
        differences.sort_by(|left, right| {
            let key = |row: &Difference| (row.call.clone(), row.old.clone(), row.new.clone());
            right.calls.cmp(&left.calls).then_with(|| key(left).cmp(&key(right)))
        });
        ReplayReport {
            policy,
            differences: against.is_some().then_some(differences),
            against,
            calls: self.calls,
            unreadable: skipped.unreadable,
            left_out: skipped.left_out.clone(),
            without_arguments: self.without_arguments,
            redacted_arguments: self.redacted_arguments,
            uncertain_differences: self.uncertain_differences,
            without_decision: against_log.then(|| self.calls.saturating_sub(self.compared)),
            outcomes,
        }
    }
}

/// The value of a key; beyond the bound, that of a key that stands for many.
fn bounded<K: Eq + std::hash::Hash, V: Default>(
    map: &mut HashMap<K, V>,
    mut key: K,
    widen: impl Fn(&mut K),
) -> &mut V {
    if map.len() >= MOST_KINDS && !map.contains_key(&key) {
        widen(&mut key);
    }
    map.entry(key).or_default()
}

impl ReplayOutcome {
    fn of(verdict: &Verdict) -> ReplayOutcome {
        ReplayOutcome {
            decision: verdict.decision.clone(),
            reason: verdict.reason.clone(),
            rule: verdict.rule.clone(),
        }
    }

    fn recorded(recorded: &RecordedDecision) -> ReplayOutcome {
        let RecordedDecision { decision, reason, rule, .. } = recorded.clone();
        ReplayOutcome { decision, reason, rule }
    }

    fn text(&self) -> String {
        [&*self.decision, &self.reason, &self.rule].join(" ").trim_end().to_owned()
    }
}

impl ReplayReport {
    fn print(&self) {
        if let (Some(differences), Some(against)) = (&self.differences, &self.against) {
            let differing: u64 = differences.iter().map(|row| row.calls).sum();
            let compared = self.calls.saturating_sub(self.without_decision.unwrap_or(0));
            out!("{differing} of {compared} calls are decided differently");
            if !differences.is_empty() {
                let rows = differences.iter().map(|row| {
                    let (old, new) = (row.old.text(), row.new.text());
                    vec![row.calls.to_string(), row.call.clone(), old, new, row.first.clone()]
                });
                table::print(&["calls", "call", against, &self.policy, "first at"], rows.collect());
            }
        } else {
            out!("{} through {}", counted(self.calls, "call"), self.policy);
            let rows = self.outcomes.iter().map(|row| {
                let CallGroup { call, decision, reason, rule } = row.kind.clone();
                vec![row.calls.to_string(), decision, call, reason, rule]
            });
            table::print(&["calls", "decision", "call", "reason", "rule"], rows.collect());
        }
        self.print_notes();
    }

    /// What the numbers do not show.
    fn print_notes(&self) {
        let notes = [
            (
                self.without_arguments,
                "without recorded arguments",
                "conditions on arguments saw nothing there",
            ),
            (
                self.redacted_arguments,
                "with redacted arguments",
                "conditions on those saw the text [redacted]",
            ),
            (
                self.uncertain_differences,
                "decided differently without complete arguments",
                "of the whole call the decision may be another",
            ),
            (self.without_decision.unwrap_or(0), "without a recorded decision", "not compared"),
        ];
        for (count, what, meaning) in notes.into_iter().filter(|(count, ..)| *count > 0) {
            out!("{what}: {count} ({meaning})");
        }
        let left_out: u64 = self.left_out.values().sum();
        if left_out > 0 {
            let each = self.left_out.iter().map(|(why, lines)| format!("{lines} {}", why.phrase()));
            let each = each.collect::<Vec<_>>().join(", ");
            out!("left out: {left_out} (recorded, but no call to send again: {each})");
        }
    }
}
