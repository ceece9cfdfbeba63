use super::{Charge, Counter, Limiter, Mode, OverrunCause, Refused, Shards};
use crate::number::Micros;
use crate::rate::algorithm::Algorithm;
use crate::rate::memory::MemoryStore;
use crate::rate::store::SharedStore as _;
use crate::rate::table::{Account, CallerId, Class, CounterId, Maker, Per};
use crate::rate::window::Window;
use crate::time::UnixMillis;
use std::num::NonZeroU32;

const NOW: UnixMillis = UnixMillis(1_700_000_000_000);

fn charge(counter: u64, caller: u128, max: u64) -> Charge {
    let window = Window::Every(NonZeroU32::new(60).unwrap());
    Charge {
        counter: Counter { id: CounterId(counter), window, algorithm: Algorithm::Fixed },
        account: of(caller),
        amount: Micros(1),
        max: Some(Micros(max)),
        mode: Mode::Enforce,
    }
}

/// The account of a caller whom nobody verified, from an address of his own; 0 is everybody.
fn of(caller: u128) -> Account {
    let from = |maker: u32| Account {
        caller: CallerId(caller),
        class: Class::Claimed,
        maker: Maker(maker),
        per: Per::Caller,
    };
    if caller == 0 { Account::EVERYBODY } else { from(1 + caller as u32) }
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
        let used = limiter.used(charge.counter, charge.account, NOW);
        assert_eq!(used, Ok(Micros(expected)), "{at}");
    }
}

#[test]
fn a_shadow_limit_is_reported_and_not_counted() {
    let store = MemoryStore::default();
    let limiter = Limiter::new(&store, Shards::for_entries(64));
    let call = [Charge { mode: Mode::Shadow, ..charge(1, 9, 1) }, charge(2, 9, 5)];
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
    assert!(keys <= 8 && bytes <= 8 * (25 + 65 * 56), "{keys} {bytes}");
    let next_minute = UnixMillis(NOW.0 + 60_000);
    assert!(limiter.reserve(&[charge(1, 77, 1)], next_minute).is_ok());
}

#[test]
fn foreign_bytes_deny() {
    let store = MemoryStore::default();
    let limiter = Limiter::new(&store, Shards::for_entries(64));
    let key = Shards::for_entries(64).key(super::IN_FORCE, CounterId(1), of(9));
    let version = store.get(&key).unwrap().version;
    store.compare_and_set(&key, b"not ours", version).unwrap();
    assert_eq!(limiter.reserve(&[charge(1, 9, 5)], NOW), Err(Refused::Unavailable));
}

#[test]
fn one_address_denies_nobody_else() {
    let store = MemoryStore::default();
    let limiter = Limiter::new(&store, Shards::for_entries(128));
    let from = |caller: u128, maker: u32| Charge {
        account: Account { maker: Maker(maker), ..of(caller) },
        ..charge(1, caller, 5)
    };
    let known =
        |caller| (0..5).filter(|_| limiter.reserve(&[from(caller, 1)], NOW).is_ok()).count();
    assert!(limiter.reserve(&[from(9, 1)], NOW).is_ok());
    let crowd = (1000..100_000u128).map(|caller| limiter.reserve(&[from(caller, 7)], NOW));
    let crowded = crowd.filter(|outcome| match outcome {
        Err(Refused::Exceeded(overrun)) => overrun.cause == OverrunCause::Crowded,
        _ => false,
    });
    assert_eq!(crowded.count(), 99_000 - 8 * 32);
    assert_eq!(known(9), 4);
    assert_eq!((200..300u128).map(known).sum::<usize>(), 500, "newcomers from elsewhere");
}
