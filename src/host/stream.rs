//! One HTTP stream: each callback builds an event, asks the exchange, and does what it says.

use std::rc::Rc;

use super::Flow;
use super::calls::{self, Buffer, Level, Map};
use super::probe::{Probe, TICK_MILLIS};
use super::shared::SharedData;
use crate::exchange::{Action, BodyAction, Chunk, Environment, Exchange, HeaderEdit, ResponseHead};
use crate::mcp::headers::{Follows, Header};
use crate::mcp::outcome::is_conclusive;
use crate::reply::{CODE_DETAILS, Reply};
use crate::time::UnixMillis;

const NOT_HELD: &str = concat!(
    "mcp_policy: refused a request because its body did not come while its headers were held: ",
    "set allow_on_headers_stop_iteration: true beside this plugin's configuration, ",
    "or requests.hold_headers to \"auto\""
);

/// One HTTP stream.
pub(super) struct Stream {
    context: u32,
    exchange: Exchange,
    probe: Rc<Probe>,
    /// Whether the timer watches the request.
    watched: bool,
    /// Whether its headers were let go before its body came.
    released: bool,
}

impl Stream {
    pub(super) fn new(context: u32, exchange: Exchange, probe: Rc<Probe>) -> Stream {
        Stream { context, exchange, probe, watched: false, released: false }
    }

    fn perform(&mut self, action: Action) -> Flow {
        self.keep_record();
        match action {
            Action::Continue => Flow::Continue,
            Action::Pause => Flow::Pause,
            Action::Reply(reply) => {
                send(&reply);
                Flow::Pause
            }
        }
    }

    /// Lets the timer watch the request, as long as it is not known that holding works.
    fn watch(&mut self) {
        self.watched = self.probe.holding(self.context, calls::timer_now);
        if self.watched {
            calls::tick_every(TICK_MILLIS);
        }
    }

    /// Changes headers as the exchange asks; false if one stayed that was to go.
    fn edit_headers(&mut self, map: Map) -> bool {
        let edits = self.exchange.take_edits();
        edits.into_iter().all(|edit| {
            let edited = calls::edit_header(map, &edit);
            edited.is_ok() || matches!(edit, HeaderEdit::Set(..))
        })
    }

    fn body_came(&mut self) {
        self.released |= self.probe.body_came(self.context, calls::timer_now);
    }

    pub(super) fn request_headers(&mut self, end_of_stream: bool) -> Flow {
        let headers = calls::headers(Map::Request).unwrap_or_default();
        let follows = if end_of_stream { Follows::Nothing } else { Follows::Body };
        let hold = self.probe.hold(calls::timer_now);
        let mut action = match headers.pairs() {
            Some(pairs) => self.exchange.request_headers(&Host::default(), &pairs, follows, hold),
            None => self.exchange.host_failed(),
        };
        // What cannot be removed must not get past.
        if !self.edit_headers(Map::Request) {
            action = self.exchange.host_failed();
        }
        if action == Action::Pause {
            self.watch();
        }
        self.perform(action)
    }

    pub(super) fn request_body(&mut self, buffered: usize, end_of_stream: bool) -> Flow {
        self.body_came();
        let chunk = if end_of_stream { Chunk::Last } else { Chunk::More };
        let action = self.exchange.request_body(&Host::default(), buffered, chunk);
        if self.exchange.drops_body() && calls::replace(Buffer::RequestBody, buffered, &[]).is_err()
        {
            // It would be looked at twice, and Envoy would refuse it by a bound of its own.
            calls::log(Level::Error, "mcp_policy: a body that is too long could not be dropped");
        }
        self.edit_headers(Map::Request);
        self.perform(action)
    }

    pub(super) fn request_trailers(&mut self) -> Flow {
        self.body_came();
        let mut action = self.exchange.request_trailers(&Host::default());
        self.edit_headers(Map::Request);
        if action == Action::Continue && self.released {
            // After a pause of everything, Envoy 1.40 hands on the trailers without the body that was held for this callback.
            let refused = self.exchange.give_up_holding();
            action = refused.map_or(Action::Continue, Action::Reply);
        }
        self.perform(action)
    }

