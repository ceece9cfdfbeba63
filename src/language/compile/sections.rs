//! The sections beside `tools`: `methods`, `resources` and `prompts`, with entries of the same shape.

use std::collections::HashMap;

use super::book::{Book, Owner};
use super::entry::{self, EntryDraft};
use super::pattern::pattern;
use crate::json::Value;
use crate::language::diagnostic::Code;
use crate::language::reader::{Field, Fields, Place, Reader};
use crate::matcher::normal::nfc;
use crate::mcp::call::Kind;
use crate::policy::entry::DefaultAction;
use crate::policy::rules::{RuleId, RuleKind};
use crate::policy::section::{Hidden, Section};

const SECTIONS: [(&str, Kind); 3] =
    [("methods", Kind::Method), ("resources", Kind::Resource), ("prompts", Kind::Prompt)];

/// A section whose limits are read, and whose checks wait until every counter is known.
pub(super) struct SectionDraft<'v> {
    kind: Kind,
    default: (DefaultAction, RuleId),
    hide: Vec<Hidden>,
    entries: Vec<EntryDraft<'v>>,
}

/// Reads the sections. `default` and `hide` are the section's own unless they are objects; every other member is an entry.
pub(super) fn drafts<'v>(
    fields: &mut Fields<'v>,
    reader: &mut Reader,
    book: &mut Book,
) -> Vec<SectionDraft<'v>> {
    let mut drafts = Vec::new();
    for (key, kind) in SECTIONS {
        let Some(field) = fields.take(key) else { continue };
        let Some(section) = reader.fields(&field) else { continue };
        drafts.push(draft(kind, &field.place, section.members(), reader, book));
    }
    drafts
}

fn draft<'v>(
    kind: Kind,
    place: &Place,
    members: Vec<(&'v str, Field<'v>)>,
    reader: &mut Reader,
    book: &mut Book,
) -> SectionDraft<'v> {
    let mut draft = SectionDraft {
        kind,
        default: (DefaultAction::Allow, default(kind, &place.key("default"), book)),
        hide: Vec::new(),
        entries: Vec::new(),
    };
    distinct(&members, reader);
    for (key, field) in &members {
        let own = !matches!(field.value, Value::Object(_));
        match *key {
            "default" if own => {
                draft.default.0 =
                    reader.word(field, &DefaultAction::WORDS).unwrap_or(DefaultAction::Deny);
            }
            "hide" if own => draft.hide = patterns(field, kind, reader, book),
            _ => draft.entries.extend(entry::limits(kind, key, field, reader, book)),
        }
    }
    draft
}

impl SectionDraft<'_> {
    pub(super) fn finish(self, reader: &mut Reader, book: &mut Book) -> Section {
        let mut entries = Vec::new();
        for draft in self.entries {
            entries.push(entry::checks(draft, reader, book));
        }
        Section::new(self.kind, self.default, self.hide, entries)
    }
}

/// The `default` of a section as a rule.
pub(super) fn default(subject: Kind, place: &Place, book: &mut Book) -> RuleId {
    let owner = Owner { tool: String::new(), subject, entry: None };
    book.rules.add(owner.row(RuleKind::Default, "default".to_owned(), place, None))
}

/// `hide` of the policy.
pub(super) fn hide(
    fields: &mut Fields<'_>,
    kind: Kind,
    reader: &mut Reader,
    book: &mut Book,
) -> Vec<Hidden> {
    let field = fields.take("hide");
    field.map(|field| patterns(&field, kind, reader, book)).unwrap_or_default()
}

fn patterns(field: &Field<'_>, subject: Kind, reader: &mut Reader, book: &mut Book) -> Vec<Hidden> {
    let owner = Owner { tool: String::new(), subject, entry: None };
    let items = reader.list(field);
    let hidden = items.iter().enumerate().filter_map(|(at, item)| {
        let pattern = pattern(subject, reader.text(item)?, &item.place, reader)?;
        let row = owner.row(RuleKind::Hide, format!("hide[{at}]"), &item.place, None);
        Some(Hidden { pattern, rule: book.rules.add(row) })
    });
    hidden.collect()
}

/// Reports keys that are an earlier one in another spelling: names are compared in one normal form.
pub(super) fn distinct(members: &[(&str, Field<'_>)], reader: &mut Reader) {
    let mut seen = HashMap::new();
    for (key, field) in members {
        let Some((other, earlier)) = seen.insert(nfc(key), (key, &field.place)) else { continue };
        if other == key {
            continue;
        }
        let message =
            format!("the key `{}` is an earlier one in another spelling", key.escape_debug());
        let help = "keep one of the entries: Unicode spells one text in several ways, which are one name here";
        reader.error_with_help(Code::DuplicateKey, &field.place, message, help.to_owned());
        reader.last_contradicts(earlier);
    }
}
