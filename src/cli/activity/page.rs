//! The page: one file that loads nothing and runs nothing, which its own policy says to the browser too.

use base64ct::{Base64, Encoding as _};
use sha2::{Digest as _, Sha256};

use super::answer::{Activity, Rows};
use super::chart::{self, KINDS};
use super::markup::{Markup, all, element, fixed, foreign, name, text, void};
use super::tables;

/// How the page looks.
const STYLE: &str = include_str!("page.css");

/// The whole page.
pub(super) fn page(activity: &Activity) -> String {
    let hash = Base64::encode_string(&Sha256::digest(STYLE));
    let content_policy = format!(
        "default-src 'none'; style-src 'sha256-{hash}'; base-uri 'none'; form-action 'none'"
    );
    let head = element(
        "head",
        &[],
        [
            fixed("<meta charset=\"utf-8\">\n"),
            void(
                "meta",
                &[("http-equiv", "Content-Security-Policy"), ("content", &content_policy)],
            ),
            fixed("\n<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"),
            fixed("<meta name=\"color-scheme\" content=\"light dark\">\n"),
            fixed("<meta name=\"robots\" content=\"noindex\">\n"),
            element("title", &[], [text("What the MCP policy decided")]),
            element("style", &[], [fixed(STYLE)]),
        ],
    );
    let main = element(
        "main",
        &[],
        [
            headline(activity),
            over_time(activity),
            stopped(activity),
            would_be_stopped(activity),
            limits(activity),
            front_door(activity),
            withheld(activity),
            policies(activity),
        ],
    );
    let body = element("body", &[], [header(activity), main, footer(activity)]);
    let html = element("html", &[("lang", "en")], [head, fixed("\n"), body]);
    format!("<!doctype html>\n{}\n", html.into_text())
}

fn header(activity: &Activity) -> Markup {
    let period = match (&activity.first, &activity.last) {
        (Some(first), Some(last)) => format!("{} to {} UTC", minutes(first), minutes(last)),
        _ => "No times are on record.".to_owned(),
    };
    element(
        "header",
        &[],
        [
            element("p", &[("class", "kicker")], [text("mcp-policy report")]),
            element("h1", &[], [text("What the MCP policy decided")]),
            element("p", &[("class", "period")], [text(&period)]),
        ],
    )
}

fn footer(activity: &Activity) -> Markup {
    let logs = activity.logs.iter().map(|log| all([text(" "), name(log)]));
    let unreadable = if activity.unreadable > 0 {
        match activity.unreadable {
            1 => " 1 line could not be read and is not counted.".to_owned(),
            lines => format!(" {} lines could not be read and are not counted.", grouped(lines)),
        }
    } else {
        String::new()
    };
    let undecided = match activity.undecided {
        0 => String::new(),
        lines => format!(" Lines without a decision, of what was not MCP: {}.", grouped(lines)),
    };
    let lines = format!("Made by mcp-policy from {} lines of", grouped(activity.lines));
    let line = all([text(&lines), all(logs), text("."), text(&undecided), text(&unreadable)]);
    element("footer", &[], [element("p", &[], [line])])
}

fn headline(activity: &Activity) -> Markup {
    let decisions = &activity.decisions;
    let denied = decisions.of("deny");
    let would = decisions.of_all(&["would_deny", "would_ask"]);
    let all_of = decisions.sum();
    let cards = [
        ("other", all_of, "decisions", String::new()),
        (
            "let",
            decisions.of_all(&["allow", "pass"]),
            "let through",
            share(decisions.of_all(&["allow", "pass"]), all_of),
        ),
        ("denied", denied, "denied by policy", share(denied, all_of)),
        ("would", would, "would have been stopped", "let through in shadow mode".to_owned()),
        ("asked", decisions.of("ask"), "asked about", approved(activity)),
        (
            "refused",
            decisions.of("refuse"),
            "refused at the front door",
            "not a sound MCP request".to_owned(),
        ),
        (
            "withheld",
            decisions.of("withheld"),
            "responses withheld",
            "the server's answer could not be trusted".to_owned(),
        ),
        ("other", activity.callers, "callers", format!("called {} names", grouped(activity.names))),
    ];
    let cards = cards.into_iter().map(|(class, count, word, about)| {
        element(
            "li",
            &[("class", class)],
            [
                element("strong", &[], [text(&grouped(count))]),
                element("span", &[], [text(word)]),
                element("small", &[], [text(&about)]),
            ],
        )
    });
    section(
        "headline",
        "At a glance",
        &summary(activity),
        [element("ul", &[("class", "cards")], cards)],
    )
}

/// The first thing to know, in a sentence or two.
fn summary(activity: &Activity) -> Markup {
    let decisions = &activity.decisions;
    let stopped = decisions.of("deny");
    let mut pieces =
        vec![match activity.stopped_by_rule.rows.iter().find(|row| row.decision == "deny") {
            Some(most) => all([
                text(&format!(
                    "{} denied. The rule that stopped most, {} of them, is ",
                    calls(stopped, "was", "were"),
                    grouped(most.count)
                )),
                name(&most.rule),
                text(" ("),
                foreign(&most.reason),
                text(")."),
            ]),
            None => text("No call was denied."),
        }];
    let would = decisions.of_all(&["would_deny", "would_ask"]);
    if would > 0 {
        let would = calls(would, "was", "were");
        pieces.push(text(&format!(
            " {would} let through only because the policy, or a part of it, is in shadow mode."
        )));
    }
    let full = activity.limits.rows.iter().filter(|limit| limit.most_percent >= 90).count();
    if full > 0 {
        let limits = if full == 1 { "One limit was" } else { &format!("{full} limits were") };
        pieces.push(text(&format!(" {limits} at 90 % or more.")));
    }
    all(pieces)
}

