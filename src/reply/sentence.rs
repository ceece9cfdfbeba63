//! What an agent reads of a denial.

use crate::denial::{Denial, Detail};
use crate::mcp::call::Kind;
use crate::policy::compiled::Policy;
use crate::policy::rules::RuleKind;
use crate::rate::window;
use crate::reason::Reason;

/// One sentence for the model: the author's, or ours.
pub(super) fn of(name: &str, denial: &Denial, policy: Option<&Policy>) -> String {
    let kind = denial.kind.word();
    // What cannot be decided is not what the author wrote about, so our sentence says it.
    if let (Detail::Mismatch(path, mismatch), Reason::ValueUndecidable | Reason::InvalidIncrement) =
        (&denial.detail, denial.reason)
    {
        let (expected, found) = (mismatch.expected, mismatch.found);
        return format!(
            "Argument `{path}` of {kind} `{name}` cannot be checked: expected {expected}, found {found}."
        );
    }
    let text = policy.filter(|_| denial.detail != Detail::Inexact);
    if let Some(text) = text.and_then(|policy| denial.text(policy)) {
        return text.to_owned();
    }
    let subject = match denial.kind {
        Kind::Tool => "Tool",
        Kind::Resource => "Resource",
        Kind::Prompt => "Prompt",
        Kind::Method => "Method",
    };
    match (denial.reason, &denial.detail) {
        (Reason::RequirementNotMet, Detail::Path(path)) => {
            format!(
                "{subject} `{name}` requires a condition on `{path}` that this call does not meet."
            )
        }
        (Reason::RequirementNotMet | Reason::DeniedByCondition, _) if is_timed(denial, policy) => {
            format!("{subject} `{name}` is not allowed at this time.")
        }
        (Reason::RequirementNotMet, _) => {
            format!("{subject} `{name}` requires a condition that this call does not meet.")
        }
        (Reason::DeniedByCondition, _) => {
            format!("{subject} `{name}` is denied by policy for these arguments.")
        }
        (Reason::DefinitionChanged, _) => format!(
            "{subject} `{name}` is not defined as it was when its use was allowed. Do not call it again; its operator has to read the new definition."
        ),
        (Reason::ApprovalRequired, _) => format!("{subject} `{name}` requires approval."),
        (Reason::ApprovalPending, Detail::Approval(approval)) => {
            let id = approval.id.as_deref().map_or(String::new(), |id| format!(" {id}"));
            let after = approval.retry_after.map_or(0, |millis| millis.div_ceil(1000));
            format!(
                "Waiting for approval{id}. Call again with the same arguments after {after} s; other arguments need another approval."
            )
        }
        (Reason::ValueUndecidable, Detail::Inexact) => {
            let cannot =
                if is_of(denial, policy, RuleKind::Limit) { "counted" } else { "approved" };
            format!(
                "{subject} `{name}` cannot be {cannot}: a number among its arguments has more digits than all readers keep apart."
            )
        }
        (Reason::LimitReached, Detail::Limit { .. }) => of_limit(kind, name, &denial.detail),
        (reason, _) if !reason.sentence().is_empty() => format!("{}.", reason.sentence()),
        _ => format!("{subject} `{name}` is not allowed by policy."),
    }
}

/// What is too much, and when it is not any more.
fn of_limit(kind: &str, name: &str, detail: &Detail) -> String {
    let Detail::Limit { max, window_seconds, retry_after, .. } = detail else {
        return String::new();
    };
    if *window_seconds == 0 {
        return format!(
            "Limit reached for {kind} `{name}`: at most {max} calls at once; retry when one of them has ended."
        );
    }
    let per = match window::name(*window_seconds) {
        Some(name) => name.to_owned(),
        None => format!("{window_seconds} seconds"),
    };
    let retry = match retry_after {
        Some(millis) => format!("retry in {} s", millis.div_ceil(1000)),
        None => "this call alone exceeds it".to_owned(),
    };
    format!("Limit reached for {kind} `{name}`: at most {max} per {per}; {retry}.")
}

/// Whether it is the times of an entry that deny.
fn is_timed(denial: &Denial, policy: Option<&Policy>) -> bool {
    is_of(denial, policy, RuleKind::Times) || is_of(denial, policy, RuleKind::Action)
}

/// Whether a rule of this kind denies.
fn is_of(denial: &Denial, policy: Option<&Policy>, kind: RuleKind) -> bool {
    let row = policy.zip(denial.rule).and_then(|(policy, rule)| policy.rules.get(rule));
    row.is_some_and(|row| row.kind == kind)
}
