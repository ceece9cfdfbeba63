//! The small table that one shared-data key holds, and its packed form.

use super::store::StoreFailed;
use super::window::{Count, Span};
use crate::bounds::SLOTS_PER_SHARD;
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

/// What one caller has used of one counter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slot {
    /// The counter.
    pub counter: CounterId,
    /// The caller, or the floor.
    pub caller: CallerId,
    /// The window that `count.current` counts.
    pub span: Span,
    /// When the slot can be forgotten, in seconds since the epoch.
    pub expires: u64,
    /// The count.
    pub count: Count,
}

/// The slots of one shard.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Table {
    latest: u64,
    slots: Vec<Slot>,
}

const FORMAT: u8 = 1;
const HEADER_BYTES: usize = 9;

/// Bytes of one packed slot.
pub const SLOT_BYTES: usize = 52;

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
        let (Some(&FORMAT), Some(latest)) = (header.first(), header.last_chunk()) else {
            return Err(StoreFailed);
        };
        let (slots, rest) = packed.as_chunks::<SLOT_BYTES>();
        if !rest.is_empty() {
            return Err(StoreFailed);
        }
        let slots = slots.iter().map(unpack).collect::<Option<_>>().ok_or(StoreFailed)?;
        Ok(Table { latest: u64::from_le_bytes(*latest), slots })
    }

    /// Packs the table.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(HEADER_BYTES + self.slots.len() * SLOT_BYTES);
        bytes.push(FORMAT);
        bytes.extend_from_slice(&self.latest.to_le_bytes());
        for slot in &self.slots {
            pack(slot, &mut bytes);
        }
        bytes
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
    /// where it is. A caller without a slot has the counter's floor.
    #[must_use]
    pub fn count(&self, counter: CounterId, caller: CallerId, span: Span) -> (Span, Count) {
        let slot = self.find(counter, caller).or_else(|| self.find(counter, CallerId::EVERYBODY));
        slot.map_or((span, Count::default()), |slot| slot.at(span))
    }

    /// Stores a count, making room if needed.
    pub fn put(&mut self, slot: Slot) {
        let found = self.slots.iter_mut().find(|known| known.is(slot.counter, slot.caller));
        if let Some(known) = found {
            *known = slot;
            return;
        }
        let callers = self.slots.iter().filter(|slot| slot.caller != CallerId::EVERYBODY).count();
        if callers >= SLOTS_PER_SHARD && slot.caller != CallerId::EVERYBODY {
            self.forget_least_used();
        }
        self.slots.push(slot);
    }

    /// Takes back what was counted in the window that ended at `span_end`, if it still counts.
    pub fn give_back(&mut self, counter: CounterId, caller: CallerId, span_end: u64, amount: u64) {
        let found = self.slots.iter_mut().find(|slot| slot.is(counter, caller));
        if let Some(Slot { span, count, .. }) = found {
            if span.end == span_end {
                count.current = count.current.saturating_sub(amount);
            } else if span.start == span_end {
                count.previous = count.previous.saturating_sub(amount);
            }
        }
    }

    /// Forgets the caller whose count is least, and raises the floor of his counter to it, so that he cannot come back
    /// with less.
    fn forget_least_used(&mut self) {
        let callers =
            self.slots.iter().enumerate().filter(|(_, slot)| slot.caller != CallerId::EVERYBODY);
        let least = callers
            .min_by_key(|(_, slot)| (slot.count.current.max(slot.count.previous), slot.expires));
        let Some(at) = least.map(|(at, _)| at) else {
            return;
        };
        let gone = self.slots.swap_remove(at);
        let floor = self.slots.iter_mut().find(|slot| slot.is(gone.counter, CallerId::EVERYBODY));
        match floor {
            Some(floor) => *floor = floor.joined_with(&gone),
            None => self.slots.push(Slot { caller: CallerId::EVERYBODY, ..gone }),
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

    /// The slot's count as seen from a window.
    fn at(&self, span: Span) -> (Span, Count) {
        if self.span.end >= span.end && self.span.start <= span.end {
            (self.span, self.count)
        } else if self.span.end == span.start {
            (span, Count { current: 0, previous: self.count.current })
        } else {
            (span, Count::default())
        }
    }

    /// A floor that is no lower than either.
    fn joined_with(&self, other: &Slot) -> Slot {
        let later = if self.span.end >= other.span.end { self } else { other };
        let (_, left) = self.at(later.span);
        let (_, right) = other.at(later.span);
        let count = Count {
            current: left.current.max(right.current),
            previous: left.previous.max(right.previous),
        };
        Slot { count, caller: CallerId::EVERYBODY, ..*later }
    }
}

fn pack(slot: &Slot, bytes: &mut Vec<u8>) {
    let seconds = |at: u64| u32::try_from(at).unwrap_or(u32::MAX).to_le_bytes();
    bytes.extend_from_slice(&slot.counter.0.to_le_bytes());
    bytes.extend_from_slice(&slot.caller.0.to_le_bytes());
    bytes.extend_from_slice(&seconds(slot.span.start));
    bytes.extend_from_slice(&seconds(slot.span.end));
    bytes.extend_from_slice(&seconds(slot.expires));
    bytes.extend_from_slice(&slot.count.current.to_le_bytes());
    bytes.extend_from_slice(&slot.count.previous.to_le_bytes());
}

fn unpack(bytes: &[u8; SLOT_BYTES]) -> Option<Slot> {
    let u64_at = |at: usize| Some(u64::from_le_bytes(*bytes.get(at..)?.first_chunk()?));
    let u32_at = |at: usize| Some(u64::from(u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?)));
    Some(Slot {
        counter: CounterId(u64_at(0)?),
        caller: CallerId(u128::from_le_bytes(*bytes.get(8..)?.first_chunk()?)),
        span: Span { start: u32_at(24)?, end: u32_at(28)? },
        expires: u32_at(32)?,
        count: Count { current: u64_at(36)?, previous: u64_at(44)? },
    })
}

