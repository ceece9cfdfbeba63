//! Printing: in colour only on a terminal, without a panic where nobody reads, and without anything that a terminal obeys but
//! colours, as policies, calls and servers are not the author's own.

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
    end_if_failed(writeln!(anstream::stdout(), "{}", harmless(&line.to_string())));
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
    let _ = writeln!(anstream::stderr(), "{}", harmless(&line.to_string()));
}

/// The text with its line breaks and colours, and every other character that steers a terminal or turns the direction of text
/// as an escape.
fn harmless(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(character) = rest.chars().next() {
        let taken = match colour(rest) {
            Some(sequence) => {
                shown.push_str(sequence);
                sequence.len()
            }
            None if steers(character) => {
                shown.extend(character.escape_unicode());
                character.len_utf8()
            }
            None => {
                shown.push(character);
                character.len_utf8()
            }
        };
        rest = rest.get(taken..).unwrap_or_default();
    }
    shown
}

/// The sequence at the start of the text, if it does no more than colour: [ECMA-48](https://ecma-international.org/publications-and-standards/standards/ecma-48/),
/// 8.3.117, without what hides text.
fn colour(text: &str) -> Option<&str> {
    let parameters = text.strip_prefix("\u{1b}[")?.split('m').next()?;
    let plain = |parameter: &str| {
        matches!(parameter.parse(), Ok(0u8..=4 | 30..=37 | 39 | 90..=97)) || parameter.is_empty()
    };
    let sequence = text.get(.."\u{1b}[".len() + parameters.len() + 1)?;
    parameters.split(';').all(plain).then_some(sequence)
}

fn steers(character: char) -> bool {
    let direction = matches!(
        character,
        '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
    );
    direction || character.is_control() && !matches!(character, '\n' | '\t')
}

#[cfg(test)]
mod tests {
    use super::harmless;

    #[test]
    fn only_colours_reach_a_terminal() {
        for (text, shown) in [
            ("plain\n\ttext é 工具", "plain\n\ttext é 工具"),
            ("\u{1b}[1m\u{1b}[94mbold blue\u{1b}[0m", "\u{1b}[1m\u{1b}[94mbold blue\u{1b}[0m"),
            ("\u{1b}[1;31mred\u{1b}[m", "\u{1b}[1;31mred\u{1b}[m"),
            ("\u{1b}[8mhidden", "\\u{1b}[8mhidden"),
            ("\u{1b}[2J\u{1b}[Hgone m", "\\u{1b}[2J\\u{1b}[Hgone m"),
            ("\u{1b}]0;title\u{7}", "\\u{1b}]0;title\\u{7}"),
            ("\u{9b}31m\r\u{8}\0", "\\u{9b}31m\\u{d}\\u{8}\\u{0}"),
            ("\u{202e}evil\u{2069}", "\\u{202e}evil\\u{2069}"),
            ("\u{1b}[", "\\u{1b}["),
            ("\u{1b}", "\\u{1b}"),
            ("\u{1b}[38;5;1m", "\\u{1b}[38;5;1m"),
            ("", ""),
        ] {
            assert_eq!(harmless(text), shown, "{text:?}");
        }
    }
}
