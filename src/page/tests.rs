use serde_json::{Value, json};

use super::Page;

fn ask(page: &mut Page, question: &Value) -> Value {
    serde_json::from_str(&page.ask(&question.to_string())).unwrap()
}

const POLICY: &str = "version: \"1\"\n# é😀\ndefault: deny\ntools:\n  pay:\n    require:\n      - {conditions: [{path: args.amount, op: lte, value: 5}]}\n    limits:\n      - {counter: pays, window: day, max: 2}\n";

#[test]
fn a_policy_is_checked_tried_and_tested() {
    let mut page = Page::default();
    let checked = ask(&mut page, &json!({"do": "check", "name": "p.yaml", "text": POLICY}));
    assert_eq!(checked["answer"]["valid"], true, "{checked}");
    assert_eq!(checked["answer"]["counters"], json!(["pays"]));
    let call = json!({"tool": "pay", "arguments": {"amount": 6}});
    let tried = ask(&mut page, &json!({"do": "try", "step": {"call": call}}));
    assert_eq!(tried["answer"]["reason"], "requirement_not_met", "{tried}");
    let mark = &tried["marks"]["/tools/pay/require/0"];
    let units: Vec<u16> = POLICY.encode_utf16().collect();
    let [from, to] = [0, 1].map(|at| usize::try_from(mark[at].as_u64().unwrap()).unwrap());
    assert!(String::from_utf16(&units[from..to]).unwrap().starts_with('{'), "{tried}");

    let step =
        json!({"call": {"tool": "pay", "arguments": {"amount": 5}}, "caller": "a", "repeat": 3});
    let tried = ask(&mut page, &json!({"do": "try", "step": step}));
    assert_eq!(tried["runs"][0]["calls"], 2, "{tried}");
    assert_eq!(tried["runs"][1]["decision"], "deny");
    let used = |tried: &Value| tried["answer"]["rules"].to_string().contains(r#""used":"2""#);
    assert!(used(&tried), "{tried}");
    let once = json!({"call": call, "caller": "a"});
    assert!(used(&ask(&mut page, &json!({"do": "try", "step": once}))));
    assert!(!used(&ask(&mut page, &json!({"do": "try", "fresh": true, "step": once}))));
    ask(&mut page, &json!({"do": "reset"}));
    assert!(!used(&ask(&mut page, &json!({"do": "try", "step": once}))));

    let tests = json!({"tests": [{"name": "n", "call": call, "expect": "allow"}]}).to_string();
    let tested = ask(&mut page, &json!({"do": "test", "name": "t.json", "text": tests}));
    assert_eq!(tested["answer"]["tests"][0]["passed"], false, "{tested}");
    let tested = ask(&mut page, &json!({"do": "test", "name": "t.json", "text": "{\"tests\": 1}"}));
    assert!(tested["problems"][0]["at"].is_array(), "{tested}");

    let tools = r#"{"jsonrpc":"2.0","id":1,"result":{"tools":[{"name":"pay"},{"name":"rob"}]}}"#;
    let listed = ask(&mut page, &json!({"do": "list", "tools": tools, "step": {"caller": "a"}}));
    assert_eq!(listed["answer"].as_str().unwrap(), tools.replace(r#",{"name":"rob"}"#, ""));
}

#[test]
fn what_cannot_be_used_is_said() {
    let mut page = Page::default();
    for question in [json!([]), json!({"do": "dance"}), json!({"do": "try", "step": {}})] {
        assert!(ask(&mut page, &question)["trouble"].is_string(), "{question}");
    }
    for text in ["", "version: [", "{\"version\": \"1\", \"default\": \"deny\", \"tolls\": {}}"] {
        let checked = ask(&mut page, &json!({"do": "check", "name": "p", "text": text}));
        assert_eq!(checked["answer"]["valid"], false, "{text}");
        assert!(!checked["answer"]["problems"].as_array().unwrap().is_empty(), "{text}");
    }
    let judged = ask(&mut page, &json!({"do": "judge", "text": r#"[{"name":"delete_user"}]"#}));
    assert_eq!(judged["answer"]["tools"][0]["class"], "destructive", "{judged}");
}
