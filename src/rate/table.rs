//! The small table that one shared-data key holds, and its packed form.
//!
//! A caller has a slot for each counter that he counts on. Callers who find the table full have none: they share one count, the
//! counter's *floor* in this table, and whoever gets a slot later starts at it. Nobody's slot is ever taken from him for a newcomer.

pub use super::account::{Account, CallerId, Class, Maker, Per};

use super::algorithm::{CountState, STATE_WORDS};
use super::clock::Clock;
use super::store::StoreFailed;
use crate::bounds::{SLOTS_PER_MAKER, SLOTS_PER_SHARD};
use crate::time::Moment;

/// Which counter a slot belongs to: a digest of everything that makes two counters one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CounterId(pub u64);

/// What one caller has used of one counter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slot {
    /// The counter.
    pub counter: CounterId,
    /// The caller, or the floor.
    pub caller: CallerId,
    /// Who made it.
    pub maker: Maker,
    /// When the slot can be forgotten, in seconds of the clock that cannot be set.
    pub expires: u64,
    /// The count, which only the counter's algorithm can read.
    pub state: CountState,
}

/// Where a call of an account is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CountPlace {
    /// In a slot of its own.
    Own,
    /// On the floor: the table is full.
    Floor,
    /// Nowhere: who brought the name has brought too many.
    Crowded,
}

/// The slots of one shard, as they are packed: a call reads and writes one of them, and the others stay where they lie.
///
/// INVARIANT: `packed` is empty, or a header that says what `clock` does and then whole slots.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Table {
    clock: Clock,
    packed: Vec<u8>,
}

/// The packed format. It is a part of the shared-data keys, so builds that pack tables in another way keep away from these.
pub const FORMAT: u8 = 4;

/// The same in those keys.
pub(super) const FORMAT_PART: &str = "/4/";

const _: () =
    assert!(matches!(FORMAT_PART.as_bytes(), [b'/', digit, b'/'] if *digit == b'0' + FORMAT));

const HEADER_BYTES: usize = 25;

/// Bytes of one packed slot.
pub const SLOT_BYTES: usize = 32 + 8 * STATE_WORDS;

type Packed = [u8; SLOT_BYTES];

/// The beginning of a packed slot: its counter and its caller.
type PackedName = [u8; 24];

impl Table {
    /// Takes a packed table. No bytes are an empty table.
    ///
    /// # Errors
    /// [`StoreFailed`] if somebody else wrote the bytes.
    pub fn decode(packed: Vec<u8>) -> Result<Table, StoreFailed> {
        let Some((header, slots)) = packed.split_at_checked(HEADER_BYTES) else {
            return if packed.is_empty() { Ok(Table::default()) } else { Err(StoreFailed) };
        };
        let words = [u64_at(header, 1), u64_at(header, 9), u64_at(header, 17)];
        let (Some(&FORMAT), [Some(wall), Some(running), Some(steady_until)]) =
            (header.first(), words)
        else {
            return Err(StoreFailed);
        };
        let whole = slots.len().is_multiple_of(SLOT_BYTES);
        let clock = Clock { wall, running, steady_until };
        if whole { Ok(Table { clock, packed }) } else { Err(StoreFailed) }
    }

    /// The table as it is packed.
    #[must_use]
    pub fn packed(&self) -> &[u8] {
        &self.packed
    }

    /// Moves the table's clock on, and drops what has expired. Returns the time that counts here.
    pub fn advance(&mut self, now: Moment) -> Moment {
        let now = self.clock.advance(now);
        self.write_header();
        let seconds = now.running / 1000;
        let mut at = 0;
        while let Some(slot) = self.slots().get(at) {
            // The last one takes its place.
            if expires(slot) > seconds { at += 1 } else { self.remove(at) }
        }
        now
    }

    /// The count of a caller. One without a slot has the counter's floor.
    #[must_use]
    pub fn state(&self, counter: CounterId, caller: CallerId, per: Per) -> Option<CountState> {
        let floor = || self.find(counter, caller.on_floor(per));
        let at = self.find(counter, caller).or_else(floor)?;
        self.slots().get(at).and_then(state)
    }

    /// The names that a caller has called, with what each counts; those on the floor are everybody's.
    pub fn names(
        &self,
        counter: CounterId,
        caller: CallerId,
    ) -> impl Iterator<Item = (u128, CountState)> {
        let his = move |whose: &CallerId| [0, caller.holder()].contains(&whose.holder());
        let counted = counter.0.to_le_bytes();
        let slots = self.slots().iter().filter(move |slot| slot.starts_with(&counted));
        slots.filter_map(move |slot| {
            let whose = caller_of(slot).filter(his)?;
            Some((whose.name(), state(slot)?))
        })
    }

    /// What stands in a slot, without the floor.
    #[must_use]
    pub fn own(&self, counter: CounterId, caller: CallerId) -> Option<CountState> {
        self.slots().get(self.find(counter, caller)?).and_then(state)
    }

