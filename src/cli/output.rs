//! Results that are documents: to standard output or a file, with notes for the author beside them.

use std::path::Path;

use serde::Serialize;

use super::{Exit, Format, report};

/// What an author should know of a result: a place, and what became of it.
#[derive(Debug, Serialize)]
pub(super) struct Note {
    /// Where, as a path into the document.
    place: String,
    /// What.
    note: String,
}

/// The notes on a result.
#[derive(Debug, Default)]
pub(super) struct Notes(Vec<Note>);

/// A result, as `--format json` has it.
#[derive(Serialize)]
struct JsonResult<'w> {
    /// The file in which it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    file: Option<String>,
    /// The result itself, where no file was named.
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<&'w str>,
    notes: &'w [Note],
}

impl Notes {
    /// Adds one.
    pub(super) fn add(&mut self, place: &str, note: impl Into<String>) {
        self.0.push(Note { place: place.to_owned(), note: note.into() });
    }

    /// Several on the same place.
    pub(super) fn on(place: &str, notes: Vec<String>) -> Notes {
        Notes(notes.into_iter().map(|note| Note { place: place.to_owned(), note }).collect())
    }

    /// Writes a result with its notes: the notes of `name` on standard error, or all in one JSON document.
    pub(super) fn deliver(
        &self,
        name: &str,
        text: &str,
        output: Option<&Path>,
        format: Format,
    ) -> Exit {
        if format == Format::Human {
            for note in &self.0 {
                report::note(&format!("{name}: {}: {}", note.place, note.note));
            }
            return deliver(text, output);
        }
        let exit = output.map_or(Exit::Ok, |file| deliver(text, Some(file)));
        if exit == Exit::Ok {
            let file = output.map(|file| file.display().to_string());
            let text = output.is_none().then_some(text);
            report::json(&JsonResult { file, text, notes: &self.0 });
        }
        exit
    }
}

/// Writes a result to a file, or to standard output.
pub(super) fn deliver(text: &str, output: Option<&Path>) -> Exit {
    let Some(file) = output else {
        super::out::verbatim(text);
        return Exit::Ok;
    };
    match std::fs::write(file, text) {
        Ok(()) => Exit::Ok,
        Err(error) => {
            report::trouble(&format!("{}: cannot be written: {error}", file.display()));
            Exit::Unusable
        }
    }
}
