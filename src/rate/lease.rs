//! Leases: what was taken of the rate limit service beforehand, to be spent in this Envoy without asking.
//!
//! The service has counted all of a lease, so whatever becomes of it, no more is spent than was counted. It ends with the window in which it
//! was counted, or before; what is lost of it only denies.

use super::algorithm::CountState;
use super::limiter::Limiter;
use super::store::SharedStore;
use super::table::{Account, CountPlace, CounterId, Maker, Slot};
use crate::time::Moment;

/// What is left of a caller's lease.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Lease {
    /// How many.
    left: u64,
    /// Until when, in milliseconds of the clock that cannot be set.
    until: u64,
    /// Until when no more is taken than is needed: the service had not enough for a whole lease.
    exact_until: u64,
}

/// What a call gets of its lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spent {
    /// All that it needs.
    All,
    /// Nothing: so many are to be taken of the service.
    Ask(u64),
}

impl Lease {
    fn of(state: Option<&CountState>, now: Moment) -> Lease {
        let [left, until, exact_until] = state.map_or([0; 3], |state| state.0);
        let lease = Lease { left, until, exact_until };
        if lease.until <= now.running { Lease { left: 0, ..lease } } else { lease }
    }

    fn state(self) -> CountState {
        CountState([self.left, self.until, self.exact_until])
    }
}

impl<S: SharedStore> Limiter<'_, S> {
    /// Spends of a lease. Where there is none, or nobody can tell, the service is asked: for `size`, or for what the call needs.
    pub fn spend_lease(
        &self,
        (counter, account): (CounterId, Account),
        (needed, size): (u64, u64),
        now: Moment,
    ) -> Spent {
        let spent = self.change_lease(counter, account, now, |lease| {
            match lease.left.checked_sub(needed) {
                Some(left) => (Lease { left, ..lease }, Spent::All),
                None if lease.exact_until > now.running => (lease, Spent::Ask(needed)),
                None => (lease, Spent::Ask(size.max(needed))),
            }
        });
        spent.unwrap_or(Spent::Ask(needed))
    }

    /// Puts into a lease what the service has counted beyond what the call needs, or what a call gives back; it can be spent until then, by
    /// the clock that cannot be set.
    pub fn fill_lease(
        &self,
        (counter, account): (CounterId, Account),
        more: u64,
        until: u64,
        now: Moment,
    ) {
        let _ = self.change_lease(counter, account, now, |lease| {
            // Of two windows the earlier end holds for both.
            let until = if lease.left > 0 { lease.until.min(until) } else { until };
            (Lease { left: lease.left.saturating_add(more), until, ..lease }, ())
        });
    }

    /// Puts back what was spent for a call that does not go on, unless the lease has ended.
    pub fn return_lease(&self, (counter, account): (CounterId, Account), spent: u64, now: Moment) {
        let _ = self.change_lease(counter, account, now, |lease| {
            let left = if lease.until > now.running { lease.left.saturating_add(spent) } else { 0 };
            (Lease { left, ..lease }, ())
        });
    }

    /// Notes that the service had not enough for a whole lease.
    pub fn end_lease(&self, (counter, account): (CounterId, Account), until: u64, now: Moment) {
        let _ = self.change_lease(counter, account, now, |lease| {
            (Lease { exact_until: until, ..lease }, ())
        });
    }

    /// Whether a look at the switch still holds.
    pub fn has_looked(&self, (counter, account): (CounterId, Account), now: Moment) -> bool {
        let looked = |lease: Lease| (lease, lease.until > now.running);
        self.change_lease(counter, account, now, looked).unwrap_or(false)
    }

    /// Notes that a look at the switch found nothing, which holds until then.
    pub fn looked(&self, (counter, account): (CounterId, Account), until: u64, now: Moment) {
        let note = |lease: Lease| (Lease { until, ..lease }, ());
        let _ = self.change_lease(counter, account, now, note);
    }

    /// `None` where the store fails, or there is no room.
    fn change_lease<T: Copy>(
        &self,
        counter: CounterId,
        account: Account,
        now: Moment,
        change: impl Fn(Lease) -> (Lease, T),
    ) -> Option<T> {
        let changed = self.change_leases(counter, account, |table| {
            let _ = table.advance(now);
            if table.place(counter, account) != CountPlace::Own {
                return Ok(None);
            }
            let (lease, told) =
                change(Lease::of(table.state(counter, account.caller, account.per).as_ref(), now));
            let maker = if account.caller == super::table::CallerId::EVERYBODY {
                Maker::NOBODY
            } else {
                account.maker
            };
            let expires = lease.until.max(lease.exact_until) / 1000 + 1;
            let slot =
                Slot { counter, caller: account.caller, maker, expires, state: lease.state() };
            if lease != Lease::default() {
                table.put(slot);
            }
            Ok(Some(told))
        });
        changed.ok().flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::Spent;
    use crate::rate::limiter::{Limiter, Shards};
    use crate::rate::memory::MemoryStore;
    use crate::rate::table::{Account, CounterId};
    use crate::time::{Moment, UnixMillis};

    #[test]
    fn no_more_is_spent_than_was_taken_and_none_of_it_late() {
        let store = MemoryStore::default();
        let limiter = Limiter::new(&store, Shards::for_entries(64));
        let of = (CounterId(7), Account::EVERYBODY);
        let at = |millis| Moment::from(UnixMillis(millis));
        let spend = |needed, millis| limiter.spend_lease(of, (needed, 10), at(millis));
        assert_eq!(spend(1, 1000), Spent::Ask(10));
        limiter.fill_lease(of, 9, 60_000, at(1000));
        for _ in 0..9 {
            assert_eq!(spend(1, 2000), Spent::All);
        }
        assert_eq!(spend(1, 2000), Spent::Ask(10));
        limiter.fill_lease(of, 9, 60_000, at(2000));
        assert_eq!(spend(10, 2000), Spent::Ask(10));
        assert_eq!(spend(25, 2000), Spent::Ask(25));
        assert_eq!(spend(9, 59_999), Spent::All);
        limiter.fill_lease(of, 9, 60_000, at(3000));
        assert_eq!(spend(1, 60_000), Spent::Ask(10));
        limiter.end_lease(of, 120_000, at(61_000));
        assert_eq!(spend(1, 61_000), Spent::Ask(1));
        assert_eq!(spend(1, 120_000), Spent::Ask(10));
    }
}
