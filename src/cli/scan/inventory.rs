//! Everything that agents can call, riskiest first: as a table, JSON or Markdown.

use std::cmp::Reverse;
use std::fmt::Write as _;

use mcp_policy::source::Syntax;
use serde_json::json;

use crate::cli::report::counted;
use crate::cli::table::{self, First};
use crate::cli::tree::print::escaped;
use mcp_policy::tools::classify::Classification;
use mcp_policy::tools::{Tool, one_line};

/// What a scan of a server came to.
pub(super) struct Server {
    pub(super) name: String,
    pub(super) tools: Result<Vec<(Tool, Classification)>, String>,
}

struct InventoryRow<'s> {
    server: &'s str,
    tool: &'s Tool,
    judgement: &'s Classification,
}

fn rows(servers: &[Server]) -> Vec<InventoryRow<'_>> {
    let mut rows: Vec<InventoryRow<'_>> = servers
        .iter()
        .flat_map(|server| {
            let tools = server.tools.iter().flatten();
            tools.map(|(tool, judgement)| InventoryRow { server: &server.name, tool, judgement })
        })
        .collect();
    rows.sort_by_key(|row| {
        (Reverse((row.judgement.risk, row.judgement.class)), row.server, row.tool.name.clone())
    });
    rows
}

/// For a terminal.
pub(super) fn table(servers: &[Server]) -> String {
    let rows = rows(servers);
    let cells: Vec<Vec<String>> = rows.iter().map(|row| cells(row).into()).collect();
    let heads = ["RISK", "CLASS", "SERVER", "TOOL", "WHY"];
    let lines = table::lines(&heads, &cells, First::Word);
    format!("{}\n\n{}\n", lines.join("\n"), summary(servers))
}

/// For a page.
pub(super) fn markdown(servers: &[Server]) -> String {
    let cell = |text: &str| {
        let escape =
            |c: char| if "|`*_<>[]\\&".contains(c) { format!("\\{c}") } else { c.to_string() };
        text.chars().map(escape).collect::<String>()
    };
    let mut out = "| risk | class | server | tool | why |\n|---|---|---|---|---|\n".to_owned();
    for row in rows(servers) {
        // Writing to a String cannot fail.
        let _ = writeln!(out, "| {} |", cells(&row).map(|text| cell(&text)).join(" | "));
    }
    let _ = writeln!(out, "\n{}", cell(&summary(servers)));
    out
}

/// For programs.
pub(super) fn json(servers: &[Server]) -> String {
    let tools = rows(servers);
    let tools = tools.iter().map(|row| {
        json!({
            "server": row.server,
            "tool": row.tool.name,
            "class": row.judgement.class.to_string(),
            "risk": row.judgement.risk.to_string(),
            "evidence": row.judgement.evidence,
            "description": row.tool.description,
        })
    });
    let servers = servers.iter().map(|server| match &server.tools {
        Ok(tools) => json!({"name": server.name, "tools": tools.len()}),
        Err(problem) => json!({"name": server.name, "error": problem}),
    });
    let inventory =
        json!({"servers": servers.collect::<Vec<_>>(), "tools": tools.collect::<Vec<_>>()});
    escaped(&format!("{inventory:#}\n"), Syntax::Json)
}

fn cells(row: &InventoryRow<'_>) -> [String; 5] {
    let judgement = row.judgement;
    [
        judgement.risk.to_string(),
        judgement.class.to_string(),
        one_line(row.server, 40),
        one_line(&row.tool.name, 60),
        one_line(&judgement.evidence.join("; "), 120),
    ]
}

fn summary(servers: &[Server]) -> String {
    let scanned: Vec<usize> =
        servers.iter().filter_map(|server| Some(server.tools.as_ref().ok()?.len())).collect();
    let failed = servers.len() - scanned.len();
    let tools = counted(scanned.iter().sum::<usize>(), "tool");
    let mut summary = format!("{tools} of {}", counted(scanned.len(), "server"));
    if failed > 0 {
        // Writing to a String cannot fail.
        let _ = write!(summary, "; {failed} could not be scanned");
    }
    summary
}
