//! What all sub-commands of the author's desk have in common: what bad input comes to, help, completions.

use std::fs;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};

fn run(arguments: &[&str], input: &[u8]) -> (i32, String, String) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_mcp-policy"))
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A command that does not read its input closes it.
    let _ = child.stdin.take().unwrap().write_all(input);
    let output = child.wait_with_output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

fn file(name: &str, bytes: &[u8]) -> String {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("desk");
    fs::create_dir_all(&folder).unwrap();
    let path = folder.join(name);
    fs::write(&path, bytes).unwrap();
    path.to_str().unwrap().to_owned()
}

/// Input that is no policy, with the words of the one line that says so.
fn bad() -> Vec<(&'static str, Vec<u8>, &'static str)> {
    let bomb = "a: &a [x]\nb: &b [*a, *a, *a]\nc: [*b, *b, *b]\n";
    vec![
        ("binary.json", (0..=255).cycle().take(5000).collect(), "not JSON text in UTF-8"),
        ("binary.yaml", (0..=255).cycle().take(5000).collect(), "not UTF-8"),
        (
            "long.yaml",
            b"# a long comment\n".repeat(50 << 16),
            "longer than 16777216 bytes: not a policy",
        ),
        ("bomb.yaml", bomb.into(), "anchors are not read"),
        ("cycle.yaml", b"a: &a\n  b: *a\n".to_vec(), "anchors are not read"),
        (
            "twice.yaml",
            b"version: \"1\"\ndefault: deny\ndefault: allow\n".to_vec(),
            "duplicate key `default`",
        ),
        ("tabs.yaml", b"version: \"1\"\n\tdefault: deny\n".to_vec(), "not YAML"),
        ("deep.json", [b"[".repeat(10_000), b"]".repeat(10_000)].concat(), "nested too deeply"),
        ("empty.yaml", Vec::new(), "the document is empty"),
        ("list.yaml", b"- a\n- b\n".to_vec(), "expected an object"),
    ]
}

#[test]
fn bad_input_ends_in_one_line() {
    for (name, bytes, said) in bad() {
        let path = file(name, &bytes);
        for arguments in [&["convert", &path][..], &["render", &path, "--for", "envoy"]] {
            let (code, out, err) = run(arguments, b"");
            let expected = if name.starts_with("long") { 2 } else { 1 };
            assert_eq!((code, &*out), (expected, ""), "{arguments:?}: {err}");
            assert!(err.contains(said), "{arguments:?}: {err}");
            assert_eq!(err.trim_end().lines().count(), 1, "{arguments:?}: {err}");
        }
        let (code, out, err) = run(&["scan", "--tools", &path], b"");
        assert_eq!((code, &*out, err.trim_end().lines().count()), (2, "", 1), "{name}: {err}");
        let (code, out, err) = run(&["scan", "--config", &path], b"");
        assert_eq!((code, &*out, err.trim_end().lines().count()), (2, "", 1), "{name}: {err}");
    }
    for arguments in
        [&["convert", "/nonexistent"][..], &["render", env!("CARGO_MANIFEST_DIR"), "--for", "json"]]
    {
        let (code, out, err) = run(arguments, b"");
        assert_eq!(
            (code, &*out, err.trim_end().lines().count()),
            (2, "", 1),
            "{arguments:?}: {err}"
        );
        assert!(err.contains("cannot be read"), "{err}");
    }
}

#[test]
fn standard_input_is_read_in_either_format() {
    for text in ["{\"version\":\"1\",\"default\":\"deny\"}", "version: \"1\"\ndefault: deny\n"] {
        let (code, out, err) = run(&["convert", "-", "--format", "json"], text.as_bytes());
        assert_eq!((code, &*err), (0, ""), "{text}");
        assert_eq!(out, "{\n  \"version\": \"1\",\n  \"default\": \"deny\"\n}\n");
    }
}

#[test]
fn every_command_has_help_with_an_example() {
    let (_, help, _) = run(&["--help"], b"");
    let commands: Vec<&str> = help
        .lines()
        .skip_while(|line| !line.starts_with("Commands:"))
        .skip(1)
        .take_while(|line| !line.is_empty())
        .filter_map(|line| line.split_whitespace().next())
        .filter(|command| *command != "help")
        .collect();
    assert!(commands.len() >= 6, "{commands:?}");
    for command in commands {
        let (code, help, _) = run(&[command, "--help"], b"");
        assert_eq!(code, 0, "{command}");
        assert!(
            help.contains("Example") && help.contains(&format!("mcp-policy {command}")),
            "{command}: {help}"
        );
    }
}

#[test]
fn completions_know_every_command() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let (code, script, err) = run(&["completions", shell], b"");
        assert_eq!((code, &*err), (0, ""), "{shell}");
        for word in ["validate", "convert", "render", "scan", "schema", "header-env"] {
            assert!(script.contains(word), "{shell} does not know {word}");
        }
    }
    let (code, _, err) = run(&["completions", "tcsh"], b"");
    assert_eq!(code, 2);
    assert!(err.contains("possible values: bash"), "{err}");
}

/// What is printed can be piped into something that stops reading.
#[test]
fn a_closed_pipe_is_no_panic() {
    let mut child = Command::new(env!("CARGO_BIN_EXE_mcp-policy"))
        .args(["schema", "reference"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert!(!String::from_utf8_lossy(&output.stderr).contains("panicked"), "{output:?}");
}
