//! An explanation of one call, as `mcp-policy explain --format json` prints it and a page shows it.

use jiff::Timestamp;
use serde::Serialize;

use super::Trace;
use crate::policy::compiled::Config;
use crate::rehearsal::Verdict;
use crate::source::SourceText;
use crate::source::spans::Spans;
use crate::time::UnixMillis;

/// What became of a call, and why.
#[derive(Debug, Serialize)]
#[serde(bound = "R: Serialize")]
pub struct Explanation<'a, R> {
    /// The name of the policy's file.
    pub policy: &'a str,
    /// The name of the policy that governs the call, where there are several.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub governed_by: Option<&'a str>,
    /// When.
    pub at: String,
    /// What is on record of a recorded call.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recorded: Option<R>,
    /// What became of it.
    #[serde(flatten)]
    pub verdict: &'a Verdict,
    /// The line of the rule that decided.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line: Option<usize>,
    /// Every rule that it met.
    #[serde(flatten)]
    pub trace: &'a Trace,
}

/// Where the rules of a policy are.
#[derive(Debug)]
pub struct Places<'s> {
    source: &'s SourceText,
    /// Where everything is.
    pub spans: Spans,
    root: String,
}

impl<'s> Places<'s> {
    /// The places of a policy's rules in a document.
    #[must_use]
    pub fn new(source: &'s SourceText, policy: &str) -> Places<'s> {
        Places { source, spans: source.spans(), root: source.root(policy) }
    }

    /// A rule's pointer from the root of the document.
    #[must_use]
    pub fn pointer(&self, rule: &str) -> String {
        format!("{}{rule}", self.root)
    }

    /// The line of a rule.
    #[must_use]
    pub fn line(&self, rule: &str) -> Option<usize> {
        let named = !rule.is_empty();
        named.then(|| self.spans.line(&self.pointer(rule))).flatten()
    }

    /// The file of a rule, with its line.
    #[must_use]
    pub fn place(&self, rule: &str) -> String {
        match self.line(rule) {
            Some(line) => format!("{}:{line}", self.source.name),
            None => self.source.name.clone(),
        }
    }

    /// Fills in the lines of rules.
    pub fn fill_in(&self, trace: &mut Trace) {
        for rule in &mut trace.rules {
            rule.line = self.line(&rule.rule);
        }
    }
}

/// The name of the policy that governs a call, where a configuration has several.
#[must_use]
pub fn governing<'v>(config: &Config, verdict: &'v Verdict) -> Option<&'v str> {
    let several = config.policies().nth(1).is_some() || config.bindings.is_some();
    Some(&*verdict.policy).filter(|name| several && !name.is_empty())
}

/// A time as RFC 3339 writes it.
#[must_use]
pub fn time(at: UnixMillis) -> String {
    let millis = i64::try_from(at.0).unwrap_or(i64::MAX);
    Timestamp::from_millisecond(millis).map_or_else(|_| at.0.to_string(), |time| time.to_string())
}
