use super::super::binding::PathPattern;
use super::{Doors, Unread, meet};

fn pattern(text: &str) -> PathPattern {
    PathPattern::new(text).unwrap()
}

#[test]
fn spots_meet_where_one_path_is_at_both() {
    for (one, other, expected) in [
        ("/mcp", "/mcp", true),
        ("/mcp", "/mcp/", true),
        ("/MCP", "/mcp", true),
        ("/mcp", "/mcq", false),
        ("/mcp", "/mcp/x", false),
        ("/mcp/*", "/mcp", true),
        ("/mcp/*", "/mcp/x/y", true),
        ("/m?p", "/mcp", true),
        ("/m?p", "/mp", false),
        ("/a*c", "/abc", true),
        ("/a*c", "/*b*", true),
        ("/a*c", "/*d", false),
        ("/a/*", "/*/b", true),
        ("/a/*", "/b/*", false),
        ("/*", "/token", true),
        ("/docs/*.json", "/docs/a*", true),
        ("/docs/*.json", "/docs/?", false),
    ] {
        assert_eq!(meet(&pattern(one), &pattern(other)), expected, "{one} {other}");
        assert_eq!(meet(&pattern(other), &pattern(one)), expected, "{other} {one}");
    }
}

#[test]
fn only_the_exact_path_passes_unread() {
    let unread = vec![
        Unread { pattern: pattern("/token"), methods: &[b"POST"] },
        Unread { pattern: pattern("/docs/*"), methods: &[] },
    ];
    let doors = Doors { mcp: None, unread };
    for (method, target, expected) in [
        ("POST", "/token", true),
        ("POST", "/token?a=/../b", true),
        ("GET", "/token", false),
        ("post", "/token", false),
        ("POST", "/token/", false),
        ("POST", "/TOKEN", false),
        ("POST", "/%74oken", false),
        ("POST", "//token", false),
        ("POST", "/./token", false),
        ("POST", "/x/../token", false),
        ("POST", "/token;x", false),
        ("POST", "/token#x", false),
        ("POST", "/token%2f", false),
        ("POST", "http://h/token", false),
        ("PATCH", "/docs/a/b", true),
        ("GET", "/docs/a%20b", true),
        ("GET", "/docs/a%c3%a9", false),
        ("GET", "/docs/../admin", false),
        ("GET", "/docs/%2e%2e/admin", false),
        ("GET", "/docs/..;/admin", false),
        ("GET", "/docs/..%2fadmin", false),
        ("GET", "/docs/a\\..\\..\\admin", false),
        ("GET", "/docs//admin", false),
        ("GET", "/docs/%252e%252e/admin", false),
        ("GET", "/docs/\u{ff0e}\u{ff0e}/admin", false),
        ("GET", "/docs", false),
        ("OPTIONS", "*", false),
        ("GET", "", false),
    ] {
        let passes = doors.let_by(Some(method.as_bytes()), false, Some(target.as_bytes()));
        assert_eq!(passes, expected, "{method} {target}");
    }
    assert!(doors.let_by(Some(b"OPTIONS"), true, Some(b"/token")));
    assert!(!doors.let_by(Some(b"OPTIONS"), true, Some(b"/tokens")));
    assert!(!doors.let_by(None, false, Some(b"/token")));
}

#[test]
fn mcp_is_spoken_where_it_is_said() {
    let doors = Doors { mcp: Some(vec![pattern("/mcp"), pattern("/team/*")]), unread: Vec::new() };
    for (target, expected) in [
        ("/mcp", Some(true)),
        ("/mcp?x=/y", Some(true)),
        ("/%6dcp", Some(true)),
        ("/team/a/b", Some(true)),
        ("/", Some(false)),
        ("/mcpx", Some(false)),
        ("/mcp/x", Some(false)),
        ("/admin/reset", Some(false)),
        ("/mcp/", None),
        ("/MCP", None),
        ("/Team/a", None),
        ("//mcp", None),
        ("/x/../mcp", None),
        ("/mcp;x", None),
        ("*", None),
        ("", None),
    ] {
        assert_eq!(doors.speak_mcp(Some(target.as_bytes())).ok(), expected, "{target}");
    }
    assert!(doors.speak_mcp(None).is_err());
    assert_eq!(doors.example().as_deref(), Some("/mcp"));
    assert_eq!(Doors::default().speak_mcp(None), Ok(true));
}
