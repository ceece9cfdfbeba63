//! Server-sent events, framed incrementally on bytes (WHATWG HTML, section 9.2.6).
//!
//! Lines end with LF, CR or CRLF, in any mixture and across any chunk boundary. Decoding happens per event, so a character
//! that is split between chunks is no error. An event that exceeds the bound is skipped, and the next one is read again.

/// Splits a stream into the data of its events.
#[derive(Debug)]
pub struct Events {
    line: Vec<u8>,
    data: Vec<u8>,
    has_data: bool,
    oversized: bool,
    after_cr: bool,
    at_start: bool,
    bound: usize,
}

impl Events {
    /// A splitter at the start of a stream, which keeps at most `bound` bytes of an event.
    #[must_use]
    pub fn new(bound: usize) -> Events {
        Events {
            line: Vec::new(),
            data: Vec::new(),
            has_data: false,
            oversized: false,
            after_cr: false,
            at_start: true,
            bound,
        }
    }

    /// Takes the next bytes and hands the data of each event that they complete to `event`.
    pub fn push(&mut self, chunk: &[u8], event: &mut impl FnMut(&[u8])) {
        for &byte in chunk {
            let ends_crlf = byte == b'\n' && self.after_cr;
            self.after_cr = byte == b'\r';
            match byte {
                _ if ends_crlf => {}
                b'\n' | b'\r' => self.end_line(event),
                _ if self.line.len() < self.bound => self.line.push(byte),
                _ => self.oversized = true,
            }
        }
    }

    fn end_line(&mut self, event: &mut impl FnMut(&[u8])) {
        let line = std::mem::take(&mut self.line);
        let mut text = &*line;
        if std::mem::take(&mut self.at_start) {
            text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text);
        }
        if text.is_empty() {
            let data = std::mem::take(&mut self.data);
            let complete =
                std::mem::take(&mut self.has_data) && !std::mem::take(&mut self.oversized);
            if complete {
                event(&data);
            }
        } else if let Some(value) = field(text, b"data") {
            if std::mem::replace(&mut self.has_data, true) {
                self.data.push(b'\n');
            }
            if self.data.len() + value.len() > self.bound {
                self.oversized = true;
            } else {
                self.data.extend_from_slice(value);
            }
        }
        // The buffer is kept for the next line.
        self.line = line;
        self.line.clear();
    }
}

/// The value of a line if it is of this field.
fn field<'l>(line: &'l [u8], name: &[u8]) -> Option<&'l [u8]> {
    let rest = line.strip_prefix(name)?;
    if rest.is_empty() {
        return Some(rest);
    }
    let value = rest.strip_prefix(b":")?;
    Some(value.strip_prefix(b" ").unwrap_or(value))
}

#[cfg(test)]
mod tests {
    use super::Events;

    fn events(stream: &str, chunk: usize) -> Vec<String> {
        let mut found = Vec::new();
        let mut events = Events::new(16);
        for chunk in stream.as_bytes().chunks(chunk) {
            events.push(chunk, &mut |data| found.push(String::from_utf8_lossy(data).into_owned()));
        }
        found
    }

    #[test]
    fn frames_every_dialect_in_every_chunking() {
        for (stream, expected) in [
            ("data: a\n\n", vec!["a"]),
            ("data: a\r\n\r\ndata:b\r\rdata\n\n", vec!["a", "b", ""]),
            ("\u{feff}data: é\n\n", vec!["é"]),
            (": comment\nevent: message\nid: 1\ndata: a\ndata: b\n\n", vec!["a\nb"]),
            ("data: unfinished\n", vec![]),
            ("id: 1\ndata: \n\ndata:  x\n\n", vec!["", " x"]),
            ("dataset: a\n\ndata: b\n\n", vec!["b"]),
            ("data: 0123456789012345678901234567890\n\ndata: b\n\n", vec!["b"]),
            ("data: 0123456789\ndata: 0123456789\n\ndata: b\n\n", vec!["b"]),
            ("data: a\n\r\ndata: b\r\n\n", vec!["a", "b"]),
        ] {
            for chunk in 1..8 {
                assert_eq!(events(stream, chunk), expected, "{stream:?} by {chunk}");
            }
        }
    }
}
