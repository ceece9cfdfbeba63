//! What a log holds of the calls that a policy would have to let through, and of those that were stopped.

use std::borrow::Cow;
use std::collections::{BTreeSet, HashMap};

use mcp_policy::json::{Bounds, Duplicates, Value, parse_within};
use mcp_policy::matcher::normal::nfc;
use mcp_policy::mcp::call::Kind;
use mcp_policy::mcp::uri::canonical;
use mcp_policy::time::UnixMillis;

use super::arguments::MembersSeen;
use crate::cli::audit_log::AuditedCall;
use crate::cli::recorded::{KnownArguments, known};
use crate::cli::tally::{CallerCount, Capped, MOST_CALLERS, Period, caller, fingerprint};

/// Most names of one kind that are told apart: callers make names up.
const MOST_NAMES: usize = 10_000;

/// Most arguments, of all tools together, that are told apart.
const MOST_ARGUMENTS: usize = 20_000;

/// Most callers, of all tools together, that are told apart.
const MOST_CALLERS_IN_ALL: usize = 200_000;

/// Most reasons that are told of one name.
const MOST_REASONS: usize = 16;

/// Most policies that are told apart.
const MOST_POLICIES: usize = 100;

/// Everything that was seen.
#[derive(Debug)]
pub(super) struct LogSeen {
    pub(super) calls: u64,
    pub(super) period: Period,
    /// The policies that decided, by name.
    pub(super) policies: BTreeSet<String>,
    pub(super) tools: NamesSeen,
    pub(super) resources: NamesSeen,
    pub(super) prompts: NamesSeen,
    /// Requests that passed and may have been for resources, or for prompts, of which the names are not on record.
    pub(super) unnamed: [u64; 2],
    /// Requests that the front door refused.
    pub(super) refused: u64,
    /// Calls of which only the response is on record, that it was withheld.
    pub(super) withheld: u64,
    room: Room,
}

/// What is left of the bounds.
#[derive(Debug)]
struct Room {
    arguments: usize,
    callers: usize,
}

/// The names of one kind.
#[derive(Debug)]
pub(super) struct NamesSeen {
    pub(super) allowed: Capped<String, Uses>,
    pub(super) stopped: Capped<String, Stops>,
}

/// The calls of one name that were allowed.
#[derive(Debug, Default)]
pub(super) struct Uses {
    pub(super) calls: u64,
    pub(super) callers: CallerCount,
    pub(super) period: Period,
    pub(super) peak: Peak,
    /// Calls that somebody approved, by who that was: the user, an approver, a token.
    pub(super) approved: [u64; 3],
    /// Calls whose arguments are not on record.
    pub(super) without_arguments: u64,
    /// Those of them whose arguments' keys are.
    pub(super) keys_alone: u64,
    pub(super) arguments: MembersSeen,
}

/// The calls of one name that were not allowed, or would not have been.
#[derive(Debug)]
pub(super) struct Stops {
    pub(super) calls: u64,
    pub(super) callers: CallerCount,
    pub(super) period: Period,
    /// By decision, reason and rule.
    pub(super) reasons: Capped<[String; 3], u64>,
}

impl Default for Stops {
    fn default() -> Stops {
        let (callers, period) = (CallerCount::default(), Period::default());
        Stops { calls: 0, callers, period, reasons: Capped::of(MOST_REASONS) }
    }
}

/// The most calls that one caller made in one minute.
#[derive(Debug, Default)]
pub(super) struct Peak {
    pub(super) most: u64,
    /// The last two minutes of each caller: lines are a little out of order.
    minutes: HashMap<u64, [(u64, u64); 2]>,
}

/// The words for who approved, as `approval` of a policy has them.
pub(super) const APPROVERS: [&str; 3] = ["user", "approver", "token"];

impl Default for LogSeen {
    fn default() -> LogSeen {
        let names =
            || NamesSeen { allowed: Capped::of(MOST_NAMES), stopped: Capped::of(MOST_NAMES) };
        LogSeen {
            calls: 0,
            period: Period::default(),
            policies: BTreeSet::new(),
            tools: names(),
            resources: names(),
            prompts: names(),
            unnamed: [0; 2],
            refused: 0,
            withheld: 0,
            room: Room { arguments: MOST_ARGUMENTS, callers: MOST_CALLERS_IN_ALL },
        }
    }
}

impl LogSeen {
    /// Takes in a line, if it is about the policy that was chosen.
    pub(super) fn note(&mut self, call: &AuditedCall, policy: Option<&str>) {
        if policy.is_some_and(|policy| policy != call.policy) {
            return;
        }
        match &*call.decision {
            "refuse" => self.refused += 1,
            "pass" => self.unnamed(call),
            "allow" => self.allowed(call),
            "deny" | "would_deny" | "ask" | "would_ask" => self.stopped(call),
            // Where this stands instead of what was decided of the call, nobody knows what that was.
            "withheld" => self.withheld += u64::from(call.kind.is_some()),
            _ => {}
        }
    }

