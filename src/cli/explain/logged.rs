//! The one line of a log that is to be explained.

use std::path::PathBuf;

use mcp_policy::rehearsal::suite::DEFAULT_NOW;
use mcp_policy::trace::Trace;

use crate::cli::input::CliError;
use crate::cli::lines::LineReader;
use crate::cli::recorded::{self, KnownArguments, LeftOut, RecordedCall, RecordedLine};
use crate::cli::report;

/// A line of a file; without a number the only line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct LinePlace {
    file: PathBuf,
    number: Option<u64>,
}

/// Reads `FILE:NUMBER`, or `-`.
pub(super) fn line_place(text: &str) -> Result<LinePlace, String> {
    if text == "-" {
        return Ok(LinePlace { file: PathBuf::from(text), number: None });
    }
    let parts = text.rsplit_once(':').filter(|(file, _)| !file.is_empty());
    let number = parts.and_then(|(file, number)| Some((file, number.parse::<u64>().ok()?)));
    match number {
        Some((file, number)) if number > 0 => {
            Ok(LinePlace { file: PathBuf::from(file), number: Some(number) })
        }
        Some(_) | None => Err("write it as FILE:NUMBER, or - for a line on standard input".into()),
    }
}

/// Reads the call, and says where it stands.
pub(super) fn read(place: &LinePlace) -> Result<(RecordedCall, String), CliError> {
    let mut lines = LineReader::open(&place.file)?;
    let name = lines.name.clone();
    let mut wanted = None;
    while let Some(line) = lines.next()? {
        match place.number {
            Some(number) if line.number < number => {}
            Some(number) => {
                wanted = Some(line).filter(|line| line.number == number);
                break;
            }
            None if wanted.is_none() => wanted = Some(line),
            None => {
                return Err(CliError::Line(format!(
                    "{name}: more than one line; name one as FILE:NUMBER"
                )));
            }
        }
    }
    let shown = match place.number {
        Some(number) => format!("{name}:{number}"),
        None => name,
    };
    let problem = |what: &str| CliError::Line(format!("{shown}: {what}"));
    let line = wanted.ok_or_else(|| problem("there is no such line, or it is blank"))?;
    match recorded::read(&line.bytes, DEFAULT_NOW) {
        Ok(RecordedLine::Call(call)) => Ok((*call, shown)),
        Ok(RecordedLine::LeftOut(why)) => Err(problem(why_not(why))),
        Err(fault) => Err(problem(&fault)),
    }
}

/// Why a line cannot be explained.
fn why_not(why: LeftOut) -> &'static str {
    match why {
        LeftOut::Refused => {
            "the front door refused it, before any rule, and what was sent is not on record"
        }
        LeftOut::Passed => {
            "it passed, as the policy has no rule for it; there is nothing to explain"
        }
        LeftOut::Withheld => "it is about a response that was withheld, not about a call",
        LeftOut::Undecided => "no decision is on record, so it is about no message of MCP",
        LeftOut::Unnamed => "what was called is not on record",
        LeftOut::Cut => "the record has only the beginning of a name, host or path",
    }
}

/// Says where a rule looks at arguments that are not on record.
pub(super) fn tell_unknown(call: &RecordedCall, place: &str, trace: &Trace) {
    let looks = trace.rules.iter().any(|rule| {
        let conditions = &mut rule.conditions.iter();
        conditions.any(|condition| condition.path.starts_with("args"))
            || rule.count.as_ref().is_some_and(|count| count.problem.is_some())
    });
    match call.arguments {
        KnownArguments::Unknown if looks => report::note(&format!(
            "{place}: the arguments are not on record, so what looks at them found nothing; the call itself may be decided otherwise"
        )),
        KnownArguments::Redacted if looks => report::note(&format!(
            "{place}: some arguments are hidden on record, and what looks at those found `[redacted]`; the call itself may be decided otherwise"
        )),
        KnownArguments::Unknown | KnownArguments::Redacted | KnownArguments::Whole => {}
    }
}

#[cfg(test)]
mod tests {
    use super::line_place;

    #[test]
    fn a_line_has_a_file_and_a_number() {
        for (text, expected) in [
            ("-", Some(("-", None))),
            ("a.jsonl:7", Some(("a.jsonl", Some(7)))),
            ("C:\\a.jsonl:7", Some(("C:\\a.jsonl", Some(7)))),
            ("a.jsonl", None),
            ("a.jsonl:0", None),
            ("a.jsonl:x", None),
            (":7", None),
        ] {
            let found = line_place(text).ok();
            let found = found.as_ref().map(|place| (place.file.to_str().unwrap(), place.number));
            assert_eq!(found, expected, "{text}");
        }
    }
}
