//! `mcp-policy replay`: recorded calls through a policy, or through two, to see what a change would do.

mod log;

use std::collections::HashMap;
use std::path::PathBuf;

use mcp_policy::rehearsal::body::asked;
use mcp_policy::rehearsal::{Simulator, Verdict};
use serde::Serialize;

use super::input::{self, CliError};
use super::report::counted;
use super::{Exit, Format, report, table};
use crate::cli::out::out;
use log::{Log, RecordedCall};

/// Most kinds of outcome that are told apart: tools are named by callers, and memory is bounded.
const MOST_KINDS: usize = 10_000;

/// Stands for the names of all kinds beyond these.
const OTHERS: &str = "(others)";

/// Send recorded calls through a policy, or through two, and count the decisions.
#[derive(clap::Args)]
#[command(after_help = "\
A log has one call a line, in JSON. Fields that are not named here are ignored:

  {\"time\": \"2026-01-05T09:00:00Z\", \"tool\": \"search\", \"arguments\": {\"query\": \"x\"}, \"grant\": \"alice\", \"session\": \"s1\"}
  {\"time\": 1767603600000, \"grant\": \"alice\", \"response\": \"error\", \"request\": {\"jsonrpc\": \"2.0\", …}}
  {\"jsonrpc\": \"2.0\", \"id\": 1, \"method\": \"tools/call\", \"params\": {\"name\": \"search\", \"arguments\": {}}}

`host`, `path`, `route`, `identity` ({\"team\": \"sre\"}) and `headers` are read too. `time` is RFC 3339, or milliseconds since 1970;
without it a call happens when the one before it did. `response: error` gives back what `count: successes` counted.
Each log must be in order of time (a thousand lines may be mixed up); several logs are merged. A call that somebody would be asked about
is `ask`: nobody is asked, and it goes no further.

Examples:
  mcp-policy replay new.json --log audit.jsonl
  mcp-policy replay new.json --against old.json --log envoy-1.jsonl --log envoy-2.jsonl

Exit codes: 0 done, and with --against no decision differs; 1 a decision differs; 2 a file cannot be used.")]
pub(super) struct Arguments {
    /// A policy or plugin configuration, JSON or YAML.
    policy: PathBuf,

    /// A log of calls; may be given several times. `-` is standard input.
    #[arg(long, value_name = "FILE", required = true)]
    log: Vec<PathBuf>,

    /// The policy to compare with.
    #[arg(long, value_name = "OLD")]
    against: Option<PathBuf>,
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
    /// Calls without recorded arguments: conditions on arguments saw nothing.
    without_arguments: u64,
    outcomes: Vec<GroupRow>,
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
        let new = simulator.send(&call.request);
        let old = old.as_ref().map(|(_, simulator)| simulator.send(&call.request));
        tally.note(&call, &new, old.as_ref());
    }
    log.tell_unreadable();
    if tally.calls == 0 {
        let what = if log.unreadable > 0 {
            "no line is a call that can be read"
        } else {
            "there is no call in it"
        };
        let names: Vec<String> = arguments.log.iter().map(|file| input::name(file)).collect();
        return Err(CliError::Line(format!("{}: {what}", names.join(", "))));
    }
    Ok(tally.answer(policy.name, old.map(|(name, _)| name), log.unreadable))
}

#[derive(Default)]
struct Tally {
    calls: u64,
    without_arguments: u64,
    outcomes: HashMap<CallGroup, u64>,
    differences: HashMap<(String, ReplayOutcome, ReplayOutcome), (u64, String)>,
}

impl Tally {
    fn note(&mut self, call: &RecordedCall, new: &Verdict, old: Option<&Verdict>) {
        self.calls += 1;
        self.without_arguments += u64::from(call.without_arguments);
        let call_name = asked(&call.request.body);
        let kind = CallGroup {
            call: call_name.clone(),
            decision: new.decision.clone(),
            reason: new.reason.clone(),
            rule: new.rule.clone(),
        };
        *bounded(&mut self.outcomes, kind, |kind| kind.call = OTHERS.to_owned()) += 1;
        let Some(old) = old.filter(|old| ReplayOutcome::of(old) != ReplayOutcome::of(new)) else {
            return;
        };
        let key = (call_name, ReplayOutcome::of(old), ReplayOutcome::of(new));
        let (count, first) =
            bounded(&mut self.differences, key, |(call, ..)| *call = OTHERS.to_owned());
        *count += 1;
        if *count == 1 {
            *first = call.place.clone();
        }
    }

    fn answer(self, policy: String, against: Option<String>, unreadable: u64) -> ReplayReport {
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
            unreadable,
            without_arguments: self.without_arguments,
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

    fn text(&self) -> String {
        [&*self.decision, &self.reason, &self.rule].join(" ").trim_end().to_owned()
    }
}

impl ReplayReport {
    fn print(&self) {
        if let (Some(differences), Some(against)) = (&self.differences, &self.against) {
            let differing: u64 = differences.iter().map(|row| row.calls).sum();
            out!("{differing} of {} calls are decided differently", self.calls);
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
        if self.without_arguments > 0 {
            let count = self.without_arguments;
            out!("without recorded arguments: {count} (conditions on arguments saw nothing there)");
        }
    }
}
