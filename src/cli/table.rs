//! A table of text: columns as wide as they need to be, the first one numbers.

use crate::cli::out::out;

/// Prints a table on standard output.
pub(super) fn print(heads: &[&str], rows: Vec<Vec<String>>) {
    let shown =
        |text: &str| text.escape_debug().to_string().replace("\\'", "'").replace("\\\"", "\"");
    let rows: Vec<Vec<String>> =
        rows.into_iter().map(|row| row.iter().map(|cell| shown(cell)).collect()).collect();
    let width = |column: usize, head: &str| {
        let cells = rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count());
        cells.max().unwrap_or_default().max(head.chars().count())
    };
    let widths: Vec<usize> =
        heads.iter().enumerate().map(|(column, head)| width(column, head)).collect();
    let line = |cells: &mut dyn Iterator<Item = &str>| {
        let padded = cells.zip(&widths).enumerate().map(|(column, (cell, width))| {
            if column == 0 { format!("{cell:>width$}") } else { format!("{cell:<width$}") }
        });
        out!("{}", padded.collect::<Vec<_>>().join("  ").trim_end());
    };
    line(&mut heads.iter().copied());
    for row in &rows {
        line(&mut row.iter().map(String::as_str));
    }
}
