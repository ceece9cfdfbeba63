//! The command as a user runs it: what it prints, where, and with which exit code.
//!
//! Each `tests/data/cli/*.txt` is a transcript: lines that start with `$` are commands, run in `tests/data/cli/files`; what
//! follows is what they print. `make bless` rewrites what follows.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::command::{self, Ran};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn command(arguments: &[&str]) -> Command {
    let mut command = command::command(arguments);
    command.current_dir(root().join("tests/data/cli/files"));
    command
}

fn run(arguments: &[&str]) -> Ran {
    command::run(&mut command(arguments), b"")
}

/// The words of a command line; single quotes keep a word together.
fn words(line: &str) -> Vec<&str> {
    let mut words = Vec::new();
    for (at, piece) in line.split('\'').enumerate() {
        if at % 2 == 1 {
            words.push(piece);
        } else {
            words.extend(piece.split_whitespace());
        }
    }
    words
}

/// What a command prints, as the transcripts have it.
fn transcript(line: &str) -> String {
    let words = words(line);
    assert_eq!(words[..2], ["$", "mcp-policy"], "{line}");
    let (code, out, err) = run(&words[2..]);
    let part = |name: &str, text: &str| {
        let trimmed: Vec<&str> = text.trim_end().lines().map(str::trim_end).collect();
        if text.is_empty() { String::new() } else { format!("{name}\n{}\n", trimmed.join("\n")) }
    };
    format!("{line}\n{}{}exit {code}\n\n", part("[out]", &out), part("[err]", &err))
}

#[test]
fn transcripts() {
    let bless = std::env::var_os("MCP_POLICY_BLESS").is_some();
    let folder = root().join("tests/data/cli");
    let mut transcripts = 0;
    let mut wrong = Vec::new();
    for path in fs::read_dir(folder).unwrap().map(|item| item.unwrap().path()) {
        if path.extension().is_none_or(|end| end != "txt") {
            continue;
        }
        transcripts += 1;
        let expected = fs::read_to_string(&path).unwrap();
        let commands = expected.lines().filter(|line| line.starts_with("$ "));
        let found: String = commands.map(transcript).collect();
        if bless {
            fs::write(&path, &found).unwrap();
        } else if found != expected {
            let mut lines = found.lines().zip(expected.lines()).enumerate();
            let differs = lines.find(|(_, (found, expected))| found != expected);
            wrong.push(format!("{}: {differs:#?}", path.display()));
        }
    }
    assert!(wrong.is_empty(), "see `make bless`: {wrong:#?}");
    assert!(transcripts >= 4, "the transcripts are there");
}

#[test]
fn the_policies_that_we_ship_pass_their_tests_which_cover_them() {
    let policies = fs::read_dir(root().join("policies")).unwrap().map(|file| file.unwrap().path());
    let policies: Vec<String> = policies
        .map(|path| path.to_string_lossy().into_owned())
        .filter(|path| path.ends_with(".json"))
        .collect();
    assert!(policies.len() >= 7);
    let with = |before: &[&'static str]| -> (i32, String, String) {
        let policies = policies.iter().map(String::as_str);
        run(&before.iter().copied().chain(policies).collect::<Vec<_>>())
    };
    // The smallest of them stays as it is everywhere, and counts by caller alone: that is the one thing to be warned of.
    let (code, out, err) = with(&["validate"]);
    assert_eq!((code, out.matches(": valid\n").count()), (0, policies.len() - 1), "{out}");
    assert_eq!(
        (err.matches("warning[").count(), err.matches("copy-image-set.json:1:").count()),
        (1, 1),
        "{err}"
    );
    assert!(
        err.starts_with("warning[P113]: this counts by `authorization`, which nothing verifies"),
        "{err}"
    );
    let (code, out, err) = with(&["test", "--require-coverage", "100"]);
    assert_eq!((code, &*err), (0, ""), "{out}");
    assert_eq!(out.matches("(100 %)").count(), policies.len(), "{out}");
}

/// A file of this test's own.
fn file(name: &str, bytes: &[u8]) -> PathBuf {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("cli");
    fs::create_dir_all(&folder).unwrap();
    let path = folder.join(name);
    fs::write(&path, bytes).unwrap();
    path
}

