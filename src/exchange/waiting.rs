//! A call that waits for an answer from outside. It is left by that answer, by a tick past its patience, or by the end of its
//! stream; each way consumes it, so that what was counted for it is kept or given back exactly once.

use super::expected::{Expected, Lists};
use crate::approval::approves;
use crate::ask::{Answer, AskId};
use crate::enforce::Pending;
use crate::rate::limiter::Limiter;
use crate::rate::store::SharedStore;
use crate::record::Record;
use crate::reply::{Addressee, Context, Reply};
use crate::time::UnixMillis;

/// A call that waits.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) pending: Pending,
    pub(super) ask: AskId,
    /// When it has begun to wait, and until when it does.
    pub(super) began: UnixMillis,
    pub(super) until: UnixMillis,
    pub(super) to: Addressee,
    /// What goes on record, whichever way it goes.
    pub(super) allowed: Record,
    pub(super) denied: Record,
    pub(super) lists: Lists,
    /// Whether something verified the caller.
    pub(super) proven: bool,
}

/// How a wait ends.
pub(super) enum Left {
    Forwarded(Expected, Record),
    Answered(Reply, Record),
}

impl Waiting {
    /// Whether this is the question whose answer it waits for.
    pub(super) fn awaits(&self, ask: AskId) -> bool {
        self.ask == ask
    }

    /// Whether it has waited long enough. A clock that fails or has gone back tells nothing, so nothing is waited for by it.
    pub(super) fn is_overdue(&self, now: Option<UnixMillis>) -> bool {
        now.is_none_or(|now| now >= self.until || now < self.began)
    }

    /// The answer has come.
    pub(super) fn answered<S: SharedStore>(
        self,
        answer: &Answer<'_>,
        limiter: &Limiter<'_, S>,
        context: &Context<'_>,
    ) -> Left {
        if !approves(answer) {
            return self.given_up(limiter, context);
        }
        let permit = self.pending.settle();
        let expected = Expected::of(self.to.id(), permit, self.proven, self.lists);
        Left::Forwarded(expected, self.allowed)
    }

    /// Nothing comes that would approve.
    pub(super) fn given_up<S: SharedStore>(
        self,
        limiter: &Limiter<'_, S>,
        context: &Context<'_>,
    ) -> Left {
        let denial = self.pending.abandon(limiter);
        Left::Answered(Reply::denial(&self.to, &denial, context), self.denied)
    }
}
