//! The policies that we ship, and what they make of calls: `tests/data/shipped.yaml`.

use std::fs;
use std::path::{Path, PathBuf};

use mcp_policy::json::Value;

use crate::world::Engine;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

#[test]
fn shipped_policies_decide_as_said() {
    let data = fs::read_to_string(root().join("tests/data/shipped.yaml")).unwrap();
    let data = mcp_policy::yaml::read(&data).unwrap();
    let policies = &data.as_object().unwrap().0;
    let mut wrong = Vec::new();
    for policy in policies {
        let text =
            fs::read_to_string(root().join(format!("policies/{}.json", policy.key))).unwrap();
        let engine = Engine::new(&text).unwrap();
        let Value::Array(calls) = &policy.value else { panic!("{} has no calls", policy.key) };
        for call in calls {
            let field = |name: &str| call.as_object().and_then(|call| call.get(name)).unwrap();
            let (tool, arguments) = (field("tool").as_str().unwrap(), field("arguments").as_str());
            let decided = engine.call(tool, arguments, "Bearer x", 0);
            let told = format!("{:?} {:?}", decided.reason, decided.message);
            let expected = match field("expect") {
                Value::String(word) if word == "allow" => decided.allowed,
                Value::String(piece) => !decided.allowed && told.contains(&**piece),
                Value::Number(code) => {
                    decided.code.map(|code| code.to_string()).as_deref() == Some(code)
                }
                Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => {
                    panic!("{} {tool} has no expectation", policy.key)
                }
            };
            if !expected {
                wrong.push(format!("{} {tool} {arguments:?}: {told}", policy.key));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    let files = fs::read_dir(root().join("policies")).unwrap().map(|file| file.unwrap().path());
    let policy = |file: &PathBuf| {
        let name = file.to_string_lossy();
        name.ends_with(".json") && !name.ends_with(".schema.json")
    };
    for file in files.filter(policy) {
        let name = PathBuf::from(&file).file_stem().unwrap().to_string_lossy().into_owned();
        assert!(
            policies.iter().any(|policy| policy.key == name),
            "{name} has no calls in the data"
        );
    }
}
