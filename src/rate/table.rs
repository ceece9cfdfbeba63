//! The small table that one shared-data key holds, and its packed form.
//!
//! A caller has a slot for each counter that he counts on. Callers who find the table full have none: they share one count, the
//! counter's *floor* in this table, and whoever gets a slot later starts at it. Nobody's slot is ever taken from him for a newcomer.

use super::algorithm::{CountState, STATE_WORDS};
use super::clock::Clock;
use super::store::StoreFailed;
use crate::bounds::{SLOTS_PER_MAKER, SLOTS_PER_SHARD};
use crate::time::Moment;

/// Which counter a slot belongs to: a digest of everything that makes two counters one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CounterId(pub u64);

/// Whose count a slot is: a digest, never a credential.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CallerId(pub u128);

impl CallerId {
    /// Stands for everybody: the slot of a `global` counter, or the floor of a counter in a shard.
    pub const EVERYBODY: CallerId = CallerId(0);

    /// A name that somebody calls: whose it is stands in the lower half, so that all of one caller's names are in one shard.
    fn of_name(self, name: u128) -> CallerId {
        CallerId(name << 64 | u128::from(self.holder()))
    }

    /// Whose name it is; zero stands for all who have no slots of their own.
    fn holder(self) -> u64 {
        u64::try_from(self.0 & u128::from(u64::MAX)).unwrap_or(u64::MAX)
    }

    /// The same name on the floor.
    #[must_use]
    pub fn on_floor(self, per: Per) -> CallerId {
        match per {
            Per::Caller | Per::Call => CallerId::EVERYBODY,
            Per::Name => CallerId::EVERYBODY.of_name(self.0 >> 64),
        }
    }
}

/// What a caller's name rests on. Each class has tables of its own, so that names which anybody can invent fill none in which
/// others are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Class {
    /// All callers together.
    Global,
    /// Somebody vouches for the name: a claim, a certificate, a header of the operator's own proxies; or it is that of all who have none.
    Verified,
    /// The address of the client.
    Address,
    /// A session, of which a caller can begin as many as he likes.
    Session,
    /// A header that nobody has verified: it is a name that the caller can invent.
    Claimed,
}

impl Class {
    /// The word in shared-data keys.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Class::Global => "global",
            Class::Verified => "verified",
            Class::Address => "address",
            Class::Session => "session",
            Class::Claimed => "claimed",
        }
    }
}

/// Who brought a name here, where he can bring as many as he likes: a small digest of his address, or of his verified name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Maker(pub u32);

impl Maker {
    /// Names of this kind cannot be made up, and nobody has a share of the table.
    pub const NOBODY: Maker = Maker(0);
}

/// What of a caller a slot counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Per {
    /// All that he calls.
    Caller,
    /// Calls that are equal.
    Call,
    /// Calls of one name. A limit is on how many names there are.
    Name,
}

impl Per {
    /// The words of policies; without one it is all.
    pub const WORDS: [(&'static str, Per); 2] = [("call", Per::Call), ("name", Per::Name)];
}

/// Whose count a call goes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Account {
    /// The caller.
    pub caller: CallerId,
    /// What his name rests on.
    pub class: Class,
    /// Who brought the name.
    pub maker: Maker,
    /// What of him is counted.
    pub per: Per,
}

impl Account {
    /// That of all callers together.
    pub const EVERYBODY: Account = Account {
        caller: CallerId::EVERYBODY,
        class: Class::Global,
        maker: Maker::NOBODY,
        per: Per::Caller,
    };

    /// The part of it that counts what has this digest. There are as many as the caller likes, whose own account is `by`, so he is their maker.
    #[must_use]
    pub fn per(self, per: Per, what: u128, by: Account) -> Account {
        let caller = match per {
            Per::Caller => return self,
            Per::Call => CallerId(what),
            Per::Name => CallerId::of_name(self.caller, what),
        };
        let [first, second, third, fourth, ..] = by.caller.0.to_le_bytes();
        let own = u32::from_le_bytes([first, second, third, fourth]).max(1);
        let maker = if by.maker == Maker::NOBODY { Maker(own) } else { by.maker };
        Account { caller, maker, per, ..self }
    }
}

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

/// The slots of one shard.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Table {
    clock: Clock,
    slots: Vec<Slot>,
}

/// The packed format. It is a part of the shared-data keys, so builds that pack tables in another way keep away from these.
pub const FORMAT: u8 = 4;

const HEADER_BYTES: usize = 25;

/// Bytes of one packed slot.
pub const SLOT_BYTES: usize = 32 + 8 * STATE_WORDS;

impl Table {
    /// Unpacks a table. No bytes are an empty table.
    ///
    /// # Errors
    /// [`StoreFailed`] if somebody else wrote the bytes.
    pub fn decode(bytes: &[u8]) -> Result<Table, StoreFailed> {
        let Some((header, packed)) = bytes.split_at_checked(HEADER_BYTES) else {
            return if bytes.is_empty() { Ok(Table::default()) } else { Err(StoreFailed) };
        };
        let words = [u64_at(header, 1), u64_at(header, 9), u64_at(header, 17)];
        let (Some(&FORMAT), [Some(wall), Some(running), Some(steady_until)]) =
            (header.first(), words)
        else {
            return Err(StoreFailed);
        };
        let (slots, rest) = packed.as_chunks::<SLOT_BYTES>();
        if !rest.is_empty() {
            return Err(StoreFailed);
        }
        let slots = slots.iter().map(unpack).collect::<Option<_>>().ok_or(StoreFailed)?;
        let clock = Clock { wall, running, steady_until };
        Ok(Table { clock, slots })
    }

