//! The arguments of a tool, those within others too, and what they make of it.

use super::kinds::{
    ArgumentFlag, Classification, Confidence, FlaggedArgument, ToolClass, ToolMark, ToolSeverity,
};
use super::rules::{Meaning, RuleBook, longest};
use super::schema::ArgumentSeen;
use super::words::{first_sentence, flat, says, words};
use crate::tools::{Tool, one_line};

impl RuleBook {
    /// Flags the arguments, and raises the tool by what they take.
    pub(super) fn by_arguments(
        &self,
        tool: &Tool,
        arguments: &[ArgumentSeen<'_>],
        judgement: &mut Classification,
    ) {
        let said = flat(&format!("{}\n{}", words(&tool.name).join(" "), tool.description));
        for argument in arguments {
            let meaning = self.meaning(argument, &said);
            if let Some((meaning, why)) = meaning {
                self.mean(meaning, argument, &why, tool, &said, judgement);
            }
            let many = longest(&self.bulk, &argument.words).filter(|rule| {
                // A switch is one only by its whole name: `recursive`.
                argument.is_array() || (argument.is_of("boolean") && rule.words == argument.words)
            });
            if let Some(rule) = many {
                flag(judgement, argument, ArgumentFlag::Bulk, &rule.why);
            }
            self.by_switch(argument, judgement);
        }
    }

    fn meaning(&self, argument: &ArgumentSeen<'_>, said: &str) -> Option<(Meaning, String)> {
        let sure = longest(&self.arguments, &argument.words);
        let maybe = longest(&self.maybe, &argument.words);
        let hinted = |flag: ArgumentFlag| {
            if flag == ArgumentFlag::Sql
                && !says(&argument.text, "sql")
                && self.language(said, &argument.text).is_some()
            {
                return None;
            }
            let mut hints =
                self.hints.iter().filter(|(hinted, _)| *hinted == flag).map(|(_, text)| text);
            // What is said of the argument itself, or, where that says nothing of it, of the tool.
            let of_tool = matches!(flag, ArgumentFlag::Sql | ArgumentFlag::Code);
            hints.find(|text| says(&argument.text, text) || (of_tool && says(said, text)))
        };
        let maybe = maybe.and_then(|rule| match rule.meaning {
            Meaning::Flag(flag) => {
                let text = hinted(flag)?;
                Some((rule.words.len(), rule.meaning, format!("{} (`{text}`)", rule.why)))
            }
            Meaning::Runs
            | Meaning::Action
            | Meaning::Output
            | Meaning::Stages
            | Meaning::Nothing => None,
        });
        let sure = sure.map(|rule| (rule.words.len(), rule.meaning, rule.why.clone()));
        let found = match (sure, maybe) {
            (Some(sure), Some(maybe)) if maybe.0 > sure.0 => Some(maybe),
            (Some(sure), _) => Some(sure),
            (None, maybe) => maybe,
        };
        found
            .map(|(_, meaning, why)| (meaning, why))
            .or_else(|| self.by_format(argument))
            .filter(|(meaning, _)| *meaning != Meaning::Nothing)
    }

    /// The query language that only reads which one of these texts names.
    pub(super) fn language(&self, said: &str, text: &str) -> Option<&(String, String)> {
        self.languages.iter().find(|(word, _)| says(said, word) || says(text, word))
    }

    fn by_format(&self, argument: &ArgumentSeen<'_>) -> Option<(Meaning, String)> {
        let formats = || argument.schema.iter().filter_map(|part| part.get("format")?.as_str());
        let found = formats().find(|format| matches!(*format, "uri" | "url" | "password"))?;
        let flag = if found == "password" { ArgumentFlag::Credential } else { ArgumentFlag::Url };
        Some((Meaning::Flag(flag), format!("its format is `{found}`")))
    }

    fn mean(
        &self,
        meaning: Meaning,
        argument: &ArgumentSeen<'_>,
        why: &str,
        tool: &Tool,
        said: &str,
        judgement: &mut Classification,
    ) {
        let evidence = argument.evidence(why);
        match meaning {
            Meaning::Flag(found) if argument.is_free() => {
                flag(judgement, argument, found, why);
                match found {
                    ArgumentFlag::Sql => self.by_sql(tool, argument, said, evidence, judgement),
                    ArgumentFlag::Code if runs(first_sentence(said)) || runs(&argument.text) => {
                        judgement.raise(
                            ToolClass::Execute,
                            Confidence::High,
                            format!("{evidence}, and runs it"),
                        );
                    }
                    ArgumentFlag::Code
                    | ArgumentFlag::Credential
                    | ArgumentFlag::Path
                    | ArgumentFlag::Url
                    | ArgumentFlag::Bulk => {}
                }
            }
            Meaning::Runs if argument.is_free() && argument.aside => {
                flag(judgement, argument, ArgumentFlag::Code, why);
                judgement.aggravate(ToolSeverity::High, &evidence);
            }
            Meaning::Runs if argument.is_free() => {
                flag(judgement, argument, ArgumentFlag::Code, why);
                judgement.raise(ToolClass::Execute, Confidence::High, evidence);
            }
            Meaning::Output if argument.is_free() => {
                flag(judgement, argument, ArgumentFlag::Path, why);
                if argument.required {
                    judgement.raise(ToolClass::Write, Confidence::Medium, evidence);
                } else {
                    judgement.aggravate(ToolSeverity::Medium, &evidence);
                }
            }
            Meaning::Stages if argument.is_array() || says(said, "aggregation") => {
                judgement.raise(ToolClass::Write, Confidence::Medium, evidence);
            }
            Meaning::Action => self.by_action(argument, judgement),
            Meaning::Flag(_)
            | Meaning::Runs
            | Meaning::Output
            | Meaning::Stages
            | Meaning::Nothing => {}
        }
    }

    /// SQL runs whatever the caller writes, unless name and texts agree that it is a SELECT.
    fn by_sql(
        &self,
        tool: &Tool,
        argument: &ArgumentSeen<'_>,
        said: &str,
        evidence: String,
        judgement: &mut Classification,
    ) {
        let text = format!("{said}{}", argument.text);
        let writes = [
            "insert", "update", "delete", "drop", "create", "alter", "ddl", "dml", "truncate",
            "merge",
        ];
        let reads = words(&tool.name)
            .first()
            .is_some_and(|verb| matches!(verb.as_str(), "read" | "select" | "explain"));
        if reads && says(&text, "select") && !writes.iter().any(|word| says(&text, word)) {
            judgement.aggravate(
                ToolSeverity::Medium,
                &format!("{evidence}, of which its name and description allow only SELECT"),
            );
            return;
        }
        judgement.raise(ToolClass::Execute, Confidence::High, evidence);
    }

    /// What an action can be: the values that its schema lists, or those that a text names in quotes.
    fn by_action(&self, argument: &ArgumentSeen<'_>, judgement: &mut Classification) {
        let listed = argument.values();
        let quoted = argument
            .schema
            .iter()
            .filter_map(|part| part.get("description")?.as_str())
            .flat_map(quoted);
        let values: Vec<&str> = if listed.is_empty() { quoted.collect() } else { listed };
        // What happened, rather than what is to be done: `approval_required` is a filter.
        let past = |value: &&&str| words(value).iter().any(|word| word.ends_with("ed"));
        let judged = values
            .iter()
            .filter(|value| !past(value))
            .map(|value| (*value, self.by_name(value).class));
        let known = judged.filter(|(_, class)| *class != ToolClass::Unknown);
        if let Some((value, class)) = known.max_by_key(|(_, class)| *class) {
            judgement.raise(
                class,
                Confidence::High,
                argument.evidence(&format!("it can be `{}`", one_line(value, 40))),
            );
        } else if values.is_empty()
            && argument.is_free()
            && judgement.class == ToolClass::Read
            && judgement.confidence < Confidence::High
        {
            judgement.raise(
                ToolClass::Unknown,
                Confidence::Low,
                argument.evidence("it can be any action"),
            );
        }
    }

    /// A switch that makes more of a tool: `delete_after`, `mark_as_read`.
    fn by_switch(&self, argument: &ArgumentSeen<'_>, judgement: &mut Classification) {
        let Some(rule) = argument.words.first().and_then(|word| self.switches.get(word)) else {
            return;
        };
        if argument.is_of("boolean") && judgement.class <= ToolClass::Unknown {
            judgement.raise(rule.class, Confidence::Medium, argument.evidence(&rule.why));
        }
    }
}

fn flag(
    judgement: &mut Classification,
    argument: &ArgumentSeen<'_>,
    flag: ArgumentFlag,
    why: &str,
) {
    let name = argument.name.clone();
    if !judgement.flags.iter().any(|flagged| flagged.name == name && flagged.flag == flag) {
        judgement.flags.push(FlaggedArgument { name, flag, evidence: why.to_owned() });
    }
    if flag == ArgumentFlag::Credential {
        judgement.aggravate(
            ToolSeverity::Medium,
            &argument.evidence("an agent would have to know a credential"),
        );
    }
}

/// Whether a text says that something is run: `executes`, `evaluate`, `run a script`.
fn runs(text: &str) -> bool {
    [
        "execute",
        "executes",
        "executing",
        "executed",
        "evaluate",
        "evaluates",
        "evaluated",
        "run",
        "runs",
        "running",
        "eval",
    ]
    .iter()
    .any(|word| says(text, word))
}

/// The words that a text has in quotes.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    let pieces = text.split(['"', '\'', '`', '\u{201c}', '\u{201d}']).skip(1).step_by(2);
    pieces.filter(|piece| {
        !piece.is_empty()
            && piece.len() < 40
            && piece.chars().all(|c| c.is_ascii_alphanumeric() || "_-".contains(c))
    })
}

