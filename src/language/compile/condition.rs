//! Conditions: path, operator and value, checked against each other.

use super::book::Book;
use super::limit::argument_path;
use crate::bounds::MAX_PATTERN_BYTES;
use crate::json::Value;
use crate::language::diagnostic::Code;
use crate::language::reader::{Field, Place, Reader, describe};
use crate::matcher::instant::TimeOperand;
use crate::matcher::members::Members;
use crate::matcher::name::Pattern;
use crate::matcher::normal::nfc;
use crate::matcher::operator::{OPERATORS, Operator, Takes, Test};
use crate::matcher::path::keys;
use crate::matcher::regex::{Regex, UnsupportedRegex};
use crate::matcher::scalar::Scalar;
use crate::matcher::value::{Matcher, Side};
use crate::policy::entry::{Condition, Subject};

/// Reads one condition.
pub(super) fn read(
    field: &Field<'_>,
    side: Side,
    reader: &mut Reader,
    book: &Book,
) -> Option<Condition> {
    let mut fields = reader.fields(field)?;
    let path = fields.require("path", reader);
    let op = fields.require("op", reader).and_then(|field| operator(&field, reader));
    let value = fields.require("value", reader);
    reader.close(&fields);
    let subject = path.and_then(|path| subject(reader.text(&path)?, &path.place, reader, book));
    let matcher = op.zip(value).and_then(|(op, value)| matcher(op, &value, reader));
    let (subject, matcher) = (subject?, matcher?);
    match &subject {
        Subject::Counter(_) if !matcher.test.fits_numbers() => {
            let message = "a counter is a number; this operator needs something else".to_owned();
            reader.error_with_help(Code::BadOperand, &field.place, message, for_counters());
            return None;
        }
        Subject::Argument(path) if path.has_each() && side == Side::Require => {
            let message = "holds as soon as one element does; the others are not bound";
            let help = "to bind every element, use `deny_if` with the opposite condition";
            reader.warn(Code::AnyElement, &field.place, message, help);
        }
        Subject::Counter(_) | Subject::Argument(_) | Subject::Identity(_) | Subject::Header(_) => {}
    }
    Some(Condition { subject, matcher })
}

