//! What is told of the calls of one name, in lines of a comment.

use super::arguments::{MembersSeen, TextsSeen, ValuesSeen};
use super::seen::{APPROVERS, Stops, Uses};
use crate::cli::report::counted;
use crate::cli::tree::print::quoted;
use mcp_policy::tools::one_line;

/// Most lines about the arguments of one tool.
const MOST_ARGUMENTS: usize = 24;

/// Longest line, in characters.
pub(super) const LONGEST: usize = 400;

/// Longest name in a line, in characters.
pub(super) const LONGEST_NAME: usize = 80;

/// The calls that were allowed.
pub(super) fn of_uses(uses: &Uses) -> Vec<String> {
    let mut first = format!("{} by {}", counted(uses.calls, "call"), uses.callers.text());
    if let Some(period) = uses.period.text() {
        first.push_str(&format!(", {period}"));
    }
    if uses.peak.most > 0 {
        first.push_str(&format!("; at most {} in one minute by one caller", uses.peak.most));
    }
    let mut lines = vec![first];
    let approved = APPROVERS.iter().zip(uses.approved).filter(|(_, count)| *count > 0);
    lines.extend(
        approved.map(|(by, count)| format!("approved: {} by {by}", counted(count, "call"))),
    );
    let missing = counted(uses.without_arguments, "call");
    match (uses.without_arguments, uses.keys_alone) {
        (0, _) => {}
        (calls, keys) if calls == uses.calls && keys == calls => {
            lines.push("arguments: their keys alone are on record".to_owned());
        }
        (calls, 0) if calls == uses.calls => lines.push("arguments: not on record".to_owned()),
        (_, _) => lines.push(format!(
            "arguments: values are not on record of {missing}, so no condition is proposed"
        )),
    }
    let mut told = Vec::new();
    let told_of = uses.calls - uses.without_arguments + uses.keys_alone;
    of_arguments(&uses.arguments, "args", told_of, &mut told);
    let more = told.len().saturating_sub(MOST_ARGUMENTS);
    lines.extend(told.into_iter().take(MOST_ARGUMENTS));
    if more > 0 {
        lines.push(format!("and {}", counted(more, "more argument")));
    }
    lines.iter().map(|line| one_line(line, LONGEST)).collect()
}

/// The calls that were not, or would not have been.
pub(super) fn of_stops(stops: &Stops) -> Vec<String> {
    let mut first = format!("{} by {}", counted(stops.calls, "call"), stops.callers.text());
    if let Some(period) = stops.period.text() {
        first.push_str(&format!(", {period}"));
    }
    let mut lines = vec![format!("not allowed: {first}")];
    for ([decision, reason, rule], count) in stops.reasons.iter() {
        let rule = if rule.is_empty() { String::new() } else { format!(" by {rule}") };
        lines.push(format!("{decision}: {count}, {reason}{rule}"));
    }
    if stops.reasons.beyond > 0 {
        lines.push(format!("and {} for other reasons", stops.reasons.beyond));
    }
    lines.iter().map(|line| one_line(line, LONGEST)).collect()
}

/// `holders` is how many objects there were that could have had these members.
fn of_arguments(seen: &MembersSeen, within: &str, holders: u64, lines: &mut Vec<String>) {
    for (key, values) in &seen.members {
        let name = if key.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-') {
            key.clone()
        } else {
            quoted(&one_line(key, LONGEST_NAME))
        };
        let path = format!("{within}.{name}");
        let often = if values.count == holders {
            String::new()
        } else {
            format!(", in {} of {}", values.count, counted(holders, "call"))
        };
        lines.push(format!("{path}: {}{often}", of_values(values)));
        of_arguments(&values.within, &path, values.objects, lines);
    }
    if seen.left_out {
        lines.push(format!("{within}: more arguments than can be told apart"));
    }
}

fn of_values(values: &ValuesSeen) -> String {
    let mut kinds = Vec::new();
    if values.texts.count > 0 {
        kinds.push(of_texts(&values.texts, values.secret));
    }
    let numbers = &values.numbers;
    if numbers.count > 0 {
        let range = numbers.range.filter(|_| !values.secret);
        let range = range.map(|(least, most)| match least == most {
            true => format!(", always {least}"),
            false => format!(" from {least} to {most}"),
        });
        let inexact = if numbers.inexact { ", some with too many digits" } else { "" };
        let count = counted(numbers.count, "number");
        kinds.push(format!("{count}{}{inexact}", range.unwrap_or_default()));
    }
    let [no, yes] = values.flags;
    if no + yes > 0 {
        kinds.push(match values.secret {
            true => counted(no + yes, "boolean"),
            false => format!("true ({yes}), false ({no})"),
        });
    }
    let containers = [(values.lists, "list"), (values.objects, "object")];
    let containers = containers.into_iter().filter(|(count, _)| *count > 0);
    kinds.extend(containers.map(|(count, what)| counted(count, what)));
    match (kinds.is_empty(), values.count) {
        (true, 0) => "null".to_owned(),
        (true, _) => "values not on record".to_owned(),
        (false, _) => kinds.join("; "),
    }
}

fn of_texts(texts: &TextsSeen, secret: bool) -> String {
    let count = counted(texts.count, "text");
    if secret {
        return format!("{count}, which are not written here");
    }
    let length = format!("of at most {}", counted(texts.longest, "character"));
    if texts.withheld {
        return format!("{count} {length}; some are too long, or look like credentials");
    }
    if texts.too_many {
        let most = super::arguments::MOST_TEXTS;
        return format!("{count} {length}, more than {most} different ones");
    }
    let each = texts.each.iter().map(|(text, count)| format!("{} ({count})", quoted(text)));
    each.collect::<Vec<_>>().join(", ")
}
