//! What is remembered of the questions of one caller about one call, so that nobody is asked twice: that it was declined a moment ago,
//! or that somebody is thinking about it. And how often he may ask at all.

use base64ct::{Base64UrlUnpadded, Encoding as _};
use sha2::{Digest as _, Sha256};

use crate::approval::approver::Task;
use crate::approval::call::CallDigest;
use crate::approval::state::drawn;
use crate::denial::{Denial, Detail};
use crate::identity::Caller;
use crate::mcp::call::Kind;
use crate::notes::{NoteId, SharedNotes};
use crate::number::Micros;
use crate::once::{Use, UseId, epoch};
use crate::policy::approvals::{AskLimit, SingleUse};
use crate::policy::compiled::Config;
use crate::policy::entry::Scope;
use crate::rate::limiter::{Charge, Limiter, Mode, Refused};
use crate::rate::store::SharedStore;
use crate::rate::table::{Account, CallerId};
use crate::reason::Reason;
use crate::time::{Moment, UnixMillis};
use crate::world::World;

const ONE: Micros = Micros(1_000_000);

/// Where the notes of one caller about one call are.
#[derive(Clone, Copy, Debug)]
pub(super) struct Noted {
    declined: NoteId,
    task: NoteId,
    granted: NoteId,
    /// For how long a call that was declined is refused, in seconds.
    cooldown: u32,
}

impl Noted {
    pub(super) fn of(holder: CallerId, call: CallDigest, cooldown: u32) -> Noted {
        let id = |word: &str| {
            let hash = Sha256::new().chain_update("mcp-policy note 1\0").chain_update(word);
            let hash = hash.chain_update(holder.0.to_le_bytes()).chain_update(call.0);
            NoteId(hash.finalize().first_chunk().copied().unwrap_or_default())
        };
        Noted { declined: id("declined\0"), task: id("task\0"), granted: id("granted\0"), cooldown }
    }

    /// The call was declined.
    pub(super) fn decline<S: SharedStore>(&self, store: &S, now: UnixMillis) {
        if self.cooldown > 0 {
            let until = now.seconds().saturating_add(self.cooldown.into());
            SharedNotes::new(store).put(self.declined, "", until, now);
        }
    }

    /// Whether it was declined a moment ago.
    pub(super) fn is_declined<S: SharedStore>(&self, store: &S, now: UnixMillis) -> bool {
        SharedNotes::new(store).read(self.declined, now).is_some()
    }

    /// Somebody is thinking about the call, at most until then.
    pub(super) fn think<S: SharedStore>(
        &self,
        store: &S,
        task: &Task,
        until: u64,
        now: UnixMillis,
    ) {
        SharedNotes::new(store).put(self.task, &task.written(), until, now);
    }

    /// What somebody is thinking about.
    pub(super) fn task<S: SharedStore>(&self, store: &S, now: UnixMillis) -> Option<Task> {
        Task::read(&SharedNotes::new(store).read(self.task, now)?)
    }

    /// The user has approved the call, by the question with this id.
    pub(super) fn grant<S: SharedStore>(
        &self,
        store: &S,
        question: UseId,
        until: u64,
        now: UnixMillis,
    ) {
        let text = Base64UrlUnpadded::encode_string(&question.0);
        SharedNotes::new(store).put(self.granted, &format!("{until} {text}"), until, now);
    }

    /// By which question the user has approved the call, and until when that holds. Whoever takes it takes it away.
    pub(super) fn take_grant<S: SharedStore>(&self, store: &S, now: UnixMillis) -> Option<Use> {
        let notes = SharedNotes::new(store);
        let text = notes.read(self.granted, now)?;
        notes.forget(self.granted);
        let (until, id) = text.split_once(' ')?;
        let id = Base64UrlUnpadded::decode_vec(id).ok()?;
        Some(Use { id: UseId(id.try_into().ok()?), most: 1, expires: until.parse().ok()? })
    }

    /// Nobody is thinking any more.
    pub(super) fn end<S: SharedStore>(&self, store: &S) {
        SharedNotes::new(store).forget(self.task);
    }
}

/// To whom states are sealed: the caller, in his session where sessions mean something; and in this store alone, where an approval is good
/// at one Envoy only.
pub(super) fn holder<W: World>(config: &Config, caller: &Caller, world: &W) -> CallerId {
    let holder = caller.counted_as(Scope::Session).caller;
    match config.approvals.single_use {
        SingleUse::Any => holder,
        SingleUse::Envoy => {
            let draw = || world.random().map(|random| drawn(&random));
            // Without an epoch it is nobody, twice never the same.
            let epoch = epoch(world.store(), draw).or_else(draw).unwrap_or(UseId([0; 16]));
            let hash = Sha256::new().chain_update("mcp-policy holder 1\0").chain_update(epoch.0);
            let hash = hash.chain_update(holder.0.to_le_bytes()).finalize();
            CallerId(hash.first_chunk().map_or(0, |bytes| u128::from_le_bytes(*bytes)))
        }
    }
}

/// A caller of whom it is counted how often he makes somebody look.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asker {
    pub(super) limit: AskLimit,
    pub(super) account: Account,
}

impl Asker {
    /// Counts one question; the denial if that is one too many.
    pub(super) fn count<S: SharedStore>(
        self,
        limiter: &Limiter<'_, S>,
        now: Moment,
    ) -> Option<Denial> {
        let AskLimit { counter, max } = self.limit;
        let (account, amount, mode) = (self.account, ONE, Mode::Enforce);
        let charge = Charge { counter, account, amount, max: Some(max), mode };
        let denial =
            |reason, detail| Some(Denial { detail, ..Denial::without_rule(Kind::Method, reason) });
        match limiter.reserve(&[charge], now) {
            // It stays counted: somebody looks.
            Ok(_) => None,
            Err(Refused::Exceeded(overrun)) => {
                let limit = Detail::Limit {
                    counter: None,
                    max,
                    remaining: overrun.remaining,
                    window_seconds: overrun.window_seconds,
                    retry_after: overrun.retry_after,
                };
                denial(Reason::LimitReached, limit)
            }
            Err(Refused::Unavailable) => denial(Reason::CountersUnavailable, Detail::None),
        }
    }
}
