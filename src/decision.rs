//! The decision about one call: total, pure, and without allocation. Lists show what the same functions say of a name.
//!
//! Counters are not seen here; conditions that read them wait for [`crate::enforce`]. A [`Witness`] is told of every step.

mod case;
mod unlisted;

pub use case::{Case, Regards};

use crate::denial::Denial;
use crate::identity::Caller;
use crate::matcher::path::Path;
use crate::matcher::terms::{Decode, Terms};
use crate::matcher::work::Work;
use crate::mcp::call::{Call, Kind};
use crate::policy::approvals::Need;
use crate::policy::compiled::Policy;
use crate::policy::entry::{Action, Amount, CheckKind, DefaultAction, Entry, Listing};
use crate::policy::section::Section;
use crate::rate::limiter::Mode;
use crate::reason::Reason;
use crate::time::UnixMillis;
use crate::witness::{Told, Witness};

/// What the policy says of a call, counters aside.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Decision {
    /// The first denial.
    pub denial: Option<Denial>,
    /// The first denial by an entry in shadow, before any other.
    pub would_deny: Option<Denial>,
    /// What still has to be got from outside, where nothing denies.
    pub owed: Option<Owed>,
}

/// An approval that a call needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owed {
    /// The denial that stands as long as it has not come: that of the first rule that asks.
    pub denial: Denial,
    /// What is enough for all that ask.
    pub need: Need,
}

/// A call with the rules that are about it, which are looked up once.
#[derive(Debug)]
pub struct Matched<'p, 'v> {
    call: Call<'v>,
    section: &'p Section,
    entries: Vec<&'p Entry>,
    enforced: bool,
}

impl<'p, 'v> Matched<'p, 'v> {
    /// Looks the rules up; `None` where the policy has no section for names of this kind.
    #[must_use]
    pub fn of(policy: &'p Policy, call: Call<'v>) -> Option<Matched<'p, 'v>> {
        let section = policy.section(call.kind)?;
        // A name that could be read in two ways meets no entry.
        let name = call.exact.as_deref();
        let entries = name.into_iter().flat_map(|name| section.entries_for(name)).collect();
        let enforced = policy.mode == Mode::Enforce;
        Some(Matched { call, section, entries, enforced })
    }

    /// The call.
    #[must_use]
    pub fn call(&self) -> &Call<'v> {
        &self.call
    }

    /// The entries that match the name: exact, then globs by specificity, then `"*"`.
    #[must_use]
    pub fn entries(&self) -> &[&'p Entry] {
        &self.entries
    }

    /// What approval an entry lets somebody give. A policy or an entry in shadow asks nobody.
    fn need(&self, entry: &Entry) -> Option<Need> {
        entry.approval.filter(|_| self.enforced && entry.mode == Mode::Enforce)
    }

    /// Whether the name is denied by itself, so that it meets no rule.
    #[must_use]
    pub fn is_denied_by_name(&self) -> bool {
        self.by_name(&|_| None).is_some()
    }

    /// The denial of the name by itself: unreadable, hidden, not exact, or not listed.
    fn by_name(&self, denied: &dyn Fn(&Entry) -> Option<Denial>) -> Option<Denial> {
        match readable(self.section, &self.call) {
            Ok(name) => {
                let lists = || self.entries.iter().any(|entry| entry.lists());
                by_name(self.section, &self.call, name, lists, denied)
            }
            Err(denial) => Some(denial),
        }
    }

    /// The case of a caller, as far as it depends on the name and on him alone.
    fn of_caller<'c, W>(
        &'c self,
        caller: &'c Caller,
        (now, work): (UnixMillis, &'c Work),
        witness: &'c W,
    ) -> Case<'c, W> {
        Case { call: &self.call, caller, now, work, regards: Regards::Caller, witness }
    }
}

/// Decides what a call names, by the section for its kind.
#[must_use]
pub fn decide<W: Witness>(
    matched: &Matched<'_, '_>,
    caller: &Caller,
    now: UnixMillis,
    work: &Work,
    witness: &W,
) -> Decision {
    let mut decision = Decision::default();
    let beside = matched.of_caller(caller, (now, work), &());
    if let Some(denial) = matched.by_name(&|entry| beside.whatever(entry)) {
        witness.hear(&Told::Named(&denial));
        decision.denial = Some(denial);
        return decision;
    }
    let case = Case { call: &matched.call, caller, now, work, regards: Regards::All, witness };
    for entry in &matched.entries {
        witness.hear(&Told::Met(entry));
    }
    for entry in &matched.entries {
        if decision.note(entry.mode, case.by_entry(entry)) && !W::HEARS_ALL {
            return decision;
        }
    }
    for entry in &matched.entries {
        if decision.question(matched, entry, &case) && !W::HEARS_ALL {
            return decision;
        }
    }
    decision
}

