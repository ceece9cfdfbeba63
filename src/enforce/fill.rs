//! How full limits are, for those who watch them.

use crate::policy::rules::RuleId;

/// How full a limit is with a call that it admitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fill {
    /// The limit.
    pub rule: RuleId,
    /// What it counts on, by its index in the policy.
    pub counter: usize,
    /// How much of its maximum is used, in percent.
    pub percent: u8,
    /// Whether the caller found the table full, and counts together with others.
    pub on_floor: bool,
}
