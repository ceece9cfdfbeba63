//! `mcp-policy analyse`: what a policy can ever decide, asked of the engine with values that stand for all values.

mod abstraction;
mod candidates;
mod comparison;
mod names;
mod place;
mod question;
mod space;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

use clap::{ArgGroup, Args};
use mcp_policy::json::written;
use mcp_policy::matcher::name::Pattern;
use mcp_policy::policy::compiled::Config;
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::definition::{listed, read};
use super::input::{self, CliError};
use super::report;
use super::{Exit, Format};
use crate::cli::out::out;
use abstraction::entries;
use comparison::no_more_permissive;
use question::{Example, Existence, Passage, find};

/// Ask what a policy can ever decide: whether a call can pass, whether another policy lets more through, which tools nobody can call.
#[derive(Args)]
#[command(group = ArgGroup::new("question").required(true).args(["never", "against", "tools"]))]
#[command(after_help = "\
Examples:
  mcp-policy analyse policy.yaml --never refund --where 'args.amount > 100'
  mcp-policy analyse new.yaml --against old.yaml
  mcp-policy analyse policy.yaml --tools tools.json

An example is a call that the engine has decided as it says. A yes is proven: no value of any field changes it. Where a policy uses what has too many
values to try (regular expressions, hosts, counts) and no example was found, the answer is `unknown`.

Exit codes: 0 yes, 1 no (with an example), 2 unknown, or a file cannot be read.")]
pub(super) struct Arguments {
    /// A policy, JSON or YAML.
    file: PathBuf,

    /// Can nobody ever call this tool?
    #[arg(long, value_name = "TOOL")]
    never: Option<String>,

    /// … with arguments like this: a path, an operator and a value. May be said several times.
    #[arg(long = "where", value_name = "CONDITION", requires = "never")]
    conditions: Vec<String>,

    /// Does the policy let nothing through that this one does not?
    #[arg(long, value_name = "OLD")]
    against: Option<PathBuf>,

    /// Can somebody call each of these tools? A file with the answer of `tools/list`.
    #[arg(long, value_name = "FILE")]
    tools: Option<PathBuf>,
}

/// What the answer is, as `--format json` has it.
#[derive(Serialize)]
struct Analysis {
    /// `yes`, `no` or `unknown`.
    answer: &'static str,
    /// What was asked.
    question: String,
    /// A call that shows why not.
    #[serde(skip_serializing_if = "Option::is_none")]
    example: Option<Box<Example>>,
    /// Why nobody knows.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    because: Vec<String>,
    /// The tools that nobody can call.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    uncallable: Vec<String>,
}

pub(super) fn run(arguments: &Arguments, format: Format) -> Exit {
    match answered(arguments) {
        Ok(answer) => {
            match format {
                Format::Json => report::json(&answer),
                Format::Human => answer.print(),
            }
            match answer.answer {
                "yes" => Exit::Ok,
                "no" => Exit::No,
                _ => Exit::Unusable,
            }
        }
        Err(trouble) => {
            trouble.tell();
            Exit::Unusable
        }
    }
}

fn answered(arguments: &Arguments) -> Result<Analysis, CliError> {
    let policy = document(&arguments.file)?;
    if let Some(old) = &arguments.against {
        return Ok(no_more_permissive(&policy, &document(old)?));
    }
    if let Some(tools) = &arguments.tools {
        let text = input::source(tools)?.text;
        let of = |problem| CliError::Line(format!("{}: {problem}", input::name(tools)));
        let document = read(&text).map_err(of)?;
        let tools = listed(&document).map_err(of)?;
        return Ok(callable(&policy, tools.iter().map(|tool| tool.name.to_string())));
    }
    let tool = arguments.never.clone().unwrap_or_default();
    if tool.contains(['*', '?']) {
        return Err(CliError::Line(format!("`{tool}` is a pattern: name one tool")));
    }
    let conditions = arguments.conditions.iter().map(|text| condition(text));
    let conditions = conditions.collect::<Result<Vec<Value>, String>>().map_err(CliError::Line)?;
    let said = arguments.conditions.join(" and ");
    never(&policy, &tool, &conditions, &said).map_err(CliError::Line)
}

/// A policy that the engine takes, as JSON.
fn document(file: &Path) -> Result<Value, CliError> {
    let (source, _) = input::policy(file)?;
    let of = |problem: &str| CliError::Line(format!("{}: {problem}", input::name(file)));
    let value = input::value(&source)?;
    let policy: Value =
        serde_json::from_str(&written(&value)).map_err(|_| of("a number that cannot be kept"))?;
    if policy.get("policies").is_some() {
        return Err(of("several policies: `analyse` takes one that stands alone"));
    }
    Ok(policy)
}

/// `args.amount > 100`
fn condition(text: &str) -> Result<Value, String> {
    let wrong = || {
        format!("`--where {text}`: a path, an operator and a value, such as `args.amount > 100`")
    };
    let (path, rest) = text.trim().split_once(' ').ok_or_else(wrong)?;
    let (op, value) = rest.trim().split_once(' ').ok_or_else(wrong)?;
    let op = match op {
        "=" | "==" => "eq",
        "!=" => "neq",
        ">" => "gt",
        ">=" => "gte",
        "<" => "lt",
        "<=" => "lte",
        word => word,
    };
    let value = value.trim();
    let value: Value = serde_json::from_str(value).unwrap_or_else(|_| value.into());
    Ok(json!({"path": path, "op": op, "value": value}))
}

