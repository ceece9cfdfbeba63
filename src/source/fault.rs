//! Why a text is not JSON or not YAML, in words that say what to change.

use super::Problem;
use crate::json::{Bounds, Fault, FaultKind};
use crate::language::diagnostic::{Code, Diagnostic};

pub(super) fn empty(text: &str) -> Box<Problem> {
    let message = if text.is_empty() { "the document is empty" } else { "the document is blank" };
    whole(message, "write a policy, or start from one in policies/")
}

/// Bytes that are not the text of a document at all.
pub(super) fn binary(bytes: &[u8]) -> Option<Box<Problem>> {
    let (message, help) = match bytes {
        [0x1f, 0x8b, ..] => ("the file is compressed (gzip)", "unpack it first"),
        [0xff, 0xfe, ..] | [0xfe, 0xff, ..] => ("the file is UTF-16", "save it as UTF-8"),
        _ if crate::language::looks_like_struct(bytes) => {
            let message = "the file is a serialised google.protobuf.Struct".to_owned();
            let diagnostic = Diagnostic::error(Code::ProtobufStruct, String::new(), message);
            let help = "give the policy itself, as JSON or YAML text".to_owned();
            let diagnostic = diagnostic.with_help(help);
            return Some(Box::new(Problem { diagnostic, at: None, earlier: None }));
        }
        _ if bytes.contains(&0) => {
            ("the file is binary, or UTF-16", "name a JSON or YAML file in UTF-8")
        }
        _ => return None,
    };
    Some(whole(message, help))
}

/// Bytes that are not UTF-8 from here.
pub(super) fn not_utf_8(bytes: &[u8], at: usize) -> Box<Problem> {
    let valid = bytes.get(..at).and_then(|valid| std::str::from_utf8(valid).ok());
    let (line, column) = crate::language::line_and_column(valid.unwrap_or_default(), at);
    let message = format!("the file is not UTF-8 at line {line}, column {column}");
    whole(&message, "save it as UTF-8")
}

pub(super) fn yaml(text: &str, fault: &crate::yaml::YamlFault) -> Box<Problem> {
    let line_start: usize = text.split_inclusive('\n').take(fault.line - 1).map(str::len).sum();
    let line = text.get(line_start..).unwrap_or_default();
    let line = line.split('\n').next().unwrap_or_default();
    let at = line.char_indices().nth(fault.column - 1).map_or(line.len(), |(at, _)| at);
    let indent = line.len() - line.trim_start().len();
    let tabs = line.get(..indent).is_some_and(|indent| indent.contains('\t'));
    let mut problem = located(text, line_start + at, fault.message.clone(), "");
    problem.diagnostic.help = tabs.then(|| "indent with spaces: YAML has no tabs there".to_owned());
    problem
}

pub(super) fn json(text: &str, fault: Fault, bounds: Bounds) -> Box<Problem> {
    let needs = |help| if bounds == Bounds::DOCUMENT { help } else { "no settings allow more" };
    match fault.kind {
        FaultKind::Depth => {
            let message = format!("nested deeper than {} levels", bounds.depth);
            return located(text, fault.at, message, needs("a policy needs about ten"));
        }
        FaultKind::Size => {
            let message = format!("more than {} values", bounds.values);
            let help = needs("this is no policy that a person can review");
            return located(text, fault.at, message, help);
        }
        FaultKind::Syntax | FaultKind::Duplicate => {}
    }
    if text.starts_with('\u{feff}') {
        let help = "save the file as UTF-8 without a byte order mark";
        return located(text, 0, "the document starts with a byte order mark".to_owned(), help);
    }
    let before = Before::scan(text, fault.at);
    match before.in_string {
        Some(start) => in_string(text, fault.at, start),
        None => between(text, fault.at, &before),
    }
}

/// What a text holds before the place of a fault.
struct Before {
    /// The brackets that are open, with their places.
    open: Vec<(usize, char)>,
    /// The string that the place is inside of.
    in_string: Option<usize>,
    /// The last character that is no white space.
    last: Option<(usize, char)>,
}

impl Before {
    fn scan(text: &str, at: usize) -> Before {
        let mut before = Before { open: Vec::new(), in_string: None, last: None };
        let mut escaped = false;
        for (place, character) in text.get(..at).unwrap_or(text).char_indices() {
            if before.in_string.is_some() {
                match character {
                    '"' if !escaped => before.in_string = None,
                    _ => {}
                }
                escaped = character == '\\' && !escaped;
            } else {
                match character {
                    '"' => before.in_string = Some(place),
                    '{' | '[' => before.open.push((place, character)),
                    '}' | ']' => {
                        before.open.pop();
                    }
                    _ => {}
                }
            }
            if !character.is_whitespace() {
                before.last = Some((place, character));
            }
        }
        before
    }
}

