//! Settings beside the policy: how requests are read, sessions trusted, counts kept.

use crate::bounds::{DEFAULT_BODY_BYTES, DEFAULT_ENTRIES, MAX_BODY_BYTES, MAX_ENTRIES};
use crate::policy::compiled::{Batch, Counters, Denials, HoldHeaders, OnError, Requests, Sessions};
use crate::policy::reader::{Fields, Reader};
use crate::rate::limiter::Shards;

pub(super) fn read(
    fields: &mut Fields<'_>,
    reader: &mut Reader,
) -> Option<(Requests, Sessions, Counters, Denials)> {
    if let Some(field) = fields.take("identity") {
        let what = "naming callers by other sources than the authorization header";
        reader.not_supported(&field.place, what);
    }
    let requests = requests(fields, reader);
    let sessions = sessions(fields, reader);
    let counters = counters(fields, reader);
    let denials = denials(fields, reader);
    Some((requests?, sessions?, counters?, denials?))
}

fn denials(fields: &mut Fields<'_>, reader: &mut Reader) -> Option<Denials> {
    let Some(field) = fields.take("denials") else {
        return Some(Denials::Error);
    };
    let mut fields = reader.fields(&field)?;
    let form = fields.require("as", reader).and_then(|field| {
        reader.word(&field, &[("error", Denials::Error), ("tool_result", Denials::ToolResult)])
    });
    reader.close(&fields);
    form
}

fn requests(fields: &mut Fields<'_>, reader: &mut Reader) -> Option<Requests> {
    let defaults = Requests {
        max_body_bytes: DEFAULT_BODY_BYTES,
        batch: Batch::Decide,
        hold_headers: HoldHeaders::Auto,
    };
    let Some(field) = fields.take("requests") else {
        return Some(defaults);
    };
    let mut fields = reader.fields(&field)?;
    let max_body_bytes = match fields.take("max_body_bytes") {
        None => Some(defaults.max_body_bytes),
        Some(field) => {
            let most = u32::try_from(MAX_BODY_BYTES).unwrap_or(u32::MAX);
            reader.whole(&field, 1, most).and_then(|bytes| usize::try_from(bytes).ok())
        }
    };
    let batch = match fields.take("batch") {
        None => Some(defaults.batch),
        Some(field) => reader.word(&field, &[("decide", Batch::Decide), ("deny", Batch::Deny)]),
    };
    let hold_headers = match fields.take("hold_headers") {
        None => Some(defaults.hold_headers),
        Some(field) => reader.word(
            &field,
            &[
                ("auto", HoldHeaders::Auto),
                ("always", HoldHeaders::Always),
                ("never", HoldHeaders::Never),
            ],
        ),
    };
    reader.close(&fields);
    Some(Requests { max_body_bytes: max_body_bytes?, batch: batch?, hold_headers: hold_headers? })
}

fn sessions(fields: &mut Fields<'_>, reader: &mut Reader) -> Option<Sessions> {
    let Some(field) = fields.take("sessions") else {
        return Some(Sessions::Untrusted);
    };
    let mut fields = reader.fields(&field)?;
    if let Some(field) = fields.take("pin") {
        reader.not_supported(&field.place, "pinning sessions");
    }
    let trusted = match fields.take("trusted") {
        None => Some(false),
        Some(field) => reader.flag(&field),
    };
    reader.close(&fields);
    Some(if trusted? { Sessions::Trusted } else { Sessions::Untrusted })
}

fn counters(fields: &mut Fields<'_>, reader: &mut Reader) -> Option<Counters> {
    let defaults =
        Counters { shards: Shards::for_entries(DEFAULT_ENTRIES), on_error: OnError::Deny };
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
        Some(field) => reader.word(&field, &[("deny", OnError::Deny), ("allow", OnError::Allow)]),
    };
    reader.close(&fields);
    Some(Counters { shards: shards?, on_error: on_error? })
}
