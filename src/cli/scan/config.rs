//! The configuration files of MCP clients: Claude Desktop, Cursor and `.mcp.json` (`mcpServers`), Claude Code's own
//! (`mcpServers`, also in each of its `projects`), VS Code (`servers`, with comments), and VS Code's settings (`mcp.servers`).

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Map, Value};

use crate::cli::server::target::{Process, Remote, Target};

/// A server of a configuration, by its name there.
pub(super) struct Configured {
    pub(super) name: String,
    /// Where it is, or why that cannot be said.
    pub(super) target: Result<Target, String>,
}

/// Reads a configuration.
///
/// # Errors
/// Where it is no configuration of a client.
pub(super) fn read(text: &str, path: &Path) -> Result<Vec<Configured>, String> {
    let document: Value = serde_json::from_str(&without_comments(text))
        .map_err(|error| format!("not JSON: {error}"))?;
    let mut found = Vec::new();
    let places = [&["mcpServers"][..], &["servers"], &["mcp", "servers"]];
    let of_all = places.iter().find_map(|place| {
        place.iter().try_fold(&document, |value, key| value.get(key))?.as_object()
    });
    if let Some(servers) = of_all {
        configured(servers, &workspace(path), "", &mut found);
    }
    let projects = document.get("projects").and_then(Value::as_object);
    for (folder, project) in projects.into_iter().flatten() {
        if let Some(servers) = project.get("mcpServers").and_then(Value::as_object) {
            configured(servers, folder, &format!(" ({folder})"), &mut found);
        }
    }
    if of_all.is_none() && found.is_empty() {
        return Err(
            "no servers in it: expected `mcpServers`, `servers` or `mcp.servers`".to_owned()
        );
    }
    Ok(found)
}

/// Adds servers that are not disabled. `behind` tells those of one project from those of another.
fn configured(
    servers: &Map<String, Value>,
    workspace: &str,
    behind: &str,
    found: &mut Vec<Configured>,
) {
    let enabled =
        servers.iter().filter(|(_, server)| server.get("disabled") != Some(&Value::Bool(true)));
    found.extend(enabled.map(|(name, server)| {
        let variables = Variables { workspace: workspace.to_owned(), own: BTreeMap::new() };
        Configured { name: format!("{name}{behind}"), target: variables.target(server) }
    }));
}

/// The folder that `${workspaceFolder}` means: that of the file, or of the `.vscode` or `.cursor` folder in which it is.
fn workspace(path: &Path) -> String {
    let folder = path.parent().unwrap_or(Path::new(""));
    let hidden = folder.file_name().is_some_and(|name| name == ".vscode" || name == ".cursor");
    let folder = if hidden { folder.parent().unwrap_or(folder) } else { folder };
    let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    folder.canonicalize().unwrap_or_else(|_| folder.to_owned()).display().to_string()
}

struct Variables {
    workspace: String,
    /// The server's own environment, once it has been read.
    own: BTreeMap<String, String>,
}

impl Variables {
    fn target(mut self, server: &Value) -> Result<Target, String> {
        let server = server.as_object().ok_or("not an object")?;
        let text = |key: &str| server.get(key).and_then(Value::as_str);
        if let Some(url) = text("url").or_else(|| text("serverUrl")) {
            let mut remote = Remote::new(&self.resolve(url)?)?;
            remote.sse = text("type").or_else(|| text("transport")) == Some("sse");
            remote.headers = self.texts(server, "headers")?.into_iter().collect();
            return Ok(Target::Remote(remote));
        }
        let mut environment = match text("envFile") {
            Some(file) => variables_of(&self.resolve(file)?)?,
            None => BTreeMap::new(),
        };
        environment.extend(self.texts(server, "env")?);
        // Claude Desktop hands arguments on as they are; programs such as mcp-remote fill them from the environment they get.
        self.own.clone_from(&environment);
        let command = text("command").ok_or("it has neither `command` nor `url`")?;
        let arguments =
            server.get("args").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        let arguments = arguments
            .iter()
            .map(|argument| self.resolve(argument.as_str().ok_or("an argument is not a text")?));
        Ok(Target::Process(Process {
            command: self.resolve(command)?,
            arguments: arguments.collect::<Result<_, String>>()?,
            environment,
            directory: text("cwd").map(|cwd| self.resolve(cwd)).transpose()?.map(Into::into),
        }))
    }

