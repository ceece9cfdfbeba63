//! Tool entries, in two passes: first what counts, then what reads the counts.

use super::condition;
use super::limit::{self, CounterBook, GLOBAL, Share};
use super::{force, sections};
use crate::json::{Object, Value};
use crate::matcher::path::{Decode, Path};
use crate::matcher::value::Side;
use crate::mcp::call::Kind;
use crate::number::Micros;
use crate::policy::compiled::{
    Action, Amount, Check, CheckKind, Condition, Entry, Limit, Refund, Scope, Subject,
};
use crate::policy::diagnostic::Code;
use crate::policy::reader::{Field, Fields, Place, Reader};
use crate::rate::window::Algorithm;

/// An entry whose limits are read, and whose checks wait until every counter is known.
pub(super) struct Draft<'v> {
    entry: Entry,
    tool: String,
    require: Vec<Field<'v>>,
    deny_if: Vec<Field<'v>>,
    rules: Vec<Field<'v>>,
}

/// First pass: everything but the conditions.
pub(super) fn limits<'v>(
    kind: Kind,
    key: &str,
    field: &Field<'v>,
    reader: &mut Reader,
    book: &mut CounterBook,
) -> Option<Draft<'v>> {
    let pattern = sections::pattern(kind, key, &field.place, reader);
    let mut fields = reader.fields(field)?;
    let action = action(&mut fields, reader);
    let reason = limit::text(&mut fields, "reason", reader);
    if reason.is_some() && action == Some(Action::Allow) {
        let message = "`reason` is read only when `action` denies or asks for approval".to_owned();
        let help = "for conditions and limits the text is `on_deny`".to_owned();
        reader.error_with_help(Code::NoEffect, &field.place.key("reason"), message, help);
    }
    let force = force(&mut fields, reader);
    let decode = match fields.take("decode_json_strings") {
        None => Some(Decode::Unsaid),
        Some(field) => reader
            .flag(&field)
            .map(|decodes| if decodes { Decode::JsonStrings } else { Decode::Never }),
    };
    let mut list =
        |field: Option<Field<'v>>| field.map(|field| reader.list(&field)).unwrap_or_default();
    let (require, deny_if) = (list(fields.take("require")), list(fields.take("deny_if")));
    let rules = match kind {
        Kind::Tool => fields.take("rules"),
        Kind::Resource | Kind::Prompt | Kind::Method => None,
    };
    let (rules, native) = (list(rules), list(fields.take("limits")));

    // The name by which `state` paths find the entry's counters: only those of tools can be found.
    let tool = match (kind, key) {
        (Kind::Tool, "*") => GLOBAL.to_owned(),
        (Kind::Tool, key) => key.to_owned(),
        (Kind::Resource | Kind::Prompt | Kind::Method, key) => format!("\0{}\0{key}", kind.word()),
    };
    let tool = &*tool;
    let mut limits: Vec<Limit> =
        native.iter().filter_map(|field| limit::native(field, tool, reader, book)).collect();
    if let Some(rate) = fields.take("rate_limit") {
        limits.extend(entry_rate_limit(tool, &rate, reader, book));
    }
    reader.close(&fields);
    for rule in &rules {
        limits.extend(rule_limits(tool, rule, reader, book));
    }
    let entry = Entry {
        pattern: pattern?,
        action: action?,
        reason,
        action_pointer: format!("{}/action", field.place.pointer).into(),
        force: force?,
        checks: Box::default(),
        limits: limits.into(),
        decode: decode?,
        paths: Box::default(),
    };
    Some(Draft { entry, tool: tool.to_owned(), require, deny_if, rules })
}

fn action(fields: &mut Fields<'_>, reader: &mut Reader) -> Option<Action> {
    let Some(field) = fields.take("action") else {
        return Some(Action::Allow);
    };
    let words = [
        ("allow", Action::Allow),
        ("deny", Action::Deny),
        ("require_approval", Action::RequireApproval),
    ];
    reader.word(&field, &words)
}

/// Second pass: requirements, denials and rules, in this order.
pub(super) fn checks(draft: Draft<'_>, reader: &mut Reader, book: &CounterBook) -> Entry {
    let Draft { mut entry, tool, require, deny_if, rules } = draft;
    let mut checks = Vec::new();
    for field in &require {
        checks.extend(native_check(field, CheckKind::Require, reader, book));
    }
    for field in &deny_if {
        checks.extend(native_check(field, CheckKind::DenyIf, reader, book));
    }
    for field in &rules {
        checks.extend(rule_check(&tool, field, reader, book));
    }
    entry.paths = paths(&checks, &entry.limits);
    entry.checks = checks.into();
    entry
}

fn paths(checks: &[Check], limits: &[Limit]) -> Box<[Path]> {
    let of_conditions =
        checks.iter().flat_map(|check| &check.conditions).filter_map(|condition| match &condition
            .subject
        {
            Subject::Argument(path) => Some(path.clone()),
            Subject::Counter(_) | Subject::Identity(_) | Subject::Header(_) => None,
        });
    let of_limits = limits.iter().filter_map(|limit| match &limit.amount {
        Amount::Argument(path) => Some(path.clone()),
        Amount::Fixed(_) => None,
    });
    of_conditions.chain(of_limits).collect()
}

