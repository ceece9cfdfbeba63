//! What `validate --against` lists is what starts anew: two configurations run one after the other on one store.

use std::collections::HashSet;

use mcp_policy::identity::Caller;
use mcp_policy::lint::renewal::resets;
use mcp_policy::mcp::headers::facts::Facts;
use mcp_policy::number::Micros;
use mcp_policy::policy::compiled::Config;
use mcp_policy::policy::entry::NamedCounter;
use mcp_policy::rate::limiter::{Charge, Limiter, Mode};
use mcp_policy::rate::memory::MemoryStore;
use mcp_policy::time::UnixMillis;
use proptest::prelude::*;

use crate::world::World;

const NOW: UnixMillis = UnixMillis(1_700_000_000_000);
const ONE: Micros = Micros(1_000_000);

/// The word that is chosen of a row.
fn one_of<'w>(choice: &[usize], at: usize, words: &[&'w str]) -> &'w str {
    words[choice[at] % words.len()]
}

fn tools(choice: &[usize]) -> String {
    let of = |at, words| one_of(choice, at, words);
    let refunds = format!(
        r#"{}{{"counter":"{}","window":"{}","max":{},"scope":"{}","algorithm":"{}"}}"#,
        of(5, &["", r#"{"counter":"first","window":"minute","max":9},"#]),
        of(0, &["refunds", "refunds", "paid"]),
        of(1, &["day", "day", "24h", "hour"]),
        of(2, &["5", "50"]),
        of(3, &["grant", "grant", "session", "team", "address", "global"]),
        of(4, &["fixed", "fixed", "sliding", "bucket"]),
    );
    let refund = format!(r#""refund":{{"limits":[{refunds}]}}"#);
    let search = of(
        6,
        &[
            r#""search":{"rate_limit":"5/hour"}"#,
            r#""search":{"rate_limit":"9/hour"}"#,
            r#""find":{"rate_limit":"5/hour"}"#,
        ],
    );
    let rules = of(
        7,
        &[
            r#"{"rate_limit":"5/hour"},{"name":"b","rate_limit":"7/hour"}"#,
            r#"{"name":"b","rate_limit":"7/hour"},{"rate_limit":"5/hour"}"#,
            r#"{"rate_limit":"5/hour"},{"rate_limit":"7/hour"}"#,
        ],
    );
    let sql = format!(r#""sql":{{"rules":[{rules}]}}"#);
    match of(8, &["", "reversed"]) {
        "" => format!("{refund},{search},{sql}"),
        _ => format!("{sql},{search},{refund}"),
    }
}

/// A configuration with one choice for each thing that an update could change.
fn configuration(choice: &[usize]) -> String {
    let of = |at, words| one_of(choice, at, words);
    let calls = r#"{"counter":"calls","window":"minute","max":9,"scope":"global"},"#;
    let calls = if of(9, &["there", "gone"]) == "gone" { "" } else { calls };
    let name = of(14, &["main", "main", "other"]);
    let grant = of(
        10,
        &[
            r#"{"credential":"authorization"}"#,
            r#"[{"header":"x-agent"},{"credential":"authorization"}]"#,
            r#"{"jwt_claim":"sub"}"#,
        ],
    );
    let keys = of(
        11,
        &[
            r#"{"team":{"header":"x-team"}}"#,
            r#"{"other":{"header":"x-other"},"team":{"header":"x-team"}}"#,
            r#"{"team":{"header":"x-other"}}"#,
        ],
    );
    let entries = of(12, &["65536", "65530", "131072"]);
    let sessions = of(13, &["{}", r#"{"trusted":true}"#]);
    let tools = tools(choice);
    format!(
        r#"{{"policies":{{"{name}":{{"version":"1","default":"deny","tools":{{{tools}}},
        "all_tools":{{"limits":[{calls}{{"counter":"by_team","window":"week","max":9,"scope":"team"}}]}}}}}},
        "identity":{{"grant":{grant},"keys":{keys}}},"counters":{{"max_entries":{entries}}},"sessions":{sessions}}}"#
    )
}

fn load(choice: &[usize]) -> Config {
    let text = configuration(choice);
    Config::load(text.as_bytes(), "test")
        .unwrap_or_else(|problems| panic!("{problems:?}: {text}"))
        .config
}

/// A caller who has everything that names callers; what differs between configurations makes another one of him.
fn caller(config: &Config) -> Caller {
    let headers: [(&[u8], &[u8]); 5] = [
        (b"authorization", b"Bearer t"),
        (b"x-agent", b"a"),
        (b"x-team", b"sre"),
        (b"x-other", b"dev"),
        (b"mcp-session-id", b"s"),
    ];
    let facts = Facts::of(&headers, &config.headers);
    let caller = Caller::read(config, &facts, &World::new(&MemoryStore::default())).unwrap();
    caller.in_session(&config.sessions, Some(b"s"))
}

/// What the caller has used of a counter under a configuration.
fn used(config: &Config, store: &MemoryStore, one: &NamedCounter) -> Micros {
    let limiter = Limiter::new(store, config.counters.shards);
    limiter.used(one.counter, caller(config).counted_as(one.scope), NOW).unwrap()
}

fn check(before: &[usize], after: &[usize]) -> Result<(), TestCaseError> {
    let (old, new) = (load(before), load(after));
    let store = MemoryStore::default();
    let limiter = Limiter::new(&store, old.counters.shards);
    for one in &old.policy.counters {
        let account = caller(&old).counted_as(one.scope);
        let charge =
            Charge { counter: one.counter, account, amount: ONE, max: None, mode: Mode::Enforce };
        limiter.reserve(&[charge], NOW).unwrap();
    }
    let listed = resets(&old, &new);
    let known: HashSet<_> = old.policy.counters.iter().map(|one| one.counter.id).collect();
    let mut lost = known.clone();
    for one in &new.policy.counters {
        let id = one.counter.id;
        let starts_anew = listed.iter().any(|reset| reset.new == Some(id));
        let kept = known.contains(&id) && !starts_anew;
        let expected = if kept { ONE } else { Micros(0) };
        prop_assert_eq!(
            used(&new, &store, one),
            expected,
            "{} from {} to {}: {:?}",
            one.name,
            configuration(before),
            configuration(after),
            listed
        );
        if kept {
            lost.remove(&id);
        }
    }
    let told: HashSet<_> = listed.iter().map(|reset| reset.old).collect();
    prop_assert_eq!(told, lost, "from {} to {}", configuration(before), configuration(after));
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn what_is_listed_is_what_starts_anew(
        before in proptest::collection::vec(0usize..60, 15),
        changes in proptest::collection::vec((0usize..15, 0usize..60), 0..5),
    ) {
        let mut after = before.clone();
        for (at, choice) in changes {
            after[at] = choice;
        }
        check(&before, &after)?;
        check(&after, &before)?;
    }
}

/// Each change by itself, from the first choices.
#[test]
fn each_change_by_itself() {
    let before = [0; 15];
    for at in 0..before.len() {
        for choice in 0..6 {
            let mut after = before;
            after[at] = choice;
            check(&before, &after).unwrap();
            check(&after, &before).unwrap();
        }
    }
    assert_eq!(resets(&load(&before), &load(&before)), []);
}
