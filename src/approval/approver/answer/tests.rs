use super::{Evaluated, Progress, Task, evaluated, progress};
use crate::ask::Answer;
use crate::policy::approvals::Approver;

fn http(status: u16, body: &str) -> Answer<'_> {
    Answer::Http { status, body: body.as_bytes() }
}

#[test]
fn only_an_exact_yes_approves() {
    let long = format!("{{\"decision\":true,\"context\":\"{}\"}}", "x".repeat(70_000));
    for (status, body, expected) in [
        (200, r#"{"decision":true}"#, "yes"),
        (200, r#"{"context":{"a":[1]},"decision":true}"#, "yes"),
        (200, r#"{"decision":false}"#, "no"),
        (200, r#"{"decision":false,"context":{"reason":"x"}}"#, "no"),
        (200, r#"{"decision":false,"context":{"evaluation_id":"e1","access_request":{}}}"#, "ask"),
        (200, r#"{"decision":false,"context":{"access_request":{}}}"#, "?"),
        (200, r#"{"decision":false,"context":{"evaluation_id":1,"access_request":{}}}"#, "?"),
        (200, r#"{"decision":false,"context":{"evaluation_id":"e1","access_request":true}}"#, "?"),
        (200, r#"{"decision":false,"context":{"reason":"approval_consumed"}}"#, "used"),
        (200, r#"{"decision":false,"context":7}"#, "?"),
        (200, r#"{"decision":"true"}"#, "?"),
        (200, r#"{"decision":1}"#, "?"),
        (200, r#"{"Decision":true}"#, "?"),
        (200, r#"{"decision":false,"decision":true}"#, "?"),
        (200, r#"[{"decision":true}]"#, "?"),
        (200, r#"{"decision":true"#, "?"),
        (200, "", "?"),
        (200, &*long, "?"),
        (201, r#"{"decision":true}"#, "?"),
        (504, r#"{"decision":true}"#, "?"),
    ] {
        let found = match evaluated(&http(status, body)) {
            Some(Evaluated::Permitted) => "yes",
            Some(Evaluated::Denied) => "no",
            Some(Evaluated::Consumed) => "used",
            Some(Evaluated::Requestable(_)) => "ask",
            None => "?",
        };
        assert_eq!(found, expected, "{status} {}", body.get(..60).unwrap_or(body));
    }
    assert!(evaluated(&Answer::Http { status: 200, body: b"\xff" }).is_none());
    assert!(evaluated(&Answer::Failed).is_none());
}

fn approver() -> Approver {
    Approver {
        cluster: "approver".into(),
        authority: "approver".into(),
        path: "/evaluate".into(),
        requests: "/requests".into(),
        variable: None,
        authorization: None,
        timeout_millis: 1,
        sends_arguments: true,
        links: vec!["https://a.example/".into()],
    }
}

fn told(answer: &Answer<'_>, known: Option<Task>) -> String {
    match progress(answer, &approver(), known) {
        Some(Progress::Pending(task)) => {
            format!("pending {} {} {:?}", task.id, task.path, task.link)
        }
        Some(Progress::Approved(approval)) => {
            format!("approved {} {:?}", approval.id, approval.until)
        }
        Some(Progress::Denied) => "denied".into(),
        Some(Progress::Over) => "over".into(),
        None => "?".into(),
    }
}

#[test]
fn a_request_is_followed_below_its_path_and_nowhere_else() {
    let made = |endpoint: &str, link: &str| {
        format!(
            r#"{{"task":{{"id":"t1","status":"pending","status_endpoint":"{endpoint}","links":{{"ticket":"{link}"}}}}}}"#
        )
    };
    for (endpoint, link, expected) in [
        ("/requests/t1", "", "pending t1 /requests/t1 None"),
        ("https://other.example/requests/t1", "", "pending t1 /requests/t1 None"),
        (
            "/requests/t1",
            "https://a.example/t1",
            "pending t1 /requests/t1 Some(\"https://a.example/t1\")",
        ),
        ("/requests/t1", "https://a.example.evil/t1", "pending t1 /requests/t1 None"),
        ("/requests/t1", "http://a.example/t1", "pending t1 /requests/t1 None"),
        ("/requests/", "", "?"),
        ("/requests", "", "?"),
        ("/requests/../admin", "", "?"),
        ("/requests/a/b", "", "?"),
        ("/requests/a?b", "", "?"),
        ("/requests/%2e", "", "?"),
        ("/requestsx/t1", "", "?"),
        ("https://evil", "", "?"),
        ("", "", "?"),
    ] {
        for status in [200, 201, 202] {
            assert_eq!(
                told(&http(status, &made(endpoint, link)), None),
                expected,
                "{endpoint} {link}"
            );
        }
    }
    assert_eq!(told(&http(203, &made("/requests/t1", "")), None), "?");
}

#[test]
fn only_what_the_profile_says_moves_a_request() {
    let known = Task { id: "t1".into(), path: "/requests/t1".into(), expires_at: None, link: None };
    for (status, body, expected) in [
        (200, r#"{"status":"pending"}"#, "pending t1 /requests/t1 None"),
        (200, r#"{"task":{"status":"pending"}}"#, "pending t1 /requests/t1 None"),
        (200, r#"{"task":{"status":"denied"}}"#, "denied"),
        (200, r#"{"task":{"status":"expired"}}"#, "over"),
        (200, r#"{"task":{"status":"cancelled"}}"#, "over"),
        (200, r#"{"task":{"status":"failed"}}"#, "over"),
        (200, r#"{"task":{"status":"Approved"}}"#, "?"),
        (200, r#"{"task":{"status":"approved"}}"#, "?"),
        (
            200,
            r#"{"task":{"status":"approved"},"result":{"mode":"reevaluate","approval":{"id":"a1","approved_until":"1970-01-01T00:01:40Z","state":[1]}}}"#,
            "approved a1 Some(100)",
        ),
        (
            200,
            r#"{"status":"approved","result":{"mode":"reevaluate","approval":{"id":"a1"}}}"#,
            "approved a1 None",
        ),
        (200, r#"{"status":"approved","result":{"mode":"token","approval":{"id":"a1"}}}"#, "?"),
        (200, r#"{"status":"approved","result":{"mode":"reevaluate","approval":{"id":1}}}"#, "?"),
        (
            200,
            r#"{"status":"approved","result":{"mode":"reevaluate","approval":{"id":"a1","approved_until":"soon"}}}"#,
            "?",
        ),
        (200, r#"{"status":"approved","result":{"mode":"reevaluate"}}"#, "?"),
        (200, r#"{"status":"pending","status":"approved"}"#, "?"),
        (202, r#"{"status":"pending"}"#, "?"),
        (404, r#"{"status":"denied"}"#, "?"),
        (200, "[]", "?"),
    ] {
        assert_eq!(told(&http(status, body), Some(known.clone())), expected, "{status} {body}");
    }
}
