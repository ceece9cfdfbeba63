//! Problems for machines: what `--format json` prints of them, and what a page shows.

use serde::Serialize;

use super::{Problem, SourceText, lines_and_columns};
use crate::language::diagnostic::Severity;

/// One problem, as `--format json` has it.
#[derive(Clone, Debug, Serialize)]
pub struct Finding {
    /// Its code.
    pub code: &'static str,
    /// `error` or `warning`.
    pub severity: &'static str,
    /// The place in the document, as the engine names it.
    pub place: String,
    /// The line, from 1.
    pub line: Option<usize>,
    /// The column, from 1, in characters.
    pub column: Option<usize>,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub help: Option<String>,
}

/// Problems for machines.
#[must_use]
pub fn findings(source: &SourceText, problems: &[Problem]) -> Vec<Finding> {
    let places = lines_and_columns(&source.text, problems);
    let finding = |(problem, place): (&Problem, Option<(usize, usize)>)| {
        let (line, column) = place.unzip();
        let diagnostic = problem.diagnostic.clone();
        Finding {
            code: diagnostic.code.text(),
            severity: match diagnostic.severity {
                Severity::Error => "error",
                Severity::Warning => "warning",
            },
            place: diagnostic.place,
            line,
            column,
            message: diagnostic.message,
            help: diagnostic.help,
        }
    };
    problems.iter().zip(places).map(finding).collect()
}
