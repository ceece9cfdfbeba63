//! The host calls that the filter makes: by the SDK where its wrapper takes all that Envoy can answer for a value, else raw.
//!
//! A panic ends the VM, and with it every request of this worker. The SDK's wrappers panic on each status that they do not list, and
//! what Envoy answers differs by call (its `context.cc`, and `exports.cc` of proxy-wasm-cpp-host). One answer any call can get: 10,
//! internal failure, where an operator's `capability_restriction_config` leaves the call out. So a call is raw if its wrapper panics on
//! what Envoy can answer or on bytes that others choose, or lacks a parameter; "Raw" says beside each which it is, and what becomes of
//! the request instead.
//!
//! Raw statuses are numbers: the SDK's `Status` lists 8 of the ABI's 13, and to make it of another number is undefined.
#![expect(
    unsafe_code,
    reason = "the ABI is a C interface; each call is documented where it is made"
)]

use std::borrow::Cow;
use std::ptr::{null_mut, slice_from_raw_parts_mut};

use proxy_wasm::hostcalls;
use proxy_wasm::types::{BufferType, LogLevel, MapType, StreamType};

use crate::exchange::HeaderEdit;
use crate::mcp::headers::Header;
use crate::metrics::MeterKind;
use crate::rate::store::Version;
use crate::time::{Moment, UnixMillis};
use crate::world::Random;

type Raw = u32;

const OK: Raw = 0;
const NOT_FOUND: Raw = 1;
const CAS_MISMATCH: Raw = 8;

/// The clock of WASI that is never set.
const MONOTONIC: u32 = 1;

#[link(wasm_import_module = "wasi_snapshot_preview1")]
unsafe extern "C" {
    fn clock_time_get(clock: u32, precision: u64, out: *mut u64) -> Raw;
    fn random_get(out: *mut u8, size: usize) -> Raw;
}

