//! URIs of resources, in the one spelling by which a policy matches them.
//!
//! RFC 3986 (section 6.2.2) lets one resource have many spellings, and servers undo more of them than the RFC knows. What is
//! only a matter of spelling is normalised; what two readers could take for two places has no canonical form, and is refused.

use std::borrow::Cow;

/// The canonical spelling of an absolute URI: scheme and host in lower case, percent-encoded unreserved characters decoded and
/// other escapes in upper case, no default port, no `localhost` in file URIs.
///
/// `None` where there is none: no scheme, control characters, white space or invisible ones, a backslash, a fragment, dot segments or empty segments,
/// an encoded slash, backslash, percent sign or control character, escapes that are not two digits, a user name, a query in a file URI.
#[must_use]
pub fn canonical(uri: &str) -> Option<Cow<'_, str>> {
    let (scheme, rest) = uri.split_once(':')?;
    let mut letters = scheme.bytes();
    let named = letters.next().is_some_and(|first| first.is_ascii_alphabetic())
        && letters.all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.'));
    let odd = |character: char| {
        character.is_control()
            || character.is_whitespace()
            || crate::matcher::fold::invisible(character)
            || matches!(character, '\\' | '#')
    };
    if !named || rest.is_empty() || rest.contains(odd) {
        return None;
    }
    let scheme = scheme.to_ascii_lowercase();
    let (authority, path) = match rest.strip_prefix("//") {
        Some(rest) => {
            let end = rest.find(['/', '?']).unwrap_or(rest.len());
            let (authority, path) = rest.split_at_checked(end)?;
            (Some(self::authority(&scheme, authority)?), path)
        }
        None => (None, rest),
    };
    let path = decoded(path)?;
    let (way, query) = match path.split_once('?') {
        Some((way, query)) => (way, Some(query)),
        None => (&*path, None),
    };
    if !plain_segments(way) || (scheme == "file" && query.is_some()) {
        return None;
    }
    let slashes = if authority.is_some() { "//" } else { "" };
    let text = format!("{scheme}:{slashes}{}{path}", authority.unwrap_or_default());
    Some(if text == uri { Cow::Borrowed(uri) } else { Cow::Owned(text) })
}

fn authority(scheme: &str, text: &str) -> Option<String> {
    if text.contains('@') {
        return None;
    }
    let lower = decoded(text)?.to_lowercase();
    let port = match scheme {
        "http" | "ws" => ":80",
        "https" | "wss" => ":443",
        _ => ":",
    };
    let host = lower.strip_suffix(port).unwrap_or(&lower);
    let host = host.strip_suffix(':').unwrap_or(host);
    let host = host.strip_suffix('.').unwrap_or(host);
    if host.ends_with(['.', ':']) || matches!(host, "." | "..") {
        return None;
    }
    Some(if scheme == "file" && host == "localhost" { String::new() } else { host.to_owned() })
}

/// Neither `.` nor `..` nor, but for the last, an empty segment.
fn plain_segments(path: &str) -> bool {
    let path = path.strip_prefix('/').unwrap_or(path);
    let mut segments = path.split('/').peekable();
    while let Some(segment) = segments.next() {
        let last = segments.peek().is_none();
        // Servers that cut parameters off (`..;x`) would see dots.
        let name = segment.split(';').next().unwrap_or_default();
        if matches!(name, "." | "..") || (segment.is_empty() && !last) {
            return false;
        }
    }
    true
}

/// The text with unreserved characters decoded (RFC 3986, section 2.3).
fn decoded(text: &str) -> Option<Cow<'_, str>> {
    if !text.contains('%') {
        return Some(Cow::Borrowed(text));
    }
    let mut pieces = text.split('%');
    let mut out = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        let (digits, rest) = piece.split_at_checked(2)?;
        if !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return None;
        }
        let byte = u8::from_str_radix(digits, 16).ok()?;
        match byte {
            b'/' | b'\\' | b'%' | 0..=0x1f | 0x7f => return None,
            b'-' | b'.' | b'_' | b'~' | b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z' => {
                out.push(char::from(byte));
            }
            _ => {
                out.push('%');
                out.push_str(&digits.to_ascii_uppercase());
            }
        }
        out.push_str(rest);
    }
    Some(Cow::Owned(out))
}

#[cfg(test)]
mod tests {
    use super::canonical;

    #[test]
    fn spellings() {
        for (uri, expected) in [
            ("file:///data/a.txt", Some("file:///data/a.txt")),
            ("FILE:///data/a.txt", Some("file:///data/a.txt")),
            ("file://localhost/data/a.txt", Some("file:///data/a.txt")),
            ("file:///data/%61.txt", Some("file:///data/a.txt")),
            ("file:///data/%c3%a9", Some("file:///data/%C3%A9")),
            ("file:///data/", Some("file:///data/")),
            ("https://Example.COM:443/a?b=%2b", Some("https://example.com/a?b=%2B")),
            ("https://example.com./a", Some("https://example.com/a")),
            ("https://example.com:/a", Some("https://example.com/a")),
            ("http://example.com:8080", Some("http://example.com:8080")),
            ("test://template/123/data", Some("test://template/123/data")),
            ("memo:x", Some("memo:x")),
            ("urn:isbn:0451450523", Some("urn:isbn:0451450523")),
            ("note://x/{name}", Some("note://x/{name}")),
            ("file:///data/../etc/passwd", None),
            ("file:///data/%2e%2e/etc/passwd", None),
            ("file:///data/..;x/etc/passwd", None),
            ("file:///data/./a", None),
            ("file:///data//a", None),
            ("file:////data/a", None),
            ("file:///data/..%2fetc", None),
            ("file:///data/..%5cetc", None),
            ("file:///data\\..\\etc", None),
            ("file:///data/%252e%252e/etc", None),
            ("file:///data/a%00.txt", None),
            ("file:///data/a%", None),
            ("file:///data/a%4", None),
            ("file:///data/a%+1", None),
            ("file:///data/a#b", None),
            ("file:///data/a?b", None),
            ("file:///data/a b", None),
            (" file:///data/a", None),
            ("file:///data/a\u{200b}", None),
            ("https://user@example.com/a", None),
            ("https://example.com../a", None),
            ("/data/a", None),
            ("data", None),
            ("1a:b", None),
            ("a:", None),
            ("", None),
        ] {
            assert_eq!(canonical(uri).as_deref(), expected, "{uri}");
        }
    }

    #[test]
    fn is_idempotent() {
        for uri in ["FILE://LOCALHOST/%7ea", "hTTp://A:80/%c3%A9?%2f".trim_end_matches("?%2f")] {
            let once = canonical(uri).unwrap().into_owned();
            assert_eq!(canonical(&once).as_deref(), Some(&*once));
        }
    }
}
