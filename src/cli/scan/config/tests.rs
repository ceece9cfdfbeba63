use std::path::Path;

use super::*;
use crate::cli::server::target::{Process, Remote};

fn read_at(path: &str, text: &str) -> ConfigurationRead {
    read(text, Path::new(path)).unwrap().unwrap()
}

fn targets(path: &str, text: &str) -> Vec<(String, Result<Target, String>)> {
    read_at(path, text).servers.into_iter().map(|server| (server.name, server.target)).collect()
}

fn process(
    command: &str,
    arguments: &[&str],
    variables: &[(&str, &str)],
) -> Result<Target, String> {
    Ok(Target::Process(Process {
        command: command.to_owned(),
        arguments: arguments.iter().map(ToString::to_string).collect(),
        environment: variables
            .iter()
            .map(|(name, value)| (name.to_string(), value.to_string()))
            .collect(),
        directory: None,
    }))
}

fn remote(url: &str, headers: &[(&str, &str)], sse: bool) -> Result<Target, String> {
    let headers =
        headers.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
    Ok(Target::Remote(Remote { url: url.to_owned(), headers, sse }))
}

/// `CARGO_PKG_NAME` is the one variable that cargo sets to what we know.
#[test]
#[expect(clippy::too_many_lines, reason = "a table")]
fn every_client_is_read_as_it_reads_itself() {
    let error = |text: &str| Err(text.to_owned());
    for (path, text, expected) in [
        // Claude Desktop resolves nothing; Claude Code `${VAR}` and `${VAR:-default}`, and leaves what is not set.
        (
            "/w/claude_desktop_config.json",
            r#"{"mcpServers":{"a":{"command":"npx","args":["-y","k:${K}"],"env":{"K":"v","N":1}}}}"#,
            process("npx", &["-y", "k:${K}"], &[("K", "v"), ("N", "1")]),
        ),
        (
            "/w/.mcp.json",
            r#"{"mcpServers":{"a":{"command":"${CARGO_PKG_NAME}","args":["${NOT_SET_:-d}","${NOT_SET_}","$CARGO_PKG_NAME"]}}}"#,
            process("mcp-policy", &["d", "${NOT_SET_}", "$CARGO_PKG_NAME"], &[]),
        ),
        (
            "/w/.mcp.json",
            r#"{"mcpServers":{"a":{"type":"sse","url":"https://x/sse","headers":{"h":"${CARGO_PKG_NAME}"}}}}"#,
            remote("https://x/sse", &[("h", "mcp-policy")], true),
        ),
        (
            "/w/.cursor/mcp.json",
            r#"{"mcpServers":{"a":{"command":"${workspaceFolder}/x","args":["${env:CARGO_PKG_NAME}","${workspaceFolderBasename}","${env:NOT_SET_}","${K}"]}}}"#,
            process("/w/x", &["mcp-policy", "w", "", "${K}"], &[]),
        ),
        (
            "/w/.vscode/mcp.json",
            "{ // a\n\"servers\": { /* b */ \"a\": {\"type\":\"stdio\",\"command\":\"${workspaceFolder}/run\",\"args\":[\"//no\",\"/* no */\",],},},\n\"inputs\":[],}",
            process("/w/run", &["//no", "/* no */"], &[]),
        ),
        (
            "/w/Code/User/settings.json",
            r#"{"mcp":{"servers":{"a":{"command":"x"}}}}"#,
            process("x", &[], &[]),
        ),
        (
            "/w/.vscode/mcp.json",
            r#"{"servers":{"a":{"url":"https://x","headers":{"k":"${input:key}"}}}}"#,
            error(
                "it asks for the input `key`, which only its editor can ask for; put a variable in its place",
            ),
        ),
        (
            "/w/.gemini/settings.json",
            r#"{"mcpServers":{"a":{"command":"x","args":["$CARGO_PKG_NAME","${CARGO_PKG_NAME}","$NOT_SET_","5$"]}}}"#,
            process("x", &["mcp-policy", "mcp-policy", "$NOT_SET_", "5$"], &[]),
        ),
        (
            "/w/.gemini/settings.json",
            r#"{"mcpServers":{"a":{"httpUrl":"https://x/mcp"}}}"#,
            remote("https://x/mcp", &[], false),
        ),
        (
            "/w/.gemini/settings.json",
            r#"{"mcpServers":{"a":{"url":"https://x/sse"}}}"#,
            remote("https://x/sse", &[], true),
        ),
        (
            "/w/.codex/config.toml",
            "model = \"m\"\n[mcp_servers.a]\ncommand = \"x\"\nargs = [\"${K}\"]\n[mcp_servers.a.env]\nK = \"v\"\n",
            process("x", &["${K}"], &[("K", "v")]),
        ),
        (
            "/w/.codex/config.toml",
            "[mcp_servers.a]\nurl = \"https://x/mcp\"\nbearer_token_env_var = \"CARGO_PKG_NAME\"\nhttp_headers = { h = \"v\" }\nenv_http_headers = { i = \"CARGO_PKG_NAME\" }\n",
            remote(
                "https://x/mcp",
                &[("authorization", "Bearer mcp-policy"), ("h", "v"), ("i", "mcp-policy")],
                false,
            ),
        ),
        (
            "/w/zed/settings.json",
            "{\"theme\": \"x\", \"context_servers\": {\"a\": {\"command\": {\"path\": \"x\", \"args\": [\"b\"], \"env\": {\"K\": \"v\"}}},},}",
            process("x", &["b"], &[("K", "v")]),
        ),
        (
            "/w/zed/settings.json",
            r#"{"context_servers": {"a": {"source": "custom", "command": "x", "args": ["b"]}}}"#,
            process("x", &["b"], &[]),
        ),
        (
            "/w/zed/settings.json",
            r#"{"context_servers": {"a": {"source": "extension", "settings": {}}}}"#,
            error("an extension of the editor starts it, and its settings do not say how"),
        ),
        (
            "/w/.codeium/windsurf/mcp_config.json",
            r#"{"mcpServers":{"a":{"serverUrl":"https://x/${env:CARGO_PKG_NAME}"}}}"#,
            remote("https://x/mcp-policy", &[], false),
        ),
        (
            "/w/.continue/config.yaml",
            "mcpServers:\n  - name: a\n    command: x\n    args: [b]\n    env:\n      K: ${{ secrets.CARGO_PKG_NAME }}\n",
            process("x", &["b"], &[("K", "mcp-policy")]),
        ),
        (
            "/w/.continue/config.yaml",
            "mcpServers:\n  - name: a\n    type: streamable-http\n    url: https://x/mcp\n    requestOptions:\n      headers: {h: v}\n",
            remote("https://x/mcp", &[("h", "v")], false),
        ),
        (
            "/w/.continue/config.json",
            r#"{"experimental":{"modelContextProtocolServers":[{"name":"a","transport":{"type":"stdio","command":"x","args":["b"]}}]}}"#,
            process("x", &["b"], &[]),
        ),
        // One that cannot be told: whatever is known, from the server's own environment too.
        (
            "/w/some.json",
            r#"{"mcpServers":{"a":{"command":"x","args":["k:${K}"],"env":{"K":"${workspaceFolderBasename}"}}}}"#,
            process("x", &["k:w"], &[("K", "w")]),
        ),
        (
            "/w/some.json",
            r#"{"mcpServers":{"a":{"command":"${NOT_SET_}"}}}"#,
            error("the variable `NOT_SET_` is not set"),
        ),
        ("/w/some.json", r#"{"mcpServers":{"a":{}}}"#, error("it has neither `command` nor `url`")),
        ("/w/some.json", r#"{"mcpServers":{"a":1}}"#, error("not an object")),
        (
            "/w/some.json",
            r#"{"mcpServers":{"a":{"type":"ws","url":"wss://x"}}}"#,
            error("it is reached over a WebSocket, which scan does not speak"),
        ),
    ] {
        assert_eq!(targets(path, text), [("a".to_owned(), expected)], "{path} {text}");
    }
}

#[test]
fn what_is_left_out_is_said() {
    for (path, text, names, left_out, notes) in [
        (
            "/w/.mcp.json",
            r#"{"mcpServers":{"a":{"command":"x","disabled":true},"b":{"command":"${NOT_SET_}"}}}"#,
            "b",
            1,
            1,
        ),
        ("/w/.codex/config.toml", "[mcp_servers.a]\ncommand = \"x\"\nenabled = false\n", "", 1, 0),
        (
            "/w/.gemini/settings.json",
            r#"{"mcpServers":{"a":{"command":"x"},"b":{"command":"x"}},"mcp":{"allowed":["b"]}}"#,
            "b",
            1,
            0,
        ),
        (
            "/w/.gemini/settings.json",
            r#"{"mcpServers":{"a":{"command":"x"},"b":{"command":"x"}},"mcp":{"excluded":["b"]}}"#,
            "a",
            1,
            0,
        ),
        (
            "/w/.claude.json",
            r#"{"mcpServers":{"a":{"command":"x"}},"projects":{"/w/p":{"mcpServers":{"b":{"command":"x"}}},"/w/q":{}}}"#,
            "a b (/w/p)",
            0,
            0,
        ),
        (
            "/w/.codex/config.toml",
            "[mcp_servers.a]\nurl = \"https://x\"\nbearer_token_env_var = \"NOT_SET_\"\n",
            "a",
            0,
            1,
        ),
    ] {
        let read = read_at(path, text);
        let found: Vec<&str> = read.servers.iter().map(|server| server.name.as_str()).collect();
        let noted: usize = read.servers.iter().map(|server| server.notes.len()).sum();
        assert_eq!(
            (found.join(" ").as_str(), read.left_out.len(), noted),
            (names, left_out, notes),
            "{text}"
        );
    }
}

#[test]
fn what_is_none_is_refused_without_telling_what_is_in_it() {
    for (path, text) in [
        ("mcp.json", ""),
        ("mcp.json", "{"),
        ("mcp.json", "[]"),
        ("mcp.json", "{}"),
        ("mcp.json", r#"{"mcpServers":7}"#),
        ("mcp.json", "/*"),
        ("mcp.json", "\""),
        ("mcp.json", "\\"),
        ("mcp.json", "{\"a\": \"\\"),
        ("mcp.json", "{\"mcpServers\": {\"a\": {\"env\": {\"K\": \"SECRET\" \"x\"}}}}"),
        ("mcp.json", "{\"mcpServers\": {\"a\": {\"env\": {\"K\": SECRET}}}}"),
        ("config.toml", "[mcp_servers.a]\nenv = { K = \"SECRET\n"),
        ("config.toml", "key = SECRET\n"),
        ("config.toml", "model = \"x\"\n"),
        ("config.yaml", "a: [SECRET\n"),
        ("config.yaml", "a: {b: SECRET}}\n"),
    ] {
        match read(text, Path::new(path)) {
            Ok(found) => assert!(found.is_none(), "{text}"),
            Err(problem) => assert!(!problem.contains("SECRET"), "{text}: {problem}"),
        }
    }
}
