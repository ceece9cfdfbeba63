//! A second evaluator of the policy language, written from `policies/README.md` alone.
//!
//! It is slow and naive on purpose: conditions are read from the JSON again at every call, numbers are
//! compared as digit strings, a window's count is the sum over every charge ever made. It shares no
//! code with the crate, so that the two agree only where both are right.
//! Not here: the strict front door, responses (`successes` counts as `attempts`), messages.

use std::cmp::{Ordering, Reverse};
use std::collections::{BTreeMap, BTreeSet};

use icu_normalizer::{ComposingNormalizerBorrowed, DecomposingNormalizerBorrowed};
use icu_properties::props::{DefaultIgnorableCodePoint, GeneralCategory};
use icu_properties::{CodePointMapData, CodePointSetData};
use regex::Regex;
use serde_json::{Number, Value};

use crate::corpus;

/// One request; `at_ms` never goes back.
pub(crate) struct Call<'a> {
    /// The method.
    pub(crate) method: &'a str,
    /// The parameters, or null.
    pub(crate) params: Value,
    /// The `authorization` value; empty for anonymous callers.
    pub(crate) caller: &'a str,
    /// Further headers, in lower case.
    pub(crate) headers: &'a [(String, String)],
    /// Milliseconds since the epoch.
    pub(crate) at_ms: u64,
}

impl<'a> Call<'a> {
    /// A call of a tool; `arguments` is an object, or null if the call has none.
    pub(crate) fn tool(tool: &str, arguments: &Value, caller: &'a str, at_ms: u64) -> Call<'a> {
        let params = serde_json::json!({"name": tool, "arguments": arguments});
        Call { method: "tools/call", params, caller, headers: &[], at_ms }
    }

    /// A call of the corpus.
    pub(crate) fn of(case: &'a corpus::Case) -> Call<'a> {
        let params = case.params.as_deref().unwrap_or("null");
        let params = serde_json::from_str(params).unwrap();
        let headers = &case.headers;
        Call { method: &case.method, params, caller: &case.caller, headers, at_ms: case.at }
    }
}

/// What becomes of a call; `reason` and `rule` only with a denial.
#[derive(Debug, PartialEq)]
pub(crate) struct Verdict {
    /// `allow` or `deny`.
    pub(crate) decision: &'static str,
    /// The reason as the reference names it.
    pub(crate) reason: Option<&'static str>,
    /// JSON Pointer to the line that denied.
    pub(crate) rule: Option<String>,
}

/// A valid policy and every charge that its calls made so far.
pub(crate) struct Oracle {
    policy: Value,
    charges: Vec<Charge>,
}

struct Charge {
    counter: String,
    caller: String,
    at: i64,
    millionths: u128,
}

struct Denial {
    reason: &'static str,
    rule: String,
}

/// One name that a request is about, with the section of the policy for its kind.
struct Subject<'p> {
    kind: &'static str,
    /// None where the name could be read in more than one way.
    name: Option<String>,
    arguments: Value,
    entries: Vec<(&'p str, &'p Value)>,
    default: &'p Value,
    hide: &'p Value,
    /// Pointers to the entries, and to what stands beside them.
    pointer: String,
    beside: String,
    /// The request does not ask for it, but refers to it.
    reference: bool,
}

/// An entry that matches a name, with the arguments as this entry reads them.
struct Entry<'p> {
    kind: &'static str,
    name: String,
    key: &'p str,
    body: &'p Value,
    pointer: String,
    shadow: bool,
    arguments: Value,
}

/// Step 2 of the order looks at arguments, step 4 at counters.
#[derive(Clone, Copy, PartialEq)]
enum Phase {
    Arguments,
    Counters,
}

impl Oracle {
    /// Starts counting from nothing under a policy that is already known to be valid.
    pub(crate) fn new(policy: Value) -> Self {
        Oracle { policy, charges: Vec::new() }
    }

    /// Decides one call and counts it if it passes.
    pub(crate) fn decide(&mut self, call: &Call<'_>) -> Verdict {
        let outcome = self.judge(call).map(|charges| self.charges.extend(charges));
        match outcome {
            Err(denial) if self.policy["mode"] != "shadow" => {
                Verdict { decision: "deny", reason: Some(denial.reason), rule: Some(denial.rule) }
            }
            _ => Verdict { decision: "allow", reason: None, rule: None },
        }
    }

    /// The page's section "Lists": whether a list shows this name of this kind.
    pub(crate) fn shows(&self, kind: &'static str, name: &str, call: &Call<'_>) -> bool {
        let name = &composed(name);
        let Some(subject) = self.subject(kind, Some(name.to_owned()), Value::Null, true) else {
            return true;
        };
        let listing = self.policy["tools_list"].as_str().unwrap_or("listed");
        let Err(denial) = admit_name(&subject, name) else {
            let entries = entries(&subject, name);
            let denies = |entry: &Entry<'_>| {
                let rules = list(&entry.body["rules"]).iter();
                !entry.shadow
                    && (denied_whatever(entry).is_err()
                        || self.denies_caller(entry, call)
                        || rules.into_iter().any(|rule| rule["action"] == "deny"))
            };
            return listing != "callable" || !entries.iter().any(denies);
        };
        match denial.reason {
            "name_not_exact" => {
                listing == "all" || (listing == "listed" && subject.default != "deny")
            }
            reason if reason.ends_with("_not_allowed") => listing == "all",
            _ => false,
        }
    }

    /// The page's section "In what order a call is decided", line by line.
    fn judge(&self, call: &Call<'_>) -> Result<Vec<Charge>, Denial> {
        let mut all = Vec::new();
        let mut called = Value::Null;
        // What is denied last, if nothing else is: somebody could approve it.
        let mut owed = None;
        for subject in self.subjects(call) {
            let Some(name) = &subject.name else {
                return deny("name_unreadable", String::new());
            };
            admit_name(&subject, name)?;
            let entries = entries(&subject, name);
            let enforced = || entries.iter().filter(|entry| !entry.shadow);
            if subject.reference {
                for entry in enforced() {
                    denied_whatever(entry)?;
                    assert!(!self.denies_caller(entry, call), "no row has this yet");
                }
                continue;
            }
            for entry in enforced() {
                self.check(entry, call, Phase::Arguments, &mut owed)?;
            }
            for entry in enforced() {
                if entry.body["action"] == "require_approval" && in_time(entry.body, call) {
                    self.owe(entry, format!("{}/action", entry.pointer), &mut owed)?;
                }
                self.questions(entry, call, Phase::Arguments, &mut owed)?;
            }
            if subject.kind == "tool" {
                called = subject.arguments.clone();
            }
            all.extend(entries);
        }
        for entry in all.iter().filter(|entry| !entry.shadow) {
            self.check(entry, call, Phase::Counters, &mut owed)?;
        }
        let for_all = if call.method == "tools/call" { self.all_tools() } else { Vec::new() };
        let charges = self.reserve(&all, for_all, &called, call)?;
        // Nobody is here to approve, and nothing is counted for what is not approved.
        owed.map_or(Ok(charges), Err)
    }

    /// The page's section "Approval": where an entry lets somebody approve, everything else is decided before.
    fn owe(
        &self,
        entry: &Entry<'_>,
        rule: String,
        owed: &mut Option<Denial>,
    ) -> Result<(), Denial> {
        let denial = Denial { reason: "approval_required", rule };
        if entry.body["approval"].is_null() || self.policy["mode"] == "shadow" {
            return Err(denial);
        }
        owed.get_or_insert(denial);
        Ok(())
    }

    fn questions(
        &self,
        entry: &Entry<'_>,
        call: &Call<'_>,
        phase: Phase,
        owed: &mut Option<Denial>,
    ) -> Result<(), Denial> {
        for (i, item) in list(&entry.body["ask_if"]).iter().enumerate() {
            let conditions = list(&item["conditions"]);
            let counts = conditions.iter().any(|c| due(c) == Phase::Counters);
            if counts != (phase == Phase::Counters) {
                continue;
            }
            let rule = format!("{}/ask_if/{i}", entry.pointer);
            let truth = all(conditions.iter().map(|c| self.truth(c, Site::DenyIf, entry, call)));
            match truth {
                Truth::True => self.owe(entry, rule, owed)?,
                Truth::Undecidable => return deny("value_undecidable", rule),
                Truth::False => {}
            }
        }
        Ok(())
    }

    /// The page's section "Methods, resources and prompts".
    fn subjects(&self, call: &Call<'_>) -> Vec<Subject<'_>> {
        let params = &call.params;
        let mut subjects = Vec::new();
        let mut ask = |kind, name: Option<String>, arguments: &Value, reference| {
            subjects.extend(self.subject(kind, name, arguments.clone(), reference));
        };
        let plain = |name: &Value| {
            name.as_str().filter(|name| !name.contains('\0') && name.len() <= 1024).map(composed)
        };
        let uri = |uri: &Value| uri.as_str().and_then(one_place);
        ask("method", plain(&call.method.into()), params, false);
        match call.method {
            "tools/call" => ask("tool", plain(&params["name"]), &params["arguments"], false),
            "prompts/get" if params.get("name").is_some() => {
                ask("prompt", plain(&params["name"]), &params["arguments"], false);
            }
            "resources/read" | "resources/subscribe" if params.get("uri").is_some() => {
                ask("resource", uri(&params["uri"]), params, false);
            }
            "completion/complete" => {
                let what = &params["ref"];
                match text(&what["type"]) {
                    "ref/prompt" if what["name"].is_string() => {
                        ask("prompt", plain(&what["name"]), &Value::Null, true);
                    }
                    "ref/resource" if what["uri"].is_string() => {
                        ask("resource", uri(&what["uri"]), &Value::Null, true);
                    }
                    _ => {
                        ask("prompt", None, &Value::Null, true);
                        ask("resource", None, &Value::Null, true);
                    }
                }
            }
            "subscriptions/listen" => {
                let uris = &params["notifications"]["resourceSubscriptions"];
                list(uris).iter().for_each(|each| ask("resource", uri(each), &Value::Null, true));
                if !uris.is_array() && !uris.is_null() {
                    ask("resource", None, &Value::Null, true);
                }
            }
            _ => {}
        }
        subjects
    }

    /// None where the policy says nothing of this kind.
    fn subject(
        &self,
        kind: &'static str,
        name: Option<String>,
        arguments: Value,
        reference: bool,
    ) -> Option<Subject<'_>> {
        let section = &self.policy[format!("{kind}s")];
        if kind == "tool" {
            let (default, hide) = (&self.policy["default"], &self.policy["hide"]);
            let entries = members(section).collect();
            let (pointer, beside) = ("/tools".to_owned(), String::new());
            return Some(Subject {
                kind,
                name,
                arguments,
                entries,
                default,
                hide,
                pointer,
                beside,
                reference,
            });
        }
        let own = |(key, value): &(&str, &Value)| {
            *key == "default" && value.is_string() || *key == "hide" && value.is_array()
        };
        let beside = |key: &str| members(section).find(|member| member.0 == key && own(member));
        let value = |key: &str| beside(key).map_or(&Value::Null, |(_, value)| value);
        let (default, hide) = (value("default"), value("hide"));
        let entries = members(section).filter(|member| !own(member)).collect();
        let pointer = format!("/{kind}s");
        let beside = pointer.clone();
        let subject =
            Subject { kind, name, arguments, entries, default, hide, pointer, beside, reference };
        section.is_object().then_some(subject)
    }

    fn check(
        &self,
        entry: &Entry<'_>,
        call: &Call<'_>,
        phase: Phase,
        owed: &mut Option<Denial>,
    ) -> Result<(), Denial> {
        let pointer = &entry.pointer;
        let timed = first_time_word(entry.body);
        let action = entry.body["action"].as_str().unwrap_or("allow");
        match (phase, action, timed, in_time(entry.body, call)) {
            (Phase::Arguments, "deny", None, _) => {
                return deny(reason(entry.kind, "denied"), format!("{pointer}/action"));
            }
            (Phase::Arguments, "deny", Some(_), true) => {
                return deny("denied_by_condition", format!("{pointer}/action"));
            }
            (Phase::Arguments, "allow", Some(word), false) => {
                return deny("requirement_not_met", format!("{pointer}/{word}"));
            }
            _ => {}
        }
        let read = |condition, site| self.truth(condition, site, entry, call);
        for (i, item) in list(&entry.body["require"]).iter().enumerate() {
            let conditions = list(&item["conditions"]).iter();
            let mine = conditions.filter(|c| due(c) == phase);
            let truth = all(mine.map(|c| read(c, Site::Require)));
            let rule = format!("{pointer}/require/{i}");
            refuse(truth.not(), "requirement_not_met", rule)?;
        }
        for (i, item) in list(&entry.body["deny_if"]).iter().enumerate() {
            let conditions = list(&item["conditions"]);
            // One that reads a counter is decided as a whole once counters are read.
            let counts = conditions.iter().any(|c| due(c) == Phase::Counters);
            if counts == (phase == Phase::Counters) {
                let truth = all(conditions.iter().map(|c| read(c, Site::DenyIf)));
                let rule = format!("{pointer}/deny_if/{i}");
                refuse(truth, "denied_by_condition", rule)?;
            }
        }
        if phase == Phase::Counters {
            self.questions(entry, call, phase, owed)?;
        }
        for (i, item) in list(&entry.body["rules"]).iter().enumerate() {
            let rule = format!("{pointer}/rules/{i}");
            if phase == Phase::Arguments && item["action"] == "deny" {
                return deny("tool_denied", rule);
            }
            let conditions = list(&item["conditions"]).iter();
            let mine = conditions.filter(|c| due(c) == phase && !is_own_limit(entry.key, item, c));
            let truth = all(mine.map(|c| read(c, Site::Require)));
            refuse(truth.not(), "requirement_not_met", rule)?;
        }
        Ok(())
    }

    fn truth(&self, condition: &Value, site: Site, entry: &Entry<'_>, call: &Call<'_>) -> Truth {
        let (op, wanted) = (text(&condition["op"]), &condition["value"]);
        if let Some(from) = condition["from"].as_str() {
            let owned = (
                self.beside(text(&condition["path"]), entry, call),
                self.beside(from, entry, call),
            );
            let first = fields(text(&condition["path"]), &owned.0, entry);
            let second = fields(from, &owned.1, entry);
            let each = first.iter().map(|first| pair(op, first, &second[0], site));
            return if condition["every"] == true { all(each) } else { any(each) };
        }
        if condition["path"] == "now" {
            let at = (
                time(call).div_euclid(1000),
                unpadded(&format!("{:03}", time(call).rem_euclid(1000))),
            );
            return match op {
                "during" => Truth::of(scheduled(at.0, wanted)),
                "not_during" => Truth::of(!scheduled(at.0, wanted)),
                _ => {
                    let order = at.cmp(&instants(text(wanted)).unwrap().remove(0));
                    Truth::of(match op {
                        "before" => order == Ordering::Less,
                        "not_before" => order != Ordering::Less,
                        "after" => order == Ordering::Greater,
                        _ => order != Ordering::Greater,
                    })
                }
            };
        }
        let now = call.at_ms.into();
        let wanted = if is_about_time(op) && wanted == "now" { &now } else { wanted };
        if let Some(found) = self.beside(text(&condition["path"]), entry, call) {
            let found = found.as_ref().map_or(Found::Absent, Found::Argument);
            return operate(op, wanted, &found, site);
        }
        let steps = steps(text(&condition["path"]));
        let found = match steps.as_slice() {
            [Step::Name(root), Step::Name(key), Step::Name(counter)] if root == "state" => {
                vec![Found::Count(count(self.read(key, counter, call)))]
            }
            [_args, rest @ ..] => find(&entry.arguments, rest),
            [] => panic!("empty path"),
        };
        if let Some(op) = op.strip_prefix("count_") {
            if found.iter().any(|found| matches!(found, Found::Misplaced)) {
                return Truth::Undecidable;
            }
            let there = found.iter().filter(|found| !matches!(found, Found::Absent)).count();
            return Truth::of(ordered(op, there, wanted));
        }
        let each = found.iter().map(|found| operate(op, wanted, found, site));
        if condition["every"] == true { all(each) } else { any(each) }
    }
}

