//! The figures as they are told: tables in the order of what matters, no longer than anybody reads.

use serde::Serialize;
use serde_json::{Map, Value};

use super::figures::{DECISIONS, DecisionCounts, Figures, Happened, LimitOfCaller, Party};
use crate::cli::tally::{Capped, Period, rfc3339};
use mcp_policy::time::UnixMillis;

/// Most rows of a table that are told.
const MOST_TOLD: usize = 25;

/// What went on, as `--format json` has it.
#[derive(Debug, Serialize)]
pub(super) struct Activity {
    pub(super) logs: Vec<String>,
    pub(super) lines: u64,
    pub(super) unreadable: u64,
    /// Lines without a decision.
    pub(super) undecided: u64,
    pub(super) first: Option<String>,
    pub(super) last: Option<String>,
    #[serde(serialize_with = "by_word")]
    pub(super) decisions: DecisionCounts,
    pub(super) callers: u64,
    pub(super) names: u64,
    pub(super) over_time: OverTime,
    pub(super) stopped_by_rule: Rows<StopRow>,
    pub(super) stopped_callers: Rows<PartyRow>,
    pub(super) stopped_names: Rows<PartyRow>,
    pub(super) would_be_stopped: Rows<StopRow>,
    pub(super) candidate: Rows<CandidateRow>,
    pub(super) limits: Rows<LimitRow>,
    pub(super) limits_of_callers: Rows<LimitOfCallerRow>,
    pub(super) approved: Rows<HappenedRow>,
    pub(super) refused: Rows<HappenedRow>,
    pub(super) withheld: Rows<HappenedRow>,
    pub(super) policies: Rows<PolicyRow>,
}

/// A table, and how much of it is not told.
#[derive(Debug, Serialize)]
pub(super) struct Rows<R> {
    pub(super) rows: Vec<R>,
    /// Rows that are not told.
    pub(super) more_rows: usize,
    /// Lines of rows that there was no room to count.
    pub(super) not_counted: u64,
}

#[derive(Debug, Serialize)]
pub(super) struct OverTime {
    /// The length of each stretch.
    pub(super) seconds: u64,
    pub(super) stretches: Vec<Stretch>,
}

#[derive(Debug, Serialize)]
pub(super) struct Stretch {
    pub(super) from: String,
    #[serde(skip)]
    pub(super) second: u64,
    #[serde(serialize_with = "by_word")]
    pub(super) decisions: DecisionCounts,
}

#[derive(Debug, Serialize)]
pub(super) struct When {
    pub(super) first: Option<String>,
    pub(super) last: Option<String>,
}

#[derive(Debug, Serialize)]
pub(super) struct HappenedRow {
    pub(super) what: String,
    pub(super) count: u64,
    #[serde(flatten)]
    pub(super) when: When,
}

#[derive(Debug, Serialize)]
pub(super) struct StopRow {
    pub(super) policy: String,
    pub(super) rule: String,
    pub(super) decision: String,
    pub(super) reason: String,
    pub(super) count: u64,
    pub(super) callers: String,
    #[serde(flatten)]
    pub(super) when: When,
}

#[derive(Debug, Serialize)]
pub(super) struct PartyRow {
    pub(super) kind: &'static str,
    pub(super) name: String,
    #[serde(serialize_with = "by_word")]
    pub(super) decisions: DecisionCounts,
    #[serde(flatten)]
    pub(super) when: When,
}

#[derive(Debug, Serialize)]
pub(super) struct CandidateRow {
    pub(super) policy: String,
    pub(super) decision: String,
    pub(super) candidate: String,
    pub(super) reason: String,
    pub(super) rule: String,
    pub(super) count: u64,
    #[serde(flatten)]
    pub(super) when: When,
}

#[derive(Debug, Serialize)]
pub(super) struct LimitRow {
    pub(super) policy: String,
    pub(super) rule: String,
    pub(super) counter: String,
    pub(super) most_percent: u64,
    pub(super) at: Option<String>,
    pub(super) refused: u64,
    /// The fullest of each stretch in which it was counted.
    pub(super) over_time: Vec<Fullness>,
}

#[derive(Debug, Serialize)]
pub(super) struct Fullness {
    pub(super) from: String,
    #[serde(skip)]
    pub(super) second: u64,
    pub(super) most_percent: u64,
}

