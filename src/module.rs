//! The shell around the library as a native module of Envoy (`envoy.filters.http.dynamic_modules`): the second one, beside `host`.
//!
//! It does what `host` does, by another ABI and without a VM: hooks hand events to an exchange, whose steps are performed. What the VM gave
//! for nothing, the module makes sure of itself: a panic is caught before it reaches Envoy ([`abi::hooks`](abi)), what workers share is
//! behind locks (`store`), and a version of the ABI that it was not built for is refused (`start`).

#[cfg(feature = "module")]
mod abi;
#[cfg(feature = "module")]
mod callouts;
#[cfg(feature = "module")]
mod clock;
#[cfg(feature = "module")]
mod envoy;
#[cfg(all(feature = "module", debug_assertions))]
mod fault;
#[cfg(feature = "module")]
mod handle;
#[cfg(feature = "module")]
mod meters;
#[cfg(feature = "module")]
mod plugin;
mod start;
mod store;
#[cfg(feature = "module")]
mod stream;
#[cfg(feature = "module")]
mod ticker;
