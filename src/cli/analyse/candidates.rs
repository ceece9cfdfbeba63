//! Values that stand for all values: for the operators that compare with values, one for each that they tell apart; for others, samples.

use mcp_policy::json::{Duplicates, Value as Read, parse};
use mcp_policy::matcher::Truth;
use mcp_policy::matcher::terms::{Decode, Terms};
use mcp_policy::matcher::value::{Matcher, Side};
use mcp_policy::matcher::work::Work;
use mcp_policy::policy::compiled::Config;
use mcp_policy::time::UnixMillis;
use regex_syntax::hir::{Class, Hir, HirKind};
use serde_json::{Map, Value, json};

/// A text that a policy hardly has. Where it does, another one is made of it.
const OTHER: &str = "another";

/// Letters that a server may take for one that ASCII has: normal form C makes them so.
const TWO_SPELLINGS: [(char, &str); 3] = [('K', "\u{212a}"), (';', "\u{37e}"), ('`', "\u{1fef}")];

/// Bounds of the numbers whose neighbours can be written down.
const NUMBERS: std::ops::Range<f64> = 1e-200..1e200;

/// The operators whose values fall into regions: points and what lies between them, texts and any other text.
pub(super) const EXACT: [&str; 9] =
    ["eq", "neq", "in", "not_in", "lt", "lte", "gt", "gte", "exists"];

/// Whether all values of a field are known by a few, as far as this condition is concerned.
pub(super) fn is_exact(condition: &Value) -> bool {
    let op = condition["op"].as_str().unwrap_or_default();
    let plain = condition.get("from").is_none() && condition.get("every").is_none();
    // Texts of other scripts have several spellings, which are compared in two ways.
    let ascii =
        scalars(&condition["value"]).iter().all(|value| value.as_str().is_none_or(str::is_ascii));
    let mut numbers = scalars(&condition["value"]).into_iter().filter_map(Value::as_f64);
    let in_reach = numbers.all(|number| number == 0.0 || NUMBERS.contains(&number.abs()));
    plain && ascii && in_reach && EXACT.contains(&op)
}

/// The values of an operand.
fn scalars(operand: &Value) -> Vec<&Value> {
    match operand {
        Value::Array(items) => items.iter().collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Object(_) => {
            vec![operand]
        }
    }
}

/// One value for each region that these conditions tell apart.
pub(super) fn regions(conditions: &[&Value]) -> Vec<Value> {
    let operands = || conditions.iter().flat_map(|condition| scalars(&condition["value"]));
    let texts: Vec<&str> = operands().filter_map(Value::as_str).collect();
    let mut other = OTHER.to_owned();
    while texts.contains(&&*other) {
        other.push('r');
    }
    let mut found = vec![json!(other), json!(true), json!(false), json!([]), json!({})];
    // JSON text, which some read as what it holds; and a number that no double keeps apart from others.
    found.extend([json!("[]"), json!("null"), json!("[NaN]"), json!(0.123_456_789_012_345_68)]);
    found.extend(texts.iter().copied().map(Value::from));
    found.extend(texts.iter().flat_map(|text| {
        let (first, spelling) =
            TWO_SPELLINGS.into_iter().find(|(letter, _)| text.contains(*letter))?;
        Some(json!(text.replacen(first, spelling, 1)))
    }));
    let mut points: Vec<f64> = operands().filter_map(Value::as_f64).collect();
    points.sort_by(f64::total_cmp);
    points.dedup();
    found.extend(operands().filter(|value| value.is_number()).cloned());
    match (points.first(), points.last()) {
        (Some(first), Some(last)) => {
            found.extend([number(-above(-*first)), number(above(*last))]);
        }
        _ => found.push(json!(1)),
    }
    let pairs = points.iter().zip(points.iter().skip(1));
    found.extend(pairs.flat_map(|(low, high)| between(*low, *high)));
    found
}

/// A number above another one, of one digit.
fn above(point: f64) -> f64 {
    match point + 1.0 {
        next if point.fract() == 0.0 && point.abs() < 1e14 => next,
        _ if point < 0.0 => 0.0,
        _ if point < 1.0 => 1.0,
        _ => format!("1e{}", point.log10().floor() + 2.0).parse().unwrap_or(f64::MAX),
    }
}

/// A number between two, with as few digits as all readers keep apart; none where there is none.
fn between(low: f64, high: f64) -> Option<Value> {
    let rounded = format!("{:.14e}", low + (high - low) / 2.0).parse().unwrap_or(low);
    let next = low.floor() + 1.0;
    [next, rounded].into_iter().find(|middle| low < *middle && *middle < high).map(number)
}

/// A whole number is written as one.
fn number(value: f64) -> Value {
    serde_json::from_str(&value.to_string()).unwrap_or_else(|_| json!(value))
}

