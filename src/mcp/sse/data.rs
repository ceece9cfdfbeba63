//! The lines of data in an event.

/// The data of an event's lines.
pub(super) fn data_in(held: &[u8]) -> Vec<u8> {
    let mut data: Option<Vec<u8>> = None;
    for line in held.split(|byte| matches!(byte, b'\n' | b'\r')) {
        let Some(value) = data_of(line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(line)) else {
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

/// Writes an event's lines with other data: in the place of its first line of data, with that line's ending.
pub(super) fn replace_data(held: &[u8], data: &str, out: &mut Vec<u8>) {
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
