//! The tables as a page for authors.

use std::fmt::Write as _;

use mcp_policy::matcher::operator::OPERATORS;
use mcp_policy::policy::entry::Scope;

use super::language::{
    FieldKind, FieldSpec, KeyKind, ObjectSpec, Presence, of_gateways, section, sections, words,
};

const HEAD: &str = "# Fields of a policy\n\n\
    Every object of the language, with its fields. [README.md](README.md) beside this page explains what they mean together, and in what\n\
    order a call is decided. This page is written by `mcp-policy schema reference`; the same tables make\n\
    [policy.schema.json](schema/policy.schema.json), [plugin.schema.json](schema/plugin.schema.json) and\n\
    [gateway.schema.json](schema/gateway.schema.json), so that an editor knows them too.\n";

/// The whole page.
pub(super) fn page() -> String {
    let mut page = HEAD.to_owned();
    page.push('\n');
    for section in sections().chain(of_gateways()) {
        line(&mut page, &format!("- [{}](#{})", section.title, anchor(section.title)));
    }
    for section in sections().chain(of_gateways()) {
        write_section(&mut page, section);
    }
    page
}

fn write_section(page: &mut String, section: &ObjectSpec) {
    line(page, &format!("\n## {}\n\n{}\n", section.title, section.about));
    line(page, "| field | type | if absent | meaning |\n|---|---|---|---|");
    for field in section.fields() {
        let absent = match field.presence {
            Presence::Required => "**required**".to_owned(),
            Presence::Optional => String::new(),
            Presence::Default(value) => format!("`{value}`"),
        };
        let cell = |text: &str| text.replace('|', "\\|");
        let FieldSpec { name, about, .. } = field;
        line(
            page,
            &format!("| `{name}` | {} | {absent} | {} |", cell(&kind(&field.kind)), cell(about)),
        );
    }
    if let Some(others) = section.others {
        line(page, &format!("| any other | {} | | |", link(others)));
    }
    if section.fields().any(|field| matches!(field.kind, FieldKind::Operator)) {
        write_operators(page);
    }
    line(page, "\n```json");
    for field in section.fields() {
        line(page, &format!("\"{}\": {}", field.name, field.example));
    }
    line(page, "```");
}

fn write_operators(page: &mut String) {
    line(page, "\n| op | value in the policy | argument | holds if |\n|---|---|---|---|");
    for operator in OPERATORS {
        let (word, about, takes) = (operator.word, operator.about, operator.takes);
        line(page, &format!("| `{word}` | {} | {} | {about} |", takes.value(), takes.argument()));
    }
}

fn line(page: &mut String, text: &str) {
    // Writing to a String cannot fail.
    let _ = writeln!(page, "{text}");
}

fn kind(kind: &FieldKind) -> String {
    match kind {
        FieldKind::Text => "text".to_owned(),
        FieldKind::Digest => "digest, `\"sha-256:…\"`".to_owned(),
        FieldKind::Flag => "`true` or `false`".to_owned(),
        FieldKind::Amount => "number, 0 or more, at most six decimals".to_owned(),
        FieldKind::Increment => "number, more than 0, at most six decimals".to_owned(),
        FieldKind::Whole(least, most) => format!("whole number, {least} to {most}"),
        FieldKind::Words(words) => quoted(words),
        FieldKind::Pattern => "name or glob".to_owned(),
        FieldKind::ArgumentPath => "`args.` path".to_owned(),
        FieldKind::Path => {
            "`args.`, `state.`, `identity.` or `header.` path, the name (`tool`), or the time (`now`)".to_owned()
        }
        FieldKind::FieldPath => {
            "`args.`, `identity.` or `header.` path, or the name (`tool`)".to_owned()
        }
        FieldKind::Scope => {
            format!("{}, or a key of `identity.keys`", quoted(&words(&Scope::WORDS)))
        }
        FieldKind::Window => "window".to_owned(),
        FieldKind::Length(least, most) => {
            format!(
                "length of time such as `\"90s\"`, `\"5m\"`, or whole seconds, {least} to {most}"
            )
        }
        FieldKind::Rate => "rate such as `\"10/minute\"`".to_owned(),
        FieldKind::Operator => "one of the operators below".to_owned(),
        FieldKind::Operand => {
            format!("text, number, boolean, or a list of these; {}", link("hours"))
        }
        FieldKind::Object(id) => link(id),
        FieldKind::Objects(id) => format!("list, each {}", link(id)),
        FieldKind::List(items) => format!("list, each {}", self::kind(items)),
        FieldKind::Named(members, keys) => {
            let keys = match keys {
                KeyKind::Tools => "tool key",
                KeyKind::Policies | KeyKind::Servers => "name",
                KeyKind::Identity => "key of `identity.keys`",
                KeyKind::Metadata => "key",
            };
            format!("{keys} → {}", self::kind(members))
        }
        FieldKind::Either(kinds) => kinds.iter().map(self::kind).collect::<Vec<_>>().join(", or "),
    }
}

fn quoted(words: &[&str]) -> String {
    words.iter().map(|word| format!("`\"{word}\"`")).collect::<Vec<_>>().join(" ")
}

/// A section by its title.
fn link(id: &str) -> String {
    let title = section(id).map_or(id, |section| section.title);
    let words = title.chars().next().map(|first| first.to_lowercase().collect::<String>());
    let rest = title.get(title.chars().next().map_or(0, char::len_utf8)..).unwrap_or_default();
    format!("[{}{rest}](#{})", words.unwrap_or_default(), anchor(title))
}

/// As Markdown renderers make anchors of titles.
fn anchor(title: &str) -> String {
    let kept = title
        .to_lowercase()
        .chars()
        .filter(|c| c.is_alphanumeric() || *c == ' ' || *c == '-')
        .collect::<String>();
    kept.replace(' ', "-")
}
