//! `mcp-policy digest`: what to sign, so that a token approves a call beforehand.

use std::path::PathBuf;

use clap::{ArgGroup, Args};
use mcp_policy::approval::call::{BoundCall, Site};
use mcp_policy::json::{Value, written};
use mcp_policy::mcp::Refusal;
use mcp_policy::mcp::message::{Body, Message, parse_body};
use mcp_policy::policy::approvals::ApprovalWay;
use mcp_policy::policy::compiled::{Config, Policy};
use mcp_policy::source::{SourceText, Syntax};
use serde::Serialize;

use super::input::{self, CliError};
use super::{Exit, Format, report};
use crate::cli::out::out;

/// Say what to sign, so that a token approves one call beforehand: the digests of its arguments and of the policy.
#[derive(Args)]
#[command(group(ArgGroup::new("called").required(true).args(["tool", "prompt", "resource"])))]
#[command(after_help = "\
Example:
  mcp-policy digest --policy stripe.json --tool create_refund --args '{\"amount\": 25000}'

`authorization_details` is the claim of the token (RFC 9396). Beside it the token needs `sub`, the name of the caller; `jti`, which no
other token has; and `exp`. `uses` says how often it approves the call. Without `policy_digest` it outlives a change of the policy, unless
`approvals.tokens.pin_policy` is set. The order of keys, white space and escapes in the arguments make no difference.

Exit codes: 0 done, 1 the call cannot be approved, 2 a file or the arguments cannot be used.")]
pub(super) struct Arguments {
    /// A policy or plugin configuration, JSON or YAML.
    #[arg(long, value_name = "FILE")]
    policy: PathBuf,

    /// The policy that governs the call, where there are several.
    #[arg(long, value_name = "NAME")]
    policy_name: Option<String>,

    /// The tool that is called.
    #[arg(long, value_name = "NAME")]
    tool: Option<String>,

    /// The prompt that is got.
    #[arg(long, value_name = "NAME")]
    prompt: Option<String>,

    /// The resource that is read.
    #[arg(long, value_name = "URI", conflicts_with = "args")]
    resource: Option<String>,

    /// The arguments, a JSON object; without them the call has none.
    #[arg(long, value_name = "JSON")]
    args: Option<String>,
}

/// What is to be signed, as `--format json` has it.
#[derive(Serialize)]
struct ToSign {
    arguments_digest: String,
    policy_digest: String,
    authorization_details: [ToolCallDetail; 1],
}

/// One approval (RFC 9396).
#[derive(Serialize)]
struct ToolCallDetail {
    r#type: &'static str,
    actions: [&'static str; 1],
    identifier: String,
    policy: String,
    policy_digest: String,
    arguments_digest: String,
    uses: u32,
}

pub(super) fn run(arguments: &Arguments, format: Format) -> Exit {
    match digest(arguments) {
        Ok(Some(found)) => {
            found.print(format);
            Exit::Ok
        }
        Ok(None) => {
            report::trouble(
                "the call cannot be approved: a number in it has more digits than all readers keep apart, or lies beyond ±(2^53 - 1)",
            );
            Exit::No
        }
        Err(trouble) => {
            trouble.tell();
            Exit::Unusable
        }
    }
}

fn digest(arguments: &Arguments) -> Result<Option<ToSign>, CliError> {
    let (source, config) = input::policy(&arguments.policy)?;
    let policy = chosen(arguments, &config)
        .map_err(|problem| CliError::Line(format!("{}: {problem}", source.name)))?;
    if !policy.names_way(ApprovalWay::Token) {
        let name = policy.name.escape_debug();
        report::warning(&format!(
            "{}: no entry of policy `{name}` lets a token approve (`approval: token`)",
            source.name
        ));
    }
    let (method, member, name) = called(arguments);
    let given = match &arguments.args {
        None => String::new(),
        Some(text) => {
            let (name, text) = ("--args".to_owned(), text.clone());
            let source = SourceText { name, text, syntax: Syntax::Json };
            let value = input::value(&source)?;
            if !matches!(value, Value::Object(_)) {
                let found = value.kind();
                return Err(CliError::Line(format!("--args: expected an object, found {found}")));
            }
            format!(",\"arguments\":{}", source.text)
        }
    };
    let body = format!(
        r#"{{"jsonrpc":"2.0","id":1,"method":"{method}","params":{{"{member}":{}{given}}}}}"#,
        written(name)
    );
    let refused = |refusal: Refusal| {
        CliError::Line(format!("the filter refuses this call: {}", refusal.reason.label()))
    };
    let value = parse_body(body.as_bytes(), config.requests.bounds()).map_err(refused)?;
    let request = match Body::read(&value).map_err(refused)? {
        Body::Single(Message::Request(request)) => request,
        // It has a method and is no list.
        Body::Single(Message::Response(_)) | Body::Batch(_) => return Ok(None),
    };
    let Some(call) = BoundCall::of(&request, policy, &Site::default()) else { return Ok(None) };
    let (arguments_digest, policy_digest) =
        (call.arguments_digest(), policy.named_digest.to_string());
    let detail = ToolCallDetail {
        r#type: "mcp_tool_call",
        actions: [method],
        identifier: name.to_owned(),
        policy: policy.name.to_string(),
        policy_digest: policy_digest.clone(),
        arguments_digest: arguments_digest.clone(),
        uses: 1,
    };
    Ok(Some(ToSign { arguments_digest, policy_digest, authorization_details: [detail] }))
}

/// The method of the call, and the member of its parameters that names what is called.
fn called(arguments: &Arguments) -> (&'static str, &'static str, &str) {
    match (&arguments.prompt, &arguments.resource) {
        (Some(name), _) => ("prompts/get", "name", name),
        (None, Some(uri)) => ("resources/read", "uri", uri),
        (None, None) => ("tools/call", "name", arguments.tool.as_deref().unwrap_or_default()),
    }
}

/// The policy that the user names; without a name the only one.
fn chosen<'c>(arguments: &Arguments, config: &'c Config) -> Result<&'c Policy, String> {
    let names: Vec<String> =
        config.policies().map(|policy| policy.name.escape_debug().to_string()).collect();
    let names = names.join(", ");
    match &arguments.policy_name {
        Some(name) => {
            let mut policies = config.policies();
            let missing =
                || format!("there is no policy `{}`; there is {names}", name.escape_debug());
            policies.find(|policy| *policy.name == **name).ok_or_else(missing)
        }
        None if config.others.is_empty() => Ok(&config.policy),
        None => Err(format!("give one of {names} with --policy-name")),
    }
}

impl ToSign {
    fn print(&self, format: Format) {
        if format == Format::Json {
            report::json(self);
            return;
        }
        out!("arguments  {}", self.arguments_digest);
        out!("policy     {}", self.policy_digest);
        // On one line, as it can be pasted.
        out!("sign       \"authorization_details\": {}", written(&self.authorization_details));
    }
}
