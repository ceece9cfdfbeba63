//! What an approver answers, read strictly: what is not exactly what the profile says is nothing.

use serde::Serialize;

use super::{GivenApproval, Task};
use crate::ask::Answer;
use crate::bounds::MAX_ANSWER_BYTES;
use crate::json::{Duplicates, Object, Value, parse, written};
use crate::matcher::instant::Time;
use crate::policy::approvals::Approver;

/// Longest id, path or link of an approver that is kept, in bytes.
const MAX_TEXT_BYTES: usize = 256;

/// What an evaluation comes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Evaluated {
    /// The call may run.
    Permitted,
    /// It may not.
    Denied,
    /// It may not: its approval has let a call run already.
    Consumed,
    /// It may not, but somebody can be asked.
    Requestable(Requestable),
}

/// By what a request refers to the evaluation that asked for it; it goes back unchanged.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Requestable {
    /// The evaluation.
    pub evaluation_id: String,
    /// Until when it can be referred to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<String>,
    /// What binds the request to it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub binding_token: Option<String>,
}

/// How far a request is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Progress {
    /// Somebody is thinking.
    Pending(Task),
    /// Somebody said yes.
    Approved(GivenApproval),
    /// Somebody said no.
    Denied,
    /// Nobody said anything, and nobody will.
    Over,
}

/// Reads the answer to an evaluation.
pub(super) fn evaluated(answer: &Answer<'_>) -> Option<Evaluated> {
    let value = body(answer, &[200])?;
    let answer = value.as_object()?;
    match answer.get("decision")? {
        Value::Bool(true) => return Some(Evaluated::Permitted),
        Value::Bool(false) => {}
        Value::Null | Value::Number(_) | Value::String(_) | Value::Array(_) | Value::Object(_) => {
            return None;
        }
    }
    let Some(context) = answer.get("context") else { return Some(Evaluated::Denied) };
    let context = context.as_object()?;
    let Some(request) = context.get("access_request") else {
        let consumed = context.get("reason").and_then(Value::as_str) == Some("approval_consumed");
        return Some(if consumed { Evaluated::Consumed } else { Evaluated::Denied });
    };
    let request = request.as_object()?;
    Some(Evaluated::Requestable(Requestable {
        evaluation_id: text(context, "evaluation_id")?,
        expires_at: optional(request, "expires_at")?,
        binding_token: optional(request, "binding_token")?,
    }))
}

/// Reads the answer to a request, or to the question how far it is: then `known` is what was known of it.
pub(super) fn progress(
    answer: &Answer<'_>,
    approver: &Approver,
    known: Option<Task>,
) -> Option<Progress> {
    let value = body(answer, if known.is_some() { &[200] } else { &[200, 201, 202] })?;
    let answer = value.as_object()?;
    let told = match answer.get("task") {
        Some(task) => task.as_object()?,
        None => answer,
    };
    match told.get("status")?.as_str()? {
        "pending" => {
            let task = match known {
                Some(task) => task,
                None => task(told, approver)?,
            };
            Some(Progress::Pending(task))
        }
        "approved" => approval(answer.get("result").or_else(|| told.get("result"))?),
        "denied" => Some(Progress::Denied),
        "expired" | "cancelled" | "failed" => Some(Progress::Over),
        _ => None,
    }
}

fn task(told: &Object<'_>, approver: &Approver) -> Option<Task> {
    let links = told.get("links").and_then(Value::as_object);
    let link = links.and_then(|links| text(links, "ticket"));
    let allowed = |link: &String| approver.links.iter().any(|prefix| link.starts_with(&**prefix));
    Some(Task {
        id: text(told, "id")?,
        path: status_path(told.get("status_endpoint")?.as_str()?, approver)?,
        expires_at: optional(told, "expires_at")?,
        link: link.filter(allowed),
    })
}

/// The path of a state. Its host is the cluster's, whatever the answer says; and it lies below the path of requests, so that an approver
/// cannot have the filter ask for something else.
fn status_path(endpoint: &str, approver: &Approver) -> Option<String> {
    let path = match endpoint.split_once("://") {
        None => endpoint,
        Some((_, rest)) => rest.get(rest.find('/')?..)?,
    };
    let id = path.strip_prefix(&*approver.requests)?.strip_prefix('/')?;
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    let clean = !id.is_empty() && !id.starts_with('.') && id.bytes().all(plain);
    (clean && path.len() <= MAX_TEXT_BYTES).then(|| path.to_owned())
}

fn approval(result: &Value<'_>) -> Option<Progress> {
    let result = result.as_object()?;
    if result.get("mode")?.as_str()? != "reevaluate" {
        return None;
    }
    let value = result.get("approval")?;
    let approval = value.as_object()?;
    let until = optional(approval, "approved_until")?;
    let until = match until {
        None => None,
        // Nothing but a time says until when.
        Some(text) => Some(u64::try_from(Time::parse(&text)?.first.seconds).ok()?),
    };
    let (id, written) = (text(approval, "id")?, written(value));
    Some(Progress::Approved(GivenApproval { id, written, until }))
}

fn body<'a>(answer: &Answer<'a>, statuses: &[u16]) -> Option<Value<'a>> {
    let Answer::Http { status, body } = answer else { return None };
    if !statuses.contains(status) || body.len() > MAX_ANSWER_BYTES {
        return None;
    }
    parse(std::str::from_utf8(body).ok()?, Duplicates::Refuse).ok()
}

/// A text of visible ASCII, not too long.
fn text(object: &Object<'_>, key: &str) -> Option<String> {
    let text = object.get(key)?.as_str()?;
    let plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic());
    (plain && text.len() <= MAX_TEXT_BYTES).then(|| text.to_owned())
}

/// The same where it may be missing; outside, it is there and is none.
#[expect(clippy::option_option, reason = "missing is one thing, and wrong another")]
fn optional(object: &Object<'_>, key: &str) -> Option<Option<String>> {
    match object.get(key) {
        None | Some(Value::Null) => Some(None),
        Some(_) => text(object, key).map(Some),
    }
}

#[cfg(test)]
mod tests;
