//! Reserving: read, compute, compare-and-swap, until it holds or the bound is reached.

mod slots;

pub use super::shards::Shards;

use super::algorithm::{Admitted, Algorithm, Demand, Full, Mark};
use super::store::{SharedStore, StoreFailed, Swap};
use super::table::{Account, CallerId, Class, CounterId, Maker, Slot, Table};
use super::window::Window;
use crate::bounds::MAX_SWAPS;
use crate::number::Micros;
use crate::reason::Reason;
use crate::time::Moment;
use slots::used_in;

/// One count: what several limits share if they share its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counter {
    /// Its identity in the store. The maximum is no part of it, so raising a limit keeps the count.
    pub id: CounterId,
    /// Its window.
    pub window: Window,
    /// How it is counted.
    pub algorithm: Algorithm,
}

/// What a call would count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Charge {
    /// Where.
    pub counter: Counter,
    /// For whom; [`Account::EVERYBODY`] for scope `global`.
    pub account: Account,
    /// How much.
    pub amount: Micros,
    /// The most that the window admits, or that a bucket holds; `None` counts without a limit.
    pub max: Option<Micros>,
    /// Whether exceeding it denies.
    pub mode: Mode,
}

/// Whether a limit denies or only says that it would.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Exceeding denies the call.
    Enforce,
    /// Exceeding is reported and not counted.
    Shadow,
}

impl Mode {
    /// The words of policies, the usual one first.
    pub const WORDS: [(&'static str, Mode); 2] =
        [("enforce", Mode::Enforce), ("shadow", Mode::Shadow)];
}

/// A count that was made and can be given back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reservation {
    counter: Counter,
    account: Account,
    /// Whose slot it is in: his own, or everybody's.
    slot: CallerId,
    mark: Mark,
    amount: Micros,
    /// What the window holds with it.
    used: Micros,
}

impl Reservation {
    /// What the window holds with this count.
    #[must_use]
    pub fn used(&self) -> Micros {
        self.used
    }

    /// Whether it has to be counted anew, to be counted still. A clock that fell behind the table's says so later, and in time.
    #[must_use]
    pub fn is_due(&self, now: Moment) -> bool {
        self.counter.algorithm.is_due(self.mark, now)
    }

    /// Whether it is counted together with others who found the table full.
    #[must_use]
    pub fn is_on_floor(&self) -> bool {
        self.slot != self.account.caller
    }
}

/// What a limit says when it is exceeded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Overrun {
    /// Which charge of the call.
    pub charge: usize,
    /// Why it denies.
    pub cause: OverrunCause,
    /// What the window still admits.
    pub remaining: Micros,
    /// Length of the window, in seconds.
    pub window_seconds: u64,
    /// Milliseconds until the call could pass; `None` if it never can.
    pub retry_after: Option<u64>,
}

/// Why a limit denies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OverrunCause {
    /// Its maximum is reached.
    Reached,
    /// The caller is new, and where he comes from there are as many already as may be.
    Crowded,
}

impl OverrunCause {
    /// The reason of the denial.
    #[must_use]
    pub fn reason(self) -> Reason {
        match self {
            OverrunCause::Reached => Reason::LimitReached,
            OverrunCause::Crowded => Reason::TooManyCallers,
        }
    }
}

/// All charges are counted, but for those in shadow that were exceeded.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Granted {
    /// What was counted, one for each charge that was.
    pub reservations: Vec<(usize, Reservation)>,
    /// The first limit in shadow that would have denied.
    pub would_exceed: Option<Overrun>,
}

/// What a charge would come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Weighed {
    /// What the window holds without it.
    pub used: Micros,
    /// What it exceeds.
    pub overrun: Option<Overrun>,
}

/// Nothing is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// A limit is reached.
    Exceeded(Overrun),
    /// The store failed, or stayed contended.
    Unavailable,
}

/// Counts calls in a shared store.
#[derive(Debug)]
pub struct Limiter<'s, S> {
    store: &'s S,
    shards: Shards,
    /// Whose tables they are: the policies' that are in force, or the candidates'.
    space: &'static str,
}

/// The tables of the policies that are in force.
const IN_FORCE: &str = "mcp-policy";

/// The tables of candidates.
const CANDIDATES: &str = "mcp-policy/candidate";

/// The tables of what was taken of the rate limit service beforehand.
const LEASES: &str = "mcp-policy/lease";

impl<'s, S: SharedStore> Limiter<'s, S> {
    /// A limiter over a store.
    #[must_use]
    pub fn new(store: &'s S, shards: Shards) -> Self {
        Limiter { store, shards, space: IN_FORCE }
    }

    /// The same for candidates: in tables of their own, so that they take nobody's room.
    #[must_use]
    pub fn beside(self) -> Self {
        Limiter { space: CANDIDATES, ..self }
    }

    /// Changes the table that an account's count of a counter would be in, among those of leases.
    pub(super) fn change_leases<T>(
        &self,
        counter: CounterId,
        account: Account,
        change: impl FnMut(&mut Table) -> Result<T, Refused>,
    ) -> Result<T, Refused> {
        self.change(&self.shards.key(LEASES, counter, account), change)
    }

    /// Counts all charges, or none.
    ///
    /// # Errors
    /// [`Refused`] with the first limit that is reached, or if the store fails; then nothing stays counted.
    pub fn reserve(&self, charges: &[Charge], now: impl Into<Moment>) -> Result<Granted, Refused> {
        let now = now.into();
        let mut granted = Granted::default();
        let mut first = 0;
        // Charges that stand beside each other in one shard share one compare-and-swap.
        for group in charges.chunk_by(same_key) {
            let outcome = self.reserve_group(group, first, now);
            match outcome {
                Ok(part) => {
                    granted.reservations.extend(part.reservations);
                    granted.would_exceed = granted.would_exceed.or(part.would_exceed);
                }
                Err(refused) => {
                    self.give_back(granted.reservations.iter().map(|(_, reservation)| reservation));
                    return Err(refused);
                }
            }
            first += group.len();
        }
        Ok(granted)
    }

