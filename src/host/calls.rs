//! The host calls that the filter makes, as thin typed wrappers over the proxy-wasm ABI 0.2.1.
//!
//! The Rust SDK's wrappers panic on any status that they do not expect, and on header values that are not UTF-8, which a
//! client chooses: one byte would kill the VM. Here every status is a value, and every text is bytes.
#![expect(
    unsafe_code,
    reason = "the ABI is a C interface; each call is documented where it is made"
)]

use std::ptr::{null_mut, slice_from_raw_parts_mut};

use crate::exchange::HeaderEdit;
use crate::mcp::headers::Header;
use crate::rate::store::Version;
use crate::time::UnixMillis;

type Raw = u32;

const OK: Raw = 0;
const NOT_FOUND: Raw = 1;
const CAS_MISMATCH: Raw = 8;

unsafe extern "C" {
    fn proxy_log(level: Raw, text: *const u8, size: usize) -> Raw;
    fn proxy_get_current_time_nanoseconds(out: *mut u64) -> Raw;
    fn proxy_set_tick_period_milliseconds(period: u32) -> Raw;
    fn proxy_set_effective_context(context: u32) -> Raw;
    fn proxy_continue_stream(stream: Raw) -> Raw;
    fn proxy_get_buffer_bytes(
        kind: Raw,
        start: usize,
        size: usize,
        out: *mut *mut u8,
        out_size: *mut usize,
    ) -> Raw;
    fn proxy_get_header_map_pairs(kind: Raw, out: *mut *mut u8, out_size: *mut usize) -> Raw;
    fn proxy_remove_header_map_value(kind: Raw, name: *const u8, size: usize) -> Raw;
    fn proxy_replace_header_map_value(
        kind: Raw,
        name: *const u8,
        size: usize,
        value: *const u8,
        value_size: usize,
    ) -> Raw;
    fn proxy_set_buffer_bytes(
        kind: Raw,
        start: usize,
        size: usize,
        bytes: *const u8,
        bytes_size: usize,
    ) -> Raw;
    fn proxy_get_property(
        path: *const u8,
        size: usize,
        out: *mut *mut u8,
        out_size: *mut usize,
    ) -> Raw;
    fn proxy_set_property(path: *const u8, size: usize, value: *const u8, value_size: usize)
    -> Raw;
    fn proxy_get_shared_data(
        key: *const u8,
        size: usize,
        out: *mut *mut u8,
        out_size: *mut usize,
        cas: *mut u32,
    ) -> Raw;
    fn proxy_set_shared_data(
        key: *const u8,
        size: usize,
        value: *const u8,
        value_size: usize,
        cas: u32,
    ) -> Raw;
    fn proxy_send_local_response(
        status: u32,
        details: *const u8,
        details_size: usize,
        body: *const u8,
        body_size: usize,
        headers: *const u8,
        headers_size: usize,
        grpc_status: i32,
    ) -> Raw;
}

/// A host call that did not do what it was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct HostError;

/// Levels of Envoy's log.
#[derive(Clone, Copy)]
pub(super) enum Level {
    Warn = 3,
    Error = 4,
}

/// Maps of headers.
#[derive(Clone, Copy)]
pub(super) enum Map {
    Request = 0,
    Response = 2,
}

/// Buffers of bodies and of the configuration.
#[derive(Clone, Copy)]
pub(super) enum Buffer {
    RequestBody = 0,
    ResponseBody = 1,
    PluginConfiguration = 7,
}

pub(super) fn log(level: Level, text: &str) {
    // SAFETY: the host reads `size` bytes at `text` during the call.
    let _ = unsafe { proxy_log(level as Raw, text.as_ptr(), text.len()) };
}

/// The time; `None` if the host does not tell it.
pub(super) fn now() -> Option<UnixMillis> {
    let mut nanoseconds = u64::MAX;
    // SAFETY: the host writes one u64 at the pointer during the call.
    let status = unsafe { proxy_get_current_time_nanoseconds(&raw mut nanoseconds) };
    (status == OK && nanoseconds != u64::MAX).then_some(UnixMillis(nanoseconds / 1_000_000))
}

