//! Metrics: what is counted of decisions, for Prometheus.
//!
//! A series is a meter with its labels. Labels are numbers of rules and words of our own, never a text that a caller chose: however
//! many tools, methods and names callers make up, there are as many series as the policy has lines.
//!
//! Envoy's statistics are names without labels. So labels are written into the name, as `label=.=value;.;`, and Envoy takes them out
//! again by a regular expression for each label (`stats_config.stats_tags` in `envoy/envoy.yaml`; `extraStatTags` in Istio).

pub mod counted;

use std::borrow::Cow;
use std::cell::Cell;

use crate::live::VERSION;
use crate::matcher::fold::legible;
use crate::policy::compiled::{Config, Policy};
use crate::policy::rules::RuleId;

/// What a meter does with numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MeterKind {
    /// It adds them.
    Counter,
    /// It keeps the last.
    Gauge,
    /// It keeps how often which came.
    Histogram,
}

/// What is measured.
#[derive(Debug)]
pub struct Meter {
    /// Its name in Prometheus.
    pub name: &'static str,
    /// What it does with numbers.
    pub kind: MeterKind,
    /// Its labels, in the order of the name.
    pub labels: &'static [&'static str],
}

use MeterKind::{Counter, Gauge, Histogram};

/// The time of one request in so many is taken: asking for the time is most of what that costs.
const TIMED_OF: u32 = 16;

/// Which requests have their time taken.
#[derive(Debug, Default)]
pub struct Timing {
    requests: Cell<u32>,
}

impl Timing {
    /// Whether to take the time of one more request.
    pub fn takes_next(&self) -> bool {
        let before = self.requests.get();
        self.requests.set(before.wrapping_add(1));
        before.is_multiple_of(TIMED_OF)
    }
}

/// All meters. `envoy/README.md` describes them, and a test compares.
pub const METERS: [Meter; 11] = [
    Meter {
        name: "mcp_policy_decisions_total",
        kind: Counter,
        labels: &["policy", "decision", "reason", "rule", "mode"],
    },
    Meter {
        name: "mcp_policy_limit_used_percent",
        kind: Histogram,
        labels: &["policy", "counter"],
    },
    Meter {
        name: "mcp_policy_limit_refusals_total",
        kind: Counter,
        labels: &["policy", "counter"],
    },
    Meter {
        name: "mcp_policy_lists_total",
        kind: Counter,
        labels: &["policy", "outcome", "cause"],
    },
    Meter {
        name: "mcp_policy_candidate_differences_total",
        kind: Counter,
        labels: &["policy", "decision", "candidate", "reason", "rule"],
    },
    Meter {
        name: "mcp_policy_counter_overflow_total",
        kind: Counter,
        labels: &["policy", "counter"],
    },
    Meter { name: "mcp_policy_counter_swaps_total", kind: Counter, labels: &["outcome"] },
    Meter {
        name: "mcp_policy_service_questions_total",
        kind: Counter,
        labels: &["policy", "outcome"],
    },
    Meter { name: "mcp_policy_configurations_total", kind: Counter, labels: &["outcome"] },
    Meter { name: "mcp_policy_info", kind: Gauge, labels: &["policy", "digest", "version"] },
    Meter { name: "mcp_policy_duration_microseconds", kind: Histogram, labels: &[] },
];

/// One series of a meter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Series {
    /// Decisions.
    Decisions {
        /// The policy, by its place in the configuration.
        policy: Option<usize>,
        /// What was decided.
        decision: &'static str,
        /// Why.
        reason: &'static str,
        /// By which rule.
        rule: Option<RuleId>,
        /// Whether denials deny.
        mode: &'static str,
    },
    /// How full a limit was with a call that it admitted, in percent.
    LimitUsed(MeteredCounter),
    /// Calls that a limit refused.
    LimitRefusals(MeteredCounter),
    /// Lists, and what else may be one, that were changed or withheld.
    Lists {
        /// The policy.
        policy: Option<usize>,
        /// What became of it.
        outcome: ListOutcome,
        /// Why it was withheld.
        cause: &'static str,
    },
    /// Calls that the candidate decides otherwise.
    CandidateDifferences {
        /// The policy.
        policy: Option<usize>,
        /// What was decided.
        decision: &'static str,
        /// What the candidate would have.
        candidate: &'static str,
        /// Why it denies.
        reason: &'static str,
        /// By which rule of its own.
        rule: Option<RuleId>,
    },
    /// Calls of callers who found the table full, and were counted together with others or refused.
    CounterOverflow(MeteredCounter),
    /// Writes of shared data that another thread had come before, or that failed.
    CounterSwaps(SwapOutcome),
    /// Questions to the rate limit service, and what leases spared of them.
    Service {
        /// The policy.
        policy: Option<usize>,
        /// What came of it.
        outcome: ServiceOutcome,
    },
    /// Configurations that were taken or refused.
    Configurations(ConfigurationOutcome),
    /// The policy that is live.
    Info(usize),
    /// The filter's own time for a request.
    Duration,
}

/// A counter of a policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct MeteredCounter {
    /// The policy, by its place in the configuration.
    pub policy: usize,
    /// The counter, by its index there.
    pub counter: usize,
}

/// What became of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ListOutcome {
    /// Something was taken out of it.
    Filtered,
    /// It was withheld.
    Withheld,
}

/// How a write of shared data ended that did not succeed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum SwapOutcome {
    /// Another thread was faster, so it was tried again.
    Retried,
    /// The host refused it.
    Failed,
}

