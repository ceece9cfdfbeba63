//! A call that waits for an answer from outside. It is left by that answer, by a tick past its patience, or by the end of its
//! stream; each way consumes it, so that what was counted for it is kept or given back exactly once.

use super::chain::Chain;
use super::ending::Ending;
use super::expected::Lists;
use super::going::{Going, GoingCall};
use super::noted::{Asker, Noted};
use super::refunds::ids;
use crate::approval::approver::{Inquiry, Task};
use crate::approval::state::CarriedStep;
use crate::denial::{ApprovalDetail, Denial, Detail};
use crate::enforce::Pending;
use crate::once::Use;
use crate::policy::approvals::ApprovalWay;
use crate::rate::limiter::Limiter;
use crate::reason::Reason;
use crate::record::Record;
use crate::reply::{Addressee, Reply};
use crate::rls::SwitchedCall;
use crate::time::{Moment, UnixMillis};
use crate::world::World;

/// When a client shall call again while somebody is thinking, in milliseconds.
const RETRY_MILLIS: u64 = 10_000;

/// A call that waits.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) pending: Pending,
    pub(super) inquiry: Inquiry,
    /// When it has begun to wait, and until when it does.
    pub(super) began: UnixMillis,
    pub(super) until: UnixMillis,
    pub(super) to: Addressee,
    /// What of it may be switched off, where somebody looks.
    pub(super) switch: Option<SwitchedCall>,
    /// What goes on record, whichever way it goes.
    pub(super) allowed: Record,
    pub(super) denied: Record,
    pub(super) lists: Lists,
    /// Whether something verified the caller.
    pub(super) proven: bool,
    /// As whom the caller is counted, where it is bounded how often he asks.
    pub(super) asker: Option<Asker>,
    /// Where it is noted what becomes of the question.
    pub(super) noted: Noted,
    /// Until when an answer holds, in seconds since the epoch.
    pub(super) expires: u64,
    /// What the server's own state is sealed with.
    pub(super) chain: Option<Box<Chain>>,
    /// The state with which the client can come again; none where it cannot.
    pub(super) state: Option<Box<Chain>>,
}

/// How a wait ends.
pub(super) enum Left {
    Forwarded(Box<Going>),
    Answered(Reply, Box<Record>),
}

impl Waiting {
    /// Whether it has waited long enough. A clock that fails or has gone back tells nothing, so nothing is waited for by it.
    pub(super) fn is_overdue(&self, now: Option<UnixMillis>) -> bool {
        now.is_none_or(|now| now >= self.until || now < self.began)
    }

    /// Somebody approved the call.
    pub(super) fn approved<W: World>(
        self,
        by: Option<(String, Use)>,
        ending: &Ending<'_, W>,
    ) -> Left {
        self.noted.end(ending.world.store());
        if let Some((_, used)) = &by {
            let now = ending.world.moment().unwrap_or(Moment::from(self.began));
            if let Err(unusable) = ids(ending.config, ending.world).claim(*used, now) {
                return self.denied(unusable.into(), ending);
            }
        }
        let used = by.as_ref().map(|(_, used)| used.id);
        let id = by.map(|(id, _)| id).unwrap_or_default();
        let approval = format!("{}:{id}", ApprovalWay::Approver.word());
        let records = vec![Record { approval, ..self.allowed }];
        let (id, permit) = (self.to.id().map(str::to_owned), Some(self.pending.settle()));
        let calls = vec![GoingCall { id, to: Some(self.to), switch: self.switch, permit }];
        let (lists, proven, chain) = (self.lists, self.proven, self.chain);
        let going = Going { calls, records, lists, proven, used, chain, ..Going::default() };
        Left::Forwarded(Box::new(going))
    }

    /// Nobody has answered yet: the client comes again, by itself where it can.
    pub(super) fn given_up<W: World>(self, ending: &Ending<'_, W>) -> Left {
        let Some(task) = self.inquiry.task().cloned() else {
            return self.denied(Reason::ApproverUnavailable, ending);
        };
        let keys = ending.config.approvals.keys.as_ref();
        let sealed =
            self.state.as_ref().zip(keys).and_then(|(carried, keys)| {
                carried.seal_as(keys, CarriedStep::Task(task.written()))
            });
        if let Some(sealed) = sealed {
            let limiter = Limiter::new(ending.world.store(), ending.config.counters.shards);
            let _ = self.pending.abandon(&limiter);
            let record = Record { decision: "ask", ..self.denied };
            return Left::Answered(
                Reply::input_required(&self.to, None, &sealed),
                Box::new(record),
            );
        }
        let Task { id, expires_at, link, .. } = task;
        let approval = ApprovalDetail {
            by: vec![ApprovalWay::Approver.word()],
            id: Some(id),
            url: link,
            expires_at,
            retry_after: Some(RETRY_MILLIS),
            ..ApprovalDetail::default()
        };
        self.denied_with(Reason::ApprovalPending, Detail::Approval(approval.into()), ending)
    }

    /// Somebody said no.
    pub(super) fn declined<W: World>(self, ending: &Ending<'_, W>) -> Left {
        let store = ending.world.store();
        self.noted.end(store);
        self.noted.decline(store, ending.world.now().unwrap_or(self.began));
        self.denied(Reason::ApprovalDeclined, ending)
    }

    /// Whatever was asked, there is nothing more to wait for.
    pub(super) fn ended<W: World>(self, reason: Reason, ending: &Ending<'_, W>) -> Left {
        self.noted.end(ending.world.store());
        self.denied(reason, ending)
    }

    /// The caller has made somebody look too often.
    pub(super) fn refused<W: World>(self, denial: Denial, ending: &Ending<'_, W>) -> Left {
        self.denied_with(denial.reason, denial.detail, ending)
    }

    fn denied<W: World>(self, reason: Reason, ending: &Ending<'_, W>) -> Left {
        let retry = matches!(reason, Reason::ApproverUnavailable | Reason::ApprovalsUnavailable);
        let approval = ApprovalDetail {
            by: vec![ApprovalWay::Approver.word()],
            retry_after: retry.then_some(RETRY_MILLIS),
            ..ApprovalDetail::default()
        };
        self.denied_with(reason, Detail::Approval(approval.into()), ending)
    }

    fn denied_with<W: World>(self, reason: Reason, detail: Detail, ending: &Ending<'_, W>) -> Left {
        let limiter = Limiter::new(ending.world.store(), ending.config.counters.shards);
        let denial = self.pending.abandon(&limiter);
        let denial = Denial { reason, detail, ..denial };
        let record = Record { reason: reason.label(), ..self.denied };
        Left::Answered(Reply::denial(&self.to, &denial, &ending.context), Box::new(record))
    }
}
