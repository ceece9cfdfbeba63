//! A request that goes on once the rate limit service has counted its calls.
//!
//! Everything that goes on with something to ask passes here. What this Envoy has counted is given back if the service
//! refuses; what the service has counted stays counted, for it takes nothing back: never one call too many.

use super::ending::Ending;
use super::going::Going;
use super::refunds::ids;
use crate::ask::{Answer, Ask, AskId};
use crate::denial::{Denial, Detail};
use crate::enforce::{Fill, Permit};
use crate::mcp::call::Kind;
use crate::mcp::headers::Framing;
use crate::metrics::ServiceOutcome;
use crate::number::Micros;
use crate::policy::compiled::{Config, Policy};
use crate::policy::settings::ServiceError;
use crate::rate::lease::Spent;
use crate::rate::limiter::{Charge, Limiter, Refused};
use crate::rate::store::SharedStore;
use crate::rate::table::{Account, CounterId};
use crate::reason::Reason;
use crate::record::Record;
use crate::reply::{Addressee, Reply};
use crate::rls::{self, DescriptorStatus, SWITCHES, ServiceCharge, SwitchedCall};
use crate::time::{Moment, UnixMillis};
use crate::world::World;

/// The number of a question to the rate limit service: another than those to an approver.
const ASK: AskId = AskId(u32::MAX);

/// How much longer than Envoy waits for an answer the call waits for Envoy to say that there is none, in milliseconds.
const GRACE_MILLIS: u64 = 1000;

/// A request that waits for the rate limit service.
#[derive(Debug)]
pub(super) struct Counting {
    going: Box<Going>,
    asked: Vec<AskedCharge>,
    /// What was spent of leases.
    spent: Vec<ServiceCharge>,
    /// What may be switched off, with the call that it is about.
    switches: Vec<(usize, SwitchedCall)>,
    began: Moment,
}

/// What the service is asked to count.
#[derive(Debug)]
struct AskedCharge {
    /// The call, by its place.
    call: usize,
    charge: ServiceCharge,
    /// How many are asked for: what the call counts, or a lease.
    hits: u64,
}

/// What becomes of a request that may go on.
pub(super) enum Begun {
    /// It goes on; told is whether leases paid for it.
    Goes(Box<Going>, bool),
    /// It waits for this.
    Waits(Box<Counting>, Ask),
    /// Nobody can be asked.
    Fails(Box<Counting>),
}

/// What becomes of a request after the answer.
pub(super) enum CountedEnd {
    Goes(Box<Going>),
    Answered(Reply, Vec<Record>),
}

impl Counting {
    /// Begins to go on: asks the rate limit service, unless leases pay. Out of line, since most requests have nothing to ask.
    #[inline(never)]
    pub(super) fn begin<W: World>(
        mut going: Box<Going>,
        config: &Config,
        policy: Option<&Policy>,
        world: &W,
        began: Moment,
    ) -> Begun {
        let limiter = Limiter::new(world.store(), config.counters.shards);
        let (mut asked, mut spent, mut switches) = (Vec::new(), Vec::new(), Vec::new());
        for (at, call) in going.calls.iter_mut().enumerate() {
            let switch = call.switch.take().zip(policy);
            if let Some((switch, policy)) = switch
                && !limiter.has_looked((switch.id(policy), switch.account), began)
            {
                switches.push((at, switch));
            }
            let permit = call.permit.as_mut();
            for charge in permit.map(Permit::take_service).unwrap_or_default() {
                let needed = charge.hits;
                let took = match charge.lease {
                    Some(size) => limiter.spend_lease(place(&charge), (needed, size.into()), began),
                    None => Spent::Ask(needed),
                };
                match took {
                    Spent::All => spent.push(charge),
                    Spent::Ask(hits) => asked.push(AskedCharge { call: at, charge, hits }),
                }
            }
        }
        if asked.is_empty() && switches.is_empty() {
            return Begun::Goes(going, !spent.is_empty());
        }
        let counting = Box::new(Counting { going, asked, spent, switches, began });
        match config.counters.service.as_ref().zip(policy) {
            None => Begun::Fails(counting),
            Some((service, policy)) => {
                let asked: Vec<(&ServiceCharge, u64)> =
                    counting.asked.iter().map(|asked| (&asked.charge, asked.hits)).collect();
                let looks: Vec<SwitchedCall> =
                    counting.switches.iter().map(|(_, switch)| switch.clone()).collect();
                let ask = Ask { id: ASK, ..rls::question(service, policy, &asked, &looks) };
                Begun::Waits(counting, ask)
            }
        }
    }

