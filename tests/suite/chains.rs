//! Chains of audit lines, written here without the library, and whatever somebody could do to them.

use serde_json::Value;
use sha2::{Digest as _, Sha256};

use crate::command::{command, run};

/// A chain as a worker of Envoy writes it.
fn chain(id: &str, length: usize) -> Vec<String> {
    let mut before = "0".repeat(64);
    let line = |n| {
        let text = format!(
            r#"{{"audit":1,"time":"2026-01-05T09:00:00Z","decision":"allow","tool":"search","chain":{{"id":"{id}","n":{n}"#
        );
        let digest = Sha256::digest(format!("{before}{text}"));
        before = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        format!(r#"{text},"digest":"{before}"}}}}"#)
    };
    (1..=length).map(line).collect()
}

/// Two chains, one line of each in turn.
fn log() -> Vec<String> {
    let other = chain("ffeeddccbbaa9988", 6);
    let both = chain("0011223344556677", 6).into_iter().zip(other);
    both.flat_map(|(one, other)| [one, other]).collect()
}

/// What `audit verify` says: its exit code, and the kinds of problems.
fn verify(lines: &[String], options: &[&str]) -> (i32, Vec<String>, Value) {
    let arguments = [&["audit", "verify", "--format", "json"], options, &["-"]].concat();
    let (code, out, err) = run(&mut command(&arguments), lines.join("\n").as_bytes());
    let answer: Value = serde_json::from_str(&out).unwrap_or_else(|_| panic!("{out}{err}"));
    let problems = answer["problems"].as_array().unwrap().iter();
    let kinds = problems.map(|problem| problem["kind"].as_str().unwrap().to_owned()).collect();
    assert_eq!(answer["intact"] == true, code == 0);
    (code, kinds, answer)
}

fn kinds(lines: &[String]) -> Vec<String> {
    verify(lines, &[]).1
}

#[test]
fn what_is_done_to_a_log_is_found() {
    let whole = log();
    assert!(kinds(&whole).is_empty());
    let with = |change: &dyn Fn(&mut Vec<String>)| {
        let mut lines = log();
        change(&mut lines);
        lines
    };
    let unchained =
        r#"{"audit":1,"time":"2026-01-05T09:00:00Z","decision":"deny","tool":"search"}"#;
    let stranger = chain("0000000000000001", 1).remove(0);
    for (lines, expected) in [
        (with(&|lines| lines.reverse()), &[][..]),
        (with(&|lines| lines.swap(3, 7)), &[]),
        (with(&|lines| lines.insert(4, "[x] an Envoy starts".to_owned())), &[]),
        (with(&|lines| drop(lines.remove(4))), &["missing"]),
        (with(&|lines| drop(lines.drain(4..8))), &["missing", "missing"]),
        (with(&|lines| drop(lines.remove(0))), &["beginning_missing"]),
        (with(&|lines| lines.push(lines[4].clone())), &["twice"]),
        (with(&|lines| lines[4] = lines[4].replace("allow", "deny")), &["changed"]),
        (with(&|lines| lines[4] = lines[4].replace(":3,", ":9,")), &["missing", "missing"]),
        (with(&|lines| lines.insert(4, unchained.to_owned())), &["unchained"]),
        (with(&|lines| lines[4].truncate(99)), &["spoilt", "missing"]),
        // Chains of their own, and ends that are cut off, are what cannot be found.
        (with(&|lines| lines.insert(4, stranger.clone())), &[]),
        (with(&|lines| lines.truncate(4)), &[]),
        (with(&|lines| lines.retain(|line| line.contains("ffee"))), &[]),
    ] {
        assert_eq!(kinds(&lines), expected, "{lines:#?}");
    }
}

#[test]
fn a_beginning_may_be_missing_where_the_log_is_a_part() {
    let part = log().split_off(5);
    let (code, kinds, _) = verify(&part, &[]);
    assert_eq!((code, kinds.len()), (1, 2));
    let (code, kinds, answer) = verify(&part, &["--partial"]);
    assert_eq!((code, kinds.len()), (0, 0));
    assert_eq!(
        (&answer["chains"][0]["from"], &answer["chains"][0]["unchecked"]),
        (&4.into(), &1.into())
    );
    let mut gap = part;
    gap.remove(2);
    assert_eq!(verify(&gap, &["--partial"]).1, ["missing"]);
}

#[test]
fn the_end_that_is_told_is_the_end_that_is_there() {
    let (_, _, answer) = verify(&log(), &[]);
    for (at, last) in log().iter().skip(10).enumerate() {
        let chain = &answer["chains"][at];
        assert_eq!((&chain["to"], &chain["lines"]), (&6.into(), &6.into()));
        assert!(last.contains(chain["last_digest"].as_str().unwrap()), "{last}");
    }
}

#[test]
fn no_byte_can_be_changed() {
    let whole = log();
    // A line with one behind it, and the last one.
    for at in [2, 11] {
        for byte in 0..whole[at].len() {
            for new in [b'0', b'a', b' ', b'"'] {
                let mut changed = whole[at].clone().into_bytes();
                if byte % 4 != usize::from(new) % 4 || changed[byte] == new {
                    continue;
                }
                changed[byte] = new;
                let mut lines = whole.clone();
                lines[at] = String::from_utf8(changed).unwrap();
                assert_ne!(verify(&lines, &[]).0, 0, "{}", lines[at]);
            }
        }
    }
}

#[test]
fn lines_may_be_as_late_as_they_are() {
    let lines = chain("0011223344556677", 20_000);
    let (late, early): (Vec<_>, Vec<_>) =
        lines.into_iter().enumerate().partition(|(at, _)| at % 2 == 0);
    let mixed: Vec<String> = early.into_iter().chain(late).map(|(_, line)| line).collect();
    assert!(kinds(&mixed).is_empty());
    let early = &mixed[..10_000];
    let (code, kinds, answer) = verify(early, &["--partial"]);
    assert_eq!((code, kinds.len(), &answer["more_problems"]), (1, 1000, &8999.into()));
}