#[derive(Debug, Serialize)]
pub(super) struct LimitOfCallerRow {
    pub(super) policy: String,
    pub(super) rule: String,
    pub(super) counter: String,
    pub(super) caller: String,
    pub(super) most_percent: u64,
    pub(super) at: Option<String>,
    /// Calls after which nine tenths or more were used.
    pub(super) near: u64,
}

#[derive(Debug, Serialize)]
pub(super) struct PolicyRow {
    pub(super) name: String,
    pub(super) digest: String,
    pub(super) mode: String,
    pub(super) count: u64,
    #[serde(flatten)]
    pub(super) when: When,
}

impl Activity {
    /// What the figures come to.
    pub(super) fn from(
        figures: &Figures,
        logs: Vec<String>,
        lines: u64,
        unreadable: u64,
    ) -> Activity {
        let when = When::of(&figures.period);
        let mut figures_over_time = Vec::new();
        for (second, decisions) in figures.over_time.stretches() {
            let decisions = decisions.clone();
            figures_over_time.push(Stretch { from: at_second(second), second, decisions });
        }
        let shadow = |decision: &str| decision.starts_with("would_");
        Activity {
            logs,
            lines,
            unreadable,
            undecided: figures.undecided,
            first: when.first,
            last: when.last,
            decisions: figures.decisions.clone(),
            callers: figures.callers.len() as u64 + u64::from(figures.callers.beyond > 0),
            names: figures.names.len() as u64 + u64::from(figures.names.beyond > 0),
            over_time: OverTime {
                seconds: figures.over_time.length(),
                stretches: figures_over_time,
            },
            stopped_by_rule: stops(figures, |decision| !shadow(decision)),
            stopped_callers: parties(&figures.callers, |name| ("caller", name.clone())),
            stopped_names: parties(&figures.names, |(kind, name)| (kind, name.clone())),
            would_be_stopped: stops(figures, shadow),
            candidate: candidate(figures),
            limits: limits(figures),
            limits_of_callers: limits_of_callers(figures),
            approved: happened(&figures.approved),
            refused: happened(&figures.refused),
            withheld: happened(&figures.withheld),
            policies: policies(figures),
        }
    }
}

impl<R> Rows<R> {
    /// The first rows, in an order: by weight, the heaviest first, and then by name.
    fn ranked<N: Ord>(
        mut rows: Vec<R>,
        not_counted: u64,
        rank: impl Fn(&R) -> (u64, N),
    ) -> Rows<R> {
        rows.sort_by(|left, right| {
            let ((left, left_name), (right, right_name)) = (rank(left), rank(right));
            right.cmp(&left).then(left_name.cmp(&right_name))
        });
        let more_rows = rows.len().saturating_sub(MOST_TOLD);
        rows.truncate(MOST_TOLD);
        Rows { rows, more_rows, not_counted }
    }
}

impl When {
    fn of(period: &Period) -> When {
        When { first: period.first().map(rfc3339), last: period.last().map(rfc3339) }
    }
}

fn at_second(second: u64) -> String {
    rfc3339(UnixMillis(second.saturating_mul(1000)))
}

fn stops(figures: &Figures, wanted: impl Fn(&str) -> bool) -> Rows<StopRow> {
    let rows = figures.stops.iter().filter(|([_, _, decision, _], _)| wanted(decision));
    let row = |([policy, rule, decision, reason], happened): (&[String; 4], &Happened)| StopRow {
        policy: policy.clone(),
        rule: rule.clone(),
        decision: decision.clone(),
        reason: reason.clone(),
        count: happened.count,
        callers: happened.callers.number(),
        when: When::of(&happened.period),
    };
    let name = |row: &StopRow| (row.policy.clone(), row.rule.clone(), row.reason.clone());
    Rows::ranked(rows.map(row).collect(), figures.stops.beyond, |row| (row.count, name(row)))
}

