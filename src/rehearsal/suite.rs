//! Policy tests: reading them from a document, and running them.

pub mod report;
mod scene;

use std::collections::HashSet;

use super::approver::Consent;
use super::body::body_of;
use super::coverage::Coverage;
use super::{SimulatedRequest, SimulatedResponse, Simulator, Verdict};
use crate::json::Value;
use crate::language::diagnostic::{Code, Diagnostic};
use crate::language::reader::{Field, Fields, Place, Reader};
use crate::policy::compiled::Config;
use crate::time::UnixMillis;
use scene::{Scene, duration, text};
pub use scene::{name_of, parse_time};

/// When tests begin that do not say it: a Thursday, at midnight.
pub const DEFAULT_NOW: UnixMillis = UnixMillis(1_767_225_600_000);

/// Most repetitions of one step.
const MAX_REPEAT: u32 = 100_000;

/// The tests of one document.
#[derive(Clone, Debug)]
pub struct Suite {
    /// The file of the policy, relative to the document; by default the one beside it.
    pub policy: Option<String>,
    /// The tests.
    pub tests: Vec<TestCase>,
}

/// A test: calls in order, on counters of its own.
#[derive(Clone, Debug)]
pub struct TestCase {
    /// Its name.
    pub name: String,
    /// Its JSON Pointer in the document.
    pub pointer: String,
    /// The calls.
    pub steps: Vec<TestStep>,
}

/// One call, or the same one several times, and what must become of it.
#[derive(Clone, Debug)]
pub struct TestStep {
    /// Its JSON Pointer in the document.
    pub pointer: String,
    /// The request.
    pub request: SimulatedRequest,
    /// What somebody says who is asked about it.
    pub consent: Option<Consent>,
    /// How many times it is sent.
    pub repeat: u32,
    /// What must become of it, each time.
    pub expect: Expect,
}

/// What must become of a call. What is not said may be anything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Expect {
    /// `allow`, `deny`, `ask`, `would_deny`, `would_ask`, `refuse` or `pass`.
    pub decision: &'static str,
    /// The reason.
    pub reason: Option<String>,
    /// JSON Pointer to the line of the policy.
    pub rule: Option<String>,
    /// The name of the policy that governs the call.
    pub policy: Option<String>,
    /// A piece of the text that the agent reads.
    pub message: Option<String>,
}

/// A step that did not go as expected.
#[derive(Clone, Debug)]
pub struct Failure {
    /// The step's JSON Pointer in the document.
    pub pointer: String,
    /// Which repetition, from 1; none for a step that is done once.
    pub repetition: Option<u32>,
    /// What was expected.
    pub expected: Expect,
    /// What was found.
    pub found: Verdict,
    /// Whether the call was forwarded although the step says what somebody says who is asked, and nobody was.
    pub unasked: bool,
}

const DECISIONS: [(&str, &str); 7] = [
    ("allow", "allow"),
    ("deny", "deny"),
    ("ask", "ask"),
    ("would_deny", "would_deny"),
    ("would_ask", "would_ask"),
    ("refuse", "refuse"),
    ("pass", "pass"),
];

impl Suite {
    /// Reads the tests of a document; with the configuration that is tested, names of unknown keys are errors too.
    ///
    /// # Errors
    /// All that is wrong with it.
    pub fn read(document: &Value<'_>, config: Option<&Config>) -> Result<Suite, Vec<Diagnostic>> {
        let mut reader = Reader::default();
        let keys = config.map(|config| &config.callers.keys);
        reader.keys = keys.into_iter().flatten().map(|key| key.name.clone()).collect();
        let known = config.map_or(scene::AcceptedKeys::Any, |_| scene::AcceptedKeys::Known);
        let root = Field { value: document, place: Place::default() };
        let suite = reader.fields(&root).map(|mut fields| {
            let policy = text(&mut fields, "policy", &mut reader);
            let scene = Scene::of(&mut fields, known, &mut reader);
            let tests = fields.require("tests", &mut reader);
            reader.close(&fields);
            let tests = tests.map(|field| tests_of(&field, &scene, known, &mut reader));
            Suite { policy, tests: tests.unwrap_or_default() }
        });
        match suite {
            Some(suite) if reader.diagnostics.is_empty() => Ok(suite),
            Some(_) | None => Err(reader.diagnostics),
        }
    }
}

impl TestCase {
    /// Runs the test; what is covered of the policy is noted.
    #[must_use]
    pub fn run(&self, simulator: &Simulator, coverage: &Coverage) -> Vec<Failure> {
        let simulator = simulator.afresh();
        let mut failures = Vec::new();
        for step in &self.steps {
            for repetition in 1..=step.repeat {
                let (found, asked) = match step.consent {
                    None => (simulator.send_before(&step.request, coverage), true),
                    Some(consent) => simulator.play(&step.request, consent, coverage),
                };
                // Else nobody would notice that the rule is gone.
                let unasked = !asked && found.is_forwarded();
                if unasked || !step.expect.is_met(&found) {
                    failures.push(Failure {
                        pointer: step.pointer.clone(),
                        repetition: (step.repeat > 1).then_some(repetition),
                        expected: step.expect.clone(),
                        found,
                        unasked,
                    });
                    break;
                }
            }
        }
        failures
    }
}

impl Expect {
    /// Whether it is what was found.
    #[must_use]
    pub fn is_met(&self, found: &Verdict) -> bool {
        let same = |expected: &Option<String>, found: &str| {
            expected.as_ref().is_none_or(|expected| expected == found)
        };
        let message = found.message.as_deref().unwrap_or_default();
        self.decision == found.decision
            && same(&self.reason, &found.reason)
            && same(&self.rule, &found.rule)
            && same(&self.policy, &found.policy)
            && self.message.as_ref().is_none_or(|piece| message.contains(piece.as_str()))
    }
}

