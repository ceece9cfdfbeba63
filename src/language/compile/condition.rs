//! Conditions: path, operator and value, checked against each other.

use super::book::Book;
use super::hours;
use super::places::{HOSTS, RANGES, folder, hosts};
use crate::bounds::MAX_PATTERN_BYTES;
use crate::json::Value;
use crate::language::diagnostic::Code;
use crate::language::reader::{Field, Place, Reader, describe};
use crate::matcher::instant::TimeOperand;
use crate::matcher::members::Members;
use crate::matcher::name::Pattern;
use crate::matcher::normal::nfc;
use crate::matcher::operator::{OPERATORS, Operator, Takes, Test};
use crate::matcher::path::Path;
use crate::matcher::path::keys;
use crate::matcher::regex::{Regex, UnsupportedRegex};
use crate::matcher::scalar::Scalar;
use crate::matcher::value::{Matcher, Side};
use crate::mcp::call::Kind;
use crate::policy::entry::{Condition, Subject};

/// Reads one condition.
pub(super) fn read(
    field: &Field<'_>,
    (kind, side): (Kind, Side),
    reader: &mut Reader,
    book: &Book,
) -> Option<Condition> {
    let mut fields = reader.fields(field)?;
    let path = fields.require("path", reader);
    let op = fields.require("op", reader).and_then(|field| operator(&field, reader));
    let every = match fields.take("every") {
        None => Some(false),
        Some(field) => reader.flag(&field),
    };
    let other = fields.take("from");
    let value = match &other {
        Some(_) => fields.take("value"),
        None => fields.require("value", reader),
    };
    reader.close(&fields);
    if value.is_some() && other.is_some() {
        let message = "`value` and `from` do not go together: a condition compares with one thing";
        let help = "leave one of them out".to_owned();
        reader.error_with_help(Code::Contradiction, &field.place, message.to_owned(), help);
        return None;
    }
    let subject =
        path.and_then(|path| subject(reader.text(&path)?, kind, &path.place, reader, book));
    if let Some(other) = other {
        let from = from(&other, kind, reader, book);
        let matcher = op.and_then(|op| pairing(op, field, reader));
        let condition = paired(field, (subject?, from?), matcher?, reader)?;
        return elements(field, Condition { every: every?, ..condition }, side, reader);
    }
    let matcher = op.zip(value).and_then(|(op, value)| matcher(op, &value, reader));
    let (subject, matcher) = (subject?, matcher?);
    match &subject {
        Subject::Counter(_) if !matcher.test.fits_numbers() => {
            let message = "a counter is a number; this operator needs something else".to_owned();
            reader.error_with_help(Code::BadOperand, &field.place, message, for_counters());
            return None;
        }
        Subject::Now if !matcher.operator.takes.fits_times() => {
            let message = "`now` is a time; this operator needs something else".to_owned();
            let help = "use before, after, not_before, not_after, during or not_during".to_owned();
            reader.error_with_help(Code::BadOperand, &field.place, message, help);
            return None;
        }
        Subject::Now => is_a_time(&matcher, &field.place, reader)?,
        Subject::Counter(_) | Subject::Argument(_) | Subject::Identity(_) => {}
        Subject::Name | Subject::Header(_) => {}
    }
    let condition = Condition { subject, matcher, from: None, every: every? };
    elements(field, condition, side, reader)
}

/// Refuses to compare the time of the call with itself.
pub(super) fn is_a_time(matcher: &Matcher, place: &Place, reader: &mut Reader) -> Option<()> {
    if matcher.test.depends_on_time() {
        let message = "the time of the call is neither before nor after itself".to_owned();
        let help = "compare it with a time, such as `2026-12-01T00:00:00Z`".to_owned();
        reader.error_with_help(Code::NoEffect, place, message, help);
        return None;
    }
    Some(())
}

/// What goes with `[*]`, and what needs it.
fn elements(
    field: &Field<'_>,
    condition: Condition,
    side: Side,
    reader: &mut Reader,
) -> Option<Condition> {
    let each = matches!(&condition.subject, Subject::Argument(path) if path.has_each());
    let counts = matches!(condition.matcher.test, Test::Count(..));
    let mut error = |code, message: &str, help: &str| {
        reader.error_with_help(code, &field.place, message.to_owned(), help.to_owned());
    };
    match (each, condition.every, counts) {
        (false, true, _) => {
            let help = "write `[*]` where the list is, or leave `every` out";
            error(Code::NoEffect, "`every` is about the elements of a list", help);
            return None;
        }
        (false, false, true) => {
            let help = "write `[*]` behind the list, or use `length_lte` and its like";
            error(Code::BadOperand, "this counts the values that `[*]` leads to", help);
            return None;
        }
        (true, true, true) => {
            error(Code::NoEffect, "a count is of all elements anyway", "leave `every` out");
            return None;
        }
        (true, false, false) if side == Side::Require => {
            let message = "holds as soon as one element does; the others are not bound";
            let help = "to bind every element, add `every: true`";
            reader.warn(Code::AnyElement, &field.place, message, help);
        }
        (true, ..) | (false, false, false) => {}
    }
    Some(condition)
}

