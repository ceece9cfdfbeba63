//! Limits that stop loops: `per`, which counts equal calls or different names, and `concurrent`, which counts calls in flight.

use std::num::NonZeroU32;

use super::counted::{LimitShare, ONE, SharedCount, scope};
use super::service;
use crate::bounds::{IN_FLIGHT_SECONDS, MAX_CONCURRENT, MAX_NAMES};
use crate::language::diagnostic::Code;
use crate::language::reader::{Field, Fields, Place, Reader};
use crate::number::Micros;
use crate::policy::entry::{Amount, CountIn, Refund, Scope};
use crate::rate::algorithm::Algorithm;
use crate::rate::table::Per;
use crate::rate::window::Window;

/// What a limit on calls in flight cannot say: it has no window.
const OF_WINDOWS: [&str; 8] =
    ["window", "max", "increment", "increment_from", "count", "algorithm", "burst", "per"];

/// `concurrent`: how many calls may be in flight.
pub(super) fn in_flight(
    most: &Field<'_>,
    fields: &mut Fields<'_>,
    place: &Place,
    reader: &mut Reader,
) -> Option<SharedCount> {
    let others: Vec<Field<'_>> =
        OF_WINDOWS.into_iter().filter_map(|word| fields.take(word)).collect();
    for other in &others {
        let message = "a limit on calls in flight has no window, and nothing that goes with one";
        let help = "leave it out, or make two limits of it".to_owned();
        reader.error_with_help(Code::Contradiction, &other.place, message.to_owned(), help);
    }
    let scope = scope(fields, reader, Scope::Grant);
    let counted = service::of_limit(fields, reader);
    if counted.is_some_and(|(count_in, _)| count_in == CountIn::Service) {
        let message =
            "the rate limit service cannot count calls in flight: it is not told when one ends";
        let help = "count them in this Envoy: \"count_in\": \"envoy\"".to_owned();
        reader.error_with_help(Code::Contradiction, place, message.to_owned(), help);
        return None;
    }
    let most = reader.whole(most, 1, MAX_CONCURRENT)?;
    let window = NonZeroU32::new(IN_FLIGHT_SECONDS).map(Window::Every)?;
    let share = LimitShare {
        max: Micros(u64::from(most).saturating_mul(ONE.0)),
        burst: None,
        amount: Amount::Fixed(ONE),
        refund: Refund::AtEnd,
        lease: None,
    };
    let counted = SharedCount {
        window,
        scope: scope?,
        algorithm: Algorithm::InFlight,
        count_in: CountIn::Envoy,
        per: Per::Caller,
        share: Some(share),
    };
    others.is_empty().then_some(counted)
}

/// `per`: what is counted apart.
pub(super) fn per(fields: &mut Fields<'_>, reader: &mut Reader) -> Option<Per> {
    match fields.take("per") {
        None => Some(Per::Caller),
        Some(field) => reader.word(&field, &Per::WORDS),
    }
}

/// Refuses what does not go with `per`.
pub(super) fn go_together(counted: &SharedCount, place: &Place, reader: &mut Reader) -> bool {
    let mut cannot = Vec::new();
    if counted.per != Per::Caller && counted.count_in == CountIn::Service {
        cannot.push("the rate limit service counts callers alone: `count_in` has to be `envoy`");
    }
    if counted.per == Per::Name {
        if counted.algorithm != Algorithm::Fixed {
            cannot.push("names are counted in fixed windows");
        }
        cannot.extend(counted.share.iter().flat_map(of_names));
    }
    for reason in &cannot {
        let message = format!("`per` does not go with this: {reason}");
        let help = "change that, or leave `per` out".to_owned();
        reader.error_with_help(Code::Contradiction, place, message, help);
    }
    cannot.is_empty()
}

/// What a limit on different names cannot say.
fn of_names(share: &LimitShare) -> Vec<&'static str> {
    let names = share.max.0 / ONE.0;
    let whole = share.max.0.is_multiple_of(ONE.0);
    let rows = [
        (
            !matches!(share.amount, Amount::Fixed(ONE)),
            "a name counts once, so there is no increment",
        ),
        (
            share.refund != Refund::Never,
            "a name that was called stays called, so `count` cannot be `successes`",
        ),
        (
            !whole || !(1..=u64::from(MAX_NAMES)).contains(&names),
            "`max` has to be a whole number from 1 to 32",
        ),
    ];
    rows.into_iter().filter_map(|(is_so, reason)| is_so.then_some(reason)).collect()
}
