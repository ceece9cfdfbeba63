//! Tool entries, in two passes: first what counts, then what reads the counts.

use super::book::GLOBAL;
use super::book::{Book, Owner, Share};
use super::condition;
use super::pattern::pattern;
use super::service::{self, LimitShape};
use super::{approvals, definition, mode, rule, times};
use super::{counted, limit};
use crate::json::Value;
use crate::language::diagnostic::Code;
use crate::language::reader::{Field, Fields, Place, Reader};
use crate::matcher::path::Path;
use crate::matcher::terms::Decode;
use crate::matcher::value::Side;
use crate::mcp::call::Kind;
use crate::policy::entry::{
    Action, Amount, Check, CheckKind, Condition, CountIn, Entry, Limit, Refund, Scope,
};
use crate::policy::rules::{RuleId, RuleKind};
use crate::rate::algorithm::Algorithm;
use crate::rate::table::Per;

/// An entry whose limits are read, and whose checks wait until every counter is known.
pub(super) struct EntryDraft<'v> {
    entry: Entry,
    owner: Owner,
    timed: Option<Check>,
    require: Vec<Field<'v>>,
    deny_if: Vec<Field<'v>>,
    ask_if: Vec<Field<'v>>,
    rules: Vec<(RuleId, Field<'v>)>,
}

/// First pass: everything but the conditions.
pub(super) fn limits<'v>(
    kind: Kind,
    key: &str,
    field: &Field<'v>,
    reader: &mut Reader,
    book: &mut Book,
) -> Option<EntryDraft<'v>> {
    let pattern = pattern(kind, key, &field.place, reader);
    let mut fields = entry_fields(field, reader)?;
    let action = action(&mut fields, reader);
    let reason = limit::text(&mut fields, "reason", reader);
    let times = times::read(&mut fields, reader);
    let is_timed = !matches!(times, Some(None));
    let asks = action == Some(Action::RequireApproval) || fields.has("ask_if");
    let (approval, shown) = approvals::need(&mut fields, asks, reader).unzip();
    if reason.is_some() && action == Some(Action::Allow) && !is_timed {
        reason_is_idle(&field.place, reader);
    }
    let mode = mode(&mut fields, reader);
    let decode = decode(&mut fields, reader);
    let mut list =
        |field: Option<Field<'v>>| field.map(|field| reader.list(&field)).unwrap_or_default();
    let (require, deny_if) = (list(fields.take("require")), list(fields.take("deny_if")));
    let ask_if = list(fields.take("ask_if"));
    let rules = match kind {
        Kind::Tool => fields.take("rules"),
        Kind::Resource | Kind::Prompt | Kind::Method => None,
    };
    let (rules, native) = (list(rules), list(fields.take("limits")));
    let pinned = definition::field(kind, &mut fields);

    let (owner, rule, action_rule) =
        owner((kind, key), &field.place, (action, reason.clone()), book);
    let timed = times.zip(action).and_then(|(times, action)| {
        Some(times::check(times?, (action, action_rule), reason, &owner, book))
    });
    let definition =
        pinned.and_then(|field| definition::read(&field, pattern.as_ref()?, &owner, reader, book));
    let native = native.iter().enumerate();
    let mut limits: Vec<Limit> =
        native.filter_map(|field| limit::native(field, &owner, reader, book)).collect();
    if let Some(rate) = fields.take("rate_limit") {
        limits.extend(entry_rate_limit(&owner, &rate, reader, book));
    }
    reader.close(&fields);
    let mut kept = Vec::new();
    for (at, field) in rules.into_iter().enumerate() {
        let Some((rule, counted)) = rule::limits(&owner, (at, &field), reader, book) else {
            continue;
        };
        limits.extend(counted);
        kept.push((rule, field));
    }
    let entry = Entry {
        rule,
        pattern: pattern?,
        // At some times only: what it does then is a check.
        action: if is_timed { Action::Allow } else { action? },
        action_rule,
        approval,
        shown,
        mode: mode?,
        checks: Box::default(),
        limits: limits.into(),
        decode: decode?,
        paths: Box::default(),
        definition,
    };
    Some(EntryDraft { entry, owner, timed, require, deny_if, ask_if, rules: kept })
}

