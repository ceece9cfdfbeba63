//! Hours of days of the week: `{"days": ["mon-fri"], "hours": ["09:00-17:00"], "timezone": "+01:00"}`.

use crate::json::{Value, written};
use crate::language::diagnostic::Code;
use crate::language::reader::{Field, Reader, describe};
use crate::language::suggest::nearest;
use crate::matcher::schedule::{Schedule, days, hours};
use crate::matcher::zone::Zone;

/// Reads them. Each of the three may be left out, but not days and hours both.
pub(super) fn read(field: &Field<'_>, reader: &mut Reader) -> Option<Schedule> {
    let mut fields = reader.fields(field)?;
    let on = fields.take("days");
    let at = fields.take("hours");
    let zone = fields.take("timezone");
    reader.close(&fields);
    if on.is_none() && at.is_none() {
        let message = "these hours are all hours".to_owned();
        let help = "add `days`, `hours`, or both".to_owned();
        reader.error_with_help(Code::NoEffect, &field.place, message, help);
        return None;
    }
    let none = [false; 7];
    let on = match on {
        None => Some([true; 7]),
        Some(on) => each(&on, DAYS, reader).map(|found| {
            found.iter().fold(none, |all, days: &[bool; 7]| {
                std::array::from_fn(|at| {
                    [all, *days].iter().any(|days| days.get(at).is_some_and(|day| *day))
                })
            })
        }),
    };
    let at = match at {
        None => Some(Vec::new()),
        Some(at) => each(&at, HOURS, reader),
    };
    let zone = match zone {
        None => Some(Zone::Fixed(0)),
        Some(field) => zone_of(&field, reader),
    };
    Some(Schedule::new(on?, at?.into(), zone?, written(field.value).into()))
}

/// How an element of a list is read, what it is not where that fails, and what is meant.
type HoursPart<T> = (fn(&str) -> Option<T>, &'static str, &'static str);

const DAYS: HoursPart<[bool; 7]> =
    (days, "not a day of the week", "`mon`, `tue`, …, `sun`, or from one to another: `mon-fri`");

const HOURS: HoursPart<(i64, i64)> = (
    hours,
    "not hours of a day",
    "`09:00-17:30`, at most to `24:00`; what goes past midnight is two: `22:00-24:00`, `00:00-06:00`",
);

fn each<T>(
    field: &Field<'_>,
    (read, what, help): HoursPart<T>,
    reader: &mut Reader,
) -> Option<Vec<T>> {
    let items = reader.list(field);
    if items.is_empty() && matches!(field.value, Value::Array(_)) {
        let help = "name at least one".to_owned();
        reader.error_with_help(Code::NoEffect, &field.place, "the list is empty".to_owned(), help);
    }
    let mut found = Vec::new();
    for item in &items {
        let Some(text) = reader.text(item) else { continue };
        match read(text) {
            Some(part) => found.push(part),
            None => {
                let message = format!("{what}: {}", describe(item.value));
                reader.error_with_help(Code::BadOperand, &item.place, message, help.to_owned());
            }
        }
    }
    // Each element that is none has been reported.
    (!items.is_empty() && found.len() == items.len()).then_some(found)
}

fn zone_of(field: &Field<'_>, reader: &mut Reader) -> Option<Zone> {
    let text = reader.text(field)?;
    let zone = Zone::new(text);
    if zone.is_none() {
        let message = format!("not a time zone: {}", describe(field.value));
        let help = match nearest(text, Zone::names()) {
            Some(near) => format!("did you mean `{near}`?"),
            None => "a zone of the IANA database such as `Europe/Berlin`, `UTC`, or an offset such as `+01:00`; zones whose clocks change by yearly decree have to be written as an offset".to_owned(),
        };
        reader.error_with_help(Code::BadOperand, &field.place, message, help);
    }
    zone
}