    /// The body that goes on, to be put in the place of the other while that can be done.
    pub(super) fn take_body(&mut self) -> Option<Vec<u8>> {
        self.going.body.take()
    }

    /// Whether this is the question that is under way.
    pub(super) fn awaits(&self, ask: AskId) -> bool {
        ask == ASK
    }

    /// Whether something verified the caller.
    pub(super) fn is_proven(&self) -> bool {
        self.going.proven
    }

    /// How the client wants to be answered.
    pub(super) fn framing(&self) -> Framing {
        let first = self.going.calls.first().and_then(|call| call.to.as_ref());
        self.going.batch.or(first.map(Addressee::framing)).unwrap_or_default()
    }

    /// Whether it has waited longer than Envoy does. A clock that fails or has gone back tells nothing, so nothing is waited for by it.
    pub(super) fn is_overdue(&self, config: &Config, now: Option<UnixMillis>) -> bool {
        let began = self.began.wall;
        let patience = config.counters.service.as_ref().map_or(0, |service| service.timeout_millis);
        let until = began.0.saturating_add(u64::from(patience).saturating_add(GRACE_MILLIS));
        now.is_none_or(|now| now.0 >= until || now < began)
    }

    /// An answer has come, or tells that none will.
    pub(super) fn answered<W: World>(
        self,
        answer: &Answer<'_>,
        ending: &Ending<'_, W>,
    ) -> (CountedEnd, ServiceOutcome) {
        let statuses = match answer {
            Answer::Http { status: 200, body } => {
                rls::read(body, self.asked.len(), self.switches.len() * SWITCHES)
            }
            Answer::Http { .. } | Answer::Failed => None,
        };
        match statuses {
            Some(mut statuses) => {
                let looks = statuses.split_off(self.asked.len());
                match self.switched_off(&looks, &statuses, ending) {
                    Some(at) => self.off(at, ending),
                    None => self.told(&statuses, ending),
                }
            }
            None => self.failed(ending),
        }
    }

    /// The call that is switched off, if one is. Else it is noted that somebody has looked.
    fn switched_off<W: World>(
        &self,
        looks: &[DescriptorStatus],
        statuses: &[DescriptorStatus],
        ending: &Ending<'_, W>,
    ) -> Option<usize> {
        // A service that answers for all together says nothing of the switch alone, where limits were asked for too.
        let told = looks.iter().chain(statuses).any(|status| status.remaining.is_some());
        let limits_only = !told && !statuses.is_empty();
        let of_each = self.switches.iter().zip(looks.chunks(SWITCHES));
        let mut off = of_each.filter(|(_, looks)| looks.iter().any(|look| look.is_over));
        if let Some(((at, _), _)) = off.next() {
            return (!limits_only).then_some(*at);
        }
        let config = ending.config;
        let holds = config.counters.service.as_ref().and_then(|service| service.switch);
        let policy = ending.context.policy;
        let limiter = Limiter::new(ending.world.store(), config.counters.shards);
        let now = ending.world.moment().unwrap_or(self.began);
        for (_, switch) in &self.switches {
            let Some((seconds, policy)) = holds.zip(policy) else { continue };
            let until = self.began.running.saturating_add(u64::from(seconds) * 1000);
            limiter.looked((switch.id(policy), switch.account), until, now);
        }
        None
    }

    /// What the operator has switched off does not go on, whatever mode the policy is in. What the service has counted stays counted.
    fn off<W: World>(self, at: usize, ending: &Ending<'_, W>) -> (CountedEnd, ServiceOutcome) {
        let limiter = Limiter::new(ending.world.store(), ending.config.counters.shards);
        self.returned(&limiter, ending.world.moment().unwrap_or(self.began));
        let kind = self.switches.iter().find(|(call, _)| *call == at);
        let kind = kind.map_or(Kind::Method, |(_, switch)| switch.kind);
        let denial = Denial::without_rule(kind, Reason::SwitchedOff);
        let (reply, records) = self.going.denied(at, &denial, ending);
        (CountedEnd::Answered(reply, records), ServiceOutcome::OverLimit)
    }

