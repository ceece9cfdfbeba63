//! The small table that one shared-data key holds, and its packed form.
//!
//! A caller has a slot for each counter that he counts on. Callers who find the table full have none: they share one count, the
//! counter's *floor* in this table, and whoever gets a slot later starts at it. Nobody's slot is ever taken from him for a newcomer.

use super::store::StoreFailed;
use super::window::{Count, Span};
use crate::bounds::{SLOTS_PER_MAKER, SLOTS_PER_SHARD};
use crate::time::UnixMillis;

/// Which counter a slot belongs to: a digest of everything that makes two counters one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CounterId(pub u64);

/// Whose count a slot is: a digest, never a credential.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CallerId(pub u128);

impl CallerId {
    /// Stands for everybody: the slot of a `global` counter, or the floor of a counter in a shard.
    pub const EVERYBODY: CallerId = CallerId(0);
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

/// Whose count a call goes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Account {
    /// The caller.
    pub caller: CallerId,
    /// What his name rests on.
    pub class: Class,
    /// Who brought the name.
    pub maker: Maker,
}

impl Account {
    /// That of all callers together.
    pub const EVERYBODY: Account =
        Account { caller: CallerId::EVERYBODY, class: Class::Global, maker: Maker::NOBODY };
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
    /// The window that `count.current` counts.
    pub span: Span,
    /// When the slot can be forgotten, in seconds since the epoch.
    pub expires: u64,
    /// The count.
    pub count: Count,
}

/// Where a call of an account is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
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
    latest: u64,
    /// Until when the table that an earlier build kept in its place still has counts that matter, in seconds since the epoch.
    looks_back: u64,
    slots: Vec<Slot>,
}

const FORMAT: u8 = 2;
const HEADER_BYTES: usize = 13;

/// Bytes of one packed slot.
pub const SLOT_BYTES: usize = 56;

/// What the first builds wrote: no makers, and no look back.
const FIRST_FORMAT: u8 = 1;
const FIRST_HEADER_BYTES: usize = 9;
const FIRST_SLOT_BYTES: usize = 52;

/// A clock that goes back by more than this was set, and is believed; by less, it is another thread's reading.
const CLOCK_SKEW_MILLIS: u64 = 10_000;

impl Table {
    /// Unpacks a table. No bytes are an empty table.
    ///
    /// # Errors
    /// [`StoreFailed`] if somebody else wrote the bytes.
    pub fn decode(bytes: &[u8]) -> Result<Table, StoreFailed> {
        let Some((header, packed)) = bytes.split_at_checked(HEADER_BYTES) else {
            return if bytes.is_empty() { Ok(Table::default()) } else { Err(StoreFailed) };
        };
        let (Some(&FORMAT), Some(latest), Some(looks_back)) =
            (header.first(), u64_at(header, 1), u32_at(header, 9))
        else {
            return Err(StoreFailed);
        };
        let slots = unpack_all::<SLOT_BYTES>(packed)?;
        Ok(Table { latest, looks_back, slots })
    }

    /// Unpacks what an earlier build has written under its own key.
    ///
    /// # Errors
    /// [`StoreFailed`] if somebody else wrote the bytes.
    pub fn decode_first(bytes: &[u8]) -> Result<Table, StoreFailed> {
        let Some((header, packed)) = bytes.split_at_checked(FIRST_HEADER_BYTES) else {
            return if bytes.is_empty() { Ok(Table::default()) } else { Err(StoreFailed) };
        };
        let (Some(&FIRST_FORMAT), Some(latest)) = (header.first(), u64_at(header, 1)) else {
            return Err(StoreFailed);
        };
        Ok(Table { latest, looks_back: 0, slots: unpack_all::<FIRST_SLOT_BYTES>(packed)? })
    }

