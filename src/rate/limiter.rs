//! Reserving: read, compute, compare-and-swap, until it holds or the bound is reached.

use super::store::{SharedStore, StoreFailed, Swap};
use super::table::{CallerId, CounterId, Slot, Table};
use super::window::{Algorithm, Span, Window};
use crate::bounds::{MAX_SWAPS, SLOTS_PER_SHARD};
use crate::number::Micros;
use crate::time::UnixMillis;

/// One count: what several limits share if they share its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counter {
    /// Its identity in the store. The maximum is no part of it, so raising a limit keeps the count.
    pub id: CounterId,
    /// Its window.
    pub window: Window,
    /// How windows are joined.
    pub algorithm: Algorithm,
}

/// What a call would count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Charge {
    /// Where.
    pub counter: Counter,
    /// For whom; [`CallerId::EVERYBODY`] for scope `global`.
    pub caller: CallerId,
    /// How much.
    pub amount: Micros,
    /// The most that the window admits; `None` counts without a limit.
    pub max: Option<Micros>,
    /// Whether exceeding it denies.
    pub force: Force,
}

/// Whether a limit denies or only says that it would.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Force {
    /// Exceeding denies the call.
    Enforced,
    /// Exceeding is reported and not counted.
    Shadow,
}

/// A count that was made and can be given back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reservation {
    counter: CounterId,
    caller: CallerId,
    span_end: u64,
    amount: Micros,
}

/// What a limit says when it is exceeded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Overrun {
    /// Which charge of the call.
    pub charge: usize,
    /// What the window still admits.
    pub remaining: Micros,
    /// Length of the window, in seconds.
    pub window_seconds: u64,
    /// Milliseconds until the call could pass; `None` if it never can.
    pub retry_after: Option<u64>,
}

/// All charges are counted, but for those in shadow that were exceeded.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Granted {
    /// What was counted, one for each charge that was.
    pub reservations: Vec<(usize, Reservation)>,
    /// The first limit in shadow that would have denied.
    pub would_exceed: Option<Overrun>,
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
}

/// How many shards there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shards(u32);

impl Shards {
    /// Enough shards that this many slots fill them to half, a power of two: callers do not spread evenly, and a full
    /// shard forgets.
    #[must_use]
    pub fn for_entries(entries: u32) -> Shards {
        let half = u32::try_from(SLOTS_PER_SHARD / 2).unwrap_or(u32::MAX);
        Shards(entries.div_ceil(half).max(1).next_power_of_two())
    }

    /// The shared-data key of a count. Callers spread over the shards; a `global` counter has its own key.
    fn key(self, counter: CounterId, caller: CallerId) -> String {
        if caller == CallerId::EVERYBODY {
            return format!("mcp-policy/1/global/{:016x}", counter.0);
        }
        // The low bits of a digest are as good as any.
        let [first, second, third, fourth, ..] = caller.0.to_le_bytes();
        let bits = u32::from_le_bytes([first, second, third, fourth]);
        format!("mcp-policy/1/{:x}/{:x}", self.0, bits & self.0.wrapping_sub(1))
    }
}

impl<'s, S: SharedStore> Limiter<'s, S> {
    /// A limiter over a store.
    #[must_use]
    pub fn new(store: &'s S, shards: Shards) -> Self {
        Limiter { store, shards }
    }

