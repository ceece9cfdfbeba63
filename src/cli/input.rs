//! Reading what the user names: bounded, and with one clear message where it cannot be.

use std::fs::File;
use std::io::{ErrorKind, Read, stdin};
use std::path::Path;

use mcp_policy::gateway::is_gateway;
use mcp_policy::json::{Bounds, Value};
use mcp_policy::language::suggest::nearest;
use mcp_policy::policy::compiled::Config;
use mcp_policy::source::{Problem, SourceText};

use super::report;

/// Policies are written by people; a larger file is another one.
const MAX_FILE_BYTES: u64 = 16 << 20;

/// The name of standard input, on the command line.
pub(super) const STDIN: &str = "-";

/// What is wrong with documents that belong together, by document.
pub(super) type ByFile = Vec<(SourceText, Vec<Problem>)>;

/// Why something that was named cannot be used: it has been said, or is to be said in one line.
#[derive(Debug)]
pub(super) enum CliError {
    /// One line, with the name of what is in trouble.
    Line(String),
    /// What is wrong with a document.
    Document(Box<SourceText>, Vec<Problem>),
    /// What is wrong with documents that belong together.
    Documents(ByFile),
}

/// Reads a file, or standard input, as bytes.
pub(super) fn bytes(file: &Path) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    let read = if file == Path::new(STDIN) {
        stdin().take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes)
    } else {
        File::open(file).and_then(|file| {
            if file.metadata()?.len() > MAX_FILE_BYTES {
                return Err(ErrorKind::FileTooLarge.into());
            }
            file.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes)
        })
    };
    match read {
        Ok(_) if bytes.len() as u64 <= MAX_FILE_BYTES => Ok(bytes),
        Err(error) if error.kind() != ErrorKind::FileTooLarge => {
            Err(format!("{}{}", unreadable_line(&name(file), &error), cure(file, error.kind())))
        }
        Ok(_) | Err(_) => {
            let most = MAX_FILE_BYTES >> 20;
            Err(format!("{}: longer than {most} MiB, which no policy is", name(file)))
        }
    }
}

/// What to do about a file that cannot be read, where it can be guessed.
fn cure(file: &Path, kind: ErrorKind) -> String {
    let beside = || {
        let name = file.file_name()?.to_str()?;
        let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty());
        let items = std::fs::read_dir(folder.unwrap_or(Path::new("."))).ok()?.take(1000);
        let names: Vec<String> =
            items.filter_map(|item| item.ok()?.file_name().into_string().ok()).collect();
        let near = nearest(name, names.iter().map(String::as_str))?;
        Some(format!("; did you mean `{}`?", file.with_file_name(near).display()))
    };
    if kind == ErrorKind::NotFound {
        beside().unwrap_or_default()
    } else if kind == ErrorKind::IsADirectory {
        "; name a file in it".to_owned()
    } else {
        String::new()
    }
}

/// Reads a document.
pub(super) fn source(file: &Path) -> Result<SourceText, CliError> {
    let bytes = bytes(file).map_err(CliError::Line)?;
    SourceText::new(&name(file), bytes).map_err(|problem| {
        let source = SourceText::not_text(&name(file));
        CliError::Document(Box::new(source), vec![*problem])
    })
}

/// Reads the text of a document.
pub(super) fn value(source: &SourceText) -> Result<Value<'_>, CliError> {
    source.value().map_err(|problem| CliError::Document(Box::new(source.clone()), vec![*problem]))
}

/// Reads the text of a call, which may be as deep and large as any request.
pub(super) fn call(source: &SourceText) -> Result<Value<'_>, CliError> {
    let read = source.value_within(Bounds::of_any_body());
    read.map_err(|problem| CliError::Document(Box::new(source.clone()), vec![*problem]))
}

/// Reads a policy that is to be used. Its warnings are left to `validate`.
pub(super) fn policy(file: &Path) -> Result<(SourceText, Config), CliError> {
    usable(source(file)?)
}

/// The same of a text that was read: standard input can be read once.
pub(super) fn usable(source: SourceText) -> Result<(SourceText, Config), CliError> {
    if source.value().is_ok_and(|value| is_gateway(&value)) {
        let line = "it is a gateway file; `mcp-policy render FILE --for json` writes the configuration that comes of it";
        return Err(CliError::Line(format!("{}: {line}", source.name)));
    }
    let (config, problems) = source.compile();
    match config {
        Some(config) => Ok((source, config)),
        None => Err(CliError::Document(Box::new(source), problems)),
    }
}

/// The endings of documents.
pub(super) const ENDINGS: [&str; 3] = ["yaml", "yml", "json"];

/// The name of the policy that a file has the tests of, without its ending; none if the file is not named as tests are.
pub(super) fn tested(file: &Path) -> Option<&str> {
    let name = file.file_name()?.to_str()?;
    ENDINGS.iter().find_map(|ending| name.strip_suffix(ending)?.strip_suffix(".test."))
}

/// How a file is called in messages.
pub(super) fn name(file: &Path) -> String {
    if file == Path::new(STDIN) { "standard input".to_owned() } else { file.display().to_string() }
}

impl CliError {
    /// Tells it on standard error.
    pub(super) fn tell(&self) {
        match self {
            CliError::Line(line) => report::trouble(line),
            CliError::Document(source, problems) => report::problems(source, problems, false),
            CliError::Documents(found) => {
                found
                    .iter()
                    .for_each(|(source, problems)| report::problems(source, problems, false));
            }
        }
    }
}

/// The trouble of a file that cannot be read.
pub(super) fn unreadable(name: &str, error: &std::io::Error) -> CliError {
    CliError::Line(unreadable_line(name, error))
}

fn unreadable_line(name: &str, error: &std::io::Error) -> String {
    format!("{name}: cannot be read: {}", error)
}
