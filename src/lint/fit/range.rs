//! The numbers that a schema allows, beside what a condition asks of them.

use std::cmp::Ordering;

use crate::matcher::operator::Test;
use crate::matcher::scalar::Scalar;
use crate::number::Decimal;

/// The bounds of a number.
pub(super) struct Range {
    pub(super) least: Option<Decimal>,
    pub(super) most: Option<Decimal>,
}

impl Range {
    /// `always` or `never`, where the bounds tell.
    pub(super) fn verdict(&self, test: &Test) -> Option<&'static str> {
        match test {
            Test::Number(order, bound) => {
                let may_be = self.orders_to(*bound);
                let holds = |possible: &(Ordering, bool)| !possible.1 || order(possible.0);
                let fails = |possible: &(Ordering, bool)| !possible.1 || !order(possible.0);
                if may_be.iter().all(holds) {
                    Some("always")
                } else {
                    may_be.iter().all(fails).then_some("never")
                }
            }
            Test::Equal(Scalar::Number(bound)) => {
                let [_, (_, equal), _] = self.orders_to(*bound);
                (!equal).then_some("never")
            }
            Test::Equal(_) | Test::OneOf(_) | Test::Contains(_) | Test::Present => None,
            Test::Regex(_) | Test::Glob(_) | Test::Text(..) | Test::Time(..) => None,
            Test::Length(..) | Test::Count(..) | Test::Hosts(_) | Test::Ranges(_) => None,
            Test::Below(_) | Test::During(_) | Test::Field(_) => None,
        }
    }

    /// In which order a number within these bounds can stand to another.
    fn orders_to(&self, bound: Decimal) -> [(Ordering, bool); 3] {
        let least = self.least.map(|least| least.cmp(&bound));
        let most = self.most.map(|most| most.cmp(&bound));
        let reaches = least.is_none_or(Ordering::is_le) && most.is_none_or(Ordering::is_ge);
        [
            (Ordering::Less, least.is_none_or(Ordering::is_lt)),
            (Ordering::Equal, reaches),
            (Ordering::Greater, most.is_none_or(Ordering::is_gt)),
        ]
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
