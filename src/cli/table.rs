//! A table of text: columns as wide as they need to be.

use crate::cli::out::out;

/// What the first column holds, and so on which side it is flush.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum First {
    Number,
    Word,
}

/// Most characters of a cell that are printed: callers choose the names in it, and `format!` takes no width over 65,535.
const LONGEST_CELL: usize = 200;

/// Prints a table, whose first column is numbers, on standard output.
pub(super) fn print(heads: &[&str], rows: Vec<Vec<String>>) {
    let rows: Vec<Vec<String>> =
        rows.into_iter().map(|row| row.iter().map(|cell| shown(cell)).collect()).collect();
    out!("{}", lines(heads, &rows, First::Number).join("\n"));
}

/// A text on one line, with escapes for what does not show.
fn shown(text: &str) -> String {
    let mut short: String = text.chars().take(LONGEST_CELL).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    short.escape_debug().to_string().replace("\\'", "'").replace("\\\"", "\"")
}

/// The lines of a table.
pub(super) fn lines(heads: &[&str], rows: &[Vec<String>], first: First) -> Vec<String> {
    let width = |column: usize, head: &str| {
        let cells = rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count());
        cells.max().unwrap_or_default().max(head.chars().count())
    };
    let widths: Vec<usize> =
        heads.iter().enumerate().map(|(column, head)| width(column, head)).collect();
    let line = |cells: &mut dyn Iterator<Item = &str>| {
        let padded = cells.zip(&widths).enumerate().map(|(column, (cell, width))| {
            let right = column == 0 && first == First::Number;
            if right { format!("{cell:>width$}") } else { format!("{cell:<width$}") }
        });
        padded.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    let head = line(&mut heads.iter().copied());
    let rows = rows.iter().map(|row| line(&mut row.iter().map(String::as_str)));
    std::iter::once(head).chain(rows).collect()
}
