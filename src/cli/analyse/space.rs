//! The calls that are tried: for each place that conditions look at, what may stand there.

use serde_json::{Value, json};

use super::abstraction::{Abstraction, MetCondition};
use super::candidates::{EXACT, regions, samples, told_apart};
use super::place::{CallField, FieldValue};

/// Most calls that are tried for one name.
const MOST_CALLS: usize = 20_000;

/// What may stand at a place.
pub(super) struct Dimension {
    pub(super) place: CallField,
    pub(super) values: Vec<FieldValue>,
}

/// Callers who have a name, where none is asked for: some policies turn others away.
pub(super) fn with_callers(mut space: Vec<Dimension>, policies: &[Value]) -> Vec<Dimension> {
    let place = CallField::Identity("grant".to_owned());
    let names = policies.iter().any(|policy| policy.get("identity").is_some());
    if names && space.iter().all(|known| known.place != place) {
        let values = vec![FieldValue::One(json!("somebody")), FieldValue::Absent];
        space.push(Dimension { place, values });
    }
    space
}

/// Values of real calls.
pub(super) fn concrete(abstraction: &Abstraction) -> Vec<Dimension> {
    let mut found: Vec<Dimension> = Vec::new();
    let compared = abstraction.met.iter().filter_map(MetCondition::from);
    let places: Vec<CallField> =
        abstraction.met.iter().map(|met| met.place.clone()).chain(compared).collect();
    for place in places {
        let is_new = found.iter().all(|known| known.place != place);
        let is_said = !matches!(place, CallField::Name | CallField::Count);
        if is_new && is_said && (place != CallField::Now) {
            found.push(Dimension { values: values(abstraction, &place), place });
        }
    }
    let values_of_time = abstraction.met.iter().filter_map(|met| {
        let value = met.condition.get("value")?;
        (met.place == CallField::Now || *value == json!("now")).then_some(value)
    });
    let said: Vec<Value> = values_of_time.chain(&abstraction.times).cloned().collect();
    if !said.is_empty() {
        found.push(Dimension { place: CallField::Now, values: instants(&said) });
    }
    found
}

/// Values of calls of abstracted policies.
pub(super) fn abstracted(abstraction: &Abstraction) -> Vec<Dimension> {
    let exact = abstraction.exact.iter();
    let mut found: Vec<Dimension> = exact
        .map(|place| Dimension { values: values(abstraction, place), place: place.clone() })
        .collect();
    // True, false, and what cannot be compared.
    let outcomes = || -> Vec<FieldValue> {
        [json!(true), json!(false), json!("")].map(FieldValue::One).into()
    };
    found.extend(
        abstraction
            .atoms
            .values()
            .map(|path| Dimension { place: CallField::new(path), values: outcomes() }),
    );
    found
}

fn values(abstraction: &Abstraction, place: &CallField) -> Vec<FieldValue> {
    let here = || abstraction.met.iter().filter(|met| met.place == *place);
    let conditions: Vec<&Value> = here().map(|met| &met.condition).collect();
    let is_exact = abstraction.exact.contains(place);
    let mut found: Vec<Value> = if is_exact {
        regions(&conditions)
    } else {
        conditions.iter().flat_map(|condition| samples(condition)).collect()
    };
    if !is_exact {
        found.extend([json!("x"), json!(1), json!(true), json!(["x"])]);
    }
    if let CallField::Header(_) = place {
        found.retain(Value::is_string);
    }
    let paired = conditions.iter().any(|condition| condition.get("from").is_some());
    if !paired && !conditions.is_empty() {
        let by: Vec<(&Value, Option<bool>)> =
            here().map(|met| (&met.condition, decode(met))).collect();
        found = told_apart(found, &by);
    }
    let counts = conditions.iter().any(|condition| {
        let op = condition["op"].as_str().unwrap_or_default();
        op.starts_with("count_") || !EXACT.contains(&op)
    });
    let many = found.first().filter(|_| counts && !place.is_keys()).cloned();
    let mut standing = vec![FieldValue::Absent];
    standing.extend(found.into_iter().map(FieldValue::One));
    standing.extend(many.map(|one| FieldValue::Many(vec![one.clone(), one.clone(), one])));
    if let CallField::Argument(steps) = place {
        standing.extend((1..steps.len()).map(FieldValue::Blocked));
    }
    standing
}

/// Times around those that are named, and those of a week.
fn instants(said: &[Value]) -> Vec<FieldValue> {
    let named = said.iter().filter_map(Value::as_str).filter_map(|text| text.parse().ok());
    let around = named.flat_map(|at: jiff::Timestamp| {
        let at = at.as_millisecond();
        [at - 1000, at, at + 1000]
    });
    // From Monday, 2027-03-01, every three hours, past the half.
    let week = (0..56).map(|part| 1_803_861_000_000 + part * 3 * 3_600_000);
    around.chain(week).filter(|at| *at >= 0).map(|at| FieldValue::One(json!(at))).collect()
}

/// How the text of a value is taken: what is said of the caller is text, whatever it looks like.
fn decode(met: &MetCondition) -> Option<bool> {
    match met.place {
        CallField::Header(_) | CallField::Identity(_) | CallField::Name => Some(false),
        CallField::Argument(_) | CallField::Now | CallField::Count => met.decode,
    }
}

/// How many calls a space has; nothing where they are too many to try all.
pub(super) fn size(space: &[Dimension]) -> Option<usize> {
    let all = space.iter().try_fold(1usize, |size, part| size.checked_mul(part.values.len()));
    all.filter(|size| *size <= MOST_CALLS)
}
