//! The load of the benchmark, and the MCP server behind the Envoys, on one thread of one process: so that nothing but Envoy takes turns with
//! it, and an Envoy's CPU clock can be read when nobody runs.
//!
//! It talks by lines of JSON: it reads a [`Server`] and says on which ports it answers; then it reads [`Job`]s, and after each round of calls
//! writes what they cost. `measure.py` is at the other end.

mod authorizer;
mod clock;
mod http;
mod server;
mod turn;

use std::io::{self, BufRead, Write};

use mio::{Events, Poll, Token};
use serde::{Deserialize, Serialize};

use server::Servers;
use turn::Callers;

/// What the server answers, one port for each.
#[derive(Deserialize)]
struct Server {
    answers: Vec<String>,
}

/// What to do next.
#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Job {
    /// Connects callers.
    Row(Row),
    /// Calls: one round, with so many calls of each of these rows, in this order.
    Round { order: Vec<usize>, calls: usize },
}

/// What is measured together: who calls what through which Envoy.
#[derive(Deserialize)]
pub(crate) struct Row {
    port: u16,
    /// Whose CPU time is measured.
    pids: Vec<i32>,
    /// The requests of each caller, in turn. Each caller has a connection with one call under way.
    callers: Vec<Vec<String>>,
    /// A part of each right answer.
    answer: String,
}

/// What the calls of a row cost in a round, per call.
#[derive(Serialize)]
pub(crate) struct Cost {
    row: usize,
    /// Nanoseconds of each process.
    cpu: Vec<f64>,
    /// Nanoseconds from a call to its answer: the median.
    wait: u64,
    /// The same: the mean.
    mean_wait: u64,
    /// Answers that are not as they should be.
    wrong: usize,
}

/// Everything that has a connection, and the poll that tells who is ready.
pub(crate) struct Net {
    pub(crate) poll: Poll,
    pub(crate) events: Events,
    pub(crate) servers: Servers,
    next: usize,
}

impl Net {
    /// A token that nobody has.
    pub(crate) fn token(&mut self) -> Token {
        self.next += 1;
        Token(self.next)
    }
}

fn main() -> io::Result<()> {
    let mut arguments = std::env::args().skip(1);
    if arguments.next().as_deref() == Some("authorize") {
        return authorizer::serve(arguments.collect());
    }
    let mut lines = io::stdin().lock().lines();
    let mut out = io::stdout().lock();
    let Some(first) = lines.next() else { return Ok(()) };
    let Server { answers } = serde_json::from_str(&first?)?;
    let mut net = Net {
        poll: Poll::new()?,
        events: Events::with_capacity(256),
        servers: Servers::default(),
        next: 0,
    };
    let ports = server::listen(&mut net, &answers)?;
    say(&mut out, &ports)?;
    let mut rows: Vec<Callers> = Vec::new();
    for line in lines {
        match serde_json::from_str(&line?)? {
            Job::Row(row) => {
                rows.push(Callers::connect(&mut net, row)?);
                say(&mut out, &rows.len())?;
            }
            Job::Round { order, calls } => {
                let mut costs = Vec::with_capacity(order.len());
                for at in order {
                    let row = rows.get_mut(at).ok_or(io::ErrorKind::NotFound)?;
                    costs.push(row.round(&mut net, at, calls)?);
                }
                say(&mut out, &costs)?;
            }
        }
    }
    Ok(())
}

fn say(out: &mut impl Write, what: &impl Serialize) -> io::Result<()> {
    serde_json::to_writer(&mut *out, what)?;
    out.write_all(b"\n")?;
    out.flush()
}
