//! Where the decision meets the counters: the only maker of a [`Permit`], without which no call is forwarded.

use crate::decision::{
    CounterUnread, Decision, Denial, Detail, by_check, decide, decide_reference,
};
use crate::identity::Caller;
use crate::json::Value;
use crate::matcher::path::{Decode, Path};
use crate::matcher::value::Terms;
use crate::matcher::work::Work;
use crate::matcher::{Mismatch, Truth};
use crate::mcp::call::{Call, Kind};
use crate::mcp::message::Request;
use crate::number::{Decimal, Micros};
use crate::policy::compiled::{
    Amount, Condition, Config, Entry, Limit, NamedCounter, Policy, Refund, Scope, Subject,
};
use crate::policy::settings::OnError;
use crate::rate::limiter::{Cause, Charge, Force, Granted, Limiter, Overrun, Refused, Reservation};
use crate::rate::store::SharedStore;
use crate::reason::Reason;
use crate::time::UnixMillis;

/// What becomes of a call.
#[derive(Debug)]
pub enum Outcome<'p> {
    /// It may be forwarded; `would_deny` is what a rule in shadow would have said.
    Permitted(Permit, Option<Denial<'p>>),
    /// It is answered here.
    Denied(Denial<'p>),
}

/// The right to forward one call, with what was counted for it. Only [`enforce`] makes one.
#[derive(Debug)]
pub struct Permit {
    counted: Vec<Reservation>,
    refundable: Vec<Reservation>,
}

impl Permit {
    /// Takes back everything: the call is not forwarded after all.
    pub fn revoke<S: SharedStore>(self, limiter: &Limiter<'_, S>) {
        limiter.give_back(self.counted());
    }

    /// Everything that was counted: given back where the server refuses a caller whom nothing verified.
    pub fn counted(&self) -> impl Iterator<Item = &Reservation> {
        self.counted.iter().chain(&self.refundable)
    }

    /// What is to be given back if the server answers with an error.
    #[must_use]
    pub fn into_refundable(self) -> Vec<Reservation> {
        self.refundable
    }
}

/// What of a request the policy has rules for: its method, and then what it calls or refers to.
#[derive(Debug)]
pub struct Governed<'v> {
    calls: Vec<Call<'v>>,
    references: Vec<Call<'v>>,
}

impl<'v> Governed<'v> {
    /// Picks it; `None` where the policy has no rules for the request.
    #[must_use]
    pub fn of(policy: &Policy, request: &Request<'v>) -> Option<Governed<'v>> {
        let has_rules = |call: &Call<'_>| policy.section(call.kind).is_some();
        // Giving up a subscription asks for nothing.
        let called = request.call.clone().filter(|_| request.method != "resources/unsubscribe");
        let calls: Vec<Call<'v>> =
            [Some(request.as_method()), called].into_iter().flatten().filter(has_rules).collect();
        let references: Vec<Call<'v>> =
            request.references().into_iter().filter(has_rules).collect();
        let governed = !calls.is_empty() || !references.is_empty();
        governed.then_some(Governed { calls, references })
    }

    /// Everything that is called.
    #[must_use]
    pub fn calls(&self) -> &[Call<'v>] {
        &self.calls
    }

    /// Whether a limit or a condition that the calls meet goes by a credential that could be spelled otherwise.
    #[must_use]
    pub fn meets_ambiguous(&self, policy: &Policy, caller: &Caller) -> bool {
        let counts = |at: usize| {
            policy.counters.get(at).is_some_and(|counter| caller.is_ambiguous_as(counter.scope))
        };
        let reads = |condition: &Condition| match condition.subject {
            Subject::Counter(at) => counts(at),
            Subject::Identity(None) => caller.is_ambiguous_as(Scope::Grant),
            Subject::Identity(Some(at)) => caller.is_ambiguous_as(Scope::Key(at)),
            Subject::Argument(_) | Subject::Header(_) => false,
        };
        // What is in shadow refuses nobody.
        let meets = |entry: &Entry| {
            let mut checks = entry.checks.iter().flat_map(|check| &check.conditions);
            let counts = entry.limits.iter().any(|limit| counts(limit.counter));
            entry.force == Force::Enforced && (counts || checks.any(reads))
        };
        caller.is_ambiguous()
            && policy.force == Force::Enforced
            && self.calls.iter().any(|call| {
                let mut for_all = policy.all_limits.iter().filter(|_| call.kind == Kind::Tool);
                entries(policy, call).any(meets) || for_all.any(|limit| counts(limit.counter))
            })
    }

    /// What is only referred to.
    #[must_use]
    pub fn references(&self) -> &[Call<'v>] {
        &self.references
    }
}

/// Decides a request and counts it.
pub fn enforce<'p, S: SharedStore>(
    config: &'p Config,
    policy: &'p Policy,
    governed: &Governed<'_>,
    caller: &Caller,
    limiter: &Limiter<'_, S>,
    now: UnixMillis,
    work: &Work,
) -> Outcome<'p> {
    let enforcement = Enforcement { config, policy, governed, caller, limiter, now, work };
    match (enforcement.outcome(), policy.force) {
        (Outcome::Denied(denial), Force::Shadow) => {
            Outcome::Permitted(Permit { counted: Vec::new(), refundable: Vec::new() }, Some(denial))
        }
        (outcome, _) => outcome,
    }
}