/// Runs a shell line with the command as `$0`, within a little memory and twenty seconds of a processor, however busy the machine is. What waits
/// for ever ends too.
fn bounded(line: &str, path: &Path) -> (i32, String) {
    let line = format!("ulimit -v 400000 -t 20; {line}");
    let output = Command::new("timeout")
        .args(["300", "bash", "-c", &line, env!("CARGO_BIN_EXE_mcp-policy")])
        .arg(path)
        .output()
        .unwrap();
    let text = String::from_utf8(output.stderr).unwrap();
    (output.status.code().unwrap(), text)
}

fn start(text: &str) -> String {
    text.chars().take(2000).collect()
}

#[test]
fn what_is_no_policy_ends_in_one_clear_message() {
    let bomb = "a: &a [x, x]\nb: &b [*a, *a]\nc: &c [*b, *b]\n";
    let deep = "[".repeat(1 << 16);
    let wide = "- 1\n".repeat(140_000);
    let long = format!("version: \"{}\"", "x".repeat(1 << 20));
    let many =
        format!("{{\"version\":\"1\",\"tools\":{{{}\"z\":1}}}}", "\"a\":{},".repeat(1 << 17));
    let twice = format!(
        "{{\"version\":\"1\",\"default\":\"deny\",\"tools\":{{{}}}}}",
        ["\"a\":{}"; 20_000].join(",")
    );
    let key = format!("{{\"{}\": 1}}", "k".repeat(1 << 20));
    let big = "a: 1\n".repeat(10 << 20);
    for (name, bytes, code, message) in [
        ("binary.yaml", &b"\x7fELF\x02\x01\x01\x00"[..], 1, "the file is binary"),
        ("latin.yaml", b"version: \xe9", 1, "not UTF-8 at line 1, column 10"),
        ("empty.yaml", b" \n\n", 1, "the document is blank"),
        ("bomb.yaml", bomb.as_bytes(), 1, "anchors are not read"),
        ("cycle.yaml", b"a: &a\n  b: *a", 1, "anchors are not read"),
        ("merge.yaml", b"a: {}\n<<: *x", 1, "not YAML: while parsing node, found unknown anchor"),
        ("tabs.yaml", b"version: '1'\n\tdefault: deny", 1, "indent with spaces"),
        ("deep.yaml", deep.as_bytes(), 1, "not YAML: recursion limit exceeded"),
        ("deep.json", deep.as_bytes(), 1, "nested deeper than 64 levels"),
        ("wide.yaml", wide.as_bytes(), 1, "too many values"),
        ("long.yaml", long.as_bytes(), 1, "expected the string `1`"),
        ("many.json", many.as_bytes(), 1, "more than 131072 values"),
        ("twice.json", twice.as_bytes(), 1, "duplicate key `a`"),
        ("key.json", key.as_bytes(), 1, "unknown field `kkkk"),
        ("big.yaml", big.as_bytes(), 2, "longer than 16 MiB"),
        ("big.json", big.as_bytes(), 2, "longer than 16 MiB"),
    ] {
        let path = file(name, bytes);
        let (found, text) = bounded("$0 validate $1", &path);
        let started = text.matches("error").count();
        assert!(found == code && text.contains(message), "{name}: {found} {}", start(&text));
        assert!((1..=4).contains(&started) && text.len() < 1 << 18, "{name}: {}", text.len());
        // As test, as call, as counters: never worse.
        let policy = file("policy.json", br#"{"version":"1","default":"deny","tools":{"a":{}}}"#);
        for line in [
            "explain $POLICY --call $1",
            "explain $POLICY --tool a --counters $1",
            "validate $POLICY --tools $1",
            "convert $1",
            "render $1 --for envoy",
            "scan --tools $1",
            "scan --config $1",
        ] {
            // A JSON array is a batch: the filter itself refuses this one.
            if name == "deep.json" && line.contains("--call") {
                continue;
            }
            let line = format!("POLICY={}; $0 {line}", policy.display());
            let (found, text) = bounded(&line, &path);
            assert_eq!(found, 2, "{name}: {line}: {}", start(&text));
            assert!(text.starts_with("error"), "{name}: {line}: {}", start(&text));
        }
    }
}

#[test]
fn streams_are_read_like_files() {
    let good = br#"{"version":"1","default":"deny","tools":{"a":{}}}"#;
    let path = file("stream.json", good);
    for (line, code, message) in [
        ("$0 validate - < $1", 0, ""),
        ("$0 validate <(cat $1)", 0, ""),
        ("printf 'version: \"1\"\\ndefault: deny\\ntools: {a: {}}' | $0 validate -", 0, ""),
        ("printf '{\"version\"' | $0 validate -", 1, "this `{` is not closed"),
        ("$0 validate - < /dev/null", 1, "standard input: not valid"),
        ("$0 validate /dev/zero", 2, "longer than 16 MiB"),
        ("$0 convert /nonexistent", 2, "cannot be read: No such file"),
        ("$0 render / --for json", 2, "cannot be read: Is a directory"),
        ("$0 scan --tools /dev/zero", 2, "longer than 16 MiB"),
        ("$0 convert $1 --output /nonexistent/policy.json", 2, "cannot be written: No such file"),
        ("$0 schema reference > /dev/full", 2, "standard output cannot be written"),
        ("$0 replay $1 --log /dev/zero", 2, "not a log of calls"),
        ("yes '{\"tool\":\"a\"}' | head -n 20000 | $0 replay $1 --log -", 0, ""),
        ("yes | head -n 20000 | $0 replay $1 --log -", 2, "20000 lines in all could not be read"),
        ("echo '{\"tool\":\"a\"}' | $0 explain $1 --call -", 0, ""),
        (
            "echo '{\"audit\":1,\"decision\":\"deny\",\"tool\":\"a\"}' | $0 explain $1 --log -",
            0,
            "",
        ),
        ("yes '{\"tool\":\"a\"}' | $0 explain $1 --log -", 2, "more than one line"),
        ("yes '{\"tool\":\"a\"}' | $0 explain $1 --log /dev/stdin:20000", 0, ""),
        ("$0 explain $1 --log /dev/zero:1", 2, "not a log of calls"),
        ("$0 audit verify /dev/zero", 2, "not a log of calls"),
        ("yes | head -n 20000 | $0 audit verify -", 2, "no line is in a chain"),
        (
            "$0 validate $1 > /dev/full",
            2,
            "error: standard output cannot be written: No space left",
        ),
    ] {
        let (found, text) = bounded(line, &path);
        assert!(found == code && text.contains(message), "{line}: {found} {text}");
    }
}

#[test]
fn logs_are_put_in_order_of_time_within_reason() {
    let line = |at: u64, tool: &str| format!("{{\"time\":{at},\"tool\":\"{tool}\"}}\n");
    let policy = file(
        "order.json",
        br#"{"version":"1","default":"deny","tools":{"a":{"rate_limit":"1/second"}}}"#,
    );
    // Neighbours are swapped, so that in order of lines the second call of a second would come before its first.
    let mixed: String =
        (0..500).flat_map(|at| [line(at * 1000 + 500, "a"), line(at * 1000, "b")]).collect();
    let path = file("mixed.jsonl", mixed.as_bytes());
    let (code, out, _) =
        run(&["replay", policy.to_str().unwrap(), "--log", path.to_str().unwrap()]);
    assert!(code == 0 && out.contains("500  allow     a"), "{out}");
    let far: String = (0..3000).map(|at| line(3_000_000 - at * 1000, "a")).collect();
    let path = file("far.jsonl", far.as_bytes());
    let (code, _, err) =
        run(&["replay", policy.to_str().unwrap(), "--log", path.to_str().unwrap()]);
    assert!(code == 2 && err.contains("goes back in time: sort the log by time first"), "{err}");
}

#[test]
fn junit_is_what_ci_servers_read() {
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("junit.xml");
    let junit = path.to_str().unwrap();
    let (code, _, _) =
        run(&["test", "wrong.test.yaml", "--require-coverage", "50", "--junit", junit]);
    let found = fs::read_to_string(&path).unwrap();
    let golden = root().join("tests/data/cli/junit.xml");
    if std::env::var_os("MCP_POLICY_BLESS").is_some() {
        fs::write(&golden, &found).unwrap();
    }
    assert_eq!((code, found), (1, fs::read_to_string(golden).unwrap()), "see `make bless`");
}

#[test]
fn colour_is_for_terminals() {
    let coloured = |variable: &str| {
        let mut command = command(&["validate", "invalid.json"]);
        let output = command.env(variable, "1").output().unwrap();
        output.stderr.contains(&0x1b)
    };
    assert!(coloured("CLICOLOR_FORCE"));
    assert!(!coloured("NO_COLOR"));
    assert!(!coloured("X"), "not into a pipe");
}

#[test]
fn a_closed_pipe_is_no_failure_to_tell() {
    for arguments in [["validate", "alone.yaml"], ["schema", "reference"]] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let output = command(&arguments).stdout(writer).output().unwrap();
        assert_eq!((output.status.code(), output.stderr), (Some(2), Vec::new()));
    }
}

