//! `approval` of an entry, and `approvals`: who can approve, and what that takes.

use sha2::{Digest as _, Sha256};

use super::condition;
use super::limit;
use super::settings::variables;
use crate::bounds::{
    DEFAULT_APPROVAL_SECONDS, DEFAULT_APPROVALS, DEFAULT_ASK_MILLIS, DEFAULT_COOLDOWN_SECONDS,
    DEFAULT_TOKEN_SECONDS, DEFAULT_WAIT_MILLIS, MAX_APPROVAL_SECONDS, MAX_APPROVALS,
    MAX_ASK_MILLIS, MAX_WAIT_MILLIS,
};
use crate::json::Value;
use crate::language::diagnostic::Code;
use crate::language::reader::{Field, Fields, Place, Reader, describe};
use crate::matcher::path::Path;
use crate::policy::approvals::{
    ApprovalWay, ApprovalWays, Approvals, Approver, AskLimit, Need, Shown, SingleUse, TokenSource,
};
use crate::rate::algorithm::Algorithm;
use crate::rate::limiter::Counter;
use crate::rate::table::CounterId;

/// The environment variables that hold the secrets, unless `approvals.secrets` names others.
const SECRET: &str = "MCP_POLICY_APPROVAL_SECRET";
const OLD_SECRET: &str = "MCP_POLICY_APPROVAL_SECRET_OLD";

/// Reads `approval` of an entry: a word, a list of words, or an object. `None` where it is not there, or refused. `asks` says whether the
/// entry asks for one.
pub(super) fn need(
    fields: &mut Fields<'_>,
    asks: bool,
    reader: &mut Reader,
) -> Option<(Need, Shown)> {
    let field = fields.take("approval")?;
    if !asks {
        let message = "`approval` is read only where the entry asks for one".to_owned();
        let help = "add \"action\": \"require_approval\", or `ask_if` with conditions".to_owned();
        reader.error_with_help(Code::NoEffect, &field.place, message, help);
    }
    let short = Need { by: ApprovalWays::default(), expires: DEFAULT_APPROVAL_SECONDS, once: true };
    let Value::Object(_) = field.value else {
        return ways(&field, reader).map(|by| (Need { by, ..short }, Shown::default()));
    };
    let mut fields = reader.fields(&field)?;
    let by = fields.require("by", reader).and_then(|field| ways(&field, reader));
    let expires = match fields.take("expires") {
        None => Some(short.expires),
        Some(field) => seconds(&field, 1, MAX_APPROVAL_SECONDS, reader),
    };
    let once = fields.take("once").map_or(Some(true), |field| reader.flag(&field));
    let text = limit::text(&mut fields, "text", reader);
    let show = fields.take("show").map(|field| reader.list(&field)).unwrap_or_default();
    let show =
        show.iter().map(|item| condition::argument_path(reader.text(item)?, &item.place, reader));
    let show: Option<Vec<Path>> = show.collect();
    reader.close(&fields);
    let shown = Shown { text, show: show?.into() };
    Some((Need { by: by?, expires: expires?, once: once? }, shown))
}

fn ways(field: &Field<'_>, reader: &mut Reader) -> Option<ApprovalWays> {
    let words = ApprovalWay::WORDS;
    if let Value::String(_) = field.value {
        let way = reader.word(field, &words)?;
        named(way, &field.place, reader);
        return Some(ApprovalWays::default().with(way));
    }
    let Value::Array(items) = field.value else {
        return reader
            .wrong_type(field, "`user`, `approver`, `token`, a list of them, or an object");
    };
    if items.is_empty() {
        let message = "nobody can approve".to_owned();
        let help = "name `user`, `approver` or `token`, or use `\"action\": \"deny\"`".to_owned();
        reader.error_with_help(Code::NoEffect, &field.place, message, help);
        return None;
    }
    let mut ways = ApprovalWays::default();
    for item in reader.list(field) {
        let way = reader.word(&item, &words)?;
        named(way, &item.place, reader);
        ways = ways.with(way);
    }
    Some(ways)
}

/// Notes where an approver is named, so that it can be told if there is none.
fn named(way: ApprovalWay, place: &Place, reader: &mut Reader) {
    if way == ApprovalWay::Approver && reader.names_approver.is_none() {
        reader.names_approver = Some(place.clone());
    }
}