/// The marks that flagged arguments give.
pub(super) fn mark(judgement: &mut Classification, returns: bool) {
    let of = |flag: ArgumentFlag, judgement: &Classification| {
        judgement
            .flags
            .iter()
            .find(|flagged| flagged.flag == flag)
            .map(|flagged| one_line(&flagged.name, 60))
    };
    if let Some(name) = of(ArgumentFlag::Url, judgement) {
        judgement.mark(ToolMark::OpenWorld, format!("argument `{name}`: any address"));
        judgement
            .mark(ToolMark::UntrustedContent, format!("argument `{name}`: what is at an address"));
    }
    let code = of(ArgumentFlag::Code, judgement).filter(|_| judgement.class == ToolClass::Execute);
    if let Some(name) = code {
        judgement.mark(
            ToolMark::OpenWorld,
            format!("argument `{name}`: what it runs can send anything anywhere"),
        );
        judgement.mark(
            ToolMark::PrivateData,
            format!("argument `{name}`: what it runs can read whatever the server can"),
        );
    }
    if let Some(name) = of(ArgumentFlag::Sql, judgement) {
        judgement
            .mark(ToolMark::PrivateData, format!("argument `{name}`: whatever the database holds"));
    }
    // Beside an address, a path is a part of it.
    let local = returns && !judgement.takes(ArgumentFlag::Url);
    if let Some(name) = of(ArgumentFlag::Path, judgement).filter(|_| local) {
        judgement.mark(ToolMark::PrivateData, format!("argument `{name}`: files"));
    }
}
