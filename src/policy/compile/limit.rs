//! Limits and the counters that they share.

use std::collections::HashMap;
use std::num::NonZeroU32;

use sha2::{Digest as _, Sha256};

use crate::bounds::MAX_WINDOW_SECONDS;
use crate::json::Value;
use crate::matcher::path::Path;
use crate::number::Micros;
use crate::policy::compiled::{Amount, Limit, NamedCounter, Refund, Scope};
use crate::policy::diagnostic::Code;
use crate::policy::reader::{Field, Fields, Place, Reader, describe};
use crate::policy::suggest::nearest;
use crate::rate::limiter::Counter;
use crate::rate::table::CounterId;
use crate::rate::window::{Algorithm, Window};

/// The tool key under which a state path names the counters of `"*"` and of all tools.
pub(super) const GLOBAL: &str = "_global";

const WINDOWS: [&str; 6] = ["second", "minute", "hour", "day", "week", "month"];

const ONE: Micros = Micros(1_000_000);

/// Every counter of a policy, and where it was first named.
pub(super) struct CounterBook {
    prefix: String,
    rows: Vec<Row>,
    /// Tool and counter of what was refused and reported; without a counter, any of the tool's.
    refused: Vec<(String, Option<String>)>,
}

struct Row {
    key: String,
    first: Place,
    counter: NamedCounter,
    /// The tool keys whose `state.<tool key>.<name>` means this counter.
    readers: Vec<String>,
}

/// What makes two limits share a count.
pub(super) struct Share {
    pub(super) key: String,
    pub(super) name: String,
    pub(super) window: Window,
    pub(super) scope: Scope,
    pub(super) algorithm: Algorithm,
    pub(super) tool: String,
}

impl CounterBook {
    pub(super) fn new(namespace: &str, policy: &str) -> CounterBook {
        CounterBook {
            prefix: format!("{namespace}\0{policy}\0"),
            rows: Vec::new(),
            refused: Vec::new(),
        }
    }

    /// The index of a counter; limits that share a key must agree on everything that counts.
    pub(super) fn index(
        &mut self,
        share: Share,
        place: &Place,
        reader: &mut Reader,
    ) -> Option<usize> {
        let Share { key, name, window, scope, algorithm, tool } = share;
        if let Some(at) = self.rows.iter().position(|row| row.key == key) {
            let row = self.rows.get_mut(at)?;
            let known =
                (row.counter.counter.window, row.counter.scope, row.counter.counter.algorithm);
            if known != (window, scope, algorithm) {
                let differ = [
                    (known.0 != window, "window"),
                    (known.1 != scope, "scope"),
                    (known.2 != algorithm, "algorithm"),
                ];
                let differ: Vec<&str> =
                    differ.iter().filter(|(differs, _)| *differs).map(|(_, what)| *what).collect();
                let first = &row.first.text;
                let message =
                    format!("counter `{name}` has another {} at {first}", differ.join(" and "));
                let help = "limits that share a name share the count; give this one another name"
                    .to_owned();
                reader.error_with_help(Code::CounterConflict, place, message, help);
                reader.last_contradicts(&row.first);
                return None;
            }
            row.readers.push(tool);
            return Some(at);
        }
        // Of names and meaning, never of places: a count outlives what an update puts before it.
        let whose = match scope {
            Scope::Key(at) => format!("key {}", reader.keys.get(at).map_or("", |key| &**key)),
            Scope::Grant | Scope::Session | Scope::Global | Scope::Address => format!("{scope:?}"),
        };
        let id = self.id(&format!("{key}\0{window:?}\0{whose}\0{algorithm:?}"));
        let counter = Counter { id, window, algorithm };
        let counter = NamedCounter { name: name.into(), scope, counter };
        self.rows.push(Row { key, first: place.clone(), counter, readers: vec![tool] });
        Some(self.rows.len() - 1)
    }

    /// The key of a counter that has no name: after its entry, its rule's name and its window, and how many such there are before it.
    pub(super) fn nameless(&self, tool: &str, rule: &str, window: Window) -> String {
        let like = format!("rule\0{tool}\0{rule}\0{window:?}\0");
        let before = self.rows.iter().filter(|row| row.key.starts_with(&like)).count();
        format!("{like}{before}")
    }

    /// Notes a counter that was refused, so that conditions on it are not reported too.
    pub(super) fn refuse(&mut self, tool: &str, name: Option<String>) {
        self.refused.push((tool.to_owned(), name));
    }

    /// Whether `state.<tool>.<name>` may mean a counter that was refused.
    pub(super) fn was_refused(&self, tool: &str, name: &str) -> bool {
        let tool = if tool == "*" { GLOBAL } else { tool };
        self.refused.iter().any(|(of, refused)| {
            of == tool && refused.as_ref().is_none_or(|refused| refused == name)
        })
    }

    /// The counters that `state.<tool>.<name>` could mean.
    pub(super) fn find(&self, tool: &str, name: &str) -> Vec<usize> {
        let tool = if tool == "*" { GLOBAL } else { tool };
        let named = self.rows.iter().enumerate().filter(|(_, row)| {
            *row.counter.name == *name && row.readers.iter().any(|reader| reader == tool)
        });
        named.map(|(at, _)| at).collect()
    }

