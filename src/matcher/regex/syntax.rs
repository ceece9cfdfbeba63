//! The syntax of regular expressions: what RE2 and our engine read alike. What they read in two ways is refused with the cure;
//! classes that RE2 keeps to ASCII are rewritten so that the engine does too.

use regex_syntax::ParserBuilder;
use regex_syntax::ast::{self, Ast, ErrorKind, Span, Visitor};
use regex_syntax::hir::Hir;

use crate::bounds::MAX_REGEXES_BYTES;

/// Deepest nesting of groups and repetitions.
const MAX_NESTING: u32 = 64;

/// RE2's own bound of a counted repetition, those within it included.
const MAX_REPEATED: u32 = 1000;

/// What of a pattern is refused, and how to write it instead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnsupportedRegex {
    /// What is refused.
    pub message: String,
    /// The cure.
    pub help: String,
}

impl UnsupportedRegex {
    /// `bytes` are what all patterns up to this one take.
    pub(super) fn too_many(bytes: usize) -> UnsupportedRegex {
        let (sum, most) = (bytes >> 10, MAX_REGEXES_BYTES >> 10);
        UnsupportedRegex {
            message: format!(
                "with it the regular expressions of the configuration take {sum} KiB together, of at most {most} KiB"
            ),
            help: "use fewer or shorter counted repetitions, or `glob`, `starts_with` and `in` where they do; equal patterns count once".to_owned(),
        }
    }

    pub(super) fn too_large() -> UnsupportedRegex {
        UnsupportedRegex {
            message: "it is too large once compiled".to_owned(),
            help: "use smaller counted repetitions, or none: `{2,500}` stands for 500 copies"
                .to_owned(),
        }
    }
}

/// Reads a pattern.
pub(super) fn read(pattern: &str) -> Result<Hir, UnsupportedRegex> {
    let parsed = ast::parse::ParserBuilder::new().nest_limit(MAX_NESTING).build().parse(pattern);
    let ast = parsed.map_err(|error| no_syntax(pattern, &error))?;
    let reading =
        PatternWalk { pattern, edits: Vec::new(), repeated: vec![1], after_repetition: false };
    let edits = ast::visit(&ast, reading)?;
    let rewritten = rewritten(pattern, &edits);
    let parsed = ParserBuilder::new().nest_limit(2 * MAX_NESTING).build().parse(&rewritten);
    parsed.map_err(|error| UnsupportedRegex {
        message: last_line(&error.to_string()),
        help: SYNTAX.to_owned(),
    })
}

const SYNTAX: &str = "the syntax is RE2's: no look-around, no back-references, no \\p{…}";

fn rewritten(pattern: &str, edits: &[(Span, &str)]) -> String {
    let mut text = String::new();
    let mut from = 0;
    for (span, edit) in edits {
        text.push_str(pattern.get(from..span.start.offset).unwrap_or_default());
        text.push_str(edit);
        from = span.end.offset;
    }
    text.push_str(pattern.get(from..).unwrap_or_default());
    text
}

/// What the parser refuses: the engine's own words, with a cure where RE2 would have read it.
fn no_syntax(pattern: &str, error: &ast::Error) -> UnsupportedRegex {
    let span = error.span();
    let piece = pattern.get(span.start.offset..span.end.offset).unwrap_or_default();
    let kind = error.kind();
    let escape = *kind == ErrorKind::EscapeUnrecognized;
    let count = matches!(
        kind,
        ErrorKind::RepetitionCountDecimalEmpty
            | ErrorKind::RepetitionCountUnclosed
            | ErrorKind::DecimalEmpty
            | ErrorKind::RepetitionMissing
    );
    let help = if escape && matches!(piece, "\\Q" | "\\E") {
        "write each character by itself, with `\\` before those that have a meaning"
    } else if escape && piece == "\\C" {
        "write `(?s:.)` for any character"
    } else if escape && piece == "\\Z" {
        "write `\\z` for the end of the text"
    } else if *kind == ErrorKind::UnsupportedBackreference {
        "there are no back-references; write a character by its code as `\\x{…}`"
    } else if count && pattern.contains('{') {
        "write `\\{` for the character `{`"
    } else if *kind == ErrorKind::ClassUnclosed {
        "write `\\[` for the character `[`, in a class too"
    } else {
        SYNTAX
    };
    UnsupportedRegex { message: last_line(&error.to_string()), help: help.to_owned() }
}

/// The crate draws the pattern over several lines; the last one says what is wrong.
fn last_line(text: &str) -> String {
    let last = text.lines().last().unwrap_or_default();
    last.trim_start_matches("error: ").trim_end_matches('.').to_owned()
}

/// Walks a pattern, refusing what RE2 reads otherwise, and noting what is to be written otherwise for our engine.
struct PatternWalk<'p> {
    pattern: &'p str,
    edits: Vec<(Span, &'static str)>,
    /// How often the innermost repetitions stand for their content, all of them together.
    repeated: Vec<u32>,
    /// Whether the last thing seen begins a repetition, so that the next is what it repeats.
    after_repetition: bool,
}

