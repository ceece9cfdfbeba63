//! Where every value of a document is, by its path.

use std::collections::HashMap;
use std::ops::Range;

use saphyr_parser::{Event, Parser, Span};

use super::Problem;
use crate::json::pointer::escaped;
use crate::language::diagnostic::{Code, Diagnostic};
use crate::language::reader::push_key;

/// The place of one value.
#[derive(Clone, Debug)]
struct ValueSpan {
    /// The bytes of its key, where it is the value of a member.
    key: Option<Range<usize>>,
    /// The bytes of the value; of a list or object, its first.
    value: Range<usize>,
    /// Whether the value is a list or an object.
    container: bool,
    /// The keys of further members by the same name.
    again: Vec<Range<usize>>,
}

/// Where every value of a document is.
#[derive(Clone, Debug, Default)]
pub struct Spans {
    by_place: HashMap<String, ValueSpan>,
    places: HashMap<String, String>,
    newlines: Vec<usize>,
}

fn newlines(text: &str) -> Vec<usize> {
    text.match_indices('\n').map(|(at, _)| at).collect()
}

/// A path that grows and shrinks while a document is walked.
#[derive(Clone, Debug, Default)]
struct Trail {
    place: String,
    pointer: String,
}

impl Spans {
    /// The line of a JSON Pointer, from 1; of its nearest parent where the document does not have it.
    #[must_use]
    pub fn line(&self, pointer: &str) -> Option<usize> {
        let mut pointer = pointer;
        loop {
            if let Some(range) = self.range(pointer) {
                return Some(self.newlines.partition_point(|&newline| newline < range.start) + 1);
            }
            pointer = pointer.rsplit_once('/')?.0;
        }
    }

    /// The bytes of a JSON Pointer: a scalar itself, a list or object by its key or first character.
    #[must_use]
    pub fn range(&self, pointer: &str) -> Option<Range<usize>> {
        self.places.get(pointer).and_then(|place| self.by_place.get(place)).map(ValueSpan::shown)
    }

    /// Finds the place of a problem.
    pub(super) fn locate(&self, diagnostic: Diagnostic) -> Problem {
        let Some(spot) = self.by_place.get(&diagnostic.place) else {
            return Problem { diagnostic, at: None, earlier: None };
        };
        let (at, earlier) = match (diagnostic.code, spot.again.first()) {
            (Code::DuplicateKey, Some(again)) => (again.clone(), spot.key.clone()),
            (Code::UnknownField, _) => (spot.key.clone().unwrap_or(spot.value.clone()), None),
            _ => (spot.shown(), None),
        };
        let earlier = earlier.or_else(|| {
            let place = diagnostic.earlier.as_ref()?;
            self.by_place.get(place).map(ValueSpan::shown)
        });
        Problem { diagnostic, at: Some(at), earlier }
    }

    fn add(
        &mut self,
        trail: &Trail,
        key: Option<Range<usize>>,
        value: Range<usize>,
        kind: NodeShape,
    ) {
        // Of a duplicate, the reader of the document takes the first.
        if let Some(known) = self.by_place.get_mut(&trail.place) {
            known.again.extend(key);
            return;
        }
        self.places.insert(trail.pointer.clone(), trail.place.clone());
        let container = kind == NodeShape::Container;
        let spot = ValueSpan { key, value, container, again: Vec::new() };
        self.by_place.insert(trail.place.clone(), spot);
    }

    /// The spans of a text that is one JSON value.
    pub(super) fn of_json(text: &str) -> Spans {
        let spans = Spans { newlines: newlines(text), ..Spans::default() };
        let mut walk = JsonWalk { text, at: 0, spans };
        walk.skip_space();
        walk.value(&mut Trail::default(), None);
        walk.spans
    }

    /// The spans of a text that is one YAML document, without anchors, aliases and tags.
    pub(super) fn of_yaml(text: &str) -> Spans {
        let parser = Parser::new_from_str(text);
        let mut walk = YamlWalk {
            parser,
            cursor: Cursor { text, bytes: 0, chars: 0 },
            spans: Spans { newlines: newlines(text), ..Spans::default() },
        };
        while let Some((event, span)) = walk.next() {
            let around = matches!(
                event,
                Event::StreamStart
                    | Event::StreamEnd
                    | Event::DocumentStart(_)
                    | Event::DocumentEnd
            );
            if !around {
                walk.value(&event, span, &mut Trail::default(), None);
            }
        }
        walk.spans
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum NodeShape {
    Scalar,
    Container,
}

impl ValueSpan {
    /// What to point at: a scalar itself, a list or object by its key.
    fn shown(&self) -> Range<usize> {
        match &self.key {
            Some(key) if self.container => key.clone(),
            Some(_) | None => self.value.clone(),
        }
    }
}

impl Trail {
    /// Walks into a member or an element, and back.
    fn within(&mut self, key: &str, go: impl FnOnce(&mut Trail)) {
        let (place, pointer) = (self.place.len(), self.pointer.len());
        push_key(&mut self.place, key);
        self.pointer.push('/');
        self.pointer.push_str(&escaped(key));
        go(self);
        self.place.truncate(place);
        self.pointer.truncate(pointer);
    }

    fn at(&mut self, index: usize, go: impl FnOnce(&mut Trail)) {
        let (place, pointer) = (self.place.len(), self.pointer.len());
        self.place.push_str(&format!("[{index}]"));
        self.pointer.push_str(&format!("/{index}"));
        go(self);
        self.place.truncate(place);
        self.pointer.truncate(pointer);
    }
}

/// A walk over text that the parser has found to be JSON.
struct JsonWalk<'t> {
    text: &'t str,
    at: usize,
    spans: Spans,
}

impl JsonWalk<'_> {
    fn value(&mut self, trail: &mut Trail, key: Option<Range<usize>>) {
        let start = self.at;
        match self.peek() {
            Some(b'{') => {
                self.spans.add(trail, key, start..start + 1, NodeShape::Container);
                self.at += 1;
                self.object(trail);
            }
            Some(b'[') => {
                self.spans.add(trail, key, start..start + 1, NodeShape::Container);
                self.at += 1;
                self.array(trail);
            }
            Some(b'"') => {
                self.string();
                self.spans.add(trail, key, start..self.at, NodeShape::Scalar);
            }
            Some(_) | None => {
                self.skip(|byte| !b" \t\r\n,]}".contains(&byte));
                self.spans.add(trail, key, start..self.at, NodeShape::Scalar);
            }
        }
    }

