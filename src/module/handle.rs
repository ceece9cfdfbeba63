//! One HTTP stream as Envoy holds it: what its hooks lead to.
//!
//! While a hook runs, Envoy may call another: when the module answers, asks, or lets a request go on, the rest of the chain runs within
//! that call, and may end the stream. So a stream is borrowed for as long as it thinks, and given back before what may come back to it.

use std::cell::{Cell, RefCell};
use std::sync::Arc;

use super::abi::{Filter, log};
use super::callouts::Called;
use super::plugin::ModulePlugin;
use super::stream::ModuleStream;
use crate::exchange::{Flow, Level};
use crate::mcp::Refusal;
use crate::mcp::headers::Framing;
use crate::reason::Reason;
use crate::reply::{CODE_DETAILS, Reply};

/// A stream.
pub(super) struct Handle {
    plugin: Arc<ModulePlugin>,
    stream: RefCell<Option<ModuleStream>>,
    /// Nothing of it passes any more: it is over, or something panicked.
    closed: Cell<bool>,
}

/// What becomes of what a hook is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Passing {
    /// It goes on.
    GoesOn,
    /// It waits.
    Waits,
    /// The request is answered, and this goes nowhere.
    Gone,
}

impl Handle {
    pub(super) fn new(plugin: Arc<ModulePlugin>) -> Handle {
        #[cfg(debug_assertions)]
        plugin.strike("new");
        Handle { plugin, stream: RefCell::new(None), closed: Cell::new(false) }
    }

    /// The first hook of a stream, unless Envoy answers before any filter. A route may have a configuration of its own.
    pub(super) fn request_headers(
        &self,
        filter: Filter<'_>,
        route: Option<Arc<ModulePlugin>>,
        ends: bool,
    ) -> Passing {
        if let Some(route) = route {
            self.begin(&route);
        }
        self.run(filter, |stream, filter| stream.request_headers(filter, ends))
    }

    pub(super) fn request_body(&self, filter: Filter<'_>, ends: bool) -> Passing {
        self.run(filter, |stream, filter| stream.request_body(filter, ends))
    }

    pub(super) fn request_trailers(&self, filter: Filter<'_>) -> Passing {
        self.run(filter, ModuleStream::request_trailers)
    }

    pub(super) fn response_headers(&self, filter: Filter<'_>, ends: bool) -> Passing {
        self.run(filter, |stream, filter| stream.response_headers(filter, ends))
    }

    pub(super) fn response_body(&self, filter: Filter<'_>, ends: bool) -> Passing {
        self.run(filter, |stream, filter| stream.response_body(filter, ends))
    }

    pub(super) fn response_trailers(&self, filter: Filter<'_>) -> Passing {
        self.run(filter, ModuleStream::response_trailers)
    }

    /// The timer has run.
    pub(super) fn tick(&self, filter: Filter<'_>) -> Passing {
        self.run_outside(filter, ModuleStream::tick)
    }

    /// A question is answered, or will not be.
    pub(super) fn answered(&self, filter: Filter<'_>, id: u64, answer: Called<'_>) -> Passing {
        self.run_outside(filter, |stream, filter| stream.answered(filter, id, answer))
    }

    /// The stream is over, and access logs are not written yet.
    pub(super) fn over(&self, mut filter: Filter<'_>) -> Passing {
        self.closed.set(true);
        if let Ok(mut stream) = self.stream.try_borrow_mut()
            && let Some(mut stream) = stream.take()
        {
            stream.over(&mut filter);
        }
        Passing::Waits
    }

    /// Envoy lets go of the stream. It has said before that it is over.
    pub(super) fn gone(&self) {
        self.closed.set(true);
        #[cfg(debug_assertions)]
        self.plugin.strike("destroy");
        if let Ok(mut stream) = self.stream.try_borrow_mut() {
            drop(stream.take());
        }
    }

    /// Something panicked in a hook: nothing of the stream is known any more, so nothing of it passes.
    pub(super) fn panicked<'f>(&self, filter: impl FnOnce() -> Filter<'f>) -> Passing {
        if !self.closed.replace(true) {
            return send(filter(), &failure());
        }
        Passing::Gone
    }

    fn run(
        &self,
        mut filter: Filter<'_>,
        hook: impl FnOnce(&mut ModuleStream, &mut Filter<'_>) -> Flow,
    ) -> Passing {
        match self.flow(&mut filter, hook) {
            Flow::Continue => Passing::GoesOn,
            Flow::Pause => Passing::Waits,
            Flow::Reply(reply) => send(filter, &reply),
        }
    }

    /// The same outside the hooks for what passes: what waits is told to go on.
    fn run_outside(
        &self,
        mut filter: Filter<'_>,
        hook: impl FnOnce(&mut ModuleStream, &mut Filter<'_>) -> Flow,
    ) -> Passing {
        match self.flow(&mut filter, hook) {
            Flow::Continue => {
                filter.continue_request();
                Passing::GoesOn
            }
            Flow::Pause => Passing::Waits,
            Flow::Reply(reply) => send(filter, &reply),
        }
    }

    /// What comes within another hook of the stream, or after its end, is not let through.
    fn flow(
        &self,
        filter: &mut Filter<'_>,
        hook: impl FnOnce(&mut ModuleStream, &mut Filter<'_>) -> Flow,
    ) -> Flow {
        if self.closed.get() {
            return Flow::Pause;
        }
        let Ok(mut stream) = self.stream.try_borrow_mut() else { return Flow::Pause };
        if stream.is_none() {
            *stream =
                self.plugin.worker().map(|worker| ModuleStream::new(&worker, self.plugin.meters()));
        }
        match &mut *stream {
            Some(stream) => hook(stream, filter),
            None => {
                log(Level::Error, "mcp_policy: a worker could not read the configuration");
                self.closed.set(true);
                Flow::Reply(failure())
            }
        }
    }

    /// Begins the stream under the configuration of its route.
    fn begin(&self, route: &Arc<ModulePlugin>) {
        if let (Ok(mut stream), Some(worker)) = (self.stream.try_borrow_mut(), route.worker()) {
            *stream = Some(ModuleStream::new(&worker, self.plugin.meters()));
        }
    }
}

fn send(filter: Filter<'_>, reply: &Reply) -> Passing {
    let headers: Vec<(&str, &str)> =
        reply.headers.iter().map(|(name, value)| (*name, &**value)).collect();
    filter.send(reply.status, CODE_DETAILS, &headers, &reply.body);
    Passing::Gone
}

/// What a request gets whose judgement failed.
fn failure() -> Reply {
    Reply::refusal(&Refusal::new(Reason::HostFailure, ""), Framing::Json)
}