impl Oracle {
    /// What a path finds that is no argument and no count; none where it is about something else.
    fn beside(&self, path: &str, entry: &Entry<'_>, call: &Call<'_>) -> Option<Option<Value>> {
        if path == entry.kind {
            return Some(Some(entry.name.clone().into()));
        }
        self.of_caller(path, call).map(|found| found.map(Value::from))
    }

    /// Whether an entry denies a caller whatever the arguments are, now or at any time.
    fn denies_caller(&self, entry: &Entry<'_>, call: &Call<'_>) -> bool {
        let mine = |condition: &Value| {
            let paths = [&condition["path"], &condition["from"]];
            let mut paths = paths.into_iter().filter_map(Value::as_str);
            let timed = condition["path"] == "now"
                || is_about_time(text(&condition["op"])) && condition["value"] == "now";
            !timed && paths.all(|path| path == entry.kind || path.starts_with("identity."))
        };
        let asserted = |item: &Value| {
            let conditions = list(&item["conditions"]).iter().filter(|c| mine(c));
            all(conditions.map(|c| self.truth(c, Site::Require, entry, call))) != Truth::True
        };
        let denied = |item: &Value| {
            let conditions = list(&item["conditions"]);
            conditions.iter().all(mine)
                && all(conditions.iter().map(|c| self.truth(c, Site::DenyIf, entry, call)))
                    != Truth::False
        };
        list(&entry.body["require"]).iter().any(asserted)
            || list(&entry.body["rules"]).iter().any(asserted)
            || list(&entry.body["deny_if"]).iter().any(denied)
    }
}

/// What a path leads to: what was found beside the arguments, or what the arguments have there.
fn fields<'a>(
    path: &str,
    beside: &'a Option<Option<Value>>,
    entry: &'a Entry<'_>,
) -> Vec<Found<'a>> {
    match beside {
        Some(found) => vec![found.as_ref().map_or(Found::Absent, Found::Argument)],
        None => find(&entry.arguments, steps(path).get(1..).unwrap()),
    }
}

fn admit_name(subject: &Subject<'_>, name: &str) -> Result<(), Denial> {
    let (kind, beside) = (subject.kind, &subject.beside);
    let hide: Vec<&str> = list(subject.hide).iter().map(text).collect();
    if let Some(i) = hide.iter().position(|pattern| glob(pattern, name)) {
        return deny(reason(kind, "hidden"), format!("{beside}/hide/{i}"));
    }
    let keys = || subject.entries.iter().map(|(key, _)| *key);
    let exact = |key: &str| !key.contains(['*', '?']);
    if !keys().any(|key| composed(key) == name) {
        // The other reading of a URI meets keys and globs that the first does not.
        let other = |text: &str| match kind {
            "resource" => other_reading(text),
            _ => text.to_owned(),
        };
        let alike = |key: &str| exact(key) && folded(&other(key)) == folded(&other(name));
        // What a lenient reader sees of a name meets globs that the name does not.
        let seen = |text: &str| match kind {
            "resource" => other_reading(text),
            _ => unveiled(text),
        };
        let globbed = |key: &str| {
            !exact(key) && key != "*" && !glob(key, name) && glob(&other(key), &seen(name))
        };
        let ways: [&dyn Fn(&str) -> bool; 2] = [&alike, &globbed];
        for meets in ways {
            if let Some(key) = keys().find(|key| meets(key)) {
                return deny("name_not_exact", format!("{}/{}", subject.pointer, escaped(key)));
            }
            if let Some(i) = hide.iter().position(|key| meets(key)) {
                return deny(reason(kind, "hidden"), format!("{beside}/hide/{i}"));
            }
        }
    }
    let listed = keys().any(|key| key != "*" && glob(key, name));
    if subject.default == "deny" && !listed {
        return deny(reason(kind, "not_allowed"), format!("{beside}/default"));
    }
    Ok(())
}

fn entries<'p>(subject: &Subject<'p>, name: &str) -> Vec<Entry<'p>> {
    let mut matching: Vec<_> =
        subject.entries.iter().copied().filter(|(key, _)| glob(key, name)).collect();
    matching.sort_by_key(|(key, _)| {
        let literal = key.chars().filter(|c| !"*?".contains(*c)).count();
        let class = if *key == "*" { 2 } else { u8::from(key.contains(['*', '?'])) };
        (class, Reverse(literal))
    });
    let mut entries = Vec::new();
    for (key, body) in matching {
        let pointer = format!("{}/{}", subject.pointer, escaped(key));
        let arguments = decoded(&subject.arguments, &body["decode_json_strings"]);
        let shadow = body["mode"] == "shadow";
        entries.push(Entry {
            kind: subject.kind,
            name: name.to_owned(),
            key,
            body,
            pointer,
            shadow,
            arguments,
        });
    }
    entries
}

