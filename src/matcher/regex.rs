//! Regular expressions: RE2's syntax and meaning, in linear time, each with a price that is known before it is asked.
//!
//! A pattern becomes a table (a DFA) where that is small: one look-up for each byte of a text, whatever the text is. One whose
//! table would be large is walked state by state instead, which costs each byte the pattern's size.
//!
//! A pattern that nobody has checked is built at once, to see whether it can be. One that was taken before in the same process is built when it
//! is first needed, or before that, when there is time: a thousand of them take a second. No text makes a pattern slower than its price.

mod syntax;

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};

use regex_automata::dfa::{Automaton, StartKind, dense};
use regex_automata::nfa::thompson::pikevm::PikeVM;
use regex_automata::nfa::thompson::{Compiler, Config, NFA, WhichCaptures};
use regex_automata::{Input, MatchKind};
use regex_syntax::hir::Look;

use crate::bounds::{MAX_REGEX_BYTES, MAX_REGEX_TABLE, MAX_REGEXES_BYTES};

pub use syntax::UnsupportedRegex;

/// A regular expression. Copies share the machine.
#[derive(Clone, Debug)]
pub struct Regex(Arc<Once>);

#[derive(Debug)]
struct Once {
    text: Box<str>,
    /// What it became; within, `None` where it was refused.
    built: OnceLock<Option<Built>>,
}

#[derive(Debug)]
struct Built {
    machine: Machine,
    anchored: bool,
    memory: usize,
}

#[derive(Debug)]
enum Machine {
    Table(Box<dense::DFA<Vec<u32>>>),
    States(Box<PikeVM>),
}

impl Regex {
    /// Compiles a pattern.
    ///
    /// # Errors
    /// What of it is refused, and how to write it instead.
    pub fn new(pattern: &str) -> Result<Regex, UnsupportedRegex> {
        let built = build(pattern)?;
        Ok(Regex(Arc::new(Once { text: pattern.into(), built: OnceLock::from(Some(built)) })))
    }

    /// A pattern that [`Regex::new`] has taken before: it is compiled when it is first needed.
    #[must_use]
    pub fn known(pattern: &str) -> Regex {
        Regex(Arc::new(Once { text: pattern.into(), built: OnceLock::new() }))
    }

    /// Compiles it, if that was not done.
    pub fn build(&self) {
        let _ = self.built();
    }

    fn built(&self) -> Option<&Built> {
        self.0.built.get_or_init(|| build(&self.0.text).ok()).as_ref()
    }

    /// The pattern.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0.text
    }

    /// Whether every match is at the beginning of the text.
    #[must_use]
    pub fn is_anchored(&self) -> bool {
        self.built().is_some_and(|built| built.anchored)
    }

    /// The bytes that the machine takes, or took while it was built.
    #[must_use]
    pub fn memory(&self) -> usize {
        self.built().map_or(0, |built| built.memory)
    }

    /// The most states that one byte of a text can cost. A pattern that would have been refused costs more than anybody has.
    #[must_use]
    pub fn states_per_byte(&self) -> u64 {
        self.built().map_or(u64::MAX, |built| match &built.machine {
            Machine::Table(_) => 1,
            Machine::States(walker) => walker.get_nfa().states().len() as u64,
        })
    }

    /// Whether it occurs in a text. One that would have been refused occurs nowhere; nobody can pay for asking.
    #[must_use]
    pub fn is_match(&self, text: &str) -> bool {
        let input = Input::new(text).earliest(true);
        let Some(built) = self.built() else { return false };
        match &built.machine {
            // A table without quit bytes, searched from the start that it has, cannot fail.
            Machine::Table(table) => {
                table.try_search_fwd(&input).is_ok_and(|found| found.is_some())
            }
            Machine::States(walker) => walker.is_match(&mut walker.create_cache(), input),
        }
    }
}

/// The regular expressions of one configuration: each pattern is compiled once, and all of them together are bounded.
#[derive(Debug, Default)]
pub struct Regexes {
    compiled: HashMap<Box<str>, Regex>,
    memory: usize,
    /// Whether all of them were taken before.
    are_known: bool,
}

impl Regexes {
    /// Those of a configuration that was taken before in this process.
    #[must_use]
    pub fn known() -> Regexes {
        Regexes { are_known: true, ..Regexes::default() }
    }

    /// Those that are yet to be compiled.
    #[must_use]
    pub fn into_unbuilt(self) -> Vec<Regex> {
        if self.are_known { self.compiled.into_values().collect() } else { Vec::new() }
    }

    /// Compiles a pattern, or finds it.
    ///
    /// # Errors
    /// What of it is refused; and that it is one too many, with the sum.
    pub fn compile(&mut self, pattern: &str) -> Result<Regex, UnsupportedRegex> {
        if let Some(known) = self.compiled.get(pattern) {
            return Ok(known.clone());
        }
        if self.are_known {
            let regex = Regex::known(pattern);
            self.compiled.insert(pattern.into(), regex.clone());
            return Ok(regex);
        }
        if self.memory > MAX_REGEXES_BYTES {
            return Err(UnsupportedRegex::too_many(self.memory));
        }
        let regex = Regex::new(pattern)?;
        self.memory += regex.memory();
        self.compiled.insert(pattern.into(), regex.clone());
        if self.memory > MAX_REGEXES_BYTES {
            return Err(UnsupportedRegex::too_many(self.memory));
        }
        Ok(regex)
    }
}

