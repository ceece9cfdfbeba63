//! YAML documents as JSON values, for the command; the filter reads JSON only.
//!
//! YAML 1.2, less what could mean two things or grow without bound: one document, no anchors, aliases or tags, keys that are
//! strings, and plain numbers only as JSON writes them.
#![expect(clippy::wildcard_enum_match_arm, reason = "the events are a foreign enum")]

use std::borrow::Cow;
use std::fmt;

use saphyr_parser::{Event, Parser, ScalarStyle, ScanError, Span};

use crate::json::{Bounds, Duplicates, Member, Object, Value, parse};

/// Why a text is not a YAML document that is read, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct YamlFault {
    /// Line, from 1.
    pub line: usize,
    /// Column, from 1, in characters.
    pub column: usize,
    /// What is wrong.
    pub message: String,
}

impl fmt::Display for YamlFault {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} at line {}, column {}", self.message, self.line, self.column)
    }
}

/// Reads exactly one YAML document. Duplicate keys are kept, for the reader of policies to report.
///
/// # Errors
/// A [`YamlFault`] where the text is not YAML, or is more than a policy needs.
pub fn read(text: &str) -> Result<Value<'static>, YamlFault> {
    read_within(text, Bounds::DOCUMENT)
}

/// The same of a text with bounds of its own.
///
/// # Errors
/// As [`read`].
pub fn read_within(text: &str, bounds: Bounds) -> Result<Value<'static>, YamlFault> {
    let mut events = Events { parser: Parser::new_from_str(text), values_left: bounds.values };
    let mut document = None;
    loop {
        let (event, span) = events.next()?;
        match event {
            Event::StreamStart | Event::DocumentEnd | Event::Nothing => {}
            Event::DocumentStart(_) if document.is_some() => {
                return Err(fault(&span, "a second document; a policy is one"));
            }
            Event::DocumentStart(_) => {
                let (first, span) = events.next()?;
                document = Some(events.value(first, &span, bounds.depth)?);
            }
            Event::StreamEnd => {
                return document.ok_or_else(|| fault(&span, "the document is empty"));
            }
            other => return Err(fault(&span, &format!("unexpected {other:?}"))),
        }
    }
}

struct Events<'t> {
    parser: Parser<'t, saphyr_parser::StrInput<'t>>,
    values_left: usize,
}

impl<'t> Events<'t> {
    fn next(&mut self) -> Result<(Event<'t>, Span), YamlFault> {
        match self.parser.next() {
            Some(Ok(event)) => Ok(event),
            Some(Err(error)) => Err(scan_fault(&error)),
            None => Err(YamlFault {
                line: 1,
                column: 1,
                message: "the document does not end".to_owned(),
            }),
        }
    }

    fn value(
        &mut self,
        event: Event<'t>,
        span: &Span,
        depth: usize,
    ) -> Result<Value<'static>, YamlFault> {
        let Some(values_left) = self.values_left.checked_sub(1) else {
            return Err(fault(span, "too many values"));
        };
        self.values_left = values_left;
        let deeper = || depth.checked_sub(1).ok_or_else(|| fault(span, "nested too deeply"));
        match event {
            Event::Alias(_) => Err(fault(span, "aliases are not read; write the value out")),
            Event::Scalar(_, _, 1.., _)
            | Event::SequenceStart(1.., _)
            | Event::MappingStart(1.., _) => {
                Err(fault(span, "anchors are not read; write the value out"))
            }
            Event::Scalar(_, _, _, Some(_))
            | Event::SequenceStart(_, Some(_))
            | Event::MappingStart(_, Some(_)) => Err(fault(span, "tags are not read")),
            Event::Scalar(text, ScalarStyle::Plain, ..) => plain(&text, span),
            Event::Scalar(text, ..) => Ok(Value::String(Cow::Owned(text.into_owned()))),
            Event::SequenceStart(..) => self.sequence(deeper()?),
            Event::MappingStart(..) => self.mapping(deeper()?),
            other => Err(fault(span, &format!("unexpected {other:?}"))),
        }
    }

    fn sequence(&mut self, depth: usize) -> Result<Value<'static>, YamlFault> {
        let mut items = Vec::new();
        loop {
            let (event, span) = self.next()?;
            if event == Event::SequenceEnd {
                return Ok(Value::Array(items));
            }
            items.push(self.value(event, &span, depth)?);
        }
    }

    fn mapping(&mut self, depth: usize) -> Result<Value<'static>, YamlFault> {
        let mut object = Object::default();
        loop {
            let (event, span) = self.next()?;
            if event == Event::MappingEnd {
                return Ok(Value::Object(object));
            }
            let key = match event {
                Event::Scalar(text, _, 0, None) => Cow::Owned(text.into_owned()),
                _ => return Err(fault(&span, "a key must be a plain or quoted string")),
            };
            let (event, span) = self.next()?;
            let value = self.value(event, &span, depth)?;
            object.0.push(Member { key, raw: "", value });
        }
    }
}

