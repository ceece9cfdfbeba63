//! The rules of the classifier, as data: `rules.tsv`, and what a user adds in the same form.

use std::collections::HashMap;

use super::kinds::{ArgumentFlag, ToolClass, ToolMark};
use super::words::words;

/// A class, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ClassRule {
    pub(super) class: ToolClass,
    pub(super) why: String,
}

/// What an argument of a name means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Meaning {
    Flag(ArgumentFlag),
    /// What it takes is run.
    Runs,
    /// The name of an action: its values are judged as names are.
    Action,
    /// Where a file is written.
    Output,
    /// Stages of a query, of which some write.
    Stages,
    /// What it looks like, it is not.
    Nothing,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ArgumentRule {
    pub(super) words: Vec<String>,
    /// Whether the whole name has to be these words.
    exact: bool,
    pub(super) meaning: Meaning,
    pub(super) why: String,
}

/// What a user says of tools by name, which holds whatever else is known of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct OwnRule {
    pub(super) pattern: String,
    pub(super) said: OwnWord,
    pub(super) why: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum OwnWord {
    Class(ToolClass),
    ToolMark(ToolMark),
}

/// All rules.
#[derive(Debug, Default)]
pub(super) struct RuleBook {
    pub(super) verbs: HashMap<String, ClassRule>,
    pub(super) weak: HashMap<String, ClassRule>,
    pub(super) either: HashMap<String, ClassRule>,
    /// Verbs that are never nouns.
    pub(super) firm: HashMap<String, ClassRule>,
    /// Nouns of what does something: what stands before them is what it does it with.
    pub(super) agents: HashMap<String, ClassRule>,
    /// By verb: what it does to which objects.
    pub(super) pairs: HashMap<String, Vec<(Vec<String>, ClassRule)>>,
    pub(super) nouns: HashMap<String, ClassRule>,
    pub(super) money: HashMap<String, ClassRule>,
    /// Last words of what only tells of money.
    pub(super) about: HashMap<String, ClassRule>,
    pub(super) topics: HashMap<String, ClassRule>,
    pub(super) things: Vec<String>,
    pub(super) phrases: Vec<(String, ClassRule)>,
    pub(super) descriptions: Vec<(String, ClassRule)>,
    pub(super) first: HashMap<String, ClassRule>,
    pub(super) fillers: HashMap<String, ClassRule>,
    pub(super) switches: HashMap<String, ClassRule>,
    pub(super) sensitive: HashMap<String, ClassRule>,
    pub(super) languages: Vec<(String, String)>,
    /// Where secrets are one of the things that can be named.
    pub(super) stores: Vec<(String, String)>,
    pub(super) arguments: Vec<ArgumentRule>,
    /// Names of many things, whatever else they are.
    pub(super) bulk: Vec<ArgumentRule>,
    /// Names that mean something only if a text says so.
    pub(super) maybe: Vec<ArgumentRule>,
    pub(super) hints: Vec<(ArgumentFlag, String)>,
    pub(super) mark_words: Vec<(ToolMark, String, String)>,
    /// Those of tools that write.
    pub(super) sends: Vec<(ToolMark, String, String)>,
    pub(super) mark_texts: Vec<(ToolMark, String, String)>,
    pub(super) unmarked: Vec<(ToolMark, String)>,
    pub(super) own: Vec<OwnRule>,
}

impl RuleBook {
    /// The rules that the command is built with.
    pub(super) fn built_in() -> RuleBook {
        let mut rules = RuleBook::default();
        for line in include_str!("../rules.tsv").lines() {
            // A test holds that every line is read.
            let _ = rules.add(line);
        }
        rules
    }

    /// Adds a user's rules. Theirs hold where both have a word.
    ///
    /// # Errors
    /// The first line that is none, and why.
    pub(super) fn extend(&mut self, text: &str) -> Result<(), String> {
        for (at, line) in text.lines().enumerate() {
            self.add(line).map_err(|problem| format!("line {}: {problem}", at + 1))?;
        }
        Ok(())
    }

    fn add(&mut self, line: &str) -> Result<(), String> {
        if line.trim().is_empty() || line.starts_with('#') {
            return Ok(());
        }
        let columns: Vec<&str> = line.split('\t').collect();
        let [kind, value, text, why] = *columns else {
            return Err(format!(
                "expected four columns with tabs between them, found {}",
                columns.len()
            ));
        };
        if text.trim().is_empty() || why.trim().is_empty() {
            return Err("a column is empty".to_owned());
        }
        match kind {
            "argument" | "maybe" | "hint" => self.add_argument(kind, value, text, why),
            "mark" | "send" | "text" | "unmark" => self.add_mark(kind, value, text, why),
            "tool" => {
                let said = match (class(value), mark(value)) {
                    (Ok(class), _) => OwnWord::Class(class),
                    (_, Ok(mark)) => OwnWord::ToolMark(mark),
                    (Err(problem), Err(_)) => return Err(problem),
                };
                let pattern = text.to_owned();
                self.own.push(OwnRule { pattern, said, why: why.to_owned() });
                Ok(())
            }
            _ => {
                self.add_class(kind, ClassRule { class: class(value)?, why: why.to_owned() }, text)
            }
        }
    }

