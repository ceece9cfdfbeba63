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

    /// The next line that is not blank.
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
            if !bytes.is_empty() {
                return Ok(Some(NumberedLine { number: self.number, bytes }));
            }
        }
    }
}
