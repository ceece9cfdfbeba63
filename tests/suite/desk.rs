//! What all sub-commands have in common: help, completions, standard input, and a document or JSON as output.

use std::io::Write as _;
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

#[test]
fn standard_input_is_read_in_either_format() {
    for text in ["{\"version\":\"1\",\"default\":\"deny\"}", "version: \"1\"\ndefault: deny\n"] {
        let (code, out, err) = run(&["convert", "-", "--as", "json"], text.as_bytes());
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
