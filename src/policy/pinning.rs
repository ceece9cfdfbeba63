//! Which definition a tool must have to be shown and called.

use super::compiled::Policy;
use super::entry::PinnedDefinition;
use super::rules::RuleId;
use crate::matcher::fold::look;
use crate::matcher::name::Pattern;
use crate::mcp::call::{Call, Kind};
use crate::rate::limiter::Mode;

/// The words of `pins` in a policy.
pub const PINS: [(&str, ()); 1] = [("first_use", ())];

/// How a tool is pinned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pin {
    /// To this definition; in shadow it is shown and called all the same.
    To(PinnedDefinition, Mode),
    /// To the one that was seen first.
    FirstUse(RuleId),
}

impl Pin {
    /// The rule that says so.
    #[must_use]
    pub fn rule(self) -> RuleId {
        match self {
            Pin::To(pinned, _) => pinned.rule,
            Pin::FirstUse(rule) => rule,
        }
    }

    /// Whether another definition denies.
    #[must_use]
    pub fn mode(self) -> Mode {
        match self {
            Pin::To(_, mode) => mode,
            Pin::FirstUse(_) => Mode::Enforce,
        }
    }
}

impl Policy {
    /// How a tool is pinned, by its name in normal form.
    #[must_use]
    pub fn pin(&self, tool: &str) -> Option<Pin> {
        let entry = self.tools.exact(tool);
        let pinned = entry.and_then(|entry| Some(Pin::To(entry.definition?, entry.mode)));
        pinned.or(self.first_use.map(Pin::FirstUse))
    }

    /// Whether any tool is pinned.
    #[must_use]
    pub fn pins(&self) -> bool {
        self.first_use.is_some() || self.tools.some.pins
    }

    /// The tools that are pinned to a definition.
    pub fn pinned(&self) -> impl Iterator<Item = (&str, PinnedDefinition)> {
        self.tools.entries().iter().filter_map(|entry| match &entry.pattern {
            Pattern::Exact(name) => Some((&**name, entry.definition?)),
            Pattern::Any | Pattern::Prefix(_) | Pattern::Suffix(_) | Pattern::Glob(_) => None,
        })
    }

    /// Whether a name is none that is pinned, but a lenient reader could take it for one: who is shown it could be shown a pinned tool
    /// by another definition.
    #[must_use]
    pub fn resembles_pinned(&self, call: &Call<'_>) -> bool {
        let Some(name) = call.exact.as_deref().filter(|_| call.kind == Kind::Tool) else {
            return false;
        };
        if self.tools.resembled(name, call.relaxed.as_deref()).is_none() {
            return false;
        }
        let looks = look(call.relaxed.as_deref().unwrap_or(name));
        self.pinned().any(|(pinned, _)| look(pinned) == looks)
    }
}
