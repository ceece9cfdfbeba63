use super::facts::{Facts, Single};
use super::media::{base64, is_json};
use super::{Admission, Follows, Framing, Header, admit};
use crate::mcp::message::{Body, parse_body};

fn list<'h>(pairs: &[(&'h str, &'h [u8])]) -> Vec<Header<'h>> {
    pairs.iter().map(|(name, value)| (name.as_bytes(), *value)).collect()
}

fn post(pairs: &[(&str, &[u8])]) -> Result<super::Head, String> {
    let mut all = list(&[(":method", b"POST")]);
    if !pairs.iter().any(|(name, _)| *name == "content-type") {
        all.extend(list(&[("content-type", b"application/json")]));
    }
    all.extend(list(pairs));
    match admit(&all, Follows::Body, 1000) {
        Ok(Admission::Judge(head)) => Ok(*head),
        Ok(Admission::Pass | Admission::Stream(_)) => Err("pass".into()),
        Err(refusal) => Err(format!("{} {}", refusal.reason.label(), refusal.detail).trim().into()),
    }
}

#[test]
fn methods() {
    for (method, follows, expected) in [
        ("GET", Follows::Nothing, "stream"),
        ("DELETE", Follows::Nothing, "pass"),
        ("GET", Follows::Body, "body_not_allowed"),
        ("OPTIONS", Follows::Body, "body_not_allowed"),
        ("PUT", Follows::Body, "method_not_allowed"),
        ("post", Follows::Body, "method_not_allowed"),
        ("TRACE", Follows::Nothing, "method_not_allowed"),
        ("CONNECT", Follows::Body, "method_not_allowed"),
    ] {
        let outcome = match admit(&list(&[(":method", method.as_bytes())]), follows, 1) {
            Ok(Admission::Pass) => "pass",
            Ok(Admission::Stream(_)) => "stream",
            Ok(Admission::Judge(_)) => "judge",
            Err(refusal) => refusal.reason.label(),
        };
        assert_eq!(outcome, expected, "{method}");
    }
    let get = list(&[(":method", b"GET"), ("x-http-method-override", b"POST")]);
    assert_eq!(admit(&get, Follows::Nothing, 1).unwrap_err().reason.label(), "method_override");
}

#[test]
fn refuses_at_sight() {
    for (pairs, expected) in [
        (&[("content-type", &b"text/plain"[..])][..], "content_type"),
        (
            &[("content-type", b"application/json"), ("content-type", b"application/json")],
            "repeated_header content-type",
        ),
        (&[("content-encoding", b"gzip")], "content_encoding"),
        (&[("content-encoding", b"identity, gzip")], "content_encoding"),
        (&[("content-length", b"1001")], "body_too_large"),
        (&[("content-length", b"99999999999999999999999")], "body_too_large"),
        (&[("mcp-name", b"=?base64?!?=")], "header_mismatch Mcp-Name"),
        (&[("mcp-name", b"\xff\xfe")], "header_mismatch Mcp-Name"),
        (&[("mcp-param-a", b"1"), ("mcp-param-a", b"1")], "header_mismatch Mcp-Param"),
        (&[("mcp-param-a", b"=?base64?/w==?=")], "header_mismatch Mcp-Param"),
    ] {
        assert_eq!(post(pairs), Err(expected.to_owned()), "{pairs:?}");
    }
}

#[test]
fn what_names_a_caller_is_there_once() {
    let wanted = ["x-team".into()];
    let facts = list(&[("x-team", b"a"), ("authorization", b"a"), ("authorization", b"a")]);
    let facts = Facts::of(&facts, &wanted);
    assert_eq!(facts.kept, [Single::Once(b"a")]);
    assert_eq!(facts.session.value("mcp-session-id"), Ok(None));
    let repeated = facts.credential.value("authorization").unwrap_err();
    assert_eq!(repeated.reason.label(), "repeated_header");
}

