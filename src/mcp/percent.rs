//! Percent-encoding (RFC 3986, section 2.1), undone for comparisons.

/// A text with every well-formed escape undone; what only resembles one stays as it is.
#[must_use]
pub fn percent_decoded(text: &[u8]) -> Vec<u8> {
    let mut pieces = text.split(|&byte| byte == b'%');
    let mut bytes = pieces.next().unwrap_or_default().to_vec();
    for piece in pieces {
        let escape = piece.split_at_checked(2).and_then(|(digits, rest)| {
            // The parser of numbers would take a sign, too.
            let digits = digits.iter().all(u8::is_ascii_hexdigit).then_some(digits)?;
            let digits = std::str::from_utf8(digits).ok()?;
            Some((u8::from_str_radix(digits, 16).ok()?, rest))
        });
        match escape {
            Some((byte, rest)) => {
                bytes.push(byte);
                bytes.extend_from_slice(rest);
            }
            None => {
                bytes.push(b'%');
                bytes.extend_from_slice(piece);
            }
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::percent_decoded;

    #[test]
    fn only_two_digits_are_an_escape() {
        for (text, expected) in [
            ("%5fmethod", "_method"),
            ("a%2Fb%2f", "a/b/"),
            ("%252f", "%2f"),
            ("%", "%"),
            ("%4", "%4"),
            ("%+5x", "%+5x"),
            ("%zz%41", "%zzA"),
        ] {
            assert_eq!(percent_decoded(text.as_bytes()), expected.as_bytes(), "{text}");
        }
    }
}
