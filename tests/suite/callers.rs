//! Who is counted as whom: spellings of credentials, sessions and addresses, and what a server's refusal leaves.
#![cfg(test)]

use std::rc::Rc;

use mcp_policy::exchange::{Chunk, Event, Flow};
use mcp_policy::mcp::headers::Follows;
use mcp_policy::mcp::outcome::Origin;
use mcp_policy::policy::compiled::Config;
use mcp_policy::rate::memory::MemoryStore;
use proptest::prelude::*;

use crate::world::{Responded, World, exchange, tools_call};

/// A filter with its counters, before a server that answers with one status.
struct Filter {
    config: Rc<Config>,
    store: MemoryStore,
}

impl Filter {
    fn new(policy: &str) -> Filter {
        let config = Rc::new(Config::load(policy.as_bytes(), "").unwrap().config);
        Filter { config, store: MemoryStore::default() }
    }

    /// What becomes of a call with these headers: `ran`, or the reason why not.
    fn call(&self, tool: &str, headers: &[(&str, &[u8])], address: &str, status: u16) -> String {
        let origin = if status == 504 { Origin::Unknown } else { Origin::Server };
        let world = World {
            address,
            body: tools_call("1", tool, None).into_bytes(),
            now: Some(1_700_000_000_000),
            response: Responded { status, media: None, encoding: None, origin },
            ..World::new(&self.store)
        };
        let mut exchange = exchange(&self.config);
        let mut sent: Vec<(&[u8], &[u8])> = vec![
            (b":method", b"POST"),
            (b":path", b"/mcp"),
            (b":authority", b"h"),
            (b"content-type", b"application/json"),
        ];
        sent.extend(headers.iter().map(|(name, value)| (name.as_bytes(), *value)));
        let event = Event::RequestHead { headers: &sent, follows: Follows::Body };
        let mut flow = exchange.on(&world, event).flow;
        if flow == Flow::Pause {
            let event = Event::RequestBody { buffered: world.body.len(), chunk: Chunk::Last };
            flow = exchange.on(&world, event).flow;
        }
        if let Flow::Reply(reply) = flow {
            let body = String::from_utf8(reply.body).unwrap();
            let reason = body.split("\"reason\":\"").nth(1).and_then(|rest| rest.split('"').next());
            return format!("{} {}", reply.status, reason.unwrap());
        }
        let event = Event::ResponseHead { follows: Follows::Nothing };
        assert_eq!(exchange.on(&world, event).flow, Flow::Continue);
        "ran".to_owned()
    }

    fn by(&self, credential: &str) -> String {
        self.call("t", &[("authorization", credential.as_bytes())], "", 200)
    }
}

const ONCE: &str = r#"{"version":"1","default":"allow","tools":{"t":{"limits":[{"counter":"c","window":"month","max":1}]}}}"#;

/// Credentials in honest spelling.
const HONEST: [&str; 7] = [
    "Bearer 7f3c9b2e",
    "Bearer eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhIn0.dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk",
    "Bearer eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJhIn0.AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8gISIjJCUmJygpKissLS4vMDEyMzQ1Njc4OTo7PD0-Pw",
    "Basic YWxpY2U6c2VjcmV0",
    "Basic YWxpY2U6c2VjcmV0MQ==",
    "Bearer ImEi.aBcDeF.dBjftJeZ4CVP-mB92K27uhbUJU0",
    "sk-123",
];

/// Another spelling that some server reads as the same credential.
fn respelled(credential: &str, (how, many, letter): (u8, usize, char)) -> String {
    let (scheme, word) = credential.split_once(' ').unwrap_or(("", credential));
    let spaces = " ".repeat(1 + many % 3);
    let cased: String = scheme
        .chars()
        .enumerate()
        .map(|(at, letter)| {
            if many >> (at % 8) & 1 == 1 {
                letter.to_ascii_uppercase()
            } else {
                letter.to_ascii_lowercase()
            }
        })
        .collect();
    match how {
        0 => format!("{cased}{spaces}{word}"),
        1 => format!("{scheme} {word} x{many}"),
        2 => format!("{scheme} {word}{}", "=".repeat(many % 4)),
        3 => format!("x{many} {word}"),
        4 => format!("{scheme} {word},x{many}"),
        5 => format!("{scheme} {word};x={many}"),
        6 => format!("{scheme} \"{word}\""),
        7 => format!("{scheme}\t{word}\t"),
        // The bits that mean nothing, and what is no letter of base64.
        8 if word.len() > 20 => format!("{scheme} {}{letter}", word.split_at(word.len() - 1).0),
        9 => {
            let (before, after) = word.split_at(many % word.len());
            let odd = ['%', '!', '\u{7f}', '\u{a0}', '\u{b}'][many % 5];
            format!("{scheme} {before}{odd}{after}")
        }
        10 => format!("{scheme} {}", word.replace('-', "+").replace('_', "/")),
        11 => format!("{scheme} {word}.x{many}"),
        _ => format!("{scheme} {}", word.trim_end_matches('=')),
    }
}

