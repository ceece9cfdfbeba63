//! A call that needs approval: whether it brings one, who is asked else, and what the client hears meanwhile.

use super::chain::Chain;
use super::expected::Expected;
use super::judged::{Judged, Matter, Passage};
use super::judgement::Judgement;
use super::refunds::ids;
use super::waiting::Waiting;
use crate::approval::approver::{Inquiry, Question, Task};
use crate::approval::call::{BoundCall, CallDigest, RESPONSES, STATE, named_digest};
use crate::approval::state::{CarriedState, CarriedStep, PREFIX, drawn};
use crate::approval::token::{Given, Held};
use crate::approval::user;
use crate::bounds::MAX_LEGS;
use crate::denial::{ApprovalDetail, Denial, Detail};
use crate::json::Value;
use crate::mcp::carried;
use crate::mcp::message::Request;
use crate::once::{Unusable, Use};
use crate::policy::approvals::{ApprovalWay, Need};
use crate::policy::compiled::Policy;
use crate::policy::entry::Scope;
use crate::rate::table::CallerId;
use crate::reason::Reason;
use crate::record::Record;
use crate::reply::{Addressee, Reply};
use crate::time::UnixMillis;
use crate::world::World;

/// An approval that has come.
struct Approved {
    way: ApprovalWay,
    /// Its id, as it is recorded.
    id: String,
    /// By what it is used, where it can be used so many times.
    used: Option<Use>,
    /// What the server gets of what the client carries.
    carries: Carries,
}

/// What the server gets of what the client carries.
enum Carries {
    /// Nothing: it has asked nothing.
    Nothing,
    /// Its answers, and its own state if it gave one.
    Chain(Option<String>),
}

impl<'j, W: World> Judgement<'j, W> {
    /// Approves a call, asks somebody, or says what is missing. A call can bring an approval; else whoever may give one is asked, in the
    /// order of [`ApprovalWay::WORDS`].
    pub(super) fn of_pending(&self, mut matter: Matter<'_>) -> Judged {
        let Some(policy) = self.policy else { return self.required(matter, None, None) };
        let Some(call) = BoundCall::of(matter.request, policy, self.site) else {
            return self.refused(matter, Reason::ValueUndecidable, Detail::Inexact);
        };
        let need = matter.pending.need();
        let task = match self.brought(&matter, &call) {
            Brought::Nothing => None,
            Brought::Foreign => {
                return self.refused(matter, Reason::ApprovalInvalid, Detail::None);
            }
            Brought::Task(task, leg) => Some((task, leg)),
            Brought::No => return self.refused(matter, Reason::ApprovalDeclined, Detail::None),
            Brought::Yes(approved) => return self.approved(matter, need, &call, approved),
        };
        let mut mismatch = None;
        if need.by.have(ApprovalWay::Token) {
            match self.given(&matter, policy, &call) {
                None => {}
                Some(Given::Approves(used, jti)) => {
                    let (way, carries) = (ApprovalWay::Token, Carries::Nothing);
                    let approved = Approved { way, id: jti, used: Some(used), carries };
                    return self.approved(matter, need, &call, approved);
                }
                Some(Given::Mismatch(found)) => mismatch = Some(found),
            }
        }
        if need.by.have(ApprovalWay::Approver) && self.config.approvals.approver.is_some() {
            let task = task.map_or((None, 0), |(task, leg)| (Some(task), leg));
            return self.asked_elsewhere(matter, policy, &call, task);
        }
        if need.by.have(ApprovalWay::User) {
            match self.asked_here(&mut matter, policy, &call, need) {
                Ok(reply) => {
                    let _ = matter.pending.abandon(&self.limiter);
                    return Judged::Answer(reply, matter.denied);
                }
                Err(missing) => return self.required(matter, Some((policy, &call)), Some(missing)),
            }
        }
        match mismatch {
            Some(mismatch) => {
                let approval =
                    ApprovalDetail { mismatch: Some(mismatch), ..ApprovalDetail::default() };
                let detail = Detail::Approval(approval.into());
                self.refused(matter, Reason::ApprovalInvalid, detail)
            }
            None => self.required(matter, Some((policy, &call)), None),
        }
    }

