//! The audit line: one line of JSON for each decision. `policies/schema/audit.schema.json` describes it.
//!
//! A line is one line, and safe on a terminal, whatever callers call their tools: what does not show is written as an escape, which JSON
//! reads back as the same text.
//!
//! Lines can be chained: each holds a digest over itself and the line before it, for each worker thread. Whoever changes a line, or takes
//! one out, breaks the chain; the end of a chain can be cut off, so keep its last number elsewhere too.

use std::fmt::Write as _;

use serde::Serialize;
use serde::ser::{SerializeMap, Serializer};
use serde_json::value::RawValue;
use sha2::{Digest as _, Sha256};

use crate::json::written;
use crate::matcher::fold::invisible;
use crate::mcp::call::Kind;
use crate::metrics::ServiceOutcome;
use crate::policy::compiled::Config;
use crate::policy::settings::ChainEnd;
use crate::rate::window::date;
use crate::record::{CallDetail, Record, RequestTrail};
use crate::time::UnixMillis;

/// The version of the format.
pub const VERSION: u8 = 1;

/// What stands for the digest of a line before the first of a chain.
pub const BEGINNING: &str = "0000000000000000000000000000000000000000000000000000000000000000";

/// What stands between a chained line and its digest, and is no part of what that is a digest of.
pub const BEFORE_DIGEST: &str = r#","digest":""#;

/// What ends a chained line, after its digest.
pub const AFTER_DIGEST: &str = "\"}}";

/// A line.
#[derive(Serialize)]
struct AuditLine<'l> {
    audit: u8,
    time: &'l str,
    #[serde(skip_serializing_if = "str::is_empty")]
    policy: &'l str,
    #[serde(skip_serializing_if = "str::is_empty")]
    digest: &'l str,
    mode: &'l str,
    decision: &'l str,
    #[serde(skip_serializing_if = "str::is_empty")]
    reason: &'l str,
    #[serde(skip_serializing_if = "str::is_empty")]
    rule: &'l str,
    #[serde(skip_serializing_if = "str::is_empty")]
    cause: &'l str,
    #[serde(skip_serializing_if = "str::is_empty")]
    method: &'l str,
    #[serde(skip_serializing_if = "Option::is_none")]
    tool: Option<&'l str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    resource: Option<&'l str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    prompt: Option<&'l str>,
    #[serde(skip_serializing_if = "str::is_empty")]
    grant: &'l str,
    #[serde(skip_serializing_if = "IdentityNames::is_empty")]
    identity: IdentityNames<'l>,
    #[serde(skip_serializing_if = "Option::is_none")]
    session: Option<&'l str>,
    #[serde(skip_serializing_if = "str::is_empty")]
    revision: &'l str,
    #[serde(skip_serializing_if = "str::is_empty")]
    host: &'l str,
    #[serde(skip_serializing_if = "str::is_empty")]
    path: &'l str,
    #[serde(skip_serializing_if = "Option::is_none")]
    arguments_digest: Option<&'l str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    argument_keys: Option<&'l [String]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    arguments: Option<Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    arguments_omitted: Option<&'static str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    limits: Vec<LimitLine<'l>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    counted: Option<&'static str>,
    #[serde(skip_serializing_if = "str::is_empty")]
    approval: &'l str,
    #[serde(skip_serializing_if = "Option::is_none")]
    candidate: Option<AuditedCandidate<'l>>,
    #[serde(skip_serializing_if = "str::is_empty")]
    request_id: &'l str,
    #[serde(skip_serializing_if = "Option::is_none")]
    traceparent: Option<&'l str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    chain: Option<ChainLink<'l>>,
}

#[derive(Serialize)]
struct LimitLine<'l> {
    rule: &'l str,
    counter: &'l str,
    used_percent: u8,
}

#[derive(Serialize)]
struct AuditedCandidate<'l> {
    decision: &'l str,
    #[serde(skip_serializing_if = "str::is_empty")]
    reason: &'l str,
    #[serde(skip_serializing_if = "str::is_empty")]
    rule: &'l str,
}

/// A line's place in its chain. The digest is the last of the line.
#[derive(Serialize)]
struct ChainLink<'l> {
    id: &'l str,
    n: u64,
    digest: &'l str,
}

/// IdentityNames, by their keys.
struct IdentityNames<'l>(&'l [(String, String)]);

impl IdentityNames<'_> {
    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Serialize for IdentityNames<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (key, name) in self.0 {
            map.serialize_entry(key, name)?;
        }
        map.end()
    }
}

