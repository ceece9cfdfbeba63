//! The files behind the page: the page itself, the policy, and the tests beside it.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use mcp_policy::json::{Bounds, Duplicates, Object, Value, parse_within, written};
use serde::Serialize;

use crate::cli::input::ENDINGS;
use crate::cli::output::put_in_place;

/// Where the page says that it may ask nobody for anything. Here it may ask this server.
const SILENT: &str = "connect-src 'none'";
const TO_US: &str = "connect-src 'self'";

/// Before this the policy is put into the page.
const ENGINE: &str = "<script type=\"text/plain\" id=\"engine\">";

/// A file, and what it held when it was last read or written here.
#[derive(Debug)]
struct KnownFile {
    path: PathBuf,
    text: Mutex<Option<String>>,
}

/// All of them.
#[derive(Debug)]
pub(super) struct PageFiles {
    page: String,
    policy: KnownFile,
    tests: KnownFile,
}

/// What the page is told of them.
#[derive(Serialize)]
struct GivenFiles<'g> {
    file: &'g str,
    token: &'g str,
    text: &'g str,
    tests: &'g str,
}

impl PageFiles {
    /// Reads them; a policy or tests that are not there are empty.
    ///
    /// # Errors
    /// Which one cannot be read.
    pub(super) fn open(policy: &Path, page: &Path) -> Result<PageFiles, String> {
        let index = page.join("index.html");
        let html = fs::read_to_string(&index).map_err(|error| {
            format!(
                "{}: cannot be read: {error}; `make page` builds it, --page says where it is",
                index.display()
            )
        })?;
        if !html.contains(SILENT) || !html.contains(ENGINE) {
            return Err(format!("{}: not the page of mcp-policy", index.display()));
        }
        let stem = policy.file_stem().and_then(|stem| stem.to_str()).unwrap_or("policy");
        let beside = ENDINGS.map(|ending| policy.with_file_name(format!("{stem}.test.{ending}")));
        let tests = beside.iter().find(|path| path.exists()).or(beside.first());
        let tests = tests.cloned().unwrap_or_default();
        let policy = KnownFile::open(policy.to_owned())?;
        Ok(PageFiles { page: html, policy, tests: KnownFile::open(tests)? })
    }

    /// What the policy is called.
    pub(super) fn stem(&self) -> &str {
        self.policy.path.file_stem().and_then(|stem| stem.to_str()).unwrap_or("policy")
    }

    /// The page, with the files as they are now.
    pub(super) fn page(&self, token: &str) -> Result<String, String> {
        let (text, tests) = (self.policy.read()?, self.tests.read()?);
        let name = self.policy.path.file_name().unwrap_or_default().to_string_lossy();
        let given = GivenFiles { file: &name, token, text: &text, tests: &tests };
        // What stands in it ends no element.
        let given = written(&given).replace('<', "\\u003c");
        let given = format!("<script type=\"application/json\" id=\"served\">{given}</script>\n");
        let page = self.page.replacen(SILENT, TO_US, 1);
        Ok(page.replacen(ENGINE, &format!("{given}{ENGINE}"), 1))
    }

    /// Saves what the page sends: `{"text": …, "tests": …}`.
    ///
    /// # Errors
    /// Why nothing was saved, or not all.
    pub(super) fn save(&self, body: &[u8]) -> Result<(), String> {
        let unread = || "what the page sends cannot be read".to_owned();
        let told = told(body).ok_or_else(unread)?;
        let member = |key| told.get(key).and_then(Value::as_str);
        let text = member("text").ok_or_else(unread)?;
        self.policy.write(text)?;
        match member("tests") {
            None | Some("") => Ok(()),
            Some(tests) => self.tests.write(tests),
        }
    }
}

/// What the page sends: an object.
pub(super) fn told(body: &[u8]) -> Option<Object<'_>> {
    let text = std::str::from_utf8(body).ok()?;
    let Ok(Value::Object(object)) = parse_within(text, Duplicates::Refuse, Bounds::DOCUMENT) else {
        return None;
    };
    Some(object)
}

impl KnownFile {
    /// Follows links, so that what they lead to is written, and not they.
    fn open(path: PathBuf) -> Result<KnownFile, String> {
        let path = path.canonicalize().unwrap_or(path);
        let file = KnownFile { path, text: Mutex::default() };
        file.read()?;
        Ok(file)
    }

    fn current(&self) -> Result<Option<String>, String> {
        match fs::read_to_string(&self.path) {
            Ok(text) => Ok(Some(text)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(format!("{}: cannot be read: {error}", self.path.display())),
        }
    }

    fn read(&self) -> Result<String, String> {
        let text = self.current()?;
        if let Ok(mut known) = self.text.lock() {
            known.clone_from(&text);
        }
        Ok(text.unwrap_or_default())
    }

    /// Writes the file whole, unless somebody else has changed it since.
    fn write(&self, text: &str) -> Result<(), String> {
        let shown = self.path.display();
        let mut known = self.text.lock().map_err(|_| "an earlier save has failed".to_owned())?;
        let current = self.current()?;
        if current.as_deref() == Some(text) {
            return Ok(());
        }
        if current != *known {
            return Err(format!("{shown} has been changed by somebody else: reload the page"));
        }
        let failed = |error| format!("{shown}: cannot be written: {error}");
        // Nobody reads it who could not read the old one.
        let permissions = fs::metadata(&self.path).ok().map(|old| old.permissions());
        put_in_place(&self.path, text, permissions).map_err(failed)?;
        *known = Some(text.to_owned());
        Ok(())
    }
}