    /// What the client carries in `requestState`.
    fn brought(&self, matter: &Matter<'_>, call: &BoundCall) -> Brought {
        let params = matter.request.params.and_then(Value::as_object);
        let text = params.and_then(|params| params.get(STATE)?.as_str());
        let Some(text) = text.filter(|text| text.starts_with(PREFIX)) else {
            return Brought::Nothing;
        };
        let keys = self.config.approvals.keys.as_ref();
        let opened = keys.and_then(|keys| CarriedState::open(keys, self.holder(), text));
        let Some(state) = opened else { return Brought::Foreign };
        let now = self.now.wall.seconds();
        let need = matter.pending.need();
        if state.call != call.digest || state.expires <= now {
            // What was asked before was about something else.
            return Brought::Nothing;
        }
        let used = Use { id: state.id, most: 1, expires: state.expires };
        let id = named_digest(&state.id.0);
        match state.step {
            CarriedStep::Question if need.by.have(ApprovalWay::User) => {
                if !user::says_yes(matter.request) {
                    return Brought::No;
                }
                let (way, carries) = (ApprovalWay::User, Carries::Nothing);
                let used = need.once.then_some(used);
                Brought::Yes(Approved { way, id, used, carries })
            }
            CarriedStep::Chain(inner) => {
                let (way, carries) = (ApprovalWay::User, Carries::Chain(inner));
                Brought::Yes(Approved { way, id, used: Some(used), carries })
            }
            CarriedStep::Task(task) if need.by.have(ApprovalWay::Approver) => {
                match Task::read(&task) {
                    Some(task) => Brought::Task(task, state.leg),
                    None => Brought::Nothing,
                }
            }
            CarriedStep::Question | CarriedStep::Task(_) => Brought::Nothing,
        }
    }

    /// What a verified token gives.
    fn given(&self, matter: &Matter<'_>, policy: &Policy, call: &BoundCall) -> Option<Given> {
        let source = &self.config.approvals.token;
        let payload = self.world.claim(&source.payload, &[])?;
        let held = Held {
            source,
            policy,
            caller: self.caller.is_proven().then(|| self.caller.label()),
            request: matter.request,
            name: matter.name(),
            call,
            now: self.now.wall,
        };
        Some(held.against(&payload))
    }

    /// Lets the call run, if its approval can still be used.
    fn approved(
        &self,
        matter: Matter<'_>,
        need: Need,
        call: &BoundCall,
        approved: Approved,
    ) -> Judged {
        let Approved { way, id, used, carries } = approved;
        if let Some(used) = used {
            match ids(self.config, self.world).claim(used, self.now) {
                Ok(()) => {}
                Err(Unusable::Used) => {
                    return self.refused(matter, Reason::ApprovalUsed, Detail::None);
                }
                Err(Unusable::Unavailable) => {
                    return self.refused(matter, Reason::ApprovalsUnavailable, Detail::None);
                }
            }
        }
        let body = carried_on(matter.body, matter.request, &carries);
        let record = Record { approval: format!("{}:{id}", way.word()), ..self.allowed(&matter) };
        let permit = matter.pending.settle();
        let to = matter.request.id;
        let mut expected = Expected::of(to, permit, self.caller.is_proven(), matter.lists);
        expected.used = used.map(|used| used.id);
        expected.chain = self.chain(call.digest, need);
        Judged::Forward(Passage { expected, record, body })
    }

    /// What the server's own state will be sealed with.
    fn chain(&self, call: CallDigest, need: Need) -> Option<Box<Chain>> {
        self.config.approvals.keys.as_ref()?;
        let random = self.world.random()?;
        let expires = self.now.wall.seconds().saturating_add(need.expires.into());
        let state = CarriedState {
            call,
            expires,
            id: drawn(&random),
            leg: 0,
            step: CarriedStep::Chain(None),
        };
        Some(Box::new(Chain { caller: self.holder(), state, random }))
    }

