//! What Envoy calls, as the SDK's contexts: they hand callbacks on to [`Root`] and [`Stream`], and decide nothing.
//!
//! The SDK owns the contexts, and panics if it is given none for a plugin or a stream. So every stream gets one, and one that nobody
//! governs is paused for good. A panic would end the VM, and with it every request that this worker has under way.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use proxy_wasm::traits::{Context, HttpContext, RootContext};
use proxy_wasm::types::{Action, ContextType, LogLevel};

use super::calls;
use super::root::Root;
use super::stream::Stream;
use crate::exchange::TICK_MILLIS;

proxy_wasm::main! {{
    // The SDK's logger panics where the host takes no messages, and so does its panic hook.
    if calls::takes_messages() {
        // Envoy's own level decides what is shown.
        proxy_wasm::set_log_level(LogLevel::Trace);
    }
    proxy_wasm::set_root_context(|context| Box::new(PluginContext::new(context)));
}}

/// The streams that want ticks, by the numbers that Envoy gave them: the timer must reach them from outside their callbacks.
#[derive(Default)]
struct Ticking(RefCell<BTreeMap<u32, Rc<RefCell<Stream>>>>);

impl Ticking {
    /// Takes note of whether a stream wants ticks. The timer runs as long as one does.
    fn note(&self, context: u32, stream: &Rc<RefCell<Stream>>) {
        let wants = stream.try_borrow().is_ok_and(|stream| stream.wants_ticks());
        let Ok(mut streams) = self.0.try_borrow_mut() else { return };
        if !wants {
            streams.remove(&context);
        } else if streams.insert(context, stream.clone()).is_none() {
            calls::tick_every(TICK_MILLIS);
        }
    }

    fn forget(&self, context: u32) {
        if let Ok(mut streams) = self.0.try_borrow_mut() {
            streams.remove(&context);
        }
    }

    /// Hands a tick on to everybody who wants it, the oldest first.
    fn tick(&self) {
        self.tell(|stream| stream.tick());
        if self.0.try_borrow().is_ok_and(|streams| streams.is_empty()) {
            calls::tick_every(0);
        }
    }

    /// Hands an answer on to whoever has asked for it.
    fn answered(&self, token: u32, size: usize) {
        self.tell(|stream| {
            let _ = stream.answered(token, size);
        });
    }

    fn tell(&self, what: impl Fn(&mut Stream)) {
        // Copied, because a stream may leave the list while it is told.
        let streams: Vec<(u32, Rc<RefCell<Stream>>)> = match self.0.try_borrow() {
            Ok(streams) => streams.iter().map(|(at, stream)| (*at, stream.clone())).collect(),
            Err(_) => return,
        };
        for (context, stream) in streams {
            if let Ok(mut stream) = stream.try_borrow_mut() {
                what(&mut stream);
            }
            self.note(context, &stream);
        }
    }
}

/// The plugin.
struct PluginContext {
    context: u32,
    root: Root,
    ticking: Rc<Ticking>,
}

impl PluginContext {
    fn new(context: u32) -> PluginContext {
        PluginContext { context, root: Root::default(), ticking: Rc::default() }
    }
}

impl Context for PluginContext {
    /// The SDK hands an answer to whoever was called when the question was asked. After a tick that is the plugin, and who wants the
    /// answer is a stream that waits for ticks.
    fn on_http_call_response(
        &mut self,
        token: u32,
        _headers: usize,
        size: usize,
        _trailers: usize,
    ) {
        self.ticking.answered(token, size);
    }
}

impl RootContext for PluginContext {
    fn on_configure(&mut self, size: usize) -> bool {
        self.root.configure(size)
    }

    fn on_tick(&mut self) {
        self.ticking.tick();
    }

    fn create_http_context(&self, context: u32) -> Option<Box<dyn HttpContext>> {
        let stream = self.root.stream(context, self.context);
        let stream = stream.map(|stream| Rc::new(RefCell::new(stream)));
        Some(Box::new(StreamContext { context, stream, ticking: self.ticking.clone() }))
    }

    fn get_type(&self) -> Option<ContextType> {
        Some(ContextType::HttpContext)
    }
}

/// One HTTP stream.
struct StreamContext {
    context: u32,
    /// None under a plugin without configuration, and after the stream's end.
    stream: Option<Rc<RefCell<Stream>>>,
    ticking: Rc<Ticking>,
}

impl StreamContext {
    /// Runs one callback. What nobody governs does not get through; nor does what comes within a callback, which Envoy does not do.
    fn run(&self, callback: impl FnOnce(&mut Stream) -> Action) -> Action {
        let Some(stream) = &self.stream else { return Action::Pause };
        let action = match stream.try_borrow_mut() {
            Ok(mut stream) => callback(&mut stream),
            Err(_) => return Action::Pause,
        };
        self.ticking.note(self.context, stream);
        action
    }

    /// The stream is over. Envoy says so twice, and this is done once.
    fn end(&mut self) {
        let Some(stream) = self.stream.take() else { return };
        if let Ok(mut stream) = stream.try_borrow_mut() {
            stream.over();
        }
        self.ticking.forget(self.context);
    }
}

impl Context for StreamContext {
    fn on_http_call_response(
        &mut self,
        token: u32,
        _headers: usize,
        size: usize,
        _trailers: usize,
    ) {
        self.run(|stream| stream.answered(token, size));
    }

    /// Comes after `on_log`, or without it: over HTTP/3 Envoy puts the log off until all is acknowledged, and leaves filters out then
    /// (`quic_stats_gatherer.cc`; it has the list of loggers from before there are filters).
    fn on_done(&mut self) -> bool {
        self.end();
        true
    }
}

impl HttpContext for StreamContext {
    fn on_http_request_headers(&mut self, _count: usize, ends: bool) -> Action {
        self.run(|stream| stream.request_headers(ends))
    }

    fn on_http_request_body(&mut self, buffered: usize, ends: bool) -> Action {
        self.run(|stream| stream.request_body(buffered, ends))
    }

    fn on_http_request_trailers(&mut self, _count: usize) -> Action {
        self.run(Stream::request_trailers)
    }

    fn on_http_response_headers(&mut self, _count: usize, ends: bool) -> Action {
        self.run(|stream| stream.response_headers(ends))
    }

    fn on_http_response_body(&mut self, length: usize, ends: bool) -> Action {
        self.run(|stream| stream.response_body(length, ends))
    }

    fn on_http_response_trailers(&mut self, _count: usize) -> Action {
        self.run(Stream::response_trailers)
    }

    fn on_log(&mut self) {
        self.end();
    }
}
