//! Which rules of a configuration have been seen at work.

use std::cell::{Cell, RefCell};

use crate::denial::Denial;
use crate::policy::compiled::{Config, Policy};
use crate::policy::entry::{Action, Amount, DefaultAction, Limit};
use crate::policy::rules::RuleId;
use crate::reason::Reason;
use crate::witness::{Told, Witness};

/// The rules of a configuration, and whether each was covered. It listens while calls are decided.
///
/// An entry is covered when a call met it. A check, a limit, an action or a line of `hide` is covered when it denied a call, or had
/// somebody asked: a test that never sees that would not notice that it is gone.
#[derive(Clone, Debug)]
pub struct Coverage {
    policies: Vec<Covered>,
    /// The policy under which a request is being decided, by its index.
    present: Cell<usize>,
}

/// The rules of one policy.
#[derive(Clone, Debug)]
struct Covered {
    name: String,
    /// The rules that can be covered, with their pointers, in the order of the configuration.
    rules: Vec<(RuleId, String)>,
    /// Whether they are, by their numbers.
    covered: RefCell<Vec<bool>>,
}

impl Coverage {
    /// The rules of a configuration, none covered.
    #[must_use]
    pub fn of(config: &Config) -> Coverage {
        Coverage { policies: config.policies().map(Covered::of).collect(), present: Cell::new(0) }
    }

    /// How many rules there are, and how many are covered.
    #[must_use]
    pub fn totals(&self) -> (usize, usize) {
        let all: usize = self.policies.iter().map(|policy| policy.rules.len()).sum();
        (all, all - self.missing().count())
    }

    /// The share that is covered, in whole percent, rounded down; a policy without rules is covered.
    #[must_use]
    pub fn percent(&self) -> usize {
        let (all, covered) = self.totals();
        (covered * 100).checked_div(all).unwrap_or(100)
    }

    /// The policies and rules that are not covered, in the order of the configuration.
    pub fn missing(&self) -> impl Iterator<Item = (&str, &str)> {
        self.policies.iter().flat_map(|policy| {
            let missing = policy.rules.iter().filter(|(rule, _)| !policy.is_covered(*rule));
            missing.map(|(_, pointer)| (&*policy.name, &**pointer))
        })
    }

    fn cover(&self, rule: RuleId) {
        let policy = self.policies.get(self.present.get());
        if let Some(policy) = policy
            && let Some(covered) = policy.covered.borrow_mut().get_mut(rule.index())
        {
            *covered = true;
        }
    }
}

impl Witness for Coverage {
    const HEARS_ALL: bool = false;

    fn hear(&self, told: &Told<'_>) {
        match told {
            Told::Begun(policy) => {
                let at = self.policies.iter().position(|known| *known.name == *policy.name);
                self.present.set(at.unwrap_or(usize::MAX));
            }
            Told::Met(entry) => self.cover(entry.rule),
            // A name that only resembles a key is denied for that, not by the key's entry.
            Told::Ended(Some(Denial { reason: Reason::NameNotExact, .. })) => {}
            Told::Ended(Some(denial)) => denial.rule.into_iter().for_each(|rule| self.cover(rule)),
            Told::Ended(None)
            | Told::Named(_)
            | Told::Acted(..)
            | Told::Compared(_)
            | Told::Checked(..)
            | Told::Pinned(..)
            | Told::Due(_)
            | Told::Weighed(..)
            | Told::Owed(_) => {}
        }
    }
}

impl Covered {
    fn of(policy: &Policy) -> Covered {
        let covered = RefCell::new(vec![false; policy.rules.len()]);
        let name = policy.name.to_string();
        let mut found = Covered { name, rules: Vec::new(), covered };
        for section in policy.sections() {
            for hidden in &section.hide {
                found.add(policy, hidden.rule);
            }
            if section.default == DefaultAction::Deny {
                found.add(policy, section.default_rule);
            }
            for entry in section.entries() {
                found.add(policy, entry.rule);
                if entry.action != Action::Allow {
                    found.add(policy, entry.action_rule);
                }
                for check in &entry.checks {
                    found.add(policy, check.rule);
                }
                found.add_limits(policy, &entry.limits);
            }
        }
        found.add_limits(policy, &policy.all_limits);
        found
    }

    fn add_limits(&mut self, policy: &Policy, limits: &[Limit]) {
        for limit in limits {
            // What only counts denies nothing.
            if limit.max.is_some() || matches!(limit.amount, Amount::Argument(_)) {
                self.add(policy, limit.rule);
            }
        }
    }

    fn add(&mut self, policy: &Policy, rule: RuleId) {
        // A rule that checks and counts is one.
        if self.rules.iter().all(|(known, _)| *known != rule) {
            self.rules.push((rule, policy.rules.pointer(rule).to_owned()));
        }
    }

    fn is_covered(&self, rule: RuleId) -> bool {
        self.covered.borrow().get(rule.index()).copied().unwrap_or_default()
    }
}
