//! The shell around the library inside Envoy: the only code that names `proxy_wasm`, reads a clock or keeps state between
//! requests.

mod calls;
mod probe;
mod root;
mod shared;
mod stream;

use proxy_wasm::types::LogLevel;

proxy_wasm::main! {{
    // Installs the panic hook too, so that a trap would say why in Envoy's log.
    proxy_wasm::set_log_level(LogLevel::Info);
    proxy_wasm::set_root_context(|_| Box::new(root::Root::default()));
}}