/// Values that may meet a condition, or just not.
pub(super) fn samples(condition: &Value) -> Vec<Value> {
    let op = condition["op"].as_str().unwrap_or_default();
    let operand = &condition["value"];
    let op = op.strip_prefix("not_").unwrap_or(op);
    let texts = scalars(operand).into_iter().filter_map(Value::as_str);
    let mut found = match op {
        "regex" => texts.flat_map(sample).map(Value::from).collect(),
        "glob" => texts
            .flat_map(|text| {
                [text.replace('*', "").replace('?', "x"), text.replace(['*', '?'], "x")]
            })
            .map(Value::from)
            .collect(),
        "contains" | "starts_with" | "ends_with" => {
            let whole =
                scalars(operand).into_iter().flat_map(|value| [value.clone(), json!([value])]);
            whole
                .chain(
                    texts.flat_map(|text| [json!(format!("{text}x")), json!(format!("x{text}"))]),
                )
                .collect()
        }
        "before" | "after" => {
            vec![json!("1971-01-01T00:00:00Z"), json!("2999-01-01T00:00:00Z"), operand.clone()]
        }
        "during" => (0..14)
            .map(|half| {
                json!(format!("2027-03-{:02}T{:02}:30:00Z", 1 + half / 2, 10 + 12 * (half % 2)))
            })
            .collect(),
        "length_lte" | "length_gte" | "length_eq" => {
            let length = usize::try_from(operand.as_u64().unwrap_or(0)).unwrap_or(0).min(10_000);
            [length.saturating_sub(1), length, length + 1]
                .map(|length| json!("x".repeat(length)))
                .into()
        }
        "host_in" => texts.flat_map(hosts).collect(),
        "cidr" => texts.flat_map(addresses).collect(),
        "path_under" => {
            let below = texts
                .flat_map(|text| [json!(text), json!(format!("{}/x", text.trim_end_matches('/')))]);
            below.chain([json!("/")]).collect()
        }
        _ => scalars(operand).into_iter().cloned().collect::<Vec<_>>(),
    };
    if let Some(inner) = condition.get("value").filter(|_| EXACT.contains(&op)) {
        found.extend(regions(&[&json!({"op": op, "value": inner})]));
    }
    found
}

fn hosts(host: &str) -> Vec<Value> {
    let url = |host: &str| json!(format!("https://{host}/"));
    match host {
        "private" => vec![url("10.0.0.1")],
        "loopback" => vec![url("127.0.0.1")],
        "link_local" => vec![url("169.254.169.254")],
        _ => vec![url(&host.replace("*.", "a.")), url("elsewhere.example.net"), url("192.0.2.1")],
    }
}

fn addresses(network: &str) -> Vec<Value> {
    let address = match network {
        "private" => "10.0.0.1",
        "loopback" => "127.0.0.1",
        "link_local" => "169.254.169.254",
        _ => network.split_once('/').map_or(network, |(address, _)| address),
    };
    vec![json!(address), json!("192.0.2.1"), json!("2001:db8::1")]
}

/// Texts that an expression finds something in.
fn sample(pattern: &str) -> Vec<String> {
    let Ok(hir) = regex_syntax::Parser::new().parse(pattern) else { return Vec::new() };
    [0, 1].into_iter().map(|more| text_of(&hir, more)).collect()
}

fn text_of(hir: &Hir, more: u32) -> String {
    match hir.kind() {
        HirKind::Empty | HirKind::Look(_) => String::new(),
        HirKind::Literal(literal) => String::from_utf8_lossy(&literal.0).into_owned(),
        HirKind::Class(Class::Unicode(class)) => {
            let first = class.iter().map(|range| range.start().max('0').min(range.end()));
            first.last().map_or(String::new(), String::from)
        }
        HirKind::Class(Class::Bytes(_)) => "x".to_owned(),
        HirKind::Repetition(repetition) => {
            let times = repetition.min.max(more).min(repetition.max.unwrap_or(u32::MAX)).min(64);
            text_of(&repetition.sub, more).repeat(times as usize)
        }
        HirKind::Capture(capture) => text_of(&capture.sub, more),
        HirKind::Concat(parts) => parts.iter().map(|part| text_of(part, more)).collect(),
        HirKind::Alternation(parts) => {
            let part = if more == 0 { parts.first() } else { parts.last() };
            part.map_or(String::new(), |part| text_of(part, more))
        }
    }
}

/// Of values that no condition tells apart, the first.
pub(super) fn told_apart(values: Vec<Value>, conditions: &[(&Value, Option<bool>)]) -> Vec<Value> {
    let matchers: Option<Vec<(Matcher, Decode)>> =
        conditions.iter().map(|(condition, decode)| matcher(condition, *decode)).collect();
    // What cannot be asked keeps its values apart.
    let Some(matchers) = matchers else { return values };
    let mut seen = std::collections::HashSet::new();
    let differs = |value: &Value| {
        let text = value.to_string();
        let Ok(read) = parse(&text, Duplicates::Refuse) else { return false };
        seen.insert(
            matchers
                .iter()
                .map(|(matcher, decode)| outcome(matcher, &read, *decode))
                .collect::<Vec<_>>(),
        )
    };
    let mut values = values;
    values.retain(differs);
    values
}

fn outcome(matcher: &Matcher, value: &Read<'_>, decode: Decode) -> u8 {
    let work = Work::of(1 << 20);
    match matcher.test(
        Some(value),
        Side::Require,
        Terms { decode, work: &work, now: UnixMillis(0) },
    ) {
        Truth::True => 0,
        Truth::False => 1,
        Truth::Undecidable(_) => 2,
    }
}

/// The condition as the engine compiles it.
fn matcher(condition: &Value, decode: Option<bool>) -> Option<(Matcher, Decode)> {
    let mut alone = condition.as_object()?.clone();
    alone.insert("path".to_owned(), json!("args.a"));
    alone.remove("every");
    let mut entry = Map::new();
    entry.insert("require".to_owned(), json!([{"conditions": [alone]}]));
    entry.extend(decode.map(|decode| ("decode_json_strings".to_owned(), decode.into())));
    let policy = json!({"version": "1", "default": "deny", "tools": {"t": entry}});
    let config = Config::load(policy.to_string().as_bytes(), "").ok()?.config;
    let entry = config.policy.entries().next()?;
    let condition = entry.checks.first()?.conditions.first()?;
    Some((condition.matcher.clone(), entry.decode))
}
