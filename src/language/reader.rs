//! Strict reading of a document: every value is asked for by type, every field by name, and whatever was not asked for is
//! reported.

use std::collections::HashMap;

use super::diagnostic::{Code, Diagnostic};
use super::suggest::nearest;
use crate::json::pointer::escaped;
use crate::json::{Member, Object, Value};
use crate::matcher::regex::Regexes;
use crate::number::{Decimal, Micros};
use crate::policy::entry::CountIn;

/// A place in the document: for people, and as JSON Pointer (RFC 6901) within its policy.
#[derive(Clone, Debug, Default)]
pub(crate) struct Place {
    pub(crate) text: String,
    pub(crate) pointer: String,
}

/// Collects what is wrong, and the names that the document speaks of.
#[derive(Debug, Default)]
pub(crate) struct Reader {
    pub(crate) diagnostics: Vec<Diagnostic>,
    /// The names of `identity.keys`.
    pub(crate) keys: Vec<Box<str>>,
    /// The headers that requests are searched for, in lower case.
    pub(super) headers: Vec<Box<str>>,
    /// Those of them that conditions read, by index.
    pub(super) read_headers: Vec<usize>,
    /// Where an approver is first named.
    pub(super) names_approver: Option<Place>,
    /// Where limits count that do not say so themselves.
    pub(super) count_in: Option<CountIn>,
    /// Where a limit first counts in the rate limit service.
    pub(super) names_service: Option<Place>,
    /// The regular expressions of the whole configuration.
    pub(super) regexes: Regexes,
}

/// An object whose fields are asked for one by one.
pub(crate) struct Fields<'v> {
    place: Place,
    object: &'v Object<'v>,
    asked: Vec<&'static str>,
}

/// A value with its place.
#[derive(Clone)]
pub(crate) struct Field<'v> {
    pub(crate) value: &'v Value<'v>,
    pub(crate) place: Place,
}

impl Place {
    pub(crate) fn key(&self, key: &str) -> Place {
        let mut text = self.text.clone();
        push_key(&mut text, key);
        Place { text, pointer: format!("{}/{}", self.pointer, escaped(key)) }
    }

    pub(crate) fn index(&self, index: usize) -> Place {
        Place {
            text: format!("{}[{index}]", self.text),
            pointer: format!("{}/{index}", self.pointer),
        }
    }
}

/// Most words that a message tells in full.
const MOST_TOLD: usize = 20;

impl Reader {
    pub(crate) fn error(&mut self, code: Code, place: &Place, message: String) {
        self.diagnostics.push(Diagnostic::error(code, place.text.clone(), message));
    }

    pub(crate) fn error_with_help(
        &mut self,
        code: Code,
        place: &Place,
        message: String,
        help: String,
    ) {
        let diagnostic = Diagnostic::error(code, place.text.clone(), message);
        self.diagnostics.push(diagnostic.with_help(help));
    }

    /// Adds to the last problem the earlier place that it contradicts.
    pub(crate) fn last_contradicts(&mut self, earlier: &Place) {
        if let Some(last) = self.diagnostics.last_mut() {
            last.earlier = Some(earlier.text.clone());
        }
    }

    pub(crate) fn warn(&mut self, code: Code, place: &Place, message: &str, help: &str) {
        let diagnostic = Diagnostic::warning(code, place.text.clone(), message.to_owned());
        self.diagnostics.push(diagnostic.with_help(help.to_owned()));
    }

    pub(crate) fn wrong_type<T>(&mut self, field: &Field<'_>, expected: &str) -> Option<T> {
        let message = format!("expected {expected}, found {}", describe(field.value));
        self.error(Code::WrongType, &field.place, message);
        None
    }

