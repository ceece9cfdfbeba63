//! A call that needs approval: whether it brings one, who is asked else, and what the client hears meanwhile.

use super::chain::Chain;
use super::going::Going;
use super::judged::{Judged, Matter};
use super::judgement::Judgement;
use super::noted::{Noted, holder};
use super::refunds::ids;
use crate::approval::approver::Task;
use crate::approval::call::{BoundCall, CallDigest, RESPONSES, STATE, Site};
use crate::approval::state::{CarriedState, CarriedStep, PREFIX, drawn};
use crate::approval::token::{Given, Held};
use crate::approval::user;
use crate::denial::{ApprovalDetail, Denial, Detail};
use crate::digest::named_digest;
use crate::json::Value;
use crate::mcp::carried;
use crate::mcp::message::Request;
use crate::once::Use;
use crate::policy::approvals::{ApprovalWay, Need, SingleUse};
use crate::policy::compiled::Policy;
use crate::rate::table::CallerId;
use crate::reason::Reason;
use crate::record::Record;
use crate::reply::{Addressee, Reply};
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
pub(super) enum Carries {
    /// Nothing: it has asked nothing.
    Nothing,
    /// Its answers, and its own state if it gave one.
    Chain(Option<String>),
}

impl<W: World> Judgement<'_, W> {
    /// Approves a call, asks somebody, or says what is missing. A call can bring an approval; else whoever may give one is asked, in the
    /// order of [`ApprovalWay::WORDS`].
    pub(super) fn of_pending(&self, matter: Matter<'_>) -> Judged {
        let Some(policy) = self.policy else { return self.required(matter, None, None) };
        let nowhere = Site::default();
        let site = self.site.unwrap_or(&nowhere);
        let Some(call) = BoundCall::of(matter.request, policy, site) else {
            return self.refused(matter, Reason::ValueUndecidable, Detail::Inexact);
        };
        match self.brought(&matter, &call) {
            Brought::Nothing => self.by_token(matter, policy, &call, None),
            Brought::Task(task, leg) => self.by_token(matter, policy, &call, Some((task, leg))),
            Brought::Foreign => self.refused(matter, Reason::ApprovalInvalid, Detail::None),
            Brought::No => {
                self.noted(&call).decline(self.world.store(), self.now.wall);
                let by = vec![ApprovalWay::User.word()];
                let approval = ApprovalDetail { by, ..ApprovalDetail::default() };
                self.refused(matter, Reason::ApprovalDeclined, Detail::Approval(approval.into()))
            }
            Brought::Yes(approved) => self.by_user(matter, &call, approved),
        }
    }

    /// Approves a call by a token, where one may; and asks somebody where there is none, or none that is good.
    fn by_token(
        &self,
        matter: Matter<'_>,
        policy: &Policy,
        call: &BoundCall,
        task: Option<(Task, u8)>,
    ) -> Judged {
        let given = match matter.pending.need().by.have(ApprovalWay::Token) {
            true => self.given(&matter, policy, call),
            false => None,
        };
        let no_good = match given {
            None => None,
            Some(Given::Mismatch(found)) => Some((Reason::ApprovalInvalid, Some(found))),
            Some(Given::Approves(used, jti)) => {
                let (way, carries) = (ApprovalWay::Token, Carries::Nothing);
                let approved = Approved { way, id: jti, used: Some(used), carries };
                match self.claimed(&approved) {
                    Ok(()) => return self.forwarded(matter, call, approved),
                    // Somebody else may say yes, once more.
                    Err(reason) => Some((reason, None)),
                }
            }
        };
        let asks = [ApprovalWay::Approver, ApprovalWay::User];
        if asks.into_iter().any(|way| matter.pending.need().by.have(way)) {
            return self.by_asking(matter, policy, call, task);
        }
        match no_good {
            Some((reason, mismatch)) => {
                let approval = ApprovalDetail { mismatch, ..ApprovalDetail::default() };
                self.refused(matter, reason, Detail::Approval(approval.into()))
            }
            None => self.required(matter, Some((policy, call)), None),
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
        let Some(state) = opened else {
            // Another Envoy may have sealed it.
            return match self.config.approvals.single_use {
                SingleUse::Any => Brought::Foreign,
                SingleUse::Envoy => Brought::Nothing,
            };
        };
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
            CarriedStep::Question | CarriedStep::Task(_) | CarriedStep::Elicited(_) => {
                Brought::Nothing
            }
        }
    }

    /// The body of a call that needs no approval (any more), without what its client still carries for us.
    pub(super) fn released(&self, request: &Request<'_>, body: &[u8]) -> Option<Vec<u8>> {
        let params = request.params.and_then(Value::as_object)?;
        let text = params.get(STATE)?.as_str().filter(|text| text.starts_with(PREFIX))?;
        let keys = self.config.approvals.keys.as_ref()?;
        let carries = match CarriedState::open(keys, self.holder(), text)?.step {
            CarriedStep::Chain(inner) => Carries::Chain(inner),
            CarriedStep::Question | CarriedStep::Task(_) | CarriedStep::Elicited(_) => {
                Carries::Nothing
            }
        };
        carried_on(body, request, &carries)
    }

    /// What a verified token gives.
    fn given(&self, matter: &Matter<'_>, policy: &Policy, call: &BoundCall) -> Option<Given> {
        let source = &self.config.approvals.tokens;
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

    /// Lets a call run that the user approved a moment ago.
    pub(super) fn granted(&self, matter: Matter<'_>, call: &BoundCall, used: Use) -> Judged {
        let (way, id, carries) = (ApprovalWay::User, named_digest(&used.id.0), Carries::Nothing);
        self.by_user(matter, call, Approved { way, id, used: Some(used), carries })
    }

    /// Lets a call run by the user's yes, if that can still be used.
    fn by_user(&self, matter: Matter<'_>, call: &BoundCall, approved: Approved) -> Judged {
        match self.claimed(&approved) {
            Ok(()) => self.forwarded(matter, call, approved),
            Err(reason) => self.refused(matter, reason, Detail::None),
        }
    }

    /// Uses an approval once more.
    fn claimed(&self, approved: &Approved) -> Result<(), Reason> {
        let Some(used) = approved.used else { return Ok(()) };
        ids(self.config, self.world).claim(used, self.now).map_err(Reason::from)
    }

    /// Lets a call run whose approval is used.
    fn forwarded(&self, matter: Matter<'_>, call: &BoundCall, approved: Approved) -> Judged {
        let need = matter.pending.need();
        let Approved { way, id, used, carries } = approved;
        let body = carried_on(matter.body, matter.request, &carries);
        let record = Record { approval: format!("{}:{id}", way.word()), ..self.allowed(&matter) };
        let chain = self.chain(call.digest, need);
        let calls = vec![self.going(matter.request, Some(matter.pending.settle()), false)];
        let (lists, proven) = (matter.lists, self.caller.is_proven());
        let (used, records) = (used.map(|used| used.id), vec![record]);
        let going = Going { calls, records, lists, proven, used, chain, body, ..Going::default() };
        Judged::Forward(Box::new(going))
    }

    /// What the server's own state will be sealed with.
    pub(super) fn chain(&self, call: CallDigest, need: Need) -> Option<Box<Chain>> {
        self.config.approvals.keys.as_ref()?;
        self.carried(call, need, 0)
    }

    /// What a state about a call is sealed with. Which step it is, whoever seals it says.
    pub(super) fn carried(&self, call: CallDigest, need: Need, leg: u8) -> Option<Box<Chain>> {
        let random = self.world.random()?;
        let (id, expires, step) = (drawn(&random), self.expiry(need), CarriedStep::Question);
        let state = CarriedState { call, expires, id, leg, step };
        Some(Box::new(Chain { caller: self.holder(), state, random }))
    }

    /// Until when an answer to a question that is asked now holds, in seconds since the epoch.
    pub(super) fn expiry(&self, need: Need) -> u64 {
        self.now.wall.seconds().saturating_add(need.expires.into())
    }

    /// Says that approval is required, and of whom.
    pub(super) fn required(
        &self,
        matter: Matter<'_>,
        call: Option<(&Policy, &BoundCall)>,
        missing: Option<&'static str>,
    ) -> Judged {
        let need = matter.pending.need();
        let approval = ApprovalDetail {
            by: need.by.iter().map(ApprovalWay::word).collect(),
            arguments_digest: call.map(|(_, call)| call.arguments_digest()),
            policy_digest: call.map(|(policy, _)| policy.named_digest.to_string()),
            missing,
            ..ApprovalDetail::default()
        };
        self.refused(matter, Reason::ApprovalRequired, Detail::Approval(approval.into()))
    }

    pub(super) fn refused(&self, matter: Matter<'_>, reason: Reason, detail: Detail) -> Judged {
        let to = Addressee::of(matter.request, self.head);
        let denial = matter.pending.abandon(&self.limiter);
        let denial = Denial { reason, detail, ..denial };
        let record = Record { reason: reason.label(), ..matter.denied };
        Judged::Answer(Reply::denial(&to, &denial, &self.context()), vec![record])
    }

    /// The record of a call that is approved.
    pub(super) fn allowed(&self, matter: &Matter<'_>) -> Record {
        let (would_deny, fills) = (matter.pending.would_deny(), matter.pending.fills());
        let candidate = matter.denied.candidate;
        Record { candidate, ..self.record_of_permitted(matter.request, would_deny, fills) }
    }

    /// Where it is noted what became of the caller's questions about a call.
    pub(super) fn noted(&self, call: &BoundCall) -> Noted {
        Noted::of(self.holder(), call.digest, self.config.approvals.cooldown)
    }

    /// To whom states are sealed.
    pub(super) fn holder(&self) -> CallerId {
        holder(self.config, &self.caller, self.world)
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
pub(super) fn carried_on(body: &[u8], request: &Request<'_>, carries: &Carries) -> Option<Vec<u8>> {
    let changed = match carries {
        Carries::Nothing => carried::without(body, request, &[RESPONSES, STATE]),
        Carries::Chain(None) => carried::without(body, request, &[STATE]),
        Carries::Chain(Some(inner)) => carried::with(body, request, STATE, inner)
            .unwrap_or_else(|| carried::without(body, request, &[RESPONSES, STATE])),
    };
    (changed != body).then_some(changed)
}