/// The YAML 1.2 core schema, with numbers as in JSON. What the core schema would read as another number is an error: a
/// quota that one reader takes for 8 and another for 10 is none.
fn plain(text: &str, span: &Span) -> Result<Value<'static>, YamlFault> {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Ok(Value::Null),
        "true" | "True" | "TRUE" => return Ok(Value::Bool(true)),
        "false" | "False" | "FALSE" => return Ok(Value::Bool(false)),
        _ => {}
    }
    if let Ok(Value::Number(number)) = parse(text, Duplicates::Refuse) {
        return Ok(Value::Number(Cow::Owned(number.into_owned())));
    }
    if resembles_number(text) {
        return Err(fault(
            span,
            &format!("`{text}` is a number to some readers: write it as JSON does, or quote it"),
        ));
    }
    Ok(Value::String(Cow::Owned(text.to_owned())))
}

/// Numbers of YAML 1.1 and 1.2 that JSON does not have: signs, bases, infinities, underscores, bare points.
fn resembles_number(text: &str) -> bool {
    let unsigned = text.trim_start_matches(['+', '-']);
    let lower = unsigned.to_ascii_lowercase();
    let digits = |rest: &str| rest.starts_with(|first: char| first.is_ascii_digit());
    let numeric =
        |rest: &str| rest.bytes().all(|byte| byte.is_ascii_digit() || b"_.e+-".contains(&byte));
    matches!(&*lower, ".inf" | ".nan")
        || ["0x", "0o", "0b"].iter().any(|base| {
            lower.strip_prefix(base).is_some_and(|rest| {
                !rest.is_empty() && rest.bytes().all(|byte| byte.is_ascii_hexdigit())
            })
        })
        || ((digits(&lower) || lower.strip_prefix('.').is_some_and(digits))
            && numeric(&lower)
            && lower.parse::<f64>().is_ok())
        || (digits(&lower)
            && lower.contains('_')
            && lower.bytes().all(|byte| byte.is_ascii_digit() || byte == b'_'))
}

fn fault(span: &Span, message: &str) -> YamlFault {
    YamlFault { line: span.start.line(), column: span.start.col() + 1, message: message.to_owned() }
}

fn scan_fault(error: &ScanError) -> YamlFault {
    let marker = error.marker();
    YamlFault {
        line: marker.line(),
        column: marker.col() + 1,
        message: format!("not YAML: {}", error.info()),
    }
}

#[cfg(test)]
mod tests {
    use super::read;
    use crate::json::{Duplicates, parse};

    #[test]
    fn means_what_json_means() {
        for (yaml, json) in [
            (
                "a: 1\nb: [true, null, ~, 'x', \"\\u0041\"]",
                r#"{"a":1,"b":[true,null,null,"x","A"]}"#,
            ),
            ("rate_limit: 5/hour", r#"{"rate_limit":"5/hour"}"#),
            ("version: \"1\"", r#"{"version":"1"}"#),
            (
                "- yes\n- 1.50\n- -0\n- 1e3\n- 2024-01-01\n- 1.2.3",
                r#"["yes",1.50,-0,1e3,"2024-01-01","1.2.3"]"#,
            ),
            ("\"*\": {rules: []}", r#"{"*":{"rules":[]}}"#),
            ("{\"a\": {\"b\": []}}", r#"{"a":{"b":[]}}"#),
        ] {
            let expected = parse(json, Duplicates::Keep).unwrap();
            // Members of YAML have no raw text, so the printed forms are compared.
            let found = format!("{:?}", read(yaml).unwrap());
            let strip = |text: &str| {
                let mut out = String::new();
                for (at, piece) in text.split("raw: ").enumerate() {
                    out.push_str(if at == 0 {
                        piece
                    } else {
                        piece.split_once(", value").unwrap().1
                    });
                }
                out
            };
            assert_eq!(strip(&found), strip(&format!("{expected:?}")), "{yaml}");
        }
    }

    #[test]
    fn refuses_what_means_two_things() {
        let bomb = "a: &a [x]\nb: *a";
        let deep = "[".repeat(70) + &"]".repeat(70);
        for (yaml, expected) in [
            (bomb, "anchors are not read; write the value out at line 1, column 4"),
            ("a: !!str 1", "tags are not read"),
            ("a: 1\n---\nb: 2", "a second document"),
            ("", "the document is empty"),
            ("a: 0x1F", "`0x1F` is a number to some readers"),
            ("a: 1_000", "`1_000` is a number to some readers"),
            ("a: .5", "`.5` is a number to some readers"),
            ("a: +5", "`+5` is a number to some readers"),
            ("a: 010", "`010` is a number to some readers"),
            ("a: .inf", "`.inf` is a number to some readers"),
            ("? [a]\n: 1", "a key must be"),
            ("a:\n\t- b", "not YAML: "),
            ("a: [1", "not YAML: "),
            (&deep, "nested too deeply"),
        ] {
            let found = read(yaml).unwrap_err().to_string();
            assert!(found.contains(expected), "{yaml}: {found}");
        }
    }
}
