//! Problems as SARIF 2.1.0, which code hosts show beside the lines that they are about.
//! Source: [OASIS SARIF 2.1.0](https://docs.oasis-open.org/sarif/sarif/v2.1.0/sarif-v2.1.0.html).

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use mcp_policy::language::diagnostic::Code;
use mcp_policy::source::{Problem, SourceText, lines_and_columns};
use serde_json::{Value, json};

const SCHEMA: &str =
    "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json";
/// Where the codes are explained.
const CODES: &str = "https://github.com/mcp-policy/mcp-policy/blob/main/policies/README.md";

/// Where problems are written as SARIF.
#[derive(Clone, Debug, Default, clap::Args)]
pub(super) struct SarifFile {
    /// Also write the problems as SARIF 2.1.0, for code hosts; a file that is there is replaced.
    #[arg(long, value_name = "FILE")]
    sarif: Option<PathBuf>,
}

/// Writes the problems of files, where that is asked for.
///
/// # Errors
/// Where the file cannot be written, in one line.
pub(super) fn write<'p>(
    to: &SarifFile,
    files: impl Iterator<Item = (&'p SourceText, &'p [Problem])>,
) -> Result<(), String> {
    let Some(path) = &to.sarif else { return Ok(()) };
    let text = format!("{:#}\n", log(files));
    fs::write(path, text).map_err(|error| format!("{}: cannot be written: {error}", path.display()))
}

fn log<'p>(files: impl Iterator<Item = (&'p SourceText, &'p [Problem])>) -> Value {
    let mut rules: BTreeMap<&str, Code> = BTreeMap::new();
    let mut results = Vec::new();
    for (source, problems) in files {
        let places = lines_and_columns(&source.text, problems);
        for (problem, place) in problems.iter().zip(places) {
            let code = problem.diagnostic.code;
            rules.insert(code.text(), code);
            results.push(result(source, problem, place));
        }
    }
    let rules: Vec<Value> =
        rules.keys().map(|code| json!({"id": code, "helpUri": CODES})).collect();
    json!({
        "$schema": SCHEMA,
        "version": "2.1.0",
        "runs": [{
            "tool": {"driver": {
                "name": "mcp-policy",
                "version": env!("CARGO_PKG_VERSION"),
                "informationUri": "https://github.com/mcp-policy/mcp-policy",
                "rules": rules,
            }},
            // Columns are counted in characters.
            "columnKind": "unicodeCodePoints",
            "results": results,
        }],
    })
}

fn result(source: &SourceText, problem: &Problem, place: Option<(usize, usize)>) -> Value {
    let diagnostic = &problem.diagnostic;
    let text = match &diagnostic.help {
        Some(help) => format!("{}. {help}", diagnostic.message),
        None => diagnostic.message.clone(),
    };
    let mut physical = json!({"artifactLocation": {"uri": uri(&source.name)}});
    if let (Some((line, column)), Some(members)) = (place, physical.as_object_mut()) {
        members.insert("region".to_owned(), json!({"startLine": line, "startColumn": column}));
    }
    let mut location = json!({"physicalLocation": physical});
    if let (false, Some(members)) = (diagnostic.place.is_empty(), location.as_object_mut()) {
        members.insert(
            "logicalLocations".to_owned(),
            json!([{"fullyQualifiedName": diagnostic.place}]),
        );
    }
    json!({
        "ruleId": diagnostic.code.text(),
        "level": if problem.is_error() { "error" } else { "warning" },
        "message": {"text": text},
        "locations": [location],
    })
}

/// A relative file name as a relative reference: RFC 3986, section 4.2.
fn uri(name: &str) -> String {
    let mut uri = String::new();
    for byte in name.strip_prefix("./").unwrap_or(name).bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte) {
            uri.push(char::from(byte));
        } else {
            uri.push_str(&format!("%{byte:02X}"));
        }
    }
    uri
}
