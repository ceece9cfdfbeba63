//! Which rules of a configuration have been seen at work.

use std::collections::BTreeMap;

use super::Verdict;
use super::body::governed;
use crate::enforce::Governed;
use crate::mcp::call::Kind;
use crate::policy::compiled::{Action, Amount, Config, Default, Limit, Policy};
use crate::reason::Reason;

/// The rules of a configuration, and whether each was covered.
///
/// An entry is covered when a call met it. A check, a limit, an action or a line of `hide` is covered when it denied a call:
/// a test that never sees it deny would not notice that it is gone.
#[derive(Clone, Debug)]
pub struct Coverage {
    rules: BTreeMap<Rule, Covered>,
    order: Vec<Rule>,
}

/// A rule: the name of its policy, and its pointer in it.
type Rule = (String, String);

/// Whether a rule was covered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Covered {
    /// It was.
    Yes,
    /// It was not.
    No,
}

impl Coverage {
    /// The rules of a configuration, none covered.
    #[must_use]
    pub fn of(config: &Config) -> Coverage {
        let mut coverage = Coverage { rules: BTreeMap::new(), order: Vec::new() };
        for policy in config.policies() {
            coverage.add_policy(policy);
        }
        coverage
    }

    fn add_policy(&mut self, policy: &Policy) {
        for section in policy.sections() {
            for hidden in &section.hide {
                self.add(policy, &hidden.pointer);
            }
            if section.default == Default::Deny {
                self.add(policy, &section.default_pointer);
            }
            for entry in section.entries() {
                self.add(policy, entry.pointer());
                if entry.action != Action::Allow {
                    self.add(policy, &entry.action_pointer);
                }
                for check in &entry.checks {
                    self.add(policy, &check.pointer);
                }
                self.add_limits(policy, &entry.limits);
            }
        }
        self.add_limits(policy, &policy.all_limits);
    }

    /// Takes note of what became of a request under a policy.
    pub fn note(&mut self, policy: &Policy, body: &str, verdict: &Verdict) {
        // A name that only resembles a key is denied for that, not by the key's entry.
        if verdict.reason != Reason::NameNotExact.label() {
            self.cover(policy, &verdict.rule);
        }
        // A caller who is turned away meets no rule.
        let turned_away = verdict.decision == "deny" && verdict.rule.is_empty();
        if matches!(&*verdict.decision, "allow" | "deny" | "would_deny") && !turned_away {
            let _ = governed(policy, body, |governed| self.meet(policy, governed, verdict));
        }
    }

    /// Covers the entries that a request met: those of all that it calls, up to the name that is denied.
    fn meet(&mut self, policy: &Policy, governed: &Governed<'_>, verdict: &Verdict) {
        for call in governed.calls() {
            let (Some(section), Some(name)) = (policy.section(call.kind), call.exact.as_deref())
            else {
                return;
            };
            // Limits come when everything else is decided.
            let ends_here = verdict.decision == "deny"
                && verdict.reason != Reason::LimitReached.label()
                && kind_of(&verdict.rule) == call.kind;
            if ends_here && crate::decision::by_name(section, call, name).is_some() {
                return;
            }
            for entry in section.entries_for(name) {
                self.cover(policy, entry.pointer());
            }
            if ends_here {
                return;
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

    /// The policies and rules that are not covered, in the order of the configuration.
    pub fn missing(&self) -> impl Iterator<Item = (&str, &str)> {
        let missing = |rule: &&Rule| self.rules.get(*rule) == Some(&Covered::No);
        self.order.iter().filter(missing).map(|(policy, rule)| (&**policy, &**rule))
    }

    fn add_limits(&mut self, policy: &Policy, limits: &[Limit]) {
        for limit in limits {
            // What only counts denies nothing.
            if limit.max.is_some() || matches!(limit.amount, Amount::Argument(_)) {
                self.add(policy, &limit.pointer);
            }
        }
    }

    fn add(&mut self, policy: &Policy, rule: &str) {
        let rule = (policy.name.to_string(), rule.to_owned());
        // A rule that checks and counts is one.
        if self.rules.insert(rule.clone(), Covered::No).is_none() {
            self.order.push(rule);
        }
    }

    fn cover(&mut self, policy: &Policy, rule: &str) {
        if let Some(covered) = self.rules.get_mut(&(policy.name.to_string(), rule.to_owned())) {
            *covered = Covered::Yes;
        }
    }
}

/// What the rule at a pointer is about.
fn kind_of(rule: &str) -> Kind {
    match rule.split('/').nth(1) {
        Some("methods") => Kind::Method,
        Some("resources") => Kind::Resource,
        Some("prompts") => Kind::Prompt,
        Some(_) | None => Kind::Tool,
    }
}
