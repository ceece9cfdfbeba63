//! The policy: what was allowed is allowed, what was stopped stands there as a comment, and nothing else is in it.

use mcp_policy::bounds::MAX_ECHO_BYTES;
use mcp_policy::policy::compiled::Config;
use mcp_policy::source::Syntax;

use super::conditions::Proposal;
use super::seen::{APPROVERS, LogSeen, NamesSeen, Stops, Uses};
use super::told::{LONGEST, LONGEST_NAME, of_stops, of_uses};
use crate::cli::key::can_be_key;
use crate::cli::report::counted;
use crate::cli::tree::print::{print, quoted};
use crate::cli::tree::{Map, Node, TreeMember};
use mcp_policy::tools::one_line;

/// Most entries of a section: nobody reads more.
const MOST_LISTED: usize = 500;

/// Most stopped names of a section that are told.
const MOST_STOPPED: usize = 100;

/// Most names in one note.
const MOST_NAMED: usize = 20;

/// A policy, and what its author should know of it.
pub(super) struct Suggestion {
    pub(super) text: String,
    /// Each with its place.
    pub(super) notes: Vec<(&'static str, String)>,
}

/// A section while it is written.
struct Writing<'s> {
    word: &'static str,
    seen: &'s NamesSeen,
    strict: bool,
    /// Whether an entry asks an approver.
    approver: bool,
    notes: Vec<(&'static str, String)>,
}

/// Writes the policy.
pub(super) fn draft(seen: &LogSeen, strict: bool) -> Result<Suggestion, String> {
    let [about_resources, about_prompts] = seen.unnamed;
    let mut body = String::new();
    let mut notes = Vec::new();
    let mut approver = false;
    for (word, names, unnamed) in [
        ("tools", &seen.tools, 0),
        ("resources", &seen.resources, about_resources),
        ("prompts", &seen.prompts, about_prompts),
    ] {
        let mut writing = Writing { word, seen: names, strict, approver: false, notes: Vec::new() };
        body.push_str(&writing.section(unnamed));
        approver |= writing.approver;
        notes.append(&mut writing.notes);
    }
    let mut policy = Map::default();
    policy.push("version", Node::text("1"));
    policy.push("description", Node::text("What was seen to be allowed, and nothing else"));
    policy.push("default", Node::text("deny"));
    if approver {
        policy.0.push(an_approver());
    }
    if let Some(first) = policy.0.first_mut() {
        first.comments = head(seen, strict, &notes);
    }
    let text = print(&Node::Map(policy), Syntax::Yaml, 0) + &body;
    loads(&text)?;
    Ok(Suggestion { text, notes })
}

fn head(seen: &LogSeen, strict: bool, notes: &[(&'static str, String)]) -> Vec<String> {
    let period = seen.period.text().map_or_else(String::new, |period| format!(", {period}"));
    let policies: Vec<String> = seen.policies.iter().map(|name| quoted(name)).collect();
    let conditions = if strict {
        "Conditions hold what all calls had in common that were seen."
    } else {
        "Conditions are comments: take the `#` off those that are meant, or write them with `--strict`."
    };
    let mut head = vec![
        "Written by `mcp-policy suggest` from what was on record. Read it through: what was seen need not be what is wanted.".to_owned(),
        format!("{} under policy {}{period}.", counted(seen.calls, "call"), policies.join(", ")),
        format!("Names that were allowed are listed, and nothing else. {conditions}"),
    ];
    if seen.refused > 0 {
        let refused = counted(seen.refused, "request");
        head.push(format!(
            "Not in it: {refused} that the front door refused, whatever the policy."
        ));
    }
    if seen.withheld > 0 {
        let withheld = counted(seen.withheld, "call");
        head.push(format!(
            "Not in it: {withheld} whose response was withheld, since that is all that is on record."
        ));
    }
    head.extend(notes.iter().map(|(word, note)| format!("{word}: {note}")));
    head.iter().map(|line| one_line(line, LONGEST)).collect()
}

/// What `approval: approver` needs. The log does not know the cluster.
fn an_approver() -> TreeMember {
    let cluster = Node::map([("cluster", Node::text("approver"))]);
    TreeMember {
        comments: vec![
            "The name of the approver's cluster is not on record: write yours.".to_owned(),
        ],
        key: "approvals".to_owned(),
        value: Node::map([("approver", cluster)]),
    }
}

impl Writing<'_> {
    fn section(&mut self, unnamed: u64) -> String {
        let seen = self.seen;
        let is_tools = self.word == "tools";
        if !is_tools && seen.allowed.len() + seen.stopped.len() == 0 {
            return self.unseen(unnamed);
        }
        let mut entries = self.entries();
        if unnamed > 0 {
            let (count, word) = (counted(unnamed, "request"), self.word);
            self.note(format!("{count} that passed may have been for {word} that are not listed: what they named is not on record"));
        }
        if !is_tools {
            let default = TreeMember {
                comments: Vec::new(),
                key: "default".to_owned(),
                value: Node::text("deny"),
            };
            entries.0.insert(0, default);
        }
        let mut text = print(&Node::map([(self.word, Node::Map(entries))]), Syntax::Yaml, 0);
        for line in self.stopped() {
            text.push_str(&format!("  # {line}\n"));
        }
        text
    }

    /// A section of which nothing was decided.
    fn unseen(&self, unnamed: u64) -> String {
        let word = self.word;
        if unnamed == 0 {
            return format!("# No call for {word} is on record.\n{word}: {{default: deny}}\n");
        }
        let count = counted(unnamed, "request");
        format!(
            "# {count} that passed may have been for {word}: what they named is not on record, so all {word} pass.\n# {word}: {{default: deny}}\n"
        )
    }

    /// The entries of what was allowed, the most used ones if there are too many.
    fn entries(&mut self) -> Map {
        let mut ranked: Vec<(&String, &Uses)> = self.seen.allowed.iter().collect();
        ranked.sort_by(|left, right| right.1.calls.cmp(&left.1.calls).then(left.0.cmp(right.0)));
        let rare = ranked.split_off(ranked.len().min(MOST_LISTED));
        ranked.sort_by_key(|(name, _)| *name);
        let mut entries = Map::default();
        let mut loose = Vec::new();
        for (name, uses) in ranked {
            match self.entry(name, uses) {
                Ok(entry) => entries.0.push(entry),
                Err(why) => {
                    let name = quoted(&one_line(name, LONGEST_NAME));
                    self.note(format!("{name} is not listed, and so denied: {why}"));
                    continue;
                }
            }
            // An entry that asks asks about those too.
            let asks = uses.approved.iter().any(|count| *count > 0);
            let stops = self.seen.stopped.get(name);
            if stops.is_some_and(|stops| !(asks && stops.are_all_asked())) {
                loose.push(name);
            }
        }
        if !loose.is_empty() {
            let names = named(loose.iter().map(|name| name.as_str()));
            self.note(format!("some calls were not allowed of names that are listed, and their entries allow such calls: see `also not allowed` at {names}"));
        }
        if !rare.is_empty() {
            let names = named(rare.iter().map(|(name, _)| name.as_str()));
            self.note(format!("only the {MOST_LISTED} names that were used most are listed; {} more are left out, and so denied: {names}", rare.len()));
        }
        if self.seen.allowed.beyond > 0 {
            let calls = counted(self.seen.allowed.beyond, "call");
            let most = self.seen.allowed.len();
            self.note(format!(
                "{calls} of names after the first {most} are left out, and so denied"
            ));
        }
        entries
    }

    fn entry(&mut self, name: &str, uses: &Uses) -> Result<TreeMember, String> {
        can_be_key(name)?;
        if name.ends_with('…') && name.len() >= MAX_ECHO_BYTES {
            return Err("its name is cut short in the log".to_owned());
        }
        if self.word != "tools" && matches!(name, "default" | "hide") {
            return Err("the name is a word of the section's own".to_owned());
        }
        let mut comments = of_uses(uses);
        if let Some(stops) = self.seen.stopped.get(&name.to_owned()) {
            let lines = of_stops(stops);
            let first = lines.iter().take(1).map(|line| format!("also {line}"));
            comments.extend(first.chain(lines.iter().skip(1).map(|line| format!("  {line}"))));
        }
        let mut entry = approved_as(uses);
        let asks_approver = uses.approved.get(1).is_some_and(|count| *count > 0);
        let mut proposed = Proposal::from(uses).members();
        // What does not load, for whatever reason, is not proposed.
        if self.loads(name, &[&entry.0[..], &proposed.0].concat(), asks_approver).is_err() {
            proposed = Map::default();
            self.loads(name, &entry.0, asks_approver)?;
        }
        let mut inner = Vec::new();
        if uses.peak.most > 0 {
            let limit = format!("{}/minute", rounded_up(uses.peak.most));
            inner.push(lines_of(&Node::map([("rate_limit", Node::Text(limit))])));
        }
        if !self.strict && !proposed.0.is_empty() {
            inner.push(lines_of(&Node::Map(std::mem::take(&mut proposed))));
        }
        entry.0.append(&mut proposed.0);
        if let Some(first) = entry.0.first_mut() {
            first.comments = inner.concat();
        }
        self.approver |= asks_approver;
        let [.., by_token] = uses.approved;
        if by_token > 0 {
            let name = quoted(&one_line(name, LONGEST_NAME));
            self.note(format!("{name} was approved by tokens, which are not on record: `replay` denies these calls"));
        }
        Ok(TreeMember { comments, key: name.to_owned(), value: Node::Map(entry) })
    }

    /// Whether an entry is one that a policy can have.
    fn loads(&self, name: &str, members: &[TreeMember], approver: bool) -> Result<(), String> {
        let section = Node::map([(name, Node::Map(Map(members.to_vec())))]);
        let mut policy = Map::default();
        policy.push("version", Node::text("1"));
        policy.push("default", Node::text("deny"));
        policy.push(self.word, section);
        policy.0.extend(approver.then(an_approver));
        loads(&print(&Node::Map(policy), Syntax::Yaml, 0))
    }

    /// What was stopped and never allowed, as entries behind a `#`.
    fn stopped(&self) -> Vec<String> {
        let only = |(name, _): &(&String, &Stops)| self.seen.allowed.get(name).is_none();
        let mut stopped: Vec<(&String, &Stops)> = self.seen.stopped.iter().filter(only).collect();
        if stopped.is_empty() {
            return Vec::new();
        }
        stopped.sort_by(|left, right| right.1.calls.cmp(&left.1.calls).then(left.0.cmp(right.0)));
        let rare = stopped.split_off(stopped.len().min(MOST_STOPPED));
        stopped.sort_by_key(|(name, _)| *name);
        let mut lines =
            vec!["Not allowed when it was called, or only in shadow (`would_…`). To allow one, take the `#` off its entry:".to_owned()];
        for (name, stops) in stopped {
            lines.extend(of_stops(stops));
            lines.extend(self.stopped_entry(name, stops));
        }
        if !rare.is_empty() {
            let names = named(rare.iter().map(|(name, _)| name.as_str()));
            lines.push(format!("and {} more names that were not allowed: {names}", rare.len()));
        }
        if self.seen.stopped.beyond > 0 {
            lines.push(format!(
                "and {} of still more names",
                counted(self.seen.stopped.beyond, "call")
            ));
        }
        lines
    }

    fn stopped_entry(&self, name: &str, stops: &Stops) -> Vec<String> {
        let entry = if stops.are_all_asked() {
            Node::map([
                ("action", Node::text("require_approval")),
                ("approval", Node::text("user")),
            ])
        } else {
            Node::map([("action", Node::text("allow"))])
        };
        let members = entry.as_map().map(|map| map.0.clone()).unwrap_or_default();
        let problem = can_be_key(name).err().map(str::to_owned);
        if let Some(problem) = problem.or_else(|| self.loads(name, &members, false).err()) {
            let name = quoted(&one_line(name, LONGEST_NAME));
            return vec![one_line(&format!("{name} cannot be listed: {problem}"), LONGEST)];
        }
        lines_of(&Node::map([(name, entry)]))
    }

    fn note(&mut self, note: String) {
        self.notes.push((self.word, note));
    }
}

/// Calls that somebody approved are still asked about.
fn approved_as(uses: &Uses) -> Map {
    let by = APPROVERS.iter().zip(uses.approved).filter(|(_, count)| *count > 0);
    let by: Vec<Node> = by.map(|(word, _)| Node::text(*word)).collect();
    let mut entry = Map::default();
    let asks = !by.is_empty();
    entry.push("action", Node::text(if asks { "require_approval" } else { "allow" }));
    if asks {
        entry.push("approval", Node::list(by));
    }
    entry
}

/// A document as the lines of a comment.
fn lines_of(node: &Node) -> Vec<String> {
    print(node, Syntax::Yaml, 0).lines().map(str::to_owned).collect()
}

/// The first of some names, in quotes.
fn named<'n>(names: impl Iterator<Item = &'n str>) -> String {
    let all: Vec<String> = names.map(|name| quoted(&one_line(name, LONGEST_NAME))).collect();
    let more = all.len().saturating_sub(MOST_NAMED);
    let first = all.into_iter().take(MOST_NAMED).collect::<Vec<_>>().join(", ");
    if more > 0 { format!("{first} and {more} more") } else { first }
}

/// The next number of 1, 2, 5, 10, 20, 50, …
fn rounded_up(number: u64) -> u64 {
    let mut ten = 1u64;
    loop {
        let found = [1, 2, 5].into_iter().map(|step| ten.saturating_mul(step));
        if let Some(found) = found.into_iter().find(|round| *round >= number) {
            return found;
        }
        ten = ten.saturating_mul(10);
    }
}

/// Whether a policy loads; else what is wrong, in one line.
fn loads(text: &str) -> Result<(), String> {
    let value = mcp_policy::yaml::read(text).map_err(|fault| fault.to_string())?;
    match Config::compile(&value, "") {
        Ok(_) => Ok(()),
        Err(problems) => {
            let first = problems.into_iter().next();
            Err(first.map_or_else(String::new, |problem| problem.message))
        }
    }
}
