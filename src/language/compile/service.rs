//! `count_in` and `lease`: limits that count in the rate limit service, and what that service cannot say.

use super::settings::Settings;
use crate::bounds::MAX_LEASE;
use crate::language::diagnostic::Code;
use crate::language::reader::{Fields, Place, Reader};
use crate::number::Micros;
use crate::policy::entry::{Amount, CountIn, Refund};
use crate::rate::algorithm::Algorithm;
use crate::rate::window::{Unit, Window};

/// `count_in` of a policy: where its limits count that do not say so themselves.
pub(super) fn default(fields: &mut Fields<'_>, reader: &mut Reader) -> Option<CountIn> {
    fields.take("count_in").and_then(|field| reader.word(&field, &CountIn::WORDS))
}

/// `count_in` and `lease` of a limit.
pub(super) fn of_limit(
    fields: &mut Fields<'_>,
    reader: &mut Reader,
) -> Option<(CountIn, Option<u32>)> {
    let count_in = match fields.take("count_in") {
        None => Some(reader.count_in.unwrap_or(CountIn::Envoy)),
        Some(field) => reader.word(&field, &CountIn::WORDS),
    };
    let lease = match fields.take("lease") {
        None => None,
        Some(field) if count_in == Some(CountIn::Envoy) => {
            let message = "`lease` is read only where a limit counts in the rate limit service";
            let help = "add \"count_in\": \"service\", or leave it out".to_owned();
            reader.error_with_help(Code::NoEffect, &field.place, message.to_owned(), help);
            None
        }
        Some(field) => Some(reader.whole(&field, 2, MAX_LEASE)?),
    };
    Some((count_in?, lease))
}

/// What a limit says that counts in the service.
pub(super) struct LimitShape<'s> {
    pub(super) window: Option<Window>,
    pub(super) max: Option<Micros>,
    pub(super) amount: Option<&'s Amount>,
    pub(super) algorithm: Algorithm,
    pub(super) refund: Refund,
}

/// Refuses what the rate limit service cannot count (Envoy's `RateLimitDescriptor`): it knows whole numbers in calendar units.
pub(super) fn can_count(
    count_in: CountIn,
    said: &LimitShape<'_>,
    place: &Place,
    reader: &mut Reader,
) {
    if count_in == CountIn::Envoy {
        return;
    }
    reader.names_service.get_or_insert_with(|| place.clone());
    let whole = |micros: Micros| micros.0.is_multiple_of(1_000_000);
    let fits = |micros: Micros| whole(micros) && micros.0 / 1_000_000 <= u64::from(u32::MAX);
    let mut cannot = Vec::new();
    if said.window.is_some_and(|window| Unit::of(window).is_none()) {
        cannot.push("the window is none of second, minute, hour, day and month");
    }
    if said.max.is_some_and(|max| !fits(max)) {
        cannot.push("`max` is no whole number up to 4294967295");
    }
    if let Some(Amount::Fixed(amount)) = said.amount
        && !fits(*amount)
    {
        cannot.push("`increment` is no whole number");
    }
    if said.algorithm != Algorithm::Fixed {
        cannot.push("the algorithm is another than `fixed`");
    }
    if said.refund != Refund::Never {
        cannot.push("nothing can be given back, as `count: successes` would");
    }
    for reason in cannot {
        let message = format!("the rate limit service cannot count this: {reason}");
        let help = "change that, or count in this Envoy: \"count_in\": \"envoy\"".to_owned();
        reader.error_with_help(Code::Contradiction, place, message, help);
    }
}

/// A counter that conditions read, or that rules count, is in this Envoy.
pub(super) fn cannot_hold(what: &str, place: &Place, reader: &mut Reader) {
    if reader.count_in == Some(CountIn::Service) {
        let message = format!("{what} cannot count in the rate limit service");
        let help =
            "use `limits`, or say `count_in` at each limit instead of for the policy".to_owned();
        reader.error_with_help(Code::Contradiction, place, message, help);
    }
}

/// Whether there is a service, where a limit counts in one.
pub(super) fn exists(settings: Option<&Settings>, reader: &mut Reader) {
    let none = settings.is_some_and(|settings| settings.counters.service.is_none());
    if let Some(place) = reader.names_service.clone().filter(|_| none) {
        let message = "there is no rate limit service to count in".to_owned();
        let help = "name its cluster: \"counters\": {\"service\": {\"cluster\": \"ratelimit\"}}";
        reader.error_with_help(Code::MissingField, &place, message, help.to_owned());
    }
}
