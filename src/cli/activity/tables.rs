//! The tables of the page.

use super::answer::{
    Activity, CandidateRow, HappenedRow, LimitOfCallerRow, LimitRow, PartyRow, PolicyRow, Rows,
    StopRow, When,
};
use super::chart::{Axis, fullness};
use super::markup::{Markup, all, element, foreign, name, text};
use super::page::{grouped, minutes};

/// A column: its head, and whether it holds numbers.
type Column = (&'static str, bool);

const COUNT: Column = ("Calls", true);
const FIRST: Column = ("First", false);
const LAST: Column = ("Last", false);

pub(super) fn by_rule(caption: &'static str, stops: &Rows<StopRow>) -> Markup {
    let columns = [
        COUNT,
        ("Decision", false),
        ("Rule and reason", false),
        ("Policy", false),
        ("Callers", true),
        FIRST,
        LAST,
    ];
    table(caption, &columns, stops, |row: &StopRow| {
        let rule = if row.rule.is_empty() { "(no rule)" } else { &row.rule };
        let mut cells = vec![
            number(row.count),
            badge(&row.decision),
            all([name(rule), reason(&row.reason)]),
            foreign(&row.policy),
            text(&row.callers),
        ];
        cells.extend(when(&row.when));
        cells
    })
}

pub(super) fn parties(
    caption: &'static str,
    head: &'static str,
    parties: &Rows<PartyRow>,
) -> Markup {
    let columns = [
        (head, false),
        ("Denied", true),
        ("Asked about", true),
        ("Would have been stopped", true),
        ("Let through", true),
        ("First stopped", false),
        ("Last stopped", false),
    ];
    table(caption, &columns, parties, |row: &PartyRow| {
        let kind = match row.kind {
            "caller" | "tool" => Markup::default(),
            kind => element("small", &[], [text(kind)]),
        };
        let mut cells = vec![
            all([name(&row.name), kind]),
            number(row.decisions.of("deny")),
            number(row.decisions.of("ask")),
            number(row.decisions.of_all(&["would_deny", "would_ask"])),
            number(row.decisions.of_all(&["allow", "pass"])),
        ];
        cells.extend(when(&row.when));
        cells
    })
}

pub(super) fn candidate(caption: &'static str, rows: &Rows<CandidateRow>) -> Markup {
    let columns = [
        COUNT,
        ("Decided", false),
        ("Candidate", false),
        ("Rule and reason", false),
        ("Policy", false),
        FIRST,
        LAST,
    ];
    table(caption, &columns, rows, |row: &CandidateRow| {
        let mut cells = vec![
            number(row.count),
            badge(&row.decision),
            badge(&row.candidate),
            all([name(&row.rule), reason(&row.reason)]),
            foreign(&row.policy),
        ];
        cells.extend(when(&row.when));
        cells
    })
}

pub(super) fn limits(caption: &'static str, activity: &Activity) -> Markup {
    let columns = [
        ("Limit", false),
        ("Fullest", true),
        ("When", false),
        ("Over time", false),
        ("Refused", true),
    ];
    let axis = Axis::of(&activity.over_time);
    table(caption, &columns, &activity.limits, |row: &LimitRow| {
        vec![
            all([name(&row.counter), element("small", &[], [name(&row.rule)])]),
            percent(row.most_percent),
            moment(row.at.as_deref()),
            axis.map(|axis| fullness(row, axis)).unwrap_or_default(),
            number(row.refused),
        ]
    })
}

pub(super) fn limits_of_callers(caption: &'static str, rows: &Rows<LimitOfCallerRow>) -> Markup {
    let columns = [
        ("Caller", false),
        ("Limit", false),
        ("Fullest", true),
        ("When", false),
        ("Calls at 90 % or more", true),
    ];
    table(caption, &columns, rows, |row: &LimitOfCallerRow| {
        vec![
            name(&row.caller),
            all([name(&row.counter), element("small", &[], [name(&row.rule)])]),
            percent(row.most_percent),
            moment(row.at.as_deref()),
            number(row.near),
        ]
    })
}

pub(super) fn happened(
    caption: &'static str,
    head: &'static str,
    count: &'static str,
    rows: &Rows<HappenedRow>,
) -> Markup {
    let columns = [(head, false), (count, true), FIRST, LAST];
    table(caption, &columns, rows, |row: &HappenedRow| {
        let what = if row.what.is_empty() { "(not on record)" } else { &row.what };
        let mut cells = vec![name(what), number(row.count)];
        cells.extend(when(&row.when));
        cells
    })
}

pub(super) fn policies(caption: &'static str, rows: &Rows<PolicyRow>) -> Markup {
    let columns =
        [("Policy", false), ("Digest", false), ("Mode", false), ("Lines", true), FIRST, LAST];
    table(caption, &columns, rows, |row: &PolicyRow| {
        let mut cells =
            vec![foreign(&row.name), name(&row.digest), foreign(&row.mode), number(row.count)];
        cells.extend(when(&row.when));
        cells
    })
}

fn table<R>(
    caption: &'static str,
    columns: &[Column],
    rows: &Rows<R>,
    cells: impl Fn(&R) -> Vec<Markup>,
) -> Markup {
    if rows.rows.is_empty() {
        return Markup::default();
    }
    let head = columns.iter().map(|(head, is_number)| {
        let attributes = [("scope", "col"), ("role", "columnheader"), ("class", class(*is_number))];
        element("th", &attributes, [text(head)])
    });
    let body = rows.rows.iter().map(|row| {
        let cells = cells(row).into_iter().zip(columns).enumerate();
        let cells = cells.map(|(at, (cell, (head, is_number)))| {
            // On a narrow page the head of the column stands in the cell.
            let attributes = [("class", class(*is_number)), ("data-head", *head)];
            if at == 0 {
                let scope = [("scope", "row"), ("role", "rowheader")];
                element("th", &[&attributes[..], &scope].concat(), [cell])
            } else {
                element("td", &[&attributes[..], &[("role", "cell")]].concat(), [cell])
            }
        });
        element("tr", &[("role", "row")], cells)
    });
    // Where its parts are laid out as blocks, on a narrow page, a browser takes it for no table unless it is told.
    let rows_of = [("role", "rowgroup")];
    let head = element("tr", &[("role", "row")], head);
    let parts = [
        element("caption", &[], [text(caption)]),
        element("thead", &rows_of, [head]),
        element("tbody", &rows_of, body),
    ];
    all([element("table", &[("role", "table")], parts), rest(rows)])
}

/// What a table does not show.
fn rest<R>(rows: &Rows<R>) -> Markup {
    let mut more = Vec::new();
    if rows.more_rows > 0 {
        more.push(format!("{} more rows are not shown.", grouped(rows.more_rows as u64)));
    }
    if rows.not_counted > 0 {
        more.push(format!(
            "{} lines had names beyond those that are told apart.",
            grouped(rows.not_counted)
        ));
    }
    if more.is_empty() {
        return Markup::default();
    }
    element("p", &[("class", "note")], [text(&more.join(" "))])
}

fn class(is_number: bool) -> &'static str {
    if is_number { "number" } else { "word" }
}

