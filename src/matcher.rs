//! Matching names and argument values. Everything here is compiled once and then only reads.

pub mod fold;
pub mod folder;
pub mod host;
pub mod instant;
pub mod members;
pub mod name;
pub mod normal;
pub mod operator;
pub mod pair;
pub mod path;
mod reading;
pub mod regex;
pub mod scalar;
pub mod schedule;
pub mod terms;
pub mod value;
pub mod work;
pub mod zone;

/// The result of a comparison: never a guess.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Truth {
    /// The comparison holds.
    True,
    /// The comparison does not hold.
    False,
    /// The value is of a kind that servers read in more than one way.
    Undecidable(Mismatch),
}

/// What was needed to decide, and what was there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mismatch {
    /// The kind of value that the comparison needs.
    pub expected: &'static str,
    /// The kind of value that came.
    pub found: &'static str,
}

impl Truth {
    /// Disjunction: true wins over undecidable, undecidable over false.
    #[must_use]
    pub fn or(self, other: Truth) -> Truth {
        match (self, other) {
            (Truth::True, _) | (_, Truth::True) => Truth::True,
            (Truth::Undecidable(_), _) => self,
            (Truth::False, _) => other,
        }
    }

    /// Conjunction: false wins over undecidable, undecidable over true.
    #[must_use]
    pub fn and(self, other: Truth) -> Truth {
        match (self, other) {
            (Truth::False, _) | (_, Truth::False) => Truth::False,
            (Truth::Undecidable(_), _) => self,
            (Truth::True, _) => other,
        }
    }

    /// Negation; what cannot be decided stays so.
    #[must_use]
    pub fn negate(self) -> Truth {
        match self {
            Truth::True => Truth::False,
            Truth::False => Truth::True,
            Truth::Undecidable(_) => self,
        }
    }
}

impl From<bool> for Truth {
    fn from(holds: bool) -> Truth {
        if holds { Truth::True } else { Truth::False }
    }
}
