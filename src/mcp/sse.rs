//! Server-sent events, framed incrementally on bytes (WHATWG HTML, section 9.2.6).
//!
//! Lines end with LF, CR or CRLF, in any mixture and across any chunk boundary. Decoding happens per event, so a character
//! that is split between chunks is no error. What is not judged passes line by line, at once; an event with data passes when it is complete.
//! A line in which some reader finds data where others find none makes its event unreadable.

/// What becomes of one event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It passes, byte for byte.
    Pass,
    /// Its data is replaced by this.
    Replace(String),
    /// It does not pass.
    Drop,
}

/// A stream of events on its way through.
#[derive(Debug)]
pub struct EventStream {
    /// The line that has not ended yet.
    line: Vec<u8>,
    /// The bytes of this event since its first line of data.
    held: Vec<u8>,
    data: Vec<u8>,
    has_data: bool,
    unreadable: bool,
    after_cr: bool,
    at_start: bool,
    bound: usize,
}

impl EventStream {
    /// The start of a stream, of whose events at most `bound` bytes are held.
    #[must_use]
    pub fn new(bound: usize) -> EventStream {
        EventStream {
            line: Vec::new(),
            held: Vec::new(),
            data: Vec::new(),
            has_data: false,
            unreadable: false,
            after_cr: false,
            at_start: true,
            bound,
        }
    }

    /// Takes the next bytes, asks `judge` about the data of each event that they complete (`None` where it exceeds the bound,
    /// or could be read in two ways), and returns what passes.
    pub fn push(
        &mut self,
        chunk: &[u8],
        judge: &mut impl FnMut(Option<&[u8]>) -> Verdict,
    ) -> Vec<u8> {
        let mut out = Vec::with_capacity(chunk.len());
        for &byte in chunk {
            let ends_crlf = byte == b'\n' && self.after_cr;
            self.after_cr = byte == b'\r';
            match byte {
                // The line has ended with its CR.
                _ if ends_crlf => self.pass(b"\n", &mut out),
                b'\n' | b'\r' => self.end_line(&[byte], judge, &mut out),
                _ if self.line.len() < self.bound => self.line.push(byte),
                _ => self.give_up(),
            }
        }
        out
    }

    /// Takes the end of the stream, and returns what passes of an event that has none of its own. To most readers it is no
    /// event, so what must not pass is all that matters here.
    pub fn finish(&mut self, judge: &mut impl FnMut(Option<&[u8]>) -> Verdict) -> Vec<u8> {
        let mut out = Vec::new();
        if !self.line.is_empty() {
            self.end_line(&[], judge, &mut out);
        }
        let mut changed = false;
        self.end_event(
            &mut |data| {
                let verdict = judge(data);
                changed = matches!(verdict, Verdict::Replace(_));
                verdict
            },
            &mut out,
        );
        if changed {
            out.extend_from_slice(b"\n\n");
        }
        out
    }

    fn end_line(
        &mut self,
        end: &[u8],
        judge: &mut impl FnMut(Option<&[u8]>) -> Verdict,
        out: &mut Vec<u8>,
    ) {
        let mut line = std::mem::take(&mut self.line);
        let mut text = &*line;
        if std::mem::take(&mut self.at_start) {
            text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text);
        }
        if text.is_empty() {
            self.end_event(judge, out);
        } else if is_doubtful(text) {
            self.give_up();
        } else if let Some(value) = data_of(text)
            && !self.unreadable
        {
            if std::mem::replace(&mut self.has_data, true) {
                self.data.push(b'\n');
            }
            self.data.extend_from_slice(value);
        }
        line.extend_from_slice(end);
        self.pass(&line, out);
        // The buffer is kept for the next line.
        self.line = line;
        self.line.clear();
    }

    fn end_event(&mut self, judge: &mut impl FnMut(Option<&[u8]>) -> Verdict, out: &mut Vec<u8>) {
        let unreadable = std::mem::take(&mut self.unreadable);
        let data = std::mem::take(&mut self.data);
        let held = std::mem::take(&mut self.held);
        if !std::mem::take(&mut self.has_data) && !unreadable {
            return;
        }
        match judge((!unreadable).then_some(&*data)) {
            Verdict::Pass => out.extend_from_slice(&held),
            Verdict::Replace(data) => replace_data(&held, &data, out),
            Verdict::Drop => {}
        }
    }

    /// Lets bytes pass, or keeps them with the event that they belong to.
    fn pass(&mut self, bytes: &[u8], out: &mut Vec<u8>) {
        if self.unreadable {
            return;
        }
        if !self.has_data {
            out.extend_from_slice(bytes);
        } else if self.held.len() + bytes.len() > self.bound {
            self.give_up();
        } else {
            self.held.extend_from_slice(bytes);
        }
    }

    fn give_up(&mut self) {
        self.unreadable = true;
        self.held.clear();
        self.data.clear();
    }
}

