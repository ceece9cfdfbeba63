//! `access_log`, `audit`, `metrics` and `tracing`: what is told of decisions.

use std::cell::RefCell;

use crate::json::Value;
use crate::language::diagnostic::Code;
use crate::language::reader::{Field, Fields, Reader};
use crate::policy::log_key::{LogKey, LogKeys};
use crate::policy::settings::{Audit, AuditTarget, AuditedArguments, RedactedPath, Telling};

/// The words of `audit.arguments`.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Said {
    Nothing,
    Keys,
    Redacted,
    Full,
}

const WORDS: [(&str, Said); 4] = [
    ("none", Said::Nothing),
    ("keys", Said::Keys),
    ("redacted", Said::Redacted),
    ("full", Said::Full),
];

pub(super) fn read(fields: &mut Fields<'_>, reader: &mut Reader) -> Option<Telling> {
    let audit = match fields.take("audit") {
        None => Some(None),
        Some(field) => audit(&field, reader).map(Some),
    };
    let metrics = switch(fields, ("metrics", "enabled"), true, reader);
    let traces_from_meta = switch(fields, ("tracing", "from_meta"), false, reader);
    let access_log = match fields.take("access_log") {
        None => Some(LogKeys::ALL),
        Some(field) => access_log(&field, reader),
    };
    Some(Telling {
        audit: audit?,
        metrics: metrics?,
        traces_from_meta: traces_from_meta?,
        access_log: access_log?,
    })
}

fn access_log(field: &Field<'_>, reader: &mut Reader) -> Option<LogKeys> {
    let mut fields = reader.fields(field)?;
    let keys = fields.require("keys", reader);
    reader.close(&fields);
    let items = reader.list(&keys?);
    items.iter().map(|item| reader.word(item, &LogKey::WORDS)).collect()
}

/// A setting of one field, which must be there.
fn switch(
    fields: &mut Fields<'_>,
    (setting, name): (&'static str, &'static str),
    usual: bool,
    reader: &mut Reader,
) -> Option<bool> {
    let Some(field) = fields.take(setting) else { return Some(usual) };
    let mut fields = reader.fields(&field)?;
    let flag = fields.require(name, reader).and_then(|field| reader.flag(&field));
    reader.close(&fields);
    flag
}

fn audit(field: &Field<'_>, reader: &mut Reader) -> Option<Audit> {
    let mut fields = reader.fields(field)?;
    let targets = match fields.take("to") {
        None => Some(vec![AuditTarget::AccessLog]),
        Some(field) => targets(&field, reader),
    };
    let said = match fields.take("arguments") {
        None => Some(Said::Nothing),
        Some(field) => reader.word(&field, &WORDS),
    };
    let redact = fields.take("redact");
    let place = redact.as_ref().map(|field| field.place.clone());
    let paths: Option<Vec<RedactedPath>> =
        redact.map(|field| paths(&field, reader)).unwrap_or(Some(Vec::new()));
    let chain = fields.take("chain").map_or(Some(false), |field| reader.flag(&field));
    reader.close(&fields);
    let place = place.unwrap_or_else(|| fields.place().clone());
    let (said, paths, targets) = (said?, paths?, targets?);
    let arguments = match (said, paths.is_empty()) {
        (Said::Redacted, true) => {
            let message = "`redacted` needs to know what to leave out".to_owned();
            let help = "add \"redact\": [\"/password\"], or say `keys`, `full` or `none`";
            reader.error_with_help(Code::MissingField, &place, message, help.to_owned());
            return None;
        }
        (Said::Redacted, false) => AuditedArguments::Redacted(paths.into()),
        (_, false) => {
            let message = "`redact` is read only with `\"arguments\": \"redacted\"`".to_owned();
            reader.error(Code::NoEffect, &place, message);
            return None;
        }
        (Said::Nothing, true) => AuditedArguments::None,
        (Said::Keys, true) => AuditedArguments::Keys,
        (Said::Full, true) => AuditedArguments::Full,
    };
    Some(Audit {
        to_access_log: targets.contains(&AuditTarget::AccessLog),
        to_log: targets.contains(&AuditTarget::Log),
        arguments,
        chain: chain?.then(RefCell::default),
    })
}

fn targets(field: &Field<'_>, reader: &mut Reader) -> Option<Vec<AuditTarget>> {
    if let Value::String(_) = field.value {
        return Some(vec![reader.word(field, &AuditTarget::WORDS)?]);
    }
    let items = reader.list(field);
    if items.is_empty() {
        let message = "the audit lines go nowhere".to_owned();
        let help = "say `access_log` or `log`, or leave `audit` out".to_owned();
        reader.error_with_help(Code::NoEffect, &field.place, message, help);
        return None;
    }
    items.iter().map(|item| reader.word(item, &AuditTarget::WORDS)).collect()
}

/// JSON Pointers (RFC 6901) into the arguments.
fn paths(field: &Field<'_>, reader: &mut Reader) -> Option<Vec<RedactedPath>> {
    let items = reader.list(field);
    items.iter().map(|item| path(item, reader)).collect()
}

fn path(field: &Field<'_>, reader: &mut Reader) -> Option<RedactedPath> {
    let text = reader.text(field)?;
    let escapes = text
        .match_indices('~')
        .all(|(at, _)| matches!(text.as_bytes().get(at + 1), Some(b'0' | b'1')));
    let Some(rest) = text.strip_prefix('/').filter(|_| escapes) else {
        let message = format!("`{}` is no JSON Pointer to an argument", text.escape_debug());
        let help = "begin it with a slash: \"/password\", \"/card/number\"; a slash in a key is `~1`, and `~` is `~0`";
        reader.error_with_help(Code::BadPath, &field.place, message, help.to_owned());
        return None;
    };
    let plain = |token: &str| token.replace("~1", "/").replace("~0", "~").into();
    Some(rest.split('/').map(plain).collect())
}