struct Enforcement<'e, 'p, S> {
    config: &'p Config,
    policy: &'p Policy,
    governed: &'e Governed<'e>,
    caller: &'e Caller,
    limiter: &'e Limiter<'e, S>,
    now: UnixMillis,
    work: &'e Work,
}

/// What one call counts on one counter, through one limit or several.
struct Due<'p> {
    kind: Kind,
    limit: &'p Limit,
    named: &'p NamedCounter,
    charge: Charge,
    refund: Refund,
}

impl<'p, S: SharedStore> Enforcement<'_, 'p, S> {
    fn outcome(&self) -> Outcome<'p> {
        let mut decision = self.decision();
        if decision.denial.is_none() {
            self.read_counters(&mut decision);
        }
        let dues = match decision.denial {
            None => self.dues(&mut decision),
            Some(_) => Vec::new(),
        };
        match decision.denial {
            Some(denial) => Outcome::Denied(denial),
            None => self.reserve(dues, decision.would_deny),
        }
    }

    fn decision(&self) -> Decision<'p> {
        let decide = |call| decide(self.policy, call, self.caller, self.work);
        let calls = self.governed.calls.iter().map(decide);
        let references =
            self.governed.references.iter().map(|call| decide_reference(self.policy, call));
        let mut decision = Decision::default();
        for next in calls.chain(references) {
            decision.would_deny = decision.would_deny.or(next.would_deny);
            if next.denial.is_some() {
                decision.denial = next.denial;
                break;
            }
        }
        decision
    }

    /// The calls with the entries that match them.
    fn entries(&self) -> impl Iterator<Item = (&Call<'_>, &'p Entry)> {
        let policy = self.policy;
        let calls = self.governed.calls.iter();
        calls.flat_map(move |call| entries(policy, call).map(move |entry| (call, entry)))
    }

    /// Judges the checks that read counters.
    fn read_counters(&self, decision: &mut Decision<'p>) {
        let mut count = |at: usize| {
            let named = self.policy.counters.get(at).ok_or(CounterUnread)?;
            let account = self.caller.counted_as(named.scope);
            let used = self.limiter.used(named.counter, account, self.now);
            used.map(Some).map_err(|_| CounterUnread)
        };
        for (call, entry) in self.entries() {
            let terms = Terms { decode: entry.decode, work: self.work };
            for check in entry.checks.iter().filter(|check| check.reads_counters()) {
                let judged = by_check((call, self.caller), check, terms, &mut count);
                let denial = match (judged, self.config.counters.on_error) {
                    (Ok(denial), _) => denial,
                    (Err(CounterUnread), OnError::Deny) => Some(check.unread(call.kind)),
                    (Err(CounterUnread), OnError::Allow) => None,
                };
                if decision.note(entry.force, denial) {
                    return;
                }
            }
        }
    }

    /// What the call counts, in the order of the policy. An amount that cannot be counted denies.
    fn dues(&self, decision: &mut Decision<'p>) -> Vec<Due<'p>> {
        let of_entries = self.entries().flat_map(|(call, entry)| {
            entry.limits.iter().map(move |limit| (call, limit, entry.force, entry.decode))
        });
        let tools = self.governed.calls.iter().filter(|call| call.kind == Kind::Tool);
        let of_all = tools.flat_map(|call| {
            let limits = self.policy.all_limits.iter();
            limits.map(move |limit| (call, limit, Force::Enforced, Decode::Unsaid))
        });
        let mut dues: Vec<Due<'p>> = Vec::new();
        for (call, limit, force, decode) in of_entries.chain(of_all) {
            let Some(named) = self.policy.counters.get(limit.counter) else {
                continue;
            };
            let kind = call.kind;
            let terms = Terms { decode, work: self.work };
            match amount(&limit.amount, call.arguments, terms) {
                Ok(amount) => {
                    let account = self.caller.counted_as(named.scope);
                    let charge =
                        Charge { counter: named.counter, account, amount, max: limit.max, force };
                    join(&mut dues, Due { kind, limit, named, charge, refund: limit.refund });
                }
                Err(detail) => {
                    let denial = Denial {
                        reason: Reason::InvalidIncrement,
                        kind,
                        rule: &limit.pointer,
                        text: None,
                        detail,
                    };
                    if decision.note(force, Some(denial)) {
                        return Vec::new();
                    }
                }
            }
        }
        dues
    }

    fn reserve(&self, dues: Vec<Due<'p>>, would_deny: Option<Denial<'p>>) -> Outcome<'p> {
        let charges: Vec<Charge> = dues.iter().map(|due| due.charge).collect();
        let exceeded = |overrun: Overrun| dues.get(overrun.charge).map(|due| due.denial(overrun));
        let unavailable = || Denial {
            reason: Reason::CountersUnavailable,
            kind: dues.first().map_or(Kind::Tool, |due| due.kind),
            rule: dues.first().map_or("", |due| &due.limit.pointer),
            text: None,
            detail: Detail::None,
        };
        match self.limiter.reserve(&charges, self.now) {
            Ok(granted) => {
                let would_deny = would_deny.or(granted.would_exceed.and_then(exceeded));
                Outcome::Permitted(permit(granted, &dues), would_deny)
            }
            Err(Refused::Exceeded(overrun)) => {
                Outcome::Denied(exceeded(overrun).unwrap_or_else(unavailable))
            }
            Err(Refused::Unavailable) => match self.config.counters.on_error {
                OnError::Deny => Outcome::Denied(unavailable()),
                OnError::Allow => {
                    let uncounted = Permit { counted: Vec::new(), refundable: Vec::new() };
                    Outcome::Permitted(uncounted, would_deny.or_else(|| Some(unavailable())))
                }
            },
        }
    }
}

