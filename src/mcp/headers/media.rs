//! Media types and base64, as far as the front door needs them.

use base64ct::{Base64, Encoding as _};

use super::{Framing, Header};

/// Whether a content type is `application/json`, with no parameter but `charset=utf-8`. Servers differ in what else they
/// execute: some decode other charsets, so the type must leave no choice.
pub(super) fn is_json(value: &[u8]) -> bool {
    if value == b"application/json" {
        return true;
    }
    let Ok(text) = std::str::from_utf8(value) else {
        return false;
    };
    let mut parts = text.split(';').map(|part| part.trim_matches([' ', '\t']));
    let json = parts.next().is_some_and(|media| media.eq_ignore_ascii_case("application/json"));
    json && parts.all(|parameter| {
        parameter.eq_ignore_ascii_case("charset=utf-8")
            || parameter.eq_ignore_ascii_case("charset=\"utf-8\"")
    })
}

/// What the client accepts, as far as it decides between the two framings.
#[derive(Default)]
pub(super) struct Accept {
    json: bool,
    event_stream: bool,
}

impl Accept {
    pub(super) fn add(&mut self, value: &[u8]) {
        // As nearly all clients say it, since the specification asks them to.
        if matches!(
            value,
            b"application/json, text/event-stream" | b"application/json,text/event-stream"
        ) {
            (self.json, self.event_stream) = (true, true);
            return;
        }
        let text = String::from_utf8_lossy(value);
        for range in text.split(',') {
            let mut parts = range.split(';').map(str::trim);
            let media = parts.next().unwrap_or_default().to_ascii_lowercase();
            let excluded = parts.any(|parameter| {
                let quality = parameter.strip_prefix("q=").or_else(|| parameter.strip_prefix("Q="));
                quality.and_then(|quality| quality.parse::<f32>().ok()) == Some(0.0)
            });
            if excluded {
                continue;
            }
            self.json |= matches!(&*media, "application/json" | "application/*" | "*/*");
            self.event_stream |= matches!(&*media, "text/event-stream" | "text/*");
        }
    }

    pub(super) fn framing(&self) -> Framing {
        if self.event_stream && !self.json { Framing::EventStream } else { Framing::Json }
    }
}

/// Whether the client of a GET asks for events by name.
pub(super) fn wants_events(headers: &[Header<'_>]) -> bool {
    headers.iter().filter(|(name, _)| *name == b"accept").any(|(_, value)| {
        String::from_utf8_lossy(value).to_ascii_lowercase().contains("text/event-stream")
    })
}

/// Standard base64 with padding, nothing lenient.
pub(super) fn base64(encoded: &[u8]) -> Option<Vec<u8>> {
    Base64::decode_vec(std::str::from_utf8(encoded).ok()?).ok()
}
