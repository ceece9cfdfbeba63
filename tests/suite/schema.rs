//! The JSON Schemas: they are what the command writes, and they know the same language as the compiler of policies, field by
//! field.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use jsonschema::Validator;
use mcp_policy::json::{Duplicates, written as json_text};
use mcp_policy::language::diagnostic::{Code, Diagnostic};
use mcp_policy::policy::compiled::Config;
use mcp_policy::rehearsal::suite::Suite;
use serde_json::{Value, json};

use crate::command::{command, run};
use crate::corpus;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn written(what: &str) -> String {
    let (code, out, err) = run(&mut command(&["schema", what]), b"");
    assert_eq!(code, 0, "{err}");
    out
}

fn schema(what: &str) -> Value {
    serde_json::from_str(&written(what)).unwrap()
}

fn validator(what: &str) -> Validator {
    jsonschema::draft202012::new(&schema(what)).unwrap()
}

#[test]
fn what_is_committed_is_what_the_command_writes() {
    let bless = std::env::var_os("MCP_POLICY_BLESS").is_some();
    for (what, file) in [
        ("policy", "policies/schema/policy.schema.json"),
        ("plugin", "policies/schema/plugin.schema.json"),
        ("gateway", "policies/schema/gateway.schema.json"),
        ("reference", "policies/REFERENCE.md"),
    ] {
        let found = written(what);
        if bless {
            fs::write(root().join(file), &found).unwrap();
        }
        let committed = fs::read_to_string(root().join(file)).unwrap_or_default();
        assert!(committed == found, "{file} is stale: see `make bless`");
    }
}

/// The table of operators stands on two pages, and is written once.
#[test]
fn both_pages_have_the_same_operators() {
    let head = "| op | value in the policy | argument | holds if |\n";
    let table = |page: &str| {
        let (_, after) = page.split_once(head).expect("a table of operators");
        format!("{head}{}", after.split("\n\n").next().unwrap())
    };
    let (expected, file) = (table(&written("reference")), root().join("policies/README.md"));
    let mut page = fs::read_to_string(&file).unwrap();
    if std::env::var_os("MCP_POLICY_BLESS").is_some() {
        page = page.replace(&table(&page), &expected);
        fs::write(&file, &page).unwrap();
    }
    assert_eq!(table(&page), expected, "policies/README.md is stale: see `make bless`");
}

#[test]
fn the_schemas_are_schemas() {
    for what in ["policy", "plugin", "gateway", "tests", "audit"] {
        let id = format!(
            "https://raw.githubusercontent.com/mcp-policy/mcp-policy/main/policies/schema/{what}.schema.json"
        );
        assert_eq!(schema(what)["$id"], *id, "{what}: editors know it by its address");
        if let Err(error) = jsonschema::meta::validate(&schema(what)) {
            panic!("{what}: {error}");
        }
    }
}

/// Documents of a folder that are JSON, by name.
fn documents(folder: &str) -> BTreeMap<String, Value> {
    let files = fs::read_dir(root().join(folder)).unwrap().map(|file| file.unwrap().path());
    let named = |path: PathBuf| {
        let name = path.file_name()?.to_str()?.to_owned();
        let text = fs::read_to_string(&path).ok().filter(|_| name.ends_with(".json"))?;
        Some((name, serde_json::from_str(&text).ok()?))
    };
    files.filter_map(named).collect()
}

fn loads(document: &Value) -> Result<(), Vec<Diagnostic>> {
    Config::load(document.to_string().as_bytes(), "").map(|_| ())
}