/// What servers with lenient readers make of a credential: all of it that they compare.
fn read_leniently(value: &str) -> Option<Vec<u8>> {
    let words: Vec<&str> = value.split_ascii_whitespace().collect();
    let word = words.get(1).or(words.first())?.trim_end_matches('=');
    let letters = |text: &str| -> Vec<u8> {
        let known = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
        let mut bits: Vec<bool> = Vec::new();
        for byte in text.replace('+', "-").replace('/', "_").bytes() {
            let Some(at) = known.iter().position(|letter| *letter == byte) else { continue };
            bits.extend((0..6).rev().map(|bit| at >> bit & 1 == 1));
        }
        bits.chunks_exact(8)
            .map(|byte| byte.iter().fold(0, |sum, bit| sum << 1 | u8::from(*bit)))
            .collect()
    };
    if value.to_ascii_lowercase().contains("basic") {
        return Some(letters(word));
    }
    Some(match word.rsplit_once('.') {
        Some((before, last)) if last.len() > 20 => {
            [before.as_bytes(), b".", &letters(last)].concat()
        }
        Some(_) | None => word.as_bytes().to_vec(),
    })
}

proptest! {
    #[test]
    fn a_caller_is_one_whatever_his_credential_s_spelling(
        at in 0..HONEST.len(),
        spellings in proptest::collection::vec((0u8..13, 0usize..1000, prop::sample::select(('a'..='z').chain('A'..='Z').chain('0'..='9').collect::<Vec<_>>())), 1..12),
    ) {
        let honest = HONEST[at];
        let filter = Filter::new(ONCE);
        prop_assert_eq!(filter.by(honest), "ran");
        for spelling in spellings {
            let other = respelled(honest, spelling);
            // Another credential is another caller.
            let same = read_leniently(&other) == read_leniently(honest);
            let found = filter.by(&other);
            prop_assert!(!same || found != "ran", "{} is {}: {}", other, honest, found);
        }
    }
}

