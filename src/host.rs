//! The shell around the library inside Envoy: the only code that knows Envoy, the proxy-wasm SDK and its ABI, and Envoy's attributes,
//! reads a clock or keeps state between requests.
//!
//! What reads bytes of Envoy's is pure, and built for tests too.

#[cfg(any(target_os = "wasi", test, fuzzing))]
mod metadata;
pub(crate) mod origin;

/// Reads any bytes as metadata.
#[cfg(any(test, fuzzing))]
pub(crate) fn read_metadata(bytes: &[u8]) {
    let _ = metadata::of_filter(bytes, "a");
    let _ = origin::of_details(bytes, 1, 302);
}

#[cfg(target_os = "wasi")]
mod callouts;
#[cfg(target_os = "wasi")]
mod calls;
#[cfg(target_os = "wasi")]
mod contexts;
#[cfg(target_os = "wasi")]
mod envoy;
#[cfg(target_os = "wasi")]
mod memory;
#[cfg(target_os = "wasi")]
mod meters;
#[cfg(target_os = "wasi")]
mod root;
#[cfg(target_os = "wasi")]
mod shared;
#[cfg(target_os = "wasi")]
mod stream;