fn never(policy: &Value, tool: &str, conditions: &[Value], said: &str) -> Result<Analysis, String> {
    let asked = asked(policy, tool, conditions);
    if let Err(problems) = Config::load(asked.to_string().as_bytes(), "") {
        let first = problems.first().map(ToString::to_string).unwrap_or_default();
        return Err(format!("the question is no condition: {first}"));
    }
    let wanted = |passages: &[Passage]| matches!(passages, [policy, asked] if *policy >= Passage::Asked && *asked == Passage::Passes);
    let with = if said.is_empty() { String::new() } else { format!(" with {said}") };
    let question = format!("Can nobody ever call `{tool}`{with}?");
    let found = match strange(policy) {
        Some(reason) => unless_found(find(&[policy.clone(), asked], tool, &wanted), reason),
        None => find(&[policy.clone(), asked], tool, &wanted),
    };
    let mut answer = Analysis::of(question, found);
    if let Some(example) = &mut answer.example {
        // The question was put as a policy, whose verdict nobody asked for.
        example.verdicts.truncate(1);
    }
    Ok(answer)
}

/// The question as a policy, which passes the calls that are asked for.
fn asked(policy: &Value, tool: &str, conditions: &[Value]) -> Value {
    let mut entry = Map::new();
    if !conditions.is_empty() {
        entry.insert("require".to_owned(), json!([{"conditions": conditions}]));
        // Texts are taken as the policy takes them.
        let mut met = entries(policy).filter(|(key, _)| Pattern::new(key).matches(tool));
        let decode = met.find_map(|(_, entry)| entry.get("decode_json_strings"));
        entry.extend(decode.map(|decode| ("decode_json_strings".to_owned(), decode.clone())));
    }
    let mut asked = Map::new();
    for (member, value) in
        [("version", json!("1")), ("default", json!("allow")), ("tools", json!({tool: entry}))]
    {
        asked.insert(member.to_owned(), value);
    }
    for member in ["identity", "requests"] {
        asked.extend(policy.get(member).map(|value| (member.to_owned(), value.clone())));
    }
    asked.into()
}

/// What was found is found; what was not may be there, for this reason.
fn unless_found(found: Existence, reason: String) -> Existence {
    match found {
        Existence::Yes(example) => Existence::Yes(example),
        Existence::No | Existence::Unknown(_) => Existence::Unknown(reason),
    }
}

/// What of a policy is beyond what is tried.
fn strange(policy: &Value) -> Option<String> {
    let methods = policy.get("methods")?.as_object()?;
    let plain = |entry: &Value| {
        entry.as_object().is_none_or(|entry| entry.keys().all(|key| key == "action"))
    };
    let strange = methods.values().any(|entry| !plain(entry));
    strange.then(|| "`methods` has rules of its own".to_owned())
}

fn callable(policy: &Value, tools: impl Iterator<Item = String>) -> Analysis {
    let mut uncallable = Vec::new();
    let mut because = Vec::new();
    let wanted = |passages: &[Passage]| matches!(passages, [policy] if *policy >= Passage::Asked);
    for tool in tools {
        let found = find(std::slice::from_ref(policy), &tool, &wanted);
        let found = match strange(policy) {
            Some(reason) => unless_found(found, reason),
            None => found,
        };
        match found {
            Existence::Yes(_) => {}
            Existence::No => uncallable.push(tool),
            Existence::Unknown(reason) => {
                because.push(format!("`{}`: {reason}", tool.escape_debug()))
            }
        }
    }
    let answer = match (uncallable.is_empty(), because.is_empty()) {
        (false, _) => "no",
        (true, false) => "unknown",
        (true, true) => "yes",
    };
    let question = "Can somebody call each of these tools?".to_owned();
    Analysis { answer, question, example: None, because, uncallable }
}

impl Analysis {
    fn of(question: String, found: Existence) -> Analysis {
        let (answer, example, because) = match found {
            Existence::Yes(example) => ("no", Some(example), Vec::new()),
            Existence::No => ("yes", None, Vec::new()),
            Existence::Unknown(reason) => ("unknown", None, vec![reason]),
        };
        Analysis { answer, question, example, because, uncallable: Vec::new() }
    }

    fn print(&self) {
        out!("{} {}", self.question, self.answer);
        if let Some(example) = &self.example {
            let call = json!({"name": example.tool, "arguments": example.arguments});
            out!("  {call}");
            for (what, values) in [("identity", &example.identity), ("headers", &example.headers)] {
                if !values.is_empty() {
                    out!("  {what}: {}", Value::Object(values.clone()));
                }
            }
            out!(
                "  at {}",
                jiff::Timestamp::from_millisecond(example.at.cast_signed())
                    .map_or(String::new(), |at| at.to_string())
            );
            for verdict in &example.verdicts {
                let rule = if verdict.rule.is_empty() {
                    String::new()
                } else {
                    format!(" by {}", verdict.rule)
                };
                out!("  → {} {}{rule}", verdict.decision, verdict.reason);
            }
        }
        for tool in &self.uncallable {
            // A server chose it: it stays on its line, and colours nothing.
            out!("  nobody can call `{}`", tool.escape_debug());
        }
        for reason in &self.because {
            out!("  {reason}");
        }
    }
}
