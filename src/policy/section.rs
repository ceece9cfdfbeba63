//! The rules for one kind of names, indexed so that a name finds its entries at once.

use std::cmp::Reverse;
use std::collections::HashMap;

use super::compiled::{Default, Entry, Listing};
use crate::matcher::name::Pattern;
use crate::mcp::call::Kind;

/// The rules for tools, or for resources, prompts or methods.
#[derive(Debug)]
pub struct Section {
    /// What the names are names of.
    pub kind: Kind,
    /// What becomes of names that no entry lists.
    pub default: Default,
    /// JSON Pointer to what says so.
    pub default_pointer: Box<str>,
    /// The hidden names.
    pub hide: Box<[Hidden]>,
    entries: Box<[Entry]>,
    exact: HashMap<Box<str>, usize>,
    wild: Box<[usize]>,
    exact_names: Box<[ExactName]>,
}

/// One line of `hide`.
#[derive(Debug)]
pub struct Hidden {
    /// What it matches.
    pub pattern: Pattern,
    /// Its pointer.
    pub pointer: Box<str>,
}

/// The key of an entry, or a line of `hide`, without wildcards.
#[derive(Debug)]
pub struct ExactName {
    /// The name.
    pub text: Box<str>,
    /// Its pointer.
    pub pointer: Box<str>,
    /// Whether it stands in `hide`.
    pub hides: bool,
}

impl Section {
    /// Indexes entries, which come in the order of the document.
    pub(super) fn new(
        kind: Kind,
        (default, default_pointer): (Default, Box<str>),
        hide: Vec<Hidden>,
        entries: Vec<Entry>,
    ) -> Section {
        let mut exact = HashMap::new();
        let mut wild = Vec::new();
        let mut exact_names = Vec::new();
        for (at, entry) in entries.iter().enumerate() {
            if let Pattern::Exact(name) = &entry.pattern {
                exact.insert(name.clone(), at);
                let pointer = entry.pointer().into();
                exact_names.push(ExactName { text: name.clone(), pointer, hides: false });
            } else {
                wild.push(at);
            }
        }
        // The sort is stable: equally specific globs keep the order of the document. `"*"` has no literal and comes last,
        // after other patterns without one.
        wild.sort_by_key(|&at| {
            entries.get(at).map(|entry| (Reverse(entry.pattern.literal_chars()), !entry.lists()))
        });
        for hidden in &hide {
            if let Pattern::Exact(name) = &hidden.pattern {
                let pointer = hidden.pointer.clone();
                exact_names.push(ExactName { text: name.clone(), pointer, hides: true });
            }
        }
        Section {
            kind,
            default,
            default_pointer,
            hide: hide.into(),
            entries: entries.into(),
            exact,
            wild: wild.into(),
            exact_names: exact_names.into(),
        }
    }

    /// The entries that match a name: exact, then globs by specificity, then `"*"`.
    pub fn entries_for<'p>(&'p self, name: &str) -> impl Iterator<Item = &'p Entry> {
        let exact = self.exact.get(name);
        let wild = self.wild.iter().filter(move |&&at| {
            self.entries.get(at).is_some_and(|entry| entry.pattern.matches(name))
        });
        exact.into_iter().chain(wild).filter_map(|&at| self.entries.get(at))
    }

    /// The names that are compared exactly: keys and lines of `hide` without wildcards.
    #[must_use]
    pub fn exact_names(&self) -> &[ExactName] {
        &self.exact_names
    }

    /// Whether an entry has exactly this name.
    #[must_use]
    pub fn has_exact(&self, name: &str) -> bool {
        self.exact.contains_key(name)
    }

    /// All entries, in the order of the document.
    #[must_use]
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// Whether a list may show less than the server says.
    #[must_use]
    pub fn filters(&self, listing: Listing) -> bool {
        let uncallable =
            || !self.exact_names.is_empty() || self.entries.iter().any(Entry::denies_always);
        !self.hide.is_empty()
            || (listing != Listing::All && self.default == Default::Deny)
            || (listing == Listing::Callable && uncallable())
    }
}
