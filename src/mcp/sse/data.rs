//! The lines of data in an event.

/// The data of an event's lines.
pub(super) fn data_in(held: &[u8]) -> Vec<u8> {
    let mut data: Option<Vec<u8>> = None;
    for line in held.split(|byte| matches!(byte, b'\n' | b'\r')) {
        let Some(value) = data_of(without_mark(line)) else {
            continue;
        };
        match &mut data {
            None => data = Some(value.to_vec()),
            Some(data) => {
                data.push(b'\n');
                data.extend_from_slice(value);
            }
        }
    }
    data.unwrap_or_default()
}

/// Writes an event's lines with other data: in the place of its last line of data, with that line's ending. The ending of an earlier
/// one could become one with that of the empty line behind the event.
pub(super) fn replace_data(held: &[u8], data: &str, out: &mut Vec<u8>) {
    let lines = lines(held);
    let last = lines.iter().rposition(|(text, _)| data_of(without_mark(text)).is_some());
    for (at, (text, ending)) in lines.iter().enumerate() {
        if Some(at) == last {
            write_data(data, if ending.is_empty() { b"\n" } else { ending }, out);
        } else if data_of(without_mark(text)).is_none() {
            out.extend_from_slice(text);
            out.extend_from_slice(ending);
        }
    }
    if held.is_empty() {
        // Nothing is left of an event that could not be read.
        write_data(data, b"\n", out);
    }
}

fn write_data(data: &str, ending: &[u8], out: &mut Vec<u8>) {
    for piece in data.split('\n') {
        out.extend_from_slice(b"data: ");
        out.extend_from_slice(piece.as_bytes());
        out.extend_from_slice(ending);
    }
}

/// Lines, each with its ending.
fn lines(held: &[u8]) -> Vec<(&[u8], &[u8])> {
    let mut lines = Vec::new();
    let mut rest = held;
    while !rest.is_empty() {
        let end = rest.iter().position(|byte| matches!(byte, b'\n' | b'\r'));
        let (text, after) = rest.split_at_checked(end.unwrap_or(rest.len())).unwrap_or((rest, &[]));
        let ending = if after.starts_with(b"\r\n") { 2 } else { after.len().min(1) };
        let (ending, after) = after.split_at_checked(ending).unwrap_or((after, &[]));
        lines.push((text, ending));
        rest = after;
    }
    lines
}

/// A line without the mark that a stream may begin with.
fn without_mark(line: &[u8]) -> &[u8] {
    line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(line)
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
