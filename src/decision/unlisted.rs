//! What hidden names are told that the policy denies anyway: the same as the names beside them, so that nobody finds out which are hidden.

use super::not_allowed;
use crate::denial::{Denial, Detail};
use crate::policy::entry::Entry;
use crate::policy::section::Section;
use crate::reason::Reason;

/// What a name that no entry lists is told if no line hides it.
pub(super) fn of(section: &Section, name: &str, relaxed: Option<&str>) -> Detail {
    match section.resembled_key(name, relaxed) {
        Some(alike) => Detail::Unlisted { reason: Reason::NameNotExact, rule: alike.rule },
        None => Detail::Unlisted { reason: not_allowed(section.kind), rule: section.default_rule },
    }
}

/// What a name is told that an entry lists, or the default lets through: what a glob tells that denies all the names beside it too, else
/// nothing but that there is no such name.
pub(super) fn of_listed(
    section: &Section,
    name: &str,
    denied: &dyn Fn(&Entry) -> Option<Denial>,
) -> Detail {
    match section.denied_with_others(name).find_map(denied) {
        Some(Denial { reason, rule: Some(rule), .. }) => Detail::Unlisted { reason, rule },
        Some(_) | None => Detail::None,
    }
}
