//! Who listens while a call is decided.
//!
//! There is one interpreter of the policy: [`crate::decision`] with [`crate::enforce`]. Whoever wants to know what it does (an
//! explanation, the coverage of tests) is told by it, and decides nothing. In the filter nobody listens: `()` costs nothing.

use crate::denial::{Denial, Detail};
use crate::json::Value;
use crate::matcher::Truth;
use crate::matcher::terms::Terms;
use crate::mcp::call::Call;
use crate::number::Micros;
use crate::policy::approvals::Need;
use crate::policy::compiled::Policy;
use crate::policy::entry::{Check, Condition, Entry, Limit, NamedCounter};
use crate::policy::rules::RuleId;
use crate::rate::limiter::{Charge, Refused, Weighed};

/// A counter could not be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CounterUnread;

/// Something that listens.
pub trait Witness {
    /// Whether it wants to hear of the rules behind the one that decides, too. They change nothing.
    const HEARS_ALL: bool;

    /// Hears what is done.
    fn hear(&self, told: &Told<'_>);
}

/// What a witness is told, in the order in which it is done.
#[derive(Debug)]
pub enum Told<'t> {
    /// A request begins to be decided under this policy.
    Begun(&'t Policy),
    /// A name is denied by itself: hidden, not exact, or not listed.
    Named(&'t Denial),
    /// A call meets an entry.
    Met(&'t Entry),
    /// The action of an entry was asked.
    Acted(&'t Entry, Option<&'t Denial>),
    /// A condition was compared.
    Compared(&'t Compared<'t>),
    /// A check was judged. One that reads counters may be judged twice: by the call alone, and then by the counts too.
    Checked(&'t Entry, &'t Check, Option<&'t Denial>),
    /// What was seen of a tool's definition was held against this rule, which stands in the entry if there is one.
    Pinned(RuleId, Option<&'t Entry>, Option<&'t Denial>),
    /// A limit is due.
    Due(&'t DueLimit<'t>),
    /// What a call would count on one counter was weighed: the charge, the limit that answers for it, and what it comes to. Only told to
    /// a witness that hears all.
    Weighed(&'t Charge, &'t Limit, &'t Result<Weighed, Refused>),
    /// The request needs approval, and nothing else denies it: this is enough.
    Owed(Need),
    /// What the request comes to: the denial, or in shadow what would have been one.
    Ended(Option<&'t Denial>),
}

/// A condition, and what it was compared with.
#[derive(Debug)]
pub struct Compared<'t> {
    /// The call.
    pub call: &'t Call<'t>,
    /// The check that it stands in.
    pub check: &'t Check,
    /// The condition.
    pub condition: &'t Condition,
    /// How its argument is read.
    pub terms: Terms<'t>,
    /// What is said of the caller, where it looks at him.
    pub value: Option<&'t Value<'t>>,
    /// The same of what it compares him with.
    pub other: Option<&'t Value<'t>>,
    /// What was counted, where it looks at a counter.
    pub used: Option<Micros>,
    /// What it came to.
    pub truth: Result<Truth, CounterUnread>,
}

/// A limit that a call has to meet.
#[derive(Debug)]
pub struct DueLimit<'t> {
    /// The entry that it stands in; none for those of every tool.
    pub entry: Option<&'t Entry>,
    /// The limit.
    pub limit: &'t Limit,
    /// Its counter.
    pub named: &'t NamedCounter,
    /// How much the call counts, or why it cannot be counted.
    pub amount: Result<Micros, &'t Detail>,
}

impl Witness for () {
    const HEARS_ALL: bool = false;

    fn hear(&self, _: &Told<'_>) {}
}