fn number(count: u64) -> Markup {
    if count == 0 {
        element("span", &[("class", "none")], [text("0")])
    } else {
        text(&grouped(count))
    }
}

fn percent(percent: u64) -> Markup {
    let class = if percent >= 90 { "badge denied" } else { "plain" };
    element("span", &[("class", class)], [text(&format!("{percent} %"))])
}

/// A decision in words, with its colour.
fn badge(decision: &str) -> Markup {
    let (class, word) = match decision {
        "allow" => ("let", "allowed"),
        "pass" => ("let", "passed"),
        "deny" => ("denied", "denied"),
        "ask" => ("asked", "asked"),
        "would_deny" => ("would", "would deny"),
        "would_ask" => ("would", "would ask"),
        "refuse" => ("refused", "refused"),
        "withheld" => ("withheld", "withheld"),
        other => ("other", other),
    };
    element("span", &[("class", &format!("badge {class}"))], [foreign(word)])
}

fn when(when: &When) -> [Markup; 2] {
    [&when.first, &when.last].map(|time| moment(time.as_deref()))
}

/// A time for people, and as programs read it.
fn moment(time: Option<&str>) -> Markup {
    let shown = |time| element("time", &[("datetime", time)], [text(&minutes(time))]);
    time.map(shown).unwrap_or_default()
}

/// The word for a reason, and what it means.
fn reason(word: &str) -> Markup {
    element("small", &[], [foreign(word)])
}