    pub(super) fn response_headers(&mut self, end_of_stream: bool) -> Flow {
        if !self.exchange.awaits_response() {
            return Flow::Continue;
        }
        let headers = calls::headers(Map::Response).unwrap_or_default();
        // Without headers it is an answer of no known form.
        let pairs = headers.pairs().unwrap_or_default();
        let details = calls::property(&["response", "code_details"]).ok().flatten();
        let head = response_head(&pairs);
        let conclusive = details.is_some_and(|details| is_conclusive(&details, head.status));
        let head = ResponseHead { ends: end_of_stream, conclusive, ..head };
        self.exchange.response_headers(&Host::default(), head);
        self.edit_headers(Map::Response);
        self.keep_record();
        Flow::Continue
    }

    pub(super) fn response_body(&mut self, length: usize, end_of_stream: bool) -> Flow {
        let chunk = if end_of_stream { Chunk::Last } else { Chunk::More };
        let action = self.exchange.response_body(&Host::default(), length, chunk);
        self.keep_record();
        pass(action, length)
    }

    pub(super) fn response_trailers(&mut self) -> Flow {
        self.exchange.response_trailers(&Host::default());
        self.keep_record();
        Flow::Continue
    }

    /// Takes note that the stream is over.
    pub(super) fn over(&self) {
        if self.watched {
            self.probe.over(self.context);
        }
    }

    /// Refuses a request whose headers were to be held and whose body does not come. Acts from outside its callbacks.
    pub(super) fn refuse(&mut self) {
        let Some(reply) = self.exchange.give_up_holding() else { return };
        calls::log(Level::Error, NOT_HELD);
        if calls::act_on(self.context).is_ok() {
            self.keep_record();
            send(&reply);
        }
    }

    /// Puts the record of the request, once there is one, into its filter state.
    fn keep_record(&mut self) {
        let Some(record) = self.exchange.take_record() else { return };
        for (name, value) in record.fields() {
            let _ = calls::set_filter_state(name, &value);
        }
        if !record.warning.is_empty() {
            calls::log(Level::Warn, &record.warning);
        }
    }
}

fn send(reply: &Reply) {
    let sent = calls::reply(reply.status, CODE_DETAILS, &reply.headers, &reply.body);
    if sent.is_err() {
        // The request stays paused: not answered, but not forwarded either.
        calls::log(Level::Error, "mcp_policy: Envoy did not take the answer to a request");
    }
}

/// Lets bytes of the response pass, or others in their place.
fn pass(action: BodyAction, length: usize) -> Flow {
    match action {
        BodyAction::Continue => Flow::Continue,
        BodyAction::Replace(bytes)
            if calls::replace(Buffer::ResponseBody, length, &bytes).is_ok() =>
        {
            Flow::Continue
        }
        BodyAction::Replace(_) => {
            // The bytes stay where they are: they were not to pass.
            calls::log(
                Level::Error,
                "mcp_policy: a response could not be changed, and is withheld",
            );
            Flow::Pause
        }
    }
}

fn response_head<'h>(headers: &[Header<'h>]) -> ResponseHead<'h> {
    let values = |wanted: &'static [u8]| {
        headers.iter().filter(move |(name, _)| *name == wanted).map(|(_, value)| *value)
    };
    let status =
        values(b":status").next().and_then(|status| std::str::from_utf8(status).ok()?.parse().ok());
    // Envoy joins repeated content types with a comma, and leaves repeated encodings apart.
    let content_type = values(b"content-type").next();
    let encoded = values(b"content-encoding").any(|value| !value.eq_ignore_ascii_case(b"identity"));
    ResponseHead {
        status: status.unwrap_or(0),
        content_type,
        encoded,
        conclusive: false,
        session: values(b"mcp-session-id").next(),
        ends: false,
    }
}

/// Envoy as the exchange sees it.
#[derive(Default)]
struct Host {
    store: SharedData,
}

impl Environment for Host {
    type Store = SharedData;

    fn now(&self) -> Option<UnixMillis> {
        calls::now()
    }

    fn store(&self) -> &SharedData {
        &self.store
    }

    fn attribute(&self, path: &[&str]) -> Option<Vec<u8>> {
        calls::property(path).ok().flatten()
    }

    fn request_body(&self, length: usize) -> Option<Vec<u8>> {
        calls::buffer(Buffer::RequestBody, length).ok().flatten()
    }

    fn response_chunk(&self, length: usize) -> Option<Vec<u8>> {
        calls::buffer(Buffer::ResponseBody, length).ok().flatten()
    }
}
