//! A gateway file: the MCP servers behind one Envoy, where agents reach each of them, and which policy governs it. For authors
//! only: the filter gets the policies and bindings that come of it.

pub mod upstream;
pub mod version;

use crate::json::Value;
use crate::language::diagnostic::{Code, Diagnostic};
use crate::language::reader::{Field, Fields, Place, Reader};
use crate::policy::binding::Unmatched;
use crate::rate::limiter::Mode;
use upstream::Upstream;

/// What may stand beside the policies of a configuration, and so also beside `servers`: it is handed on as it is.
pub const SETTINGS: &[&str] = &[
    "requests",
    "responses",
    "approvals",
    "sessions",
    "counters",
    "denials",
    "identity",
    "access_log",
    "audit",
    "metrics",
    "tracing",
];

/// Settings that a policy has too, with a meaning of its own.
pub const OF_ALL_POLICIES: &[&str] = &["mode", "unmatched"];

/// What is read from a gateway file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Gateway {
    /// Names the deployment.
    pub name: Option<String>,
    /// The servers, in order.
    pub servers: Vec<GatewayServer>,
}

/// One MCP server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GatewayServer {
    /// Its name in the file.
    pub name: String,
    /// Where it is.
    pub upstream: Upstream,
    /// The host by which agents reach it; any, if not given.
    pub host: Option<String>,
    /// The path at which agents reach it.
    pub path: String,
    /// The file of its policy, as it is written.
    pub policy: String,
    /// Callers whom another policy governs, in order.
    pub callers: Vec<CallersPolicy>,
    /// What the server reads as `host`.
    pub host_header: HostHeader,
    /// The file with the authorities that may vouch for it.
    pub ca: Option<String>,
    /// The name that it is asked for, and that its certificate has to have, if not that of its address.
    pub sni: Option<String>,
}

/// A policy for some callers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallersPolicy {
    /// Names of the caller, by key of `identity.keys`.
    pub identity: Vec<(String, String)>,
    /// The file of the policy.
    pub policy: String,
}

/// What a server reads as `host`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HostHeader {
    /// The host and port of its own address.
    OfAddress,
    /// What the agent has sent.
    OfAgent,
    /// This.
    Fixed(String),
}

/// Whether a document is a gateway file, and not a policy.
#[must_use]
pub fn is_gateway(document: &Value<'_>) -> bool {
    document
        .as_object()
        .is_some_and(|object| matches!(object.get("servers"), Some(Value::Object(_))))
}

impl Gateway {
    /// Reads a gateway file. What stands beside `servers` for the filter is left to it.
    ///
    /// # Errors
    /// All problems of the document.
    ///
    /// ```
    /// use mcp_policy::gateway::Gateway;
    /// use mcp_policy::json::{Duplicates, parse};
    ///
    /// let text = r#"{"version": "1", "servers": {"git": {"url": "http://127.0.0.1:8000/mcp", "policy": "git.yaml"}}}"#;
    /// let gateway = Gateway::read(&parse(text, Duplicates::Keep).unwrap()).unwrap();
    /// assert_eq!(gateway.servers[0].path, "/git/mcp");
    /// ```
    pub fn read(document: &Value<'_>) -> Result<Gateway, Vec<Diagnostic>> {
        let mut reader = Reader::default();
        let root = Field { value: document, place: Place::default() };
        let gateway = reader.fields(&root).map(|mut fields| {
            version_of_file(&mut fields, &mut reader);
            let name = fields.take("name").and_then(|field| deployment_name(&field, &mut reader));
            let servers = servers(&mut fields, &mut reader);
            if let Some(field) = fields.take("unmatched") {
                reader.word(&field, &Unmatched::WORDS);
            }
            if let Some(field) = fields.take("mode") {
                reader.word(&field, &Mode::WORDS);
            }
            for key in SETTINGS.iter().chain(OF_ALL_POLICIES) {
                fields.take(key);
            }
            reader.close(&fields);
            Gateway { name, servers }
        });
        match gateway {
            Some(gateway) if reader.diagnostics.is_empty() => Ok(gateway),
            Some(_) | None => Err(reader.diagnostics),
        }
    }
}

