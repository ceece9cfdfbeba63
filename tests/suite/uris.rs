//! URIs, held against another implementation of WHATWG URL over spellings that are made and not thought of: what it takes for one
//! place has one canonical spelling, or is refused in all but one; what it takes for two has two.

use std::collections::{BTreeMap, BTreeSet};

use icu_normalizer::ComposingNormalizerBorrowed;
use mcp_policy::mcp::uri::canonical;
use url::Url;

const SCHEMES: &[&str] = &[
    "memo", "db", "file", "https", "http", "ws", "wss", "ftp", "MEMO", "File", "hTTps", "postgres",
    "ui", "x+y-z.1",
];
const SLASHES: &[&str] = &["://", ":", ":/", ":///", ":////", ":\\\\", ":/\\", "://\t"];
const USERS: &[&str] = &["", "u@", "@", ":@", "u:@", "u:p@", "%75@", "U@", "u@v@", "u%40@"];
const HOSTS: &[&str] = &[
    "keys",
    "KEYS",
    "Keys",
    "k%65ys",
    "k%45ys",
    "keys.",
    "keys..",
    ".keys",
    "k\u{e9}ys",
    "k%C3%A9ys",
    "k%c3%a9ys",
    "ke\u{301}ys",
    "ke%CC%81ys",
    "K\u{c9}YS",
    "k\u{ff45}ys",
    "ke\u{ad}ys",
    "localhost",
    "LOCALHOST",
    "loc%61lhost",
    "127.0.0.1",
    "127.1",
    "0x7f.1",
    "0x7f000001",
    "2130706433",
    "0177.0.0.1",
    "127.0.0.01",
    "127.0.0.1.",
    "127.0.0.256",
    "keys.1",
    "keys.0x1",
    "1e3",
    "0x",
    "[::1]",
    "[0:0::1]",
    "[0:0:0:0:0:0:0:1]",
    "[::ffff:1.2.3.4]",
    "[::FFFF:102:304]",
    "[::ffff:1.2.3.04]",
    "[::1",
    "::1",
    "[::1%25a]",
    "xn--bcher-kva",
    "XN--BCHER-KVA",
    "b\u{fc}cher",
    "C:",
    "C|",
    "c|",
    "c%3A",
    "",
    "*",
    "a b",
    "a%20b",
    "k\tys",
    "k\nys",
    "{name}",
    "k%00ys",
    "k%2Fys",
    "k%5Cys",
    "k%ys",
    "a,b",
    "a_b",
    "a<b",
    "a|b",
    "a^b",
];
const PORTS: &[&str] = &[
    "",
    ":",
    ":80",
    ":080",
    ":443",
    ":0443",
    ":21",
    ":5432",
    ":05432",
    ":65535",
    ":65536",
    ":99999",
    ":0",
    ":00",
    ":-1",
    ":+80",
    ":8 0",
    ":8\t0",
    ":{port}",
    ":\u{ff18}",
    ":80:",
    "::80",
    ":80@",
];
const PATHS: &[&str] = &[
    "/root",
    "",
    "/",
    "/Root",
    "/%72oot",
    "/%52oot",
    "/root/",
    "/a/../root",
    "/../root",
    "/./root",
    "/root/.",
    "/root/..",
    "/%2e/root",
    "/%2E%2e/root",
    "/.%2E/root",
    "/a/..;/root",
    "//root",
    "/a//root",
    "/root%2Fx",
    "/root%5Cx",
    "/root\\x",
    "\\root",
    "/C|/x",
    "/C:/x",
    "/c:/x",
    "/c|/x",
    "/C%7C/x",
    "/C%3A/x",
    "/C|",
    "/C:",
    "/C|x",
    "/C:/../x",
    "/\u{e9}",
    "/e\u{301}",
    "/%C3%A9",
    "/%c3%a9",
    "/e%CC%81",
    "/%E9",
    "/a;b",
    "/a%3Bb",
    "/a b",
    "/a%20b",
    "/ro\tot",
    "/root\n",
    "/a|b",
    "/a%7Cb",
    "/{a}",
    "/%7Ba%7D",
    "/a'b",
    "/a%27b",
    "/a\"b",
    "/a%22b",
    "/a^b",
    "/a%5Eb",
    "/a`b",
    "/a%60b",
    "/a:b@c",
    "/a%3Ab%40c",
    "/a*",
    "/a%2A",
    "/a%2a",
    "/a%",
    "/a%4",
    "/a%zz",
    "/a%2525",
    "/\u{37e}",
    "/..\u{37e}x",
    "/\u{200b}root",
    "/\u{1d173}root",
    "/\u{212a}",
    "/\u{ff0f}",
    "/\u{ff0e}\u{ff0e}/root",
];
const TAILS: &[&str] = &[
    "",
    "?",
    "?q",
    "?q=1",
    "?q=%31",
    "?q=a+b",
    "?q=a%20b",
    "?q=a b",
    "?q='",
    "?q=%27",
    "?q%3D1",
    "?q=%3d",
    "?q=\u{e9}",
    "?q=%C3%A9",
    "?a&b",
    "?a%26b",
    "?a?b",
    "?a%3Fb",
    "#",
    "#f",
    "?q#f",
    "?#",
    " ",
    "\n",
    "\t",
    "\u{0}",
];