impl PatternWalk<'_> {
    fn piece(&self, span: &Span) -> &str {
        self.pattern.get(span.start.offset..span.end.offset).unwrap_or_default()
    }

    fn refuse(&self, span: &Span, what: &str, help: &str) -> Result<(), UnsupportedRegex> {
        let piece = self.piece(span).escape_debug().to_string().replace("\\\\", "\\");
        Err(UnsupportedRegex { message: format!("`{piece}` is {what}"), help: help.to_owned() })
    }

    fn literal(&self, literal: &ast::Literal) -> Result<(), UnsupportedRegex> {
        use ast::HexLiteralKind::{UnicodeLong, UnicodeShort};
        use ast::LiteralKind::{HexBrace, HexFixed};
        let unicode = matches!(
            literal.kind,
            HexBrace(UnicodeShort | UnicodeLong) | HexFixed(UnicodeShort | UnicodeLong)
        );
        if unicode {
            return self.refuse(&literal.span, "no escape in RE2", "write `\\x{…}`");
        }
        Ok(())
    }

    fn assertion(&mut self, assertion: &ast::Assertion) -> Result<(), UnsupportedRegex> {
        use ast::AssertionKind as Kind;
        let edit = match assertion.kind {
            Kind::StartLine | Kind::EndLine | Kind::StartText | Kind::EndText => return Ok(()),
            Kind::WordBoundary => "(?-u:\\b)",
            Kind::NotWordBoundary => "(?-u:\\B)",
            Kind::WordBoundaryStart
            | Kind::WordBoundaryEnd
            | Kind::WordBoundaryStartAngle
            | Kind::WordBoundaryEndAngle
            | Kind::WordBoundaryStartHalf
            | Kind::WordBoundaryEndHalf => {
                let help =
                    "write `\\b` for the edge of a word, or the character itself without `\\`";
                return self.refuse(&assertion.span, "no edge of a word in RE2", help);
            }
        };
        self.edits.push((assertion.span, edit));
        Ok(())
    }

    /// The ASCII classes: within brackets without brackets of their own, where they are not negated.
    fn perl(&mut self, class: &ast::ClassPerl, within: bool) {
        use ast::ClassPerlKind::{Digit, Space, Word};
        let edit = match (&class.kind, class.negated, within) {
            (Digit, false, true) => "0-9",
            (Digit, false, false) => "[0-9]",
            (Digit, true, _) => "[^0-9]",
            (Space, false, true) => "\\t\\n\\f\\r ",
            (Space, false, false) => "[\\t\\n\\f\\r ]",
            (Space, true, _) => "[^\\t\\n\\f\\r ]",
            (Word, false, true) => "0-9A-Za-z_",
            (Word, false, false) => "[0-9A-Za-z_]",
            (Word, true, _) => "[^0-9A-Za-z_]",
        };
        self.edits.push((class.span, edit));
    }

    /// The beginning of a class, where our engine takes `-` and `]` for themselves and RE2 for the beginning of a range.
    fn class(&self, class: &ast::ClassBracketed) -> Result<(), UnsupportedRegex> {
        let inside = self.piece(&class.span).trim_start_matches('[');
        let inside = inside.strip_prefix('^').unwrap_or(inside);
        let range = inside.strip_prefix("]-").is_some_and(|rest| !rest.starts_with(']'));
        if !range && !inside.starts_with("--") {
            return Ok(());
        }
        let help = "write `\\-` and `\\]` for the characters";
        self.refuse(&class.span, "a range for RE2 and single characters for others", help)
    }

    fn flags(&self, flags: &ast::Flags) -> Result<(), UnsupportedRegex> {
        for item in &flags.items {
            let help = match item.kind {
                ast::FlagsItemKind::Negation => continue,
                ast::FlagsItemKind::Flag(flag) => match flag {
                    ast::Flag::CaseInsensitive
                    | ast::Flag::MultiLine
                    | ast::Flag::DotMatchesNewLine
                    | ast::Flag::SwapGreed => continue,
                    ast::Flag::Unicode => {
                        "leave it out: texts are Unicode, `\\d \\w \\s \\b` ASCII"
                    }
                    ast::Flag::CRLF => "write `\\r?$`, or `[^\\r\\n]` for `.`",
                    ast::Flag::IgnoreWhitespace => {
                        "write the pattern without white space and comments"
                    }
                },
            };
            return self.refuse(&item.span, "no flag in RE2", help);
        }
        Ok(())
    }

    fn repetition(
        &mut self,
        repetition: &ast::Repetition,
        directly: bool,
    ) -> Result<(), UnsupportedRegex> {
        use ast::{RepetitionKind, RepetitionRange as Range};
        let span = &repetition.op.span;
        if directly {
            let help = "put what is repeated in a group: `(?:a*)+`";
            return self.refuse(
                &repetition.span,
                "a repetition of a repetition, which RE2 refuses",
                help,
            );
        }
        let times = match &repetition.op.kind {
            RepetitionKind::ZeroOrOne | RepetitionKind::ZeroOrMore | RepetitionKind::OneOrMore => 1,
            RepetitionKind::Range(range) => {
                let plain =
                    |byte: u8| byte.is_ascii_digit() || matches!(byte, b'{' | b'}' | b',' | b'?');
                let piece = self.piece(span);
                if piece.starts_with("{,") || !piece.bytes().all(plain) {
                    return self.refuse(
                        span,
                        "no repetition in RE2",
                        "write `{0,n}`, or `\\{` for the character",
                    );
                }
                match range {
                    Range::Exactly(times) | Range::AtLeast(times) | Range::Bounded(_, times) => {
                        *times
                    }
                }
            }
        };
        let around = self.repeated.last().copied().unwrap_or(1);
        let all = around.saturating_mul(times.max(1));
        if all > MAX_REPEATED {
            let what = "repeated more than 1000 times, those around it included";
            return self.refuse(&repetition.span, what, "use a smaller count, or `*`");
        }
        self.repeated.push(all);
        Ok(())
    }
}

