//! Warnings on a configuration that holds: what is legal, but surely not meant. For authors only.
//!
//! Not here: what the compiler warns of itself, and what needs the server's tools (see [`fit`]).

mod approvals;
mod callers;
pub mod fit;
mod limits;
pub mod renewal;
mod schema;
mod text;

use std::collections::{HashMap, HashSet};

use crate::json::Value;
use crate::json::pointer::unescaped;
use crate::language::diagnostic::{Code, Diagnostic};
use crate::language::reader::push_key;
use crate::matcher::name::Pattern;
use crate::matcher::operator::Test;
use crate::matcher::scalar::Scalar;
use crate::matcher::value::Side;
use crate::mcp::call::Kind;
use crate::policy::binding::Bindings;
use crate::policy::compiled::{Config, Policy};
use crate::policy::entry::{Action, Check, Condition, DefaultAction, Entry, Subject};
use crate::policy::rules::{RuleId, RuleKind, Rules};
use crate::policy::section::{Hidden, Section};
use crate::rate::limiter::Mode;

/// Most globs that each entry is compared with: nobody writes more by hand.
const MOST_COMPARED: usize = 256;

/// Finds what is surely not meant in a configuration, given the document that it was compiled from.
#[must_use]
pub fn lint(config: &Config, document: &Value<'_>) -> Vec<Diagnostic> {
    let of_policies = config.policies().flat_map(|policy| of_policy(config, policy, document));
    of_policies.chain(unplaced(config)).chain(approvals::of_settings(config, document)).collect()
}

/// A server that has paths of another kind, where every path counts as one that speaks MCP.
fn unplaced(config: &Config) -> Option<Diagnostic> {
    let doors = &config.doors;
    let others = doors.unread.iter().any(|unread| unread.methods.is_empty());
    let everywhere = config.bindings.as_ref().is_none_or(Bindings::leave_paths_open);
    (others && doors.mcp.is_none() && everywhere).then(|| {
        let message = "paths pass beside MCP, but every other path counts as MCP".to_owned();
        let help = "say where the server speaks MCP: \"paths\": [\"/mcp\"]".to_owned();
        Diagnostic::warning(Code::UnplacedMcp, "requests.pass".to_owned(), message).with_help(help)
    })
}

fn of_policy(config: &Config, policy: &Policy, document: &Value<'_>) -> Vec<Diagnostic> {
    let Some(text) = PolicyText::of(policy, document) else { return Vec::new() };
    let mut lint = Lint { policy, text, found: Vec::new() };
    text::lint(config, &mut lint);
    lint.everything();
    for section in policy.sections() {
        lint.lists_all(section);
        lint.reach(section);
        for entry in section.entries() {
            lint.entry(section, entry);
        }
    }
    limits::lint(&mut lint);
    callers::lint(config, &mut lint);
    approvals::lint(config, &mut lint);
    lint.found
}

/// A policy as it is written, and where it stands in its document.
pub(super) struct PolicyText<'d> {
    policy: &'d Value<'d>,
    name: Option<&'d str>,
    tools: HashMap<&'d str, &'d Value<'d>>,
}

struct Lint<'l> {
    policy: &'l Policy,
    text: PolicyText<'l>,
    found: Vec<Diagnostic>,
}

impl<'d> PolicyText<'d> {
    pub(super) fn of(policy: &Policy, document: &'d Value<'d>) -> Option<PolicyText<'d>> {
        let (written, name) = match document.as_object()?.get("policies") {
            None => (document, None),
            Some(policies) => {
                let member = policies.as_object()?.member(&policy.name)?;
                (&member.value, Some(&*member.key))
            }
        };
        let tools = written.as_object()?.get("tools").and_then(Value::as_object);
        let mut by_key = HashMap::new();
        for member in tools.iter().flat_map(|tools| &tools.0) {
            by_key.entry(&*member.key).or_insert(&member.value);
        }
        Some(PolicyText { policy: written, name, tools: by_key })
    }

    /// Whether an entry is there to name its tool: in the rules dialect, files list every tool, with `rules: []`.
    fn only_names(&self, section: &Section, key: &str) -> bool {
        let written = self.tools.get(key).filter(|_| section.kind == Kind::Tool);
        let entry = written.and_then(|written| written.as_object());
        entry.is_some_and(|entry| entry.get("rules") == Some(&Value::Array(Vec::new())))
    }

    /// The place that a JSON Pointer into the policy means; of its nearest parent where there is none.
    pub(super) fn place(&self, pointer: &str) -> String {
        let mut place = String::new();
        if let Some(name) = self.name {
            place.push_str("policies");
            push_key(&mut place, name);
        }
        let mut value = self.policy;
        for (depth, token) in pointer.split('/').skip(1).enumerate() {
            let key = unescaped(token);
            let inner = match value {
                // A policy can have thousands of tools.
                Value::Object(_) if depth == 1 && pointer.starts_with("/tools/") => {
                    self.tools.get(&*key).copied().inspect(|_| push_key(&mut place, &key))
                }
                Value::Object(object) => object.get(&key).inspect(|_| push_key(&mut place, &key)),
                Value::Array(items) => {
                    let item = key.parse().ok().and_then(|index: usize| items.get(index));
                    item.inspect(|_| place.push_str(&format!("[{key}]")))
                }
                Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => None,
            };
            let Some(inner) = inner else { break };
            value = inner;
        }
        place
    }
}