    /// Packs the table.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(HEADER_BYTES + self.slots.len() * SLOT_BYTES);
        bytes.push(FORMAT);
        bytes.extend_from_slice(&self.latest.to_le_bytes());
        bytes.extend_from_slice(&seconds(self.looks_back));
        for slot in &self.slots {
            pack(slot, &mut bytes);
        }
        bytes
    }

    /// Whether counts of an earlier build still matter.
    #[must_use]
    pub fn looks_back(&self, now: UnixMillis) -> bool {
        self.looks_back > now.seconds()
    }

    /// Takes note of the table of an earlier build: its counts matter until the last of them expires.
    pub fn succeed(&mut self, earlier: &Table) {
        self.looks_back = earlier.slots.iter().map(|slot| slot.expires).max().unwrap_or(0);
    }

    /// Moves the table's clock to `now`, which never goes back by another thread's skew, and drops what has expired.
    /// Returns the time that counts. Without this a thread that read its clock just before an edge could count in a window
    /// that another one has already swept.
    pub fn advance(&mut self, now: UnixMillis) -> UnixMillis {
        let skewed = now.0 < self.latest && self.latest - now.0 <= CLOCK_SKEW_MILLIS;
        let now = if skewed { UnixMillis(self.latest) } else { now };
        self.latest = now.0;
        self.slots.retain(|slot| slot.expires > now.seconds());
        now
    }

    /// The count of a caller in the window `span`, with the window that it is really in: a slot ahead of the clock stays
    /// where it is. A caller without a slot has the counter's floor, and what `earlier` has of him.
    #[must_use]
    pub fn count(
        &self,
        earlier: &Table,
        counter: CounterId,
        caller: CallerId,
        span: Span,
    ) -> (Span, Count) {
        if let Some(slot) = self.find(counter, caller) {
            return seen(slot.span, slot.count, span);
        }
        let (floor, before) =
            (self.slot_or_floor(counter, caller), earlier.slot_or_floor(counter, caller));
        match (floor, before) {
            (None, None) => (span, Count::default()),
            (Some(slot), None) | (None, Some(slot)) => seen(slot.span, slot.count, span),
            (Some(left), Some(right)) => {
                let (left, right) =
                    (seen(left.span, left.count, span), seen(right.span, right.count, span));
                sum(left, right)
            }
        }
    }

    /// Where a call of an account is counted on a counter.
    #[must_use]
    pub fn place(&self, counter: CounterId, account: Account) -> Place {
        let Account { caller, maker, .. } = account;
        if caller == CallerId::EVERYBODY || self.find(counter, caller).is_some() {
            return Place::Own;
        }
        let callers = || self.slots.iter().filter(|slot| slot.caller != CallerId::EVERYBODY);
        let made = callers().filter(|slot| slot.maker == maker).count();
        if maker != Maker::NOBODY && made >= SLOTS_PER_MAKER {
            Place::Crowded
        } else if callers().count() >= SLOTS_PER_SHARD {
            Place::Floor
        } else {
            Place::Own
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

    /// Takes back what was counted in the window that ended at `span_end`, if it still counts. A slot that comes to nothing goes: a
    /// caller who has no slot starts at the floor, and what he has on the floor is counted there.
    pub fn give_back(&mut self, counter: CounterId, caller: CallerId, span_end: u64, amount: u64) {
        let Some(at) = self.slots.iter().position(|slot| slot.is(counter, caller)) else { return };
        let Some(Slot { span, count, .. }) = self.slots.get_mut(at) else { return };
        if span.end == span_end {
            count.current = count.current.saturating_sub(amount);
        } else if span.start == span_end {
            count.previous = count.previous.saturating_sub(amount);
        }
        if *count == Count::default() {
            self.slots.swap_remove(at);
        }
    }

    fn slot_or_floor(&self, counter: CounterId, caller: CallerId) -> Option<&Slot> {
        self.find(counter, caller).or_else(|| self.find(counter, CallerId::EVERYBODY))
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

/// A count of one window, as seen from another.
fn seen(own: Span, count: Count, span: Span) -> (Span, Count) {
    if own.end >= span.end && own.start <= span.end {
        (own, count)
    } else if own.end == span.start {
        (span, Count { current: 0, previous: count.current })
    } else {
        (span, Count::default())
    }
}

/// Two counts in the later of their windows.
fn sum(left: (Span, Count), right: (Span, Count)) -> (Span, Count) {
    let span = if left.0.end >= right.0.end { left.0 } else { right.0 };
    let (_, left) = seen(left.0, left.1, span);
    let (_, right) = seen(right.0, right.1, span);
    let count = Count {
        current: left.current.saturating_add(right.current),
        previous: left.previous.saturating_add(right.previous),
    };
    (span, count)
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
    bytes.extend_from_slice(&seconds(slot.span.start));
    bytes.extend_from_slice(&seconds(slot.span.end));
    bytes.extend_from_slice(&seconds(slot.expires));
    bytes.extend_from_slice(&slot.count.current.to_le_bytes());
    bytes.extend_from_slice(&slot.count.previous.to_le_bytes());
    bytes.extend_from_slice(&slot.maker.0.to_le_bytes());
}

fn unpack_all<const BYTES: usize>(packed: &[u8]) -> Result<Vec<Slot>, StoreFailed> {
    let (slots, rest) = packed.as_chunks::<BYTES>();
    if !rest.is_empty() {
        return Err(StoreFailed);
    }
    slots.iter().map(|slot| unpack(slot)).collect::<Option<_>>().ok_or(StoreFailed)
}

fn unpack(bytes: &[u8]) -> Option<Slot> {
    // A slot of the first format ends before its maker.
    let maker =
        bytes.get(FIRST_SLOT_BYTES..)?.first_chunk().map_or(0, |made| u32::from_le_bytes(*made));
    Some(Slot {
        counter: CounterId(u64_at(bytes, 0)?),
        caller: CallerId(u128::from_le_bytes(*bytes.get(8..)?.first_chunk()?)),
        maker: Maker(maker),
        span: Span { start: u32_at(bytes, 24)?, end: u32_at(bytes, 28)? },
        expires: u32_at(bytes, 32)?,
        count: Count { current: u64_at(bytes, 36)?, previous: u64_at(bytes, 44)? },
    })
}

#[cfg(test)]
mod tests;