fn native_check(
    field: &Field<'_>,
    kind: CheckKind,
    reader: &mut Reader,
    book: &CounterBook,
) -> Option<Check> {
    let mut fields = reader.fields(field)?;
    let conditions = fields.require("conditions", reader);
    let on_deny = limit::text(&mut fields, "on_deny", reader);
    reader.close(&fields);
    let conditions = conditions?;
    let items = reader.list(&conditions);
    let none = *conditions.value == Value::Array(Vec::new());
    if none && kind == CheckKind::Require {
        let message = "a requirement without conditions always holds".to_owned();
        let help = "add conditions, or leave it out".to_owned();
        reader.error_with_help(Code::NoEffect, &field.place, message, help);
    }
    let side = if kind == CheckKind::Require { Side::Require } else { Side::DenyIf };
    let conditions = items.iter().filter_map(|item| condition::read(item, side, reader, book));
    let conditions: Box<[Condition]> = conditions.collect();
    Some(Check { kind, conditions, on_deny, pointer: field.place.pointer.as_str().into() })
}

fn entry_rate_limit(
    tool: &str,
    field: &Field<'_>,
    reader: &mut Reader,
    book: &mut CounterBook,
) -> Option<Limit> {
    let (max, window) = limit::shorthand(field, reader)?;
    let share = Share {
        key: format!("rate_limit\0{tool}"),
        name: "rate_limit".to_owned(),
        window,
        scope: Scope::Grant,
        algorithm: Algorithm::Fixed,
        tool: tool.to_owned(),
    };
    let counter = book.index(share, &field.place, reader)?;
    Some(Limit {
        counter,
        max: Some(max),
        amount: Amount::Fixed(Micros(1_000_000)),
        refund: Refund::Never,
        on_deny: None,
        pointer: field.place.pointer.as_str().into(),
    })
}

/// What a rule counts: its `rate_limit`, or its `state` with the bounds that its own conditions put on it.
fn rule_limits(
    tool: &str,
    field: &Field<'_>,
    reader: &mut Reader,
    book: &mut CounterBook,
) -> Vec<Limit> {
    let Some(mut fields) = reader.fields(field) else {
        return Vec::new();
    };
    let on_deny = rule_text(&mut fields, reader);
    let pointer = &field.place.pointer;
    let Some(refund) = limit::refund(&mut fields, reader) else {
        return Vec::new();
    };
    let limit = |counter, max, amount| Limit {
        counter,
        max,
        amount,
        refund,
        on_deny: on_deny.clone(),
        pointer: pointer.as_str().into(),
    };
    let rule = field.value.as_object().and_then(|members| members.get("name")?.as_str());
    let rule = rule.unwrap_or_default();
    if let Some(rate) = fields.take("rate_limit") {
        let Some((max, window)) = limit::shorthand(&rate, reader) else {
            return Vec::new();
        };
        let share = Share {
            key: book.nameless(tool, rule, window),
            name: "rate_limit".to_owned(),
            window,
            scope: Scope::Global,
            algorithm: Algorithm::Fixed,
            tool: tool.to_owned(),
        };
        let counter = book.index(share, &rate.place, reader);
        let one = Amount::Fixed(Micros(1_000_000));
        return counter.map(|counter| limit(counter, Some(max), one)).into_iter().collect();
    }
    let Some(state) = fields.take("state") else {
        return Vec::new();
    };
    let Some((name, counter, amount)) = rule_state(tool, &state, reader, book) else {
        return Vec::new();
    };
    let conditions =
        fields.take("conditions").map(|field| Reader::default().list(&field)).unwrap_or_default();
    let own = conditions.iter().filter_map(|field| own_bound(field, tool, &name, reader));
    let least = own.min_by_key(|bound| bound.0);
    vec![limit(counter, least, amount)]
}

fn rule_state(
    tool: &str,
    field: &Field<'_>,
    reader: &mut Reader,
    book: &mut CounterBook,
) -> Option<(String, usize, Amount)> {
    let mut fields = reader.fields(field)?;
    let name =
        fields.require("counter", reader).and_then(|field| limit::counter_name(&field, reader));
    let window = fields.require("window", reader).and_then(|field| limit::window(&field, reader));
    let scope = limit::scope(&mut fields, reader, Scope::Global);
    let amount = limit::amount(&mut fields, reader);
    reader.close(&fields);
    let share = name.clone().zip(window).zip(scope);
    let share = share.map(|((name, window), scope)| Share {
        key: format!("state\0{tool}\0{name}"),
        name,
        window,
        scope,
        algorithm: Algorithm::Fixed,
        tool: tool.to_owned(),
    });
    let counter = share.and_then(|share| book.index(share, &field.place, reader));
    let Some((name, counter)) = name.clone().zip(counter) else {
        book.refuse(tool, name);
        return None;
    };
    Some((name, counter, amount?))
}

