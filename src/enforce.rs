//! Where the decision meets the counters: the only maker of a [`Permit`], without which no call is forwarded.

mod definitions;
mod due;
mod fill;
mod permit;

pub use fill::Fill;
pub use permit::{Forwarded, Pending, Permit};

use crate::decision::{Case, Decision, Matched, Owed, Regards, decide, decide_reference};
use crate::denial::{Denial, Detail};
use crate::identity::Caller;
use crate::matcher::terms::{Decode, Terms};
use crate::matcher::work::Work;
use crate::mcp::call::{Call, Kind};
use crate::mcp::message::Request;
use crate::number::Micros;
use crate::pins::Sightings;
use crate::policy::compiled::{Config, Policy};
use crate::policy::entry::{Condition, CountIn, Entry, Limit, NamedCounter, Scope, Subject};
use crate::policy::settings::OnError;
use crate::rate::limiter::{Charge, Limiter, Mode, Overrun, Refused};
use crate::rate::store::SharedStore;
use crate::rate::table::Account;
use crate::reason::Reason;
use crate::time::Moment;
use crate::witness::{self, CounterUnread, Told, Witness};
use due::{DueCharge, account, amount, join};

/// What becomes of a call.
#[derive(Debug)]
pub enum Outcome {
    /// It may be forwarded; the denial is what a rule in shadow would have said.
    Permitted(Permit, Option<Denial>),
    /// It is answered here.
    Denied(Denial),
    /// It waits for something from outside.
    Pending(Pending),
}

/// What of a request the policy has rules for: its method, and then what it calls or refers to.
#[derive(Debug)]
pub struct Governed<'p, 'v> {
    calls: Vec<Matched<'p, 'v>>,
    references: Vec<Matched<'p, 'v>>,
}

impl<'p, 'v> Governed<'p, 'v> {
    /// Picks it, and looks up the rules that are about it; `None` where the policy has no rules for the request.
    #[must_use]
    pub fn of(policy: &'p Policy, request: &Request<'v>) -> Option<Governed<'p, 'v>> {
        let matched = |call: Call<'v>| Matched::of(policy, call);
        // Giving up a subscription asks for nothing.
        let called = request.call.clone().filter(|_| request.method != "resources/unsubscribe");
        let calls = [Some(request.as_method()), called].into_iter().flatten();
        let calls: Vec<Matched<'p, 'v>> = calls.filter_map(matched).collect();
        let references: Vec<Matched<'p, 'v>> =
            request.references().into_iter().filter_map(matched).collect();
        let governed = !calls.is_empty() || !references.is_empty();
        governed.then_some(Governed { calls, references })
    }

    /// Everything that is called.
    #[must_use]
    pub fn calls(&self) -> &[Matched<'p, 'v>] {
        &self.calls
    }

    /// Whether a limit or a condition that the calls meet goes by a credential that could be spelled otherwise.
    #[must_use]
    pub fn meets_ambiguous(&self, policy: &Policy, caller: &Caller) -> bool {
        let counts = |at: usize| {
            policy.counters.get(at).is_some_and(|counter| caller.is_ambiguous_as(counter.scope))
        };
        let is_read = |subject: &Subject| match *subject {
            Subject::Counter(at) => counts(at),
            Subject::Identity(None) => caller.is_ambiguous_as(Scope::Grant),
            Subject::Identity(Some(at)) => caller.is_ambiguous_as(Scope::Key(at)),
            Subject::Name | Subject::Now | Subject::Argument(_) | Subject::Header(_) => false,
        };
        let reads = |condition: &Condition| condition.subjects().any(is_read);
        // What is in shadow refuses nobody.
        let meets = |entry: &&Entry| {
            let mut checks = entry.checks.iter().flat_map(|check| &check.conditions);
            let counts = entry.limits.iter().any(|limit| counts(limit.counter));
            entry.mode == Mode::Enforce && (counts || checks.any(reads))
        };
        caller.is_ambiguous()
            && policy.mode == Mode::Enforce
            && self.calls.iter().any(|matched| {
                let tool = matched.call().kind == Kind::Tool;
                let mut for_all = policy.all_limits.iter().filter(|_| tool);
                matched.entries().iter().any(meets) || for_all.any(|limit| counts(limit.counter))
            })
    }
}

