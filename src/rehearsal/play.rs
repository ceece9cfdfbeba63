//! A call that somebody is asked about, and what comes of it.

use super::approver::{Consent, StagedApprover};
use super::{Round, SimulatedRequest, Simulator, Verdict, client};
use crate::bounds::MAX_LEGS;
use crate::exchange::{Flow, Step};
use crate::policy::approvals::ApprovalWay;
use crate::policy::compiled::Config;
use crate::witness::Witness;

impl Simulator {
    /// Sends a request; if somebody is asked about it, this comes of it, and the client calls again as clients do. Also tells whether
    /// anybody was asked.
    #[must_use]
    pub fn play<W: Witness>(
        &self,
        request: &SimulatedRequest,
        consent: Consent,
        witness: &W,
    ) -> (Verdict, bool) {
        let request = self.able(request);
        let number = self.draw();
        // One and the same request for approval, however often the client comes.
        let send = |request: &SimulatedRequest| {
            self.round(request, witness, Some(&StagedApprover::new(consent, number)))
        };
        let first = send(&request);
        let Some(way) = first.asked else { return (first.verdict, false) };
        let verdict = match (way, consent) {
            (ApprovalWay::Approver, Consent::Used) if first.verdict.is_forwarded() => {
                send(&request).verdict
            }
            (ApprovalWay::Approver, Consent::Pending) => {
                let mut last = first;
                for _ in 1..MAX_LEGS {
                    let Some(again) = last.again(&request, None) else { break };
                    last = send(&again);
                }
                last.verdict
            }
            (ApprovalWay::User, Consent::Accept | Consent::Decline | Consent::Used) => {
                let says = consent != Consent::Decline;
                let Some(again) = first.again(&request, Some(says)) else {
                    return (first.verdict, true);
                };
                let answered = send(&again).verdict;
                match consent == Consent::Used && answered.is_forwarded() {
                    true => send(&again).verdict,
                    false => answered,
                }
            }
            (ApprovalWay::User, Consent::Pending)
            | (ApprovalWay::Approver, Consent::Accept | Consent::Decline | Consent::Used)
            | (ApprovalWay::Token, _) => first.verdict,
        };
        (verdict, true)
    }
}

impl Round {
    pub(super) fn read(&mut self, step: Step, config: &Config) {
        let verdict = &mut self.verdict;
        if let Some(record) = step.records.last() {
            verdict.decision = record.decision.to_owned();
            verdict.reason = record.reason.to_owned();
            verdict.rule = record.pointer(config).to_owned();
            verdict.policy = record.policy_name(config).to_owned();
        }
        match step.flow {
            Flow::Reply(reply) => self.state = verdict.read_reply(reply.status, &reply.body),
            Flow::Continue | Flow::Pause => {}
        }
    }
    /// The request with which the client comes again, if it was given a state.
    fn again(&self, request: &SimulatedRequest, says: Option<bool>) -> Option<SimulatedRequest> {
        let body = client::retry(&request.body, self.state.as_deref()?, says)?;
        Some(SimulatedRequest { body, ..request.clone() })
    }
}
