//! Whether the server answered a call with an error, told from the response as it streams by.
//!
//! Nothing is held back: the observer looks at a copy, bounded by [`MAX_OBSERVED_BYTES`]. What it cannot read is no proof of
//! an error, so the call stays counted.

use super::sse::{EventStream, EventVerdict};
use crate::bounds::MAX_OBSERVED_BYTES;
use crate::json::{Duplicates, Value, parse};
use crate::number::Decimal;

/// Looks for JSON-RPC errors in one HTTP response.
#[derive(Debug)]
pub struct Observer {
    form: ObservedForm,
    waiting: Vec<String>,
}

#[derive(Debug)]
enum ObservedForm {
    Json(Vec<u8>),
    EventStream(EventStream),
    Finished,
}

/// The form of a response body, by its headers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyForm {
    /// One JSON text.
    Json,
    /// Server-sent events.
    EventStream,
    /// Events to some readers: compressed, in another charset than UTF-8, or of a media type like theirs.
    OddEvents,
    /// JSON to some readers: in another charset than UTF-8.
    OddJson,
    /// Something in which no error can be found.
    Opaque,
}

impl BodyForm {
    /// Reads the form from content type and content encoding.
    #[must_use]
    pub fn of(content_type: Option<&[u8]>, encoded: bool) -> BodyForm {
        let value = content_type.unwrap_or_default().to_ascii_lowercase();
        let mut parts = value.split(|&byte| byte == b';').map(<[u8]>::trim_ascii);
        let form = match parts.next().unwrap_or_default() {
            b"application/json" => BodyForm::Json,
            b"text/event-stream" => BodyForm::EventStream,
            // Some clients look for this word anywhere (httpx-sse 0.4).
            _ if contains(&value, b"event-stream") => return BodyForm::OddEvents,
            _ => return BodyForm::Opaque,
        };
        // Some clients decode whatever charset is named (httpx): what is read here and there must be one text.
        let utf8: [&[u8]; 2] = [b"charset=utf-8", b"charset=\"utf-8\""];
        let other = parts.any(|part| contains(part, b"charset") && !utf8.contains(&part));
        match form {
            _ if !encoded && !other => form,
            BodyForm::EventStream | BodyForm::OddEvents => BodyForm::OddEvents,
            BodyForm::Json | BodyForm::OddJson if other => BodyForm::OddJson,
            BodyForm::Json | BodyForm::OddJson | BodyForm::Opaque => BodyForm::Opaque,
        }
    }
}

/// Who made a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The server, or a proxy behind us.
    Server,
    /// The gateway, which had not sent the request to anybody.
    NeverSent,
    /// Nobody: the server sent the request elsewhere, and the gateway follows, as if it came anew.
    SentOn,
    /// The gateway, which may have sent it; or nobody tells.
    Unknown,
}

/// Whether a response tells what became of a call: the server answered, or the call was never sent.
/// Any other answer of the gateway's own, such as a time-out, leaves open whether the server did what it was asked; and so does one by
/// which a proxy behind us says the same.
#[must_use]
pub fn is_conclusive(origin: Origin, status: u16) -> bool {
    match origin {
        Origin::Server => !matches!(status, 502..=504),
        Origin::NeverSent => true,
        Origin::SentOn | Origin::Unknown => false,
    }
}

impl Observer {
    /// An observer that waits for the responses to these ids (raw JSON).
    #[must_use]
    pub fn new(form: BodyForm, ids: Vec<String>) -> Observer {
        let form = match form {
            BodyForm::Json => ObservedForm::Json(Vec::new()),
            BodyForm::EventStream => {
                ObservedForm::EventStream(EventStream::new(MAX_OBSERVED_BYTES))
            }
            BodyForm::OddEvents | BodyForm::OddJson | BodyForm::Opaque => ObservedForm::Finished,
        };
        Observer { form, waiting: ids }
    }

    /// Whether more of the body can still tell something.
    #[must_use]
    pub fn is_watching(&self) -> bool {
        !matches!(self.form, ObservedForm::Finished) && !self.waiting.is_empty()
    }

    /// Takes the next bytes; `end` where they are the last. Returns the ids that were answered with an error.
    pub fn push(&mut self, chunk: &[u8], end: bool) -> Vec<String> {
        let mut failed = Vec::new();
        let waiting = &mut self.waiting;
        match &mut self.form {
            ObservedForm::Json(copy) if copy.len() + chunk.len() > MAX_OBSERVED_BYTES => {
                self.form = ObservedForm::Finished;
            }
            ObservedForm::Json(copy) => {
                copy.extend_from_slice(chunk);
                if end {
                    settle(copy, waiting, &mut failed);
                }
            }
            ObservedForm::EventStream(events) => {
                events.push(chunk, &mut |data| {
                    if let Some(data) = data {
                        settle(data, waiting, &mut failed);
                    }
                    EventVerdict::Pass
                });
            }
            ObservedForm::Finished => {}
        }
        failed
    }
}

