//! Logs of calls, read as streams: one line after the other, in order of time, in bounded memory.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::fs::File;
use std::io::{BufRead, BufReader, Read, stdin};
use std::path::{Path, PathBuf};

use mcp_policy::json::{Bounds, Duplicates, Member, Object, Value, parse_within};
use mcp_policy::rehearsal::body::body_of;
use mcp_policy::rehearsal::suite::{DEFAULT_NOW, name_of, parse_time};
use mcp_policy::rehearsal::{Destination, SimulatedRequest, SimulatedResponse};
use mcp_policy::time::UnixMillis;

use crate::cli::input::{self, CliError};
use crate::cli::report;

/// Lines that are read ahead of each log, to put them in order: threads of one Envoy write a little out of order.
const AHEAD_LINES: usize = 1024;

/// The same, in bytes.
const AHEAD_BYTES: usize = 8 << 20;

/// Longest line that is read.
const LONGEST_LINE: u64 = 16 << 20;

/// Lines that cannot be read and are told one by one.
const MOST_TOLD: u64 = 5;

/// A recorded call.
#[derive(Debug)]
pub(super) struct RecordedCall {
    pub(super) request: SimulatedRequest,
    /// The file and the line.
    pub(super) place: String,
    /// Whether the log has no arguments of it.
    pub(super) without_arguments: bool,
}

/// Several logs, merged by time.
pub(super) struct Log {
    files: Vec<LogLines>,
    /// Lines that are no calls that can be read.
    pub(super) unreadable: u64,
    now: UnixMillis,
}

/// One log.
struct LogLines {
    name: String,
    reader: Box<dyn BufRead>,
    number: u64,
    ahead: BinaryHeap<Reverse<Ahead>>,
    bytes: usize,
    ended: bool,
    /// The time of the line before.
    time: UnixMillis,
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
        Ok(Log { files, unreadable: 0, now: UnixMillis(0) })
    }

    /// The next call of any log.
    pub(super) fn next(&mut self) -> Result<Option<RecordedCall>, CliError> {
        for lines in &mut self.files {
            self.unreadable += lines.fill(self.unreadable)?;
        }
        let earliest = self.files.iter_mut().filter(|lines| !lines.ahead.is_empty());
        let earliest = earliest
            .min_by_key(|lines| lines.ahead.peek().map(|Reverse(ahead)| ahead.call.request.at));
        let Some(lines) = earliest else { return Ok(None) };
        let Some(Reverse(ahead)) = lines.ahead.pop() else { return Ok(None) };
        lines.bytes = lines.bytes.saturating_sub(ahead.call.request.body.len());
        if ahead.call.request.at < self.now {
            let message =
                format!("{}: goes back in time: sort the log by time first", ahead.call.place);
            return Err(CliError::Line(message));
        }
        self.now = ahead.call.request.at;
        Ok(Some(ahead.call))
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
        let name = input::name(file);
        let reader: Box<dyn BufRead> = if file == Path::new("-") {
            Box::new(BufReader::new(stdin()))
        } else {
            let opened = File::open(file).and_then(|opened| {
                // A directory opens, and fails only when it is read.
                opened
                    .metadata()?
                    .is_dir()
                    .then(|| std::io::ErrorKind::IsADirectory.into())
                    .map_or(Ok(opened), Err)
            });
            Box::new(BufReader::new(opened.map_err(|error| input::unreadable(&name, &error))?))
        };
        let ahead = BinaryHeap::new();
        Ok(LogLines { name, reader, number: 0, ahead, bytes: 0, ended: false, time: DEFAULT_NOW })
    }

    /// Reads ahead; returns how many lines could not be read. `before` is how many were told already.
    fn fill(&mut self, before: u64) -> Result<u64, CliError> {
        let mut unreadable = 0;
        while !self.ended && self.ahead.len() < AHEAD_LINES && self.bytes < AHEAD_BYTES {
            let mut line = Vec::new();
            let read = self.reader.by_ref().take(LONGEST_LINE).read_until(b'\n', &mut line);
            let read = read.map_err(|error| input::unreadable(&self.name, &error))?;
            self.ended = read == 0;
            self.number += 1;
            if line.trim_ascii().is_empty() {
                continue;
            }
            let place = format!("{}:{}", self.name, self.number);
            if read as u64 == LONGEST_LINE && line.last() != Some(&b'\n') {
                return Err(CliError::Line(format!(
                    "{place}: longer than {LONGEST_LINE} bytes: not a log of calls"
                )));
            }
            match self.call(&line, &place) {
                Ok(call) => {
                    self.bytes += call.request.body.len();
                    self.ahead.push(Reverse(Ahead { number: self.number, call }));
                }
                Err(problem) => {
                    unreadable += 1;
                    if before + unreadable <= MOST_TOLD {
                        report::warning(&format!("{place}: {problem}; the line is left out"));
                    }
                }
            }
        }
        Ok(unreadable)
    }

    fn call(&mut self, line: &[u8], place: &str) -> Result<RecordedCall, String> {
        let text = std::str::from_utf8(line).map_err(|_| "not UTF-8".to_owned())?;
        let value = parse_within(text, Duplicates::Keep, Bounds::of_any_body())
            .map_err(|fault| format!("not JSON: {} at byte {}", fault.kind.describe(), fault.at))?;
        let Some(object) = value.as_object() else {
            return Err(format!("expected an object, found {}", value.kind()));
        };
        if let Some(time) = object.get("time") {
            self.time = read_time(time).ok_or("`time` is RFC 3339 or milliseconds since 1970")?;
        }
        let (body, without_arguments) = body(text, object)?;
        let response = match object.get("response").and_then(Value::as_str) {
            Some("error") => SimulatedResponse::Error,
            Some("result") | None => SimulatedResponse::Result,
            Some(_) => return Err("`response` is `result` or `error`".to_owned()),
        };
        let header = |member: &Member<'_>| {
            let value =
                member.value.as_str().ok_or_else(|| unusable("headers", member, "a text"))?;
            Ok((member.key.to_ascii_lowercase(), value.to_owned()))
        };
        let name = |member: &Member<'_>| {
            let expected = "a text, a number, a boolean or a list of texts";
            let name = name_of(&member.value).ok_or_else(|| unusable("identity", member, expected));
            Ok((member.key.to_string(), name?))
        };
        let request = SimulatedRequest {
            names: members(object, "identity")?.iter().map(name).collect::<Result<_, String>>()?,
            session: text_of(object, "session")?,
            headers: members(object, "headers")?
                .iter()
                .map(header)
                .collect::<Result<_, String>>()?,
            target: Destination {
                host: text_of(object, "host")?,
                path: text_of(object, "path")?,
                route: text_of(object, "route")?,
            },
            response,
            ..SimulatedRequest::new(body, self.time)
        };
        let request = request.by(text_of(object, "grant")?);
        Ok(RecordedCall { request, place: place.to_owned(), without_arguments })
    }
}