/// Decides a name that a request only refers to: whether it may be called with some arguments.
#[must_use]
pub fn decide_reference<W: Witness>(
    matched: &Matched<'_, '_>,
    caller: &Caller,
    now: UnixMillis,
    work: &Work,
    witness: &W,
) -> Decision {
    let mut decision = Decision::default();
    let case = matched.of_caller(caller, (now, work), witness);
    let beside = matched.of_caller(caller, (now, work), &());
    if let Some(denial) = matched.by_name(&|entry| beside.whatever(entry)) {
        witness.hear(&Told::Named(&denial));
        decision.denial = Some(denial);
        return decision;
    }
    for entry in &matched.entries {
        witness.hear(&Told::Met(entry));
        let denial = case.whatever(entry);
        if decision.note(Mode::Enforce, denial) && !W::HEARS_ALL {
            return decision;
        }
    }
    decision
}

/// Whether a list shows what this names to a caller. Where what it shows depends on him, nobody sees what nobody asks for.
#[must_use]
pub fn is_visible(policy: &Policy, call: &Call<'_>, viewer: Option<&Caller>) -> bool {
    let Some(section) = policy.section(call.kind).filter(|_| policy.mode == Mode::Enforce) else {
        return true;
    };
    let Ok(name) = readable(section, call) else {
        // What hides a name cannot be compared with it.
        return !section.filters(policy.listing);
    };
    let kind = section.kind;
    let listed = || section.entries_for(name).any(Entry::lists);
    match by_name(section, call, name, listed, &|_| None).map(|denial| denial.reason) {
        Some(Reason::NameNotExact) => match policy.listing {
            Listing::Listed => section.default == DefaultAction::Allow,
            Listing::Callable => false,
            Listing::All => true,
        },
        Some(reason) if reason == not_allowed(kind) => policy.listing == Listing::All,
        Some(_) => false,
        None => {
            let mut entries = section.entries_for(name);
            let work = Work::of(0);
            let (now, regards, witness) = (UnixMillis(0), Regards::CallerAlways, &());
            let denied = |entry: &Entry| match viewer {
                Some(caller) => {
                    let case = Case { call, caller, now, work: &work, regards, witness };
                    case.whatever(entry).is_some()
                }
                None => entry.denies_by_caller(),
            };
            policy.listing != Listing::Callable || !entries.any(denied)
        }
    }
}

/// The name as it is matched, or the denial of one that could be read in two ways.
fn readable<'c>(section: &Section, call: &'c Call<'_>) -> Result<&'c str, Denial> {
    let denial = || Denial::without_rule(section.kind, Reason::NameUnreadable);
    call.exact.as_deref().ok_or_else(denial)
}

/// The denial by a name itself: hidden, not exact, or not listed. `has_entry` says whether an entry lists it, `denied` how an entry denies
/// it whatever the arguments are.
fn by_name(
    section: &Section,
    call: &Call<'_>,
    name: &str,
    has_entry: impl Fn() -> bool,
    denied: &dyn Fn(&Entry) -> Option<Denial>,
) -> Option<Denial> {
    let (kind, relaxed) = (section.kind, call.relaxed.as_deref());
    let listed = || section.default == DefaultAction::Allow || has_entry();
    // As a server answers for what it does not have, where the policy lets names through that it might have.
    let hides = |rule| {
        let detail = if listed() {
            unlisted::of_listed(section, name, denied)
        } else {
            unlisted::of(section, name, relaxed)
        };
        Some(Denial { detail, ..Denial::by(rule, kind, hidden(kind)) })
    };
    if let Some(line) = section.hidden(name) {
        return hides(line.rule);
    }
    match section.resembled(name, relaxed) {
        // What resembles a hidden name must not tell that there is one.
        Some(alike) if alike.hides => hides(alike.rule),
        Some(alike) => Some(Denial::by(alike.rule, kind, Reason::NameNotExact)),
        None if listed() => None,
        None => Some(Denial::by(section.default_rule, kind, not_allowed(kind))),
    }
}

