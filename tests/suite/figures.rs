//! The figures of the README are those of the benchmark's newest run that is kept.

use std::fs;
use std::path::PathBuf;

fn read(path: &str) -> String {
    fs::read_to_string(PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
}

/// The cells of the rows of all tables in a text.
fn rows(text: &str) -> Vec<Vec<&str>> {
    let rows = text.lines().filter_map(|line| line.strip_prefix('|')?.strip_suffix('|'));
    rows.map(|row| row.split('|').map(str::trim).collect()).collect()
}

#[test]
fn figures_are_those_of_the_newest_run() {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/bench/results");
    let names = fs::read_dir(folder).unwrap().map(|file| file.unwrap().file_name());
    let newest = names.map(|name| name.into_string().unwrap()).max().unwrap();
    let kept = read(&format!("tests/bench/results/{newest}"));
    for told in ["UTC", "sha256", "starts x", "`python tests/bench/bench.py"] {
        assert!(kept.contains(told), "{newest} does not say {told}");
    }
    let readme = read("README.md");
    let figures = readme.split("<!-- figures -->").nth(1).unwrap();
    let figures = figures.split("<!-- end of figures -->").next().unwrap();
    assert!(figures.contains(&format!("(tests/bench/results/{newest})")), "not from {newest}");
    let known: Vec<[&str; 3]> = rows(&kept)
        .into_iter()
        .filter(|cells| cells.len() > 5)
        .map(|cells| [cells[0], cells[4], cells[5]])
        .collect();
    let shown: Vec<Vec<&str>> =
        rows(figures).into_iter().filter(|cells| cells[1].contains('.')).collect();
    assert!(shown.len() >= 5, "{shown:?}");
    for row in shown {
        assert!(known.iter().any(|cells| cells[..] == row[..]), "{newest} does not say {row:?}");
    }
}
