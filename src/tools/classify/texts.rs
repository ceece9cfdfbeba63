//! What a server says of its tools: descriptions and annotations. They raise a class; beside a name that says nothing they are a
//! proposal; and a query language that only reads is the one thing that they lower a class by.

use super::kinds::{
    ArgumentFlag, ClassProposal, Classification, Confidence, ToolClass, ToolMark, ToolSeverity,
};
use super::rules::{ClassRule, RuleBook};
use super::schema::ArgumentSeen;
use super::words::{first_sentence, flat, says, stems, words};
use crate::tools::Tool;

impl RuleBook {
    /// Lowers what runs a query in a language that only reads, such as PromQL.
    pub(super) fn by_language(
        &self,
        tool: &Tool,
        arguments: &[ArgumentSeen<'_>],
        judgement: &mut Classification,
    ) {
        let name = flat(&words(&tool.name).join(" "));
        let generic = ["execute", "exec", "run", "invoke", "query"];
        let (named, mut rest): (Vec<String>, Vec<String>) =
            words(&tool.name).into_iter().partition(|word| generic.contains(&word.as_str()));
        rest.retain(|word| self.verbs.get(word).is_some_and(|rule| rule.class > ToolClass::Read));
        if named.is_empty()
            || !rest.is_empty()
            || judgement.class > ToolClass::Execute
            || runs_more(judgement)
        {
            return;
        }
        let texts = arguments.iter().map(|argument| argument.text.as_str());
        let text = texts.fold(flat(&tool.description), |text, more| text + more);
        let Some((language, why)) = self.language(&name, &text) else {
            return;
        };
        let confidence = if says(&name, language) { Confidence::High } else { Confidence::Medium };
        if judgement.class > ToolClass::Read {
            judgement.class = ToolClass::Read;
            judgement.confidence = confidence;
            judgement.proposal = None;
            judgement.evidence = vec![format!("`{language}`: {why}")];
        }
    }

    /// What the description says.
    pub(super) fn by_description(&self, tool: &Tool, judgement: &mut Classification) {
        let text = flat(&tool.description);
        // Long descriptions tell what other tools do, too.
        let surely_reads =
            judgement.class == ToolClass::Read && judgement.confidence == Confidence::High;
        for (phrase, rule) in &self.descriptions {
            let told = if surely_reads && rule.class == ToolClass::Execute {
                first_sentence(&text)
            } else {
                &text
            };
            if told.contains(phrase.as_str()) {
                judgement.raise(
                    rule.class,
                    Confidence::Medium,
                    format!("its description {}", rule.why),
                );
            }
        }
        let first = self.deeds(first_sentence(&text));
        let Some((word, rule)) = first.iter().max_by_key(|(_, rule)| rule.class) else { return };
        let evidence = format!("its description {} (`{word}`)", rule.why);
        match rule.class {
            ToolClass::Read => self.propose(judgement, ToolClass::Read, evidence),
            ToolClass::Unknown => {}
            ToolClass::Write
            | ToolClass::Destructive
            | ToolClass::Execute
            | ToolClass::Financial => {
                judgement.raise(rule.class, Confidence::Medium, evidence);
            }
        }
    }

    /// The verbs with which a sentence begins: `Create, update or delete labels`.
    fn deeds<'t>(&self, sentence: &'t str) -> Vec<(&'t str, &ClassRule)> {
        let mut found = Vec::new();
        let mut joined = true;
        for word in sentence.split_whitespace() {
            let stems = stems(word);
            let rule = stems.iter().find_map(|stem| self.first.get(stem));
            match rule.filter(|_| joined) {
                Some(rule) => {
                    found.push((word, rule));
                    joined = false;
                }
                None if matches!(word, "," | "and" | "or" | "then" | "also" | "optionally") => {
                    joined = true
                }
                None if found.is_empty()
                    && stems.iter().any(|stem| self.fillers.contains_key(stem)) => {}
                None => break,
            }
        }
        found
    }

