//! Questions to services beside Envoy, as callouts of the stream.

use super::abi::Filter;
use crate::ask::{Ask, AskBody};
use crate::bounds::MAX_ANSWER_BYTES;
use crate::mcp::headers::Header;

const JSON: [(&str, &str); 2] =
    [("accept", "application/json"), ("content-type", "application/json")];

/// Unary gRPC is a POST by HTTP/2 with a frame around the message.
const GRPC: [(&str, &str); 2] = [("te", "trailers"), ("content-type", "application/grpc")];

/// The headers and the body of an answer; `None` where none came.
pub(super) type Called<'a> = Option<(Vec<Header<'a>>, Vec<&'a [u8]>)>;

/// Asks a question, and returns Envoy's number for it; `None` if it cannot be asked.
pub(super) fn ask(filter: &mut Filter<'_>, ask: &Ask) -> Option<u64> {
    let mut headers =
        vec![(":method", ask.method()), (":path", &*ask.path), (":authority", &*ask.authority)];
    let (media, body) = match &ask.body {
        AskBody::Nothing => (&[("accept", "application/json")][..], None),
        AskBody::Json(text) => (&JSON[..], Some(text.as_bytes())),
        AskBody::Grpc(bytes) => (&GRPC[..], Some(&**bytes)),
    };
    headers.extend(media);
    headers.extend(ask.headers.iter().map(|(name, value)| (*name, &**value)));
    filter.ask(ask, &headers, body)
}

/// Status and body of an answer; `None` where it is none.
pub(super) fn read((headers, chunks): &(Vec<Header<'_>>, Vec<&[u8]>)) -> Option<(u16, Vec<u8>)> {
    let (_, status) = headers.iter().find(|(name, _)| *name == b":status")?;
    let status = std::str::from_utf8(status).ok()?.parse().ok()?;
    let mut body = Vec::new();
    for chunk in chunks {
        // One byte more than is read tells that it is too long.
        let room = (MAX_ANSWER_BYTES + 1).saturating_sub(body.len());
        body.extend_from_slice(chunk.get(..room).unwrap_or(chunk));
    }
    Some((status, body))
}