impl Lint<'_> {
    fn warn(&mut self, code: Code, pointer: &str, message: String, help: &str) {
        let diagnostic = Diagnostic::warning(code, self.text.place(pointer), message);
        self.found.push(diagnostic.with_help(help.to_owned()));
    }

    /// A policy that lets every call pass.
    fn everything(&mut self) {
        let policy = self.policy;
        let idle = policy.all_limits.is_empty()
            && policy.entries().all(is_free)
            && policy
                .sections()
                .all(|section| section.hide.is_empty() && section.default == DefaultAction::Allow);
        if idle && policy.mode == Mode::Enforce {
            let help =
                "set `default` to \"deny\" and list the tools that may be called, or add limits";
            self.warn(
                Code::AllowsEverything,
                "/default",
                "this allows every call".to_owned(),
                help,
            );
        }
    }

    /// An entry that takes all meaning from `default: deny`.
    fn lists_all(&mut self, section: &Section) {
        let rules = &self.policy.rules;
        for entry in section.entries() {
            let all =
                entry.lists() && entry.pattern.literal_chars() == 0 && entry.pattern.matches("x");
            if all && section.default == DefaultAction::Deny && is_free(entry) {
                let kind = section.kind.word();
                let message = format!("this lists every {kind}, and `default: deny` denies none");
                let help = format!("list {kind}s by name, or by a glob with some literal text");
                self.warn(Code::AllowsEverything, rules.pointer(entry.rule), message, &help);
            }
        }
    }

    /// Entries that no call can reach: hidden, unlisted, or denied by another one.
    fn reach(&mut self, section: &Section) {
        let rules = &self.policy.rules;
        let unlisted =
            section.default == DefaultAction::Deny && !section.entries().iter().any(Entry::lists);
        if unlisted {
            let kind = section.kind.word();
            let message = format!(
                "no entry lists a {kind}, and `default: deny` denies the rest: no call gets here"
            );
            let help = format!("list {kind}s by name or by glob; `*` alone does not list one");
            for entry in section.entries() {
                self.warn(Code::Unreachable, rules.pointer(entry.rule), message.clone(), &help);
            }
            if section.kind == Kind::Tool && !self.policy.all_limits.is_empty() {
                self.warn(Code::Unreachable, "/all_tools", message, &help);
            }
            return;
        }
        let (names, wild): (Vec<&Hidden>, Vec<&Hidden>) =
            section.hide.iter().partition(|hidden| matches!(hidden.pattern, Pattern::Exact(_)));
        let names: HashMap<String, &Hidden> =
            names.into_iter().map(|hidden| (hidden.pattern.to_string(), hidden)).collect();
        // An entry without wildcards is about one name, which no other entry is.
        let deniers: Vec<&Entry> = section
            .entries()
            .iter()
            .filter(|entry| entry.mode == Mode::Enforce && always_denies(entry).is_some())
            .filter(|entry| !matches!(entry.pattern, Pattern::Exact(_)))
            .take(MOST_COMPARED)
            .collect();
        for entry in section.entries() {
            let name = rules.label(entry.rule).to_owned();
            let stand_ins = stand_ins(&name);
            let by_glob = || {
                let mut wild = wild.iter().take(MOST_COMPARED);
                wild.find(|hidden| covers(&hidden.pattern, &stand_ins)).copied()
            };
            if let Some(hidden) = names.get(&name).copied().or_else(by_glob) {
                let place = self.text.place(rules.pointer(hidden.rule));
                let message = format!("`{name}` is hidden by {place}: no call gets to this entry");
                let help =
                    "what is hidden answers as if it did not exist; remove it here, or from `hide`";
                self.warn(Code::Unreachable, rules.pointer(entry.rule), message, help);
                continue;
            }
            if always_denies(entry).is_some() {
                continue;
            }
            if let Some(denier) = deniers.iter().find(|other| covers(&other.pattern, &stand_ins)) {
                let denier = rules.label(denier.rule);
                let message = format!("`{denier}` denies every call that this entry is about");
                let help = "all entries that match a call apply, and none undoes another's denial; narrow the other one";
                self.warn(Code::Unreachable, rules.pointer(entry.rule), message, help);
            }
        }
    }

    fn entry(&mut self, section: &Section, entry: &Entry) {
        let rules = &self.policy.rules;
        // What an entry in shadow denies, its limits count nevertheless.
        if let Some(by) = always_denies(entry).filter(|_| entry.mode == Mode::Enforce) {
            let later = entry.checks.iter().skip_while(|check| check.rule != by).skip(1);
            let checks: Vec<&Check> = if entry.action == Action::Deny {
                entry.checks.iter().collect()
            } else {
                later.collect()
            };
            let rest = checks.iter().map(|check| check.rule);
            let rest = rest.chain(entry.limits.iter().map(|limit| limit.rule));
            let mut seen = HashSet::from([by]);
            for rule in rest {
                if seen.insert(rule) {
                    let message =
                        "no call gets here: the entry denies every call before".to_owned();
                    let help = "remove it, or give what denies some conditions";
                    self.warn(Code::Unreachable, rules.pointer(rule), message, help);
                }
            }
        }
        let does =
            entry.action != Action::Allow || !entry.checks.is_empty() || !entry.limits.is_empty();
        if !does
            && section.default == DefaultAction::Allow
            && !self.text.only_names(section, rules.label(entry.rule))
        {
            let kind = section.kind.word();
            let message =
                format!("this entry does nothing: `default: allow` allows the {kind} anyway");
            let help = "remove it, or set `default` to \"deny\"";
            self.warn(Code::Redundant, rules.pointer(entry.rule), message, help);
        }
        if entry.mode == Mode::Shadow && self.policy.mode == Mode::Shadow {
            let pointer = format!("{}/mode", rules.pointer(entry.rule));
            let message = "the whole policy is in shadow already".to_owned();
            self.warn(Code::Redundant, &pointer, message, "leave it out");
        }
        if entry.decode != crate::matcher::terms::Decode::Unsaid && entry.paths.is_empty() {
            let pointer = format!("{}/decode_json_strings", rules.pointer(entry.rule));
            let message = "no condition of this entry looks at an argument".to_owned();
            self.warn(Code::Redundant, &pointer, message, "leave it out");
        }
        for check in &entry.checks {
            self.unanchored(check);
        }
    }

    fn unanchored(&mut self, check: &Check) {
        let rules = &self.policy.rules;
        for condition in &check.conditions {
            let Subject::Argument(path) = &condition.subject else { continue };
            let permits = (check.side() == Side::DenyIf) == condition.matcher.negated;
            if !permits || !text::names_a_path(path.text()) {
                continue;
            }
            let test = &condition.matcher.test;
            let loose = matches!(test, Test::Regex(regex) if !regex.is_anchored());
            // In a list, `contains` means an element.
            let piece = matches!(test, Test::Contains(Scalar::String(_)));
            let found = loose || (piece && !path.text().ends_with('s'));
            if found {
                let message = format!("this is met wherever it occurs in `{}`", path.text());
                let help = "begin the pattern with ^ (or use `starts_with`): `/tmp/x/data/` contains `/data/`";
                self.warn(
                    Code::Unanchored,
                    &condition_pointer(rules, check, condition),
                    message,
                    help,
                );
            }
        }
    }
}