    /// What an unknown tool probably is.
    fn propose(&self, judgement: &mut Classification, class: ToolClass, evidence: String) {
        if judgement.class != ToolClass::Unknown {
            return;
        }
        let proposal =
            judgement.proposal.get_or_insert_with(|| ClassProposal { class, evidence: Vec::new() });
        proposal.class = proposal.class.max(class);
        proposal.evidence.push(evidence);
    }

    /// Annotations are hints of the server: a bad one counts, a good one is a proposal at most.
    pub(super) fn by_hints(
        &self,
        tool: &Tool,
        server: &ServerHabits,
        judgement: &mut Classification,
    ) {
        let destructive = tool.destructive == Some(true) && tool.read_only != Some(true);
        if destructive && !server.calls_all_destructive {
            let evidence = "annotation `destructiveHint`: the server calls it destructive";
            judgement.raise(ToolClass::Destructive, Confidence::Medium, evidence.to_owned());
        }
        if tool.read_only == Some(false) && !server.calls_none_read_only {
            let evidence = "annotation `readOnlyHint`: the server says that it does more than read";
            judgement.raise(ToolClass::Write, Confidence::Medium, evidence.to_owned());
        }
        if tool.read_only == Some(true) {
            let evidence = "annotation `readOnlyHint`: the server says that it only reads";
            self.propose(judgement, ToolClass::Read, evidence.to_owned());
            if judgement.class >= ToolClass::Write {
                judgement.confidence = judgement.confidence.min(Confidence::Medium);
            }
        }
        if server.marks_its_reads
            && tool.read_only.is_none()
            && tool.destructive.is_none()
            && judgement.class <= ToolClass::Unknown
        {
            let evidence =
                "the server gives most of its other reads `readOnlyHint`, and not this one";
            judgement.raise(ToolClass::Write, Confidence::Medium, evidence.to_owned());
            judgement.proposal = None;
        }
        if tool.open_world == Some(true) && !server.calls_all_open {
            judgement.mark(
                ToolMark::OpenWorld,
                "annotation `openWorldHint`: the server says that it reaches out".to_owned(),
            );
        }
    }

    /// Marks by the words of the name and of the description.
    pub(super) fn by_marks(&self, tool: &Tool, returns: bool, judgement: &mut Classification) {
        let name = words(&tool.name);
        let text = flat(&tool.description);
        let first = first_sentence(&text);
        for mark in [ToolMark::OpenWorld, ToolMark::PrivateData, ToolMark::UntrustedContent] {
            // What only adds or removes something returns nothing of anybody.
            if mark != ToolMark::OpenWorld && !returns {
                continue;
            }
            if self
                .unmarked
                .iter()
                .any(|(of, word)| *of == mark && name.iter().any(|each| each == word))
            {
                continue;
            }
            let writes = judgement.class >= ToolClass::Write && !returns;
            let sends = self.sends.iter().filter(|_| writes);
            let of_name = self.mark_words.iter().chain(sends).filter(|(of, _, _)| *of == mark);
            for (_, word, why) in of_name {
                if name.iter().any(|each| each == word || each.strip_suffix('s') == Some(word)) {
                    judgement.mark(mark, format!("`{word}` in its name: {why}"));
                }
            }
            let of_text = self.mark_texts.iter().filter(|(of, _, _)| *of == mark);
            for (_, words, why) in of_text {
                if says(first, words) {
                    judgement.mark(mark, format!("`{words}` in its description: {why}"));
                }
            }
        }
    }

