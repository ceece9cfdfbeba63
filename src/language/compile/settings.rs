//! Settings beside the policy: how requests are read, sessions trusted, counts kept.

use super::doors;
use crate::bounds::{
    DEFAULT_BODY_BYTES, DEFAULT_BODY_DEPTH, DEFAULT_ENTRIES, DEFAULT_LIST_BYTES,
    DEFAULT_SERVICE_MILLIS, MAX_BODY_BYTES, MAX_BODY_DEPTH, MAX_ENTRIES, MAX_LIST_BYTES,
    MAX_SERVICE_MILLIS, MAX_SWITCH_SECONDS,
};
use crate::language::diagnostic::Code;
use crate::language::reader::{Field, Fields, Reader};
use crate::policy::binding::Bindings;
use crate::policy::doors::Doors;
use crate::policy::sessions::{Pins, Sessions};
use crate::policy::settings::{
    Batch, Counters, Denials, HoldHeaders, OnError, RateLimitService, Requests, ServiceError,
};
use crate::rate::limiter::Shards;

/// The environment variables that hold the secrets of pinned sessions, unless `sessions.secrets` names others.
const SECRET: &str = "MCP_POLICY_SESSION_SECRET";
const OLD_SECRET: &str = "MCP_POLICY_SESSION_SECRET_OLD";

/// All of them.
pub(super) struct Settings {
    pub(super) requests: Requests,
    pub(super) doors: Doors,
    pub(super) max_list_bytes: usize,
    pub(super) sessions: Sessions,
    pub(super) counters: Counters,
    pub(super) denials: Denials,
}

pub(super) fn read(
    fields: &mut Fields<'_>,
    bindings: Option<&Bindings>,
    reader: &mut Reader,
) -> Option<Settings> {
    let requests = requests(fields, bindings, reader);
    let max_list_bytes = max_list_bytes(fields, reader);
    let sessions = sessions(fields, reader);
    let counters = counters(fields, reader);
    let denials = denials(fields, reader);
    let (requests, doors) = requests?;
    Some(Settings {
        requests,
        doors,
        max_list_bytes: max_list_bytes?,
        sessions: sessions?,
        counters: counters?,
        denials: denials?,
    })
}

/// `responses`.
fn max_list_bytes(fields: &mut Fields<'_>, reader: &mut Reader) -> Option<usize> {
    let Some(field) = fields.take("responses") else {
        return Some(DEFAULT_LIST_BYTES);
    };
    let mut fields = reader.fields(&field)?;
    let max_list_bytes = match fields.take("max_list_bytes") {
        None => Some(DEFAULT_LIST_BYTES),
        Some(field) => up_to(&field, MAX_LIST_BYTES, reader),
    };
    reader.close(&fields);
    max_list_bytes
}

fn up_to(field: &Field<'_>, most: usize, reader: &mut Reader) -> Option<usize> {
    let most = u32::try_from(most).unwrap_or(u32::MAX);
    reader.whole(field, 1, most).and_then(|number| usize::try_from(number).ok())
}

fn denials(fields: &mut Fields<'_>, reader: &mut Reader) -> Option<Denials> {
    let Some(field) = fields.take("denials") else {
        return Some(Denials::Error);
    };
    let mut fields = reader.fields(&field)?;
    let form = fields.require("as", reader).and_then(|field| reader.word(&field, &Denials::WORDS));
    reader.close(&fields);
    form
}

fn requests(
    fields: &mut Fields<'_>,
    bindings: Option<&Bindings>,
    reader: &mut Reader,
) -> Option<(Requests, Doors)> {
    let defaults = Requests {
        max_body_bytes: DEFAULT_BODY_BYTES,
        max_depth: DEFAULT_BODY_DEPTH,
        batch: Batch::Decide,
        hold_headers: HoldHeaders::Auto,
    };
    let Some(field) = fields.take("requests") else {
        return Some((defaults, doors::by_default(bindings)));
    };
    let mut fields = reader.fields(&field)?;
    let max_body_bytes = match fields.take("max_body_bytes") {
        None => Some(defaults.max_body_bytes),
        Some(field) => up_to(&field, MAX_BODY_BYTES, reader),
    };
    let max_depth = match fields.take("max_depth") {
        None => Some(defaults.max_depth),
        Some(field) => up_to(&field, MAX_BODY_DEPTH, reader),
    };
    let batch = match fields.take("batch") {
        None => Some(defaults.batch),
        Some(field) => reader.word(&field, &Batch::WORDS),
    };
    let hold_headers = match fields.take("hold_headers") {
        None => Some(defaults.hold_headers),
        Some(field) => reader.word(&field, &HoldHeaders::WORDS),
    };
    let doors = doors::read(&mut fields, bindings, reader);
    reader.close(&fields);
    let (max_body_bytes, max_depth, batch) = (max_body_bytes?, max_depth?, batch?);
    Some((Requests { max_body_bytes, max_depth, batch, hold_headers: hold_headers? }, doors?))
}

