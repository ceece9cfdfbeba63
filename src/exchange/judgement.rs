//! Judging one body: from its bytes to the right to forward it, or the reply.

use super::expected::{Asked, Lists};
use super::going::{Going, GoingCall};
use super::judged::{Judged, Matter};
use crate::approval::call::Site;
use crate::decision::has_ambiguous_argument;
use crate::denial::Denial;
use crate::enforce::{Enforcer, Fill, Governed, Outcome, Permit};
use crate::identity::Caller;
use crate::matcher::work::Work;
use crate::mcp::Refusal;
use crate::mcp::call::Kind;
use crate::mcp::headers::Head;
use crate::mcp::message::{Body, Message, Request, parse_body};
use crate::pins::{ServerId, Sightings};
use crate::policy::approvals::Need;
use crate::policy::compiled::{Config, Policy};
use crate::policy::entry::Scope;
use crate::policy::settings::Batch;
use crate::rate::limiter::Limiter;
use crate::reason::Reason;
use crate::record::{CallDetail, Record, traceparent};
use crate::reply::{Addressee, Context, Reply, batch_refused_object, denial_object, echoed};
use crate::rls::SwitchedCall;
use crate::time::Moment;
use crate::world::World;

/// Judging one body.
pub(super) struct Judgement<'j, W: World> {
    pub(super) config: &'j Config,
    pub(super) policy: Option<&'j Policy>,
    pub(super) server: ServerId,
    pub(super) head: &'j Head,
    pub(super) site: Option<&'j Site>,
    pub(super) caller: Caller,
    pub(super) world: &'j W,
    pub(super) limiter: Limiter<'j, W::Store>,
    pub(super) now: Moment,
    witness: &'j W::Witness,
    /// What the comparisons of the body may cost.
    pub(super) work: Work,
    /// What those of the candidate may cost: nothing of it is the policy's.
    pub(super) work_beside: Work,
}

/// What becomes of the requests of a batch.
#[derive(Default)]
struct BatchVerdict<'b, 'v> {
    /// One for each request.
    records: Vec<Record>,
    permits: Vec<(&'b Request<'v>, Option<Permit>)>,
    /// The answers to all of them, should one be denied.
    errors: Vec<String>,
    is_denied: bool,
}

impl<'j, W: World> Judgement<'j, W> {
    pub(super) fn new(
        config: &'j Config,
        (policy, server): (Option<&'j Policy>, ServerId),
        head: (&'j Head, Option<&'j Site>),
        caller: Caller,
        world: &'j W,
        now: Moment,
    ) -> Self {
        let limiter = Limiter::new(world.store(), config.counters.shards);
        let (witness, work, work_beside) = (world.witness(), Work::of(0), Work::of(0));
        let (head, site) = head;
        Judgement {
            config,
            policy,
            server,
            head,
            site,
            caller,
            world,
            limiter,
            now,
            witness,
            work,
            work_beside,
        }
    }

    pub(super) fn of_body(&self, bytes: &[u8]) -> Result<Judged, Refusal> {
        self.work.renew(bytes.len());
        self.work_beside.renew(bytes.len());
        let value = parse_body(bytes, self.config.requests.bounds())?;
        match Body::read(&value)? {
            Body::Single(message) => {
                self.head.agrees_with(&message)?;
                match &message {
                    Message::Request(request) => self.of_request(request, bytes),
                    Message::Response(answer) => {
                        let ours = self.of_elicitation(answer);
                        Ok(ours.unwrap_or_else(|| self.of_answers("response")))
                    }
                }
            }
            Body::Batch(messages) => {
                if self.config.requests.batch == Batch::Deny {
                    return Err(Refusal::new(Reason::BatchNotAllowed, "by configuration"));
                }
                self.head.agrees_with_batch()?;
                self.of_batch(&messages)
            }
        }
    }

    fn passes(&self, record: Record, lists: Lists) -> Judged {
        Judged::Forward(Box::new(Going::passing(record, lists)))
    }

    pub(super) fn policy_record(&self, method: &str, decision: &'static str) -> Record {
        let record = Record { decision, ..Record::passed(method, self.policy_index()) };
        record.of(&self.caller, self.config)
    }

    fn policy_index(&self) -> Option<usize> {
        self.policy.map(|policy| policy.index)
    }

    /// Why nothing passes, whatever is asked: no policy governs the place, or the caller has no name where one is required.
    pub(super) fn rejected(&self) -> Option<Denial> {
        let reason = match self.policy {
            None => Reason::Unmatched,
            Some(_) if self.config.callers.required && self.caller.is_anonymous() => {
                Reason::IdentityRequired
            }
            Some(_) => return None,
        };
        Some(Denial::without_rule(Kind::Method, reason))
    }

    /// Decides what the policy has rules for, and counts it; `None` where it has none.
    fn decided(&self, governed: Option<&Governed<'j, '_>>) -> Option<Outcome> {
        if let Some(denial) = self.rejected() {
            return Some(Outcome::Denied(denial));
        }
        let (config, policy, now) = (self.config, self.policy?, self.now);
        let (caller, limiter, work) = (&self.caller, &self.limiter, &self.work);
        let (witness, sightings) = (self.witness, self.sightings());
        let enforcer = Enforcer { config, policy, caller, limiter, sightings, now, work, witness };
        Some(enforcer.enforce(governed?))
    }

    /// What has been seen of the server's tools.
    pub(super) fn sightings(&self) -> Sightings<'j, W::Store> {
        Sightings::new(self.world.store(), self.server)
    }