/// The line of a record. `draw` begins a chain with a number that nobody else has; where there is none to be had, there is no chain, which
/// `mcp-policy audit verify` tells.
#[must_use]
pub fn line(
    record: &Record,
    trail: &RequestTrail,
    config: &Config,
    now: Option<UnixMillis>,
    draw: impl FnOnce() -> Option<u64>,
) -> String {
    let chain = config.telling.audit.as_ref().and_then(|audit| audit.chain.as_ref());
    let end = chain.and_then(|chain| chain.try_borrow_mut().ok());
    let begun = end.and_then(|end| Some((end.id.or_else(draw)?, end)));
    let Some((number, mut end)) = begun else {
        return plain(&unchained(record, trail, config, now, None));
    };
    let id = format!("{number:016x}");
    let n = end.lines.saturating_add(1);
    let link = ChainLink { id: &id, n, digest: "" };
    let text = plain(&unchained(record, trail, config, now, Some(link)));
    // The digest is empty yet, and the last of the line.
    let prefix = text.strip_suffix(AFTER_DIGEST);
    let prefix = prefix.and_then(|rest| rest.strip_suffix(BEFORE_DIGEST)).unwrap_or(&text);
    let before = if end.digest.is_empty() { BEGINNING } else { &end.digest };
    let digest = link_digest(before, prefix.as_bytes());
    let line = [prefix, BEFORE_DIGEST, &digest, AFTER_DIGEST].concat();
    *end = ChainEnd { id: Some(number), lines: n, digest };
    line
}

/// The digest of a chained line, in hexadecimal: SHA-256 of the digest of the line before it, also in hexadecimal, and of the line up to its
/// own digest.
#[must_use]
pub fn link_digest(before: &str, line: &[u8]) -> String {
    let digest = Sha256::new().chain_update(before).chain_update(line).finalize();
    digest.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn unchained(
    record: &Record,
    trail: &RequestTrail,
    config: &Config,
    now: Option<UnixMillis>,
    chain: Option<ChainLink<'_>>,
) -> String {
    let no_call = CallDetail::default();
    let call = record.call.as_deref().unwrap_or(&no_call);
    let policy = record.policy(config);
    let named = |kind| record.name.as_ref().filter(|(known, _)| *known == kind);
    let name = |kind| named(kind).map(|(_, name)| &**name);
    let limits = record.fills.iter().filter_map(|fill| {
        let counter = policy?.counters.get(fill.counter)?;
        let rule = policy?.rules.pointer(fill.rule);
        Some(LimitLine { rule, counter: &counter.name, used_percent: fill.percent })
    });
    let candidate = record.candidate.as_ref().map(|other| AuditedCandidate {
        decision: other.decision,
        reason: other.reason,
        rule: other.pointer(config, record.policy),
    });
    written(&AuditLine {
        audit: VERSION,
        time: &now.map_or_else(String::new, rfc3339),
        policy: record.policy_name(config),
        digest: policy.map_or("", |policy| &policy.named_digest),
        mode: record.mode(config),
        decision: record.decision,
        reason: record.reason,
        rule: record.pointer(config),
        cause: record.cause,
        method: &record.method,
        tool: name(Kind::Tool),
        resource: name(Kind::Resource),
        prompt: name(Kind::Prompt),
        grant: &record.grant,
        identity: IdentityNames(&record.identity),
        session: trail.session.as_deref(),
        revision: call.revision.as_deref().unwrap_or(&trail.revision),
        host: &trail.host,
        path: &trail.path,
        arguments_digest: call.digest.as_deref(),
        argument_keys: call.keys.as_deref(),
        arguments: call.text.clone().and_then(|text| RawValue::from_string(text).ok()),
        arguments_omitted: call.omitted.then_some("size"),
        limits: limits.collect(),
        counted: record.counted.map(ServiceOutcome::word),
        approval: &record.approval,
        candidate,
        request_id: &trail.request_id,
        traceparent: call.traceparent.as_deref(),
        chain,
    })
}

/// The line with an escape for every character that shows nothing, ends a line or turns the direction. Such characters stand in texts
/// only, where JSON has escapes for them.
fn plain(line: &str) -> String {
    let odd = |character| invisible(character) || matches!(character, '\u{2028}' | '\u{2029}');
    let mut plain = String::with_capacity(line.len());
    for character in line.chars() {
        if odd(character) {
            let mut units = [0; 2];
            for unit in character.encode_utf16(&mut units) {
                let _ = write!(plain, "\\u{unit:04x}");
            }
        } else {
            plain.push(character);
        }
    }
    plain
}

/// A time as RFC 3339 writes it, in UTC and to the millisecond.
#[must_use]
pub fn rfc3339(at: UnixMillis) -> String {
    let (second, millis) = (at.0 / 1000, at.0 % 1000);
    let (year, month, day) = date(second / 86_400);
    let (hour, minute, second) = (second / 3600 % 24, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{millis:03}Z")
}
