//! Logs of calls, read as streams: one line after the other, in order of time, in bounded memory.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::path::{Path, PathBuf};

use mcp_policy::rehearsal::suite::DEFAULT_NOW;
use mcp_policy::time::UnixMillis;

use crate::cli::input::CliError;
use crate::cli::lines::LineReader;
use crate::cli::recorded::{self, LeftOut, RecordedCall, RecordedLine};
use crate::cli::report;

/// Lines that are read ahead of each log, to put them in order: threads of one Envoy write a little out of order.
const AHEAD_LINES: usize = 1024;

/// The same, in bytes.
const AHEAD_BYTES: usize = 8 << 20;

/// Lines that cannot be read and are told one by one.
const MOST_TOLD: u64 = 5;

/// Several logs, merged by time.
pub(super) struct Log {
    files: Vec<LogLines>,
    /// What is no call that can be read or sent once more.
    pub(super) skipped: Skipped,
    now: UnixMillis,
}

/// Lines that are not replayed.
#[derive(Debug, Default)]
pub(super) struct Skipped {
    /// Lines that are no calls that can be read.
    pub(super) unreadable: u64,
    /// Lines of something that cannot be sent once more.
    pub(super) left_out: BTreeMap<LeftOut, u64>,
}

/// One log.
struct LogLines {
    reader: LineReader,
    ahead: BinaryHeap<Reverse<Ahead>>,
    bytes: usize,
    ended: bool,
    /// The time of the line before.
    time: UnixMillis,
}

/// A call of a log.
#[derive(Debug)]
pub(super) struct LoggedCall {
    pub(super) call: RecordedCall,
    /// The file and the line.
    pub(super) place: String,
}

/// A call that was read ahead; ordered by time, and then as in the log.
struct Ahead {
    number: u64,
    call: RecordedCall,
}

impl Log {
    /// Opens the logs.
    pub(super) fn open(files: &[PathBuf]) -> Result<Log, CliError> {
        let files = files.iter().map(|file| LogLines::open(file)).collect::<Result<_, _>>()?;
        Ok(Log { files, skipped: Skipped::default(), now: UnixMillis(0) })
    }

    /// The next call of any log.
    pub(super) fn next(&mut self) -> Result<Option<LoggedCall>, CliError> {
        for lines in &mut self.files {
            lines.fill(&mut self.skipped)?;
        }
        let earliest = self.files.iter_mut().filter(|lines| !lines.ahead.is_empty());
        let earliest = earliest
            .min_by_key(|lines| lines.ahead.peek().map(|Reverse(ahead)| ahead.call.request.at));
        let Some(lines) = earliest else { return Ok(None) };
        let Some(Reverse(Ahead { number, call })) = lines.ahead.pop() else { return Ok(None) };
        lines.bytes = lines.bytes.saturating_sub(call.request.body.len());
        let place = format!("{}:{number}", lines.reader.name);
        if call.request.at < self.now {
            let message = format!("{place}: goes back in time: sort the log by time first");
            return Err(CliError::Line(message));
        }
        self.now = call.request.at;
        Ok(Some(LoggedCall { call, place }))
    }
}

impl Skipped {
    /// Why a log without a call has none.
    pub(super) fn why_none(&self) -> &'static str {
        match (self.unreadable, self.left_out.is_empty()) {
            (0, true) => "there is no call in it",
            (0, false) => "no line is a call that can be sent again",
            (_, _) => "no line is a call that can be read",
        }
    }

    /// Tells how many lines could not be read, where not each was told.
    pub(super) fn tell_unreadable(&self) {
        if self.unreadable > MOST_TOLD {
            report::warning(&format!("{} lines in all could not be read", self.unreadable));
        }
    }
}

impl LogLines {
    fn open(file: &Path) -> Result<LogLines, CliError> {
        let (reader, ahead) = (LineReader::open(file)?, BinaryHeap::new());
        Ok(LogLines { reader, ahead, bytes: 0, ended: false, time: DEFAULT_NOW })
    }

    /// Reads ahead.
    fn fill(&mut self, skipped: &mut Skipped) -> Result<(), CliError> {
        while !self.ended && self.ahead.len() < AHEAD_LINES && self.bytes < AHEAD_BYTES {
            let Some(line) = self.reader.next()? else {
                self.ended = true;
                continue;
            };
            match recorded::read(&line.bytes, self.time) {
                Ok(RecordedLine::Call(call)) => {
                    self.time = call.request.at;
                    self.bytes += call.request.body.len();
                    self.ahead.push(Reverse(Ahead { number: line.number, call: *call }));
                }
                Ok(RecordedLine::LeftOut(why)) => {
                    *skipped.left_out.entry(why).or_default() += 1;
                }
                Err(problem) => {
                    skipped.unreadable += 1;
                    if skipped.unreadable <= MOST_TOLD {
                        let (name, number) = (&self.reader.name, line.number);
                        report::warning(&format!(
                            "{name}:{number}: {problem}; the line is left out"
                        ));
                    }
                }
            }
        }
        Ok(())
    }
}

impl Ahead {
    fn key(&self) -> (UnixMillis, u64) {
        (self.call.request.at, self.number)
    }
}

impl PartialEq for Ahead {
    fn eq(&self, other: &Ahead) -> bool {
        self.key() == other.key()
    }
}

impl Eq for Ahead {}

impl PartialOrd for Ahead {
    fn partial_cmp(&self, other: &Ahead) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Ahead {
    fn cmp(&self, other: &Ahead) -> std::cmp::Ordering {
        self.key().cmp(&other.key())
    }
}
