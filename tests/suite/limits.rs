//! Limits, under callers that get in each other's way, at the edges of windows, and in full tables.

use std::cell::Cell;
use std::num::NonZeroU32;

use mcp_policy::number::Micros;
use mcp_policy::rate::limiter::{Charge, Counter, Force, Limiter, Reservation, Shards};
use mcp_policy::rate::memory::MemoryStore;
use mcp_policy::rate::store::{SharedStore, Snapshot, StoreFailed, Swap, Version};
use mcp_policy::rate::table::{Account, CallerId, Class, CounterId, Maker};
use mcp_policy::rate::window::{Algorithm, Window};
use mcp_policy::time::UnixMillis;
use proptest::prelude::*;

const START: u64 = 1_700_000_000_000;

/// A store in which other actors act between any read and write of the first one.
struct Interleaved<'s> {
    store: &'s MemoryStore,
    meanwhile: &'s dyn Fn(),
    script: &'s [bool],
    step: Cell<usize>,
}

impl SharedStore for Interleaved<'_> {
    fn get(&self, key: &str) -> Result<Snapshot, StoreFailed> {
        let snapshot = self.store.get(key);
        let step = self.step.replace(self.step.get() + 1);
        if self.script.get(step) == Some(&true) {
            (self.meanwhile)();
        }
        snapshot
    }

    fn compare_and_set(
        &self,
        key: &str,
        value: &[u8],
        expected: Version,
    ) -> Result<Swap, StoreFailed> {
        self.store.compare_and_set(key, value, expected)
    }
}

fn charge(counter: u64, caller: u128, amount: u64, max: u64, algorithm: Algorithm) -> Charge {
    let window = Window::Every(NonZeroU32::new(60).unwrap());
    Charge {
        counter: Counter { id: CounterId(counter), window, algorithm },
        account: of(caller, 1 + caller as u32),
        amount: Micros(amount),
        max: Some(Micros(max)),
        force: Force::Enforced,
    }
}

/// The account of a caller whom nobody verified; 0 is everybody.
fn of(caller: u128, maker: u32) -> Account {
    let account = Account { caller: CallerId(caller), class: Class::Claimed, maker: Maker(maker) };
    if caller == 0 { Account::EVERYBODY } else { account }
}

