//! A policy as the engine decides by it: names resolved, patterns compiled, every rule with its number.
//!
//! Not here: how it is written, which is [`crate::language`]; and what is surely not meant in it, which is `lint`.

pub mod approvals;
pub mod binding;
pub mod callers;
pub mod compiled;
pub mod doors;
pub mod entry;
pub mod environment;
pub mod log_key;
pub mod pinning;
pub mod rules;
pub mod section;
pub mod sessions;
pub mod settings;