    /// Counts all charges, or none.
    ///
    /// # Errors
    /// [`Refused`] with the first limit that is reached, or if the store fails; then nothing stays counted.
    pub fn reserve(&self, charges: &[Charge], now: UnixMillis) -> Result<Granted, Refused> {
        let mut granted = Granted::default();
        let mut first = 0;
        // Neighbours under one key are changed in one swap.
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
            let key = self.shards.key(reservation.counter, reservation.caller);
            let _ = self.change(&key, |table| {
                let Reservation { counter, caller, span_end, amount } = *reservation;
                table.give_back(counter, caller, span_end, amount.0);
                Ok(())
            });
        }
    }

    /// What a caller has used of a counter.
    ///
    /// # Errors
    /// [`Refused::Unavailable`] if the store fails.
    pub fn used(
        &self,
        counter: Counter,
        caller: CallerId,
        now: UnixMillis,
    ) -> Result<Micros, Refused> {
        let snapshot = self.store.get(&self.shards.key(counter.id, caller))?;
        let mut table = Table::decode(&snapshot.value)?;
        let now = table.advance(now);
        let (span, count) = table.count(counter.id, caller, counter.window.span_at(now));
        Ok(counter.algorithm.used(count, span, now))
    }

    fn reserve_group(
        &self,
        group: &[Charge],
        first: usize,
        now: UnixMillis,
    ) -> Result<Granted, Refused> {
        let Some(charge) = group.first() else {
            return Ok(Granted::default());
        };
        let key = self.shards.key(charge.counter.id, charge.caller);
        self.change(&key, |table| {
            let now = table.advance(now);
            let mut granted = Granted::default();
            for (at, charge) in group.iter().enumerate() {
                match charge.count_in(table, now) {
                    Ok(reservation) => granted.reservations.push((first + at, reservation)),
                    Err(overrun) => {
                        let overrun = Overrun { charge: first + at, ..overrun };
                        match charge.force {
                            Force::Enforced => return Err(Refused::Exceeded(overrun)),
                            Force::Shadow => {
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
            let mut table = Table::decode(&snapshot.value)?;
            let outcome = change(&mut table)?;
            match self.store.compare_and_set(key, &table.encode(), snapshot.version)? {
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

impl Charge {
    fn count_in(&self, table: &mut Table, now: UnixMillis) -> Result<Reservation, Overrun> {
        let Counter { id, window, algorithm } = self.counter;
        let (span, mut count) = table.count(id, self.caller, window.span_at(now));
        let used = algorithm.used(count, span, now);
        let max = self.max.unwrap_or(Micros(u64::MAX));
        if used.0.checked_add(self.amount.0).is_none_or(|after| after > max.0) {
            return Err(Overrun {
                charge: 0,
                remaining: Micros(max.0.saturating_sub(used.0)),
                window_seconds: span.seconds(),
                retry_after: algorithm.retry_after(count, span, now, self.amount, max),
            });
        }
        count.current = count.current.saturating_add(self.amount.0);
        let expires = algorithm.expires(window, span);
        table.put(Slot { counter: id, caller: self.caller, span, expires, count });
        Ok(self.reservation(span))
    }

    fn reservation(&self, span: Span) -> Reservation {
        Reservation {
            counter: self.counter.id,
            caller: self.caller,
            span_end: span.end,
            amount: self.amount,
        }
    }
}

fn same_key(left: &Charge, right: &Charge) -> bool {
    let shared = left.caller == CallerId::EVERYBODY;
    left.caller == right.caller && (!shared || left.counter.id == right.counter.id)
}

#[cfg(test)]
mod tests {
    use super::{Charge, Counter, Force, Limiter, Refused, Shards};
    use crate::number::Micros;
    use crate::rate::memory::MemoryStore;
    use crate::rate::store::SharedStore as _;
    use crate::rate::table::{CallerId, CounterId};
    use crate::rate::window::{Algorithm, Window};
    use crate::time::UnixMillis;
    use std::num::NonZeroU32;

    const NOW: UnixMillis = UnixMillis(1_700_000_000_000);

    fn charge(counter: u64, caller: u128, max: u64) -> Charge {
        let window = Window::Every(NonZeroU32::new(60).unwrap());
        Charge {
            counter: Counter { id: CounterId(counter), window, algorithm: Algorithm::Fixed },
            caller: CallerId(caller),
            amount: Micros(1),
            max: Some(Micros(max)),
            force: Force::Enforced,
        }
    }

    fn exceeded(outcome: Result<super::Granted, Refused>) -> Option<usize> {
        match outcome {
            Err(Refused::Exceeded(overrun)) => Some(overrun.charge),
            _ => None,
        }
    }

    #[test]
    fn all_or_none() {
        let store = MemoryStore::default();
        let limiter = Limiter::new(&store, Shards::for_entries(64));
        let call = [charge(1, 9, 5), charge(2, 0, 5), charge(3, 9, 2), charge(4, 9, 5)];
        assert!(limiter.reserve(&call, NOW).is_ok());
        assert!(limiter.reserve(&call, NOW).is_ok());
        assert_eq!(exceeded(limiter.reserve(&call, NOW)), Some(2));
        for (at, expected) in [(0, 2), (1, 2), (2, 2), (3, 2)] {
            let charge = call[at];
            let used = limiter.used(charge.counter, charge.caller, NOW);
            assert_eq!(used, Ok(Micros(expected)), "{at}");
        }
    }

    #[test]
    fn a_shadow_limit_is_reported_and_not_counted() {
        let store = MemoryStore::default();
        let limiter = Limiter::new(&store, Shards::for_entries(64));
        let call = [Charge { force: Force::Shadow, ..charge(1, 9, 1) }, charge(2, 9, 5)];
        assert_eq!(limiter.reserve(&call, NOW).unwrap().would_exceed, None);
        let second = limiter.reserve(&call, NOW).unwrap();
        assert_eq!(second.would_exceed.map(|overrun| overrun.charge), Some(0));
        assert_eq!(second.reservations.len(), 1);
    }

    #[test]
    fn invented_callers_cannot_grow_memory_or_free_a_count() {
        let store = MemoryStore::default();
        let limiter = Limiter::new(&store, Shards::for_entries(128));
        for _ in 0..30 {
            assert!(limiter.reserve(&[charge(1, 9, 30)], NOW).is_ok());
        }
        let admitted = (10..20_000u128)
            .filter(|&caller| limiter.reserve(&[charge(1, caller, 30)], NOW).is_ok())
            .count();
        assert!(admitted > 128, "newcomers are served: {admitted}");
        assert_eq!(exceeded(limiter.reserve(&[charge(1, 9, 30)], NOW)), Some(0));
        let (keys, bytes) = store.size();
        assert!(keys <= 4 && bytes <= 4 * (9 + 65 * 52), "{keys} {bytes}");
        let next_minute = UnixMillis(NOW.0 + 60_000);
        assert!(limiter.reserve(&[charge(1, 77, 1)], next_minute).is_ok());
    }

    #[test]
    fn foreign_bytes_deny() {
        let store = MemoryStore::default();
        let limiter = Limiter::new(&store, Shards::for_entries(64));
        let key = Shards::for_entries(64).key(CounterId(1), CallerId(9));
        let version = store.get(&key).unwrap().version;
        store.compare_and_set(&key, b"not ours", version).unwrap();
        assert_eq!(limiter.reserve(&[charge(1, 9, 5)], NOW), Err(Refused::Unavailable));
    }
}
