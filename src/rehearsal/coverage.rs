//! Which rules of a policy have been seen at work.

use std::collections::BTreeMap;

use super::Verdict;
use crate::policy::compiled::{Action, Amount, Default, Limit, Policy};
use crate::reason::Reason;

/// The rules of a policy, and whether each was covered.
///
/// An entry is covered when a call met it. A check, a limit, an action or a line of `hide` is covered when it denied a call:
/// a test that never sees it deny would not notice that it is gone.
#[derive(Clone, Debug)]
pub struct Coverage {
    rules: BTreeMap<String, Covered>,
    order: Vec<String>,
}

/// Whether a rule was covered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Covered {
    /// It was.
    Yes,
    /// It was not.
    No,
}

impl Coverage {
    /// The rules of a policy, none covered.
    #[must_use]
    pub fn of(policy: &Policy) -> Coverage {
        let mut coverage = Coverage { rules: BTreeMap::new(), order: Vec::new() };
        for hidden in &policy.hide {
            coverage.add(&hidden.pointer);
        }
        if policy.default == Default::Deny {
            coverage.add("/default");
        }
        for entry in policy.entries() {
            coverage.add(entry.pointer());
            if entry.action != Action::Allow {
                coverage.add(&entry.action_pointer);
            }
            for check in &entry.checks {
                coverage.add(&check.pointer);
            }
            coverage.add_limits(&entry.limits);
        }
        coverage.add_limits(&policy.all_limits);
        coverage
    }

    /// Takes note of what became of a call.
    pub fn note(&mut self, policy: &Policy, tool: Option<&str>, verdict: &Verdict) {
        // A name that only resembles a key is denied for that, not by the key's entry.
        if verdict.reason != Reason::NameNotExact.label() {
            self.cover(&verdict.rule);
        }
        let by_name = [Reason::ToolHidden, Reason::NameNotExact, Reason::ToolNotAllowed]
            .iter()
            .any(|reason| reason.label() == verdict.reason);
        let called = matches!(&*verdict.decision, "allow" | "deny" | "would_deny") && !by_name;
        if let Some(tool) = tool.filter(|_| called) {
            for entry in policy.entries_for(tool) {
                self.cover(entry.pointer());
            }
        }
    }

    /// How many rules there are, and how many are covered.
    #[must_use]
    pub fn totals(&self) -> (usize, usize) {
        let covered = self.rules.values().filter(|covered| **covered == Covered::Yes).count();
        (self.rules.len(), covered)
    }

    /// The share that is covered, in whole percent, rounded down; a policy without rules is covered.
    #[must_use]
    pub fn percent(&self) -> usize {
        let (all, covered) = self.totals();
        (covered * 100).checked_div(all).unwrap_or(100)
    }

    /// The rules that are not covered, in the order of the policy.
    pub fn missing(&self) -> impl Iterator<Item = &str> {
        let missing = |rule: &&String| self.rules.get(*rule) == Some(&Covered::No);
        self.order.iter().filter(missing).map(String::as_str)
    }

    fn add_limits(&mut self, limits: &[Limit]) {
        for limit in limits {
            // What only counts denies nothing.
            if limit.max.is_some() || matches!(limit.amount, Amount::Argument(_)) {
                self.add(&limit.pointer);
            }
        }
    }

    fn add(&mut self, rule: &str) {
        // A rule that checks and counts is one.
        if self.rules.insert(rule.to_owned(), Covered::No).is_none() {
            self.order.push(rule.to_owned());
        }
    }

    fn cover(&mut self, rule: &str) {
        if let Some(covered) = self.rules.get_mut(rule) {
            *covered = Covered::Yes;
        }
    }
}