/// Whatever loads must please the schemas: an editor must not underline what the filter takes.
#[test]
fn what_loads_is_valid() {
    let (policy, plugin) = (validator("policy"), validator("plugin"));
    let mut all = documents("policies");
    all.extend(documents("tests/data/policies/valid"));
    all.extend(documents("tests/data/policies/invalid"));
    all.extend(
        corpus::rows().into_iter().map(|row| (format!("{} {}", row.file, row.name), row.policy)),
    );
    let mut wrong = Vec::new();
    let mut valid = 0;
    for (name, document) in all.iter().filter(|(_, document)| loads(document).is_ok()) {
        valid += 1;
        let bare = document.get("policies").is_none();
        for (which, validator) in [("policy", bare.then_some(&policy)), ("plugin", Some(&plugin))] {
            let errors =
                validator.into_iter().flat_map(|validator| validator.iter_errors(document));
            wrong.extend(
                errors.map(|error| {
                    format!("{name}: {which}: {} at {}", error, error.instance_path())
                }),
            );
        }
    }
    assert!(valid > 300, "{valid}");
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// Problems of shape are found by the schema as by the filter. What needs more than a schema (counters that do not exist,
/// numbers that do not fit, fields that do not go together) may pass it.
#[test]
fn what_has_a_bad_shape_is_not_valid() {
    let plugin = validator("plugin");
    let mut wrong = Vec::new();
    let mut seen = 0;
    for (name, document) in documents("tests/data/policies/invalid") {
        let Err(problems) = loads(&document) else { continue };
        let shape = [
            Code::WrongType,
            Code::UnknownField,
            Code::MissingField,
            Code::UnknownWord,
            Code::BadWindow,
            Code::BadOperand,
        ];
        let shape = problems.iter().any(|problem| shape.contains(&problem.code));
        // Which operators fit depends on whether the path is a counter's.
        if shape && !["P009-counter.json", "P009-own-counter.json"].contains(&name.as_str()) {
            seen += 1;
            if plugin.is_valid(&document) {
                wrong.push(name);
            }
        }
    }
    assert!(seen > 40, "{seen}");
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// Walks every object of the schema, and asks the compiler at that very place which fields it knows.
#[test]
fn the_compiler_knows_the_same_fields() {
    let schema = schema("plugin");
    let mut walk = Walk { schema: &schema, seen: BTreeSet::new(), wrong: Vec::new(), objects: 0 };
    walk.object("a policy", &schema["else"], &|hole| hole);
    let full = |mut hole: Value| {
        hole.as_object_mut().unwrap().entry("policies").or_insert(json!({}));
        hole
    };
    walk.object("the full form", &schema["then"], &full);
    assert!(walk.objects >= 22, "{} objects", walk.objects);
    assert!(walk.wrong.is_empty(), "{:#?}", walk.wrong);
}

struct Walk<'s> {
    schema: &'s Value,
    seen: BTreeSet<String>,
    wrong: Vec<String>,
    objects: usize,
}

type Wrap<'w> = &'w dyn Fn(Value) -> Value;

impl<'s> Walk<'s> {
    /// `wrap` puts a value where this object stands in a document.
    fn object(&mut self, name: &str, object: &'s Value, wrap: Wrap<'_>) {
        self.objects += 1;
        let properties = object["properties"].as_object().unwrap();
        let ours: BTreeSet<&str> = properties.keys().map(String::as_str).collect();
        // Where every other member has a name of the author's own, no field is unknown.
        let others = &object["additionalProperties"];
        let theirs = if others.is_object() {
            self.property(others, &|hole| wrap(json!({ "search": hole })));
            properties.keys().cloned().collect()
        } else {
            known_fields(&ours, wrap)
        };
        for field in theirs.iter().filter(|field| !ours.contains(field.as_str())) {
            self.wrong.push(format!("{name}: the schema lacks `{field}`"));
        }
        for field in ours.iter().filter(|field| !theirs.contains(**field)) {
            self.wrong.push(format!("{name}: the compiler does not know `{field}`"));
        }
        for (field, property) in properties {
            self.property(property, &|hole| wrap(json!({ field: hole })));
        }
    }

    fn property(&mut self, property: &'s Value, wrap: Wrap<'_>) {
        let schema = self.schema;
        let id = property["$ref"].as_str().and_then(|path| path.strip_prefix("#/$defs/"));
        if let Some(id) = id.filter(|id| self.seen.insert((*id).to_owned())) {
            self.object(id, &schema["$defs"][id], wrap);
        }
        if property["items"].is_object() {
            self.property(&property["items"], &|hole| wrap(json!([hole])));
        }
        if property["additionalProperties"].is_object() {
            self.property(&property["additionalProperties"], &|hole| wrap(json!({"search": hole})));
        }
        for either in property["anyOf"].as_array().into_iter().flatten() {
            self.property(either, wrap);
        }
    }
}

/// The compiler's own list, which it tells where a field is like none of them.
fn known_fields(ours: &BTreeSet<&str>, wrap: Wrap<'_>) -> BTreeSet<String> {
    let unlike = "qqqqqqqqqqqqqqqqqqqq";
    let document = wrap(json!({ unlike: null }));
    let problems = loads(&document).unwrap_err();
    let told = problems
        .iter()
        .find(|problem| problem.code == Code::UnknownField && problem.message.contains(unlike));
    let help = told.and_then(|problem| problem.help.as_deref()?.strip_prefix("known fields: "));
    let help = help.unwrap_or_else(|| panic!("{ours:?}: {document}: {problems:#?}"));
    help.split(", ").map(str::to_owned).collect()
}

/// Every example of a field is taken by the compiler, in its place.
#[test]
fn the_examples_load() {
    let schema = schema("plugin");
    let mut wrong = Vec::new();
    let mut examples = 0;
    for id in OBJECTS {
        let object = match id {
            "policy" => &schema["else"],
            "plugin" => &schema["then"],
            other => &schema["$defs"][other],
        };
        for (field, property) in object["properties"].as_object().unwrap() {
            for example in property["examples"].as_array().unwrap() {
                examples += 1;
                let document = place(id, field, example);
                if let Err(problems) = loads(&document) {
                    wrong.push(format!("{id}.{field}: {document}: {problems:?}"));
                }
            }
        }
    }
    assert!(examples > 50, "{examples}");
    assert!(wrong.is_empty(), "{wrong:#?}");
}

const OBJECTS: [&str; 34] = [
    "access_log",
    "service",
    "policy",
    "candidate",
    "audit",
    "metrics",
    "tracing",
    "plugin",
    "binding",
    "match",
    "identity",
    "source",
    "denials",
    "section",
    "entry",
    "tool_entry",
    "requirement",
    "denial",
    "condition",
    "hours",
    "limit",
    "rate_limit",
    "rule",
    "state",
    "all_tools",
    "requests",
    "responses",
    "sessions",
    "counters",
    "question",
    "approval",
    "approvals",
    "approval_tokens",
    "approver",
];

/// An object with this field, and what it needs beside it.
fn holding(id: &str, field: &str, example: &Value) -> Value {
    let condition = json!({"path": "args.a", "op": "lte", "value": 1});
    let counted = json!({"counter": "spend", "window": "day"});
    let mut object = match id {
        "policy" | "candidate" => json!({"version": "1", "default": "deny"}),
        "audit" if field == "redact" => json!({"arguments": "redacted"}),
        "tool_entry" | "entry" if field == "approval" => json!({"action": "require_approval"}),
        "tool_entry" | "entry" => json!({"action": "deny"}),
        "approval" => json!({"by": "user"}),
        "approver" => json!({"cluster": "approver"}),
        "requirement" | "denial" | "question" => json!({"conditions": [condition]}),
        "hours" if field == "timezone" => json!({"days": ["mon"]}),
        "condition" if field == "from" => json!({"path": "args.a", "op": "lte"}),
        "condition" if field == "every" => json!({"path": "args.a[*]", "op": "lte", "value": 1}),
        "condition" => condition,
        // What only some kinds of limits may say.
        "limit" if ["burst", "lease"].contains(&field) => {
            let (key, word) =
                if field == "burst" { ("algorithm", "bucket") } else { ("count_in", "service") };
            json!({"counter": "a", "window": "day", "max": 1, key: word})
        }
        "limit" if field == "concurrent" => json!({"counter": "a"}),
        "limit" => json!({"counter": "a", "window": "day", "max": 1}),
        "service" => json!({"cluster": "ratelimit"}),
        "rate_limit" => json!({"max": 1, "window": 1}),
        "rule" if ["name", "on_deny", "reason"].contains(&field) => json!({"action": "deny"}),
        "rule" if field == "count" => json!({"rate_limit": "5/hour"}),
        "state" => counted,
        "plugin" => {
            json!({"policies": {"billing": {"version": "1", "default": "deny"}}, "bindings": [{"match": {}, "policy": "billing"}]})
        }
        "binding" => json!({"match": {}, "policy": "payments"}),
        "source" if field == "payload" => json!({"jwt_claim": "sub"}),
        "source" if ["source", "use_remote_address"].contains(&field) => {
            json!({"source": "ip", "use_remote_address": true})
        }
        "sessions" if field == "secrets" => json!({"pin": true}),
        _ => json!({}),
    };
    object[field] = example.clone();
    object
}

/// A document with this field of this object, and what the object needs beside it.
fn place(id: &str, field: &str, example: &Value) -> Value {
    let object = holding(id, field, example);
    let counted = json!({"counter": "spend", "window": "day"});
    let bound = |binding: Value| json!({"policies": {"payments": {"version": "1", "default": "deny"}}, "bindings": [binding], "identity": {"keys": {"team": {"header": "x-team"}}}});
    let tool = |entry: Value| json!({"version": "1", "default": "deny", "tools": {"create_charge": entry}, "counters": {"service": {"cluster": "ratelimit"}}});
    let settings =
        |name: &str, value: Value| json!({"version": "1", "default": "deny", name: value});
    match id {
        "policy" | "plugin" => object,
        "binding" => bound(object),
        "match" => bound(json!({"match": object, "policy": "payments"})),
        "source" => json!({"version": "1", "default": "deny", "identity": {"grant": object}}),
        "section" => json!({"version": "1", "default": "deny", "resources": object}),
        "entry" => json!({"version": "1", "default": "deny", "prompts": {"create_charge": object}}),
        "tool_entry" => tool(object),
        "requirement" => tool(json!({"require": [object]})),
        "question" => tool(json!({"ask_if": [object]})),
        "approval" => tool(json!({"action": "require_approval", "approval": object})),
        "approval_tokens" => settings("approvals", json!({"tokens": object})),
        "approver" => settings("approvals", json!({"approver": object})),
        "service" => settings("counters", json!({"service": object})),
        "denial" => tool(json!({"deny_if": [object]})),
        "condition" => tool(json!({"require": [{"conditions": [object]}]})),
        "hours" => {
            let condition = json!({"path": "now", "op": "during", "value": object});
            tool(json!({"require": [{"conditions": [condition]}]}))
        }
        "limit" => tool(json!({"limits": [object]})),
        "rate_limit" => tool(json!({"rate_limit": object})),
        "rule" => tool(json!({"rules": [object, {"state": counted}]})),
        "state" => tool(json!({"rules": [{"state": object}]})),
        setting => settings(setting, object),
    }
}

/// A key that is there twice is read in two ways.
#[test]
fn no_schema_has_a_key_twice() {
    for what in ["policy", "plugin", "gateway", "tests", "audit"] {
        if let Err(fault) = mcp_policy::json::parse(&written(what), Duplicates::Refuse) {
            panic!("{what}: {fault:?}");
        }
    }
}

/// The schema of tests is written by hand: it takes all tests that the command takes, and refuses what the command refuses.
#[test]
fn the_schema_of_tests_and_their_reader_agree() {
    let validator = validator("tests");
    let mut seen = 0;
    for folder in ["policies", "tests/data/cli/files"] {
        for path in fs::read_dir(root().join(folder)).unwrap().map(|file| file.unwrap().path()) {
            if !path.to_string_lossy().ends_with(".test.yaml") {
                continue;
            }
            seen += 1;
            let text = fs::read_to_string(&path).unwrap();
            let value = mcp_policy::yaml::read(&text).unwrap();
            let reads = Suite::read(&value, None).is_ok();
            let instance: Value = serde_json::from_str(&json_text(&value)).unwrap();
            let valid = validator.is_valid(&instance);
            assert_eq!(
                reads,
                valid,
                "{}: {:?}",
                path.display(),
                validator.validate(&instance).err()
            );
        }
    }
    assert!(seen >= 10);
    // One fault at a time, of all kinds of fields.
    let sound = json!({"tests": [{"name": "a", "call": {"tool": "x"}, "expect": "allow"}]});
    for (pointer, value, holds) in &edits_of_a_suite() {
        let mut edited = sound.clone();
        let (parent, key) = pointer.rsplit_once('/').unwrap();
        let object = edited.pointer_mut(parent).and_then(Value::as_object_mut).unwrap();
        object.insert((*key).to_owned(), value.clone());
        let text = edited.to_string();
        let read = mcp_policy::json::parse(&text, Duplicates::Refuse).unwrap();
        let reads = Suite::read(&read, None).is_ok();
        assert_eq!((reads, validator.is_valid(&edited)), (*holds, *holds), "{pointer} {value}");
    }
}

/// Edits of a sound suite, and whether it stays sound.
fn edits_of_a_suite() -> Vec<(&'static str, Value, bool)> {
    vec![
        ("/policy", json!("a.yaml"), true),
        ("/policy", json!(1), false),
        ("/polcy", json!("a.yaml"), false),
        ("/at", json!("2026-01-05T09:00:00Z"), true),
        ("/caller", json!("alice"), true),
        ("/caller", json!(["alice"]), false),
        ("/identity", json!({"team": ["a", "b"], "level": 3, "staff": true}), true),
        ("/identity", json!({"team": {"a": 1}}), false),
        ("/headers", json!({"x-team": "a"}), true),
        ("/headers", json!({":path": "/"}), false),
        ("/headers", json!({"x-team": 1}), false),
        ("/tests", json!([]), false),
        ("/tests/0/session", json!("s"), true),
        ("/tests/0/host", json!("a"), true),
        ("/tests/0/path", json!("/a"), true),
        ("/tests/0/route", json!("a"), true),
        ("/tests/0/repeat", json!(3), true),
        ("/tests/0/repeat", json!(0), false),
        ("/tests/0/repeat", json!(100_001), false),
        ("/tests/0/response", json!("error"), true),
        ("/tests/0/response", json!("no"), false),
        ("/tests/0/approval", json!("accept"), true),
        ("/tests/0/approval", json!("yes"), false),
        ("/tests/0/after", json!("5m"), true),
        ("/tests/0/name", json!(1), false),
        ("/tests/0/steps", json!([]), false),
        ("/tests/0/call", json!("{}"), true),
        ("/tests/0/call", json!({"jsonrpc": "2.0", "method": "ping"}), true),
        ("/tests/0/call", json!({"tol": "x"}), false),
        ("/tests/0/call", json!({"tool": "x", "args": {}}), false),
        ("/tests/0/expect", json!("allowed"), false),
        (
            "/tests/0/expect",
            json!({"decision": "deny", "reason": "a", "rule": "/b", "policy": "c", "message": "d"}),
            true,
        ),
        ("/tests/0/expect", json!({"reason": "a"}), false),
    ]
}
