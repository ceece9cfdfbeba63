//! `during`, `not_before` and `not_after`, of an entry or a limit: the times at which it holds.

use std::cmp::Ordering;

use super::book::{Book, Owner};
use super::condition;
use crate::language::diagnostic::Code;
use crate::language::reader::{Field, Fields, Place, Reader};
use crate::matcher::instant::TimeOperand;
use crate::matcher::operator::{OPERATORS, Test};
use crate::policy::entry::{Action, Check, CheckKind, Condition, Subject};
use crate::policy::rules::{RuleId, RuleKind};

/// The operators that are words of entries and limits too.
pub(super) const WORDS: [&str; 3] = ["during", "not_before", "not_after"];

/// The times at which something holds, as conditions on the time of the call.
pub(super) struct SaidTimes {
    pub(super) conditions: Box<[Condition]>,
    /// The first word that says so, and where it stands.
    word: &'static str,
    place: Place,
}

/// Reads them: outside nothing where one was refused, inside nothing where it holds at all times.
#[expect(clippy::option_option, reason = "as every field here: nothing where it was refused")]
pub(super) fn read(fields: &mut Fields<'_>, reader: &mut Reader) -> Option<Option<SaidTimes>> {
    let said: Vec<(&str, Field<'_>)> =
        WORDS.into_iter().filter_map(|word| Some((word, fields.take(word)?))).collect();
    let conditions: Vec<Condition> =
        said.iter().filter_map(|(word, field)| of_now(word, field, reader)).collect();
    let Some((word, first)) = said.first() else { return Some(None) };
    if conditions.len() < said.len() {
        return None;
    }
    if is_never(&conditions) {
        let message = "`not_before` is later than `not_after`, so this never holds".to_owned();
        let help = "swap them, or leave one out".to_owned();
        reader.error_with_help(Code::Contradiction, &first.place, message, help);
        return None;
    }
    Some(Some(SaidTimes { conditions: conditions.into(), word, place: first.place.clone() }))
}

/// What an entry that holds at some times comes to: it allows then and denies at others, or it denies or asks then.
pub(super) fn check(
    said: SaidTimes,
    (action, action_rule): (Action, RuleId),
    reason: Option<Box<str>>,
    owner: &Owner,
    book: &mut Book,
) -> Check {
    let SaidTimes { conditions, word, place } = said;
    let (kind, rule) = match action {
        Action::Allow => {
            let row = owner.row(RuleKind::Times, word.to_owned(), &place, reason);
            (CheckKind::Require, book.rules.add(row))
        }
        Action::Deny => (CheckKind::DenyIf, action_rule),
        Action::RequireApproval => (CheckKind::AskIf, action_rule),
    };
    Check { kind, conditions, rule }
}

/// The condition that an operator puts to the time of the call.
fn of_now(word: &str, field: &Field<'_>, reader: &mut Reader) -> Option<Condition> {
    let operator = OPERATORS.iter().find(|operator| operator.word == word)?;
    let matcher = condition::matcher(operator, field, reader)?;
    condition::is_a_time(&matcher, &field.place, reader)?;
    Some(Condition { subject: Subject::Now, matcher, from: None, every: false })
}

fn is_never(conditions: &[Condition]) -> bool {
    let times = conditions.iter().filter_map(|condition| {
        if let Test::Time(_, TimeOperand::At { seconds, fraction, .. }) = &condition.matcher.test {
            Some((*seconds, &**fraction))
        } else {
            None
        }
    });
    let times: Vec<(i64, &[u8])> = times.collect();
    matches!(times.as_slice(), [first, last] if first.cmp(last) == Ordering::Greater)
}