/// Writes an event's lines with other data: in the place of its first line of data, with that line's ending.
fn replace_data(held: &[u8], data: &str, out: &mut Vec<u8>) {
    let mut data = Some(data);
    let mut rest = held;
    while !rest.is_empty() {
        let end = rest.iter().position(|byte| matches!(byte, b'\n' | b'\r'));
        let end = end.unwrap_or(rest.len());
        let crlf = rest.get(end..end + 2) == Some(b"\r\n");
        let next = end + if crlf { 2 } else { 1 };
        let (line, after) = rest.split_at_checked(next).unwrap_or((rest, &[]));
        let (text, ending) = line.split_at_checked(end).unwrap_or((line, &[]));
        let ending = if ending.is_empty() { b"\n" } else { ending };
        rest = after;
        if data_of(text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text)).is_none() {
            out.extend_from_slice(line);
        } else if let Some(data) = data.take() {
            for piece in data.split('\n') {
                out.extend_from_slice(b"data: ");
                out.extend_from_slice(piece.as_bytes());
                out.extend_from_slice(ending);
            }
        }
    }
    if let (Some(data), true) = (data, held.is_empty()) {
        // Nothing is left of an event that could not be read.
        out.extend_from_slice(format!("data: {data}\n").as_bytes());
    }
}

/// The value of a line if it is of the field `data`.
fn data_of(line: &[u8]) -> Option<&[u8]> {
    let rest = line.strip_prefix(b"data")?;
    if rest.is_empty() {
        return Some(rest);
    }
    let value = rest.strip_prefix(b":")?;
    Some(value.strip_prefix(b" ").unwrap_or(value))
}

