//! Feeds one target, which `FUZZ_TARGET` names, with what libFuzzer makes up. See `run.sh`.
#![no_main]

mod targets;

use std::sync::OnceLock;

use libfuzzer_sys::fuzz_target;
use targets::{TARGETS, Target};

fn chosen() -> Target {
    static TARGET: OnceLock<Target> = OnceLock::new();
    *TARGET.get_or_init(|| {
        let name = std::env::var("FUZZ_TARGET").unwrap_or_default();
        let found = TARGETS.iter().find(|(known, _)| *known == name);
        found.unwrap_or_else(|| panic!("FUZZ_TARGET: `{name}` is none")).1
    })
}

fuzz_target!(|bytes: &[u8]| chosen()(bytes));
