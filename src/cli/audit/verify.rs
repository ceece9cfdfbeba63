//! `mcp-policy audit verify`: whether audit lines are all there, and as they were written.

use std::path::{Path, PathBuf};

use clap::Args;
use serde::Serialize;

use super::chain::{SeenLine, see};
use super::runs::{ChainRuns, LineRun, Taken};
use crate::cli::input::{self, CliError};
use crate::cli::lines::LineReader;
use crate::cli::out::out;
use crate::cli::report::counted;
use crate::cli::{Exit, Format, report, table};

/// Most problems that are told one by one.
const MOST_TOLD: usize = 1000;

/// Find audit lines that were changed, taken out, put in or doubled.
#[derive(Args)]
#[command(after_help = "\
Audit lines are chained where the policy says `\"audit\": {\"chain\": true}`: each holds a digest of itself and of the line before, and each
worker of Envoy writes a chain of its own. Lines may be in any order and in several files; other lines of the files are not looked at.

Examples:
  mcp-policy audit verify audit.jsonl
  mcp-policy audit verify audit.jsonl.1 audit.jsonl
  mcp-policy audit verify --partial audit-2026-11.jsonl

No chain shows that its end was cut off, or that all of it was taken away, and who can write to a log can write a chain anew, from a
changed line to its end. So keep the last digest of each chain where nobody can change it who can change the log: later a line with it
must still be there (`grep DIGEST audit.jsonl`).

Exit codes: 0 the lines are intact; 1 they are not; 2 a file cannot be used, or no line is in a chain.")]
pub(super) struct Arguments {
    /// Files with audit lines; `-` is standard input.
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,

    /// Accept that the beginnings of chains are not there, as in a log that was rotated.
    #[arg(long)]
    partial: bool,
}

/// What was found, as `--format json` has it.
#[derive(Default, Serialize)]
struct AuditAnswer {
    intact: bool,
    /// Lines that are in a chain.
    lines: u64,
    /// Lines that are no audit lines.
    other_lines: u64,
    chains: Vec<ChainAnswer>,
    problems: Vec<AuditProblem>,
    /// Problems beyond those that are told.
    more_problems: u64,
}

/// One chain.
#[derive(Serialize)]
struct ChainAnswer {
    chain: String,
    lines: u64,
    from: u64,
    to: u64,
    /// The digest of the line `to`.
    last_digest: String,
    /// Lines that cannot be checked, as the line before them is not there.
    unchecked: u64,
}

/// What is wrong.
#[derive(Serialize)]
struct AuditProblem {
    kind: ProblemKind,
    /// The file and the line; of lines that are not there, the line after them.
    place: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    chain: Option<String>,
    /// The number of the line in its chain, or of the first of several that are not there.
    #[serde(skip_serializing_if = "Option::is_none")]
    n: Option<u64>,
    /// The last of several that are not there.
    #[serde(skip_serializing_if = "Option::is_none")]
    to: Option<u64>,
    message: String,
}

#[derive(Clone, Copy, Serialize)]
#[serde(rename_all = "snake_case")]
enum ProblemKind {
    Changed,
    Missing,
    BeginningMissing,
    Twice,
    Unchained,
    Spoilt,
}

pub(super) fn run(arguments: &Arguments, format: Format) -> Exit {
    match verify(arguments) {
        Ok(answer) => {
            match format {
                Format::Human => answer.print(&arguments.files),
                Format::Json => report::json(&answer),
            }
            if answer.intact { Exit::Ok } else { Exit::No }
        }
        Err(trouble) => {
            trouble.tell();
            Exit::Unusable
        }
    }
}

fn verify(arguments: &Arguments) -> Result<AuditAnswer, CliError> {
    let (mut answer, mut runs) = (AuditAnswer::default(), ChainRuns::default());
    for file in &arguments.files {
        read(file, &mut answer, &mut runs)?;
    }
    if answer.lines == 0 {
        let what = "no line is in a chain; the policy's `audit.chain` makes the filter chain them";
        return Err(CliError::Line(format!("{}: {what}", names(&arguments.files))));
    }
    for (id, runs) in runs.chains() {
        answer.chain(id, &runs, arguments.partial);
    }
    answer.intact = answer.problems.is_empty();
    Ok(answer)
}

fn names(files: &[PathBuf]) -> String {
    files.iter().map(|file| input::name(file)).collect::<Vec<_>>().join(", ")
}