proptest! {
    #[test]
    fn interleaved_callers_never_exceed_the_maximum(
        max in 1u64..12,
        scripts in proptest::collection::vec(proptest::collection::vec(any::<bool>(), 0..6), 1..30),
        caller in prop::sample::select(vec![0u128, 5]),
    ) {
        let store = MemoryStore::default();
        let shards = Shards::for_entries(64);
        let admitted = Cell::new(0u64);
        let call = [charge(1, caller, 1, max, Algorithm::Fixed)];
        let other = || {
            if Limiter::new(&store, shards).reserve(&call, UnixMillis(START)).is_ok() {
                admitted.set(admitted.get() + 1);
            }
        };
        for script in &scripts {
            let interleaved = Interleaved { store: &store, meanwhile: &other, script, step: Cell::new(0) };
            if Limiter::new(&interleaved, shards).reserve(&call, UnixMillis(START)).is_ok() {
                admitted.set(admitted.get() + 1);
            }
        }
        let calls = scripts.iter().map(|script| 1 + script.iter().filter(|act| **act).count() as u64).sum::<u64>();
        prop_assert!(admitted.get() <= max);
        // A caller that is let in late loses no place: whoever asked found the window full.
        prop_assert!(admitted.get() == max.min(calls) || admitted.get() >= max.min(scripts.len() as u64));
    }

    #[test]
    fn no_window_admits_more_than_its_maximum(
        max in 1u64..6,
        calls in proptest::collection::vec((0u64..400_000, 1u64..3, 1u128..200, any::<bool>()), 1..200),
        sliding in any::<bool>(),
    ) {
        let algorithm = if sliding { Algorithm::Sliding } else { Algorithm::Fixed };
        let store = MemoryStore::default();
        // One shard of 64 slots for up to 200 callers: some are forgotten.
        let limiter = Limiter::new(&store, Shards::for_entries(64));
        let mut calls = calls;
        calls.sort_by_key(|call| call.0);
        let mut counted: Vec<(u64, u128, u64)> = Vec::new();
        for (at, amount, caller, give_back) in calls {
            let now = UnixMillis(START + at);
            let Ok(granted) = limiter.reserve(&[charge(1, caller, amount, max, algorithm)], now) else { continue };
            if give_back {
                let reservations: Vec<Reservation> = granted.reservations.into_iter().map(|(_, made)| made).collect();
                limiter.give_back(&reservations);
            } else {
                counted.push((now.0 / 60_000, caller, amount));
            }
        }
        for (window, caller, _) in &counted {
            let sum: u64 = counted.iter().filter(|made| (made.0, made.1) == (*window, *caller)).map(|made| made.2).sum();
            prop_assert!(sum <= max, "caller {caller} in window {window}: {sum}");
        }
    }

    #[test]
    fn denied_calls_leave_no_trace(limits in proptest::collection::vec((0u128..3, 0u64..4), 1..5)) {
        let store = MemoryStore::default();
        let limiter = Limiter::new(&store, Shards::for_entries(256));
        let charges: Vec<Charge> = limits
            .iter()
            .enumerate()
            .map(|(at, (caller, max))| charge(at as u64 + 1, *caller, 1, *max, Algorithm::Fixed))
            .collect();
        let admitted = (0..6).filter(|_| limiter.reserve(&charges, UnixMillis(START)).is_ok()).count() as u64;
        prop_assert_eq!(Some(admitted), limits.iter().map(|(_, max)| *max).min());
        for charge in &charges {
            prop_assert_eq!(limiter.used(charge.counter, charge.account, UnixMillis(START)), Ok(Micros(admitted)));
        }
    }
}

#[test]
fn windows_turn_at_their_edges() {
    let store = MemoryStore::default();
    let limiter = Limiter::new(&store, Shards::for_entries(64));
    let edge = (START / 60_000 + 1) * 60_000;
    let call = [charge(1, 9, 1, 1, Algorithm::Fixed)];
    for (at, expected) in [
        (edge - 1, true),
        (edge - 1, false),
        (edge, true),
        // Another thread that read its clock just before the edge counts in the new window.
        (edge - 1, false),
        (edge + 59_999, false),
        (edge + 60_000, true),
    ] {
        assert_eq!(limiter.reserve(&call, UnixMillis(at)).is_ok(), expected, "{}", at - edge + 1);
    }
}

#[test]
fn giving_back_after_the_window_has_turned_changes_nothing() {
    let store = MemoryStore::default();
    let limiter = Limiter::new(&store, Shards::for_entries(64));
    let call = [charge(1, 9, 1, 1, Algorithm::Fixed)];
    let old = limiter.reserve(&call, UnixMillis(START)).unwrap();
    let next = UnixMillis(START + 60_000);
    assert!(limiter.reserve(&call, next).is_ok());
    limiter.give_back(old.reservations.iter().map(|(_, made)| made));
    assert!(limiter.reserve(&call, next).is_err());
}

#[test]
fn a_store_that_stays_contended_or_fails_denies() {
    struct Hopeless(Result<Swap, StoreFailed>);
    impl SharedStore for Hopeless {
        fn get(&self, _: &str) -> Result<Snapshot, StoreFailed> {
            Ok(Snapshot { value: Vec::new(), version: Version::ABSENT })
        }
        fn compare_and_set(&self, _: &str, _: &[u8], _: Version) -> Result<Swap, StoreFailed> {
            self.0
        }
    }
    for store in [Hopeless(Ok(Swap::Lost)), Hopeless(Err(StoreFailed))] {
        let limiter = Limiter::new(&store, Shards::for_entries(64));
        let call = [charge(1, 9, 1, 1, Algorithm::Fixed)];
        assert!(limiter.reserve(&call, UnixMillis(START)).is_err());
    }
}
