//! `mcp-policy render`: what comes out is a document, and the policy in it is the policy that went in. The tests on the real
//! Envoy, and against Istio's schemas, are in `tests/e2e/test_render.py`.

use std::fs;
use std::path::{Path, PathBuf};

use mcp_policy::json::{Duplicates, Value, parse};
use mcp_policy::policy::compiled::Config;

use crate::command::{Ran, command, run};

const TARGETS: [&str; 6] =
    ["envoy", "envoy-module", "envoy-filter", "istio-wasmplugin", "istio-envoyfilter", "json"];

/// What Istio's files must be told.
const PLACE: [&str; 4] = ["--namespace", "pay", "--app", "payments"];

fn render(arguments: &[&str]) -> Ran {
    run(&mut command(&[&["render"], arguments].concat()), b"")
}

fn render_for(file: &str, target: &str) -> Ran {
    let place = if target.starts_with("istio-") { &PLACE[..] } else { &[] };
    render(&[&[file, "--for", target], place].concat())
}

fn policies() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folders = ["policies", "tests/data/policies/valid"]
        .map(|folder| fs::read_dir(root.join(folder)).unwrap());
    let files = folders.into_iter().flatten().map(|file| file.unwrap().path());
    files.filter(|path| path.extension().is_some_and(|end| end == "json")).collect()
}

fn write(name: &str, text: &str) -> String {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("render");
    fs::create_dir_all(&folder).unwrap();
    let path = folder.join(name);
    fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

/// The value of the first member of this key, at any depth.
fn find<'v, 't>(value: &'v Value<'t>, key: &str) -> Option<&'v Value<'t>> {
    match value {
        Value::Object(object) => {
            object.get(key).or_else(|| object.0.iter().find_map(|member| find(&member.value, key)))
        }
        Value::Array(items) => items.iter().find_map(|item| find(item, key)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => None,
    }
}

fn read(text: &str) -> Value<'static> {
    mcp_policy::yaml::read(text).unwrap_or_else(|fault| panic!("{fault}\n{text}"))
}

/// The configuration as the filter gets it, from a file for this target.
fn embedded(target: &str, text: &str) -> Value<'static> {
    let documents = match target {
        "json" => return read(text),
        "istio-wasmplugin" => return find(&read(text), "pluginConfig").unwrap().clone(),
        _ => read(text),
    };
    let key = if target == "envoy-module" { "filter_config" } else { "configuration" };
    let Some(Value::Object(configuration)) = find(&documents, key) else { panic!("{text}") };
    assert_eq!(
        configuration.get("@type").and_then(Value::as_str),
        Some("type.googleapis.com/google.protobuf.StringValue")
    );
    let json = configuration.get("value").and_then(Value::as_str).unwrap();
    assert!(Config::load(json.as_bytes(), "").is_ok(), "the filter takes it: {json}");
    read(json)
}

/// Two documents without regard to `requests.hold_headers` and `name`.
fn same(before: &Value<'_>, after: &Value<'_>) -> bool {
    let strip = |value: &Value<'_>| {
        let mut json: serde_json::Value = serde_json::from_str(&as_json(value)).unwrap();
        if let Some(requests) =
            json.get_mut("requests").and_then(|requests| requests.as_object_mut())
        {
            requests.remove("hold_headers");
        }
        if json.get("requests").is_some_and(|requests| requests.as_object().unwrap().is_empty()) {
            json.as_object_mut().unwrap().shift_remove("requests");
        }
        json.as_object_mut().unwrap().shift_remove("name");
        json
    };
    strip(before) == strip(after)
}

fn as_json(value: &Value<'_>) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::Bool(flag) => flag.to_string(),
        Value::Number(text) => text.to_string(),
        Value::String(text) => serde_json::to_string(text).unwrap(),
        Value::Array(items) => {
            format!("[{}]", items.iter().map(as_json).collect::<Vec<_>>().join(","))
        }
        Value::Object(object) => {
            let member = |member: &mcp_policy::json::Member<'_>| {
                format!(
                    "{}:{}",
                    serde_json::to_string(&member.key).unwrap(),
                    as_json(&member.value)
                )
            };
            format!("{{{}}}", object.0.iter().map(member).collect::<Vec<_>>().join(","))
        }
    }
}

#[test]
fn what_goes_in_comes_out() {
    let mut rendered = 0;
    for path in policies() {
        let text = fs::read_to_string(&path).unwrap();
        let before = parse(&text, Duplicates::Refuse).unwrap();
        for target in TARGETS {
            let (code, out, err) = render_for(path.to_str().unwrap(), target);
            let said = find(&before, "hold_headers").and_then(Value::as_str).map(str::to_owned);
            if target == "istio-wasmplugin" && said.as_deref() == Some("always") {
                assert_eq!(code, 2);
                assert!(err.contains("would refuse every call"), "{err}");
                continue;
            }
            assert_eq!(code, 0, "{err}");
            let after = embedded(target, &out);
            assert!(same(&before, &after), "{} for {target}:\n{out}", path.display());
            let hold = find(&after, "hold_headers").and_then(Value::as_str).map(str::to_owned);
            let expected = match target {
                "envoy" | "envoy-module" | "envoy-filter" | "istio-envoyfilter" => {
                    said.or(Some("always".to_owned()))
                }
                _ => said,
            };
            assert_eq!(hold, expected, "{} for {target}", path.display());
            rendered += 1;
        }
    }
    assert!(rendered > 60, "{rendered}");
}

