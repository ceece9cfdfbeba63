//! Results that are documents: to standard output or a file, with notes for the author beside them.

use std::fs::{self, File, Permissions};
use std::io::{self, ErrorKind, Write as _};
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::{Exit, Format, report};

/// Where a result is written: the same options at every sub-command that writes one.
#[derive(Clone, Debug, Default, clap::Args)]
pub(super) struct OutputFile {
    /// Where to write the result, instead of standard output (`-`).
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Replaces files that are there already.
    #[arg(long)]
    pub(super) force: bool,
}

impl OutputFile {
    /// The file, where it is not standard output.
    pub(super) fn file(&self) -> Option<&Path> {
        self.output.as_deref().filter(|file| *file != Path::new("-"))
    }

    /// Another file of the same command.
    pub(super) fn at(&self, file: &Path) -> OutputFile {
        OutputFile { output: Some(file.to_owned()), force: self.force }
    }

    /// Whether this file may be written: what somebody has worked on is not to be lost.
    ///
    /// # Errors
    /// Where it is there already, and nothing says that it may be replaced.
    pub(super) fn free(&self, file: &Path) -> Result<(), String> {
        // Without following links: what is written through one that leads nowhere yet ends up somewhere else.
        let found = file.symlink_metadata();
        let kept = found.is_ok_and(|found| found.is_file() || found.is_symlink());
        if kept && !self.force {
            return Err(format!("{} is there already; --force replaces it", file.display()));
        }
        Ok(())
    }
}

/// What an author should know of a result: a place, and what became of it.
#[derive(Debug, Serialize)]
pub(super) struct Note {
    /// Where, as a path into the document.
    place: String,
    /// What.
    note: String,
}

/// The notes on a result.
#[derive(Debug, Default)]
pub(super) struct Notes(Vec<Note>);

/// A result, as `--format json` has it.
#[derive(Serialize)]
struct JsonResult<'w> {
    /// The file in which it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    file: Option<String>,
    /// The result itself, where no file was named.
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<&'w str>,
    notes: &'w [Note],
}

impl Notes {
    /// Adds one.
    pub(super) fn add(&mut self, place: &str, note: impl Into<String>) {
        self.0.push(Note { place: place.to_owned(), note: note.into() });
    }

    /// Several on the same place.
    pub(super) fn on(place: &str, notes: Vec<String>) -> Notes {
        Notes(notes.into_iter().map(|note| Note { place: place.to_owned(), note }).collect())
    }

    /// Writes a result with its notes: the notes of `name` on standard error, or all in one JSON document.
    pub(super) fn deliver(
        &self,
        name: &str,
        text: &str,
        output: &OutputFile,
        format: Format,
    ) -> Exit {
        if format == Format::Human {
            for note in &self.0 {
                report::note(&format!("{name}: {}: {}", note.place, note.note));
            }
            return deliver(text, output);
        }
        let file = output.file().map(|file| file.display().to_string());
        let exit = if file.is_some() { deliver(text, output) } else { Exit::Ok };
        if exit == Exit::Ok {
            let text = file.is_none().then_some(text);
            report::json(&JsonResult { file, text, notes: &self.0 });
        }
        exit
    }
}

/// Writes a result to a file, or to standard output.
pub(super) fn deliver(text: &str, output: &OutputFile) -> Exit {
    let Some(file) = output.file() else {
        super::out::verbatim(text);
        return Exit::Ok;
    };
    match written(text, file, output) {
        Ok(()) => Exit::Ok,
        Err(line) => {
            report::trouble(&line);
            Exit::Unusable
        }
    }
}

/// Puts a file in the place of another in one step: no reader sees a part of it. With these permissions, where there are any.
pub(super) fn put_in_place(
    file: &Path,
    text: &str,
    permissions: Option<Permissions>,
) -> io::Result<()> {
    let mut name = file.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.new", std::process::id()));
    let new = file.with_file_name(name);
    let written = File::options().write(true).create_new(true).open(&new).and_then(|mut open| {
        permissions.map_or(Ok(()), |permissions| open.set_permissions(permissions))?;
        open.write_all(text.as_bytes())?;
        open.sync_all()
    });
    let placed = written.and_then(|()| fs::rename(&new, file));
    if placed.is_err() {
        // What is left of it is of no use to anybody; that it cannot be removed either is not the trouble.
        let _ = fs::remove_file(&new);
    }
    placed
}

fn written(text: &str, file: &Path, output: &OutputFile) -> Result<(), String> {
    // What is there already in these very words is not lost.
    if fs::read(file).is_ok_and(|found| found == text.as_bytes()) {
        return Ok(());
    }
    output.free(file)?;
    let mut options = fs::OpenOptions::new();
    options.write(true).create(true).truncate(true);
    let written = options.open(file).and_then(|mut file| file.write_all(text.as_bytes()));
    written.map_err(|error| {
        let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty());
        let cure = match folder {
            Some(folder) if error.kind() == ErrorKind::NotFound => {
                format!("; make the folder first: mkdir -p {}", folder.display())
            }
            Some(_) | None => String::new(),
        };
        format!("{}: cannot be written: {error}{cure}", file.display())
    })
}
