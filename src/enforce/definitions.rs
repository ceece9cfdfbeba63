//! Whether the tools that are called are still defined as the policy pins them, as far as anybody has seen.

use super::{Enforcer, Governed};
use crate::decision::Decision;
use crate::denial::Denial;
use crate::mcp::call::{Call, Kind};
use crate::policy::pinning::Pin;
use crate::rate::store::SharedStore;
use crate::reason::Reason;
use crate::witness::{Told, Witness};

impl<S: SharedStore, W: Witness> Enforcer<'_, S, W> {
    /// Denies what a list has shown to be defined in another way. What no list has shown yet is called: nobody knows more of it than
    /// the policy says.
    pub(super) fn compare_definitions(&self, governed: &Governed<'_, '_>, decision: &mut Decision) {
        for matched in governed.calls() {
            let Some((pin, tool)) = self.pin(matched.call()) else { continue };
            let rule = pin.rule();
            let denial = (!self.holds(pin, tool))
                .then(|| Denial::by(rule, Kind::Tool, Reason::DefinitionChanged));
            let entry = match pin {
                Pin::To(..) => self.policy.tools.exact(tool),
                Pin::FirstUse(_) => None,
            };
            self.witness.hear(&Told::Pinned(rule, entry, denial.as_ref()));
            if decision.note(pin.mode(), denial) && !W::HEARS_ALL {
                return;
            }
        }
    }

    fn pin<'c>(&self, call: &'c Call<'_>) -> Option<(Pin, &'c str)> {
        let tool = call.exact.as_deref().filter(|_| call.kind == Kind::Tool)?;
        Some((self.policy.pin(tool)?, tool))
    }

    /// Whether nothing else was seen. Where nobody can tell, something was.
    fn holds(&self, pin: Pin, tool: &str) -> bool {
        match pin {
            Pin::To(pinned, _) => {
                let last = self.sightings.last(tool);
                last.is_ok_and(|last| last.is_none_or(|seen| seen.is(pinned.digest)))
            }
            Pin::FirstUse(_) => self.sightings.is_as_at_first(tool) == Ok(true),
        }
    }
}
