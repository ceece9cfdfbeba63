//! A store that counts the writes that did not succeed.

use std::cell::Cell;

use super::{Sample, Series, SwapOutcome};
use crate::rate::store::{SharedStore, Snapshot, StoreFailed, Swap, Version};

/// A store, and how many writes another thread had come before, or the store refused.
#[derive(Debug)]
pub struct CountedStore<S> {
    store: S,
    lost: Cell<u64>,
    failed: Cell<u64>,
}

impl<S> CountedStore<S> {
    /// A store of which nothing is counted yet.
    #[must_use]
    pub fn new(store: S) -> CountedStore<S> {
        CountedStore { store, lost: Cell::new(0), failed: Cell::new(0) }
    }

    /// What is counted.
    pub fn samples(&self) -> impl Iterator<Item = Sample> + use<S> {
        let outcomes =
            [(SwapOutcome::Retried, self.lost.get()), (SwapOutcome::Failed, self.failed.get())];
        let sample = |(outcome, value)| Sample { series: Series::CounterSwaps(outcome), value };
        outcomes.into_iter().filter(|(_, value)| *value > 0).map(sample)
    }
}

impl<S: SharedStore> SharedStore for CountedStore<S> {
    fn get(&self, key: &str) -> Result<Snapshot, StoreFailed> {
        self.store.get(key)
    }

    fn compare_and_set(
        &self,
        key: &str,
        value: &[u8],
        expected: Version,
    ) -> Result<Swap, StoreFailed> {
        let swap = self.store.compare_and_set(key, value, expected);
        match swap {
            Ok(Swap::Done) => {}
            Ok(Swap::Lost) => self.lost.set(self.lost.get() + 1),
            Err(StoreFailed) => self.failed.set(self.failed.get() + 1),
        }
        swap
    }
}