#[test]
fn characters_that_yaml_takes_for_others_survive() {
    let text = "quote \\\" back \\\\ tab \\t line \\n next \\u0085 sep \\u2028 bom \\ufeff del \\u007f é 😀 # x: {a} %s";
    let policy = format!(
        r#"{{"version":"1","default":"deny","tools":{{"a: #b":{{"action":"deny","reason":"{text}"}}}}}}"#
    );
    let before = parse(&policy, Duplicates::Refuse).unwrap();
    let path = write("characters.json", &policy);
    for target in TARGETS {
        let (code, out, err) = render_for(&path, target);
        assert_eq!(code, 0, "{err}");
        assert!(same(&before, &embedded(target, &out)), "{target}: {out}");
    }
}

#[test]
fn names_and_addresses_are_placed() {
    let path = write("pay-per-use.yaml", "version: \"1\"\ndefault: deny\n");
    let (_, out, _) = render(&[
        &path,
        "--for",
        "envoy",
        "--listen",
        "[::]:8443",
        "--upstream",
        "mcp.internal:9000",
        "--admin",
        "127.0.0.1:9",
        "--wasm",
        "/opt/it's \"here\".wasm",
    ]);
    for piece in [
        r#"{ address: "::", port_value: 8443 }"#,
        "{ address: mcp.internal, port_value: 9000 }",
        "{ address: 127.0.0.1, port_value: 9 }",
        "type: STRICT_DNS",
        "vm_id: mcp_policy_pay_per_use",
        r#"filename: "/opt/it's \"here\".wasm""#,
        "failure_policy: FAIL_RELOAD",
        "allow_on_headers_stop_iteration: true",
    ] {
        assert_eq!(out.matches(piece).count(), 1, "{piece}\n{out}");
    }
    let istio = [
        "--namespace",
        "pay",
        "--app",
        "1234",
        "--port",
        "81",
        "--name",
        "n-1",
        "--wasm",
        "oci://r.example.com/f:1",
    ];
    for target in ["istio-wasmplugin", "istio-envoyfilter"] {
        let (_, out, _) = render(&[&[&*path, "--for", target][..], &istio].concat());
        for piece in [
            "name: mcp-policy-n-1\n",
            "namespace: \"pay\"",
            "app: \"1234\"",
            "umber: 81\n",
            "oci://r.example.com/f:1\"",
        ] {
            assert_eq!(out.matches(piece).count(), 1, "{target} {piece}\n{out}");
        }
        assert!(!out.contains("8000") && !out.contains("example.com/mcp-policy"), "{out}");
    }
}

#[test]
fn standard_input_is_read_once() {
    let policy = br#"{"version": "1", "default": "deny", "tools": {"only_here": {}}}"#;
    for arguments in
        [&["render", "-", "--for", "json"][..], &["render", "-", "--for", "envoy", "--name", "a"]]
    {
        let (code, text, problems) = run(&mut command(arguments), policy);
        assert!(code == 0 && text.contains("only_here"), "{arguments:?}: {problems}");
    }
    let two = ["render", "-", "policies/github.json", "--for", "json"];
    let (code, _, problems) = run(&mut command(&two), policy);
    assert!(code == 2 && problems.contains("rendered alone"), "{problems}");
}

#[test]
fn what_cannot_be_rendered_is_said() {
    let good = write("good.yaml", "version: \"1\"\ndefault: deny\n");
    let other = write("other.yaml", "version: \"1\"\ndefault: deny\n");
    let gateway = write(
        "gateway.yaml",
        "version: \"1\"\nservers: {a: {url: \"http://a\", policy: good.yaml}}\n",
    );
    let bad = write("bad.yaml", "version: \"1\"\ndefault: denny\n");
    for (arguments, said) in [
        (&[&*bad, "--for", "envoy"][..], "error[P007]: unknown word `denny`"),
        (&["missing.yaml", "--for", "envoy"], "missing.yaml: cannot be read"),
        (&[&good], "--for"),
        (&[&good, "--for", "nginx"], "istio-wasmplugin"),
        (&[&good, "--for", "envoy", "--listen", "here"], "expected HOST:PORT"),
        (&[&good, "--for", "envoy", "--name", "Not A Name"], "lower-case letters"),
        (&[&good, "--for", "envoy", "--wasm", "oci://x/y"], "a local file"),
        (
            &[&[&*good, "--for", "istio-wasmplugin", "--wasm", "x.wasm"], &PLACE[..]].concat(),
            "oci://",
        ),
        (&[&good, "--for", "istio-envoyfilter", "--app", "a"], "--namespace"),
        (&[&good, "--for", "istio-wasmplugin", "--namespace", "a"], "--app"),
        (
            &[&good, "--for", "istio-envoyfilter", "--namespace", "a", "--service", "s"],
            "use --for istio-wasmplugin",
        ),
        (&[&good, "--for", "json", "--live", "x"], "--live is for"),
        (&[&good, "--for", "envoy", "--switch", "off"], "--switch off is for"),
        (
            &[&good, "--for", "envoy", "--upstream", "a.example.com:443"],
            "https://a.example.com:443",
        ),
        (&[&good, "--for", "envoy", "--upstream", "https://a/mcp"], "a gateway file"),
        (&[&good, &good, "--for", "json"], "rename one of the files"),
        (&[&good, "--for", "json", "--path", "/x"], "--path is for several policies"),
        (&[&good, &other, "--for", "json", "--path", "/x"], "--path is for several policies"),
        (&[&gateway, "--for", "json", "--upstream", "http://a"], "--upstream is for policies"),
        (&[&gateway, &good, "--for", "json"], "it is rendered alone"),
        (
            &[&good, "--for", "json", "--output", "/nowhere/at/all"],
            "/nowhere/at/all: cannot be written",
        ),
    ] {
        let (status, out, err) = render(arguments);
        assert_eq!(status, 2, "{arguments:?}: {err}");
        assert!(out.is_empty() && err.contains(said), "{arguments:?}: {out}{err}");
    }
}
