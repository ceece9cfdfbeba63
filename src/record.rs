//! What is put on record of a decision. Three ways lead out of it: the filter state that Envoy's access log can print, the audit line
//! ([`crate::audit`]), and the metrics ([`crate::metrics`]).

mod audited;

pub use audited::{CallDetail, RequestTrail, traceparent};

use std::borrow::Cow;

use crate::denial::{Denial, Detail};
use crate::enforce::Fill;
use crate::identity::Caller;
use crate::listing::{Cause, ChangedTool};
use crate::matcher::fold::legible;
use crate::mcp::Refusal;
use crate::mcp::call::Kind;
use crate::mcp::message::Request;
use crate::metrics::{ListOutcome, MeteredCounter, Sample, Series, ServiceOutcome};
use crate::policy::compiled::{Config, Policy};
use crate::policy::log_key::LogKey;
use crate::policy::rules::RuleId;
use crate::rate::limiter::Mode;
use crate::reason::Reason;
use crate::reply::echoed;

/// The record of one decision.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Record {
    /// `allow`, `deny`, `ask` where the answer is a question, `would_deny` and `would_ask` in shadow, `refuse`, `pass` where no policy governs the message, or `withheld` for what the server said.
    pub decision: &'static str,
    /// The JSON-RPC method, or `batch`.
    pub method: String,
    /// The tool, resource or prompt.
    pub name: Option<(Kind, String)>,
    /// The reason of a denial or refusal.
    pub reason: &'static str,
    /// The rule that decided.
    pub rule: Option<RuleId>,
    /// The policy, by its place in the configuration.
    pub policy: Option<usize>,
    /// Why a response is withheld; a word.
    pub cause: &'static str,
    /// Who approved the call, and by which id: `user:…`, `approver:…`, `token:…`.
    pub approval: String,
    /// A line for the operator, where one is needed.
    pub warning: String,
    /// The caller's grant; a digest where it is a credential.
    pub grant: String,
    /// The caller's further names.
    pub identity: Vec<(String, String)>,
    /// How full the limits are that admitted the call, or which one refused it.
    pub fills: Vec<Fill>,
    /// How the call was counted, where the rate limit service did not answer.
    pub counted: Option<ServiceOutcome>,
    /// What the candidate would have decided, where that is something else.
    pub candidate: Option<CandidateVerdict>,
    /// The trace that the request's `_meta` names, where traces are told.
    pub traceparent: Option<String>,
    /// Whether it only sums up a batch, whose calls have records of their own.
    pub sums_up: bool,
    /// What an audit line says of the call, where there is one.
    pub call: Option<Box<CallDetail>>,
}

/// What a candidate would have decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CandidateVerdict {
    /// The decision, in the words of [`Record::decision`].
    pub decision: &'static str,
    /// The reason of a denial or refusal.
    pub reason: &'static str,
    /// The candidate's rule that decided.
    pub rule: Option<RuleId>,
}

impl CandidateVerdict {
    /// The pointer of the rule that decided, in the candidate of this policy.
    #[must_use]
    pub fn pointer<'c>(&self, config: &'c Config, policy: Option<usize>) -> &'c str {
        let policy = policy.and_then(|at| config.policy_at(at));
        pointer(policy.and_then(|policy| policy.candidate.as_deref()), self.rule)
    }
}

fn pointer(policy: Option<&Policy>, rule: Option<RuleId>) -> &str {
    policy.zip(rule).map_or("", |(policy, rule)| policy.rules.pointer(rule))
}

impl Record {
    /// The record of a request that the strict front door refuses.
    #[must_use]
    pub fn refused(refusal: &Refusal, policy: Option<usize>) -> Record {
        let reason = refusal.reason.label();
        Record { decision: "refuse", reason, policy, ..Record::default() }
    }

    /// The record of a response, or a part of one, that is withheld. What is on record of the request stays.
    #[must_use]
    pub fn withheld(cause: &Cause, policy: Option<&Policy>) -> Record {
        let reason = Reason::ListUnreadable.label();
        let (word, text) = (cause.word(), cause.text());
        let name = policy.map_or("", |policy| &policy.name);
        let warning = format!(
            "mcp_policy: withheld what a server said under policy `{}`: {text} [{reason}, {word}]",
            echoed(name)
        );
        let policy = policy.map(|policy| policy.index);
        Record { decision: "withheld", reason, cause: word, policy, warning, ..Record::default() }
    }

