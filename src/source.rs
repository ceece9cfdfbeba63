//! A document as its author sees it: a named text, in which every place has a line and a column. For authors only.
//!
//! The engine names places by their path. Here the text is read a second time, with positions, and the path is looked up.

mod fault;
pub mod finding;
pub mod spans;

use std::ops::Range;

use crate::json::pointer::escaped;
use crate::json::{Bounds, Duplicates, Value, parse_within};
use crate::language::diagnostic::{Diagnostic, Severity};
use crate::lint::fit::{ToolSchema, fit};
use crate::lint::renewal::renewal;
use crate::policy::compiled::{Config, Policy};
use spans::Spans;

/// How a text is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Syntax {
    /// JSON, as the filter reads it.
    Json,
    /// YAML, for people.
    Yaml,
}

/// A document that was read as text.
#[derive(Clone, Debug)]
pub struct SourceText {
    /// The name of the file, for messages.
    pub name: String,
    /// Its text.
    pub text: String,
    /// How it is written.
    pub syntax: Syntax,
}

/// What is wrong with a document, and where in its text.
#[derive(Clone, Debug)]
pub struct Problem {
    /// The problem.
    pub diagnostic: Diagnostic,
    /// The bytes that it is about; `None` where the text cannot be shown.
    pub at: Option<Range<usize>>,
    /// The bytes that it contradicts, such as the first of two equal keys.
    pub earlier: Option<Range<usize>>,
}

impl Syntax {
    /// The syntax that the ending of a file's name tells, or else its first character: JSON documents are objects.
    #[must_use]
    pub fn of(name: &str, bytes: &[u8]) -> Syntax {
        let ending = name.rsplit_once('.').map(|(_, ending)| ending.to_ascii_lowercase());
        match ending.as_deref() {
            Some("json") => Syntax::Json,
            Some("yaml" | "yml") => Syntax::Yaml,
            Some(_) | None => {
                let first = bytes.iter().find(|byte| !byte.is_ascii_whitespace());
                let text = first.is_some_and(|first| first.is_ascii_graphic() && *first != b'{');
                if text { Syntax::Yaml } else { Syntax::Json }
            }
        }
    }
}

impl SourceText {
    /// Takes the bytes of a file as text.
    ///
    /// # Errors
    /// The problem, if they are not text in UTF-8.
    pub fn new(name: &str, bytes: Vec<u8>) -> Result<SourceText, Box<Problem>> {
        if let Some(problem) = fault::binary(&bytes) {
            return Err(problem);
        }
        let syntax = Syntax::of(name, &bytes);
        match String::from_utf8(bytes) {
            Ok(text) if text.trim().is_empty() => Err(fault::empty(&text)),
            Ok(text) => Ok(SourceText { name: name.to_owned(), text, syntax }),
            Err(error) => Err(fault::not_utf_8(error.as_bytes(), error.utf8_error().valid_up_to())),
        }
    }

    /// A stand-in for a file that is not text.
    #[must_use]
    pub fn not_text(name: &str) -> SourceText {
        SourceText { name: name.to_owned(), text: String::new(), syntax: Syntax::Json }
    }