    /// Takes back what was counted. What cannot be taken back within the bound stays counted: never one call too many.
    pub fn give_back<'r>(&self, reservations: impl IntoIterator<Item = &'r Reservation>) {
        for reservation in reservations {
            let Reservation { counter, account, slot, mark, amount, used: _ } = *reservation;
            let _ = self.change(&self.shards.key(self.space, counter.id, account), |table| {
                table.change(counter.id, slot, |state| {
                    counter.algorithm.refund(counter.window, state, mark, amount)
                });
                Ok(())
            });
        }
    }

    /// Counts anew what is still in flight, where its window is over. What cannot be counted within the bound is so the next time.
    pub fn renew(&self, reservation: &mut Reservation, now: Moment) {
        let Reservation { counter, account, slot, mark, amount, .. } = *reservation;
        let Counter { id, window, algorithm } = counter;
        let renewed = self.change(&self.shards.key(self.space, id, account), |table| {
            let now = table.advance(now);
            if !algorithm.is_due(mark, now) {
                return Ok(mark);
            }
            let state = table.own(id, slot);
            let state = state.and_then(|state| algorithm.refund(window, &state, mark, amount));
            let ask = Demand { amount, max: Micros(u64::MAX) };
            let admitted = algorithm.admit(window, state.as_ref(), now, ask);
            let Ok(Admitted { state, mark, expires }) = admitted else { return Ok(mark) };
            let maker = if slot == account.caller { account.maker } else { Maker::NOBODY };
            table.put(Slot { counter: id, caller: slot, maker, expires, state });
            Ok(mark)
        });
        if let Ok(mark) = renewed {
            reservation.mark = mark;
        }
    }

    /// What a caller has used of a counter.
    ///
    /// # Errors
    /// [`Refused::Unavailable`] if the store fails.
    pub fn used(
        &self,
        counter: Counter,
        account: Account,
        now: impl Into<Moment>,
    ) -> Result<Micros, Refused> {
        let (table, now) = self.read(counter, account, now.into())?;
        Ok(used_in(&table, counter, account, now))
    }

    /// What a charge would come to, without counting it.
    ///
    /// # Errors
    /// [`Refused::Unavailable`] if the store fails.
    pub fn weigh(&self, charge: &Charge, now: impl Into<Moment>) -> Result<Weighed, Refused> {
        let (mut table, now) = self.read(charge.counter, charge.account, now.into())?;
        let used = used_in(&table, charge.counter, charge.account, now);
        Ok(Weighed { used, overrun: charge.count_in(&mut table, now).err() })
    }

    /// The table that a count is in, and the time that it has come to.
    fn read(
        &self,
        counter: Counter,
        account: Account,
        now: Moment,
    ) -> Result<(Table, Moment), Refused> {
        let snapshot = self.store.get(&self.shards.key(self.space, counter.id, account))?;
        let mut table = Table::decode(snapshot.value)?;
        let now = table.advance(now);
        Ok((table, now))
    }

    fn reserve_group(
        &self,
        group: &[Charge],
        first: usize,
        now: Moment,
    ) -> Result<Granted, Refused> {
        let Some(charge) = group.first() else {
            return Ok(Granted::default());
        };
        let key = self.shards.key(self.space, charge.counter.id, charge.account);
        self.change(&key, |table| {
            let now = table.advance(now);
            let mut granted = Granted::default();
            for (at, charge) in group.iter().enumerate() {
                match charge.count_in(table, now) {
                    Ok(reservation) => granted.reservations.push((first + at, reservation)),
                    Err(overrun) => {
                        let overrun = Overrun { charge: first + at, ..overrun };
                        match charge.mode {
                            Mode::Enforce => return Err(Refused::Exceeded(overrun)),
                            Mode::Shadow => {
                                granted.would_exceed = granted.would_exceed.or(Some(overrun))
                            }
                        }
                    }
                }
            }
            Ok(granted)
        })
    }

    /// Reads a table, changes it, and writes it if nobody else did meanwhile; else again.
    fn change<T>(
        &self,
        key: &str,
        mut change: impl FnMut(&mut Table) -> Result<T, Refused>,
    ) -> Result<T, Refused> {
        for _ in 0..MAX_SWAPS {
            let snapshot = self.store.get(key)?;
            let mut table = Table::decode(snapshot.value)?;
            let outcome = change(&mut table)?;
            match self.store.compare_and_set(key, table.packed(), snapshot.version)? {
                Swap::Done => return Ok(outcome),
                Swap::Lost => {}
            }
        }
        Err(Refused::Unavailable)
    }
}

impl From<StoreFailed> for Refused {
    fn from(_: StoreFailed) -> Refused {
        Refused::Unavailable
    }
}

impl Overrun {
    fn of(cause: OverrunCause, full: Full) -> Overrun {
        let Full { remaining, window_seconds, retry_after } = full;
        Overrun { charge: 0, cause, remaining, window_seconds, retry_after }
    }
}

fn same_key(left: &Charge, right: &Charge) -> bool {
    let shared = left.account.class == Class::Global;
    left.account == right.account && (!shared || left.counter.id == right.counter.id)
}

#[cfg(test)]
mod tests;
