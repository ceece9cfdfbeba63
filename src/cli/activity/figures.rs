//! What a log comes to, counted line by line.

use mcp_policy::mcp::call::Kind;
use mcp_policy::time::UnixMillis;

use super::timeline::{Joined, Timeline};
use crate::cli::audit_log::{AuditedCall, AuditedLimit, AuditedOther};
use crate::cli::tally::{CallerCount, Capped, Period, caller, fingerprint};

/// Most rows of one table that are counted: callers make names up.
const MOST_ROWS: usize = 10_000;

/// Most limits, each with what it was over time.
const MOST_LIMITS: usize = 200;

/// Most callers, of all rules together, that are told apart.
const MOST_CALLERS_IN_ALL: usize = 200_000;

/// The words for decisions, as they stand on record; what is none of them counts as the last.
pub(super) const DECISIONS: [&str; 9] =
    ["allow", "pass", "ask", "would_ask", "would_deny", "deny", "refuse", "withheld", "other"];

/// How often each decision was made, in the order of [`DECISIONS`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct DecisionCounts([u64; DECISIONS.len()]);

impl DecisionCounts {
    fn one(decision: &str) -> DecisionCounts {
        let mut counts = DecisionCounts::default();
        let at = DECISIONS.iter().position(|word| *word == decision);
        let at = at.unwrap_or(DECISIONS.len() - 1);
        counts.0.iter_mut().skip(at).take(1).for_each(|count| *count = 1);
        counts
    }

    pub(super) fn of(&self, decision: &str) -> u64 {
        let mut counts = DECISIONS.iter().zip(self.0);
        counts.find(|(word, _)| **word == decision).map_or(0, |(_, count)| count)
    }

    pub(super) fn of_all(&self, decisions: &[&str]) -> u64 {
        decisions.iter().map(|decision| self.of(decision)).sum()
    }

    pub(super) fn sum(&self) -> u64 {
        self.0.iter().sum()
    }
}

impl Joined for DecisionCounts {
    fn join(&mut self, other: DecisionCounts) {
        self.0.iter_mut().zip(other.0).for_each(|(count, more)| *count += more);
    }
}

/// The fullest that something was.
#[derive(Debug, Default)]
pub(super) struct Fullest(pub(super) u64);

impl Joined for Fullest {
    fn join(&mut self, other: Fullest) {
        self.0 = self.0.max(other.0);
    }
}

/// The decisions about one caller, or one name.
#[derive(Debug, Default)]
pub(super) struct Party {
    pub(super) decisions: DecisionCounts,
    /// When it was stopped.
    pub(super) stopped: Period,
}

/// How often something happened, when, and to how many.
#[derive(Debug, Default)]
pub(super) struct Happened {
    pub(super) count: u64,
    pub(super) period: Period,
    pub(super) callers: CallerCount,
}

/// How full a limit was.
#[derive(Debug, Default)]
pub(super) struct LimitUse {
    pub(super) most: u64,
    /// When it was that full first.
    pub(super) at: Option<UnixMillis>,
    /// Calls that it refused, or would have.
    pub(super) refused: u64,
    pub(super) over_time: Timeline<Fullest>,
}

/// How full a limit was for one caller.
#[derive(Debug, Default)]
pub(super) struct LimitOfCaller {
    pub(super) most: u64,
    pub(super) at: Option<UnixMillis>,
    /// Calls after which nine tenths or more were used.
    pub(super) near: u64,
}

