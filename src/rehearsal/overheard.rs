//! Listens beside somebody else: for what a call needs that is not forwarded.

use std::cell::{Cell, RefCell};

use crate::policy::approvals::Need;
use crate::policy::rules::RuleId;
use crate::witness::{Told, Witness};

/// What was heard of one request.
pub(super) struct Overheard<'w, W> {
    witness: &'w W,
    pub(super) policy: RefCell<String>,
    pub(super) need: Cell<Option<Need>>,
    /// The rule of the denial that it comes to.
    pub(super) rule: Cell<Option<RuleId>>,
}

impl<'w, W> Overheard<'w, W> {
    pub(super) fn beside(witness: &'w W) -> Overheard<'w, W> {
        let (policy, need, rule) = (RefCell::default(), Cell::default(), Cell::default());
        Overheard { witness, policy, need, rule }
    }
}

impl<W: Witness> Witness for Overheard<'_, W> {
    const HEARS_ALL: bool = W::HEARS_ALL;

    fn hear(&self, told: &Told<'_>) {
        match told {
            Told::Begun(policy) => *self.policy.borrow_mut() = policy.name.to_string(),
            Told::Owed(need) => self.need.set(Some(*need)),
            Told::Ended(denial) => self.rule.set(denial.and_then(|denial| denial.rule)),
            Told::Named(_)
            | Told::Met(_)
            | Told::Acted(..)
            | Told::Compared(_)
            | Told::Checked(..)
            | Told::Pinned(..)
            | Told::Due(_)
            | Told::Weighed(..) => {}
        }
        self.witness.hear(told);
    }
}
