//! Lines in which some reader finds data where others find none: behind bytes that it skips, or behind what it takes for
//! the end of a line (httpx-sse before 0.4.2 splits where `str.splitlines` does; eventsource-parser skips `ï»¿`).

/// Looks for them in one line as it comes.
#[derive(Debug)]
pub(super) struct Doubt {
    /// Whether a line could begin here for some reader.
    starts: bool,
    /// The last bytes that could begin what is looked for.
    tail: Vec<u8>,
    /// Whether nothing was seen yet.
    fresh: bool,
}

/// More bytes than anything has that is looked for, less one.
const TAIL: usize = 3;

impl Default for Doubt {
    fn default() -> Doubt {
        Doubt { starts: true, tail: Vec::new(), fresh: true }
    }
}

impl Doubt {
    /// Takes the next bytes of the line. `Some` where they make it doubtful: after so many of them, wherever chunks end.
    pub(super) fn push(&mut self, bytes: &[u8]) -> Option<usize> {
        // Most of a long line is nothing that needs a look.
        let plain = |byte: &u8| byte.is_ascii() && *byte >= 0x20;
        if !self.starts && self.tail.iter().all(plain) && bytes.iter().all(plain) {
            return None;
        }
        let mut text = std::mem::take(&mut self.tail);
        let before = text.len();
        text.extend_from_slice(bytes);
        let kept = text.len().min(TAIL);
        let found = self.scan(&text, text.len() - kept);
        self.tail = text.split_off(text.len() - kept);
        found.map(|at| (at + TAIL).saturating_sub(before))
    }

    /// Takes the end of the line.
    pub(super) fn end(&mut self) -> bool {
        let text = std::mem::take(&mut self.tail);
        self.scan(&text, text.len()).is_some()
    }

    /// Looks at the bytes before `end`, with those behind it in sight: where the first doubt is.
    fn scan(&mut self, text: &[u8], end: usize) -> Option<usize> {
        for (at, byte) in text.iter().enumerate().take(end) {
            let rest = text.get(at..).unwrap_or_default();
            let fresh = std::mem::take(&mut self.fresh);
            if *byte == 0 {
                // A zero is half of a character in other encodings.
                return Some(at);
            }
            if matches!(
                rest,
                [0x0b | 0x0c | 0x1c..=0x1e, ..] | [0xc2, 0x85, ..] | [0xe2, 0x80, 0xa8 | 0xa9, ..]
            ) {
                self.starts = true;
            } else if byte.is_ascii_graphic() {
                if self.starts && !fresh && rest.starts_with(b"data") {
                    return Some(at);
                }
                self.starts = false;
            }
        }
        None
    }
}

/// Whether a line is doubtful.
pub(super) fn is_doubtful(line: &[u8]) -> bool {
    let field = line.split(|&byte| byte == b':').next().unwrap_or_default();
    let resembles = field != b"data" && field.trim_ascii().eq_ignore_ascii_case(b"data");
    let mut doubt = Doubt::default();
    resembles || doubt.push(line).is_some() || doubt.end()
}
