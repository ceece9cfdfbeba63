//! The operators of conditions: one row each.
//!
//! The compiler of policies, the JSON Schema, the lint, explanations and the reference page all read this table, so a new
//! operator is a row here. Only one that takes a value of a new kind needs more: a member of [`Takes`] and of [`Test`], and the
//! reader of that kind in `language/compile/condition.rs`; the compiler leads to each place. Prose is for authors, so the filter's
//! rows have none.

#[cfg(not(target_os = "wasi"))]
mod prose;

use std::cmp::Ordering;

use super::folder::Folder;
use super::host::Hosts;
use super::instant::{TIME, Time, TimeOperand, millis, no_time};
use super::members::Members;
use super::name::Pattern;
use super::pair::{NOTHING, OfText, Order, Pairing};
use super::regex::Regex;
use super::scalar::{Scalar, number};
use super::schedule::Schedule;
use super::work::Price;
use super::{Mismatch, Truth};
use crate::json::Value;
use crate::number::Decimal;
use crate::time::UnixMillis;

/// An operator of the language.
#[derive(Debug)]
pub struct Operator {
    /// How policies write it.
    pub word: &'static str,
    /// What it takes, and how it compares.
    pub takes: Takes,
    /// Whether it is the opposite of the operator that takes the same.
    pub negated: bool,
    /// When it holds, in Markdown.
    #[cfg(not(target_os = "wasi"))]
    pub about: &'static str,
}

/// What an operator takes in the policy, and how that is compared with a value.
#[derive(Clone, Copy, Debug)]
pub enum Takes {
    /// A string, number or boolean, which the value equals.
    Equal,
    /// A list of these, one of which the value equals.
    OneOf,
    /// A number.
    Number(Order),
    /// A regular expression.
    Regex,
    /// A pattern of the whole text.
    Glob,
    /// A string, number or boolean, which is in the value.
    Contained,
    /// A string.
    Text(OfText),
    /// A time, or `now`.
    Time(Order),
    /// A number, which a length is compared with.
    Length(Order),
    /// A number, which is compared with how many values there are.
    Count(Order),
    /// A list of hosts.
    Hosts,
    /// A list of networks.
    Ranges,
    /// A folder.
    Folder,
    /// Hours of days of the week.
    Schedule,
    /// Whether there is a value.
    Presence,
}

/// Every operator, in the order of the reference.
pub static OPERATORS: &[Operator] = &[
    row("eq", Takes::Equal, "the argument equals the value"),
    not("neq", Takes::Equal, "the argument does not equal the value"),
    row("in", Takes::OneOf, "the argument equals a member of the list"),
    not("not_in", Takes::OneOf, "the argument equals no member of the list"),
    row("lt", Takes::Number(Ordering::is_lt), "the argument is less"),
    row("lte", Takes::Number(Ordering::is_le), "the argument is less or equal"),
    row("gt", Takes::Number(Ordering::is_gt), "the argument is more"),
    row("gte", Takes::Number(Ordering::is_ge), "the argument is more or equal"),
    row("regex", Takes::Regex, "the expression finds something in the argument (unanchored)"),
    not("not_regex", Takes::Regex, "the expression finds nothing in it"),
    row(
        "contains",
        Takes::Contained,
        "the string has this piece, or the list has an element that equals it",
    ),
    not("not_contains", Takes::Contained, "it has no such piece or element"),
    row("exists", Takes::Presence, "`true`: the argument is there; `false`: it is not, or `null`"),
    row(
        "starts_with",
        Takes::Text(|text, piece| text.starts_with(piece)),
        "the argument begins with the value",
    ),
    row(
        "ends_with",
        Takes::Text(|text, piece| text.ends_with(piece)),
        "the argument ends with the value",
    ),
    row(
        "glob",
        Takes::Glob,
        "the pattern matches the whole argument: `*` any run of characters, `?` exactly one",
    ),
    row(
        "before",
        Takes::Time(Ordering::is_lt),
        "the argument is an earlier instant; `now` is the time of the call",
    ),
    not("not_before", Takes::Time(Ordering::is_lt), "the argument is that instant, or a later one"),
    row("after", Takes::Time(Ordering::is_gt), "the argument is a later instant"),
    not(
        "not_after",
        Takes::Time(Ordering::is_gt),
        "the argument is that instant, or an earlier one",
    ),
    row(
        "length_lte",
        Takes::Length(Ordering::is_le),
        "the text has at most so many characters, or the list so many elements",
    ),
    row("length_gte", Takes::Length(Ordering::is_ge), "it has at least so many"),
    row("length_eq", Takes::Length(Ordering::is_eq), "it has just so many"),
    row(
        "count_lte",
        Takes::Count(Ordering::is_le),
        "the path with `[*]` leads to at most so many values; `null` is none",
    ),
    row("count_gte", Takes::Count(Ordering::is_ge), "it leads to at least so many"),
    row("count_eq", Takes::Count(Ordering::is_eq), "it leads to just so many"),
    row("host_in", Takes::Hosts, "the URL's host is one of the list"),
    not("not_host_in", Takes::Hosts, "it is none of the list"),
    row("cidr", Takes::Ranges, "the address lies in a network of the list"),
    not("not_cidr", Takes::Ranges, "it lies in none of them"),
    row("path_under", Takes::Folder, "the path is this folder, or lies below it"),
    not("not_path_under", Takes::Folder, "it is neither"),
    row("during", Takes::Schedule, "the time lies in these hours of these days"),
    not("not_during", Takes::Schedule, "it lies outside of them"),
];