/// The time for the timer, where a host that does not tell it may as well be at its beginning.
pub(super) fn timer_now() -> UnixMillis {
    now().unwrap_or(UnixMillis(0))
}

/// Asks for `on_tick` every so many milliseconds; zero ends it.
pub(super) fn tick_every(milliseconds: u32) {
    // SAFETY: no pointers.
    let _ = unsafe { proxy_set_tick_period_milliseconds(milliseconds) };
}

/// Makes later calls act on this stream, from outside its own callbacks.
pub(super) fn act_on(context: u32) -> Result<(), HostError> {
    // SAFETY: no pointers.
    done(unsafe { proxy_set_effective_context(context) })
}

/// Lets a paused request go on.
pub(super) fn continue_request() -> Result<(), HostError> {
    // SAFETY: no pointers. 0 is the request.
    done(unsafe { proxy_continue_stream(0) })
}

/// Bytes of a buffer; `None` where there are none.
pub(super) fn buffer(kind: Buffer, size: usize) -> Result<Option<Vec<u8>>, HostError> {
    // SAFETY: as `returned` asks.
    unsafe { returned(|out, out_size| proxy_get_buffer_bytes(kind as Raw, 0, size, out, out_size)) }
}

/// Headers as the host serialises them.
#[derive(Default)]
pub(super) struct Headers(Vec<u8>);

/// All headers of a map, repeated ones included.
pub(super) fn headers(map: Map) -> Result<Headers, HostError> {
    // SAFETY: as `returned` asks.
    let bytes = unsafe { returned(|out, size| proxy_get_header_map_pairs(map as Raw, out, size)) };
    bytes.map(|bytes| Headers(bytes.unwrap_or_default()))
}

/// Removes or sets a header.
pub(super) fn edit_header(map: Map, edit: &HeaderEdit) -> Result<(), HostError> {
    // SAFETY: the host reads name and value during the call.
    done(match edit {
        HeaderEdit::Remove(name) => unsafe {
            proxy_remove_header_map_value(map as Raw, name.as_ptr(), name.len())
        },
        HeaderEdit::Set(name, value) => unsafe {
            proxy_replace_header_map_value(
                map as Raw,
                name.as_ptr(),
                name.len(),
                value.as_ptr(),
                value.len(),
            )
        },
    })
}

/// Puts other bytes in the place of the first `size` ones of a buffer.
pub(super) fn replace(kind: Buffer, size: usize, bytes: &[u8]) -> Result<(), HostError> {
    // SAFETY: the host reads the bytes during the call.
    done(unsafe { proxy_set_buffer_bytes(kind as Raw, 0, size, bytes.as_ptr(), bytes.len()) })
}

/// A property; `None` where there is none.
pub(super) fn property(path: &[&str]) -> Result<Option<Vec<u8>>, HostError> {
    let path = path.join("\0");
    // SAFETY: as `returned` asks; the host reads the path during the call.
    unsafe { returned(|out, size| proxy_get_property(path.as_ptr(), path.len(), out, size)) }
}

/// Sets a value in the stream's filter state, as `wasm.<name>`.
pub(super) fn set_filter_state(name: &str, value: &str) -> Result<(), HostError> {
    // SAFETY: the host reads both during the call.
    done(unsafe { proxy_set_property(name.as_ptr(), name.len(), value.as_ptr(), value.len()) })
}

/// A shared value with its version; `None` where the key is absent.
pub(super) fn shared(key: &str) -> Result<Option<(Vec<u8>, Version)>, HostError> {
    let mut cas = 0;
    // SAFETY: as `returned` asks; the host reads the key and writes one u32 during the call.
    let value = unsafe {
        returned(|out, size| {
            proxy_get_shared_data(key.as_ptr(), key.len(), out, size, &raw mut cas)
        })
    };
    // A value that was set to nothing has a version, and must be replaced under it.
    let present = value?.or_else(|| (cas != 0).then(Vec::new));
    Ok(present.map(|value| (value, Version(cas))))
}

