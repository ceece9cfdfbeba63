//! Logs as streams of lines, of which no line may be longer than a log has them.

use std::fs::File;
use std::io::{BufRead, BufReader, ErrorKind, Read, stdin};
use std::path::Path;

use super::input::{self, CliError};

/// Longest line that is read.
const LONGEST_LINE: u64 = 16 << 20;

/// A log that is read line by line.
pub(super) struct LineReader {
    /// What the log is called in messages.
    pub(super) name: String,
    reader: Box<dyn BufRead>,
    number: u64,
}

/// One line of a log.
#[derive(Debug)]
pub(super) struct NumberedLine {
    /// From 1.
    pub(super) number: u64,
    /// Its bytes, without the line break.
    pub(super) bytes: Vec<u8>,
}

impl LineReader {
    /// Opens a log; `-` is standard input.
    pub(super) fn open(file: &Path) -> Result<LineReader, CliError> {
        let name = input::name(file);
        let reader: Box<dyn BufRead> = if file == Path::new("-") {
            Box::new(BufReader::new(stdin()))
        } else {
            let opened = File::open(file).and_then(|opened| {
                // A directory opens, and fails only when it is read.
                let directory = opened.metadata()?.is_dir();
                if directory { Err(ErrorKind::IsADirectory.into()) } else { Ok(opened) }
            });
            Box::new(BufReader::new(opened.map_err(|error| input::unreadable(&name, &error))?))
        };
        Ok(LineReader { name, reader, number: 0 })
    }

    /// The next line that is not blank. One with a dash alone is what Envoy writes where there is nothing to say.
    pub(super) fn next(&mut self) -> Result<Option<NumberedLine>, CliError> {
        loop {
            let mut bytes = Vec::new();
            let read = self.reader.by_ref().take(LONGEST_LINE).read_until(b'\n', &mut bytes);
            let read = read.map_err(|error| input::unreadable(&self.name, &error))?;
            if read == 0 {
                return Ok(None);
            }
            self.number += 1;
            let whole = bytes.last() == Some(&b'\n');
            if read as u64 == LONGEST_LINE && !whole {
                return Err(CliError::Line(format!(
                    "{}:{}: longer than {LONGEST_LINE} bytes: not a log of calls",
                    self.name, self.number
                )));
            }
            bytes.truncate(bytes.trim_ascii_end().len());
            if !bytes.is_empty() && bytes != b"-" {
                let bytes = unwrapped(bytes);
                return Ok(Some(NumberedLine { number: self.number, bytes }));
            }
        }
    }
}

/// An audit line without what Envoy's own log writes before it: `[2026-11-27 02:24:50.123][15][info][wasm] […] wasm log mcp_policy: `.
fn unwrapped(mut bytes: Vec<u8>) -> Vec<u8> {
    let Some(begin) = bytes.iter().position(|byte| *byte == b'{') else { return bytes };
    let (head, rest) = bytes.split_at(begin);
    let wasm = b"][wasm]";
    let by_envoy = head.starts_with(b"[") && head.windows(wasm.len()).any(|part| part == wasm);
    if by_envoy && rest.starts_with(b"{\"audit\":") {
        return bytes.split_off(begin);
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::unwrapped;

    #[test]
    fn an_audit_line_is_found_in_the_log_of_envoy() {
        let envoy = "[2026-11-27 02:24:50.123][15][info][wasm] [source/extensions/common/wasm/context.cc:1170] wasm log mcp_policy: ";
        for (line, expected) in [
            ("{\"audit\":1}", "{\"audit\":1}"),
            (&format!("{envoy}{{\"audit\":1}}"), "{\"audit\":1}"),
            (&format!("{envoy}{{\"other\":1}}"), &format!("{envoy}{{\"other\":1}}")),
            ("[x] GET /{\"audit\":1}", "[x] GET /{\"audit\":1}"),
            ("GET [][wasm]{\"audit\":1}", "GET [][wasm]{\"audit\":1}"),
            ("mcp", "mcp"),
        ] {
            assert_eq!(unwrapped(line.as_bytes().to_vec()), expected.as_bytes(), "{line}");
        }
    }
}
