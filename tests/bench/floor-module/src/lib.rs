//! The least that a native module does which holds a request, reads its headers and body, and leaves one value for the access log: the calls of
//! the ABI alone (v0.2.0). Under any configuration but none it leaves as many as mcp-policy leaves of an allowed call, and counts a decision. It
//! parses nothing and decides nothing. The ABI is declared here again, as in `floor`: nothing of what is measured is in it.

use std::ffi::{c_char, c_void};
use std::ptr::{null, null_mut};

#[repr(C)]
#[derive(Clone, Copy)]
struct Bytes {
    at: *const u8,
    length: usize,
}

#[repr(C)]
#[derive(Clone, Copy)]
struct Header {
    name: Bytes,
    value: Bytes,
}

const NONE: Bytes = Bytes { at: null(), length: 0 };

fn text(text: &str) -> Bytes {
    Bytes { at: text.as_ptr(), length: text.len() }
}

unsafe extern "C" {
    fn envoy_dynamic_module_callback_http_get_headers_size(filter: *mut c_void, map: u32) -> usize;
    fn envoy_dynamic_module_callback_http_get_headers(filter: *mut c_void, map: u32, out: *mut Header) -> bool;
    fn envoy_dynamic_module_callback_http_get_body_size(filter: *mut c_void, body: u32) -> usize;
    fn envoy_dynamic_module_callback_http_get_body_chunks_size(filter: *mut c_void, body: u32) -> usize;
    fn envoy_dynamic_module_callback_http_get_body_chunks(filter: *mut c_void, body: u32, out: *mut Bytes) -> bool;
    fn envoy_dynamic_module_callback_http_set_filter_state_bytes(filter: *mut c_void, key: Bytes, value: Bytes) -> bool;
    fn envoy_dynamic_module_callback_http_filter_config_define_counter(
        config: *mut c_void,
        name: Bytes,
        labels: *const Bytes,
        count: usize,
        out: *mut usize,
    ) -> u32;
    fn envoy_dynamic_module_callback_http_filter_increment_counter(
        filter: *mut c_void,
        id: usize,
        values: *const Bytes,
        count: usize,
        by: u64,
    ) -> u32;
}

/// What stands in the access log, the first of which is always left.
const RECORD: [(&str, &str); 5] = [
    ("wasm.mcp_decision", "allow"),
    ("wasm.mcp_method", "tools/call"),
    ("wasm.mcp_tool", "tool_42"),
    ("wasm.mcp_digest", "sha256:0123456789abcdef"),
    ("wasm.mcp_grant", "credential:0123456789abcdef0123456789abcdef"),
];
/// The labels of a decision, and their values.
const LABELS: [(&str, &str); 5] = [("policy", ""), ("decision", "allow"), ("reason", ""), ("rule", "/tools/tool_42"), ("mode", "enforce")];

struct Floor {
    counter: usize,
    leaves_all: bool,
}

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_on_program_init() -> *const c_char {
    c"v0.2.0".as_ptr()
}

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_on_http_filter_config_new(config: *mut c_void, _name: Bytes, settings: Bytes) -> *mut c_void {
    let labels = LABELS.map(|(name, _)| text(name));
    let mut counter = 0;
    // SAFETY: Envoy reads the names, and writes one number, during the call.
    unsafe {
        envoy_dynamic_module_callback_http_filter_config_define_counter(
            config,
            text("floor_decisions"),
            labels.as_ptr(),
            labels.len(),
            &raw mut counter,
        );
    }
    Box::into_raw(Box::new(Floor { counter, leaves_all: settings.length > 0 })).cast()
}

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_on_http_filter_config_destroy(floor: *mut c_void) {
    // SAFETY: it was made of a box by the function above, and Envoy hands it back once.
    drop(unsafe { Box::from_raw(floor.cast::<Floor>()) });
}

