use super::{Account, CallerId, Class, CountPlace, CounterId, Maker, Per, SLOT_BYTES, Slot, Table};
use crate::bounds::{SLOTS_PER_MAKER, SLOTS_PER_SHARD};
use crate::rate::algorithm::CountState;
use crate::time::{Moment, UnixMillis};

fn slot(caller: u128, maker: u32, current: u64) -> Slot {
    Slot {
        counter: CounterId(7),
        caller: CallerId(caller),
        maker: Maker(maker),
        expires: 120,
        state: CountState([7, current, 3]),
    }
}

fn account(caller: u128, maker: u32) -> Account {
    Account {
        caller: CallerId(caller),
        class: Class::Claimed,
        maker: Maker(maker),
        per: Per::Caller,
    }
}

#[test]
fn packs_and_unpacks() {
    let mut table = Table::default();
    table.advance(UnixMillis(61_000).into());
    table.put(slot(1, 9, 5));
    table.put(slot(u128::MAX, u32::MAX, u64::MAX));
    let bytes = table.packed().to_vec();
    assert_eq!(bytes.len(), 25 + 2 * SLOT_BYTES);
    assert!(Table::decode(bytes[..bytes.len() - 1].to_vec()).is_err());
    assert_eq!(Table::decode(bytes), Ok(table));
    assert!(Table::decode(b"other".to_vec()).is_err());
    assert!(Table::decode(vec![3; 25]).is_err());
    assert_eq!(Table::decode(Vec::new()), Ok(Table::default()));
}

#[test]
fn nobody_loses_his_slot_and_newcomers_share_the_floor() {
    let mut table = Table::default();
    for caller in 1..=SLOTS_PER_SHARD as u128 {
        assert_eq!(table.place(CounterId(7), account(caller, caller as u32)), CountPlace::Own);
        table.put(slot(caller, caller as u32, 10 + caller as u64));
    }
    assert_eq!(table.place(CounterId(7), account(1000, 1000)), CountPlace::Floor);
    table.put(slot(0, 0, 2));
    let count = |table: &Table, caller| {
        table.state(CounterId(7), CallerId(caller), Per::Caller).unwrap().0[1]
    };
    assert_eq!((count(&table, 1), count(&table, 64)), (11, 74));
    assert_eq!((count(&table, 1000), count(&table, 2000)), (2, 2));
    assert_eq!(table.place(CounterId(7), account(1, 1)), CountPlace::Own, "the known keep theirs");
    assert_eq!(table.slots().len(), SLOTS_PER_SHARD + 1);
}

#[test]
fn one_address_fills_half_of_a_table() {
    let mut table = Table::default();
    for caller in 1..=SLOTS_PER_MAKER as u128 {
        assert_eq!(table.place(CounterId(7), account(caller, 5)), CountPlace::Own);
        table.put(slot(caller, 5, 1));
    }
    assert_eq!(table.place(CounterId(7), account(1000, 5)), CountPlace::Crowded);
    assert_eq!(
        table.place(CounterId(8), account(1, 5)),
        CountPlace::Crowded,
        "another counter is another slot"
    );
    assert_eq!(table.place(CounterId(7), account(1000, 6)), CountPlace::Own);
    assert_eq!(table.place(CounterId(7), account(1, 6)), CountPlace::Own, "known from elsewhere");
    assert_eq!(table.place(CounterId(7), account(1000, 0)), CountPlace::Own, "nobody's share");
}

#[test]
fn slots_last_as_long_as_time_passes() {
    let mut table = Table::default();
    table.put(slot(1, 1, 5));
    let mut at = |wall, running| {
        table.advance(Moment { wall: UnixMillis(wall), running });
        table.slots().len()
    };
    for (wall, running, expected) in [(9_000_000, 119_999, 1), (1_000, 120_000, 0)] {
        assert_eq!(at(wall, running), expected, "{running}");
    }
}

#[test]
fn what_comes_to_nothing_leaves_no_trace() {
    let mut table = Table::default();
    table.put(slot(1, 1, 5));
    table.change(CounterId(7), CallerId(2), |_| None);
    table.change(CounterId(7), CallerId(1), |state| Some(*state));
    assert_eq!(table.slots().len(), 1, "something is left of it");
    table.change(CounterId(7), CallerId(1), |_| None);
    assert_eq!(table.packed().len(), 25, "its slot is left");
}
