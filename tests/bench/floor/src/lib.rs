//! The least that a filter does which holds a request, reads its headers and body, counts it, and leaves one value for the access log, or
//! under any configuration but none as many as mcp-policy leaves of an allowed call: the host calls alone, straight on the proxy-wasm ABI
//! 0.2.1. It parses nothing and decides nothing.

use std::ptr::null_mut;
use std::sync::atomic::{AtomicBool, Ordering};

unsafe extern "C" {
    fn __wasm_call_ctors();
    fn proxy_get_buffer_bytes(kind: u32, start: usize, size: usize, out: *mut *mut u8, out_size: *mut usize) -> u32;
    fn proxy_get_header_map_pairs(kind: u32, out: *mut *mut u8, out_size: *mut usize) -> u32;
    fn proxy_get_current_time_nanoseconds(out: *mut u64) -> u32;
    fn proxy_get_shared_data(key: *const u8, size: usize, out: *mut *mut u8, out_size: *mut usize, cas: *mut u32) -> u32;
    fn proxy_set_shared_data(key: *const u8, size: usize, value: *const u8, value_size: usize, cas: u32) -> u32;
    fn proxy_set_property(path: *const u8, size: usize, value: *const u8, value_size: usize) -> u32;
}

/// What stands in the access log, the first of which is always left.
const RECORD: [(&str, &str); 5] = [
    ("mcp_decision", "allow"),
    ("mcp_method", "tools/call"),
    ("mcp_tool", "tool_42"),
    ("mcp_digest", "sha256:0123456789abcdef"),
    ("mcp_grant", "credential:0123456789abcdef0123456789abcdef"),
];

static LEAVES_ALL: AtomicBool = AtomicBool::new(false);

const CONTINUE: u32 = 0;
const PAUSE: u32 = 1;

/// Runs a call that returns bytes, and frees them.
fn drop_returned(call: impl FnOnce(*mut *mut u8, *mut usize) -> u32) {
    let (mut data, mut size) = (null_mut(), 0);
    call(&raw mut data, &raw mut size);
    if !data.is_null() {
        // SAFETY: the host got it from `proxy_on_memory_allocate` with this size.
        drop(unsafe { Vec::from_raw_parts(data, size, size) });
    }
}

#[unsafe(no_mangle)]
extern "C" fn _initialize() {
    // SAFETY: the host calls this once, before anything else.
    unsafe { __wasm_call_ctors() }
}

#[unsafe(no_mangle)]
extern "C" fn proxy_abi_version_0_2_1() {}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_memory_allocate(size: usize) -> *mut u8 {
    let mut memory = std::mem::ManuallyDrop::new(Vec::with_capacity(size));
    memory.as_mut_ptr()
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_context_create(_context: u32, _parent: u32) {}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_vm_start(_context: u32, _size: usize) -> u32 {
    1
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_configure(_context: u32, size: usize) -> u32 {
    LEAVES_ALL.store(size > 0, Ordering::Relaxed);
    1
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_request_headers(_context: u32, _count: usize, ends: u32) -> u32 {
    // SAFETY: the host writes what the ABI says, during the call.
    drop_returned(|out, size| unsafe { proxy_get_header_map_pairs(0, out, size) });
    if ends == 0 { PAUSE } else { CONTINUE }
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_request_body(_context: u32, buffered: usize, ends: u32) -> u32 {
    if ends == 0 {
        return PAUSE;
    }
    // SAFETY: the host reads and writes what the ABI says, during each call.
    unsafe {
        drop_returned(|out, size| proxy_get_buffer_bytes(0, 0, buffered, out, size));
        let mut now = 0;
        proxy_get_current_time_nanoseconds(&raw mut now);
        let mut cas = 0;
        let key = b"count";
        drop_returned(|out, size| proxy_get_shared_data(key.as_ptr(), key.len(), out, size, &raw mut cas));
        let cas = if cas == 0 { u32::MAX } else { cas };
        let count = [0_u8; 40];
        proxy_set_shared_data(key.as_ptr(), key.len(), count.as_ptr(), count.len(), cas);
        let left = if LEAVES_ALL.load(Ordering::Relaxed) { RECORD.len() } else { 1 };
        for (name, value) in RECORD.iter().take(left) {
            proxy_set_property(name.as_ptr(), name.len(), value.as_ptr(), value.len());
        }
    }
    CONTINUE
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_response_headers(_context: u32, _count: usize, _ends: u32) -> u32 {
    CONTINUE
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_response_body(_context: u32, _length: usize, _ends: u32) -> u32 {
    CONTINUE
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_delete(_context: u32) {}
