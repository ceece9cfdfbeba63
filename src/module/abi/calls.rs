//! The functions of the ABI that the module calls, each made safe.
//!
//! What they hand out of Envoy's memory is borrowed from the [`Filter`]: Envoy promises that it stays until the hook returns or something
//! is changed, and what changes something takes the filter by `&mut` or by value.

use std::ffi::c_void;

use super::{
    Bytes, CountWith, DefineWith, Filter, FilterConfig, HeaderPair, SUCCESS, append_body,
    attribute_int, attribute_string, body_chunks, body_chunks_size, body_size,
    config_increment_counter, config_record_histogram, config_set_gauge, continue_decoding,
    define_counter, define_gauge, define_histogram, drain_body, get_filter_state, get_headers,
    headers_size, http_callout, increment_counter, metadata_bool, metadata_number, metadata_string,
    received_buffered, record_histogram, send_response, set_filter_state, set_gauge, set_header,
    take_message, takes_messages,
};
use crate::ask::Ask;
use crate::exchange::Level;
use crate::mcp::headers::Header;
use crate::metrics::MeterKind;

/// Whose headers or body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::module) enum Half {
    Request,
    Response,
}

/// Which bytes of a body there are, by `envoy_dynamic_module_type_http_body_type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct BodyBuffers {
    received: u32,
    buffered: u32,
}

/// Headers that fit on the stack; more are rare.
const USUAL_HEADERS: usize = 48;

impl Half {
    fn headers(self) -> u32 {
        match self {
            Half::Request => 0,
            Half::Response => 2,
        }
    }

    fn body(self) -> BodyBuffers {
        match self {
            Half::Request => BodyBuffers { received: 0, buffered: 1 },
            Half::Response => BodyBuffers { received: 2, buffered: 3 },
        }
    }
}

/// Writes into Envoy's log, under `dynamic_modules`.
pub(in crate::module) fn log(level: Level, text: &str) {
    let level = match level {
        Level::Info => 2,
        Level::Warn => 3,
        Level::Error => 4,
    };
    // SAFETY: no pointers.
    if unsafe { takes_messages(level) } {
        // SAFETY: Envoy reads the text during the call.
        unsafe { take_message(level, Bytes::of(text.as_bytes())) }
    }
}

impl FilterConfig<'_> {
    /// Defines a metric with its labels; `None` if Envoy refuses.
    pub(in crate::module) fn define(
        &self,
        kind: MeterKind,
        name: &str,
        labels: &[&str],
    ) -> Option<usize> {
        let define: DefineWith = match kind {
            MeterKind::Counter => define_counter,
            MeterKind::Gauge => define_gauge,
            MeterKind::Histogram => define_histogram,
        };
        let labels = texts(labels);
        let (name, mut id) = (Bytes::of(name.as_bytes()), 0);
        // SAFETY: Envoy reads the name and so many labels, and writes one number, during the call.
        let result = unsafe {
            define(self.config.as_ptr(), name, labels.as_ptr(), labels.len(), &raw mut id)
        };
        (result == SUCCESS).then_some(id)
    }

    /// Adds to a counter or a histogram, or sets a gauge.
    pub(in crate::module) fn count(
        &self,
        kind: MeterKind,
        id: usize,
        labels: &[String],
        value: u64,
    ) {
        let count: CountWith = match kind {
            MeterKind::Counter => config_increment_counter,
            MeterKind::Gauge => config_set_gauge,
            MeterKind::Histogram => config_record_histogram,
        };
        counted(count, self.config.as_ptr(), (id, labels), value);
    }
}

fn texts<T: AsRef<str>>(texts: &[T]) -> Vec<Bytes> {
    texts.iter().map(|text| Bytes::of(text.as_ref().as_bytes())).collect()
}

/// Counts. What Envoy does not count is lost: no request depends on it.
fn counted(count: CountWith, on: *mut c_void, (id, labels): (usize, &[String]), value: u64) {
    let labels = texts(labels);
    // SAFETY: Envoy reads so many values during the call, and answers a number that it does not know.
    let _ = unsafe { count(on, id, labels.as_ptr(), labels.len(), value) };
}

