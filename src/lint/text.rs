//! What the words of a policy tell: empty lists and texts, names with white space, patterns without anchors.

use super::Lint;
use crate::json::pointer::escaped;
use crate::json::{Object, Value};
use crate::language::diagnostic::Code;
use crate::matcher::fold::invisible;
use crate::policy::compiled::Config;
use crate::policy::sessions::Sessions;

/// The sections of a policy.
const SECTIONS: [&str; 4] = ["tools", "methods", "resources", "prompts"];

/// Lists that do nothing when they are empty. Not `rules`: an entry of that dialect always has it.
const LISTS: [&str; 4] = ["hide", "require", "deny_if", "limits"];

pub(super) fn lint(config: &Config, lint: &mut Lint<'_>) {
    let Some(policy) = lint.text.policy.as_object() else { return };
    lists("", policy, lint);
    if let Some(all) = policy.get("all_tools").and_then(Value::as_object) {
        lists("/all_tools", all, lint);
        limits("/all_tools", all, &config.sessions, lint);
    }
    hidden("", policy, lint);
    for section in SECTIONS {
        let Some(entries) = policy.get(section).and_then(Value::as_object) else { continue };
        let pointer = format!("/{section}");
        if section != "tools" {
            if entries.get("hide") == Some(&Value::Array(Vec::new())) {
                empty_list(&pointer, "hide", lint);
            }
            hidden(&pointer, entries, lint);
        }
        self::entries(&pointer, entries, config, lint);
    }
}

/// The lines of `hide`.
fn hidden(pointer: &str, object: &Object<'_>, lint: &mut Lint<'_>) {
    let Some(Value::Array(names)) = object.get("hide") else { return };
    for (at, name) in names.iter().enumerate() {
        outer_space(&format!("{pointer}/hide/{at}"), name.as_str().unwrap_or_default(), lint);
    }
}

fn entries(section: &str, entries: &Object<'_>, config: &Config, lint: &mut Lint<'_>) {
    for member in &entries.0 {
        let pointer = format!("{section}/{}", escaped(&member.key));
        outer_space(&pointer, &member.key, lint);
        let Some(entry) = member.value.as_object() else { continue };
        lists(&pointer, entry, lint);
        texts(&pointer, entry, lint);
        limits(&pointer, entry, &config.sessions, lint);
        for list in ["require", "deny_if", "rules", "limits"] {
            let Some(Value::Array(items)) = entry.get(list) else { continue };
            for (at, item) in items.iter().enumerate() {
                if let Some(item) = item.as_object() {
                    texts(&format!("{pointer}/{list}/{at}"), item, lint);
                }
            }
        }
    }
}

fn lists(pointer: &str, object: &Object<'_>, lint: &mut Lint<'_>) {
    for list in LISTS {
        if object.get(list) == Some(&Value::Array(Vec::new())) {
            empty_list(pointer, list, lint);
        }
    }
}

fn empty_list(pointer: &str, list: &str, lint: &mut Lint<'_>) {
    let message = format!("`{list}` is empty and does nothing");
    lint.warn(Code::EmptyList, &format!("{pointer}/{list}"), message, "leave it out");
}

fn texts(pointer: &str, object: &Object<'_>, lint: &mut Lint<'_>) {
    for field in ["reason", "on_deny"] {
        if object.get(field).and_then(Value::as_str).is_some_and(|text| text.trim().is_empty()) {
            let message = "the agent would read nothing".to_owned();
            let help = "say why and what to do instead, or leave it out for the built-in text";
            lint.warn(Code::EmptyText, &format!("{pointer}/{field}"), message, help);
        }
    }
}

/// Limits by session, where a session is nobody's word.
fn limits(pointer: &str, object: &Object<'_>, sessions: &Sessions, lint: &mut Lint<'_>) {
    if !matches!(sessions, Sessions::Untrusted) {
        return;
    }
    let scoped = |list: &str, at: usize, limit: &Value<'_>| {
        let limit = limit.as_object()?;
        let (inner, limit) = match limit.get("state").and_then(Value::as_object) {
            Some(state) if list == "rules" => ("/state", state),
            _ => ("", limit),
        };
        (limit.get("scope")?.as_str()? == "session")
            .then(|| format!("{pointer}/{list}/{at}{inner}/scope"))
    };
    let mut found = Vec::new();
    for list in ["limits", "rules"] {
        let Some(Value::Array(items)) = object.get(list) else { continue };
        found.extend(items.iter().enumerate().filter_map(|(at, item)| scoped(list, at, item)));
    }
    for pointer in found {
        let message = "session ids are not trusted, so this counts by caller".to_owned();
        let help = "set `sessions.pin`, or `sessions.trusted` if the server refuses ids that it did not issue; or say \"grant\"";
        lint.warn(Code::UntrustedSession, &pointer, message, help);
    }
}

fn outer_space(pointer: &str, name: &str, lint: &mut Lint<'_>) {
    let plain: String = name.trim().chars().filter(|character| !invisible(*character)).collect();
    if plain != name {
        let message = format!(
            "the name `{}` has white space around it, or invisible characters",
            name.escape_debug()
        );
        let help = format!("names are compared byte for byte: write `{}`", plain.escape_debug());
        lint.warn(Code::OuterSpace, pointer, message, &help);
    }
}

/// Whether an argument's name says that it holds a path or a URL.
pub(super) fn names_a_path(path: &str) -> bool {
    const WORDS: [&str; 15] = [
        "path",
        "paths",
        "file",
        "files",
        "filename",
        "filepath",
        "dir",
        "directory",
        "directories",
        "folder",
        "cwd",
        "url",
        "urls",
        "uri",
        "uris",
    ];
    let name = path.rsplit(['.', '"']).find(|piece| piece.starts_with(char::is_alphabetic));
    let mut words = vec![String::new()];
    let mut lower = false;
    for character in name.unwrap_or_default().chars().take_while(|character| *character != '[') {
        let starts = !character.is_alphanumeric() || (lower && character.is_uppercase());
        if starts {
            words.push(String::new());
        }
        lower = character.is_lowercase();
        if let Some(word) = words.last_mut().filter(|_| character.is_alphanumeric()) {
            word.extend(character.to_lowercase());
        }
    }
    words.iter().any(|word| WORDS.contains(&&**word))
}

#[cfg(test)]
mod tests {
    use super::names_a_path;

    #[test]
    fn knows_names_of_paths() {
        for (path, expected) in [
            ("args.path", true),
            ("args.filePath", true),
            ("args.source_file", true),
            ("args.paths[*]", true),
            ("args.files[0].url", true),
            (r#"args["base-url"]"#, true),
            ("args.profile", false),
            ("args.path.mode", false),
            ("args.curl", false),
        ] {
            assert_eq!(names_a_path(path), expected, "{path}");
        }
    }
}