    fn object(&mut self, trail: &mut Trail) {
        while self.more(b'}') {
            let start = self.at;
            self.string();
            let range = start..self.at;
            let decoded = self.text.get(range.clone()).map(parse_key);
            self.skip(|byte| b" \t\r\n:".contains(&byte));
            trail.within(&decoded.unwrap_or_default(), |trail| self.value(trail, Some(range)));
        }
    }

    fn array(&mut self, trail: &mut Trail) {
        let mut index = 0;
        while self.more(b']') {
            trail.at(index, |trail| self.value(trail, None));
            index += 1;
        }
    }

    /// Moves to the next element, or past the end.
    fn more(&mut self, end: u8) -> bool {
        self.skip(|byte| b" \t\r\n,".contains(&byte));
        let ends = self.peek().is_none_or(|byte| byte == end);
        if ends {
            self.at += 1;
        }
        !ends
    }

    fn string(&mut self) {
        self.at += 1;
        while let Some(byte) = self.peek() {
            self.at += if byte == b'\\' { 2 } else { 1 };
            if byte == b'"' {
                return;
            }
        }
    }

    fn skip_space(&mut self) {
        self.skip(|byte| b" \t\r\n".contains(&byte));
    }

    fn skip(&mut self, skipped: impl Fn(u8) -> bool) {
        while self.peek().is_some_and(&skipped) {
            self.at += 1;
        }
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }
}

fn parse_key(raw: &str) -> String {
    let value = crate::json::parse(raw, crate::json::Duplicates::Keep);
    value.ok().and_then(|value| value.as_str().map(str::to_owned)).unwrap_or_default()
}

/// A walk over the events of a document that `yaml` has found fit to read.
struct YamlWalk<'t> {
    parser: Parser<'t, saphyr_parser::StrInput<'t>>,
    cursor: Cursor<'t>,
    spans: Spans,
}

impl<'t> YamlWalk<'t> {
    fn next(&mut self) -> Option<(Event<'t>, Span)> {
        self.parser.next()?.ok()
    }

    fn value(
        &mut self,
        event: &Event<'_>,
        span: Span,
        trail: &mut Trail,
        key: Option<Range<usize>>,
    ) {
        let start = self.cursor.byte(span.start.index());
        // A mapping without brackets begins with its first key, of which any letter may be the first.
        let first = self.cursor.text.get(start..).and_then(|text| text.chars().next());
        let opening = start..start + first.map_or(0, char::len_utf8);
        if matches!(event, Event::MappingStart(..)) {
            self.spans.add(trail, key, opening, NodeShape::Container);
            self.mapping(trail);
        } else if matches!(event, Event::SequenceStart(..)) {
            self.spans.add(trail, key, opening, NodeShape::Container);
            self.sequence(trail);
        } else {
            let end = self.cursor.byte(span.end.index()).max(start);
            self.spans.add(trail, key, start..end, NodeShape::Scalar);
        }
    }

    fn mapping(&mut self, trail: &mut Trail) {
        while let Some((Event::Scalar(name, ..), span)) = self.next() {
            let range = self.cursor.byte(span.start.index())..self.cursor.byte(span.end.index());
            let Some((event, span)) = self.next() else { return };
            trail.within(&name, |trail| self.value(&event, span, trail, Some(range)));
        }
    }

    fn sequence(&mut self, trail: &mut Trail) {
        let mut index = 0;
        while let Some((event, span)) = self.next() {
            if event == Event::SequenceEnd {
                return;
            }
            trail.at(index, |trail| self.value(&event, span, trail, None));
            index += 1;
        }
    }
}

/// From the parser's character offsets, which hardly go back, to bytes.
struct Cursor<'t> {
    text: &'t str,
    bytes: usize,
    chars: usize,
}

impl Cursor<'_> {
    fn byte(&mut self, chars: usize) -> usize {
        if chars < self.chars {
            let before = self.text.get(..self.bytes).unwrap_or_default();
            let back = before.char_indices().rev().nth(self.chars - chars - 1);
            self.bytes = back.map_or(0, |(at, _)| at);
        } else {
            let after = self.text.get(self.bytes..).unwrap_or_default();
            let ahead = after.char_indices().nth(chars - self.chars);
            self.bytes = ahead.map_or(self.text.len(), |(at, _)| self.bytes + at);
        }
        self.chars = chars;
        self.bytes
    }
}