impl Filter<'_> {
    pub(super) fn raw(&self) -> *mut c_void {
        self.filter.as_ptr()
    }

    /// Adds to a counter or a histogram, or sets a gauge.
    pub(in crate::module) fn count(
        &self,
        kind: MeterKind,
        id: usize,
        labels: &[String],
        value: u64,
    ) {
        let count: CountWith = match kind {
            MeterKind::Counter => increment_counter,
            MeterKind::Gauge => set_gauge,
            MeterKind::Histogram => record_histogram,
        };
        counted(count, self.raw(), (id, labels), value);
    }

    /// All headers, repeated ones included; `None` where there are none to be had.
    pub(in crate::module) fn headers(&self, message: Half) -> Option<Vec<Header<'_>>> {
        let map = message.headers();
        // SAFETY: no pointers but Envoy's own.
        let count = unsafe { headers_size(self.raw(), map) };
        let mut usual = [HeaderPair::NULL; USUAL_HEADERS];
        let mut many = Vec::new();
        let pairs = match usual.get_mut(..count) {
            Some(pairs) => pairs,
            None => {
                many.resize(count, HeaderPair::NULL);
                &mut many[..]
            }
        };
        // SAFETY: there is room for as many as Envoy has said, and nothing has changed since.
        let told = unsafe { get_headers(self.raw(), map, pairs.as_mut_ptr()) };
        // SAFETY: borrowed from the filter, as the module's head says.
        let read = |pair: &HeaderPair| unsafe { (pair.name.read(), pair.value.read()) };
        told.then(|| pairs.iter().map(read).collect())
    }

    /// Sets a header to this value and no other, or removes it; false if Envoy does not.
    pub(in crate::module) fn set_header(
        &mut self,
        message: Half,
        name: &str,
        value: Option<&str>,
    ) -> bool {
        let value = value.map_or(Bytes::NULL, |value| Bytes::of(value.as_bytes()));
        // SAFETY: Envoy copies both during the call.
        unsafe { set_header(self.raw(), message.headers(), Bytes::of(name.as_bytes()), value) }
    }

    /// The buffers that a body is in, in its order. What is held of a request was buffered before, for us, unless those are the very bytes
    /// that have just come. What is held of a response is no matter of ours: filters that come after us have it in hand.
    fn buffers(&self, message: Half) -> impl Iterator<Item = u32> + use<> {
        let BodyBuffers { received, buffered } = message.body();
        // SAFETY: no pointers but Envoy's own.
        let ours = message == Half::Request && !unsafe { received_buffered(self.raw()) };
        ours.then_some(buffered).into_iter().chain([received])
    }

    /// How many bytes of a body are there.
    pub(in crate::module) fn body_length(&self, message: Half) -> usize {
        // SAFETY: no pointers but Envoy's own.
        let sizes = self.buffers(message).map(|buffer| unsafe { body_size(self.raw(), buffer) });
        sizes.fold(0, usize::saturating_add)
    }

    /// The first `length` bytes of a body; fewer where there are no more.
    pub(in crate::module) fn body(&self, message: Half, length: usize) -> Vec<u8> {
        let mut body = Vec::with_capacity(length.min(self.body_length(message)));
        for buffer in self.buffers(message) {
            // SAFETY: no pointers but Envoy's own.
            let count = unsafe { body_chunks_size(self.raw(), buffer) };
            let mut chunks = vec![Bytes::NULL; count];
            // SAFETY: there is room for as many as Envoy has said, and nothing has changed since.
            if count == 0 || !unsafe { body_chunks(self.raw(), buffer, chunks.as_mut_ptr()) } {
                continue;
            }
            for chunk in chunks {
                // SAFETY: borrowed from the filter, as the module's head says.
                let chunk = unsafe { chunk.read() };
                let room = length.saturating_sub(body.len());
                body.extend_from_slice(chunk.get(..room).unwrap_or(chunk));
            }
        }
        body
    }

    /// Puts other bytes in the place of those that are there of a body; false if they stayed.
    pub(in crate::module) fn replace_body(&mut self, message: Half, bytes: &[u8]) -> bool {
        let mut buffers: Vec<u32> = self.buffers(message).collect();
        for &buffer in &buffers {
            // SAFETY: no pointers but Envoy's own.
            let gone = unsafe {
                drain_body(self.raw(), buffer, usize::MAX);
                body_size(self.raw(), buffer) == 0
            };
            if !gone {
                return false;
            }
        }
        // What has just come, if anything has; else what was buffered.
        buffers.reverse();
        // SAFETY: Envoy copies the bytes during the call.
        let append = |buffer: &u32| unsafe { append_body(self.raw(), *buffer, Bytes::of(bytes)) };
        bytes.is_empty() || buffers.iter().any(append)
    }

    /// An attribute that is a text, by `envoy_dynamic_module_type_attribute_id`.
    pub(in crate::module) fn attribute(&self, id: u32) -> Option<&[u8]> {
        let mut out = Bytes::NULL;
        // SAFETY: Envoy writes one buffer during the call.
        let told = unsafe { attribute_string(self.raw(), id, &raw mut out) };
        // SAFETY: borrowed from the filter, as the module's head says.
        told.then(|| unsafe { out.read() })
    }

    /// An attribute that is a number.
    pub(in crate::module) fn number(&self, id: u32) -> Option<u64> {
        let mut out = 0;
        // SAFETY: Envoy writes one number during the call.
        unsafe { attribute_int(self.raw(), id, &raw mut out) }.then_some(out)
    }

    /// A value of the route's metadata as the proxy-wasm ABI tells it: the bytes of a text, of a double, or of a bool.
    pub(in crate::module) fn route_metadata(&self, space: &str, key: &str) -> Option<Vec<u8>> {
        const ROUTE: u32 = 1;
        let (space, key) = (Bytes::of(space.as_bytes()), Bytes::of(key.as_bytes()));
        let (mut text, mut number, mut flag) = (Bytes::NULL, 0.0_f64, false);
        // SAFETY: Envoy reads both names, and writes one value of the type that is asked for, during each call.
        unsafe {
            if metadata_string(self.raw(), ROUTE, space, key, &raw mut text) {
                return Some(text.read().to_vec());
            }
            if metadata_number(self.raw(), ROUTE, space, key, &raw mut number) {
                return Some(number.to_le_bytes().to_vec());
            }
            let told = metadata_bool(self.raw(), ROUTE, space, key, &raw mut flag);
            told.then(|| vec![flag.into()])
        }
    }

    /// A value of the stream's filter state.
    pub(in crate::module) fn filter_state(&self, key: &str) -> Option<&[u8]> {
        let mut out = Bytes::NULL;
        // SAFETY: Envoy reads the key, and writes one buffer, during the call.
        let told = unsafe { get_filter_state(self.raw(), Bytes::of(key.as_bytes()), &raw mut out) };
        // SAFETY: borrowed from the filter, as the module's head says.
        told.then(|| unsafe { out.read() })
    }

    /// Sets a value of the stream's filter state; false where another filter has put one there for good.
    pub(in crate::module) fn set_filter_state(&mut self, key: &str, value: &str) -> bool {
        let (key, value) = (Bytes::of(key.as_bytes()), Bytes::of(value.as_bytes()));
        // SAFETY: Envoy copies both during the call.
        unsafe { set_filter_state(self.raw(), key, value) }
    }

    /// Asks a question of a cluster, and returns Envoy's number for it; `None` if it cannot be asked.
    pub(in crate::module) fn ask(&mut self, ask: &Ask) -> Option<u64> {
        let headers = ask.all_headers();
        let headers: Vec<HeaderPair> = headers.iter().map(HeaderPair::of).collect();
        let mut id = 0;
        // SAFETY: Envoy copies the name, so many headers and the body, and writes one number, during the call.
        let result = unsafe {
            http_callout(
                self.raw(),
                &raw mut id,
                Bytes::of(ask.cluster.as_bytes()),
                headers.as_ptr(),
                headers.len(),
                ask.bytes().map_or(Bytes::NULL, Bytes::of),
                ask.timeout_millis.into(),
            )
        };
        (result == SUCCESS).then_some(id)
    }

    /// Answers the request; where the answer of a server has begun, Envoy resets the stream instead.
    pub(in crate::module) fn send(
        self,
        status: u16,
        details: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) {
        let headers: Vec<HeaderPair> = headers.iter().map(HeaderPair::of).collect();
        // SAFETY: Envoy copies headers, body and details during the call.
        unsafe {
            send_response(
                self.raw(),
                status.into(),
                headers.as_ptr(),
                headers.len(),
                Bytes::of(body),
                Bytes::of(details.as_bytes()),
            );
        }
    }

    /// Lets a paused request go on.
    pub(in crate::module) fn continue_request(self) {
        // SAFETY: no pointers but Envoy's own.
        unsafe { continue_decoding(self.raw()) }
    }
}
