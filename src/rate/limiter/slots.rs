//! Counting one charge in the slots of one table.

use std::collections::BTreeSet;

use super::{Charge, Counter, Overrun, OverrunCause, Reservation};
use crate::number::Micros;
use crate::rate::algorithm::{Admitted, Demand, Full};
use crate::rate::table::{Account, CountPlace, Maker, Per, Slot, Table};
use crate::time::Moment;

impl Charge {
    pub(super) fn count_in(&self, table: &mut Table, now: Moment) -> Result<Reservation, Overrun> {
        let (Counter { id, window, algorithm }, account) = (self.counter, self.account);
        let max = self.max.unwrap_or(Micros(u64::MAX));
        let ask = match account.per {
            Per::Caller | Per::Call => Demand { amount: self.amount, max },
            Per::Name => {
                self.admit_name(table, max, now)?;
                Demand { amount: self.amount, max: Micros(u64::MAX) }
            }
        };
        // His own count, or the floor; whoever gets a slot now starts at it.
        let state = table.state(id, account.caller, account.per);
        let admitted = algorithm
            .admit(window, state.as_ref(), now, ask)
            .map_err(|full| Overrun::of(OverrunCause::Reached, full))?;
        let slot = match table.place(id, account) {
            CountPlace::Own => account.caller,
            CountPlace::Floor => account.caller.on_floor(account.per),
            CountPlace::Crowded => {
                let full = algorithm.full(window, state.as_ref(), now, ask);
                return Err(Overrun::of(OverrunCause::Crowded, full));
            }
        };
        let maker = if slot == account.caller { account.maker } else { Maker::NOBODY };
        let Admitted { state, mark, expires } = admitted;
        table.put(Slot { counter: id, caller: slot, maker, expires, state });
        let used = match account.per {
            Per::Caller | Per::Call => algorithm.used(window, Some(&state), now),
            Per::Name => used_in(table, self.counter, account, now),
        };
        let (counter, amount) = (self.counter, self.amount);
        Ok(Reservation { counter, account, slot, mark, amount, used })
    }
}

impl Charge {
    /// Whether a name may be called: it is one that is called already, or there is room for one more.
    fn admit_name(&self, table: &Table, max: Micros, now: Moment) -> Result<(), Overrun> {
        let (Counter { id, window, algorithm }, account) = (self.counter, self.account);
        let names = called(table, self.counter, account, now);
        let used = names_of(names.len());
        if names.contains(&account.caller.name()) || used.0.saturating_add(ONE) <= max.0 {
            return Ok(());
        }
        // When the window is over, so is what it holds.
        let nothing = Demand { amount: Micros(0), max: Micros(0) };
        let full = algorithm.full(window, table.own(id, account.caller).as_ref(), now, nothing);
        let remaining = Micros(max.0.saturating_sub(used.0));
        Err(Overrun::of(OverrunCause::Reached, Full { remaining, ..full }))
    }
}

/// One, in millionths.
const ONE: u64 = 1_000_000;

fn names_of(number: usize) -> Micros {
    Micros(u64::try_from(number).unwrap_or(u64::MAX).saturating_mul(ONE))
}

/// The names that a caller has called in the window of now.
fn called(table: &Table, counter: Counter, account: Account, now: Moment) -> BTreeSet<u128> {
    let Counter { id, window, algorithm } = counter;
    let names = table.names(id, account.caller);
    let counts = names.filter(|(_, state)| algorithm.used(window, Some(state), now) > Micros(0));
    counts.map(|(name, _)| name).collect()
}

/// What a caller has used of a counter, in his slot or on the floor.
pub(super) fn used_in(table: &Table, counter: Counter, account: Account, now: Moment) -> Micros {
    match account.per {
        Per::Caller | Per::Call => {
            let state = table.state(counter.id, account.caller, account.per);
            counter.algorithm.used(counter.window, state.as_ref(), now)
        }
        Per::Name => names_of(called(table, counter, account, now).len()),
    }
}
