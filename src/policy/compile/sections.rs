//! The sections beside `tools`: `methods`, `resources` and `prompts`, with entries of the same shape.

use std::collections::HashMap;

use super::book::{Book, Owner};
use super::entry::{self, EntryDraft};
use super::limit;
use crate::bounds::MAX_PATTERN_BYTES;
use crate::json::Value;
use crate::matcher::name::Pattern;
use crate::matcher::normal::nfc;
use crate::mcp::call::Kind;
use crate::mcp::uri::canonical;
use crate::policy::compiled::DefaultAction;
use crate::policy::diagnostic::Code;
use crate::policy::reader::{Field, Fields, Place, Reader};
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
                let words = [("allow", DefaultAction::Allow), ("deny", DefaultAction::Deny)];
                draft.default.0 = reader.word(field, &words).unwrap_or(DefaultAction::Deny);
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

/// The pattern of an entry's key or of a line of `hide`.
pub(super) fn pattern(
    kind: Kind,
    text: &str,
    place: &Place,
    reader: &mut Reader,
) -> Option<Pattern> {
    let text = &*nfc(text);
    if text.is_empty() || text.len() > MAX_PATTERN_BYTES {
        let message = format!("a {} must have 1 to 4096 bytes", named(kind));
        reader.error(Code::BadPattern, place, message);
        return None;
    }
    if kind == Kind::Tool && text == limit::GLOBAL {
        let message = format!("`{text}` is the name of the counters under `*`");
        let help =
            "a tool of this name cannot have an entry of its own; use a glob such as `_globa?`";
        reader.error_with_help(Code::Contradiction, place, message, help.to_owned());
        return None;
    }
    if kind == Kind::Resource {
        spelled_as_matched(text, place, reader)?;
    }
    Some(Pattern::new(text))
}

fn named(kind: Kind) -> &'static str {
    match kind {
        Kind::Tool => "tool name",
        Kind::Resource => "resource URI",
        Kind::Prompt => "prompt name",
        Kind::Method => "method",
    }
}

/// URIs are matched in their canonical spelling, so a key in another one would never match.
fn spelled_as_matched(text: &str, place: &Place, reader: &mut Reader) -> Option<()> {
    // Wildcards stand for plain characters here, in a port for digits; a pattern that leaves the scheme open has no spelling to check.
    let [plain, digits] = ["a", "1"].map(|character| text.replace(['*', '?'], character));
    let plain = if canonical(&digits).is_some_and(|uri| uri == digits) { digits } else { plain };
    let open = text.split(':').next().is_some_and(|scheme| scheme.contains(['*', '?']));
    let help = match canonical(&plain) {
        _ if open => return Some(()),
        Some(uri) if uri == plain => return Some(()),
        Some(uri) if plain == text => format!("write `{uri}`"),
        Some(_) => "write the scheme in lower case, and the host of a scheme such as `https`; what can stand plain unescaped; a path after such a host; and no port that is empty or the default".to_owned(),
        None => "an absolute URI such as `file:///data/*`, without dot segments, fragment, spaces or encoded slashes".to_owned(),
    };
    let message = format!("no URI is matched in this spelling: `{}`", text.escape_debug());
    reader.error_with_help(Code::BadPattern, place, message, help);
    None
}
