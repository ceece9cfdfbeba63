//! What a tool can do, judged by what the server says of it. The rules are data: `rules.tsv`, which explains itself.

use std::collections::HashMap;
use std::fmt;

use super::{Tool, one_line};

/// What a tool does at worst, from the least to the most dangerous.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ToolClass {
    /// It only reads.
    Read,
    /// It changes something.
    Write,
    /// It can destroy something.
    Destructive,
    /// It runs code or commands.
    Execute,
    /// It moves money.
    Financial,
}

/// How much harm a call can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Risk {
    /// Little.
    Low,
    /// Some.
    Medium,
    /// Much.
    High,
    /// As much as can be.
    Critical,
}

/// What a tool was taken for, and why.
#[derive(Clone, Debug)]
pub struct Classification {
    /// What it does at worst.
    pub class: ToolClass,
    /// How much harm it can do.
    pub risk: Risk,
    /// Why, in words.
    pub evidence: Vec<String>,
}

impl ToolClass {
    /// Every class, from the least to the most dangerous.
    pub const ALL: [ToolClass; 5] = [
        ToolClass::Read,
        ToolClass::Write,
        ToolClass::Destructive,
        ToolClass::Execute,
        ToolClass::Financial,
    ];

    /// The class of a word.
    #[must_use]
    pub fn of(word: &str) -> Option<ToolClass> {
        ToolClass::ALL.into_iter().find(|class| class.word() == word)
    }

    /// Its word.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            ToolClass::Read => "read",
            ToolClass::Write => "write",
            ToolClass::Destructive => "destructive",
            ToolClass::Execute => "execute",
            ToolClass::Financial => "financial",
        }
    }

    fn risk(self) -> Risk {
        match self {
            ToolClass::Read => Risk::Low,
            ToolClass::Write => Risk::Medium,
            ToolClass::Destructive => Risk::High,
            ToolClass::Execute | ToolClass::Financial => Risk::Critical,
        }
    }
}

impl fmt::Display for ToolClass {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.word())
    }
}

impl fmt::Display for Risk {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(match self {
            Risk::Low => "low",
            Risk::Medium => "medium",
            Risk::High => "high",
            Risk::Critical => "critical",
        })
    }
}

/// One line of the table.
#[derive(Clone, Copy, Debug)]
struct ClassifierRule {
    class: ToolClass,
    why: &'static str,
}

/// The table.
#[derive(Debug, Default)]
pub struct Classifier {
    verbs: HashMap<&'static str, ClassifierRule>,
    nouns: HashMap<&'static str, ClassifierRule>,
    money: HashMap<&'static str, ClassifierRule>,
    arguments: HashMap<&'static str, ClassifierRule>,
    first: HashMap<&'static str, ClassifierRule>,
    sensitive: HashMap<&'static str, ClassifierRule>,
    things: Vec<&'static str>,
    topics: HashMap<&'static str, ClassifierRule>,
    phrases: Vec<(&'static str, ClassifierRule)>,
    descriptions: Vec<(&'static str, ClassifierRule)>,
}

impl Classifier {
    /// The table that the command is built with.
    #[must_use]
    pub fn new() -> Classifier {
        let mut classifier = Classifier::default();
        for line in include_str!("rules.tsv").lines() {
            let mut columns = line.split('\t');
            let (Some(kind), Some(class), Some(words), Some(why)) =
                (columns.next(), columns.next(), columns.next(), columns.next())
            else {
                continue;
            };
            let Some(class) = ToolClass::of(class) else { continue };
            let rule = ClassifierRule { class, why };
            match kind {
                "thing" => classifier.things.push(words),
                "phrase" => classifier.phrases.push((words, rule)),
                "description" => classifier.descriptions.push((words, rule)),
                _ => classifier.words(kind).extend(words.split(' ').map(|word| (word, rule))),
            }
        }
        classifier
    }

    fn words(&mut self, kind: &str) -> &mut HashMap<&'static str, ClassifierRule> {
        match kind {
            "verb" => &mut self.verbs,
            "money" => &mut self.money,
            "argument" => &mut self.arguments,
            "first" => &mut self.first,
            "sensitive" => &mut self.sensitive,
            "topic" => &mut self.topics,
            _ => &mut self.nouns,
        }
    }

    /// Judges a tool. Its name gives the class; everything else can only raise it.
    #[must_use]
    pub fn judge(&self, tool: &Tool) -> Classification {
        let (class, evidence) = self.by_name(&tool.name);
        let mut judgement = Classification { class, risk: Risk::Low, evidence: vec![evidence] };
        self.by_arguments(tool, &mut judgement);
        self.by_description(&tool.description, &mut judgement);
        by_hints(tool, &mut judgement);
        judgement.risk = judgement.class.risk();
        let words = words(&tool.name);
        if let Some((word, rule)) =
            words.iter().find_map(|word| Some((word, self.sensitive.get(word.as_str())?)))
            && judgement.risk < Risk::High
        {
            judgement.risk = Risk::High;
            judgement.evidence.push(format!("`{word}` in its name: {}", rule.why));
        }
        judgement
    }

    /// The class of a name, and why.
    #[must_use]
    pub fn by_name(&self, name: &str) -> (ToolClass, String) {
        let words = words(name);
        let parts = words.split(|word| matches!(word.as_str(), "and" | "or" | "then"));
        let unknown = || (ToolClass::Write, "its name does not say what it does".to_owned());
        let judged = parts
            .filter(|part| !part.is_empty())
            .map(|part| self.by_part(part).unwrap_or_else(unknown));
        judged
            .reduce(|most, next| if next.0 > most.0 { next } else { most })
            .unwrap_or_else(unknown)
    }

    fn by_part(&self, part: &[String]) -> Option<(ToolClass, String)> {
        let evidence = |word: &str, rule: ClassifierRule| {
            (rule.class, format!("`{}` in its name: {}", one_line(word, 40), rule.why))
        };
        let text = format!(" {} ", part.join(" "));
        let mut deeds = text.clone();
        for thing in &self.things {
            deeds = deeds.replace(&format!(" {thing} "), " ");
        }
        let mut verbs =
            deeds.split_whitespace().filter_map(|word| Some((word, *self.verbs.get(word)?)));
        let phrase = self.phrases.iter().find(|(words, _)| text.contains(&format!(" {words} ")));
        let phrase = phrase.map(|(words, rule)| evidence(words, *rule));
        let decided = match verbs.next() {
            Some((word, rule)) if rule.class == ToolClass::Read => Some(evidence(word, rule)),
            Some(first) => {
                let (word, rule) =
                    verbs.fold(
                        first,
                        |most, next| if next.1.class > most.1.class { next } else { most },
                    );
                let money = deeds.split_whitespace().find_map(|word| {
                    let singular = word.strip_suffix('s').unwrap_or(word);
                    Some((word, *self.money.get(word).or_else(|| self.money.get(singular))?))
                });
                Some(
                    money
                        .filter(|(_, money)| money.class > rule.class)
                        .map_or_else(|| evidence(word, rule), |(word, rule)| evidence(word, rule)),
                )
            }
            None => self.by_nouns(part).map(|(word, rule)| evidence(word, rule)),
        };
        match (decided, phrase) {
            (Some(decided), Some(phrase)) => {
                Some(if phrase.0 > decided.0 { phrase } else { decided })
            }
            (decided, phrase) => decided.or(phrase),
        }
    }

    /// The first noun of a part that has nothing else than nouns and topics.
    fn by_nouns<'p>(&self, part: &'p [String]) -> Option<(&'p str, ClassifierRule)> {
        let known = |word: &String| {
            self.nouns.contains_key(word.as_str()) || self.topics.contains_key(word.as_str())
        };
        let mut words = part.iter().filter(|_| part.iter().all(known));
        words.find_map(|word| Some((word.as_str(), *self.nouns.get(word.as_str())?)))
    }