fn hidden(kind: Kind) -> Reason {
    match kind {
        Kind::Tool => Reason::ToolHidden,
        Kind::Resource => Reason::ResourceHidden,
        Kind::Prompt => Reason::PromptHidden,
        Kind::Method => Reason::RpcHidden,
    }
}

fn not_allowed(kind: Kind) -> Reason {
    match kind {
        Kind::Tool => Reason::ToolNotAllowed,
        Kind::Resource => Reason::ResourceNotAllowed,
        Kind::Prompt => Reason::PromptNotAllowed,
        Kind::Method => Reason::RpcNotAllowed,
    }
}

fn denied(kind: Kind) -> Reason {
    match kind {
        Kind::Tool => Reason::ToolDenied,
        Kind::Resource => Reason::ResourceDenied,
        Kind::Prompt => Reason::PromptDenied,
        Kind::Method => Reason::RpcDenied,
    }
}

/// Whether some argument key is one that a lenient server could take for a key that the policy names for this name, or for
/// something else than a key.
#[must_use]
pub fn has_ambiguous_argument(
    policy: &Policy,
    matched: &Matched<'_, '_>,
    now: UnixMillis,
    work: &Work,
) -> bool {
    let Some(arguments) = matched.call.arguments else { return false };
    if matched.call.exact.is_none() {
        return false;
    }
    let entries = matched.entries.iter();
    let of_entries = entries.flat_map(|entry| entry.paths.iter().map(|path| (path, entry.decode)));
    let limits = policy.all_limits.iter().filter(|_| matched.call.kind == Kind::Tool);
    let of_all = limits.filter_map(|limit| match &limit.amount {
        Amount::Argument(path) => Some((path, Decode::Unsaid)),
        Amount::Fixed(_) => None,
    });
    let paths: Vec<(&Path, Decode)> = of_entries.chain(of_all).collect();
    let named: Vec<&Path> = paths.iter().map(|(path, _)| *path).collect();
    paths.iter().any(|(path, decode)| {
        path.meets_ambiguous(arguments, Terms { decode: *decode, work, now }, &named)
    })
}

impl Decision {
    /// Asks the rules of an entry that ask for approval by the call alone; true if that ends the decision.
    fn question<W: Witness>(
        &mut self,
        matched: &Matched<'_, '_>,
        entry: &Entry,
        case: &Case<'_, W>,
    ) -> bool {
        let mut ended = false;
        if entry.action == Action::RequireApproval {
            let denial = Denial::by(entry.action_rule, matched.call.kind, Reason::ApprovalRequired);
            case.witness.hear(&Told::Acted(entry, Some(&denial)));
            ended = self.take(matched, entry, Some(denial));
        }
        let asks = entry.checks.iter().filter(|check| check.kind == CheckKind::AskIf);
        for check in asks.filter(|check| !check.reads_counters()) {
            if ended && !W::HEARS_ALL {
                break;
            }
            let denial = case.by_check(entry, check, &mut |_| Ok(None));
            let denial = denial.unwrap_or_else(|_| Some(check.unread(matched.call.kind)));
            case.witness.hear(&Told::Checked(entry, check, denial.as_ref()));
            ended |= self.take(matched, entry, denial);
        }
        ended
    }

    /// Takes what a rule says: what can be approved is owed, all else is a denial. True if that ends the decision.
    pub fn take(
        &mut self,
        matched: &Matched<'_, '_>,
        entry: &Entry,
        denial: Option<Denial>,
    ) -> bool {
        let asks = denial.as_ref().is_some_and(|it| it.reason == Reason::ApprovalRequired);
        match (denial, matched.need(entry).filter(|_| asks)) {
            (Some(denial), Some(need)) => {
                // One approval is for the call, however many rules ask for it.
                self.owed = Some(match self.owed.take() {
                    None => Owed { denial, need },
                    Some(owed) => Owed { need: owed.need.and(need), ..owed },
                });
                false
            }
            (denial, _) => self.note(entry.mode, denial),
        }
    }

    /// Takes note of a denial; true if it ends the decision. The first one stays.
    pub fn note(&mut self, mode: Mode, denial: Option<Denial>) -> bool {
        let Some(denial) = denial else { return false };
        match mode {
            Mode::Enforce => {
                self.denial.get_or_insert(denial);
            }
            Mode::Shadow if self.denial.is_none() => {
                self.would_deny.get_or_insert(denial);
            }
            Mode::Shadow => {}
        }
        mode == Mode::Enforce
    }
}
