//! What the compiler writes down of a policy on its way: its rules, and the counters that its limits share.

use std::collections::HashSet;

use sha2::{Digest as _, Sha256};

use crate::language::diagnostic::Code;
use crate::language::reader::{Place, Reader};
use crate::mcp::call::Kind;
use crate::policy::entry::{CountIn, NamedCounter, Scope};
use crate::policy::rules::{RuleId, RuleKind, RuleRow, Rules};
use crate::rate::algorithm::Algorithm;
use crate::rate::limiter::Counter;
use crate::rate::table::{CounterId, Per};
use crate::rate::window::Window;

/// The tool key under which a state path names the counters of `"*"` and of all tools.
pub(super) const GLOBAL: &str = "_global";

/// What is known of a policy on the way: its rules, and every counter with the place where it was first named.
pub(super) struct Book {
    pub(super) rules: Rules,
    prefix: String,
    rows: Vec<CounterRow>,
    /// Tool and counter of what was refused and reported; without a counter, any of the tool's.
    refused: Vec<(String, Option<String>)>,
}

struct CounterRow {
    key: String,
    first: Place,
    counter: NamedCounter,
    /// The tool keys whose `state.<tool key>.<name>` means this counter.
    readers: Vec<String>,
}

/// What makes two limits share a count.
pub(super) struct Share {
    pub(super) key: String,
    pub(super) name: String,
    pub(super) window: Window,
    pub(super) scope: Scope,
    pub(super) algorithm: Algorithm,
    pub(super) count_in: CountIn,
    pub(super) per: Per,
    pub(super) tool: String,
}

/// What limits and checks stand in: an entry, or the policy.
pub(super) struct Owner {
    /// The name by which `state` paths find its counters.
    pub(super) tool: String,
    pub(super) subject: Kind,
    pub(super) entry: Option<RuleId>,
}

impl Owner {
    /// The row of a rule of this owner.
    pub(super) fn row(
        &self,
        kind: RuleKind,
        label: String,
        place: &Place,
        text: Option<Box<str>>,
    ) -> RuleRow {
        let pointer = place.pointer.as_str().into();
        let (subject, entry) = (self.subject, self.entry);
        RuleRow { pointer, label: label.into(), kind, subject, entry, text }
    }
}

impl Book {
    pub(super) fn new(namespace: &str, policy: &str) -> Book {
        Book {
            rules: Rules::default(),
            prefix: format!("{namespace}\0{policy}\0"),
            rows: Vec::new(),
            refused: Vec::new(),
        }
    }

    /// The index of a counter; limits that share a key must agree on everything that counts.
    pub(super) fn index(
        &mut self,
        share: Share,
        place: &Place,
        reader: &mut Reader,
    ) -> Option<usize> {
        let Share { key, name, window, scope, algorithm, count_in, per, tool } = share;
        if let Some(at) = self.rows.iter().position(|row| row.key == key) {
            let row = self.rows.get_mut(at)?;
            let known =
                (row.counter.counter.window, row.counter.scope, row.counter.counter.algorithm);
            let elsewhere = row.counter.count_in != count_in;
            let other_per = row.counter.per != per;
            if known != (window, scope, algorithm) || elsewhere || other_per {
                let differ = [
                    (elsewhere, "count_in"),
                    (other_per, "per"),
                    (known.0 != window, "window"),
                    (known.1 != scope, "scope"),
                    (known.2.word() != algorithm.word(), "algorithm"),
                    // A bucket has one rate, by which it is refilled for all who share it.
                    (known.2 != algorithm && known.2.word() == algorithm.word(), "max"),
                ];
                let differ: Vec<&str> =
                    differ.iter().filter(|(differs, _)| *differs).map(|(_, what)| *what).collect();
                let first = &row.first.text;
                let message =
                    format!("counter `{name}` has another {} at {first}", differ.join(" and "));
                let help = "limits that share a name share the count; give this one another name"
                    .to_owned();
                reader.error_with_help(Code::CounterConflict, place, message, help);
                reader.last_contradicts(&row.first);
                return None;
            }
            row.readers.push(tool);
            return Some(at);
        }
        // Of names and meaning, never of places: a count outlives what an update puts before it.
        let whose = match scope {
            Scope::Key(at) => format!("key {}", reader.keys.get(at).map_or("", |key| &**key)),
            Scope::Grant | Scope::Session | Scope::Global | Scope::Address => format!("{scope:?}"),
        };
        let word = Per::WORDS.iter().find(|(_, known)| *known == per);
        let part = word.map_or(String::new(), |(word, _)| format!("\0per {word}"));
        let id = self.id(&format!("{key}\0{window:?}\0{whose}\0{}{part}", algorithm.word()));
        let counter = Counter { id, window, algorithm };
        // Names that several limits may have by themselves do not tell them apart elsewhere.
        let service_name = if key.starts_with("limit\0") { &*name } else { &place.pointer };
        let service_name = service_name.into();
        let counter =
            NamedCounter { name: name.into(), scope, counter, count_in, per, service_name };
        self.rows.push(CounterRow { key, first: place.clone(), counter, readers: vec![tool] });
        Some(self.rows.len() - 1)
    }

    /// The key of a counter that has no name: after its entry, its rule's name and its window, and how many such there are before it.
    pub(super) fn nameless(&self, tool: &str, rule: &str, window: Window) -> String {
        let like = format!("rule\0{tool}\0{rule}\0{window:?}\0");
        let before = self.rows.iter().filter(|row| row.key.starts_with(&like)).count();
        format!("{like}{before}")
    }

    /// Notes a counter that was refused, so that conditions on it are not reported too.
    pub(super) fn refuse(&mut self, tool: &str, name: Option<String>) {
        self.refused.push((tool.to_owned(), name));
    }

    /// Whether `state.<tool>.<name>` may mean a counter that was refused.
    pub(super) fn was_refused(&self, tool: &str, name: &str) -> bool {
        let tool = if tool == "*" { GLOBAL } else { tool };
        self.refused.iter().any(|(of, refused)| {
            of == tool && refused.as_ref().is_none_or(|refused| refused == name)
        })
    }

    /// The counters that `state.<tool>.<name>` could mean.
    pub(super) fn find(&self, tool: &str, name: &str) -> Vec<usize> {
        let tool = if tool == "*" { GLOBAL } else { tool };
        let named = self.rows.iter().enumerate().filter(|(_, row)| {
            *row.counter.name == *name
                && row.counter.count_in == CountIn::Envoy
                && row.counter.per == Per::Caller
                && row.readers.iter().any(|reader| reader == tool)
        });
        named.map(|(at, _)| at).collect()
    }

    /// Every `state.<tool>.<name>` that means something.
    pub(super) fn paths(&self) -> Vec<String> {
        let names = |row: &CounterRow| {
            let name = row.counter.name.clone();
            row.readers.iter().map(move |tool| format!("state.{tool}.{name}")).collect::<Vec<_>>()
        };
        let mut seen = HashSet::new();
        let rows = self.rows.iter().filter(|row| row.counter.per == Per::Caller);
        let paths = rows.flat_map(names).filter(|path| !path.contains('\0'));
        paths.filter(|path| seen.insert(path.clone())).collect()
    }

    pub(super) fn finish(self) -> (Box<[NamedCounter]>, Rules) {
        (self.rows.into_iter().map(|row| row.counter).collect(), self.rules)
    }

    fn id(&self, text: &str) -> CounterId {
        let digest = Sha256::new().chain_update(&self.prefix).chain_update(text).finalize();
        CounterId(digest.first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes)))
    }
}