    /// Asks the user, through the client; or says what it lacks for that.
    fn asked_here(
        &self,
        matter: &mut Matter<'_>,
        policy: &Policy,
        call: &BoundCall,
        need: Need,
    ) -> Result<Reply, &'static str> {
        let keys = self.config.approvals.keys.as_ref().ok_or("secret")?;
        // Clients of other revisions take such a result for the tool's.
        if !self.head.is_modern() || matter.request.version.is_none() {
            return Err("protocolVersion");
        }
        if !user::can_ask(matter.request) {
            return Err("elicitation");
        }
        let denial = matter.pending.denial();
        let reason = denial.text(policy);
        let kind = denial.kind.word();
        let message = user::message(reason, &policy.name, kind, matter.name(), call);
        let random = self.world.random().ok_or("random")?;
        let expires = self.now.wall.seconds().saturating_add(need.expires.into());
        let id = drawn(&random);
        let state =
            CarriedState { call: call.digest, expires, id, leg: 0, step: CarriedStep::Question };
        let sealed = state.seal(keys, self.holder(), &random).ok_or("secret")?;
        let to = Addressee::of(matter.request, self.head);
        matter.denied.decision = "ask";
        Ok(Reply::input_required(&to, Some(&message), &sealed))
    }

    /// Asks the approver; meanwhile the call is held.
    fn asked_elsewhere(
        &self,
        matter: Matter<'_>,
        policy: &Policy,
        call: &BoundCall,
        (task, leg): (Option<Task>, u8),
    ) -> Judged {
        let Some(approver) = &self.config.approvals.approver else {
            return self.required(matter, Some((policy, call)), None);
        };
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
            server: self.site.text(),
            arguments: approver.sends_arguments.then(|| call.arguments.clone()),
            arguments_digest: call.arguments_digest(),
            policy: policy.name.to_string(),
            policy_digest: named_digest(&policy.digest),
            rule: denial.pointer(policy).to_owned(),
            reason: denial.text(policy).map(str::to_owned),
            call: call.digest,
            request_id: to.request_id().map(str::to_owned),
            denial: None,
        };
        let (inquiry, ask) = Inquiry::begin(approver, question, task);
        let body = carried_on(matter.body, matter.request, &Carries::Nothing);
        let can_come_again = self.head.is_modern() && matter.request.version.is_some();
        let random = self.world.random();
        let need = matter.pending.need();
        let expires = self.now.wall.seconds().saturating_add(need.expires.into());
        let leg = leg.saturating_add(1);
        let state = random.map(|random| {
            let (id, step) = (drawn(&random), CarriedStep::Task(String::new()));
            let state = CarriedState { call: call.digest, expires, id, leg, step };
            Box::new(Chain { caller: self.holder(), state, random })
        });
        let waiting = Waiting {
            began: self.now.wall,
            until: UnixMillis(self.now.wall.0.saturating_add(approver.wait_millis.into())),
            allowed: self.allowed(&matter),
            to,
            chain: self.chain(call.digest, need),
            state: state.filter(|_| can_come_again && leg < MAX_LEGS),
            inquiry,
            pending: matter.pending,
            denied: matter.denied,
            lists: matter.lists,
            proven: self.caller.is_proven(),
        };
        Judged::Wait(Box::new(waiting), ask, body)
    }

    /// Says that approval is required, and of whom.
    fn required(
        &self,
        matter: Matter<'_>,
        call: Option<(&Policy, &BoundCall)>,
        missing: Option<&'static str>,
    ) -> Judged {
        let need = matter.pending.need();
        let approval = ApprovalDetail {
            by: need.by.iter().map(ApprovalWay::word).collect(),
            arguments_digest: call.map(|(_, call)| call.arguments_digest()),
            policy_digest: call.map(|(policy, _)| named_digest(&policy.digest)),
            missing,
            ..ApprovalDetail::default()
        };
        self.refused(matter, Reason::ApprovalRequired, Detail::Approval(approval.into()))
    }

    fn refused(&self, matter: Matter<'_>, reason: Reason, detail: Detail) -> Judged {
        let to = Addressee::of(matter.request, self.head);
        let denial = matter.pending.abandon(&self.limiter);
        let denial = Denial { reason, detail, ..denial };
        let record = Record { reason: reason.label(), ..matter.denied };
        Judged::Answer(Reply::denial(&to, &denial, &self.context()), record)
    }

    fn allowed(&self, matter: &Matter<'_>) -> Record {
        match matter.pending.would_deny() {
            None => self.record_of(matter.request, "allow", None),
            Some(denial) => self.record_of(matter.request, self.in_shadow(denial), Some(denial)),
        }
    }

    /// To whom states are sealed: the caller, in his session where sessions mean something.
    fn holder(&self) -> CallerId {
        self.caller.counted_as(Scope::Session).caller
    }
}

/// What a client brings.
enum Brought {
    /// Nothing that says anything of this call.
    Nothing,
    /// Something that looks like ours, and is not.
    Foreign,
    /// What an approver is thinking about, and how many rounds that took.
    Task(Task, u8),
    /// The user's no.
    No,
    /// A yes.
    Yes(Approved),
}

/// The body that the server gets. What a client carries for us, and what it answers to us, is not the server's.
fn carried_on(body: &[u8], request: &Request<'_>, carries: &Carries) -> Option<Vec<u8>> {
    let changed = match carries {
        Carries::Nothing => carried::without(body, request, &[RESPONSES, STATE]),
        Carries::Chain(None) => carried::without(body, request, &[STATE]),
        Carries::Chain(Some(inner)) => carried::with(body, request, STATE, inner)
            .unwrap_or_else(|| carried::without(body, request, &[RESPONSES, STATE])),
    };
    (changed != body).then_some(changed)
}
