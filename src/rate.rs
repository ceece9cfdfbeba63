//! Counting calls: exact under any number of threads, in memory that callers cannot grow.
//!
//! Envoy's shared data has no expiry and no delete, so counters of callers live in a fixed number of *shards*, each one
//! shared-data key that holds a small table and is changed by compare-and-swap. A full table forgets its least used caller,
//! but not his count: the counter's *floor* in that shard rises to it, and whoever is new to the shard starts at the floor.
//! So a limit is never exceeded, whatever callers send; a flood of invented callers only makes newcomers start higher.
//! Counters with scope `global` have keys of their own.
//!
//! Not here: which limits a call meets, and what a denial says.

pub mod limiter;
pub mod memory;
pub mod store;
pub mod table;
pub mod window;
