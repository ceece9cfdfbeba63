//! Names of callers as a person states them. They reach the filter as claims of a verified token do, whatever the configured
//! source is: what a real credential or certificate would be called is for Envoy to find out.

use crate::json::Value;
use crate::policy::callers::{Callers, Source};
use crate::world::double;

/// The key of the grant.
pub const GRANT: &str = "grant";

/// The payload that the claims stand in. No provider of Envoy has this name.
const PAYLOAD: &str = "names stated in a rehearsal";

/// A name of a caller: its key, and a text, number, boolean or list of texts.
pub type CallerName = (String, Value<'static>);

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

/// A claim, if it is one of these names. What is no claim by the configuration is a text, as other sources yield it.
pub(super) fn claim(
    callers: &Callers,
    names: &[CallerName],
    payload: &str,
    path: &[Box<str>],
) -> Option<Value<'static>> {
    let [asked] = path else { return None };
    if payload != PAYLOAD {
        return None;
    }
    let (_, found) = names.iter().find(|(name, _)| *name == **asked)?;
    let claim = |source: &Source| matches!(source, Source::JwtClaim { payload, .. } if **payload != *PAYLOAD);
    let key = callers.keys.iter().find(|key| key.name == *asked);
    let typed = key.map_or(&callers.grant, |key| &key.sources).iter().any(claim);
    Some(match found {
        Value::Bool(flag) if !typed => Value::String(flag.to_string().into()),
        Value::Number(number) if !typed => Value::String(number.clone()),
        Value::Null
        | Value::Bool(_)
        | Value::Number(_)
        | Value::String(_)
        | Value::Array(_)
        | Value::Object(_) => carried(found),
    })
}

/// A value as a token's claim reaches the filter, as far as names need it.
fn carried(found: &Value<'static>) -> Value<'static> {
    match found {
        Value::Number(number) => double(number.parse().unwrap_or(f64::NAN)),
        Value::Array(items) => Value::Array(items.iter().map(carried).collect()),
        Value::String(_) | Value::Bool(_) => found.clone(),
        Value::Null | Value::Object(_) => Value::Null,
    }
}

#[cfg(test)]
mod tests {
    use crate::json::Value;
    use crate::policy::compiled::Config;
    use crate::rehearsal::{SimulatedRequest, Simulator};
    use crate::time::UnixMillis;

    #[test]
    fn names_arrive_as_their_sources_yield_them() {
        let policy = br#"{"version":"1","default":"deny","identity":{"grant":{"header":"x-agent"},"keys":{
            "level":{"jwt_claim":"level"},"rank":{"jwt_claim":"rank"},"admin":{"jwt_claim":"admin"},"roles":{"jwt_claim":"roles"},
            "floor":{"header":"x-floor"},"none":{"header":"x-none"}}}}"#;
        let simulator = Simulator::new(Config::load(policy, "").unwrap().config);
        let text = |text: &str| Value::String(text.to_owned().into());
        let list = Value::Array(vec![text("b"), text("a")]);
        let three = Value::Number("3".into());
        let long = "x".repeat(300);
        let mut request = SimulatedRequest::new(String::new(), UnixMillis(0));
        request.headers = vec![("x-none".to_owned(), "shown".to_owned())];
        for (key, name) in [
            ("grant", text(&long)),
            ("level", three.clone()),
            ("rank", Value::Number("3.0".into())),
            ("admin", Value::Bool(true)),
            ("roles", list),
            ("floor", three.clone()),
        ] {
            request.names.push((key.to_owned(), name));
        }
        let caller = simulator.caller(&request).unwrap();
        assert_eq!(caller.label(), long);
        let keys: Vec<_> = (0..6).map(|at| caller.key(at).cloned().unwrap()).collect();
        let sorted = Value::Array(vec![text("a"), text("b")]);
        assert_eq!(
            keys,
            [three.clone(), three, Value::Bool(true), sorted, text("3"), text("shown")]
        );
        let anonymous =
            simulator.caller(&SimulatedRequest::new(String::new(), UnixMillis(0))).unwrap();
        assert!(anonymous.is_anonymous() && anonymous.key(0).is_none());
    }
}
