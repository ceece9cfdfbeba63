//! Names of callers as a person states them. They reach the filter as claims of a verified token do, whatever the configured
//! source is: what a real credential or certificate would be called is for Envoy to find out.

use crate::json::Value;
use crate::policy::callers::{Callers, Source};

/// The key of the grant.
pub const GRANT: &str = "grant";

/// The payload that the claims stand in. No provider of Envoy has this name.
const PAYLOAD: &str = "names stated in a rehearsal";

/// A name of a caller: its key, and a text, number, boolean or list of texts.
pub type Name = (String, Value<'static>);

/// Makes stated names the first source of every key. The configured ones stay behind them, for requests that show headers.
pub(super) fn prepend(callers: &mut Callers) {
    let stated =
        |key: &str| Source::JwtClaim { payload: PAYLOAD.into(), claim: [key.into()].into() };
    callers.grant.insert(0, stated(GRANT));
    for key in &mut callers.keys {
        let source = stated(&key.name);
        key.sources.insert(0, source);
    }
}

/// Envoy's dynamic metadata with these names. What is no claim is a text, as other sources yield it.
pub(super) fn metadata(callers: &Callers, names: &[Name]) -> Vec<u8> {
    let claim = |source: &Source| matches!(source, Source::JwtClaim { payload, .. } if **payload != *PAYLOAD);
    let typed = |name: &str| {
        let key = callers.keys.iter().find(|key| *key.name == *name);
        key.map_or(&callers.grant, |key| &key.sources).iter().any(claim)
    };
    let mut claims = Vec::new();
    for (name, found) in names {
        let encoded = match found {
            Value::Bool(flag) if !typed(name) => text(&flag.to_string()),
            Value::Number(number) if !typed(name) => text(number),
            Value::Null
            | Value::Bool(_)
            | Value::Number(_)
            | Value::String(_)
            | Value::Array(_)
            | Value::Object(_) => value(found),
        };
        claims.extend(entry(name, &encoded));
    }
    // Metadata { map<string, Struct> filter_metadata = 1; }
    entry("envoy.filters.http.jwt_authn", &entry(PAYLOAD, &field(5, &claims)))
}

/// `google.protobuf.Value`, as far as names need it.
fn value(found: &Value<'_>) -> Vec<u8> {
    match found {
        Value::String(string) => text(string),
        Value::Number(number) => {
            let mut out = vec![2 << 3 | 1];
            out.extend(number.parse().unwrap_or(f64::NAN).to_le_bytes());
            out
        }
        Value::Bool(flag) => vec![4 << 3, u8::from(*flag)],
        Value::Array(items) => {
            field(6, &items.iter().flat_map(|item| field(1, &value(item))).collect::<Vec<u8>>())
        }
        Value::Null | Value::Object(_) => vec![1 << 3, 0],
    }
}

fn text(string: &str) -> Vec<u8> {
    field(3, string.as_bytes())
}

/// An entry of a map that is field 1.
fn entry(key: &str, value: &[u8]) -> Vec<u8> {
    let mut pair = field(1, key.as_bytes());
    pair.extend(field(2, value));
    field(1, &pair)
}

fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
    let mut out = vec![number << 3 | 2];
    let mut length = bytes.len();
    while length >= 0x80 {
        out.push(0x80 | (length & 0x7f) as u8);
        length >>= 7;
    }
    out.push(length as u8);
    out.extend_from_slice(bytes);
    out
}

#[cfg(test)]
mod tests {
    use crate::json::Value;
    use crate::policy::compiled::Config;
    use crate::rehearsal::{Request, Stage};
    use crate::time::UnixMillis;

    #[test]
    fn names_arrive_as_their_sources_yield_them() {
        let policy = br#"{"version":"1","default":"deny","identity":{"grant":{"header":"x-agent"},"keys":{
            "level":{"jwt_claim":"level"},"admin":{"jwt_claim":"admin"},"roles":{"jwt_claim":"roles"},
            "floor":{"header":"x-floor"},"none":{"header":"x-none"}}}}"#;
        let stage = Stage::new(Config::load(policy, "").unwrap().config);
        let text = |text: &str| Value::String(text.to_owned().into());
        let list = Value::Array(vec![text("b"), text("a")]);
        let three = Value::Number("3".into());
        let long = "x".repeat(300);
        let mut request = Request::new(String::new(), UnixMillis(0));
        request.headers = vec![("x-none".to_owned(), "shown".to_owned())];
        for (key, name) in [
            ("grant", text(&long)),
            ("level", three.clone()),
            ("admin", Value::Bool(true)),
            ("roles", list),
            ("floor", three.clone()),
        ] {
            request.names.push((key.to_owned(), name));
        }
        let caller = stage.caller(&request).unwrap();
        assert_eq!(caller.label(), long);
        let keys: Vec<_> = (0..5).map(|at| caller.key(at).cloned().unwrap()).collect();
        let sorted = Value::Array(vec![text("a"), text("b")]);
        assert_eq!(keys, [three, Value::Bool(true), sorted, text("3"), text("shown")]);
        let anonymous = stage.caller(&Request::new(String::new(), UnixMillis(0))).unwrap();
        assert!(anonymous.is_anonymous() && anonymous.key(0).is_none());
    }
}