#[test]
fn a_credential_without_one_spelling_is_refused_only_where_it_tells_callers_apart() {
    let limited =
        r#""tools":{"t":{"limits":[{"counter":"c","window":"month","max":9SCOPE}]},"free":{}}"#;
    let with = |rest: &str, scope: &str| {
        let tools = limited.replace("SCOPE", scope);
        Filter::new(&format!(r#"{{"version":"1","default":"allow"{rest},{tools}}}"#))
    };
    let condition = r#"{"version":"1","default":"allow","tools":{"t":{"deny_if":[{"conditions":[{"path":"identity.grant","op":"eq","value":"x"}]}]}}}"#;
    let key =
        r#","identity":{"grant":{"header":"x-agent"},"keys":{"key":{"credential":"x-api-key"}}}"#;
    let refused = "200 credential_ambiguous";
    for (filter, tool, expected) in [
        (with("", ""), "t", refused),
        (with("", ""), "free", "ran"),
        (with("", r#","scope":"session""#), "t", refused),
        (with("", r#","scope":"global""#), "t", "ran"),
        (with("", r#","scope":"address""#), "t", "ran"),
        (with(r#","mode":"shadow""#, ""), "t", "ran"),
        (with(r#","identity":{"grant":{"jwt_claim":"sub"}}"#, ""), "t", "ran"),
        (with(key, ""), "t", "ran"),
        (with(key, r#","scope":"key""#), "t", refused),
        (with(key, r#","scope":"key""#), "free", "ran"),
        (Filter::new(condition), "t", refused),
    ] {
        let sent: [(&str, &[u8]); 3] =
            [("authorization", b"Bearer a x1"), ("x-api-key", b"a x1"), ("x-agent", b"me")];
        assert_eq!(
            filter.call(tool, &sent, "", 200),
            expected,
            "{tool} {:?}",
            filter.config.callers
        );
    }
}

#[test]
fn other_credentials_sessions_and_addresses_have_one_spelling_too() {
    let policy = |rest: &str, scope: &str| {
        Filter::new(&format!(
            r#"{{"version":"1","default":"allow"{rest},"tools":{{"t":{{"limits":[{{"counter":"c","window":"month","max":1,"scope":"{scope}"}}]}}}}}}"#
        ))
    };
    let of = |header: &str| {
        policy(&format!(r#","identity":{{"grant":{{"credential":"{header}"}}}}"#), "grant")
    };
    let trusted = r#","sessions":{"trusted":true}"#;
    let by_ip = r#","identity":{"grant":{"source":"ip","use_remote_address":true}}"#;
    let shorthand = Filter::new(&format!(
        r#"{{"version":"1","default":"allow"{trusted},"tools":{{"t":{{"rate_limit":{{"max":1,"window":"month"}}}}}}}}"#
    ));
    let (once, refused) = ("200 limit_reached", "200 credential_ambiguous");
    let uuid = "0f8fad5b-d9cb-469f-a165-70867728950e";
    let braced = format!("{{{}}}", uuid.to_uppercase());
    let mut wrong = Vec::new();
    for (filter, header, one, other, expected) in [
        (of("x-api-key"), "x-api-key", "k", " k ", once),
        (of("x-api-key"), "x-api-key", "k", "Bearer k", once),
        (of("x-api-key"), "x-api-key", "k", "k,x", refused),
        (of("x-api-key"), "x-api-key", "k", "k x", refused),
        (of("x-api-key"), "x-api-key", "k", "k\u{b}", refused),
        (of("x-api-key"), "x-api-key", "k", "K", "ran"),
        (of("cookie"), "cookie", "sid=a", "sid=a; x=1", refused),
        (of("cookie"), "cookie", "sid=a", "x=1;sid=a", refused),
        (of("cookie"), "cookie", "sid=a", "sid=\"a\"", refused),
        (of("cookie"), "cookie", "sid=a", "sid=b", "ran"),
        (policy(trusted, "session"), "mcp-session-id", uuid, &*braced, once),
        (policy(trusted, "session"), "mcp-session-id", uuid, &*uuid.replace('-', ""), once),
        (policy(trusted, "session"), "mcp-session-id", "a", "A", "ran"),
        (shorthand, "mcp-session-id", "a", "b", once),
        (
            policy("", "address"),
            "address",
            "[2001:db8:1:2::1]:80",
            "[2001:db8:1:2:ffff::9]:81",
            once,
        ),
        (policy("", "address"), "address", "[2001:db8:1:2::1]:80", "[2001:db8:1:3::1]:80", "ran"),
        (policy("", "address"), "address", "10.0.0.1:1", "[::ffff:10.0.0.1]:2", once),
        (policy("", "address"), "address", "10.0.0.1:1", "10.0.0.2:1", "ran"),
        (policy(by_ip, "grant"), "address", "[2001:db8:1:2::1]:80", "[2001:db8:1:2::2]:80", once),
        (policy(by_ip, "grant"), "address", "10.0.0.1:1", "10.0.0.2:1", "ran"),
    ] {
        let call = |value: &str| match header {
            "address" => filter.call("t", &[], value, 200),
            name => filter.call("t", &[(name, value.as_bytes())], "", 200),
        };
        let found = (call(one), call(other));
        if (&*found.0, &*found.1) != ("ran", expected) {
            wrong.push(format!("{header}: {one} and {other}: {found:?}, not {expected}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_count_outlives_what_an_update_puts_before_it() {
    let whole = |identity: &str, rest: &str, tool: &str| {
        format!(
            r#"{{"version":"1","default":"allow"{rest},"identity":{{"keys":{{{identity}}}}},"tools":{{"t":{{{tool}}}}}}}"#
        )
    };
    let key = r#""team":{"header":"x-team"}"#;
    let more = r#""agent":{"header":"x-agent"},"team":{"header":"x-team"}"#;
    let by_key = r#""limits":[{"counter":"c","window":"month","max":1,"scope":"team"}]"#;
    let rule = |rules: &str| format!(r#""rules":[{rules}]"#);
    let (month, few) = (
        r#"{"rate_limit":{"max":1,"window":"month"}}"#,
        r#"{"name":"few","rate_limit":{"max":1,"window":"month"}}"#,
    );
    let day = r#"{"rate_limit":{"max":9,"window":"day"}}"#;
    let other = r#"{"name":"x","state":{"counter":"n","window":"day"}}"#;
    let shorthand = r#""rate_limit":{"max":1,"window":"month"}"#;
    for (before, after) in [
        (whole(key, "", by_key), whole(more, "", by_key)),
        (whole(key, "", &rule(month)), whole(key, "", &rule(&format!("{day},{month}")))),
        (whole(key, "", &rule(few)), whole(key, "", &rule(&format!("{month},{few}")))),
        (whole(key, "", &rule(few)), whole(key, "", &rule(&format!("{other},{few}")))),
        (
            whole(key, "", shorthand),
            whole(key, r#","methods":{"ping":{}}"#, &format!("{by_key},{shorthand}")),
        ),
    ] {
        let call = |filter: &Filter| {
            filter.call("t", &[("x-team", b"a"), ("authorization", b"Bearer a")], "", 200)
        };
        let filter = Filter::new(&before);
        assert_eq!(call(&filter), "ran", "{before}");
        let updated = Filter { store: filter.store, ..Filter::new(&after) };
        let found = call(&updated);
        assert!(found.ends_with(" limit_reached"), "{before} becomes {after}: {found}");
    }
}

/// The bytes of every table, without its clock.
fn counted(filter: &Filter) -> usize {
    let (keys, bytes) = filter.store.size();
    bytes - 25 * keys
}

#[test]
fn what_the_server_refuses_leaves_no_trace() {
    let limits = r#"{"counter":"c","window":"month","max":2},{"counter":"all","window":"month","max":3,"scope":"global"},
        {"counter":"a","window":"month","max":3,"scope":"address"}"#;
    let filter = |identity: &str| {
        Filter::new(&format!(
            r#"{{"version":"1","default":"allow"{identity},"tools":{{"t":{{"limits":[{limits}]}}}}}}"#
        ))
    };
    let header = r#","identity":{"grant":{"header":"x-agent"}}"#;
    let sent: [(&str, &[u8]); 2] = [("authorization", b"Bearer made-up"), ("x-agent", b"me")];
    for (identity, status, leaves) in [
        ("", 401, false),
        ("", 403, false),
        ("", 200, true),
        ("", 404, true),
        ("", 500, true),
        // Envoy made it: nobody knows what the server did.
        ("", 504, true),
        // Somebody vouches for this one.
        (header, 401, true),
    ] {
        let filter = filter(identity);
        let ran =
            (0..10).filter(|_| filter.call("t", &sent, "10.0.0.1:1", status) == "ran").count();
        assert_eq!(ran, if leaves { 2 } else { 10 }, "{identity} {status}");
        assert_eq!(counted(&filter) > 0, leaves, "{identity} {status}");
    }
    let anonymous = filter("");
    assert!((0..10).all(|_| anonymous.call("t", &[], "10.0.0.1:1", 401) == "ran"), "nobody at all");
}

#[test]
fn who_brings_too_many_callers_is_told_so() {
    let filter =
        Filter::new(&ONCE.replace(r#""default""#, r#""counters":{"max_entries":1},"default""#));
    let call = |name: u32, address: &str| {
        filter.call("t", &[("authorization", format!("Bearer {name}").as_bytes())], address, 200)
    };
    let crowd: Vec<String> = (0..200).map(|name| call(name, "10.0.0.1:1")).collect();
    assert_eq!(crowd.iter().filter(|found| *found == "ran").count(), 64, "half of two tables");
    assert!(
        crowd.iter().all(|found| found == "ran" || found == "200 too_many_callers"),
        "{crowd:?}"
    );
    assert_eq!(call(1000, "10.0.0.2:1"), "ran");
    assert_eq!(call(0, "10.0.0.1:1"), "200 limit_reached");
}