/// Denials that come whatever the arguments are.
fn denied_whatever(entry: &Entry<'_>) -> Result<(), Denial> {
    let (kind, pointer) = (entry.kind, &entry.pointer);
    if entry.body["action"] == "deny" && first_time_word(entry.body).is_none() {
        return deny(reason(kind, "denied"), format!("{pointer}/action"));
    }
    let empty = |item: &Value| list(&item["conditions"]).is_empty();
    match list(&entry.body["deny_if"]).iter().position(empty) {
        Some(i) => deny("denied_by_condition", format!("{pointer}/deny_if/{i}")),
        None => Ok(()),
    }
}

fn reason(kind: &str, what: &str) -> &'static str {
    match (kind, what) {
        ("tool", "hidden") => "tool_hidden",
        ("tool", "not_allowed") => "tool_not_allowed",
        ("tool", _) => "tool_denied",
        ("resource", "hidden") => "resource_hidden",
        ("resource", "not_allowed") => "resource_not_allowed",
        ("resource", _) => "resource_denied",
        ("prompt", "hidden") => "prompt_hidden",
        ("prompt", "not_allowed") => "prompt_not_allowed",
        ("prompt", _) => "prompt_denied",
        (_, "hidden") => "rpc_method_hidden",
        (_, "not_allowed") => "rpc_method_not_allowed",
        (_, _) => "rpc_method_denied",
    }
}

// ---------------------------------------------------------------- URIs

/// The one spelling of a URI; none where two readers could take it for two places.
fn one_place(uri: &str) -> Option<String> {
    let parts =
        Regex::new(r"(?s)^([A-Za-z][A-Za-z0-9+.-]*):(?://([^/?]*))?([^?]*)(?:\?(.*))?$").unwrap();
    let parts = parts.captures(uri)?;
    let scheme = parts[1].to_lowercase();
    if uri.ends_with(':') || uri.contains(['#', '\\']) || uri.len() > 8192 {
        return None;
    }
    let known = KNOWN.contains(&&*scheme);
    let path = unescaped(&parts[3], " ?#*")?;
    let query = match parts.get(4) {
        Some(query) => format!("?{}", unescaped(query.as_str(), " ?#*&=+;")?),
        None => String::new(),
    };
    let host = match parts.get(2) {
        Some(host) => Some(one_host(&scheme, host.as_str())?),
        None if scheme == "file" && path.starts_with('/') => Some(String::new()),
        None if known => return None,
        None => None,
    };
    let place = path.strip_prefix('/').unwrap_or(&path);
    let mut segments: Vec<&str> = place.split('/').collect();
    if segments.last() == Some(&"") {
        segments.pop();
    }
    let odd = |segment: &&str| {
        segment.is_empty() || Regex::new(r"^\.\.?(;|$)").unwrap().is_match(segment)
    };
    if segments.iter().any(odd) {
        return None;
    }
    match (&*scheme, host) {
        ("file", Some(_)) => {
            let drive = Regex::new(r"^/[A-Za-z]\|(/|$)").unwrap().is_match(&path);
            let fine = query.is_empty() && !path.ends_with('/') && !drive;
            (fine && !path.is_empty()).then(|| format!("file://{path}"))
        }
        (_, Some(host)) if known && path.is_empty() => Some(format!("{scheme}://{host}/{query}")),
        (_, Some(host)) => Some(format!("{scheme}://{host}{path}{query}")),
        (_, None) => Some(format!("{scheme}:{path}{query}")),
    }
}

/// The schemes of which everybody knows that they name a host.
const KNOWN: [&str; 6] = ["file", "http", "https", "ws", "wss", "ftp"];

/// What stands between `//` and the path: a user in some schemes, a host, a port that is not the default.
fn one_host(scheme: &str, text: &str) -> Option<String> {
    let known = KNOWN.contains(&scheme);
    let reserved = "!\"#$%&'()*+,/:;<=>?@[\\]^`{|} ";
    let plain = "-._~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    let kept = if known { reserved.to_owned() } else { format!("{reserved}{plain}") };
    let text = unescaped(text, &kept)?;
    let shape = r"^(?:([-._~0-9A-Za-z]+)@)?(\[[0-9A-Fa-f:.]+\]|[^:\[\]@%]*)(?::(0|[1-9][0-9]{0,4}|\{.*\})?)?$";
    let parts = Regex::new(shape).unwrap().captures(&text)?;
    let (user, mut host) = (parts.get(1), parts[2].to_owned());
    if scheme == "file" {
        return ["", "localhost"].contains(&&*text.to_lowercase()).then(String::new);
    }
    if let Some(address) = host.strip_prefix('[') {
        let address: std::net::Ipv6Addr = address.trim_end_matches(']').parse().ok()?;
        host = format!("[{address}]");
    } else if known {
        host = host.to_lowercase();
        let last = host.rsplit('.').next().unwrap_or_default();
        let numbers: Vec<&str> = host.split('.').collect();
        let byte = |part: &&str| part.parse::<u8>().is_ok_and(|byte| byte.to_string() == **part);
        let address = numbers.len() == 4 && numbers.iter().all(byte);
        let numeric = last.starts_with("0x") || last.bytes().all(|byte| byte.is_ascii_digit());
        if !host.is_ascii() || last.is_empty() || host.starts_with('.') || numeric && !address {
            return None;
        }
    }
    if user.is_some() && known || host.is_empty() && text.contains(['@', ':']) {
        return None;
    }
    let default = match scheme {
        "http" | "ws" => "80",
        "https" | "wss" => "443",
        "ftp" => "21",
        _ => "",
    };
    let port = match parts.get(3).map(|port| port.as_str()) {
        Some(port) if port.parse::<u32>().is_ok_and(|port| port > 65535) => return None,
        Some(port) if port != default => format!(":{port}"),
        _ => String::new(),
    };
    let user = user.map_or(String::new(), |user| format!("{}@", user.as_str()));
    Some(format!("{user}{host}{port}"))
}

/// What less exact servers read: hosts of any scheme without case, no user, a drive in lower case, no path for the path `/`.
fn other_reading(uri: &str) -> String {
    let Some(parts) = Regex::new(r"(?s)^([^:]*)://([^/]*)(/.*)?$").unwrap().captures(uri) else {
        return uri.to_owned();
    };
    let (host, path) = (&parts[2], parts.get(3).map_or("", |path| path.as_str()));
    let query = if path.is_empty() { host.find('?').unwrap_or(host.len()) } else { host.len() };
    let (host, query) = host.split_at(query);
    let host = host.rsplit('@').next().unwrap_or_default().to_lowercase();
    let path = match path {
        "/" if !KNOWN.contains(&&parts[1]) => String::new(),
        path if &parts[1] == "file" && Regex::new("^/[A-Za-z]:(/|$)").unwrap().is_match(path) => {
            let (letter, rest) = path.split_at(2);
            format!("{}{rest}", letter.to_lowercase())
        }
        path => path.to_owned(),
    };
    format!("{}://{}{query}{path}", &parts[1], composed(&host))
}

/// Without escapes, but for those of the characters that are kept.
fn unescaped(text: &str, kept: &str) -> Option<String> {
    let escape = Regex::new("%(..)?").unwrap();
    let mut bytes = Vec::new();
    let mut end = 0;
    for found in escape.captures_iter(text) {
        let whole = found.get(0).unwrap();
        bytes.extend_from_slice(&text.as_bytes()[end..whole.start()]);
        end = whole.end();
        let digits = found.get(1)?.as_str();
        if !digits.chars().all(|digit| digit.is_ascii_hexdigit()) {
            return None;
        }
        let byte = u8::from_str_radix(digits, 16).unwrap();
        if b"/\\%".contains(&byte) || byte.is_ascii_control() {
            return None;
        }
        if byte.is_ascii() && kept.contains(char::from(byte)) {
            bytes.extend_from_slice(whole.as_str().to_uppercase().as_bytes());
        } else {
            bytes.push(byte);
        }
    }
    bytes.extend_from_slice(&text.as_bytes()[end..]);
    let text = String::from_utf8(bytes).ok()?;
    let odd = |c: char| c.is_whitespace() || invisible(c);
    (!text.contains(odd)).then(|| composed(&text).replace('*', "%2A"))
}

// ---------------------------------------------------------------- callers

impl Oracle {
    /// What a path about the caller or the headers finds; none where the path is about something else.
    fn of_caller(&self, path: &str, call: &Call<'_>) -> Option<Option<String>> {
        if let Some(name) = path.strip_prefix("header.") {
            return Some(header(call, name).map(str::to_owned));
        }
        let identity = &self.policy["identity"];
        match path.strip_prefix("identity.")? {
            "grant" => Some(first(&identity["grant"], call)),
            key => Some(first(&identity["keys"][key], call)),
        }
    }

    /// Whose count a limit of this scope counts: of two callers with the same answer, or of two.
    fn counted(&self, scope: &str, call: &Call<'_>) -> String {
        let identity = &self.policy["identity"];
        match scope {
            // Here everybody comes from nowhere.
            "global" | "address" => String::new(),
            "grant" | "session" if identity["grant"].is_null() => one_spelling(call.caller),
            "grant" | "session" => format!("{:?}", first(&identity["grant"], call)),
            key => format!("{:?}", first(&identity["keys"][key], call)),
        }
    }
}

/// The first of these sources that yields a name. Of sources, the corpus has headers and credentials.
fn first(sources: &Value, call: &Call<'_>) -> Option<String> {
    let alone = std::slice::from_ref(sources);
    let mut sources = sources.as_array().map_or(alone, Vec::as_slice).iter();
    sources.find_map(|source| {
        let of_header = |name: &str| header(call, name).filter(|name| !name.is_empty());
        match (source["header"].as_str(), source["credential"].as_str()) {
            (Some(name), _) => of_header(name).map(str::to_owned),
            (None, Some("authorization")) => (!call.caller.is_empty())
                .then(|| format!("a credential: {}", one_spelling(call.caller))),
            (None, name) => of_header(name.unwrap()).map(|value| format!("a credential: {value}")),
        }
    })
}

fn header<'a>(call: &Call<'a>, name: &str) -> Option<&'a str> {
    let mut all = call.headers.iter();
    let found = all.find(|(known, _)| *known == name.to_lowercase());
    found.map(|(_, value)| value.trim_matches([' ', '\t']))
}

// ---------------------------------------------------------------- limits

/// One line that counts calls; `max` is absent where a rule counts without a limit.
struct Limit<'p> {
    counter: String,
    name: &'p str,
    window: Value,
    scope: &'p str,
    /// `fixed`, `sliding` or `bucket`.
    algorithm: &'p str,
    /// What comes back to a bucket in the length of a window, in millionths.
    refill: u128,
    max: Option<(Decimal, bool)>,
    increment: &'p Value,
    increment_from: &'p Value,
    pointer: String,
    /// The limit as it stands in `limits`; nothing where it is another's short form.
    written: &'p Value,
}

