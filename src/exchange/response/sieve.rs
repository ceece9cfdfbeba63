//! What passes of the texts of a response: each is skimmed as it comes, held while it may be a list, and then read.

use std::cell::Cell;
use std::rc::Rc;

use super::ListAudience;
use crate::bounds::{MAX_HELD_BYTES, MAX_UNJUDGED_BYTES};
use crate::exchange::chain::Chain;
use crate::exchange::expected::Lists;
use crate::listing::{Cause, ChangedTool, Filtered, ShownTo, filter, wanted};
use crate::mcp::skim::{Skim, Wanted};
use crate::mcp::sse::{EventVerdict, Look};
use crate::mcp::unread::is_id;
use crate::pins::Sightings;
use crate::policy::compiled::{Config, Policy};
use crate::rate::store::SharedStore;
use crate::reply::list_unreadable_object;

/// How texts are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reading {
    /// The body is the answer to a request for a list: what is not JSON is withheld.
    List,
    /// The body says that it is JSON.
    Json,
    /// It says that it is something else, and may be JSON all the same.
    Page,
    /// The data of events.
    Events,
}

/// The gate through which the texts of one response go, one after the other.
#[derive(Debug)]
pub(super) struct Sieve {
    config: Rc<Config>,
    audience: ListAudience,
    pub(super) lists: Lists,
    /// What the server's state is sealed with, until it is.
    chain: Option<Box<Chain>>,
    reading: Reading,
    wanted: Wanted,
    skim: Skim,
    /// Whether a part of the present text has passed.
    passing: bool,
    /// Why the present text does not pass.
    spoiled: Option<Cause>,
    tally: HeldBytes,
    /// Why something was withheld, until that is on record.
    pub(super) noted: Option<Cause>,
    /// How many lists were changed, until that is counted.
    pub(super) filtered: u64,
    /// Which tools were not shown because they are defined otherwise, until that is on record.
    pub(super) changed: Vec<ChangedTool>,
}

impl Sieve {
    pub(super) fn new(
        config: &Rc<Config>,
        audience: ListAudience,
        lists: Lists,
        chain: Option<Box<Chain>>,
        reading: Reading,
    ) -> Option<Sieve> {
        let wanted = wanted(config.policy_at(audience.policy?)?);
        let skim = skim(reading, wanted);
        let tally = HeldBytes { own: 0, all: Rc::clone(&config.held) };
        let config = Rc::clone(config);
        let (passing, spoiled, noted) = (false, None, None);
        Some(Sieve {
            config,
            audience,
            lists,
            chain,
            reading,
            wanted,
            skim,
            passing,
            spoiled,
            tally,
            noted,
            filtered: 0,
            changed: Vec::new(),
        })
    }

    fn policy(&self) -> Option<&Policy> {
        self.config.policy_at(self.audience.policy?)
    }

    fn most(&self) -> usize {
        self.config.max_list_bytes
    }

    fn is_suspicious(&self) -> bool {
        self.skim.may_hold_list() || (self.reading == Reading::List && self.skim.has_prose())
    }

    /// Whether the text is none that could hold a list, nor could what follows.
    pub(super) fn is_free(&self) -> bool {
        self.reading == Reading::Page && self.skim.has_prose() && !self.skim.may_hold_list()
    }

    /// Whether the present text has ended by its own syntax.
    pub(super) fn is_whole(&self) -> bool {
        self.skim.is_whole()
    }

    /// What becomes of a whole text: other text in its place, where that is needed.
    pub(super) fn sift<S: SharedStore>(
        &mut self,
        text: &[u8],
        store: &S,
    ) -> Result<Option<String>, Cause> {
        if !self.is_suspicious() {
            return Ok(self.chained(text));
        }
        let policy = self.policy().ok_or(Cause::Ungoverned)?;
        let shown = ShownTo { policy, viewer: self.audience.viewer.as_deref() };
        let (filtered, changed) = filter(shown, text, Sightings::new(store, self.audience.server));
        self.changed.extend(changed);
        match filtered {
            Filtered::Unchanged => Ok(self.chained(text)),
            Filtered::Changed(text) => {
                self.filtered += 1;
                Ok(Some(text))
            }
            Filtered::Unreadable(Cause::NotJson)
                if !self.skim.is_whole() && !self.skim.has_prose() && !self.skim.is_broken() =>
            {
                Err(Cause::Unfinished)
            }
            Filtered::Unreadable(cause) => Err(cause),
        }
    }

    /// The text with the server's own state sealed, where it asks for input of a call that was approved.
    fn chained(&mut self, text: &[u8]) -> Option<String> {
        let chain = self.chain.take()?;
        let changed = chain.sealed(self.config.approvals.keys.as_ref()?, text);
        if changed.is_none() {
            // Another text may be the one.
            self.chain = Some(chain);
        }
        changed
    }

