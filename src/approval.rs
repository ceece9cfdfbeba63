//! Asking somebody whether a call may run: OpenID AuthZEN 1.0, access evaluation.
//!
//! What comes back approves only if it says so exactly. Whatever else comes, or nothing, does not.

use serde::Serialize;

use crate::ask::{Answer, Ask, AskId};
use crate::json::{Duplicates, Value, parse, written};
use crate::policy::compiled::Approver;

/// The longest answer that is read, in bytes.
const MAX_ANSWER_BYTES: usize = 65_536;

/// A call as the approver sees it.
#[derive(Clone, Copy, Debug)]
pub struct Question<'q> {
    /// Who calls, as he is logged: never a credential.
    pub caller: &'q str,
    /// The method.
    pub method: &'q str,
    /// What the name is a name of.
    pub kind: &'static str,
    /// The name.
    pub name: &'q str,
}

#[derive(Serialize)]
struct Evaluation<'q> {
    subject: Entity<'q>,
    action: EvaluationAction<'q>,
    resource: Entity<'q>,
}

#[derive(Serialize)]
struct Entity<'q> {
    r#type: &'q str,
    id: &'q str,
}

#[derive(Serialize)]
struct EvaluationAction<'q> {
    name: &'q str,
}

impl Question<'_> {
    /// The question in bytes.
    #[must_use]
    pub fn ask(&self, id: AskId, approver: &Approver) -> Ask {
        let evaluation = Evaluation {
            subject: Entity { r#type: "identity", id: self.caller },
            action: EvaluationAction { name: self.method },
            resource: Entity { r#type: self.kind, id: self.name },
        };
        Ask {
            id,
            cluster: approver.cluster.clone(),
            path: approver.path.clone(),
            body: written(&evaluation),
            timeout_millis: approver.patience_millis,
        }
    }
}

/// Whether an answer approves: HTTP 200 with an object whose one `decision` is `true`.
#[must_use]
pub fn approves(answer: &Answer<'_>) -> bool {
    let Answer::Http { status: 200, body } = answer else { return false };
    let text = std::str::from_utf8(body).ok().filter(|text| text.len() <= MAX_ANSWER_BYTES);
    let Some(Ok(value)) = text.map(|text| parse(text, Duplicates::Refuse)) else { return false };
    value.as_object().and_then(|answer| answer.get("decision")) == Some(&Value::Bool(true))
}

#[cfg(test)]
mod tests {
    use super::approves;
    use crate::ask::Answer;

    #[test]
    fn only_an_exact_yes_approves() {
        let long = format!("{{\"decision\":true,\"context\":\"{}\"}}", "x".repeat(70_000));
        for (status, body, expected) in [
            (200, r#"{"decision":true}"#, true),
            (200, r#"{"context":{"a":[1]},"decision":true}"#, true),
            (200, r#"{"decision":false}"#, false),
            (200, r#"{"decision":"true"}"#, false),
            (200, r#"{"decision":1}"#, false),
            (200, r#"{"Decision":true}"#, false),
            (200, r#"{"decision":false,"decision":true}"#, false),
            (200, r#"[{"decision":true}]"#, false),
            (200, r#"{"decision":true"#, false),
            (200, "", false),
            (200, &*long, false),
            (201, r#"{"decision":true}"#, false),
            (504, r#"{"decision":true}"#, false),
        ] {
            let answer = Answer::Http { status, body: body.as_bytes() };
            assert_eq!(approves(&answer), expected, "{status} {}", body.get(..60).unwrap_or(body));
        }
        assert!(!approves(&Answer::Http { status: 200, body: b"\xff" }));
        assert!(!approves(&Answer::Failed));
    }
}