impl Oracle {
    /// Step 5: what the call is to be charged, or the first limit that has no room.
    fn reserve(
        &self,
        entries: &[Entry<'_>],
        for_all: Vec<Limit<'_>>,
        called: &Value,
        call: &Call<'_>,
    ) -> Result<Vec<Charge>, Denial> {
        let mut limits = Vec::new();
        for entry in entries {
            let mine = limits_of(entry.key, entry.body, &entry.pointer).into_iter();
            limits.extend(mine.map(|limit| (limit, &entry.arguments, entry.shadow)));
        }
        limits.extend(for_all.into_iter().map(|limit| (limit, called, false)));
        // What is in flight when a call comes is over here: calls come one after the other.
        limits.retain(|(limit, ..)| {
            in_time(limit.written, call) && limit.written["concurrent"].is_null()
        });
        let mut priced = Vec::new();
        for (limit, arguments, shadow) in limits {
            let doubtful = limit.written["per"] == "call" && unequal(arguments).is_none();
            match limit.amount(arguments) {
                _ if doubtful && shadow => {}
                _ if doubtful => return deny("value_undecidable", limit.pointer),
                Some(millionths) => priced.push((limit, millionths, shadow)),
                None if shadow => {}
                None => return deny("invalid_increment", limit.pointer),
            }
        }
        let mut charges: Vec<Charge> = Vec::new();
        for (limit, _, shadow) in &priced {
            let sharing = || priced.iter().filter(|(other, _, _)| other.counter == limit.counter);
            let millionths = sharing().map(|(_, amount, _)| *amount).max().unwrap();
            let used = self.used(limit, call);
            if !limit.fits(used, millionths) && !shadow {
                return deny("limit_reached", limit.pointer.clone());
            }
            // A counter that is full for a shadow entry stays as it is, unless others count there.
            let counted = sharing().any(|(_, _, shadow)| !shadow)
                || sharing().all(|(other, _, _)| other.fits(used, millionths));
            let known = charges.iter().any(|charge| charge.counter == limit.counter);
            if counted && !known {
                charges.push(Charge {
                    counter: limit.counter.clone(),
                    caller: self.whose(limit, call),
                    at: time(call),
                    millionths,
                });
            }
        }
        Ok(charges)
    }

    fn all_tools(&self) -> Vec<Limit<'_>> {
        native_limits(&self.policy["all_tools"]["limits"], "/all_tools")
    }

    /// What `state.<key>.<counter>` reads before this call is counted.
    fn read(&self, key: &str, counter: &str, call: &Call<'_>) -> u128 {
        let global = key == "_global";
        let key = if global { "*" } else { key };
        let mut limits = limits_of(key, &self.policy["tools"][key], "");
        limits.extend(self.all_tools().into_iter().filter(|_| global));
        let limit = limits.into_iter().find(|limit| limit.name == counter);
        limit.map_or(0, |limit| self.used(&limit, call))
    }

    fn used(&self, limit: &Limit<'_>, call: &Call<'_>) -> u128 {
        let sum = |(start, end): (i64, i64)| -> u128 {
            let all = self.charges.iter();
            let counted = all.filter(|charge| charge.counter == limit.counter);
            let caller = self.whose(limit, call);
            let mine = counted.filter(|charge| charge.caller == caller);
            let within = mine.filter(|charge| (start..end).contains(&charge.at));
            within.fold(0, |sum, charge| sum.saturating_add(charge.millionths))
        };
        let now = time(call);
        let (start, end) = window(&limit.window, now);
        if limit.algorithm == "bucket" {
            return self.in_bucket(limit, call, u128::from((end - start).unsigned_abs()));
        }
        if limit.written["per"] == "name" {
            // As many names as there are beside this one.
            let caller = format!("{} called ", self.counted(limit.scope, call));
            let own = self.whose(limit, call);
            let charges = self.charges.iter().filter(|charge| charge.counter == limit.counter);
            let within = charges.filter(|charge| (start..end).contains(&charge.at));
            let others = within.map(|charge| &charge.caller).filter(|name| **name != own);
            let names: BTreeSet<_> = others.filter(|name| name.starts_with(&caller)).collect();
            return names.len() as u128 * 1_000_000;
        }
        let mut used = sum((start, end));
        if limit.algorithm == "sliding" && start > 0 {
            let previous = sum(window(&limit.window, start - 1));
            let (rest, length) = ((end - now).unsigned_abs(), (end - start).unsigned_abs());
            let share = previous.saturating_mul(u128::from(rest)).div_ceil(u128::from(length));
            used = used.saturating_add(share);
        }
        used
    }

    /// Whose count a call goes to: a caller's, or a part of it.
    fn whose(&self, limit: &Limit<'_>, call: &Call<'_>) -> String {
        let caller = self.counted(limit.scope, call);
        let name = composed(text(&call.params["name"]));
        match limit.written["per"].as_str() {
            None => caller,
            Some("name") => format!("{caller} called {name}"),
            Some(_) => {
                let arguments = unequal(&call.params["arguments"]).unwrap_or_default();
                format!("{caller} called {name} with {arguments}")
            }
        }
    }

    /// What is missing in a bucket, to which `max` comes back in the length of a window, bit by bit: in millionths, rounded up.
    fn in_bucket(&self, limit: &Limit<'_>, call: &Call<'_>, length: u128) -> u128 {
        let caller = self.counted(limit.scope, call);
        let counted = self.charges.iter();
        let mine =
            counted.filter(|charge| (&charge.counter, &charge.caller) == (&limit.counter, &caller));
        // Millionths times the length, of which a millisecond brings back what a window brings in millionths.
        let (mut missing, mut at) = (0u128, 0);
        for (then, millionths) in
            mine.map(|charge| (charge.at, charge.millionths)).chain([(time(call), 0)])
        {
            let back = limit.refill.saturating_mul((then - at).max(0).unsigned_abs().into());
            missing =
                missing.saturating_sub(back).saturating_add(millionths.saturating_mul(length));
            at = then;
        }
        missing.div_ceil(length)
    }
}

impl Limit<'_> {
    /// What a call with these arguments costs, in millionths; none is `invalid_increment`.
    fn amount(&self, arguments: &Value) -> Option<u128> {
        if self.increment_from.is_null() {
            let increment = Decimal::of(self.increment);
            return Some(increment.map_or(1_000_000, |number| number.millionths()));
        }
        let steps = steps(text(self.increment_from));
        let [Found::Argument(value)] = find(arguments, steps.get(1..)?)[..] else {
            return None;
        };
        let number = Decimal::of(value)?;
        (number.is_exact() && !number.negative).then(|| number.millionths())
    }

    /// Whether a count may grow by so much.
    fn fits(&self, used: u128, millionths: u128) -> bool {
        let after = count(used.saturating_add(millionths));
        self.max.as_ref().is_none_or(|(max, inclusive)| {
            after.cmp(max) == Ordering::Less || *inclusive && after.cmp(max) == Ordering::Equal
        })
    }
}

/// A text that is another for each other value, however values are written; none where a number stands for several. No arguments are as
/// an empty object.
fn unequal(value: &Value) -> Option<String> {
    if value.is_null() { Some("{}".to_owned()) } else { unequal_within(value) }
}

fn unequal_within(value: &Value) -> Option<String> {
    Some(match value {
        Value::Number(_) => {
            let number = Decimal::of(value)?;
            let Decimal { negative, digits, exponent } = &number;
            number.is_exact().then(|| format!("{negative}/{digits}/{exponent}"))?
        }
        Value::Array(items) => {
            let items: Option<Vec<String>> = items.iter().map(unequal_within).collect();
            format!("{:?}", items?)
        }
        Value::Object(members) => {
            let members = members.iter().map(|(key, value)| Some((key, unequal_within(value)?)));
            let members: Option<BTreeMap<&String, String>> = members.collect();
            format!("{:?}", members?)
        }
        Value::Null | Value::Bool(_) | Value::String(_) => value.to_string(),
    })
}

fn limits_of<'p>(key: &str, body: &'p Value, pointer: &str) -> Vec<Limit<'p>> {
    let mut limits = native_limits(&body["limits"], pointer);
    let own = format!("{pointer}/rate_limit");
    limits.extend(rate_limit(&body["rate_limit"], own, "grant"));
    for (i, rule) in list(&body["rules"]).iter().enumerate() {
        let pointer = format!("{pointer}/rules/{i}");
        limits.extend(rate_limit(&rule["rate_limit"], pointer.clone(), "global"));
        let state = &rule["state"];
        let Some(name) = state["counter"].as_str() else {
            continue;
        };
        let conditions = list(&rule["conditions"]).iter();
        let own = conditions.filter(|c| is_own_limit(key, rule, c));
        let mut maxima: Vec<_> = own.map(|c| bound(&c["value"], c["op"] == "lte")).collect();
        if maxima.is_empty() {
            maxima.push(None);
        }
        limits.extend(maxima.into_iter().map(|max| Limit {
            counter: format!("of {key}: {name}"),
            name,
            window: state["window"].clone(),
            scope: state["scope"].as_str().unwrap_or("global"),
            algorithm: "fixed",
            refill: 0,
            max,
            increment: &state["increment"],
            increment_from: &state["increment_from"],
            pointer: pointer.clone(),
            written: &Value::Null,
        }));
    }
    limits
}

fn native_limits<'p>(limits: &'p Value, pointer: &str) -> Vec<Limit<'p>> {
    let limit = |(i, limit): (usize, &'p Value)| Limit {
        counter: format!("pool: {}", text(&limit["counter"])),
        name: text(&limit["counter"]),
        window: limit["window"].clone(),
        scope: limit["scope"].as_str().unwrap_or("grant"),
        algorithm: limit["algorithm"].as_str().unwrap_or("fixed"),
        refill: Decimal::of(&limit["max"]).map_or(0, |max| max.millionths()),
        // A bucket holds `burst`, or `max` where that is not said.
        max: bound(if limit["burst"].is_null() { &limit["max"] } else { &limit["burst"] }, true),
        increment: &limit["increment"],
        increment_from: &limit["increment_from"],
        pointer: format!("{pointer}/limits/{i}"),
        written: limit,
    };
    list(limits).iter().enumerate().map(limit).collect()
}

