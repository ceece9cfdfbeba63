//! The command as a user runs it: what it prints, where, and with which exit code.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

fn run(arguments: &[&str]) -> (i32, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_mcp-policy")).args(arguments).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

/// A file with this text, in a folder of this test's own.
fn file(name: &str, text: &[u8]) -> PathBuf {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("cli");
    fs::create_dir_all(&folder).unwrap();
    let path = folder.join(name);
    fs::write(&path, text).unwrap();
    path
}

#[test]
fn validate() {
    let good = r#"{"version":"1","default":"deny","tools":{"a":{"rate_limit":"5/hour"}}}"#;
    let bad = r#"{"version":"1","default":"denny","tools":{"a":{"rate_limit":"5/hours"}}}"#;
    for (name, text, code, out, err) in [
        ("good.json", good.as_bytes(), 0, "valid", ""),
        ("good.yaml", b"version: '1'\ntools: {a: {rules: [{rate_limit: 5/hour}]}}", 0, "valid", ""),
        ("bad.json", bad.as_bytes(), 1, "", "error[P007] at default: unknown word `denny`"),
        ("bad.json", bad.as_bytes(), 1, "", "error[P011] at tools.a.rate_limit"),
        ("bad.yaml", b"version: '1'\ndefault: &x deny", 1, "", "anchors are not read"),
        ("tabs.yaml", b"version: '1'\n\tdefault: deny", 1, "", "not YAML"),
        ("binary.json", b"\x00\xff\xfe", 1, "", "not JSON text in UTF-8"),
        ("binary.yaml", b"\x00\xff\xfe", 1, "", "not UTF-8"),
        ("empty.json", b"", 1, "", "the configuration is empty"),
    ] {
        let path = file(name, text);
        let (status, stdout, stderr) = run(&["validate", path.to_str().unwrap()]);
        assert_eq!(status, code, "{name}: {stdout}{stderr}");
        assert!(stdout.contains(out) && stderr.contains(err), "{name}: {stdout}{stderr}");
        assert_eq!(stdout.is_empty(), code != 0, "problems go to stderr: {name}");
    }
}

#[test]
fn exit_codes() {
    let good = file("exit.json", br#"{"version":"1","default":"deny","tools":{}}"#);
    let good = good.to_str().unwrap();
    for (arguments, code) in [
        (&["validate", good][..], 0),
        (&["validate", good, "missing.json"], 2),
        (&["validate", env!("CARGO_MANIFEST_DIR")], 2),
        (&["validate"], 2),
        (&["valdate", good], 2),
        (&["--version"], 0),
        (&["validate", "--help"], 0),
    ] {
        assert_eq!(run(arguments).0, code, "{arguments:?}");
    }
}

#[test]
fn the_policies_that_we_ship_are_valid() {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("policies");
    let files = fs::read_dir(folder).unwrap().map(|file| file.unwrap().path());
    let policy = |path: &PathBuf| {
        let name = path.to_string_lossy();
        name.ends_with(".json") && !name.ends_with(".schema.json")
    };
    let policies: Vec<PathBuf> = files.filter(policy).collect();
    assert!(policies.len() >= 7);
    for policy in policies {
        let (code, out, err) = run(&["validate", policy.to_str().unwrap()]);
        assert_eq!((code, &*err), (0, ""), "{out}");
    }
}
