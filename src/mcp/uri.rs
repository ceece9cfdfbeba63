//! URIs of resources, in the one spelling by which a policy matches them.
//!
//! Servers read URIs as WHATWG URL says (the SDKs of TypeScript and Python do), as RFC 3986 says, or undo more than either.
//! INVARIANT: two URIs that WHATWG URL takes for one place have one canonical spelling, or one of them has none and is refused; and
//! what WHATWG URL or RFC 3986 takes for two places has two. `tests/suite/uris.rs` holds it against another implementation. What
//! honest servers and clients spell in several ways is one place all the same: escapes, and Unicode's normal forms.
//! Where the two specifications disagree, [`relax`] has the other reading.

use std::borrow::Cow;
use std::net::{Ipv4Addr, Ipv6Addr};

use crate::bounds::MAX_URI_BYTES;
use crate::matcher::normal::nfc;

/// The canonical spelling of an absolute URI: scheme, and host where the scheme names one for everybody, in lower case; escapes undone
/// but for those of space, `?`, `#`, `*` and, in a query, `&`, `=`, `+`, `;`; in Unicode's normal form C. No default port, no empty
/// one; files lose the name `localhost`.
///
/// `None` where there is none: too long, no scheme, control characters, white space or invisible ones, a backslash, a fragment, dot segments or
/// empty segments, an escaped slash, backslash, percent sign or control character, escapes that are not two digits or not UTF-8, an
/// escape of ASCII in a host; a user name where the scheme names a host, a password anywhere; a host or port that has several
/// spellings; a file on another host, without a path, with a query, with a slash at its end or with `|` behind the letter of a drive.
///
/// ```
/// use mcp_policy::mcp::uri::canonical;
///
/// assert_eq!(canonical("HTTPS://Example.com:443/a%62c").as_deref(), Some("https://example.com/abc"));
/// assert_eq!(canonical("file:///data/../etc/passwd"), None);
/// ```
#[must_use]
pub fn canonical(uri: &str) -> Option<Cow<'_, str>> {
    let (scheme, rest) = uri.split_once(':')?;
    if uri.len() > MAX_URI_BYTES || !is_scheme(scheme) || rest.is_empty() || rest.contains(odd) {
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
    if !plain_segments(&path)
        || (file && (query.is_some() || path.ends_with('/') || drive(&path) == Some('|')))
    {
        return None;
    }
    let mut text = format!("{scheme}:{slashes}{authority}{path}");
    if let Some(query) = query {
        let kept = |byte| matches!(byte, b' ' | b'?' | b'#' | b'*' | b'&' | b'=' | b'+' | b';');
        text.push('?');
        text.push_str(&decoded(query, kept)?);
    }
    // Escapes make it longer, and what is canonical is its own canonical form.
    if text.len() > MAX_URI_BYTES {
        return None;
    }
    Some(if text == uri { Cow::Borrowed(uri) } else { Cow::Owned(text) })
}

/// A canonical URI, or a pattern of them, as some servers read it that are less exact: a host of any scheme in lower case (RFC 3986), no
/// user name (servers that look at the host alone), no slash instead of a path (RFC 3986), the letter of a drive in lower case. What is
/// denied in this spelling is not to be had in the other.
#[must_use]
pub fn relax(uri: &str) -> Cow<'_, str> {
    let Some((scheme, rest)) = uri.split_once("://") else { return Cow::Borrowed(uri) };
    let (authority, path) =
        rest.split_at_checked(rest.find('/').unwrap_or(rest.len())).unwrap_or((rest, ""));
    let (authority, query) = match authority.split_once('?') {
        // In a pattern it may be a wildcard; either way nothing else stands behind it.
        Some(_) if path.is_empty() => authority
            .split_at_checked(authority.find('?').unwrap_or_default())
            .unwrap_or((authority, "")),
        _ => (authority, ""),
    };
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host).to_lowercase();
    let path = match drive(path) {
        Some(':') if scheme == "file" => {
            let (letter, rest) = path.split_at_checked(2).unwrap_or((path, ""));
            format!("{}{rest}", letter.to_ascii_lowercase())
        }
        _ if path == "/" && !names_host(scheme) => String::new(),
        _ => path.to_owned(),
    };
    let relaxed = format!("{scheme}://{}{query}{path}", nfc(&host));
    if relaxed == uri { Cow::Borrowed(uri) } else { Cow::Owned(relaxed) }
}

