//! Which counts start anew when one configuration takes the place of another.
//!
//! A count is found by its counter's id, by the table that its caller is in, and by who he is. All three are compared as they were compiled,
//! so that nothing is listed that is kept, and nothing kept that is listed; a test runs both configurations on one store.
//! Not here: the name of the plugin, which no document has, and whom bindings lead to another policy.

use std::collections::HashSet;

use super::PolicyText;
use crate::json::Value;
use crate::language::diagnostic::{Code, Diagnostic};
use crate::policy::callers::{Peer, Source};
use crate::policy::compiled::{Config, Policy};
use crate::policy::entry::{NamedCounter, Scope};
use crate::policy::sessions::Sessions;
use crate::rate::table::CounterId;
use crate::rate::window::{self, Window};

/// A count that does not go on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reset {
    /// The counter of the new configuration that starts with nothing; `None` where nothing counts instead.
    pub new: Option<CounterId>,
    /// The counter of the old one whose count is given up.
    pub old: CounterId,
    /// Which policy of the new configuration it is about, by its place among them.
    policy: Option<usize>,
    /// The first limit on it, as a pointer into that policy.
    pointer: String,
    message: String,
}

/// A counter where it stands.
#[derive(Clone, Copy)]
struct CounterAt<'c> {
    config: &'c Config,
    at: usize,
    policy: &'c Policy,
    counter: &'c NamedCounter,
    pointer: &'c str,
}

/// Says of each count that does not go on which one it is, and why.
#[must_use]
pub fn resets(old: &Config, new: &Config) -> Vec<Reset> {
    let (before, after) = (counted(old), counted(new));
    let ids = |all: &[CounterAt<'_>]| -> HashSet<CounterId> {
        all.iter().map(|one| one.counter.counter.id).collect()
    };
    let (known, kept) = (ids(&before), ids(&after));
    let mut given_up: Vec<CounterAt<'_>> =
        before.iter().filter(|one| !kept.contains(&one.id())).copied().collect();
    let mut found = Vec::new();
    for one in &after {
        if known.contains(&one.id()) {
            let same = before.iter().find(|other| other.id() == one.id());
            found.extend(same.and_then(|same| moved(same, one)));
        } else if let Some(at) = predecessor(&given_up, one, new) {
            found.push(changed(&given_up.swap_remove(at), one));
        }
    }
    found.extend(given_up.iter().map(|gone| ended(gone, new)));
    found
}

/// The same as warnings on the new document.
#[must_use]
pub fn renewal(old: &Config, new: &Config, document: &Value<'_>) -> Vec<Diagnostic> {
    let warning = |reset: Reset| {
        let policy = reset.policy.and_then(|at| new.policy_at(at));
        let text = policy.and_then(|policy| PolicyText::of(policy, document));
        let place = text.map(|text| text.place(&reset.pointer)).unwrap_or_default();
        let (code, help) = match reset.new {
            Some(_) => (
                Code::CountRestarts,
                "each caller may use the limit once more in the windows that run now; keep what it says, or update when they end",
            ),
            None => (
                Code::CountEnds,
                "if it comes back as it was before its window ends, the count goes on",
            ),
        };
        Diagnostic::warning(code, place, reset.message).with_help(help.to_owned())
    };
    resets(old, new).into_iter().map(warning).collect()
}

impl CounterAt<'_> {
    fn id(&self) -> CounterId {
        self.counter.counter.id
    }

    /// What is counted, in words.
    fn words(&self) -> String {
        let (name, window) = (&self.counter.name, window_words(self.counter.counter.window));
        format!("`{name}`, which counts by {} in each {window},", self.scope())
    }

    fn scope(&self) -> String {
        match self.counter.scope {
            Scope::Grant => "`grant`".to_owned(),
            Scope::Session => "`session`".to_owned(),
            Scope::Global => "`global`".to_owned(),
            Scope::Address => "`address`".to_owned(),
            Scope::Key(at) => {
                let key = self.config.callers.keys.get(at);
                format!("`{}`", key.map_or("", |key| &key.name))
            }
        }
    }

    /// The field that tells its callers apart, and the sources that the field names. The name of a key is a part of the counter's id.
    fn callers(&self) -> (String, String) {
        let callers = &self.config.callers;
        let listed = |sources: &[Source]| {
            let words: Vec<String> =
                sources.iter().map(|source| words_of(self.config, source)).collect();
            words.join(", else ")
        };
        match self.counter.scope {
            Scope::Global | Scope::Address => Default::default(),
            Scope::Grant => ("identity.grant".to_owned(), listed(&callers.grant)),
            Scope::Session => {
                let own = match self.config.sessions {
                    Sessions::Trusted | Sessions::Pinned(_) => "the session id of ",
                    Sessions::Untrusted => "",
                };
                (
                    "identity.grant or sessions".to_owned(),
                    format!("{own}{}", listed(&callers.grant)),
                )
            }
            Scope::Key(at) => {
                let key = callers.keys.get(at);
                let name = key.map_or("", |key| &key.name);
                let sources = key.map_or(String::new(), |key| listed(&key.sources));
                (format!("identity.keys.{name}"), sources)
            }
        }
    }
}