/// The most that a condition lets the rule's own counter come to, after the increment.
fn own_bound(field: &Field<'_>, tool: &str, counter: &str, reader: &mut Reader) -> Option<Micros> {
    if !is_own(field.value.as_object()?.get("path")?, tool, counter) {
        return None;
    }
    let mut fields = reader.fields(field)?;
    fields.take("path");
    let op = fields.require("op", reader);
    let value = fields.require("value", reader);
    reader.close(&fields);
    let below = match reader.text(&op?)? {
        "lt" => 1,
        "lte" => 0,
        _ => {
            let message = "only `lt` and `lte` bound the rule's own counter".to_owned();
            let help = "read the counter from another rule to use other operators".to_owned();
            reader.error_with_help(Code::BadOperand, &field.place, message, help);
            return None;
        }
    };
    let value = value?;
    let bound = reader.amount(&value)?.0.checked_sub(below);
    if bound.is_none() {
        let help = "use `action: deny` to deny always".to_owned();
        let message = "no count is less than 0".to_owned();
        reader.error_with_help(Code::BadNumber, &value.place, message, help);
    }
    bound.map(Micros)
}

fn is_own(path: &Value<'_>, tool: &str, counter: &str) -> bool {
    let named = path.as_str().and_then(condition::state_path);
    named.is_some_and(|(of, name)| {
        *name == *counter && (of == tool || (of == "*" && tool == GLOBAL))
    })
}

/// What a rule asserts: its conditions, but for the bounds of its own counter.
fn rule_check(
    tool: &str,
    field: &Field<'_>,
    reader: &mut Reader,
    book: &CounterBook,
) -> Option<Check> {
    // The first pass has reported what is wrong with the types of these.
    let object = field.value.as_object()?;
    let mut fields = Reader::default().fields(field)?;
    for key in ["state", "rate_limit", "count"] {
        fields.take(key);
    }
    if let Some(name) = fields.take("name") {
        reader.text(&name);
    }
    let action = fields.take("action");
    let denies = match &action {
        None => Some(false),
        Some(action) => reader.word(action, &[("evaluate", false), ("deny", true)]),
    };
    let conditions = fields.take("conditions").map(|field| reader.list(&field));
    let on_deny = rule_text(&mut fields, &mut Reader::default());
    reader.close(&fields);
    let items = conditions.unwrap_or_default();
    contradictions(object, denies, &field.place, reader);
    let own = object
        .get("state")
        .and_then(Value::as_object)
        .and_then(|state| state.get("counter")?.as_str());
    let mut read = Vec::new();
    for item in &items {
        if !is_own_bound(item, tool, own) {
            read.extend(condition::read(item, Side::Require, reader, book));
        }
    }
    let kind = if denies? { CheckKind::Deny } else { CheckKind::Require };
    let idle = kind == CheckKind::Require && read.is_empty();
    let pointer = field.place.pointer.as_str().into();
    (!idle).then(|| Check { kind, conditions: read.into(), on_deny, pointer })
}

/// Fields of a rule that do not go together, and a rule that has none.
fn contradictions(rule: &Object<'_>, denies: Option<bool>, place: &Place, reader: &mut Reader) {
    let has = |key| rule.get(key).is_some();
    let counts = has("state") || has("rate_limit");
    for (clash, message) in [
        (
            denies == Some(true) && (has("conditions") || counts),
            "`action: deny` always denies; it does not go with `conditions`, `state` or `rate_limit`",
        ),
        (
            has("rate_limit") && (has("conditions") || has("state")),
            "`rate_limit` does not go with `conditions` or `state`",
        ),
        (
            has("on_deny") && has("reason"),
            "`reason` is another word for `on_deny`; keep one of them",
        ),
    ] {
        if clash {
            reader.error(Code::Contradiction, place, message.to_owned());
        }
    }
    if has("count") && !counts {
        let message = "`count` is read only where the rule counts".to_owned();
        let help = "add `state` or `rate_limit`, or leave it out".to_owned();
        reader.error_with_help(Code::NoEffect, &place.key("count"), message, help);
    }
    let conditions = rule.get("conditions");
    let idle = conditions.is_none_or(|conditions| *conditions == Value::Array(Vec::new()));
    if denies == Some(false) && idle && !counts {
        let help = "add `conditions`, `state`, `rate_limit` or `action: deny`".to_owned();
        reader.error_with_help(Code::NoEffect, place, "the rule does nothing".to_owned(), help);
    }
}

/// Whether a condition is about the rule's own counter; the first pass has made a limit of it.
fn is_own_bound(item: &Field<'_>, tool: &str, own: Option<&str>) -> bool {
    let path = item.value.as_object().and_then(|condition| condition.get("path"));
    path.zip(own).is_some_and(|(path, counter)| is_own(path, tool, counter))
}

fn rule_text(fields: &mut Fields<'_>, reader: &mut Reader) -> Option<Box<str>> {
    let on_deny = limit::text(fields, "on_deny", reader);
    let reason = limit::text(fields, "reason", reader);
    on_deny.or(reason)
}
