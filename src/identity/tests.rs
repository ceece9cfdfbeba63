use super::Caller;
use crate::json::Value;
use crate::mcp::headers::facts::Facts;
use crate::policy::compiled::{Config, Scope};

fn config(rest: &str) -> Config {
    let policy = format!(r#"{{"version":"1","default":"deny"{rest}}}"#);
    Config::load(policy.as_bytes(), "").unwrap().config
}

fn read(
    config: &Config,
    headers: &[(&str, &str)],
    attributes: &[(&str, &str)],
) -> Result<Caller, String> {
    let headers: Vec<_> =
        headers.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())).collect();
    let facts = Facts::of(&headers, &config.headers);
    let attribute = |path: &[&str]| {
        let found = attributes.iter().find(|(name, _)| *name == path.join("."));
        found.map(|(_, value)| value.as_bytes().to_vec())
    };
    Caller::read(config, &facts, &attribute).map_err(|refusal| refusal.reason.label().to_owned())
}

#[test]
fn sessions_count_only_where_they_are_vouched_for() {
    let counted = |rest: &str, caller: &str, session: Option<&[u8]>| {
        let config = config(rest);
        let caller = read(&config, &[("authorization", caller)], &[]).unwrap();
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
fn the_first_source_that_yields_names_the_caller() {
    let config = config(
        r#","identity":{"grant":[{"header":"X-Agent"},{"peer":"spiffe"},{"peer":"subject"},{"credential":"x-api-key"},
            {"source":"ip","use_remote_address":true}],"keys":{"team":{"header":"x-team"}}}"#,
    );
    let spiffe = ("connection.uri_san_peer_certificate", "spiffe://td/a");
    let subject = ("connection.subject_peer_certificate", "CN=a");
    let address = ("source.address", "[2001:db8::1]:4711");
    for (headers, attributes, expected) in [
        (vec![("x-agent", "agent-7"), ("x-api-key", "k")], vec![spiffe], "agent-7"),
        (vec![("x-agent", " ")], vec![spiffe, subject], "spiffe://td/a"),
        (vec![], vec![("connection.uri_san_peer_certificate", "https://x"), subject], "CN=a"),
        (vec![], vec![address], "2001:db8::1"),
        (vec![], vec![], "anonymous"),
        (vec![("x-agent", "a"), ("x-agent", "a")], vec![], "repeated_header"),
        (vec![("x-team", "a"), ("x-team", "b")], vec![], "repeated_header"),
    ] {
        let found = read(&config, &headers, &attributes);
        let found = found.map_or_else(|reason| reason, |caller| caller.label().to_owned());
        assert_eq!(found, expected, "{headers:?} {attributes:?}");
    }
    let key = |value: &str| read(&config, &[("x-api-key", value)], &[]).unwrap();
    assert_eq!(key("k").label().len(), 32);
    assert_ne!(key("k").grant(), key("l").grant());
    let team = |value: &str| read(&config, &[("x-team", value)], &[]).unwrap();
    assert_eq!(team("sre").key(0), Some(&Value::String("sre".into())));
    assert_eq!(team("sre").names(&config), "team=sre");
    assert_ne!(team("sre").counted_as(Scope::Key(0)), team("dev").counted_as(Scope::Key(0)));
    assert_ne!(team("sre").counted_as(Scope::Key(0)), key("k").counted_as(Scope::Key(0)));
}
