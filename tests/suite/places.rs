//! Where problems are: the very text that each one points at, in JSON and in YAML.
#![cfg(test)]

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use mcp_policy::json::{Value, written};
use mcp_policy::language::diagnostic::Code;
use mcp_policy::lint::fit;
use mcp_policy::source::{Problem, SourceText, lines_and_columns};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The documents of a folder, by name; `tools.json` is none.
fn documents(folder: &str) -> Vec<(String, Vec<u8>)> {
    let items = fs::read_dir(root().join(folder)).unwrap().map(|item| item.unwrap().path());
    let document = |path: &PathBuf| {
        let end = path.extension().and_then(|end| end.to_str());
        matches!(end, Some("json" | "yaml" | "bin")) && !path.ends_with("tools.json")
    };
    let mut paths: Vec<PathBuf> = items.filter(document).collect();
    paths.sort();
    let name = |path: &Path| path.file_name().unwrap().to_string_lossy().into_owned();
    paths.iter().map(|path| (name(path), fs::read(path).unwrap())).collect()
}

/// What the command says of a document; those named after P2xx are checked against the tools beside them.
fn problems(name: &str, bytes: Vec<u8>) -> (String, Vec<Problem>) {
    let source = match SourceText::new(name, bytes) {
        Ok(source) => source,
        Err(problem) => return (String::new(), vec![*problem]),
    };
    let problems = if name.starts_with("P2") {
        let tools = root().join("tests/data/policies/warned/tools.json");
        let tools = SourceText::new("tools.json", fs::read(tools).unwrap()).unwrap();
        let tools = tools.value().unwrap();
        source.compile_for(&fit::tools(&tools).unwrap(), None).1
    } else {
        source.compile().1
    };
    (source.text, problems)
}

fn pointed<'t>(text: &'t str, problem: &Problem) -> &'t str {
    problem.at.as_ref().map_or("", |at| text.get(at.clone()).unwrap())
}

#[test]
fn every_problem_points_at_its_cause() {
    let mut found = String::new();
    for folder in ["tests/data/policies/invalid", "tests/data/policies/warned"] {
        for (name, bytes) in documents(folder) {
            let (text, problems) = problems(&name, bytes);
            writeln!(found, "{name}").unwrap();
            let places = lines_and_columns(&text, &problems);
            for (problem, place) in problems.iter().zip(places) {
                let place = place.unwrap_or_default();
                let diagnostic = &problem.diagnostic;
                let (code, at) = (diagnostic.code.text(), pointed(&text, problem));
                let message = &diagnostic.message;
                writeln!(found, "  {}:{} {code} [{at}] {message}", place.0, place.1).unwrap();
            }
            let known = |problem: &Problem| problem.at.is_some() || text.is_empty();
            let lost: Vec<&Problem> = problems.iter().filter(|problem| !known(problem)).collect();
            assert!(lost.is_empty(), "{name}: without a place: {lost:#?}");
        }
    }
    let golden = root().join("tests/data/places.txt");
    if std::env::var_os("MCP_POLICY_BLESS").is_some() {
        fs::write(&golden, &found).unwrap();
    }
    let expected = fs::read_to_string(&golden).unwrap_or_default();
    for (line, (found, expected)) in found.lines().zip(expected.lines()).enumerate() {
        assert_eq!(found, expected, "line {}; see `make bless`", line + 1);
    }
    assert_eq!(found.lines().count(), expected.lines().count(), "see `make bless`");
}

#[test]
fn every_warning_has_a_document_that_draws_it() {
    let documents = documents("tests/data/policies/warned");
    // From P301 on it takes two documents: the transcripts of `validate --against` have them.
    let transcripts = fs::read_to_string(root().join("tests/data/cli/validate.txt")).unwrap();
    for code in Code::ALL.iter().map(|code| code.text()).filter(|code| *code > "P101") {
        // From P401 on it takes Envoy's configuration: see `doctor`.
        if code > "P400" {
            continue;
        }
        if code > "P300" {
            assert!(
                transcripts.contains(&format!("warning[{code}]")),
                "{code} is in no transcript"
            );
            continue;
        }
        let named = documents.iter().filter(|(name, _)| name.starts_with(code));
        let drawn = named.filter(|(name, bytes)| {
            let (_, problems) = problems(name, bytes.clone());
            assert!(problems.iter().all(|problem| !problem.is_error()), "{name}: {problems:#?}");
            problems.iter().any(|problem| problem.diagnostic.code.text() == code)
        });
        assert!(drawn.count() > 0, "{code} has no document that draws it");
    }
}

