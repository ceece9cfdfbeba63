//! The page in a browser: JSON in, JSON out. It decides nothing; what it is asked, it asks of the library.
//!
//! A page cannot hold references into the engine, so the policy that it works on stays here between its questions, with what has been counted.

mod answer;

use std::borrow::Cow;

use crate::json::{Bounds, Duplicates, Member, Object, Value, parse_within, written};
use crate::lint::fit;
use crate::policy::compiled::Config;
use crate::rehearsal::coverage::Coverage;
use crate::rehearsal::suite::report::run_suite;
use crate::rehearsal::suite::{Suite, TestStep};
use crate::rehearsal::{ListSeen, Simulator, Verdict, let_govern};
use crate::source::{Problem, SourceText};
use crate::tools::Tool;
use crate::tools::classify::Classifier;
use crate::tools::judged::JudgedTool;
use crate::trace::explanation::{Explanation, Places, governing, time};
use crate::trace::trace;
use answer::{Answered, Checked, JudgedServer, Listed, Marks, Run, Tested, Tried, Trouble};

/// The most that a page may ask in one piece: policies with thousands of tools, and logs.
const BOUNDS: Bounds = Bounds { depth: 256, values: 4_000_000 };

/// What the page works on.
#[derive(Debug, Default)]
struct Page {
    /// The policy, if it can be used.
    stage: Option<Stage>,
}

/// A policy with what has been counted under it.
#[derive(Debug)]
struct Stage {
    source: SourceText,
    simulator: Simulator,
}

/// A question, or what a question says of one thing.
type QuestionMembers<'q> = Object<'q>;

impl Page {
    /// Answers a question.
    fn ask(&mut self, question: &str) -> String {
        let read = parse_within(question, Duplicates::Refuse, BOUNDS);
        let Ok(Value::Object(asked)) = &read else {
            return written(&Trouble::new("not a question"));
        };
        let reply = match text(asked, "do") {
            "check" => self.check(asked),
            "try" => self.run(asked),
            "reset" => self.reset(),
            "list" => self.list(asked),
            "test" => self.test(asked),
            "judge" => judge(asked),
            other => Err(format!("nobody can do `{other}`")),
        };
        reply.unwrap_or_else(|problem| written(&Trouble::new(&problem)))
    }

    /// Takes a policy, and says what is wrong with it.
    fn check(&mut self, asked: &QuestionMembers<'_>) -> Result<String, String> {
        let bytes = text(asked, "text").as_bytes().to_vec();
        let source = match SourceText::new(text(asked, "name"), bytes) {
            Ok(source) => source,
            Err(problem) => {
                self.stage = None;
                let source = SourceText { text: text(asked, "text").to_owned(), ..not_text(asked) };
                return Ok(written(&Checked::refused(&source, &[*problem])));
            }
        };
        let (config, problems) = checked(&source, asked);
        let checked = match &config {
            Some(config) => written(&Checked::of(&source, &problems, config)),
            None => written(&Checked::refused(&source, &problems)),
        };
        let governs = asked.get("policy").and_then(Value::as_str);
        self.stage = config.map(|config| Stage::new(source, config, governs));
        Ok(checked)
    }

    fn stage(&self) -> Result<&Stage, String> {
        self.stage.as_ref().ok_or_else(|| "the policy cannot be used".to_owned())
    }

    /// Forgets what has been counted.
    fn reset(&mut self) -> Result<String, String> {
        if let Some(stage) = &mut self.stage {
            stage.simulator = stage.simulator.afresh();
        }
        Ok(written(&Answered { answer: () }))
    }

    /// Sends a call, as often as it says, and explains the last.
    fn run(&self, asked: &QuestionMembers<'_>) -> Result<String, String> {
        let Stage { source, simulator, .. } = self.stage()?;
        let step = step(asked, None, &simulator.config)?;
        let fresh = matches!(asked.get("fresh"), Some(Value::Bool(true)));
        let afresh = fresh.then(|| simulator.afresh());
        let simulator = afresh.as_ref().unwrap_or(simulator);
        let mut runs: Vec<Run> = Vec::new();
        let mut last = None;
        for number in 1..=step.repeat {
            let told = (number == step.repeat).then(|| trace(&simulator.clone(), &step.request));
            let verdict = match step.consent {
                None => simulator.send(&step.request),
                Some(consent) => {
                    simulator.play(&step.request, consent, &Coverage::of(&simulator.config)).0
                }
            };
            Run::note(&mut runs, &verdict);
            last = told.map(|(_, trace)| (verdict, trace)).or(last);
        }
        let (verdict, mut trace) = last.ok_or("nothing was sent")?;
        let places = Places::new(source, &verdict.policy);
        places.fill_in(&mut trace);
        let marks = Marks::of(source, &places, &verdict, &trace);
        let explanation: Explanation<'_, Verdict> = Explanation {
            policy: &source.name,
            governed_by: governing(&simulator.config, &verdict),
            at: time(step.request.at),
            recorded: None,
            verdict: &verdict,
            line: places.line(&verdict.rule),
            trace: &trace,
        };
        Ok(written(&Tried { answer: explanation, marks, runs }))
    }

    /// What a caller gets who asks for the tools.
    fn list(&self, asked: &QuestionMembers<'_>) -> Result<String, String> {
        let Stage { simulator, .. } = self.stage()?;
        let step = step(asked, Some(LIST), &simulator.config)?;
        let seen = match simulator.list(&step.request, text(asked, "tools")) {
            ListSeen::Answer(text) => Some(text),
            ListSeen::NotAsked => None,
        };
        Ok(written(&Listed { answer: seen }))
    }

    /// Runs policy tests.
    fn test(&self, asked: &QuestionMembers<'_>) -> Result<String, String> {
        let Stage { source, .. } = self.stage()?;
        // As `mcp-policy test` does: with every policy and its bindings.
        let config = source.compile().0.ok_or("the policy cannot be used")?;
        let tests = SourceText::new(text(asked, "name"), text(asked, "text").as_bytes().to_vec());
        let tests = match tests {
            Ok(tests) => tests,
            Err(problem) => {
                let problems = answer::problems(&not_text(asked), &[*problem]);
                return Ok(written(&Tested { answer: None, problems }));
            }
        };
        let problems = match tests.value().map(|value| Suite::read(&value, Some(&config))) {
            Ok(Ok(suite)) => {
                let (report, _) = run_suite(&suite, config, source, &tests);
                return Ok(written(&Tested { answer: Some(report), problems: Vec::new() }));
            }
            Ok(Err(problems)) => tests.locate(problems),
            Err(problem) => vec![*problem],
        };
        let problems = answer::problems(&tests, &problems);
        Ok(written(&Tested { answer: None, problems }))
    }
}

