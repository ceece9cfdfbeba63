//! Variables in configurations, as each program resolves them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::program::Program;

/// What variables stand for.
pub(super) struct Variables {
    pub(super) program: Program,
    /// The folder that `${workspaceFolder}` means.
    pub(super) workspace: PathBuf,
    /// The server's own environment, once it has been read.
    pub(super) own: BTreeMap<String, String>,
    /// Values that files beside the configuration give names.
    pub(super) secrets: BTreeMap<String, String>,
    /// What was not resolved, each in one line.
    pub(super) notes: Vec<String>,
}

/// What becomes of a variable.
enum Resolved {
    Value(String),
    /// It stays as it is written.
    Literal,
    /// The program puts nothing in its place.
    Empty(String),
    /// The program leaves it as it is written, and it should not be there.
    Unset(String),
    /// Only the program can know it.
    Impossible(String),
}

impl Variables {
    /// A text with its variables resolved.
    ///
    /// # Errors
    /// Where a variable is one that only the program can know. The text is not told: it may have a secret in it.
    pub(super) fn resolve(&mut self, text: &str) -> Result<String, String> {
        let mut out = String::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('$') {
            out.push_str(before);
            let Some((spelled, name, left)) = self.next(after) else {
                out.push('$');
                rest = after;
                continue;
            };
            rest = left;
            let literal = format!("${spelled}");
            match self.value(&name) {
                Resolved::Value(value) => out.push_str(&value),
                Resolved::Literal => out.push_str(&literal),
                Resolved::Empty(name) => {
                    self.notes.push(format!(
                        "the variable `{name}` is not set; {} puts nothing in its place",
                        self.program.name()
                    ));
                }
                Resolved::Unset(name) => {
                    self.notes.push(format!(
                        "the variable `{name}` is not set; {} leaves it as it is written",
                        self.program.name()
                    ));
                    out.push_str(&literal);
                }
                Resolved::Impossible(why) => return Err(why),
            }
        }
        out.push_str(rest);
        Ok(out)
    }

