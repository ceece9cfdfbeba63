//! The elements of `rules`, of the rules dialect: each may check, count, or both. Read in two passes, as entries are.

use super::book::GLOBAL;
use super::book::{Book, Owner, Share};
use super::condition;
use super::service;
use super::{counted, limit};
use crate::json::{Object, Value};
use crate::language::diagnostic::Code;
use crate::language::reader::{Field, Fields, Place, Reader};
use crate::matcher::value::Side;
use crate::mcp::call::Kind;
use crate::number::Micros;
use crate::policy::entry::{Amount, Check, CheckKind, CountIn, Limit, RULE_ACTIONS, Scope};
use crate::policy::rules::{RuleId, RuleKind};
use crate::rate::algorithm::Algorithm;
use crate::rate::table::Per;

/// What a rule counts: its `rate_limit`, or its `state` with the bounds that its own conditions put on it.
pub(super) fn limits(
    owner: &Owner,
    (at, field): (usize, &Field<'_>),
    reader: &mut Reader,
    book: &mut Book,
) -> Option<(RuleId, Vec<Limit>)> {
    let mut fields = reader.fields(field)?;
    let on_deny = text(&mut fields, reader);
    let row = owner.row(RuleKind::Rule, format!("rules[{at}]"), &field.place, on_deny);
    let rule = book.rules.add(row);
    let refund = limit::refund(&mut fields, reader);
    let counted = refund.and_then(|refund| {
        let (counter, max, amount) = count(&owner.tool, field.value, &mut fields, reader, book)?;
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
    });
    Some((rule, counted.into_iter().collect()))
}

/// The counter of a rule, the most that it admits, and how much a call counts.
fn count(
    tool: &str,
    written: &Value<'_>,
    fields: &mut Fields<'_>,
    reader: &mut Reader,
    book: &mut Book,
) -> Option<(usize, Option<Micros>, Amount)> {
    if let Some(rate) = fields.take("rate_limit") {
        service::cannot_hold("the counts of rules", &rate.place, reader);
        let (max, window) = limit::shorthand(&rate, reader)?;
        let rule = written.as_object().and_then(|members| members.get("name")?.as_str());
        let share = Share {
            key: book.nameless(tool, rule.unwrap_or_default(), window),
            name: "rate_limit".to_owned(),
            window,
            scope: Scope::Global,
            algorithm: Algorithm::Fixed,
            count_in: CountIn::Envoy,
            per: Per::Caller,
            tool: tool.to_owned(),
        };
        let counter = book.index(share, &rate.place, reader)?;
        return Some((counter, Some(max), Amount::Fixed(counted::ONE)));
    }
    let written = fields.take("state")?;
    service::cannot_hold("the counts of rules", &written.place, reader);
    let (name, counter, amount) = state(tool, &written, reader, book)?;
    let conditions =
        fields.take("conditions").map(|field| Reader::default().list(&field)).unwrap_or_default();
    let own = conditions.iter().filter_map(|field| own_bound(field, tool, &name, reader));
    Some((counter, own.min_by_key(|bound| bound.0), amount))
}

fn state(
    tool: &str,
    field: &Field<'_>,
    reader: &mut Reader,
    book: &mut Book,
) -> Option<(String, usize, Amount)> {
    let mut fields = reader.fields(field)?;
    let name =
        fields.require("counter", reader).and_then(|field| limit::counter_name(&field, reader));
    let window = fields.require("window", reader).and_then(|field| limit::window(&field, reader));
    let scope = counted::scope(&mut fields, reader, Scope::Global);
    let amount = limit::amount(&mut fields, reader);
    reader.close(&fields);
    let share = name.clone().zip(window).zip(scope);
    let share = share.map(|((name, window), scope)| Share {
        key: format!("state\0{tool}\0{name}"),
        name,
        window,
        scope,
        algorithm: Algorithm::Fixed,
        count_in: CountIn::Envoy,
        per: Per::Caller,
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
pub(super) fn check(
    tool: &str,
    (rule, field): (RuleId, &Field<'_>),
    reader: &mut Reader,
    book: &Book,
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
        Some(action) => reader.word(action, &RULE_ACTIONS),
    };
    let conditions = fields.take("conditions").map(|field| reader.list(&field));
    for key in ["on_deny", "reason"] {
        fields.take(key);
    }
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
            read.extend(condition::read(item, (Kind::Tool, Side::Require), reader, book));
        }
    }
    let kind = if denies? { CheckKind::Deny } else { CheckKind::Require };
    let idle = kind == CheckKind::Require && read.is_empty();
    (!idle).then(|| Check { kind, conditions: read.into(), rule })
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

fn text(fields: &mut Fields<'_>, reader: &mut Reader) -> Option<Box<str>> {
    let on_deny = limit::text(fields, "on_deny", reader);
    let reason = limit::text(fields, "reason", reader);
    on_deny.or(reason)
}