    fn allowed(&mut self, call: &AuditedCall) {
        self.known(call);
        let room = &mut self.room;
        let Some(names) = names(&mut self.tools, &mut self.resources, &mut self.prompts, call)
        else {
            return self.unnamed(call);
        };
        if let Some(uses) = names.allowed.at(spelled(call)) {
            uses.note(call, room);
        }
    }

    fn unnamed(&mut self, call: &AuditedCall) {
        let [resources, prompts] = &mut self.unnamed;
        *resources += u64::from(about_resources(call));
        *prompts += u64::from(about_prompts(call));
    }

    fn stopped(&mut self, call: &AuditedCall) {
        self.known(call);
        let room = &mut self.room.callers;
        let Some(names) = names(&mut self.tools, &mut self.resources, &mut self.prompts, call)
        else {
            return;
        };
        if let Some(stops) = names.stopped.at(spelled(call)) {
            stops.calls += 1;
            stops.callers.note(fingerprint(&caller(call)), room);
            stops.period.note(call.time);
            let why = [call.decision.clone(), call.reason.clone(), call.rule.clone()];
            if let Some(count) = stops.reasons.at(why) {
                *count += 1;
            }
        }
    }

    fn known(&mut self, call: &AuditedCall) {
        self.calls += 1;
        self.period.note(call.time);
        if self.policies.len() < MOST_POLICIES {
            self.policies.insert(call.policy.clone());
        }
    }
}

fn names<'n>(
    tools: &'n mut NamesSeen,
    resources: &'n mut NamesSeen,
    prompts: &'n mut NamesSeen,
    call: &AuditedCall,
) -> Option<&'n mut NamesSeen> {
    match call.kind? {
        Kind::Tool => Some(tools),
        Kind::Resource => Some(resources),
        Kind::Prompt => Some(prompts),
        Kind::Method => None,
    }
}

/// The name as a key of the policy has it.
fn spelled(call: &AuditedCall) -> String {
    let uri = canonical(&call.name).filter(|_| call.kind == Some(Kind::Resource));
    uri.map_or_else(|| nfc(&call.name).into_owned(), Cow::into_owned)
}

fn about_resources(call: &AuditedCall) -> bool {
    call.kind == Some(Kind::Resource)
        || matches!(
            &*call.method,
            "resources/read" | "resources/subscribe" | "subscriptions/listen"
        )
        || may_be_about_either(call)
}

fn about_prompts(call: &AuditedCall) -> bool {
    call.kind == Some(Kind::Prompt) || call.method == "prompts/get" || may_be_about_either(call)
}

/// Nobody knows what is in a batch, and a completion follows either.
fn may_be_about_either(call: &AuditedCall) -> bool {
    matches!(&*call.method, "completion/complete" | "batch")
}

impl Stops {
    /// Whether somebody was asked about all of them, or would have been.
    pub(super) fn are_all_asked(&self) -> bool {
        let is_asked = |[decision, ..]: &[String; 3]| decision.ends_with("ask");
        self.reasons.beyond == 0 && self.reasons.iter().all(|(why, _)| is_asked(why))
    }
}

impl Uses {
    fn note(&mut self, call: &AuditedCall, room: &mut Room) {
        self.calls += 1;
        let caller = fingerprint(&caller(call));
        self.callers.note(caller, &mut room.callers);
        self.period.note(call.time);
        if let Some(time) = call.time {
            self.peak.note(caller, time, &mut room.callers);
        }
        let by = call.approval.split(':').next().unwrap_or_default();
        if let Some(at) = APPROVERS.iter().position(|word| *word == by) {
            self.approved.iter_mut().skip(at).take(1).for_each(|count| *count += 1);
        }
        // A call can be known to have none.
        let none = || (known(call) == KnownArguments::Whole).then_some("{}");
        let arguments = call.arguments.as_deref().or_else(none);
        let read = |text| parse_within(text, Duplicates::Refuse, Bounds::of_any_body()).ok();
        match arguments.and_then(read).as_ref().and_then(Value::as_object) {
            Some(object) => self.arguments.note(object, false, &mut room.arguments),
            None => {
                self.without_arguments += 1;
                if let Some(keys) = &call.argument_keys {
                    self.keys_alone += 1;
                    self.arguments.note_keys(keys, &mut room.arguments);
                }
            }
        }
    }
}

impl Peak {
    fn note(&mut self, caller: u64, time: UnixMillis, room: &mut usize) {
        if !self.minutes.contains_key(&caller) {
            if self.minutes.len() >= MOST_CALLERS || *room == 0 {
                return;
            }
            *room -= 1;
        }
        let minute = time.seconds() / 60;
        let kept = self.minutes.entry(caller).or_default();
        let [newest, before] = kept;
        if minute > newest.0 {
            (*before, *newest) = (*newest, (minute, 0));
        }
        let counted = [newest, before].into_iter().find(|(kept, _)| *kept == minute);
        if let Some((_, count)) = counted {
            *count += 1;
            self.most = self.most.max(*count);
        }
    }
}
