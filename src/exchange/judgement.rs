//! Judging one body: from its bytes to the right to forward it, or the reply.

use super::Environment;
use super::response::{Asked, Expected, Lists, Refunds};
use crate::decision::{Denial, Detail, has_ambiguous_argument};
use crate::enforce::{Governed, Outcome, Permit, enforce};
use crate::identity::Caller;
use crate::matcher::work::Work;
use crate::mcp::Refusal;
use crate::mcp::call::Kind;
use crate::mcp::headers::Head;
use crate::mcp::message::{Body, Message, Request, parse_body};
use crate::policy::compiled::{Config, Policy};
use crate::policy::settings::Batch;
use crate::rate::limiter::{Limiter, Reservation};
use crate::reason::Reason;
use crate::record::Record;
use crate::reply::{Context, Reply, batch_refused_object, denial_object};
use crate::time::UnixMillis;

/// What the judgement of a body comes to.
pub(super) struct Verdict {
    pub(super) record: Option<Record>,
    pub(super) result: Result<Expected, Reply>,
}

/// Judging one body.
pub(super) struct Judgement<'j, E: Environment> {
    config: &'j Config,
    policy: Option<&'j Policy>,
    head: &'j Head,
    caller: Caller,
    limiter: Limiter<'j, E::Store>,
    now: UnixMillis,
    /// What the comparisons of the body may cost.
    work: Work,
}

impl<'j, E: Environment> Judgement<'j, E> {
    pub(super) fn new(
        config: &'j Config,
        policy: Option<&'j Policy>,
        head: &'j Head,
        caller: Caller,
        env: &'j E,
        now: UnixMillis,
    ) -> Self {
        let limiter = Limiter::new(env.store(), config.counters.shards);
        Judgement { config, policy, head, caller, limiter, now, work: Work::of(0) }
    }

