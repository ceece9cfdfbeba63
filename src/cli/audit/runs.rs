//! What is there of each chain, as runs of lines without a gap. Lines may come in any order: of a run only its ends are kept.

use std::collections::{BTreeMap, HashMap};

use mcp_policy::audit::{BEGINNING, link_digest};

use super::chain::ChainedLine;

/// Most chains: each worker of Envoy begins one, and each of its starts.
const MOST_CHAINS: usize = 1 << 16;

/// Most runs of all chains together.
const MOST_RUNS: usize = 1 << 16;

/// Most bytes of lines that wait for the one before them.
const MOST_WAITING_BYTES: usize = 64 << 20;

/// All chains of a log.
#[derive(Debug, Default)]
pub(super) struct ChainRuns {
    chains: HashMap<String, BTreeMap<u64, LineRun>>,
    runs: usize,
    waiting_bytes: usize,
}

/// Lines that follow each other.
#[derive(Clone, Debug)]
pub(super) struct LineRun {
    /// Which line is the last.
    pub(super) to: u64,
    /// Where the first line is.
    pub(super) first_place: String,
    /// Where the last line is.
    pub(super) last_place: String,
    /// The digest that the last line says it has.
    pub(super) last_digest: String,
    /// The first line, until the one before it is there.
    waiting: Option<WaitingLine>,
}

/// A line whose digest cannot be checked yet.
#[derive(Clone, Debug)]
struct WaitingLine {
    digest: String,
    text: Vec<u8>,
}

/// What a line turned out to be.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Taken {
    /// It fits what is there, as far as that is there. Named are the lines whose digest is not theirs.
    Fits(Vec<ChangedLine>),
    /// There is one of this number already.
    Twice,
    /// There is more than memory is for.
    TooMany(&'static str),
}

/// A line whose digest is not that of its text and of the line before.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct ChangedLine {
    pub(super) n: u64,
    pub(super) place: String,
}

impl ChainRuns {
    /// Takes the next line of the log.
    pub(super) fn take(&mut self, line: ChainedLine, place: &str) -> Taken {
        if self.chains.len() >= MOST_CHAINS && !self.chains.contains_key(&line.id) {
            return Taken::TooMany("more chains than workers of Envoy begin");
        }
        let runs = self.chains.entry(line.id).or_default();
        let before = runs.range(..=line.n).next_back().map(|(from, run)| (*from, run.to));
        if before.is_some_and(|(_, to)| to >= line.n) {
            return Taken::Twice;
        }
        let follows = before.filter(|(_, to)| to.checked_add(1) == Some(line.n));
        let mut changed = Vec::new();
        let mut run = LineRun {
            to: line.n,
            first_place: place.to_owned(),
            last_place: place.to_owned(),
            last_digest: line.digest.clone(),
            waiting: None,
        };
        let mut from = line.n;
        let mut check = |n, place: &str, before: &str, waiting: &WaitingLine| {
            if link_digest(before, &waiting.text) != waiting.digest {
                changed.push(ChangedLine { n, place: place.to_owned() });
            }
        };
        let own = WaitingLine { digest: line.digest, text: line.text };
        if let Some((earlier_from, earlier)) =
            follows.and_then(|(from, _)| Some((from, runs.remove(&from)?)))
        {
            check(line.n, place, &earlier.last_digest, &own);
            self.runs = self.runs.saturating_sub(1);
            from = earlier_from;
            run = LineRun { first_place: earlier.first_place, waiting: earlier.waiting, ..run };
        } else if line.n == 1 {
            check(1, place, BEGINNING, &own);
        } else {
            self.waiting_bytes = self.waiting_bytes.saturating_add(own.text.len());
            run.waiting = Some(own);
        }
        let next = line.n.checked_add(1);
        if let Some((next, later)) = next.and_then(|next| Some((next, runs.remove(&next)?))) {
            if let Some(waiting) = &later.waiting {
                check(next, &later.first_place, &run.last_digest, waiting);
                self.waiting_bytes = self.waiting_bytes.saturating_sub(waiting.text.len());
            }
            self.runs = self.runs.saturating_sub(1);
            let LineRun { to, last_place, last_digest, .. } = later;
            run = LineRun { to, last_place, last_digest, ..run };
        }
        runs.insert(from, run);
        self.runs = self.runs.saturating_add(1);
        if self.runs > MOST_RUNS || self.waiting_bytes > MOST_WAITING_BYTES {
            return Taken::TooMany("too many lines wait for the line before them");
        }
        Taken::Fits(changed)
    }

