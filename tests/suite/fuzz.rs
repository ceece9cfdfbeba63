//! The functions that `make fuzz` feeds with coverage as the guide, here with seeds that are changed a little.

#[path = "../fuzz/src/targets.rs"]
mod targets;

use std::fs;
use std::path::Path;

use proptest::prelude::*;
use targets::TARGETS;

fn seeds(target: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/seeds").join(target);
    let mut files: Vec<_> =
        fs::read_dir(folder).unwrap().map(|file| file.unwrap().path()).collect();
    files.sort();
    files.iter().map(|file| fs::read(file).unwrap()).collect()
}

/// A change of a text: bytes in place of others at a place of it.
fn change() -> impl Strategy<Value = (prop::sample::Index, usize, Vec<u8>)> {
    let bytes = prop_oneof![
        proptest::collection::vec(any::<u8>(), 0..4),
        prop::sample::select(vec![
            "\"", "{", "}", "[", "]", ",", ":", "\\u0000", "\\ud800", "\u{200b}", "\u{feff}", "\r",
            "\n\n", "data:", "id", "null", "1e999",
        ])
        .prop_map(|text| text.as_bytes().to_vec()),
    ];
    (any::<prop::sample::Index>(), 0usize..6, bytes)
}

#[test]
fn seeds_hold() {
    for (name, target) in TARGETS {
        let seeds = seeds(name);
        assert!(!seeds.is_empty(), "{name}");
        seeds.iter().for_each(|seed| target(seed));
        target(b"");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn changed_seeds_hold(
        which in any::<prop::sample::Index>(),
        changes in proptest::collection::vec(change(), 0..4),
    ) {
        for (name, target) in TARGETS {
            let seeds = seeds(name);
            let mut bytes = which.get(&seeds).clone();
            for (at, length, new) in &changes {
                let at = at.index(bytes.len() + 1);
                let end = (at + length).min(bytes.len());
                bytes.splice(at..end, new.iter().copied());
            }
            target(&bytes);
        }
    }
}
