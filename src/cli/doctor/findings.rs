//! What is wrong around the filter, where, and what to do about it.

use mcp_policy::language::diagnostic::{Code, Diagnostic};

use super::found::Found;

/// A problem of one of the documents.
pub(super) struct Complaint {
    pub(super) document: usize,
    /// Where, as a JSON Pointer.
    pub(super) pointer: String,
    pub(super) diagnostic: Diagnostic,
}

/// All that was found.
#[derive(Default)]
pub(super) struct Findings(pub(super) Vec<Complaint>);

impl Findings {
    /// Something that fails, or lets through what the policy denies.
    pub(super) fn error(&mut self, at: &Found<'_>, code: Code, message: &str, cure: &str) {
        self.add(at, Diagnostic::error(code, place(at), message.to_owned()), cure);
    }

    /// Something that works worse than it could.
    pub(super) fn warning(&mut self, at: &Found<'_>, code: Code, message: &str, cure: &str) {
        self.add(at, Diagnostic::warning(code, place(at), message.to_owned()), cure);
    }

    fn add(&mut self, at: &Found<'_>, diagnostic: Diagnostic, cure: &str) {
        let known = |other: &Complaint| {
            other.document == at.document
                && other.pointer == at.pointer
                && other.diagnostic.message == diagnostic.message
        };
        if !self.0.iter().any(known) {
            self.0.push(Complaint {
                document: at.document,
                pointer: at.pointer.clone(),
                diagnostic: diagnostic.with_help(cure.to_owned()),
            });
        }
    }
}

/// The last names of a path: the whole of it is longer than a line.
fn place(at: &Found<'_>) -> String {
    let key = at.key();
    if key.parse::<usize>().is_ok() { String::new() } else { key }
}