/// The canonical spelling of the path of a request: letters, digits and `-._~` unescaped, other escapes in upper case. Only these are
/// the same for everything that routes by paths. `None` as of [`canonical`].
#[must_use]
pub fn canonical_path(path: &str) -> Option<String> {
    if path.contains(odd) {
        return None;
    }
    decoded(path, |byte| !is_plain(byte)).filter(|path| plain_segments(path))
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
    // Readers disagree about escapes of ASCII, but for those that are undone where the scheme names a host.
    let text = decoded(text, |byte| byte.is_ascii() && !(names_host(scheme) && is_plain(byte)))?;
    if text.contains('%') {
        return None;
    }
    if scheme == "file" {
        return (text.is_empty() || text.eq_ignore_ascii_case("localhost")).then(String::new);
    }
    let (user, place) = match text.rsplit_once('@') {
        Some((user, place)) => (Some(user), place),
        None => (None, &*text),
    };
    let end = match place.strip_prefix('[') {
        Some(rest) => rest.find(']')? + 2,
        None => place.find(':').unwrap_or(place.len()),
    };
    let (name, port) = place.split_at_checked(end)?;
    let port = match port.strip_prefix(':') {
        Some(port) => self::port(scheme, port)?,
        None if port.is_empty() => "",
        None => return None,
    };
    let host = self::host(scheme, name)?;
    let colon = if port.is_empty() { "" } else { ":" };
    match user {
        None if host.is_empty() && place.contains(':') => None,
        None => Some(format!("{host}{colon}{port}")),
        Some(user) => {
            let named = !host.is_empty() && !names_host(scheme) && is_user(user);
            named.then(|| format!("{user}@{host}{colon}{port}"))
        }
    }
}

/// A user name without a password, of characters that nobody escapes.
fn is_user(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(is_plain)
}

/// What RFC 3986 calls unreserved: the same with and without an escape.
fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

/// A port in its one spelling, empty where it is the default; in templates a variable.
fn port<'t>(scheme: &str, text: &'t str) -> Option<&'t str> {
    let default = match scheme {
        "http" | "ws" => "80",
        "https" | "wss" => "443",
        "ftp" => "21",
        _ => "",
    };
    let variable = text.starts_with('{') && text.ends_with('}');
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    let number = digits && text.parse::<u16>().is_ok() && (text == "0" || !text.starts_with('0'));
    match text {
        "" => Some(""),
        _ if text == default => Some(""),
        _ => (variable || number).then_some(text),
    }
}

/// A host by its name or address. Where the scheme names a host, names in other letters than ASCII have another spelling in ASCII, and
/// some addresses have many. In other schemes a host is just a text; what it means is for its server to say.
fn host(scheme: &str, text: &str) -> Option<String> {
    if let Some(address) = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')) {
        return Some(format!("[{}]", address.parse::<Ipv6Addr>().ok()?));
    }
    if text.contains([':', '[', ']']) {
        return None;
    }
    if !names_host(scheme) {
        return Some(text.to_owned());
    }
    let last = text.rsplit('.').next().unwrap_or_default().to_ascii_lowercase();
    let numeric = last.bytes().all(|byte| byte.is_ascii_digit()) || last.starts_with("0x");
    let whole = !last.is_empty() && !text.starts_with('.') && text.is_ascii();
    (whole && (!numeric || text.parse::<Ipv4Addr>().is_ok())).then(|| text.to_ascii_lowercase())
}

