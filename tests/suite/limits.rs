//! Limits, under callers that get in each other's way, at the edges of windows, and in full tables.

use std::cell::Cell;
use std::collections::HashMap;
use std::num::NonZeroU32;

use mcp_policy::number::Micros;
use mcp_policy::rate::algorithm::Algorithm;
use mcp_policy::rate::limiter::{
    Charge, Counter, Limiter, Mode, Overrun, OverrunCause, Refused, Reservation, Shards,
};
use mcp_policy::rate::memory::MemoryStore;
use mcp_policy::rate::store::{SharedStore, Snapshot, StoreFailed, Swap, Version};
use mcp_policy::rate::table::{Account, CallerId, Class, CounterId, Maker, Per};
use mcp_policy::rate::window::Window;
use mcp_policy::time::{Moment, UnixMillis};
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
        mode: Mode::Enforce,
    }
}

/// The account of a caller whom nobody verified; 0 is everybody.
fn of(caller: u128, maker: u32) -> Account {
    let account = Account {
        caller: CallerId(caller),
        class: Class::Claimed,
        maker: Maker(maker),
        per: Per::Caller,
    };
    if caller == 0 { Account::EVERYBODY } else { account }
}

proptest! {
    #[test]
    fn interleaved_callers_never_exceed_the_maximum(
        max in 1u64..12,
        scripts in proptest::collection::vec(proptest::collection::vec(any::<bool>(), 0..6), 1..30),
        caller in prop::sample::select(vec![0u128, 5]),
        algorithm in prop::sample::select(vec![Algorithm::Fixed, Algorithm::Sliding, Algorithm::Bucket { refill: Micros(9) }]),
    ) {
        let store = MemoryStore::default();
        let shards = Shards::for_entries(64);
        let admitted = Cell::new(0u64);
        let call = [charge(1, caller, 1, max, algorithm)];
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

    /// Callers of a few addresses, more than the tables hold; calls that the server refuses now, later, or never.
    #[test]
    fn nobody_gets_one_call_too_many(
        max in 1u64..5,
        calls in proptest::collection::vec((0u64..200_000, 1u128..300, 0u32..4, 0u8..4), 1..700),
        sliding in any::<bool>(),
    ) {
        let algorithm = if sliding { Algorithm::Sliding } else { Algorithm::Fixed };
        let store = MemoryStore::default();
        let limiter = Limiter::new(&store, Shards::for_entries(1));
        let mut calls = calls;
        calls.sort_by_key(|call| call.0);
        let mut counted: HashMap<(u64, u128), u64> = HashMap::new();
        let mut open: Vec<(u64, u128, Vec<Reservation>)> = Vec::new();
        for (at, caller, maker, refusal) in calls {
            let now = UnixMillis(START + at);
            let call = Charge { account: of(caller, maker), ..charge(1, caller, 1, max, algorithm) };
            if let Ok(granted) = limiter.reserve(&[call], now) {
                let made = granted.reservations.into_iter().map(|(_, made)| made).collect();
                *counted.entry((now.0 / 60_000, caller)).or_default() += 1;
                if refusal < 3 {
                    open.push((now.0 / 60_000, caller, made));
                }
            }
            // The server refuses the oldest that are on their way.
            for _ in 0..refusal.min(2) {
                if open.is_empty() { break }
                let (window, caller, made) = open.remove(0);
                limiter.give_back(&made);
                *counted.get_mut(&(window, caller)).unwrap() -= 1;
            }
            for ((window, caller), sum) in &counted {
                prop_assert!(*sum <= max, "caller {caller} in window {window}: {sum}");
            }
        }
    }

    /// What is refused is as if it had never been.
    #[test]
    fn refused_calls_leave_no_trace(
        callers in proptest::collection::vec((1u128..200, 1u32..5), 1..200),
        order in any::<prop::sample::Index>(),
    ) {
        let store = MemoryStore::default();
        let limiter = Limiter::new(&store, Shards::for_entries(1));
        let reserve = |caller, maker| {
            let call = Charge { account: of(caller, maker), ..charge(1, caller, 1, 3, Algorithm::Fixed) };
            limiter.reserve(&[call], UnixMillis(START))
        };
        let mut granted: Vec<_> = callers.iter().filter_map(|(caller, maker)| reserve(*caller, *maker).ok()).collect();
        let at = order.index(granted.len());
        granted.rotate_left(at);
        for made in granted {
            limiter.give_back(made.reservations.iter().map(|(_, made)| made));
        }
        let (keys, bytes) = store.size();
        prop_assert_eq!(bytes, keys * 25, "every table is empty");
    }

    /// In any stretch of time a bucket admits what it holds and what comes back meanwhile, whoever refuses what, in full tables too.
    /// And whoever comes again when he is told gets in, and not a millisecond earlier.
    #[test]
    fn no_stretch_of_time_empties_a_bucket_twice(
        (refill, burst) in (1u64..2000, 1u64..8),
        calls in proptest::collection::vec((0u64..3_000, 1u64..4, 1u128..100, 0u8..4), 1..300),
        crowd in any::<bool>(),
    ) {
        let store = MemoryStore::default();
        let limiter = Limiter::new(&store, Shards::for_entries(1));
        let algorithm = Algorithm::Bucket { refill: Micros(refill) };
        let mut now = START;
        let mut kept: Vec<(u64, u128, u64)> = Vec::new();
        let mut open: Vec<(u64, u128, u64, Vec<Reservation>)> = Vec::new();
        for (wait, amount, caller, refusal) in calls {
            now += wait;
            let caller = if crowd { caller } else { 1 + caller % 2 };
            let call = Charge { account: of(caller, 1 + (caller % 4) as u32), ..charge(1, caller, amount, burst, algorithm) };
            let reserve = |at| limiter.reserve(&[call], UnixMillis(at));
            match reserve(now) {
                Ok(granted) => {
                    let made = granted.reservations.into_iter().map(|(_, made)| made).collect();
                    open.push((now, caller, amount, made));
                }
                Err(Refused::Exceeded(Overrun { cause: OverrunCause::Reached, retry_after, .. })) => match retry_after {
                    Some(wait) => {
                        prop_assert!(wait > 0 && reserve(now + wait - 1).is_err(), "{wait} ms are too many");
                        let weighed = limiter.weigh(&call, UnixMillis(now + wait)).unwrap();
                        let reached = weighed.overrun.filter(|overrun| overrun.cause == OverrunCause::Reached);
                        prop_assert_eq!(reached, None, "{} ms are not enough", wait);
                    }
                    None => prop_assert!(amount > burst),
                },
                Err(_) => {}
            }
            if refusal == 0 && !open.is_empty() {
                let (_, _, _, made) = open.remove(open.len() / 2);
                limiter.give_back(&made);
            } else if refusal == 1 && !open.is_empty() {
                let (at, caller, amount, _) = open.remove(0);
                kept.push((at, caller, amount));
            }
        }
        kept.extend(open.into_iter().map(|(at, caller, amount, _)| (at, caller, amount)));
        for (from, caller, _) in &kept {
            for (until, _, _) in kept.iter().filter(|made| made.1 == *caller && made.0 >= *from) {
                let within = kept.iter().filter(|made| made.1 == *caller && (*from..=*until).contains(&made.0));
                let sum: u64 = within.map(|made| made.2).sum();
                prop_assert!(sum * 60_000 <= burst * 60_000 + refill * (until - from), "caller {caller}: {sum} in {} ms", until - from);
            }
        }
    }

    /// Whatever anybody does with the wall clock: it is set forward and back, to and fro, years ahead, or the process of it begins
    /// anew; and threads act on readings that are a little old.
    #[test]
    fn a_clock_that_is_set_gives_nothing_away(
        (max, seconds) in (1u64..5, prop::sample::select(vec![1u64, 10, 60, 3600, 86_400])),
        algorithm in prop::sample::select(vec![Algorithm::Fixed, Algorithm::Sliding, Algorithm::Bucket { refill: Micros(3) }]),
        steps in proptest::collection::vec(step(), 1..250),
    ) {
        let mut store = MemoryStore::default();
        let (mut running, mut offset) = (5_000_000u64, START);
        let (mut admitted, mut last): (Vec<u64>, Option<u64>) = (Vec::new(), None);
        let window = Window::Every(NonZeroU32::new(seconds as u32).unwrap());
        let like = charge(1, 5, 1, max, algorithm);
        let call = Charge { counter: Counter { window, ..like.counter }, ..like };
        let length = seconds * 1000;
        let mut open: Vec<(u64, Vec<Reservation>)> = Vec::new();
        for Step { wait, wall, lag, restart, refused } in steps {
            running += wait;
            match wall {
                Wall::Goes => {}
                Wall::IsSet(by) => offset = offset.saturating_add_signed(by),
                Wall::IsRight => offset = START,
            }
            if restart {
                // What is counted is in the memory of the process.
                store = MemoryStore::default();
                admitted.clear();
                open.clear();
                last = None;
            }
            let now = Moment { wall: UnixMillis(offset + running - lag), running: running - lag };
            let limiter = Limiter::new(&store, Shards::for_entries(1));
            if let Ok(granted) = limiter.reserve(&[call], now) {
                admitted.push(running);
                last = Some(running);
                let made = granted.reservations.into_iter().map(|(_, made)| made).collect();
                open.push((running, made));
            }
            // The server refuses a call that is on its way: late maybe, and after steps of the clock. What it took of a window that is
            // over is gone, but nothing comes back of another window for it.
            if let Some(at) = refused.filter(|_| !open.is_empty()).map(|at| at.index(open.len())) {
                let (made_at, made) = open.swap_remove(at);
                limiter.give_back(&made);
                let at = admitted.iter().position(|at| *at == made_at);
                at.map(|at| admitted.remove(at));
            }
            let Some(last) = last else {
                prop_assert!(false, "the first call of a caller is denied");
                continue;
            };
            // Nobody is locked out: two windows after his last call he has one again, whatever the wall clock tells.
            prop_assert!(running - last <= 2 * length + 2000, "locked out for {} ms", running - last);
        }
        for (at, from) in admitted.iter().enumerate() {
            for (count, until) in admitted[at..].iter().enumerate().map(|(at, until)| (at as u64 + 1, until)) {
                // Threads may lag behind by 200 ms.
                let time = until - from + 200;
                let most = match algorithm {
                    Algorithm::Bucket { refill } => max + (refill.0 * time).div_ceil(length),
                    // The windows that it touches, and two for each step that is followed: the one that it leads into, and the next.
                    Algorithm::Fixed | Algorithm::Sliding | Algorithm::InFlight => max * (time / length + 2 + 2 * (time / 3_600_000 + 1)),
                };
                prop_assert!(count <= most, "{count} of {most} in {time} ms");
            }
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

/// What happens before a call.
#[derive(Clone, Debug)]
struct Step {
    /// How much time passes, in milliseconds.
    wait: u64,
    wall: Wall,
    /// How old the reading of the clocks is, in milliseconds.
    lag: u64,
    restart: bool,
    /// Which of the calls that are on their way the server refuses then, if any.
    refused: Option<prop::sample::Index>,
}

/// What somebody does to the wall clock.
#[derive(Clone, Debug)]
enum Wall {
    Goes,
    IsSet(i64),
    IsRight,
}

fn step() -> impl Strategy<Value = Step> {
    let by = prop_oneof![
        -2_000i64..2_000,
        -100_000i64..100_000,
        -90_000_000i64..90_000_000,
        Just(31_536_000_000i64)
    ];
    let wall =
        prop_oneof![4 => Just(Wall::Goes), 3 => by.prop_map(Wall::IsSet), 2 => Just(Wall::IsRight)];
    let wait = prop_oneof![4 => 0u64..300, 2 => 0u64..20_000, 1 => 0u64..5_000_000];
    let refused = prop::option::weighted(0.3, any::<prop::sample::Index>());
    (wait, wall, 0u64..200, prop::bool::weighted(0.01), refused)
        .prop_map(|(wait, wall, lag, restart, refused)| Step { wait, wall, lag, restart, refused })
}

/// How many calls of a caller pass while the wall clock does this in each half second, at most 10 in a window.
fn passing(window: u32, half_seconds: u64, clock: impl Fn(u64) -> i64) -> usize {
    let store = MemoryStore::default();
    let limiter = Limiter::new(&store, Shards::for_entries(64));
    let like = charge(1, 5, 1, 10, Algorithm::Fixed);
    let window = Window::Every(NonZeroU32::new(window).unwrap());
    let call = Charge { counter: Counter { window, ..like.counter }, ..like };
    let calls = (0..half_seconds).flat_map(|half| std::iter::repeat_n(half, 30));
    calls
        .filter(|half| {
            let running = half * 500;
            let wall = UnixMillis((START + running).saturating_add_signed(clock(*half) * 1000));
            limiter.reserve(&[call], Moment { wall, running }).is_ok()
        })
        .count()
}

/// The attack that is meant: a clock that flapped by 30 s admitted 750 calls of 10 in 18 s.
#[test]
fn a_clock_that_flaps_begins_two_windows_early_at_most() {
    let flaps = |by: i64| move |half: u64| if half % 2 == 1 { by } else { 0 };
    for by in [-86_400, -61, -30, -11, 11, 30, 61, 86_400] {
        let passed = passing(10, 36, flaps(by));
        // Two windows or three, and one by the step.
        assert!(passed <= 40, "{by}: {passed}");
        assert!(passing(60, 36, flaps(by)) <= 30, "{by}");
        assert!(passing(86_400, 36, flaps(by)) <= 20, "{by}");
    }
}

/// As an operator meets it: the clock was wrong when the machine began, and is set once.
#[test]
fn a_clock_that_is_set_once_locks_nobody_out() {
    let year = 365 * 86_400;
    for by in [-year, -3600, -61, 61, 3600, year] {
        let passed = passing(60, 2 * 600, |half| if half < 20 { by } else { 0 });
        assert!((100..=120).contains(&passed), "ten minutes of ten calls: {by}: {passed}");
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

/// A crowd with invented names before and while honest callers call, five times a day each.
struct Siege {
    store: MemoryStore,
    shards: Shards,
}

impl Siege {
    fn new(entries: u32) -> Siege {
        Siege { store: MemoryStore::default(), shards: Shards::for_entries(entries) }
    }

    fn call(&self, name: u128, maker: u32) -> Option<Vec<Reservation>> {
        // Names are digests.
        let caller = name.wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835) | 1;
        let window = Window::Every(NonZeroU32::new(86_400).unwrap());
        let charge = charge(1, caller, 1, 5, Algorithm::Fixed);
        let counter = Counter { window, ..charge.counter };
        let charge = Charge { counter, account: of(caller, maker), ..charge };
        let granted =
            Limiter::new(&self.store, self.shards).reserve(&[charge], UnixMillis(START)).ok()?;
        Some(granted.reservations.into_iter().map(|(_, made)| made).collect())
    }

    /// How many of the five calls each of these callers gets, of all of them together.
    fn served(&self, honest: std::ops::Range<u128>) -> usize {
        let calls = honest.flat_map(|name| std::iter::repeat_n(name, 5));
        calls.filter(|name| self.call(*name, 1_000_000 + *name as u32).is_some()).count()
    }

    /// As many calls as it takes, from so many addresses; how many passed.
    fn attack(&self, calls: u128, addresses: u128) -> usize {
        let names = 1_000_000..1_000_000 + calls;
        names.filter(|name| self.call(*name, 1 + (name % addresses) as u32).is_some()).count()
    }
}

/// The attack that is meant: with limits of five a day, calls with ever new tokens raised the floors until nobody got a call.
#[test]
fn a_crowd_from_one_address_takes_nothing_from_others() {
    let siege = Siege::new(1024);
    assert_eq!(siege.served(0..100), 500);
    let passed = siege.attack(12_000, 1);
    assert!(passed <= 2 * 1024, "half of the tables: {passed}");
    assert_eq!(siege.served(100..600), 5 * 500, "newcomers get all of their calls");
    assert_eq!(siege.served(0..100), 0, "and the known not one more");
}

/// What remains where every call comes from elsewhere: newcomers share what is left, and whoever is known keeps his.
#[test]
fn a_crowd_from_everywhere_takes_nothing_from_the_known() {
    let siege = Siege::new(1024);
    for name in 0..500 {
        assert!(siege.call(name, 1_000_000 + name as u32).is_some());
    }
    siege.attack(12_000, 12_000);
    let known = siege.served(0..500);
    assert_eq!(known, 4 * 500, "each has the four calls that he had left");
    let newcomers = siege.served(500..1000);
    assert!(newcomers < 500, "this is what an operator closes with verified names: {newcomers}");
}

#[test]
fn a_crowd_that_the_server_refuses_takes_nothing_from_anybody() {
    let siege = Siege::new(1024);
    for name in 1_000_000..1_012_000u128 {
        let made = siege.call(name, name as u32).unwrap();
        Limiter::new(&siege.store, siege.shards).give_back(&made);
    }
    assert_eq!(siege.served(0..1000), 5 * 1000);
}

#[test]
fn names_that_can_be_invented_fill_no_table_of_others() {
    let siege = Siege::new(1024);
    siege.attack(12_000, 12_000);
    let verified = |name: u128| {
        let caller = CallerId(name.wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835) | 1);
        let account =
            Account { caller, class: Class::Verified, maker: Maker::NOBODY, per: Per::Caller };
        let call = Charge { account, ..charge(1, name, 1, 5, Algorithm::Fixed) };
        (0..5)
            .filter(|_| {
                Limiter::new(&siege.store, siege.shards).reserve(&[call], UnixMillis(START)).is_ok()
            })
            .count()
    };
    assert_eq!((2_000..3_000).map(verified).sum::<usize>(), 5 * 1000);
}
