//! What comes into an exchange and goes out of it: one event, one step.
//!
//! A shell hands in what happens, and performs what the step says. It decides nothing, and remembers nothing but which exchanges
//! want ticks. What an exchange has to find out for itself it asks of its [`World`](crate::world::World).
//!
//! A step is performed in one way, whether inside the callback that brought the event or outside of any: the line is told, the record
//! kept, headers and body are changed, and then the flow says what becomes of it all.

use std::borrow::Cow;

use crate::ask::{Answer, Ask, AskId};
use crate::mcp::headers::{Follows, Header};
use crate::metrics::Sample;
use crate::policy::compiled::Config;
use crate::record::Record;
use crate::reply::Reply;

/// Something that happens to an exchange.
#[derive(Clone, Copy, Debug)]
pub enum Event<'e> {
    /// The headers of the request are there.
    RequestHead {
        /// All of them.
        headers: &'e [Header<'e>],
        /// Whether that is all of the request.
        follows: Follows,
    },
    /// More of the request's body is there.
    RequestBody {
        /// How many bytes of it are held, with those that came before.
        buffered: usize,
        /// Whether that is all.
        chunk: Chunk,
    },
    /// The trailers of the request are there. Then no body has said that it has ended.
    RequestTrailers,
    /// The headers of the response are there.
    ResponseHead {
        /// Whether that is all of the response.
        follows: Follows,
    },
    /// More of the response's body is passing.
    ResponseBody {
        /// How many bytes.
        length: usize,
        /// Whether that is all.
        chunk: Chunk,
    },
    /// The trailers of the response are there. Then no body has said that it has ended.
    ResponseTrailers,
    /// An answer to a question has come, or tells that none will. It comes from outside the callbacks of the host.
    Answered {
        /// The question.
        ask: AskId,
        /// The answer.
        answer: Answer<'e>,
    },
    /// Time has passed. It comes from outside the callbacks of the host, about every [`TICK_MILLIS`](super::TICK_MILLIS), to each
    /// exchange whose last step asked for it.
    Tick,
    /// The exchange is over, for whatever reason.
    Closed,
    /// The host did not do what the last step asks of it, or did not hand over the headers of the request. The step for this takes the
    /// place of what is left of that one.
    HostFailed,
}

/// Whether more of a body follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Chunk {
    /// More follows.
    More,
    /// This is the end.
    Last,
}

impl Chunk {
    /// That the end of the stream has come with it, or has not.
    #[must_use]
    pub fn when(ends: bool) -> Chunk {
        if ends { Chunk::Last } else { Chunk::More }
    }
}

/// What the shell shall do.
#[must_use]
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// What becomes of the request or response that the event is about.
    pub flow: Flow,
    /// Changes of the headers that are just there. If one that removes cannot be made, the host has failed.
    pub edits: Vec<HeaderEdit>,
    /// What passes in the place of the bytes of the body that are there. If that cannot be done, the host has failed.
    pub body: Option<Vec<u8>>,
    /// What is to be asked. Of one that cannot be asked, the exchange is told at once that it has failed.
    pub asks: Vec<Ask>,
    /// What is to be put on record: the filter state gets the last, which sums them up.
    pub records: Vec<Record>,
    /// The audit lines of the stream so far, where access logs print them and there is a new one.
    pub audit: Option<String>,
    /// What is to be counted.
    pub samples: Vec<Sample>,
    /// Lines for the operator.
    pub log: Vec<Line>,
    /// Whether the exchange wants ticks from now on.
    pub ticks: bool,
    /// Whether it wants one at least about every [`PULSE_MILLIS`](super::PULSE_MILLIS).
    pub pulses: bool,
}

/// Whether a message goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Flow {
    /// It goes on; outside its callbacks: what is held of the request goes on.
    Continue,
    /// It waits; outside its callbacks: it goes on waiting, or there is nothing to do.
    Pause,
    /// The request is answered with this, and goes nowhere.
    Reply(Reply),
}

/// A change of a header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HeaderEdit {
    /// It is removed.
    Remove(Cow<'static, str>),
    /// It gets this value, and no other.
    Set(&'static str, Cow<'static, str>),
}

/// A line for the operator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// How bad it is.
    pub level: Level,
    /// What it says.
    pub text: Cow<'static, str>,
}

/// How bad something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// Something has happened as it should.
    Info,
    /// Something works otherwise than somebody may expect.
    Warn,
    /// Something does not work.
    Error,
}

impl Step {
    /// Nothing is changed, told or wanted.
    pub(super) fn new(flow: Flow) -> Step {
        Step {
            flow,
            edits: Vec::new(),
            body: None,
            asks: Vec::new(),
            records: Vec::new(),
            audit: None,
            samples: Vec::new(),
            log: Vec::new(),
            ticks: false,
            pulses: false,
        }
    }

    /// What is left in the stream's filter state, by its names there.
    pub fn filter_state<'s>(
        &'s self,
        config: &'s Config,
    ) -> impl Iterator<Item = (&'static str, Cow<'s, str>)> {
        let record = self.records.last().map(|record| record.fields(config));
        let lines = self.audit.as_deref().map(|lines| ("mcp_audit", Cow::Borrowed(lines)));
        record.into_iter().flatten().chain(lines)
    }

    /// Tells the operator that something does not work.
    pub(super) fn complain(&mut self, text: &'static str) {
        self.log.push(Line { level: Level::Error, text: text.into() });
    }
}
