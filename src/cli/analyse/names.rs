//! Names: one for each set of patterns that a name can match.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// Most states that are looked at: patterns that people write together have some hundred.
const MOST_STATES: usize = 20_000;

/// How many names stand for a set of patterns: one may resemble something, and be refused for that.
const NAMES_EACH: usize = 3;

/// Where one pattern has got to: the places from which it goes on.
type Positions = BTreeSet<usize>;

/// Names that match the patterns in every way in which names can. `false` beside them: there are more ways than were looked at.
pub(super) fn of(patterns: &[&str]) -> (Vec<String>, bool) {
    let patterns: Vec<Vec<char>> =
        patterns.iter().map(|pattern| pattern.chars().collect()).collect();
    let mut letters: BTreeSet<char> = patterns.iter().flatten().copied().collect();
    letters.retain(|letter| !matches!(letter, '*' | '?'));
    let other = ['q', 'z', 'x', 'j', 'k', '7'].into_iter().find(|letter| !letters.contains(letter));
    // Another letter comes first, so that names resemble nothing where they need not.
    let letters: Vec<char> = other.into_iter().chain(letters).collect();

    let start: Vec<Positions> =
        patterns.iter().map(|pattern| closed(pattern, [0].into())).collect();
    // The start is not seen yet: no name is empty, and a longer one may get there.
    let mut seen: BTreeSet<Vec<Positions>> = BTreeSet::new();
    let mut queue: VecDeque<(String, Vec<Positions>)> = [(String::new(), start)].into();
    let mut found: BTreeMap<Vec<bool>, Vec<String>> = BTreeMap::new();
    while let Some((name, state)) = queue.pop_front() {
        if !name.is_empty() {
            let ends = patterns.iter().zip(&state);
            let matches = ends.map(|(pattern, at)| at.contains(&pattern.len())).collect();
            let names = found.entry(matches).or_default();
            if names.len() < NAMES_EACH {
                names.push(name.clone());
            }
        }
        for letter in &letters {
            let next: Vec<Positions> = patterns
                .iter()
                .zip(&state)
                .map(|(pattern, at)| closed(pattern, after(pattern, at, *letter)))
                .collect();
            if seen.len() < MOST_STATES && seen.insert(next.clone()) {
                queue.push_back((format!("{name}{letter}"), next));
            }
        }
    }
    (found.into_values().flatten().collect(), seen.len() < MOST_STATES)
}

fn after(pattern: &[char], at: &Positions, letter: char) -> Positions {
    let step = |at: &usize| match pattern.get(*at) {
        Some('*') => Some(*at),
        Some('?') => Some(at + 1),
        Some(own) if *own == letter => Some(at + 1),
        Some(_) | None => None,
    };
    at.iter().filter_map(step).collect()
}

/// A `*` may stand for nothing.
fn closed(pattern: &[char], mut at: Positions) -> Positions {
    let mut places: Vec<usize> = at.iter().copied().collect();
    while let Some(place) = places.pop() {
        if pattern.get(place) == Some(&'*') && at.insert(place + 1) {
            places.push(place + 1);
        }
    }
    at
}

#[cfg(test)]
mod tests {
    use mcp_policy::matcher::name::Pattern;

    #[test]
    fn there_is_a_name_where_there_are_no_patterns() {
        assert_eq!(super::of(&[]).0.first().map(String::as_str), Some("q"));
        assert_eq!(super::of(&["*"]).0.first().map(String::as_str), Some("q"));
    }

    #[test]
    fn every_way_to_match_has_a_name() {
        let patterns = ["pay", "pay_*", "*_admin", "?", "p*", "*"];
        let (names, whole) = super::of(&patterns);
        assert!(whole);
        let matches = |name: &str| -> Vec<bool> {
            patterns.iter().map(|pattern| Pattern::new(pattern).matches(name)).collect()
        };
        let found: std::collections::BTreeSet<Vec<bool>> =
            names.iter().map(|name| matches(name)).collect();
        for name in ["pay", "pay_x", "pay_admin", "x_admin", "q", "p", "pq", "zz", "p_admin"] {
            assert!(found.contains(&matches(name)), "{name}: {names:?}");
        }
    }
}
