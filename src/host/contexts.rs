//! What Envoy calls, as the SDK's contexts: they hand callbacks on to [`Root`] and [`Stream`], and decide nothing.
//!
//! The SDK owns the contexts, and panics if it is given none for a plugin or a stream. So every stream gets one, and one that nobody
//! governs is paused for good. A panic would end the VM, and with it every request that this worker has under way.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;

use proxy_wasm::traits::{Context, HttpContext, RootContext};
use proxy_wasm::types::{Action, ContextType, LogLevel};

use super::calls;
use super::root::Root;
use super::stream::Stream;
use crate::exchange::{PULSE_MILLIS, TICK_MILLIS};

proxy_wasm::main! {{
    // The SDK's logger panics where the host takes no messages, and so does its panic hook.
    if calls::takes_messages() {
        // Envoy's own level decides what is shown.
        proxy_wasm::set_log_level(LogLevel::Trace);
    }
    proxy_wasm::set_root_context(|context| Box::new(PluginContext::new(context)));
}}

/// A stream that others than its own callbacks have to reach.
type Shared = Rc<RefCell<Stream>>;

/// The streams that want ticks, by the numbers that Envoy gave them: the timer must reach them from outside their callbacks.
#[derive(Default)]
struct Ticking {
    streams: RefCell<BTreeMap<u32, Shared>>,
    /// Those that are told now and then.
    pulsing: RefCell<BTreeMap<u32, Shared>>,
    /// How long it is since those were told, in milliseconds, and how often the timer runs.
    since: Cell<u32>,
    period: Cell<u32>,
    /// Whether the plugin itself wants ticks, for what it has yet to compile.
    builds: Cell<bool>,
    /// Who has asked what while the plugin was called, by Envoy's numbers of the questions: the SDK hands those answers to the plugin.
    asked: RefCell<Vec<(u32, u32, Shared)>>,
}

impl Ticking {
    /// Takes note where a stream wants ticks that did not, or no more. The timer runs as long as one does.
    fn note(&self, context: u32, stream: &Shared) {
        let changed = stream.try_borrow_mut().ok().and_then(|mut stream| stream.wants_otherwise());
        let Some((ticks, pulses)) = changed else { return };
        let mut is_new = false;
        for (wants, streams) in [(ticks, &self.streams), (pulses, &self.pulsing)] {
            let Ok(mut streams) = streams.try_borrow_mut() else { continue };
            if wants {
                is_new |= streams.insert(context, stream.clone()).is_none();
            } else {
                streams.remove(&context);
            }
        }
        // The timer begins anew when it is set, so it is set only where it has to run more often.
        if is_new && (self.period.get() == 0 || self.period.get() > self.wanted()) {
            self.run_every(self.wanted());
        }
    }

    fn forget(&self, context: u32) {
        for streams in [&self.streams, &self.pulsing] {
            if let Ok(mut streams) = streams.try_borrow_mut() {
                streams.remove(&context);
            }
        }
    }

    /// How often the timer has to run, in milliseconds; 0 where nobody wants it.
    fn wanted(&self) -> u32 {
        let any = |streams: &RefCell<BTreeMap<u32, Shared>>| {
            streams.try_borrow().is_ok_and(|streams| !streams.is_empty())
        };
        match (self.builds.get() || any(&self.streams), any(&self.pulsing)) {
            (true, _) => TICK_MILLIS,
            (false, true) => PULSE_MILLIS,
            (false, false) => 0,
        }
    }

    fn run_every(&self, millis: u32) {
        self.period.set(millis);
        calls::tick_every(millis);
    }

    /// Hands a tick on to everybody who wants it, the oldest first.
    fn tick(&self) {
        // Copied, because a stream may leave the list while it is told.
        let copied = |streams: &RefCell<BTreeMap<u32, Shared>>| match streams.try_borrow() {
            Ok(streams) => streams.iter().map(|(at, stream)| (*at, stream.clone())).collect(),
            Err(_) => BTreeMap::new(),
        };
        let mut streams = copied(&self.streams);
        let since = self.since.get().saturating_add(self.period.get());
        let pulse = since >= PULSE_MILLIS;
        self.since.set(if pulse { 0 } else { since });
        if pulse {
            streams.extend(copied(&self.pulsing));
        }
        for (context, stream) in streams {
            self.tell(context, &stream, Stream::tick);
        }
        let wanted = self.wanted();
        if wanted == 0 || wanted != self.period.get() {
            self.run_every(wanted);
        }
    }

    /// Hands an answer on to whoever has asked.
    fn answered(&self, token: u32, size: usize) {
        let Ok(mut asked) = self.asked.try_borrow_mut() else { return };
        let Some(at) = asked.iter().position(|(known, _, _)| *known == token) else { return };
        let (_, context, stream) = asked.swap_remove(at);
        // The stream may ask again.
        drop(asked);
        self.tell(context, &stream, |stream| {
            let _ = stream.answered(token, size);
        });
    }

    /// Tells a stream something while the plugin is called.
    fn tell(&self, context: u32, stream: &Shared, what: impl FnOnce(&mut Stream)) {
        if let Ok(mut told) = stream.try_borrow_mut() {
            let before = told.tokens();
            what(&mut told);
            let new = told.tokens().into_iter().filter(|token| !before.contains(token));
            if let Ok(mut asked) = self.asked.try_borrow_mut() {
                asked.extend(new.map(|token| (token, context, stream.clone())));
            }
        }
        self.note(context, stream);
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
    /// The SDK hands an answer to whoever was called when the question was asked, and that is the plugin when a tick or such an answer
    /// made a stream ask.
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
        self.ticking.builds.set(self.root.tick());
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
    /// None under a plugin without configuration.
    stream: Option<Shared>,
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
}

impl Drop for StreamContext {
    /// The stream is over: Envoy tells the SDK to drop it when it destroys the stream's filters, over HTTP/3 long before the access log is written.
    fn drop(&mut self) {
        let Some(stream) = &self.stream else { return };
        let is_noted = match stream.try_borrow_mut() {
            Ok(mut stream) => {
                stream.over();
                stream.is_noted()
            }
            Err(_) => true,
        };
        if is_noted {
            self.ticking.forget(self.context);
        }
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
}