fn rate_limit<'p>(spec: &Value, pointer: String, scope: &'p str) -> Option<Limit<'p>> {
    let (max, window) = match spec.as_str().and_then(|spec| spec.split_once('/')) {
        Some((max, window)) => (serde_json::from_str(max).unwrap(), window.into()),
        None if spec.is_null() => return None,
        None => (spec["max"].clone(), spec["window"].clone()),
    };
    Some(Limit {
        counter: format!("own: {pointer}"),
        name: "",
        window,
        scope,
        algorithm: "fixed",
        refill: 0,
        max: bound(&max, true),
        increment: &Value::Null,
        increment_from: &Value::Null,
        pointer,
        written: &Value::Null,
    })
}

fn bound(value: &Value, inclusive: bool) -> Option<(Decimal, bool)> {
    Some((Decimal::of(value)?, inclusive))
}

/// A `lt` or `lte` condition on the rule's own counter.
fn is_own_limit(key: &str, rule: &Value, condition: &Value) -> bool {
    let key = if key == "*" { "_global" } else { key };
    let own = ["state", key, text(&rule["state"]["counter"])];
    let own = own.map(|step| Step::Name(step.to_owned()));
    ["lt", "lte"].contains(&text(&condition["op"])) && steps(text(&condition["path"])) == own
}

/// Start and end, in milliseconds, of the window that `at` lies in.
fn window(spec: &Value, at: i64) -> (i64, i64) {
    const DAY: i64 = 86_400_000;
    let aligned = |length: i64, offset: i64| {
        let start = (at - offset).div_euclid(length) * length + offset;
        (start, start + length)
    };
    let Some(name) = spec.as_str() else {
        return aligned(spec.as_i64().unwrap() * 1000, 0);
    };
    match name {
        "second" => aligned(1000, 0),
        "minute" => aligned(60_000, 0),
        "hour" => aligned(3_600_000, 0),
        "day" => aligned(DAY, 0),
        // 1970-01-01 was a Thursday, the Monday after it was the 5th.
        "week" => aligned(7 * DAY, 4 * DAY),
        "month" => {
            let mut start = 0;
            for month in 0.. {
                let end = start + days_in_month(1970 + month / 12, month % 12 + 1) * DAY;
                if at < end {
                    return (start, end);
                }
                start = end;
            }
            panic!("time has no end")
        }
        other => {
            let (amount, unit) = other.split_at(other.len() - 1);
            let seconds = match unit {
                "s" => 1,
                "m" => 60,
                "h" => 3600,
                _ => panic!("no such window: {other}"),
            };
            aligned(amount.parse::<i64>().unwrap() * seconds * 1000, 0)
        }
    }
}

fn days_in_month(year: i64, month: i64) -> i64 {
    match month {
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

fn time(call: &Call<'_>) -> i64 {
    call.at_ms.try_into().unwrap()
}

// ---------------------------------------------------------------- conditions

#[derive(Clone, Copy, Debug, PartialEq)]
enum Truth {
    True,
    False,
    Undecidable,
}

/// Where a condition stands, which decides what an absent value means; rules are `Require`.
#[derive(Clone, Copy, PartialEq)]
enum Site {
    Require,
    DenyIf,
}

#[derive(Debug, PartialEq)]
enum Step {
    Name(String),
    Index(usize),
    Any,
}

/// What stands at the end of a path; `Misplaced` when a step met a value that it cannot enter.
enum Found<'a> {
    Absent,
    Misplaced,
    Argument(&'a Value),
    Count(Decimal),
}

impl Truth {
    fn of(holds: bool) -> Truth {
        if holds { Truth::True } else { Truth::False }
    }

    fn not(self) -> Truth {
        match self {
            Truth::True => Truth::False,
            Truth::False => Truth::True,
            Truth::Undecidable => Truth::Undecidable,
        }
    }
}

fn all(truths: impl Iterator<Item = Truth>) -> Truth {
    any(truths.map(Truth::not)).not()
}

fn any(truths: impl Iterator<Item = Truth>) -> Truth {
    let truths: Vec<Truth> = truths.collect();
    if truths.contains(&Truth::True) {
        Truth::True
    } else if truths.contains(&Truth::Undecidable) {
        Truth::Undecidable
    } else {
        Truth::False
    }
}

fn refuse(denied: Truth, reason: &'static str, rule: String) -> Result<(), Denial> {
    match denied {
        Truth::True => deny(reason, rule),
        Truth::Undecidable => deny("value_undecidable", rule),
        Truth::False => Ok(()),
    }
}

/// In which step a condition is looked at.
fn due(condition: &Value) -> Phase {
    match steps(text(&condition["path"])).first() {
        Some(Step::Name(root)) if root == "state" => Phase::Counters,
        _ => Phase::Arguments,
    }
}

fn steps(path: &str) -> Vec<Step> {
    let mut steps = Vec::new();
    let mut rest = path;
    while !rest.is_empty() {
        if rest.starts_with("[\"") {
            let (_, quoted) = rest.split_at(1);
            let mut reader = serde_json::Deserializer::from_str(quoted).into_iter::<String>();
            steps.push(Step::Name(reader.next().unwrap().unwrap()));
            let (_, after) = quoted.split_at(reader.byte_offset());
            rest = after.strip_prefix(']').unwrap();
        } else if let Some(bracket) = rest.strip_prefix('[') {
            let (index, after) = bracket.split_once(']').unwrap();
            steps.push(index.parse().map_or(Step::Any, Step::Index));
            rest = after;
        } else {
            rest = rest.strip_prefix('.').unwrap_or(rest);
            let (name, after) = rest.split_at(rest.find(['.', '[']).unwrap_or(rest.len()));
            steps.push(Step::Name(name.to_owned()));
            rest = after;
        }
    }
    steps
}

fn find<'a>(value: &'a Value, steps: &[Step]) -> Vec<Found<'a>> {
    static NULL: Value = Value::Null;
    if value.is_null() {
        return vec![Found::Absent];
    }
    let Some((step, rest)) = steps.split_first() else {
        let twice = value == TWICE;
        return vec![if twice { Found::Misplaced } else { Found::Argument(value) }];
    };
    let (map, list) = (value.as_object(), value.as_array());
    let inner: Option<Vec<&Value>> = match step {
        Step::Name(name) => map.map(|map| vec![map.get(name).unwrap_or(&NULL)]),
        Step::Index(i) => list.map(|list| vec![list.get(*i).unwrap_or(&NULL)]),
        Step::Any => list.map(|list| list.iter().collect()),
    };
    let Some(inner) = inner else {
        return vec![Found::Misplaced];
    };
    if inner.is_empty() {
        return vec![Found::Absent];
    }
    inner.into_iter().flat_map(|value| find(value, rest)).collect()
}

fn operate(op: &str, wanted: &Value, found: &Found<'_>, site: Site) -> Truth {
    match found {
        Found::Misplaced => return Truth::Undecidable,
        Found::Absent => {
            let negated = op == "neq" || op.starts_with("not_");
            let holds = op == "exists" && wanted == false || negated && site == Site::DenyIf;
            return Truth::of(holds);
        }
        Found::Argument(_) | Found::Count(_) => {}
    }
    if let Some(opposite) = op.strip_prefix("not_") {
        return operate(opposite, wanted, found, site).not();
    }
    match op {
        "exists" => Truth::of(wanted == true),
        "eq" => equal(wanted, found),
        "neq" => equal(wanted, found).not(),
        "in" => any(list(wanted).iter().map(|member| equal(member, found))),
        "lt" | "lte" | "gt" | "gte" => {
            let Some(number) = found.number() else {
                return Truth::Undecidable;
            };
            let order = number.cmp(&Decimal::of(wanted).unwrap());
            Truth::of(match op {
                "lt" => order == Ordering::Less,
                "lte" => order != Ordering::Greater,
                "gt" => order == Ordering::Greater,
                _ => order != Ordering::Less,
            })
        }
        "contains" if found.list().is_some() => {
            let elements = found.list().unwrap().iter();
            let present = elements.filter(|element| !element.is_null());
            any(present.map(|element| equal(wanted, &Found::Argument(element))))
        }
        "regex" | "glob" | "starts_with" | "ends_with" | "contains" => {
            let (Some(value), Some(wanted)) = (found.text(), wanted.as_str()) else {
                return Truth::Undecidable;
            };
            let wanted = &composed(wanted);
            in_both_forms(value, |value| match op {
                "regex" => Regex::new(wanted).unwrap().is_match(value),
                "glob" => glob(wanted, value),
                "starts_with" => value.starts_with(wanted),
                "ends_with" => value.ends_with(wanted),
                _ => value.contains(wanted),
            })
        }
        "length_lte" | "length_gte" | "length_eq" => long(op, wanted, found),
        "host_in" | "cidr" | "path_under" => placed(op, wanted, found),
        time if is_about_time(time) => timed(op, wanted, found),
        "during" => {
            let Some(times) = found.text().and_then(instants) else { return Truth::Undecidable };
            unanimous(times.iter().map(|time| scheduled(time.0, wanted)).collect())
        }
        _ => panic!("no such operator: {op}"),
    }
}

/// The first of the words that say when an entry or a limit holds.
fn first_time_word(body: &Value) -> Option<&'static str> {
    ["during", "not_before", "not_after"].into_iter().find(|word| !body[word].is_null())
}

/// The page's section "When": whether an entry or a limit holds at the time of the call.
fn in_time(body: &Value, call: &Call<'_>) -> bool {
    let millis = |written: &Value| {
        let (seconds, fraction) = instants(text(written)).unwrap().remove(0);
        // Finer than a millisecond nobody looks.
        (seconds, format!("{fraction:0<3}"))
    };
    let now = (time(call).div_euclid(1000), format!("{:03}", time(call).rem_euclid(1000)));
    (body["during"].is_null() || scheduled(now.0, &body["during"]))
        && (body["not_before"].is_null() || millis(&body["not_before"]) <= now)
        && (body["not_after"].is_null() || now <= millis(&body["not_after"]))
}

/// Minutes that a clock is ahead of UTC: as it is written, or as another reader of the time zone database says (`tests/zones.py`).
fn ahead(zone: &str, second: i64) -> i64 {
    let written = Regex::new("^([+-])([0-9]{2}):([0-9]{2})$").unwrap();
    if let Some(found) = written.captures(zone) {
        let minutes = found[2].parse::<i64>().unwrap() * 60 + found[3].parse::<i64>().unwrap();
        return if &found[1] == "-" { -minutes } else { minutes };
    }
    if zone == "UTC" {
        return 0;
    }
    let rows = include_str!("../data/zones.tsv").lines().map(|row| row.split('\t').collect());
    let rows = rows.filter(|row: &Vec<&str>| row[0] == zone);
    let mut before = rows.filter(|row| row[1].parse::<i64>().unwrap() <= second);
    before.next_back().expect("a zone and a time of tests/data/zones.tsv")[2].parse().unwrap()
}