fn reason_is_idle(place: &Place, reader: &mut Reader) {
    let message = "`reason` is read only when `action` denies or asks for approval, or the entry holds at some times only";
    let help = "for conditions and limits the text is `on_deny`".to_owned();
    reader.error_with_help(Code::NoEffect, &place.key("reason"), message.to_owned(), help);
}

/// An entry as the owner of its rules, as a rule, and its action as one.
fn owner(
    (subject, key): (Kind, &str),
    place: &Place,
    (action, reason): (Option<Action>, Option<Box<str>>),
    book: &mut Book,
) -> (Owner, RuleId, RuleId) {
    // The name by which `state` paths find the entry's counters: only those of tools can be found.
    let tool = match (subject, key) {
        (Kind::Tool, "*") => GLOBAL.to_owned(),
        (Kind::Tool, key) => key.to_owned(),
        (Kind::Resource | Kind::Prompt | Kind::Method, key) => {
            format!("\0{}\0{key}", subject.word())
        }
    };
    let mut owner = Owner { tool, subject, entry: None };
    let rule = book.rules.add(owner.row(RuleKind::Entry, key.to_owned(), place, None));
    owner.entry = Some(rule);
    let action_rule = match action {
        None | Some(Action::Allow) => rule,
        Some(Action::Deny | Action::RequireApproval) => {
            let (label, place) = ("action".to_owned(), place.key("action"));
            book.rules.add(owner.row(RuleKind::Action, label, &place, reason))
        }
    };
    (owner, rule, action_rule)
}

fn decode(fields: &mut Fields<'_>, reader: &mut Reader) -> Option<Decode> {
    let Some(field) = fields.take("decode_json_strings") else {
        return Some(Decode::Unsaid);
    };
    let decodes = reader.flag(&field);
    decodes.map(|decodes| if decodes { Decode::JsonStrings } else { Decode::Never })
}

/// The fields of an entry, unless it is no more than the word of an action, which is said.
fn entry_fields<'v>(field: &Field<'v>, reader: &mut Reader) -> Option<Fields<'v>> {
    if bare_action(field, reader) { None } else { reader.fields(field) }
}

/// Whether an entry is no more than the word of an action, which is said.
fn bare_action(field: &Field<'_>, reader: &mut Reader) -> bool {
    let Value::String(text) = field.value else { return false };
    let Some((word, _)) = Action::WORDS.iter().find(|(word, _)| *word == *text) else {
        return false;
    };
    let message = format!("expected an object, found the string `{word}`");
    let help = format!("write {{\"action\": \"{word}\"}}, or {{}} for a tool that may be called");
    reader.error_with_help(Code::WrongType, &field.place, message, help);
    true
}

fn action(fields: &mut Fields<'_>, reader: &mut Reader) -> Option<Action> {
    let Some(field) = fields.take("action") else {
        return Some(Action::Allow);
    };
    reader.word(&field, &Action::WORDS)
}

/// Second pass: requirements, denials and rules, in this order.
pub(super) fn checks(draft: EntryDraft<'_>, reader: &mut Reader, book: &mut Book) -> Entry {
    let EntryDraft { mut entry, owner, timed, require, deny_if, ask_if, rules } = draft;
    let mut checks: Vec<Check> = timed.into_iter().collect();
    for field in require.iter().enumerate() {
        checks.extend(native_check(&owner, field, CheckKind::Require, reader, book));
    }
    for field in deny_if.iter().enumerate() {
        checks.extend(native_check(&owner, field, CheckKind::DenyIf, reader, book));
    }
    for field in ask_if.iter().enumerate() {
        checks.extend(native_check(&owner, field, CheckKind::AskIf, reader, book));
    }
    for (rule, field) in &rules {
        checks.extend(rule::check(&owner.tool, (*rule, field), reader, book));
    }
    entry.paths = paths(&checks, &entry.limits);
    entry.checks = checks.into();
    entry
}

