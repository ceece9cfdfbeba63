use super::Caller;
use crate::json::{Duplicates, Value, parse};
use crate::mcp::headers::Header;
use crate::mcp::headers::facts::Facts;
use crate::mcp::outcome::Origin;
use crate::policy::binding::RouteFact;
use crate::policy::callers::Peer;
use crate::policy::compiled::Config;
use crate::policy::entry::Scope;
use crate::rate::memory::MemoryStore;
use crate::time::UnixMillis;
use crate::world::{Random, World};

/// What is known of a client beside his headers.
#[derive(Clone, Debug, Default)]
struct Client {
    store: MemoryStore,
    certificate: Vec<(Peer, &'static str)>,
    address: Option<&'static str>,
    /// Every claim of his token, as JSON.
    claim: Option<&'static str>,
}

impl World for Client {
    type Store = MemoryStore;
    type Witness = ();

    fn witness(&self) -> &() {
        &()
    }

    fn now(&self) -> Option<UnixMillis> {
        None
    }

    fn random(&self) -> Option<Random> {
        Some([7; _])
    }

    fn store(&self) -> &MemoryStore {
        &self.store
    }

    fn claim(&self, _: &str, _: &[Box<str>]) -> Option<Value<'static>> {
        self.claim.map(|text| parse(text, Duplicates::Refuse).unwrap())
    }

    fn certificate(&self, field: Peer) -> Option<Vec<u8>> {
        let found = self.certificate.iter().find(|(known, _)| *known == field);
        found.map(|(_, value)| value.as_bytes().to_vec())
    }

    fn address(&self) -> Option<Vec<u8>> {
        self.address.map(|address| address.as_bytes().to_vec())
    }

    fn route(&self, _: RouteFact<'_>) -> Option<Vec<u8>> {
        None
    }

    fn request_body(&self, _: usize) -> Option<Vec<u8>> {
        None
    }

    fn response_headers<T>(&self, read: impl FnOnce(&[Header<'_>]) -> T) -> T {
        read(&[])
    }

    fn origin(&self) -> Origin {
        Origin::Unknown
    }

    fn response_chunk(&self, _: usize) -> Option<Vec<u8>> {
        None
    }
}

fn config(rest: &str) -> Config {
    let policy = format!(r#"{{"version":"1","default":"deny"{rest}}}"#);
    Config::load(policy.as_bytes(), "").unwrap().config
}

fn read(config: &Config, headers: &[(&str, &str)], client: &Client) -> Result<Caller, String> {
    let headers: Vec<_> =
        headers.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())).collect();
    let facts = Facts::of(&headers, &config.headers);
    Caller::read(config, &facts, client).map_err(|refusal| refusal.reason.label().to_owned())
}

#[test]
fn sessions_count_only_where_they_are_vouched_for() {
    let counted = |rest: &str, caller: &str, session: Option<&[u8]>| {
        let config = config(rest);
        let caller = read(&config, &[("authorization", caller)], &Client::default()).unwrap();
        caller.in_session(&config.sessions, session).counted_as(Scope::Session)
    };
    let trusted = r#","sessions":{"trusted":true}"#;
    let grant = counted("", "a", None);
    assert_eq!(counted("", "a", Some(b"s")), grant);
    assert_eq!(counted(trusted, "a", None), grant);
    assert_ne!(counted(trusted, "a", Some(b"s")), grant);
    assert_ne!(
        counted(trusted, "a", Some(b"s")),
        counted(trusted, "b", Some(b"s")),
        "within the grant"
    );
}

#[test]
fn a_claim_names_a_caller_where_it_is_a_name() {
    let config = config(r#","identity":{"grant":{"jwt_claim":"sub"}}"#);
    // To write such a list out takes as much again for each level: 2^60.
    let deep: &str = Box::leak(format!(r#"["b",{}1{}]"#, "[".repeat(60), "]".repeat(60)).into());
    for (claim, expected) in [
        (r#""a""#, "a"),
        ("7", "7"),
        (r#"["b","a"]"#, r#"["a","b"]"#),
        (r#"["b",["a"]]"#, "anonymous"),
        (r#"["b",7]"#, "anonymous"),
        (r#"{"a":"b"}"#, "anonymous"),
        ("[]", "anonymous"),
        (deep, "anonymous"),
    ] {
        let client = Client { claim: Some(claim), ..Client::default() };
        assert_eq!(read(&config, &[], &client).unwrap().label(), expected, "{claim}");
    }
}

#[test]
fn the_first_source_that_yields_names_the_caller() {
    let config = config(
        r#","identity":{"grant":[{"header":"X-Agent"},{"peer":"spiffe"},{"peer":"subject"},{"credential":"x-api-key"},
            {"source":"ip","use_remote_address":true}],"keys":{"team":{"header":"x-team"}}}"#,
    );
    let shows = |certificate: &[_]| Client { certificate: certificate.into(), ..Client::default() };
    let (spiffe, subject) = ((Peer::Spiffe, "spiffe://td/a"), (Peer::Subject, "CN=a"));
    let nobody = Client::default();
    let address = Client { address: Some("[2001:db8::1]:4711"), ..Client::default() };
    for (headers, client, expected) in [
        (vec![("x-agent", "agent-7"), ("x-api-key", "k")], &shows(&[spiffe]), "agent-7"),
        (vec![("x-agent", " ")], &shows(&[spiffe, subject]), "spiffe://td/a"),
        (vec![], &shows(&[(Peer::Spiffe, "https://x"), subject]), "CN=a"),
        (vec![], &address, "2001:db8::1"),
        (vec![], &nobody, "anonymous"),
        (vec![("x-agent", "a"), ("x-agent", "a")], &nobody, "repeated_header"),
        (vec![("x-team", "a"), ("x-team", "b")], &nobody, "repeated_header"),
    ] {
        let found = read(&config, &headers, client);
        let found = found.map_or_else(|reason| reason, |caller| caller.label().to_owned());
        assert_eq!(found, expected, "{headers:?} {client:?}");
    }
    let key = |value: &str| read(&config, &[("x-api-key", value)], &nobody).unwrap();
    assert_eq!(key("k").label().len(), 32);
    assert_ne!(key("k").grant(), key("l").grant());
    let team = |value: &str| read(&config, &[("x-team", value)], &nobody).unwrap();
    assert_eq!(team("sre").key(0), Some(&Value::String("sre".into())));
    assert!(team("sre").names(&config).eq([("team", "sre".to_owned())]));
    assert_ne!(team("sre\u{a0}").counted_as(Scope::Key(0)), team("sre").counted_as(Scope::Key(0)));
    assert_ne!(team("sre").counted_as(Scope::Key(0)), team("dev").counted_as(Scope::Key(0)));
    assert_ne!(team("sre").counted_as(Scope::Key(0)), key("k").counted_as(Scope::Key(0)));
}