/// Whether a second since 1970 lies in these hours, minute by minute of the week.
fn scheduled(second: i64, wanted: &Value) -> bool {
    let offset = ahead(wanted["timezone"].as_str().unwrap_or("UTC"), second);
    // Weeks begin with the Monday before 1970, three days earlier.
    let minute = (second + offset * 60 + 3 * 86_400).div_euclid(60).rem_euclid(7 * 1440);
    let (day, minute) = (minute / 1440, minute % 1440);
    let names = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];
    let place = |name: &str| names.iter().position(|known| *known == name).unwrap();
    let is_day = |written: &str| match written.split_once('-') {
        None => place(written) == usize::try_from(day).unwrap(),
        Some((first, last)) => {
            let week = names.iter().cycle().skip(place(first));
            let run: Vec<&str> =
                week.copied().take((place(last) + 7 - place(first)) % 7 + 1).collect();
            run.contains(&names[usize::try_from(day).unwrap()])
        }
    };
    let clock = format!("{:02}:{:02}", minute / 60, minute % 60);
    let within = |written: &str| {
        let (start, end) = written.split_once('-').unwrap();
        start <= &*clock && &*clock < end
    };
    let days = wanted["days"].as_array();
    let hours = wanted["hours"].as_array();
    days.is_none_or(|days| days.iter().map(text).any(is_day))
        && hours.is_none_or(|hours| hours.iter().map(text).any(within))
}

fn timed(op: &str, wanted: &Value, found: &Found<'_>) -> Truth {
    let Some(found) = found.text().and_then(instants) else { return Truth::Undecidable };
    // The call's own time is a number of milliseconds.
    let wanted = match wanted.as_i64() {
        Some(now) => (now / 1000, unpadded(&format!("{:03}", now % 1000))),
        None => instants(text(wanted)).unwrap().remove(0),
    };
    let order = if op == "before" { Ordering::Less } else { Ordering::Greater };
    let readings = || found.iter().map(|reading| Truth::of(reading.cmp(&wanted) == order));
    let agreed = readings().all(|truth| Some(truth) == readings().next());
    if agreed { readings().next().unwrap() } else { Truth::Undecidable }
}

fn long(op: &str, wanted: &Value, found: &Found<'_>) -> Truth {
    let op = op.strip_prefix("length_").unwrap();
    if let Some(list) = found.list() {
        return Truth::of(ordered(op, list.len(), wanted));
    }
    let Some(text) = found.text() else { return Truth::Undecidable };
    let lengths = [text.to_owned(), composed(text)]
        .map(|text| [text.chars().count(), text.encode_utf16().count()]);
    unanimous(lengths.concat().into_iter().map(|length| ordered(op, length, wanted)).collect())
}

fn placed(op: &str, wanted: &Value, found: &Found<'_>) -> Truth {
    let Some(text) = found.text() else { return Truth::Undecidable };
    let holds = |text: &str| match op {
        "host_in" => match host_of(text) {
            None => Truth::Undecidable,
            Some(host) => hosted(&host, wanted),
        },
        "cidr" => match lone_address(text) {
            None => Truth::Undecidable,
            Some(bits) => addressed(&bits, wanted),
        },
        _ => under(text, wanted.as_str().unwrap()),
    };
    let (came, normal) = (holds(text), holds(&composed(text)));
    if came == normal { came } else { Truth::Undecidable }
}

fn ordered(op: &str, found: usize, wanted: &Value) -> bool {
    let wanted = usize::try_from(wanted.as_u64().unwrap()).unwrap();
    match op {
        "lte" => found <= wanted,
        "gte" => found >= wanted,
        _ => found == wanted,
    }
}

// ---------------------------------------------------------------- hosts, networks, folders

/// The host of a URL in lower case, without the brackets of an address; none where two readers could find two.
fn host_of(url: &str) -> Option<String> {
    if url.contains(|c: char| c.is_whitespace() || c == '\\' || invisible(c)) {
        return None;
    }
    let shape = r"(?i)^(?:https?|wss?|ftp)://(?:\[([0-9a-f:.]+)\]|((?:[a-z0-9_-]+\.)*[a-z0-9_-]+))(?::([1-9][0-9]{0,4}))?(?:/.*)?$";
    let found = Regex::new(shape).unwrap().captures(url)?;
    let port: u32 = found.get(3).map_or(1, |port| port.as_str().parse().unwrap());
    if port > 65535 {
        return None;
    }
    if let Some(address) = found.get(1) {
        return Some(address.as_str().to_lowercase()).filter(|text| text.contains(':'));
    }
    let name = found[2].to_lowercase();
    let numeric = Regex::new(r"(^|\.)([0-9]+|0x[^.]*)$").unwrap().is_match(&name);
    let address = name.parse::<std::net::Ipv4Addr>().is_ok();
    (name.len() <= 253 && (address || !numeric)).then_some(name)
}

fn hosted(host: &str, wanted: &Value) -> Truth {
    if host.contains(':') || host.parse::<std::net::Ipv4Addr>().is_ok() {
        let wanted: Vec<Value> = list(wanted)
            .iter()
            .map(|wanted| text(wanted).trim_matches(['[', ']']))
            .filter(|wanted| {
                !wanted.contains(|c: char| c.is_ascii_alphabetic())
                    || wanted.contains(':')
                    || WORDS.contains(wanted)
            })
            .map(Value::from)
            .collect();
        return lone_address(host)
            .map_or(Truth::Undecidable, |bits| addressed(&bits, &wanted.into()));
    }
    Truth::of(list(wanted).iter().map(|wanted| text(wanted).to_lowercase()).any(|wanted| {
        match wanted.strip_prefix('*') {
            Some(tail) => host.ends_with(tail),
            None if wanted == "loopback" => host == "localhost" || host.ends_with(".localhost"),
            None => host == wanted,
        }
    }))
}

const WORDS: [&str; 3] = ["private", "loopback", "link_local"];

/// The bits of an address, behind the number of its family; none for texts that are no address, or for one that holds another.
fn lone_address(text: &str) -> Option<String> {
    let bits = bits(text)?;
    let held =
        ["64:ff9b::/96", "64:ff9b:1::/48", "2002::/16", "2001::/32", "::/96", "::ffff:0:0:0/96"];
    let alone = ["::", "::1"].map(|text| self::bits(text).unwrap()).contains(&bits);
    (alone || !held.iter().any(|range| within(&bits, range))).then_some(bits)
}

fn bits(text: &str) -> Option<String> {
    let mapped = |address: std::net::Ipv6Addr| match address.octets() {
        [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 255, 255, a, b, c, d] => ("4", vec![a, b, c, d]),
        octets => ("6", octets.to_vec()),
    };
    let (family, octets) = match text.parse::<std::net::IpAddr>().ok()? {
        std::net::IpAddr::V4(address) => ("4", address.octets().to_vec()),
        std::net::IpAddr::V6(address) => mapped(address),
    };
    let octets: String = octets.iter().map(|octet| format!("{octet:08b}")).collect();
    Some(format!("{family}{octets}"))
}

fn within(bits: &str, range: &str) -> bool {
    let (address, length) = range.split_once('/').unwrap_or((range, "128"));
    let network = self::bits(address).unwrap();
    let length = length.parse::<usize>().unwrap().min(network.len() - 1);
    bits.chars().zip(network.chars()).take(length + 1).all(|(one, other)| one == other)
}

fn addressed(bits: &str, wanted: &Value) -> Truth {
    let words = |word: &str| match word {
        "private" => vec!["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7"],
        "loopback" => vec!["127.0.0.0/8", "::1"],
        "link_local" => vec!["169.254.0.0/16", "fe80::/10"],
        _ => vec![],
    };
    let wanted: Vec<&str> = list(wanted).iter().map(text).collect();
    let named = wanted.iter().any(|word| WORDS.contains(word));
    let ranges = wanted.iter().filter(|word| !WORDS.contains(word)).copied();
    if ranges.into_iter().any(|range| within(bits, range)) {
        return Truth::True;
    }
    if named && !bits.contains('1') {
        return Truth::Undecidable;
    }
    Truth::of(wanted.iter().flat_map(|word| words(word)).any(|range| within(bits, range)))
}

/// The segments of an absolute path that has one reading.
fn plain_path(path: &str) -> Option<Vec<String>> {
    if path == "/" {
        return Some(Vec::new());
    }
    let odd = Regex::new(r"[\\%\x{2024}-\x{2026}\x{fe19}\x{fe30}\x{fe52}\x{ff0e}\x{ff61}\x{3002}\x{2044}\x{2215}\x{29f8}\x{ff0f}\x{2216}\x{29f5}\x{fe68}\x{ff3c}]").unwrap();
    if odd.is_match(path) || path.contains(|c: char| c != ' ' && c.is_whitespace() || invisible(c))
    {
        return None;
    }
    let path = path.strip_prefix('/')?;
    let segments: Vec<String> =
        path.strip_suffix('/').unwrap_or(path).split('/').map(str::to_owned).collect();
    let cut = Regex::new(r"^$|^;|[. ]$|^[^;]*[. ];").unwrap();
    (!segments.iter().any(|segment| cut.is_match(segment))).then_some(segments)
}

fn under(path: &str, folder: &str) -> Truth {
    let (Some(path), Some(folder)) = (plain_path(path), plain_path(folder)) else {
        return Truth::Undecidable;
    };
    let alike = |path: &[String], folder: &[String]| {
        path.len() >= folder.len() && path.iter().zip(folder).all(|(one, other)| one == other)
    };
    if alike(&path, &folder) {
        return Truth::True;
    }
    let folds = |segments: &[String]| {
        segments.iter().map(|segment| folded(&format!("x{segment}x"))).collect::<Vec<_>>()
    };
    if alike(&folds(&path), &folds(&folder)) { Truth::Undecidable } else { Truth::False }
}

