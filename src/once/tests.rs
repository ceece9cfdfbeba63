use super::{Unusable, Use, UseId, UsedIds, epoch};
use crate::bounds::SLOTS_PER_SHARD;
use crate::rate::memory::MemoryStore;
use crate::time::{Moment, UnixMillis};

fn at(seconds: u64) -> Moment {
    UnixMillis(seconds * 1000).into()
}

fn once(id: u8, expires: u64) -> Use {
    Use { id: UseId([id; 16]), most: 1, expires }
}

#[test]
fn an_id_is_used_as_often_as_it_may_be() {
    let store = MemoryStore::default();
    let used = UsedIds::new(&store, 64);
    assert_eq!(used.claim(once(1, 400), at(100)), Ok(()));
    assert_eq!(used.claim(once(1, 400), at(100)), Err(Unusable::Used));
    assert_eq!(used.claim(once(2, 400), at(100)), Ok(()));
    let thrice = Use { most: 3, ..once(3, 400) };
    for expected in [Ok(()), Ok(()), Ok(()), Err(Unusable::Used)] {
        assert_eq!(used.claim(thrice, at(200)), expected);
    }
    used.give_back(UseId([3; 16]));
    assert_eq!(used.claim(thrice, at(200)), Ok(()));
    assert_eq!(used.claim(thrice, at(200)), Err(Unusable::Used));
    used.give_back(UseId([1; 16]));
    assert_eq!(used.claim(once(1, 400), at(300)), Ok(()));
}

#[test]
fn nothing_is_forgotten_before_its_time_and_all_after() {
    let store = MemoryStore::default();
    let used = UsedIds::new(&store, 1);
    for id in 0..SLOTS_PER_SHARD {
        let id = u8::try_from(id).unwrap();
        assert_eq!(used.claim(once(id, 400), at(100)), Ok(()));
    }
    let late = once(200, 8000);
    assert_eq!(used.claim(late, at(100)), Err(Unusable::Unavailable), "full");
    // An hour later than anybody could come with them, whatever the wall clock says meanwhile.
    let set_back = Moment { wall: UnixMillis(0), running: 3_999_000 };
    assert_eq!(used.claim(once(1, 400), set_back), Err(Unusable::Used));
    assert_eq!(used.claim(late, set_back), Err(Unusable::Unavailable));
    assert_eq!(used.claim(late, at(4001)), Ok(()), "forgotten");
}

#[test]
fn a_store_has_one_epoch() {
    let (store, other) = (MemoryStore::default(), MemoryStore::default());
    let id = |byte| Some(UseId([byte; 16]));
    assert_eq!(epoch(&store, || id(1)), id(1));
    assert_eq!(epoch(&store, || id(2)), id(1));
    assert_eq!(epoch(&other, || id(3)), id(3), "another one has another");
    assert_eq!(epoch(&MemoryStore::default(), || None), None);
}
