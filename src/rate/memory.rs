//! An in-memory [`SharedStore`] with the host's quirks, for tests and for the command.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;

use super::store::{SharedStore, Snapshot, StoreFailed, Swap, Version};

/// A store of one thread.
#[derive(Clone, Debug, Default)]
pub struct MemoryStore {
    values: RefCell<HashMap<String, (Vec<u8>, u32)>>,
    last_version: Cell<u32>,
}

impl MemoryStore {
    /// How many keys there are, and how many bytes their values have.
    #[must_use]
    pub fn size(&self) -> (usize, usize) {
        let values = self.values.borrow();
        (values.len(), values.values().map(|(value, _)| value.len()).sum())
    }
}

impl SharedStore for MemoryStore {
    fn get(&self, key: &str) -> Result<Snapshot, StoreFailed> {
        let found = self.values.borrow().get(key).cloned();
        Ok(match found {
            Some((value, version)) => Snapshot { value, version: Version(version) },
            None => Snapshot { value: Vec::new(), version: Version::ABSENT },
        })
    }

    fn compare_and_set(
        &self,
        key: &str,
        value: &[u8],
        expected: Version,
    ) -> Result<Swap, StoreFailed> {
        let mut values = self.values.borrow_mut();
        // As in the host: version 0 overwrites, and an absent key is created whatever version is given.
        let wins =
            values.get(key).is_none_or(|(_, current)| expected.0 == 0 || expected.0 == *current);
        if !wins {
            return Ok(Swap::Lost);
        }
        self.last_version.set(self.last_version.get().wrapping_add(1).max(1));
        values.insert(key.to_owned(), (value.to_vec(), self.last_version.get()));
        Ok(Swap::Done)
    }
}