/// What came of a question to the rate limit service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ServiceOutcome {
    /// It has counted the call.
    Ok,
    /// A limit is reached.
    OverLimit,
    /// It was not asked: a lease paid.
    Leased,
    /// It gave no answer, so the call was denied.
    FailedDeny,
    /// It gave no answer, and the call went on uncounted.
    FailedAllow,
    /// It gave no answer, and the call was counted in this Envoy alone.
    FailedLocal,
}

impl ServiceOutcome {
    /// The word in metrics, filter state and audit lines.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            ServiceOutcome::Ok => "ok",
            ServiceOutcome::OverLimit => "over_limit",
            ServiceOutcome::Leased => "leased",
            ServiceOutcome::FailedDeny => "failed_deny",
            ServiceOutcome::FailedAllow => "failed_allow",
            ServiceOutcome::FailedLocal => "failed_local",
        }
    }
}

/// What became of a configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ConfigurationOutcome {
    /// It is in force.
    Taken,
    /// It is not.
    Refused,
}

/// A number for a series.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sample {
    /// The series.
    pub series: Series,
    /// The number.
    pub value: u64,
}

impl Sample {
    /// One more.
    #[must_use]
    pub fn one(series: Series) -> Sample {
        Sample { series, value: 1 }
    }
}

impl Series {
    /// Its meter.
    #[must_use]
    pub fn meter(self) -> &'static Meter {
        let [
            decisions,
            used,
            refusals,
            lists,
            candidate,
            overflow,
            swaps,
            service,
            configurations,
            info,
            duration,
        ] = &METERS;
        match self {
            Series::Decisions { .. } => decisions,
            Series::LimitUsed(_) => used,
            Series::LimitRefusals(_) => refusals,
            Series::Lists { .. } => lists,
            Series::CandidateDifferences { .. } => candidate,
            Series::CounterOverflow(_) => overflow,
            Series::CounterSwaps(_) => swaps,
            Series::Service { .. } => service,
            Series::Configurations(_) => configurations,
            Series::Info(_) => info,
            Series::Duration => duration,
        }
    }

    /// The name by which Envoy knows it: that of the meter, and then its labels. Without a configuration, what it would tell is left out.
    #[must_use]
    pub fn name(self, config: Option<&Config>) -> String {
        name(self.meter(), &self.labels(config))
    }

    /// The values of its labels, in the order of its meter. Without a configuration, what it would tell is left out.
    #[must_use]
    pub fn labels(self, config: Option<&Config>) -> Vec<String> {
        let policy = |at: Option<usize>| config.and_then(|config| config.policy_at(at?));
        let named = |policy: Option<&Policy>| policy.map_or("", |policy| &policy.name).to_owned();
        let counter = |at: MeteredCounter| {
            let policy = policy(Some(at.policy));
            let counter = policy.and_then(|policy| policy.counters.get(at.counter));
            vec![named(policy), counter.map_or("", |counter| &counter.name).to_owned()]
        };
        match self {
            Series::Decisions { policy: at, decision, reason, rule, mode } => {
                let policy = policy(at);
                let rule = pointer(policy, rule);
                vec![named(policy), decision.into(), reason.into(), rule, mode.into()]
            }
            Series::LimitUsed(at) | Series::LimitRefusals(at) | Series::CounterOverflow(at) => {
                counter(at)
            }
            Series::Lists { policy: at, outcome, cause } => {
                let outcome = match outcome {
                    ListOutcome::Filtered => "filtered",
                    ListOutcome::Withheld => "withheld",
                };
                vec![named(policy(at)), outcome.into(), cause.into()]
            }
            Series::CandidateDifferences { policy: at, decision, candidate, reason, rule } => {
                let policy = policy(at);
                let rule = pointer(policy.and_then(|policy| policy.candidate.as_deref()), rule);
                vec![named(policy), decision.into(), candidate.into(), reason.into(), rule]
            }
            Series::Service { policy: at, outcome } => {
                vec![named(policy(at)), outcome.word().into()]
            }
            Series::CounterSwaps(SwapOutcome::Retried) => vec!["retried".into()],
            Series::CounterSwaps(SwapOutcome::Failed) => vec!["failed".into()],
            Series::Configurations(ConfigurationOutcome::Taken) => vec!["taken".into()],
            Series::Configurations(ConfigurationOutcome::Refused) => vec!["refused".into()],
            Series::Info(at) => {
                let policy = policy(Some(at));
                let digest = policy.map_or("", |policy| &policy.named_digest).to_owned();
                vec![named(policy), digest, VERSION.to_owned()]
            }
            Series::Duration => Vec::new(),
        }
    }
}

/// The name of the series that tells that a policy is live, for one that was.
#[must_use]
pub fn info_of(policy: &str, digest: &str, version: &str) -> String {
    name(Series::Info(0).meter(), &[policy, digest, version].map(str::to_owned))
}

fn name(meter: &Meter, values: &[String]) -> String {
    let mut name = meter.name.to_owned();
    for (at, (label, value)) in meter.labels.iter().zip(values).enumerate() {
        if at == 0 {
            name.push('.');
        }
        name.push_str(&format!("{label}=.={};.;", unmarked(value)));
    }
    name
}

fn pointer(policy: Option<&Policy>, rule: Option<RuleId>) -> String {
    policy.zip(rule).map_or("", |(policy, rule)| policy.rules.pointer(rule)).to_owned()
}

/// A value without what marks the ends of labels, and without what does not show. The author of the policy wrote it, so it harms nobody
/// else; but a name of his must not read as two.
fn unmarked(value: &str) -> Cow<'_, str> {
    let value = legible(value);
    if value.contains(";.;") || value.contains("=.=") {
        return value.replace(";.;", ";%2E;").replace("=.=", "=%2E=").into();
    }
    value
}
