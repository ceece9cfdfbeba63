//! Ids that can be used once: a table of those that are used, in the store that all worker threads share.
//!
//! An id stays in the table until nobody can come with it any more. No id is ever taken out before for a newcomer's sake, so a table
//! that is full refuses: else who fills it could use his id again.

use crate::bounds::{MAX_SWAPS, SLOTS_PER_SHARD};
use crate::rate::store::{SharedStore, StoreFailed, Swap};
use crate::reason::Reason;
use crate::time::Moment;

/// An id, which was drawn at random or is a digest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct UseId(pub [u8; 16]);

/// How often an id may be used, and until when somebody may come with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Use {
    /// The id.
    pub id: UseId,
    /// How often in all.
    pub most: u32,
    /// From when on its holder is refused, in seconds since the epoch.
    pub expires: u64,
}

/// Why an id cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unusable {
    /// It has been used.
    Used,
    /// Nobody could write down that it is used: the table is full, contended, or out of reach.
    Unavailable,
}

/// The table of used ids.
#[derive(Clone, Copy, Debug)]
pub struct UsedIds<'s, S> {
    store: &'s S,
    shards: u32,
}

/// The packed format: a part of the keys, so builds that pack in another way keep away.
const FORMAT: u8 = 1;

const SLOT_BYTES: usize = 24;

/// How much longer than its holder may come an id is kept: a clock that is set back by less brings no used id back to life.
const KEPT_SECONDS: u64 = 3600;

/// A slot: an id, when it can be forgotten in seconds of the clock that cannot be set, and how often it is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct UsedSlot {
    id: UseId,
    until: u32,
    uses: u32,
}

impl<'s, S: SharedStore> UsedIds<'s, S> {
    /// The table in a store, with room for about so many ids: they do not spread evenly, so each shard is meant to be half full.
    #[must_use]
    pub fn new(store: &'s S, entries: u32) -> UsedIds<'s, S> {
        let promised = u32::try_from(SLOTS_PER_SHARD / 2).unwrap_or(1);
        UsedIds { store, shards: entries.div_ceil(promised).max(1).next_power_of_two() }
    }

    /// Uses an id once more. Whatever threads do at the same time, that many uses are granted and no more.
    ///
    /// # Errors
    /// [`Unusable`]; then nothing has changed.
    pub fn claim(&self, wanted: Use, now: Moment) -> Result<(), Unusable> {
        let seconds = now.running / 1000;
        let left = wanted.expires.saturating_sub(now.wall.seconds());
        let until = seconds.saturating_add(left).saturating_add(KEPT_SECONDS);
        let until = u32::try_from(until).unwrap_or(u32::MAX);
        self.change(wanted.id, |slots| {
            slots.retain(|slot| u64::from(slot.until) > seconds);
            let full = slots.len() >= SLOTS_PER_SHARD;
            match slots.iter_mut().find(|slot| slot.id == wanted.id) {
                Some(slot) if slot.uses >= wanted.most => Err(Unusable::Used),
                Some(slot) => {
                    slot.uses += 1;
                    slot.until = slot.until.max(until);
                    Ok(())
                }
                None if full => Err(Unusable::Unavailable),
                None => {
                    slots.push(UsedSlot { id: wanted.id, until, uses: 1 });
                    Ok(())
                }
            }
        })
    }

    /// Takes back one use of what was claimed and then not done. What cannot be taken back within the bound stays used.
    pub fn give_back(&self, id: UseId) {
        let _ = self.change(id, |slots| {
            let at = slots.iter().position(|slot| slot.id == id).ok_or(Unusable::Used)?;
            let slot = slots.get_mut(at).ok_or(Unusable::Used)?;
            slot.uses = slot.uses.saturating_sub(1);
            if slot.uses == 0 {
                slots.swap_remove(at);
            }
            Ok(())
        });
    }

    fn change(
        &self,
        id: UseId,
        mut change: impl FnMut(&mut Vec<UsedSlot>) -> Result<(), Unusable>,
    ) -> Result<(), Unusable> {
        let key = self.key(id);
        for _ in 0..MAX_SWAPS {
            let snapshot = self.store.get(&key)?;
            let mut slots = unpacked(&snapshot.value)?;
            change(&mut slots)?;
            if self.store.compare_and_set(&key, &packed(&slots), snapshot.version)? == Swap::Done {
                return Ok(());
            }
        }
        Err(Unusable::Unavailable)
    }

    fn key(&self, UseId([first, second, third, fourth, ..]): UseId) -> String {
        let bits = u32::from_le_bytes([first, second, third, fourth]);
        let (shards, at) = (self.shards, bits & self.shards.wrapping_sub(1));
        format!("mcp-policy/used/{FORMAT}/{shards:x}/{at:x}")
    }
}

/// An id of the store itself: drawn once by whoever asks first, and lost with all that the store holds. `None` if there is none to be had.
pub fn epoch<S: SharedStore>(store: &S, draw: impl FnOnce() -> Option<UseId>) -> Option<UseId> {
    const KEY: &str = "mcp-policy/epoch/1";
    let read = || {
        let snapshot = store.get(KEY).ok()?;
        let id = snapshot.value.first_chunk().copied().map(UseId);
        Some((id, snapshot.version))
    };
    match read()? {
        (Some(id), _) => Some(id),
        (None, version) => {
            // Where somebody else is faster, his id is the one.
            let _ = store.compare_and_set(KEY, &draw()?.0, version);
            read()?.0
        }
    }
}

impl From<StoreFailed> for Unusable {
    fn from(StoreFailed: StoreFailed) -> Unusable {
        Unusable::Unavailable
    }
}

impl From<Unusable> for Reason {
    fn from(unusable: Unusable) -> Reason {
        match unusable {
            Unusable::Used => Reason::ApprovalUsed,
            Unusable::Unavailable => Reason::ApprovalsUnavailable,
        }
    }
}

fn packed(slots: &[UsedSlot]) -> Vec<u8> {
    let mut bytes = vec![FORMAT];
    for UsedSlot { id, until, uses } in slots {
        bytes.extend_from_slice(&id.0);
        bytes.extend_from_slice(&until.to_le_bytes());
        bytes.extend_from_slice(&uses.to_le_bytes());
    }
    bytes
}

fn unpacked(bytes: &[u8]) -> Result<Vec<UsedSlot>, StoreFailed> {
    let Some((format, packed)) = bytes.split_first() else { return Ok(Vec::new()) };
    let (slots, rest) = packed.as_chunks::<SLOT_BYTES>();
    if *format != FORMAT || !rest.is_empty() {
        return Err(StoreFailed);
    }
    slots.iter().map(|slot| read(slot).ok_or(StoreFailed)).collect()
}

fn read(slot: &[u8; SLOT_BYTES]) -> Option<UsedSlot> {
    let (id, rest) = slot.split_first_chunk::<16>()?;
    let (until, uses) = rest.split_first_chunk::<4>()?;
    let uses = u32::from_le_bytes(*uses.first_chunk()?);
    Some(UsedSlot { id: UseId(*id), until: u32::from_le_bytes(*until), uses })
}

#[cfg(test)]
mod tests;
