//! Policies that load, and what is said of those that do not.
//!
//! Every file in `tests/data/policies/invalid` is named after the code that it must meet, and has a
//! golden with the very text of all its problems; `make bless` rewrites the goldens. Files in
//! `tests/data/policies/valid`, and the policies that ship, load without a word. The last tests
//! change the valid ones in every place, and nothing of what they change may be passed over.
#![cfg(test)]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use mcp_policy::json::{Duplicates, Member, Object, Value, parse};
use mcp_policy::language::diagnostic::{Code, Diagnostic, Severity};
use mcp_policy::policy::compiled::Config;

/// A document with the name of its file.
struct Document {
    path: PathBuf,
    name: String,
    bytes: Vec<u8>,
}

impl Document {
    /// The documents of a folder, in the order of their names.
    fn all(folder: &str) -> Vec<Document> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
        let paths = fs::read_dir(folder).unwrap().map(|item| item.unwrap().path());
        let named = |path: &PathBuf| {
            let end = path.extension().and_then(|end| end.to_str());
            matches!(end, Some("json" | "bin"))
        };
        let mut documents: Vec<Document> = paths.filter(named).map(Document::read).collect();
        documents.sort_by(|left, right| left.name.cmp(&right.name));
        documents
    }

    fn read(path: PathBuf) -> Document {
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        let bytes = fs::read(&path).unwrap();
        Document { path, name, bytes }
    }

    fn invalid() -> Vec<Document> {
        Document::all("tests/data/policies/invalid")
    }

    /// Small documents that hold, with every field, word and operator among them.
    fn samples() -> Vec<Document> {
        Document::all("tests/data/policies/valid")
    }

    fn valid() -> Vec<Document> {
        let mut documents = Document::samples();
        documents.extend(Document::all("policies"));
        assert!(documents.len() > 12, "the documents are there");
        documents
    }

    fn golden(&self) -> PathBuf {
        self.path.with_extension("txt")
    }

    /// The code that the file is named after.
    fn code(&self) -> &str {
        self.name.split_once('-').map_or("", |(code, _)| code)
    }

    /// The document as JSON, where it is that; a document that is not has no places.
    fn value(&self) -> Value<'_> {
        let text = std::str::from_utf8(&self.bytes).unwrap_or_default();
        parse(text, Duplicates::Keep).unwrap_or(Value::Null)
    }
}

/// Every problem, warnings included, and whether the document is refused.
fn load(bytes: &[u8]) -> (bool, Vec<Diagnostic>) {
    match Config::load(bytes, "test") {
        Ok(loaded) => (false, loaded.warnings),
        Err(problems) => (true, problems),
    }
}

fn compile(document: &Value<'_>) -> (bool, Vec<Diagnostic>) {
    match Config::compile(document, "test") {
        Ok(loaded) => (false, loaded.warnings),
        Err(problems) => (true, problems),
    }
}

fn lines(problems: &[Diagnostic]) -> String {
    problems.iter().map(|problem| format!("{problem}\n")).collect()
}

/// Fails once, with everything that is wrong.
#[track_caller]
fn check(wrong: &[String]) {
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn valid_documents_load_without_a_word() {
    let mut wrong = Vec::new();
    for document in Document::valid() {
        let (refused, problems) = load(&document.bytes);
        if refused || !problems.is_empty() {
            wrong.push(format!("{}:\n{}", document.name, lines(&problems)));
        }
    }
    check(&wrong);
}

#[test]
fn the_example_of_the_reference_loads() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("policies/README.md");
    let reference = fs::read_to_string(path).unwrap();
    let example = reference.split("```json\n").nth(1).unwrap().split("```").next().unwrap();
    assert_eq!(lines(&load(example.as_bytes()).1), "");
}

#[test]
fn every_problem_reads_as_its_golden() {
    let bless = std::env::var_os("MCP_POLICY_BLESS").is_some();
    let mut wrong = Vec::new();
    if bless {
        let goldens =
            stale().into_iter().filter(|path| path.extension().is_some_and(|end| end == "txt"));
        goldens.for_each(|path| fs::remove_file(path).unwrap());
    }
    for document in Document::invalid() {
        let found = lines(&load(&document.bytes).1);
        if bless {
            fs::write(document.golden(), &found).unwrap();
        }
        let expected = fs::read_to_string(document.golden()).unwrap_or_default();
        if found != expected {
            wrong.push(format!(
                "{}: see `make bless`\n--- expected\n{expected}--- found\n{found}",
                document.name
            ));
        }
    }
    check(&wrong);
}