fn paths(checks: &[Check], limits: &[Limit]) -> Box<[Path]> {
    let conditions = checks.iter().flat_map(|check| &check.conditions);
    let of_conditions = conditions.flat_map(Condition::paths).cloned();
    let of_limits = limits.iter().filter_map(|limit| match &limit.amount {
        Amount::Argument(path) => Some(path.clone()),
        Amount::Fixed(_) => None,
    });
    of_conditions.chain(of_limits).collect()
}

fn native_check(
    owner: &Owner,
    (at, field): (usize, &Field<'_>),
    kind: CheckKind,
    reader: &mut Reader,
    book: &mut Book,
) -> Option<Check> {
    let mut fields = reader.fields(field)?;
    let conditions = fields.require("conditions", reader);
    // What asks denies nothing, so its text is a reason.
    let word = if kind == CheckKind::AskIf { "reason" } else { "on_deny" };
    let text = limit::text(&mut fields, word, reader);
    reader.close(&fields);
    let conditions = conditions?;
    let items = reader.list(&conditions);
    let none = *conditions.value == Value::Array(Vec::new());
    let idle = match kind {
        CheckKind::Require => Some((
            "a requirement without conditions always holds",
            "add conditions, or leave it out",
        )),
        CheckKind::AskIf => Some((
            "a question without conditions is always asked",
            "add conditions, or use \"action\": \"require_approval\"",
        )),
        CheckKind::DenyIf | CheckKind::Deny => None,
    };
    if let Some((message, help)) = idle.filter(|_| none) {
        let (message, help) = (message.to_owned(), help.to_owned());
        reader.error_with_help(Code::NoEffect, &field.place, message, help);
    }
    let (side, row, list) = match kind {
        CheckKind::Require => (Side::Require, RuleKind::Require, "require"),
        CheckKind::DenyIf | CheckKind::Deny => (Side::DenyIf, RuleKind::DenyIf, "deny_if"),
        CheckKind::AskIf => (Side::DenyIf, RuleKind::AskIf, "ask_if"),
    };
    let rule = book.rules.add(owner.row(row, format!("{list}[{at}]"), &field.place, text));
    let conditions =
        items.iter().filter_map(|item| condition::read(item, (owner.subject, side), reader, book));
    let conditions: Box<[Condition]> = conditions.collect();
    Some(Check { kind, conditions, rule })
}

fn entry_rate_limit(
    owner: &Owner,
    field: &Field<'_>,
    reader: &mut Reader,
    book: &mut Book,
) -> Option<Limit> {
    let (max, window) = limit::shorthand(field, reader)?;
    let count_in = reader.count_in.unwrap_or(CountIn::Envoy);
    let amount = Amount::Fixed(counted::ONE);
    let said = LimitShape {
        window: Some(window),
        max: Some(max),
        amount: Some(&amount),
        algorithm: Algorithm::Fixed,
        refund: Refund::Never,
    };
    service::can_count(count_in, &said, &field.place, reader);
    let share = Share {
        count_in,
        per: Per::Caller,
        key: format!("rate_limit\0{}", owner.tool),
        name: "rate_limit".to_owned(),
        window,
        scope: Scope::Grant,
        algorithm: Algorithm::Fixed,
        tool: owner.tool.clone(),
    };
    let counter = book.index(share, &field.place, reader)?;
    let row = owner.row(RuleKind::Limit, "rate_limit".to_owned(), &field.place, None);
    let rule = book.rules.add(row);
    let (max, refund) = (Some(max), Refund::Never);
    Some(Limit {
        counter,
        max,
        burst: None,
        amount,
        refund,
        lease: None,
        when: Box::default(),
        rule,
    })
}