    /// Nobody waits for it any more.
    pub(super) fn abandon<W: World>(self, config: &Config, world: &W) {
        let limiter = Limiter::new(world.store(), config.counters.shards);
        self.returned(&limiter, world.moment().unwrap_or(self.began));
        for call in self.going.calls {
            call.permit.into_iter().for_each(|permit| permit.revoke(&limiter));
        }
        self.going.used.into_iter().for_each(|used| ids(config, world).give_back(used));
    }

    /// The service has counted, or refused.
    fn told<W: World>(
        mut self,
        statuses: &[DescriptorStatus],
        ending: &Ending<'_, W>,
    ) -> (CountedEnd, ServiceOutcome) {
        let limiter = Limiter::new(ending.world.store(), ending.config.counters.shards);
        let now = ending.world.moment().unwrap_or(self.began);
        let both = || self.asked.iter().zip(statuses);
        let over = both().find(|(asked, status)| status.is_over && asked.charge.denies());
        // Some services count nothing of a question of which they refuse a part, so no lease comes of it.
        let all_counted = statuses.iter().all(|status| !status.is_over);
        for (asked, status) in both() {
            let needed = asked.charge.hits;
            let until = self.until(asked, status);
            let lease = asked.charge.lease.is_some();
            if all_counted && lease && asked.hits > needed {
                limiter.fill_lease(place(&asked.charge), asked.hits - needed, until, now);
            } else if status.is_over && lease && asked.hits > asked.charge.hits {
                limiter.end_lease(place(&asked.charge), until, now);
            }
        }
        if let Some((asked, status)) = over {
            let (at, denial) = (asked.call, self.denial(asked, status));
            self.returned(&limiter, now);
            let (reply, records) = self.going.denied(at, &denial, ending);
            return (CountedEnd::Answered(reply, records), ServiceOutcome::OverLimit);
        }
        let told: Vec<_> = both()
            .map(|(asked, status)| {
                let denial = status.is_over.then(|| self.denial(asked, status));
                (asked.call, denial, fill(asked, status))
            })
            .collect();
        for (at, denial, fill) in told {
            let Some(record) = self.going.records.get_mut(at) else { continue };
            record.fills.extend(fill);
            // What is in shadow denies nothing.
            if let Some(denial) = denial.filter(|_| record.decision == "allow") {
                record.would_deny(&denial);
            }
        }
        (CountedEnd::Goes(self.going), ServiceOutcome::Ok)
    }

    /// The service gives no answer that can be understood.
    fn failed<W: World>(mut self, ending: &Ending<'_, W>) -> (CountedEnd, ServiceOutcome) {
        let limiter = Limiter::new(ending.world.store(), ending.config.counters.shards);
        let service = ending.config.counters.service.as_ref();
        let counted = match service.map_or(ServiceError::Deny, |service| service.on_error) {
            ServiceError::Deny => {
                let denies = self.asked.iter().find(|asked| asked.charge.denies());
                match denies.map(|asked| (asked.call, unavailable(&asked.charge))) {
                    Some((at, denial)) => return self.refused(at, &denial, &limiter, ending),
                    None if self.switches.is_empty() => ServiceOutcome::FailedAllow,
                    // Nobody knows whether it is switched off.
                    None => return self.lost(ending),
                }
            }
            ServiceError::Allow => ServiceOutcome::FailedAllow,
            ServiceError::Local => {
                let charges: Vec<Charge> =
                    self.asked.iter().map(|asked| asked.charge.charge).collect();
                let at = |at: usize| self.asked.get(at);
                match limiter.reserve(&charges, self.began) {
                    Ok(_) => ServiceOutcome::FailedLocal,
                    Err(Refused::Exceeded(overrun)) => {
                        let Some(asked) = at(overrun.charge) else { return self.lost(ending) };
                        let status = DescriptorStatus {
                            is_over: true,
                            remaining: Some(overrun.remaining.0 / 1_000_000),
                            reset_millis: overrun.retry_after,
                        };
                        let (at, mut denial) = (asked.call, self.denial(asked, &status));
                        denial.reason = overrun.cause.reason();
                        return self.refused(at, &denial, &limiter, ending);
                    }
                    Err(Refused::Unavailable) => return self.lost(ending),
                }
            }
        };
        for record in &mut self.going.records {
            record.counted = Some(counted);
        }
        (CountedEnd::Goes(self.going), counted)
    }

