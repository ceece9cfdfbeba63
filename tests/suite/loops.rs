//! Limits that stop loops: calls in flight under streams that end in every way, different names, equal calls.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU32;
use std::rc::Rc;

use mcp_policy::exchange::{Chunk, Event, Exchange, Flow, Holds};
use mcp_policy::mcp::headers::Follows;
use mcp_policy::number::Micros;
use mcp_policy::policy::compiled::Config;
use mcp_policy::policy::settings::HoldHeaders;
use mcp_policy::rate::algorithm::Algorithm;
use mcp_policy::rate::limiter::{
    Charge, Counter, Limiter, Mode, OverrunCause, Refused, Reservation, Shards,
};
use mcp_policy::rate::memory::MemoryStore;
use mcp_policy::rate::table::{Account, CallerId, Class, CounterId, Maker, Per};
use mcp_policy::rate::window::Window;
use mcp_policy::time::UnixMillis;
use proptest::prelude::*;

use crate::world::{World, post_headers, tools_call};

const START: u64 = 1_700_000_000_000;
const MOST: usize = 2;

const POLICY: &str = r#"{"version":"1","default":"allow",
    "tools":{"asks":{"action":"require_approval"},"closed":{"action":"deny"}},
    "all_tools":{"limits":[{"counter":"flying","concurrent":2}]}}"#;

/// What happens to one of a few streams.
#[derive(Clone, Copy, Debug)]
enum Act {
    /// It calls a tool, if it does nothing yet.
    Call(&'static str),
    /// The head of its response comes, or all of it, or its trailers.
    Head,
    Body(Chunk),
    Trailers,
    /// Envoy does not do what was asked of it.
    Fails,
    /// It is over, for whatever reason.
    Closes,
    /// Nobody hears of it any more: its VM has ended.
    Vanishes,
    /// So many seconds pass, with their pulses.
    Wait(u64),
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        6 => Just(Act::Call("t")),
        1 => Just(Act::Call("asks")),
        1 => Just(Act::Call("closed")),
        1 => Just(Act::Head),
        1 => prop_oneof![Just(Act::Body(Chunk::More)), Just(Act::Body(Chunk::Last))],
        1 => Just(Act::Trailers),
        1 => Just(Act::Fails),
        4 => Just(Act::Closes),
        1 => Just(Act::Vanishes),
        2 => (1u64..700).prop_map(Act::Wait),
    ]
}

fn call(config: &Rc<Config>, world: &mut World<'_>, tool: &str) -> (Exchange, bool) {
    let mut exchange = Exchange::new(config.clone(), Rc::new(Holds::new(HoldHeaders::Always)));
    let headers = post_headers("");
    let head = Event::RequestHead { headers: &headers, follows: Follows::Body };
    let _ = exchange.on(world, head);
    world.body = tools_call("1", tool, Some("{}")).into_bytes();
    let buffered = world.body.len();
    let step = exchange.on(world, Event::RequestBody { buffered, chunk: Chunk::Last });
    let goes = step.flow == Flow::Continue;
    assert_eq!(step.pulses, goes, "who is in flight wants to be seen, and nobody else");
    (exchange, goes)
}