    fn texts(
        &self,
        server: &Map<String, Value>,
        key: &str,
    ) -> Result<BTreeMap<String, String>, String> {
        let members = server.get(key).and_then(Value::as_object);
        let resolved = members.into_iter().flatten().map(|(name, value)| {
            let text = match value {
                Value::String(text) => self.resolve(text)?,
                Value::Number(_) | Value::Bool(_) => value.to_string(),
                Value::Null | Value::Array(_) | Value::Object(_) => {
                    return Err(format!("`{key}.{name}` is not a text"));
                }
            };
            Ok((name.clone(), text))
        });
        resolved.collect()
    }

    /// Replaces `${VAR}`, `${VAR:-default}`, `${env:VAR}`, `${workspaceFolder}`, `${workspaceFolderBasename}` and `${userHome}`.
    fn resolve(&self, text: &str) -> Result<String, String> {
        let mut out = String::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once("${") {
            let (name, after) =
                after.split_once('}').ok_or_else(|| format!("`{text}` has `${{` without `}}`"))?;
            out.push_str(before);
            out.push_str(&self.variable(name)?);
            rest = after;
        }
        out.push_str(rest);
        Ok(out)
    }

    fn variable(&self, name: &str) -> Result<String, String> {
        match name {
            "workspaceFolder" => return Ok(self.workspace.clone()),
            "workspaceFolderBasename" => {
                let name = Path::new(&self.workspace).file_name().unwrap_or_default();
                return Ok(name.to_string_lossy().into_owned());
            }
            "userHome" => return self.variable("HOME"),
            "pathSeparator" | "/" => return Ok(std::path::MAIN_SEPARATOR.to_string()),
            _ => {}
        }
        if let Some(input) = name.strip_prefix("input:") {
            return Err(format!(
                "it asks for the input `{input}`, which only its editor can ask for; put a variable in its place"
            ));
        }
        let name = name.strip_prefix("env:").unwrap_or(name);
        let (name, default) =
            name.split_once(":-").map_or((name, None), |(name, default)| (name, Some(default)));
        let value = self.own.get(name).cloned().or_else(|| std::env::var(name).ok());
        value
            .or_else(|| default.map(str::to_owned))
            .ok_or_else(|| format!("the variable `{name}` is not set"))
    }
}

/// The variables of an `envFile`.
fn variables_of(file: &str) -> Result<BTreeMap<String, String>, String> {
    let text = std::fs::read_to_string(file).map_err(|error| format!("envFile {file}: {error}"))?;
    let lines =
        text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    let pairs =
        lines.filter_map(|line| line.strip_prefix("export ").unwrap_or(line).split_once('='));
    let bare = |value: &str| value.trim().trim_matches(['"', '\'']).to_owned();
    Ok(pairs.map(|(name, value)| (name.trim().to_owned(), bare(value))).collect())
}

/// JSON without the comments and trailing commas that editors allow in it. What is in strings stays.
fn without_comments(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text.trim_start_matches('\u{feff}');
    while let Some(first) = rest.chars().next() {
        let length = if first == '"' {
            string_end(rest)
        } else if rest.starts_with("//") {
            rest = rest.get(rest.find('\n').unwrap_or(rest.len())..).unwrap_or_default();
            continue;
        } else if rest.starts_with("/*") {
            rest = rest.split_once("*/").map_or("", |(_, after)| after);
            continue;
        } else {
            if matches!(first, ']' | '}') && out.trim_end().ends_with(',') {
                out.truncate(out.trim_end().len() - 1);
            }
            first.len_utf8()
        };
        let (piece, after) = rest.split_at_checked(length).unwrap_or((rest, ""));
        out.push_str(piece);
        rest = after;
    }
    out
}

