//! `mcp-policy explain`: what becomes of one call, and why, rule by rule.

mod logged;
mod print;

use std::path::{Path, PathBuf};

use clap::ArgGroup;
use mcp_policy::json::{Duplicates, Value, parse};
use mcp_policy::mcp::Refusal;
use mcp_policy::number::{Decimal, Micros};
use mcp_policy::policy::compiled::{Config, Policy};
use mcp_policy::policy::entry::NamedCounter;
use mcp_policy::rehearsal::body::{body_of, tool_call};
use mcp_policy::rehearsal::names::{CallerName, GRANT};
use mcp_policy::rehearsal::suite::{DEFAULT_NOW, name_of, parse_time};
use mcp_policy::rehearsal::{Destination, SimulatedRequest, Simulator, Verdict, let_govern};
use mcp_policy::source::{SourceText, Syntax};
use mcp_policy::time::UnixMillis;
use mcp_policy::trace::explanation::{Explanation, Places, governing, time};
use mcp_policy::trace::trace;
use serde::Serialize;

use super::input::{self, CliError};
use super::recorded::{KnownArguments, RecordedCall, RecordedDecision};
use super::{Exit, Format, report};
use logged::LinePlace;

/// Say what becomes of one call, and why: every rule that it meets, with the values and types that were compared.
#[derive(clap::Args)]
#[command(group(ArgGroup::new("asked").required(true).args(["call", "tool", "log"])))]
#[command(after_help = "\
Examples:
  mcp-policy explain stripe.json --tool create_refund --args '{\"amount\": 25000}'
  mcp-policy explain stripe.json --call call.json --identity grant=alice --counters counters.json
  mcp-policy explain gateway.yaml --path /prometheus/mcp --identity team=sre --identity 'roles:=[\"oncall\"]' --tool query
  mcp-policy explain stripe.json --log audit.jsonl:1207
  grep 7f3a audit.jsonl | mcp-policy explain stripe.json --log -

`call.json` is a JSON-RPC message of any method, or {\"tool\": \"…\", \"arguments\": {…}}. `counters.json` says what has been counted for this
caller in the current windows, by the counter's name or by the pointer of a limit: {\"refunds\": 4, \"/tools/search/rate_limit\": 10}.

A line of a log is one that `mcp-policy replay` reads. The call is explained with its caller, time, session, host and path; what is counted
is not on record, nor are headers.

A call that says nothing of its client is taken to come from one that can ask its user (MCP 2026-07-28 with elicitation).

Exit codes: 0 the call is forwarded, 1 it is denied, refused or somebody is asked about it, 2 there is no answer.")]
pub(super) struct Arguments {
    /// A policy or plugin configuration, JSON or YAML.
    policy: PathBuf,

    /// A file with the call; `-` is standard input.
    #[arg(long, value_name = "FILE")]
    call: Option<PathBuf>,

    /// The tool that is called.
    #[arg(long, value_name = "NAME")]
    tool: Option<String>,

    /// Its arguments, a JSON object.
    #[arg(long, value_name = "JSON", requires = "tool")]
    args: Option<String>,

    /// A recorded call: a line of a log, or `-` for the one line on standard input.
    #[arg(long, value_name = "FILE:NUMBER", value_parser = logged::line_place,
        conflicts_with_all = ["identity", "session", "at", "host", "path"])]
    log: Option<LinePlace>,

    /// Who calls. `grant` names the caller; without it the call is anonymous. Other keys are those of `identity.keys`. `key=text`,
    /// or `key:=json` for a number, a boolean or a list of texts.
    #[arg(long, value_name = "KEY=VALUE", value_parser = identity)]
    identity: Vec<CallerName>,

    /// A header of the request.
    #[arg(long, value_name = "NAME: VALUE", value_parser = header)]
    header: Vec<(String, String)>,

    /// The policy that governs the call, where there are several.
    #[arg(long = "policy", value_name = "NAME", conflicts_with_all = ["host", "path", "route"])]
    policy_name: Option<String>,

    /// The host that is called, for bindings.
    #[arg(long)]
    host: Option<String>,

    /// The path that is called, for bindings.
    #[arg(long)]
    path: Option<String>,

    /// The name of Envoy's route, for bindings.
    #[arg(long)]
    route: Option<String>,

    /// The MCP session of the call.
    #[arg(long, value_name = "ID")]
    session: Option<String>,

    /// When, as RFC 3339 writes it. It matters for windows only; by default the first moment of 2026.
    #[arg(long, value_name = "TIME", value_parser = moment)]
    at: Option<UnixMillis>,

    /// A file with what has been counted.
    #[arg(long, value_name = "FILE")]
    counters: Option<PathBuf>,
}

