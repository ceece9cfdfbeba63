//! Asking the user at clients of MCP 2025-06-18 and 2025-11-25: the call is answered with a stream that holds our question, and ends. The
//! client answers by a POST of its own, and meanwhile resumes the stream, where it learns what became of it. The call itself is gone by
//! then; the next equal one runs.

use super::asking::NotAsked;
use super::judged::{Judged, Matter};
use super::judgement::Judgement;
use super::noted::{Noted, holder};
use super::{Exchange, Flow, Step};
use crate::approval::call::BoundCall;
use crate::approval::state::{CarriedState, CarriedStep};
use crate::approval::user;
use crate::denial::{ApprovalDetail, Denial, Detail};
use crate::identity::Caller;
use crate::mcp::Refusal;
use crate::mcp::headers::{Framing, Header};
use crate::mcp::message::ClientAnswer;
use crate::notes::{NoteId, SharedNotes};
use crate::policy::approvals::{ApprovalWay, Need};
use crate::policy::compiled::{Config, Policy};
use crate::reason::Reason;
use crate::record::Record;
use crate::reply::{
    Addressee, Reply, denial_object, elicitation_object, framed_body, reason_object,
};
use crate::world::World;

/// What ids of ours begin with: those of events, and of requests to the client.
const PREFIX: &str = "mcp-policy.";

/// When a client shall resume a stream, in milliseconds.
const RETRY_MILLIS: u32 = 2000;

/// SDKs that speak at most this revision resume no stream (Python SDK 1.22, TypeScript SDK 1.20), and would wait for its end in vain. They
/// get the question and the answer to the call in one.
const UNRESUMED: &[u8] = b"2025-06-18";

const YES: &str = "yes";
const NO: &str = "no";

impl<W: World> Judgement<'_, W> {
    /// Asks the user on a stream that ends.
    pub(super) fn elicited(
        &self,
        matter: &mut Matter<'_>,
        policy: &Policy,
        call: &BoundCall,
        need: Need,
    ) -> Result<Reply, NotAsked> {
        let missing = NotAsked::Missing;
        let keys = self.config.approvals.keys.as_ref().ok_or(missing("secret"))?;
        let id = matter.request.id.ok_or(missing("method"))?;
        self.may_ask()?;
        let message = self.question(matter, policy, call);
        let carried = self.carried(call.digest, need, 0).ok_or(missing("random"))?;
        let step = CarriedStep::Elicited(id.to_owned());
        let sealed = carried.seal_as(keys, step).ok_or(missing("secret"))?;
        let id = format!("{PREFIX}{sealed}");
        matter.denied.decision = "ask";
        let question = elicitation_object(&id, &message);
        if self.head.version() == Some(UNRESUMED) {
            let to = Addressee::of(matter.request, self.head);
            let pending = self.pending_object(matter, &to).ok_or(missing("method"))?;
            return Ok(Reply::events(&format!("data: {question}\n\ndata: {pending}\n\n")));
        }
        Ok(Reply::events(&format!("id: {id}\nretry: {RETRY_MILLIS}\ndata: {question}\n\n")))
    }

    /// The answer to a call about which somebody is asked.
    fn pending_object(&self, matter: &Matter<'_>, to: &Addressee) -> Option<String> {
        let approval = ApprovalDetail {
            by: vec![ApprovalWay::User.word()],
            retry_after: Some(RETRY_MILLIS.into()),
            ..ApprovalDetail::default()
        };
        let (reason, detail) = (Reason::ApprovalPending, Detail::Approval(approval.into()));
        let denial = Denial { reason, detail, ..matter.pending.denial().clone() };
        denial_object(to, &denial, &self.context())
    }

    /// Takes a client's answer to a question of ours. It reaches no server, whatever it says; `None` where it answers somebody else.
    pub(super) fn of_elicitation(&self, answer: &ClientAnswer<'_>) -> Option<Judged> {
        let sealed = answer.id.filter(|_| self.config.approvals.legacy)?.strip_prefix(PREFIX)?;
        let (store, now) = (self.world.store(), self.now.wall);
        let asked = opened(self.config, &self.caller, self.world, sealed)
            .filter(|(state, _)| state.expires > now.seconds() && self.rejected().is_none());
        if let Some((state, _)) = asked {
            let yes = answer.result.is_some_and(user::accepts);
            let about = NoteId(state.id.0);
            let notes = SharedNotes::new(store);
            // The first answer stands.
            if notes.read(about, now).is_none() {
                notes.put(about, if yes { YES } else { NO }, state.expires, now);
                let cooldown = self.config.approvals.cooldown;
                let noted = Noted::of(self.holder(), state.call, cooldown);
                match yes {
                    true => noted.grant(store, state.id, state.expires, now),
                    false => noted.decline(store, now),
                }
            }
        }
        Some(Judged::Answer(Reply::nothing(), vec![self.policy_record("response", "pass")]))
    }
}

impl Exchange {
    /// Answers a client that resumes a stream of ours; `None` where the stream is the server's.
    pub(super) fn resumed<W: World>(
        &self,
        world: &W,
        headers: &[Header<'_>],
        caller: &Caller,
        step: &mut Step,
    ) -> Option<Result<Flow, Refusal>> {
        let last = headers.iter().find(|(name, _)| *name == b"last-event-id");
        let last = last.filter(|_| self.config.approvals.legacy)?.1;
        let id = std::str::from_utf8(last).ok()?;
        let sealed = id.strip_prefix(PREFIX)?;
        step.records.push(Record::passed("", self.policy));
        let now = world.now();
        let asked = opened(&self.config, caller, world, sealed).zip(now);
        let Some(((state, request), now)) = asked else {
            // It is ours by its name, so it is not the server's.
            return Some(Err(Refusal::new(Reason::NotMcp, "")));
        };
        let said = SharedNotes::new(world.store()).read(NoteId(state.id.0), now);
        let reason = match said.as_deref() {
            Some(YES) => Reason::ApprovalGiven,
            Some(_) => Reason::ApprovalDeclined,
            None if state.expires > now.seconds() => {
                let text = format!("id: {id}\nretry: {RETRY_MILLIS}\ndata:\n\n");
                return Some(Ok(Flow::Reply(Reply::events(&text))));
            }
            None => Reason::ApprovalInvalid,
        };
        let error = framed_body(Framing::EventStream, &reason_object(&request, reason));
        Some(Ok(Flow::Reply(Reply::events(&String::from_utf8_lossy(&error)))))
    }
}

/// What a question of ours was about, and the id of the request for which it was asked.
fn opened<W: World>(
    config: &Config,
    caller: &Caller,
    world: &W,
    sealed: &str,
) -> Option<(CarriedState, String)> {
    let holder = holder(config, caller, world);
    let state = CarriedState::open(config.approvals.keys.as_ref()?, holder, sealed)?;
    let CarriedStep::Elicited(request) = &state.step else { return None };
    let request = request.clone();
    Some((state, request))
}
