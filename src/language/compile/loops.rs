//! Limits that stop loops: `per`, which counts equal calls or different names, and `concurrent`, which counts calls in flight.

use std::num::NonZeroU32;

use super::limit::{LimitCount, ONE, scope};
use crate::bounds::{IN_FLIGHT_SECONDS, MAX_CONCURRENT, MAX_NAMES};
use crate::language::diagnostic::Code;
use crate::language::reader::{Field, Fields, Place, Reader};
use crate::number::Micros;
use crate::policy::entry::{Amount, CountIn, Refund, Scope};
use crate::rate::algorithm::Algorithm;
use crate::rate::table::Part;
use crate::rate::window::Window;

/// What a limit on calls in flight cannot say: it has no window.
const OF_WINDOWS: [&str; 10] = [
    "window",
    "max",
    "increment",
    "increment_from",
    "count",
    "algorithm",
    "burst",
    "count_in",
    "lease",
    "per",
];

/// `concurrent`: how many calls may be in flight.
pub(super) fn in_flight(
    most: &Field<'_>,
    fields: &mut Fields<'_>,
    reader: &mut Reader,
) -> Option<LimitCount> {
    let others: Vec<Field<'_>> =
        OF_WINDOWS.into_iter().filter_map(|word| fields.take(word)).collect();
    for other in &others {
        let message = "a limit on calls in flight has no window, and nothing that goes with one";
        let help = "leave it out, or make two limits of it".to_owned();
        reader.error_with_help(Code::Contradiction, &other.place, message.to_owned(), help);
    }
    let scope = scope(fields, reader, Scope::Grant);
    let most = reader.whole(most, 1, MAX_CONCURRENT)?;
    let window = NonZeroU32::new(IN_FLIGHT_SECONDS).map(Window::Every)?;
    let count = LimitCount {
        window,
        max: Micros(u64::from(most).saturating_mul(ONE.0)),
        scope: scope?,
        amount: Amount::Fixed(ONE),
        refund: Refund::AtEnd,
        algorithm: Algorithm::InFlight,
        burst: None,
        count_in: CountIn::Envoy,
        lease: None,
        part: Part::Whole,
    };
    others.is_empty().then_some(count)
}

/// `per`: what is counted apart.
pub(super) fn part(fields: &mut Fields<'_>, reader: &mut Reader) -> Option<Part> {
    match fields.take("per") {
        None => Some(Part::Whole),
        Some(field) => reader.word(&field, &Part::WORDS),
    }
}

/// Refuses what goes with no part of a caller.
pub(super) fn can_be_part(count: &LimitCount, place: &Place, reader: &mut Reader) -> bool {
    let mut cannot = Vec::new();
    if count.part != Part::Whole && count.count_in == CountIn::Service {
        cannot.push(
            "the rate limit service knows no parts of a caller: `count_in` has to be `envoy`",
        );
    }
    if count.part == Part::Name {
        if count.algorithm != Algorithm::Fixed {
            cannot.push("names are counted in fixed windows");
        }
        if !matches!(count.amount, Amount::Fixed(ONE)) {
            cannot.push("a name counts once, so there is no increment");
        }
        if count.refund != Refund::Never {
            cannot.push("a name that was called stays called, so `count` cannot be `successes`");
        }
        let names = count.max.0 / ONE.0;
        if !count.max.0.is_multiple_of(ONE.0) || !(1..=u64::from(MAX_NAMES)).contains(&names) {
            cannot.push("`max` has to be a whole number from 1 to 32");
        }
    }
    for reason in &cannot {
        let message = format!("`per` does not go with this: {reason}");
        let help = "change that, or leave `per` out".to_owned();
        reader.error_with_help(Code::Contradiction, place, message, help);
    }
    cannot.is_empty()
}
