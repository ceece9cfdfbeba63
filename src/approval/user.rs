//! Asking the user at the agent: by a result that asks for input, which the agent's program shows and answers (MCP 2026-07-28,
//! multi-round-trip requests and elicitation).
//!
//! The answer comes from the agent's program. Nobody can tell whether a person gave it: it is a confirmation, not a second person.

use std::sync::Arc;

use super::call::{BoundCall, RESPONSES};
use crate::bounds::{MAX_SHOWN_BYTES, MAX_SHOWN_FIRST, MAX_SHOWN_LINES};
use crate::json::Value;
use crate::matcher::fold::legible;
use crate::mcp::message::Request;

/// The key of our question among those of a result, and of its answer among those of a retry.
pub const KEY: &str = "mcp-policy/approval";

/// The methods that can be answered with a question.
pub const METHODS: [&str; 3] = ["tools/call", "prompts/get", "resources/read"];

/// The member of the answer's content that says yes.
pub const FIELD: &str = "approve";

const CAPABILITIES: &str = "io.modelcontextprotocol/clientCapabilities";

/// Whether the client says that it can ask a user by a form. Capabilities are those of each request; `{}` means forms alone.
#[must_use]
pub fn can_ask(request: &Request<'_>) -> bool {
    let mut found = request.params;
    for key in ["_meta", CAPABILITIES, "elicitation"] {
        found = found.and_then(Value::as_object).and_then(|members| members.get(key));
    }
    let Some(Value::Object(modes)) = found else { return false };
    modes.0.is_empty() || matches!(modes.get("form"), Some(Value::Object(_)))
}

/// Whether a retry says yes.
#[must_use]
pub fn says_yes(request: &Request<'_>) -> bool {
    let answer = || request.params?.as_object()?.get(RESPONSES)?.as_object()?.get(KEY);
    answer().is_some_and(accepts)
}

/// Whether an answer says yes: `accept`, with `approve` that is `true` and nothing else.
#[must_use]
pub fn accepts(answer: &Value<'_>) -> bool {
    let yes = || {
        let answer = answer.as_object()?;
        let accepts = answer.get("action")?.as_str()? == "accept";
        let ticked = answer.get("content")?.as_object()?.get(FIELD)?;
        Some(accepts && *ticked == Value::Bool(true))
    };
    yes().unwrap_or(false)
}

/// What a question is about.
#[derive(Clone, Copy, Debug)]
pub struct About<'q> {
    /// What the author says.
    pub reason: Option<&'q str>,
    /// The policy that asks.
    pub policy: &'q str,
    /// What the name is a name of.
    pub kind: &'q str,
    /// The name.
    pub name: &'q str,
    /// Arguments that are shown first, by their paths.
    pub first: &'q [(Arc<str>, String)],
}

/// What the user reads. All that a caller wrote stands on one line and shows every character.
#[must_use]
pub fn message(about: &About<'_>, call: &BoundCall) -> String {
    let About { reason, policy, kind, name, first } = *about;
    let mut text = String::new();
    if let Some(line) = reason {
        text.push_str(&shown(line));
        text.push('\n');
    }
    let subject = match kind {
        "tool" => "Tool",
        "resource" => "Resource",
        "prompt" => "Prompt",
        _ => "Method",
    };
    let mut lines = String::new();
    // How many they are, the caller chooses: what follows must stay in sight.
    for (path, value) in first.iter().take(MAX_SHOWN_LINES) {
        lines.push_str(&format!("{path}: {}\n", shown(&short(value))));
    }
    if let Some(more @ 1..) = first.len().checked_sub(MAX_SHOWN_LINES) {
        lines.push_str(&format!("… and {more} more\n"));
    }
    let arguments = shown(&call.arguments);
    let cut =
        arguments.char_indices().map(|(at, _)| at).take_while(|at| *at <= MAX_SHOWN_BYTES).last();
    let (start, rest) = match arguments.len() > MAX_SHOWN_BYTES {
        true => arguments.split_at_checked(cut.unwrap_or(0)).unwrap_or((&arguments, "")),
        false => (&*arguments, ""),
    };
    text.push_str(&format!(
        "Policy `{}` asks for your approval of this one call.\n{subject}: {}\n{lines}Arguments: {start}",
        shown(policy),
        shown(name)
    ));
    if !rest.is_empty() {
        text.push_str(&format!(
            "\n… and {} bytes more; digest of all arguments: {}",
            rest.len(),
            call.arguments_digest()
        ));
    }
    text
}

/// A text that is not too long to stand beside others.
fn short(text: &str) -> String {
    let mut short: String = text.chars().take(MAX_SHOWN_FIRST).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    short
}

/// A text on one line, with every character to be seen, and with nothing that a program would make a link of: `\/` is a slash in JSON.
fn shown(text: &str) -> String {
    legible(text).replace("://", ":\\/\\/")
}

#[cfg(test)]
mod tests {
    use super::{About, message};
    use crate::approval::call::{BoundCall, CallDigest};

    #[test]
    fn what_is_shown_first_does_not_push_the_rest_out_of_sight() {
        let call = BoundCall { digest: CallDigest([0; 32]), arguments: "{}".to_owned() };
        let first = |count| vec![("args.ids[*]".into(), "\"x\"".repeat(500)); count];
        for (count, lines, more) in
            [(0, 3, ""), (20, 23, ""), (21, 24, "… and 1 more"), (9000, 24, "… and 8980 more")]
        {
            let first = first(count);
            let about = About { reason: None, policy: "p", kind: "tool", name: "t", first: &first };
            let text = message(&about, &call);
            assert_eq!(text.lines().count(), lines, "{count}");
            assert!(text.contains(more) && text.ends_with("\nArguments: {}") && text.len() < 8000);
        }
    }
}
