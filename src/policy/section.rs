//! The rules for one kind of names, indexed so that a name finds its entries at once.

use std::cmp::Reverse;
use std::collections::HashMap;

use super::entry::{DefaultAction, Entry, Limit, Listing, Refund};
use super::rules::RuleId;
use crate::matcher::fold::folded;
use crate::matcher::name::Pattern;
use crate::mcp::call::Kind;
use crate::mcp::uri::relax;

/// The rules for tools, or for resources, prompts or methods.
#[derive(Debug)]
pub struct Section {
    /// What the names are names of.
    pub kind: Kind,
    /// What becomes of names that no entry lists.
    pub default: DefaultAction,
    /// What says so.
    pub default_rule: RuleId,
    /// The hidden names.
    pub hide: Box<[Hidden]>,
    entries: Box<[Entry]>,
    exact: HashMap<Box<str>, usize>,
    wild: Box<[usize]>,
    /// Of those with wildcards, the ones that can deny whatever the arguments are, and of whose names some are not hidden.
    denying: Box<[usize]>,
    /// The lines of `hide` without wildcards, and the others.
    hide_exact: HashMap<Box<str>, usize>,
    hide_wild: Box<[usize]>,
    /// What lenient readers see of the keys and lines without wildcards, of URIs as [`relax`] has them, in order; of those that look
    /// alike the first.
    looks: Looks,
    /// The patterns with wildcards, of URIs as [`relax`] has them: first the entries', then those that hide.
    relaxed: Box<[Relaxed]>,
    /// What some entry does.
    pub some: SomeEntry,
}

/// What some entry of a section does, so that no call has to look at all of them.
#[derive(Clone, Copy, Debug)]
pub struct SomeEntry {
    /// Pins a definition.
    pub pins: bool,
    /// Lets somebody approve.
    pub asks: bool,
    /// Counts successes only.
    pub refunds: bool,
    /// Denies by the name and the caller alone.
    pub denies_by_caller: bool,
    /// Shows its names to some callers only.
    pub lists_by_caller: bool,
}

impl SomeEntry {
    fn of(entries: &[Entry]) -> SomeEntry {
        let refunds = |limit: &Limit| limit.refund == Refund::OnError;
        SomeEntry {
            pins: entries.iter().any(|entry| entry.definition.is_some()),
            asks: entries.iter().any(Entry::asks),
            refunds: entries.iter().flat_map(|entry| &entry.limits).any(refunds),
            denies_by_caller: entries.iter().any(Entry::denies_by_caller),
            lists_by_caller: entries.iter().any(Entry::lists_by_caller),
        }
    }
}

/// One line of `hide`.
#[derive(Debug)]
pub struct Hidden {
    /// What it matches.
    pub pattern: Pattern,
    /// Its number.
    pub rule: RuleId,
}

/// A key of an entry, or a line of `hide`, that a name is not, but resembles.
#[derive(Clone, Copy, Debug)]
pub struct Alike {
    /// Its number.
    pub rule: RuleId,
    /// Whether it stands in `hide`.
    pub hides: bool,
}

type Looks = Box<[(Box<str>, Alike)]>;

/// A pattern with wildcards, as it stands and as [`relax`] has it.
#[derive(Debug)]
struct Relaxed {
    exact: Pattern,
    pattern: Pattern,
    differs: bool,
    alike: Alike,
}

impl Section {
    /// Indexes entries, which come in the order of the document.
    pub(crate) fn new(
        kind: Kind,
        (default, default_rule): (DefaultAction, RuleId),
        hide: Vec<Hidden>,
        entries: Vec<Entry>,
    ) -> Section {
        let mut exact = HashMap::new();
        let mut wild = Vec::new();
        for (at, entry) in entries.iter().enumerate() {
            if let Pattern::Exact(name) = &entry.pattern {
                exact.insert(name.clone(), at);
            } else {
                wild.push(at);
            }
        }
        // The sort is stable: equally specific globs keep the order of the document. `"*"` has no literal and comes last,
        // after other patterns without one.
        wild.sort_by_key(|&at| {
            entries.get(at).map(|entry| (Reverse(entry.pattern.literal_chars()), !entry.lists()))
        });
        // Whatever hides a pattern's own text hides all of its names.
        let is_covered = |text: &str| hide.iter().any(|line| line.pattern.matches(text));
        let denies =
            |entry: &Entry| entry.denies_by_caller() && !is_covered(&entry.pattern.to_string());
        let denying =
            wild.iter().copied().filter(|&at| entries.get(at).is_some_and(denies)).collect();
        let mut hide_exact = HashMap::new();
        let mut hide_wild = Vec::new();
        for (at, line) in hide.iter().enumerate() {
            if let Pattern::Exact(name) = &line.pattern {
                hide_exact.entry(name.clone()).or_insert(at);
            } else {
                hide_wild.push(at);
            }
        }
        let (looks, relaxed) = resemblances(kind, &entries, &hide);
        let some = SomeEntry::of(&entries);
        Section {
            kind,
            default,
            default_rule,
            hide: hide.into(),
            entries: entries.into(),
            exact,
            wild: wild.into(),
            denying,
            hide_exact,
            hide_wild: hide_wild.into(),
            looks,
            relaxed,
            some,
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

    /// The entry of exactly this name.
    #[must_use]
    pub fn exact(&self, name: &str) -> Option<&Entry> {
        self.exact.get(name).and_then(|&at| self.entries.get(at))
    }

    /// The patterns that can deny a name whatever the arguments are, and others beside it that are not hidden.
    pub fn denied_with_others<'p>(&'p self, name: &str) -> impl Iterator<Item = &'p Entry> {
        let entries = self.denying.iter().filter_map(|&at| self.entries.get(at));
        entries.filter(move |entry| entry.pattern.matches(name))
    }