fn operator(field: &Field<'_>, reader: &mut Reader) -> Option<&'static Operator> {
    let words: Vec<_> = OPERATORS.iter().map(|operator| (operator.word, operator)).collect();
    reader.word(field, &words)
}

fn for_counters() -> String {
    let mut words: Vec<&str> = OPERATORS
        .iter()
        .filter(|operator| operator.takes.fits_counters())
        .map(|operator| operator.word)
        .collect();
    let last = words.pop().unwrap_or_default();
    format!("use {} or {last}", words.join(", "))
}

fn subject(text: &str, place: &Place, reader: &mut Reader, book: &Book) -> Option<Subject> {
    if text.starts_with("state.") || text.starts_with("state[") {
        let named = state_path(text);
        let found = named.as_ref().map(|(tool, name)| book.find(tool, name));
        return match found.as_deref() {
            Some([counter]) => Some(Subject::Counter(*counter)),
            Some([_, _, ..]) => {
                let message = format!("`{}` means more than one counter", text.escape_debug());
                let help = "give the counter of the limit and that of the rule different names";
                reader.error_with_help(Code::UnknownCounter, place, message, help.to_owned());
                None
            }
            Some([]) if named.is_some_and(|(tool, name)| book.was_refused(&tool, &name)) => None,
            Some([]) | None => {
                unknown_counter(text, place, reader, book);
                None
            }
        };
    }
    if let Some(key) = text.strip_prefix("identity.") {
        let at = if key == "grant" { None } else { Some(reader.key(key, place)?) };
        return Some(Subject::Identity(at));
    }
    if let Some(name) = text.strip_prefix("header.") {
        let at = reader.header(name, place)?;
        reader.read_headers.push(at);
        return Some(Subject::Header(at));
    }
    if !text.starts_with("args") {
        let message = format!("not a path: `{}`", text.escape_debug());
        let help = match text.starts_with(|first: char| first.is_ascii_alphabetic()) {
            true => format!(
                "an argument is `args.{}`; other paths start with `state.`, `identity.` or `header.`",
                text.escape_debug()
            ),
            false => "a path starts with `args.`, `state.`, `identity.` or `header.`".to_owned(),
        };
        reader.error_with_help(Code::BadPath, place, message, help);
        return None;
    }
    argument_path(text, place, reader).map(Subject::Argument)
}

/// The tool key and the counter that a `state` path names. Dots may be part of a tool key: the last key is the counter.
pub(super) fn state_path(text: &str) -> Option<(String, Box<str>)> {
    let mut keys = keys(text.strip_prefix("state")?)?;
    let counter = keys.pop()?;
    (!keys.is_empty()).then(|| (keys.join("."), counter))
}

fn unknown_counter(text: &str, place: &Place, reader: &mut Reader, book: &Book) {
    let message = format!("nothing counts `{}`", text.escape_debug());
    let known = book.paths();
    let help = match crate::language::suggest::nearest(text, known.iter().map(String::as_str)) {
        Some(near) => format!("did you mean `{near}`?"),
        None if known.is_empty() => "this policy has no counters".to_owned(),
        None => format!("known counters: {}", known.join(", ")),
    };
    reader.error_with_help(Code::UnknownCounter, place, message, help);
}

fn matcher(operator: &'static Operator, value: &Field<'_>, reader: &mut Reader) -> Option<Matcher> {
    let test = match operator.takes {
        Takes::Equal => Test::Equal(scalar(value, reader)?),
        Takes::Contained => Test::Contains(scalar(value, reader)?),
        Takes::OneOf => {
            let items = reader.list(value);
            if items.is_empty() && matches!(value.value, Value::Array(_)) {
                let help = "name at least one value".to_owned();
                reader.error_with_help(
                    Code::NoEffect,
                    &value.place,
                    "the list is empty".to_owned(),
                    help,
                );
            }
            let scalars: Box<[Scalar]> =
                items.iter().filter_map(|item| scalar(item, reader)).collect();
            // Each member that is none has been reported.
            (!scalars.is_empty()).then(|| Test::OneOf(Members::new(scalars)))?
        }
        Takes::Number(order) => Test::Number(order, reader.number(value)?),
        Takes::Regex => Test::Regex(regex(value, reader)?),
        Takes::Glob => Test::Glob(Pattern::new(&nfc(pattern(value, reader)?))),
        Takes::Text(holds) => Test::Text(holds, (*nfc(reader.text(value)?)).into()),
        Takes::Time(order) => Test::Time(order, moment(value, reader)?),
        Takes::Presence => {
            let present = reader.flag(value)?;
            return Some(Matcher::new(operator, Test::Present, !present));
        }
    };
    Some(Matcher::new(operator, test, operator.negated))
}

fn scalar(field: &Field<'_>, reader: &mut Reader) -> Option<Scalar> {
    match field.value {
        Value::Bool(flag) => Some(Scalar::Bool(*flag)),
        Value::Number(_) => reader.number(field).map(Scalar::Number),
        Value::String(text) => Some(Scalar::String((*nfc(text)).into())),
        Value::Null | Value::Array(_) | Value::Object(_) => {
            let message =
                format!("expected a string, number or boolean, found {}", describe(field.value));
            let help = "for presence use the operator `exists`".to_owned();
            reader.error_with_help(Code::BadOperand, &field.place, message, help);
            None
        }
    }
}

fn moment(field: &Field<'_>, reader: &mut Reader) -> Option<TimeOperand> {
    let moment = TimeOperand::new(reader.text(field)?);
    if moment.is_none() {
        let message = format!("not a time: {}", describe(field.value));
        let help = "`now`, or a time with its offset, such as `2026-12-01T00:00:00Z`".to_owned();
        reader.error_with_help(Code::BadOperand, &field.place, message, help);
    }
    moment
}

fn pattern<'v>(field: &Field<'v>, reader: &mut Reader) -> Option<&'v str> {
    let text = reader.text(field)?;
    if text.len() > MAX_PATTERN_BYTES {
        let message = format!("the pattern is longer than {MAX_PATTERN_BYTES} bytes");
        reader.error(Code::BadPattern, &field.place, message);
        return None;
    }
    Some(text)
}

fn regex(field: &Field<'_>, reader: &mut Reader) -> Option<Regex> {
    let text = pattern(field, reader)?;
    if *nfc(text) != *text {
        let message = "not a regular expression: it is not in normal form C of Unicode".to_owned();
        let help = format!("texts are compared in that form: write `{}`", nfc(text).escape_debug());
        reader.error_with_help(Code::BadPattern, &field.place, message, help);
        return None;
    }
    match reader.regexes.compile(text) {
        Ok(regex) => Some(regex),
        Err(UnsupportedRegex { message, help }) => {
            let message = format!("not a regular expression: {message}");
            reader.error_with_help(Code::BadPattern, &field.place, message, help);
            None
        }
    }
}