    /// Every `state.<tool>.<name>` that means something.
    pub(super) fn paths(&self) -> Vec<String> {
        let names = |row: &Row| {
            let name = row.counter.name.clone();
            row.readers.iter().map(move |tool| format!("state.{tool}.{name}")).collect::<Vec<_>>()
        };
        let mut seen: HashMap<Box<str>, usize> = HashMap::new();
        let paths = self.rows.iter().flat_map(names).filter(|path| !path.contains('\0'));
        paths.filter(|path| seen.insert(path.as_str().into(), 0).is_none()).collect()
    }

    pub(super) fn into_counters(self) -> Box<[NamedCounter]> {
        self.rows.into_iter().map(|row| row.counter).collect()
    }

    fn id(&self, text: &str) -> CounterId {
        let digest = Sha256::new().chain_update(&self.prefix).chain_update(text).finalize();
        CounterId(digest.first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes)))
    }
}

/// One element of `limits`.
pub(super) fn native(
    field: &Field<'_>,
    tool: &str,
    reader: &mut Reader,
    book: &mut CounterBook,
) -> Option<Limit> {
    let mut fields = reader.fields(field)?;
    let name = fields.require("counter", reader).and_then(|field| counter_name(&field, reader));
    let window = fields.require("window", reader).and_then(|field| window(&field, reader));
    let max = fields.require("max", reader).and_then(|field| reader.amount(&field));
    let scope = scope(&mut fields, reader, Scope::Grant);
    let amount = amount(&mut fields, reader);
    let refund = refund(&mut fields, reader);
    let algorithm = match fields.take("algorithm") {
        None => Some(Algorithm::Fixed),
        Some(field) => {
            reader.word(&field, &[("fixed", Algorithm::Fixed), ("sliding", Algorithm::Sliding)])
        }
    };
    let on_deny = text(&mut fields, "on_deny", reader);
    reader.close(&fields);
    let share = name.clone().zip(window).zip(scope.zip(algorithm));
    let share = share.map(|((name, window), (scope, algorithm))| Share {
        key: format!("limit\0{name}"),
        name,
        window,
        scope,
        algorithm,
        tool: tool.to_owned(),
    });
    let Some(counter) = share.and_then(|share| book.index(share, &field.place, reader)) else {
        book.refuse(tool, name);
        return None;
    };
    let pointer = field.place.pointer.as_str().into();
    Some(Limit { counter, max: Some(max?), amount: amount?, refund: refund?, on_deny, pointer })
}

/// `count`, of a limit or of a rule. An answer is no proof of what became of a call, so nothing is given back unless the author asks.
pub(super) fn refund(fields: &mut Fields<'_>, reader: &mut Reader) -> Option<Refund> {
    match fields.take("count") {
        None => Some(Refund::Never),
        Some(field) => {
            reader.word(&field, &[("attempts", Refund::Never), ("successes", Refund::OnError)])
        }
    }
}

/// `rate_limit`, of an entry or of a rule: `{max, window}`, or `"10/minute"`.
pub(super) fn shorthand(field: &Field<'_>, reader: &mut Reader) -> Option<(Micros, Window)> {
    if let Value::String(text) = field.value {
        let parsed = text.split_once('/').and_then(|(max, window)| {
            let digits = !max.is_empty() && max.bytes().all(|byte| byte.is_ascii_digit());
            let max: u64 = digits.then(|| max.parse().ok()).flatten()?;
            Some((Micros(max.checked_mul(ONE.0)?), parse_window(window)?))
        });
        if parsed.is_none() {
            let message =
                format!("expected a rate such as `10/minute`, found {}", describe(field.value));
            reader.error_with_help(Code::BadWindow, &field.place, message, rate_help(text));
        }
        return parsed;
    }
    let Value::Object(_) = field.value else {
        return reader
            .wrong_type(field, "`{\"max\": 10, \"window\": 60}` or a rate such as `10/minute`");
    };
    let mut fields = reader.fields(field)?;
    let max = fields.require("max", reader).and_then(|field| reader.amount(&field));
    let window = fields.require("window", reader).and_then(|field| window(&field, reader));
    reader.close(&fields);
    Some((max?, window?))
}

/// The cure of a text that is no rate.
fn rate_help(text: &str) -> String {
    let (max, window) = text.split_once('/').unwrap_or_default();
    let whole = !max.is_empty() && max.bytes().all(|byte| byte.is_ascii_digit());
    let near = match window {
        "m" if whole => {
            let help = format!("`m` could be minutes or months: `{max}/minute` or `{max}/month`");
            return help;
        }
        "s" | "sec" | "secs" => Some("second"),
        "min" | "mins" => Some("minute"),
        "h" | "hr" | "hrs" => Some("hour"),
        "d" => Some("day"),
        "w" | "wk" => Some("week"),
        "mo" | "mon" => Some("month"),
        other => nearest(other, WINDOWS),
    };
    match near.filter(|near| whole && *near != window) {
        Some(near) => format!("did you mean `{max}/{near}`?"),
        None => "a whole number, a slash, and second, minute, hour, day, week, month, or a length such as 90s".to_owned(),
    }
}

