//! The shell around the library inside Envoy: the only code that knows the proxy-wasm ABI, reads a clock or keeps state between
//! requests.

mod calls;
mod exports;
mod probe;
mod root;
mod shared;
mod stream;

/// Whether Envoy goes on with a stream.
#[derive(Clone, Copy)]
enum Flow {
    Continue = 0,
    Pause = 1,
}
