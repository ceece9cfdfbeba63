//! A skimming reader: whether a JSON text could hold a list, told while it streams by, in memory that does not grow with it.
//!
//! A text holds a list if in a message (the object that is the text, or one that is reached only through arrays) the value of
//! `result` is an object with one of the keys of lists, or an array with objects in it. Keys are decoded, and one that a lenient reader
//! could take for such a key is one. Of everything else only brackets and the ends of strings are looked at, so that a text passes however large, deep or
//! odd it is. Where the structure is broken, readers could disagree about where things stand, and nothing is known: that is told too. Not here: what a list
//! holds, and whether a text is JSON.

mod id;
mod key;
mod scan;

use self::id::Id;
use self::key::{KeyMeaning, KeyReader};
use self::scan::{Byte, byte};
use crate::json::string_run;

/// The lists that are looked for, by their place in [`super::call::LISTS`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted(pub [bool; 4]);

/// What is known of a text so far.
#[derive(Debug)]
pub struct Skim {
    wanted: Wanted,
    state: SkimState,
    level: Container,
    /// What the present member of a message or result is.
    name: KeyMeaning,
    key: KeyReader,
    /// The arrays around the present message.
    arrays: u64,
    /// Objects and arrays that are open within a value that is of no interest.
    below: (u64, u64),
    escaped: bool,
    found: bool,
    broken: bool,
    prose: bool,
    /// Whether nothing more is read once there is something that is no JSON.
    ends_at_prose: bool,
    whole: bool,
    messages: u64,
    id: Id,
    /// Whether the message has a method.
    asks: bool,
    /// Whether it has a result or an error, or what a lenient reader could take for one.
    answers: bool,
}

/// Where the next byte stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum SkimState {
    /// Between the values of the text, or of an array of messages.
    Top,
    /// In what is not JSON, to the end of its line.
    Prose,
    /// Before a key, or the end of an object.
    Member,
    InKey,
    Colon,
    Value,
    AfterValue,
    Scalar,
    Text,
    /// In a value that is of no interest, outside of strings.
    Below,
}

/// What is open around it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Container {
    Top,
    Message,
    Result,
}

impl Skim {
    /// A reader that has seen nothing of a text.
    #[must_use]
    pub fn new(wanted: Wanted) -> Skim {
        Skim {
            wanted,
            state: SkimState::Top,
            level: Container::Top,
            name: KeyMeaning::Other,
            key: KeyReader::default(),
            arrays: 0,
            below: (0, 0),
            escaped: false,
            found: false,
            broken: false,
            prose: false,
            ends_at_prose: false,
            whole: false,
            messages: 0,
            id: Id::default(),
            asks: false,
            answers: false,
        }
    }

    /// The same for a page of which nobody says that it is JSON: what begins as something else is no text at all.
    #[must_use]
    pub fn of_page(wanted: Wanted) -> Skim {
        Skim { ends_at_prose: true, ..Skim::new(wanted) }
    }

    /// Takes the next bytes. `Some` where they make the text one that may hold a list: after so many of them.
    pub fn push(&mut self, bytes: &[u8]) -> Option<usize> {
        let before = self.may_hold_list();
        let mut turned = None;
        let mut at = 0;
        while !(self.broken || self.prose && self.ends_at_prose)
            && let Some(rest) = bytes.get(at..)
            && !rest.is_empty()
        {
            at += self.step(rest);
            if turned.is_none() && !before && self.may_hold_list() {
                turned = Some(at);
            }
        }
        turned
    }

    /// Takes the end of a line that readers could take for the end of the text. Within a string no line ends.
    pub fn line_break(&mut self) -> Option<usize> {
        let before = self.may_hold_list();
        self.broken |= matches!(self.state, SkimState::Text | SkimState::InKey);
        self.push(b"\n");
        (!before && self.may_hold_list()).then_some(0)
    }