    fn add_class(&mut self, kind: &str, rule: ClassRule, text: &str) -> Result<(), String> {
        let first =
            |list: &mut Vec<(String, ClassRule)>| list.insert(0, (text.to_owned(), rule.clone()));
        let words = match kind {
            "thing" => {
                self.things.push(text.to_owned());
                return Ok(());
            }
            "phrase" => {
                first(&mut self.phrases);
                return Ok(());
            }
            "description" => {
                first(&mut self.descriptions);
                return Ok(());
            }
            "language" => {
                self.languages.push((text.to_owned(), rule.why));
                return Ok(());
            }
            "store" => {
                let places = text.split(' ').map(|word| (word.to_owned(), rule.why.clone()));
                self.stores.extend(places);
                return Ok(());
            }
            "pair" => {
                let mut words = text.split(' ').map(str::to_owned);
                let verb = words.next().ok_or("a verb and its objects are expected")?;
                self.pairs.entry(verb).or_default().push((words.collect(), rule));
                return Ok(());
            }
            "verb" => &mut self.verbs,
            "weak" => &mut self.weak,
            "either" => &mut self.either,
            "firm" => &mut self.firm,
            "agent" => &mut self.agents,
            "about" => &mut self.about,
            "noun" => &mut self.nouns,
            "money" => &mut self.money,
            "topic" => &mut self.topics,
            "first" => &mut self.first,
            "filler" => &mut self.fillers,
            "switch" => &mut self.switches,
            "sensitive" => &mut self.sensitive,
            _ => return Err(format!("`{kind}` is no kind of rule")),
        };
        words.extend(text.split(' ').map(|word| (word.to_owned(), rule.clone())));
        Ok(())
    }

    fn add_argument(
        &mut self,
        kind: &str,
        value: &str,
        text: &str,
        why: &str,
    ) -> Result<(), String> {
        let meaning = match value {
            "runs" => Meaning::Runs,
            "action" => Meaning::Action,
            "output" => Meaning::Output,
            "stages" => Meaning::Stages,
            "nothing" => Meaning::Nothing,
            _ => Meaning::Flag(
                ArgumentFlag::of(value)
                    .ok_or_else(|| format!("`{value}` is no flag of an argument"))?,
            ),
        };
        if kind == "hint" {
            let Meaning::Flag(flag) = meaning else {
                return Err(format!("`{value}` is no flag of an argument"));
            };
            self.hints.push((flag, text.to_owned()));
            return Ok(());
        }
        let rules = text.split(' ').map(|name| ArgumentRule {
            words: words(name),
            exact: name.starts_with('='),
            meaning,
            why: why.to_owned(),
        });
        let list = match (kind, meaning) {
            ("maybe", _) => &mut self.maybe,
            (_, Meaning::Flag(ArgumentFlag::Bulk)) => &mut self.bulk,
            _ => &mut self.arguments,
        };
        let new: Vec<ArgumentRule> = rules.collect();
        list.splice(0..0, new);
        Ok(())
    }

    fn add_mark(&mut self, kind: &str, value: &str, text: &str, why: &str) -> Result<(), String> {
        let mark = mark(value)?;
        let rows = |text: &str| (mark, text.to_owned(), why.to_owned());
        match kind {
            "text" => self.mark_texts.push(rows(text)),
            "mark" => self.mark_words.extend(text.split(' ').map(rows)),
            "send" => self.sends.extend(text.split(' ').map(rows)),
            _ => self.unmarked.extend(text.split(' ').map(|word| (mark, word.to_owned()))),
        }
        Ok(())
    }
}

fn class(word: &str) -> Result<ToolClass, String> {
    ToolClass::of(word).ok_or_else(|| format!("`{word}` is no class of tools"))
}

fn mark(word: &str) -> Result<ToolMark, String> {
    ToolMark::of(word).ok_or_else(|| format!("`{word}` is no mark"))
}

/// The longest rule for an argument of this name: one whose words are the last of it.
pub(super) fn longest<'r>(rules: &'r [ArgumentRule], name: &[String]) -> Option<&'r ArgumentRule> {
    let fitting = rules
        .iter()
        .filter(|rule| if rule.exact { name == rule.words } else { name.ends_with(&rule.words) });
    // The first of several that are as long, which is the user's.
    fitting.rev().max_by_key(|rule| rule.words.len())
}