/// What a request is decided and counted with.
#[derive(Debug)]
pub struct Enforcer<'e, S, W> {
    /// The configuration.
    pub config: &'e Config,
    /// The policy.
    pub policy: &'e Policy,
    /// Who calls.
    pub caller: &'e Caller,
    /// What counts.
    pub limiter: &'e Limiter<'e, S>,
    /// What has been seen of the server's tools.
    pub sightings: Sightings<'e, S>,
    /// When.
    pub now: Moment,
    /// What comparisons are paid with.
    pub work: &'e Work,
    /// Who listens.
    pub witness: &'e W,
}

impl<'e, S: SharedStore, W: Witness> Enforcer<'e, S, W> {
    /// Decides a request and counts it.
    #[must_use]
    pub fn enforce(&self, governed: &Governed<'e, '_>) -> Outcome {
        self.witness.hear(&Told::Begun(self.policy));
        let outcome = if W::HEARS_ALL {
            // The listener hears more than is done, so it must cost nothing of what is done: neither steps nor counts.
            self.listening(self.witness, &self.work.copied()).tell(governed);
            self.listening(&(), self.work).outcome(governed)
        } else {
            self.outcome(governed)
        };
        let outcome = match (outcome, self.policy.mode) {
            (Outcome::Denied(denial), Mode::Shadow) => {
                Outcome::Permitted(Permit::uncounted(), Some(denial))
            }
            (outcome, _) => outcome,
        };
        let denial = match &outcome {
            Outcome::Permitted(_, denial) => denial.as_ref(),
            Outcome::Denied(denial) => Some(denial),
            Outcome::Pending(pending) => {
                self.witness.hear(&Told::Owed(pending.need()));
                Some(pending.denial())
            }
        };
        self.witness.hear(&Told::Ended(denial));
        outcome
    }