fn tests_of(
    field: &Field<'_>,
    scene: &Scene,
    known: scene::AcceptedKeys,
    reader: &mut Reader,
) -> Vec<TestCase> {
    let items = reader.list(field);
    if items.is_empty() && matches!(field.value, Value::Array(_)) {
        let message = "there is no test".to_owned();
        let help = "add one: a name, a call, and what to expect".to_owned();
        reader.error_with_help(Code::NoEffect, &field.place, message, help);
    }
    let mut names = HashSet::new();
    let mut tests = Vec::new();
    for item in &items {
        let Some(test) = test_of(item, scene, known, reader) else { continue };
        if !names.insert(test.name.clone()) {
            let message = format!("another test is named `{}`", test.name.escape_debug());
            let help = "a report tells tests apart by their names".to_owned();
            reader.error_with_help(Code::Contradiction, &item.place.key("name"), message, help);
        }
        tests.push(test);
    }
    tests
}

fn test_of(
    field: &Field<'_>,
    scene: &Scene,
    known: scene::AcceptedKeys,
    reader: &mut Reader,
) -> Option<TestCase> {
    let mut fields = reader.fields(field)?;
    let name = fields.require("name", reader).and_then(|field| reader.text(&field));
    let scene = Scene::of(&mut fields, known, reader).or(scene);
    let pointer = field.place.pointer.clone();
    let mut clock = scene.now.unwrap_or(DEFAULT_NOW);
    let mut steps = Vec::new();
    if let Some(list) = fields.take("steps") {
        reader.close(&fields);
        for item in reader.list(&list) {
            let Some(mut fields) = reader.fields(&item) else { continue };
            let pointer = item.place.pointer.clone();
            let own = Scene::of(&mut fields, known, reader);
            // The time of the test is that of its first step; the clock goes on from there.
            let scene = Scene { now: own.now, ..own.or(&scene) };
            let step = step_of(&mut fields, pointer, scene, &mut clock, reader);
            reader.close(&fields);
            steps.extend(step);
        }
        if list.value == &Value::Array(Vec::new()) {
            let help = "add a call, and what to expect".to_owned();
            reader.error_with_help(
                Code::NoEffect,
                &list.place,
                "there is no step".to_owned(),
                help,
            );
        }
    } else {
        steps.extend(step_of(&mut fields, pointer.clone(), scene, &mut clock, reader));
        reader.close(&fields);
    }
    Some(TestCase { name: name?.to_owned(), pointer, steps })
}

fn step_of(
    fields: &mut Fields<'_>,
    pointer: String,
    scene: Scene,
    clock: &mut UnixMillis,
    reader: &mut Reader,
) -> Option<TestStep> {
    let after = fields.take("after").and_then(|field| duration(&field, reader).map(|d| (d, field)));
    if let (Some((_, field)), Some(_), true) = (&after, scene.now, fields.has("at")) {
        let message = "`at` and `after` do not go together".to_owned();
        reader.error(Code::Contradiction, &field.place, message);
    }
    if let Some(at) = scene.now {
        *clock = at;
    }
    if let Some((after, _)) = after {
        *clock = UnixMillis(clock.0.saturating_add(after));
    }
    let repeat = match fields.take("repeat") {
        None => Some(1),
        Some(field) => reader.whole(&field, 1, MAX_REPEAT),
    };
    let response = match fields.take("response") {
        None => Some(SimulatedResponse::Result),
        Some(field) => reader.word(
            &field,
            &[("result", SimulatedResponse::Result), ("error", SimulatedResponse::Error)],
        ),
    };
    let consent = match fields.take("approval") {
        None => Some(None),
        Some(field) => reader.word(&field, &Consent::WORDS).map(Some),
    };
    let call = fields.require("call", reader).and_then(|field| call_of(&field, reader));
    let expect = fields.require("expect", reader).and_then(|field| expect_of(&field, reader));
    let request = SimulatedRequest {
        body: call?,
        names: scene.names,
        session: scene.session,
        target: scene.target,
        headers: scene.headers,
        at: *clock,
        response: response?,
    };
    Some(TestStep { pointer, request, consent: consent?, repeat: repeat?, expect: expect? })
}

/// A call: `{tool, arguments}`, a JSON-RPC message, or the text of one, byte for byte.
fn call_of(field: &Field<'_>, reader: &mut Reader) -> Option<String> {
    if let Value::String(text) = field.value {
        return Some((**text).to_owned());
    }
    match body_of(field.value) {
        Ok(body) => Some(body),
        Err(message) => {
            let help = "write `call: {tool: search, arguments: {query: x}}`".to_owned();
            reader.error_with_help(Code::WrongType, &field.place, message, help);
            None
        }
    }
}

fn expect_of(field: &Field<'_>, reader: &mut Reader) -> Option<Expect> {
    if matches!(field.value, Value::String(_)) {
        let decision = reader.word(field, &DECISIONS)?;
        return Some(Expect { decision, ..Expect::default() });
    }
    let mut fields = reader.fields(field)?;
    let decision = fields.require("decision", reader);
    let decision = decision.and_then(|field| reader.word(&field, &DECISIONS));
    let reason = text(&mut fields, "reason", reader);
    let rule = text(&mut fields, "rule", reader);
    let policy = text(&mut fields, "policy", reader);
    let message = text(&mut fields, "message", reader);
    reader.close(&fields);
    let decision = decision?;
    if decision == "allow" && (reason.is_some() || rule.is_some() || message.is_some()) {
        let message = "an allowed call has no reason, rule or message".to_owned();
        reader.error(Code::Contradiction, &field.place, message);
    }
    Some(Expect { decision, reason, rule, policy, message })
}