/// The length of the JSON string at the start.
fn string_end(text: &str) -> usize {
    let mut escaped = false;
    let end = text.bytes().enumerate().skip(1).find(|(_, byte)| {
        let ends = *byte == b'"' && !escaped;
        escaped = *byte == b'\\' && !escaped;
        ends
    });
    end.map_or(text.len(), |(at, _)| at + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn targets(text: &str) -> Vec<(String, Result<Target, String>)> {
        let servers = read(text, Path::new("/w/.vscode/mcp.json")).unwrap();
        servers.into_iter().map(|server| (server.name, server.target)).collect()
    }

    #[test]
    fn every_shape_is_read() {
        let process = |command: &str, arguments: &[&str], variables: &[(&str, &str)]| {
            Ok(Target::Process(Process {
                command: command.to_owned(),
                arguments: arguments.iter().map(ToString::to_string).collect(),
                environment: variables
                    .iter()
                    .map(|(name, value)| (name.to_string(), value.to_string()))
                    .collect(),
                directory: None,
            }))
        };
        let remote = |url: &str, headers: &[(&str, &str)], sse: bool| {
            let headers =
                headers.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
            Ok(Target::Remote(Remote { url: url.to_owned(), headers, sse }))
        };
        for (text, expected) in [
            (
                r#"{"mcpServers":{"a":{"command":"npx","args":["-y","x"],"env":{"K":"v","N":1}}}}"#,
                process("npx", &["-y", "x"], &[("K", "v"), ("N", "1")]),
            ),
            (
                r#"{"mcpServers":{"a":{"url":"https://x/mcp","headers":{"h":"v"}}}}"#,
                remote("https://x/mcp", &[("h", "v")], false),
            ),
            (
                r#"{"mcpServers":{"a":{"type":"sse","url":"https://x/sse"}}}"#,
                remote("https://x/sse", &[], true),
            ),
            (
                "{ // a\n\"servers\": { /* b */ \"a\": {\"type\":\"stdio\",\"command\":\"${workspaceFolder}/run\",\"args\":[\"//no\",\"/* no */\",],},},\n\"inputs\":[],}",
                process("/w/run", &["//no", "/* no */"], &[]),
            ),
            (
                r#"{"mcp":{"servers":{"a":{"command":"${NOT_SET_ANYWHERE:-x}"}}}}"#,
                process("x", &[], &[]),
            ),
            (
                r#"{"mcpServers":{"a":{"command":"${NOT_SET_ANYWHERE}"}}}"#,
                Err("the variable `NOT_SET_ANYWHERE` is not set".to_owned()),
            ),
            (
                r#"{"mcpServers":{"a":{"command":"x","args":["k:${K}"],"env":{"K":"${workspaceFolderBasename}"}}}}"#,
                process("x", &["k:w"], &[("K", "w")]),
            ),
            (r#"{"mcpServers":{"a":{}}}"#, Err("it has neither `command` nor `url`".to_owned())),
            (r#"{"mcpServers":{"a":1}}"#, Err("not an object".to_owned())),
        ] {
            assert_eq!(targets(text), [("a".to_owned(), expected)], "{text}");
        }
        let input =
            targets(r#"{"servers":{"a":{"url":"https://x","headers":{"k":"${input:key}"}}}}"#);
        assert!(input[0].1.as_ref().unwrap_err().contains("input `key`"), "{input:?}");
        assert!(targets(r#"{"mcpServers":{"a":{"command":"x","disabled":true}}}"#).is_empty());
        let projects = r#"{"projects":{"/w/p":{"mcpServers":{"a":{"command":"${workspaceFolder}/x"}}},"/w/q":{}}}"#;
        assert_eq!(targets(projects), [("a (/w/p)".to_owned(), process("/w/p/x", &[], &[]))]);
    }

    #[test]
    fn what_is_none_is_refused() {
        for text in ["", "{", "[]", "{}", r#"{"mcpServers":[]}"#, "/*", "\"", "\\", "{\"a\": \"\\"]
        {
            assert!(read(text, Path::new("mcp.json")).is_err(), "{text}");
        }
    }
}
