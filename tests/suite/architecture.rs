//! The shape of the code: what may know what, how long a file may be, and which crates are in the filter.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Modules from the lowest to the highest; one may name those above it in this list, and its own.
const LAYERS: &[&[&str]] = &[
    &["ask", "bounds", "reason", "time"],
    &["json", "number"],
    &["matcher"],
    &["mcp", "once", "rate", "seal", "session"],
    &["policy", "yaml"],
    &["denial", "language"],
    &["lint"],
    &["source"],
    &["witness"],
    &["world"],
    &["decision", "identity"],
    &["enforce", "listing"],
    &["approval", "reply"],
    &["record"],
    &["exchange"],
    &["rehearsal"],
    &["trace"],
    &["host"],
];

const MOST_LINES: usize = 400;

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn sources() -> Vec<(PathBuf, String)> {
    let mut folders = vec![root().join("src")];
    let mut found = Vec::new();
    while let Some(folder) = folders.pop() {
        for item in fs::read_dir(folder).unwrap() {
            let path = item.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let text = fs::read_to_string(&path).unwrap();
                found.push((path.strip_prefix(root().join("src")).unwrap().to_path_buf(), text));
            }
        }
    }
    found
}

/// The production part of a file.
fn production(text: &str) -> &str {
    text.split("\n#[cfg(test)]").next().unwrap()
}

fn module(path: &Path) -> String {
    path.components()
        .next()
        .unwrap()
        .as_os_str()
        .to_str()
        .unwrap()
        .trim_end_matches(".rs")
        .to_owned()
}

#[test]
fn lower_layers_do_not_know_higher_ones() {
    let layer = |name: &str| LAYERS.iter().position(|layer| layer.contains(&name));
    let mut wrong = Vec::new();
    for (path, text) in sources() {
        let own = module(&path);
        if matches!(&*own, "lib" | "main" | "cli") {
            continue;
        }
        let height = layer(&own).unwrap_or_else(|| panic!("{own} is in no layer"));
        let code: String =
            production(&text).lines().filter(|line| !line.trim().starts_with("//")).collect();
        for piece in code.split("crate::").skip(1) {
            let named = piece.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap();
            if layer(named).is_some_and(|other| other > height) {
                wrong.push(format!("{} names {named}", path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn only_the_host_names_the_host() {
    for (path, text) in sources() {
        let host = path.starts_with("host") || path == Path::new("host.rs");
        for word in [
            "proxy_on_",
            "proxy_wasm",
            "SystemTime",
            "Instant::now",
            "extern \"C\"",
            // Envoy's own words for what the library has words of its own for.
            "filter_metadata",
            "peer_certificate",
            "via_upstream",
            "\"xds\"",
        ] {
            assert!(
                host || !production(&text)
                    .replace("//", "\u{0}")
                    .split('\n')
                    .any(|line| { !line.contains('\u{0}') && line.contains(word) }),
                "{} names {word}",
                path.display()
            );
        }
    }
}

#[test]
fn files_stay_readable() {
    let long: Vec<String> = sources()
        .iter()
        .map(|(path, text)| (path, production(text).lines().count()))
        .filter(|(_, lines)| *lines > MOST_LINES)
        .map(|(path, lines)| format!("{}: {lines}", path.display()))
        .collect();
    assert!(long.is_empty(), "longer than {MOST_LINES} lines: {long:?}");
}

#[test]
fn every_crate_in_the_filter_was_let_in() {
    let output = Command::new(env!("CARGO"))
        .args([
            "tree",
            "--locked",
            "--target",
            "wasm32-wasip1",
            "--edges",
            "normal",
            "--prefix",
            "none",
            "--format",
            "{p}",
        ])
        .current_dir(root())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    let crates: BTreeSet<&str> = text
        .lines()
        .filter_map(|line| line.split(' ').next())
        .filter(|name| *name != "mcp-policy")
        .collect();
    let found: String = crates.iter().map(|name| format!("{name}\n")).collect();
    let golden = root().join("tests/data/wasm-deps.txt");
    if std::env::var_os("MCP_POLICY_BLESS").is_some() {
        fs::write(&golden, &found).unwrap();
    }
    assert_eq!(found, fs::read_to_string(golden).unwrap(), "see `make bless`");
}

#[test]
fn the_reference_names_every_reason_and_setting() {
    let reference = fs::read_to_string(root().join("policies/README.md")).unwrap();
    let (_, table) =
        sources().into_iter().find(|(path, _)| path == Path::new("reason.rs")).unwrap();
    for line in table.lines().filter(|line| line.contains("=> (\"")) {
        let label = line.split('"').nth(1).unwrap();
        assert!(reference.contains(&format!("`{label}`")), "{label} is not in policies/README.md");
    }
}