    /// Each chain by its id, with its runs in order.
    pub(super) fn chains(&self) -> impl Iterator<Item = (&str, Vec<(u64, &LineRun)>)> {
        let mut ids: Vec<&String> = self.chains.keys().collect();
        ids.sort();
        ids.into_iter().filter_map(|id| {
            let runs = self.chains.get(id)?.iter().map(|(from, run)| (*from, run));
            Some((&**id, runs.collect()))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::{BEGINNING, ChainRuns, ChainedLine, ChangedLine, Taken, link_digest};

    fn chain(length: u64) -> Vec<ChainedLine> {
        let mut before = BEGINNING.to_owned();
        let line = |n| {
            let text = format!("line {n}").into_bytes();
            before = link_digest(&before, &text);
            ChainedLine { id: "a".to_owned(), n, digest: before.clone(), text }
        };
        (1..=length).map(line).collect()
    }

    /// The lines in some order, each with its number as its place; which were changed, were there twice, and what runs are left.
    fn taken(lines: &[ChainedLine], order: &[usize]) -> (Vec<u64>, Vec<u64>, Vec<(u64, u64)>) {
        let mut runs = ChainRuns::default();
        let (mut changed, mut twice) = (Vec::new(), Vec::new());
        for at in order {
            let ChainedLine { id, n, digest, text } = &lines[at - 1];
            let (id, digest, text) = (id.clone(), digest.clone(), text.clone());
            match runs.take(ChainedLine { id, n: *n, digest, text }, &n.to_string()) {
                Taken::Fits(found) => {
                    for ChangedLine { n, place } in found {
                        assert_eq!(place, n.to_string());
                        changed.push(n);
                    }
                }
                Taken::Twice => twice.push(*n),
                Taken::TooMany(what) => panic!("{what}"),
            }
        }
        changed.sort_unstable();
        let left: Vec<(u64, u64)> =
            runs.chains().flat_map(|(_, runs)| runs).map(|(from, run)| (from, run.to)).collect();
        assert_eq!(runs.runs, left.len());
        let waiting: usize = runs
            .chains()
            .flat_map(|(_, runs)| runs)
            .filter_map(|(_, run)| run.waiting.as_ref())
            .map(|line| line.text.len())
            .sum();
        assert_eq!(runs.waiting_bytes, waiting);
        (changed, twice, left)
    }

    /// All orders of a few numbers.
    fn orders(numbers: &[usize]) -> Vec<Vec<usize>> {
        if numbers.is_empty() {
            return vec![Vec::new()];
        }
        let with = |first: usize| {
            let rest: Vec<usize> =
                numbers.iter().copied().filter(|other| *other != first).collect();
            orders(&rest).into_iter().map(move |order| [vec![first], order].concat())
        };
        numbers.iter().copied().flat_map(with).collect()
    }

    #[test]
    fn the_order_of_lines_makes_no_difference() {
        let whole = chain(5);
        for order in orders(&[1, 2, 3, 4, 5]) {
            assert_eq!(taken(&whole, &order), (vec![], vec![], vec![(1, 5)]), "{order:?}");
        }
        let mut changed = chain(5);
        changed[2].text = b"line III".to_vec();
        for order in orders(&[1, 2, 3, 4, 5]) {
            assert_eq!(taken(&changed, &order), (vec![3], vec![], vec![(1, 5)]), "{order:?}");
        }
        // Who changes a line and its digest leaves the next line behind.
        let mut again = chain(5);
        again[2].text = b"line III".to_vec();
        again[2].digest = link_digest(&again[1].digest, &again[2].text);
        for order in orders(&[1, 2, 3, 4, 5]) {
            assert_eq!(taken(&again, &order), (vec![4], vec![], vec![(1, 5)]), "{order:?}");
        }
        for order in orders(&[1, 2, 4, 5]) {
            assert_eq!(taken(&whole, &order), (vec![], vec![], vec![(1, 2), (4, 5)]), "{order:?}");
        }
        for order in [&[1, 2, 2, 3][..], &[1, 2, 3, 2], &[3, 2, 1, 2], &[2, 1, 3, 2], &[2, 2, 1, 3]]
        {
            assert_eq!(taken(&whole, order), (vec![], vec![2], vec![(1, 3)]), "{order:?}");
        }
        assert_eq!(taken(&whole, &[3, 4]), (vec![], vec![], vec![(3, 4)]));
    }
}