proptest! {
    /// Never more are in flight than may be, and whoever is not in flight takes nobody's place: at once where the stream ended in any way,
    /// and after ten minutes where nobody can tell that it did.
    #[test]
    fn places_are_taken_and_given_back(acts in proptest::collection::vec((0usize..4, act()), 1..60)) {
        let config = Rc::new(Config::load(POLICY.as_bytes(), "test").unwrap().config);
        let store = MemoryStore::default();
        let mut world = World::new(&store);
        let mut now = START;
        let mut streams: BTreeMap<usize, (Exchange, bool)> = BTreeMap::new();
        let mut vanished: Vec<u64> = Vec::new();
        for (at, act) in acts.into_iter().chain([(0, Act::Wait(900)), (9, Act::Call("t"))]) {
            world.now = Some(now);
            match (act, streams.get_mut(&at)) {
                (Act::Call(tool), None) => {
                    let flying = streams.values().filter(|(_, flies)| *flies).count();
                    vanished.retain(|last| now - last < 600_000);
                    let (exchange, goes) = call(&config, &mut world, tool);
                    if goes {
                        prop_assert!(flying < MOST, "{flying} are in flight already");
                    } else if tool == "t" {
                        prop_assert!(flying + vanished.len() >= MOST, "{flying} and {vanished:?}");
                    }
                    streams.insert(at, (exchange, goes));
                }
                (Act::Wait(seconds), _) => {
                    for _ in 0..seconds.div_ceil(30) {
                        now += 30_000;
                        world.now = Some(now);
                        for (exchange, _) in streams.values_mut() {
                            let _ = exchange.on(&world, Event::Tick);
                        }
                    }
                }
                (Act::Head, Some((exchange, true))) => {
                    let _ = exchange.on(&world, Event::ResponseHead { follows: Follows::Body });
                }
                (Act::Body(chunk), Some((exchange, true))) => {
                    world.chunk = b"{}".to_vec();
                    let _ = exchange.on(&world, Event::ResponseBody { length: 2, chunk });
                }
                (Act::Trailers, Some((exchange, true))) => {
                    let _ = exchange.on(&world, Event::ResponseTrailers);
                }
                (Act::Fails, Some((exchange, _))) => {
                    let _ = exchange.on(&world, Event::HostFailed);
                }
                (Act::Closes, Some((exchange, _))) => {
                    let _ = exchange.on(&world, Event::Closed);
                    let step = exchange.on(&world, Event::Closed);
                    prop_assert!(!step.pulses && !step.ticks);
                    streams.remove(&at);
                }
                (Act::Vanishes, Some((_, flies))) => {
                    // It was seen half a minute ago at the latest.
                    vanished.extend(flies.then_some(now));
                    streams.remove(&at);
                }
                (_, _) => {}
            }
        }
    }

    /// One caller, however often he calls what, and whatever is taken back, has called no more different names than he may.
    #[test]
    fn names_are_as_many_as_may_be(
        max in 1u64..5,
        calls in proptest::collection::vec((0u128..3, 0u128..7, 0u64..90, any::<Option<prop::sample::Index>>()), 1..60),
    ) {
        let store = MemoryStore::default();
        let limiter = Limiter::new(&store, Shards::for_entries(64));
        let mut now = START;
        // Who has called what in which minute, and what can be taken back of it.
        let mut called: Vec<(u128, u128, u64, Vec<Reservation>)> = Vec::new();
        for (caller, name, wait, back) in calls {
            now += wait * 1000;
            if let Some(at) = back.filter(|_| !called.is_empty()) {
                let (.., made) = called.swap_remove(at.index(called.len()));
                limiter.give_back(&made);
            }
            let minute = now / 60_000;
            let own = called.iter().filter(|(who, _, then, _)| (*who, *then) == (caller, minute));
            let names: BTreeSet<u128> = own.map(|(_, name, ..)| *name).collect();
            let admits = names.contains(&name) || (names.len() as u64) < max;
            let charge = charge(per(account(caller + 1), Per::Name, name), max * 1_000_000);
            match limiter.reserve(&[charge], UnixMillis(now)) {
                Ok(granted) => {
                    prop_assert!(admits, "{names:?} and {name}");
                    let made = granted.reservations.into_iter().map(|(_, made)| made).collect();
                    called.push((caller, name, minute, made));
                }
                Err(Refused::Exceeded(overrun)) => {
                    prop_assert!(!admits, "{names:?} and {name}");
                    prop_assert_eq!(overrun.remaining, Micros(0));
                    prop_assert_eq!(overrun.retry_after, Some((minute + 1) * 60_000 - now));
                }
                Err(Refused::Unavailable) => prop_assert!(false, "the store works"),
            }
        }
    }
}

fn account(caller: u128) -> Account {
    // Names are digests.
    let caller = CallerId(caller.wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835) | 1);
    Account { caller, class: Class::Verified, maker: Maker::NOBODY, per: Per::Caller }
}

fn per(account: Account, per: Per, what: u128) -> Account {
    // They are digests too: every bit differs, also the low ones, which choose the table.
    let what = what.wrapping_mul(0xd6e8_feb8_6659_fd93_c4ce_b9fe_1a85_ec53) | 1;
    account.per(per, what.rotate_left(17) ^ account.caller.0 << 1, account)
}

fn charge(account: Account, max: u64) -> Charge {
    let window = Window::Every(NonZeroU32::new(60).unwrap());
    Charge {
        counter: Counter { id: CounterId(7), window, algorithm: Algorithm::Fixed },
        account,
        amount: Micros(1_000_000),
        max: Some(Micros(max)),
        mode: Mode::Enforce,
    }
}

/// Somebody who makes ever new calls fills half of a table, and then is denied; nobody else is, nor are counts of other kinds.
#[test]
fn ever_new_calls_take_nothing_from_others() {
    let store = MemoryStore::default();
    let limiter = Limiter::new(&store, Shards::for_entries(256));
    let reserve = |account| limiter.reserve(&[charge(account, 1_000_000)], UnixMillis(START));
    let denied = (0..20_000).filter(|call| {
        let refused = reserve(per(account(1), Per::Call, *call)).err();
        let crowded = |cause| cause == OverrunCause::Crowded;
        refused.is_some_and(|refused| match refused {
            Refused::Exceeded(overrun) => crowded(overrun.cause),
            Refused::Unavailable => panic!("the store works"),
        })
    });
    assert_eq!(20_000 - denied.count(), 512, "half of 16 tables with 64 slots");
    for caller in 2..100 {
        for call in 0..2 {
            assert!(reserve(per(account(caller), Per::Call, call)).is_ok(), "{caller}");
        }
        assert!(reserve(account(caller)).is_ok());
    }
    assert!(reserve(account(1)).is_ok(), "his calls are not himself");
    let (keys, bytes) = store.size();
    assert!(keys <= 32 && bytes < 32 * 64 * 64, "{keys} {bytes}");
}
