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
    let tried = ask(&mut page, &json!({"do": "try", "on": "nothing", "step": {"call": call}}));
    assert_eq!(tried["answer"]["reason"], "requirement_not_met", "{tried}");
    let mark = &tried["marks"]["/tools/pay/require/0"];
    let units: Vec<u16> = POLICY.encode_utf16().collect();
    let [from, to] = [0, 1].map(|at| usize::try_from(mark[at].as_u64().unwrap()).unwrap());
    assert!(String::from_utf16(&units[from..to]).unwrap().starts_with('{'), "{tried}");

    let step =
        json!({"call": {"tool": "pay", "arguments": {"amount": 5}}, "caller": "a", "repeat": 3});
    let tried = ask(&mut page, &json!({"do": "try", "on": "counters", "step": step}));
    assert_eq!(tried["runs"][0]["calls"], 2, "{tried}");
    assert_eq!(tried["runs"][1]["decision"], "deny");
    let used = |tried: &Value| tried["answer"]["rules"].to_string().contains(r#""used":"2""#);
    assert!(used(&tried), "{tried}");
    let once = json!({"call": call, "caller": "a"});
    let fits = json!({"call": {"tool": "pay", "arguments": {"amount": 5}}, "caller": "b"});
    let mut once = |on: &str| ask(&mut page, &json!({"do": "try", "on": on, "step": once}));
    assert!(used(&once("counters")));
    assert!(!used(&once("nothing")));
    assert!(used(&once("copy")));
    assert!(once("air")["trouble"].is_string());
    // What is looked at counts nothing.
    for _ in 0..3 {
        let looked = ask(&mut page, &json!({"do": "try", "on": "copy", "step": fits}));
        assert!(looked["answer"].to_string().contains(r#""used":"0""#), "{looked}");
    }
    ask(&mut page, &json!({"do": "reset"}));
    assert!(!used(&ask(
        &mut page,
        &json!({"do": "try", "on": "counters", "step": {"call": call, "caller": "a"}})
    )));

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
fn a_deployment_file_is_rendered_by_the_options_of_the_command() {
    let mut page = Page::default();
    ask(&mut page, &json!({"do": "check", "name": "p.yaml", "text": POLICY}));
    let mut render = |options: Value| {
        ask(&mut page, &json!({"do": "render", "name": "Pay.yaml", "options": options}))
    };
    let envoy = render(json!({}));
    let text = envoy["answer"]["text"].as_str().unwrap();
    assert!(text.contains("vm_id: mcp_policy_pay") && text.contains("port_value: 8000"), "{text}");
    assert_eq!(envoy["answer"]["notes"][0]["place"], "name", "{envoy}");
    let mesh = json!({"for": "istio-envoyfilter", "namespace": "pay", "app": "shop", "port": "81"});
    assert!(render(mesh)["answer"]["text"].as_str().unwrap().contains("portNumber: 81"));
    for (options, problem) in [
        (json!({"for": "istio-envoyfilter"}), "--namespace"),
        (json!({"for": "wind"}), "expected one of envoy, envoy-module, envoy-filter"),
        (json!({"upstream": "mcp.example.com:443"}), "https://mcp.example.com:443"),
        (json!({"port": "0"}), "1 to 65535"),
        (json!({"name": "Not So"}), "lower-case"),
        (json!({"output": "/etc/passwd"}), "no option --output"),
        (json!({"for": "ratelimit"}), "no limit counts"),
    ] {
        let answer = render(options);
        assert!(answer["trouble"].as_str().unwrap().contains(problem), "{answer}");
    }
    let offered = ask(&mut page, &json!({"do": "options"}));
    assert_eq!(offered["answer"]["usual"]["upstream"], "127.0.0.1:8000", "{offered}");
    assert_eq!(offered["answer"]["targets"][0]["word"], "envoy");
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