    fn listening<'o, V>(&'o self, witness: &'o V, work: &'o Work) -> Enforcer<'o, S, V> {
        let Enforcer { config, policy, caller, limiter, sightings, now, .. } = *self;
        Enforcer { config, policy, caller, limiter, sightings, now, work, witness }
    }

    fn outcome(&self, governed: &Governed<'_, '_>) -> Outcome {
        match self.decision(governed) {
            Decision { denial: Some(denial), .. } => Outcome::Denied(denial),
            Decision { denial: None, owed: None, would_deny } if !self.policy.looks_beyond() => {
                Outcome::Permitted(Permit::uncounted(), would_deny)
            }
            decision => self.beyond(governed, decision),
        }
    }

    /// Looks at what the call alone does not tell, and counts. Out of line: a policy that has none of it does not touch this code.
    #[inline(never)]
    fn beyond(&self, governed: &Governed<'_, '_>, mut decision: Decision) -> Outcome {
        if self.policy.pins() {
            self.compare_definitions(governed, &mut decision);
        }
        if decision.denial.is_none() {
            self.read_counters(governed, &mut decision);
        }
        let dues = match decision.denial {
            None => self.dues(governed, &mut decision),
            Some(_) => Vec::new(),
        };
        if let Some(denial) = decision.denial {
            return Outcome::Denied(denial);
        }
        // Counts come before questions: nobody is asked for what a limit refuses.
        match (self.reserve(dues, decision.would_deny), decision.owed) {
            (Outcome::Permitted(permit, would_deny), Some(owed)) => {
                Outcome::Pending(Pending::new(permit, owed, would_deny))
            }
            (outcome, _) => outcome,
        }
    }

    /// Goes the same way to its end whatever denies on it, and counts nothing.
    fn tell(&self, governed: &Governed<'_, '_>) {
        let mut decision = self.decision(governed);
        if governed.calls.iter().any(Matched::is_denied_by_name) {
            // It meets no rule, so there is nothing behind.
            return;
        }
        self.compare_definitions(governed, &mut decision);
        self.read_counters(governed, &mut decision);
        for due in self.dues(governed, &mut decision) {
            let weighed = self.limiter.weigh(&due.charge, self.now);
            self.witness.hear(&Told::Weighed(&due.charge, due.limit, &weighed));
        }
    }

    fn decision(&self, governed: &Governed<'_, '_>) -> Decision {
        let decide = |matched| decide(matched, self.caller, self.now.wall, self.work, self.witness);
        let calls = governed.calls.iter().map(decide);
        let references = governed.references.iter();
        let refer = |matched| {
            decide_reference(matched, self.caller, self.now.wall, self.work, self.witness)
        };
        let references = references.map(refer);
        let mut decision = Decision::default();
        for next in calls.chain(references) {
            decision.would_deny = decision.would_deny.or(next.would_deny);
            decision.denial = decision.denial.or(next.denial);
            decision.owed = both(decision.owed, next.owed);
            if decision.denial.is_some() && !W::HEARS_ALL {
                break;
            }
        }
        decision
    }

    /// Judges the checks that read counters.
    fn read_counters(&self, governed: &Governed<'_, '_>, decision: &mut Decision) {
        let mut count = |at: usize| {
            let named = self.policy.counters.get(at).ok_or(CounterUnread)?;
            let account = self.caller.counted_as(named.scope);
            let used = self.limiter.used(named.counter, account, self.now);
            used.map(Some).map_err(|_| CounterUnread)
        };
        for (matched, entry) in entries(governed) {
            let call = matched.call();
            let Enforcer { caller, now, work, witness, .. } = *self;
            let regards = Regards::All;
            let case = Case { call, caller, now: now.wall, work, regards, witness };
            for check in entry.checks.iter().filter(|check| check.reads_counters()) {
                let judged = case.by_check(entry, check, &mut count);
                let denial = match (judged, self.config.counters.on_error) {
                    (Ok(denial), _) => denial,
                    (Err(CounterUnread), OnError::Deny) => Some(check.unread(call.kind)),
                    (Err(CounterUnread), OnError::Allow) => None,
                };
                self.witness.hear(&Told::Checked(entry, check, denial.as_ref()));
                if decision.take(matched, entry, denial) && !W::HEARS_ALL {
                    return;
                }
            }
        }
    }

    /// What the call counts, in the order of the policy. An amount that cannot be counted denies.
    fn dues<'d>(
        &self,
        governed: &'d Governed<'_, '_>,
        decision: &mut Decision,
    ) -> Vec<DueCharge<'d>>
    where
        'e: 'd,
    {
        let of_entries = entries(governed).flat_map(|(matched, entry)| {
            entry.limits.iter().map(move |limit| (matched.call(), Some(entry), limit))
        });
        let tools = governed.calls.iter().filter(|matched| matched.call().kind == Kind::Tool);
        let of_all = tools.flat_map(|matched| {
            let limits = self.policy.all_limits.iter();
            limits.map(move |limit| (matched.call(), None, limit))
        });
        let mut dues: Vec<DueCharge<'d>> = Vec::new();
        let terms = |decode| Terms { decode, work: self.work, now: self.now.wall };
        let due = |limit: &Limit| limit.holds_at(self.now.wall);
        for (call, entry, limit) in of_entries.chain(of_all).filter(|(.., limit)| due(limit)) {
            let Some(named) = self.policy.counters.get(limit.counter) else {
                continue;
            };
            let mode = entry.map_or(Mode::Enforce, |entry| entry.mode);
            let decode = entry.map_or(Decode::Unsaid, |entry| entry.decode);
            let kind = call.kind;
            let amount = amount(&limit.amount, call.arguments, terms(decode));
            let counted =
                amount.and_then(|amount| Ok((amount, account(named, self.caller, call)?)));
            self.hear_due(entry, limit, named, &counted);
            match counted {
                Ok((amount, account)) => {
                    let (counter, max) = (named.counter, limit.ceiling());
                    let charge = Charge { counter, account, amount, max, mode };
                    join(&mut dues, DueCharge { kind, limit, charge, refund: limit.refund });
                }
                Err(detail) => {
                    let reason = detail.uncounted();
                    let denial = Denial { detail, ..Denial::by(limit.rule, kind, reason) };
                    if decision.note(mode, Some(denial)) && !W::HEARS_ALL {
                        return Vec::new();
                    }
                }
            }
        }
        dues
    }

    fn hear_due(
        &self,
        entry: Option<&Entry>,
        limit: &Limit,
        named: &NamedCounter,
        counted: &Result<(Micros, Account), Detail>,
    ) {
        let amount = counted.as_ref().map(|(amount, _)| *amount);
        self.witness.hear(&Told::Due(&witness::DueLimit { entry, limit, named, amount }));
    }

    /// Counts in this Envoy what counts here; what counts elsewhere is asked for when the call goes on.
    fn reserve(&self, dues: Vec<DueCharge<'_>>, would_deny: Option<Denial>) -> Outcome {
        let elsewhere = |due: &DueCharge<'_>| {
            let counter = self.policy.counters.get(due.limit.counter);
            counter.is_some_and(|counter| counter.count_in == CountIn::Service)
        };
        let (service, dues): (Vec<_>, Vec<_>) = match dues.iter().any(elsewhere) {
            true => dues.into_iter().partition(elsewhere),
            false => (Vec::new(), dues),
        };
        let charges: Vec<Charge> = dues.iter().map(|due| due.charge).collect();
        let exceeded = |overrun: Overrun| dues.get(overrun.charge).map(|due| due.denial(overrun));
        let unavailable = || Denial {
            reason: Reason::CountersUnavailable,
            kind: dues.first().map_or(Kind::Tool, |due| due.kind),
            rule: dues.first().map(|due| due.limit.rule),
            detail: Detail::None,
        };
        let service = || service.iter().map(|due| due.in_service(self.policy.mode)).collect();
        match self.limiter.reserve(&charges, self.now) {
            Ok(granted) => {
                let would_deny = would_deny.or(granted.would_exceed.and_then(exceeded));
                Outcome::Permitted(Permit::of(granted, &dues).owing(service()), would_deny)
            }
            Err(Refused::Exceeded(overrun)) => {
                Outcome::Denied(exceeded(overrun).unwrap_or_else(unavailable))
            }
            Err(Refused::Unavailable) => match self.config.counters.on_error {
                OnError::Deny => Outcome::Denied(unavailable()),
                OnError::Allow => {
                    let would_deny = would_deny.or_else(|| Some(unavailable()));
                    Outcome::Permitted(Permit::uncounted().owing(service()), would_deny)
                }
            },
        }
    }
}

/// What two calls of one request owe together.
fn both(one: Option<Owed>, other: Option<Owed>) -> Option<Owed> {
    match (one, other) {
        (Some(one), Some(other)) => Some(Owed { need: one.need.and(other.need), ..one }),
        (one, other) => one.or(other),
    }
}

/// The calls with the entries that match them.
fn entries<'g, 'p, 'v>(
    governed: &'g Governed<'p, 'v>,
) -> impl Iterator<Item = (&'g Matched<'p, 'v>, &'p Entry)> {
    let calls = governed.calls.iter();
    calls.flat_map(|matched| matched.entries().iter().map(move |entry| (matched, *entry)))
}
