//! Printing: in colour only on a terminal, and without a panic where nobody reads.

use std::fmt;
use std::io::{ErrorKind, Write as _};
use std::process::exit;

use super::Exit;

/// Prints a line on standard output. If nobody reads it (`mcp-policy … | head`) the command ends without a word; if it cannot
/// be written, with one.
macro_rules! out {
    ($($arguments:tt)*) => { $crate::cli::out::stdout(format_args!($($arguments)*)) };
}

/// Prints a line on standard error.
macro_rules! err {
    ($($arguments:tt)*) => { $crate::cli::out::stderr(format_args!($($arguments)*)) };
}

pub(super) use {err, out};

pub(super) fn stdout(line: fmt::Arguments<'_>) {
    end_if_failed(writeln!(anstream::stdout(), "{line}"));
}

/// Prints a document on standard output, byte by byte as it is.
pub(super) fn verbatim(text: &str) {
    let mut out = std::io::stdout().lock();
    end_if_failed(out.write_all(text.as_bytes()).and_then(|()| out.flush()));
}

fn end_if_failed(written: std::io::Result<()>) {
    if let Err(error) = written {
        if error.kind() != ErrorKind::BrokenPipe {
            err!("error: standard output cannot be written: {error}");
        }
        exit(Exit::Unusable as i32);
    }
}

pub(super) fn stderr(line: fmt::Arguments<'_>) {
    // There is nowhere left to say that it failed.
    let _ = writeln!(anstream::stderr(), "{line}");
}
