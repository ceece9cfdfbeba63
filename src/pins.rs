//! What servers have been seen to say of their tools, in the store that all worker threads share.
//!
//! A policy pins a tool to a definition that somebody has read. What was seen of it last is kept under a key of its own, and there are
//! as many keys as the policy pins tools: nothing is ever taken out for a newcomer's sake. Where the policy trusts what comes first,
//! each server has a table, whose names are the server's; one that is full takes no more, and what it does not take is not shown.

use sha2::{Digest as _, Sha256};

use crate::bounds::{FIRST_USE_PER_SHARD, FIRST_USE_SHARDS, MAX_SWAPS};
use crate::matcher::fold::look;
use crate::mcp::definition::DefinitionDigest;
use crate::rate::store::{SharedStore, Snapshot, StoreFailed, Swap};

/// Which server: a digest of the plugin's namespace, the policy's name, and the binding that leads there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ServerId(pub [u8; 16]);

impl ServerId {
    /// The server of a policy in a namespace, behind a binding.
    #[must_use]
    pub fn of(namespace: &str, policy: &str, binding: &str) -> ServerId {
        let hash = Sha256::new().chain_update("mcp-policy server 1\0").chain_update(namespace);
        let hash = hash.chain_update("\0").chain_update(policy).chain_update("\0");
        ServerId(short(hash.chain_update(binding)))
    }
}

/// What was seen of a definition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sighting {
    /// It has this digest.
    Read(DefinitionDigest),
    /// It could be read in two ways.
    Unreadable,
}

impl Sighting {
    /// Whether this is the definition.
    #[must_use]
    pub fn is(&self, pinned: DefinitionDigest) -> bool {
        *self == Sighting::Read(pinned)
    }
}

/// What has been seen of one server's tools.
#[derive(Debug)]
pub struct Sightings<'s, S> {
    store: &'s S,
    server: ServerId,
}

/// A reference to a store is copied, whatever the store is.
impl<S> Clone for Sightings<'_, S> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<S> Copy for Sightings<'_, S> {}

/// The packed format: a part of the keys, so builds that pack in another way keep away.
const FORMAT: u8 = 1;

/// A tag, and a digest.
const SIGHTING_BYTES: usize = 33;

const SLOT_BYTES: usize = 16 + 2 * SIGHTING_BYTES;

/// A slot: a tool, how it was defined when it was seen first, and last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct FirstUse {
    tool: [u8; 16],
    first: Sighting,
    last: Sighting,
}