/// A stream needs nothing of its own: what Envoy hands back is the configuration.
#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_on_http_filter_new(floor: *mut c_void, _filter: *mut c_void) -> *mut c_void {
    floor
}

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_on_http_filter_request_headers(filter: *mut c_void, _floor: *const Floor, ends: bool) -> u32 {
    let mut headers = [Header { name: NONE, value: NONE }; 48];
    // SAFETY: there is room for as many as there are in a benchmark.
    unsafe {
        if envoy_dynamic_module_callback_http_get_headers_size(filter, 0) <= headers.len() {
            envoy_dynamic_module_callback_http_get_headers(filter, 0, headers.as_mut_ptr());
        }
    }
    u32::from(!ends)
}

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_on_http_filter_request_body(filter: *mut c_void, floor: *const Floor, ends: bool) -> u32 {
    if !ends {
        return 1;
    }
    let mut body = Vec::new();
    // SAFETY: Envoy reads and writes what the ABI says, during each call, and its buffers stay until something is changed.
    unsafe {
        let floor = &*floor;
        for buffer in [1, 0] {
            body.reserve(envoy_dynamic_module_callback_http_get_body_size(filter, buffer));
            let mut chunks = vec![NONE; envoy_dynamic_module_callback_http_get_body_chunks_size(filter, buffer)];
            if !chunks.is_empty() && envoy_dynamic_module_callback_http_get_body_chunks(filter, buffer, chunks.as_mut_ptr()) {
                chunks.iter().for_each(|chunk| body.extend_from_slice(std::slice::from_raw_parts(chunk.at, chunk.length)));
            }
        }
        std::hint::black_box(&body);
        for (name, value) in RECORD.iter().take(if floor.leaves_all { RECORD.len() } else { 1 }) {
            envoy_dynamic_module_callback_http_set_filter_state_bytes(filter, text(name), text(value));
        }
        if floor.leaves_all {
            let values = LABELS.map(|(_, value)| text(value));
            envoy_dynamic_module_callback_http_filter_increment_counter(filter, floor.counter, values.as_ptr(), values.len(), 1);
        }
    }
    0
}

macro_rules! goes_on {
    ($($name:ident)*) => {
        $(#[unsafe(no_mangle)]
        extern "C" fn $name() -> u32 {
            0
        })*
    };
}

goes_on! {
    envoy_dynamic_module_on_http_filter_request_trailers
    envoy_dynamic_module_on_http_filter_response_headers
    envoy_dynamic_module_on_http_filter_response_body
    envoy_dynamic_module_on_http_filter_response_trailers
    envoy_dynamic_module_on_http_filter_local_reply
    envoy_dynamic_module_on_http_filter_stream_complete
    envoy_dynamic_module_on_http_filter_destroy
    envoy_dynamic_module_on_http_filter_scheduled
    envoy_dynamic_module_on_http_filter_config_scheduled
    envoy_dynamic_module_on_http_filter_http_callout_done
    envoy_dynamic_module_on_http_filter_per_route_config_destroy
    envoy_dynamic_module_on_http_filter_http_stream_headers
    envoy_dynamic_module_on_http_filter_http_stream_data
    envoy_dynamic_module_on_http_filter_http_stream_trailers
    envoy_dynamic_module_on_http_filter_http_stream_complete
    envoy_dynamic_module_on_http_filter_http_stream_reset
    envoy_dynamic_module_on_http_filter_downstream_above_write_buffer_high_watermark
    envoy_dynamic_module_on_http_filter_downstream_below_write_buffer_low_watermark
    envoy_dynamic_module_on_http_filter_config_http_callout_done
    envoy_dynamic_module_on_http_filter_config_http_stream_headers
    envoy_dynamic_module_on_http_filter_config_http_stream_data
    envoy_dynamic_module_on_http_filter_config_http_stream_trailers
    envoy_dynamic_module_on_http_filter_config_http_stream_complete
    envoy_dynamic_module_on_http_filter_config_http_stream_reset
}

/// Never called: the floor has no configurations of routes.
#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_on_http_filter_per_route_config_new() -> *mut c_void {
    null_mut()
}
