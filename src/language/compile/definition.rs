//! What a tool must be defined as: `definition` of its entry, and `pins` of the policy.

use super::book::{Book, Owner};
use crate::language::diagnostic::Code;
use crate::language::reader::{Field, Fields, Reader};
use crate::matcher::name::Pattern;
use crate::mcp::call::Kind;
use crate::mcp::definition::DefinitionDigest;
use crate::policy::entry::PinnedDefinition;
use crate::policy::pinning::PINS;
use crate::policy::rules::{RuleId, RuleKind};

/// `definition` of an entry, which only those of tools have.
pub(super) fn field<'v>(kind: Kind, fields: &mut Fields<'v>) -> Option<Field<'v>> {
    match kind {
        Kind::Tool => fields.take("definition"),
        Kind::Resource | Kind::Prompt | Kind::Method => None,
    }
}

/// The definition that somebody has read.
pub(super) fn read(
    field: &Field<'_>,
    pattern: &Pattern,
    owner: &Owner,
    reader: &mut Reader,
    book: &mut Book,
) -> Option<PinnedDefinition> {
    let text = reader.text(field)?;
    let digest = DefinitionDigest::read(text);
    if digest.is_none() {
        let message = format!("not the digest of a definition: `{}`", text.escape_debug());
        let help = "`sha-256:` and 43 characters of base64url; `mcp-policy scan --pin` writes it";
        reader.error_with_help(Code::BadPattern, &field.place, message, help.to_owned());
    }
    if !matches!(pattern, Pattern::Exact(_)) {
        let message = "a definition is that of one tool, and this entry is for several".to_owned();
        let help = "give the tool an entry of its own beside this one: both apply to its calls";
        reader.error_with_help(Code::Contradiction, &field.place, message, help.to_owned());
        return None;
    }
    let row = owner.row(RuleKind::Definition, "definition".to_owned(), &field.place, None);
    Some(PinnedDefinition { digest: digest?, rule: book.rules.add(row) })
}

/// `pins`: what says that tools without a `definition` keep the one that was seen first.
pub(super) fn first_use(
    fields: &mut Fields<'_>,
    reader: &mut Reader,
    book: &mut Book,
) -> Option<RuleId> {
    let field = fields.take("pins")?;
    reader.word(&field, &PINS)?;
    let owner = Owner { tool: String::new(), subject: Kind::Tool, entry: None };
    let row = owner.row(RuleKind::Definition, "pins".to_owned(), &field.place, None);
    Some(book.rules.add(row))
}
