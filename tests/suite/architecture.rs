//! The shape of the code: what may know what, how long a file may be, and which crates are in the filter.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Modules from the lowest to the highest; one may name those above it in this list, and its own.
const LAYERS: &[&[&str]] = &[
    &["ask", "bounds", "digest", "reason", "remembered", "time"],
    &["json", "number", "proto"],
    &["matcher"],
    &["mcp", "notes", "once", "pins", "rate", "seal", "session"],
    &["policy", "yaml"],
    &["checked", "denial", "language", "live", "rls"],
    &["lint"],
    &["source"],
    &["tree", "witness"],
    &["world"],
    &["decision", "identity"],
    &["enforce", "listing"],
    &["approval", "reply"],
    &["gateway", "metrics", "record"],
    &["audit", "render"],
    &["exchange"],
    &["rehearsal"],
    &["trace"],
    &["tools"],
    &["host", "module", "page"],
];

/// Where code may be unsafe: the shells' interfaces.
const UNSAFE: &[&str] = &["host/calls.rs", "host/memory.rs", "module/abi.rs", "module/abi/"];

const MOST_LINES: usize = 400;

/// Names that several types have, and why nobody takes one for another.
const SHARED_NAMES: &[(&str, &str)] = &[("Arguments", "each sub-command has its own")];

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

/// The module that a file is.
fn file_module(path: &Path) -> Vec<String> {
    let path = path.with_extension("");
    path.components().map(|part| part.as_os_str().to_str().unwrap().to_owned()).collect()
}

/// All paths of a text, with groups such as `a::{b, c}` taken apart.
fn paths(code: &str) -> Vec<Vec<String>> {
    let mut found = Vec::new();
    for (at, _) in code.match_indices("::") {
        let before = code.split_at(at).0;
        let before = before.trim_end_matches(|c: char| c.is_alphanumeric() || c == '_');
        if !before.ends_with("::") {
            take_path(code.split_at(before.len()).1, Vec::new(), &mut found);
        }
    }
    found
}

/// Takes one path, or one group of paths, from the beginning of a text; what follows it is left.
fn take_path<'t>(text: &'t str, mut path: Vec<String>, found: &mut Vec<Vec<String>>) -> &'t str {
    let mut rest = text;
    loop {
        if let Some(mut group) = rest.strip_prefix('{') {
            group = group.trim_start();
            while !group.is_empty() && !group.starts_with('}') {
                group = take_path(group, path.clone(), found);
                group = group.trim_start_matches(|c: char| c != ',' && c != '}');
                group = group.trim_start_matches(|c: char| c.is_whitespace() || c == ',');
            }
            return group.strip_prefix('}').unwrap_or(group);
        }
        let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
        let (name, more) = rest.split_at(end);
        path.push(name.to_owned());
        rest = more;
        match rest.strip_prefix("::") {
            Some(more) => rest = more,
            None => {
                found.push(path);
                return rest;
            }
        }
    }
}

/// The file that a path of a module leads to, where it leads to one.
fn target(own: &[String], path: &[String], files: &BTreeSet<Vec<String>>) -> Option<Vec<String>> {
    let (mut from, mut path) = (own.to_vec(), path);
    match path.first()?.as_str() {
        "crate" => (from, path) = (Vec::new(), &path[1..]),
        "super" | "self" => {
            while let [first, rest @ ..] = path {
                match first.as_str() {
                    "super" => drop(from.pop()),
                    "self" => {}
                    _ => break,
                }
                path = rest;
            }
        }
        child if files.contains(&[own, &[child.to_owned()]].concat()) => {}
        _ => return None,
    }
    let full = [from.as_slice(), path].concat();
    (1..=full.len()).rev().map(|end| full[..end].to_vec()).find(|file| files.contains(file))
}

/// A circle is two files that can only be understood together. A file in a folder may name the file that the folder belongs to: it is a
/// part of it.
#[test]
fn no_files_import_each_other_in_a_circle() {
    let sources: Vec<(Vec<String>, String)> = sources()
        .into_iter()
        .filter(|(path, _)| !matches!(path.to_str(), Some("lib.rs" | "main.rs")))
        .map(|(path, text)| (file_module(&path), text))
        .collect();
    let files: BTreeSet<Vec<String>> = sources.iter().map(|(file, _)| file.clone()).collect();
    let mut left: BTreeMap<Vec<String>, BTreeSet<Vec<String>>> = BTreeMap::new();
    for (file, text) in &sources {
        let lines = production(text).lines().filter(|line| !line.trim().starts_with("//"));
        let code = lines.collect::<Vec<_>>().join("\n");
        let targets = paths(&code).into_iter().filter_map(|path| target(file, &path, &files));
        left.insert(file.clone(), targets.filter(|named| !file.starts_with(named)).collect());
    }
    // What names nothing that is left is in no circle, and neither is what nothing names that is left.
    loop {
        let known = left.clone();
        let named: BTreeSet<&Vec<String>> = known.values().flatten().collect();
        left.retain(|file, targets| {
            targets.retain(|target| known.contains_key(target));
            !targets.is_empty() && named.contains(file)
        });
        if left.len() == known.len() {
            break;
        }
    }
    let circles: Vec<String> = left
        .iter()
        .map(|(file, targets)| {
            let targets: Vec<String> = targets.iter().map(|target| target.join("/")).collect();
            format!("{} names {}", file.join("/"), targets.join(", "))
        })
        .collect();
    assert!(circles.is_empty(), "in circles: {circles:#?}");
}