/// Reads `approvals`, after all policies.
pub(super) fn read(
    fields: &mut Fields<'_>,
    reader: &mut Reader,
    namespace: &str,
) -> Option<Approvals> {
    let defaults = Approvals {
        variables: vec![SECRET.into(), OLD_SECRET.into()],
        keys: None,
        max_entries: DEFAULT_APPROVALS,
        wait_millis: DEFAULT_WAIT_MILLIS,
        single_use: SingleUse::Any,
        tokens: TokenSource {
            payload: "mcp_approval".into(),
            longest: DEFAULT_TOKEN_SECONDS,
            pins_policy: false,
        },
        approver: None,
        asks: None,
        legacy: false,
        cooldown: DEFAULT_COOLDOWN_SECONDS,
    };
    let read = match fields.take("approvals") {
        None => Some(defaults),
        Some(field) => block(&field, defaults, reader, namespace),
    };
    if let (Some(Approvals { approver: None, .. }), Some(place)) = (&read, &reader.names_approver) {
        let message = "there is no approver to ask".to_owned();
        let help = "name its cluster: \"approvals\": {\"approver\": {\"cluster\": \"approver\"}}";
        let place = place.clone();
        reader.error_with_help(Code::MissingField, &place, message, help.to_owned());
    }
    read
}

fn block(
    field: &Field<'_>,
    defaults: Approvals,
    reader: &mut Reader,
    namespace: &str,
) -> Option<Approvals> {
    let mut fields = reader.fields(field)?;
    let variables = match fields.take("secrets") {
        None => defaults.variables,
        Some(field) => variables(&field, reader),
    };
    let max_entries = match fields.take("max_entries") {
        None => Some(defaults.max_entries),
        Some(field) => reader.whole(&field, 1, MAX_APPROVALS),
    };
    let tokens = match fields.take("tokens") {
        None => Some(defaults.tokens),
        Some(field) => tokens(&field, defaults.tokens, reader),
    };
    let wait_millis = match fields.take("wait") {
        None => Some(defaults.wait_millis),
        Some(field) => millis(&field, 0, MAX_WAIT_MILLIS, reader),
    };
    let single_use = match fields.take("single_use") {
        None => Some(defaults.single_use),
        Some(field) => reader.word(&field, &SingleUse::WORDS),
    };
    let asks = fields.take("asks").map(|field| asks(&field, reader, namespace));
    let legacy = fields.take("legacy").map_or(Some(false), |field| reader.flag(&field));
    let cooldown = match fields.take("cooldown") {
        None => Some(defaults.cooldown),
        Some(field) => seconds(&field, 0, MAX_APPROVAL_SECONDS, reader),
    };
    let approver = fields.take("approver").map(|field| approver(&field, reader));
    reader.close(&fields);
    Some(Approvals {
        variables,
        keys: None,
        max_entries: max_entries?,
        tokens: tokens?,
        wait_millis: wait_millis?,
        single_use: single_use?,
        approver: given(approver)?,
        asks: given(asks)?,
        cooldown: cooldown?,
        legacy: legacy?,
    })
}

/// What was not there is nothing; what was refused is an error.
#[expect(clippy::option_option, reason = "nothing where it was refused, as every field here")]
fn given<T>(read: Option<Option<T>>) -> Option<Option<T>> {
    match read {
        None => Some(None),
        Some(read) => read.map(Some),
    }
}

/// `asks`, a rate. It counts for a caller, whatever he asks about.
fn asks(field: &Field<'_>, reader: &mut Reader, namespace: &str) -> Option<AskLimit> {
    let (max, window) = limit::shorthand(field, reader)?;
    let text = format!("{namespace}\0approvals.asks\0{window:?}");
    let digest = Sha256::digest(text);
    let id = CounterId(digest.first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes)));
    Some(AskLimit { counter: Counter { id, window, algorithm: Algorithm::Fixed }, max })
}

fn tokens(field: &Field<'_>, defaults: TokenSource, reader: &mut Reader) -> Option<TokenSource> {
    let mut fields = reader.fields(field)?;
    let payload = match fields.take("payload") {
        None => Some(defaults.payload),
        Some(field) => reader.text(&field).map(Into::into),
    };
    let longest = match fields.take("longest") {
        None => Some(defaults.longest),
        Some(field) => seconds(&field, 1, MAX_APPROVAL_SECONDS, reader),
    };
    let pins_policy = fields.take("pin_policy").map_or(Some(false), |field| reader.flag(&field));
    reader.close(&fields);
    Some(TokenSource { payload: payload?, longest: longest?, pins_policy: pins_policy? })
}