    /// A body that only answers the server calls nothing, so it passes. A rejected caller does not get to answer either.
    fn of_answers(&self, name: &str) -> Judged {
        if self.rejected().is_none() {
            let record = self.policy_record(name, "pass");
            return self.passes(record, self.lists(std::iter::empty(), false));
        }
        Judged::Answer(Reply::nothing(), vec![self.policy_record(name, "deny")])
    }

    fn of_request(&self, request: &Request<'_>, body: &[u8]) -> Result<Judged, Refusal> {
        let lists = self.lists(std::iter::once(request), false);
        let outcome = self.decided(self.governed(request)?.as_ref());
        let candidate = self.beside(request, outcome.as_ref());
        let Some(outcome) = outcome else {
            let trace = traceparent(request).filter(|_| self.config.telling.traces_from_meta);
            let traceparent = trace.map(str::to_owned);
            let record = self.policy_record(request.method, "pass");
            let record = Record { candidate, traceparent, ..record };
            return Ok(self.passes(record, lists));
        };
        let mut record = self.record(request, &outcome);
        record.candidate = candidate;
        Ok(match outcome {
            Outcome::Permitted(permit, _) => {
                let (calls, records) =
                    (vec![self.going(request, Some(permit), false)], vec![record]);
                let (proven, body) = (self.caller.is_proven(), self.released(request, body));
                let going = Going { calls, records, lists, proven, body, ..Going::default() };
                Judged::Forward(Box::new(going))
            }
            Outcome::Denied(denial) => {
                let to = Addressee::of(request, self.head);
                Judged::Answer(Reply::denial(&to, &denial, &self.context()), vec![record])
            }
            Outcome::Pending(pending) => {
                let denied = record;
                self.of_pending(Matter { request, body, pending, lists, denied })
            }
        })
    }

    /// A call that may go on; `asks` says whether the rate limit service may still deny it, or another of its batch.
    pub(super) fn going(
        &self,
        request: &Request<'_>,
        permit: Option<Permit>,
        asks: bool,
    ) -> GoingCall {
        let switch = permit.as_ref().and_then(|_| self.switch(request));
        let asks = asks || switch.is_some() || permit.as_ref().is_some_and(Permit::owes_service);
        let to = asks.then(|| Addressee::of(request, self.head));
        GoingCall { id: request.id.map(str::to_owned), to, switch, permit }
    }

