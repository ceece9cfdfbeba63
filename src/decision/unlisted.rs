//! What hidden names are told that no entry lists: the same as all others that no entry lists, so that nobody finds out which names are hidden.

use super::{Denial, Detail, not_allowed};
use crate::policy::section::Section;
use crate::reason::Reason;

impl<'p> Denial<'p> {
    /// The denial as the agent is told it; the record has it as it is.
    #[must_use]
    pub fn told(self) -> Denial<'p> {
        match self.detail {
            Detail::Unlisted { reason, rule } => {
                Denial { reason, rule, detail: Detail::None, ..self }
            }
            Detail::None | Detail::Path(_) | Detail::Mismatch(..) | Detail::Limit { .. } => self,
        }
    }
}

/// What a name that no entry lists is told if no line hides it.
pub(super) fn of<'p>(section: &'p Section, name: &str, relaxed: Option<&str>) -> Detail<'p> {
    match section.resembled_key(name, relaxed) {
        Some(alike) => Detail::Unlisted { reason: Reason::NameNotExact, rule: &alike.pointer },
        None => {
            Detail::Unlisted { reason: not_allowed(section.kind), rule: &section.default_pointer }
        }
    }
}
