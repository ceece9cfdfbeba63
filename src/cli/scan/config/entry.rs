//! One server of a configuration: how it is started, or where it is.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::program::Program;
use super::variables::{Variables, variables_of};
use crate::cli::server::target::{Process, Remote, Target};

/// Where a server is.
///
/// # Errors
/// Why that cannot be said.
pub(super) fn target(server: &Value, variables: &mut Variables) -> Result<Target, String> {
    let server = server.as_object().ok_or("not an object")?;
    // Continue had it within, once, and Zed the whole command.
    let inner =
        server.get("transport").or_else(|| server.get("command")).and_then(Value::as_object);
    let text = |key: &str| {
        let own = server.get(key).and_then(Value::as_str);
        own.or_else(|| inner?.get(key)?.as_str())
    };
    let kind = text("type").or_else(|| text("transport")).unwrap_or_default().to_lowercase();
    if matches!(kind.as_str(), "ws" | "websocket") {
        return Err("it is reached over a WebSocket, which scan does not speak".to_owned());
    }
    let http = text("httpUrl");
    if let Some(url) = http.or_else(|| text("url")).or_else(|| text("serverUrl")) {
        let mut remote = Remote::new(&variables.resolve(url)?)?;
        // A `url` of Gemini CLI is of the older transport, unless it says otherwise.
        let older = variables.program == Program::GeminiCli && http.is_none() && kind.is_empty();
        remote.sse = kind == "sse" || older;
        remote.headers = headers(server, variables)?;
        return Ok(Target::Remote(remote));
    }
    let command = text("command").or_else(|| text("path"));
    let command = command.ok_or_else(|| unstartable(server))?;
    let mut environment = match text("envFile") {
        Some(file) => {
            let file = variables.resolve(file)?;
            let text = std::fs::read_to_string(&file)
                .map_err(|error| format!("envFile {file}: {error}"))?;
            variables_of(&text)
        }
        None => BTreeMap::new(),
    };
    for holder in std::iter::once(server).chain(inner) {
        environment.extend(texts(holder, "env", variables)?);
    }
    variables.own.clone_from(&environment);
    let arguments = server.get("args").or_else(|| inner?.get("args")).and_then(Value::as_array);
    let mut resolved = Vec::new();
    for argument in arguments.into_iter().flatten() {
        resolved.push(match argument {
            Value::String(text) => variables.resolve(text)?,
            Value::Number(_) | Value::Bool(_) => argument.to_string(),
            Value::Null | Value::Array(_) | Value::Object(_) => {
                return Err("an argument is not a text".to_owned());
            }
        });
    }
    let directory = text("cwd").map(|cwd| variables.resolve(cwd)).transpose()?;
    Ok(Target::Process(Process {
        command: variables.resolve(command)?,
        arguments: resolved,
        environment,
        directory: directory.map(Into::into),
    }))
}

fn unstartable(server: &Map<String, Value>) -> String {
    let extension = server.get("source").and_then(Value::as_str) == Some("extension")
        || server.contains_key("settings");
    if extension {
        return "an extension of the editor starts it, and its settings do not say how".to_owned();
    }
    "it has neither `command` nor `url`".to_owned()
}

/// The headers, in all the ways that programs have for them.
fn headers(
    server: &Map<String, Value>,
    variables: &mut Variables,
) -> Result<Vec<(String, String)>, String> {
    let mut headers = texts(server, "headers", variables)?;
    headers.extend(texts(server, "http_headers", variables)?);
    if let Some(options) = server.get("requestOptions").and_then(Value::as_object) {
        headers.extend(texts(options, "headers", variables)?);
    }
    for (name, variable) in texts(server, "env_http_headers", variables)? {
        match std::env::var(&variable) {
            Ok(value) => _ = headers.insert(name, value),
            Err(_) => variables
                .notes
                .push(format!("the variable `{variable}` of header `{name}` is not set")),
        }
    }
    if let Some(variable) = server.get("bearer_token_env_var").and_then(Value::as_str) {
        match std::env::var(variable) {
            Ok(token) => _ = headers.insert("authorization".to_owned(), format!("Bearer {token}")),
            Err(_) => variables
                .notes
                .push(format!("the variable `{variable}` of the bearer token is not set")),
        }
    }
    if let Some(key) = server.get("apiKey").and_then(Value::as_str) {
        headers.insert("authorization".to_owned(), format!("Bearer {}", variables.resolve(key)?));
    }
    if server.contains_key("headersHelper") {
        variables
            .notes
            .push("`headersHelper` is not run: headers that it makes are missing".to_owned());
    }
    Ok(headers.into_iter().collect())
}

fn texts(
    server: &Map<String, Value>,
    key: &str,
    variables: &mut Variables,
) -> Result<BTreeMap<String, String>, String> {
    let members = server.get(key).and_then(Value::as_object);
    let mut texts = BTreeMap::new();
    for (name, value) in members.into_iter().flatten() {
        let text = match value {
            Value::String(text) => variables.resolve(text)?,
            Value::Number(_) | Value::Bool(_) => value.to_string(),
            Value::Null => continue,
            Value::Array(_) | Value::Object(_) => {
                return Err(format!("`{key}.{name}` is not a text"));
            }
        };
        texts.insert(name.clone(), text);
    }
    Ok(texts)
}