    /// What of a call may be switched off, where somebody looks.
    pub(super) fn switch(&self, request: &Request<'_>) -> Option<SwitchedCall> {
        self.config.counters.service.as_ref()?.switch?;
        let account = self.caller.counted_as(Scope::Grant);
        let (kind, name) = match &request.call {
            Some(call) => (call.kind, call.exact.as_deref().unwrap_or(call.name)),
            None => (Kind::Method, request.method),
        };
        Some(SwitchedCall { kind, name: echoed(name), account })
    }

    /// Every element is decided; one denial refuses them all.
    fn of_batch(&self, messages: &[Message<'_>]) -> Result<Judged, Refusal> {
        let requests = || messages.iter().filter_map(Message::request);
        // Nothing is counted before all of it could be read.
        let read = requests().map(|request| Ok((request, self.governed(request)?)));
        let read: Vec<(&Request<'_>, Option<Governed<'j, '_>>)> = read.collect::<Result<_, _>>()?;
        if read.is_empty() {
            return Ok(self.of_answers("batch"));
        }
        let mut batch = BatchVerdict::default();
        for (request, governed) in read {
            let outcome = self.decided(governed.as_ref());
            let candidate = self.beside(request, outcome.as_ref());
            let record = match &outcome {
                None => self.policy_record(request.method, "pass"),
                Some(outcome) => self.record(request, outcome),
            };
            batch.records.push(Record { candidate, ..record });
            let denial = match outcome {
                None => {
                    batch.permits.push((request, None));
                    None
                }
                Some(Outcome::Permitted(permit, _)) => {
                    batch.permits.push((request, Some(permit)));
                    None
                }
                Some(Outcome::Denied(denial)) => Some(denial),
                // The calls of a batch have one answer, so none of them can wait.
                Some(Outcome::Pending(pending)) => Some(pending.abandon(&self.limiter)),
            };
            batch.errors.extend(match &denial {
                Some(denial) => self.denial_object(request, denial),
                None => request.id.map(batch_refused_object),
            });
            batch.is_denied |= denial.is_some();
        }
        Ok(self.of_verdict(batch, self.lists(requests(), true)))
    }

    /// All of a batch goes on, or nothing does.
    fn of_verdict(&self, batch: BatchVerdict<'_, '_>, lists: Lists) -> Judged {
        let BatchVerdict { mut records, permits, errors, is_denied } = batch;
        if is_denied {
            for permit in permits.into_iter().filter_map(|(_, permit)| permit) {
                permit.revoke(&self.limiter);
            }
            let refused = Reason::BatchRefused.label();
            for record in &mut records {
                if matches!(record.decision, "allow" | "pass" | "would_deny" | "would_ask") {
                    record.refuse_with_batch();
                }
            }
            // What answers is the first denial, and that is what access logs print: the last record.
            if let Some(at) = records.iter().position(|record| record.reason != refused) {
                let first = records.remove(at);
                records.push(first);
            }
            return Judged::Answer(Reply::batch(&errors, self.head.framing), records);
        }
        let governed = records.iter().any(|record| record.decision != "pass");
        let asks = self.config.counters.service.is_some();
        let calls = permits.into_iter();
        let calls = calls.map(|(request, permit)| self.going(request, permit, asks)).collect();
        let decision = if governed { "allow" } else { "pass" };
        records.push(Record { sums_up: true, ..self.policy_record("batch", decision) });
        let (batch, proven) = (Some(self.head.framing), self.caller.is_proven());
        Judged::Forward(Box::new(Going {
            calls,
            batch,
            records,
            lists,
            proven,
            ..Going::default()
        }))
    }

    fn denial_object(&self, request: &Request<'_>, denial: &Denial) -> Option<String> {
        denial_object(&Addressee::of(request, self.head), denial, &self.context())
    }

    /// What of a request the policy has rules for, if it can be read without guessing.
    fn governed<'v>(&self, request: &Request<'v>) -> Result<Option<Governed<'j, 'v>>, Refusal> {
        match self.policy.filter(|_| self.rejected().is_none()) {
            Some(policy) => self.governed_by(policy, request, &self.work),
            None => Ok(None),
        }
    }

    /// What of a request a policy has rules for.
    pub(super) fn governed_by<'v>(
        &self,
        policy: &'j Policy,
        request: &Request<'v>,
        work: &Work,
    ) -> Result<Option<Governed<'j, 'v>>, Refusal> {
        let Some(governed) = Governed::of(policy, request) else { return Ok(None) };
        let calls = || governed.calls().iter();
        if request.id.is_none() && calls().any(|matched| matched.call().kind != Kind::Method) {
            return Err(Refusal::new(Reason::MissingId, ""));
        }
        if calls().any(|matched| has_ambiguous_argument(policy, matched, self.now.wall, work)) {
            let refusal = Refusal::new(Reason::AmbiguousKey, "in arguments");
            return Err(refusal.answering(request.id));
        }
        if governed.meets_ambiguous(policy, &self.caller) {
            let refusal = Refusal::new(Reason::CredentialAmbiguous, "");
            return Err(refusal.answering(request.id));
        }
        Ok(Some(governed))
    }

