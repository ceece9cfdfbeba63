//! SharedNotes in the store that all worker threads share: what is good to know, and no harm to forget.
//!
//! A note has its time, and makes room for a newer one before that where its shard is full. So nothing may rest on a note but comfort:
//! whoever finds none does as if there never was one.

use crate::bounds::{MAX_NOTE_BYTES, MAX_SWAPS, NOTE_SHARDS, NOTES_PER_SHARD};
use crate::rate::store::{SharedStore, StoreFailed, Swap};
use crate::time::UnixMillis;

/// What a note is about: a digest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct NoteId(pub [u8; 16]);

/// The notes.
#[derive(Clone, Copy, Debug)]
pub struct SharedNotes<'s, S> {
    store: &'s S,
}

/// The packed format: a part of the keys, so builds that pack in another way keep away.
const FORMAT: u8 = 1;

#[derive(Clone, Debug, PartialEq, Eq)]
struct SharedNote {
    id: NoteId,
    /// In seconds since the epoch.
    until: u64,
    text: String,
}

impl<'s, S: SharedStore> SharedNotes<'s, S> {
    /// The notes in a store.
    #[must_use]
    pub fn new(store: &'s S) -> SharedNotes<'s, S> {
        SharedNotes { store }
    }

    /// The note about something, if there is one and its time is not over.
    #[must_use]
    pub fn read(&self, id: NoteId, now: UnixMillis) -> Option<String> {
        let snapshot = self.store.get(&key(id)).ok()?;
        let notes = unpacked(&snapshot.value).ok()?;
        let note = notes.into_iter().find(|note| note.id == id);
        note.filter(|note| note.until > now.seconds()).map(|note| note.text)
    }

    /// SharedNotes something; in the place of what was noted of it before. What cannot be noted is not.
    pub fn put(&self, id: NoteId, text: &str, until: u64, now: UnixMillis) {
        if text.len() > MAX_NOTE_BYTES {
            return;
        }
        self.change(id, |notes| {
            notes.retain(|note| note.id != id && note.until > now.seconds());
            if notes.len() >= NOTES_PER_SHARD {
                let first = notes.iter().enumerate().min_by_key(|(_, note)| note.until);
                let first = first.map(|(at, _)| at);
                first.into_iter().for_each(|at| drop(notes.swap_remove(at)));
            }
            notes.push(SharedNote { id, until, text: text.to_owned() });
        });
    }

    /// Forgets something.
    pub fn forget(&self, id: NoteId) {
        self.change(id, |notes| notes.retain(|note| note.id != id));
    }

    fn change(&self, id: NoteId, change: impl Fn(&mut Vec<SharedNote>)) {
        let key = key(id);
        for _ in 0..MAX_SWAPS {
            let Ok(snapshot) = self.store.get(&key) else { return };
            let mut notes = unpacked(&snapshot.value).unwrap_or_default();
            change(&mut notes);
            match self.store.compare_and_set(&key, &packed(&notes), snapshot.version) {
                Ok(Swap::Lost) => {}
                Ok(Swap::Done) | Err(StoreFailed) => return,
            }
        }
    }
}

fn key(NoteId([first, ..]): NoteId) -> String {
    format!("mcp-policy/notes/{FORMAT}/{:x}", first & NOTE_SHARDS.wrapping_sub(1))
}

fn packed(notes: &[SharedNote]) -> Vec<u8> {
    let mut bytes = vec![FORMAT];
    for SharedNote { id, until, text } in notes {
        bytes.extend_from_slice(&id.0);
        bytes.extend_from_slice(&until.to_le_bytes());
        bytes.extend_from_slice(&u16::try_from(text.len()).unwrap_or(0).to_le_bytes());
        bytes.extend_from_slice(text.as_bytes());
    }
    bytes
}

fn unpacked(bytes: &[u8]) -> Result<Vec<SharedNote>, StoreFailed> {
    let Some((format, mut rest)) = bytes.split_first() else { return Ok(Vec::new()) };
    let mut notes = Vec::new();
    while *format == FORMAT && !rest.is_empty() {
        let (note, after) = first(rest).ok_or(StoreFailed)?;
        notes.push(note);
        rest = after;
    }
    if rest.is_empty() { Ok(notes) } else { Err(StoreFailed) }
}

fn first(bytes: &[u8]) -> Option<(SharedNote, &[u8])> {
    let (id, rest) = bytes.split_first_chunk::<16>()?;
    let (until, rest) = rest.split_first_chunk::<8>()?;
    let (length, rest) = rest.split_first_chunk::<2>()?;
    let (text, rest) = rest.split_at_checked(usize::from(u16::from_le_bytes(*length)))?;
    let text = String::from_utf8(text.to_vec()).ok()?;
    Some((SharedNote { id: NoteId(*id), until: u64::from_le_bytes(*until), text }, rest))
}

#[cfg(test)]
mod tests {
    use super::{NoteId, SharedNotes};
    use crate::bounds::{MAX_NOTE_BYTES, NOTES_PER_SHARD};
    use crate::rate::memory::MemoryStore;
    use crate::rate::store::SharedStore as _;
    use crate::time::UnixMillis;

    #[test]
    fn a_note_stays_for_its_time_unless_newer_ones_need_its_room() {
        let store = MemoryStore::default();
        let notes = SharedNotes::new(&store);
        let (id, now) = (
            |at: u8| NoteId([16, at, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]),
            |at: u64| UnixMillis(at * 1000),
        );
        notes.put(id(0), "é", 100, now(0));
        assert_eq!(notes.read(id(0), now(99)).as_deref(), Some("é"));
        assert_eq!(notes.read(id(0), now(100)), None);
        assert_eq!(notes.read(id(1), now(0)), None);
        notes.put(id(0), "", 200, now(0));
        assert_eq!(notes.read(id(0), now(150)).as_deref(), Some(""));
        notes.forget(id(0));
        assert_eq!(notes.read(id(0), now(0)), None);
        notes.put(id(0), &"x".repeat(MAX_NOTE_BYTES + 1), 200, now(0));
        assert_eq!(notes.read(id(0), now(0)), None, "too long");
        for at in 0..=NOTES_PER_SHARD {
            let at = u8::try_from(at).unwrap();
            notes.put(id(at), "t", 1000 + u64::from(at), now(0));
        }
        assert_eq!(notes.read(id(0), now(0)), None, "the first to end made room");
        assert!(notes.read(id(1), now(0)).is_some());
        // What somebody else wrote there is nothing, and is written over.
        let key = "mcp-policy/notes/1/0";
        let version = store.get(key).unwrap().version;
        store.compare_and_set(key, b"\x01junk", version).unwrap();
        assert_eq!(notes.read(id(1), now(0)), None);
        notes.put(id(1), "t", 1000, now(0));
        assert!(notes.read(id(1), now(0)).is_some());
    }
}
