//! The rules of a policy by number: one row for everything that can decide a call.
//!
//! Decisions, records, explanations and coverage name a rule by its [`RuleId`] and look up here what else they need of it.
//! Nobody takes the text of a pointer apart: what it could tell is a field of the row.

use crate::mcp::call::Kind;

/// The number of a rule in the table of its policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RuleId(u32);

impl RuleId {
    /// The row in the table.
    #[must_use]
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// What a rule is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RuleKind {
    /// A line of `hide`.
    Hide,
    /// The `default` of a section.
    Default,
    /// An entry as a whole: what names it is about.
    Entry,
    /// The `action` of an entry.
    Action,
    /// The `definition` of an entry, or `pins` of the policy.
    Definition,
    /// `during`, `not_before` or `not_after` of an entry that allows.
    Times,
    /// An element of `require`.
    Require,
    /// An element of `deny_if`.
    DenyIf,
    /// An element of `ask_if`.
    AskIf,
    /// An element of `rules`, which may check and count.
    Rule,
    /// A limit, or the `rate_limit` of an entry.
    Limit,
}

/// One row of the table.
#[derive(Clone, Debug)]
pub struct RuleRow {
    /// JSON Pointer (RFC 6901) into the policy.
    pub pointer: Box<str>,
    /// Its place within its entry or section, such as `require[0]`; of an entry its key.
    pub label: Box<str>,
    /// What it is.
    pub kind: RuleKind,
    /// What the names are names of.
    pub subject: Kind,
    /// The entry that it stands in; none for rules of a whole section or policy.
    pub entry: Option<RuleId>,
    /// The author's text for a call that it denies.
    pub text: Option<Box<str>>,
}

/// The table.
#[derive(Clone, Debug, Default)]
pub struct Rules(Vec<RuleRow>);

impl Rules {
    /// Adds a row.
    pub(crate) fn add(&mut self, row: RuleRow) -> RuleId {
        // A document of 2^32 rules does not fit into the filter's memory.
        let id = RuleId(u32::try_from(self.0.len()).unwrap_or(u32::MAX));
        self.0.push(row);
        id
    }

    /// The row of a rule. A number of another policy may have none.
    #[must_use]
    pub fn get(&self, id: RuleId) -> Option<&RuleRow> {
        self.0.get(id.index())
    }

    /// The pointer of a rule; empty for none.
    #[must_use]
    pub fn pointer(&self, id: RuleId) -> &str {
        self.get(id).map_or("", |row| &row.pointer)
    }

    /// The key of an entry, or the place of a rule within its entry.
    #[must_use]
    pub fn label(&self, id: RuleId) -> &str {
        self.get(id).map_or("", |row| &row.label)
    }

    /// How many rules there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
