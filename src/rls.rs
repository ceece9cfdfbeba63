//! Limits that count in the mesh's rate limit service, for all Envoys together: `envoy.service.ratelimit.v3.RateLimitService/ShouldRateLimit`,
//! which Envoy's reference service and Kuadrant's Limitador speak.
//!
//! One question asks for all limits of a call. The policy stays the one place where limits are written: each descriptor carries its maximum.

use sha2::{Digest as _, Sha256};

use crate::ask::{Ask, AskBody, AskId};
use crate::mcp::call::Kind;
use crate::policy::compiled::Policy;
use crate::policy::entry::Scope;
use crate::policy::rules::RuleId;
use crate::policy::settings::RateLimitService;
use crate::proto::{Content, WireField, WireMessage, fields};
use crate::rate::limiter::{Charge, Mode};
use crate::rate::table::{Account, CallerId, CounterId};
use crate::rate::window::Unit;

const METHOD: &str = "/envoy.service.ratelimit.v3.RateLimitService/ShouldRateLimit";

/// `RateLimitResponse.Code`.
const CODE_OK: u64 = 1;
const CODE_OVER_LIMIT: u64 = 2;

/// What a call counts in the service, for one limit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceCharge {
    /// The limit.
    pub rule: RuleId,
    /// What is limited.
    pub kind: Kind,
    /// The counter, by its index in the policy.
    pub counter: usize,
    /// How many the call counts.
    pub hits: u64,
    /// How many are taken at a time.
    pub lease: Option<u32>,
    /// The same as a count in this Envoy.
    pub charge: Charge,
}

impl ServiceCharge {
    /// Whether the limit denies.
    #[must_use]
    pub fn denies(&self) -> bool {
        self.charge.mode == Mode::Enforce
    }

    /// The most that the window admits.
    #[must_use]
    pub fn max(&self) -> u64 {
        self.charge.max.map_or(u64::from(u32::MAX), |max| max.0 / 1_000_000)
    }
}

/// What of a call the operator may have switched off.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SwitchedCall {
    /// What is called, with the kind of name that it is.
    pub kind: Kind,
    /// Its name, short enough for a descriptor.
    pub name: String,
    /// Who calls.
    pub account: Account,
}

/// How many descriptors ask for one call whether it is switched off.
pub const SWITCHES: usize = 3;

impl SwitchedCall {
    /// Under what it is noted that somebody has looked.
    #[must_use]
    pub fn id(&self, policy: &Policy) -> CounterId {
        let mut hash = Sha256::new();
        for part in ["switch", &policy.name, self.kind.word(), &self.name] {
            hash.update((part.len() as u64).to_le_bytes());
            hash.update(part);
        }
        CounterId(hash.finalize().first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes)))
    }

    /// A descriptor each for the policy, for the name in it, and for the caller: none has a limit unless somebody configures one of zero.
    fn descriptors(&self, policy: &Policy) -> [WireMessage; SWITCHES] {
        let caller = format!("{:032x}", self.account.caller.0);
        let entries = |entries: &[(&str, &str)]| {
            entries.iter().fold(WireMessage::default(), |descriptor, (key, value)| {
                descriptor.message(1, &WireMessage::default().text(1, key).text(2, value))
            })
        };
        [
            entries(&[("switch", "policy"), ("policy", &policy.name)]),
            entries(&[
                ("switch", self.kind.word()),
                ("policy", &policy.name),
                ("name", &self.name),
            ]),
            entries(&[("switch", "caller"), ("caller", &caller)]),
        ]
    }
}

/// What the service says of one descriptor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DescriptorStatus {
    /// Whether it is beyond its limit.
    pub is_over: bool,
    /// What is left; `None` where the service does not say.
    pub remaining: Option<u64>,
    /// Milliseconds until the window ends; `None` where the service does not say.
    pub reset_millis: Option<u64>,
}

