//! Server-sent events, framed incrementally on bytes (WHATWG HTML, section 9.2.6).
//!
//! Lines end with LF, CR or CRLF, in any mixture and across any chunk boundary. What is not judged passes line by line, at once. An
//! event with data is held until it is complete, or until the gate lets it pass unfinished; data is shown to the gate as it comes.
//! A line in which some reader finds data where others find none makes its event unreadable.

mod data;
mod doubt;

use self::data::{data_in, replace_data};
use self::doubt::{Doubt, is_doubtful};
use crate::bounds::MAX_UNJUDGED_BYTES;

/// What becomes of one event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EventVerdict {
    /// It passes, byte for byte.
    Pass,
    /// Its data is replaced by this.
    Replace(String),
    /// It does not pass.
    Drop,
}

/// What becomes of what is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Look {
    /// It waits.
    Hold,
    /// It passes, and so does what follows.
    Pass,
    /// It does not pass, nor does what follows, but for so many bytes of the data that was shown if what was before has passed.
    Cut(usize),
}

/// Who decides on the events of a stream.
pub trait Gate {
    /// How many bytes of an event are held, at most, before the gate is asked whether it can pass.
    fn patience(&self) -> usize {
        usize::MAX
    }

    /// Looks at the next bytes of an event's data, a line feed between its lines; `held` bytes of the event would wait.
    fn look(&mut self, data: &[u8], held: usize) -> Look;

    /// Takes note that the event has a line that could be read in two ways.
    fn doubt(&mut self) {}

    /// Judges a complete event by its data; `None` where it is cut.
    fn judge(&mut self, data: Option<&[u8]>) -> EventVerdict;

    /// Ends an event of which a part has passed; the data of one more event that tells of it, where there is any.
    fn end_cut(&mut self) -> Option<String> {
        None
    }

    /// Takes the end of an event.
    fn over(&mut self) {}
}

/// A stream of events on its way through.
#[derive(Debug)]
pub struct EventStream {
    /// The line that has not ended yet, unless it is of data: then it is with the event.
    line: Vec<u8>,
    field: LineField,
    doubt: Doubt,
    /// The bytes of this event since its first line of data.
    held: Vec<u8>,
    has_data: bool,
    phase: EventPhase,
    after_cr: bool,
    at_start: bool,
    /// The last byte that has passed.
    passed: Option<u8>,
    bound: usize,
}

/// What the present line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum LineField {
    /// Not known yet.
    Unknown,
    /// Data; whether its first byte is still to come.
    Data(bool),
    Other,
}

/// What becomes of the present event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum EventPhase {
    Held,
    Passing,
    /// Nothing of it has passed but what stands before its data.
    Spoiled,
    /// A part of it has passed.
    Cut,
}

impl EventStream {
    /// The start of a stream, of whose events at most `bound` bytes are held.
    #[must_use]
    pub fn new(bound: usize) -> EventStream {
        EventStream {
            line: Vec::new(),
            field: LineField::Unknown,
            doubt: Doubt::default(),
            held: Vec::new(),
            has_data: false,
            phase: EventPhase::Held,
            after_cr: false,
            at_start: true,
            passed: None,
            bound,
        }
    }

    /// Takes the next bytes, asks `judge` about the data of each event that they complete (`None` where it exceeds the bound,
    /// or could be read in two ways), and returns what passes.
    pub fn push(
        &mut self,
        chunk: &[u8],
        judge: &mut impl FnMut(Option<&[u8]>) -> EventVerdict,
    ) -> Vec<u8> {
        self.push_through(chunk, &mut Whole(judge))
    }

    /// The same with a gate.
    pub fn push_through(&mut self, chunk: &[u8], gate: &mut impl Gate) -> Vec<u8> {
        let mut out = Vec::with_capacity(chunk.len());
        let mut rest = chunk;
        while let Some(&first) = rest.first() {
            // The line has ended with its CR.
            if std::mem::take(&mut self.after_cr) && first == b'\n' {
                self.pass(b"\n", gate, &mut out);
                rest = rest.get(1..).unwrap_or_default();
                continue;
            }
            let end = rest.iter().position(|byte| matches!(byte, b'\n' | b'\r'));
            let (piece, after) =
                rest.split_at_checked(end.unwrap_or(rest.len())).unwrap_or_default();
            if !piece.is_empty() {
                self.piece(piece, gate, &mut out);
            }
            rest = after;
            if let Some((ending, after)) = after.split_first() {
                self.end_line(std::slice::from_ref(ending), gate, &mut out);
                self.after_cr = *ending == b'\r';
                rest = after;
            }
        }
        self.passed = out.last().copied().or(self.passed);
        out
    }

