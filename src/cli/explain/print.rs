//! An explanation, to be read in five seconds: the decision, its rule, what the agent reads, and then all rules.

use mcp_policy::rate::window;
use mcp_policy::rehearsal::{SimulatedRequest, Verdict};
use mcp_policy::trace::explanation::{Places, time};
use mcp_policy::trace::{Trace, TracedCondition, TracedCount, TracedRule};

use crate::cli::out::out;
use crate::cli::recorded::RecordedDecision;
use crate::cli::report::{bad, doubtful, good, quiet};

pub(super) fn human(
    places: &Places<'_>,
    request: &SimulatedRequest,
    verdict: &Verdict,
    (trace, governed_by): (&Trace, Option<&str>),
    recorded: Option<&RecordedDecision>,
) {
    let word = match &*verdict.decision {
        "deny" => bad("DENY"),
        "refuse" => bad("REFUSE"),
        "ask" => doubtful("ASK"),
        "would_deny" => doubtful("ALLOW, in shadow: would deny"),
        "would_ask" => doubtful("ALLOW, in shadow: would ask"),
        "allow" => good("ALLOW"),
        _ => good("PASS"),
    };
    let caller = request.caller().unwrap_or("anonymous").escape_debug();
    let what = match (&*trace.call, &*verdict.decision) {
        (_, "refuse") => "not let in".to_owned(),
        ("", _) => "not a single request".to_owned(),
        (call, _) => call.escape_debug().to_string(),
    };
    out!("{word}  {what}  {}", quiet(&format!("by {caller}, at {}", time(request.at))));
    if !verdict.reason.is_empty() {
        let place = match (&*verdict.rule, &*verdict.decision) {
            ("", "refuse") => "the strict front door, before any rule".to_owned(),
            ("", _) => "before any rule".to_owned(),
            (rule, _) => format!("{}  {rule}", places.place(rule)),
        };
        let name = trace.rules.iter().find(|rule| rule.kind == "name");
        let resembled = name.map(|rule| format!(" (it resembles `{}`)", rule.label));
        let resembled = resembled.unwrap_or_default();
        out!("  because  {}{resembled}: {place}", verdict.reason);
    }
    if let Some(policy) = governed_by {
        out!("  policy   {}", policy.escape_debug());
    }
    if let Some(recorded) = recorded {
        print_recorded(recorded);
    }
    print_approval(verdict);
    print_message(verdict);
    let mut section = None;
    for rule in &trace.rules {
        if rule.kind == "name" || rule.kind == "hide" || rule.kind == "default" {
            continue;
        }
        let name = rule.section;
        if section != Some((name, &rule.entry)) {
            section = Some((name, &rule.entry));
            match &rule.entry {
                Some(key) => out!("\n{name}.{key}"),
                None => out!("\n{name}"),
            }
        }
        print_rule(verdict, rule);
    }
}

/// What was decided when the call was recorded.
fn print_recorded(recorded: &RecordedDecision) {
    let RecordedDecision { decision, reason, rule, approval } = recorded;
    let by = if approval.is_empty() { String::new() } else { format!("approved by {approval}") };
    let words = [&**decision, reason, rule, &by].into_iter().filter(|word| !word.is_empty());
    out!("  recorded {}", words.collect::<Vec<_>>().join(" ").escape_debug());
}

/// What the agent reads, or the user who is asked.
fn print_message(verdict: &Verdict) {
    if let Some(message) = &verdict.message {
        let status = verdict.status.unwrap_or_default();
        let form = match verdict.code {
            Some(code) => format!("(HTTP {status}, code {code})"),
            None => format!("(HTTP {status}, a tool result)"),
        };
        match verdict.asks {
            // What a user is shown has lines of its own.
            Some(_) => {
                out!("  shows    {}", message.replace('\n', "\n           "));
            }
            None => out!("  reads    \"{message}\"  {}", quiet(&form)),
        }
    }
}

/// Who is asked, and whose approval is enough.
fn print_approval(verdict: &Verdict) {
    let ways = verdict.approval_by.join(", ");
    match (verdict.asks, &*verdict.approval_by) {
        (None, []) => {}
        (None, _) => out!("  approval by {ways}; nobody is asked for it"),
        (Some(asks), [_]) => out!("  would ask: {asks}"),
        (Some(asks), _) => out!("  would ask: {asks}  (one of these is enough: {ways})"),
    }
}

fn print_rule(verdict: &Verdict, rule: &TracedRule) {
    let decides = rule.denies && rule.rule == verdict.rule && rule.reason == Some(&*verdict.reason);
    let asks = rule.asks && verdict.asks.is_some();
    let word = match (rule.denies, rule.shadow, decides) {
        (false, ..) => good("  ok  "),
        (true, _, true) if asks => doubtful("> ask "),
        (true, _, true) => bad("> deny"),
        (true, true, false) => doubtful(" would"),
        (true, false, false) if asks => doubtful("  ask "),
        (true, false, false) => doubtful("  deny"),
    };
    let line = rule.line.map(|line| format!("line {line}")).unwrap_or_default();
    let reason = rule.reason.map(|reason| format!("  {reason}")).unwrap_or_default();
    out!("{word}  {}{reason}  {}", rule.label, quiet(&line));
    for compared in &rule.conditions {
        print_compared(compared);
    }
    if let Some(counted) = &rule.count {
        print_counted(counted);
    }
}

fn print_compared(compared: &TracedCondition) {
    let TracedCondition { path, op, value, found, outcome, expected } = compared;
    let found = found.join(", ");
    let needs = match (*outcome, expected) {
        ("undecidable", Some(expected)) => format!(", needs {expected}"),
        _ => String::new(),
    };
    out!("          {path} {op} {value} is {outcome}: found {found}{needs}");
}

fn print_counted(counted: &TracedCount) {
    let TracedCount { counter, scope, amount, problem, retry_after_ms, .. } = counted;
    let call = match (amount, problem) {
        (Some(amount), _) => format!("this call counts {amount}"),
        (None, Some(problem)) => problem.clone(),
        (None, None) => "this call cannot be counted".to_owned(),
    };
    let retry = match retry_after_ms {
        Some(millis) => format!("; room again in {} s", millis.div_ceil(1000)),
        None => String::new(),
    };
    out!("          {counter} ({scope}): {}; {call}{retry}", count(counted));
}

/// How full a count is.
fn count(counted: &TracedCount) -> String {
    let TracedCount { used, max, burst, window_seconds, .. } = counted;
    let used = used.as_deref().unwrap_or("an unreadable count");
    let window = window(*window_seconds);
    match (max, burst) {
        (Some(max), Some(burst)) => {
            let (_, length) = window.split_once(' ').unwrap_or_default();
            format!("{used} of {burst} used, {max} come back in each {length}")
        }
        (Some(max), None) => format!("{used} of {max} used in {window}"),
        (None, _) => format!("{used} used in {window}"),
    }
}

fn window(seconds: u64) -> String {
    match window::name(seconds) {
        Some(name) => format!("this {name}"),
        None => format!("these {seconds} s"),
    }
}