/// A row of the table. In the filter its prose is read by nobody, and left out.
const fn row(word: &'static str, takes: Takes, about: &'static str) -> Operator {
    #[cfg(target_os = "wasi")]
    let _ = about;
    Operator {
        word,
        takes,
        negated: false,
        #[cfg(not(target_os = "wasi"))]
        about,
    }
}

/// A row of an operator that holds where the one above it does not.
const fn not(word: &'static str, takes: Takes, about: &'static str) -> Operator {
    Operator { negated: true, ..row(word, takes, about) }
}

impl Takes {
    /// How it compares two fields of a request; `None` where the value has to be the author's.
    #[must_use]
    pub fn pairing(self) -> Option<Pairing> {
        match self {
            Takes::Equal => Some(Pairing::Equal),
            Takes::OneOf => Some(Pairing::OneOf),
            Takes::Number(order) => Some(Pairing::Number(order)),
            Takes::Contained => Some(Pairing::Contained),
            Takes::Text(holds) => Some(Pairing::Text(holds)),
            Takes::Time(order) => Some(Pairing::Time(order)),
            Takes::Folder => Some(Pairing::Below),
            // Nobody but the author writes patterns and lists of hosts.
            Takes::Regex | Takes::Glob | Takes::Hosts | Takes::Ranges | Takes::Schedule => None,
            Takes::Length(_) | Takes::Count(_) | Takes::Presence => None,
        }
    }

    /// Whether a time can be compared with what it takes.
    #[must_use]
    pub fn fits_times(self) -> bool {
        matches!(self, Takes::Time(_) | Takes::Schedule)
    }

    /// Whether a count can be compared with what it takes.
    #[must_use]
    pub fn fits_counters(self) -> bool {
        match self {
            Takes::Equal | Takes::Number(_) => true,
            // A list may hold numbers, but nobody needs to be told of that.
            Takes::OneOf | Takes::Regex | Takes::Glob | Takes::Contained => false,
            Takes::Text(_) | Takes::Time(_) | Takes::Presence => false,
            Takes::Length(_) | Takes::Count(_) | Takes::Schedule => false,
            Takes::Hosts | Takes::Ranges | Takes::Folder => false,
        }
    }
}

