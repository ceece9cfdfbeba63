//! What a tool can do, judged by its name, its arguments, and what the server says of it. The rules are data: `rules.tsv`, which
//! explains itself.

mod arguments;
pub mod kinds;
mod name;
mod rules;
mod schema;
mod texts;
mod words;

use self::kinds::{
    ArgumentFlag, ClassProposal, Classification, Confidence, ToolClass, ToolMark, ToolSeverity,
};
use self::rules::{OwnWord, RuleBook};
use self::texts::ServerHabits;
use super::Tool;
use crate::matcher::name::Pattern;

/// Judges tools by its rules.
#[derive(Debug)]
pub struct Classifier {
    rules: RuleBook,
    trusts_annotations: bool,
}

/// The tools of a server with what they were taken for, and what is worth saying of all of them.
#[derive(Debug, Default)]
pub struct JudgedTools {
    /// Each tool, and what it was taken for.
    pub tools: Vec<(Tool, Classification)>,
    /// What is worth saying of all of them.
    pub remarks: Vec<String>,
}

impl Default for Classifier {
    fn default() -> Classifier {
        Classifier::new()
    }
}

impl Classifier {
    /// One with the rules that the command is built with.
    #[must_use]
    pub fn new() -> Classifier {
        Classifier { rules: RuleBook::built_in(), trusts_annotations: false }
    }

    /// Adds a user's own rules.
    ///
    /// # Errors
    /// The first line that is no rule.
    pub fn extend(&mut self, text: &str) -> Result<(), String> {
        self.rules.extend(text)
    }

    /// Takes `readOnlyHint` for true where a tool's name says nothing.
    pub fn trust_annotations(&mut self) {
        self.trusts_annotations = true;
    }

    /// Judges all tools of a server: each by itself, and beside the others.
    #[must_use]
    pub fn judge_all(&self, tools: Vec<Tool>) -> JudgedTools {
        let habits = ServerHabits::of(&tools, &self.rules);
        let remarks = habits.remarks(&tools);
        let judged = tools.into_iter().map(|tool| {
            let judgement = self.judge(&tool, &habits);
            (tool, judgement)
        });
        JudgedTools { tools: judged.collect(), remarks }
    }

    /// Its name gives the class; nearly everything else can only raise it.
    fn judge(&self, tool: &Tool, habits: &ServerHabits) -> Classification {
        let name = self.rules.by_name(&tool.name);
        let mut judgement = Classification::new(name.class, name.confidence, name.evidence);
        judgement.proposal =
            name.proposal.map(|class| ClassProposal { class, evidence: Vec::new() });
        let (arguments, whole) = schema::seen(tool);
        if !whole {
            let evidence = "it has more arguments, or deeper ones, than are looked at";
            judgement.raise(ToolClass::Unknown, Confidence::Low, evidence.to_owned());
        }
        self.rules.by_arguments(tool, &arguments, &mut judgement);
        self.rules.by_language(tool, &arguments, &mut judgement);
        self.rules.by_description(tool, &mut judgement);
        self.rules.by_hints(tool, habits, &mut judgement);
        self.by_own_rules(tool, &mut judgement);
        self.settle(tool, &mut judgement);
        if judgement.class == ToolClass::Read {
            // Reading many is as reading one.
            judgement.flags.retain(|flagged| flagged.flag != ArgumentFlag::Bulk);
        }
        let returns = name.class <= ToolClass::Unknown
            || matches!(judgement.class, ToolClass::Read | ToolClass::Unknown | ToolClass::Execute);
        arguments::mark(&mut judgement, returns);
        self.rules.by_marks(tool, returns, &mut judgement);
        judgement.aggravate(judgement.class.severity(), "");
        self.rules.by_secrets(tool, &arguments, &mut judgement);
        self.own_marks(tool, &mut judgement);
        weigh(&mut judgement);
        judgement
    }

    /// What is left of a proposal: nothing where the class is known.
    fn settle(&self, tool: &Tool, judgement: &mut Classification) {
        if judgement.class != ToolClass::Unknown {
            judgement.proposal = None;
            return;
        }
        let Some(proposal) = judgement.proposal.clone() else { return };
        if self.trusts_annotations
            && tool.read_only == Some(true)
            && proposal.class == ToolClass::Read
        {
            judgement.class = ToolClass::Read;
            judgement.confidence = Confidence::Low;
            judgement.evidence.extend(proposal.evidence);
            judgement.proposal = None;
        }
    }

    fn by_own_rules(&self, tool: &Tool, judgement: &mut Classification) {
        let mut fitting = self.rules.own.iter().filter(|rule| fits(&rule.pattern, &tool.name));
        let found = fitting.find_map(|rule| match rule.said {
            OwnWord::Class(class) => Some((class, rule)),
            OwnWord::ToolMark(_) => None,
        });
        if let Some((class, rule)) = found {
            judgement.class = class;
            judgement.severity = ToolSeverity::Low;
            judgement.confidence = Confidence::High;
            judgement.evidence = vec![format!("your rule for `{}`: {}", rule.pattern, rule.why)];
        }
    }

    fn own_marks(&self, tool: &Tool, judgement: &mut Classification) {
        for rule in self.rules.own.iter().filter(|rule| fits(&rule.pattern, &tool.name)) {
            if let OwnWord::ToolMark(mark) = rule.said {
                judgement.mark(mark, format!("your rule for `{}`: {}", rule.pattern, rule.why));
            }
        }
    }
}

/// Makes the severity what class, marks and flags come to.
fn weigh(judgement: &mut Classification) {
    let of = |mark: ToolMark, judgement: &Classification| {
        judgement
            .marks
            .iter()
            .find(|found| found.mark == mark)
            .map(|found| format!("{mark}: {}", found.evidence))
    };
    let open = of(ToolMark::OpenWorld, judgement);
    let private = of(ToolMark::PrivateData, judgement);
    match (open, private) {
        (Some(open), Some(private)) if judgement.class <= ToolClass::Unknown => {
            judgement.aggravate(ToolSeverity::High, &format!("{open}; {private}"));
        }
        (Some(evidence), _) | (None, Some(evidence)) => {
            judgement.aggravate(ToolSeverity::Medium, &evidence)
        }
        (None, None) => {}
    }
    if judgement.takes(ArgumentFlag::Code) {
        judgement.aggravate(ToolSeverity::Medium, "it takes code");
    }
    if judgement.proposal.as_ref().is_some_and(|proposal| proposal.class >= ToolClass::Destructive)
    {
        judgement.aggravate(ToolSeverity::High, "");
    }
}

/// Whether a name fits a pattern with `*` and `?`.
fn fits(pattern: &str, name: &str) -> bool {
    Pattern::new(pattern).matches(name)
}

#[cfg(test)]
mod tests;