#[cfg(test)]
mod tests {
    use super::{CallerId, CounterId, SLOT_BYTES, Slot, Table};
    use crate::bounds::SLOTS_PER_SHARD;
    use crate::rate::window::{Count, Span};
    use crate::time::UnixMillis;

    const SPAN: Span = Span { start: 60, end: 120 };

    fn slot(caller: u128, current: u64) -> Slot {
        Slot {
            counter: CounterId(7),
            caller: CallerId(caller),
            span: SPAN,
            expires: 120,
            count: Count { current, previous: 3 },
        }
    }

    #[test]
    fn packs_and_unpacks() {
        let mut table = Table::default();
        table.advance(UnixMillis(61_000));
        table.put(slot(1, 5));
        table.put(slot(u128::MAX, u64::MAX));
        let bytes = table.encode();
        assert_eq!(bytes.len(), 9 + 2 * SLOT_BYTES);
        assert_eq!(Table::decode(&bytes), Ok(table));
        assert!(Table::decode(&bytes[..bytes.len() - 1]).is_err());
        assert!(Table::decode(b"other").is_err());
        assert!(Table::decode(&[2; 9]).is_err());
        assert_eq!(Table::decode(b""), Ok(Table::default()));
    }

    #[test]
    fn a_forgotten_caller_comes_back_no_lower() {
        let mut table = Table::default();
        table.advance(UnixMillis(61_000));
        for caller in 1..=SLOTS_PER_SHARD as u128 {
            table.put(slot(caller, 10 + caller as u64));
        }
        table.put(slot(1000, 50));
        let count = |caller| table.count(CounterId(7), CallerId(caller), SPAN).1.current;
        assert_eq!(count(1), 11, "the least used one was forgotten, and is seen through the floor");
        assert_eq!(count(2000), 11, "so is a newcomer");
        assert_eq!((count(2), count(1000)), (12, 50));
        assert_eq!(table.slots.len(), SLOTS_PER_SHARD + 1);
    }

    #[test]
    fn the_clock_of_a_table_does_not_wobble() {
        let mut table = Table::default();
        assert_eq!(table.advance(UnixMillis(120_000)), UnixMillis(120_000));
        assert_eq!(table.advance(UnixMillis(119_999)), UnixMillis(120_000), "another thread");
        assert_eq!(table.advance(UnixMillis(100_000)), UnixMillis(100_000), "the clock was set");
    }

    #[test]
    fn gives_back_only_what_still_counts() {
        for (span_end, expected) in [(120, (4, 3)), (60, (5, 2)), (180, (5, 3))] {
            let mut table = Table::default();
            table.put(slot(1, 5));
            table.give_back(CounterId(7), CallerId(1), span_end, 1);
            table.give_back(CounterId(7), CallerId(2), span_end, 1);
            let (_, count) = table.count(CounterId(7), CallerId(1), SPAN);
            assert_eq!((count.current, count.previous), expected, "{span_end}");
        }
    }
}