/// A code is looked up by its number: one table or the other explains it.
#[test]
fn every_warning_is_explained() {
    let read = |file| fs::read_to_string(root().join(file)).unwrap();
    let pages = read("policies/README.md") + &read("envoy/README.md");
    for code in Code::ALL.iter().map(|code| code.text()).filter(|code| *code > "P100") {
        assert!(pages.contains(&format!("| {code} |")), "{code} is in no table of codes");
    }
}

/// Nested collections are broken over lines, with an indentation for each level.
fn block_yaml(out: &mut String, value: &Value<'_>, indent: usize) {
    let pad = "  ".repeat(indent);
    match value {
        Value::Object(object) if !object.0.is_empty() => {
            for member in &object.0 {
                out.push('\n');
                out.push_str(&pad);
                out.push_str(&written(&member.key));
                out.push_str(":  ");
                block_yaml(out, &member.value, indent + 1);
            }
        }
        Value::Array(items) if !items.is_empty() => {
            for item in items {
                write!(out, "\n{pad}-   ").unwrap();
                block_yaml(out, item, indent + 1);
            }
        }
        Value::Object(_) => out.push_str("{}"),
        Value::Array(_) => out.push_str("[]"),
        Value::Null => out.push('~'),
        Value::Bool(flag) => out.push_str(&flag.to_string()),
        Value::Number(text) => out.push_str(text),
        Value::String(text) => out.push_str(&written(text)),
    }
}

#[test]
fn yaml_points_at_the_same_things() {
    let mut compared = 0;
    for (name, bytes) in documents("tests/data/policies/invalid") {
        let Ok(source) = SourceText::new(&name, bytes) else { continue };
        let Ok(value) = source.value() else { continue };
        if value.as_object().is_none_or(|object| object.0.is_empty()) {
            continue;
        }
        let mut yaml = "# A comment, with wide letters: 工具 🧰\r\n---".to_owned();
        block_yaml(&mut yaml, &value, 0);
        yaml.push('\n');
        let other = SourceText::new("x.yaml", yaml.clone().into_bytes()).unwrap();
        // A key of YAML has at most 1024 characters.
        if yaml.lines().any(|line| line.len() > 1024) {
            continue;
        }
        let (_, in_yaml) = other.compile();
        let (_, in_json) = source.compile();
        let told = |text: &str, problems: &[Problem]| -> Vec<(String, String)> {
            let mut told: Vec<(String, String)> = problems
                .iter()
                .map(|problem| (problem.diagnostic.to_string(), pointed(text, problem)))
                .map(|(text, at)| (text, unescaped(at)))
                .collect();
            told.sort();
            told
        };
        let (left, right) = (told(&source.text, &in_json), told(&other.text, &in_yaml));
        // A list in YAML has no bracket to point at.
        let same = |at: &(String, String), other: &(String, String)| {
            at.0 == other.0 && (at.1 == other.1 || at.1 == "{" || at.1 == "[")
        };
        assert_eq!(left.len(), right.len(), "{name}: {yaml}");
        for (left, right) in left.iter().zip(&right) {
            assert!(same(left, right), "{name}: {left:?} {right:?}\n{yaml}");
        }
        compared += left.len();
    }
    assert!(compared > 300, "{compared}");
}

/// What a text in quotes stands for.
fn unescaped(at: &str) -> String {
    match serde_json::from_str::<String>(at) {
        Ok(text) => text,
        Err(_) if at == "~" => "null".to_owned(),
        Err(_) => at.to_owned(),
    }
}