impl<'s, S: SharedStore> Sightings<'s, S> {
    /// The sightings in a store.
    #[must_use]
    pub fn new(store: &'s S, server: ServerId) -> Sightings<'s, S> {
        Sightings { store, server }
    }

    /// What was seen last of a tool that the policy pins; `None` where nobody has seen it.
    ///
    /// # Errors
    /// [`StoreFailed`] where nobody can tell.
    pub fn last(&self, tool: &str) -> Result<Option<Sighting>, StoreFailed> {
        self.pinned(tool).map(|(_, snapshot)| unpacked(&snapshot.value))
    }

    /// Takes note of what is seen of a tool that the policy pins; true where it is something else than before.
    #[inline(never)]
    pub fn note(&self, tool: &str, seen: Sighting) -> bool {
        let mut is_new = false;
        for _ in 0..MAX_SWAPS {
            let Ok((key, snapshot)) = self.pinned(tool) else { break };
            if unpacked(&snapshot.value) == Some(seen) {
                break;
            }
            is_new = true;
            let written = self.store.compare_and_set(&key, &packed(seen), snapshot.version);
            if written != Ok(Swap::Lost) {
                break;
            }
        }
        is_new
    }

    #[inline(never)]
    fn pinned(&self, tool: &str) -> Result<(String, Snapshot), StoreFailed> {
        let ServerId(server) = self.server;
        let hash = Sha256::new().chain_update("mcp-policy pin 1\0").chain_update(server);
        let id = u128::from_be_bytes(short(hash.chain_update(tool)));
        let key = format!("mcp-policy/pins/{FORMAT}/{id:032x}");
        let snapshot = self.store.get(&key)?;
        Ok((key, snapshot))
    }

    /// How a tool was defined when it was seen first, which may be now. `None` where nobody can remember it. One that could not be read
    /// is trusted as soon as it can be.
    pub fn first(&self, tool: &str, seen: Sighting) -> Option<Sighting> {
        let id = tool_id(tool);
        let mut trusted = None;
        let changed = self.change(id, &mut |slots| {
            if let Some(slot) = slots.iter_mut().find(|slot| slot.tool == id) {
                if slot.first == Sighting::Unreadable {
                    slot.first = seen;
                }
                trusted = Some(slot.first);
                return;
            }
            let fits = slots.len() < FIRST_USE_PER_SHARD;
            trusted = fits.then_some(seen);
            slots.extend(fits.then_some(FirstUse { tool: id, first: seen, last: seen }));
        });
        trusted.filter(|_| changed.is_ok())
    }

    /// Takes note of what is seen of a tool that was seen before; true where it is something else than last time.
    pub fn note_again(&self, tool: &str, seen: Sighting) -> bool {
        let id = tool_id(tool);
        let noted = self.change(id, &mut |slots| {
            if let Some(slot) = slots.iter_mut().find(|slot| slot.tool == id) {
                slot.last = seen;
            }
        });
        noted == Ok(true)
    }

    /// Whether a tool is defined as when it was seen first, as far as anybody has seen it.
    ///
    /// # Errors
    /// [`StoreFailed`] where nobody can tell.
    #[inline(never)]
    pub fn is_as_at_first(&self, tool: &str) -> Result<bool, StoreFailed> {
        let id = tool_id(tool);
        let slots = slots(&self.store.get(&self.shard(id))?.value)?;
        let slot = slots.iter().find(|slot| slot.tool == id);
        Ok(slot.is_none_or(|slot| slot.first == slot.last && slot.first != Sighting::Unreadable))
    }

    /// Changes a shard, and tells whether anything of it is another now.
    #[inline(never)]
    fn change(
        &self,
        id: [u8; 16],
        change: &mut dyn FnMut(&mut Vec<FirstUse>),
    ) -> Result<bool, StoreFailed> {
        let key = self.shard(id);
        for _ in 0..MAX_SWAPS {
            let snapshot = self.store.get(&key)?;
            let mut slots = slots(&snapshot.value)?;
            change(&mut slots);
            let packed = packed_slots(&slots);
            if packed == snapshot.value || slots.is_empty() {
                return Ok(false);
            }
            if self.store.compare_and_set(&key, &packed, snapshot.version)? == Swap::Done {
                return Ok(true);
            }
        }
        Err(StoreFailed)
    }

    fn shard(&self, [first, ..]: [u8; 16]) -> String {
        let server = u128::from_be_bytes(self.server.0);
        let shard = first & FIRST_USE_SHARDS.wrapping_sub(1);
        format!("mcp-policy/pins/{FORMAT}/{server:032x}/{shard:x}")
    }
}

/// A tool by its name, however it is spelled: what a lenient reader could take for one name is one.
fn tool_id(name: &str) -> [u8; 16] {
    short(Sha256::new().chain_update("mcp-policy tool 1\0").chain_update(look(name)))
}

#[inline(never)]
fn short(hash: Sha256) -> [u8; 16] {
    hash.finalize().first_chunk().copied().unwrap_or_default()
}

fn packed(seen: Sighting) -> [u8; SIGHTING_BYTES] {
    let (tag, digest) = match seen {
        Sighting::Unreadable => (0, [0; 32]),
        Sighting::Read(DefinitionDigest(digest)) => (1, digest),
    };
    let mut bytes = [tag; SIGHTING_BYTES];
    if let Some((_, rest)) = bytes.split_first_mut() {
        rest.copy_from_slice(&digest);
    }
    bytes
}

/// What was packed. What nobody of us has written there is no definition that anybody has read.
fn unpacked(bytes: &[u8]) -> Option<Sighting> {
    let (tag, digest) = bytes.split_first()?;
    let digest = digest.try_into().ok().filter(|_| *tag == 1);
    Some(digest.map_or(Sighting::Unreadable, |digest| Sighting::Read(DefinitionDigest(digest))))
}

fn packed_slots(slots: &[FirstUse]) -> Vec<u8> {
    let mut bytes = vec![FORMAT];
    for FirstUse { tool, first, last } in slots {
        bytes.extend_from_slice(tool);
        bytes.extend_from_slice(&packed(*first));
        bytes.extend_from_slice(&packed(*last));
    }
    bytes
}

fn slots(bytes: &[u8]) -> Result<Vec<FirstUse>, StoreFailed> {
    let Some((format, packed)) = bytes.split_first() else { return Ok(Vec::new()) };
    let (slots, rest) = packed.as_chunks::<SLOT_BYTES>();
    if *format != FORMAT || !rest.is_empty() {
        return Err(StoreFailed);
    }
    slots.iter().map(|slot| slot_of(slot).ok_or(StoreFailed)).collect()
}

fn slot_of(slot: &[u8; SLOT_BYTES]) -> Option<FirstUse> {
    let (tool, rest) = slot.split_first_chunk::<16>()?;
    let (first, last) = rest.split_first_chunk::<SIGHTING_BYTES>()?;
    Some(FirstUse { tool: *tool, first: unpacked(first)?, last: unpacked(last)? })
}

#[cfg(test)]
mod tests;
