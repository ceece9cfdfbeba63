//! Answers of services beside Envoy, which the stream has asked.

use crate::bounds::MAX_ANSWER_BYTES;
use crate::mcp::headers::Header;

/// The headers and the body of an answer; `None` where none came.
pub(super) type Called<'a> = Option<(Vec<Header<'a>>, Vec<&'a [u8]>)>;

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