    /// Takes the end of the stream, and returns what passes of an event that has none of its own. To readers of the standard it is no
    /// event, and it stays none: other data may take the place of its own, for readers that show it all the same, but nobody gets the
    /// blank line that the server did not send.
    pub fn finish(&mut self, judge: &mut impl FnMut(Option<&[u8]>) -> EventVerdict) -> Vec<u8> {
        self.finish_through(&mut Whole(judge))
    }

    /// The same with a gate.
    pub fn finish_through(&mut self, gate: &mut impl Gate) -> Vec<u8> {
        let mut out = Vec::new();
        if !self.line.is_empty() || self.field != LineField::Unknown {
            self.end_line(&[], gate, &mut out);
        }
        self.end_event(gate, &mut out);
        out
    }

    /// How many bytes are held.
    #[must_use]
    pub fn holds(&self) -> usize {
        self.line.len() + self.held.len()
    }

    /// Takes bytes of a line.
    fn piece(&mut self, piece: &[u8], gate: &mut impl Gate, out: &mut Vec<u8>) {
        if let LineField::Data(_) = self.field {
            let doubt = self.doubt.push(piece);
            self.data(piece, piece, doubt, gate, out);
            return;
        }
        let seen = self.line.len();
        self.line.extend_from_slice(piece);
        if self.field == LineField::Unknown
            && let Some(colon) = piece.iter().position(|&byte| byte == b':')
        {
            let line = std::mem::take(&mut self.line);
            let (field, value) = line.split_at_checked(seen + colon).unwrap_or_default();
            if self.without_mark(field) == b"data" {
                self.begin_data(gate, out);
                let mark = line.len() - self.without_mark(&line).len();
                let doubt = self.doubt.push(line.get(mark..).unwrap_or_default());
                let doubt = doubt.map(|at| mark + at);
                self.data(&line, value.get(1..).unwrap_or_default(), doubt, gate, out);
                return;
            }
            self.field = LineField::Other;
            self.line = line;
        }
        if self.line.len() > self.bound.min(MAX_UNJUDGED_BYTES) {
            // No honest line but one of data is as long.
            self.line.clear();
            self.spoil(gate, out);
        }
    }

