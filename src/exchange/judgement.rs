//! Judging one body: from its bytes to the right to forward it, or the reply.

use super::Environment;
use crate::decision::has_ambiguous_argument;
use crate::enforce::{Outcome, Permit, enforce};
use crate::identity::Caller;
use crate::mcp::Refusal;
use crate::mcp::headers::Head;
use crate::mcp::message::{Body, Call, Message, parse_body};
use crate::policy::compiled::{Batch, Config};
use crate::rate::limiter::{Limiter, Reservation};
use crate::reason::Reason;
use crate::record::Record;
use crate::reply::{Context, Reply, batch_refused_object, denial_object};
use crate::time::UnixMillis;

/// Counts that are given back if the server answers a call with an error, by the call's id.
pub(super) type Refunds = Vec<(String, Vec<Reservation>)>;

/// What the judgement of a body comes to.
pub(super) struct Verdict {
    pub(super) record: Option<Record>,
    pub(super) result: Result<Refunds, Reply>,
}

/// Judging one body.
pub(super) struct Judgement<'j, E: Environment> {
    config: &'j Config,
    head: &'j Head,
    caller: Caller,
    limiter: Limiter<'j, E::Store>,
    now: UnixMillis,
}

impl<'j, E: Environment> Judgement<'j, E> {
    pub(super) fn new(config: &'j Config, head: &'j Head, env: &'j E, now: UnixMillis) -> Self {
        Judgement {
            config,
            head,
            caller: Caller::of(head, config.sessions),
            limiter: Limiter::new(env.store(), config.counters.shards),
            now,
        }
    }

    pub(super) fn of_body(&self, bytes: &[u8]) -> Result<Verdict, Refusal> {
        let value = parse_body(bytes)?;
        match Body::read(&value)? {
            Body::Single(message) => {
                self.head.agrees_with(&message)?;
                match message {
                    Message::Call(call) => self.of_call(&call),
                    Message::Other(_) | Message::Response => Ok(self.passes(&message)),
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

    fn passes(&self, message: &Message<'_>) -> Verdict {
        let method = message.method().unwrap_or("response");
        Verdict {
            record: Some(Record::passed(method, &self.config.policy.name)),
            result: Ok(Vec::new()),
        }
    }

    fn of_call(&self, call: &Call<'_>) -> Result<Verdict, Refusal> {
        self.exact_arguments(call)?;
        let outcome = enforce(self.config, call, &self.caller, &self.limiter, self.now);
        let record = Some(self.record(call, &outcome));
        let result = match outcome {
            Outcome::Permitted(permit, _) => Ok(refunds(call, permit)),
            Outcome::Denied(denial) => Err(Reply::denial(call, &denial, &self.context())),
        };
        Ok(Verdict { record, result })
    }

    /// Every element is decided; one denial refuses them all.
    fn of_batch(&self, messages: &[Message<'_>]) -> Result<Verdict, Refusal> {
        let calls = || {
            messages.iter().filter_map(|message| match message {
                Message::Call(call) => Some(call),
                Message::Other(_) | Message::Response => None,
            })
        };
        for call in calls() {
            self.exact_arguments(call)?;
        }
        let mut permits = Vec::new();
        let mut errors = Vec::new();
        let mut denied = None;
        for message in messages {
            let Message::Call(call) = message else {
                errors.extend(message.id().map(batch_refused_object));
                continue;
            };
            let outcome = enforce(self.config, call, &self.caller, &self.limiter, self.now);
            let record = self.record(call, &outcome);
            match outcome {
                Outcome::Permitted(permit, _) => {
                    permits.push((call, permit));
                    errors.push(batch_refused_object(call.id));
                }
                Outcome::Denied(denial) => {
                    errors.push(denial_object(call, &denial, &self.context()));
                    denied = denied.or(Some(record));
                }
            }
        }
        if denied.is_none() {
            let refunds = permits.into_iter().flat_map(|(call, permit)| refunds(call, permit));
            let decision = if calls().next().is_some() { "allow" } else { "pass" };
            let record = Record { decision, ..Record::passed("batch", &self.config.policy.name) };
            return Ok(Verdict { record: Some(record), result: Ok(refunds.collect()) });
        }
        for (_, permit) in permits {
            permit.revoke(&self.limiter);
        }
        Ok(Verdict { record: denied, result: Err(Reply::batch(&errors, &self.context())) })
    }

    fn exact_arguments(&self, call: &Call<'_>) -> Result<(), Refusal> {
        if has_ambiguous_argument(&self.config.policy, call) {
            let refusal = Refusal::new(Reason::AmbiguousKey, "in arguments");
            return Err(refusal.answering(Some(call.id)));
        }
        Ok(())
    }

    fn record(&self, call: &Call<'_>, outcome: &Outcome<'_>) -> Record {
        let (decision, denial) = match outcome {
            Outcome::Permitted(_, None) => ("allow", None),
            Outcome::Permitted(_, Some(denial)) => ("would_deny", Some(denial)),
            Outcome::Denied(denial) => ("deny", Some(denial)),
        };
        Record::of_call(decision, call.tool, denial, &self.config.policy.name, &self.caller)
    }

    fn context(&self) -> Context<'_> {
        Context { policy: &self.config.policy.name, head: self.head }
    }
}

fn refunds(call: &Call<'_>, permit: Permit) -> Refunds {
    let counts = permit.into_refundable();
    if counts.is_empty() { Vec::new() } else { vec![(call.id.to_owned(), counts)] }
}