fn version_of_file(fields: &mut Fields<'_>, reader: &mut Reader) {
    let Some(field) = fields.require("version", reader) else { return };
    if field.value.as_str() != Some("1") {
        let help = "write it in quotes, \"1\": it is the only version there is".to_owned();
        let message = "expected the string `1`".to_owned();
        reader.error_with_help(Code::UnknownWord, &field.place, message, help);
    }
}

/// Whether a text can be a part of names in Envoy, Kubernetes and paths alike.
#[must_use]
pub fn is_plain_name(text: &str) -> bool {
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    let ends = !text.starts_with('-') && !text.ends_with('-');
    !text.is_empty() && text.len() <= 63 && text.chars().all(fits) && ends
}

fn deployment_name(field: &Field<'_>, reader: &mut Reader) -> Option<String> {
    let text = reader.text(field)?;
    plain_name(text, &field.place, reader).then(|| text.to_owned())
}

fn plain_name(text: &str, place: &Place, reader: &mut Reader) -> bool {
    let plain = is_plain_name(text);
    if !plain {
        let message = format!("not a name: `{}`", text.escape_debug());
        let help = "lower-case letters, digits and `-`, at most 63, with no `-` at the ends";
        reader.error_with_help(Code::BadPattern, place, message, help.to_owned());
    }
    plain
}

fn servers(fields: &mut Fields<'_>, reader: &mut Reader) -> Vec<GatewayServer> {
    let Some(field) = fields.require("servers", reader) else { return Vec::new() };
    let members = reader.fields(&field).map(|fields| fields.members()).unwrap_or_default();
    if members.is_empty() && reader.diagnostics.is_empty() {
        let help = "add one: {\"git\": {\"url\": \"http://127.0.0.1:8000/mcp\", \"policy\": \"git.yaml\"}}";
        let message = "there is no server".to_owned();
        reader.error_with_help(Code::MissingField, &field.place, message, help.to_owned());
    }
    let mut found: Vec<GatewayServer> = Vec::new();
    for (name, field) in &members {
        let named = plain_name(name, &field.place, reader);
        let Some(server) = server(name, field, reader).filter(|_| named) else { continue };
        let same =
            found.iter().find(|other| other.path == server.path && (other.host == server.host));
        if let Some(other) = same {
            let message = format!("agents reach `{}` there already", other.name);
            let help = "give it another `path` or `host`".to_owned();
            reader.error_with_help(Code::Contradiction, &field.place, message, help);
            continue;
        }
        found.push(server);
    }
    found
}

fn server(name: &str, field: &Field<'_>, reader: &mut Reader) -> Option<GatewayServer> {
    let mut fields = reader.fields(field)?;
    let upstream = fields.require("url", reader).and_then(|field| url(&field, reader));
    let policy = fields.require("policy", reader).and_then(|field| file(&field, reader));
    let host = fields.take("host").map(|field| host(&field, reader));
    let path = fields.take("path").map(|field| path(&field, reader));
    let callers = fields.take("callers").map(|field| callers(&field, reader)).unwrap_or_default();
    let tls = upstream.as_ref().map(|upstream| upstream.tls);
    let [ca, sni] = ["ca", "sni"].map(|key| {
        let field = fields.take(key)?;
        if tls == Some(false) {
            let message = format!("`{key}` says nothing of an `http` address");
            let help = "write https:// in `url`, or leave it out".to_owned();
            reader.error_with_help(Code::NoEffect, &field.place, message, help);
        }
        if key == "sni" { self::host(&field, reader) } else { file(&field, reader) }
    });
    let host_header = host_header(&mut fields, reader);
    reader.close(&fields);
    let upstream = upstream?;
    let host = match host {
        None => None,
        Some(host) => Some(host?),
    };
    let path = match path {
        Some(path) => path?,
        None if host.is_some() => upstream.path.clone(),
        None => format!("/{name}/mcp"),
    };
    let (name, policy, host_header) = (name.to_owned(), policy?, host_header?);
    Some(GatewayServer { name, upstream, host, path, policy, callers, host_header, ca, sni })
}

