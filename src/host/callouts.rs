//! Questions to services beside Envoy, as callouts.

use std::time::Duration;

use proxy_wasm::hostcalls;
use proxy_wasm::types::{BufferType, MapType};

use super::calls::{HostError, buffer, headers};
use crate::ask::Ask;
use crate::bounds::MAX_ANSWER_BYTES;

/// Asks a question, and returns Envoy's number for it. gRPC needs no callbacks of its own, and no second set of ways in which the SDK could panic.
/// The SDK's: its dispatcher panics on an answer to a question that it did not ask.
/// Envoy answers 0, 2 (there is no such cluster) or 10, and the wrapper returns them all.
pub(super) fn ask(ask: &Ask) -> Result<u32, HostError> {
    let timeout = Duration::from_millis(ask.timeout_millis.into());
    hostcalls::dispatch_http_call(&ask.cluster, ask.all_headers(), ask.bytes(), vec![], timeout)
        .map_err(|_| HostError)
}

/// Status and body of the answer that has just come; `None` where none did. Raw, as [`headers`] and [`buffer`] are: a service may say
/// what it likes, and Envoy has no headers (2) where an answer was too large for it.
pub(super) fn answer(size: usize) -> Option<(u16, Vec<u8>)> {
    let headers = headers(MapType::HttpCallResponseHeaders).ok()?;
    let headers = headers.pairs()?;
    let (_, status) = headers.iter().find(|(name, _)| *name == b":status")?;
    let status = std::str::from_utf8(status).ok()?.parse().ok()?;
    // One byte more than is read tells that it is too long.
    let size = size.min(MAX_ANSWER_BYTES + 1);
    let body = buffer(BufferType::HttpCallResponseBody, size).ok()?.unwrap_or_default();
    Some((status, body))
}