    /// The record of a tool that a list does not show because it is not defined as the policy pins it.
    #[must_use]
    pub fn of_definition(changed: &ChangedTool, policy: Option<&Policy>) -> Record {
        let ChangedTool { name, rule, cause } = changed;
        let reason = Reason::DefinitionChanged.label();
        let (tool, word, text) = (echoed(name), cause.word(), cause.text());
        let of = policy.map_or("", |policy| &policy.name);
        let warning = format!(
            "mcp_policy: withheld the tool `{}` of a list under policy `{}`: {text} [{reason}, {word}]",
            legible(&tool),
            echoed(of)
        );
        let name = Some((Kind::Tool, tool));
        Record { name, rule: Some(*rule), reason, warning, ..Record::withheld(cause, policy) }
    }

    /// The record of a message that the policy has no rules for.
    #[must_use]
    pub fn passed(method: &str, policy: Option<usize>) -> Record {
        Record { decision: "pass", method: echoed(method), policy, ..Record::default() }
    }

    /// The same record, with who sent the request.
    #[must_use]
    pub fn of(mut self, caller: &Caller, config: &Config) -> Record {
        let names = caller.names(config);
        self.identity = names.map(|(key, name)| (key.to_owned(), echoed(&name))).collect();
        self.grant = echoed(caller.label());
        self
    }

    /// The record of a request that the policy has rules for.
    #[must_use]
    pub fn governed(
        decision: &'static str,
        request: &Request<'_>,
        denial: Option<&Denial>,
        policy: Option<&Policy>,
    ) -> Record {
        Record {
            decision,
            method: echoed(request.method),
            name: request.call.as_ref().map(|call| (call.kind, echoed(call.name))),
            reason: denial.map_or("", |denial| denial.reason.label()),
            rule: denial.and_then(|denial| denial.rule),
            policy: policy.map(|policy| policy.index),
            fills: denial.and_then(refusing).into_iter().collect(),
            ..Record::default()
        }
    }

    /// The call is denied after all.
    pub fn deny(&mut self, denial: &Denial) {
        (self.decision, self.reason, self.rule) = ("deny", denial.reason.label(), denial.rule);
        self.fills = refusing(denial).into_iter().collect();
        self.approval.clear();
    }

    /// The call is refused with its batch.
    pub fn refuse_with_batch(&mut self) {
        (self.decision, self.reason, self.rule) = ("deny", Reason::BatchRefused.label(), None);
        self.fills.clear();
    }

    /// A rule in shadow would have denied the call.
    pub fn would_deny(&mut self, denial: &Denial) {
        (self.decision, self.reason, self.rule) =
            ("would_deny", denial.reason.label(), denial.rule);
        self.fills.extend(refusing(denial));
    }