    /// Packs the table.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(HEADER_BYTES + self.slots.len() * SLOT_BYTES);
        bytes.push(FORMAT);
        let Clock { wall, running, steady_until } = self.clock;
        for word in [wall, running, steady_until] {
            bytes.extend_from_slice(&word.to_le_bytes());
        }
        for slot in &self.slots {
            pack(slot, &mut bytes);
        }
        bytes
    }

    /// Moves the table's clock on, and drops what has expired. Returns the time that counts here.
    pub fn advance(&mut self, now: Moment) -> Moment {
        let now = self.clock.advance(now);
        self.slots.retain(|slot| slot.expires > now.running / 1000);
        now
    }

    /// The count of a caller. One without a slot has the counter's floor.
    #[must_use]
    pub fn state(&self, counter: CounterId, caller: CallerId, per: Per) -> Option<&CountState> {
        let floor = || self.find(counter, caller.on_floor(per));
        let slot = self.find(counter, caller).or_else(floor);
        slot.map(|slot| &slot.state)
    }

    /// The names that a caller has called, with what each counts; those on the floor are everybody's.
    pub fn names(
        &self,
        counter: CounterId,
        caller: CallerId,
    ) -> impl Iterator<Item = (u128, &CountState)> {
        let is_his = move |slot: &&Slot| {
            slot.counter == counter && [0, caller.holder()].contains(&slot.caller.holder())
        };
        self.slots.iter().filter(is_his).map(|slot| (slot.caller.0 >> 64, &slot.state))
    }

    /// What stands in a slot, without the floor.
    #[must_use]
    pub fn own(&self, counter: CounterId, caller: CallerId) -> Option<&CountState> {
        self.find(counter, caller).map(|slot| &slot.state)
    }

    /// Where a call of an account is counted on a counter.
    #[must_use]
    pub fn place(&self, counter: CounterId, account: Account) -> CountPlace {
        let Account { caller, maker, .. } = account;
        if caller == CallerId::EVERYBODY || self.find(counter, caller).is_some() {
            return CountPlace::Own;
        }
        let callers = || self.slots.iter().filter(|slot| slot.caller != CallerId::EVERYBODY);
        let made = callers().filter(|slot| slot.maker == maker).count();
        if maker != Maker::NOBODY && made >= SLOTS_PER_MAKER {
            CountPlace::Crowded
        } else if callers().count() >= SLOTS_PER_SHARD {
            CountPlace::Floor
        } else {
            CountPlace::Own
        }
    }

    /// Stores a count. Whether there is room for it, [`Table::place`] says.
    pub fn put(&mut self, slot: Slot) {
        let found = self.slots.iter_mut().find(|known| known.is(slot.counter, slot.caller));
        match found {
            Some(known) => *known = slot,
            None => self.slots.push(slot),
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
        let Some(at) = self.slots.iter().position(|slot| slot.is(counter, caller)) else { return };
        let Some(slot) = self.slots.get_mut(at) else { return };
        match change(&slot.state) {
            Some(state) => slot.state = state,
            None => drop(self.slots.swap_remove(at)),
        }
    }

    fn find(&self, counter: CounterId, caller: CallerId) -> Option<&Slot> {
        self.slots.iter().find(|slot| slot.is(counter, caller))
    }
}

impl Slot {
    fn is(&self, counter: CounterId, caller: CallerId) -> bool {
        self.caller == caller && self.counter == counter
    }
}

fn seconds(at: u64) -> [u8; 4] {
    u32::try_from(at).unwrap_or(u32::MAX).to_le_bytes()
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from(u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?)))
}

fn pack(slot: &Slot, bytes: &mut Vec<u8>) {
    bytes.extend_from_slice(&slot.counter.0.to_le_bytes());
    bytes.extend_from_slice(&slot.caller.0.to_le_bytes());
    bytes.extend_from_slice(&slot.maker.0.to_le_bytes());
    bytes.extend_from_slice(&seconds(slot.expires));
    for word in slot.state.0 {
        bytes.extend_from_slice(&word.to_le_bytes());
    }
}

fn unpack(bytes: &[u8; SLOT_BYTES]) -> Option<Slot> {
    Some(Slot {
        counter: CounterId(u64_at(bytes, 0)?),
        caller: CallerId(u128::from_le_bytes(*bytes.get(8..)?.first_chunk()?)),
        maker: Maker(u32::from_le_bytes(*bytes.get(24..)?.first_chunk()?)),
        expires: u32_at(bytes, 28)?,
        state: CountState([u64_at(bytes, 32)?, u64_at(bytes, 40)?, u64_at(bytes, 48)?]),
    })
}

#[cfg(test)]
mod tests;