/// What is on record of a call.
#[derive(Serialize)]
struct OnRecord<'a> {
    place: &'a str,
    arguments: KnownArguments,
    #[serde(flatten)]
    decided: Option<&'a RecordedDecision>,
}

/// Explains the call.
pub(super) fn run(arguments: &Arguments, format: Format) -> Exit {
    match explain(arguments, format) {
        Ok(verdict) if verdict.is_forwarded() => Exit::Ok,
        Ok(_) => Exit::No,
        Err(trouble) => {
            trouble.tell();
            Exit::Unusable
        }
    }
}

fn explain(arguments: &Arguments, format: Format) -> Result<Verdict, CliError> {
    let (source, mut config) = input::policy(&arguments.policy)?;
    let recorded = arguments.log.as_ref().map(logged::read).transpose()?;
    let request = request(arguments, recorded.as_ref().map(|(call, _)| call))?;
    choose(arguments, &request.target, &mut config)
        .map_err(|problem| CliError::Line(format!("{}: {problem}", source.name)))?;
    let simulator = Simulator::new(config);
    if let Some(file) = &arguments.counters {
        counters(file, &simulator, &request)?;
    }
    let (verdict, mut trace) = trace(&simulator, &request);
    let places = Places::new(&source, &verdict.policy);
    let governed_by = governing(&simulator.config, &verdict);
    places.fill_in(&mut trace);
    match format {
        Format::Human => {
            let decided = recorded.as_ref().and_then(|(call, _)| call.decided.as_ref());
            print::human(&places, &request, &verdict, (&trace, governed_by), decided);
        }
        Format::Json => report::json(&Explanation {
            policy: &source.name,
            governed_by,
            at: time(request.at),
            recorded: recorded.as_ref().map(|(call, place)| OnRecord {
                place,
                arguments: call.arguments,
                decided: call.decided.as_ref(),
            }),
            verdict: &verdict,
            line: places.line(&verdict.rule),
            trace: &trace,
        }),
    }
    if let Some((call, place)) = &recorded {
        logged::tell_unknown(call, place, &trace);
    }
    Ok(verdict)
}

/// The request that is explained.
fn request(
    arguments: &Arguments,
    recorded: Option<&RecordedCall>,
) -> Result<SimulatedRequest, CliError> {
    if let Some(call) = recorded {
        let mut request = call.request.clone();
        request.headers.extend(arguments.header.iter().cloned());
        request.target.route = arguments.route.clone().or(request.target.route);
        return Ok(request);
    }
    Ok(SimulatedRequest {
        names: arguments.identity.clone(),
        session: arguments.session.clone(),
        headers: arguments.header.clone(),
        target: Destination {
            host: arguments.host.clone(),
            path: arguments.path.clone(),
            route: arguments.route.clone(),
        },
        ..SimulatedRequest::new(body(arguments)?, arguments.at.unwrap_or(DEFAULT_NOW))
    })
}

/// Makes the policy that the user names govern the call, and sees to it that the names of the caller have keys.
fn choose(arguments: &Arguments, target: &Destination, config: &mut Config) -> Result<(), String> {
    let known: Vec<&str> = config.callers.keys.iter().map(|key| &*key.name).collect();
    let unknown = |(key, _): &&CallerName| key != GRANT && !known.contains(&&**key);
    if let Some((key, _)) = arguments.identity.iter().find(unknown) {
        let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
        return Err(format!("`identity.keys` has no `{}`; it has {known}", key.escape_debug()));
    }
    let names: Vec<String> =
        config.policies().map(|policy| policy.name.escape_debug().to_string()).collect();
    let names = names.join(", ");
    let target = [&target.host, &target.path, &target.route];
    match &arguments.policy_name {
        Some(name) if let_govern(config, name) => Ok(()),
        Some(name) => {
            Err(format!("there is no policy `{}`; there is {names}", name.escape_debug()))
        }
        None if config.bindings.is_some() && target.iter().all(|part| part.is_none()) => {
            Err(format!(
                "bindings say which policy governs a call: give --host, --path or --route, or one of {names} with --policy"
            ))
        }
        None => Ok(()),
    }
}