fn approver(field: &Field<'_>, reader: &mut Reader) -> Option<Approver> {
    let mut fields = reader.fields(field)?;
    let cluster = fields.require("cluster", reader).and_then(|field| visible(&field, reader));
    let authority = fields.take("authority").map(|field| visible(&field, reader));
    let authority = authority.unwrap_or_else(|| cluster.clone());
    let path = path(&mut fields, "path", "/access/v1/evaluation", reader);
    let requests = self::path(&mut fields, "requests", "/access/v1/requests", reader);
    let variable = match fields.take("authorization") {
        None => Some(None),
        Some(field) => variables_of(&field, reader).map(Some),
    };
    let timeout_millis = match fields.take("timeout") {
        None => Some(DEFAULT_ASK_MILLIS),
        Some(field) => millis(&field, 1, MAX_ASK_MILLIS, reader),
    };
    let sends_arguments = match fields.take("send") {
        None => Some(true),
        Some(field) => reader.word(&field, &[("arguments", true), ("digest", false)]),
    };
    let links = fields.take("links").map_or(Some(Vec::new()), |field| links(&field, reader));
    reader.close(&fields);
    Some(Approver {
        cluster: cluster?,
        authority: authority?,
        path: path?,
        requests: requests?,
        variable: variable?,
        authorization: None,
        timeout_millis: timeout_millis?,
        sends_arguments: sends_arguments?,
        links: links?,
    })
}

/// One name of an environment variable.
fn variables_of(field: &Field<'_>, reader: &mut Reader) -> Option<Box<str>> {
    let one = Value::Array(vec![field.value.clone()]);
    let list = Field { value: &one, place: field.place.clone() };
    variables(&list, reader).pop()
}

/// A text that can stand in a header.
fn visible(field: &Field<'_>, reader: &mut Reader) -> Option<Box<str>> {
    let text = reader.text(field)?;
    if text.is_empty() || text.len() > 256 || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        let message =
            format!("expected 1 to 256 visible characters, found {}", describe(field.value));
        reader.error(Code::BadPattern, &field.place, message);
        return None;
    }
    Some(text.into())
}

fn path(
    fields: &mut Fields<'_>,
    key: &'static str,
    default: &str,
    reader: &mut Reader,
) -> Option<Box<str>> {
    let Some(field) = fields.take(key) else { return Some(default.into()) };
    let path = visible(&field, reader)?;
    if !path.starts_with('/') || path.contains(['?', '#', '%']) || path.contains("..") {
        let message = format!("not a plain path: {}", describe(field.value));
        let help = format!("such as `{default}`");
        reader.error_with_help(Code::BadPattern, &field.place, message, help);
        return None;
    }
    Some(path.trim_end_matches('/').into())
}

fn links(field: &Field<'_>, reader: &mut Reader) -> Option<Vec<Box<str>>> {
    let mut links = Vec::new();
    for item in reader.list(field) {
        let link = visible(&item, reader)?;
        // The host has to end within the prefix: `https://a.example` would let `https://a.example.evil` pass.
        let host = link.strip_prefix("https://").and_then(|rest| rest.split_once('/'));
        if !host.is_some_and(|(host, _)| !host.is_empty() && !host.contains(['@', '?', '#', '\\']))
        {
            let message =
                format!("not the beginning of an https address: {}", describe(item.value));
            let help = "such as `https://approvals.example.com/`, with the slash".to_owned();
            reader.error_with_help(Code::BadPattern, &item.place, message, help);
            return None;
        }
        links.push(link);
    }
    Some(links)
}

fn millis(field: &Field<'_>, least: u32, most: u32, reader: &mut Reader) -> Option<u32> {
    seconds(field, least, most / 1000, reader).map(|seconds| seconds * 1000)
}

/// A length of time: whole seconds, or such as `90s`, `5m`, `24h`.
fn seconds(field: &Field<'_>, least: u32, most: u32, reader: &mut Reader) -> Option<u32> {
    let Value::String(text) = field.value else {
        return reader.whole(field, least, most);
    };
    let found = limit::length(text).filter(|seconds| (least..=most).contains(seconds));
    if found.is_none() {
        let message = format!("not a length of time: {}", describe(field.value));
        let help = format!("such as 90s, 5m or 24h, from {least} to {most} seconds");
        reader.error_with_help(Code::BadWindow, &field.place, message, help);
    }
    found
}
