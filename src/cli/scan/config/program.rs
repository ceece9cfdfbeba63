//! The programs whose configurations are read, how to tell them, and where they keep their files.

use std::path::{Path, PathBuf};

use serde_json::Value;

/// A program that starts or reaches MCP servers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Program {
    ClaudeDesktop,
    ClaudeCode,
    Cursor,
    VsCode,
    GeminiCli,
    Codex,
    Zed,
    Windsurf,
    Continue,
    /// One that cannot be told: whatever spelling of variables is known is read.
    Other,
}

impl Program {
    pub(super) fn name(self) -> &'static str {
        match self {
            Program::ClaudeDesktop => "Claude Desktop",
            Program::ClaudeCode => "Claude Code",
            Program::Cursor => "Cursor",
            Program::VsCode => "VS Code",
            Program::GeminiCli => "Gemini CLI",
            Program::Codex => "Codex",
            Program::Zed => "Zed",
            Program::Windsurf => "Windsurf",
            Program::Continue => "Continue",
            Program::Other => "a client",
        }
    }

    /// Tells it by the file's name and folder, else by what only one of them has in it.
    pub(super) fn of(path: &Path, document: &Value) -> Program {
        let name =
            path.file_name().map(|name| name.to_string_lossy().to_lowercase()).unwrap_or_default();
        let within = |folder: &str| path.iter().any(|part| part.eq_ignore_ascii_case(folder));
        let has = |key: &str| document.get(key).is_some();
        let server_has = |key: &str| {
            let servers = document.get("mcpServers").and_then(Value::as_object);
            servers.is_some_and(|servers| servers.values().any(|server| server.get(key).is_some()))
        };
        match name.as_str() {
            "claude_desktop_config.json" => return Program::ClaudeDesktop,
            ".claude.json" | ".mcp.json" => return Program::ClaudeCode,
            "mcp_config.json" => return Program::Windsurf,
            _ => {}
        }
        let folders = [
            (".cursor", Program::Cursor),
            (".vscode", Program::VsCode),
            ("Code", Program::VsCode),
            ("Code - Insiders", Program::VsCode),
            (".gemini", Program::GeminiCli),
            (".codex", Program::Codex),
            (".zed", Program::Zed),
            ("zed", Program::Zed),
            (".codeium", Program::Windsurf),
            (".continue", Program::Continue),
        ];
        if let Some((_, program)) = folders.into_iter().find(|(folder, _)| within(folder)) {
            return program;
        }
        if has("mcp_servers") {
            Program::Codex
        } else if has("context_servers") {
            Program::Zed
        } else if has("servers") || document.pointer("/mcp/servers").is_some() {
            Program::VsCode
        } else if document.get("mcpServers").is_some_and(Value::is_array) {
            Program::Continue
        } else if server_has("httpUrl") {
            Program::GeminiCli
        } else if server_has("serverUrl") {
            Program::Windsurf
        } else if has("projects") {
            Program::ClaudeCode
        } else {
            Program::Other
        }
    }
}

/// The well-known places of a user's own configurations, those that are there.
pub(in crate::cli::scan) fn places() -> Vec<PathBuf> {
    let variable =
        |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let home = variable("HOME").or_else(|| variable("USERPROFILE")).unwrap_or_default();
    let claude = variable("CLAUDE_CONFIG_DIR").unwrap_or_else(|| home.clone());
    let codex = variable("CODEX_HOME").unwrap_or_else(|| home.join(".codex"));
    let shared = [
        Some(variable("XDG_CONFIG_HOME").unwrap_or_else(|| home.join(".config"))),
        Some(home.join("Library/Application Support")),
        variable("APPDATA"),
    ];
    let mut places = Vec::new();
    for folder in shared.into_iter().flatten() {
        places.push(folder.join("Claude/claude_desktop_config.json"));
        for code in ["Code", "Code - Insiders", "VSCodium"] {
            places.push(folder.join(code).join("User/mcp.json"));
            places.push(folder.join(code).join("User/settings.json"));
        }
        places.push(folder.join("zed/settings.json"));
        places.push(folder.join("Zed/settings.json"));
    }
    places.push(claude.join(".claude.json"));
    places.push(home.join(".cursor/mcp.json"));
    places.push(home.join(".gemini/settings.json"));
    places.push(codex.join("config.toml"));
    places.push(home.join(".codeium/windsurf/mcp_config.json"));
    places.push(home.join(".codeium/mcp_config.json"));
    places.push(home.join(".continue/config.yaml"));
    places.push(home.join(".continue/config.json"));
    places.extend(files(&home.join(".continue/mcpServers")));
    places.retain(|place| place.is_file());
    places
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let read = std::fs::read_dir(folder).into_iter().flatten();
    let mut files: Vec<PathBuf> = read.filter_map(|item| Some(item.ok()?.path())).collect();
    files.retain(|file| {
        file.extension().is_some_and(|end| end == "yaml" || end == "yml" || end == "json")
    });
    files.sort();
    files
}

/// Configurations of the folder where we are. Whoever wrote the folder wrote them, so they are only named.
pub(in crate::cli::scan) fn of_this_folder() -> Vec<PathBuf> {
    let names = [
        ".mcp.json",
        ".cursor/mcp.json",
        ".vscode/mcp.json",
        ".gemini/settings.json",
        ".codex/config.toml",
        ".zed/settings.json",
    ];
    let mut found: Vec<PathBuf> = names.iter().map(PathBuf::from).collect();
    found.extend(files(Path::new(".continue/mcpServers")));
    found.retain(|file| file.is_file());
    found
}
