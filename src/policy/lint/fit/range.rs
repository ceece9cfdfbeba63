//! The numbers that a schema allows, beside what a condition asks of them.

use crate::matcher::value::{Scalar, Test};
use crate::number::Decimal;

/// The bounds of a number.
pub(super) struct Range {
    pub(super) least: Option<Decimal>,
    pub(super) most: Option<Decimal>,
}

impl Range {
    /// `always` or `never`, where the bounds tell.
    pub(super) fn verdict(&self, test: &Test) -> Option<&'static str> {
        let (least, most) = (self.least, self.most);
        let verdict = |always: bool, never: bool| {
            if always { Some("always") } else { never.then_some("never") }
        };
        let below = |bound| most.is_some_and(|most| most < bound);
        let above = |bound| least.is_some_and(|least| least > bound);
        match test {
            Test::Less(bound) => verdict(below(*bound), least.is_some_and(|least| least >= *bound)),
            Test::AtMost(bound) => verdict(most.is_some_and(|most| most <= *bound), above(*bound)),
            Test::Greater(bound) => verdict(above(*bound), most.is_some_and(|most| most <= *bound)),
            Test::AtLeast(bound) => {
                verdict(least.is_some_and(|least| least >= *bound), below(*bound))
            }
            Test::Equal(Scalar::Number(bound)) => verdict(false, below(*bound) || above(*bound)),
            Test::Equal(_) | Test::OneOf(_) | Test::Contains(_) | Test::Present => None,
            Test::Regex(_) | Test::Glob(_) | Test::StartsWith(_) | Test::EndsWith(_) => None,
        }
    }
}

impl std::fmt::Display for Range {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (self.least, self.most) {
            (Some(least), Some(most)) => write!(formatter, "from {least} to {most}"),
            (Some(least), None) => write!(formatter, "at least {least}"),
            (None, Some(most)) => write!(formatter, "at most {most}"),
            (None, None) => formatter.write_str("any number"),
        }
    }
}