    /// Reading secrets is a high risk, whatever they are called by: the name, a value of an argument, the description.
    pub(super) fn by_secrets(
        &self,
        tool: &Tool,
        arguments: &[ArgumentSeen<'_>],
        judgement: &mut Classification,
    ) {
        let name = words(&tool.name);
        if let Some((word, rule)) =
            name.iter().find_map(|word| Some((word, self.sensitive.get(word)?)))
        {
            let evidence = format!("`{word}` in its name: {}", rule.why);
            judgement.aggravate(ToolSeverity::High, &evidence);
            if judgement.class <= ToolClass::Unknown {
                judgement.mark(ToolMark::PrivateData, evidence);
            }
            return;
        }
        if judgement.class > ToolClass::Unknown {
            return;
        }
        let text = flat(&tool.description);
        let said = format!("{}{}", first_sentence(&text), flat(&name.join(" ")));
        for (argument, place) in arguments
            .iter()
            .filter_map(|argument| Some((argument, argument.names_any_of(&self.stores, &said)?)))
        {
            let evidence = argument.evidence(&place.1);
            judgement.aggravate(ToolSeverity::High, &evidence);
            judgement.mark(ToolMark::PrivateData, evidence);
        }
    }
}

/// Whether a tool takes code, or a query in a language that can write.
fn runs_more(judgement: &Classification) -> bool {
    judgement.takes(ArgumentFlag::Code) || judgement.takes(ArgumentFlag::Sql)
}

/// What a server does with all its tools alike, which says nothing of any of them.
#[derive(Clone, Debug, Default)]
pub(super) struct ServerHabits {
    pub(super) calls_all_destructive: bool,
    pub(super) calls_none_read_only: bool,
    /// Most of them: it is said of whatever talks to a service.
    pub(super) calls_all_open: bool,
    /// Most of its reads have `readOnlyHint`: one that has not is none.
    pub(super) marks_its_reads: bool,
}

/// Fewer tools than these have no habits.
const FEWEST: usize = 4;

impl ServerHabits {
    /// Looks at all tools of a server, and at what their names say.
    pub(super) fn of(tools: &[Tool], rules: &RuleBook) -> ServerHabits {
        let class = |tool: &Tool| rules.by_name(&tool.name).class;
        let acting: Vec<&Tool> = tools.iter().filter(|tool| tool.read_only != Some(true)).collect();
        let harmless = acting.iter().filter(|tool| class(tool) < ToolClass::Destructive).count();
        let reads: Vec<&Tool> =
            tools.iter().filter(|tool| class(tool) == ToolClass::Read).collect();
        let marked = reads.iter().filter(|tool| tool.read_only == Some(true)).count();
        let all = |tools: &[&Tool], says: fn(&Tool) -> bool| {
            tools.len() >= FEWEST && tools.iter().all(|tool| says(tool))
        };
        let open = tools.iter().filter(|tool| tool.open_world == Some(true)).count();
        let every: Vec<&Tool> = tools.iter().collect();
        ServerHabits {
            calls_all_destructive: all(&acting, |tool| tool.destructive == Some(true))
                && harmless * 2 > acting.len(),
            calls_none_read_only: all(&every, |tool| tool.read_only == Some(false)),
            calls_all_open: tools.len() >= FEWEST && open * 2 > tools.len(),
            marks_its_reads: marked >= 3 && marked * 2 > reads.len(),
        }
    }

    /// What is worth saying of them.
    pub(super) fn remarks(&self, tools: &[Tool]) -> Vec<String> {
        let mut remarks = Vec::new();
        let count = tools.len();
        if self.calls_all_destructive {
            let acting = tools.iter().filter(|tool| tool.read_only != Some(true)).count();
            remarks.push(format!(
                "the server calls {acting} of its {acting} tools that do more than read destructive: that annotation says nothing here"
            ));
        }
        if self.calls_none_read_only {
            remarks.push(format!("the server says of none of its {count} tools that it only reads: that annotation says nothing here"));
        }
        if self.calls_all_open {
            let open = tools.iter().filter(|tool| tool.open_world == Some(true)).count();
            remarks.push(format!("the server says of {open} of its {count} tools that they reach out: that annotation says nothing here"));
        }
        remarks
    }
}