/// The message that is judged, byte for byte where the user gave one.
fn body(arguments: &Arguments) -> Result<String, CliError> {
    if let Some(file) = &arguments.call {
        let source = input::source(file)?;
        let text = source.text.trim_start();
        if source.syntax == Syntax::Json && (text.starts_with('[') || text.contains("\"jsonrpc\""))
        {
            return Ok(source.text);
        }
        let value = input::call(&source)?;
        return body_of(&value)
            .map_err(|problem| CliError::Line(format!("{}: {problem}", source.name)));
    }
    let tool = arguments.tool.as_deref().unwrap_or_default();
    let Some(text) = &arguments.args else { return Ok(tool_call(tool, None)) };
    let source = SourceText { name: "--args".to_owned(), text: text.clone(), syntax: Syntax::Json };
    Ok(tool_call(tool, Some(&input::call(&source)?)))
}

/// Puts the counts of a file on the counters.
fn counters(
    file: &Path,
    simulator: &Simulator,
    request: &SimulatedRequest,
) -> Result<(), CliError> {
    let source = input::source(file)?;
    let value = input::value(&source)?;
    let line = |text: String| CliError::Line(format!("{}: {text}", source.name));
    let Some(object) = value.as_object() else {
        return Err(line(format!("expected an object of counters, found {}", value.kind())));
    };
    let policy = simulator.policy_for(request).unwrap_or(&simulator.config.policy);
    for member in &object.0 {
        let name = member.key.escape_debug();
        let count = if let Value::Number(text) = &member.value {
            Decimal::parse(text).and_then(Decimal::micros_exact)
        } else {
            None
        };
        let count: Micros = count.ok_or_else(|| {
            line(format!("`{name}`: a count is a number, 0 or more, with at most six decimals"))
        })?;
        let counter = counter(policy, &member.key).map_err(&line)?;
        let problem =
            |refusal: Refusal| line(format!("the caller is refused: {}", refusal.reason.label()));
        simulator.preset(counter, request, count).map_err(problem)?;
    }
    Ok(())
}

/// The counter of a name, or of the limit at a pointer.
fn counter<'p>(policy: &'p Policy, name: &str) -> Result<&'p NamedCounter, String> {
    let rules = &policy.rules;
    let by_pointer = policy.limits().find(|limit| rules.pointer(limit.rule) == name);
    let by_pointer = by_pointer.map(|limit| limit.counter);
    if let Some(counter) = by_pointer.and_then(|at| policy.counters.get(at)) {
        return Ok(counter);
    }
    let mut named =
        policy.counters.iter().enumerate().filter(|(_, counter)| *counter.name == *name);
    let pointers = |of: Option<&str>| {
        let fits = |at: usize| {
            policy.counters.get(at).is_some_and(|counter| of.is_none_or(|of| of == &*counter.name))
        };
        let pointers: Vec<&str> = policy
            .limits()
            .filter(|limit| fits(limit.counter))
            .map(|limit| rules.pointer(limit.rule))
            .collect();
        pointers.join(", ")
    };
    match (named.next(), named.next()) {
        (Some((_, counter)), None) => Ok(counter),
        (Some(_), Some(_)) => Err(format!(
            "`{name}` names several counters; name one by its limit: {}",
            pointers(Some(name))
        )),
        (None, _) if policy.counters.is_empty() => {
            Err(format!("`{name}`: the policy has no counters"))
        }
        (None, _) => Err(format!(
            "`{name}` is no counter; name one, or one of the limits {}",
            pointers(None)
        )),
    }
}

fn identity(text: &str) -> Result<CallerName, String> {
    let (key, value) = match text.split_once('=') {
        Some((key, value)) if !value.is_empty() && !key.is_empty() => (key, value),
        Some(_) | None => return Err("write it as grant=NAME or KEY=VALUE".to_owned()),
    };
    let Some(key) = key.strip_suffix(':') else {
        return Ok((key.to_owned(), Value::String(value.to_owned().into())));
    };
    let read = parse(value, Duplicates::Refuse).ok();
    let name = read.as_ref().and_then(name_of);
    name.map(|name| (key.to_owned(), name)).ok_or_else(|| {
        "after `:=` comes JSON: a text, a number, a boolean or a list of texts".to_owned()
    })
}

fn header(text: &str) -> Result<(String, String), String> {
    match text.split_once(':') {
        Some((name, value)) if !name.trim().is_empty() => {
            Ok((name.trim().to_ascii_lowercase(), value.trim().to_owned()))
        }
        Some(_) | None => Err("write it as NAME: VALUE".to_owned()),
    }
}

fn moment(text: &str) -> Result<UnixMillis, String> {
    parse_time(text).ok_or_else(|| "write it as RFC 3339 does: 2026-01-05T09:00:00Z".to_owned())
}
