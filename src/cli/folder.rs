//! Folders on the command line: they stand for the policies, gateway files and policy tests in them.

use std::fs;
use std::path::{Path, PathBuf};

use mcp_policy::gateway::is_gateway;
use mcp_policy::json::Value;

use super::input::{self, CliError, ENDINGS};
use super::report;

/// Most files of one folder, with those below it, that are looked at.
const MOST_FILES: usize = 10_000;

/// Deepest folder that is looked into.
const DEEPEST: usize = 16;

/// The files that are named, each folder replaced by those in it and below it, in the order of their names. What in a folder is hidden,
/// behind a link, or no document of ours is left out; a note says so.
///
/// # Errors
/// Where a folder cannot be read, or has nothing of ours in it.
pub(super) fn expanded(files: &[PathBuf]) -> Result<Vec<PathBuf>, CliError> {
    let mut expanded = Vec::new();
    for file in files {
        if file.is_dir() {
            expanded.extend(ours(file)?);
        } else {
            expanded.push(file.clone());
        }
    }
    Ok(expanded)
}

/// What is ours in a folder.
fn ours(folder: &Path) -> Result<Vec<PathBuf>, CliError> {
    let mut documents = Vec::new();
    collect(folder, 0, &mut documents)?;
    let (ours, others): (Vec<_>, Vec<_>) =
        documents.into_iter().partition(|document| is_ours(document));
    if !others.is_empty() {
        let names: Vec<String> = others.iter().take(5).map(|file| input::name(file)).collect();
        let more = if others.len() > names.len() { ", …" } else { "" };
        let names = names.join(", ");
        report::note(&format!("{}: left out, as no policies: {names}{more}", folder.display()));
    }
    if ours.is_empty() {
        let line = "there is no policy in this folder; policies end in .yaml, .yml or .json";
        return Err(CliError::Line(format!("{}: {line}", folder.display())));
    }
    Ok(ours)
}

/// The documents in a folder and below it, sorted.
fn collect(folder: &Path, depth: usize, found: &mut Vec<PathBuf>) -> Result<(), CliError> {
    let unreadable = |error: std::io::Error| input::unreadable(&input::name(folder), &error);
    let mut items = Vec::new();
    for item in fs::read_dir(folder).map_err(unreadable)? {
        let item = item.map_err(unreadable)?;
        items.push((item.path(), item.file_type().map_err(unreadable)?));
    }
    items.sort_by(|(one, _), (other, _)| one.cmp(other));
    for (path, kind) in items {
        let hidden = path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
        let ending = path.extension().and_then(|ending| ending.to_str());
        if hidden {
            continue;
        } else if kind.is_dir() && depth < DEEPEST {
            collect(&path, depth + 1, found)?;
        } else if kind.is_file() && ending.is_some_and(|ending| ENDINGS.contains(&ending)) {
            found.push(path);
        }
        if found.len() > MOST_FILES {
            let line = format!("more than {MOST_FILES} documents; name the folder of the policies");
            return Err(CliError::Line(format!("{}: {line}", folder.display())));
        }
    }
    Ok(())
}

/// Whether a document wants to be a policy, a configuration, a gateway file or policy tests. What cannot be read is taken for one, so
/// that its trouble is said.
fn is_ours(file: &Path) -> bool {
    if input::tested(file).is_some() {
        return true;
    }
    let Ok(source) = input::source(file) else { return true };
    // Several documents in one file are of another tool, such as Kubernetes' manifests.
    let Ok(value) = source.value() else { return !source.text.contains("\n---") };
    let Some(object) = value.as_object() else { return false };
    let is_map = |key| object.get(key).is_some_and(|value| value.as_object().is_some());
    let is_list = |key| matches!(object.get(key), Some(Value::Array(_)));
    let is_default =
        matches!(object.get("default").and_then(Value::as_str), Some("allow" | "deny"));
    is_gateway(&value)
        || is_default
        || ["tools", "policies", "all_tools", "methods", "resources", "prompts"]
            .into_iter()
            .any(is_map)
        || ["bindings", "rules"].into_iter().any(is_list)
}
