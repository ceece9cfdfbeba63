//! What a tool is called, which is what it is judged by first.

use super::kinds::{Confidence, ToolClass};
use super::rules::{ClassRule, RuleBook};
use super::words::words;
use crate::tools::one_line;

/// What a name says.
#[derive(Clone, Debug)]
pub(super) struct NameVerdict {
    pub(super) class: ToolClass,
    pub(super) confidence: Confidence,
    pub(super) evidence: String,
    /// What a verb that says little may mean.
    pub(super) proposal: Option<ToolClass>,
}

impl RuleBook {
    /// The class of a name, and why.
    pub(super) fn by_name(&self, name: &str) -> NameVerdict {
        let words = words(name);
        let parts = words.split(|word| matches!(word.as_str(), "and" | "or" | "then"));
        let mut before = 0;
        let parts = parts.filter(|part| {
            // `list_profit_and_loss`: one more thing, and no verb. `get_and_blub` may be two verbs.
            let thing =
                part.len() == 1 && before > 1 && !part.iter().any(|word| self.may_be_verb(word));
            before = part.len();
            !part.is_empty() && !thing
        });
        let judged = parts.map(|part| self.by_part(part));
        judged
            .reduce(|most, next| if next.class > most.class { next } else { most })
            .unwrap_or_else(unknown)
    }

    fn may_be_verb(&self, word: &str) -> bool {
        self.verbs.contains_key(word)
            || self.weak.contains_key(word)
            || self.pairs.contains_key(word)
    }

    fn by_part(&self, part: &[String]) -> NameVerdict {
        let text = format!(" {} ", part.join(" "));
        let mut deeds = text.clone();
        for thing in &self.things {
            deeds = deeds.replace(&format!(" {thing} "), " ");
        }
        let deeds: Vec<&str> = deeds.split_whitespace().collect();
        let phrase = self.phrases.iter().find(|(words, _)| text.contains(&format!(" {words} ")));
        let phrase = phrase.map(|(words, rule)| verdict(words, rule, Confidence::High));
        let agent = part.last().and_then(|last| Some(says_little(last, self.agents.get(last)?)));
        let decided = agent
            .or_else(|| self.by_pair(&deeds))
            .or_else(|| self.by_verbs(&deeds))
            .or_else(|| self.by_nouns(part))
            .unwrap_or_else(unknown);
        match phrase {
            Some(phrase) if phrase.class > decided.class => phrase,
            Some(phrase) if decided.class == ToolClass::Unknown => phrase,
            Some(_) | None => decided,
        }
    }

    /// A verb whose meaning its object decides: `resolve_thread` writes, `resolve_name` reads.
    fn by_pair(&self, deeds: &[&str]) -> Option<NameVerdict> {
        let mut rest = deeds.iter();
        while let Some(verb) = rest.next() {
            for (objects, rule) in self.pairs.get(*verb).into_iter().flatten() {
                let meant = |word: &&&str| {
                    let singular = word.strip_suffix('s').unwrap_or(word);
                    objects.iter().any(|object| object == **word || object == singular)
                };
                if let Some(object) = rest.clone().find(meant) {
                    return Some(verdict(&format!("{verb} … {object}"), rule, Confidence::High));
                }
            }
            if self.verbs.contains_key(*verb) {
                return None;
            }
        }
        None
    }

    fn by_verbs(&self, deeds: &[&str]) -> Option<NameVerdict> {
        let tells = deeds.last().is_some_and(|last| self.about.contains_key(*last));
        let mut verbs: Vec<(&str, &ClassRule)> = Vec::new();
        let mut weak: Option<(&str, &ClassRule)> = None;
        for word in deeds.iter().copied() {
            let noun = self.either.contains_key(word) || (tells && self.money.contains_key(word));
            if !verbs.is_empty() && noun {
                continue;
            }
            match (self.verbs.get(word), self.weak.get(word)) {
                (Some(rule), _) => verbs.push((word, rule)),
                (None, Some(rule)) if verbs.is_empty() => weak = weak.or(Some((word, rule))),
                (None, _) => {}
            }
        }
        let most = match verbs.first()? {
            // A thing first, and what is done with it last: `monitor_delete`.
            (word, rule) if rule.class == ToolClass::Read => self
                .done_last((word, deeds.last().copied().unwrap_or_default()), &verbs)
                .unwrap_or((*word, *rule)),
            first => verbs
                .iter()
                .fold(*first, |most, next| if next.1.class > most.1.class { *next } else { most }),
        };
        if let Some((word, rule)) = weak.filter(|_| most.1.class == ToolClass::Read) {
            return Some(says_little(word, rule));
        }

        let money = deeds.iter().filter(|_| !tells).find_map(|word| {
            let singular = word.strip_suffix('s').unwrap_or(word);
            Some((*word, self.money.get(*word).or_else(|| self.money.get(singular))?))
        });
        let money =
            money.filter(|(_, rule)| rule.class > most.1.class && most.1.class >= ToolClass::Write);
        let (word, rule) = money.unwrap_or(most);
        Some(verdict(word, rule, Confidence::High))
    }

    /// The verb at the end of a name that begins with a thing: one that may be a verb too, or the end can be nothing else than a verb.
    fn done_last<'w, 'r>(
        &'r self,
        (first, last): (&str, &str),
        verbs: &[(&'w str, &'r ClassRule)],
    ) -> Option<(&'w str, &'r ClassRule)> {
        let found =
            verbs.last().filter(|(word, rule)| *word == last && rule.class > ToolClass::Read)?;
        (self.either.contains_key(first) || self.firm.contains_key(last)).then_some(*found)
    }

    /// The first noun of a part that has nothing else than nouns and topics, or a verb that says little.
    fn by_nouns(&self, part: &[String]) -> Option<NameVerdict> {
        if let Some(found) =
            part.iter().find_map(|word| Some(says_little(word, self.weak.get(word)?)))
        {
            return Some(found);
        }
        let known = |word: &String| self.nouns.contains_key(word) || self.topics.contains_key(word);
        let mut words = part.iter().filter(|_| part.iter().all(known));
        words.find_map(|word| Some(verdict(word, self.nouns.get(word)?, Confidence::Medium)))
    }
}

fn verdict(word: &str, rule: &ClassRule, confidence: Confidence) -> NameVerdict {
    let evidence = format!("`{}` in its name: {}", one_line(word, 40), rule.why);
    NameVerdict { class: rule.class, confidence, evidence, proposal: None }
}

fn says_little(word: &str, rule: &ClassRule) -> NameVerdict {
    NameVerdict {
        class: ToolClass::Unknown,
        confidence: Confidence::Low,
        evidence: format!("`{}` in its name {}", one_line(word, 40), rule.why),
        proposal: Some(rule.class),
    }
}

fn unknown() -> NameVerdict {
    NameVerdict {
        class: ToolClass::Unknown,
        confidence: Confidence::Low,
        evidence: "its name does not say what it does".to_owned(),
        proposal: None,
    }
}