impl Visitor for PatternWalk<'_> {
    type Output = Vec<(Span, &'static str)>;
    type Err = UnsupportedRegex;

    fn finish(self) -> Result<Self::Output, UnsupportedRegex> {
        Ok(self.edits)
    }

    fn visit_pre(&mut self, ast: &Ast) -> Result<(), UnsupportedRegex> {
        let directly = std::mem::replace(&mut self.after_repetition, false);
        match ast {
            Ast::Flags(set) => self.flags(&set.flags),
            Ast::Literal(literal) => self.literal(literal),
            Ast::Assertion(assertion) => self.assertion(assertion),
            Ast::ClassUnicode(class) => self.refuse(&class.span, NO_CLASS.0, NO_CLASS.1),
            Ast::ClassPerl(class) => {
                self.perl(class, false);
                Ok(())
            }
            Ast::Repetition(repetition) => {
                self.after_repetition = true;
                self.repetition(repetition, directly)
            }
            Ast::Group(group) => match &group.kind {
                ast::GroupKind::NonCapturing(flags) => self.flags(flags),
                ast::GroupKind::CaptureName { name, .. } if !is_plain(&name.name) => self.refuse(
                    &name.span,
                    "no name of a group in RE2",
                    "use letters, digits and `_`",
                ),
                ast::GroupKind::CaptureName { .. } | ast::GroupKind::CaptureIndex(_) => Ok(()),
            },
            Ast::ClassBracketed(class) => self.class(class),
            Ast::Empty(_) | Ast::Dot(_) => Ok(()),
            Ast::Alternation(_) | Ast::Concat(_) => Ok(()),
        }
    }

    fn visit_post(&mut self, ast: &Ast) -> Result<(), UnsupportedRegex> {
        if matches!(ast, Ast::Repetition(_)) {
            self.repeated.pop();
        }
        Ok(())
    }

    fn visit_class_set_item_pre(
        &mut self,
        item: &ast::ClassSetItem,
    ) -> Result<(), UnsupportedRegex> {
        use ast::ClassSetItem as Item;
        match item {
            Item::Literal(literal) => self.literal(literal),
            Item::Range(range) => {
                self.literal(&range.start)?;
                self.literal(&range.end)
            }
            Item::Unicode(class) => self.refuse(&class.span, NO_CLASS.0, NO_CLASS.1),
            Item::Perl(class) => {
                self.perl(class, true);
                Ok(())
            }
            Item::Bracketed(class) => {
                let help = "write `\\[` for the character `[`, or one class without classes in it";
                self.refuse(&class.span, "a class within a class, which RE2 does not have", help)
            }
            Item::Empty(_) | Item::Ascii(_) | Item::Union(_) => Ok(()),
        }
    }

    fn visit_class_set_binary_op_pre(
        &mut self,
        op: &ast::ClassSetBinaryOp,
    ) -> Result<(), UnsupportedRegex> {
        let (sign, help) = match op.kind {
            ast::ClassSetBinaryOpKind::Intersection => ("&&", "write `&` once for the character"),
            ast::ClassSetBinaryOpKind::Difference => {
                ("--", "write `\\-` for the character, at the end of the class")
            }
            ast::ClassSetBinaryOpKind::SymmetricDifference => {
                ("~~", "write `~` once for the character")
            }
        };
        let what = format!("characters for RE2 and a set operation (`{sign}`) for others");
        self.refuse(&op.span, &what, help)
    }
}

const NO_CLASS: (&str, &str) = (
    "a class of Unicode, which is not supported",
    "list the characters, or use a range; `\\w`, `\\d` and `\\s` are ASCII",
);

fn is_plain(name: &str) -> bool {
    name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}