    /// Reads the text. Duplicate keys are kept, for the reader of the document to report.
    ///
    /// # Errors
    /// The first place where it is not JSON, or not YAML.
    pub fn value(&self) -> Result<Value<'_>, Box<Problem>> {
        self.value_within(Bounds::DOCUMENT)
    }

    /// The same of a document with bounds of its own, such as a call.
    ///
    /// # Errors
    /// As [`Source::value`].
    pub fn value_within(&self, bounds: Bounds) -> Result<Value<'_>, Box<Problem>> {
        let text = &self.text;
        match self.syntax {
            Syntax::Json => parse_within(text, Duplicates::Keep, bounds)
                .map_err(|found| fault::json(text, found, bounds)),
            Syntax::Yaml => {
                crate::yaml::read_within(text, bounds).map_err(|found| fault::yaml(text, &found))
            }
        }
    }

    /// Compiles the text as a configuration, as the filter does, and says all that is wrong with it, in the order of the text.
    /// There is a configuration only where nothing is an error.
    #[must_use]
    pub fn compile(&self) -> (Option<Config>, Vec<Problem>) {
        let value = match self.value() {
            Ok(value) => value,
            Err(problem) => return (None, vec![*problem]),
        };
        match Config::compile(&value, "") {
            Ok(loaded) => {
                let mut warnings = loaded.warnings;
                warnings.extend(crate::lint::lint(&loaded.config, &value));
                (Some(loaded.config), self.locate(warnings))
            }
            Err(problems) => (None, self.locate(problems)),
        }
    }

    /// Compiles the text as [`Source::compile`] does, and also says what does not fit a server's tools.
    ///
    /// Of several policies, the one of this name is compared with the tools; by default the first.
    #[must_use]
    pub fn compile_for(
        &self,
        tools: &[ToolSchema<'_>],
        policy: Option<&str>,
    ) -> (Option<Config>, Vec<Problem>) {
        let (config, mut problems) = self.compile();
        if let (Some(config), Ok(value)) = (&config, self.value()) {
            let named = |of: &&Policy| policy.is_none_or(|policy| *of.name == *policy);
            let fits = config.policies().find(named).map(|policy| fit(policy, &value, tools));
            problems.extend(self.locate(fits.unwrap_or_default()));
            sort(&mut problems);
        }
        (config, problems)
    }

    /// Says which counts start anew where this text, compiled as `new`, takes the place of an old configuration.
    #[must_use]
    pub fn renewal(&self, old: &Config, new: &Config) -> Vec<Problem> {
        let found = self.value().map(|value| renewal(old, new, &value));
        self.locate(found.unwrap_or_default())
    }

    /// Finds the places of problems, and puts them in the order of the text.
    #[must_use]
    pub fn locate(&self, diagnostics: Vec<Diagnostic>) -> Vec<Problem> {
        if diagnostics.is_empty() {
            return Vec::new();
        }
        let spans = self.spans();
        let mut problems: Vec<Problem> =
            diagnostics.into_iter().map(|diagnostic| spans.locate(diagnostic)).collect();
        sort(&mut problems);
        problems
    }

    /// Where a policy stands in the document, as a JSON Pointer: rules are named by pointers into their policy.
    #[must_use]
    pub fn root(&self, policy: &str) -> String {
        let full = self.value().is_ok_and(|value| {
            value.as_object().is_some_and(|object| object.get("policies").is_some())
        });
        if full { format!("/policies/{}", escaped(policy)) } else { String::new() }
    }

    /// Where every value of the document is.
    #[must_use]
    pub fn spans(&self) -> Spans {
        match self.syntax {
            Syntax::Json => Spans::of_json(&self.text),
            Syntax::Yaml => Spans::of_yaml(&self.text),
        }
    }
}

/// Puts problems in the order of the text.
pub fn sort(problems: &mut [Problem]) {
    problems.sort_by_key(|problem| problem.at.as_ref().map_or(0, |at| at.start));
}

impl Problem {
    /// Whether it refuses the document.
    #[must_use]
    pub fn is_error(&self) -> bool {
        self.diagnostic.severity == Severity::Error
    }
}

/// Line and column of every problem, from 1, where its place is known; the problems are in the order of the text.
#[must_use]
pub fn lines_and_columns(text: &str, problems: &[Problem]) -> Vec<Option<(usize, usize)>> {
    let (mut from, mut line, mut column) = (0, 1, 1);
    let mut place = |at: usize| {
        for character in text.get(from..at).unwrap_or_default().chars() {
            (line, column) = if character == '\n' { (line + 1, 1) } else { (line, column + 1) };
        }
        from = from.max(at);
        (line, column)
    };
    problems.iter().map(|problem| problem.at.as_ref().map(|at| place(at.start))).collect()
}
