//! Limits that nobody can keep, or that keep nothing.

use std::collections::HashSet;

use super::Lint;
use crate::language::diagnostic::Code;
use crate::policy::entry::{Amount, Limit, Refund, Subject};

/// Looks at every limit of a policy, and for counters that nothing reads.
pub(super) fn lint(lint: &mut Lint<'_>) {
    let policy = lint.policy;
    for limit in policy.limits() {
        lint.limit(limit);
    }
    lint.idle_counters();
}

impl Lint<'_> {
    fn limit(&mut self, limit: &Limit) {
        let rules = &self.policy.rules;
        if limit.refund == Refund::OnError {
            let message = "this trusts the agent: it can make an error the answer to a call that has run, and the call is not counted";
            let help = "leave `count` out where the limit must hold: then every attempt counts";
            let pointer = format!("{}/count", rules.pointer(limit.rule));
            self.warn(Code::TrustsAgent, &pointer, message.to_owned(), help);
        }
        let (Some(max), Amount::Fixed(amount)) = (limit.ceiling(), &limit.amount) else {
            return;
        };
        if *amount > max {
            let message =
                format!("one call counts {amount}, and {max} is the most: every call is denied");
            let help = match limit.burst {
                None => "raise `max`, or deny the tool with `action: deny`",
                Some(_) => "raise `burst`, or deny the tool with `action: deny`",
            };
            self.warn(Code::ImpossibleLimit, rules.pointer(limit.rule), message, help);
        }
    }

    fn idle_counters(&mut self) {
        let policy = self.policy;
        let read: HashSet<usize> = policy
            .entries()
            .flat_map(|entry| &entry.checks)
            .flat_map(|check| &check.conditions)
            .filter_map(|condition| match condition.subject {
                Subject::Counter(counter) => Some(counter),
                Subject::Name | Subject::Now | Subject::Argument(_) => None,
                Subject::Identity(_) | Subject::Header(_) => None,
            })
            .collect();
        let limited: HashSet<usize> = policy
            .limits()
            .filter(|limit| limit.max.is_some())
            .map(|limit| limit.counter)
            .collect();
        for limit in policy.limits() {
            if !read.contains(&limit.counter) && !limited.contains(&limit.counter) {
                let name = policy.counters.get(limit.counter).map_or("", |counter| &counter.name);
                let message = format!("nothing limits or reads what `{name}` counts");
                let help = "add a `lte` condition on the counter, or remove `state`";
                self.warn(Code::IdleCounter, policy.rules.pointer(limit.rule), message, help);
            }
        }
    }
}
