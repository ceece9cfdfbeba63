//! The definitions that a list brings, held against those that the policy pins.

use std::collections::HashMap;

use super::Cause;
use crate::json::Object;
use crate::matcher::fold::look;
use crate::mcp::call::Call;
use crate::mcp::definition::DefinitionDigest;
use crate::pins::{Sighting, Sightings};
use crate::policy::compiled::Policy;
use crate::policy::pinning::Pin;
use crate::policy::rules::RuleId;
use crate::rate::limiter::Mode;
use crate::rate::store::SharedStore;

/// A tool that is not shown because it is not defined as the policy pins it, and that nobody had seen like this before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChangedTool {
    /// Its name, as the server has it.
    pub name: String,
    /// The rule that pins it.
    pub rule: RuleId,
    /// What is wrong with it.
    pub cause: Cause,
}

/// What one text shows of the tools that the policy pins.
pub(super) struct Comparison<'c, S> {
    policy: &'c Policy,
    sightings: Sightings<'c, S>,
    /// By the name, as the pin goes by it. One text may define a tool twice: what is not as it was pinned is what was seen.
    seen: Vec<SeenTool>,
    places: HashMap<Box<str>, usize>,
    /// The first tool that nobody can remember.
    unremembered: Option<ChangedTool>,
}

struct SeenTool {
    name: String,
    pin: Pin,
    sighting: Sighting,
    holds: bool,
}

impl<'c, S: SharedStore> Comparison<'c, S> {
    pub(super) fn new(policy: &'c Policy, sightings: Sightings<'c, S>) -> Comparison<'c, S> {
        Comparison {
            policy,
            sightings,
            seen: Vec::new(),
            places: HashMap::new(),
            unremembered: None,
        }
    }

    /// Whether a tool is shown by its definition.
    pub(super) fn shows(&mut self, call: &Call<'_>, tool: &Object<'_>) -> bool {
        if !self.policy.pins() {
            return true;
        }
        let Some(name) = call.exact.as_deref().filter(|_| !self.policy.resembles_pinned(call))
        else {
            return false;
        };
        let Some(pin) = self.policy.pin(name) else { return true };
        let sighting = DefinitionDigest::of(tool).map_or(Sighting::Unreadable, Sighting::Read);
        let (key, expected) = match pin {
            Pin::To(pinned, _) => (name.to_owned(), Some(Sighting::Read(pinned.digest))),
            Pin::FirstUse(_) => (look(name), self.sightings.first(name, sighting)),
        };
        let Some(expected) = expected else {
            let (rule, cause) = (pin.rule(), Cause::DefinitionsFull);
            self.unremembered.get_or_insert(ChangedTool { name: name.to_owned(), rule, cause });
            return false;
        };
        let holds = sighting == expected && sighting != Sighting::Unreadable;
        let seen = SeenTool { name: name.to_owned(), pin, sighting, holds };
        let at = *self.places.entry(key.into()).or_insert(self.seen.len());
        match self.seen.get_mut(at) {
            None => self.seen.push(seen),
            Some(before) if before.holds => *before = seen,
            Some(_) => {}
        }
        holds || pin.mode() == Mode::Shadow
    }

    /// Takes note of all that was seen, and tells what has changed since it was seen last.
    pub(super) fn finish(self) -> Vec<ChangedTool> {
        let Comparison { sightings, seen, unremembered, .. } = self;
        let mut changed: Vec<ChangedTool> = unremembered.into_iter().collect();
        for SeenTool { name, pin, sighting, holds } in seen {
            let is_new = match pin {
                Pin::To(..) => sightings.note(&name, sighting),
                Pin::FirstUse(_) => sightings.note_again(&name, sighting),
            };
            if is_new && !holds && pin.mode() == Mode::Enforce {
                let cause = match sighting {
                    Sighting::Read(_) => Cause::DefinitionChanged,
                    Sighting::Unreadable => Cause::DefinitionUnreadable,
                };
                changed.push(ChangedTool { name, rule: pin.rule(), cause });
            }
        }
        changed
    }
}