    /// Where a call of an account is counted on a counter.
    #[must_use]
    pub fn place(&self, counter: CounterId, account: Account) -> CountPlace {
        let Account { caller, maker, .. } = account;
        if caller == CallerId::EVERYBODY || self.find(counter, caller).is_some() {
            return CountPlace::Own;
        }
        let everybody = CallerId::EVERYBODY.0.to_le_bytes();
        let callers = || self.slots().iter().filter(|slot| slot.get(8..24) != Some(&everybody));
        let maker_bytes = maker.0.to_le_bytes();
        let made = || callers().filter(|slot| slot.get(24..28) == Some(&maker_bytes)).count();
        if maker != Maker::NOBODY && made() >= SLOTS_PER_MAKER {
            CountPlace::Crowded
        } else if callers().count() >= SLOTS_PER_SHARD {
            CountPlace::Floor
        } else {
            CountPlace::Own
        }
    }

    /// Stores a count. Whether there is room for it, [`Table::place`] says.
    pub fn put(&mut self, slot: Slot) {
        let found = self.find(slot.counter, slot.caller);
        match found.and_then(|at| self.slots_mut().get_mut(at)) {
            Some(known) => *known = pack(&slot),
            None => {
                if self.packed.is_empty() {
                    self.write_header();
                }
                self.packed.extend_from_slice(&pack(&slot));
            }
        }
    }

    /// Changes what a caller's own slot counts, if he still has one. A slot that comes to nothing goes: a caller who has no slot starts at
    /// the floor, and what he has on the floor is counted there.
    pub fn change(
        &mut self,
        counter: CounterId,
        caller: CallerId,
        change: impl FnOnce(&CountState) -> Option<CountState>,
    ) {
        let Some(at) = self.find(counter, caller) else { return };
        let Some(slot) = self.slots_mut().get_mut(at) else { return };
        let Some(known) = state(slot) else { return };
        match change(&known) {
            Some(changed) => set_state(slot, changed),
            None => self.remove(at),
        }
    }

    fn slots(&self) -> &[Packed] {
        self.packed.get(HEADER_BYTES..).unwrap_or_default().as_chunks().0
    }

    fn slots_mut(&mut self) -> &mut [Packed] {
        self.packed.get_mut(HEADER_BYTES..).unwrap_or_default().as_chunks_mut().0
    }

    fn find(&self, counter: CounterId, caller: CallerId) -> Option<usize> {
        let place = place(counter, caller);
        self.slots().iter().position(|slot| slot.first_chunk() == Some(&place))
    }

    /// Puts the last slot into the place of this one.
    fn remove(&mut self, at: usize) {
        let Some((last, others)) = self.slots_mut().split_last_mut() else { return };
        if let Some(slot) = others.get_mut(at) {
            *slot = *last;
        }
        self.packed.truncate(self.packed.len() - SLOT_BYTES);
    }

    fn write_header(&mut self) {
        if self.packed.is_empty() {
            self.packed.reserve_exact(HEADER_BYTES + SLOT_BYTES);
            self.packed.resize(HEADER_BYTES, 0);
        }
        let Clock { wall, running, steady_until } = self.clock;
        let mut header = [0; HEADER_BYTES];
        let (first, words) = header.split_at_mut(1);
        first.copy_from_slice(&[FORMAT]);
        for (word, bytes) in [wall, running, steady_until].iter().zip(words.as_chunks_mut().0) {
            *bytes = word.to_le_bytes();
        }
        if let Some(place) = self.packed.first_chunk_mut() {
            *place = header;
        }
    }
}

fn place(counter: CounterId, caller: CallerId) -> PackedName {
    let mut place: PackedName = [0; 24];
    let (first, second) = place.split_at_mut(8);
    first.copy_from_slice(&counter.0.to_le_bytes());
    second.copy_from_slice(&caller.0.to_le_bytes());
    place
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

/// Whose slot it is.
fn caller_of(slot: &Packed) -> Option<CallerId> {
    Some(CallerId(u128::from_le_bytes(*slot.get(8..)?.first_chunk()?)))
}

/// When a slot can be forgotten, in seconds.
fn expires(slot: &Packed) -> u64 {
    let bytes = slot.get(28..).and_then(<[u8]>::first_chunk);
    bytes.map_or(0, |bytes| u64::from(u32::from_le_bytes(*bytes)))
}

fn state(slot: &Packed) -> Option<CountState> {
    Some(CountState([u64_at(slot, 32)?, u64_at(slot, 40)?, u64_at(slot, 48)?]))
}

fn set_state(slot: &mut Packed, CountState(words): CountState) {
    let places = slot.get_mut(32..).unwrap_or_default().as_chunks_mut().0;
    for (word, place) in words.iter().zip(places) {
        *place = word.to_le_bytes();
    }
}

fn pack(slot: &Slot) -> Packed {
    let mut packed = [0; SLOT_BYTES];
    let expires = u32::try_from(slot.expires).unwrap_or(u32::MAX);
    if let Some(bytes) = packed.first_chunk_mut() {
        *bytes = place(slot.counter, slot.caller);
    }
    if let Some(bytes) = packed.get_mut(24..32).and_then(<[u8]>::first_chunk_mut) {
        *bytes = slot.maker.0.to_le_bytes();
    }
    if let Some(bytes) = packed.get_mut(28..32).and_then(<[u8]>::first_chunk_mut) {
        *bytes = expires.to_le_bytes();
    }
    set_state(&mut packed, slot.state);
    packed
}

#[cfg(test)]
mod tests;