    /// A line without the mark that the stream may begin with.
    fn without_mark<'l>(&self, line: &'l [u8]) -> &'l [u8] {
        let mark = self.at_start.then(|| line.strip_prefix(b"\xef\xbb\xbf")).flatten();
        mark.unwrap_or(line)
    }

    fn begin_data(&mut self, gate: &mut impl Gate, out: &mut Vec<u8>) {
        self.field = LineField::Data(true);
        if std::mem::replace(&mut self.has_data, true) {
            self.show(b"\n", b"", gate, out);
        }
    }

    /// Takes bytes of a line of data, what of them is of its value, and after how many of them it is doubtful. What stands before
    /// that is shown as if it had come alone.
    fn data(
        &mut self,
        bytes: &[u8],
        value: &[u8],
        doubt: Option<usize>,
        gate: &mut impl Gate,
        out: &mut Vec<u8>,
    ) {
        if let Some((clear, _)) = doubt.and_then(|at| bytes.split_at_checked(at)) {
            let value = value.get(..value.len().saturating_sub(bytes.len() - clear.len()));
            self.data(clear, value.unwrap_or_default(), None, gate, out);
            self.spoil(gate, out);
            return;
        }
        let space = self.field == LineField::Data(true) && value.first() == Some(&b' ');
        let value = value.get(usize::from(space)..).unwrap_or_default();
        if space || !value.is_empty() {
            self.field = LineField::Data(false);
        }
        self.show(value, bytes, gate, out);
    }

    fn end_line(&mut self, end: &[u8], gate: &mut impl Gate, out: &mut Vec<u8>) {
        let line = std::mem::take(&mut self.line);
        let text = self.without_mark(&line);
        match self.field {
            LineField::Data(_) => {
                if self.doubt.end() {
                    self.spoil(gate, out);
                }
            }
            LineField::Unknown if text.is_empty() => {
                self.end_event(gate, out);
            }
            LineField::Unknown if text == b"data" => self.begin_data(gate, out),
            LineField::Unknown | LineField::Other if is_doubtful(text) => self.spoil(gate, out),
            LineField::Unknown | LineField::Other => {}
        }
        self.pass(&line, gate, out);
        self.pass(end, gate, out);
        // The buffer is kept for the next line.
        self.line = line;
        self.line.clear();
        (self.field, self.at_start) = (LineField::Unknown, false);
        self.doubt = Doubt::default();
    }

    fn end_event(&mut self, gate: &mut impl Gate, out: &mut Vec<u8>) {
        let held = std::mem::take(&mut self.held);
        let phase = std::mem::replace(&mut self.phase, EventPhase::Held);
        if !std::mem::take(&mut self.has_data) && phase == EventPhase::Held {
            return;
        }
        let judged = matches!(phase, EventPhase::Held | EventPhase::Spoiled);
        let verdict = match phase {
            EventPhase::Held => gate.judge(Some(&data_in(&held))),
            EventPhase::Spoiled => gate.judge(None),
            EventPhase::Passing | EventPhase::Cut => EventVerdict::Drop,
        };
        gate.over();
        match &verdict {
            EventVerdict::Pass => out.extend_from_slice(&held),
            EventVerdict::Replace(data) => replace_data(&held, data, out),
            EventVerdict::Drop => {}
        }
        let last = out.last().copied().or(self.passed);
        if judged && verdict != EventVerdict::Pass && last == Some(b'\r') && !held.ends_with(b"\r")
        {
            // It ended a line before; now the end of the empty line would be a part of it.
            out.push(b'\n');
        }
    }

    /// Lets bytes that are no data pass, or keeps them with the event that they belong to.
    fn pass(&mut self, bytes: &[u8], gate: &mut impl Gate, out: &mut Vec<u8>) {
        if bytes.is_empty() {
        } else if self.has_data || self.phase != EventPhase::Held {
            self.show(b"", bytes, gate, out);
        } else {
            out.extend_from_slice(bytes);
        }
    }

    /// Shows data to the gate, and does with the bytes that it stands in as the gate says: the data is the end of them.
    fn show(&mut self, data: &[u8], bytes: &[u8], gate: &mut impl Gate, out: &mut Vec<u8>) {
        if matches!(self.phase, EventPhase::Spoiled | EventPhase::Cut) {
            return;
        }
        let held = self.held.len() + bytes.len();
        // The gate is asked where it may change its mind, wherever chunks end.
        let room = gate.patience().saturating_add(1).saturating_sub(self.held.len());
        if room > 0 && data.len() > room && bytes.len() > room && self.phase == EventPhase::Held {
            let before = bytes.len() - data.len();
            let cut = room.max(before);
            let (first, rest) = bytes.split_at_checked(cut).unwrap_or((bytes, &[]));
            self.show(first.get(before..).unwrap_or_default(), first, gate, out);
            self.show(rest, rest, gate, out);
            return;
        }
        let look = gate.look(data, held);
        match (self.phase, look) {
            (EventPhase::Held, Look::Hold) if held <= self.bound => {
                self.held.extend_from_slice(bytes)
            }
            (EventPhase::Held, Look::Hold | Look::Cut(_)) => {
                self.held = Vec::new();
                self.phase = EventPhase::Spoiled;
            }
            (EventPhase::Held, Look::Pass) => {
                out.append(&mut self.held);
                out.extend_from_slice(bytes);
                self.held = Vec::new();
                self.phase = EventPhase::Passing;
            }
            (EventPhase::Passing, Look::Cut(most)) => {
                let before = bytes.len().saturating_sub(data.len());
                out.extend_from_slice(bytes.get(..before + most).unwrap_or_default());
                self.cut(gate, out);
            }
            (EventPhase::Passing, Look::Hold | Look::Pass) => out.extend_from_slice(bytes),
            (EventPhase::Spoiled | EventPhase::Cut, _) => {}
        }
    }

    /// Makes the event one that cannot be read.
    fn spoil(&mut self, gate: &mut impl Gate, out: &mut Vec<u8>) {
        match self.phase {
            EventPhase::Held => {
                gate.doubt();
                self.held = Vec::new();
                self.phase = EventPhase::Spoiled;
            }
            EventPhase::Passing => {
                gate.doubt();
                self.cut(gate, out);
            }
            EventPhase::Spoiled | EventPhase::Cut => {}
        }
    }

    /// Ends an event in the middle, so that readers do not take the next one for a part of it.
    fn cut(&mut self, gate: &mut impl Gate, out: &mut Vec<u8>) {
        self.phase = EventPhase::Cut;
        out.extend_from_slice(b"\n\n");
        if let Some(data) = gate.end_cut() {
            out.extend_from_slice(format!("data: {data}\n\n").as_bytes());
        }
    }
}

/// Asks nothing before an event is complete.
struct Whole<'j, F>(&'j mut F);

impl<F: FnMut(Option<&[u8]>) -> EventVerdict> Gate for Whole<'_, F> {
    fn look(&mut self, _: &[u8], _: usize) -> Look {
        Look::Hold
    }

    fn judge(&mut self, data: Option<&[u8]>) -> EventVerdict {
        (self.0)(data)
    }
}

#[cfg(test)]
mod tests;