#[test]
fn every_fixture_meets_the_code_it_is_named_after() {
    let mut wrong = Vec::new();
    for document in Document::invalid() {
        let (refused, problems) = load(&document.bytes);
        let met: Vec<Severity> = problems
            .iter()
            .filter(|problem| problem.code.text() == document.code())
            .map(|problem| problem.severity)
            .collect();
        // Codes from P100 are of warnings, which refuse nothing.
        let warns = document.code() >= "P100";
        let expected = if warns { Severity::Warning } else { Severity::Error };
        if !met.contains(&expected) || refused == warns {
            let said = lines(&problems);
            wrong.push(format!("{}: refused: {refused}\n{said}", document.name));
        }
    }
    check(&wrong);
}

#[test]
fn every_code_has_a_fixture_and_every_golden_its_document() {
    let documents = Document::invalid();
    let mut wrong = Vec::new();
    // What the command warns of beyond that has its documents in `warned`: see `places`.
    for code in Code::ALL.iter().filter(|code| code.text() <= "P101") {
        if !documents.iter().any(|document| document.code() == code.text()) {
            wrong.push(format!("no fixture is named after {} ({code:?})", code.text()));
        }
    }
    let goldens: BTreeSet<PathBuf> = documents.iter().map(Document::golden).collect();
    assert_eq!(goldens.len(), documents.len(), "two documents share a golden");
    wrong.extend(stale().iter().map(|path| format!("belongs to no document: {}", path.display())));
    check(&wrong);
}

/// Files that are no document and of none.
fn stale() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/policies/invalid");
    let paths = fs::read_dir(folder).unwrap().map(|item| item.unwrap().path());
    let known =
        |path: &PathBuf| ["json", "bin"].iter().any(|end| path.with_extension(end).exists());
    paths.filter(|path| !known(path)).collect()
}

/// Words of messages that need no help: they say what would be right.
const CURES: [&str; 7] = [
    "expected ",
    "missing field ",
    "must have ",
    "needs one ",
    "longer than ",
    "not go with ",
    "keep one of them",
];

/// House rules of messages: one line of plain text, lower case, no period at the end, a place that
/// is in the document, nothing said twice, and something that the author can do.
#[test]
fn problems_are_well_formed() {
    let mut wrong = Vec::new();
    for document in Document::invalid() {
        let value = document.value();
        let (_, problems) = load(&document.bytes);
        for (at, problem) in problems.iter().enumerate() {
            let help = problem.help.as_deref().unwrap_or_default();
            let cures = CURES.iter().any(|words| problem.message.contains(words));
            let texts = [&*problem.message, help];
            for (fault, found) in [
                ("is there twice", problems.iter().take(at).any(|earlier| earlier == problem)),
                (
                    "has a control character",
                    texts.iter().any(|text| text.contains(char::is_control)),
                ),
                ("ends with a period", texts.iter().any(|text| text.ends_with('.'))),
                (
                    "starts in upper case",
                    texts.iter().any(|text| text.starts_with(char::is_uppercase)),
                ),
                ("is too long to read", texts.iter().any(|text| text.chars().count() > 320)),
                ("has a place that is not there", resolve(&value, &problem.place).is_none()),
                ("does not say what to do", help.is_empty() && !cures),
            ] {
                if found {
                    wrong.push(format!("{} {fault}: {problem}", document.name));
                }
            }
        }
    }
    check(&wrong);
}

/// A way from the root of a document: which member or element, level by level.
type Way = Vec<usize>;

/// The way that a diagnostic's place names, such as `tools.search["odd key"].limits[0]`.
fn resolve(document: &Value<'_>, place: &str) -> Option<Way> {
    let mut way = Way::new();
    let mut value = document;
    let mut rest = place;
    while !rest.is_empty() {
        let (step, key, after) = next_step(rest)?;
        let at = match value {
            Value::Array(items) => step.filter(|at| *at < items.len())?,
            Value::Object(object) => object.0.iter().position(|member| member.key == key)?,
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => return None,
        };
        value = children(value).into_iter().nth(at)?;
        way.push(at);
        rest = after;
    }
    Some(way)
}

/// An index or a key, and what follows it.
fn next_step(place: &str) -> Option<(Option<usize>, String, &str)> {
    if place.starts_with("[\"") {
        let closing =
            |end: &usize| parse(place.get(1..*end).unwrap_or(""), Duplicates::Refuse).is_ok();
        let end = place.match_indices("\"]").map(|(at, _)| at + 1).find(closing)?;
        let key = parse(place.get(1..end)?, Duplicates::Refuse).ok()?;
        return Some((None, key.as_str()?.to_owned(), place.get(end + 1..)?));
    }
    if let Some(inside) = place.strip_prefix('[') {
        let (index, after) = inside.split_once(']')?;
        return Some((Some(index.parse().ok()?), String::new(), after));
    }
    let plain = place.strip_prefix('.').unwrap_or(place);
    let end = plain.find(['.', '[']).unwrap_or(plain.len());
    let (key, after) = plain.split_at(end);
    Some((None, key.to_owned(), after))
}

