//! Holding the headers of requests until their bodies are judged, and finding out whether the host lets that be.
//!
//! With `allow_on_headers_stop_iteration` off (Istio's WasmPlugin has no field for it), a pause at the headers stops the body
//! too: it never comes, and the request would hang. So until a body has come while headers were held, held requests are looked at
//! every few milliseconds, and one that waits too long is let go, or refused.

use std::cell::Cell;
use std::rc::Rc;

use crate::policy::settings::HoldHeaders;
use crate::time::UnixMillis;
use crate::world::World;

/// How often held requests are to be looked at.
pub const TICK_MILLIS: u32 = 10;

/// How long headers are held for a body under `auto`, until holding is proven.
const AUTO_PATIENCE_MILLIS: u64 = 50;

/// The same under `always`. Envoy has the first bytes of an honest body within a fraction of this.
const ALWAYS_PATIENCE_MILLIS: u64 = 1000;

/// Released requests in a row whose body came at once, after which holding is given up.
const SUSPICIONS: u32 = 3;

/// How long holding is given up before it is tried again.
const RETRY_MILLIS: u64 = 60_000;

/// What the operator reads where headers must be held and cannot.
pub(super) const NOT_HELD: &str = concat!(
    "mcp_policy: refused a request because its body did not come while its headers were held: ",
    "set allow_on_headers_stop_iteration: true beside this plugin's configuration, ",
    "or requests.hold_headers to \"auto\""
);

/// What all exchanges under one configuration know together, in one VM. It knows none of them, so none can be left behind in it.
#[derive(Debug)]
pub struct Holds {
    mode: HoldHeaders,
    known: Cell<Known>,
    suspicions: Cell<u32>,
    /// Counts the pieces of bodies and the trailers that came: a body that comes with the very next one was there all along.
    pieces: Cell<u64>,
    /// How many requests were let go with nothing else in between.
    in_a_row: Cell<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Known {
    Nothing,
    Works,
    /// Not before this time is holding tried again.
    GivenUp(UnixMillis),
}

/// What one exchange knows of its own headers.
#[derive(Debug)]
pub(super) struct Hold {
    all: Rc<Holds>,
    phase: HoldPhase,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum HoldPhase {
    /// Nobody has to watch the request: its headers are not held, or its body can come.
    Calm,
    /// Its headers are held since then, and its body may never come. Where the clock fails, nobody knows since when.
    Held(Option<UnixMillis>),
    /// Its headers were let go. If its body was there all along, it comes as the piece with this number.
    Released(u64),
    /// Its body came after that.
    Late,
}

/// Whether the headers of a request wait for the decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wait {
    /// They wait.
    Yes,
    /// They wait, unless it turns out that the host does not let them.
    Maybe,
    /// They go ahead; the body still waits.
    No,
}

/// What becomes of a held request as time passes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Overdue {
    /// It is not held, or can still wait.
    Nothing,
    /// Its headers go on; its body is still judged.
    Release,
    /// It is refused.
    Refuse,
}

impl Holds {
    /// Nothing is known yet.
    #[must_use]
    pub fn new(mode: HoldHeaders) -> Holds {
        Holds {
            mode,
            known: Cell::new(Known::Nothing),
            suspicions: Cell::new(0),
            pieces: Cell::new(0),
            in_a_row: Cell::new(0),
        }
    }

    /// Where the host is known to let headers wait.
    #[must_use]
    pub fn proven(mode: HoldHeaders) -> Holds {
        Holds { known: Cell::new(Known::Works), ..Holds::new(mode) }
    }

    fn wait<W: World>(&self, world: &W) -> Wait {
        match (self.mode, self.known.get()) {
            (HoldHeaders::Never, _) => Wait::No,
            (HoldHeaders::Auto, Known::GivenUp(until)) if now(world) < until => Wait::No,
            (_, Known::Works) | (HoldHeaders::Always, _) => Wait::Yes,
            (HoldHeaders::Auto, _) => Wait::Maybe,
        }
    }

