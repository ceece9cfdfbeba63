//! The host calls of `../floor`, by the proxy-wasm SDK: the least that a filter costs which stands on it. It parses nothing and decides
//! nothing. Only here may a wrapper panic.

use proxy_wasm::hostcalls;
use proxy_wasm::traits::{Context, HttpContext, RootContext};
use proxy_wasm::types::{Action, BufferType, ContextType, MapType};

proxy_wasm::main! {{
    proxy_wasm::set_root_context(|_| Box::new(Root));
}}

struct Root;

impl Context for Root {}

impl RootContext for Root {
    fn create_http_context(&self, _context: u32) -> Option<Box<dyn HttpContext>> {
        Some(Box::new(Stream))
    }

    fn get_type(&self) -> Option<ContextType> {
        Some(ContextType::HttpContext)
    }
}

struct Stream;

impl Context for Stream {}

impl HttpContext for Stream {
    fn on_http_request_headers(&mut self, _count: usize, ends: bool) -> Action {
        let _ = hostcalls::get_map_bytes(MapType::HttpRequestHeaders);
        if ends { Action::Continue } else { Action::Pause }
    }

    fn on_http_request_body(&mut self, buffered: usize, ends: bool) -> Action {
        if !ends {
            return Action::Pause;
        }
        let _ = hostcalls::get_buffer(BufferType::HttpRequestBody, 0, buffered);
        let _ = hostcalls::get_current_time();
        let version = hostcalls::get_shared_data("count").ok().and_then(|(_, version)| version);
        let _ = hostcalls::set_shared_data("count", Some(&[0; 40]), version.or(Some(u32::MAX)));
        let _ = hostcalls::set_property(vec!["mcp_decision"], Some(b"allow"));
        Action::Continue
    }
}
