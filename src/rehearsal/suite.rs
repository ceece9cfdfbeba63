//! Policy tests: reading them from a document, and running them.

use std::collections::HashSet;
use std::rc::Rc;

use jiff::{SignedDuration, Timestamp};

use super::coverage::Coverage;
use super::{Request, Response, Stage, Verdict, body_of};
use crate::json::{Duplicates, Value, parse};
use crate::mcp::message::{Body, Message};
use crate::policy::compiled::Config;
use crate::policy::diagnostic::{Code, Diagnostic};
use crate::policy::reader::{Field, Fields, Place, Reader};
use crate::time::UnixMillis;

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
    pub tests: Vec<Test>,
}

/// A test: calls in order, on counters of its own.
#[derive(Clone, Debug)]
pub struct Test {
    /// Its name.
    pub name: String,
    /// Its JSON Pointer in the document.
    pub pointer: String,
    /// The calls.
    pub steps: Vec<Step>,
}

/// One call, or the same one several times, and what must become of it.
#[derive(Clone, Debug)]
pub struct Step {
    /// Its JSON Pointer in the document.
    pub pointer: String,
    /// The request.
    pub request: Request,
    /// How many times it is sent.
    pub repeat: u32,
    /// What must become of it, each time.
    pub expect: Expect,
}

/// What must become of a call. What is not said may be anything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Expect {
    /// `allow`, `deny`, `would_deny`, `refuse` or `pass`.
    pub decision: &'static str,
    /// The reason.
    pub reason: Option<String>,
    /// JSON Pointer to the line of the policy.
    pub rule: Option<String>,
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
}

const DECISIONS: [(&str, &str); 5] = [
    ("allow", "allow"),
    ("deny", "deny"),
    ("would_deny", "would_deny"),
    ("refuse", "refuse"),
    ("pass", "pass"),
];

impl Suite {
    /// Reads the tests of a document.
    ///
    /// # Errors
    /// All that is wrong with it.
    pub fn read(document: &Value<'_>) -> Result<Suite, Vec<Diagnostic>> {
        let mut reader = Reader::default();
        let root = Field { value: document, place: Place::default() };
        let suite = reader.fields(&root).map(|mut fields| {
            let policy = text(&mut fields, "policy", &mut reader);
            let scene = Scene::of(&mut fields, &mut reader);
            let tests = fields.require("tests", &mut reader);
            reader.close(&fields);
            let tests = tests.map(|field| tests_of(&field, &scene, &mut reader));
            Suite { policy, tests: tests.unwrap_or_default() }
        });
        match suite {
            Some(suite) if reader.diagnostics.is_empty() => Ok(suite),
            Some(_) | None => Err(reader.diagnostics),
        }
    }
}

