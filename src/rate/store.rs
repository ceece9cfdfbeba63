//! What counting needs of Envoy's shared data, with its semantics (proxy-wasm-cpp-host, `shared_data.cc`).

/// The version of a value, as the host numbers them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Version(pub u32);

impl Version {
    /// Stands for a key that is absent. A write with it creates the key, or loses if another thread did so first.
    /// The host treats 0 as "whatever is there", which would overwrite what another thread has just created.
    pub const ABSENT: Version = Version(u32::MAX);
}

/// A value with the version at which it was read. An absent key reads as empty at [`Version::ABSENT`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// The bytes.
    pub value: Vec<u8>,
    /// The version to give to [`SharedStore::compare_and_set`].
    pub version: Version,
}

/// How a conditional write ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Swap {
    /// The value is written.
    Done,
    /// Another thread was faster; nothing is written.
    Lost,
}

/// The store did not do what it promises.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoreFailed;

/// A store that all worker threads share.
pub trait SharedStore {
    /// Reads a value.
    ///
    /// # Errors
    /// [`StoreFailed`] if the host refuses.
    fn get(&self, key: &str) -> Result<Snapshot, StoreFailed>;

    /// Writes a value if its version is still the expected one.
    ///
    /// # Errors
    /// [`StoreFailed`] if the host refuses.
    fn compare_and_set(
        &self,
        key: &str,
        value: &[u8],
        expected: Version,
    ) -> Result<Swap, StoreFailed>;
}

impl<S: SharedStore> SharedStore for &S {
    fn get(&self, key: &str) -> Result<Snapshot, StoreFailed> {
        S::get(self, key)
    }

    fn compare_and_set(
        &self,
        key: &str,
        value: &[u8],
        expected: Version,
    ) -> Result<Swap, StoreFailed> {
        S::compare_and_set(self, key, value, expected)
    }
}
