//! The configuration of a rate limit service, for one that takes no limits from the questions.
//!
//! A question says of each limit of a call its policy, counter, scope, window and caller, as entries of a descriptor (see `rls`).
//! What is written here has the same limits for the same entries. What the service cannot count as the policy says is an
//! error where it would admit too much, and a note where it would admit less, or another window.

use std::collections::BTreeSet;

use crate::policy::compiled::{Config, Policy};
use crate::policy::entry::{Amount, CountIn, Limit, NamedCounter};
use crate::policy::settings::{Batch, RateLimitService};
use crate::rate::window::Unit;
use crate::rls;
use crate::source::Syntax;

use crate::tree::Node;
use crate::tree::notes::Notes;
use crate::tree::print::print;

/// A service that has a configuration of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Service {
    /// Kuadrant's Limitador.
    Limitador,
    /// Envoy's `ratelimit`.
    Ratelimit,
}

/// A counter with the limits that count on it.
struct Counted<'c> {
    policy: &'c Policy,
    name: &'c str,
    counter: &'c NamedCounter,
    unit: Unit,
    limits: Vec<&'c Limit>,
}

impl Counted<'_> {
    /// The most that each of its limits admits.
    fn max(&self) -> u64 {
        let all = self.limits.iter().filter_map(|limit| limit.max);
        all.map(|max| max.0 / 1_000_000).min().unwrap_or(u32::MAX.into())
    }

    fn is_everybodys(&self) -> bool {
        rls::is_everybodys(self.counter.scope)
    }

    /// Where it is, for notes.
    fn place(&self) -> String {
        match self.limits.first() {
            Some(limit) => self.policy.rules.pointer(limit.rule).to_owned(),
            None => self.counter.service_name.to_string(),
        }
    }
}

/// The text of the configuration, and what it cannot say. A policy without a name has that of the deployment.
///
/// # Errors
/// Where nothing counts in the service, or it would admit too much.
pub(super) fn text(
    service: Service,
    config: &Config,
    deployment: &str,
    notes: &mut Notes,
) -> Result<String, String> {
    let settings = config.counters.service.as_ref();
    let counted: Vec<Counted<'_>> =
        config.policies().flat_map(|policy| of_policy(policy, deployment)).collect();
    let (Some(settings), false) = (settings, counted.is_empty()) else {
        return Err("no limit counts in the rate limit service: say \"count_in\": \"service\" in the policy or at a limit, and name the service in `counters.service`".to_owned());
    };
    for each in &counted {
        pool(each, notes);
    }
    match service {
        Service::Limitador => limitador(config, settings, &counted, notes),
        Service::Ratelimit => Ok(ratelimit(settings, &counted, notes)),
    }
}

fn of_policy<'c>(policy: &'c Policy, deployment: &'c str) -> Vec<Counted<'c>> {
    let name = if policy.name.is_empty() { deployment } else { &policy.name };
    let in_service = policy.counters.iter().enumerate();
    let in_service = in_service.filter(|(_, counter)| counter.count_in == CountIn::Service);
    in_service
        .filter_map(|(at, counter)| {
            let unit = Unit::of(counter.counter.window)?;
            let limits = policy.limits().filter(|limit| limit.counter == at).collect();
            Some(Counted { policy, name, counter, unit, limits })
        })
        .collect()
}

/// Limits that share a counter may differ in their maximum; a service has one.
fn pool(counted: &Counted<'_>, notes: &mut Notes) {
    let all: BTreeSet<u64> =
        counted.limits.iter().filter_map(|limit| limit.max).map(|max| max.0).collect();
    if all.len() > 1 {
        let note = format!(
            "its limits differ in `max`, and the service has one for all: the lowest, {}",
            counted.max()
        );
        notes.add(&counted.place(), note);
    }
}

// --- Envoy's `ratelimit` -------------------------------------------------------------------------

