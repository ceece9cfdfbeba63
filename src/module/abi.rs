//! Envoy's ABI of dynamic modules (`abi.h`, v0.2.0): what of it the module uses, declared by hand, and nothing else.
//!
//! Envoy checks no version: a function that is declared wrongly here is undefined behaviour, so all declarations stand in this file and
//! its folder, and with them all unsafe code of the module. `calls` makes of each function one that is safe; `hooks` is what Envoy calls.
#![expect(
    unsafe_code,
    reason = "the ABI is a C interface; each call is documented where it is made"
)]

mod calls;
mod hooks;
mod scheduling;

use std::ffi::c_void;
use std::marker::PhantomData;
use std::ptr::{NonNull, null};

pub(super) use calls::{Half, log};
pub(super) use scheduling::Scheduler;

/// The version of the ABI that is declared here. `v0.2.0` is that of Envoy 1.40.
pub(super) const VERSION: &std::ffi::CStr = c"v0.2.0";

/// Bytes of Envoy's or of ours: `envoy_dynamic_module_type_envoy_buffer` and `…_module_buffer`.
#[repr(C)]
#[derive(Clone, Copy)]
struct Bytes {
    at: *const u8,
    length: usize,
}

/// A header: `envoy_dynamic_module_type_envoy_http_header` and `…_module_http_header`, which are two such texts in a row.
#[repr(C)]
#[derive(Clone, Copy)]
struct HeaderPair {
    name: Bytes,
    value: Bytes,
}

/// One HTTP stream, as Envoy knows it, for as long as one hook runs. Not for other threads.
///
/// Calls that let Envoy go on with the stream, or end it, take the value with them: whatever Envoy does then, the stream may be gone.
pub(super) struct Filter<'hook> {
    filter: NonNull<c_void>,
    hook: PhantomData<&'hook mut ()>,
}

/// One configuration, as Envoy knows it, for as long as one hook runs on the main thread.
pub(super) struct FilterConfig<'hook> {
    config: NonNull<c_void>,
    hook: PhantomData<&'hook mut ()>,
}

/// What a metric does with numbers, by which function Envoy defines it.
type DefineWith = unsafe extern "C" fn(*mut c_void, Bytes, *const Bytes, usize, *mut usize) -> u32;

/// What a metric gets, by which function Envoy takes it.
type CountWith = unsafe extern "C" fn(*mut c_void, usize, *const Bytes, usize, u64) -> u32;

const SUCCESS: u32 = 0;