/// A field against a field: neither is the author's, so each is doubted.
fn pair(op: &str, first: &Found<'_>, second: &Found<'_>, site: Site) -> Truth {
    match (first, second) {
        (Found::Misplaced, _) => return Truth::Undecidable,
        (Found::Absent, _) => {
            let negated = op == "neq" || op.starts_with("not_");
            return Truth::of(negated && site == Site::DenyIf);
        }
        (_, Found::Absent | Found::Misplaced) => return Truth::Undecidable,
        _ => {}
    }
    if let Some(opposite) = op.strip_prefix("not_") {
        return pair(opposite, first, second, site).not();
    }
    let (one, other) = (first.argument().unwrap(), second.argument().unwrap());
    let each = |list: &Vec<Value>, of: &Value| {
        any(list.iter().filter(|item| !item.is_null()).map(|item| same(item, of)))
    };
    match op {
        "eq" => same(one, other),
        "neq" => same(one, other).not(),
        "in" => other.as_array().map_or(Truth::Undecidable, |list| each(list, one)),
        "contains" if one.is_array() => each(one.as_array().unwrap(), other),
        "contains" => piece(one, other, |text, piece| text.contains(piece)),
        "path_under" => piece_truth(one, other, |path, folder| {
            if plain_path(folder).is_none() { Truth::Undecidable } else { under(path, folder) }
        }),
        "starts_with" => piece(one, other, |text, piece| text.starts_with(piece)),
        "ends_with" => piece(one, other, |text, piece| text.ends_with(piece)),
        "lt" | "lte" | "gt" | "gte" => {
            let (Some(one), Some(other)) = (first.number(), second.number()) else {
                return Truth::Undecidable;
            };
            let order = one.cmp(&other);
            Truth::of(match op {
                "lt" => order == Ordering::Less,
                "lte" => order != Ordering::Greater,
                "gt" => order == Ordering::Greater,
                _ => order != Ordering::Less,
            })
        }
        "before" | "after" => {
            let times = |value: &Value| value.as_str().and_then(instants);
            let (Some(one), Some(other)) = (times(one), times(other)) else {
                return Truth::Undecidable;
            };
            let wanted = if op == "before" { Ordering::Less } else { Ordering::Greater };
            let orders = one.iter().flat_map(|a| other.iter().map(move |b| a.cmp(b) == wanted));
            unanimous(orders.collect())
        }
        _ => panic!("no such pairing: {op}"),
    }
}

/// What all say, if they say the same.
fn unanimous(answers: Vec<bool>) -> Truth {
    let agreed = answers.iter().all(|answer| *answer == answers[0]);
    if agreed { Truth::of(answers[0]) } else { Truth::Undecidable }
}

fn in_all_forms(one: &str, other: &str, holds: impl Fn(&str, &str) -> bool) -> Truth {
    let forms = |text: &str| [text.to_owned(), composed(text)];
    let (ones, others) = (forms(one), forms(other));
    let answers = ones.iter().flat_map(|one| others.iter().map(|other| holds(one, other)));
    unanimous(answers.collect())
}

fn piece_truth(text: &Value, piece: &Value, holds: impl Fn(&str, &str) -> Truth) -> Truth {
    let (Some(text), Some(piece)) = (text.as_str(), piece.as_str()) else {
        return Truth::Undecidable;
    };
    if text == TWICE || piece == TWICE || piece.is_empty() {
        return Truth::Undecidable;
    }
    let plainly = holds(text, piece);
    let forms = |text: &str| [text.to_owned(), composed(text)];
    let (texts, pieces) = (forms(text), forms(piece));
    let mut all = texts.iter().flat_map(|text| pieces.iter().map(move |piece| (text, piece)));
    if all.all(|(text, piece)| holds(text, piece) == plainly) {
        plainly
    } else {
        Truth::Undecidable
    }
}

fn piece(text: &Value, piece: &Value, holds: impl Fn(&str, &str) -> bool) -> Truth {
    match (text.as_str(), piece.as_str()) {
        // Everything has nothing as its piece.
        (Some(TWICE), _) | (_, Some(TWICE | "")) => Truth::Undecidable,
        (Some(text), Some(piece)) => in_all_forms(text, piece, holds),
        _ => Truth::Undecidable,
    }
}

fn same(one: &Value, other: &Value) -> Truth {
    match (one, other) {
        (Value::Bool(one), Value::Bool(other)) => Truth::of(one == other),
        (Value::Number(_), Value::Number(_)) => {
            let numbers = [one, other].map(|value| Decimal::of(value).filter(Decimal::is_exact));
            match numbers {
                [Some(one), Some(other)] => Truth::of(one.cmp(&other) == Ordering::Equal),
                _ => Truth::Undecidable,
            }
        }
        (Value::String(one), Value::String(other)) if one != TWICE && other != TWICE => {
            in_all_forms(one, other, |one, other| one == other)
        }
        _ => Truth::Undecidable,
    }
}

fn is_about_time(op: &str) -> bool {
    ["before", "after", "not_before", "not_after"].contains(&op)
}

/// Seconds since 1970, and the digits of the fraction.
type Instant = (i64, String);

/// The instants for which readers take a time of RFC 3339: one, or two for a leap second; none if it is no such time.
fn instants(text: &str) -> Option<Vec<Instant>> {
    let form = Regex::new(
        r"^([0-9]{4})-([0-9]{2})-([0-9]{2})[Tt]([0-9]{2}):([0-9]{2}):([0-9]{2})(\.[0-9]+)?(?:[Zz]|([-+][0-9]{2}):([0-9]{2}))$",
    );
    let found = form.unwrap().captures(text)?;
    let part = |i: usize| found.get(i).map_or(0, |part| part.as_str().parse::<i64>().unwrap());
    let [year, month, day, hour, minute, second] = [1, 2, 3, 4, 5, 6].map(part);
    let behind = found.get(8).is_some_and(|sign| sign.as_str().starts_with('-'));
    let (ahead, minutes) = (part(8).abs(), part(9));
    let offset = if behind { -1 } else { 1 } * (ahead * 60 + minutes) * 60;
    let exists = (1..=12).contains(&month) && (1..=days_in_month(year, month)).contains(&day);
    if !exists || hour > 23 || minute > 59 || second > 60 || ahead > 23 || minutes > 59 {
        return None;
    }
    let at = (days_since_1970(year, month) + day - 1) * 86_400 + hour * 3600 + minute * 60 - offset;
    let digits = unpadded(found.get(7).map_or("", |part| part.as_str()).trim_start_matches('.'));
    if second < 60 {
        return Some(vec![(at + second, digits)]);
    }
    let mut months =
        (year - 1..=year + 1).flat_map(|year| (1..=12).map(move |month| (year, month)));
    let ends = months.any(|(year, month)| days_since_1970(year, month) * 86_400 == at + 60);
    ends.then(|| vec![(at + 59, String::new()), (at + 60, digits)])
}

fn unpadded(digits: &str) -> String {
    digits.trim_end_matches('0').to_owned()
}

/// Days from 1970 to the first of a month, counted year by year.
fn days_since_1970(year: i64, month: i64) -> i64 {
    let of_year = |year: i64| (1..=12).map(|month| days_in_month(year, month)).sum::<i64>();
    let years: i64 = if year < 1970 {
        -(year..1970).map(of_year).sum::<i64>()
    } else {
        (1970..year).map(of_year).sum()
    };
    years + (1..month).map(|month| days_in_month(year, month)).sum::<i64>()
}

/// A text is compared as it came and in normal form C: nobody knows which the server takes.
fn in_both_forms(text: &str, holds: impl Fn(&str) -> bool) -> Truth {
    let (came, normal) = (holds(text), holds(&composed(text)));
    if came == normal { Truth::of(came) } else { Truth::Undecidable }
}

fn equal(wanted: &Value, found: &Found<'_>) -> Truth {
    if found.text() == Some(TWICE) {
        return Truth::Undecidable;
    }
    if let (Some(wanted), Some(number)) = (Decimal::of(wanted), found.number()) {
        return Truth::of(number.cmp(&wanted) == Ordering::Equal);
    }
    if let (Some(wanted), Some(text)) = (wanted.as_str(), found.text()) {
        return in_both_forms(text, |text| text == composed(wanted));
    }
    if let (Some(wanted), Some(boolean)) = (wanted.as_bool(), found.boolean()) {
        return Truth::of(boolean == wanted);
    }
    Truth::Undecidable
}

impl Found<'_> {
    fn argument(&self) -> Option<&Value> {
        match self {
            Found::Argument(value) => Some(value),
            Found::Absent | Found::Misplaced | Found::Count(_) => None,
        }
    }

    fn text(&self) -> Option<&str> {
        self.argument()?.as_str()
    }

    fn boolean(&self) -> Option<bool> {
        self.argument()?.as_bool()
    }

    fn list(&self) -> Option<&Vec<Value>> {
        self.argument()?.as_array()
    }

    /// The number that stands here, if it is one that can be compared without guessing.
    fn number(&self) -> Option<Decimal> {
        if let Found::Count(count) = self {
            return Some(count.clone());
        }
        Decimal::of(self.argument()?).filter(Decimal::is_exact)
    }
}

// ---------------------------------------------------------------- numbers

/// ±`digits` × 10^`exponent`, with neither leading nor trailing zeros; zero has no digits.
#[derive(Clone, Debug)]
struct Decimal {
    negative: bool,
    digits: String,
    exponent: i64,
}

impl Decimal {
    fn of(value: &Value) -> Option<Decimal> {
        Some(Decimal::parse(&value.as_number()?.to_string()))
    }

    fn parse(number: &str) -> Decimal {
        let lower = number.to_lowercase();
        let (mantissa, written) = lower.split_once('e').unwrap_or((&lower, "0"));
        // What is beyond ±10^9 is as far beyond ±290 as that.
        let written = written.parse::<f64>().unwrap().clamp(-1e9, 1e9) as i64;
        let unsigned = mantissa.trim_start_matches('-');
        let (whole, fraction) = unsigned.split_once('.').unwrap_or((unsigned, ""));
        let all = format!("{whole}{fraction}");
        let kept = all.trim_end_matches('0');
        let digits = kept.trim_start_matches('0').to_owned();
        let exponent = written - length(fraction) + length(&all) - length(kept);
        Decimal {
            negative: mantissa.starts_with('-') && !digits.is_empty(),
            exponent: if digits.is_empty() { 0 } else { exponent },
            digits,
        }
    }

    /// Whether doubles keep this number apart from its neighbours.
    fn is_exact(&self) -> bool {
        let size = length(&self.digits);
        let small_integer = || match usize::try_from(self.exponent) {
            Ok(zeros) if zeros <= 16 => self.whole(zeros) <= 1 << 53,
            _ => false,
        };
        let near = (size - 1 + self.exponent).abs() <= 290;
        size == 0 || near && (size <= 15 || small_integer())
    }

    /// The number times a million, rounded up; its sign is left out.
    fn millionths(&self) -> u128 {
        if self.digits.is_empty() {
            return 0;
        }
        match usize::try_from(self.exponent + 6) {
            Ok(zeros) if zeros < 40 => self.whole(zeros),
            Ok(_) => u128::MAX,
            Err(_) => {
                let dropped = usize::try_from(-(self.exponent + 6)).unwrap();
                let kept = self.digits.len().saturating_sub(dropped);
                let whole: String = self.digits.chars().take(kept).collect();
                whole.parse().unwrap_or(0) + 1
            }
        }
    }