    fn patience(&self) -> u64 {
        match self.mode {
            HoldHeaders::Always => ALWAYS_PATIENCE_MILLIS,
            HoldHeaders::Auto | HoldHeaders::Never => AUTO_PATIENCE_MILLIS,
        }
    }

    /// Takes note of a released request's body, and whether it seems to have been there all along.
    fn suspect<W: World>(&self, world: &W, at_once: bool) {
        let suspicions = if at_once { self.suspicions.get().saturating_add(1) } else { 0 };
        self.suspicions.set(suspicions);
        if suspicions >= SUSPICIONS {
            self.suspicions.set(0);
            self.known.set(Known::GivenUp(UnixMillis(now(world).0.saturating_add(RETRY_MILLIS))));
        }
    }
}

/// The time for trying again, where a host that does not tell it may as well be at its beginning.
fn now<W: World>(world: &W) -> UnixMillis {
    world.now().unwrap_or(UnixMillis(0))
}

impl Hold {
    pub(super) fn new(all: Rc<Holds>) -> Hold {
        Hold { all, phase: HoldPhase::Calm }
    }

    /// Whether the headers of this request wait. From now on it is watched, if they do and may do so in vain.
    pub(super) fn begin<W: World>(&mut self, world: &W) -> Wait {
        let all = &self.all;
        all.in_a_row.set(0);
        let wait = all.wait(world);
        if wait != Wait::No && all.known.get() != Known::Works {
            self.phase = HoldPhase::Held(world.now());
        }
        wait
    }

    /// Takes note that a piece of the body, or the trailers, came.
    pub(super) fn came<W: World>(&mut self, world: &W) {
        let all = &self.all;
        let piece = all.pieces.replace(all.pieces.get().wrapping_add(1));
        all.in_a_row.set(0);
        self.phase = match self.phase {
            HoldPhase::Calm => HoldPhase::Calm,
            HoldPhase::Held(_) => {
                all.known.set(Known::Works);
                HoldPhase::Calm
            }
            // A slow client, nothing more: holding works.
            HoldPhase::Released(_) if all.known.get() == Known::Works => HoldPhase::Calm,
            HoldPhase::Released(expected) => {
                all.suspect(world, piece == expected);
                HoldPhase::Late
            }
            HoldPhase::Late => HoldPhase::Late,
        };
    }

    /// Time has passed.
    pub(super) fn tick<W: World>(&mut self, world: &W) -> Overdue {
        let HoldPhase::Held(since) = self.phase else { return Overdue::Nothing };
        let all = &self.all;
        let waited = match (since, world.now()) {
            (Some(since), Some(now)) => now.0.checked_sub(since.0),
            (None, _) | (_, None) => None,
        };
        // Nothing hangs on a clock that fails, or has gone back since.
        if waited.is_some_and(|waited| waited < all.patience()) {
            all.in_a_row.set(0);
            return Overdue::Nothing;
        }
        if all.mode == HoldHeaders::Always {
            self.phase = HoldPhase::Calm;
            return Overdue::Refuse;
        }
        // Those let go in a row get their bodies in a row, so each expects its own one piece later than the one before it.
        let before = all.in_a_row.replace(all.in_a_row.get().wrapping_add(1));
        self.phase = HoldPhase::Released(all.pieces.get().wrapping_add(before));
        Overdue::Release
    }

    /// The request is answered or over.
    pub(super) fn forget(&mut self) {
        self.phase = HoldPhase::Calm;
    }

    /// Whether the headers are held, perhaps in vain.
    pub(super) fn is_watched(&self) -> bool {
        matches!(self.phase, HoldPhase::Held(_))
    }

    /// Whether the headers were let go before the body came, where nobody has found out that they can wait.
    pub(super) fn is_late(&self) -> bool {
        self.phase == HoldPhase::Late
    }
}