fn in_string(text: &str, at: usize, start: usize) -> Box<Problem> {
    let rest = text.get(at..).unwrap_or_default();
    // An escape ends where the fault is, or inside.
    let inside = text.get(start..at).unwrap_or_default();
    let tail = inside.rfind('\\').filter(|&slash| inside.len() - slash <= 12);
    let escape = tail.filter(|&slash| {
        let after = inside.get(slash + 1..).unwrap_or_default();
        after.chars().count() == 1 || after.starts_with('u')
    });
    match (rest.chars().next(), escape) {
        (None | Some('\n' | '\r'), None) => {
            let help = "add the closing `\"`; a line break inside a string is written \\n";
            located(text, start, "this string is not closed on its line".to_owned(), help)
        }
        (_, Some(slash)) => {
            let help = "escapes are \\\" \\\\ \\/ \\b \\f \\n \\r \\t and \\uXXXX; a backslash itself is \\\\";
            located(text, start + slash, "not an escape of JSON".to_owned(), help)
        }
        (Some(character), None) => {
            let code = u32::from(character);
            let message = format!("the control character U+{code:04X} inside a string");
            located(text, at, message, &format!("write it as \\u{code:04x}"))
        }
    }
}

fn between(text: &str, at: usize, before: &Before) -> Box<Problem> {
    let rest = text.get(at..).unwrap_or_default();
    let (last_at, last) = before.last.unwrap_or((at, ' '));
    let Some(found) = rest.chars().next() else {
        return match before.open.last() {
            Some(&(open, bracket)) => {
                let closing = if bracket == '{' { '}' } else { ']' };
                let message = format!("the document ends, but this `{bracket}` is not closed");
                located(text, open, message, &format!("add the missing `{closing}`"))
            }
            None => located(text, at, "the document ends too early".to_owned(), "complete it"),
        };
    };
    let in_object = before.open.last().is_some_and(|&(_, bracket)| bracket == '{');
    let starts = matches!(last, '{' | '[' | ',' | ':' | ' ');
    if matches!(found, '/' | '#') {
        let help = "remove it, or write the policy in YAML, which has comments";
        return located(text, at, "JSON has no comments".to_owned(), help);
    }
    if before.open.is_empty() && before.last.is_some() {
        let help = "a file holds one document";
        return located(text, at, "text after the end of the document".to_owned(), help);
    }
    if matches!(found, '}' | ']') && last == ',' {
        let help = "remove the comma";
        return located(text, last_at, format!("a comma before the closing `{found}`"), help);
    }
    if matches!(found, '\'' | '\u{201c}' | '\u{201d}' | '\u{2018}' | '\u{2019}' | '`') {
        let message = format!("strings stand in double quotes, not in `{found}`");
        return located(text, at, message, "replace the quotes by `\"`");
    }
    let word: String = rest
        .chars()
        .take_while(|found| found.is_alphanumeric() || "_-.+".contains(*found))
        .take(40)
        .collect();
    if starts && in_object && matches!(last, '{' | ',') {
        let help = "keys stand in double quotes";
        return located(text, at, format!("expected a key, found `{}`", shown(&word, found)), help);
    }
    if starts {
        return not_a_value(text, at, &word, found);
    }
    if in_object && last == '"' && key_stands_before(text, before) {
        let help = "write `\"key\": value`";
        return located(text, at, format!("expected `:`, found `{}`", shown("", found)), help);
    }
    if last.is_ascii_digit() && last_at + 1 == at {
        let help =
            "numbers are written like 0, 12, -1.5 or 1e6: no leading zeros, bases or underscores";
        return located(text, at, "not a number of JSON".to_owned(), help);
    }
    let closing = before.open.last().map_or('}', |&(_, open)| if open == '{' { '}' } else { ']' });
    let message = format!("expected `,` or `{closing}`, found `{}`", shown(&word, found));
    located(text, at, message, "add the missing comma")
}

fn not_a_value(text: &str, at: usize, word: &str, found: char) -> Box<Problem> {
    let help = match word.to_ascii_lowercase().as_str() {
        "true" | "false" | "null" => "JSON writes true, false and null in lower case",
        "none" | "nil" | "undefined" => "JSON writes null",
        _ if word.starts_with(|first: char| first.is_ascii_digit() || "+-.".contains(first)) => {
            "numbers are written like 0, 12, -1.5 or 1e6"
        }
        "" => "write a value here",
        _ => "strings stand in double quotes",
    };
    located(text, at, format!("expected a value, found `{}`", shown(word, found)), help)
}

/// Whether the string that ends before the fault is a key: what stands before it opens the object or separates members.
fn key_stands_before(text: &str, before: &Before) -> bool {
    let Some((end, _)) = before.last else { return false };
    let inside = text.get(..end).unwrap_or_default();
    let start = inside.rfind('"').unwrap_or(0);
    let earlier = inside.get(..start).unwrap_or_default().trim_end();
    earlier.ends_with(['{', ','])
}

fn shown(word: &str, found: char) -> String {
    match (word.is_empty(), found.is_control()) {
        (false, _) => word.to_owned(),
        (true, true) => found.escape_default().to_string(),
        (true, false) => found.to_string(),
    }
}

/// A problem of the document as a whole.
fn whole(message: &str, help: &str) -> Box<Problem> {
    let diagnostic = Diagnostic::error(Code::NotJson, String::new(), message.to_owned());
    let diagnostic = diagnostic.with_help(help.to_owned());
    Box::new(Problem { diagnostic, at: None, earlier: None })
}

fn located(text: &str, at: usize, message: String, help: &str) -> Box<Problem> {
    let diagnostic = Diagnostic::error(Code::NotJson, String::new(), message);
    let diagnostic = diagnostic.with_help(help.to_owned());
    let length = text.get(at..).and_then(|rest| rest.chars().next()).map_or(0, char::len_utf8);
    Box::new(Problem { diagnostic, at: Some(at..at + length), earlier: None })
}