    /// What to look for in the response. Whatever was asked, any list may come: the client can have asked for it elsewhere.
    fn lists<'r>(
        &self,
        requests: impl Iterator<Item = &'r Request<'r>> + Clone,
        batch: bool,
    ) -> Lists {
        let Some(policy) = self.policy.filter(|policy| policy.filters_any()) else {
            return Lists::None;
        };
        let filtered =
            |request: &&Request<'_>| request.list().is_some_and(|kind| policy.filters(kind));
        // Notifications too: some servers answer what has no id.
        let lists = requests.clone().any(|request| filtered(&request));
        let asked = requests.filter(|request| !lists || filtered(request));
        let ids = asked.filter_map(|request| request.id.map(str::to_owned)).collect();
        Lists::To(Asked { lists, ids, batch, framing: self.head.framing })
    }

    fn record(&self, request: &Request<'_>, outcome: &Outcome) -> Record {
        match outcome {
            Outcome::Permitted(permit, denial) => {
                self.record_of_permitted(request, denial.as_ref(), permit.fills())
            }
            Outcome::Denied(denial) => self.record_of(request, "deny", Some(denial)),
            Outcome::Pending(pending) => self.record_of(request, "deny", Some(pending.denial())),
        }
    }

    /// The record of a call that goes on, with what a rule in shadow would have said.
    pub(super) fn record_of_permitted(
        &self,
        request: &Request<'_>,
        denial: Option<&Denial>,
        fills: &[Fill],
    ) -> Record {
        let decision = denial.map_or("allow", |denial| self.in_shadow(denial));
        let mut record = self.record_of(request, decision, denial);
        record.fills.extend_from_slice(fills);
        record
    }

    /// The decision on a call that passes although a rule in shadow denies it, or would have somebody asked.
    pub(super) fn in_shadow(&self, denial: &Denial) -> &'static str {
        let asks = denial.reason == Reason::ApprovalRequired;
        let need = self.policy.zip(denial.rule).filter(|_| asks);
        let need = need.and_then(|(policy, rule)| policy.need_of(rule));
        if need.is_some_and(Need::asks) { "would_ask" } else { "would_deny" }
    }

    fn record_of(
        &self,
        request: &Request<'_>,
        decision: &'static str,
        denial: Option<&Denial>,
    ) -> Record {
        let mut record = Record::governed(decision, request, denial, self.policy);
        let audit = self.config.telling.audit.as_ref();
        record.call = audit.map(|audit| Box::new(CallDetail::of(request, &audit.arguments)));
        if self.config.telling.traces_from_meta {
            record.traceparent = traceparent(request).map(str::to_owned);
        }
        record.of(&self.caller, self.config)
    }

    pub(super) fn context(&self) -> Context<'_> {
        Context { policy: self.policy, form: self.config.denials }
    }
}