    fn by_arguments(&self, tool: &Tool, judgement: &mut Classification) {
        for (name, _, _) in tool.arguments() {
            if let Some(rule) = self.arguments.get(name) {
                raise(judgement, rule.class, format!("argument `{name}`: {}", rule.why));
            }
        }
    }

    fn by_description(&self, description: &str, judgement: &mut Classification) {
        let text = description.to_lowercase();
        for (words, rule) in &self.descriptions {
            if text.contains(words) {
                raise(judgement, rule.class, format!("its description {}", rule.why));
            }
        }
        let first = text
            .split(|c: char| !c.is_alphanumeric())
            .find(|word| !word.is_empty())
            .unwrap_or_default();
        let bare = first.strip_suffix('s').unwrap_or(first);
        let known = self.first.get(first).or_else(|| self.first.get(bare));
        if let Some(rule) = known.or_else(|| self.first.get(bare.strip_suffix('e').unwrap_or(bare)))
        {
            raise(judgement, rule.class, format!("its description {}", rule.why));
        }
    }
}

/// Annotations are hints of the server: a bad one counts, a good one does not.
fn by_hints(tool: &Tool, judgement: &mut Classification) {
    if tool.destructive == Some(true) && tool.read_only != Some(true) {
        raise(
            judgement,
            ToolClass::Destructive,
            "annotation `destructiveHint`: the server calls it destructive".to_owned(),
        );
    }
    if tool.read_only == Some(false) {
        raise(
            judgement,
            ToolClass::Write,
            "annotation `readOnlyHint`: the server says that it does more than read".to_owned(),
        );
    }
}

fn raise(judgement: &mut Classification, class: ToolClass, evidence: String) {
    if class > judgement.class {
        judgement.class = class;
        judgement.evidence.push(evidence);
    }
}

/// The words of a name: `executeSQLQuery` and `execute-sql_query` are execute, sql, query.
fn words(name: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let characters: Vec<char> = name.chars().collect();
    for (at, &c) in characters.iter().enumerate() {
        let before = at.checked_sub(1).and_then(|at| characters.get(at));
        let after = characters.get(at + 1);
        let lower = |c: Option<&char>| c.is_some_and(|c| c.is_lowercase());
        let capital = c.is_uppercase()
            && (lower(before) || (lower(after) && before.is_some_and(|c| c.is_uppercase())));
        if capital || !c.is_alphabetic() {
            words.push(String::new());
        }
        if let Some(last) = words.last_mut().filter(|_| c.is_alphabetic()) {
            last.extend(c.to_lowercase());
        }
    }
    words.retain(|word| !word.is_empty());
    words
}

#[cfg(test)]
mod tests;
