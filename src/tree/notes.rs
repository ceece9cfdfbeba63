//! What became of parts of a document that was made, for whoever asked for it.

use serde::Serialize;

/// What an author should know of a result: a place, and what became of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Note {
    /// Where, as a path into the document.
    pub place: String,
    /// What.
    pub note: String,
}

/// The notes on a result.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Notes(pub Vec<Note>);

impl Notes {
    /// Adds one.
    pub fn add(&mut self, place: &str, note: impl Into<String>) {
        self.0.push(Note { place: place.to_owned(), note: note.into() });
    }

    /// Several on the same place.
    #[must_use]
    pub fn on(place: &str, notes: Vec<String>) -> Notes {
        Notes(notes.into_iter().map(|note| Note { place: place.to_owned(), note }).collect())
    }
}