    /// What follows a `$`: how it is spelled, the name in it, and what is left; `None` where it is no variable.
    fn next<'t>(&self, after: &'t str) -> Option<(&'t str, String, &'t str)> {
        if let Some(inner) = after.strip_prefix("{{") {
            let end = inner
                .find("}}")
                .filter(|_| matches!(self.program, Program::Continue | Program::Other))?;
            let (spelled, left) = after.split_at_checked(end + 4)?;
            return Some((spelled, inner.get(..end)?.trim().to_owned(), left));
        }
        if let Some(inner) = after.strip_prefix('{') {
            let end = inner.find('}')?;
            let (spelled, left) = after.split_at_checked(end + 2)?;
            return Some((spelled, inner.get(..end)?.to_owned(), left));
        }
        let end =
            after.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(after.len());
        let (name, left) =
            after.split_at_checked(end).filter(|_| self.program == Program::GeminiCli)?;
        (!name.is_empty()).then(|| (name, name.to_owned(), left))
    }

    fn value(&self, name: &str) -> Resolved {
        match self.program {
            Program::ClaudeDesktop | Program::Codex | Program::Zed => Resolved::Literal,
            Program::ClaudeCode | Program::GeminiCli => match self.shell(name) {
                Some(value) => Resolved::Value(value),
                None => Resolved::Unset(name.to_owned()),
            },
            Program::Cursor | Program::VsCode => self.editors(name),
            Program::Windsurf => self.windsurf(name),
            Program::Continue => self.continues(name),
            Program::Other => self.any(name),
        }
    }

    /// `${NAME}` and `${NAME:-default}`.
    fn shell(&self, name: &str) -> Option<String> {
        let (name, default) =
            name.split_once(":-").map_or((name, None), |(name, default)| (name, Some(default)));
        std::env::var(name).ok().or_else(|| default.map(str::to_owned))
    }

    /// Those of VS Code, some of which Cursor has too.
    fn editors(&self, name: &str) -> Resolved {
        if let Some(value) = self.folder(name) {
            return Resolved::Value(value);
        }
        if let Some(variable) = name.strip_prefix("env:") {
            return std::env::var(variable)
                .map_or_else(|_| Resolved::Empty(variable.to_owned()), Resolved::Value);
        }
        match name.split_once(':') {
            Some(("input", input)) => asks_for(input),
            Some(("config" | "command", _)) => Resolved::Impossible(format!(
                "`${{{name}}}` is known to its editor only; put a variable in its place"
            )),
            Some(_) | None => Resolved::Literal,
        }
    }

    fn folder(&self, name: &str) -> Option<String> {
        let home = || std::env::var("HOME").or_else(|_| std::env::var("USERPROFILE")).ok();
        match name {
            "workspaceFolder" | "cwd" => Some(self.workspace.display().to_string()),
            "workspaceFolderBasename" => {
                let name = self.workspace.file_name().unwrap_or_default();
                Some(name.to_string_lossy().into_owned())
            }
            "userHome" => home(),
            "pathSeparator" | "/" => Some(std::path::MAIN_SEPARATOR.to_string()),
            _ => None,
        }
    }

    fn windsurf(&self, name: &str) -> Resolved {
        if let Some(variable) = name.strip_prefix("env:") {
            return std::env::var(variable)
                .map_or_else(|_| Resolved::Empty(variable.to_owned()), Resolved::Value);
        }
        let Some(file) = name.strip_prefix("file:") else { return Resolved::Literal };
        let file = file.strip_prefix("~/").map_or_else(
            || PathBuf::from(file),
            |rest| Path::new(&self.folder("userHome").unwrap_or_default()).join(rest),
        );
        match std::fs::read_to_string(&file) {
            Ok(text) => Resolved::Value(text.trim().to_owned()),
            Err(error) => Resolved::Impossible(format!("{}: {error}", file.display())),
        }
    }

    /// `${{ secrets.NAME }}`, from the files beside the configuration, or from the environment.
    fn continues(&self, name: &str) -> Resolved {
        let Some(secret) = name.strip_prefix("secrets.").or_else(|| name.strip_prefix("inputs."))
        else {
            return Resolved::Literal;
        };
        let value = self.secrets.get(secret).cloned().or_else(|| std::env::var(secret).ok());
        value.map_or_else(|| Resolved::Unset(secret.to_owned()), Resolved::Value)
    }

    /// Every spelling. A variable of the server's own environment counts too: programs such as mcp-remote fill it in.
    fn any(&self, name: &str) -> Resolved {
        if let Some(value) = self.folder(name) {
            return Resolved::Value(value);
        }
        if let Some(input) = name.strip_prefix("input:") {
            return asks_for(input);
        }
        if name.starts_with("secrets.") || name.starts_with("inputs.") {
            return self.continues(name);
        }
        let name = name.strip_prefix("env:").unwrap_or(name);
        let plain = name.split(":-").next().unwrap_or(name);
        let value = self.own.get(plain).cloned().or_else(|| self.shell(name));
        value.map_or_else(
            || Resolved::Impossible(format!("the variable `{plain}` is not set")),
            Resolved::Value,
        )
    }
}

fn asks_for(input: &str) -> Resolved {
    Resolved::Impossible(format!(
        "it asks for the input `{input}`, which only its editor can ask for; put a variable in its place"
    ))
}

/// The variables of a file such as `.env`.
pub(super) fn variables_of(text: &str) -> BTreeMap<String, String> {
    let lines =
        text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    let pairs =
        lines.filter_map(|line| line.strip_prefix("export ").unwrap_or(line).split_once('='));
    let bare = |value: &str| value.trim().trim_matches(['"', '\'']).to_owned();
    pairs.map(|(name, value)| (name.trim().to_owned(), bare(value))).collect()
}