fn calls(count: u64, one: &str, several: &str) -> String {
    if count == 1 { format!("1 call {one}") } else { format!("{} calls {several}", grouped(count)) }
}

fn share(count: u64, of: u64) -> String {
    if of == 0 {
        return String::new();
    }
    let tenths = count.saturating_mul(1000) / of;
    // So small a share is still one.
    if tenths == 0 && count > 0 {
        "less than 0.1 %".to_owned()
    } else {
        format!("{}.{} %", tenths / 10, tenths % 10)
    }
}

fn approved(activity: &Activity) -> String {
    let approved: u64 = activity.approved.rows.iter().map(|row| row.count).sum();
    format!("{} approved", calls(approved, "was", "were"))
}

fn over_time(activity: &Activity) -> Markup {
    let Some(bars) = chart::decisions(&activity.over_time) else {
        let about = text("No times are on record.");
        return section("time", "Decisions over time", &about, []);
    };
    let decisions = &activity.decisions;
    let kinds = KINDS.iter().filter(|(_, _, words)| decisions.of_all(words) > 0);
    let legend = kinds.map(|(class, word, words)| {
        let count = format!("{word}: {}", grouped(decisions.of_all(words)));
        element("li", &[("class", class)], [text(&count)])
    });
    let about = text("Each bar is one stretch of time, with what was decided in it.");
    section(
        "time",
        "Decisions over time",
        &about,
        [bars, element("ul", &[("class", "legend")], legend)],
    )
}

fn stopped(activity: &Activity) -> Markup {
    let about = text(
        "Calls that the policy denied, or held until somebody would say yes. Rules are named by their place in the policy.",
    );
    let tables = [
        tables::by_rule("By rule", &activity.stopped_by_rule),
        tables::parties("By caller", "Caller", &activity.stopped_callers),
        tables::parties("By what was called", "Tool", &activity.stopped_names),
        tables::happened("Approvals by who gave them", "Approved by", "Calls", &activity.approved),
    ];
    let is_empty =
        activity.stopped_by_rule.rows.is_empty() && activity.stopped_callers.rows.is_empty();
    let empty = is_empty.then(|| nothing("No call was stopped."));
    section("stopped", "Who was stopped, and by what", &about, tables.into_iter().chain(empty))
}

fn would_be_stopped(activity: &Activity) -> Markup {
    let about = text(
        "Calls that ran, and would not have: because a rule was in shadow mode, or because the candidate policy that is tried beside the live one decides otherwise.",
    );
    let tables = [
        tables::by_rule("In shadow mode", &activity.would_be_stopped),
        tables::candidate("By the candidate policy", &activity.candidate),
    ];
    let is_empty = activity.would_be_stopped.rows.is_empty() && activity.candidate.rows.is_empty();
    let empty = is_empty.then(|| nothing("Nothing is on record."));
    section("would", "What would have been stopped", &about, tables.into_iter().chain(empty))
}

fn limits(activity: &Activity) -> Markup {
    let about =
        text("How full limits were when calls were counted. 100 % is a limit that refuses.");
    let tables = [
        tables::limits("Limits, the fullest first", activity),
        tables::limits_of_callers(
            "Callers, the nearest to a limit first",
            &activity.limits_of_callers,
        ),
    ];
    let empty = activity.limits.rows.is_empty();
    let empty = empty.then(|| {
        nothing("No limit is on record. Only audit lines tell of limits, the access log does not.")
    });
    section("limits", "Limits", &about, tables.into_iter().chain(empty))
}

fn front_door(activity: &Activity) -> Markup {
    let about = text(
        "Requests that no policy was asked about: they were not MCP, could be read in two ways, or were too large.",
    );
    let table = tables::happened("By reason", "Reason", "Requests", &activity.refused);
    let empty = none_of(&activity.refused, "No request was refused.");
    section("refused", "Refused at the front door", &about, [table].into_iter().chain(empty))
}

fn withheld(activity: &Activity) -> Markup {
    let about = text(
        "Responses of servers, or parts of them, that were kept from the client: they might have held a list that could not be read.",
    );
    let table = tables::happened("By cause", "Cause", "Responses", &activity.withheld);
    let empty = none_of(&activity.withheld, "No response was withheld.");
    section("withheld", "Withheld responses", &about, [table].into_iter().chain(empty))
}

fn policies(activity: &Activity) -> Markup {
    let about = text("Which policy decided, and in which version: another digest is another text.");
    let table = tables::policies("By name and digest", &activity.policies);
    let empty = none_of(&activity.policies, "No policy is on record.");
    section("policies", "Policies", &about, [table].into_iter().chain(empty))
}

fn none_of<R>(rows: &Rows<R>, line: &'static str) -> Option<Markup> {
    rows.rows.is_empty().then(|| nothing(line))
}

fn nothing(line: &str) -> Markup {
    element("p", &[("class", "nothing")], [text(line)])
}

fn section(
    id: &'static str,
    title: &str,
    about: &Markup,
    inner: impl IntoIterator<Item = Markup>,
) -> Markup {
    let title = element("h2", &[("id", id)], [text(title)]);
    let about = element("p", &[("class", "about")], [about.clone()]);
    let inner = [title, about].into_iter().chain(inner);
    all([element("section", &[("aria-labelledby", id)], inner), fixed("\n")])
}

/// A number with its thousands apart.
pub(super) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut shown = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            shown.push(',');
        }
        shown.push(digit);
    }
    shown
}

/// A time of RFC 3339, to the minute.
pub(super) fn minutes(time: &str) -> String {
    time.replace('T', " ").chars().take("2026-01-01 00:00".len()).collect()
}
