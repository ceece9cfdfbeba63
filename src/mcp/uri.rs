//! URIs of resources, in the one spelling by which a policy matches them.
//!
//! RFC 3986 (section 6.2.2) lets one resource have many spellings, and servers undo more of them than the RFC knows. What is
//! only a matter of spelling is normalised; what two readers could take for two places has no canonical form, and is refused.

use std::borrow::Cow;
use std::net::{Ipv4Addr, Ipv6Addr};

/// The canonical spelling of an absolute URI: scheme and host in lower case, escapes undone but for those of space, `?`, `#`, `*` and, in
/// a query, `&`, `=`, `+`, `;`. Schemes that name a host for everybody lose the default port, and files the name `localhost`.
///
/// `None` where there is none: no scheme, control characters, white space or invisible ones, a backslash, a fragment, dot segments or
/// empty segments, an escaped slash, backslash, percent sign or control character, escapes that are not two digits or not UTF-8, a user
/// name; a host that has several spellings; a file on another host, without a path, with a query or with a slash at its end.
#[must_use]
pub fn canonical(uri: &str) -> Option<Cow<'_, str>> {
    let (scheme, rest) = uri.split_once(':')?;
    if !is_scheme(scheme) || rest.is_empty() || rest.contains(odd) {
        return None;
    }
    let scheme = scheme.to_ascii_lowercase();
    let (rest, query) = match rest.split_once('?') {
        Some((rest, query)) => (rest, Some(query)),
        None => (rest, None),
    };
    let (authority, path) = match rest.strip_prefix("//") {
        Some(rest) => rest.split_at_checked(rest.find('/').unwrap_or(rest.len()))?,
        // The short form of RFC 8089, appendix B.
        None if scheme == "file" && rest.starts_with('/') => ("", rest),
        None if names_host(&scheme) => return None,
        None => ("", rest),
    };
    let slashes = if rest.starts_with("//") || names_host(&scheme) { "//" } else { "" };
    let authority = self::authority(&scheme, authority)?;
    let mut path = decoded(path, |byte| matches!(byte, b' ' | b'?' | b'#' | b'*'))?;
    if path.is_empty() && names_host(&scheme) {
        path.push('/');
    }
    let file = scheme == "file";
    if !plain_segments(&path) || (file && (query.is_some() || path.ends_with('/'))) {
        return None;
    }
    let mut text = format!("{scheme}:{slashes}{authority}{path}");
    if let Some(query) = query {
        let kept = |byte| matches!(byte, b' ' | b'?' | b'#' | b'*' | b'&' | b'=' | b'+' | b';');
        text.push('?');
        text.push_str(&decoded(query, kept)?);
    }
    Some(if text == uri { Cow::Borrowed(uri) } else { Cow::Owned(text) })
}

fn is_scheme(text: &str) -> bool {
    let mut letters = text.bytes();
    letters.next().is_some_and(|first| first.is_ascii_alphabetic())
        && letters.all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.'))
}

fn odd(character: char) -> bool {
    character.is_control()
        || character.is_whitespace()
        || crate::matcher::fold::invisible(character)
        || matches!(character, '\\' | '#')
}

/// The schemes of which every reader knows what stands where (WHATWG URL calls them special). In others the authority is just a name.
fn names_host(scheme: &str) -> bool {
    matches!(scheme, "file" | "http" | "https" | "ws" | "wss" | "ftp")
}

fn authority(scheme: &str, text: &str) -> Option<String> {
    let reserved = |byte: u8| {
        byte.is_ascii()
            && !byte.is_ascii_alphanumeric()
            && !matches!(byte, b'-' | b'.' | b'_' | b'~')
    };
    let text = decoded(text, reserved)?.to_lowercase();
    if text.contains(['@', '%']) {
        return None;
    }
    match scheme {
        "file" => matches!(&*text, "" | "localhost").then(String::new),
        _ if !names_host(scheme) => Some(text),
        _ => {
            let (host, port) = match text.rsplit_once(':') {
                Some((host, port)) if !port.contains(']') => (host, port),
                Some(_) | None => (&*text, ""),
            };
            let plain = port.bytes().all(|byte| byte.is_ascii_digit()) && !port.starts_with('0');
            let default = match scheme {
                "http" | "ws" => "80",
                "ftp" => "21",
                _ => "443",
            };
            let port = if port == default { "" } else { port };
            let colon = if port.is_empty() { "" } else { ":" };
            plain.then(|| Some(format!("{}{colon}{port}", self::host(host)?)))?
        }
    }
}

/// A host by its name or address. Names in other letters than ASCII have another spelling in ASCII, and some addresses have many.
fn host(text: &str) -> Option<String> {
    if let Some(address) = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')) {
        return Some(format!("[{}]", address.parse::<Ipv6Addr>().ok()?));
    }
    let name = text.strip_suffix('.').unwrap_or(text);
    let last = name.rsplit('.').next().unwrap_or_default();
    let numeric = last.bytes().all(|byte| byte.is_ascii_digit()) || last.starts_with("0x");
    let whole = !last.is_empty()
        && !name.starts_with('.')
        && name.is_ascii()
        && !name.contains([':', '[', ']']);
    (whole && (!numeric || name.parse::<Ipv4Addr>().is_ok())).then(|| name.to_owned())
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