/// The entries that match a call.
fn entries<'p>(policy: &'p Policy, call: &Call<'_>) -> impl Iterator<Item = &'p Entry> {
    let named = policy.section(call.kind).zip(call.exact.as_deref());
    named.into_iter().flat_map(|(section, name)| section.entries_for(name))
}

fn permit(granted: Granted, dues: &[Due<'_>]) -> Permit {
    let mut permit = Permit { counted: Vec::new(), refundable: Vec::new() };
    for (at, reservation) in granted.reservations {
        match dues.get(at).map(|due| due.refund) {
            Some(Refund::OnError) => permit.refundable.push(reservation),
            Some(Refund::Never) | None => permit.counted.push(reservation),
        }
    }
    permit
}

/// A call counts once on a counter: the largest amount, against the smallest maximum of those limits that are enforced, or
/// else of those in shadow. It is given back only if every limit says so.
fn join<'p>(dues: &mut Vec<Due<'p>>, next: Due<'p>) {
    let Some(due) = dues.iter_mut().find(|due| due.charge.counter.id == next.charge.counter.id)
    else {
        dues.push(next);
        return;
    };
    let ceiling =
        |charge: &Charge| (charge.force == Force::Shadow, charge.max.map_or(u64::MAX, |max| max.0));
    if ceiling(&next.charge) < ceiling(&due.charge) {
        due.limit = next.limit;
        due.charge.max = next.charge.max;
        due.charge.force = next.charge.force;
    }
    due.charge.amount = due.charge.amount.max(next.charge.amount);
    if next.refund == Refund::Never {
        due.refund = Refund::Never;
    }
}

impl<'p> Due<'p> {
    fn denial(&self, overrun: Overrun) -> Denial<'p> {
        if overrun.cause == Cause::Crowded {
            // The author wrote about the limit, which is not what denies.
            let (reason, rule) = (overrun.cause.reason(), &*self.limit.pointer);
            return Denial { reason, kind: self.kind, rule, text: None, detail: Detail::None };
        }
        Denial {
            reason: Reason::LimitReached,
            kind: self.kind,
            rule: &self.limit.pointer,
            text: self.limit.on_deny.as_deref(),
            detail: Detail::Limit {
                counter: &self.named.name,
                max: self.charge.max.unwrap_or(Micros(u64::MAX)),
                remaining: overrun.remaining,
                window_seconds: overrun.window_seconds,
                retry_after: overrun.retry_after,
            },
        }
    }
}

/// How much a call counts.
///
/// # Errors
/// Which argument had which type, where it is no number that can be counted.
pub fn amount<'p>(
    amount: &'p Amount,
    arguments: Option<&Value<'_>>,
    terms: Terms<'_>,
) -> Result<Micros, Detail<'p>> {
    match amount {
        Amount::Fixed(micros) => Ok(*micros),
        Amount::Argument(path) => argument_amount(path, arguments, terms)
            .map_err(|mismatch| Detail::Mismatch(path.text(), mismatch)),
    }
}

fn argument_amount(
    path: &Path,
    arguments: Option<&Value<'_>>,
    terms: Terms<'_>,
) -> Result<Micros, Mismatch> {
    let expected = "a number that is not negative";
    let mut found = Err(Mismatch { expected, found: "nothing" });
    let truth = path.visit(arguments, terms, &mut |value| {
        found = match value {
            None => Err(Mismatch { expected, found: "nothing" }),
            Some(Value::Number(text)) => match Decimal::parse(text).map(Decimal::micros_rounded_up)
            {
                Some(Some(micros)) => Ok(micros),
                Some(None) => Err(Mismatch { expected, found: "a negative number" }),
                None => Err(Mismatch { expected, found: "a number beyond the exact range" }),
            },
            Some(other) => Err(Mismatch { expected, found: other.kind() }),
        };
        Truth::True
    });
    match truth {
        Truth::Undecidable(mismatch) => Err(mismatch),
        Truth::True | Truth::False => found,
    }
}