    pub(crate) fn fields<'v>(&mut self, field: &Field<'v>) -> Option<Fields<'v>> {
        let Value::Object(object) = field.value else {
            return self.wrong_type(field, "an object");
        };
        self.report_duplicates(object, &field.place);
        Some(Fields { place: field.place.clone(), object, asked: Vec::new() })
    }

    fn report_duplicates(&mut self, object: &Object<'_>, place: &Place) {
        if !object.has_duplicate() {
            return;
        }
        for (member, before) in repeats(object) {
            if before == 1 {
                let message = format!("duplicate key `{}`", shortened(&member.key));
                self.error_with_help(
                    Code::DuplicateKey,
                    &place.key(&member.key),
                    message,
                    "keep one of them".into(),
                );
            }
        }
    }

    pub(crate) fn list<'v>(&mut self, field: &Field<'v>) -> Vec<Field<'v>> {
        let Value::Array(items) = field.value else {
            self.wrong_type::<()>(field, "a list");
            return Vec::new();
        };
        let place = &field.place;
        items
            .iter()
            .enumerate()
            .map(|(at, value)| Field { value, place: place.index(at) })
            .collect()
    }

    pub(crate) fn text<'v>(&mut self, field: &Field<'v>) -> Option<&'v str> {
        if let Value::String(text) = field.value {
            return Some(text);
        }
        self.wrong_type(field, "a string")
    }

    pub(crate) fn flag(&mut self, field: &Field<'_>) -> Option<bool> {
        if let Value::Bool(flag) = field.value {
            return Some(*flag);
        }
        self.wrong_type(field, "a boolean")
    }

    pub(crate) fn number(&mut self, field: &Field<'_>) -> Option<Decimal> {
        let Value::Number(text) = field.value else {
            return self.wrong_type(field, "a number");
        };
        let number = Decimal::parse(text);
        if number.is_none() {
            let message = format!("`{text}` has more digits than a double keeps apart");
            let help =
                "at most 15 significant digits, or an integer up to 9007199254740992".to_owned();
            self.error_with_help(Code::BadNumber, &field.place, message, help);
        }
        number
    }

    /// A non-negative number with at most six decimals.
    pub(crate) fn amount(&mut self, field: &Field<'_>) -> Option<Micros> {
        let number = self.number(field)?;
        let micros = number.micros_exact();
        if micros.is_none() {
            let message = format!("{} is out of range", describe(field.value));
            let help = "expected 0 to 18000000000000 with at most six decimals".to_owned();
            self.error_with_help(Code::BadNumber, &field.place, message, help);
        }
        micros
    }

    /// A whole number from `least` to `most`.
    pub(crate) fn whole(&mut self, field: &Field<'_>, least: u32, most: u32) -> Option<u32> {
        let micros = self.number(field)?.micros_exact();
        let whole = micros.filter(|micros| micros.0 % 1_000_000 == 0);
        let number = whole.and_then(|micros| u32::try_from(micros.0 / 1_000_000).ok());
        let fits = number.filter(|number| (least..=most).contains(number));
        if fits.is_none() {
            let message = format!(
                "expected a whole number from {least} to {most}, found {}",
                describe(field.value)
            );
            self.error(Code::BadNumber, &field.place, message);
        }
        fits
    }

    /// One of a few words.
    pub(crate) fn word<T: Copy>(&mut self, field: &Field<'_>, words: &[(&str, T)]) -> Option<T> {
        let text = self.text(field)?;
        let found = words.iter().find(|(word, _)| *word == text);
        if found.is_none() {
            self.unknown_word(&field.place, text, words.iter().map(|(word, _)| *word));
        }
        found.map(|(_, meaning)| *meaning)
    }

    pub(crate) fn unknown_word<'w>(
        &mut self,
        place: &Place,
        found: &str,
        known: impl Iterator<Item = &'w str> + Clone,
    ) {
        let near = nearest(found, known.clone()).map(|word| format!("did you mean `{word}`?"));
        let message = format!("unknown word `{}`", shortened(found));
        if known.clone().count() > MOST_TOLD {
            // Where there are many, the near one is told, or all in a place of their own.
            let all = || format!("known words: {}", known.collect::<Vec<_>>().join(" "));
            self.error_with_help(Code::UnknownWord, place, message, near.unwrap_or_else(all));
            return;
        }
        let expected = known.map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", ");
        let message = format!("{message}, expected one of {expected}");
        match near {
            Some(near) => self.error_with_help(Code::UnknownWord, place, message, near),
            None => self.error(Code::UnknownWord, place, message),
        }
    }

    /// The index of a key of `identity.keys`.
    pub(crate) fn key(&mut self, name: &str, place: &Place) -> Option<usize> {
        let at = self.keys.iter().position(|key| **key == *name);
        if at.is_none() {
            let message = format!("`identity.keys` has no `{}`", shortened(name));
            let help = match nearest(name, self.keys.iter().map(|key| &**key)) {
                Some(near) => format!("did you mean `{near}`?"),
                None if self.keys.is_empty() => "name its source there".to_owned(),
                None => format!("known keys: {}", self.keys.join(", ")),
            };
            self.error_with_help(Code::UnknownKey, place, message, help);
        }
        at
    }

    /// The index of a header that requests are searched for.
    pub(super) fn header(&mut self, name: &str, place: &Place) -> Option<usize> {
        let token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
        if name.is_empty() || name.len() > 256 || !name.bytes().all(token) {
            let message = format!("not the name of a header: `{}`", shortened(name));
            let help = "letters, digits and `-`, such as `x-team`".to_owned();
            self.error_with_help(Code::BadPattern, place, message, help);
            return None;
        }
        let name = name.to_ascii_lowercase();
        if name == "host" {
            let message =
                "there is no header `host` here: Envoy keeps it as `:authority`".to_owned();
            let help = "bindings match it: {\"match\": {\"host\": \"mcp.example.com\"}}".to_owned();
            self.error_with_help(Code::NoEffect, place, message, help);
            return None;
        }
        let known = self.headers.iter().position(|header| **header == *name);
        Some(known.unwrap_or_else(|| {
            self.headers.push(name.into());
            self.headers.len() - 1
        }))
    }

    /// Closes an object: every field that nobody asked for is unknown.
    pub(crate) fn close(&mut self, fields: &Fields<'_>) {
        for (member, before) in repeats(fields.object) {
            if before > 0 || fields.asked.contains(&&*member.key) {
                continue;
            }
            let place = fields.place.key(&member.key);
            let message = format!("unknown field `{}`", shortened(&member.key));
            let help = match nearest(&member.key, fields.asked.iter().copied()) {
                Some(word) => format!("did you mean `{word}`?"),
                None if is_condition(&member.key) && fields.asked.contains(&"conditions") => {
                    "put it into `conditions`: [{\"path\": \"args.name\", \"op\": \"eq\", \"value\": 1}]".to_owned()
                }
                None => format!("known fields: {}", fields.asked.join(", ")),
            };
            self.error_with_help(Code::UnknownField, &place, message, help);
        }
    }
}