/// An operator's comparison with the value that a policy gives it, negation aside.
#[derive(Clone, Debug)]
pub enum Test {
    /// Equals.
    Equal(Scalar),
    /// Equals one of these.
    OneOf(Members),
    /// A number, in this order to that.
    Number(Order, Decimal),
    /// A regular expression finds something.
    Regex(Regex),
    /// A pattern matches the whole.
    Glob(Pattern),
    /// A piece of a text, or an element of a list.
    Contains(Scalar),
    /// A text, compared so with that.
    Text(OfText, Box<str>),
    /// A time, in this order to that.
    Time(Order, TimeOperand),
    /// A length, in this order to that.
    Length(Order, u32),
    /// How many values a path leads to, in this order to that: who walks the path counts.
    Count(Order, u32),
    /// The host of a URL is one of these.
    Hosts(Hosts),
    /// An address lies in one of these.
    Ranges(Hosts),
    /// A path lies in or below this.
    Below(Folder),
    /// A time lies in these hours.
    During(Schedule),
    /// Another field of the request, compared so: it stands beside the test, in its condition.
    Field(Pairing),
    /// There is a value.
    Present,
}

impl Test {
    /// The values that `eq` and `in` compare with; none for other operators.
    #[must_use]
    pub fn scalars(&self) -> &[Scalar] {
        match self {
            Test::Equal(scalar) => std::slice::from_ref(scalar),
            Test::OneOf(members) => members.scalars(),
            Test::Number(..) | Test::Regex(_) | Test::Glob(_) | Test::Contains(_) => &[],
            Test::Text(..) | Test::Time(..) | Test::Field(_) | Test::Present => &[],
            Test::Length(..) | Test::Count(..) | Test::During(_) => &[],
            Test::Hosts(_) | Test::Ranges(_) | Test::Below(_) => &[],
        }
    }

    /// Whether a number can be tested.
    #[must_use]
    pub fn fits_numbers(&self) -> bool {
        match self {
            Test::Equal(scalar) => matches!(scalar, Scalar::Number(_)),
            Test::OneOf(members) => {
                members.scalars().iter().all(|scalar| matches!(scalar, Scalar::Number(_)))
            }
            Test::Number(..) => true,
            Test::Regex(_) | Test::Glob(_) | Test::Contains(_) => false,
            Test::Text(..) | Test::Time(..) | Test::Field(_) | Test::Present => false,
            Test::Length(..) | Test::Count(..) => false,
            Test::Hosts(_) | Test::Ranges(_) | Test::Below(_) | Test::During(_) => false,
        }
    }

    /// What a test of a text costs: measured, and rounded up.
    pub(super) fn price(&self) -> Price {
        let price = |fixed, eighths_per_byte| Price { fixed, eighths_per_byte };
        match self {
            Test::Regex(regex) => match regex.states_per_byte() as u64 {
                1 => price(32, 16),
                states => price(64 * states, 64 * states),
            },
            Test::Glob(Pattern::Glob(glob)) => {
                price(2 * glob.length() as u64, 16 * (glob.words() as u64 + 1))
            }
            Test::Contains(_) => price(32, 24),
            Test::OneOf(_) => price(32, 16),
            Test::Equal(_) | Test::Glob(_) | Test::Text(..) => price(8, 1),
            Test::Time(..) | Test::During(_) => price(64, 16),
            Test::Length(..) => price(16, 16),
            Test::Hosts(hosts) | Test::Ranges(hosts) => price(64 + 8 * hosts.length() as u64, 256),
            Test::Below(_) => price(64, 256),
            // Two fields are paid for as they are compared.
            Test::Number(..) | Test::Count(..) | Test::Field(_) | Test::Present => price(8, 0),
        }
    }

    pub(super) fn holds(&self, value: &Value<'_>, now: UnixMillis) -> Truth {
        match self {
            Test::Equal(scalar) => scalar.equals(value),
            Test::OneOf(members) => members.holds(value),
            Test::Number(..) => number(value, |number| self.holds_number(number)),
            Test::Regex(regex) => string(value, |text| regex.is_match(text)),
            Test::Glob(pattern) => string(value, |text| pattern.matches(text)),
            Test::Text(holds, piece) => string(value, |text| holds(text, piece)),
            Test::Time(holds, moment) => match value.as_str().and_then(Time::parse) {
                Some(time) => time.stands(*holds, moment, now),
                None => Truth::Undecidable(no_time(value)),
            },
            Test::Contains(scalar) => scalar.is_in(value),
            Test::Length(order, bound) => length(value, *order, *bound),
            Test::Hosts(hosts) => of_text(value, |text| hosts.holds_url(text)),
            Test::Ranges(ranges) => of_text(value, |text| ranges.holds_text(text)),
            Test::Below(folder) => of_text(value, |text| folder.holds(text)),
            Test::During(schedule) => match value.as_str().and_then(Time::parse) {
                Some(time) => time.whichever(|instant| schedule.holds(instant)),
                None => Truth::Undecidable(no_time(value)),
            },
            // Each value that is there is one more.
            Test::Count(..) => Truth::True,
            Test::Field(_) => Truth::Undecidable(NOTHING),
            Test::Present => Truth::True,
        }
    }