/// Everything that is counted.
#[derive(Debug)]
pub(super) struct Figures {
    pub(super) decisions: DecisionCounts,
    /// Lines of requests that the filter decided nothing of: they were not for MCP.
    pub(super) undecided: u64,
    pub(super) period: Period,
    pub(super) over_time: Timeline<DecisionCounts>,
    /// By policy, rule, decision and reason.
    pub(super) stops: Capped<[String; 4], Happened>,
    pub(super) callers: Capped<String, Party>,
    /// By what kind of name it is, and the name.
    pub(super) names: Capped<(&'static str, String), Party>,
    /// By policy, decision, the candidate's decision, its reason and its rule.
    pub(super) candidate: Capped<[String; 5], Happened>,
    /// By policy, rule and counter.
    pub(super) limits: Capped<[String; 3], LimitUse>,
    /// By policy, rule, counter and caller.
    pub(super) limits_of_callers: Capped<[String; 4], LimitOfCaller>,
    /// By reason.
    pub(super) refused: Capped<String, Happened>,
    /// By cause.
    pub(super) withheld: Capped<String, Happened>,
    /// By who gave it.
    pub(super) approved: Capped<String, Happened>,
    /// By name, digest and mode.
    pub(super) policies: Capped<[String; 3], Happened>,
    room: usize,
}

impl Default for Figures {
    fn default() -> Figures {
        Figures {
            decisions: DecisionCounts::default(),
            undecided: 0,
            period: Period::default(),
            over_time: Timeline::default(),
            stops: Capped::of(MOST_ROWS),
            callers: Capped::of(MOST_ROWS),
            names: Capped::of(MOST_ROWS),
            candidate: Capped::of(MOST_ROWS),
            limits: Capped::of(MOST_LIMITS),
            limits_of_callers: Capped::of(MOST_ROWS),
            refused: Capped::of(MOST_ROWS),
            withheld: Capped::of(MOST_ROWS),
            approved: Capped::of(MOST_ROWS),
            policies: Capped::of(MOST_ROWS),
            room: MOST_CALLERS_IN_ALL,
        }
    }
}

impl Figures {
    /// Takes a line in.
    pub(super) fn note(&mut self, call: &AuditedCall) {
        if call.decision.is_empty() {
            self.undecided += 1;
            return;
        }
        let one = DecisionCounts::one(&call.decision);
        self.decisions.join(one.clone());
        self.period.note(call.time);
        if let Some(time) = call.time {
            self.over_time.note(time, one.clone());
        }
        let who = caller(call);
        if !call.policy.is_empty() {
            let policy = [call.policy.clone(), call.digest.clone(), call.mode.clone()];
            self.happened(|figures| &mut figures.policies, policy, call, &who);
        }
        match &*call.decision {
            "refuse" => {
                return self.happened(
                    |figures| &mut figures.refused,
                    call.reason.clone(),
                    call,
                    &who,
                );
            }
            "withheld" => {
                return self.happened(
                    |figures| &mut figures.withheld,
                    call.cause.clone(),
                    call,
                    &who,
                );
            }
            "deny" | "ask" | "would_deny" | "would_ask" => {
                let (decision, reason) = (call.decision.clone(), call.reason.clone());
                let rule = [call.policy.clone(), call.rule.clone(), decision, reason];
                self.happened(|figures| &mut figures.stops, rule, call, &who);
            }
            _ => {}
        }
        self.parties(call, one, &who);
        self.limits(call, &who);
        if let Some(by) = call.approval.split(':').next().filter(|by| !by.is_empty()) {
            self.happened(|figures| &mut figures.approved, by.to_owned(), call, &who);
        }
        if let Some(AuditedOther { decision, reason, rule }) = &call.candidate {
            let key = [&call.policy, &call.decision, decision, reason, rule].map(String::clone);
            self.happened(|figures| &mut figures.candidate, key, call, &who);
        }
    }

    /// Gives all that is told over time the same stretches, once all lines are in.
    pub(super) fn align(&mut self) {
        let length = self.over_time.length();
        self.limits.values_mut().for_each(|limit| limit.over_time.stretch_to(length));
    }

    fn happened<K: Ord>(
        &mut self,
        table: fn(&mut Figures) -> &mut Capped<K, Happened>,
        key: K,
        call: &AuditedCall,
        who: &str,
    ) {
        let mut room = std::mem::take(&mut self.room);
        if let Some(row) = table(self).at(key) {
            row.count += 1;
            row.period.note(call.time);
            row.callers.note(fingerprint(who), &mut room);
        }
        self.room = room;
    }

    fn parties(&mut self, call: &AuditedCall, one: DecisionCounts, who: &str) {
        let is_stopped = matches!(&*call.decision, "deny" | "ask" | "would_deny" | "would_ask");
        let note = |party: &mut Party| {
            party.decisions.join(one.clone());
            if is_stopped {
                party.stopped.note(call.time);
            }
        };
        self.callers.at(who.to_owned()).map(note);
        let kind = match call.kind {
            Some(Kind::Tool) => "tool",
            Some(Kind::Resource) => "resource",
            Some(Kind::Prompt) => "prompt",
            Some(Kind::Method) => "method",
            None => return,
        };
        self.names.at((kind, call.name.clone())).map(note);
    }

    fn limits(&mut self, call: &AuditedCall, who: &str) {
        for AuditedLimit { rule, counter, used_percent } in &call.limits {
            let used = *used_percent;
            let key = [&call.policy, rule, counter].map(String::clone);
            if let Some(limit) = self.limits.at(key) {
                if used > limit.most || limit.at.is_none() {
                    (limit.most, limit.at) = (used, call.time);
                }
                limit.refused += u64::from(call.reason == "limit_reached" && call.rule == *rule);
                if let Some(time) = call.time {
                    limit.over_time.note(time, Fullest(used));
                }
            }
            let key = [call.policy.clone(), rule.clone(), counter.clone(), who.to_owned()];
            if let Some(limit) = self.limits_of_callers.at(key) {
                if used > limit.most || limit.at.is_none() {
                    (limit.most, limit.at) = (used, call.time);
                }
                limit.near += u64::from(used >= 90);
            }
        }
    }
}