#[test]
fn standard_input_is_read_in_either_format() {
    for text in ["{\"version\":\"1\",\"default\":\"deny\"}", "version: \"1\"\ndefault: deny\n"] {
        let (code, out, err) =
            command::run(&mut command(&["convert", "-", "--as", "json"]), text.as_bytes());
        assert_eq!((code, &*err), (0, ""), "{text}");
        assert_eq!(out, "{\n  \"version\": \"1\",\n  \"default\": \"deny\"\n}\n");
    }
}

#[test]
fn every_command_has_help_with_an_example() {
    let (_, help, _) = run(&["--help"]);
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
        let (code, help, _) = run(&[command, "--help"]);
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
        let (code, script, err) = run(&["completions", shell]);
        assert_eq!((code, &*err), (0, ""), "{shell}");
        for word in ["validate", "convert", "render", "scan", "schema", "header-env"] {
            assert!(script.contains(word), "{shell} does not know {word}");
        }
    }
    let (code, _, err) = run(&["completions", "tcsh"]);
    assert_eq!(code, 2);
    assert!(err.contains("possible values: bash"), "{err}");
}

#[test]
fn a_policy_from_standard_input_has_its_tests_elsewhere() {
    let policy = fs::read(root().join("tests/data/cli/files/folder/search.yaml")).unwrap();
    let arguments = ["test", "-", "--tests", "folder/search.test.yaml"];
    let (code, out, err) = command::run(&mut command(&arguments), &policy);
    assert_eq!((code, &*err), (0, ""));
    assert_eq!(out, "ok   folder/search.test.yaml: 2 tests, 3 of 4 rules covered (75 %)\n");
}