/// Spellings: every pair of components beside plain ones, and a walk through all combinations.
fn spellings() -> BTreeSet<String> {
    let parts = [SCHEMES, SLASHES, USERS, HOSTS, PORTS, PATHS, TAILS];
    let mut found = BTreeSet::new();
    let mut add = |choice: [usize; 7]| {
        let pieces = parts.iter().zip(choice).map(|(part, at)| part[at % part.len()]);
        found.insert(pieces.collect::<String>());
    };
    for scheme in 0..SCHEMES.len() {
        for one in 1..7 {
            for other in 1..one {
                for first in 0..parts[one].len() {
                    for second in 0..parts[other].len() {
                        let mut choice = [scheme, 0, 0, 0, 0, 0, 0];
                        (choice[one], choice[other]) = (first, second);
                        add(choice);
                    }
                }
            }
        }
    }
    let mut state: u64 = 7;
    let mut draw = |below: usize| {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % below
    };
    for _ in 0..40_000 {
        add(parts.map(|part| if draw(3) == 0 { draw(part.len()) } else { 0 }));
    }
    found
}

/// What WHATWG URL makes of a URI, without what honest clients and servers spell in several ways: escapes, and normal forms. Escapes of
/// ASCII in a host are no such thing.
fn place(url: &Url) -> String {
    let undo = |text: &str, kept: &[u8]| {
        let mut bytes = Vec::new();
        let mut rest = text.as_bytes();
        while let [first, after @ ..] = rest {
            rest = after;
            let escape = after.get(..2).filter(|_| *first == b'%');
            let escape = escape.and_then(|digits| std::str::from_utf8(digits).ok());
            match escape.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
                Some(byte) if !kept.contains(&byte) => {
                    bytes.push(byte);
                    rest = &after[2..];
                }
                Some(byte) => {
                    bytes.extend(format!("%{byte:02X}").bytes());
                    rest = &after[2..];
                }
                None => bytes.push(*first),
            }
        }
        let text = String::from_utf8_lossy(&bytes).into_owned();
        ComposingNormalizerBorrowed::new_nfc().normalize(&text).into_owned()
    };
    let ascii: Vec<u8> = (0..0x80).collect();
    let host = url.host_str().map(|host| undo(host, &ascii));
    let path = undo(url.path(), b" ?#").replace('*', "%2A");
    let query = url.query().map(|query| undo(query, b" ?#&=+;*").replace('*', "%2A"));
    format!(
        "{:?}",
        (
            url.scheme(),
            url.username(),
            url.password(),
            host,
            url.port(),
            path,
            query,
            url.fragment()
        )
    )
}

#[test]
fn one_place_has_one_spelling_and_two_have_two() {
    let (mut one, mut two) = (BTreeMap::new(), BTreeMap::new());
    let (mut all, mut read, mut split, mut merged) = (0, 0, Vec::new(), Vec::new());
    for spelling in spellings() {
        all += 1;
        let Some(ours) = canonical(&spelling).map(std::borrow::Cow::into_owned) else { continue };
        assert_eq!(
            canonical(&ours).as_deref(),
            Some(&*ours),
            "{spelling:?} has another spelling than its own"
        );
        let Ok(url) = Url::parse(&spelling) else { continue };
        read += 1;
        let (first, before) =
            one.entry(url.to_string()).or_insert_with(|| (ours.clone(), spelling.clone()));
        if *first != ours {
            split.push(format!("{before:?} is {first}, {spelling:?} is {ours}"));
        }
        let (first, before) =
            two.entry(ours.clone()).or_insert_with(|| (place(&url), spelling.clone()));
        if *first != place(&url) {
            merged.push(format!(
                "both are {ours}: {before:?} is {first}, {spelling:?} is {}",
                place(&url)
            ));
        }
    }
    assert!(all > 200_000 && read > 40_000, "{all} spellings, {read} read by both");
    assert!(
        split.is_empty(),
        "{} places have two spellings:\n{}",
        split.len(),
        split[..split.len().min(20)].join("\n")
    );
    assert!(
        merged.is_empty(),
        "{} spellings are two places:\n{}",
        merged.len(),
        merged[..merged.len().min(20)].join("\n")
    );
}

#[test]
fn honest_uris_are_read() {
    for uri in [
        "file:///home/user/notes.txt",
        "file:///C:/Users/me/a%20b.txt",
        "file:///c%3A/Users/me/x.txt",
        "file:/etc/hosts",
        "https://example.com/docs?page=2&lang=de",
        "https://example.com:8443/",
        "http://localhost:3000/a",
        "http://[::1]:8080/a",
        "test://static/resource/1",
        "test://template/{id}/data",
        "memo://insights",
        "memo:insights",
        "note://internal/My-Note",
        "note:///today",
        "postgres://localhost:5432/shop/orders/schema",
        "postgres://reader@db.example.com/shop/orders/schema",
        "postgresql://{host}:{port}/{table}",
        "screenshot://login-page",
        "screenshot://Login",
        "greeting://World",
        "greeting://J%C3%BCrgen",
        "ui://weather/forecast.html",
        "ui://Widget/App.html?v=2",
        "demo://resource/static/document/a.md",
        "resource://data/{category}/{id}",
        "weather://München/current",
        "github://repos/{owner}/{repo}/contents{/path*}",
        "data:text/plain,hello",
        "urn:uuid:6e8bc430-9c3a-11d9-9669-0800200c9a66",
        "context7://lib/next.js",
        "s3://bucket/Key/with space".trim_end_matches(" space"),
        "git://repo/main/src/lib.rs",
        "mongodb://cluster0/db.collection",
    ] {
        assert!(canonical(uri).is_some(), "{uri}");
    }
}
