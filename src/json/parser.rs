//! Recursive descent over bytes, one pass.

use std::borrow::Cow;

use super::run::strict_string_run;
use super::{Bounds, Duplicates, Fault, FaultKind, Item, Member, Object, Value};

pub(super) struct Parser<'a> {
    text: &'a str,
    bytes: &'a [u8],
    at: usize,
    duplicates: Duplicates,
    depth_left: usize,
    values_left: usize,
    /// The members of the objects that are open, and the items of the arrays: each container takes its own when it ends, so that it needs
    /// memory once, and no more than it fills.
    members: Vec<Member<'a>>,
    items: Vec<Value<'a>>,
}

type Parsed<T> = Result<T, Fault>;

impl<'a> Parser<'a> {
    pub(super) fn new(text: &'a str, duplicates: Duplicates, bounds: Bounds) -> Self {
        Parser {
            text,
            bytes: text.as_bytes(),
            at: 0,
            duplicates,
            depth_left: bounds.depth,
            values_left: bounds.values,
            members: Vec::new(),
            items: Vec::new(),
        }
    }

    pub(super) fn document(mut self) -> Parsed<Value<'a>> {
        self.skip_space();
        let value = self.value()?;
        self.skip_space();
        if self.at == self.bytes.len() { Ok(value) } else { Err(self.fault(FaultKind::Syntax)) }
    }

    fn value(&mut self) -> Parsed<Value<'a>> {
        self.values_left =
            self.values_left.checked_sub(1).ok_or_else(|| self.fault(FaultKind::Size))?;
        match self.peek() {
            Some(b'{') => self.nested(Self::object),
            Some(b'[') => self.nested(Self::array),
            Some(b'"') => self.string().map(Value::String),
            Some(b'-' | b'0'..=b'9') => self.number().map(|raw| Value::Number(Cow::Borrowed(raw))),
            Some(b't') => self.word("true", Value::Bool(true)),
            Some(b'f') => self.word("false", Value::Bool(false)),
            Some(b'n') => self.word("null", Value::Null),
            Some(_) | None => Err(self.fault(FaultKind::Syntax)),
        }
    }

    fn nested(&mut self, read: fn(&mut Self) -> Parsed<Value<'a>>) -> Parsed<Value<'a>> {
        self.depth_left =
            self.depth_left.checked_sub(1).ok_or_else(|| self.fault(FaultKind::Depth))?;
        self.at += 1;
        self.skip_space();
        let value = read(self)?;
        self.depth_left += 1;
        Ok(value)
    }

    fn object(&mut self) -> Parsed<Value<'a>> {
        if self.eat(b'}') {
            return Ok(Value::Object(Object::default()));
        }
        let (start, first) = (self.at, self.members.len());
        loop {
            let key = self.string()?;
            self.skip_space();
            self.expect(b':')?;
            self.skip_space();
            let from = self.at;
            let value = self.value()?;
            let raw = self.slice(from, self.at)?;
            self.members.push(Member { key, raw, value });
            self.skip_space();
            if self.eat(b'}') {
                break;
            }
            self.expect(b',')?;
            self.skip_space();
        }
        let object = Object(self.members.drain(first..).collect());
        if self.duplicates == Duplicates::Refuse && object.has_duplicate() {
            return Err(Fault { kind: FaultKind::Duplicate, at: start });
        }
        Ok(Value::Object(object))
    }

    fn array(&mut self) -> Parsed<Value<'a>> {
        let first = self.items.len();
        self.each_item(|parser, _, value| parser.items.push(value))?;
        Ok(Value::Array(self.items.drain(first..).collect()))
    }

    /// The items of the array that is the whole text.
    pub(super) fn items(mut self) -> Parsed<Vec<Item<'a>>> {
        let mut items = Vec::new();
        self.skip_space();
        self.expect(b'[')?;
        self.skip_space();
        self.each_item(|_, raw, value| items.push(Item { raw, value }))?;
        self.skip_space();
        if self.at == self.bytes.len() { Ok(items) } else { Err(self.fault(FaultKind::Syntax)) }
    }

    /// Reads items up to the closing bracket.
    fn each_item(&mut self, mut take: impl FnMut(&mut Self, &'a str, Value<'a>)) -> Parsed<()> {
        if self.eat(b']') {
            return Ok(());
        }
        loop {
            let from = self.at;
            let value = self.value()?;
            let raw = self.slice(from, self.at)?;
            take(self, raw, value);
            self.skip_space();
            if self.eat(b']') {
                return Ok(());
            }
            self.expect(b',')?;
            self.skip_space();
        }
    }

    fn word(&mut self, word: &str, value: Value<'a>) -> Parsed<Value<'a>> {
        let end = self.at + word.len();
        if self.bytes.get(self.at..end) != Some(word.as_bytes()) {
            return Err(self.fault(FaultKind::Syntax));
        }
        self.at = end;
        Ok(value)
    }

    /// `-? (0 | [1-9][0-9]*) (\.[0-9]+)? ([eE][+-]?[0-9]+)?`
    fn number(&mut self) -> Parsed<&'a str> {
        let start = self.at;
        self.eat(b'-');
        if !self.eat(b'0') {
            self.digits()?;
        }
        if self.eat(b'.') {
            self.digits()?;
        }
        if self.eat(b'e') || self.eat(b'E') {
            let _ = self.eat(b'+') || self.eat(b'-');
            self.digits()?;
        }
        self.slice(start, self.at)
    }

    fn digits(&mut self) -> Parsed<()> {
        let start = self.at;
        while matches!(self.peek(), Some(b'0'..=b'9')) {
            self.at += 1;
        }
        if self.at == start { Err(self.fault(FaultKind::Syntax)) } else { Ok(()) }
    }

    fn string(&mut self) -> Parsed<Cow<'a, str>> {
        self.expect(b'"')?;
        let start = self.at;
        self.plain_run();
        if self.eat(b'"') {
            return self.slice(start, self.at - 1).map(Cow::Borrowed);
        }
        let mut decoded = self.slice(start, self.at)?.to_owned();
        loop {
            match self.peek() {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(Cow::Owned(decoded));
                }
                Some(b'\\') => {
                    self.at += 1;
                    decoded.push(self.escape()?);
                }
                // A raw control character, or the end of the text.
                _ => return Err(self.fault(FaultKind::Syntax)),
            }
            let from = self.at;
            self.plain_run();
            decoded.push_str(self.slice(from, self.at)?);
        }
    }

    /// Moves to the next quote, backslash or control character.
    fn plain_run(&mut self) {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        self.at += strict_string_run(rest);
    }

    fn escape(&mut self) -> Parsed<char> {
        let escaped = self.peek();
        self.at += 1;
        Ok(match escaped {
            Some(b'"') => '"',
            Some(b'\\') => '\\',
            Some(b'/') => '/',
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            Some(b'u') => return self.unicode_escape(),
            Some(_) | None => {
                // Behind the whole character: a fault is between two of them.
                let rest = self.bytes.get(self.at..).unwrap_or_default();
                self.at += rest.iter().take_while(|byte| (0x80..0xc0).contains(*byte)).count();
                return Err(self.fault(FaultKind::Syntax));
            }
        })
    }

    /// Four hexadecimal digits, or two such escapes that form a surrogate pair. A lone surrogate is no character.
    fn unicode_escape(&mut self) -> Parsed<char> {
        let first = self.hex4()?;
        let code = if (0xd800..0xdc00).contains(&first) {
            self.expect(b'\\')?;
            self.expect(b'u')?;
            let second = self.hex4()?;
            if !(0xdc00..0xe000).contains(&second) {
                return Err(self.fault(FaultKind::Syntax));
            }
            0x10000 + ((first - 0xd800) << 10) + (second - 0xdc00)
        } else {
            first
        };
        char::from_u32(code).ok_or_else(|| self.fault(FaultKind::Syntax))
    }

    fn hex4(&mut self) -> Parsed<u32> {
        let mut code = 0;
        for _ in 0..4 {
            let digit = self.peek().and_then(|byte| char::from(byte).to_digit(16));
            code = code * 16 + digit.ok_or_else(|| self.fault(FaultKind::Syntax))?;
            self.at += 1;
        }
        Ok(code)
    }

    fn skip_space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn eat(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        if found {
            self.at += 1;
        }
        found
    }

    fn expect(&mut self, byte: u8) -> Parsed<()> {
        if self.eat(byte) { Ok(()) } else { Err(self.fault(FaultKind::Syntax)) }
    }

    fn slice(&self, from: usize, to: usize) -> Parsed<&'a str> {
        self.text.get(from..to).ok_or_else(|| self.fault(FaultKind::Syntax))
    }

    fn fault(&self, kind: FaultKind) -> Fault {
        Fault { kind, at: self.at }
    }
}