/// Those of whom something was stopped, or would have been.
fn parties<K: Ord>(
    table: &Capped<K, Party>,
    named: impl Fn(&K) -> (&'static str, String),
) -> Rows<PartyRow> {
    let rows = table.iter().filter(|(_, party)| party.stopped_calls() > 0).map(|(key, party)| {
        let (kind, name) = named(key);
        let (decisions, when) = (party.decisions.clone(), When::of(&party.stopped));
        (party.stopped_calls(), PartyRow { kind, name, decisions, when })
    });
    let rank = |(stopped, row): &(u64, PartyRow)| (*stopped, (row.kind, row.name.clone()));
    let Rows { rows, more_rows, not_counted } = Rows::ranked(rows.collect(), table.beyond, rank);
    Rows { rows: rows.into_iter().map(|(_, row)| row).collect(), more_rows, not_counted }
}

impl Party {
    fn stopped_calls(&self) -> u64 {
        self.decisions.of_all(&["deny", "ask", "would_deny", "would_ask"])
    }
}

fn candidate(figures: &Figures) -> Rows<CandidateRow> {
    let row = |(key, happened): (&[String; 5], &Happened)| {
        let [policy, decision, candidate, reason, rule] = key.clone();
        let (count, when) = (happened.count, When::of(&happened.period));
        CandidateRow { policy, decision, candidate, reason, rule, count, when }
    };
    let rows = figures.candidate.iter().map(row).collect();
    let name = |row: &CandidateRow| (row.policy.clone(), row.rule.clone(), row.decision.clone());
    Rows::ranked(rows, figures.candidate.beyond, |row| (row.count, name(row)))
}

fn limits(figures: &Figures) -> Rows<LimitRow> {
    let rows = figures.limits.iter().map(|([policy, rule, counter], limit)| {
        let over_time = limit.over_time.stretches().map(|(second, fullest)| Fullness {
            from: at_second(second),
            second,
            most_percent: fullest.0,
        });
        LimitRow {
            policy: policy.clone(),
            rule: rule.clone(),
            counter: counter.clone(),
            most_percent: limit.most,
            at: limit.at.map(rfc3339),
            refused: limit.refused,
            over_time: over_time.collect(),
        }
    });
    let name = |row: &LimitRow| (row.policy.clone(), row.rule.clone(), row.counter.clone());
    Rows::ranked(rows.collect(), figures.limits.beyond, |row| (row.most_percent, name(row)))
}

fn limits_of_callers(figures: &Figures) -> Rows<LimitOfCallerRow> {
    let row = |(key, limit): (&[String; 4], &LimitOfCaller)| {
        let [policy, rule, counter, caller] = key.clone();
        let (most_percent, at, near) = (limit.most, limit.at.map(rfc3339), limit.near);
        LimitOfCallerRow { policy, rule, counter, caller, most_percent, at, near }
    };
    let rows = figures.limits_of_callers.iter().map(row).collect();
    Rows::ranked(rows, figures.limits_of_callers.beyond, |row: &LimitOfCallerRow| {
        (row.most_percent, (u64::MAX - row.near, row.rule.clone(), row.caller.clone()))
    })
}

fn happened(table: &Capped<String, Happened>) -> Rows<HappenedRow> {
    let row = |(what, happened): (&String, &Happened)| HappenedRow {
        what: what.clone(),
        count: happened.count,
        when: When::of(&happened.period),
    };
    let rows = table.iter().map(row).collect();
    Rows::ranked(rows, table.beyond, |row: &HappenedRow| (row.count, row.what.clone()))
}

fn policies(figures: &Figures) -> Rows<PolicyRow> {
    let row = |([name, digest, mode], happened): (&[String; 3], &Happened)| PolicyRow {
        name: name.clone(),
        digest: digest.clone(),
        mode: mode.clone(),
        count: happened.count,
        when: When::of(&happened.period),
    };
    let rows = figures.policies.iter().map(row).collect();
    let name = |row: &PolicyRow| (row.name.clone(), row.digest.clone(), row.mode.clone());
    Rows::ranked(rows, figures.policies.beyond, |row| (row.count, name(row)))
}

fn by_word<S: serde::Serializer>(counts: &DecisionCounts, to: S) -> Result<S::Ok, S::Error> {
    let words = DECISIONS.iter().filter(|word| counts.of(word) > 0);
    let words = words.map(|word| ((*word).to_owned(), Value::from(counts.of(word))));
    words.collect::<Map<_, _>>().serialize(to)
}
