//! Is there a call of which policies decide so and so? Looked for among values that stand for all values, by the engine itself.

use mcp_policy::json::Value as Read;
use mcp_policy::policy::compiled::Config;
use mcp_policy::rehearsal::{SimulatedRequest, Simulator, Verdict};
use mcp_policy::time::UnixMillis;
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::abstraction::{Abstraction, MetCondition};
use super::place::{CallField, FieldValue, put};
use super::space::{Dimension, abstracted, concrete, size, with_callers};

/// How many are tried where there are more.
const SAMPLES: usize = 5_000;

/// What a policy asks of every request, rules aside.
const ASKED_OF_ALL: [&str; 5] = ["identity", "requests", "sessions", "counters", "approvals"];

/// Whether what policies make of a call is what is looked for.
pub(super) type PassageTest<'w> = &'w dyn Fn(&[Passage]) -> bool;

/// What becomes of a call: the more, the more is let through.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Passage {
    Denied,
    /// Somebody is asked.
    Asked,
    Passes,
}

impl Passage {
    fn of(verdict: &Verdict) -> Passage {
        match &*verdict.decision {
            "ask" => Passage::Asked,
            "deny" if !verdict.approval_by.is_empty() => Passage::Asked,
            _ if verdict.is_forwarded() => Passage::Passes,
            _ => Passage::Denied,
        }
    }
}

/// A call that was tried, and what the policies make of it.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Example {
    pub(super) tool: String,
    pub(super) arguments: Value,
    #[serde(skip_serializing_if = "Map::is_empty")]
    pub(super) identity: Map<String, Value>,
    #[serde(skip_serializing_if = "Map::is_empty")]
    pub(super) headers: Map<String, Value>,
    /// Milliseconds since 1970.
    pub(super) at: u64,
    pub(super) verdicts: Vec<Verdict>,
}

/// The answer.
#[derive(Clone, Debug)]
pub(super) enum Existence {
    /// There is one.
    Yes(Box<Example>),
    /// There is none.
    No,
    /// Nobody knows, for this reason.
    Unknown(String),
}

/// Looks for a call of a tool of which the policies decide as is wanted.
pub(super) fn find(policies: &[Value], name: &str, wanted: PassageTest<'_>) -> Existence {
    let abstraction = Abstraction::new(policies, name);
    let space = with_callers(abstracted(&abstraction), policies);
    // What the abstracted policies cannot do, the policies cannot.
    if size(&space).is_some() {
        match search(&abstraction.policies, name, &space, wanted) {
            Ok(None) => {
                return barred(policies, name, &space).map_or(Existence::No, Existence::Unknown);
            }
            Ok(Some(_)) => {}
            Err(problem) => return Existence::Unknown(problem),
        }
    }
    let calls = with_callers(concrete(&abstraction), policies);
    match search(policies, name, &calls, wanted) {
        Ok(Some(example)) => Existence::Yes(Box::new(example)),
        Ok(None) => Existence::Unknown(undecided(&abstraction, size(&space), size(&calls))),
        Err(problem) => Existence::Unknown(problem),
    }
}

/// Why no call of a space gets as far as the rules; nothing where some do.
fn barred(policies: &[Value], name: &str, space: &[Dimension]) -> Option<String> {
    let open: Vec<Value> = policies.iter().map(opened).collect();
    let passes = |passages: &[Passage]| passages.iter().all(|it| *it == Passage::Passes);
    match search(&open, name, space, &passes) {
        Ok(Some(_)) => None,
        Ok(None) => Some(
            "no call that was tried gets past what the policy asks of every request".to_owned(),
        ),
        Err(problem) => Some(problem),
    }
}

/// A policy without rules.
fn opened(policy: &Value) -> Value {
    let mut open = Map::new();
    open.insert("version".to_owned(), json!("1"));
    open.insert("default".to_owned(), json!("allow"));
    open.extend(
        ASKED_OF_ALL
            .iter()
            .filter_map(|member| Some(((*member).to_owned(), policy.get(*member)?.clone()))),
    );
    open.into()
}

/// A call with an argument that some servers take for one that only the second policy names: it refuses such a call. Or else the reason
/// why there may be one.
pub(super) fn resembling(policies: &[Value], name: &str, wanted: PassageTest<'_>) -> Existence {
    let abstraction = Abstraction::new(policies, name);
    let named = |policy: usize| {
        let met = abstraction.met.iter().filter(move |met| met.policy == policy);
        met.flat_map(|met| {
            met.from().into_iter().chain([met.place.clone()]).map(|place| (place, met.decode))
        })
    };
    let known: Vec<(CallField, Option<bool>)> = named(0).collect();
    let is_read = |place: &CallField| {
        matches!(place, CallField::Argument(_) | CallField::Identity(_) | CallField::Count)
    };
    let only: Vec<CallField> = named(1)
        .filter(|named| is_read(&named.0) && !known.contains(named))
        .map(|(place, _)| place)
        .collect();
    if only.is_empty() {
        return Existence::No;
    }
    for place in only.iter().filter_map(CallField::lookalike) {
        let mut space = with_callers(concrete(&abstraction), policies);
        space.push(Dimension { place, values: vec![FieldValue::One(json!("x"))] });
        if let Ok(Some(example)) = search(policies, name, &space, wanted) {
            return Existence::Yes(Box::new(example));
        }
    }
    // Whatever is refused there does not pass here.
    let passes = |passages: &[Passage]| matches!(passages, [one] if *one >= Passage::Asked);
    match find(policies.get(..1).unwrap_or_default(), name, &passes) {
        Existence::No => Existence::No,
        Existence::Yes(_) | Existence::Unknown(_) => Existence::Unknown(
            "the other policy reads more of a call, and refuses what resembles that".to_owned(),
        ),
    }
}