fn contains(text: &[u8], word: &[u8]) -> bool {
    text.windows(word.len()).any(|window| window == word)
}

/// Moves the ids that the message (or batch) answers out of `waiting`; those answered with an error into `failed`.
fn settle(bytes: &[u8], waiting: &mut Vec<String>, failed: &mut Vec<String>) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    let Ok(value) = parse(text, Duplicates::Refuse) else {
        return;
    };
    let messages =
        if let Value::Array(messages) = &value { messages } else { std::slice::from_ref(&value) };
    for message in messages {
        let Some(message) = message.as_object().filter(|message| message.get("method").is_none())
        else {
            continue;
        };
        let error = message.get("error").is_some_and(|error| error.as_object().is_some());
        let result = message.get("result").is_some();
        if error == result {
            continue;
        }
        let Some(id) = message.get("id") else {
            continue;
        };
        let Some(at) = waiting.iter().position(|raw| answers(id, raw)) else {
            continue;
        };
        let raw = waiting.swap_remove(at);
        if error {
            failed.push(raw);
        }
    }
}

/// Whether the id of a response is that of the request, however it is spelled.
fn answers(id: &Value<'_>, raw: &str) -> bool {
    match (id, parse(raw, Duplicates::Refuse)) {
        (Value::Number(left), Ok(Value::Number(right))) => {
            left == &right
                || Decimal::parse(left).is_some_and(|left| Decimal::parse(&right) == Some(left))
        }
        (left, Ok(right)) => *left == right,
        (_, Err(_)) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::{BodyForm, Observer, Origin, is_conclusive};

    #[test]
    fn a_time_out_concludes_nothing() {
        for (origin, status, expected) in [
            (Origin::Server, 500, true),
            (Origin::Server, 502, false),
            (Origin::Server, 503, false),
            (Origin::Server, 504, false),
            (Origin::NeverSent, 503, true),
            (Origin::Unknown, 504, false),
            (Origin::Unknown, 500, false),
            (Origin::SentOn, 307, false),
        ] {
            assert_eq!(is_conclusive(origin, status), expected, "{origin:?} {status}");
        }
    }

    #[test]
    fn a_media_type_leaves_one_reading() {
        for (value, encoded, expected) in [
            ("application/json", false, BodyForm::Json),
            ("Application/JSON ; Charset=UTF-8;v=1", false, BodyForm::Json),
            ("text/event-stream;charset=\"utf-8\"", false, BodyForm::EventStream),
            ("text/event-stream", true, BodyForm::OddEvents),
            ("text/event-stream; charset=utf-16", false, BodyForm::OddEvents),
            ("application/json; charset=utf-8; charset=utf-7", false, BodyForm::OddJson),
            ("application/json; charset*=utf-16''x", false, BodyForm::OddJson),
            ("application/json, text/event-stream", false, BodyForm::OddEvents),
            ("x-text/event-stream", false, BodyForm::OddEvents),
            ("text/plain", true, BodyForm::Opaque),
            ("application/jsonx", false, BodyForm::Opaque),
            ("", false, BodyForm::Opaque),
        ] {
            assert_eq!(BodyForm::of(Some(value.as_bytes()), encoded), expected, "{value}");
        }
    }

    #[test]
    fn finds_errors_of_its_calls() {
        let sse = BodyForm::EventStream;
        for (form, body, expected) in [
            (
                BodyForm::Json,
                r#"{"jsonrpc":"2.0","id":1,"error":{"code":1,"message":"x"}}"#,
                vec!["1"],
            ),
            (BodyForm::Json, r#"{"error":{},"id":1.0}"#, vec!["1"]),
            (BodyForm::Json, r#"{"jsonrpc":"2.0","id":1,"result":{"isError":true}}"#, vec![]),
            (BodyForm::Json, r#"{"id":1,"result":{},"error":{}}"#, vec![]),
            (BodyForm::Json, r#"{"id":2,"error":{}}"#, vec![]),
            (BodyForm::Json, r#"{"id":1,"error":{}"#, vec![]),
            (BodyForm::Json, r#"[{"id":"\u0061","error":{}},{"id":1,"result":{}}]"#, vec!["\"a\""]),
            (
                sse,
                "data: {\"method\":\"ping\",\"id\":1,\"error\":{}}\n\ndata: {\"id\":1,\"error\":{}}\n\n",
                vec!["1"],
            ),
            (sse, "data: {\"id\":1,\n", vec![]),
            (BodyForm::Opaque, r#"{"id":1,"error":{}}"#, vec![]),
        ] {
            for chunk in [1, 7, 1000] {
                let mut observer = Observer::new(form, vec!["1".into(), "\"a\"".into()]);
                let mut failed = Vec::new();
                for bytes in body.as_bytes().chunks(chunk) {
                    failed.extend(observer.push(bytes, false));
                }
                failed.extend(observer.push(b"", true));
                assert_eq!(failed, expected, "{body}");
            }
        }
    }
}