#[test]
fn framing_and_controls() {
    let framing = |accept: &[u8]| post(&[("accept", accept)]).unwrap().framing;
    for (accept, expected) in [
        (&b"application/json, text/event-stream"[..], Framing::Json),
        (b"text/event-stream", Framing::EventStream),
        (b"text/event-stream, application/json;q=0", Framing::EventStream),
        (b"text/event-stream, */*", Framing::Json),
        (b"", Framing::Json),
        (b"\xff", Framing::Json),
    ] {
        assert_eq!(framing(accept), expected, "{accept:?}");
    }
    let head = post(&[("x-envoy-retry-on", b"5xx"), ("x-envoy-attempt-count", b"1")]).unwrap();
    assert_eq!(head.controls, ["x-envoy-retry-on"]);
}

#[test]
fn json_media_types() {
    for (value, expected) in [
        ("application/json", true),
        ("Application/JSON ; Charset=UTF-8", true),
        ("application/json;charset=\"utf-8\"", true),
        ("application/json;charset=utf-16", false),
        ("application/json;charset=utf-8;charset=utf-16", false),
        ("application/json;", false),
        ("application/json, text/plain", false),
        ("application/jsonx", false),
        ("application/vnd.x+json", false),
    ] {
        assert_eq!(is_json(value.as_bytes()), expected, "{value}");
    }
}

#[test]
fn base64_has_one_spelling() {
    for (encoded, expected) in [
        ("", Some("")),
        ("Zg==", Some("f")),
        ("Zm8=", Some("fo")),
        ("Zm9v", Some("foo")),
        ("Zm9vYmFyYmF6", Some("foobarbaz")),
        ("Zh==", None),
        ("Zg", None),
        ("Zg=a", None),
        ("====", None),
        ("Zm9-", None),
    ] {
        assert_eq!(base64(encoded.as_bytes()).as_deref(), expected.map(str::as_bytes), "{encoded}");
    }
}

#[test]
fn headers_agree_with_the_body() {
    let agrees = |pairs: &[(&str, &[u8])], body: &str| {
        let value = parse_body(body.as_bytes()).unwrap();
        let Body::Single(message) = Body::read(&value).unwrap() else { panic!("one message") };
        let outcome = post(pairs).unwrap().agrees_with(&message);
        outcome.map_or_else(|refusal| refusal.detail, |()| "")
    };
    let call = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"é"}}"#;
    let stated = r#"{"jsonrpc":"2.0","id":1,"method":"ping","params":{"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28"}}}"#;
    let read = r#"{"jsonrpc":"2.0","id":1,"method":"resources/read","params":{"uri":"a:b"}}"#;
    let number = r#"{"jsonrpc":"2.0","id":1,"method":"ping","params":{"_meta":{"io.modelcontextprotocol/protocolVersion":20260728}}}"#;
    let list = r#"{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{"cursor":"c1"}}"#;
    let notification = r#"{"jsonrpc":"2.0","method":"notifications/x"}"#;
    let modern = ("mcp-protocol-version", &b"2026-07-28"[..]);
    for (pairs, body, expected) in [
        (&[][..], call, ""),
        (&[modern], call, "Mcp-Method"),
        (&[modern, ("mcp-method", b"tools/call")], call, "Mcp-Name"),
        (&[modern, ("mcp-method", b"tools/call"), ("mcp-name", b"=?base64?w6k=?=")], call, ""),
        (&[("mcp-name", b"e")], call, "Mcp-Name"),
        (&[("mcp-method", b"tools/list")], call, "Mcp-Method"),
        (&[("mcp-protocol-version", b"2025-11-25")], stated, ""),
        (
            &[("mcp-protocol-version", b"2027-01-01"), ("mcp-method", b"ping")],
            stated,
            "MCP-Protocol-Version",
        ),
        (&[modern, ("mcp-method", b"ping")], stated, ""),
        (&[modern, ("mcp-method", b"resources/read")], read, "Mcp-Name"),
        (&[modern, ("mcp-method", b"resources/read"), ("mcp-name", b"a:b")], read, ""),
        (&[("mcp-protocol-version", b"nonsense")], call, ""),
        (&[modern, ("mcp-method", b"ping")], number, "MCP-Protocol-Version"),
        (&[("mcp-name", b"x")], list, "Mcp-Name"),
        (&[("mcp-name", b"c1")], list, ""),
        (&[modern], notification, ""),
    ] {
        assert_eq!(agrees(pairs, body), expected, "{pairs:?}");
    }
}