/// `from`: the field that is compared with.
fn from(field: &Field<'_>, kind: Kind, reader: &mut Reader, book: &Book) -> Option<Subject> {
    let text = reader.text(field)?;
    if text.starts_with("state.") || text.starts_with("state[") {
        let message = "a count is no field of a request".to_owned();
        let help = "`from` is a path that starts with `args.`, `identity.` or `header.`".to_owned();
        reader.error_with_help(Code::BadPath, &field.place, message, help);
        return None;
    }
    let subject = subject(text, kind, &field.place, reader, book)?;
    if matches!(&subject, Subject::Argument(path) if path.has_each()) {
        let message = "`[*]` is many values, and a condition compares with one".to_owned();
        let help = "leave `[*]` out: `in` takes the list itself".to_owned();
        reader.error_with_help(Code::BadPath, &field.place, message, help);
        return None;
    }
    Some(subject)
}

/// How an operator compares two fields.
fn pairing(operator: &'static Operator, field: &Field<'_>, reader: &mut Reader) -> Option<Matcher> {
    let Some(pairing) = operator.takes.pairing() else {
        let fits = OPERATORS.iter().filter(|operator| operator.takes.pairing().is_some());
        let words: Vec<&str> = fits.map(|operator| operator.word).collect();
        let message = format!("`{}` does not compare one field with another", operator.word);
        let help = format!("with `from` go {}", words.join(", "));
        reader.error_with_help(Code::BadOperand, &field.place, message, help);
        return None;
    };
    Some(Matcher::new(operator, Test::Field(pairing), operator.negated))
}

/// A condition that compares two fields.
fn paired(
    field: &Field<'_>,
    (subject, from): (Subject, Subject),
    matcher: Matcher,
    reader: &mut Reader,
) -> Option<Condition> {
    if matches!(subject, Subject::Counter(_) | Subject::Now) || matches!(from, Subject::Now) {
        let message =
            "a count, or the time of the call, is compared with a value of the policy".to_owned();
        let help = "write `value` instead of `from`".to_owned();
        reader.error_with_help(Code::BadOperand, &field.place, message, help);
        return None;
    }
    Some(Condition { subject, matcher, from: Some(from), every: false })
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

fn subject(
    text: &str,
    kind: Kind,
    place: &Place,
    reader: &mut Reader,
    book: &Book,
) -> Option<Subject> {
    if text == kind.word() {
        return Some(Subject::Name);
    }
    if text == "now" {
        return Some(Subject::Now);
    }
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
        let name = kind.word();
        let help = match text.starts_with(|first: char| first.is_ascii_alphabetic()) {
            true => format!(
                "an argument is `args.{}`; other paths start with `state.`, `identity.` or `header.`; the name itself is `{name}`, the time `now`",
                text.escape_debug()
            ),
            false => format!(
                "a path starts with `args.`, `state.`, `identity.` or `header.`; the name itself is `{name}`, the time `now`"
            ),
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

pub(super) fn matcher(
    operator: &'static Operator,
    value: &Field<'_>,
    reader: &mut Reader,
) -> Option<Matcher> {
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
        Takes::Length(order) => Test::Length(order, reader.whole(value, 0, u32::MAX)?),
        Takes::Count(order) => Test::Count(order, reader.whole(value, 0, u32::MAX)?),
        Takes::Hosts => Test::Hosts(hosts(value, HOSTS, reader)?),
        Takes::Ranges => Test::Ranges(hosts(value, RANGES, reader)?),
        Takes::Folder => Test::Below(folder(value, reader)?),
        Takes::Schedule => Test::During(hours::read(value, reader)?),
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

/// A path to an argument.
pub(super) fn argument_path(text: &str, place: &Place, reader: &mut Reader) -> Option<Path> {
    let path = Path::new(text);
    if path.is_none() {
        let message = format!("not a path to an argument: `{}`", text.escape_debug());
        let help = "args.<name>, then .name, [0], [*] or [\"odd.key\"]".to_owned();
        reader.error_with_help(Code::BadPath, place, message, help);
    }
    path
}
