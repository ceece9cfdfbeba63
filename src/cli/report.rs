//! Problems of documents, drawn for people: the line, the caret, the cause and the cure.

use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};

use annotate_snippets::{AnnotationKind, Group, Level, Origin, Renderer, Snippet};
use clap::builder::styling::{AnsiColor, Style};
use mcp_policy::language::diagnostic::Severity;
use mcp_policy::source::{Problem, SourceText, Syntax, lines_and_columns};
use serde::Serialize;

use crate::cli::out::{err, out, verbatim};
use crate::cli::tree::print::escaped;

/// Most problems of one file that are drawn: nobody reads more.
const MOST: usize = 50;

/// Longest line that is drawn, in bytes.
const LONGEST_LINE: usize = 1 << 16;

/// Whether only what is wrong is said, besides results: `--quiet`, which holds for the whole process.
static QUIET: AtomicBool = AtomicBool::new(false);

/// Says no more than what is wrong, besides results.
pub(super) fn be_quiet() {
    QUIET.store(true, Ordering::Relaxed);
}

/// Whether only what is wrong is said.
pub(super) fn is_quiet() -> bool {
    QUIET.load(Ordering::Relaxed)
}

/// Says in one line on standard error why there is no answer.
pub(super) fn trouble(line: &str) {
    let report = [Group::with_title(Level::ERROR.primary_title(line))];
    err!("{}", Renderer::styled().render(&report));
}

/// Says in one line on standard error what was left out.
pub(super) fn warning(line: &str) {
    let report = [Group::with_title(Level::WARNING.primary_title(line))];
    err!("{}", Renderer::styled().render(&report));
}

/// Says in one line on standard error what is worth knowing.
pub(super) fn note(line: &str) {
    if !is_quiet() {
        let report = [Group::with_title(Level::NOTE.primary_title(line))];
        err!("{}", Renderer::styled().render(&report));
    }
}

/// Says that all is well.
pub(super) fn well(line: &str) {
    if !is_quiet() {
        out!("{line}");
    }
}

/// Draws problems on standard error. Where all is quiet, warnings are left out, unless they count as errors.
pub(super) fn problems(source: &SourceText, problems: &[Problem], warnings_count: bool) {
    let said = |problem: &&Problem| problem.is_error() || warnings_count || !is_quiet();
    let problems: Vec<&Problem> = problems.iter().filter(said).collect();
    for problem in problems.iter().take(MOST) {
        err!("{}\n", draw(source, problem));
    }
    if let Some(more) = problems.len().checked_sub(MOST + 1) {
        err!("{}: {} more problems; `--format json` has them all", source.name, more + 1);
    }
}

/// Draws, on standard error, what a step of a test did not do.
pub(super) fn failure(source: &SourceText, pointer: &str, title: &str, notes: &[String]) {
    let at = source.spans().range(pointer);
    let title = Level::ERROR.primary_title(title);
    let mut group = match at.as_ref().and_then(|at| Lines::around(&source.text, at)) {
        Some(lines) => {
            let mark = AnnotationKind::Primary.span(lines.within(at.as_ref()));
            let snippet = Snippet::source(lines.text).line_start(lines.first).path(&source.name);
            title.element(snippet.annotation(mark))
        }
        None => title.element(Origin::path(&source.name)),
    };
    for note in notes {
        group = group.element(Level::NOTE.message(note));
    }
    err!("{}\n", Renderer::styled().render(&[group]));
}

/// A number of things: `1 tool`, `2 tools`.
pub(super) fn counted<N: std::fmt::Display + From<u8> + PartialEq>(
    count: N,
    thing: &str,
) -> String {
    if count == N::from(1) { format!("1 {thing}") } else { format!("{count} {thing}s") }
}

/// A word for what went well.
pub(super) fn good(word: &str) -> String {
    styled(word, AnsiColor::Green.on_default().bold())
}

/// A word for what did not.
pub(super) fn bad(word: &str) -> String {
    styled(word, AnsiColor::Red.on_default().bold())
}

/// A word for what wants attention.
pub(super) fn doubtful(word: &str) -> String {
    styled(word, AnsiColor::Yellow.on_default().bold())
}

/// A word that matters less.
pub(super) fn quiet(word: &str) -> String {
    styled(word, Style::new().dimmed())
}

fn styled(word: &str, style: Style) -> String {
    format!("{style}{word}{style:#}")
}

/// Prints a value as one JSON document on standard output. What a terminal obeys is escaped as JSON has it.
pub(super) fn json(value: &impl Serialize) {
    match serde_json::to_string_pretty(value) {
        Ok(text) => verbatim(&format!("{}\n", escaped(&text, Syntax::Json))),
        Err(error) => trouble(&format!("the result cannot be written as JSON: {error}")),
    }
}

fn draw(source: &SourceText, problem: &Problem) -> String {
    let diagnostic = &problem.diagnostic;
    let level = match diagnostic.severity {
        Severity::Error => Level::ERROR,
        Severity::Warning => Level::WARNING,
    };
    let title = level.primary_title(&diagnostic.message).id(diagnostic.code.text());
    let mut group = match problem.at.as_ref().and_then(|at| Lines::around(&source.text, at)) {
        Some(lines) => {
            let mark = AnnotationKind::Primary.span(lines.within(problem.at.as_ref()));
            let mark = mark.label((!diagnostic.place.is_empty()).then_some(&*diagnostic.place));
            let snippet = Snippet::source(lines.text).line_start(lines.first).path(&source.name);
            let mut group = title.element(snippet.annotation(mark));
            if let Some(earlier) =
                problem.earlier.as_ref().and_then(|at| Lines::around(&source.text, at))
            {
                let mark = AnnotationKind::Context.span(earlier.within(problem.earlier.as_ref()));
                let snippet =
                    Snippet::source(earlier.text).line_start(earlier.first).path(&source.name);
                group = group.element(snippet.annotation(mark.label("first here")));
            }
            group
        }
        None => title.element(origin(source, problem)),
    };
    if let Some(help) = &diagnostic.help {
        group = group.element(Level::HELP.message(help));
    }
    Renderer::styled().render(&[group])
}

/// The place alone, where the line cannot be shown.
fn origin<'s>(source: &'s SourceText, problem: &Problem) -> Origin<'s> {
    let origin = Origin::path(&source.name);
    match lines_and_columns(&source.text, std::slice::from_ref(problem)).first() {
        Some(Some((line, column))) => origin.line(*line).char_column(*column),
        Some(None) | None => origin,
    }
}

/// The line of a place.
struct Lines<'s> {
    text: &'s str,
    first: usize,
    start: usize,
}

impl<'s> Lines<'s> {
    fn around(text: &'s str, at: &Range<usize>) -> Option<Lines<'s>> {
        let before = text.get(..at.start)?;
        let start = before.rfind('\n').map_or(0, |newline| newline + 1);
        let line = text.get(start..)?.split('\n').next()?;
        let line = line.strip_suffix('\r').unwrap_or(line);
        let fits = line.len() <= LONGEST_LINE;
        fits.then(|| Lines { text: line, first: before.matches('\n').count() + 1, start })
    }

    /// The part of a place that lies on the line.
    fn within(&self, at: Option<&Range<usize>>) -> Range<usize> {
        let at = at.cloned().unwrap_or_default();
        let end = self.text.len();
        let from = at.start.saturating_sub(self.start).min(end);
        from..at.end.saturating_sub(self.start).clamp(from, end)
    }
}
