//! What Envoy calls: each hook turns pointers into what they are, and hands on to [`ModulePlugin`] and [`Handle`].
//!
//! A panic would unwind into Envoy, whose code cannot take it, and end the process with every request that it has under way. So every hook
//! is a boundary: what panics in it is told in the log, and the request that it was about is answered.

use std::ffi::{c_char, c_void};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr::{NonNull, null};
use std::rc::Rc;
use std::sync::Arc;

use super::{Bytes, Filter, FilterConfig, HeaderPair, VERSION, is_validation_mode, route_config};
use crate::module::handle::{Handle, Passing};
use crate::module::plugin::ModulePlugin;
use crate::module::start;

/// What becomes of headers: `envoy_dynamic_module_type_on_http_filter_request_headers_status` and that of responses.
const HEADERS: Statuses = Statuses { go_on: 0, wait: 1, gone: 1 };
/// The same of bodies. What waits is buffered; of a request that is answered nothing is.
const BODY: Statuses = Statuses { go_on: 0, wait: 1, gone: 3 };
/// The same of trailers.
const TRAILERS: Statuses = Statuses { go_on: 0, wait: 1, gone: 1 };

struct Statuses {
    go_on: u32,
    wait: u32,
    gone: u32,
}

impl Statuses {
    fn of(&self, passing: Passing) -> u32 {
        match passing {
            Passing::GoesOn => self.go_on,
            Passing::Waits => self.wait,
            Passing::Gone => self.gone,
        }
    }
}

/// Runs something that must not panic into Envoy.
fn guarded<T>(or: T, run: impl FnOnce() -> T) -> T {
    catch_unwind(AssertUnwindSafe(run)).unwrap_or(or)
}

/// Runs a hook of a stream. If it panics, the request is answered, in whatever state it is.
fn on_stream(
    filter: *mut c_void,
    handle: *const c_void,
    run: impl FnOnce(&Handle, Filter<'_>) -> Passing,
) -> Passing {
    let (Some(filter), false) = (NonNull::new(filter), handle.is_null()) else {
        return Passing::Waits;
    };
    let handle = handle.cast::<Handle>();
    // SAFETY: `new` made it of an `Rc`, which `destroy` takes back; Envoy calls no hook of a stream after that, and all on one thread. The
    // further count keeps it while this hook runs, because Envoy may destroy the stream meanwhile.
    let handle = unsafe {
        Rc::increment_strong_count(handle);
        Rc::from_raw(handle)
    };
    let now = || Filter { filter, hook: std::marker::PhantomData };
    let done = catch_unwind(AssertUnwindSafe(|| run(&handle, now())));
    done.unwrap_or_else(|_| guarded(Passing::Gone, || handle.panicked(now)))
}

/// The version of the ABI that the module speaks; null, so that Envoy refuses the module, if Envoy speaks another.
#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_on_program_init() -> *const c_char {
    guarded(null(), || if start::is_ours() { VERSION.as_ptr() } else { null() })
}

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_on_http_filter_config_new(
    config: *mut c_void,
    name: Bytes,
    text: Bytes,
) -> *const c_void {
    guarded(null(), || {
        let Some(config) = NonNull::new(config) else { return null() };
        let config = FilterConfig { config, hook: std::marker::PhantomData };
        // SAFETY: Envoy's texts stay until this hook returns. The mode is asked for on the main thread, as it must be.
        let (name, text, validates) = unsafe { (name.read(), text.read(), is_validation_mode()) };
        let plugin = ModulePlugin::of_filter(&config, name, text, validates);
        plugin.map_or(null(), |plugin| Arc::into_raw(plugin).cast())
    })
}

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_on_http_filter_config_destroy(plugin: *const c_void) {
    dropped(plugin);
}

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_on_http_filter_per_route_config_new(
    name: Bytes,
    text: Bytes,
) -> *const c_void {
    guarded(null(), || {
        // SAFETY: Envoy's texts stay until this hook returns.
        let (name, text) = unsafe { (name.read(), text.read()) };
        let plugin = ModulePlugin::of_route(name, text);
        plugin.map_or(null(), |plugin| Arc::into_raw(plugin).cast())
    })
}

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_on_http_filter_per_route_config_destroy(plugin: *const c_void) {
    dropped(plugin);
}

/// Takes back what Envoy was given of a configuration. Streams that run under it keep it until they end.
fn dropped(plugin: *const c_void) {
    guarded((), || {
        if !plugin.is_null() {
            // SAFETY: it was made of an `Arc` by one of the two functions above, and Envoy hands it back once.
            drop(unsafe { Arc::from_raw(plugin.cast::<ModulePlugin>()) });
        }
    });
}