    fn whole(&self, zeros: usize) -> u128 {
        let digits = format!("{}{}", self.digits, "0".repeat(zeros));
        digits.parse().unwrap_or(u128::MAX)
    }

    fn cmp(&self, other: &Decimal) -> Ordering {
        // Both with the smaller exponent and the same number of digits: then digits compare as text.
        let exponent = self.exponent.min(other.exponent);
        let wide = |number: &Decimal| {
            let zeros = usize::try_from(number.exponent - exponent).unwrap();
            format!("{}{}", number.digits, "0".repeat(zeros))
        };
        let (mine, others) = (wide(self), wide(other));
        let size = mine.len().max(others.len());
        let magnitude = format!("{mine:0>size$}").cmp(&format!("{others:0>size$}"));
        match (self.negative, other.negative) {
            (false, false) => magnitude,
            (true, true) => magnitude.reverse(),
            (true, false) => Ordering::Less,
            (false, true) => Ordering::Greater,
        }
    }
}

/// A count in millionths as a number.
fn count(millionths: u128) -> Decimal {
    Decimal::parse(&format!("{millionths}e-6"))
}

fn length(digits: &str) -> i64 {
    digits.len().try_into().unwrap()
}

// ---------------------------------------------------------------- names and JSON

fn glob(pattern: &str, text: &str) -> bool {
    fn matches(pattern: &[char], text: &[char]) -> bool {
        match (pattern, text) {
            ([], _) => text.is_empty(),
            (['*', rest @ ..], _) => (0..=text.len()).any(|n| matches(rest, &text[n..])),
            (['?', rest @ ..], [_, after @ ..]) => matches(rest, after),
            ([c, rest @ ..], [d, after @ ..]) => c == d && matches(rest, after),
            (_, []) => false,
        }
    }
    let chars = |text: &str| composed(text).chars().collect::<Vec<char>>();
    matches(&chars(pattern), &chars(text))
}

/// A text in normal form C, by another library than the engine's.
fn composed(text: &str) -> String {
    ComposingNormalizerBorrowed::new_nfc().normalize(text).into_owned()
}

/// A name without invisible characters, outer white space and full-width forms, decomposed.
fn shown(name: &str) -> String {
    let narrow = |c: char| match u32::from(c) {
        wide @ 0xFF01..=0xFF5E => char::from_u32(wide - 0xFEE0).unwrap(),
        _ => c,
    };
    let shown: String = name.chars().filter(|c| c.is_whitespace() || !invisible(*c)).collect();
    let apart = DecomposingNormalizerBorrowed::new_nfd();
    apart.normalize(shown.trim()).chars().map(narrow).filter(|c| !invisible(*c)).collect()
}

fn unveiled(name: &str) -> String {
    composed(&shown(name))
}

/// The same without case.
fn folded(name: &str) -> String {
    let mut name = shown(name);
    for _ in 0..2 {
        // Character by character: the last sigma of a word is no other letter.
        name = name.to_uppercase().chars().flat_map(char::to_lowercase).collect();
    }
    composed(&name)
}

/// Control characters, format characters, and what Unicode calls default-ignorable.
fn invisible(c: char) -> bool {
    c.is_control()
        || CodePointSetData::new::<DefaultIgnorableCodePoint>().contains(c)
        || CodePointMapData::<GeneralCategory>::new().get(c) == GeneralCategory::Format
}

/// Stands for a string that servers read in two ways.
const TWICE: &str = "\0twice";

/// The arguments as `decode_json_strings` says, or unless it says anything.
fn decoded(arguments: &Value, decode: &Value) -> Value {
    let mut arguments = arguments.clone();
    if decode.is_null() {
        mark(&mut arguments);
    }
    let map = arguments.as_object_mut().filter(|_| decode == true);
    for value in map.into_iter().flat_map(|map| map.values_mut()) {
        let Some(json) = value.as_str().filter(|text| is_json(text)) else { continue };
        // With a repeated key nobody knows what the server reads.
        *value = match serde_json::from_str::<Value>(json) {
            Ok(inner) if colons(json) == keys(&inner) => inner,
            _ => TWICE.into(),
        };
    }
    arguments
}

fn mark(value: &mut Value) {
    match value {
        Value::String(text) if is_json(text) => *value = TWICE.into(),
        Value::Array(items) => items.iter_mut().for_each(mark),
        Value::Object(map) => map.values_mut().for_each(mark),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// Whether some reader of JSON takes this for an object, an array or null: rewritten from the inside out until nothing is left.
fn is_json(text: &str) -> bool {
    let blank = |c: char| c.is_whitespace() || c.is_control() || c == '\u{FEFF}';
    let text = text.trim_matches(blank);
    let tokens = Regex::new(
        r#"(?s)"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'|//[^\n]*|/\*.*?\*/|[\s\x00-\x1f\x7f-\x{9f}\x{feff}]+|[#"']"#,
    )
    .unwrap();
    let mut rest = tokens
        .replace_all(text, |token: &regex::Captures<'_>| match &token[0] {
            "#" | "\"" | "'" => "!",
            quoted if quoted.starts_with(['"', '\'']) => "\"",
            _ => " ",
        })
        .trim()
        .to_owned();
    if rest == "null" || !rest.starts_with(['[', '{']) {
        return rest == "null";
    }
    let number = r"0[xX][0-9a-fA-F]+|(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?";
    let value =
        format!(r#"(?:["\#]|[+-]?(?:(?i:true|false|null|nan|infinity|undefined)|{number}))"#);
    let list = format!(r"\[ ?(?:{value}(?: ?, ?{value})* ?,? ?)?\]");
    let member = format!(r#"(?:"|[a-zA-Z0-9_$]+|[^\x00-\x7f]+) ?: ?{value}"#);
    let map = format!(r"\{{ ?(?:{member}(?: ?, ?{member})* ?,? ?)?\}}");
    let inner = Regex::new(&format!("{list}|{map}")).unwrap();
    loop {
        let next = inner.replace_all(&rest, "#").into_owned();
        if next == rest {
            return rest == "#";
        }
        rest = next;
    }
}

/// How many colons stand outside of the strings of a JSON text: one for each key.
fn colons(json: &str) -> usize {
    let (mut within, mut escape, mut colons) = (false, false, 0);
    for c in json.chars() {
        match c {
            _ if escape => escape = false,
            '\\' => escape = true,
            '"' => within = !within,
            ':' if !within => colons += 1,
            _ => {}
        }
    }
    colons
}

fn keys(value: &Value) -> usize {
    let inner: usize = members(value).map(|(_, value)| keys(value)).sum();
    members(value).count() + inner + list(value).iter().map(keys).sum::<usize>()
}

fn members(value: &Value) -> impl Iterator<Item = (&str, &Value)> {
    let map = value.as_object().into_iter().flatten();
    map.map(|(key, value)| (key.as_str(), value))
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn escaped(key: &str) -> String {
    key.replace('~', "~0").replace('/', "~1")
}

fn deny<T>(reason: &'static str, rule: String) -> Result<T, Denial> {
    Err(Denial { reason, rule })
}

/// A credential however its scheme, white space and padding are written. The corpus has opaque tokens only.
fn one_spelling(credential: &str) -> String {
    let words: Vec<&str> = credential.split_whitespace().collect();
    assert!(words.len() < 3, "no caller has this spelling: {credential}");
    words.last().map_or(String::new(), |token| token.trim_end_matches('=').to_owned())
}

#[test]
fn uris_have_one_spelling() {
    for (uri, expected) in [
        ("FILE:/a%20b/%c3%a9%28*", "file:///a%20b/é(%2A"),
        ("http://Example.com:80", "http://example.com/"),
        ("http://[::0:1]:8080/?a=%2b%41", "http://[::1]:8080/?a=%2BA"),
        ("memo://Cafe\u{301}:/x/", "memo://Café/x/"),
        ("db://u@[0::1]:1/x", "db://u@[::1]:1/x"),
        ("urn:isbn:1", "urn:isbn:1"),
    ] {
        assert_eq!(one_place(uri).as_deref(), Some(expected));
    }
    for uri in [
        "file://x/a",
        "file:///a/",
        "db://x:01/a",
        "http://a./",
        "memo://%61/",
        "file:///c|/x",
        "http:a",
        "http://1.2.3/",
        "a:b//c",
        "a:%ff",
        "a:",
        "x",
    ] {
        assert_eq!(one_place(uri), None, "{uri}");
    }
}

#[test]
fn numbers_compare_as_written() {
    let rows = [
        ("0", "-0.0", Ordering::Equal),
        ("1e2", "100.0", Ordering::Equal),
        ("0.1", "0.10000000000000001", Ordering::Less),
        ("-2", "-10", Ordering::Greater),
        ("-1", "1e-9", Ordering::Less),
        ("9007199254740993", "9007199254740992", Ordering::Greater),
        ("1E-7", "0", Ordering::Greater),
        ("123.5e-2", "1.235", Ordering::Equal),
    ];
    for (a, b, order) in rows {
        let number = |text: &str| text.parse::<Number>().unwrap().to_string();
        let found = Decimal::parse(&number(a)).cmp(&Decimal::parse(&number(b)));
        assert_eq!(found, order, "{a} and {b}");
    }
}

#[test]
fn increments_round_up_to_a_millionth() {
    let rows = [
        ("0", 0),
        ("2.5", 2_500_000),
        ("1e-7", 1),
        ("0.0000011", 2),
        ("123.4567891", 123_456_790),
        ("1e300", u128::MAX),
    ];
    for (number, millionths) in rows {
        assert_eq!(Decimal::parse(number).millionths(), millionths, "{number}");
    }
}

#[test]
fn oracle_agrees_with_the_corpus() {
    let mut wrong = Vec::new();
    for row in corpus::rows() {
        let mut oracle = Oracle::new(row.policy);
        for (i, case) in row.calls.iter().enumerate() {
            let verdict = oracle.decide(&Call::of(case));
            let expect = &case.expect;
            let same = verdict.decision == expect.decision
                && verdict.reason == expect.reason.as_deref()
                && verdict.rule == expect.rule;
            if !same {
                let place = format!("{}: {}, call {i}", row.file, row.name);
                wrong.push(format!("{place}: {verdict:?}, expected {expect:?}"));
            }
        }
    }
    let lines = wrong.join("\n");
    assert!(wrong.is_empty(), "{} calls:\n{lines}", wrong.len());
}
