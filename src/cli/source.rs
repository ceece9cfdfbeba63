//! The documents that commands read: files or standard input, JSON or YAML, with their problems told on stderr.

use std::fs::File;
use std::io::{Read, stdin};
use std::path::Path;

use mcp_policy::json::{Duplicates, Value, parse};
use mcp_policy::policy::compiled::Config;
use mcp_policy::policy::diagnostic::{Code, Diagnostic};

use super::Exit;
use super::tree::print::Format;

/// Documents are written by people; a longer one is something else.
const MAX_BYTES: u64 = 16 << 20;

/// A document as it was read.
pub(super) struct Source {
    /// How messages call it.
    pub(super) name: String,
    /// How it is written.
    pub(super) format: Format,
    bytes: Vec<u8>,
}

impl Source {
    /// Reads a file, or standard input where the path is `-`. A file is YAML by its ending, standard input unless it
    /// begins with `{`.
    ///
    /// # Errors
    /// [`Exit::Unusable`], with the cause on stderr.
    pub(super) fn open(path: &Path) -> Result<Source, Exit> {
        let piped = path == Path::new("-");
        let name = if piped { "<stdin>".to_owned() } else { path.display().to_string() };
        let bytes = read(path, piped).map_err(|problem| {
            eprintln!("{name}: {problem}");
            Exit::Unusable
        })?;
        let yaml = if piped {
            bytes.iter().find(|byte| !byte.is_ascii_whitespace()).is_some_and(|&byte| byte != b'{')
        } else {
            path.extension().is_some_and(|ending| ending == "yaml" || ending == "yml")
        };
        let format = if yaml { Format::Yaml } else { Format::Json };
        Ok(Source { name, format, bytes })
    }

    /// The document, if it is a configuration that the filter would take.
    ///
    /// # Errors
    /// [`Exit::Invalid`], with every problem on stderr; warnings go there too.
    pub(super) fn policy(&self) -> Result<Value<'_>, Exit> {
        let loaded = match self.format {
            Format::Json => Config::load(&self.bytes, "").map(|loaded| (loaded, None)),
            Format::Yaml => self.yaml().and_then(|value| {
                let loaded = Config::compile(&value, "")?;
                Ok((loaded, Some(value)))
            }),
        };
        match loaded {
            Ok((loaded, value)) => {
                self.tell(&loaded.warnings);
                let json =
                    || parse(std::str::from_utf8(&self.bytes).ok()?, Duplicates::Refuse).ok();
                value.or_else(json).ok_or(Exit::Invalid)
            }
            Err(problems) => {
                self.tell(&problems);
                Err(Exit::Invalid)
            }
        }
    }

    fn yaml(&self) -> Result<Value<'static>, Vec<Diagnostic>> {
        let problem =
            |message: String| vec![Diagnostic::error(Code::NotJson, String::new(), message)];
        let text = std::str::from_utf8(&self.bytes)
            .map_err(|_| problem("the file is not UTF-8".to_owned()))?;
        mcp_policy::yaml::read(text).map_err(|fault| problem(fault.to_string()))
    }

    fn tell(&self, problems: &[Diagnostic]) {
        for problem in problems {
            eprintln!("{}: {problem}", self.name);
        }
    }
}

fn read(path: &Path, piped: bool) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    let read = if piped {
        stdin().take(MAX_BYTES + 1).read_to_end(&mut bytes)
    } else {
        File::open(path).and_then(|file| file.take(MAX_BYTES + 1).read_to_end(&mut bytes))
    };
    read.map_err(|error| format!("cannot be read: {error}"))?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(format!("longer than {MAX_BYTES} bytes: not a policy"));
    }
    Ok(bytes)
}

/// Writes a result to the file, or to standard output.
pub(super) fn deliver(text: &str, output: Option<&Path>) -> Exit {
    use std::io::Write as _;

    let written = match output {
        Some(path) => {
            std::fs::write(path, text).map_err(|error| format!("{}: {error}", path.display()))
        }
        None => std::io::stdout().write_all(text.as_bytes()).map_err(|error| error.to_string()),
    };
    match written {
        Ok(()) => Exit::Ok,
        Err(problem) => {
            eprintln!("cannot write: {problem}");
            Exit::Unusable
        }
    }
}