fn url(field: &Field<'_>, reader: &mut Reader) -> Option<Upstream> {
    let text = reader.text(field)?;
    match Upstream::parse(text) {
        Ok(upstream) => Some(upstream),
        Err(problem) => {
            let help = "such as http://127.0.0.1:8000/mcp or https://mcp.example.com/mcp";
            reader.error_with_help(Code::BadPath, &field.place, problem, help.to_owned());
            None
        }
    }
}

fn file(field: &Field<'_>, reader: &mut Reader) -> Option<String> {
    let text = reader.text(field)?;
    if text.is_empty() {
        reader.error(Code::BadPath, &field.place, "expected the name of a file".to_owned());
        return None;
    }
    Some(text.to_owned())
}

fn host(field: &Field<'_>, reader: &mut Reader) -> Option<String> {
    let text = reader.text(field)?;
    let plain = upstream::host_and_port(text)
        .is_some_and(|(host, port)| host == text && port.is_none() && !text.starts_with('['));
    if !plain {
        let message = format!("not the name of a host: `{}`", text.escape_debug());
        let help = "a name in lower case, without port, such as git.example.com".to_owned();
        reader.error_with_help(Code::BadPattern, &field.place, message, help);
        return None;
    }
    Some(text.to_owned())
}

fn path(field: &Field<'_>, reader: &mut Reader) -> Option<String> {
    let text = reader.text(field)?;
    if !text.starts_with('/') || text.contains(['*', '?', '#']) {
        let message = format!("not a path: `{}`", text.escape_debug());
        let help = "one path, such as /git/mcp".to_owned();
        reader.error_with_help(Code::BadPath, &field.place, message, help);
        return None;
    }
    Some(text.to_owned())
}

fn callers(field: &Field<'_>, reader: &mut Reader) -> Vec<CallersPolicy> {
    let items = reader.list(field);
    items
        .iter()
        .filter_map(|item| {
            let mut fields = reader.fields(item)?;
            let policy = fields.require("policy", reader).and_then(|field| file(&field, reader));
            let names = fields.require("identity", reader).and_then(|field| {
                let names = reader.fields(&field)?.members();
                if names.is_empty() {
                    let message = "it names no caller".to_owned();
                    let help = "such as {\"team\": \"sre\"}".to_owned();
                    reader.error_with_help(Code::EmptyList, &field.place, message, help);
                }
                Some(names)
            });
            let identity = names
                .into_iter()
                .flatten()
                .filter_map(|(key, field)| Some((key.to_owned(), reader.text(&field)?.to_owned())));
            let identity = identity.collect();
            reader.close(&fields);
            Some(CallersPolicy { identity, policy: policy? })
        })
        .collect()
}

fn host_header(fields: &mut Fields<'_>, reader: &mut Reader) -> Option<HostHeader> {
    let keep = fields.take("keep_host");
    let kept = match &keep {
        Some(field) => reader.flag(field)?,
        None => false,
    };
    let Some(field) = fields.take("host_header") else {
        return Some(if kept { HostHeader::OfAgent } else { HostHeader::OfAddress });
    };
    if kept {
        let message = "`keep_host` sends the agent's own host".to_owned();
        let help = "keep one of them".to_owned();
        reader.error_with_help(Code::Contradiction, &field.place, message, help);
    }
    let text = reader.text(&field)?;
    if upstream::host_and_port(text).is_none() {
        let message = format!("not a host with or without a port: `{}`", text.escape_debug());
        reader.error(Code::BadPattern, &field.place, message);
        return None;
    }
    Some(HostHeader::Fixed(text.to_owned()))
}