impl Test {
    /// Runs the test; what is covered of the policy is noted.
    #[must_use]
    pub fn run(&self, config: &Rc<Config>, coverage: &mut Coverage) -> Vec<Failure> {
        let stage = Stage::new(Rc::clone(config));
        let mut failures = Vec::new();
        for step in &self.steps {
            let tool = tool_of(&step.request.body);
            for repetition in 1..=step.repeat {
                let found = stage.send(&step.request);
                coverage.note(&config.policy, tool.as_deref(), &found);
                if !step.expect.is_met(&found) {
                    failures.push(Failure {
                        pointer: step.pointer.clone(),
                        repetition: (step.repeat > 1).then_some(repetition),
                        expected: step.expect.clone(),
                        found,
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
            && self.message.as_ref().is_none_or(|piece| message.contains(piece.as_str()))
    }
}

/// The tool that a body calls.
#[must_use]
pub fn tool_of(body: &str) -> Option<String> {
    let value = parse(body, Duplicates::Refuse).ok()?;
    match Body::read(&value) {
        Ok(Body::Single(Message::Call(call))) => Some(call.tool.to_owned()),
        Ok(Body::Single(_) | Body::Batch(_)) | Err(_) => None,
    }
}

/// What a step takes over from its test, and a test from its document.
#[derive(Clone, Debug, Default)]
struct Scene {
    now: Option<UnixMillis>,
    caller: Option<String>,
    session: Option<String>,
}

impl Scene {
    fn of(fields: &mut Fields<'_>, reader: &mut Reader) -> Scene {
        let at = fields.take("at").and_then(|field| time(&field, reader));
        if let Some(field) = fields.take("identity") {
            reader.not_supported(&field.place, "naming callers by more than `caller`");
        }
        Scene {
            now: at,
            caller: text(fields, "caller", reader),
            session: text(fields, "session", reader),
        }
    }

    fn or(self, outer: &Scene) -> Scene {
        Scene {
            now: self.now.or(outer.now),
            caller: self.caller.or_else(|| outer.caller.clone()),
            session: self.session.or_else(|| outer.session.clone()),
        }
    }
}

fn tests_of(field: &Field<'_>, scene: &Scene, reader: &mut Reader) -> Vec<Test> {
    let items = reader.list(field);
    if items.is_empty() && matches!(field.value, Value::Array(_)) {
        let message = "there is no test".to_owned();
        let help = "add one: a name, a call, and what to expect".to_owned();
        reader.error_with_help(Code::NoEffect, &field.place, message, help);
    }
    let mut names = HashSet::new();
    let mut tests = Vec::new();
    for item in &items {
        let Some(test) = test_of(item, scene, reader) else { continue };
        if !names.insert(test.name.clone()) {
            let message = format!("another test is named `{}`", test.name.escape_debug());
            let help = "a report tells tests apart by their names".to_owned();
            reader.error_with_help(Code::Contradiction, &item.place.key("name"), message, help);
        }
        tests.push(test);
    }
    tests
}

fn test_of(field: &Field<'_>, scene: &Scene, reader: &mut Reader) -> Option<Test> {
    let mut fields = reader.fields(field)?;
    let name = fields.require("name", reader).and_then(|field| reader.text(&field));
    let scene = Scene::of(&mut fields, reader).or(scene);
    let pointer = field.place.pointer.clone();
    let mut clock = scene.now.unwrap_or(DEFAULT_NOW);
    let mut steps = Vec::new();
    if let Some(list) = fields.take("steps") {
        reader.close(&fields);
        for item in reader.list(&list) {
            let Some(mut fields) = reader.fields(&item) else { continue };
            let pointer = item.place.pointer.clone();
            let own = Scene::of(&mut fields, reader);
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
    Some(Test { name: name?.to_owned(), pointer, steps })
}

fn step_of(
    fields: &mut Fields<'_>,
    pointer: String,
    scene: Scene,
    clock: &mut UnixMillis,
    reader: &mut Reader,
) -> Option<Step> {
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
        None => Some(Response::Result),
        Some(field) => {
            reader.word(&field, &[("result", Response::Result), ("error", Response::Error)])
        }
    };
    let call = fields.require("call", reader).and_then(|field| call_of(&field, reader));
    let expect = fields.require("expect", reader).and_then(|field| expect_of(&field, reader));
    let request = Request {
        body: call?,
        caller: scene.caller,
        session: scene.session,
        at: *clock,
        response: response?,
    };
    Some(Step { pointer, request, repeat: repeat?, expect: expect? })
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
    let message = text(&mut fields, "message", reader);
    reader.close(&fields);
    let decision = decision?;
    if decision == "allow" && (reason.is_some() || rule.is_some() || message.is_some()) {
        let message = "an allowed call has no reason, rule or message".to_owned();
        reader.error(Code::Contradiction, &field.place, message);
    }
    Some(Expect { decision, reason, rule, message })
}

fn text(fields: &mut Fields<'_>, key: &'static str, reader: &mut Reader) -> Option<String> {
    let field = fields.take(key)?;
    reader.text(&field).map(str::to_owned)
}

fn time(field: &Field<'_>, reader: &mut Reader) -> Option<UnixMillis> {
    let text = reader.text(field)?;
    let time = parse_time(text);
    if time.is_none() {
        let message = format!("not a time: `{}`", text.escape_debug());
        let help = "write it as RFC 3339 does: \"2026-01-05T09:00:00Z\"".to_owned();
        reader.error_with_help(Code::BadWindow, &field.place, message, help);
    }
    time
}

/// Reads a time as RFC 3339 writes it; nothing before 1970.
#[must_use]
pub fn parse_time(text: &str) -> Option<UnixMillis> {
    let time: Timestamp = text.parse().ok()?;
    u64::try_from(time.as_millisecond()).ok().map(UnixMillis)
}

fn duration(field: &Field<'_>, reader: &mut Reader) -> Option<u64> {
    let text = reader.text(field)?;
    let duration = text.parse::<SignedDuration>().ok();
    let millis = duration.and_then(|duration| u64::try_from(duration.as_millis()).ok());
    if millis.is_none() {
        let message = format!("not a length of time: `{}`", text.escape_debug());
        let help = "write it like 30s, 5m, 24h or 1h30m".to_owned();
        reader.error_with_help(Code::BadWindow, &field.place, message, help);
    }
    millis
}
