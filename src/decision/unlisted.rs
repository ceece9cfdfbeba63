//! What hidden names are told that no entry lists: the same as all others that no entry lists, so that nobody finds out which names are hidden.

use super::not_allowed;
use crate::denial::Detail;
use crate::policy::section::Section;
use crate::reason::Reason;

/// What a name that no entry lists is told if no line hides it.
pub(super) fn of(section: &Section, name: &str, relaxed: Option<&str>) -> Detail {
    match section.resembled_key(name, relaxed) {
        Some(alike) => Detail::Unlisted { reason: Reason::NameNotExact, rule: alike.rule },
        None => Detail::Unlisted { reason: not_allowed(section.kind), rule: section.default_rule },
    }
}
