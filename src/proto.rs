//! Protocol Buffers' wire format, as far as Envoy's metadata and the rate limit service need it. A generated reader would bring its messages
//! and its runtime into the filter; these are two dozen lines, and fuzzed.

/// One field of a message.
pub struct WireField<'b> {
    /// Its number.
    pub number: u64,
    /// Its content.
    pub content: Content<'b>,
}

/// What a field holds.
pub enum Content<'b> {
    /// A whole number, a flag or a word.
    Varint(u64),
    /// Eight bytes.
    Fixed64(u64),
    /// Bytes, a text, or a message.
    Bytes(&'b [u8]),
    /// Four bytes, which nobody here reads.
    Fixed32,
}

impl<'b> WireField<'b> {
    /// The bytes, where it holds some.
    #[must_use]
    pub fn bytes(&self) -> Option<&'b [u8]> {
        if let Content::Bytes(bytes) = self.content { Some(bytes) } else { None }
    }
}

/// The fields of a message; `None` where the bytes are none.
#[must_use]
pub fn fields(mut bytes: &[u8]) -> Option<Vec<WireField<'_>>> {
    let mut found = Vec::new();
    while !bytes.is_empty() {
        let tag = varint(&mut bytes)?;
        let content = match tag & 7 {
            0 => Content::Varint(varint(&mut bytes)?),
            1 => Content::Fixed64(u64::from_le_bytes(*take(&mut bytes, 8)?.first_chunk()?)),
            2 => {
                let size = usize::try_from(varint(&mut bytes)?).ok()?;
                Content::Bytes(take(&mut bytes, size)?)
            }
            5 => {
                take(&mut bytes, 4)?;
                Content::Fixed32
            }
            _ => return None,
        };
        found.push(WireField { number: tag >> 3, content });
    }
    Some(found)
}

fn take<'b>(bytes: &mut &'b [u8], size: usize) -> Option<&'b [u8]> {
    let (taken, rest) = bytes.split_at_checked(size)?;
    *bytes = rest;
    Some(taken)
}

fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0u64;
    for shift in (0..64).step_by(7) {
        let byte = *take(bytes, 1)?.first()?;
        value |= u64::from(byte & 0x7f).checked_shl(shift)?;
        if byte < 0x80 {
            return Some(value);
        }
    }
    None
}

/// A message under construction. A field that is zero or empty is left out, as proto3 does.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WireMessage(Vec<u8>);

impl WireMessage {
    /// Adds a whole number.
    #[must_use]
    pub fn number(mut self, field: u64, number: u64) -> WireMessage {
        if number != 0 {
            self.varint(field << 3);
            self.varint(number);
        }
        self
    }

    /// Adds a text.
    #[must_use]
    pub fn text(self, field: u64, text: &str) -> WireMessage {
        if text.is_empty() { self } else { self.bytes(field, text.as_bytes()) }
    }

    /// Adds a message, also an empty one.
    #[must_use]
    pub fn message(self, field: u64, message: &WireMessage) -> WireMessage {
        self.bytes(field, &message.0)
    }

    /// The bytes.
    #[must_use]
    pub fn into_bytes(self) -> Vec<u8> {
        self.0
    }

    fn bytes(mut self, field: u64, bytes: &[u8]) -> WireMessage {
        self.varint(field << 3 | 2);
        self.varint(bytes.len() as u64);
        self.0.extend_from_slice(bytes);
        self
    }

    fn varint(&mut self, mut number: u64) {
        while number >= 0x80 {
            self.0.extend((number as u8 | 0x80).to_le_bytes());
            number >>= 7;
        }
        self.0.extend((number as u8).to_le_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::{Content, WireMessage, fields};

    #[test]
    fn what_is_written_reads_back() {
        let inner = WireMessage::default().text(1, "key").text(2, "");
        let numbers = [1, 127, 128, 300, u64::from(u32::MAX), u64::MAX];
        let message = numbers
            .iter()
            .fold(WireMessage::default().message(2, &inner), |message, n| message.number(3, *n));
        let bytes = message.number(4, 0).into_bytes();
        let found = fields(&bytes).unwrap();
        assert_eq!(found[0].bytes(), Some(&b"\x0a\x03key"[..]));
        let read: Vec<u64> = found
            .iter()
            .filter_map(|field| if let Content::Varint(n) = field.content { Some(n) } else { None })
            .collect();
        assert_eq!(read, numbers);
        for cut in 1..bytes.len() {
            let _ = fields(&bytes[..cut]);
        }
    }
}