/// Whether some reader finds data in a line where others find none: behind bytes that it skips, or behind what it takes for
/// the end of a line (httpx-sse before 0.4.2 splits where `str.splitlines` does; eventsource-parser skips `ï»¿`).
fn is_doubtful(line: &[u8]) -> bool {
    let field = line.split(|&byte| byte == b':').next().unwrap_or_default();
    let resembles = field != b"data" && field.trim_ascii().eq_ignore_ascii_case(b"data");
    // A zero is half of a character in other encodings.
    if resembles || line.contains(&0) {
        return true;
    }
    let mut starts = true;
    for (at, byte) in line.iter().enumerate() {
        let rest = line.get(at..).unwrap_or_default();
        if matches!(
            rest,
            [0x0b | 0x0c | 0x1c..=0x1e, ..] | [0xc2, 0x85, ..] | [0xe2, 0x80, 0xa8 | 0xa9, ..]
        ) {
            starts = true;
        } else if byte.is_ascii_graphic() {
            if starts && at > 0 && rest.starts_with(b"data") {
                return true;
            }
            starts = false;
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::{EventStream, Verdict};

    /// The data of the events, and what passes.
    fn pass(
        stream: &str,
        chunk: usize,
        verdict: impl Fn(&str) -> Verdict,
    ) -> (Vec<String>, String) {
        let mut found = Vec::new();
        let mut out = Vec::new();
        let mut events = EventStream::new(40);
        for chunk in stream.as_bytes().chunks(chunk) {
            out.extend(events.push(chunk, &mut |data| {
                let data = data.map_or("too large".into(), String::from_utf8_lossy).into_owned();
                let verdict = verdict(&data);
                found.push(data);
                verdict
            }));
        }
        (found, String::from_utf8(out).unwrap())
    }

    #[test]
    fn frames_every_dialect_in_every_chunking() {
        let half = "0123456789".repeat(2);
        let long = half.repeat(3);
        for (stream, expected, passed) in [
            ("data: a\n\n", vec!["a"], None),
            ("data: a\r\n\r\ndata:b\r\rdata\n\n", vec!["a", "b", ""], None),
            ("\u{feff}data: é\n\n", vec!["é"], None),
            (": comment\nevent: message\nid: 1\ndata: a\nid: 2\ndata: b\n\n", vec!["a\nb"], None),
            (": waiting", vec![], Some("")),
            (": waiting\n", vec![], None),
            ("\n\r\n\r", vec![], None),
            ("data: unfinished\n", vec![], Some("")),
            ("id: 1\ndata: unfinished", vec![], Some("id: 1\n")),
            ("id: 1\ndata: \n\ndata:  x\n\n", vec!["", " x"], None),
            ("dataset: a\n\ndata: b\n\n", vec!["b"], None),
            ("data: a\n\r\ndata: b\r\n\n", vec!["a", "b"], None),
            (
                &format!("data: {long}\n\ndata: b\n\n"),
                vec!["too large", "b"],
                Some("\ndata: b\n\n"),
            ),
            (
                &format!("id: 1\ndata: {half}\ndata: {half}\r\n\r\ndata: b\n\n"),
                vec!["too large", "b"],
                Some("id: 1\n\r\ndata: b\n\n"),
            ),
        ] {
            for chunk in 1..8 {
                let drop_large =
                    |data: &str| if data == "too large" { Verdict::Drop } else { Verdict::Pass };
                let (found, out) = pass(stream, chunk, drop_large);
                assert_eq!(found, expected, "{stream:?} by {chunk}");
                assert_eq!(out, passed.unwrap_or(stream), "{stream:?} by {chunk}");
            }
        }
    }

    #[test]
    fn a_line_with_two_readings_spoils_its_event() {
        for line in [
            "\u{feff}\u{feff}data: a",
            "\u{ef}\u{bb}\u{bf}data: a",
            " data: a",
            "\0data: a",
            ": x\u{b}data: a",
            "event: x\u{2028}\u{2028}data: a",
            "data: 1\u{85} data: a",
            "data : a",
            "Data: a",
            ":\0",
        ] {
            for chunk in 1..8 {
                let stream = format!("{line}\ndata: b\n\ndata: c\n\n");
                let (found, out) = pass(&stream, chunk, |_| Verdict::Pass);
                assert_eq!(found, ["too large", "c"], "{line:?}");
                assert_eq!(out, "\ndata: c\n\n", "{line:?}");
            }
        }
        for line in ["event: data", "metadata: x", ": \u{e9} data", "data: \u{2028}datum"] {
            let stream = format!("{line}\n\n");
            let (found, out) = pass(&stream, 3, |_| Verdict::Pass);
            assert!(!found.contains(&"too large".to_owned()), "{line:?}");
            assert_eq!(out, stream);
        }
    }

    #[test]
    fn no_event_grows_without_bound() {
        for lines in ["data: a\n".repeat(99), format!("data: a\n{}", ": x\n".repeat(99))] {
            for start in ["", "data: 0123456789012345678901234567890123456789\n"] {
                let stream = format!("{start}{lines}");
                let mut events = EventStream::new(40);
                assert_eq!(events.push(stream.as_bytes(), &mut |_| Verdict::Pass), b"");
                assert!(events.held.len() + events.data.len() <= 80, "{stream}");
                let mut found = Vec::new();
                let out = events.push(b"\n", &mut |data| {
                    found.push(data.is_none());
                    Verdict::Pass
                });
                assert_eq!((found, &*out), (vec![true], &b"\n"[..]));
            }
        }
    }

    #[test]
    fn an_event_without_an_end_is_judged_too() {
        for (stream, verdict, expected) in [
            ("data: a", Verdict::Pass, "data: a"),
            ("id: 1\ndata: a\r\n", Verdict::Pass, "data: a\r\n"),
            ("data: a", Verdict::Replace("x\ny".into()), "data: x\ndata: y\n\n\n"),
            ("data: a\n", Verdict::Drop, ""),
            (": a", Verdict::Drop, ": a"),
            (" data: a", Verdict::Replace("x".into()), "data: x\n\n\n"),
            ("data: a\n\n", Verdict::Drop, ""),
            ("", Verdict::Drop, ""),
        ] {
            let mut events = EventStream::new(40);
            events.push(stream.as_bytes(), &mut |_| Verdict::Drop);
            let out = events.finish(&mut |_| verdict.clone());
            assert_eq!(String::from_utf8(out).unwrap(), expected, "{stream:?}");
        }
    }

    #[test]
    fn replaces_data_and_nothing_else() {
        for (stream, passed) in [
            ("data: a\n\n", "data: x\ndata: y\n\n"),
            (
                "id: 1\r\ndata: a\r\nevent: e\r\ndata: a\r\n\r\n",
                "id: 1\r\ndata: x\r\ndata: y\r\nevent: e\r\n\r\n",
            ),
            ("data: a\r\rdata: b\n\n", "data: x\rdata: y\r\rdata: x\ndata: y\n\n"),
        ] {
            for chunk in 1..8 {
                let (_, out) = pass(stream, chunk, |_| Verdict::Replace("x\ny".into()));
                assert_eq!(out, passed, "{stream:?} by {chunk}");
            }
        }
        assert_eq!(pass("id: 1\ndata: a\n\ndata: b\n\n", 1, |_| Verdict::Drop).1, "id: 1\n\n\n");
    }
}
