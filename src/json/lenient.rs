//! Whether a text is JSON for some reader, however lenient. Servers look into strings that are, each with a reader of its own.
//!
//! What passes here is wider than any one reader: white space of all kinds around it, NaN and Infinity, control characters and
//! broken escapes in strings, single quotes, names without quotes, trailing commas, comments, duplicates, any depth. What no
//! reader takes, such as `[urgent] call me`, `{name}` or `[x]`, does not. One pass, no allocation.

/// Whether the whole text is an object, an array or `null` for some reader of JSON.
#[must_use]
pub fn may_be_json(text: &str) -> bool {
    let outer = |character: char| character.is_whitespace() || is_blank(character);
    let text = text.trim_matches(outer);
    match text.as_bytes().first() {
        Some(b'{' | b'[' | b'/') => Scanner { text, at: 0, kinds: 0, depth: 0 }.read().is_ok(),
        Some(b'n') => text == "null",
        Some(_) | None => false,
    }
}

/// Whether a text begins as JSON does that is an object or an array, or with a comment before it.
#[must_use]
pub fn begins_as_json(text: &str) -> bool {
    let blank = |character: char| character.is_whitespace() || is_blank(character);
    text.trim_start_matches(blank).starts_with(['{', '[', '/'])
}

/// What some readers skip beside white space: controls and the byte order mark.
fn is_blank(character: char) -> bool {
    character.is_control() || character == '\u{feff}'
}

/// So many brackets one in another are no honest text: deeper ones are not looked at.
const DEEP: u32 = 64;

struct Scanner<'t> {
    text: &'t str,
    at: usize,
    /// One bit for each open bracket, the innermost lowest: set for an object.
    kinds: u64,
    depth: u32,
}

/// The text is no JSON for any reader.
struct NoJson;

