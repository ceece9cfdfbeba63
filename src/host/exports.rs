//! What Envoy calls: the exports of the proxy-wasm ABI 0.2.1 that this filter needs, and no others, for every call into the VM costs.
#![expect(
    unsafe_code,
    reason = "exports have fixed names; the two that take or give memory say why they may"
)]

use std::cell::RefCell;
use std::collections::BTreeMap;

use super::Flow;
use super::root::Root;
use super::stream::Stream;

/// The plugins and streams of this VM, by the numbers that Envoy gave them.
#[derive(Default)]
struct Vm {
    roots: BTreeMap<u32, Root>,
    streams: BTreeMap<u32, Stream>,
}

thread_local! {
    static VM: RefCell<Vm> = RefCell::default();
}

/// Runs one callback. Envoy does not call back into a callback; if it did, nothing would happen.
fn with<T>(otherwise: T, run: impl FnOnce(&mut Vm) -> T) -> T {
    VM.with(|vm| match vm.try_borrow_mut() {
        Ok(mut vm) => run(&mut vm),
        Err(_) => otherwise,
    })
}

/// A stream that is not known is not let through.
fn stream(context: u32, run: impl FnOnce(&mut Stream) -> Flow) -> u32 {
    with(Flow::Pause, |vm| vm.streams.get_mut(&context).map_or(Flow::Pause, run)) as u32
}

unsafe extern "C" {
    fn __wasm_call_ctors();
}

#[unsafe(no_mangle)]
extern "C" fn _initialize() {
    // SAFETY: Envoy calls this once, before anything else; it is what the linker made to initialise statics.
    unsafe { __wasm_call_ctors() }
}

#[unsafe(no_mangle)]
extern "C" fn proxy_abi_version_0_2_1() {}

/// Memory for what a host call returns; [`super::calls`] takes it over as a boxed slice of this length. A `Vec` would not do:
/// its capacity may be larger than was asked for.
#[unsafe(no_mangle)]
extern "C" fn proxy_on_memory_allocate(size: usize) -> *mut u8 {
    let memory = Box::<[u8]>::new_uninit_slice(size);
    Box::into_raw(memory).cast()
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_context_create(context: u32, parent: u32) {
    with((), |vm| {
        if parent == 0 {
            vm.roots.insert(context, Root::default());
        } else if let Some(stream) = vm.roots.get(&parent).and_then(|root| root.stream(context)) {
            vm.streams.insert(context, stream);
        }
    });
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_delete(context: u32) {
    with((), |vm| match vm.streams.remove(&context) {
        Some(stream) => stream.over(),
        None => drop(vm.roots.remove(&context)),
    });
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_vm_start(_root: u32, _size: usize) -> u32 {
    1
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_configure(root: u32, size: usize) -> u32 {
    with(false, |vm| vm.roots.get_mut(&root).is_some_and(|root| root.configure(size))).into()
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_tick(root: u32) {
    with((), |vm| {
        if let Some(root) = vm.roots.get(&root) {
            root.tick(&mut vm.streams);
        }
    });
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_request_headers(context: u32, _count: usize, ends: u32) -> u32 {
    stream(context, |stream| stream.request_headers(ends != 0))
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_request_body(context: u32, buffered: usize, ends: u32) -> u32 {
    stream(context, |stream| stream.request_body(buffered, ends != 0))
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_request_trailers(context: u32, _count: usize) -> u32 {
    stream(context, Stream::request_trailers)
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_response_headers(context: u32, _count: usize, ends: u32) -> u32 {
    stream(context, |stream| stream.response_headers(ends != 0))
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_response_body(context: u32, length: usize, ends: u32) -> u32 {
    stream(context, |stream| stream.response_body(length, ends != 0))
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_response_trailers(context: u32, _count: usize) -> u32 {
    stream(context, Stream::response_trailers)
}