    /// Whether a list was found, or nothing is known.
    #[must_use]
    pub fn may_hold_list(&self) -> bool {
        self.found || self.broken
    }

    /// Whether the structure is broken.
    #[must_use]
    pub fn is_broken(&self) -> bool {
        self.broken
    }

    /// Whether something stands there that is no JSON.
    #[must_use]
    pub fn has_prose(&self) -> bool {
        self.prose
    }

    /// Whether the text has ended by its own syntax.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.whole && self.state == SkimState::Top && self.arrays == 0 && !self.broken
    }

    /// The raw id of the one message that the text is, where it can be read without guessing.
    #[must_use]
    pub fn id(&self) -> Option<&str> {
        let clear = self.messages == 1 && !self.broken && !self.prose;
        self.id.raw().filter(|_| clear)
    }

    /// The same of a text that is a request so far: the ids of responses are the other side's.
    #[must_use]
    pub fn request_id(&self) -> Option<&str> {
        self.id().filter(|_| self.asks && !self.answers)
    }

    /// Reads some bytes, at least one.
    fn step(&mut self, rest: &[u8]) -> usize {
        let Some(&first) = rest.first() else { return 0 };
        match self.state {
            SkimState::Text => return self.text(rest),
            SkimState::Below => return self.skip(rest),
            SkimState::Prose => {
                let line = rest.iter().position(|&byte| matches!(byte, b'\n' | b'\r'));
                if line.is_some() {
                    self.state = SkimState::Top;
                }
                return line.unwrap_or(rest.len()).max(1);
            }
            SkimState::InKey => self.in_key(first),
            SkimState::Scalar if byte(first) == Byte::Scalar => self.id.record(&[first]),
            SkimState::Top => self.top(first),
            _ if matches!(first, b' ' | b'\t' | b'\n' | b'\r') => self.end_scalar(),
            SkimState::Scalar | SkimState::AfterValue => {
                self.end_scalar();
                self.after_value(first);
            }
            SkimState::Member => match first {
                b'"' => {
                    self.key.renew();
                    let plain = self.key.take_plain(rest.get(1..).unwrap_or_default());
                    self.state = SkimState::InKey;
                    return 1 + plain;
                }
                b'}' => self.close(),
                _ => self.broken = true,
            },
            SkimState::Colon => self.colon(first),
            SkimState::Value => self.value(first),
        }
        1
    }

    fn top(&mut self, first: u8) {
        match first {
            b'{' => {
                self.begin();
                self.messages += 1;
                if self.arrays > 0 || self.messages > 1 {
                    self.id.doubt();
                }
                (self.level, self.state) = (Container::Message, SkimState::Member);
            }
            b'[' => {
                self.begin();
                self.arrays += 1;
            }
            b']' if self.arrays > 0 => {
                self.arrays -= 1;
                self.whole |= self.arrays == 0;
            }
            b'"' => {
                self.begin();
                self.state = SkimState::Text;
            }
            b' ' | b'\t' | b'\n' | b'\r' => {}
            _ if self.arrays > 0 => {
                self.broken |= !matches!(byte(first), Byte::Scalar | Byte::Separator);
            }
            // Lenient readers skip marks, spaces of other scripts and controls.
            _ if !first.is_ascii_graphic() => {}
            _ => {
                self.prose = true;
                self.state = SkimState::Prose;
            }
        }
    }

    /// The first value of a text, or another one.
    fn begin(&mut self) {
        if self.arrays == 0 && std::mem::take(&mut self.whole) {
            self.messages += 1;
        }
    }

    fn in_key(&mut self, next: u8) {
        if next == b'"' && !self.key.in_escape() {
            self.broken |= self.key.in_character();
            self.name = match self.level {
                Container::Result => self.key.of_result(self.wanted),
                Container::Message | Container::Top => self.key.of_message(),
            };
            self.state = SkimState::Colon;
        } else {
            self.broken |= !self.key.push(next);
        }
    }

    fn colon(&mut self, next: u8) {
        if next != b':' {
            self.broken = true;
            return;
        }
        self.state = SkimState::Value;
        match self.name {
            KeyMeaning::List => self.found = true,
            KeyMeaning::Id => self.id.begin(),
            KeyMeaning::LikeId => self.id.doubt(),
            KeyMeaning::Method => self.asks = true,
            KeyMeaning::Result | KeyMeaning::Error => self.answers = true,
            KeyMeaning::Other => {}
        }
    }

    fn value(&mut self, first: u8) {
        match (first, self.name) {
            (b'{', KeyMeaning::Result) => {
                (self.level, self.state) = (Container::Result, SkimState::Member)
            }
            (b'{' | b'[', name) => {
                if name == KeyMeaning::Id {
                    self.id.doubt();
                }
                self.below = if first == b'{' { (1, 0) } else { (0, 1) };
                self.state = SkimState::Below;
            }
            (b'"', _) => {
                self.id.record(b"\"");
                self.state = SkimState::Text;
            }
            _ if byte(first) == Byte::Scalar => {
                self.id.record(&[first]);
                self.state = SkimState::Scalar;
            }
            _ => self.broken = true,
        }
    }

    fn after_value(&mut self, next: u8) {
        match next {
            b',' => self.state = SkimState::Member,
            b'}' => self.close(),
            _ => self.broken = true,
        }
    }

    /// Ends an object that is looked into.
    fn close(&mut self) {
        match self.level {
            Container::Result => {
                (self.level, self.state) = (Container::Message, SkimState::AfterValue);
                self.name = KeyMeaning::Other;
            }
            Container::Message | Container::Top => {
                (self.level, self.state) = (Container::Top, SkimState::Top);
                self.whole |= self.arrays == 0;
            }
        }
    }

    fn text(&mut self, rest: &[u8]) -> usize {
        if std::mem::take(&mut self.escaped) {
            self.id.record(rest.get(..1).unwrap_or_default());
            return 1;
        }
        let run = string_run(rest);
        let end = (run + 1).min(rest.len());
        self.id.record(rest.get(..end).unwrap_or_default());
        match rest.get(run) {
            Some(b'"') => self.end_text(),
            Some(_) => self.escaped = true,
            None => {}
        }
        end
    }

    fn end_text(&mut self) {
        self.state = match (self.below, self.level) {
            ((0, 0), Container::Top) => {
                self.whole |= self.arrays == 0;
                SkimState::Top
            }
            ((0, 0), Container::Message | Container::Result) => {
                self.id.end();
                SkimState::AfterValue
            }
            _ => SkimState::Below,
        };
    }

    /// Skips what is of no interest, up to the byte after which something else begins.
    fn skip(&mut self, rest: &[u8]) -> usize {
        let special = |next: &u8| !matches!(byte(*next), Byte::Scalar | Byte::Separator);
        let Some(run) = rest.iter().position(special) else { return rest.len() };
        let (objects, arrays) = self.below;
        let below = match rest.get(run) {
            Some(b'"') => {
                self.state = SkimState::Text;
                return run + 1;
            }
            Some(b'{') => {
                // No result of MCP, but what stands in it could be taken for a list.
                self.found |= self.name == KeyMeaning::Result && objects == 0;
                Some((objects + 1, arrays))
            }
            Some(b'[') => Some((objects, arrays + 1)),
            Some(b'}') => objects.checked_sub(1).map(|objects| (objects, arrays)),
            Some(b']') => arrays.checked_sub(1).map(|arrays| (objects, arrays)),
            Some(_) | None => None,
        };
        self.broken |= below.is_none();
        self.below = below.unwrap_or_default();
        if self.below == (0, 0) {
            self.state = SkimState::AfterValue;
        }
        run + 1
    }

    fn end_scalar(&mut self) {
        if self.state == SkimState::Scalar {
            self.state = SkimState::AfterValue;
            self.id.end();
        }
    }
}

#[cfg(test)]
mod tests;
