//! The catalogue: each policy passes its tests, which cover it, and fits the tools that were scanned; `scan` knows each server again.

use std::fs;
use std::path::{Path, PathBuf};

use crate::command::{command, run};

fn catalogue() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("policies/catalogue")
}

/// The names of all servers.
fn names() -> Vec<String> {
    let folders = fs::read_dir(catalogue()).unwrap().map(|item| item.unwrap().path());
    let mut names: Vec<String> = folders
        .filter(|path| path.join("policy.yaml").exists())
        .map(|path| path.file_name().unwrap().to_str().unwrap().to_owned())
        .collect();
    names.sort();
    names
}

fn ran(arguments: &[&str]) -> (i32, String, String) {
    run(command(arguments).current_dir(catalogue()), b"")
}

#[test]
fn every_policy_passes_its_tests_which_cover_it() {
    let names = names();
    assert!(names.len() >= 50, "{}", names.len());
    let policies: Vec<String> = names.iter().map(|name| format!("{name}/policy.yaml")).collect();
    let policies = policies.iter().map(String::as_str);
    let arguments: Vec<&str> =
        ["test", "--require-coverage", "100"].into_iter().chain(policies).collect();
    let (code, out, err) = ran(&arguments);
    assert_eq!((code, &*err), (0, ""), "{out}");
    assert_eq!(out.matches("(100 %)").count(), names.len(), "{out}");
}

#[test]
fn every_policy_fits_the_tools_of_its_server() {
    for name in names() {
        let (policy, tools) = (format!("{name}/policy.yaml"), format!("{name}/tools.json"));
        let (code, out, err) = ran(&["validate", "--deny-warnings", "--tools", &tools, &policy]);
        assert_eq!(code, 0, "{out}{err}");
    }
}

#[test]
fn the_command_has_the_catalogue() {
    let (code, out, err) = ran(&["policy", "--format", "json"]);
    assert_eq!((code, &*err), (0, ""));
    let listed: Vec<serde_json::Value> = serde_json::from_str(&out).unwrap();
    let listed: Vec<&str> = listed.iter().map(|row| row["name"].as_str().unwrap()).collect();
    assert_eq!(listed, names());
    for name in names() {
        let folder = catalogue().join(&name);
        let (code, policy, _) = ran(&["policy", &name]);
        assert_eq!(code, 0, "{name}");
        assert_eq!(policy, fs::read_to_string(folder.join("policy.yaml")).unwrap());
        let scan: serde_json::Value =
            serde_json::from_str(&fs::read_to_string(folder.join("tools.json")).unwrap()).unwrap();
        // Those with few tools are known by what they call themselves too, which no file of tools has.
        if scan["tools"].as_array().unwrap().len() >= 3 {
            let (_, _, said) = ran(&["scan", "--tools", &format!("{name}/tools.json")]);
            assert!(said.contains(&format!("`mcp-policy policy {name}`")), "{name}: {said}");
        }
    }
}
