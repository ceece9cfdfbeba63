use super::Bucket;
use crate::number::Micros;
use crate::rate::algorithm::{Admitted, Algorithm, CountState, Demand};
use crate::rate::window::Window;
use crate::time::UnixMillis;
use std::num::NonZeroU32;

const WINDOW: Window = Window::Every(NonZeroU32::new(60).unwrap());

fn bucket(level: u128, at: u64, length: u64, refill: u64) -> Bucket {
    Bucket { level, at, length, refill }
}

fn admit(
    state: Option<&CountState>,
    now: u64,
    (amount, max): (u64, u64),
    refill: u64,
) -> Option<CountState> {
    let ask = Demand { amount: Micros(amount), max: Micros(max) };
    let algorithm = Algorithm::Bucket { refill: Micros(refill) };
    algorithm.admit(WINDOW, state, UnixMillis(now).into(), ask).ok().map(|admitted| admitted.state)
}

#[test]
fn what_is_counted_drains_at_a_steady_rate() {
    let state = admit(None, 1000, (6, 6), 6).unwrap();
    let used = |now| Bucket::at(Some(&state), WINDOW, Micros(6), now).used().0;
    let seen = [1000, 1001, 10_999, 11_000, 11_001, 60_999, 61_000, 999_999].map(used);
    assert_eq!(seen, [6, 6, 6, 5, 5, 1, 0, 0], "rounded up to a millionth");
    assert!(admit(Some(&state), 10_999, (1, 6), 6).is_none());
    assert!(admit(Some(&state), 11_000, (1, 6), 6).is_some());
}

#[test]
fn it_can_be_forgotten_when_it_is_empty() {
    for (amount, refill, expires) in [(6, 6, 61), (1, 7, 10), (1, 6, 11), (7, 6, 71)] {
        let Admitted { expires: told, .. } = bucket(0, 1000, 60_000, refill).add(Micros(amount));
        assert_eq!(told, expires, "{amount} {refill}");
    }
}

#[test]
fn no_number_is_too_large() {
    let (most, year) = (u64::MAX, 366 * 86_400_000);
    let full = bucket(0, 7, year, 1).add(Micros(most));
    assert_eq!(full.expires, most.div_ceil(1000), "it is never empty");
    let window = Window::Every(NonZeroU32::new(366 * 86_400).unwrap());
    let later = Bucket::at(Some(&full.state), window, Micros(1), 7 + year);
    assert_eq!(later.used(), Micros(most - 1));
    let ask = |amount| Demand { amount: Micros(amount), max: Micros(most) };
    assert_eq!(later.retry_after(ask(2)), Some(year));
    assert_eq!(later.retry_after(ask(most)), None, "no clock tells that time");
    let drained = Bucket::at(Some(&full.state), window, Micros(most), most);
    assert_eq!(drained.used(), Micros(0));
    assert_eq!(drained.add(Micros(most)).expires, most.div_ceil(1000));
}

#[test]
fn what_may_have_drained_is_not_given_back() {
    let made = bucket(0, 1000, 60_000, 6).add(Micros(2));
    let refunded = |state: &CountState| {
        let left = Bucket::unpack(state, WINDOW, Micros(6)).refund(made.mark, Micros(2));
        left.map(|state| Bucket::unpack(&state, WINDOW, Micros(6)).used().0)
    };
    assert_eq!(refunded(&made.state), None, "nothing is left of it");
    let at_once = admit(Some(&made.state), 1000, (1, 9), 6).unwrap();
    assert_eq!(refunded(&at_once), Some(1));
    let half_drained = admit(Some(&made.state), 11_000, (3, 9), 6).unwrap();
    assert_eq!(refunded(&half_drained), Some(3), "one of the two has come back by itself");
    let drained = admit(Some(&made.state), 31_000, (3, 9), 6).unwrap();
    assert_eq!(refunded(&drained), Some(3));
}

#[test]
fn packs_and_unpacks() {
    let window = Window::Every(NonZeroU32::new(60).unwrap());
    for level in [1, u128::from(u64::MAX), 1 << 99] {
        let known = bucket(level, 12_345, 60_000, 6);
        assert_eq!(Bucket::unpack(&known.pack(), window, Micros(6)), known);
    }
}