/// The question for these charges, of which each is asked for so many hits.
#[must_use]
pub fn question(
    service: &RateLimitService,
    policy: &Policy,
    asked: &[(&ServiceCharge, u64)],
    switches: &[SwitchedCall],
) -> Ask {
    let first = asked.first().map_or(1, |(_, hits)| *hits);
    // A look counts one, whatever it is about.
    let alike = asked.iter().all(|(_, hits)| *hits == first) && (switches.is_empty() || first == 1);
    // RateLimitRequest { domain = 1; descriptors = 2; hits_addend = 3; }
    let mut request = WireMessage::default().text(1, &service.domain);
    for (charge, hits) in asked {
        let own = (!alike).then_some(*hits);
        request = request.message(2, &descriptor(policy, charge, own));
    }
    for switch in switches {
        let descriptors = switch.descriptors(policy);
        request = descriptors.iter().fold(request, |request, one| request.message(2, one));
    }
    request = request.number(3, if alike { first } else { 1 });
    Ask {
        id: AskId(0),
        cluster: service.cluster.clone(),
        authority: service.cluster.clone(),
        path: METHOD.into(),
        headers: Vec::new(),
        body: AskBody::Grpc(framed(&request.into_bytes())),
        timeout_millis: service.timeout_millis,
    }
}

/// `RateLimitDescriptor { entries = 1; limit = 2; hits_addend = 3; }`
fn descriptor(policy: &Policy, charge: &ServiceCharge, hits: Option<u64>) -> WireMessage {
    let counter = policy.counters.get(charge.counter);
    let unit = Unit::of(charge.charge.counter.window);
    let scope = counter.map_or("", |counter| scope_word(counter.scope));
    let mut descriptor = WireMessage::default();
    let caller = charge.charge.account.caller;
    let caller = (caller != CallerId::EVERYBODY).then(|| format!("{:032x}", caller.0));
    for (key, value) in [
        ("policy", &*policy.name),
        ("counter", counter.map_or("", |counter| &counter.service_name)),
        ("scope", scope),
        ("window", unit.map_or("", Unit::word)),
    ]
    .into_iter()
    .chain(caller.as_deref().map(|caller| ("caller", caller)))
    {
        // Entry { key = 1; value = 2; }
        descriptor = descriptor.message(1, &WireMessage::default().text(1, key).text(2, value));
    }
    // RateLimitOverride { requests_per_unit = 1; unit = 2; }
    let limit = WireMessage::default().number(1, charge.max());
    let limit = limit.number(2, unit.map_or(0, |unit| unit as u64));
    descriptor = descriptor.message(2, &limit);
    match hits {
        // google.protobuf.UInt64Value { value = 1; }
        Some(hits) => descriptor.message(3, &WireMessage::default().number(1, hits)),
        None => descriptor,
    }
}

/// Whether all callers count together.
#[must_use]
pub fn is_everybodys(scope: Scope) -> bool {
    scope == Scope::Global
}

/// The word of a scope, where callers cannot choose it: a key of `identity.keys` is `key`, for its names are digests.
#[must_use]
pub fn scope_word(scope: Scope) -> &'static str {
    let named = Scope::WORDS.iter().find(|(_, known)| *known == scope);
    named.map_or("key", |(word, _)| word)
}

/// A message of gRPC: not compressed, its length, and itself.
fn framed(message: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0];
    bytes.extend_from_slice(&u32::try_from(message.len()).unwrap_or(u32::MAX).to_be_bytes());
    bytes.extend_from_slice(message);
    bytes
}

/// What the service answers to a question with so many limits, and so many looks at the switch: the status of each. Some services give an answer for all together; then
/// each has it. `None` where it is no answer to that question.
#[must_use]
pub fn read(body: &[u8], limits: usize, looks: usize) -> Option<Vec<DescriptorStatus>> {
    let (0, rest) = body.split_first().map(|(flag, rest)| (*flag, rest))? else { return None };
    let (length, message) = rest.split_first_chunk::<4>()?;
    if usize::try_from(u32::from_be_bytes(*length)).ok()? != message.len() {
        return None;
    }
    // RateLimitResponse { overall_code = 1; statuses = 2; }
    let found = fields(message)?;
    let over = is_over(number(&found, 1)?)?;
    let statuses = found.iter().filter(|field| field.number == 2);
    let statuses: Vec<DescriptorStatus> =
        statuses.map(|field| status(field.bytes()?)).collect::<Option<_>>()?;
    let descriptors = limits + looks;
    if statuses.is_empty() {
        let status = DescriptorStatus { is_over: over, remaining: None, reset_millis: None };
        return Some(vec![status; descriptors]);
    }
    // Who names no limit has counted nothing: Envoy's service has no file for the domain, and takes no notice of the limit that came along.
    if statuses.iter().take(limits).any(|status| !status.is_over && status.remaining.is_none()) {
        return None;
    }
    let some_over = statuses.iter().any(|status| status.is_over);
    (statuses.len() == descriptors && some_over == over).then_some(statuses)
}