/// Reads one file.
fn read(file: &Path, answer: &mut AuditAnswer, runs: &mut ChainRuns) -> Result<(), CliError> {
    let mut lines = LineReader::open(file)?;
    while let Some(line) = lines.next()? {
        let place = format!("{}:{}", lines.name, line.number);
        let (kind, message) = match see(&line.bytes) {
            SeenLine::Chained(line) => {
                answer.lines += 1;
                let (id, n) = (line.id.clone(), line.n);
                match runs.take(line, &place) {
                    Taken::Fits(changed) => {
                        for line in changed {
                            let (place, n) = (line.place, line.n);
                            answer.tell(AuditProblem::changed(place, &id, n));
                        }
                    }
                    Taken::Twice => answer.tell(AuditProblem::twice(place, &id, n)),
                    Taken::TooMany(what) => {
                        return Err(CliError::Line(format!("{place}: {what}")));
                    }
                }
                continue;
            }
            SeenLine::Unchained => {
                let message = "an audit line that is in no chain: it was put in, or written while `audit.chain` was not set";
                (ProblemKind::Unchained, message.to_owned())
            }
            SeenLine::Spoilt(problem) => {
                (ProblemKind::Spoilt, format!("not an audit line as it was written: {problem}"))
            }
            SeenLine::Other => {
                answer.other_lines += 1;
                continue;
            }
        };
        answer.tell(AuditProblem { kind, place, chain: None, n: None, to: None, message });
    }
    Ok(())
}

impl AuditProblem {
    fn changed(place: String, id: &str, n: u64) -> AuditProblem {
        let message = match n {
            1 => format!("line 1 of chain {id} was changed: it is not what its digest is of"),
            _ => format!(
                "line {n} of chain {id} was changed, or line {}: it is not what its digest is of",
                n.saturating_sub(1)
            ),
        };
        let (kind, chain) = (ProblemKind::Changed, Some(id.to_owned()));
        AuditProblem { kind, place, chain, n: Some(n), to: None, message }
    }

    fn twice(place: String, id: &str, n: u64) -> AuditProblem {
        let message = format!("line {n} of chain {id} is there already");
        let (kind, chain) = (ProblemKind::Twice, Some(id.to_owned()));
        AuditProblem { kind, place, chain, n: Some(n), to: None, message }
    }

    /// Lines that are not there, before the line at a place.
    fn missing(place: String, id: &str, (from, to): (u64, u64)) -> AuditProblem {
        let (kind, place_in) = match from {
            1 => (ProblemKind::BeginningMissing, " (--partial accepts a missing beginning)"),
            _ => (ProblemKind::Missing, ""),
        };
        let which = if from == to {
            format!("line {from} of chain {id} is missing")
        } else {
            format!("lines {from} to {to} of chain {id} are missing")
        };
        let message = format!("{which} before this line, which cannot be checked{place_in}");
        AuditProblem {
            kind,
            place,
            chain: Some(id.to_owned()),
            n: Some(from),
            to: Some(to),
            message,
        }
    }
}

impl AuditAnswer {
    fn tell(&mut self, problem: AuditProblem) {
        if self.problems.len() < MOST_TOLD {
            self.problems.push(problem);
        } else {
            self.more_problems += 1;
        }
    }

    /// Puts down what is there of a chain.
    fn chain(&mut self, id: &str, runs: &[(u64, &LineRun)], partial: bool) {
        let (Some((first, _)), Some((_, last))) = (runs.first(), runs.last()) else { return };
        let mut expected = 1;
        for (from, run) in runs {
            if *from > expected && !(partial && expected == 1) {
                let gap = (expected, from.saturating_sub(1));
                self.tell(AuditProblem::missing(run.first_place.clone(), id, gap));
            }
            expected = run.to.saturating_add(1);
        }
        let lines = runs.iter().map(|(from, run)| run.to.saturating_sub(*from).saturating_add(1));
        self.chains.push(ChainAnswer {
            chain: id.to_owned(),
            lines: lines.fold(0, u64::saturating_add),
            from: *first,
            to: last.to,
            last_digest: last.last_digest.clone(),
            unchecked: runs.iter().map(|(from, _)| u64::from(*from > 1)).sum(),
        });
    }

    fn print(&self, files: &[PathBuf]) {
        for problem in &self.problems {
            out!("{}: {}", problem.place, problem.message);
        }
        if self.more_problems > 0 {
            out!("{} more problems", self.more_problems);
        }
        if !self.problems.is_empty() {
            out!("");
        }
        let (lines, chains) = (counted(self.lines, "line"), self.chains.len());
        let state = if self.intact { "intact" } else { "not intact" };
        out!("{}: {lines} in {}: {state}", names(files), counted(chains as u64, "chain"));
        let row = |chain: &ChainAnswer| {
            let ChainAnswer { chain: id, lines, from, to, last_digest, .. } = chain;
            let numbers = [lines, from, to].map(u64::to_string);
            let [lines, from, to] = numbers;
            vec![lines, id.clone(), from, to, last_digest.clone()]
        };
        let heads = ["lines", "chain", "from", "to", "last digest"];
        table::print(&heads, self.chains.iter().map(row).collect());
        let unchecked: u64 = self.chains.iter().map(|chain| chain.unchecked).sum();
        if unchecked > 0 {
            out!("not checked: {unchecked} (the line before is not there)");
        }
        if self.other_lines > 0 {
            out!("not looked at: {} (no audit lines)", self.other_lines);
        }
        out!(
            "An end that was cut off shows in no chain: compare `to` and the last digest with what you kept of them."
        );
    }
}
