//! The names of `rocksdb` that `limitador` needs to be built, without a database behind them.
//!
//! `limitador` 0.14.0 with Redis is built only together with its storage on disk: the keys of both are in one module, which is
//! there for that storage alone. Its database is some ten minutes of C++, and nobody here opens one.

use std::fmt;
use std::marker::PhantomData;
use std::path::Path;

/// What every use of it comes to.
#[derive(Debug)]
pub struct Error;

impl Error {
    pub fn kind(&self) -> ErrorKind {
        ErrorKind::NotSupported
    }
}

impl fmt::Display for Error {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str("there is no RocksDB here")
    }
}

impl std::error::Error for Error {}

#[derive(Debug, PartialEq, Eq)]
pub enum ErrorKind {
    NotSupported,
    TimedOut,
    TryAgain,
}

pub enum CompactionDecision {
    Keep,
    Remove,
}

pub enum DBCompressionType {
    None,
    Bz2,
}

pub enum IteratorMode {
    Start,
}

#[derive(Default)]
pub struct Options;

impl Options {
    pub fn set_compression_type(&mut self, _: DBCompressionType) {}

    pub fn create_if_missing(&mut self, _: bool) {}

    pub fn set_compaction_filter<F>(&mut self, _: &str, _: F)
    where
        F: FnMut(u32, &[u8], &[u8]) -> CompactionDecision,
    {
    }

    pub fn set_merge_operator_associative<F>(&mut self, _: &str, _: F)
    where
        F: Fn(&[u8], Option<&[u8]>, &MergeOperands) -> Option<Vec<u8>>,
    {
    }
}

pub struct MergeOperands;

impl<'o> IntoIterator for &'o MergeOperands {
    type Item = &'o [u8];
    type IntoIter = std::iter::Empty<&'o [u8]>;

    fn into_iter(self) -> Self::IntoIter {
        std::iter::empty()
    }
}

pub struct MultiThreaded;

pub struct DBWithThreadMode<T>(PhantomData<T>);

pub type DB = DBWithThreadMode<MultiThreaded>;

type Pair = Result<(Box<[u8]>, Box<[u8]>), Error>;

impl<T> DBWithThreadMode<T> {
    pub fn open(_: &Options, _: impl AsRef<Path>) -> Result<Self, Error> {
        Err(Error)
    }

    pub fn get(&self, _: impl AsRef<[u8]>) -> Result<Option<Vec<u8>>, Error> {
        Err(Error)
    }

    pub fn merge(&self, _: impl AsRef<[u8]>, _: impl AsRef<[u8]>) -> Result<(), Error> {
        Err(Error)
    }

    pub fn delete(&self, _: impl AsRef<[u8]>) -> Result<(), Error> {
        Err(Error)
    }

    pub fn iterator(&self, _: IteratorMode) -> std::iter::Empty<Pair> {
        std::iter::empty()
    }

    pub fn prefix_iterator(&self, _: impl AsRef<[u8]>) -> std::iter::Empty<Pair> {
        std::iter::empty()
    }
}