    pub(super) fn of_body(&self, bytes: &[u8]) -> Result<Verdict, Refusal> {
        self.work.renew(bytes.len());
        let value = parse_body(bytes, self.config.requests.bounds())?;
        match Body::read(&value)? {
            Body::Single(message) => {
                self.head.agrees_with(&message)?;
                match &message {
                    Message::Request(request) => self.of_request(request),
                    Message::Response => Ok(self.of_answers("response")),
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

    fn passes(&self, method: &str, lists: Lists) -> Verdict {
        Verdict {
            record: Some(self.policy_record(method, "pass")),
            result: Ok(Expected { lists, ..Expected::default() }),
        }
    }

    fn policy_record(&self, method: &str, decision: &'static str) -> Record {
        let record = Record { decision, ..Record::passed(method, self.policy_name()) };
        record.of(&self.caller, self.config)
    }

    fn policy_name(&self) -> &str {
        self.policy.map_or("", |policy| &policy.name)
    }

    /// The denial of everything that this caller asks for, or that is asked for here.
    fn turned_away(&self) -> Option<Denial<'j>> {
        let reason = match self.policy {
            None => Reason::Unmatched,
            Some(_) if self.config.callers.required && self.caller.is_anonymous() => {
                Reason::IdentityRequired
            }
            Some(_) => return None,
        };
        Some(Denial { reason, kind: Kind::Method, rule: "", text: None, detail: Detail::None })
    }

    /// Decides what the policy has rules for, and counts it; `None` where it has none.
    fn decided(&self, governed: Option<&Governed<'_>>) -> Option<Outcome<'j>> {
        if let Some(denial) = self.turned_away() {
            return Some(Outcome::Denied(denial));
        }
        let (caller, limiter) = (&self.caller, &self.limiter);
        Some(enforce(self.config, self.policy?, governed?, caller, limiter, self.now, &self.work))
    }

    /// What only answers the server calls nothing; but who is turned away does not get to answer either.
    fn of_answers(&self, name: &str) -> Verdict {
        if self.turned_away().is_none() {
            return self.passes(name, self.lists(std::iter::empty(), false));
        }
        let record = self.policy_record(name, "deny");
        Verdict { record: Some(record), result: Err(Reply::nothing()) }
    }

    fn of_request(&self, request: &Request<'_>) -> Result<Verdict, Refusal> {
        let lists = self.lists(std::iter::once(request), false);
        let Some(outcome) = self.decided(self.governed(request)?.as_ref()) else {
            return Ok(self.passes(request.method, lists));
        };
        let record = Some(self.record(request, &outcome));
        let result = match outcome {
            Outcome::Permitted(permit, _) => {
                let unproven = self.unproven(&permit);
                Ok(Expected { refunds: refunds(request, permit), unproven, lists })
            }
            Outcome::Denied(denial) => Err(Reply::denial(request, &denial, &self.context())),
        };
        Ok(Verdict { record, result })
    }

    /// Every element is decided; one denial refuses them all.
    fn of_batch(&self, messages: &[Message<'_>]) -> Result<Verdict, Refusal> {
        let requests = || messages.iter().filter_map(Message::request);
        // Nothing is counted before all of it could be read.
        let read = requests().map(|request| Ok((request, self.governed(request)?)));
        let read: Vec<(&Request<'_>, Option<Governed<'_>>)> = read.collect::<Result<_, _>>()?;
        if read.is_empty() {
            return Ok(self.of_answers("batch"));
        }
        let mut any_governed = false;
        let mut permits = Vec::new();
        let mut errors = Vec::new();
        let mut denied = None;
        for (request, governed) in read {
            let Some(outcome) = self.decided(governed.as_ref()) else {
                errors.extend(request.id.map(batch_refused_object));
                continue;
            };
            any_governed = true;
            let record = self.record(request, &outcome);
            match outcome {
                Outcome::Permitted(permit, _) => {
                    permits.push((request, permit));
                    errors.extend(request.id.map(batch_refused_object));
                }
                Outcome::Denied(denial) => {
                    errors.extend(denial_object(request, &denial, &self.context()));
                    denied = denied.or(Some(record));
                }
            }
        }
        if denied.is_none() {
            let unproven = permits.iter().flat_map(|(_, permit)| self.unproven(permit)).collect();
            let refunds =
                permits.into_iter().flat_map(|(request, permit)| refunds(request, permit));
            let decision = if any_governed { "allow" } else { "pass" };
            let record = self.policy_record("batch", decision);
            let lists = self.lists(requests(), true);
            let expected = Expected { refunds: refunds.collect(), unproven, lists };
            return Ok(Verdict { record: Some(record), result: Ok(expected) });
        }
        for (_, permit) in permits {
            permit.revoke(&self.limiter);
        }
        Ok(Verdict { record: denied, result: Err(Reply::batch(&errors, &self.context())) })
    }

    /// What was counted, where nothing verified the caller.
    fn unproven(&self, permit: &Permit) -> Vec<Reservation> {
        let unproven = permit.counted().filter(|_| !self.caller.is_proven());
        unproven.cloned().collect()
    }

    /// What of a request the policy has rules for, if it can be read without guessing.
    fn governed<'v>(&self, request: &Request<'v>) -> Result<Option<Governed<'v>>, Refusal> {
        let policy = self.policy.filter(|_| self.turned_away().is_none());
        let Some((policy, governed)) =
            policy.and_then(|policy| Some((policy, Governed::of(policy, request)?)))
        else {
            return Ok(None);
        };
        let calls = || governed.calls().iter();
        if request.id.is_none() && calls().any(|call| call.kind != Kind::Method) {
            return Err(Refusal::new(Reason::MissingId, ""));
        }
        if calls().any(|call| has_ambiguous_argument(policy, call, &self.work)) {
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

    fn record(&self, request: &Request<'_>, outcome: &Outcome<'_>) -> Record {
        let (decision, denial) = match outcome {
            Outcome::Permitted(_, None) => ("allow", None),
            Outcome::Permitted(_, Some(denial)) => ("would_deny", Some(denial)),
            Outcome::Denied(denial) => ("deny", Some(denial)),
        };
        let record = Record::governed(decision, request, denial, self.policy_name());
        record.of(&self.caller, self.config)
    }

    fn context(&self) -> Context<'_> {
        Context { policy: self.policy_name(), head: self.head, form: self.config.denials }
    }
}

fn refunds(request: &Request<'_>, permit: Permit) -> Refunds {
    let counts = permit.into_refundable();
    match request.id {
        Some(id) if !counts.is_empty() => vec![(id.to_owned(), counts)],
        _ => Vec::new(),
    }
}
