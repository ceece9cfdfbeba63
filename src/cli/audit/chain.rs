//! The chain of audit lines: each holds a digest of itself and of the line before.

use mcp_policy::audit::{AFTER_DIGEST, BEFORE_DIGEST};
use mcp_policy::json::{Bounds, Duplicates, Member, Object, Value, parse_within};

/// What a line of a log is, for who looks for chains.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum SeenLine {
    /// An audit line of a chain.
    Chained(ChainedLine),
    /// An audit line that is in no chain.
    Unchained,
    /// An audit line whose chain is not as the filter writes one, or half of a line; and what is wrong.
    Spoilt(String),
    /// Something else.
    Other,
}

/// A line of a chain.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct ChainedLine {
    /// The chain.
    pub(super) id: String,
    /// Which line of the chain it is, from 1.
    pub(super) n: u64,
    /// What it says is its digest.
    pub(super) digest: String,
    /// What it is a digest of, beside that of the line before.
    pub(super) text: Vec<u8>,
}

/// Reads a line.
pub(super) fn see(line: &[u8]) -> SeenLine {
    if !line.starts_with(b"{") && !looks_chained(line) {
        return SeenLine::Other;
    }
    let Ok(text) = std::str::from_utf8(line) else {
        return SeenLine::Spoilt("not UTF-8".to_owned());
    };
    let value = match parse_within(text, Duplicates::Refuse, Bounds::of_any_body()) {
        Ok(value) => value,
        Err(fault) => {
            let problem = format!("not JSON: {} at byte {}", fault.kind.describe(), fault.at);
            return SeenLine::Spoilt(problem);
        }
    };
    let about_us =
        |object: &&Object<'_>| object.get("audit").is_some() || object.get("chain").is_some();
    let Some(object) = value.as_object().filter(about_us) else { return SeenLine::Other };
    match object.0.last() {
        Some(member) if member.key == "chain" => chained(text, member),
        Some(_) if object.get("chain").is_some() => {
            SeenLine::Spoilt("`chain` is not its last member".to_owned())
        }
        Some(_) | None => SeenLine::Unchained,
    }
}

/// Whether a line ends as those of a chain do.
fn looks_chained(line: &[u8]) -> bool {
    let begin = b"\"chain\":{\"id\":\"";
    line.ends_with(AFTER_DIGEST.as_bytes()) && line.windows(begin.len()).any(|part| part == begin)
}

fn chained(line: &str, chain: &Member<'_>) -> SeenLine {
    let spoilt = || SeenLine::Spoilt("its `chain` is not as the filter writes one".to_owned());
    let Some(Object(members)) = chain.value.as_object() else { return spoilt() };
    let [id, n, stated] = &**members else { return spoilt() };
    if [&*id.key, &*n.key, &*stated.key] != ["id", "n", "digest"] {
        return spoilt();
    }
    let number = if let Value::Number(text) = &n.value { text.parse().ok() } else { None };
    let number = number.filter(|n| *n > 0);
    let id = id.value.as_str().filter(|id| is_hex(id, 16));
    let digest = stated.value.as_str().filter(|digest| is_hex(digest, 64));
    let (Some(id), Some(n), Some(digest)) = (id, number, digest) else { return spoilt() };
    // Byte by byte, or somebody could add white space that no digest covers.
    let text = line
        .strip_suffix(AFTER_DIGEST)
        .and_then(|rest| rest.strip_suffix(digest))
        .and_then(|rest| rest.strip_suffix(BEFORE_DIGEST));
    let Some(text) = text else { return spoilt() };
    SeenLine::Chained(ChainedLine {
        id: id.to_owned(),
        n,
        digest: digest.to_owned(),
        text: text.as_bytes().to_vec(),
    })
}

fn is_hex(text: &str, length: usize) -> bool {
    text.len() == length && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

#[cfg(test)]
mod tests {
    use super::{ChainedLine, SeenLine, see};
    use mcp_policy::audit::{BEGINNING, link_digest};

    #[test]
    fn a_line_is_taken_apart_where_the_filter_put_it_together() {
        let text = r#"{"audit":1,"chain":{"id":"00112233445566aa","n":1"#;
        let stated = link_digest(BEGINNING, text.as_bytes());
        // Computed by sha256sum.
        assert_eq!(stated, "7134bdea6361f3ebeb8be6fb3ea27513b6da9734431cf4bb090c5c9c1ee7edff");
        let line = format!("{text},\"digest\":\"{stated}\"}}}}");
        let expected = ChainedLine {
            id: "00112233445566aa".to_owned(),
            n: 1,
            digest: stated.clone(),
            text: text.as_bytes().to_vec(),
        };
        assert_eq!(see(line.as_bytes()), SeenLine::Chained(expected));
        for (from, to) in [
            ("\"n\":1", "\"n\":0"),
            ("\"n\":1", "\"n\":\"1\""),
            ("\"n\":1", "\"n\":1,\"m\":2"),
            ("66aa", "66AA"),
            ("66aa", "66"),
            ("}}", "} }"),
            ("\"digest\"", " \"digest\""),
            ("\"digest\":\"", "\"digest\":\"0"),
            ("}}", "},\"more\":1}"),
            ("\"audit\":1", "\"audit\":1,\"audit\":1"),
            ("}}", "}"),
        ] {
            let changed = line.replace(from, to);
            assert!(matches!(see(changed.as_bytes()), SeenLine::Spoilt(_)), "{changed}");
        }
        for (line, expected) in [
            ("{\"audit\":1}", SeenLine::Unchained),
            ("{\"audit\":1,\"tool\":\"chain\"}", SeenLine::Unchained),
            ("{\"mcp_decision\":\"allow\"}", SeenLine::Other),
            ("[2026-01-05] starting", SeenLine::Other),
        ] {
            assert_eq!(see(line.as_bytes()), expected, "{line}");
        }
    }
}
