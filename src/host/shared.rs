//! Envoy's shared data as a [`SharedStore`].

use std::cell::Cell;

use super::calls;
use crate::metrics::{Sample, Series, SwapOutcome};
use crate::rate::store::{SharedStore, Snapshot, StoreFailed, Swap, Version};

/// The shared data of this VM id, and how many writes of it did not succeed.
#[derive(Debug, Default)]
pub(super) struct SharedData {
    lost: Cell<u64>,
    failed: Cell<u64>,
}

impl SharedData {
    /// What is counted of writes that did not succeed.
    pub(super) fn samples(&self) -> impl Iterator<Item = Sample> + use<> {
        let outcomes =
            [(SwapOutcome::Retried, self.lost.get()), (SwapOutcome::Failed, self.failed.get())];
        let sample = |(outcome, value)| Sample { series: Series::CounterSwaps(outcome), value };
        outcomes.into_iter().filter(|(_, value)| *value > 0).map(sample)
    }
}

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
            Ok(false) => {
                self.lost.set(self.lost.get() + 1);
                Ok(Swap::Lost)
            }
            Err(calls::HostError) => {
                self.failed.set(self.failed.get() + 1);
                Err(StoreFailed)
            }
        }
    }
}
