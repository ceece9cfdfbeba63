//! Headers by which a caller would steer Envoy or the server: to another method, path or host than was judged, or to another number of calls.

use super::Header;

/// Request headers that are Envoy's own. An agent that sets them could make one counted call run many times, make Envoy give
/// up on a call that the server goes on to execute, send it elsewhere, or mislead the server and the operator.
const CONTROLS: [&str; 16] = [
    "x-envoy-retry-on",
    "x-envoy-retry-grpc-on",
    "x-envoy-max-retries",
    "x-envoy-retriable-status-codes",
    "x-envoy-retriable-header-names",
    "x-envoy-hedge-on-per-try-timeout",
    "x-envoy-upstream-rq-timeout-ms",
    "x-envoy-upstream-rq-per-try-timeout-ms",
    "x-envoy-upstream-rq-timeout-alt-response",
    "x-envoy-upstream-stream-duration-ms",
    "x-envoy-upstream-alt-stat-name",
    "x-envoy-expected-rq-timeout-ms",
    "x-envoy-original-dst-host",
    "x-envoy-original-path",
    "x-envoy-decorator-operation",
    "x-envoy-ip-tags",
];

/// Headers by which a server may see another method. Some read `_` as `-`.
const OVERRIDES: [&str; 4] =
    ["x-http-method-override", "x-http-method", "x-method-override", "x-original-method"];

/// Headers in which servers may see another path than the one that was judged. No proxy in front of MCP needs them.
const OTHER_PATHS: [&str; 3] = ["x-original-url", "x-original-uri", "x-rewrite-url"];

/// Headers in which proxies say which host or path the client asked them for, and by which servers may choose an
/// application.
const FORWARDED: [&str; 10] = [
    "forwarded",
    "x-forwarded-host",
    "x-forwarded-path",
    "x-forwarded-prefix",
    "x-forwarded-server",
    "x-forwarded-uri",
    "x-host",
    "x-http-host-override",
    "x-original-host",
    "x-script-name",
];

/// The headers of a request by which its server may see another path than was judged, or, where the host was judged too, another host
/// or another beginning of the path; to be removed. One that names the very host of the request may stay.
pub fn detours(headers: &[Header<'_>], judges_host: bool) -> impl Iterator<Item = String> {
    let own = headers.iter().find(|(name, _)| *name == b":authority").map(|(_, value)| *value);
    let same = move |name: &[u8], value: &[u8]| {
        name == b"x-forwarded-host" && own.is_some_and(|own| own.eq_ignore_ascii_case(value))
    };
    let leads_away = move |name: &[u8], value: &[u8]| {
        is_one_of(&OTHER_PATHS, name)
            || judges_host && is_one_of(&FORWARDED, name) && !same(name, value)
    };
    let away = headers.iter().filter(move |(name, value)| leads_away(name, value));
    away.filter_map(|(name, _)| String::from_utf8(name.to_vec()).ok())
}

/// The headers of a request that would make Envoy itself repeat, redirect or cut it; to be removed.
pub fn controls(headers: &[Header<'_>]) -> impl Iterator<Item = &'static str> {
    let steering = headers.iter().filter(|(name, _)| name.starts_with(b"x-envoy-"));
    steering.filter_map(|(name, _)| {
        CONTROLS.iter().find(|control| control.as_bytes() == *name).copied()
    })
}

/// Whether a header lets a server see another method.
pub(super) fn overrides(name: &[u8]) -> bool {
    is_one_of(&OVERRIDES, name)
}

/// Whether a header is one of these to servers that read `_` as `-` (CGI, WSGI).
fn is_one_of(known: &[&str], name: &[u8]) -> bool {
    let plain = |byte: &u8| if *byte == b'_' { b'-' } else { *byte };
    matches!(name, [b'x' | b'f', ..])
        && known.iter().any(|known| known.bytes().eq(name.iter().map(plain)))
}
