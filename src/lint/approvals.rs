//! Approvals that nobody can give, or that one caller could use in another's place.

use super::Lint;
use crate::json::Value;
use crate::language::diagnostic::{Code, Diagnostic};
use crate::policy::approvals::ApprovalWay;
use crate::policy::callers::Source;
use crate::policy::compiled::Config;
use crate::policy::entry::{Action, CheckKind, Entry};
use crate::policy::settings::HoldHeaders;

/// What is to be said of one policy.
pub(super) fn lint(config: &Config, lint: &mut Lint<'_>) {
    let policy = lint.policy;
    let asking = |entry: &&Entry| {
        entry.action == Action::RequireApproval
            || entry.checks.iter().any(|check| check.kind == CheckKind::AskIf)
    };
    let pointer = |entry: &Entry| policy.rules.pointer(entry.rule).to_owned();
    // A token names its caller.
    let named = policy.entries().find(|entry| {
        let ways = [ApprovalWay::User, ApprovalWay::Approver];
        entry.asks() && entry.approval.is_some_and(|need| ways.iter().any(|way| need.by.have(*way)))
    });
    let everybody = config.callers.required || config.callers.grant.contains(&Source::SourceIp);
    if let Some(entry) = named.filter(|_| !everybody) {
        let message = "a caller can be anonymous, and all anonymous callers are one: one could use another's approval";
        let help = "refuse those without a name: \"identity\": {\"required\": true}";
        let place = format!("{}/approval", pointer(entry));
        lint.warn(Code::AnonymousApproval, &place, message.to_owned(), help);
    }
    // Where nobody can approve anything, that is meant: what needs a person is denied.
    if !policy.entries().any(|entry| entry.approval.is_some()) {
        return;
    }
    let forgotten: Vec<String> = policy
        .entries()
        .filter(asking)
        .filter(|entry| entry.approval.is_none())
        .map(pointer)
        .collect();
    for place in forgotten {
        let message = "nobody can approve what this entry asks about, so it is denied".to_owned();
        let help = "say who can: \"approval\": \"user\", \"approver\" or \"token\"; or deny it: \"action\": \"deny\"";
        lint.warn(Code::NobodyApproves, &place, message, help);
    }
}

/// What is to be said of the settings.
pub(super) fn of_settings(config: &Config, document: &Value<'_>) -> Vec<Diagnostic> {
    let mut found = Vec::new();
    let written = document.as_object().and_then(|root| root.get("approvals"));
    let names = |way| config.policies().any(|policy| policy.names_way(way));
    let ways = ApprovalWay::WORDS.into_iter().map(|(_, way)| way);
    let mut warn = |code, place: &str, message: &str, help: &str| {
        let warning = Diagnostic::warning(code, place.to_owned(), message.to_owned());
        found.push(warning.with_help(help.to_owned()));
    };
    if written.is_some() && !ways.into_iter().any(names) {
        let message = "no entry lets anybody approve, so nothing reads this";
        warn(Code::Redundant, "approvals", message, "leave it out, or add `approval` to an entry");
        return found;
    }
    if config.approvals.approver.is_none() {
        return found;
    }
    if !names(ApprovalWay::Approver) {
        let message = "no entry lets the approver approve, so it is never asked";
        let help = "leave it out, or add \"approval\": \"approver\" to an entry";
        warn(Code::Redundant, "approvals.approver", message, help);
    } else if config.requests.hold_headers == HoldHeaders::Never && config.approvals.wait_millis > 0
    {
        let message = "with `hold_headers: never` the server has the headers of a call while somebody thinks about it, and waits for its body";
        let help = "set \"wait\": 0, or let headers be held";
        warn(Code::WaitsUnheld, "approvals", message, help);
    }
    found
}
