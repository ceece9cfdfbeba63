//! Limits by caller, where anybody can be a new caller.

use super::{Lint, MOST_COMPARED, covers, stand_ins};
use crate::language::diagnostic::Code;
use crate::mcp::call::Kind;
use crate::policy::callers::Source;
use crate::policy::compiled::Config;
use crate::policy::entry::{Entry, Limit, Refund, Scope};
use crate::rate::limiter::Mode;

pub(super) fn lint(config: &Config, lint: &mut Lint<'_>) {
    let policy = lint.policy;
    let invented = |limit: &Limit| header(config, lint, limit).is_some();
    // What an answer can give back is no ceiling.
    let holds =
        |limit: &&Limit| limit.max.is_some() && limit.refund == Refund::Never && !invented(limit);
    let for_all = policy.all_limits.iter().any(|limit| holds(&limit));
    let mut found: Vec<&Limit> = Vec::new();
    for section in policy.sections() {
        let of_tools = section.kind == Kind::Tool;
        let holding = section.entries().iter().filter(|entry| {
            entry.mode == Mode::Enforce && entry.limits.iter().any(|limit| holds(&limit))
        });
        let ceilings: Vec<&Entry> = holding.take(MOST_COMPARED).collect();
        for entry in section.entries() {
            let held =
                (of_tools && for_all) || has_ceiling(policy.rules.label(entry.rule), &ceilings);
            if !held {
                found.extend(entry.limits.iter().filter(|limit| invented(limit)));
            }
        }
        if of_tools && !for_all && !has_ceiling("*", &ceilings) {
            found.extend(policy.all_limits.iter().filter(|limit| invented(limit)));
        }
    }
    let Some(first) = found.first() else { return };
    let name = header(config, lint, first).unwrap_or_default().to_owned();
    let more = match found.len() {
        1 => String::new(),
        2 => " (so does another limit)".to_owned(),
        several => format!(" (so do {} other limits)", several - 1),
    };
    let message = format!(
        "this counts by `{name}`, which nothing verifies: whoever invents one is a new caller with a new count{more}"
    );
    let help = "name callers by something verified in `identity.grant`, or add a limit beside it with scope \"address\" or \"global\"";
    let pointer = policy.rules.pointer(first.rule).to_owned();
    lint.warn(Code::InventedCallers, &pointer, message, help);
}

/// The header that tells apart whom a limit counts, where the caller can write into it what he likes.
fn header<'c>(config: &'c Config, lint: &Lint<'_>, limit: &Limit) -> Option<&'c str> {
    limit.max?;
    let sources = match lint.policy.counters.get(limit.counter)?.scope {
        Scope::Grant | Scope::Session => &config.callers.grant,
        Scope::Key(at) => &config.callers.keys.get(at)?.sources,
        Scope::Global | Scope::Address => return None,
    };
    sources.iter().find_map(|source| match source {
        Source::Credential(None) => Some("authorization"),
        Source::Credential(Some(at)) => config.headers.get(*at).map(|name| &**name),
        Source::JwtClaim { .. } | Source::Header(_) | Source::Peer(_) | Source::SourceIp => None,
    })
}

/// Whether every call of what a key matches also counts on a limit of one of these.
fn has_ceiling(key: &str, ceilings: &[&Entry]) -> bool {
    let names = stand_ins(key);
    ceilings.iter().any(|ceiling| covers(&ceiling.pattern, &names))
}