    /// The policy.
    #[must_use]
    pub fn policy<'c>(&self, config: &'c Config) -> Option<&'c Policy> {
        self.policy.and_then(|at| config.policy_at(at))
    }

    /// The policy's name; empty where there is none.
    #[must_use]
    pub fn policy_name<'c>(&self, config: &'c Config) -> &'c str {
        self.policy(config).map_or("", |policy| &policy.name)
    }

    /// JSON Pointer to the line of the policy that decided; empty where none did.
    #[must_use]
    pub fn pointer<'c>(&self, config: &'c Config) -> &'c str {
        pointer(self.policy(config), self.rule)
    }

    /// `shadow` where a denial does not deny: in the whole policy, or in the rule that would have.
    #[must_use]
    pub fn mode(&self, config: &Config) -> &'static str {
        let shadow = self.policy(config).is_some_and(|policy| policy.mode == Mode::Shadow);
        let [(enforced, _), (shadowed, _)] = Mode::WORDS;
        match self.decision {
            "would_deny" | "would_ask" => shadowed,
            "refuse" | "withheld" => enforced,
            _ if shadow => shadowed,
            _ => enforced,
        }
    }

    /// The names and values of the filter state that are not empty, as [`legible`] has them; in it they are called `wasm.<name>`. In a
    /// name, a line break would forge lines of an access log.
    pub fn fields<'r>(
        &'r self,
        config: &'r Config,
    ) -> impl Iterator<Item = (&'static str, Cow<'r, str>)> {
        let keys = config.telling.access_log;
        let keys = LogKey::WORDS.into_iter().filter(move |(_, key)| keys.has(*key));
        let all = keys.map(|(name, key)| (name, self.value(key, config)));
        all.filter(|(_, value)| !value.is_empty()).map(|(name, value)| match legible(&value) {
            Cow::Borrowed(_) => (name, value),
            Cow::Owned(shown) => (name, Cow::Owned(shown)),
        })
    }

    /// The value of one key; empty where there is none.
    fn value<'r>(&'r self, key: LogKey, config: &'r Config) -> Cow<'r, str> {
        let called = |asked: &[Kind]| match &self.name {
            Some((kind, name)) if asked.contains(kind) => name,
            Some(_) | None => "",
        };
        Cow::Borrowed(match key {
            LogKey::Decision => self.decision,
            LogKey::Method => &self.method,
            LogKey::Tool => called(&[Kind::Tool, Kind::Method]),
            LogKey::Resource => called(&[Kind::Resource]),
            LogKey::Prompt => called(&[Kind::Prompt]),
            LogKey::Reason => self.reason,
            LogKey::Cause => self.cause,
            LogKey::Rule => self.pointer(config),
            LogKey::Policy => self.policy_name(config),
            LogKey::Digest => self.policy(config).map_or("", |policy| &policy.named_digest),
            LogKey::Counted => self.counted.map_or("", ServiceOutcome::word),
            LogKey::Approval => &self.approval,
            LogKey::Grant => &self.grant,
            LogKey::Identity => return Cow::Owned(self.names()),
            LogKey::Candidate => return Cow::Owned(self.candidate_words(config)),
            LogKey::Traceparent => self.traceparent.as_deref().unwrap_or_default(),
        })
    }

    /// The caller's further names in one line: a name must not look like two.
    fn names(&self) -> String {
        let names = self.identity.iter();
        let names = names.map(|(key, name)| format!("{key}={}", name.replace(',', "%2C")));
        names.collect::<Vec<_>>().join(",")
    }

    fn candidate_words(&self, config: &Config) -> String {
        let Some(other) = self.candidate else { return String::new() };
        let rule = other.pointer(config, self.policy);
        [other.decision, other.reason, rule].join(" ").trim_end().to_owned()
    }

    /// What is counted of it.
    #[must_use]
    pub fn samples(&self, config: &Config) -> Vec<Sample> {
        let Record { policy, decision, reason, rule, cause, .. } = *self;
        if self.sums_up {
            return Vec::new();
        }
        if decision == "withheld" {
            let outcome = ListOutcome::Withheld;
            return vec![Sample::one(Series::Lists { policy, outcome, cause })];
        }
        let mode = self.mode(config);
        let mut samples =
            vec![Sample::one(Series::Decisions { policy, decision, reason, rule, mode })];
        for Fill { counter, percent, on_floor, rule: limit } in &self.fills {
            let Some(policy) = policy else { break };
            let at = MeteredCounter { policy, counter: *counter };
            let refused = matches!(decision, "deny" | "would_deny") && rule == Some(*limit);
            samples.push(match refused {
                true => Sample::one(Series::LimitRefusals(at)),
                false => Sample { series: Series::LimitUsed(at), value: (*percent).into() },
            });
            samples.extend(on_floor.then_some(Sample::one(Series::CounterOverflow(at))));
        }
        samples.extend(self.candidate.map(|other| {
            let CandidateVerdict { decision: candidate, reason, rule } = other;
            Sample::one(Series::CandidateDifferences { policy, decision, candidate, reason, rule })
        }));
        samples
    }
}

/// The limit that denies.
fn refusing(denial: &Denial) -> Option<Fill> {
    let (rule, on_floor) = (denial.rule?, false);
    match denial.detail {
        Detail::Limit { counter: Some(counter), .. } => {
            Some(Fill { rule, counter, percent: 100, on_floor })
        }
        Detail::Limit { counter: None, .. }
        | Detail::None
        | Detail::Path(_)
        | Detail::Mismatch(..)
        | Detail::Unlisted { .. }
        | Detail::Inexact
        | Detail::Approval(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::Record;
    use crate::mcp::call::Kind;
    use crate::policy::compiled::Config;

    #[test]
    fn no_name_forges_a_line() {
        let config = Config::load(br#"{"version":"1","default":"deny"}"#, "").unwrap().config;
        for (name, shown) in [
            ("plain é 工具", "plain é 工具"),
            ("a\r\nmcp_decision=allow", "a\\u{d}\\u{a}mcp_decision=allow"),
            ("a\u{85}b\u{2028}c\u{2029}d", "a\\u{85}b\\u{2028}c\\u{2029}d"),
            ("a\u{202e}b\u{2066}c\u{200f}", "a\\u{202e}b\\u{2066}c\\u{200f}"),
            ("a\u{200b}\u{1d173}\0\u{1b}[2J", "a\\u{200b}\\u{1d173}\\u{0}\\u{1b}[2J"),
        ] {
            let record = Record {
                method: name.to_owned(),
                name: Some((Kind::Tool, name.to_owned())),
                grant: name.to_owned(),
                identity: vec![("team".to_owned(), name.to_owned())],
                approval: name.to_owned(),
                ..Record::default()
            };
            let fields: Vec<_> = record.fields(&config).collect();
            assert_eq!(fields.len(), 5);
            for (field, value) in fields {
                assert_eq!(value.trim_start_matches("team="), shown, "{field}");
            }
        }
    }
}
