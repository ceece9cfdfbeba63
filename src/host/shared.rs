//! Envoy's shared data as a [`SharedStore`].

use super::calls;
use crate::rate::store::{SharedStore, Snapshot, StoreFailed, Swap, Version};

/// The shared data of this VM id.
#[derive(Clone, Copy, Debug)]
pub(super) struct SharedData;

impl SharedStore for SharedData {
    fn get(&self, key: &str) -> Result<Snapshot, StoreFailed> {
        match calls::shared(key) {
            Ok(Some((value, version))) => Ok(Snapshot { value, version }),
            Ok(None) => Ok(Snapshot { value: Vec::new(), version: Version::ABSENT }),
            Err(calls::HostError) => Err(StoreFailed),
        }
    }

    fn compare_and_set(
        &self,
        key: &str,
        value: &[u8],
        expected: Version,
    ) -> Result<Swap, StoreFailed> {
        match calls::set_shared(key, value, expected) {
            Ok(true) => Ok(Swap::Done),
            Ok(false) => Ok(Swap::Lost),
            Err(calls::HostError) => Err(StoreFailed),
        }
    }
}