/// The text with escapes undone, but for those of bytes that are `kept`. In patterns `*` has a meaning, so it is never plain.
fn decoded(text: &str, kept: impl Fn(u8) -> bool) -> Option<String> {
    let mut pieces = text.split('%');
    let mut bytes = pieces.next().unwrap_or_default().as_bytes().to_vec();
    for piece in pieces {
        let (digits, rest) = piece.split_at_checked(2)?;
        if !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return None;
        }
        match u8::from_str_radix(digits, 16).ok()? {
            b'/' | b'\\' | b'%' | 0..=0x1f | 0x7f => return None,
            byte if kept(byte) => bytes.extend_from_slice(format!("%{byte:02X}").as_bytes()),
            byte => bytes.push(byte),
        }
        bytes.extend_from_slice(rest.as_bytes());
    }
    let text = String::from_utf8(bytes).ok()?;
    (!text.contains(odd)).then(|| text.replace('*', "%2A"))
}

#[cfg(test)]
mod tests {
    use super::canonical;

    #[test]
    fn spellings() {
        for (uri, expected) in [
            ("file:///data/a.txt", "file:///data/a.txt"),
            ("FILE:///data/a.txt", "file:///data/a.txt"),
            ("file://localhost/data/a.txt", "file:///data/a.txt"),
            ("file:///data/%61.txt", "file:///data/a.txt"),
            ("file:///data/%c3%a9", "file:///data/é"),
            ("file:///data/é", "file:///data/é"),
            ("file:/data/a", "file:///data/a"),
            ("file:///data/%28%7B%40%3a%2C", "file:///data/({@:,"),
            ("file:///data/a%20b%3f%23%2a*", "file:///data/a%20b%3F%23%2A%2A"),
            ("test:///data/", "test:///data/"),
            ("https://Example.COM:443/a?b=%2b%28", "https://example.com/a?b=%2B("),
            ("http://127.0.0.1/a", "http://127.0.0.1/a"),
            ("http://[0:0::1]:80/a", "http://[::1]/a"),
            ("memo://Caf%C3%A9:1/a", "memo://café:1/a"),
            ("https://example.com./a", "https://example.com/a"),
            ("https://example.com:/a", "https://example.com/a"),
            ("http://example.com:8080", "http://example.com:8080/"),
            ("test://template/123/data", "test://template/123/data"),
            ("memo:x", "memo:x"),
            ("urn:isbn:0451450523", "urn:isbn:0451450523"),
            ("note://x/{name}", "note://x/{name}"),
        ] {
            assert_eq!(canonical(uri).as_deref(), Some(expected), "{uri}");
        }
    }

    #[test]
    fn what_could_be_two_places_has_none() {
        for uri in [
            "file:///",
            "file:///data/",
            "file:data",
            "file:",
            "file://",
            "file://server/data/a",
            "file://x/../data/a",
            "https://example.com:0443/a",
            "https://example.com%3A443/a",
            "https://user%40example.com/a",
            "https:example.com/a",
            "https:/example.com/a",
            "https:///a",
            "https://bücher.example/a",
            "http://127.1/a",
            "http://0x7f000001/a",
            "http://2130706433/a",
            "file:///data/../etc/passwd",
            "file:///data/%2e%2e/etc/passwd",
            "file:///data/..;x/etc/passwd",
            "file:///data/./a",
            "file:///data//a",
            "file:////data/a",
            "file:///data/..%2fetc",
            "file:///data/..%5cetc",
            "file:///data\\..\\etc",
            "file:///data/%252e%252e/etc",
            "file:///data/a%00.txt",
            "file:///data/a%",
            "file:///data/a%4",
            "file:///data/a%+1",
            "file:///data/%c0%ae%c0%ae/etc",
            "file:///data/%e9",
            "file:///data/a%e2%80%8b",
            "file:///data/a%c2%a0",
            "file:///data/..%3bx/etc",
            "file:///data/a#b",
            "file:///data/a?b",
            "file:///data/a b",
            " file:///data/a",
            "file:///data/a\u{200b}",
            "https://user@example.com/a",
            "https://example.com../a",
            "/data/a",
            "data",
            "1a:b",
            "a:",
            "",
        ] {
            assert_eq!(canonical(uri), None, "{uri}");
        }
    }

    #[test]
    fn is_idempotent() {
        for uri in ["FILE://LOCALHOST/%7ea", "hTTp://A:80/%c3%A9*?%3f%28*", "x:%2A%20"] {
            let once = canonical(uri).unwrap().into_owned();
            assert_eq!(canonical(&once).as_deref(), Some(&*once));
        }
    }
}