/// What keeps the answer open, where no call was found. `proof` and `calls` are how many there were to try.
fn undecided(abstraction: &Abstraction, proof: Option<usize>, calls: Option<usize>) -> String {
    if abstraction.atoms.is_empty() && proof.is_none() {
        return "there are too many combinations of values".to_owned();
    }
    if abstraction.atoms.is_empty() && calls.is_some() {
        return "it depends on what has been counted, or on a server's definitions".to_owned();
    }
    let mut open: Vec<String> = Vec::new();
    for MetCondition { condition, place, .. } in &abstraction.met {
        if !abstraction.exact.contains(place) && *place != CallField::Name {
            let text = |key: &str| condition[key].as_str().unwrap_or_default().to_owned();
            let line = format!("`{}` on `{}`", text("op"), text("path"));
            if !open.contains(&line) {
                open.push(line);
            }
        }
    }
    if !abstraction.times.is_empty() {
        open.push("the hours of entries".to_owned());
    }
    format!("no call was found, and these have more values than can be tried: {}", open.join(", "))
}

/// Tries the calls of a space, or some of them where they are too many.
fn search(
    policies: &[Value],
    name: &str,
    space: &[Dimension],
    wanted: PassageTest<'_>,
) -> Result<Option<Example>, String> {
    let mut stages = Vec::new();
    for policy in policies {
        match Config::load(policy.to_string().as_bytes(), "") {
            Ok(loaded) => stages.push(Simulator::new(loaded.config)),
            Err(problems) => {
                let first = problems.first().map(ToString::to_string).unwrap_or_default();
                return Err(format!("the question cannot be put to the engine: {first}"));
            }
        }
    }
    let whole = size(space);
    let mut draw = 0x9e37_79b9_7f4a_7c15_u64;
    for at in 0..whole.unwrap_or(SAMPLES) {
        let mut rest = at;
        let chosen: Vec<(&CallField, &FieldValue)> = space
            .iter()
            .filter_map(|part| {
                let pick = if whole.is_some() {
                    let pick = rest % part.values.len();
                    rest /= part.values.len();
                    pick
                } else {
                    draw = draw
                        .wrapping_mul(6_364_136_223_846_793_005)
                        .wrapping_add(1_442_695_040_888_963_407);
                    usize::try_from(draw >> 33).unwrap_or(0) % part.values.len()
                };
                Some((&part.place, part.values.get(pick)?))
            })
            .collect();
        let example = tried(&stages, name, &chosen);
        let passages: Vec<Passage> = example.verdicts.iter().map(Passage::of).collect();
        if wanted(&passages) {
            return Ok(Some(example));
        }
    }
    Ok(None)
}

/// Makes a call, and sends it.
fn tried(stages: &[Simulator], name: &str, chosen: &[(&CallField, &FieldValue)]) -> Example {
    let mut example = Example {
        tool: name.to_owned(),
        arguments: json!({}),
        identity: Map::new(),
        headers: Map::new(),
        at: 1_803_861_000_000,
        verdicts: Vec::new(),
    };
    for (place, standing) in chosen {
        match (place, standing) {
            (CallField::Argument(steps), standing) => put(&mut example.arguments, steps, standing),
            (CallField::Header(header), FieldValue::One(value)) => {
                example.headers.insert(header.clone(), value.clone());
            }
            (CallField::Identity(key), FieldValue::One(value)) => {
                example.identity.insert(key.clone(), value.clone());
            }
            (CallField::Now, FieldValue::One(value)) => {
                example.at = value.as_u64().unwrap_or_default()
            }
            (_, _) => {}
        }
    }
    let body = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": name, "arguments": example.arguments}});
    let mut request = SimulatedRequest::new(body.to_string(), UnixMillis(example.at));
    let headers = example.headers.iter();
    request.headers = headers
        .filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned())))
        .collect();
    let names = example.identity.iter();
    request.names = names.filter_map(|(key, value)| Some((key.clone(), claim(value)?))).collect();
    example.verdicts = stages.iter().map(|stage| stage.afresh().send(&request)).collect();
    example
}

fn claim(value: &Value) -> Option<Read<'static>> {
    Some(match value {
        Value::Bool(flag) => Read::Bool(*flag),
        Value::Number(number) => Read::Number(number.to_string().into()),
        Value::String(text) => Read::String(text.clone().into()),
        Value::Array(items) => Read::Array(items.iter().filter_map(claim).collect()),
        Value::Null | Value::Object(_) => return None,
    })
}