impl Stage {
    fn new(source: SourceText, mut config: Config, governs: Option<&str>) -> Stage {
        // A name that no policy has any more is one that the page still shows.
        let _ = governs.is_some_and(|name| let_govern(&mut config, name));
        Stage { source, simulator: Simulator::new(config) }
    }
}

/// The request that asks for the tools.
const LIST: &str = r#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#;

fn checked(source: &SourceText, asked: &QuestionMembers<'_>) -> (Option<Config>, Vec<Problem>) {
    let tools = text(asked, "tools");
    let document = parse_within(tools, Duplicates::Keep, BOUNDS);
    let tools = document.as_ref().ok().and_then(|document| fit::tools(document).ok());
    match tools {
        Some(tools) if !tools.is_empty() => {
            source.compile_for(&tools, asked.get("policy").and_then(Value::as_str))
        }
        Some(_) | None => source.compile(),
    }
}

/// What a question says of a call: a step of a policy test, so that what was tried can be kept as one.
fn step(
    asked: &QuestionMembers<'_>,
    call: Option<&str>,
    config: &Config,
) -> Result<TestStep, String> {
    let Some(step) = asked.get("step").and_then(Value::as_object) else {
        return Err("there is no call".to_owned());
    };
    let mut step = step.clone();
    let mut put = |key: &'static str, value: &str| {
        let value = Value::String(Cow::Owned(value.to_owned()));
        step.0.retain(|member| member.key != key);
        step.0.push(Member { key: key.into(), raw: "", value });
    };
    put("name", "try");
    put("expect", "allow");
    if let Some(call) = call {
        put("call", call);
    }
    let tests = Value::Array(vec![Value::Object(step)]);
    let document = Object(vec![Member { key: "tests".into(), raw: "", value: tests }]);
    let suite = Suite::read(&Value::Object(document), Some(config)).map_err(|problems| {
        let lines: Vec<String> = problems
            .iter()
            .map(|problem| format!("{}: {}", problem.place, problem.message))
            .collect();
        lines.join("; ")
    })?;
    let test = suite.tests.into_iter().next();
    test.and_then(|test| test.steps.into_iter().next()).ok_or_else(|| "there is no call".to_owned())
}

/// What a server's tools can do.
fn judge(asked: &QuestionMembers<'_>) -> Result<String, String> {
    let classifier = Classifier::new();
    let judged = classifier.judge_all(Tool::read_list(text(asked, "text"))?);
    let tools = judged.tools.iter().map(|(tool, found)| JudgedTool::new(None, tool, found));
    let judged = JudgedServer { tools: tools.collect(), remarks: &judged.remarks };
    Ok(written(&Answered { answer: judged }))
}

fn not_text(asked: &QuestionMembers<'_>) -> SourceText {
    SourceText::not_text(text(asked, "name"))
}

fn text<'a>(asked: &'a QuestionMembers<'_>, key: &str) -> &'a str {
    asked.get(key).and_then(Value::as_str).unwrap_or_default()
}

/// How the page's script calls: it asks for room, writes a question there, and reads the answer.
#[cfg(target_family = "wasm")]
mod calls {
    use std::cell::RefCell;

    use super::Page;

    thread_local! {
        static PAGE: RefCell<Page> = RefCell::default();
        static TEXT: RefCell<Vec<u8>> = RefCell::default();
    }

    /// Room for so many bytes of a question; also where the answer is.
    #[expect(unsafe_code, reason = "the script finds it by its name")]
    #[unsafe(no_mangle)]
    fn room(length: usize) -> *mut u8 {
        TEXT.with_borrow_mut(|text| {
            text.resize(length.max(text.len()), 0);
            text.as_mut_ptr()
        })
    }

    /// Answers the question of so many bytes that stands in the room; yields the length of the answer.
    #[expect(unsafe_code, reason = "the script finds it by its name")]
    #[unsafe(no_mangle)]
    fn ask(length: usize) -> usize {
        TEXT.with_borrow_mut(|text| {
            text.truncate(length);
            let question = String::from_utf8_lossy(text).into_owned();
            *text = PAGE.with_borrow_mut(|page| page.ask(&question)).into_bytes();
            text.len()
        })
    }
}

#[cfg(test)]
mod tests;