fn sessions(fields: &mut Fields<'_>, reader: &mut Reader) -> Option<Sessions> {
    let Some(field) = fields.take("sessions") else {
        return Some(Sessions::Untrusted);
    };
    let mut fields = reader.fields(&field)?;
    let mut flag = |key, fields: &mut Fields<'_>| {
        fields.take(key).map_or(Some(false), |field| reader.flag(&field))
    };
    let (pin, trusted) = (flag("pin", &mut fields), flag("trusted", &mut fields));
    let secrets = fields.take("secrets");
    let named = secrets.is_some();
    let variables = match &secrets {
        None => vec![SECRET.into(), OLD_SECRET.into()],
        Some(field) => variables(field, reader),
    };
    reader.close(&fields);
    let place = fields.place().clone();
    match (pin?, trusted?) {
        (true, true) => {
            let message = "`pin` and `trusted` do not go together".to_owned();
            let help = "pinned sessions need nobody's word; leave `trusted` out".to_owned();
            reader.error_with_help(Code::Contradiction, &place, message, help);
            None
        }
        (true, false) => Some(Sessions::Pinned(Pins { variables, seals: None })),
        (false, _) if named => {
            let message = "`secrets` are only used with `pin: true`".to_owned();
            let help = "leave them out, or add \"pin\": true".to_owned();
            reader.error_with_help(Code::NoEffect, &place, message, help);
            None
        }
        (false, true) => Some(Sessions::Trusted),
        (false, false) => Some(Sessions::Untrusted),
    }
}

/// The names of environment variables. A secret itself has no place in a policy, which people paste around.
pub(super) fn variables(field: &Field<'_>, reader: &mut Reader) -> Vec<Box<str>> {
    let items = reader.list(field);
    if items.is_empty() {
        let message = "expected the name of at least one environment variable".to_owned();
        reader.error(Code::NoEffect, &field.place, message);
    }
    let mut names: Vec<Box<str>> = Vec::new();
    for item in &items {
        let Some(text) = reader.text(item) else { continue };
        let letters = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
        if text.is_empty() || !text.bytes().all(letters) {
            // Not repeated: it might be the secret.
            let message = "not the name of an environment variable".to_owned();
            let help = "the secret itself belongs in vm_config.environment_variables".to_owned();
            reader.error_with_help(Code::BadPattern, &item.place, message, help);
            continue;
        }
        names.push(text.into());
    }
    names
}

fn counters(fields: &mut Fields<'_>, reader: &mut Reader) -> Option<Counters> {
    let defaults = Counters {
        shards: Shards::for_entries(DEFAULT_ENTRIES),
        on_error: OnError::Deny,
        service: None,
    };
    let Some(field) = fields.take("counters") else {
        return Some(defaults);
    };
    let mut fields = reader.fields(&field)?;
    let shards = match fields.take("max_entries") {
        None => Some(defaults.shards),
        Some(field) => reader.whole(&field, 1, MAX_ENTRIES).map(Shards::for_entries),
    };
    let on_error = match fields.take("on_error") {
        None => Some(defaults.on_error),
        Some(field) => reader.word(&field, &OnError::WORDS),
    };
    let service = match fields.take("service") {
        None => Some(None),
        Some(field) => service(&field, reader).map(Some),
    };
    reader.close(&fields);
    Some(Counters { shards: shards?, on_error: on_error?, service: service? })
}

/// `counters.service`.
fn service(field: &Field<'_>, reader: &mut Reader) -> Option<RateLimitService> {
    let mut fields = reader.fields(field)?;
    let cluster = fields.require("cluster", reader).and_then(|field| name(&field, reader));
    let domain = match fields.take("domain") {
        None => Some("mcp_policy".into()),
        Some(field) => name(&field, reader),
    };
    let timeout_millis = match fields.take("timeout") {
        None => Some(DEFAULT_SERVICE_MILLIS),
        Some(field) => reader.whole(&field, 1, MAX_SERVICE_MILLIS),
    };
    let on_error = match fields.take("on_error") {
        None => Some(ServiceError::Deny),
        Some(field) => reader.word(&field, &ServiceError::WORDS),
    };
    let switch = match fields.take("switch") {
        None => Some(None),
        Some(field) => reader.whole(&field, 1, MAX_SWITCH_SECONDS).map(Some),
    };
    reader.close(&fields);
    let (cluster, domain, timeout_millis) = (cluster?, domain?, timeout_millis?);
    let (on_error, switch) = (on_error?, switch?);
    Some(RateLimitService { cluster, domain, timeout_millis, on_error, switch })
}

fn name(field: &Field<'_>, reader: &mut Reader) -> Option<Box<str>> {
    let text = reader.text(field)?;
    if text.is_empty() || text.len() > 256 {
        reader.error(Code::BadPattern, &field.place, "a name must have 1 to 256 bytes".to_owned());
        return None;
    }
    Some(text.into())
}