/// The type that a line declares, if it does.
fn declared(line: &str) -> Option<&str> {
    let line = match (line.strip_prefix("pub("), line.strip_prefix("pub ")) {
        (Some(rest), _) => rest.split_once(") ")?.1,
        (None, rest) => rest.unwrap_or(line),
    };
    let (word, rest) = line.split_once(' ')?;
    let name = rest.split(|c: char| !c.is_alphanumeric() && c != '_').next()?;
    matches!(word, "struct" | "enum" | "trait" | "type").then_some(name)
}

#[test]
fn every_type_has_a_name_of_its_own() {
    let mut places: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let rust = |path: &Path| path.extension().is_some_and(|end| end == "rs");
    let tests = |path: &Path| path.ends_with("tests.rs");
    for (path, text) in sources().iter().filter(|(path, _)| rust(path) && !tests(path)) {
        for name in production(text).lines().filter_map(declared) {
            places.entry(name.to_owned()).or_default().push(path.display().to_string());
        }
    }
    for (name, why) in SHARED_NAMES {
        let places = places.remove(*name).unwrap_or_default();
        assert!(places.len() > 1, "{name} need not be an exception ({why}): {places:?}");
    }
    places.retain(|_, places| places.len() > 1);
    assert!(places.is_empty(), "one name for several types: {places:#?}");
}

#[test]
fn only_the_host_names_the_host() {
    for (path, text) in sources() {
        // Both shells.
        let host = path.starts_with("host") || path.starts_with("module");
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

/// A panic that leaves the native module ends Envoy.
#[test]
fn every_function_that_envoy_calls_catches_panics() {
    let (_, text) = sources().into_iter().find(|(path, _)| path.ends_with("abi/hooks.rs")).unwrap();
    let hooks: Vec<&str> = text.split("extern \"C\" fn ").skip(1).collect();
    assert!(hooks.len() > 15, "{}", hooks.len());
    for hook in hooks {
        let (head, body) = hook.split_once('{').unwrap();
        let body = body.split("\n}").next().unwrap().trim();
        let guards = ["guarded(", "on_stream(", "dropped("];
        assert!(
            body == "0"
                || body.starts_with("})*")
                || guards.iter().any(|guard| body.contains(guard)),
            "{head} does not catch panics: {body}"
        );
    }
}

#[test]
fn files_stay_readable() {
    let long: Vec<String> = sources()
        .iter()
        // Written by npm.
        .filter(|(path, _)| path != Path::new("page/package-lock.json"))
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
fn unsafe_code_is_where_envoy_is_called_and_says_why_it_is_safe() {
    for (path, text) in sources() {
        let own = path.to_str().unwrap();
        let blocks: Vec<(usize, &str)> = text
            .lines()
            .enumerate()
            .filter(|(_, line)| {
                let code = line.trim();
                !code.starts_with("//")
                    && (code.contains("unsafe {") || code.contains("unsafe impl"))
            })
            .collect();
        assert!(
            blocks.is_empty() || UNSAFE.iter().any(|place| own.starts_with(place)),
            "{own} has unsafe code"
        );
        let lines: Vec<&str> = text.lines().collect();
        for (at, line) in blocks.iter().filter(|(_, line)| !line.contains("extern")) {
            let before = lines[..*at].iter().rev().take(6);
            // Nothing but the beginning of the same statement stands between.
            let said = before
                .take_while(|line| !line.trim().ends_with(';'))
                .any(|line| line.contains("// SAFETY:"));
            assert!(said || line.contains("// SAFETY:"), "{own}:{}: {line}", at + 1);
        }
    }
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

#[test]
fn what_is_counted_is_built_of_the_same_crates() {
    let packages = |path: &str| -> BTreeSet<(String, String)> {
        let text = fs::read_to_string(root().join(path)).unwrap();
        let of = |package: &str, key: &str| {
            let value = package.lines().find_map(|line| line.strip_prefix(key)?.strip_suffix('"'));
            value.map(str::to_owned)
        };
        let named = |package| Some((of(package, "name = \"")?, of(package, "version = \"")?));
        text.split("[[package]]").filter_map(named).collect()
    };
    let (ours, counted) = (packages("Cargo.lock"), packages("tests/engine/Cargo.lock"));
    let others: Vec<_> = counted.difference(&ours).filter(|(name, _)| name != "engine").collect();
    assert!(others.is_empty(), "tests/engine/Cargo.lock has other crates: {others:?}");
}
