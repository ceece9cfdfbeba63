//! The corpus of decisions: what the data says, what the engine says and what the oracle says must be one.

use crate::corpus::rows;
use crate::oracle::{Call, Oracle};
use crate::world::{Engine, post_headers};

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
            let arguments = case.arguments.as_deref();
            let mut headers = post_headers(&case.caller);
            let further = case.headers.iter();
            headers.extend(further.map(|(name, value)| (name.as_bytes(), value.as_bytes())));
            let decided = engine.call_with(&case.tool, arguments, &headers, case.at);
            let verdict = oracle.decide(&Call {
                tool: &case.tool,
                arguments: arguments
                    .map_or(serde_json::Value::Null, |text| serde_json::from_str(text).unwrap()),
                caller: &case.caller,
                headers: &case.headers,
                at_ms: case.at,
            });
            let expect = &case.expect;
            let matches = decided.allowed == (expect.decision == "allow")
                && decided.allowed == (verdict.decision == "allow")
                && decided.reason == verdict.reason
                && decided.rule == verdict.rule
                && (expect.reason.is_none() || decided.reason == expect.reason.as_deref())
                && (expect.rule.is_none() || decided.rule == expect.rule)
                && (expect.message.is_none() || decided.message == expect.message);
            if !matches {
                wrong.push(format!(
                    "{place}, call {at} of {} {:?}\n  expected {expect:?}\n  engine   {decided:?}\n  oracle   {} {:?} {:?}",
                    case.tool, case.arguments, verdict.decision, verdict.reason, verdict.rule
                ));
            }
        }
    }
    assert!(calls > 400, "the corpus is there: {calls} calls");
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
}