fn build(pattern: &str) -> Result<Built, UnsupportedRegex> {
    let hir = syntax::read(pattern)?;
    let config = Config::new()
        .utf8(false)
        .which_captures(WhichCaptures::None)
        .nfa_size_limit(Some(MAX_REGEX_BYTES));
    let nfa = Compiler::new().configure(config).build_from_hir(&hir);
    let nfa = nfa.map_err(|_| UnsupportedRegex::too_large())?;
    let (machine, memory) = machine(nfa)?;
    let anchored = hir.properties().look_set_prefix().contains(Look::Start);
    Ok(Built { machine, anchored, memory })
}

fn machine(nfa: NFA) -> Result<(Machine, usize), UnsupportedRegex> {
    let config = dense::Config::new()
        .accelerate(false)
        .start_kind(StartKind::Unanchored)
        .match_kind(MatchKind::LeftmostFirst)
        .dfa_size_limit(Some(MAX_REGEX_TABLE))
        // While it is built, `a{1000}` takes two megabytes.
        .determinize_size_limit(Some(12 * MAX_REGEX_TABLE));
    if let Ok(table) = dense::Builder::new().configure(config).build_from_nfa(&nfa) {
        let memory = table.memory_usage();
        return Ok((Machine::Table(Box::new(table)), memory));
    }
    // What the attempt took is counted too: it is time at start.
    let memory = nfa.memory_usage() + MAX_REGEX_TABLE;
    let walker =
        PikeVM::builder().build_from_nfa(nfa).map_err(|_| UnsupportedRegex::too_large())?;
    Ok((Machine::States(Box::new(walker)), memory))
}

#[cfg(test)]
mod tests {
    use super::{Regex, Regexes};

    #[test]
    fn knows_anchored_patterns() {
        for (pattern, expected) in [
            ("^/data/", true),
            (r"\A/data/", true),
            ("^(/data/|/tmp/)", true),
            ("^/data/|^/tmp/", true),
            ("^/data/|/tmp/", false),
            ("/data/", false),
            ("/data/$", false),
            ("(?m)^/data/", false),
            ("^https?://é", true),
        ] {
            assert_eq!(Regex::new(pattern).unwrap().is_anchored(), expected, "{pattern}");
        }
    }

    #[test]
    fn classes_are_ascii_and_the_rest_is_unicode() {
        for (pattern, text, expected) in [
            (r"^\d+$", "12", true),
            (r"^\d+$", "\u{663}", false),
            (r"\bdrop\b", "\u{e9}drop", true),
            (r"^\w$", "\u{e9}", false),
            (r"^\W$", "\u{e9}", true),
            (r"\s", "\u{a0}", false),
            (r"\s", "\u{b}", false),
            ("[[:space:]]", "\u{b}", true),
            ("^.$", "\u{1f600}", true),
            ("(?i)k", "\u{212a}", true),
            ("(?i)^s$", "\u{17f}", true),
            ("a$", "a\n", false),
        ] {
            assert_eq!(Regex::new(pattern).unwrap().is_match(text), expected, "{pattern} {text:?}");
        }
    }

    #[test]
    fn what_re2_reads_otherwise_is_refused_with_a_cure() {
        for pattern in [
            "[;&&|]",
            "[a--b]",
            "[a~~b]",
            "[[a]]",
            "[--a]",
            "[]-a]",
            r"\<a",
            r"a\>",
            r"\b{start}",
            "(?x)a b",
            "(?u)a",
            "(?-u)a",
            "(?R)a",
            "x{,2}",
            "a**",
            "a{2}{3}",
            "a{1001}",
            "(a{100}){100}",
            r"\pL",
            r"[\p{Greek}]",
            r"\u0061",
            r"\Q.\E",
            r"\C",
            r"\101",
            r"\Z",
            "[[]",
            "a{",
            "(?=a)",
            "(?P<a.b>c)",
            "(",
        ] {
            let refused = Regex::new(pattern).expect_err(pattern);
            assert!(!refused.help.is_empty() && !refused.message.is_empty(), "{pattern}");
        }
    }

    #[test]
    fn the_price_is_known_and_the_sum_is_bounded() {
        let price = |pattern| Regex::new(pattern).unwrap().states_per_byte();
        assert_eq!(price(r"(?i)\b(drop|delete|truncate)\b.*\btable\b"), 1);
        assert_eq!(price(r"^\w{1,20}$"), 1);
        assert_eq!(price("a{1000}"), 1);
        assert!(price("(?:a|b)*a(?:a|b){20}") > 20);
        let mut regexes = Regexes::default();
        for n in 0..300 {
            regexes.compile(&format!(r"^\w{{1,20}}-{n}$")).unwrap();
            regexes.compile(r"^\w{1,20}$").unwrap();
        }
        let large = |n: usize| format!("(?:a|b)*a(?:a|b){{20}}{n}");
        let taken = (0..1000).take_while(|n| regexes.compile(&large(*n)).is_ok()).count();
        assert!((50..200).contains(&taken), "{taken}");
    }
    #[test]
    fn what_is_compiled_late_says_the_same() {
        let mut regexes = Regexes::known();
        let late = regexes.compile("^a+$").unwrap();
        assert_eq!((late.is_match("aa"), late.is_match("ab")), (true, false));
        assert_eq!(late.states_per_byte(), Regex::new("^a+$").unwrap().states_per_byte());
        // It would have been refused, so nobody can know what it says.
        let refused = regexes.compile("(?=a)").unwrap();
        assert_eq!((refused.is_match("a"), refused.states_per_byte()), (false, u64::MAX));
        assert_eq!(regexes.into_unbuilt().len(), 2);
        assert!(Regexes::default().into_unbuilt().is_empty());
    }
}