// Enumerations of the ABI are C's `unsigned int`; pointers to Envoy's own things are opaque.
unsafe extern "C" {
    #[link_name = "envoy_dynamic_module_callback_log"]
    fn take_message(level: u32, message: Bytes);
    #[link_name = "envoy_dynamic_module_callback_log_enabled"]
    fn takes_messages(level: u32) -> bool;
    #[link_name = "envoy_dynamic_module_callback_is_validation_mode"]
    fn is_validation_mode() -> bool;

    #[link_name = "envoy_dynamic_module_callback_http_filter_config_define_counter"]
    fn define_counter(
        config: *mut c_void,
        name: Bytes,
        labels: *const Bytes,
        count: usize,
        out: *mut usize,
    ) -> u32;
    #[link_name = "envoy_dynamic_module_callback_http_filter_config_define_gauge"]
    fn define_gauge(
        config: *mut c_void,
        name: Bytes,
        labels: *const Bytes,
        count: usize,
        out: *mut usize,
    ) -> u32;
    #[link_name = "envoy_dynamic_module_callback_http_filter_config_define_histogram"]
    fn define_histogram(
        config: *mut c_void,
        name: Bytes,
        labels: *const Bytes,
        count: usize,
        out: *mut usize,
    ) -> u32;
    #[link_name = "envoy_dynamic_module_callback_http_filter_increment_counter"]
    fn increment_counter(
        filter: *mut c_void,
        id: usize,
        values: *const Bytes,
        count: usize,
        by: u64,
    ) -> u32;
    #[link_name = "envoy_dynamic_module_callback_http_filter_record_histogram_value"]
    fn record_histogram(
        filter: *mut c_void,
        id: usize,
        values: *const Bytes,
        count: usize,
        value: u64,
    ) -> u32;
    #[link_name = "envoy_dynamic_module_callback_http_filter_set_gauge"]
    fn set_gauge(
        filter: *mut c_void,
        id: usize,
        values: *const Bytes,
        count: usize,
        value: u64,
    ) -> u32;
    #[link_name = "envoy_dynamic_module_callback_http_filter_config_increment_counter"]
    fn config_increment_counter(
        config: *mut c_void,
        id: usize,
        values: *const Bytes,
        count: usize,
        by: u64,
    ) -> u32;
    #[link_name = "envoy_dynamic_module_callback_http_filter_config_set_gauge"]
    fn config_set_gauge(
        config: *mut c_void,
        id: usize,
        values: *const Bytes,
        count: usize,
        value: u64,
    ) -> u32;
    #[link_name = "envoy_dynamic_module_callback_http_filter_config_record_histogram_value"]
    fn config_record_histogram(
        config: *mut c_void,
        id: usize,
        values: *const Bytes,
        count: usize,
        value: u64,
    ) -> u32;

    #[link_name = "envoy_dynamic_module_callback_http_get_headers_size"]
    fn headers_size(filter: *mut c_void, map: u32) -> usize;
    #[link_name = "envoy_dynamic_module_callback_http_get_headers"]
    fn get_headers(filter: *mut c_void, map: u32, out: *mut HeaderPair) -> bool;
    #[link_name = "envoy_dynamic_module_callback_http_set_header"]
    fn set_header(filter: *mut c_void, map: u32, name: Bytes, value: Bytes) -> bool;
    #[link_name = "envoy_dynamic_module_callback_http_get_body_size"]
    fn body_size(filter: *mut c_void, body: u32) -> usize;
    #[link_name = "envoy_dynamic_module_callback_http_get_body_chunks_size"]
    fn body_chunks_size(filter: *mut c_void, body: u32) -> usize;
    #[link_name = "envoy_dynamic_module_callback_http_get_body_chunks"]
    fn body_chunks(filter: *mut c_void, body: u32, out: *mut Bytes) -> bool;
    #[link_name = "envoy_dynamic_module_callback_http_drain_body"]
    fn drain_body(filter: *mut c_void, body: u32, bytes: usize) -> bool;
    #[link_name = "envoy_dynamic_module_callback_http_append_body"]
    fn append_body(filter: *mut c_void, body: u32, bytes: Bytes) -> bool;
    #[link_name = "envoy_dynamic_module_callback_http_received_buffered_request_body"]
    fn received_buffered(filter: *mut c_void) -> bool;

    #[link_name = "envoy_dynamic_module_callback_http_filter_get_attribute_string"]
    fn attribute_string(filter: *mut c_void, attribute: u32, out: *mut Bytes) -> bool;
    #[link_name = "envoy_dynamic_module_callback_http_filter_get_attribute_int"]
    fn attribute_int(filter: *mut c_void, attribute: u32, out: *mut u64) -> bool;
    #[link_name = "envoy_dynamic_module_callback_http_get_metadata_string"]
    fn metadata_string(
        filter: *mut c_void,
        source: u32,
        space: Bytes,
        key: Bytes,
        out: *mut Bytes,
    ) -> bool;
    #[link_name = "envoy_dynamic_module_callback_http_get_metadata_number"]
    fn metadata_number(
        filter: *mut c_void,
        source: u32,
        space: Bytes,
        key: Bytes,
        out: *mut f64,
    ) -> bool;
    #[link_name = "envoy_dynamic_module_callback_http_get_metadata_bool"]
    fn metadata_bool(
        filter: *mut c_void,
        source: u32,
        space: Bytes,
        key: Bytes,
        out: *mut bool,
    ) -> bool;
    #[link_name = "envoy_dynamic_module_callback_http_get_filter_state_bytes"]
    fn get_filter_state(filter: *mut c_void, key: Bytes, out: *mut Bytes) -> bool;
    #[link_name = "envoy_dynamic_module_callback_http_set_filter_state_bytes"]
    fn set_filter_state(filter: *mut c_void, key: Bytes, value: Bytes) -> bool;
    #[link_name = "envoy_dynamic_module_callback_get_most_specific_route_config"]
    fn route_config(filter: *mut c_void) -> *const c_void;

    #[link_name = "envoy_dynamic_module_callback_http_filter_http_callout"]
    fn http_callout(
        filter: *mut c_void,
        id: *mut u64,
        cluster: Bytes,
        headers: *const HeaderPair,
        count: usize,
        body: Bytes,
        timeout_milliseconds: u64,
    ) -> u32;
    #[link_name = "envoy_dynamic_module_callback_http_send_response"]
    fn send_response(
        filter: *mut c_void,
        status: u32,
        headers: *const HeaderPair,
        count: usize,
        body: Bytes,
        details: Bytes,
    );
    #[link_name = "envoy_dynamic_module_callback_http_filter_continue_decoding"]
    fn continue_decoding(filter: *mut c_void);

    #[link_name = "envoy_dynamic_module_callback_http_filter_scheduler_new"]
    fn scheduler_new(filter: *mut c_void) -> *mut c_void;
    #[link_name = "envoy_dynamic_module_callback_http_filter_scheduler_commit"]
    fn scheduler_commit(scheduler: *mut c_void, event: u64);
    #[link_name = "envoy_dynamic_module_callback_http_filter_scheduler_delete"]
    fn scheduler_delete(scheduler: *mut c_void);
    #[link_name = "envoy_dynamic_module_callback_http_filter_config_scheduler_new"]
    fn config_scheduler_new(config: *mut c_void) -> *mut c_void;
    #[link_name = "envoy_dynamic_module_callback_http_filter_config_scheduler_commit"]
    fn config_scheduler_commit(scheduler: *mut c_void, event: u64);
    #[link_name = "envoy_dynamic_module_callback_http_filter_config_scheduler_delete"]
    fn config_scheduler_delete(scheduler: *mut c_void);
}

impl Bytes {
    /// No bytes at all, which is not the same as none in them: a header that is set to this goes.
    const NULL: Bytes = Bytes { at: null(), length: 0 };

    fn of(bytes: &[u8]) -> Bytes {
        Bytes { at: bytes.as_ptr(), length: bytes.len() }
    }

    /// The bytes.
    ///
    /// # Safety
    /// They stay where they are, unchanged, for as long as the caller says.
    unsafe fn read<'b>(self) -> &'b [u8] {
        if self.at.is_null() || self.length == 0 {
            return &[];
        }
        // SAFETY: Envoy's buffers are what they say, and the caller vouches for how long.
        unsafe { std::slice::from_raw_parts(self.at, self.length) }
    }
}

impl HeaderPair {
    const NULL: HeaderPair = HeaderPair { name: Bytes::NULL, value: Bytes::NULL };

    fn of((name, value): &(&str, &str)) -> HeaderPair {
        HeaderPair { name: Bytes::of(name.as_bytes()), value: Bytes::of(value.as_bytes()) }
    }
}