    /// The first line of `hide` that matches a name.
    #[must_use]
    pub fn hidden(&self, name: &str) -> Option<&Hidden> {
        let line = |at: usize| self.hide.get(at);
        let exact = self.hide_exact.get(name).copied();
        let mut wild = self.hide_wild.iter().copied();
        let wild = wild.find(|&at| line(at).is_some_and(|line| line.pattern.matches(name)));
        exact.into_iter().chain(wild).min().and_then(line)
    }

    /// The key or line of `hide` that a name is not, but resembles: one without wildcards that a lenient reader could take it for; of
    /// URIs, whose other reading is `relaxed` where there is one, also a pattern that matches in that reading only.
    #[must_use]
    pub fn resembled(&self, name: &str, relaxed: Option<&str>) -> Option<&Alike> {
        let known = self.exact.contains_key(name) || self.hide_exact.contains_key(name);
        if known { None } else { self.like(name, relaxed, |_| true) }
    }

    /// The same of keys alone, as if nothing were hidden.
    #[must_use]
    pub fn resembled_key(&self, name: &str, relaxed: Option<&str>) -> Option<&Alike> {
        let known = self.exact.contains_key(name);
        if known { None } else { self.like(name, relaxed, |alike| !alike.hides) }
    }

    fn like(
        &self,
        name: &str,
        relaxed: Option<&str>,
        counts: impl Fn(&Alike) -> bool,
    ) -> Option<&Alike> {
        let other = relaxed.unwrap_or(name);
        let order = |(look, _): &(Box<str>, Alike)| look.chars().cmp(folded(other));
        let look = self.looks.binary_search_by(order).ok().and_then(|at| self.looks.get(at));
        // Of a key and a line that look alike, the key is there.
        if let Some((_, alike)) = look.filter(|(_, alike)| counts(alike)) {
            return Some(alike);
        }
        let rows = self.relaxed.iter().filter(|row| relaxed.is_some() || row.differs);
        let mut rows = rows.filter(|row| counts(&row.alike));
        let found = rows.find(|row| row.pattern.matches(other) && !row.exact.matches(name));
        found.map(|row| &row.alike)
    }

    /// All entries, in the order of the document.
    #[must_use]
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// Whether a list may show less than the server says.
    #[must_use]
    pub fn filters(&self, listing: Listing) -> bool {
        let resembling = !self.looks.is_empty() || !self.relaxed.is_empty();
        let uncallable = resembling || self.some.denies_by_caller;
        !self.hide.is_empty()
            || (listing != Listing::All && self.default == DefaultAction::Deny)
            || (listing == Listing::Callable && uncallable)
    }
}

/// What resembles keys and lines of `hide`, an entry's before a line.
fn resemblances(kind: Kind, entries: &[Entry], hide: &[Hidden]) -> (Looks, Box<[Relaxed]>) {
    let of_entries = entries.iter().map(|entry| (&entry.pattern, entry.rule, false));
    let of_hide = hide.iter().map(|line| (&line.pattern, line.rule, true));
    let (mut looks, mut relaxed) = (Vec::new(), Vec::new());
    for (pattern, rule, hides) in of_entries.chain(of_hide) {
        let alike = Alike { rule, hides };
        let text = pattern.to_string();
        let other = if kind == Kind::Resource { relax(&text) } else { text.as_str().into() };
        if matches!(pattern, Pattern::Exact(_)) {
            looks.push((folded(&other).collect::<Box<str>>(), alike));
        } else if *pattern != Pattern::Any {
            let (exact, pattern) = (pattern.clone(), Pattern::new(&other));
            let differs = exact != pattern;
            relaxed.push(Relaxed { exact, pattern, differs, alike });
        }
    }
    // The sort is stable: of those that look alike, the first stays.
    looks.sort_by(|(one, _), (other, _)| one.cmp(other));
    looks.dedup_by(|(later, _), (first, _)| later == first);
    (looks.into(), relaxed.into())
}