/// Every counter of a configuration with the first limit on it.
fn counted(config: &Config) -> Vec<CounterAt<'_>> {
    let mut all = Vec::new();
    for (at, policy) in config.policies().enumerate() {
        for (index, counter) in policy.counters.iter().enumerate() {
            let limit = policy.limits().find(|limit| limit.counter == index);
            let pointer = limit.map_or("", |limit| policy.rules.pointer(limit.rule));
            all.push(CounterAt { config, at, policy, counter, pointer });
        }
    }
    all
}

/// A counter that is the same, whose counts are found no more: in another table, or under another name of the caller.
fn moved(old: &CounterAt<'_>, new: &CounterAt<'_>) -> Option<Reset> {
    let tables = old.config.counters.shards != new.config.counters.shards;
    let (whose, before) = old.callers();
    let (_, now) = new.callers();
    let why = if tables && new.counter.scope != Scope::Global {
        "counters.max_entries makes another number of tables".to_owned()
    } else if before != now {
        format!(
            "{whose} named callers by {before} and names them by {now}, so they are other callers"
        )
    } else {
        return None;
    };
    Some(restart(old, new, &why))
}

/// The counter whose place a new one takes: on the same limit, or of the same name.
fn predecessor(given_up: &[CounterAt<'_>], one: &CounterAt<'_>, new: &Config) -> Option<usize> {
    let left = |policy: &Policy| new.policies().all(|other| other.name != policy.name);
    let likeness = |other: &CounterAt<'_>| {
        let same_policy = other.policy.name == one.policy.name;
        let limit = other.pointer == one.pointer;
        // All that have no name of their own are called so.
        let name = other.counter.name == one.counter.name && *one.counter.name != *"rate_limit";
        let fits = (limit || name) && (same_policy || left(other.policy));
        fits.then_some((same_policy, limit, name))
    };
    let candidates =
        given_up.iter().enumerate().filter_map(|(at, other)| Some((likeness(other)?, at)));
    candidates.max_by_key(|(likeness, _)| *likeness).map(|(_, at)| at)
}

/// A counter that counts something else than its predecessor.
fn changed(old: &CounterAt<'_>, new: &CounterAt<'_>) -> Reset {
    let (was, is) = (&old.counter.counter, &new.counter.counter);
    let quoted = |name: &str| format!("`{name}`");
    let parts = [
        ("policy", quoted(&old.policy.name), quoted(&new.policy.name)),
        ("name", quoted(&old.counter.name), quoted(&new.counter.name)),
        ("window", window_words(was.window), window_words(is.window)),
        ("scope", old.scope(), new.scope()),
        ("algorithm", quoted(was.algorithm.word()), quoted(is.algorithm.word())),
    ];
    let differ: Vec<String> = parts
        .iter()
        .filter(|(_, was, is)| was != is)
        .map(|(part, was, is)| format!("its {part} was {was} and is {is}"))
        .collect();
    let why = match differ.is_empty() {
        true => "it has no name of its own, and its entry, its rule's name or its place among equals there is another".to_owned(),
        false => differ.join(", "),
    };
    restart(old, new, &why)
}

fn restart(old: &CounterAt<'_>, new: &CounterAt<'_>, why: &str) -> Reset {
    let message = format!("the count of {} starts anew: {why}", new.words());
    Reset {
        new: Some(new.id()),
        old: old.id(),
        policy: Some(new.at),
        pointer: new.pointer.to_owned(),
        message,
    }
}

/// A counter that nothing takes the place of.
fn ended(old: &CounterAt<'_>, new: &Config) -> Reset {
    let policy = new.policies().position(|policy| policy.name == old.policy.name);
    let (words, pointer, name) = (old.words(), old.pointer, &old.policy.name);
    let message =
        format!("the count of {words} ends: the limit {pointer} of policy `{name}` is gone");
    Reset { new: None, old: old.id(), policy, pointer: String::new(), message }
}

fn window_words(window: Window) -> String {
    let name = match window {
        // Seven days counted from the epoch are another window than the week, which begins on Monday.
        Window::Every(seconds) if seconds.get() > 86_400 => None,
        Window::Every(_) | Window::Week | Window::Month => window::name(window.seconds()),
    };
    name.map_or_else(|| format!("{} seconds", window.seconds()), str::to_owned)
}

/// A source of names, in words that no two sources share.
fn words_of(config: &Config, source: &Source) -> String {
    let header = |at: usize| config.headers.get(at).map_or("", |name| &**name);
    match source {
        Source::JwtClaim { payload, claim } => {
            let parts: Vec<String> = claim.iter().map(|part| format!("{part:?}")).collect();
            format!("jwt_claim {} of {payload}", parts.join("."))
        }
        Source::Header(at) => format!("header {}", header(*at)),
        Source::Peer(Peer::Spiffe) => "peer spiffe".to_owned(),
        Source::Peer(Peer::Subject) => "peer subject".to_owned(),
        Source::Peer(Peer::Digest) => "peer digest".to_owned(),
        Source::Credential(None) => "credential authorization".to_owned(),
        Source::Credential(Some(at)) => format!("credential {}", header(*at)),
        Source::SourceIp => "source ip".to_owned(),
    }
}
