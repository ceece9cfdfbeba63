//! Limits: what they count, for whom, and in which window.

use std::num::NonZeroU32;

use super::book::{Book, Owner, Share};
use super::condition::argument_path;
use super::counted::{LimitShare, ONE, SharedCount, scope};
use super::service::{self, LimitShape};
use super::{loops, times};
use crate::bounds::MAX_WINDOW_SECONDS;
use crate::json::Value;
use crate::language::diagnostic::Code;
use crate::language::reader::{Field, Fields, Place, Reader, describe};
use crate::language::suggest::nearest;
use crate::number::Micros;
use crate::policy::entry::{Amount, CountIn, Limit, Refund, Scope};
use crate::policy::rules::RuleKind;
use crate::rate::algorithm::Algorithm;
use crate::rate::window::{self, Window};

/// One element of `limits`.
pub(super) fn native(
    (at, field): (usize, &Field<'_>),
    owner: &Owner,
    reader: &mut Reader,
    book: &mut Book,
) -> Option<Limit> {
    let mut fields = reader.fields(field)?;
    let name = fields.require("counter", reader).and_then(|field| counter_name(&field, reader));
    let counted = match fields.take("concurrent") {
        None => windowed(&mut fields, &field.place, reader),
        Some(most) => loops::in_flight(&most, &mut fields, &field.place, reader),
    };
    let on_deny = text(&mut fields, "on_deny", reader);
    let times = times::read(&mut fields, reader);
    reader.close(&fields);
    let share = name.clone().zip(counted.as_ref()).map(|(name, counted)| Share {
        key: format!("limit\0{name}"),
        name,
        window: counted.window,
        scope: counted.scope,
        algorithm: counted.algorithm,
        count_in: counted.count_in,
        per: counted.per,
        tool: owner.tool.clone(),
    });
    let Some(counter) = share.and_then(|share| book.index(share, &field.place, reader)) else {
        book.refuse(&owner.tool, name);
        return None;
    };
    let label = format!("limits[{at}]");
    let rule = book.rules.add(owner.row(RuleKind::Limit, label, &field.place, on_deny));
    let LimitShare { max, burst, amount, refund, lease } = counted?.share?;
    let when = times?.map(|said| said.conditions).unwrap_or_default();
    Some(Limit { counter, max: Some(max), burst, amount, refund, lease, when, rule })
}

/// A limit with a window.
fn windowed(fields: &mut Fields<'_>, place: &Place, reader: &mut Reader) -> Option<SharedCount> {
    let window_field = fields.require("window", reader);
    let window = window_field.as_ref().and_then(|field| window(field, reader));
    let max_field = fields.require("max", reader);
    let max = max_field.as_ref().and_then(|field| reader.amount(field));
    let scope = scope(fields, reader, Scope::Grant);
    let amount = amount(fields, reader);
    let refund = refund(fields, reader);
    let algorithm = algorithm(fields, max, reader);
    let burst = burst(fields, algorithm, max, reader);
    if let Some(Algorithm::Bucket { .. }) = algorithm {
        let places = [window_field, max_field].map(|field| field.map(|field| field.place));
        can_be_bucket((window, max), places, reader)?;
    }
    let counted = service::of_limit(fields, reader);
    let per = loops::per(fields, reader);
    let (count_in, lease) = counted.unwrap_or((CountIn::Envoy, None));
    if let Some((algorithm, refund)) = algorithm.zip(refund) {
        let said = LimitShape { window, max, amount: amount.as_ref(), algorithm, refund };
        service::can_count(count_in, &said, place, reader);
    }
    let share = max.zip(burst).zip(amount).zip(refund);
    let share = share.map(|(((max, burst), amount), refund)| LimitShare {
        max,
        burst,
        amount,
        refund,
        lease,
    });
    counted?;
    let (window, scope, algorithm, per) = (window?, scope?, algorithm?, per?);
    let mut counted = SharedCount { window, scope, algorithm, count_in, per, share };
    if !loops::go_together(&counted, place, reader) {
        // What it is known by, others are still held against.
        counted.share = None;
    }
    Some(counted)
}

/// `algorithm`. A bucket is refilled by `max` in each window.
fn algorithm(
    fields: &mut Fields<'_>,
    max: Option<Micros>,
    reader: &mut Reader,
) -> Option<Algorithm> {
    let Some(field) = fields.take("algorithm") else { return Some(Algorithm::Fixed) };
    let bucket = Algorithm::Bucket { refill: max.unwrap_or(ONE) };
    let all = [Algorithm::Fixed, Algorithm::Sliding, bucket];
    reader.word(&field, &all.map(|algorithm| (algorithm.word(), algorithm)))
}

/// `burst`, the size of a bucket: as much as comes back in a window, unless it is said. Outside, nothing was understood; inside, there is
/// no bucket.
#[expect(clippy::option_option, reason = "as every field here: nothing where it was refused")]
fn burst(
    fields: &mut Fields<'_>,
    algorithm: Option<Algorithm>,
    max: Option<Micros>,
    reader: &mut Reader,
) -> Option<Option<Micros>> {
    let field = fields.take("burst");
    match (algorithm?, field) {
        (Algorithm::Fixed | Algorithm::Sliding | Algorithm::InFlight, None) => Some(None),
        (Algorithm::Fixed | Algorithm::Sliding | Algorithm::InFlight, Some(field)) => {
            let message = "`burst` is the size of a bucket, and this limit is none".to_owned();
            let help = "add `\"algorithm\": \"bucket\"`, or leave `burst` out".to_owned();
            reader.error_with_help(Code::Contradiction, &field.place, message, help);
            None
        }
        (Algorithm::Bucket { .. }, None) => Some(max),
        (Algorithm::Bucket { .. }, Some(field)) => reader.amount(&field).map(Some),
    }
}

/// What a bucket cannot be refilled with is refused.
fn can_be_bucket(
    (window, max): (Option<Window>, Option<Micros>),
    [of_window, of_max]: [Option<Place>; 2],
    reader: &mut Reader,
) -> Option<()> {
    let mut can = Some(());
    if let (Some(Window::Month), Some(place)) = (window, of_window) {
        let message = "a bucket is refilled at one rate, and months differ in length".to_owned();
        let help = "use `720h` for thirty days, or another algorithm".to_owned();
        reader.error_with_help(Code::BadWindow, &place, message, help);
        can = None;
    }
    if let (Some(Micros(0)), Some(place)) = (max, of_max) {
        let message = "a bucket with `max` 0 is never refilled".to_owned();
        let help = "give it more than 0, or deny the tool with `\"action\": \"deny\"`".to_owned();
        reader.error_with_help(Code::BadNumber, &place, message, help);
        can = None;
    }
    can
}

/// `count`, of a limit or of a rule. An answer is no proof of what became of a call, so nothing is given back unless the author asks.
pub(super) fn refund(fields: &mut Fields<'_>, reader: &mut Reader) -> Option<Refund> {
    match fields.take("count") {
        None => Some(Refund::Never),
        Some(field) => reader.word(&field, &Refund::WORDS),
    }
}

/// `rate_limit`, of an entry or of a rule: `{max, window}`, or `"10/minute"`.
pub(super) fn shorthand(field: &Field<'_>, reader: &mut Reader) -> Option<(Micros, Window)> {
    if let Value::String(text) = field.value {
        let parsed = text.split_once('/').and_then(|(max, window)| {
            let digits = !max.is_empty() && max.bytes().all(|byte| byte.is_ascii_digit());
            let max: u64 = digits.then(|| max.parse().ok()).flatten()?;
            Some((Micros(max.checked_mul(ONE.0)?), parse_window(window)?))
        });
        if parsed.is_none() {
            let message =
                format!("expected a rate such as `10/minute`, found {}", describe(field.value));
            reader.error_with_help(Code::BadWindow, &field.place, message, rate_help(text));
        }
        return parsed;
    }
    let Value::Object(_) = field.value else {
        return reader
            .wrong_type(field, "`{\"max\": 10, \"window\": 60}` or a rate such as `10/minute`");
    };
    let mut fields = reader.fields(field)?;
    let max = fields.require("max", reader).and_then(|field| reader.amount(&field));
    let window = fields.require("window", reader).and_then(|field| window(&field, reader));
    reader.close(&fields);
    Some((max?, window?))
}

/// The cure of a text that is no rate.
fn rate_help(text: &str) -> String {
    let (max, window) = text.split_once('/').unwrap_or_default();
    let whole = !max.is_empty() && max.bytes().all(|byte| byte.is_ascii_digit());
    let near = match window {
        "m" if whole => {
            let help = format!("`m` could be minutes or months: `{max}/minute` or `{max}/month`");
            return help;
        }
        other => window::meant(other).or_else(|| nearest(other, window::words())),
    };
    match near.filter(|near| whole && *near != window) {
        Some(near) => format!("did you mean `{max}/{near}`?"),
        None => {
            format!("a whole number, a slash, and {}, or a length such as 90s", known_windows())
        }
    }
}

pub(super) fn window(field: &Field<'_>, reader: &mut Reader) -> Option<Window> {
    let found = match field.value {
        Value::String(text) => parse_window(text),
        Value::Number(_) => {
            let seconds = reader.whole(field, 1, MAX_WINDOW_SECONDS)?;
            NonZeroU32::new(seconds).map(Window::Every)
        }
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => {
            return reader.wrong_type(field, "a window such as `minute`, `60` or `90s`");
        }
    };
    if found.is_none() {
        let message = format!("not a window: {}", describe(field.value));
        let near = field.value.as_str().and_then(|text| nearest(text, window::words()));
        let help = match near {
            Some(word) => format!("did you mean `{word}`?"),
            None => format!(
                "{}, whole seconds, or a length such as 90s, 5m, 12h; at most 366 days",
                known_windows()
            ),
        };
        reader.error_with_help(Code::BadWindow, &field.place, message, help);
    }
    found
}

fn known_windows() -> String {
    window::words().collect::<Vec<_>>().join(", ")
}

fn parse_window(text: &str) -> Option<Window> {
    if let Some(window) = window::named(text) {
        return Some(window);
    }
    let seconds = length(text)?;
    NonZeroU32::new(seconds)
        .filter(|seconds| seconds.get() <= MAX_WINDOW_SECONDS)
        .map(Window::Every)
}

/// The seconds of a length of time, such as `90s`, `5m` or `12h`.
pub(super) fn length(text: &str) -> Option<u32> {
    let (digits, unit) = [("s", 1u32), ("m", 60), ("h", 3600)]
        .into_iter()
        .find_map(|(unit, seconds)| Some((text.strip_suffix(unit)?, seconds)))?;
    let plain = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    plain.then(|| digits.parse::<u32>().ok()).flatten()?.checked_mul(unit)
}

/// `increment` or `increment_from`.
pub(super) fn amount(fields: &mut Fields<'_>, reader: &mut Reader) -> Option<Amount> {
    let fixed = fields.take("increment");
    let from = fields.take("increment_from");
    match (fixed, from) {
        (None, None) => Some(Amount::Fixed(ONE)),
        (Some(field), None) => {
            let amount = reader.amount(&field)?;
            if amount == Micros(0) {
                let message = "an increment of 0 counts nothing".to_owned();
                reader.error_with_help(
                    Code::NoEffect,
                    &field.place,
                    message,
                    "leave it out for 1".to_owned(),
                );
            }
            Some(Amount::Fixed(amount))
        }
        (None, Some(field)) => {
            let path = argument_path(reader.text(&field)?, &field.place, reader)?;
            if path.has_each() {
                let message = "`increment_from` needs one number, not any of several".to_owned();
                reader.error(Code::BadPath, &field.place, message);
                return None;
            }
            Some(Amount::Argument(path))
        }
        (Some(_), Some(field)) => {
            let message = "`increment` and `increment_from` do not go together".to_owned();
            reader.error_with_help(
                Code::Contradiction,
                &field.place,
                message,
                "keep one of them".to_owned(),
            );
            None
        }
    }
}

pub(super) fn counter_name(field: &Field<'_>, reader: &mut Reader) -> Option<String> {
    let name = reader.text(field)?;
    if name.is_empty() || name.len() > 256 {
        reader.error(
            Code::BadPattern,
            &field.place,
            "a counter's name must have 1 to 256 bytes".to_owned(),
        );
        return None;
    }
    Some(name.to_owned())
}

pub(super) fn text(
    fields: &mut Fields<'_>,
    key: &'static str,
    reader: &mut Reader,
) -> Option<Box<str>> {
    let field = fields.take(key)?;
    reader.text(&field).map(Into::into)
}
