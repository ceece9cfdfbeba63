use super::{ServerId, Sighting, Sightings};
use crate::bounds::{FIRST_USE_PER_SHARD, FIRST_USE_SHARDS};
use crate::mcp::definition::DefinitionDigest;
use crate::rate::memory::MemoryStore;
use crate::rate::store::{SharedStore, Snapshot, StoreFailed, Swap, Version};

const A: Sighting = Sighting::Read(DefinitionDigest([1; 32]));
const B: Sighting = Sighting::Read(DefinitionDigest([2; 32]));

#[test]
fn what_was_seen_last_of_a_pinned_tool() {
    let store = MemoryStore::default();
    let (one, other) = (ServerId::of("n", "p", "1"), ServerId::of("n", "p", "2"));
    let (one, other) = (Sightings::new(&store, one), Sightings::new(&store, other));
    assert_eq!(one.last("t"), Ok(None));
    for (seen, is_new) in
        [(A, true), (A, false), (B, true), (Sighting::Unreadable, true), (A, true)]
    {
        assert_eq!(one.note("t", seen), is_new);
        assert_eq!(one.last("t"), Ok(Some(seen)));
    }
    assert_eq!((other.last("t"), one.last("T")), (Ok(None), Ok(None)));
    // What nobody of us wrote is no definition that was read.
    let (key, version) = one.pinned("t").map(|(key, found)| (key, found.version)).unwrap();
    store.compare_and_set(&key, b"junk", version).unwrap();
    assert_eq!(one.last("t"), Ok(Some(Sighting::Unreadable)));
}

#[test]
fn the_first_definition_is_trusted_and_no_other() {
    let store = MemoryStore::default();
    let seen = Sightings::new(&store, ServerId::default());
    assert_eq!(seen.is_as_at_first("t"), Ok(true), "nobody has seen it");
    assert_eq!(seen.first("t", A), Some(A));
    assert_eq!(seen.first("t", B), Some(A));
    assert_eq!(seen.is_as_at_first("t"), Ok(true));
    assert!(seen.note_again("t", B) && !seen.note_again("t", B));
    assert_eq!(seen.is_as_at_first("t"), Ok(false));
    assert_eq!(seen.is_as_at_first("T\u{200b}"), Ok(false), "the same name to a lenient reader");
    assert!(seen.note_again("t", A));
    assert_eq!(seen.is_as_at_first("t"), Ok(true));
    assert_eq!(seen.first("odd", Sighting::Unreadable), Some(Sighting::Unreadable));
    assert_eq!(seen.is_as_at_first("odd"), Ok(false));
    assert_eq!(seen.first("odd", A), Some(A));
    assert!(seen.note_again("odd", A));
    assert_eq!(seen.is_as_at_first("odd"), Ok(true));
}

#[test]
fn a_full_table_forgets_nobody() {
    let store = MemoryStore::default();
    let seen = Sightings::new(&store, ServerId::default());
    let all = usize::from(FIRST_USE_SHARDS) * FIRST_USE_PER_SHARD;
    let names: Vec<String> = (0..2 * all).map(|at| format!("tool {at}")).collect();
    let kept: Vec<bool> = names.iter().map(|name| seen.first(name, A).is_some()).collect();
    let full = kept.iter().filter(|kept| **kept).count();
    assert!(full > all * 9 / 10 && full <= all, "{full}");
    for (name, kept) in names.iter().zip(kept) {
        assert_eq!(seen.first(name, B), kept.then_some(A), "{name}");
    }
    let other = Sightings::new(&store, ServerId::of("", "", "another"));
    assert_eq!(other.first("tool 0", B), Some(B), "it takes no room of another server's");
    let (keys, bytes) = store.size();
    assert!(keys <= 2 * usize::from(FIRST_USE_SHARDS) && bytes < all * 100, "{keys} {bytes}");
}

#[test]
fn what_cannot_be_read_is_told() {
    let store = MemoryStore::default();
    let seen = Sightings::new(&store, ServerId::default());
    assert_eq!(seen.first("t", A), Some(A));
    let key = seen.shard(super::tool_id("t"));
    let version = store.get(&key).unwrap().version;
    store.compare_and_set(&key, b"\x01junk", version).unwrap();
    assert_eq!(seen.is_as_at_first("t"), Err(StoreFailed));
    assert_eq!(seen.first("t", A), None);
}

/// A host that does not hand anything over.
struct Broken;

impl SharedStore for Broken {
    fn get(&self, _: &str) -> Result<Snapshot, StoreFailed> {
        Err(StoreFailed)
    }

    fn compare_and_set(&self, _: &str, _: &[u8], _: Version) -> Result<Swap, StoreFailed> {
        Err(StoreFailed)
    }
}

#[test]
fn a_store_that_fails_trusts_nothing() {
    let seen = Sightings::new(&Broken, ServerId::default());
    assert_eq!((seen.last("t"), seen.is_as_at_first("t")), (Err(StoreFailed), Err(StoreFailed)));
    assert_eq!(
        (seen.first("t", A), seen.note("t", B), seen.note_again("t", B)),
        (None, false, false)
    );
}
