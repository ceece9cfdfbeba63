//! The configuration files of MCP clients: Claude Desktop, Claude Code, Cursor, VS Code, Gemini CLI, Codex, Zed, Windsurf, Continue,
//! and others that are like one of them.

mod entry;
pub(super) mod program;
mod variables;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use jsonc_parser::{ParseOptions, parse_to_serde_value};
use serde_json::{Map, Value};

use self::program::Program;
use self::variables::{Variables, variables_of};
use crate::cli::server::target::Target;

/// A server of a configuration, by its name there.
pub(super) struct Configured {
    pub(super) name: String,
    /// Where it is, or why that cannot be said.
    pub(super) target: Result<Target, String>,
    /// What is worth knowing of it, each in one line.
    pub(super) notes: Vec<String>,
}

/// What is in a configuration.
#[derive(Default)]
pub(super) struct ConfigurationRead {
    pub(super) servers: Vec<Configured>,
    /// Servers that are not scanned, and why.
    pub(super) left_out: Vec<String>,
}

/// Reads a configuration; `None` where it has no place for servers.
///
/// # Errors
/// Where it cannot be read. No text of it is told, which may be a secret.
pub(super) fn read(text: &str, path: &Path) -> Result<Option<ConfigurationRead>, String> {
    let document = document(text, path)?;
    let program = Program::of(path, &document);
    let mut reading = ConfigurationReading {
        program,
        path,
        document: &document,
        read: ConfigurationRead::default(),
    };
    let places = [
        "/mcpServers",
        "/servers",
        "/mcp/servers",
        "/mcp_servers",
        "/context_servers",
        "/experimental/modelContextProtocolServers",
    ];
    let mut found = false;
    for servers in places.iter().filter_map(|place| document.pointer(place)) {
        found |= reading.add_all(servers, &workspace(path), "");
    }
    let projects = document.get("projects").and_then(Value::as_object);
    for (folder, project) in projects.into_iter().flatten() {
        if let Some(servers) = project.get("mcpServers") {
            found |= reading.add_all(servers, Path::new(folder), &format!(" ({folder})"));
        }
    }
    // Continue has files of one server each.
    if !found && document.get("command").or_else(|| document.get("url")).is_some() {
        let name =
            path.file_stem().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        reading.add(&name, &document, &workspace(path), "");
        found = true;
    }
    Ok(found.then_some(reading.read))
}

struct ConfigurationReading<'d> {
    program: Program,
    path: &'d Path,
    document: &'d Value,
    read: ConfigurationRead,
}

impl ConfigurationReading<'_> {
    /// Adds the servers of an object, by name, or of a list; says whether it is one of these.
    fn add_all(&mut self, servers: &Value, workspace: &Path, behind: &str) -> bool {
        match servers {
            Value::Object(servers) => {
                for (name, server) in servers {
                    self.add(name, server, workspace, behind);
                }
                true
            }
            Value::Array(servers) => {
                for (at, server) in servers.iter().enumerate() {
                    let name = server.get("name").and_then(Value::as_str);
                    let name = name.map_or_else(|| format!("server {}", at + 1), str::to_owned);
                    self.add(&name, server, workspace, behind);
                }
                true
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
        }
    }

    fn add(&mut self, name: &str, server: &Value, workspace: &Path, behind: &str) {
        let full = format!("{name}{behind}");
        if let Some(why) = self.off(name, server) {
            self.read.left_out.push(format!("`{full}` is not scanned: {why}"));
            return;
        }
        let mut variables = Variables {
            program: self.program,
            workspace: workspace.to_owned(),
            own: BTreeMap::new(),
            secrets: self.secrets(workspace),
            notes: Vec::new(),
        };
        let target = entry::target(server, &mut variables);
        variables.notes.dedup();
        self.read.servers.push(Configured { name: full, target, notes: variables.notes });
    }

    /// Why the program does not use a server.
    fn off(&self, name: &str, server: &Value) -> Option<&'static str> {
        if server.get("disabled") == Some(&Value::Bool(true)) {
            return Some("it is disabled");
        }
        if server.get("enabled") == Some(&Value::Bool(false)) {
            return Some("it is not enabled");
        }
        let lists = |place: &str| self.document.pointer(place).and_then(Value::as_array);
        let has = |list: &Vec<Value>| list.iter().any(|each| each.as_str() == Some(name));
        if lists("/mcp/excluded").is_some_and(has) || lists("/disabledMcpServers").is_some_and(has)
        {
            return Some("it is excluded");
        }
        if lists("/mcp/allowed").is_some_and(|list| !has(list)) {
            return Some("it is not among the servers that are allowed");
        }
        None
    }

    /// What `.env` beside a configuration of Continue names.
    fn secrets(&self, workspace: &Path) -> BTreeMap<String, String> {
        let mut secrets = BTreeMap::new();
        if self.program != Program::Continue {
            return secrets;
        }
        let folder = self.path.parent().unwrap_or(Path::new(""));
        let files = [
            workspace.join(".env"),
            workspace.join(".continue/.env"),
            folder.join(".env"),
            folder.join("../.env"),
        ];
        for text in files.iter().filter_map(|file| std::fs::read_to_string(file).ok()) {
            secrets.extend(variables_of(&text));
        }
        secrets
    }
}

/// The folder that `${workspaceFolder}` means: that of the file, or that in which the program has a folder of its own.
fn workspace(path: &Path) -> PathBuf {
    let mut folder = path.parent().unwrap_or(Path::new(""));
    let hidden = |folder: &Path| {
        let own = [".vscode", ".cursor", ".gemini", ".codex", ".zed", ".continue", "mcpServers"];
        folder.file_name().is_some_and(|name| own.iter().any(|own| name == *own))
    };
    while hidden(folder) {
        folder = folder.parent().unwrap_or(Path::new(""));
    }
    let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    folder.canonicalize().unwrap_or_else(|_| folder.to_owned())
}

/// A file as JSON: TOML and YAML by their endings, else JSON as editors write it.
fn document(text: &str, path: &Path) -> Result<Value, String> {
    let text = text.trim_start_matches('\u{feff}');
    let ending =
        path.extension().map(|end| end.to_string_lossy().to_lowercase()).unwrap_or_default();
    match ending.as_str() {
        "toml" => toml::from_str(text).map_err(|error| {
            let at = error.span().map_or(0, |span| span.start);
            let line = text.get(..at).unwrap_or_default().lines().count().max(1);
            format!("not TOML: line {line}: {}", error.message())
        }),
        "yaml" | "yml" => {
            let value = mcp_policy::yaml::read(text)
                .map_err(|fault| format!("not YAML: line {}: {}", fault.line, fault.message))?;
            serde_json::to_value(&value).map_err(|error| format!("not YAML: {error}"))
        }
        _ => {
            let options = ParseOptions {
                allow_comments: true,
                allow_trailing_commas: true,
                allow_loose_object_property_names: false,
                allow_missing_commas: false,
                allow_single_quoted_strings: false,
                allow_hexadecimal_numbers: false,
                allow_unary_plus_numbers: false,
                ..ParseOptions::default()
            };
            let read: Option<Map<String, Value>> =
                parse_to_serde_value(text, &options).map_err(|error| {
                    format!("not JSON: line {}: {}", error.line_display(), error.kind())
                })?;
            read.map(Value::Object).ok_or_else(|| "not JSON: it is empty".to_owned())
        }
    }
}

#[cfg(test)]
mod tests;