/// Whether an entry lets every call pass.
fn is_free(entry: &Entry) -> bool {
    entry.action == Action::Allow
        && entry.checks.is_empty()
        && entry.limits.iter().all(|limit| limit.max.is_none())
}

/// The first rule of an entry that denies every call, if there is one.
fn always_denies(entry: &Entry) -> Option<RuleId> {
    if entry.action == Action::Deny {
        return Some(entry.action_rule);
    }
    entry.checks.iter().find(|check| check.denies_always()).map(|check| check.rule)
}

/// The pointer of a condition: of its rule, where conditions do not stand one for one in the document.
fn condition_pointer(rules: &Rules, check: &Check, condition: &Condition) -> String {
    let at = check.conditions.iter().position(|other| std::ptr::eq(other, condition));
    let one_for_one = rules.get(check.rule).is_some_and(|row| row.kind != RuleKind::Rule);
    let pointer = rules.pointer(check.rule);
    match at {
        Some(at) if one_for_one => format!("{pointer}/conditions/{at}"),
        Some(_) | None => pointer.to_owned(),
    }
}

/// Names that stand for all that a key, a name or a glob, matches: `*` as nothing, as one character, and as several.
fn stand_ins(key: &str) -> Vec<String> {
    let stand_in = |run: &str| key.replace('*', run).replace('?', "\u{1}");
    let runs = if key.contains('*') { &["", "\u{1}", "\u{1}\u{2}\u{1}\u{2}"][..] } else { &[""] };
    runs.iter().map(|run| stand_in(run)).filter(|name| !name.is_empty()).collect()
}

/// Whether a pattern matches every name that a key does.
fn covers(pattern: &Pattern, stand_ins: &[String]) -> bool {
    stand_ins.iter().all(|name| pattern.matches(name))
}
