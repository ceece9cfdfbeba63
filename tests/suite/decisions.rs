//! The corpus of decisions: what the data says, what the engine says and what the oracle says must be one.

use mcp_policy::policy::compiled::Config;
use mcp_policy::rehearsal::{SimulatedRequest, Simulator};
use mcp_policy::time::UnixMillis;

use crate::corpus::rows;
use crate::oracle::{Call, Oracle};
use crate::world::{Answer, Engine, explained, post_headers};

#[test]
fn engine_agrees_with_the_corpus_and_the_oracle() {
    let mut wrong = Vec::new();
    let mut calls = 0;
    for row in rows() {
        let place = format!("{}: {}", row.file, row.name);
        let engine = match Engine::new(&row.policy.to_string()) {
            Ok(engine) => engine,
            Err(problems) => {
                let problems: Vec<String> = problems.iter().map(ToString::to_string).collect();
                wrong.push(format!("{place}: the policy is refused: {}", problems.join(" | ")));
                continue;
            }
        };
        let mut oracle = Oracle::new(row.policy.clone());
        for (at, case) in row.calls.iter().enumerate() {
            calls += 1;
            let mut headers = post_headers(&case.caller);
            let further = case.headers.iter();
            headers.extend(further.map(|(name, value)| (name.as_bytes(), value.as_bytes())));
            let decided = engine.request(&case.body("1"), &headers, case.at, Answer::Success);
            let verdict = oracle.decide(&Call::of(case));
            let expect = &case.expect;
            let matches = decided.allowed == (expect.decision == "allow")
                && decided.allowed == (verdict.decision == "allow")
                && decided.reason == verdict.reason
                && decided.rule == verdict.rule
                && (expect.reason.is_none() || decided.reason == expect.reason.as_deref())
                && (expect.rule.is_none() || decided.rule == expect.rule)
                && (expect.message.is_none() || decided.message == expect.message)
                && decided.form == expect.form.as_deref();
            if !matches {
                wrong.push(format!(
                    "{place}, call {at}: {}\n  expected {expect:?}\n  engine   {decided:?}\n  oracle   {} {:?} {:?}",
                    case.body("1"), verdict.decision, verdict.reason, verdict.rule
                ));
            }
        }
    }
    assert!(calls > 400, "the corpus is there: {calls} calls");
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
}

/// `explain` listens to the engine, so it cannot say anything else than the engine does.
#[test]
fn an_explanation_says_what_is_decided() {
    let mut wrong = Vec::new();
    for row in rows() {
        let Ok(loaded) = Config::load(row.policy.to_string().as_bytes(), "test") else { continue };
        let simulator = Simulator::new(loaded.config);
        for case in &row.calls {
            let mut request = SimulatedRequest::new(case.body("1"), UnixMillis(case.at));
            let caller = Some(("authorization".to_owned(), case.caller.clone()));
            request.headers.extend(caller.filter(|(_, caller)| !caller.is_empty()));
            request.headers.extend(case.headers.iter().cloned());
            if let Err(problem) = explained(&simulator, &request) {
                wrong.push(format!("{}: {}: {problem}", row.file, row.name));
            }
        }
    }
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
}