fn ratelimit(settings: &RateLimitService, counted: &[Counted<'_>], notes: &mut Notes) -> String {
    let mut policies: Vec<(&str, Vec<Node>)> = Vec::new();
    for each in counted {
        if each.unit == Unit::Month {
            notes.add(&each.place(), "a month has 30 days there, whatever the calendar says");
        }
        let limit = Node::map([
            ("unit", Node::text(each.unit.word())),
            ("requests_per_unit", Node::number(each.max())),
        ]);
        let limited = ("rate_limit", limit);
        let window = ("window", Some(each.unit.word()));
        let node = match each.is_everybodys() {
            true => level(window, limited),
            false => level(window, below(level(("caller", None), limited))),
        };
        let node = level(("scope", Some(rls::scope_word(each.counter.scope))), below(node));
        let node = level(("counter", Some(&each.counter.service_name)), below(node));
        match policies.iter_mut().find(|(name, _)| *name == each.name) {
            Some((_, nodes)) => nodes.push(node),
            None => policies.push((each.name, vec![node])),
        }
    }
    let policies = policies
        .into_iter()
        .map(|(name, nodes)| level(("policy", Some(name)), ("descriptors", Node::list(nodes))));
    let document = Node::map([
        ("domain", Node::text(&*settings.domain)),
        ("descriptors", Node::list(policies)),
    ]);
    let head = "# Limits for Envoy's ratelimit, as `mcp-policy render --for ratelimit` writes them. The limits that the filter sends with its\n\
        # questions go before these; without a file for the domain the service counts nothing at all.\n";
    format!("{head}{}", print(&document, Syntax::Yaml, 0))
}

fn level((key, value): (&str, Option<&str>), rest: (&str, Node)) -> Node {
    let key = Some(("key", Node::text(key)));
    let value = value.map(|value| ("value", Node::text(value)));
    Node::map(key.into_iter().chain(value).chain([rest]))
}

fn below(node: Node) -> (&'static str, Node) {
    ("descriptors", Node::list([node]))
}

// --- Limitador -----------------------------------------------------------------------------------

fn limitador(
    config: &Config,
    settings: &RateLimitService,
    counted: &[Counted<'_>],
    notes: &mut Notes,
) -> Result<String, String> {
    let refused = counted.iter().find_map(|each| {
        let place = each.place();
        let alone = counted.iter().filter(|other| other.name == each.name).count() == 1;
        let of_one = |limit: &&Limit| matches!(limit.amount, Amount::Fixed(one) if one.0 == 1_000_000);
        if each.limits.iter().any(|limit| limit.lease.is_some()) {
            return Some(format!("{place}: Limitador does not say when a window ends, so a lease could outlive the window in which it was counted; leave `lease` out"));
        }
        if !alone && !each.limits.iter().all(of_one) {
            return Some(format!("{place}: Limitador reads one number for a whole question, so a call would count 1 instead of its `increment`; it can be so only where the policy has no other limit in the service"));
        }
        None
    });
    if let Some(problem) = refused {
        return Err(problem);
    }
    if config.requests.batch == Batch::Decide {
        let note = "needs \"deny\" for Limitador: it finds a limit once in a question, and a batch may have more calls";
        notes.add("requests.batch", note);
    }
    notes.add(
        "windows",
        "begin with the first call there, and not with the calendar; denials tell of the calendar",
    );
    let limits = counted.iter().map(|each| {
        let positions = counted.iter().filter(|other| other.name == each.name).count();
        limit_of(settings, each, positions)
    });
    let document = Node::list(limits);
    let head = "# Limits for Kuadrant's Limitador, as `mcp-policy render --for limitador` writes them.\n\
        # In Redis it looks first and counts then, so calls at the same moment can pass beyond `max_value`; in memory it does not.\n";
    Ok(format!("{head}{}", print(&document, Syntax::Yaml, 0)))
}

/// A limit is one descriptor of a question, at any place in it. `exists` and `filter` of CEL would find it, but Limitador knows no
/// variables beside its own; and it ends where a list is too short.
fn limit_of(settings: &RateLimitService, each: &Counted<'_>, positions: usize) -> Node {
    let (name, counter) = (cel(each.name), cel(&each.counter.service_name));
    let is = |at: usize| {
        format!("descriptors[{at}].policy == {name} && descriptors[{at}].counter == {counter}")
    };
    let somewhere: Vec<String> =
        (0..positions).map(|at| format!("(size(descriptors) > {at} && {})", is(at))).collect();
    let mut caller = format!("descriptors[{}].caller", positions.saturating_sub(1));
    for at in (0..positions.saturating_sub(1)).rev() {
        caller = format!("{} ? descriptors[{at}].caller : {caller}", is(at));
    }
    let variables = (!each.is_everybodys()).then(|| Node::text(caller));
    let seconds = match each.unit {
        Unit::Second => 1,
        Unit::Minute => 60,
        Unit::Hour => 3600,
        Unit::Day => 86_400,
        // As the longest has.
        Unit::Month => 86_400 * 31_u64,
    };
    Node::map([
        ("namespace", Node::text(&*settings.domain)),
        ("name", Node::text(format!("{}/{}", each.name, each.counter.service_name))),
        ("max_value", Node::number(each.max())),
        ("seconds", Node::number(seconds)),
        ("conditions", Node::list([Node::text(somewhere.join(" || "))])),
        ("variables", Node::list(variables)),
    ])
}

/// A text of CEL, whose escapes are those of JSON as far as this writes them.
fn cel(text: &str) -> String {
    crate::json::written(text)
}
