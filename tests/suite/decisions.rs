//! The corpus of decisions: what the data says, what the engine says and what the oracle says must be one.

use crate::corpus::rows;
use crate::oracle::{Call, Oracle};
use crate::world::{Answer, Engine, post_headers};

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