    /// Nothing could be counted anywhere.
    fn lost<W: World>(self, ending: &Ending<'_, W>) -> (CountedEnd, ServiceOutcome) {
        let limiter = Limiter::new(ending.world.store(), ending.config.counters.shards);
        let asked = self.asked.first().map(|asked| (asked.call, unavailable(&asked.charge)));
        let switch = self.switches.first().map(|(at, switch)| {
            (*at, Denial::without_rule(switch.kind, Reason::CountersUnavailable))
        });
        match asked.or(switch) {
            Some((at, denial)) => self.refused(at, &denial, &limiter, ending),
            None => (CountedEnd::Goes(self.going), ServiceOutcome::Ok),
        }
    }

    fn refused<W: World>(
        self,
        at: usize,
        denial: &Denial,
        limiter: &Limiter<'_, W::Store>,
        ending: &Ending<'_, W>,
    ) -> (CountedEnd, ServiceOutcome) {
        self.returned(limiter, ending.world.moment().unwrap_or(self.began));
        let (reply, records) = self.going.denied(at, denial, ending);
        (CountedEnd::Answered(reply, records), ServiceOutcome::FailedDeny)
    }

    /// Puts back what was spent of leases.
    fn returned<S: SharedStore>(&self, limiter: &Limiter<'_, S>, now: Moment) {
        for charge in &self.spent {
            limiter.return_lease(place(charge), charge.hits, now);
        }
    }

    /// Until when what the service counts holds, by the clock that cannot be set. Its answer was on its way since the question was asked, so
    /// that is when the time begins that it tells.
    fn until(&self, asked: &AskedCharge, status: &DescriptorStatus) -> u64 {
        let window = asked.charge.charge.counter.window;
        // Told in whole seconds, it is rounded up.
        let told = status.reset_millis.map(|left| match left % 1000 {
            0 => left.saturating_sub(999),
            _ => left,
        });
        let left =
            told.unwrap_or_else(|| window.span_at(self.began.wall).millis_left(self.began.wall));
        self.began.running.saturating_add(left)
    }

    fn denial(&self, asked: &AskedCharge, status: &DescriptorStatus) -> Denial {
        let (charge, window) = (&asked.charge, asked.charge.charge.counter.window);
        let left = window.span_at(self.began.wall).millis_left(self.began.wall);
        let detail = Detail::Limit {
            counter: Some(charge.counter),
            max: charge.charge.max.unwrap_or(Micros(u64::MAX)),
            remaining: Micros(status.remaining.unwrap_or(0).saturating_mul(1_000_000)),
            window_seconds: window.span_at(self.began.wall).seconds(),
            retry_after: Some(status.reset_millis.unwrap_or(left)),
        };
        Denial { detail, ..Denial::by(charge.rule, charge.kind, Reason::LimitReached) }
    }
}

fn unavailable(charge: &ServiceCharge) -> Denial {
    Denial::by(charge.rule, charge.kind, Reason::CountersUnavailable)
}

fn place(charge: &ServiceCharge) -> (CounterId, Account) {
    (charge.charge.counter.id, charge.charge.account)
}

/// How full the limit is, where the service says so. What others have taken of it beforehand is used, as the service counts.
fn fill(asked: &AskedCharge, status: &DescriptorStatus) -> Option<Fill> {
    let max = asked.charge.max();
    let used = max.saturating_sub(status.remaining?);
    let percent = used.saturating_mul(100).checked_div(max).unwrap_or(100).min(100);
    let percent = u8::try_from(percent).unwrap_or(100);
    let (rule, counter) = (asked.charge.rule, asked.charge.counter);
    Some(Fill { rule, counter, percent, on_floor: false })
}