impl Scanner<'_> {
    fn read(&mut self) -> Result<(), NoJson> {
        self.space()?;
        if self.peek() == Some(b'n') {
            self.word()?;
            self.space()?;
            return self.end();
        }
        loop {
            // A value begins here, or an array or object ends.
            if self.value()? {
                return Ok(());
            }
            // A value has ended.
            loop {
                self.space()?;
                if self.depth == 0 {
                    return self.end();
                }
                if self.eat(b',') {
                    self.space()?;
                    // A trailing comma.
                    if !self.closes() {
                        break;
                    }
                } else if !self.closes() {
                    return Err(NoJson);
                }
            }
        }
    }

    /// Reads what begins a value; whether it is known to be JSON already, for its depth.
    fn value(&mut self) -> Result<bool, NoJson> {
        loop {
            if self.depth > 0 && self.kinds & 1 == 1 {
                self.key()?;
            }
            let object = match self.peek() {
                Some(b'{') => true,
                Some(b'[') => false,
                Some(quote @ (b'"' | b'\'')) if self.depth > 0 => {
                    return self.string(quote).map(|()| false);
                }
                Some(_) if self.depth > 0 => return self.word().map(|()| false),
                Some(_) | None => return Err(NoJson),
            };
            self.at += 1;
            if self.depth == DEEP {
                return Ok(true);
            }
            self.depth += 1;
            self.kinds = self.kinds << 1 | u64::from(object);
            self.space()?;
            if self.closes() {
                return Ok(false);
            }
        }
    }

    /// Whether the innermost bracket closes here.
    fn closes(&mut self) -> bool {
        let bracket = if self.kinds & 1 == 1 { b'}' } else { b']' };
        let closes = self.depth > 0 && self.eat(bracket);
        if closes {
            self.depth -= 1;
            self.kinds >>= 1;
        }
        closes
    }

    fn key(&mut self) -> Result<(), NoJson> {
        match self.peek() {
            Some(quote @ (b'"' | b'\'')) => self.string(quote)?,
            _ => {
                let name = self.run(|byte| {
                    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'$') || !byte.is_ascii()
                });
                if name.is_empty() {
                    return Err(NoJson);
                }
            }
        }
        self.space()?;
        if !self.eat(b':') {
            return Err(NoJson);
        }
        self.space()
    }

    fn string(&mut self, quote: u8) -> Result<(), NoJson> {
        self.at += 1;
        loop {
            self.run(|byte| byte != quote && byte != b'\\');
            match self.peek() {
                None => return Err(NoJson),
                Some(b'\\') => self.at += 2,
                Some(_) => {
                    self.at += 1;
                    return Ok(());
                }
            }
        }
    }

    /// `true`, `false`, `null`, or a number as some reader writes it.
    fn word(&mut self) -> Result<(), NoJson> {
        let word =
            self.run(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.'));
        let unsigned = word.strip_prefix(['+', '-']).unwrap_or(word);
        const WORDS: [&str; 6] = ["true", "false", "null", "nan", "infinity", "undefined"];
        let known = WORDS.iter().any(|known| unsigned.eq_ignore_ascii_case(known));
        if known || is_number(unsigned) { Ok(()) } else { Err(NoJson) }
    }

    /// White space and comments.
    fn space(&mut self) -> Result<(), NoJson> {
        loop {
            let rest = self.text.get(self.at..).ok_or(NoJson)?;
            let skipped = rest.trim_start_matches(|c: char| c.is_whitespace() || is_blank(c));
            self.at += rest.len() - skipped.len();
            let comment = if let Some(line) = skipped.strip_prefix("//") {
                line.find('\n').unwrap_or(line.len())
            } else if let Some(block) = skipped.strip_prefix("/*") {
                block.find("*/").ok_or(NoJson)? + 2
            } else {
                return Ok(());
            };
            self.at += 2 + comment;
        }
    }

    fn end(&self) -> Result<(), NoJson> {
        if self.at >= self.text.len() { Ok(()) } else { Err(NoJson) }
    }

    fn run(&mut self, takes: impl Fn(u8) -> bool) -> &str {
        let rest = self.text.as_bytes().get(self.at..).unwrap_or_default();
        let length = rest.iter().position(|byte| !takes(*byte)).unwrap_or(rest.len());
        let start = self.at;
        self.at += length;
        self.text.get(start..self.at).unwrap_or_default()
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn eat(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        self.at += usize::from(found);
        found
    }
}

/// `12`, `007`, `.5`, `5.`, `1e9`, `0xFF`.
fn is_number(text: &str) -> bool {
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if let Some(hex) = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        return !hex.is_empty() && hex.bytes().all(|byte| byte.is_ascii_hexdigit());
    }
    let (mantissa, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
    let exponent = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let some = !whole.is_empty() || !fraction.is_empty();
    some && !exponent.is_empty() && digits(whole) && digits(fraction) && digits(exponent)
}

#[cfg(test)]
mod tests {
    use super::may_be_json;

    #[test]
    fn takes_what_some_reader_takes() {
        for text in [
            "null",
            " null\n",
            "\u{feff}null",
            "null\0",
            "[]",
            "{}",
            "[ ]",
            " \u{a0}[1]\u{2028}",
            r#"["\u0061dmin"]"#,
            r#"{"a": {"b": [1, -2.5e+3, "x", true, null]}}"#,
            r#"{"a": 1, "a": 2}"#,
            "[NaN, -Infinity, Infinity]",
            r#"["\ud800"]"#,
            "[\"a\nb\"]",
            r#"["\x"]"#,
            "[1,]",
            "{'a': 'b',}",
            "{a: 1}",
            "[007, 0xFF, .5, 5., +1]",
            "/* c */ [1] // d",
            "// a\nnull",
            "[1, /* ] */ 2]",
            "[TRUE]",
            "[{},[],{}]",
        ] {
            assert!(may_be_json(text), "{text:?}");
        }
        assert!(may_be_json(&"[".repeat(65)));
        assert!(may_be_json(&format!("{}{}", "[".repeat(64), "]".repeat(64))));
        assert!(may_be_json(&format!("{}1{}", "{\"a\":".repeat(64), "}".repeat(64))));
    }

    #[test]
    fn leaves_what_no_reader_takes() {
        for text in [
            "",
            "x",
            "5",
            "true",
            "\"text\"",
            "nullable",
            "null and void",
            "NULL",
            "[urgent] call me",
            "[1] see below",
            "{name}",
            "{{name}}",
            "[x]",
            "[x](http://a/)",
            "[]()",
            "[ ] to do",
            "{a: b}",
            "[2024-01-01]",
            "[12:30]",
            "[1 2]",
            "[,]",
            "[1,,2]",
            "{,}",
            "{\"a\"}",
            "{\"a\": }",
            "[\"a]",
            "[1}",
            "{\"a\": 1]",
            "[",
            "[]]",
            "[]{}",
            "/data/x",
            "// a",
            "/* [1]",
            "[^a-z]+",
            "{1,3}",
            "[-]",
            "[1e]",
            "[.]",
        ] {
            assert!(!may_be_json(text), "{text:?}");
        }
        assert!(!may_be_json(&"[".repeat(64)));
        assert!(!may_be_json(&format!("{} x", "[1] ".repeat(100_000))));
    }
}