/// Sets a shared value; false if its version has changed.
pub(super) fn set_shared(key: &str, value: &[u8], version: Version) -> Result<bool, HostError> {
    // SAFETY: the host reads key and value during the call.
    let status = unsafe {
        proxy_set_shared_data(key.as_ptr(), key.len(), value.as_ptr(), value.len(), version.0)
    };
    match status {
        OK => Ok(true),
        CAS_MISMATCH => Ok(false),
        _ => Err(HostError),
    }
}

/// Answers the request. `details` is what Envoy's access log calls the response code details.
pub(super) fn reply(
    status: u16,
    details: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> Result<(), HostError> {
    let headers = pack_pairs(headers);
    // SAFETY: the host reads details, body and headers during the call. -1 is "no gRPC status".
    done(unsafe {
        proxy_send_local_response(
            u32::from(status),
            details.as_ptr(),
            details.len(),
            body.as_ptr(),
            body.len(),
            headers.as_ptr(),
            headers.len(),
            -1,
        )
    })
}

fn done(status: Raw) -> Result<(), HostError> {
    if status == OK { Ok(()) } else { Err(HostError) }
}

/// Runs a call that returns bytes, and takes ownership of them.
///
/// # Safety
/// On status 0 `call` must have set its arguments to null, or to memory of that size which the host got from
/// `proxy_on_memory_allocate`, which allocates it as a boxed slice of exactly this length.
unsafe fn returned(
    call: impl FnOnce(*mut *mut u8, *mut usize) -> Raw,
) -> Result<Option<Vec<u8>>, HostError> {
    let mut data: *mut u8 = null_mut();
    let mut size = 0;
    match call(&raw mut data, &raw mut size) {
        OK if data.is_null() => Ok(None),
        OK => {
            // SAFETY: the caller's promise.
            let slice = unsafe { Box::from_raw(slice_from_raw_parts_mut(data, size)) };
            Ok(Some(slice.into_vec()))
        }
        NOT_FOUND => Ok(None),
        _ => Err(HostError),
    }
}

impl Headers {
    /// The headers; `None` if the bytes are not what the ABI says (0.2.1, "serialization"): count, then the sizes of every
    /// name and value, then the names and values, each with a NUL.
    pub(super) fn pairs(&self) -> Option<Vec<Header<'_>>> {
        let bytes = &*self.0;
        let word = |at: usize| {
            let bytes = bytes.get(at..)?.first_chunk()?;
            usize::try_from(u32::from_le_bytes(*bytes)).ok()
        };
        let count = word(0)?;
        let mut data = count.checked_mul(8)?.checked_add(4)?;
        let mut pairs = Vec::with_capacity(count.min(bytes.len()));
        for pair in 0..count {
            let sizes = 4 + pair * 8;
            let mut text = |size: usize| {
                let text = bytes.get(data..data.checked_add(size)?)?;
                data = data.checked_add(size)?.checked_add(1)?;
                Some(text)
            };
            pairs.push((text(word(sizes)?)?, text(word(sizes + 4)?)?));
        }
        Some(pairs)
    }
}

fn pack_pairs(pairs: &[(&str, &str)]) -> Vec<u8> {
    let size = |length: usize| u32::try_from(length).unwrap_or(u32::MAX).to_le_bytes();
    let mut bytes = size(pairs.len()).to_vec();
    for (name, value) in pairs {
        bytes.extend_from_slice(&size(name.len()));
        bytes.extend_from_slice(&size(value.len()));
    }
    for (name, value) in pairs {
        for text in [name, value] {
            bytes.extend_from_slice(text.as_bytes());
            bytes.push(0);
        }
    }
    bytes
}
