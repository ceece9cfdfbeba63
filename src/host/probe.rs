//! Finding out whether Envoy lets the filter hold request headers.
//!
//! With `allow_on_headers_stop_iteration` off (Istio's WasmPlugin has no field for it), a pause at the headers stops the body
//! too: its callback never comes, and the request would hang. So until a body callback has come while headers were held, a
//! timer watches the held requests, and lets go of those that wait too long.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use crate::exchange::Hold;
use crate::policy::settings::HoldHeaders;
use crate::time::UnixMillis;

/// How often held requests are looked at.
pub(super) const TICK_MILLIS: u32 = 10;

/// How long headers are held for a body under `auto`, until holding is proven.
const AUTO_PATIENCE_MILLIS: u64 = 50;

/// The same under `always`. Envoy has the first bytes of an honest body within a fraction of this.
const ALWAYS_PATIENCE_MILLIS: u64 = 1000;

/// Released requests in a row whose body came at once, after which holding is given up.
const SUSPICIONS: u32 = 3;

/// How long holding is given up before it is tried again.
const RETRY_MILLIS: u64 = 60_000;

/// What is known about holding, in one VM.
pub(super) struct Probe {
    mode: HoldHeaders,
    known: Cell<Known>,
    suspicions: Cell<u32>,
    held: RefCell<Vec<Held>>,
    /// Requests that were let go, with the number of the event that did it.
    released: RefCell<Vec<(u32, u64)>>,
    /// Counts callbacks: a body that comes with the very next event was there all along.
    events: Cell<u64>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Known {
    Nothing,
    Works,
    /// Not before this time is holding tried again.
    GivenUp(UnixMillis),
}

/// A request whose headers are held.
pub(super) struct Held {
    pub(super) context: u32,
    since: UnixMillis,
}

/// What the timer shall do.
pub(super) enum Overdue {
    /// Let the headers go.
    Release(Vec<u32>),
    /// Refuse the requests.
    Refuse(Vec<u32>),
}

impl Probe {
    pub(super) fn new(mode: HoldHeaders) -> Rc<Probe> {
        Rc::new(Probe {
            mode,
            known: Cell::new(Known::Nothing),
            suspicions: Cell::new(0),
            held: RefCell::default(),
            released: RefCell::default(),
            events: Cell::new(0),
        })
    }

    /// Whether the headers of a request shall be held. The answer is followed by [`Probe::holding`] if they are.
    pub(super) fn hold(&self, now: impl Fn() -> UnixMillis) -> Hold {
        match (self.mode, self.known.get()) {
            (HoldHeaders::Never, _) => Hold::No,
            (HoldHeaders::Auto, Known::GivenUp(until)) if now() < until => Hold::No,
            (_, Known::Works) | (HoldHeaders::Always, _) => Hold::Yes,
            (HoldHeaders::Auto, _) => Hold::Maybe,
        }
    }

    /// Takes note of a request whose headers are held. False if nobody has to watch it.
    pub(super) fn holding(&self, context: u32, now: impl Fn() -> UnixMillis) -> bool {
        if self.known.get() == Known::Works {
            return false;
        }
        self.held.borrow_mut().push(Held { context, since: now() });
        true
    }

    /// Takes note of a callback for the body or the trailers of a request. True if its headers had been let go.
    pub(super) fn body_came(&self, context: u32, now: impl Fn() -> UnixMillis) -> bool {
        let event = self.events.replace(self.events.get() + 1);
        if self.known.get() == Known::Works || self.mode == HoldHeaders::Never {
            return false;
        }
        if self.forget(context) {
            self.known.set(Known::Works);
            self.released.borrow_mut().clear();
            return false;
        }
        let mut released = self.released.borrow_mut();
        let Some(at) = released.iter().position(|(known, _)| *known == context) else {
            return false;
        };
        let (_, when) = released.swap_remove(at);
        let suspicions = if event == when { self.suspicions.get() + 1 } else { 0 };
        self.suspicions.set(suspicions);
        if suspicions >= SUSPICIONS {
            self.suspicions.set(0);
            self.known.set(Known::GivenUp(UnixMillis(now().0.saturating_add(RETRY_MILLIS))));
        }
        true
    }

    /// Takes note that a request is over. True if its headers were held.
    pub(super) fn forget(&self, context: u32) -> bool {
        let mut held = self.held.borrow_mut();
        let before = held.len();
        held.retain(|request| request.context != context);
        held.len() != before
    }

    /// Takes note that a request is over.
    pub(super) fn over(&self, context: u32) {
        self.forget(context);
        self.released.borrow_mut().retain(|(known, _)| *known != context);
    }

    /// The requests that have waited too long. Nothing is held after it if the timer can stop.
    pub(super) fn overdue(&self, now: UnixMillis) -> Overdue {
        let patience = match self.mode {
            HoldHeaders::Always => ALWAYS_PATIENCE_MILLIS,
            HoldHeaders::Auto | HoldHeaders::Never => AUTO_PATIENCE_MILLIS,
        };
        let late = |request: &Held| now.0.saturating_sub(request.since.0) >= patience;
        let mut held = self.held.borrow_mut();
        let contexts: Vec<u32> =
            held.iter().filter(|request| late(request)).map(|request| request.context).collect();
        held.retain(|request| !late(request));
        if self.mode == HoldHeaders::Always {
            return Overdue::Refuse(contexts);
        }
        let event = self.events.get();
        // Each is let go at its own event, so that its body can come with the next one.
        let released = contexts.iter().zip(event..).map(|(context, event)| (*context, event));
        self.released.borrow_mut().extend(released);
        Overdue::Release(contexts)
    }

    /// Whether the timer has nothing to watch.
    pub(super) fn is_idle(&self) -> bool {
        self.held.borrow().is_empty()
    }
}