/// Whether a field is one of a condition.
fn is_condition(key: &str) -> bool {
    matches!(key, "path" | "op" | "value")
}

impl<'v> Fields<'v> {
    pub(crate) fn place(&self) -> &Place {
        &self.place
    }

    /// The members that somebody has asked for until now.
    pub(super) fn taken(&self) -> impl Iterator<Item = &'v Member<'v>> {
        self.object.0.iter().filter(|member| self.asked.contains(&&*member.key))
    }

    pub(crate) fn take(&mut self, key: &'static str) -> Option<Field<'v>> {
        self.asked.push(key);
        let value = self.object.get(key)?;
        Some(Field { value, place: self.place.key(key) })
    }

    /// Whether a field is there.
    pub(crate) fn has(&self, key: &str) -> bool {
        self.object.get(key).is_some()
    }

    pub(crate) fn require(&mut self, key: &'static str, reader: &mut Reader) -> Option<Field<'v>> {
        let field = self.take(key);
        if field.is_none() {
            let message = format!("missing field `{key}`");
            reader.error(Code::MissingField, &self.place, message);
        }
        field
    }

    /// All members, for objects whose keys are the author's own. Of a duplicate, the first.
    pub(crate) fn members(&self) -> Vec<(&'v str, Field<'v>)> {
        let mut members = Vec::new();
        for (member, before) in repeats(self.object) {
            if before == 0 {
                let place = self.place.key(&member.key);
                members.push((&*member.key, Field { value: &member.value, place }));
            }
        }
        members
    }
}

/// The members of an object, each with how many of its key stand before it. An object can have a hundred thousand of them.
fn repeats<'o, 'v>(
    object: &'o Object<'v>,
) -> impl Iterator<Item = (&'o Member<'v>, usize)> + use<'o, 'v> {
    let mut seen: HashMap<Box<str>, usize> = HashMap::new();
    object.0.iter().map(move |member| {
        let before = seen.get(&*member.key).copied().unwrap_or_default();
        seen.insert((*member.key).into(), before + 1);
        (member, before)
    })
}

/// Appends a key to the text of a place: `.key`, or `["odd key"]`.
pub(crate) fn push_key(text: &mut String, key: &str) {
    let plain = !key.is_empty()
        && key.chars().all(|character| character.is_alphanumeric() || "_-/*?:".contains(character));
    if plain {
        if !text.is_empty() {
            text.push('.');
        }
        text.push_str(key);
    } else {
        text.push('[');
        text.push_str(&crate::json::written(key));
        text.push(']');
    }
}

/// A value, short enough for a message.
pub(crate) fn describe(value: &Value<'_>) -> String {
    match value {
        Value::Bool(flag) => format!("`{flag}`"),
        Value::Number(text) => format!("the number `{}`", shortened(text)),
        Value::String(text) => format!("the string `{}`", shortened(text)),
        Value::Null | Value::Array(_) | Value::Object(_) => value.kind().to_owned(),
    }
}

fn shortened(text: &str) -> String {
    const MOST: usize = 40;
    let mut short: String = text.chars().take(MOST).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    short.escape_debug().to_string()
}