/// `DescriptorStatus { code = 1; current_limit = 2; limit_remaining = 3; duration_until_reset = 4; }`
fn status(bytes: &[u8]) -> Option<DescriptorStatus> {
    let found = fields(bytes)?;
    let is_over = is_over(number(&found, 1)?)?;
    let reset = found.iter().find(|field| field.number == 4);
    let reset_millis = match reset {
        None => None,
        // google.protobuf.Duration { seconds = 1; nanos = 2; }
        Some(field) => {
            let parts = fields(field.bytes()?)?;
            let seconds = number(&parts, 1).unwrap_or(0).checked_mul(1000)?;
            Some(seconds.checked_add(number(&parts, 2).unwrap_or(0) / 1_000_000)?)
        }
    };
    // A limit of which nothing is said is none that the service knows: then nothing is known to be left either.
    let limited = found.iter().any(|field| field.number == 2);
    let remaining = limited.then(|| number(&found, 3).unwrap_or(0));
    Some(DescriptorStatus { is_over, remaining, reset_millis })
}

fn is_over(code: u64) -> Option<bool> {
    match code {
        CODE_OK => Some(false),
        CODE_OVER_LIMIT => Some(true),
        _ => None,
    }
}

fn number(fields: &[WireField<'_>], number: u64) -> Option<u64> {
    let field = fields.iter().rev().find(|field| field.number == number)?;
    if let Content::Varint(value) = field.content { Some(value) } else { None }
}

#[cfg(test)]
mod tests {
    use super::{DescriptorStatus, framed, read};
    use crate::proto::WireMessage;

    #[test]
    fn an_answer_is_understood_or_it_is_none() {
        let status = |code, remaining| {
            let limit = WireMessage::default().number(1, 10).number(2, 2);
            let reset = WireMessage::default().number(1, 30).number(2, 500_000_000);
            WireMessage::default()
                .number(1, code)
                .message(2, &limit)
                .number(3, remaining)
                .message(4, &reset)
        };
        let answer = |code, statuses: &[WireMessage]| {
            let message = WireMessage::default().number(1, code);
            let message =
                statuses.iter().fold(message, |message, status| message.message(2, status));
            framed(&message.into_bytes())
        };
        let told = |is_over, remaining| DescriptorStatus {
            is_over,
            remaining: Some(remaining),
            reset_millis: Some(30_500),
        };
        let plain = |is_over| DescriptorStatus { is_over, remaining: None, reset_millis: None };
        for (body, descriptors, expected) in [
            (answer(1, &[status(1, 9)]), 1, Some(vec![told(false, 9)])),
            (
                answer(2, &[status(1, 9), status(2, 0)]),
                2,
                Some(vec![told(false, 9), told(true, 0)]),
            ),
            (answer(1, &[]), 2, Some(vec![plain(false); 2])),
            (answer(2, &[]), 1, Some(vec![plain(true)])),
            (answer(0, &[]), 1, None),
            (answer(3, &[]), 1, None),
            (answer(1, &[status(1, 9)]), 2, None),
            (answer(1, &[status(2, 9)]), 1, None),
            (answer(2, &[status(1, 9)]), 1, None),
            (answer(1, &[status(0, 9)]), 1, None),
            (vec![], 1, None),
            ([&[1][..], answer(1, &[]).get(1..).unwrap()].concat(), 1, None),
            ([answer(1, &[]), vec![0]].concat(), 1, None),
        ] {
            assert_eq!(read(&body, descriptors, 0), expected, "{body:?}");
        }
        let unlimited = WireMessage::default().number(1, 1);
        let body = answer(1, &[status(1, 9), unlimited]);
        assert_eq!(read(&body, 2, 0), None, "a limit that the service does not know");
        assert_eq!(read(&body, 1, 1), Some(vec![told(false, 9), plain(false)]));
        let body = answer(2, &[status(1, 9), status(2, 0)]);
        for at in 0..body.len() {
            let mut broken = body.clone();
            broken[at] ^= 0x15;
            let _ = read(&broken, 2, 0);
            let _ = read(&body[..at], 2, 0);
        }
    }
}
