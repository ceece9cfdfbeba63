//! What a call counts: one charge for each counter, through one limit or several.

use super::fill::Fill;
use crate::denial::{Denial, Detail};
use crate::digest::short_of_parts;
use crate::identity::Caller;
use crate::json::{Value, canonical, canonical_members};
use crate::matcher::path::Path;
use crate::matcher::terms::Terms;
use crate::matcher::{Mismatch, Truth};
use crate::mcp::call::{Call, Kind};
use crate::number::{Decimal, Micros};
use crate::policy::entry::{Amount, Limit, NamedCounter, Refund, Scope};
use crate::rate::algorithm::Algorithm;
use crate::rate::limiter::{Charge, Mode, Overrun, OverrunCause, Reservation};
use crate::rate::table::{Account, Per};
use crate::reason::Reason;
use crate::rls::ServiceCharge;

/// When to ask again for a place among the calls in flight, in milliseconds.
const IN_FLIGHT_RETRY: u64 = 1000;

/// What one call counts on one counter, through one limit or several.
pub(super) struct DueCharge<'p> {
    pub(super) kind: Kind,
    pub(super) limit: &'p Limit,
    pub(super) charge: Charge,
    pub(super) refund: Refund,
}

/// A call counts once on a counter: the largest amount, against the smallest maximum of those limits that are enforced, or
/// else of those in shadow. It is given back only if every limit says so.
pub(super) fn join<'p>(dues: &mut Vec<DueCharge<'p>>, next: DueCharge<'p>) {
    let Some(due) = dues.iter_mut().find(|due| due.charge.counter.id == next.charge.counter.id)
    else {
        dues.push(next);
        return;
    };
    let ceiling =
        |charge: &Charge| (charge.mode == Mode::Shadow, charge.max.map_or(u64::MAX, |max| max.0));
    if ceiling(&next.charge) < ceiling(&due.charge) {
        due.limit = next.limit;
        due.charge.max = next.charge.max;
        due.charge.mode = next.charge.mode;
    }
    due.charge.amount = due.charge.amount.max(next.charge.amount);
    if next.refund == Refund::Never {
        due.refund = Refund::Never;
    }
}

impl DueCharge<'_> {
    /// How full the limit is with this count; none where it counts without a maximum.
    pub(super) fn fill(&self, reservation: &Reservation) -> Option<Fill> {
        let max = self.charge.max?.0;
        let used = u128::from(reservation.used().0) * 100;
        let percent = used.checked_div(u128::from(max)).unwrap_or(100).min(100);
        Some(Fill {
            rule: self.limit.rule,
            counter: self.limit.counter,
            percent: u8::try_from(percent).unwrap_or(100),
            on_floor: reservation.is_on_floor(),
        })
    }

    /// The same in the rate limit service, which counts whole numbers: what a part of one counts is rounded up.
    pub(super) fn in_service(&self, mode: Mode) -> ServiceCharge {
        let charge = match mode {
            Mode::Shadow => Charge { mode, ..self.charge },
            Mode::Enforce => self.charge,
        };
        ServiceCharge {
            rule: self.limit.rule,
            kind: self.kind,
            counter: self.limit.counter,
            hits: self.charge.amount.0.div_ceil(1_000_000),
            lease: self.limit.lease,
            charge,
        }
    }

    pub(super) fn denial(&self, overrun: Overrun) -> Denial {
        if overrun.cause == OverrunCause::Crowded {
            return Denial::by(self.limit.rule, self.kind, overrun.cause.reason());
        }
        let in_flight = self.charge.counter.algorithm == Algorithm::InFlight;
        Denial {
            reason: Reason::LimitReached,
            kind: self.kind,
            rule: Some(self.limit.rule),
            detail: Detail::Limit {
                counter: Some(self.limit.counter),
                max: self.limit.max.unwrap_or(Micros(u64::MAX)),
                remaining: overrun.remaining,
                // What is in flight has no window, and nobody knows when it ends.
                window_seconds: if in_flight { 0 } else { overrun.window_seconds },
                retry_after: if in_flight { Some(IN_FLIGHT_RETRY) } else { overrun.retry_after },
            },
        }
    }
}

/// Whose count a call goes to on a counter.
///
/// # Errors
/// [`Detail::Inexact`] where equal calls are counted, and a number in it stands for several.
pub(super) fn account(
    named: &NamedCounter,
    caller: &Caller,
    call: &Call<'_>,
) -> Result<Account, Detail> {
    let whole = caller.counted_as(named.scope);
    let (kind, name) = (call.kind.word(), call.exact.as_deref().unwrap_or(call.name));
    let what = match named.per {
        Per::Caller => return Ok(whole),
        Per::Name => short_of_parts(&[b"name", kind.as_bytes(), name.as_bytes()]),
        Per::Call => {
            let arguments = match call.arguments {
                Some(arguments) => canonical(arguments),
                None => canonical_members(std::iter::empty()),
            };
            if !arguments.is_exact {
                return Err(Detail::Inexact);
            }
            let (whose, text) = (whole.caller.0.to_le_bytes(), arguments.text);
            short_of_parts(&[b"call", &whose, kind.as_bytes(), name.as_bytes(), text.as_bytes()])
        }
    };
    Ok(whole.per(named.per, what, caller.counted_as(Scope::Grant)))
}

/// How much a call counts.
///
/// # Errors
/// Which argument had which type, where it is no number that can be counted.
pub(super) fn amount(
    amount: &Amount,
    arguments: Option<&Value<'_>>,
    terms: Terms<'_>,
) -> Result<Micros, Detail> {
    match amount {
        Amount::Fixed(micros) => Ok(*micros),
        Amount::Argument(path) => argument_amount(path, arguments, terms)
            .map_err(|mismatch| Detail::Mismatch(path.shared_text(), mismatch)),
    }
}

fn argument_amount(
    path: &Path,
    arguments: Option<&Value<'_>>,
    terms: Terms<'_>,
) -> Result<Micros, Mismatch> {
    let expected = "a number that is not negative";
    let mut found = Err(Mismatch { expected, found: "nothing" });
    let truth = path.visit(arguments, terms, &mut |value| {
        found = match value {
            None => Err(Mismatch { expected, found: "nothing" }),
            Some(Value::Number(text)) => match Decimal::parse(text).map(Decimal::micros_rounded_up)
            {
                Some(Some(micros)) => Ok(micros),
                Some(None) => Err(Mismatch { expected, found: "a negative number" }),
                None => Err(Mismatch { expected, found: "a number beyond the exact range" }),
            },
            Some(other) => Err(Mismatch { expected, found: other.kind() }),
        };
        Truth::True
    });
    match truth {
        Truth::Undecidable(mismatch) => Err(mismatch),
        Truth::True | Truth::False => found,
    }
}