    /// Begins with another text, of which the first byte passes at once if `passing`.
    pub(super) fn restart(&mut self, passing: bool) {
        self.skim = skim(self.reading, self.wanted);
        self.passing = passing;
        self.spoiled = None;
        self.tally.hold(0);
    }

    /// Why the present text does not pass.
    pub(super) fn cause(&mut self) -> Cause {
        self.spoiled.take().unwrap_or(Cause::DoubtfulLine)
    }

    pub(super) fn note(&mut self, cause: &Cause) {
        self.noted = self.noted.take().or_else(|| Some(cause.clone()));
    }

    fn spoil(&mut self, cause: Cause) {
        self.spoiled = self.spoiled.take().or(Some(cause));
        self.tally.hold(0);
    }

    /// The data of an event that tells that something is withheld: to whom waits for it, where that is known.
    fn error(&self, cause: &Cause) -> Option<String> {
        // Where a line has two readings, so may the id.
        let clear = *cause != Cause::DoubtfulLine;
        let own = self.skim.id().filter(|id| clear && is_id(id));
        own.map(|id| list_unreadable_object(id, cause)).or_else(|| self.lists.event_error(cause))
    }

    /// Whether a text that may be a list can wait, or why it cannot.
    fn wait(&mut self, held: usize) -> Result<(), Cause> {
        if self.skim.is_broken() || (self.skim.has_prose() && self.reading == Reading::List) {
            return Err(Cause::NotJson);
        }
        if held > self.most() {
            return Err(Cause::TooLong(self.most()));
        }
        if self.tally.hold(held) { Ok(()) } else { Err(Cause::Memory) }
    }

    /// How many bytes may wait before it is asked whether they can pass.
    pub(super) fn patience(&self) -> usize {
        match self.reading {
            // It is expected to be one.
            Reading::List => self.most(),
            Reading::Json | Reading::Page | Reading::Events => MAX_UNJUDGED_BYTES.min(self.most()),
        }
    }

    /// Looks at the next bytes of a text, of which so many would wait.
    pub(super) fn look(&mut self, data: &[u8], held: usize) -> Look {
        let turned = match (self.reading, data) {
            (Reading::Events, b"\n") => self.skim.line_break(),
            _ => self.skim.push(data),
        };
        if self.passing {
            if !self.is_suspicious() {
                return Look::Pass;
            }
            self.spoil(if self.skim.is_broken() { Cause::NotJson } else { Cause::Late });
            return Look::Cut(turned.unwrap_or(0));
        }
        if self.is_suspicious() {
            return match self.wait(held) {
                Ok(()) => Look::Hold,
                Err(cause) => {
                    self.spoil(cause);
                    Look::Cut(0)
                }
            };
        }
        let prose = self.skim.has_prose() && self.reading != Reading::Events;
        if prose || held > self.patience() || !self.tally.hold(held) {
            self.tally.hold(0);
            self.passing = true;
            return Look::Pass;
        }
        Look::Hold
    }

    /// A line could be read in two ways.
    pub(super) fn doubt(&mut self) {
        self.spoil(Cause::DoubtfulLine);
    }

    /// What becomes of an event of which this is what passes, or why it does not.
    pub(super) fn verdict(&mut self, sifted: Result<Option<String>, Cause>) -> EventVerdict {
        match sifted {
            Ok(None) => EventVerdict::Pass,
            Ok(Some(text)) => EventVerdict::Replace(text),
            Err(cause) => {
                self.note(&cause);
                self.error(&cause).map_or(EventVerdict::Drop, EventVerdict::Replace)
            }
        }
    }

    /// The data of an event that tells that one was cut, where there is any.
    pub(super) fn end_cut(&mut self) -> Option<String> {
        let cause = self.cause();
        self.note(&cause);
        self.error(&cause)
    }
}

fn skim(reading: Reading, wanted: Wanted) -> Skim {
    match reading {
        Reading::Page => Skim::of_page(wanted),
        Reading::List | Reading::Json | Reading::Events => Skim::new(wanted),
    }
}

/// What one response holds, as a part of what all hold.
#[derive(Debug)]
struct HeldBytes {
    own: usize,
    all: Rc<Cell<usize>>,
}

impl HeldBytes {
    /// Holds so much; false where all together would hold too much.
    fn hold(&mut self, bytes: usize) -> bool {
        let others = self.all.get().saturating_sub(self.own);
        let fits = bytes == 0 || others.saturating_add(bytes) <= MAX_HELD_BYTES;
        self.own = if fits { bytes } else { 0 };
        self.all.set(others.saturating_add(self.own));
        fits
    }
}

impl Drop for HeldBytes {
    fn drop(&mut self) {
        self.hold(0);
    }
}
