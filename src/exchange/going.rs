//! A request that may go on, with all that its going on takes.

use super::chain::Chain;
use super::ending::Ending;
use super::expected::{Expected, Lists};
use super::refunds::ids;
use crate::denial::Denial;
use crate::enforce::Permit;
use crate::mcp::headers::Framing;
use crate::once::UseId;
use crate::rate::limiter::Limiter;
use crate::record::Record;
use crate::reply::{Addressee, Reply, batch_refused_object, denial_object};
use crate::rls::SwitchedCall;
use crate::world::World;

/// A request that may go on, with all that its going on takes.
#[derive(Debug, Default)]
pub(super) struct Going {
    /// Its calls: of a batch all requests, and of others than calls none.
    pub(super) calls: Vec<GoingCall>,
    /// Whether they came as a batch, and how that is answered.
    pub(super) batch: Option<Framing>,
    /// One for each call, and then what sums them up.
    pub(super) records: Vec<Record>,
    pub(super) lists: Lists,
    /// Whether something verified the caller.
    pub(super) proven: bool,
    /// The approval that was used.
    pub(super) used: Option<UseId>,
    /// What the server's own state is sealed with.
    pub(super) chain: Option<Box<Chain>>,
    /// Its body, where that is another than the one that came.
    pub(super) body: Option<Vec<u8>>,
}

/// A call that may go on.
#[derive(Debug)]
pub(super) struct GoingCall {
    /// The id of its request, byte for byte.
    pub(super) id: Option<String>,
    /// Whom a denial is for, where the rate limit service may still deny it, or another of its batch.
    pub(super) to: Option<Addressee>,
    /// What of it may be switched off, where somebody looks.
    pub(super) switch: Option<SwitchedCall>,
    /// None of what no policy has rules for.
    pub(super) permit: Option<Permit>,
}

impl Going {
    /// A request without calls.
    pub(super) fn passing(record: Record, lists: Lists) -> Going {
        Going { records: vec![record], lists, ..Going::default() }
    }

    /// Whether there is something to ask the rate limit service.
    pub(super) fn asks_service(&self) -> bool {
        self.calls.iter().any(|call| {
            call.switch.is_some() || call.permit.as_ref().is_some_and(Permit::owes_service)
        })
    }

    /// What is needed of the response, what is put on record, and what the server gets.
    pub(super) fn into_parts(self) -> (Expected, Vec<Record>, Option<Vec<u8>>) {
        let Going { calls, records, lists, proven, used, chain, body, .. } = self;
        let mut expected = Expected { lists, used, chain, ..Expected::default() };
        for GoingCall { id, permit, .. } in calls {
            permit.into_iter().for_each(|permit| expected.add(id.as_deref(), permit, proven));
        }
        (expected, records, body)
    }

    /// It does not go on: this call of it is denied.
    pub(super) fn denied<W: World>(
        self,
        at: usize,
        denial: &Denial,
        ending: &Ending<'_, W>,
    ) -> (Reply, Vec<Record>) {
        let limiter = Limiter::new(ending.world.store(), ending.config.counters.shards);
        self.used.into_iter().for_each(|used| ids(ending.config, ending.world).give_back(used));
        let Going { calls, batch, mut records, .. } = self;
        let mut to = Vec::new();
        for call in calls {
            call.permit.into_iter().for_each(|permit| permit.revoke(&limiter));
            to.push(call.to);
        }
        records.retain(|record| !record.sums_up);
        for (place, record) in records.iter_mut().enumerate() {
            if place == at {
                record.deny(denial);
            } else if matches!(record.decision, "allow" | "pass" | "would_deny" | "would_ask") {
                record.refuse_with_batch();
            }
        }
        if at < records.len() {
            // What answers is what access logs print: the last record.
            let denied = records.remove(at);
            records.push(denied);
        }
        let errors = to.iter().enumerate().filter_map(|(place, to)| {
            let to = to.as_ref()?;
            match place == at {
                true => denial_object(to, denial, &ending.context),
                false => to.id().map(batch_refused_object),
            }
        });
        let reply = match batch {
            Some(framing) => Reply::batch(&errors.collect::<Vec<_>>(), framing),
            None => match to.first().and_then(Option::as_ref) {
                Some(to) => Reply::denial(to, denial, &ending.context),
                None => Reply::nothing(),
            },
        };
        (reply, records)
    }
}
