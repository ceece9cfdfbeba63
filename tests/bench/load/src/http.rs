//! As much of HTTP/1.1 as Envoy and this program say to each other.

/// Where the first message in these bytes ends; `None` while more is to come.
pub(crate) fn end(bytes: &[u8]) -> Option<usize> {
    let head = find(bytes, b"\r\n\r\n")? + 4;
    let (lines, body) = bytes.split_at(head);
    let lines = lines.to_ascii_lowercase();
    if find(&lines, b"\r\ntransfer-encoding: chunked").is_some() {
        // What is sent here has no such bytes within.
        return if body.starts_with(b"0\r\n\r\n") {
            Some(head + 5)
        } else {
            Some(head + find(body, b"\r\n0\r\n\r\n")? + 7)
        };
    }
    let length = match find(&lines, b"\r\ncontent-length: ") {
        Some(at) => {
            let digits = &lines[at + 18..];
            let digits = &digits[..find(digits, b"\r\n")?];
            str::from_utf8(digits).ok()?.trim().parse().ok()?
        }
        None => 0,
    };
    (body.len() >= length).then_some(head + length)
}

/// Where a text begins.
pub(crate) fn find(bytes: &[u8], text: &[u8]) -> Option<usize> {
    let first = *text.first()?;
    let mut from = 0;
    while let Some(at) = bytes.get(from..)?.iter().position(|byte| *byte == first) {
        if bytes[from + at..].starts_with(text) {
            return Some(from + at);
        }
        from += at + 1;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::end;

    #[test]
    fn a_message_ends_where_its_head_says() {
        for (bytes, expected) in [
            ("POST / HTTP/1.1\r\n", None),
            ("POST / HTTP/1.1\r\nContent-Length: 3\r\n\r\nab", None),
            ("POST / HTTP/1.1\r\nContent-Length: 3\r\n\r\nabcX", Some(41)),
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n", None),
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n", Some(58)),
            ("HTTP/1.1 204 No\r\n\r\n", Some(19)),
        ] {
            assert_eq!(end(bytes.as_bytes()), expected, "{bytes}");
        }
    }
}