/// The members of an object that may be there.
fn members<'o, 'v>(object: &'o Object<'v>, key: &str) -> Result<&'o [Member<'v>], String> {
    match object.get(key) {
        None | Some(Value::Null) => Ok(&[]),
        Some(Value::Object(members)) => Ok(&members.0),
        Some(other) => Err(format!("`{key}` is {}, not an object", other.kind())),
    }
}

/// A text that may be there.
fn text_of(object: &Object<'_>, key: &str) -> Result<Option<String>, String> {
    match object.get(key) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.to_string())),
        Some(other) => Err(format!("`{key}` is {}, not a text", other.kind())),
    }
}

fn unusable(key: &str, member: &Member<'_>, expected: &str) -> String {
    format!("`{key}.{}` is {}, not {expected}", member.key.escape_debug(), member.value.kind())
}

/// The message of a line, and whether its arguments were not recorded.
fn body(text: &str, object: &Object<'_>) -> Result<(String, bool), String> {
    if let Some(request) = object.member("request") {
        return Ok((request.raw.to_owned(), false));
    }
    if object.get("jsonrpc").is_some() {
        return Ok((text.to_owned(), false));
    }
    let fields = ["tool", "arguments"].iter().filter_map(|key| object.member(key).cloned());
    let call = Value::Object(Object(fields.collect()));
    if object.get("tool").is_none() {
        return Err("it has neither `tool` nor `request`, and is no JSON-RPC message".to_owned());
    }
    Ok((body_of(&call)?, object.get("arguments").is_none()))
}

fn read_time(value: &Value<'_>) -> Option<UnixMillis> {
    match value {
        Value::String(text) => parse_time(text),
        Value::Number(text) => text.parse().ok().map(UnixMillis),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
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