unsafe extern "C" {
    fn proxy_log(level: LogLevel, text: *const u8, size: usize) -> Raw;
    fn proxy_get_current_time_nanoseconds(out: *mut u64) -> Raw;
    fn proxy_set_tick_period_milliseconds(period: u32) -> Raw;
    fn proxy_set_effective_context(context: u32) -> Raw;
    fn proxy_continue_stream(stream: StreamType) -> Raw;
    fn proxy_get_buffer_bytes(
        kind: BufferType,
        start: usize,
        size: usize,
        out: *mut *mut u8,
        out_size: *mut usize,
    ) -> Raw;
    fn proxy_get_header_map_pairs(kind: MapType, out: *mut *mut u8, out_size: *mut usize) -> Raw;
    fn proxy_remove_header_map_value(kind: MapType, name: *const u8, size: usize) -> Raw;
    fn proxy_replace_header_map_value(
        kind: MapType,
        name: *const u8,
        size: usize,
        value: *const u8,
        value_size: usize,
    ) -> Raw;
    fn proxy_set_buffer_bytes(
        kind: BufferType,
        start: usize,
        size: usize,
        bytes: *const u8,
        bytes_size: usize,
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
    fn proxy_define_metric(kind: u32, name: *const u8, size: usize, out: *mut u32) -> Raw;
    fn proxy_record_metric(id: u32, value: u64) -> Raw;
    fn proxy_increment_metric(id: u32, offset: i64) -> Raw;
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

/// Whether the host takes messages for its log. Raw, and asked once: the SDK's logger panics on any answer but 0. To a message in the VM's
/// memory at one of the six levels Envoy gives no other but 10; and that from the start and to all, so that one question tells.
pub(super) fn takes_messages() -> bool {
    // SAFETY: no bytes are read. An empty message at the lowest level shows only where all is shown.
    let status = unsafe { proxy_log(LogLevel::Trace, [].as_ptr(), 0) };
    status == OK
}

/// The time; `None` if the host does not tell it. Raw: 10 refuses the request, and so does a time that was not told, which the wrapper
/// takes for 1970.
pub(super) fn now() -> Option<UnixMillis> {
    let mut nanoseconds = u64::MAX;
    // SAFETY: the host writes one u64 at the pointer during the call.
    let status = unsafe { proxy_get_current_time_nanoseconds(&raw mut nanoseconds) };
    (status == OK && nanoseconds != u64::MAX).then_some(UnixMillis(nanoseconds / 1_000_000))
}

/// The time by both clocks; `None` if the host does not tell the one on the wall. Raw: Rust's own clock panics where a restriction leaves
/// the call out. Then all the time that the wall clock tells has passed, as far as the filter knows.
pub(super) fn moment() -> Option<Moment> {
    let running = running().map(|nanoseconds| nanoseconds / 1_000_000);
    let wall = now()?;
    Some(running.map_or(Moment::from(wall), |running| Moment { wall, running }))
}

/// Nanoseconds by the clock that cannot be set; `None` where there is none.
pub(super) fn running() -> Option<u64> {
    let mut nanoseconds = u64::MAX;
    // SAFETY: the host writes one u64 at the pointer during the call.
    let status = unsafe { clock_time_get(MONOTONIC, 1, &raw mut nanoseconds) };
    // A host without such a clock may say 0, always.
    (status == OK && nanoseconds != 0 && nanoseconds != u64::MAX).then_some(nanoseconds)
}

/// Bytes of the host's generator; `None` if it has none for us. Raw: Rust has no stable function for them, and where a restriction leaves
/// the call out nobody can be asked for approval.
pub(super) fn random() -> Option<Random> {
    let mut bytes: Random = [0; _];
    // SAFETY: the host writes so many bytes at the pointer during the call.
    let status = unsafe { random_get(bytes.as_mut_ptr(), bytes.len()) };
    // Envoy's own answer to a call that is left out is 10; a host that writes nothing would seal everything alike.
    (status == OK && bytes != [0; _]).then_some(bytes)
}

/// Asks for `on_tick` every so many milliseconds; zero ends it. Raw: under 10 held requests wait for their bodies unwatched.
pub(super) fn tick_every(milliseconds: u32) {
    // SAFETY: no pointers.
    let _ = unsafe { proxy_set_tick_period_milliseconds(milliseconds) };
}

/// Makes later calls act on this stream, from outside its own callbacks. Raw: under 10 the request keeps waiting, as under 2, a stream
/// that is gone.
pub(super) fn act_on(context: u32) -> Result<(), HostError> {
    // SAFETY: no pointers.
    done(unsafe { proxy_set_effective_context(context) })
}

/// Lets a paused request go on. Raw: under 10 it keeps waiting.
pub(super) fn continue_request() -> Result<(), HostError> {
    // SAFETY: no pointers.
    done(unsafe { proxy_continue_stream(StreamType::HttpRequest) })
}

/// Bytes of a buffer; `None` where there are none. Raw: 10 refuses the request or withholds the response.
pub(super) fn buffer(kind: BufferType, size: usize) -> Result<Option<Vec<u8>>, HostError> {
    // SAFETY: as `returned` asks.
    unsafe { returned(|out, out_size| proxy_get_buffer_bytes(kind, 0, size, out, out_size)) }
}

/// Headers as the host serialises them.
#[derive(Default)]
pub(super) struct Headers(Vec<u8>);

/// All headers of a map, repeated ones included. Raw: 10 refuses the request; and the wrapper makes a `String` of every name, where Envoy
/// keeps names that are no text from clients, but not from its other filters.
pub(super) fn headers(map: MapType) -> Result<Headers, HostError> {
    // SAFETY: as `returned` asks.
    let bytes = unsafe { returned(|out, size| proxy_get_header_map_pairs(map, out, size)) };
    bytes.map(|bytes| Headers(bytes.unwrap_or_default()))
}

/// Removes or sets a header. Raw: 2 if the headers have gone ahead, as those of a client with a slow body have, and 10.
pub(super) fn edit_header(map: MapType, edit: &HeaderEdit) -> Result<(), HostError> {
    // SAFETY: the host reads name and value during the call.
    done(match edit {
        HeaderEdit::Remove(name) => unsafe {
            proxy_remove_header_map_value(map, name.as_ptr(), name.len())
        },
        HeaderEdit::Set(name, value) => unsafe {
            proxy_replace_header_map_value(
                map,
                name.as_ptr(),
                name.len(),
                value.as_ptr(),
                value.len(),
            )
        },
    })
}

/// Puts other bytes in the place of the first `size` ones of a buffer. Raw: 2 if Envoy has no buffer there, or more in it, and 10; the
/// response is withheld.
pub(super) fn replace(kind: BufferType, size: usize, bytes: &[u8]) -> Result<(), HostError> {
    // SAFETY: the host reads the bytes during the call.
    done(unsafe { proxy_set_buffer_bytes(kind, 0, size, bytes.as_ptr(), bytes.len()) })
}

/// A property; `None` where there is none. The SDK's: Envoy answers 0, 1, 3 (a value without serial form) or 10, and the wrapper returns
/// them all. `Context::get_property` does not: it unwraps.
pub(super) fn property(path: &[&str]) -> Result<Option<Vec<u8>>, HostError> {
    hostcalls::get_property(path.to_vec()).map_err(|_| HostError)
}

/// Sets a value in the stream's filter state, as `wasm.<name>`. Raw: 2 if another Wasm filter has put a value there for good, and 10; the
/// record is lost.
pub(super) fn set_filter_state(name: &str, value: &str) -> Result<(), HostError> {
    // SAFETY: the host reads both during the call.
    done(unsafe { proxy_set_property(name.as_ptr(), name.len(), value.as_ptr(), value.len()) })
}

/// A shared value with its version; `None` where the key is absent. Raw: 10 is for `counters.on_error` to judge.
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

/// Sets a shared value; false if its version has changed. Raw: 10, as above.
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

/// Defines a metric, or finds the one of this name, and returns the host's number for it. Raw: under 10 nothing is counted.
pub(super) fn define_metric(kind: MeterKind, name: &str) -> Result<u32, HostError> {
    let kind = match kind {
        MeterKind::Counter => 0,
        MeterKind::Gauge => 1,
        MeterKind::Histogram => 2,
    };
    let mut id = 0;
    // SAFETY: the host reads the name and writes one u32 during the call.
    done(unsafe { proxy_define_metric(kind, name.as_ptr(), name.len(), &raw mut id) })?;
    Ok(id)
}

/// Adds to a counter; sets a gauge, or adds a number to a histogram. Raw, as above.
pub(super) fn count(kind: MeterKind, id: u32, value: u64) -> Result<(), HostError> {
    let offset = i64::try_from(value).unwrap_or(i64::MAX);
    // SAFETY: no pointers.
    done(match kind {
        MeterKind::Counter => unsafe { proxy_increment_metric(id, offset) },
        MeterKind::Gauge | MeterKind::Histogram => unsafe { proxy_record_metric(id, value) },
    })
}

/// Answers the request. Raw: the wrapper lacks `details`, what Envoy's access log calls the response code details; and under 10 the
/// request stays paused.
pub(super) fn reply(
    status: u16,
    details: &str,
    headers: &[(&str, Cow<'_, str>)],
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

fn pack_pairs(pairs: &[(&str, Cow<'_, str>)]) -> Vec<u8> {
    let size = |length: usize| u32::try_from(length).unwrap_or(u32::MAX).to_le_bytes();
    let mut bytes = size(pairs.len()).to_vec();
    for (name, value) in pairs {
        bytes.extend_from_slice(&size(name.len()));
        bytes.extend_from_slice(&size(value.len()));
    }
    for (name, value) in pairs {
        for text in [*name, &**value] {
            bytes.extend_from_slice(text.as_bytes());
            bytes.push(0);
        }
    }
    bytes
}
