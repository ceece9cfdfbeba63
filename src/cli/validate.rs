//! `mcp-policy validate`: what the filter would say of a configuration.

use std::fs::File;
use std::io::{Read, stdin};
use std::path::Path;

use mcp_policy::policy::Loaded;
use mcp_policy::policy::compiled::Config;
use mcp_policy::policy::diagnostic::{Code, Diagnostic};

use super::Exit;

/// Policies are written by people; a larger file is another one.
const MAX_FILE_BYTES: u64 = 16 << 20;

/// Checks every file and prints what is wrong with it. The worst one decides the exit code.
pub(super) fn run(files: &[impl AsRef<Path>]) -> Exit {
    files.iter().map(|file| check(file.as_ref())).max().unwrap_or(Exit::Ok)
}

fn check(file: &Path) -> Exit {
    let name = file.display();
    let bytes = match read(file) {
        Ok(bytes) => bytes,
        Err(problem) => {
            eprintln!("{name}: {problem}");
            return Exit::Unusable;
        }
    };
    match load(file, &bytes) {
        Ok(loaded) => {
            for warning in &loaded.warnings {
                eprintln!("{name}: {warning}");
            }
            println!("{name}: valid");
            Exit::Ok
        }
        Err(problems) => {
            for problem in &problems {
                eprintln!("{name}: {problem}");
            }
            Exit::Invalid
        }
    }
}

fn load(file: &Path, bytes: &[u8]) -> Result<Loaded, Vec<Diagnostic>> {
    let yaml = file.extension().is_some_and(|ending| ending == "yaml" || ending == "yml");
    if !yaml {
        return Config::load(bytes, "");
    }
    let not_yaml = |message: String| vec![Diagnostic::error(Code::NotJson, String::new(), message)];
    let text =
        std::str::from_utf8(bytes).map_err(|_| not_yaml("the file is not UTF-8".to_owned()))?;
    let value = mcp_policy::yaml::read(text).map_err(|fault| not_yaml(fault.to_string()))?;
    Config::compile(&value, "")
}

fn read(file: &Path) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    let read = if file == Path::new("-") {
        stdin().take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes)
    } else {
        File::open(file).and_then(|file| file.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes))
    };
    read.map_err(|error| format!("cannot be read: {error}"))?;
    if bytes.len() as u64 > MAX_FILE_BYTES {
        return Err(format!("longer than {MAX_FILE_BYTES} bytes: not a policy"));
    }
    Ok(bytes)
}