/// One line for each sub-command in the help, and a page of its own in the manual.
#[test]
fn every_sub_command_says_what_it_does() {
    let (_, help, _) = run(&["help"]);
    let (_, commands) = help.split_once("Commands:\n").unwrap();
    let lines: Vec<&str> = commands.split("\n\n").next().unwrap().lines().collect();
    assert!(lines.len() > 15, "{lines:?}");
    for line in lines {
        let (name, about) = line.trim().split_once(' ').unwrap_or((line, ""));
        assert!(!about.trim().is_empty(), "{line}: without a word");
        let (code, page, err) = run(&["man", name]);
        assert!(name == "help" || code == 0 && page.contains(".SH SYNOPSIS"), "{name}: {err}");
        let (_, help, _) = run(&[name, "--help"]);
        let told = help.contains("Exit codes:") || matches!(name, "help");
        assert!(told, "{name}: its help does not say its exit codes");
    }
}

/// What is there already stays there, whichever sub-command would write.
#[test]
fn no_file_is_replaced_without_a_word() {
    let policy = root().join("policies/stripe.json");
    let policy = policy.to_str().unwrap();
    for arguments in [
        &["convert", policy][..],
        &["render", policy, "--for", "json"],
        &["render", policy, "--for", "envoy-filter"],
        &["schema"],
        &["completions", "bash"],
        &["man"],
        &["policy", "git"],
    ] {
        let kept = file("kept.txt", b"somebody's work");
        let to = ["--output", kept.to_str().unwrap()];
        let (code, _, err) = run(&[arguments, &to].concat());
        assert_eq!((code, fs::read(&kept).unwrap()), (2, b"somebody's work".to_vec()), "{err}");
        assert!(err.contains("is there already; --force replaces it"), "{arguments:?}: {err}");
        let (code, _, err) = run(&[arguments, &to, &["--force"]].concat());
        assert_eq!(code, 0, "{arguments:?}: {err}");
        assert_ne!(fs::read(&kept).unwrap(), b"somebody's work", "{arguments:?}");
        // Of the same words nothing is lost.
        let (code, _, err) = run(&[arguments, &to].concat());
        assert_eq!(code, 0, "{arguments:?}: {err}");
    }
}