pub(super) fn window(field: &Field<'_>, reader: &mut Reader) -> Option<Window> {
    let found = match field.value {
        Value::String(text) => parse_window(text),
        Value::Number(_) => {
            let seconds = reader.whole(field, 1, MAX_WINDOW_SECONDS)?;
            NonZeroU32::new(seconds).map(Window::Every)
        }
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => {
            return reader.wrong_type(field, "a window such as `minute`, `60` or `90s`");
        }
    };
    if found.is_none() {
        let message = format!("not a window: {}", describe(field.value));
        let near = field.value.as_str().and_then(|text| nearest(text, WINDOWS));
        let help = match near {
            Some(word) => format!("did you mean `{word}`?"),
            None => "second, minute, hour, day, week, month, whole seconds, or a length such as 90s, 5m, 12h; at most 366 days".to_owned(),
        };
        reader.error_with_help(Code::BadWindow, &field.place, message, help);
    }
    found
}

fn parse_window(text: &str) -> Option<Window> {
    let seconds = match text {
        "second" => 1,
        "minute" => 60,
        "hour" => 3600,
        "day" => 86_400,
        "week" => return Some(Window::Week),
        "month" => return Some(Window::Month),
        length => {
            let (digits, unit) = [("s", 1u32), ("m", 60), ("h", 3600)]
                .into_iter()
                .find_map(|(unit, seconds)| Some((length.strip_suffix(unit)?, seconds)))?;
            let plain = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
            plain.then(|| digits.parse::<u32>().ok()).flatten()?.checked_mul(unit)?
        }
    };
    NonZeroU32::new(seconds)
        .filter(|seconds| seconds.get() <= MAX_WINDOW_SECONDS)
        .map(Window::Every)
}

pub(super) fn scope(fields: &mut Fields<'_>, reader: &mut Reader, default: Scope) -> Option<Scope> {
    let Some(field) = fields.take("scope") else {
        return Some(default);
    };
    let words = [
        ("grant", Scope::Grant),
        ("session", Scope::Session),
        ("global", Scope::Global),
        ("address", Scope::Address),
    ];
    let text = reader.text(&field)?;
    if let Some((_, scope)) = words.iter().find(|(word, _)| *word == text) {
        return Some(*scope);
    }
    if let Some(at) = reader.keys.iter().position(|key| **key == *text) {
        return Some(Scope::Key(at));
    }
    let keys = reader.keys.clone();
    let known = words.iter().map(|(word, _)| *word).chain(keys.iter().map(|key| &**key));
    reader.unknown_word(&field.place, text, known);
    None
}

/// `increment` or `increment_from`.
pub(super) fn amount(fields: &mut Fields<'_>, reader: &mut Reader) -> Option<Amount> {
    let fixed = fields.take("increment");
    let from = fields.take("increment_from");
    match (fixed, from) {
        (None, None) => Some(Amount::Fixed(ONE)),
        (Some(field), None) => {
            let amount = reader.amount(&field)?;
            if amount == Micros(0) {
                let message = "an increment of 0 counts nothing".to_owned();
                reader.error_with_help(
                    Code::NoEffect,
                    &field.place,
                    message,
                    "leave it out for 1".to_owned(),
                );
            }
            Some(Amount::Fixed(amount))
        }
        (None, Some(field)) => {
            let path = argument_path(reader.text(&field)?, &field.place, reader)?;
            if path.has_each() {
                let message = "`increment_from` needs one number, not any of several".to_owned();
                reader.error(Code::BadPath, &field.place, message);
                return None;
            }
            Some(Amount::Argument(path))
        }
        (Some(_), Some(field)) => {
            let message = "`increment` and `increment_from` do not go together".to_owned();
            reader.error_with_help(
                Code::Contradiction,
                &field.place,
                message,
                "keep one of them".to_owned(),
            );
            None
        }
    }
}

pub(super) fn counter_name(field: &Field<'_>, reader: &mut Reader) -> Option<String> {
    let name = reader.text(field)?;
    if name.is_empty() || name.len() > 256 {
        reader.error(
            Code::BadPattern,
            &field.place,
            "a counter's name must have 1 to 256 bytes".to_owned(),
        );
        return None;
    }
    Some(name.to_owned())
}

pub(super) fn text(
    fields: &mut Fields<'_>,
    key: &'static str,
    reader: &mut Reader,
) -> Option<Box<str>> {
    let field = fields.take(key)?;
    reader.text(&field).map(Into::into)
}

pub(super) fn argument_path(text: &str, place: &Place, reader: &mut Reader) -> Option<Path> {
    let path = Path::new(text);
    if path.is_none() {
        let message = format!("not a path to an argument: `{}`", text.escape_debug());
        let help = "args.<name>, then .name, [0], [*] or [\"odd.key\"]".to_owned();
        reader.error_with_help(Code::BadPath, place, message, help);
    }
    path
}
