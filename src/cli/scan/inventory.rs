//! Everything that agents can call, riskiest first: as a table, JSON or Markdown. What tools can do together comes before it.

use std::cmp::Reverse;
use std::fmt::Write as _;

use mcp_policy::source::Syntax;
use serde_json::{Value, json};

use super::combine::combinations;
use super::scanned::ScannedServer;
use crate::cli::report::counted;
use crate::cli::table::{self, First};
use crate::cli::tree::print::escaped;
use mcp_policy::tools::classify::kinds::{Classification, ToolClass};
use mcp_policy::tools::judged::JudgedTool;
use mcp_policy::tools::{Tool, one_line};

struct InventoryRow<'s> {
    server: &'s str,
    tool: &'s Tool,
    judgement: &'s Classification,
}

fn rows(servers: &[ScannedServer]) -> Vec<InventoryRow<'_>> {
    let mut rows: Vec<InventoryRow<'_>> = servers
        .iter()
        .flat_map(|server| {
            let tools = server.outcome.iter().flat_map(|judged| &judged.tools);
            tools.map(|(tool, judgement)| InventoryRow { server: &server.name, tool, judgement })
        })
        .collect();
    rows.sort_by_key(|row| {
        (Reverse((row.judgement.severity, row.judgement.class)), row.server, row.tool.name.clone())
    });
    rows
}

/// For a terminal.
pub(super) fn table(servers: &[ScannedServer]) -> String {
    let several = servers.len() > 1;
    let cells: Vec<Vec<String>> = rows(servers).iter().map(|row| cells(row, several)).collect();
    let heads: Vec<String> = heads(several).iter().map(|head| head.to_uppercase()).collect();
    let heads: Vec<&str> = heads.iter().map(String::as_str).collect();
    let lines = table::lines(&heads, &cells, First::Word);
    let mut out = String::new();
    for line in said_first(servers) {
        // Writing to a String cannot fail.
        let _ = writeln!(out, "{line}");
    }
    let gap = if out.is_empty() { "" } else { "\n" };
    format!("{out}{gap}{}\n\n{}\n", lines.join("\n"), summary(servers))
}

/// For a page.
pub(super) fn markdown(servers: &[ScannedServer]) -> String {
    let cell = |text: &str| {
        let escape =
            |c: char| if "|`*_<>[]\\&".contains(c) { format!("\\{c}") } else { c.to_string() };
        text.chars().map(escape).collect::<String>()
    };
    let several = servers.len() > 1;
    let heads = heads(several);
    let mut out = String::new();
    // Writing to a String cannot fail.
    for line in said_first(servers) {
        let bullet = if line.starts_with(' ') { "  - " } else { "- " };
        let _ = writeln!(out, "{bullet}{}", cell(line.trim_start()));
    }
    if !out.is_empty() {
        out.push('\n');
    }
    let _ = writeln!(out, "| {} |\n|{}", heads.join(" | "), "---|".repeat(heads.len()));
    for row in rows(servers) {
        let cells: Vec<String> = cells(&row, several).iter().map(|text| cell(text)).collect();
        let _ = writeln!(out, "| {} |", cells.join(" | "));
    }
    let _ = writeln!(out, "\n{}", cell(&summary(servers)));
    out
}

/// What is said before the tools: what they can do together, and what is to be known of their servers.
fn said_first(servers: &[ScannedServer]) -> Vec<String> {
    let several = servers.len() > 1;
    let mut lines: Vec<String> =
        combinations(servers).iter().flat_map(|found| found.lines(several)).collect();
    for server in servers {
        let remarks = server.outcome.iter().flat_map(|judged| &judged.remarks);
        lines.extend(remarks.map(|remark| format!("{}: {remark}", one_line(&server.name, 60))));
    }
    lines
}

/// For programs.
pub(super) fn json(servers: &[ScannedServer]) -> String {
    let rows = rows(servers);
    let tools = rows.iter().map(|row| JudgedTool::new(Some(row.server), row.tool, row.judgement));
    let tools: Vec<JudgedTool<'_>> = tools.collect();
    let combined: Vec<Value> = combinations(servers).iter().map(|found| found.json()).collect();
    let servers: Vec<Value> = servers.iter().map(server_json).collect();
    let inventory = json!({"combinations": combined, "servers": servers, "tools": tools});
    escaped(&format!("{inventory:#}\n"), Syntax::Json)
}

fn server_json(server: &ScannedServer) -> Value {
    let mut object = match &server.outcome {
        Ok(judged) => {
            json!({"name": server.name, "tools": judged.tools.len(), "remarks": judged.remarks})
        }
        Err(problem) => json!({"name": server.name, "error": problem}),
    };
    if let Some(members) = object.as_object_mut() {
        let more =
            [("calls_itself", &server.calls_itself), ("configuration", &server.configuration)];
        members.extend(
            more.into_iter()
                .filter_map(|(key, text)| Some((key.to_owned(), json!(text.as_ref()?)))),
        );
        members.insert("left_out".to_owned(), json!(server.left_out));
        if let Some(found) = server.recognised() {
            let known = json!({
                "name": found.server.name, "package": found.server.package, "version": found.server.version,
                "shared": found.shared, "unknown": found.unknown,
            });
            members.insert("catalogue".to_owned(), known);
        }
    }
    object
}

fn heads(several: bool) -> Vec<&'static str> {
    let heads = ["severity", "class", "confidence", "marks", "flags", "server", "tool", "why"];
    heads.into_iter().filter(|head| several || *head != "server").collect()
}

fn cells(row: &InventoryRow<'_>, several: bool) -> Vec<String> {
    let judgement = row.judgement;
    let marks: Vec<String> = judgement.shown_marks().map(|found| found.mark.to_string()).collect();
    let mut cells = vec![
        judgement.severity.to_string(),
        class(judgement),
        judgement.confidence.to_string(),
        marks.join(", "),
        one_line(&flags(judgement), 60),
    ];
    if several {
        cells.push(one_line(row.server, 40));
    }
    cells.push(one_line(&row.tool.name, 60));
    cells.push(one_line(&why(judgement), 120));
    cells
}

/// The class, and what an unknown one probably is.
pub(super) fn class(judgement: &Classification) -> String {
    match &judgement.proposal {
        Some(proposal) if judgement.class == ToolClass::Unknown => {
            format!("unknown ({}?)", proposal.class)
        }
        Some(_) | None => judgement.class.to_string(),
    }
}

/// The flagged arguments: `query (sql), file (path)`.
pub(super) fn flags(judgement: &Classification) -> String {
    let flags: Vec<String> = judgement
        .flags
        .iter()
        .map(|flagged| format!("{} ({})", flagged.name, flagged.flag))
        .collect();
    flags.join(", ")
}

/// The evidence, that of a proposal too.
pub(super) fn why(judgement: &Classification) -> String {
    let proposed = judgement.proposal.iter().flat_map(|proposal| &proposal.evidence);
    let evidence: Vec<&str> =
        judgement.evidence.iter().chain(proposed).map(String::as_str).collect();
    evidence.join("; ")
}

fn summary(servers: &[ScannedServer]) -> String {
    let scanned: Vec<usize> = servers
        .iter()
        .filter_map(|server| Some(server.outcome.as_ref().ok()?.tools.len()))
        .collect();
    let failed = servers.len() - scanned.len();
    let tools = counted(scanned.iter().sum::<usize>(), "tool");
    let mut summary = format!("{tools} of {}", counted(scanned.len(), "server"));
    if failed > 0 {
        // Writing to a String cannot fail.
        let _ = write!(summary, "; {failed} could not be scanned");
    }
    summary
}
