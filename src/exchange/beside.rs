//! A candidate decides the same calls beside the policy that is in force. It touches nothing: neither the calls, nor the policy's counts, nor
//! what its comparisons may cost. Its limits count in tables of their own, what it would have let pass; those in the
//! rate limit service are not asked.

use super::judgement::Judgement;
use crate::enforce::{Enforcer, Outcome};
use crate::mcp::message::Request;
use crate::policy::approvals::Need;
use crate::policy::compiled::Policy;
use crate::rate::limiter::Limiter;
use crate::reason::Reason;
use crate::record::CandidateVerdict;
use crate::world::World;

impl<W: World> Judgement<'_, W> {
    /// What the candidate would have decided, where that is something else than what was. A rule in shadow counts as if it were in force, on
    /// either side: that is what one wants to know before it is.
    pub(super) fn beside(
        &self,
        request: &Request<'_>,
        decided: Option<&Outcome>,
    ) -> Option<CandidateVerdict> {
        let policy = self.policy?;
        let candidate = policy.candidate.as_deref()?;
        if self.rejected().is_some() {
            return None;
        }
        let limiter = Limiter::new(self.world.store(), self.config.counters.shards).beside();
        let other = match self.governed_by(candidate, request, &self.work_beside) {
            Err(refusal) => {
                let reason = refusal.reason.label();
                CandidateVerdict { decision: "refuse", reason, rule: None }
            }
            Ok(None) => verdict(candidate, None),
            Ok(Some(governed)) => {
                let enforcer = Enforcer {
                    config: self.config,
                    policy: candidate,
                    caller: &self.caller,
                    limiter: &limiter,
                    sightings: self.sightings(),
                    now: self.now,
                    work: &self.work_beside,
                    witness: &(),
                };
                let outcome = enforcer.enforce(&governed);
                let verdict = verdict(candidate, Some(&outcome));
                let permit = match outcome {
                    Outcome::Permitted(permit, _) => Some(permit),
                    // Nobody is asked, so nobody says no.
                    Outcome::Pending(pending) => Some(pending.settle()),
                    Outcome::Denied(_) => None,
                };
                if let Some(mut permit) = permit {
                    // The rate limit service counts for those in force alone.
                    drop(permit.take_service());
                    // Nobody keeps in mind what is in flight for a candidate, so it ends at once.
                    limiter.give_back(&permit.forward().in_flight);
                }
                verdict
            }
        };
        let active = verdict(policy, decided);
        let same = (active.decision, active.reason) == (other.decision, other.reason);
        (!same).then_some(other)
    }
}

fn verdict(policy: &Policy, outcome: Option<&Outcome>) -> CandidateVerdict {
    let denial = match outcome {
        None => None,
        Some(Outcome::Permitted(_, denial)) => denial.as_ref(),
        Some(Outcome::Denied(denial)) => Some(denial),
        Some(Outcome::Pending(pending)) => Some(pending.denial()),
    };
    let Some(denial) = denial else {
        return CandidateVerdict { decision: "allow", reason: "", rule: None };
    };
    let asks = denial.reason == Reason::ApprovalRequired;
    let need = denial.rule.filter(|_| asks).and_then(|rule| policy.need_of(rule));
    let decision = if need.is_some_and(Need::asks) { "ask" } else { "deny" };
    CandidateVerdict { decision, reason: denial.reason.label(), rule: denial.rule }
}