    /// Tests the time of the call itself.
    pub(super) fn holds_now(&self, now: UnixMillis) -> Truth {
        let millis = millis(now);
        let time = Time::of(now, &millis);
        match self {
            Test::Time(holds, moment) => time.stands(*holds, moment, now),
            Test::During(schedule) => time.whichever(|instant| schedule.holds(instant)),
            Test::Equal(_) | Test::OneOf(_) | Test::Number(..) | Test::Regex(_) => NOT_A_TIME,
            Test::Glob(_) | Test::Contains(_) | Test::Text(..) | Test::Length(..) => NOT_A_TIME,
            Test::Count(..) | Test::Hosts(_) | Test::Ranges(_) | Test::Below(_) => NOT_A_TIME,
            Test::Field(_) | Test::Present => NOT_A_TIME,
        }
    }

    pub(super) fn holds_number(&self, found: Decimal) -> Truth {
        let needs_string = Truth::Undecidable(Mismatch { expected: "a string", found: "a number" });
        match self {
            Test::Equal(scalar) => scalar.equals_number(found),
            Test::OneOf(members) => members.holds_number(found),
            Test::Number(holds, bound) => Truth::from(holds(found.cmp(bound))),
            Test::Regex(_) | Test::Glob(_) | Test::Contains(_) | Test::Text(..) => needs_string,
            Test::Length(..) | Test::Count(..) => needs_string,
            Test::Hosts(_) | Test::Ranges(_) | Test::Below(_) => needs_string,
            Test::Time(..) | Test::During(_) => {
                Truth::Undecidable(Mismatch { expected: TIME, found: "a number" })
            }
            Test::Field(_) => Truth::Undecidable(NOTHING),
            Test::Present => Truth::True,
        }
    }
}

impl Test {
    /// Whether it comes to something else at another time.
    #[must_use]
    pub fn depends_on_time(&self) -> bool {
        matches!(self, Test::Time(_, TimeOperand::Now))
    }
}

/// How long a text or a list is. Some count the characters of a text by UTF-16, and some bring it into normal form C before.
fn length(value: &Value<'_>, order: Order, bound: u32) -> Truth {
    let holds = |length: usize| order(length.cmp(&(bound as usize)));
    match value {
        Value::Array(items) => Truth::from(holds(items.len())),
        Value::String(text) => {
            let (characters, units) = (text.chars().count(), text.encode_utf16().count());
            match (holds(characters), holds(units)) {
                (true, true) => Truth::True,
                (false, false) => Truth::False,
                (true, false) | (false, true) => Truth::Undecidable(Mismatch {
                    expected: "a text whose characters all count alike",
                    found: "characters that some count as two",
                }),
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => {
            let (expected, found) = ("a string or an array", value.kind());
            Truth::Undecidable(Mismatch { expected, found })
        }
    }
}

/// The compiler lets only tests of times look at the time.
const NOT_A_TIME: Truth =
    Truth::Undecidable(Mismatch { expected: "another value", found: "a time" });

fn of_text(value: &Value<'_>, holds: impl FnOnce(&str) -> Truth) -> Truth {
    match value.as_str() {
        Some(text) => holds(text),
        None => Truth::Undecidable(Mismatch { expected: "a string", found: value.kind() }),
    }
}

fn string(value: &Value<'_>, holds: impl FnOnce(&str) -> bool) -> Truth {
    match value.as_str() {
        Some(text) => Truth::from(holds(text)),
        None => Truth::Undecidable(Mismatch { expected: "a string", found: value.kind() }),
    }
}
