//! The records of a log, or of several, one after the other, whatever their length in all.

use std::path::PathBuf;

use mcp_policy::json::{Bounds, Duplicates, parse_within};

use super::audit_log::{self, AuditedCall};
use super::input::CliError;
use super::lines::LineReader;
use super::report;

/// Lines that cannot be read and are told one by one.
const MOST_TOLD: u64 = 5;

/// The records of several logs.
pub(super) struct AuditedLines {
    names: Vec<String>,
    /// Logs that are still to be read, the next one last.
    ahead: Vec<LineReader>,
    /// Lines that are a record.
    pub(super) read: u64,
    /// Lines that are none.
    pub(super) unreadable: u64,
}

impl AuditedLines {
    /// Opens the logs.
    pub(super) fn open(files: &[PathBuf]) -> Result<AuditedLines, CliError> {
        let readers = files.iter().map(|file| LineReader::open(file));
        let mut ahead = readers.collect::<Result<Vec<_>, CliError>>()?;
        let names = ahead.iter().map(|reader| reader.name.clone()).collect();
        ahead.reverse();
        Ok(AuditedLines { names, ahead, read: 0, unreadable: 0 })
    }

    /// The logs, as messages call them.
    pub(super) fn names(&self) -> &[String] {
        &self.names
    }

    /// The next record of any log. A line that is none is told, and left out.
    pub(super) fn next(&mut self) -> Result<Option<AuditedCall>, CliError> {
        while let Some(reader) = self.ahead.last_mut() {
            let Some(line) = reader.next()? else {
                self.ahead.pop();
                continue;
            };
            match record(&line.bytes) {
                Ok(call) => {
                    self.read += 1;
                    return Ok(Some(call));
                }
                Err(problem) => {
                    self.unreadable += 1;
                    if self.unreadable <= MOST_TOLD {
                        let place = format!("{}:{}", reader.name, line.number);
                        report::warning(&format!("{place}: {problem}; the line is left out"));
                    }
                }
            }
        }
        Ok(None)
    }

    /// Tells how many lines were left out, once all are read. It is an error if no line was a record.
    pub(super) fn end(&self) -> Result<(), CliError> {
        if self.unreadable > MOST_TOLD {
            report::warning(&format!("{} lines in all could not be read", self.unreadable));
        }
        if self.read > 0 {
            return Ok(());
        }
        let what = match self.unreadable {
            0 => "there is no line in it",
            _ => "no line is a record of the filter's",
        };
        Err(CliError::Line(format!("{}: {what}", self.names.join(", "))))
    }
}

fn record(line: &[u8]) -> Result<AuditedCall, String> {
    let text = std::str::from_utf8(line).map_err(|_| "not UTF-8".to_owned())?;
    let value = parse_within(text, Duplicates::Keep, Bounds::of_any_body())
        .map_err(|fault| format!("not JSON: {} at byte {}", fault.kind.describe(), fault.at))?;
    let Some(object) = value.as_object() else {
        return Err(format!("expected an object, found {}", value.kind()));
    };
    audit_log::read(object)?
        .ok_or_else(|| "neither an audit line nor a line of the access log".to_owned())
}