/// A configuration that Envoy was given.
///
/// # Safety
/// The pointer is null, or one that Envoy was given and has not handed back.
unsafe fn plugin(pointer: *const c_void) -> Option<Arc<ModulePlugin>> {
    let pointer = NonNull::new(pointer.cast_mut())?.cast::<ModulePlugin>().as_ptr();
    // SAFETY: the caller's promise; the further count is ours.
    unsafe {
        Arc::increment_strong_count(pointer);
        Some(Arc::from_raw(pointer))
    }
}

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_on_http_filter_config_scheduled(
    config: *mut c_void,
    of: *const c_void,
    event: u64,
) {
    guarded((), || {
        // SAFETY: Envoy runs this hook for configurations that it has.
        let (Some(config), Some(plugin)) = (NonNull::new(config), unsafe { plugin(of) }) else {
            return;
        };
        plugin.scheduled(&FilterConfig { config, hook: std::marker::PhantomData }, event);
    });
}

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_on_http_filter_new(
    of: *const c_void,
    _filter: *mut c_void,
) -> *const c_void {
    guarded(null(), || {
        // SAFETY: Envoy makes streams under configurations that it has.
        let plugin = unsafe { plugin(of) };
        plugin.map_or(null(), |plugin| Rc::into_raw(Rc::new(Handle::new(plugin))).cast())
    })
}

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_on_http_filter_destroy(handle: *const c_void) {
    guarded((), || {
        if handle.is_null() {
            return;
        }
        // SAFETY: `new` made it of an `Rc`, and Envoy hands it back once.
        let handle = unsafe { Rc::from_raw(handle.cast::<Handle>()) };
        handle.gone();
    });
}

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_on_http_filter_request_headers(
    filter: *mut c_void,
    handle: *const c_void,
    ends: bool,
) -> u32 {
    HEADERS.of(on_stream(filter, handle, |handle, filter| {
        // SAFETY: Envoy answers null, or what it was given for this route and still has.
        let route = unsafe { plugin(route_config(filter.filter.as_ptr())) };
        handle.request_headers(filter, route, ends)
    }))
}

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_on_http_filter_request_body(
    filter: *mut c_void,
    handle: *const c_void,
    ends: bool,
) -> u32 {
    BODY.of(on_stream(filter, handle, |handle, filter| handle.request_body(filter, ends)))
}

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_on_http_filter_request_trailers(
    filter: *mut c_void,
    handle: *const c_void,
) -> u32 {
    TRAILERS.of(on_stream(filter, handle, Handle::request_trailers))
}

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_on_http_filter_response_headers(
    filter: *mut c_void,
    handle: *const c_void,
    ends: bool,
) -> u32 {
    HEADERS.of(on_stream(filter, handle, |handle, filter| handle.response_headers(filter, ends)))
}

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_on_http_filter_response_body(
    filter: *mut c_void,
    handle: *const c_void,
    ends: bool,
) -> u32 {
    BODY.of(on_stream(filter, handle, |handle, filter| handle.response_body(filter, ends)))
}

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_on_http_filter_response_trailers(
    filter: *mut c_void,
    handle: *const c_void,
) -> u32 {
    TRAILERS.of(on_stream(filter, handle, Handle::response_trailers))
}

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_on_http_filter_stream_complete(
    filter: *mut c_void,
    handle: *const c_void,
) {
    on_stream(filter, handle, Handle::over);
}

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_on_http_filter_scheduled(
    filter: *mut c_void,
    handle: *const c_void,
    _event: u64,
) {
    on_stream(filter, handle, Handle::tick);
}

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_on_http_filter_http_callout_done(
    filter: *mut c_void,
    handle: *const c_void,
    id: u64,
    result: u32,
    headers: *const HeaderPair,
    headers_count: usize,
    chunks: *const Bytes,
    chunks_count: usize,
) {
    on_stream(filter, handle, |handle, filter| {
        // SAFETY: Envoy hands over so many of each, or null, and all stay until this hook returns.
        let (headers, chunks) =
            unsafe { (slice(headers, headers_count), slice(chunks, chunks_count)) };
        // SAFETY: as above.
        let headers = headers.iter().map(|pair| unsafe { (pair.name.read(), pair.value.read()) });
        // SAFETY: as above.
        let chunks = chunks.iter().map(|chunk| unsafe { chunk.read() });
        let answer = (result == super::SUCCESS).then(|| (headers.collect(), chunks.collect()));
        handle.answered(filter, id, answer)
    });
}

/// So many of Envoy's.
///
/// # Safety
/// The pointer is null or leads to so many, which stay for as long as the caller says.
unsafe fn slice<'s, T>(at: *const T, count: usize) -> &'s [T] {
    if at.is_null() || count == 0 {
        return &[];
    }
    // SAFETY: the caller's promise.
    unsafe { std::slice::from_raw_parts(at, count) }
}

/// An answer of Envoy's own is coming; the exchange learns of it as of any.
#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_on_http_filter_local_reply(
    _filter: *mut c_void,
    _handle: *const c_void,
    _status: u32,
    _details: Bytes,
    _reset: bool,
) -> u32 {
    0
}

/// Hooks that Envoy wants to be there for what the module never begins, such as streams to other servers. They are never called.
macro_rules! unused {
    ($($name:ident)*) => {
        $(#[unsafe(no_mangle)]
        extern "C" fn $name() {})*
    };
}

unused! {
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
