//! Asking somebody whether a call may run.

use super::approving::{Carries, carried_on};
use super::judged::{Judged, Matter};
use super::judgement::Judgement;
use super::noted::Asker;
use super::waiting::Waiting;
use crate::approval::approver::{Inquiry, Question, Task};
use crate::approval::call::{BoundCall, Site};
use crate::approval::state::CarriedStep;
use crate::approval::user;
use crate::bounds::MAX_LEGS;
use crate::denial::{Denial, Detail};
use crate::json::canonical;
use crate::matcher::Truth;
use crate::matcher::terms::{Decode, Terms};
use crate::policy::approvals::{ApprovalWay, Need};
use crate::policy::compiled::Policy;
use crate::policy::entry::{Entry, Scope};
use crate::reason::Reason;
use crate::reply::{Addressee, Reply};
use crate::time::UnixMillis;
use crate::world::World;

impl<W: World> Judgement<'_, W> {
    /// Asks the approver, or else the user. The same call joins what somebody is thinking about already.
    pub(super) fn by_asking(
        &self,
        mut matter: Matter<'_>,
        policy: &Policy,
        call: &BoundCall,
        task: Option<(Task, u8)>,
    ) -> Judged {
        let (store, now, need) = (self.world.store(), self.now.wall, matter.pending.need());
        let noted = self.noted(call);
        if noted.is_declined(store, now) {
            return self.refused(matter, Reason::ApprovalDeclined, Detail::None);
        }
        if need.by.have(ApprovalWay::Approver) && self.config.approvals.approver.is_some() {
            let task = task.or_else(|| Some((noted.task(store, now)?, 0)));
            return self.asked_elsewhere(matter, policy, call, task);
        }
        let here = match self.config.approvals.legacy && !self.head.is_modern() {
            false => self.asked_here(&mut matter, policy, call, need),
            true => match noted.take_grant(store, now) {
                Some(granted) => return self.granted(matter, call, granted),
                None => self.elicited(&mut matter, policy, call, need),
            },
        };
        match here {
            Ok(reply) => {
                let _ = matter.pending.abandon(&self.limiter);
                Judged::Answer(reply, vec![matter.denied])
            }
            Err(NotAsked::TooOften(denial)) => self.refused(matter, denial.reason, denial.detail),
            Err(NotAsked::Missing(missing)) => {
                self.required(matter, Some((policy, call)), Some(missing))
            }
        }
    }

    /// Asks the user, through the client; or says what it lacks for that.
    fn asked_here(
        &self,
        matter: &mut Matter<'_>,
        policy: &Policy,
        call: &BoundCall,
        need: Need,
    ) -> Result<Reply, NotAsked> {
        let missing = NotAsked::Missing;
        let keys = self.config.approvals.keys.as_ref().ok_or(missing("secret"))?;
        // Clients of other revisions take such a result for the tool's.
        if !self.head.is_modern() || matter.request.version.is_none() {
            return Err(missing("protocolVersion"));
        }
        // Nothing else can be answered with a question (MCP 2026-07-28, multi-round-trip requests).
        if matter.request.id.is_none() || !user::METHODS.contains(&matter.request.method) {
            return Err(missing("method"));
        }
        if !user::can_ask(matter.request) {
            return Err(missing("elicitation"));
        }
        self.may_ask()?;
        let message = self.question(matter, policy, call);
        let carried = self.carried(call.digest, need, 0).ok_or(missing("random"))?;
        let sealed = carried.seal_as(keys, CarriedStep::Question).ok_or(missing("secret"))?;
        let to = Addressee::of(matter.request, self.head);
        matter.denied.decision = "ask";
        Ok(Reply::input_required(&to, Some(&message), &sealed))
    }

    /// Counts one question to the user.
    pub(super) fn may_ask(&self) -> Result<(), NotAsked> {
        let denial = self.asker().and_then(|asker| asker.count(&self.limiter, self.now));
        denial.map_or(Ok(()), |denial| Err(NotAsked::TooOften(Box::new(denial))))
    }

    /// What the user reads.
    pub(super) fn question(
        &self,
        matter: &Matter<'_>,
        policy: &Policy,
        call: &BoundCall,
    ) -> String {
        let denial = matter.pending.denial();
        let entry = asking_entry(policy, denial);
        let shown = entry.and_then(|entry| entry.shown.as_ref());
        let mut first = Vec::new();
        for path in shown.iter().flat_map(|shown| &shown.show) {
            let called = matter.request.call.as_ref();
            let terms = Terms { decode: Decode::Never, work: &self.work, now: self.now.wall };
            // Looks at all that it leads to: what is false is no reason to stop.
            let _ = path.visit(called.and_then(|call| call.arguments), terms, &mut |value| {
                let text = value.map_or("nothing".to_owned(), |value| canonical(value).text);
                first.push((path.shared_text(), text));
                Truth::False
            });
        }
        let about = user::About {
            reason: reason(policy, denial),
            policy: &policy.name,
            kind: denial.kind.word(),
            name: matter.name(),
            first: &first,
        };
        user::message(&about, call)
    }

    /// Asks the approver; meanwhile the call is held.
    fn asked_elsewhere(
        &self,
        matter: Matter<'_>,
        policy: &Policy,
        call: &BoundCall,
        task: Option<(Task, u8)>,
    ) -> Judged {
        let Some(approver) = &self.config.approvals.approver else {
            return self.required(matter, Some((policy, call)), None);
        };
        let (task, leg) = task.map_or((None, 0), |(task, leg)| (Some(task), leg));
        let to = Addressee::of(matter.request, self.head);
        let denial = matter.pending.denial();
        let question = Question {
            caller: self.caller.label().to_owned(),
            verified: self.caller.is_proven(),
            names: self
                .caller
                .names(self.config)
                .map(|(key, name)| (key.to_owned(), name))
                .collect(),
            method: matter.request.method.to_owned(),
            kind: denial.kind.word(),
            name: matter.name().to_owned(),
            server: self.site.map(Site::text).unwrap_or_default(),
            arguments: approver.sends_arguments.then(|| call.arguments.clone()),
            arguments_digest: call.arguments_digest(),
            policy: policy.name.to_string(),
            policy_digest: policy.named_digest.to_string(),
            rule: denial.pointer(policy).to_owned(),
            reason: reason(policy, denial).map(str::to_owned),
            call: call.digest,
            request_id: to.request_id().map(str::to_owned),
            denial: None,
        };
        let (inquiry, ask) = Inquiry::begin(approver, question, task);
        let body = carried_on(matter.body, matter.request, &Carries::Nothing);
        let can_come_again = self.head.is_modern() && matter.request.version.is_some();
        let need = matter.pending.need();
        let leg = leg.saturating_add(1);
        let state = self.carried(call.digest, need, leg);
        let switch = self.switch(matter.request);
        let waiting = Waiting {
            switch,
            began: self.now.wall,
            until: UnixMillis(
                self.now.wall.0.saturating_add(self.config.approvals.wait_millis.into()),
            ),
            allowed: self.allowed(&matter),
            to,
            chain: self.chain(call.digest, need),
            state: state.filter(|_| can_come_again && leg < MAX_LEGS),
            inquiry,
            asker: self.asker(),
            noted: self.noted(call),
            expires: self.expiry(need),
            pending: matter.pending,
            denied: matter.denied,
            lists: matter.lists,
            proven: self.caller.is_proven(),
        };
        Judged::Wait(Box::new(waiting), ask, body)
    }

    /// As whom the caller is counted, where it is bounded how often he asks.
    fn asker(&self) -> Option<Asker> {
        let limit = self.config.approvals.asks?;
        Some(Asker { limit, account: self.caller.counted_as(Scope::Grant) })
    }
}

/// The entry whose rule asks first.
fn asking_entry<'p>(policy: &'p Policy, denial: &Denial) -> Option<&'p Entry> {
    let rule = policy.rules.get(denial.rule?)?.entry?;
    policy.entries().find(|entry| entry.rule == rule)
}

/// What a person who is asked reads: the author's text for that, or his reason.
fn reason<'p>(policy: &'p Policy, denial: &Denial) -> Option<&'p str> {
    let shown = asking_entry(policy, denial).and_then(|entry| entry.shown.as_ref());
    shown.and_then(|shown| shown.text.as_deref()).or_else(|| denial.text(policy))
}

/// Why the user is not asked.
pub(super) enum NotAsked {
    /// The client lacks this.
    Missing(&'static str),
    /// The caller has asked too often.
    TooOften(Box<Denial>),
}
