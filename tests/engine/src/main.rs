//! What one call costs the engine: its instructions, the lines of code that they lie on, and its allocations.
//!
//!     engine budgets.txt       counts, and fails where a case costs more than its budget
//!
//! Time depends on the machine and on who else runs on it; these numbers do not. A call is mostly cold code, so the lines that it touches (64 bytes
//! each, as processors load them) cost as much as what is done on them.
//!
//! The program runs itself under valgrind's callgrind, once, natively: the host's calls are none of it. Each case is warmed up, and then one call of it is
//! counted.

mod cases;
mod counted;
mod valgrind;

use std::fmt::Write as _;
use std::process::ExitCode;

use cases::CASES;
use valgrind::Work;

/// More than a case may cost above its budget: hash tables have random keys, and compilers change.
const SLACK_PERCENT: u64 = 2;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let ended = match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["run"] => run(),
        [budgets] => check(budgets),
        _ => Err("usage: engine BUDGETS".to_owned()),
    };
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            eprintln!("engine: {problem}");
            ExitCode::FAILURE
        }
    }
}

/// Inside valgrind: each case in turn, and on a line for each how much one call of it allocates.
fn run() -> Result<(), String> {
    for case in CASES {
        let mut rig = case.rig()?;
        for _ in 0..50 {
            rig.call()?;
        }
        // The same caller once more: what is remembered of him may have made room for another, by chance.
        rig.again()?;
        let before = counted::allocations();
        valgrind::counted(&mut rig)?;
        println!("{}", counted::allocations() - before);
    }
    Ok(())
}

fn check(path: &str) -> Result<(), String> {
    let text = std::fs::read_to_string(path).map_err(|problem| format!("{path}: {problem}"))?;
    let budgets: Vec<(&str, Work)> = text
        .lines()
        .filter(|line| !line.starts_with('#') && !line.trim().is_empty())
        .map(|line| budget(line).ok_or_else(|| format!("{path}: not a budget: {line}")))
        .collect::<Result<_, _>>()?;
    let found = valgrind::count()?;
    let mut told = String::new();
    let mut over = Vec::new();
    for (case, work) in CASES.iter().zip(&found) {
        let _ = writeln!(told, "{}", row(case.name, *work));
        match budgets.iter().find(|(name, _)| *name == case.name) {
            Some((_, budget)) => over.extend(exceeded(case.name, *budget, *work)),
            None => over.push(format!("`{}` has no budget", case.name)),
        }
    }
    for (name, _) in budgets.iter().filter(|(name, _)| CASES.iter().all(|case| case.name != *name))
    {
        over.push(format!("`{name}` is no case"));
    }
    print!("{told}");
    if over.is_empty() {
        return Ok(());
    }
    Err(format!(
        "{}\nA call costs more than {path} allows. If that is worth it, raise the budgets there to the numbers above, and say in the commit \
         message what each costs and why. If it is a surprise, look where it comes from:\n    callgrind_annotate target/engine/callgrind.out.N",
        over.join("\n")
    ))
}

/// A line of the budgets: a name, and three numbers.
fn budget(line: &str) -> Option<(&str, Work)> {
    let mut parts = line.split('|').map(str::trim);
    let name = parts.next()?;
    let mut number = || parts.next()?.replace('_', "").parse().ok();
    let work = Work { instructions: number()?, lines: number()?, allocations: number()? };
    parts.next().is_none().then_some((name, work))
}

fn row(name: &str, Work { instructions, lines, allocations }: Work) -> String {
    format!("{name:<44} | {instructions:>7} | {lines:>5} | {allocations:>4}")
}

fn exceeded(name: &str, budget: Work, found: Work) -> Option<String> {
    let kinds = [
        ("instructions", found.instructions, budget.instructions, SLACK_PERCENT),
        ("lines of code", found.lines, budget.lines, SLACK_PERCENT),
        ("allocations", found.allocations, budget.allocations, 0),
    ];
    let over: Vec<String> = kinds
        .into_iter()
        .filter(|(_, found, budget, slack)| *found * 100 > *budget * (100 + *slack))
        .map(|(kind, found, budget, _)| format!("{found} {kind}, budget {budget}"))
        .collect();
    (!over.is_empty()).then(|| format!("`{name}`: {}", over.join("; ")))
}