/// What stands behind the letter of a drive at the head of a path: `:`, or `|`, which WHATWG URL takes for the same.
fn drive(path: &str) -> Option<char> {
    let mut letters = path.chars();
    let slash = letters.next() == Some('/');
    let letter = letters.next().is_some_and(|letter| letter.is_ascii_alphabetic());
    let mark = letters.next().filter(|mark| matches!(mark, ':' | '|'));
    mark.filter(|_| slash && letter && matches!(letters.next(), None | Some('/')))
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
    let text = String::from_utf8(bytes).ok().filter(|text| !text.contains(odd))?;
    let text = nfc(&text).replace('*', "%2A");
    // A mark behind an escape would join its last letter, and what it escapes would have two spellings.
    (has_whole_escapes(&text) && *nfc(&text) == *text).then_some(text)
}

fn has_whole_escapes(text: &str) -> bool {
    text.split('%').skip(1).all(|piece| {
        let digits = piece.get(..2);
        digits.is_some_and(|digits| digits.bytes().all(|digit| digit.is_ascii_hexdigit()))
    })
}

#[cfg(test)]
mod tests {
    use super::{canonical, relax};

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
            ("memo://Caf%C3%A9:1/a", "memo://Café:1/a"),
            ("memo://cafe%CC%81/cafe\u{301}?e%cc%81", "memo://café/café?é"),
            ("memo://keys:/root", "memo://keys/root"),
            ("db://prod:5432/x", "db://prod:5432/x"),
            ("db://prod:0/x", "db://prod:0/x"),
            ("db://{host}:{port}/x", "db://{host}:{port}/x"),
            ("db://[0:0::1]/x", "db://[::1]/x"),
            ("db://[::FFFF:1.2.3.4]/x", "db://[::ffff:1.2.3.4]/x"),
            ("db://[::ffff:102:304]:5/x", "db://[::ffff:1.2.3.4]:5/x"),
            ("postgres://user@host:5432/db/schema", "postgres://user@host:5432/db/schema"),
            ("greeting://World", "greeting://World"),
            ("memo:///x", "memo:///x"),
            ("memo:/x", "memo:/x"),
            ("file:///C:/x", "file:///C:/x"),
            ("file:///c%3A/x", "file:///c:/x"),
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
            "memo:/x*\u{30c}",
            "memo:/x%2A\u{30c}",
            "memo:/x%2a%CC%8C",
            "memo:/x%3F\u{307}?a=%3D\u{30c}",
        ] {
            assert_eq!(canonical(uri), None, "{uri}");
        }
    }

    #[test]
    fn what_leads_elsewhere_has_none() {
        for uri in [
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
            "https://example.com./a",
            "https://example.com:65536/a",
            "db://prod:05432/x",
            "db://prod:65536/x",
            "db://prod:5a/x",
            "db://prod:1:2/x",
            "db://%70rod/x",
            "db://pr%6Fd/x",
            "db://:1/x",
            "db://:/x",
            "db://[::1/x",
            "db://[::1]x/x",
            "db://a:b@prod/x",
            "db://a:@prod/x",
            "db://@prod/x",
            "db://a@/x",
            "file:///C|/x",
            "file:///c%7C/x",
            "file:/C|",
            "memo://a/..\u{37e}x",
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
    fn other_readings() {
        for (uri, expected) in [
            ("memo://Keys/Root", "memo://keys/Root"),
            ("memo://user@Keys:1/Root", "memo://keys:1/Root"),
            ("memo://KEYS?Q", "memo://keys?Q"),
            ("memo://keys/", "memo://keys"),
            ("memo://Keys/*", "memo://keys/*"),
            ("https://example.com/", "https://example.com/"),
            ("file:///C:/X", "file:///c:/X"),
            ("file:///Data/X", "file:///Data/X"),
            ("memo:X", "memo:X"),
        ] {
            assert_eq!(relax(uri), expected, "{uri}");
        }
    }

    #[test]
    fn is_idempotent() {
        for uri in ["FILE://LOCALHOST/%7ea", "hTTp://A:80/%c3%A9*?%3f%28*", "x:%2A%20"] {
            let once = canonical(uri).unwrap().into_owned();
            assert_eq!(canonical(&once).as_deref(), Some(&*once));
        }
        let starred = |stars| canonical(&format!("x:{}", "*".repeat(stars))).map(|uri| uri.len());
        assert_eq!((starred(2730), starred(2731)), (Some(8192), None));
    }
}