fn children<'c, 'v>(value: &'c Value<'v>) -> Vec<&'c Value<'v>> {
    match value {
        Value::Array(items) => items.iter().collect(),
        Value::Object(object) => object.0.iter().map(|member| &member.value).collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Vec::new(),
    }
}

/// The ways to all values of a document.
fn ways(value: &Value<'_>) -> Vec<Way> {
    let mut found = vec![Way::new()];
    for (at, child) in children(value).into_iter().enumerate() {
        found.extend(ways(child).into_iter().map(|mut way| {
            way.insert(0, at);
            way
        }));
    }
    found
}

fn at_mut<'c, 'v>(value: &'c mut Value<'v>, way: &[usize]) -> &'c mut Value<'v> {
    way.iter().fold(value, |value, at| match value {
        Value::Array(items) => &mut items[*at],
        Value::Object(object) => &mut object.0[*at].value,
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => value,
    })
}

/// The key by which an author knows a place.
fn named(document: &Value<'_>, way: &[usize]) -> String {
    let mut text = String::new();
    let mut value = document;
    for at in way {
        let key = value.as_object().map(|object| &*object.0[*at].key);
        text = format!("{text}/{}", key.unwrap_or(&at.to_string()));
        value = children(value)[*at];
    }
    text
}

/// Changes every valid document in every place, and asks for a problem at that very place.
fn every_change_is_seen(
    wanted: Option<Code>,
    change: impl Fn(&mut Value<'static>) -> Option<usize>,
) {
    let mut wrong = Vec::new();
    let mut changes = 0;
    for document in Document::samples() {
        let text: &'static str = String::from_utf8(document.bytes.clone()).unwrap().leak();
        let value = parse(text, Duplicates::Keep).unwrap();
        for mut way in ways(&value) {
            let mut changed = value.clone();
            let Some(member) = change(at_mut(&mut changed, &way)) else {
                continue;
            };
            changes += 1;
            if member != usize::MAX {
                way.push(member);
            }
            let (refused, problems) = compile(&changed);
            let seen = problems.iter().any(|problem| {
                let of_this_kind = wanted.is_none_or(|code| code == problem.code);
                let place = resolve(&changed, &problem.place).unwrap_or_default();
                of_this_kind && place.starts_with(&way)
            });
            if !refused || !seen {
                let place = named(&changed, &way);
                let said = lines(&problems);
                wrong.push(format!("{} {place}: refused: {refused}\n{said}", document.name));
            }
        }
    }
    assert!(changes > 100, "{changes} changes");
    check(&wrong);
}

/// The member as it is when only its key is to be told.
fn member(key: &'static str, value: Value<'static>) -> Member<'static> {
    Member { key: key.into(), raw: "", value }
}

#[test]
fn no_object_takes_an_unknown_field() {
    every_change_is_seen(None, |value| {
        let Value::Object(Object(members)) = value else {
            return None;
        };
        members.push(member("zzz", Value::Null));
        Some(members.len() - 1)
    });
}

#[test]
fn no_value_is_passed_over() {
    every_change_is_seen(None, |value| {
        // Nothing in the language is a list of lists.
        *value = Value::Array(vec![Value::Array(Vec::new())]);
        Some(usize::MAX)
    });
}

#[test]
fn no_key_may_be_there_twice() {
    every_change_is_seen(Some(Code::DuplicateKey), |value| {
        let Value::Object(Object(members)) = value else {
            return None;
        };
        let last = members.last()?.clone();
        members.push(last);
        // A place names the first of the two.
        Some(members.len() - 2)
    });
}

#[test]
fn what_is_required_is_missed() {
    let mut wrong = Vec::new();
    for document in Document::samples() {
        let value = document.value();
        for way in ways(&value) {
            let mut changed = value.clone();
            let (Some(last), parent) = (way.last(), &way[..way.len().saturating_sub(1)]) else {
                continue;
            };
            let Value::Object(Object(members)) = at_mut(&mut changed, parent) else {
                continue;
            };
            let gone = members.remove(*last).key;
            let required =
                ["version", "path", "op", "value", "counter", "window", "max", "conditions"];
            let in_rule = gone == "conditions" && named(&value, &way).contains("/rules/");
            let in_match = named(&value, &way).contains("/match/");
            if !required.contains(&&*gone) || in_rule || in_match {
                continue;
            }
            let (refused, problems) = compile(&changed);
            let seen = problems.iter().any(|problem| {
                problem.code == Code::MissingField && problem.message.contains(&*gone)
            });
            if !refused || !seen {
                let place = named(&value, &way);
                wrong.push(format!(
                    "{} {place}: refused: {refused}\n{}",
                    document.name,
                    lines(&problems)
                ));
            }
        }
    }
    check(&wrong);
}
