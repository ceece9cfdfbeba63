use super::facts::{Facts, Single};
use super::media::{base64, is_json};
use super::{Admission, Follows, Framing, Header, admit};
use crate::json::Bounds;
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
        Ok(other) => Err(format!("{other:?}")),
        Err(refusal) => Err(format!("{} {}", refusal.reason.label(), refusal.detail).trim().into()),
    }
}

#[test]
fn methods() {
    for (method, follows, expected) in [
        ("GET", Follows::Nothing, "not_mcp"),
        ("HEAD", Follows::Nothing, "not_mcp"),
        ("OPTIONS", Follows::Nothing, "not_mcp"),
        ("DELETE", Follows::Nothing, "not_mcp"),
        ("get", Follows::Nothing, "method_not_allowed"),
        ("PROPFIND", Follows::Nothing, "method_not_allowed"),
        ("GET", Follows::Body, "body_not_allowed"),
        ("OPTIONS", Follows::Body, "body_not_allowed"),
        ("PUT", Follows::Body, "method_not_allowed"),
        ("post", Follows::Body, "method_not_allowed"),
        ("TRACE", Follows::Nothing, "method_not_allowed"),
        ("CONNECT", Follows::Body, "method_not_allowed"),
    ] {
        let outcome = match admit(&list(&[(":method", method.as_bytes())]), follows, 1) {
            Ok(_) => "passes",
            Err(refusal) => refusal.reason.label(),
        };
        assert_eq!(outcome, expected, "{method}");
    }
}

#[test]
fn what_has_no_body_is_mcp_in_three_shapes() {
    let shape = |method: &str, pairs: &[(&str, &str)]| {
        let mut all = vec![(":method", method.as_bytes()), (":path", &b"/mcp"[..])];
        all.extend(pairs.iter().map(|(name, value)| (*name, value.as_bytes())));
        match admit(&list(&all), Follows::Nothing, 1) {
            Ok(Admission::Stream) => "stream",
            Ok(Admission::End) => "end",
            Ok(Admission::Preflight) => "preflight",
            Ok(Admission::Judge(_)) => "judge",
            Err(refusal) => refusal.reason.label(),
        }
    };
    let events = ("accept", "text/event-stream");
    let session = ("mcp-session-id", "85f8");
    let preflight = [("origin", "http://a.test"), ("access-control-request-method", "POST")];
    for (method, pairs, expected) in [
        ("GET", &[events][..], "stream"),
        ("GET", &[("accept", "application/json, text/event-stream")], "stream"),
        ("GET", &[("accept", "Text/Event-Stream;q=0.9")], "stream"),
        ("GET", &[("accept", "text/*")], "not_mcp"),
        ("GET", &[("accept", "*/*")], "not_mcp"),
        ("GET", &[session], "not_mcp"),
        ("GET", &[events, ("upgrade", "websocket")], "not_mcp"),
        ("GET", &[events, (":protocol", "websocket")], "not_mcp"),
        ("GET", &[events, session, session], "repeated_header"),
        ("HEAD", &[events, session], "not_mcp"),
        ("DELETE", &[session], "end"),
        ("DELETE", &[events], "not_mcp"),
        ("DELETE", &[("mcp-session-id", "")], "session_unknown"),
        ("DELETE", &[("mcp-session-id", "a b")], "session_unknown"),
        ("DELETE", &[session, session], "repeated_header"),
        ("OPTIONS", &preflight, "preflight"),
        ("OPTIONS", &[preflight[0]], "not_mcp"),
        ("OPTIONS", &[preflight[1]], "not_mcp"),
        ("GET", &preflight, "not_mcp"),
        ("GET", &[events, ("x-http-method-override", "POST")], "method_override"),
        ("GET", &[events, ("x_http_method_override", "POST")], "method_override"),
        ("DELETE", &[session, ("x-original-method", "POST")], "method_override"),
    ] {
        assert_eq!(shape(method, pairs), expected, "{method} {pairs:?}");
    }
}

#[test]
fn a_query_that_names_a_method() {
    for (target, expected) in [
        ("/mcp?_method=DELETE", true),
        ("/mcp?a=b&_METHOD=PUT", true),
        ("/mcp?a;_method", true),
        ("/mcp?%5f%6Dethod=PUT", true),
        ("/mcp?method=PUT", false),
        ("/mcp?a=_method", false),
        ("/mcp?my_method=a%", false),
        ("/_method=a", false),
        ("/mcp?%zz&%", false),
    ] {
        assert_eq!(super::names_method(target.as_bytes()), expected, "{target}");
    }
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
        (&[("content-length", b"-1")], "body_too_large its length is no number"),
        (&[("content-length", b"\xff")], "body_too_large its length is no number"),
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
    let headers = list(&[("x-envoy-retry-on", b"5xx"), ("x-envoy-attempt-count", b"1")]);
    assert_eq!(super::steering::controls(&headers).collect::<Vec<_>>(), ["x-envoy-retry-on"]);
}

#[test]
fn what_leads_to_another_place_goes() {
    let at = (":authority", &b"mcp.example.com"[..]);
    for (name, value, under_paths, under_hosts) in [
        ("x-original-url", &b"/admin"[..], true, true),
        ("x-original-uri", b"/admin", true, true),
        ("x-rewrite-url", b"/admin", true, true),
        ("x_rewrite-url", b"/admin", true, true),
        ("x-forwarded-host", b"other.example.com", false, true),
        ("x-forwarded-host", b"mcp.example.com, other.example.com", false, true),
        ("x-forwarded-host", b"MCP.example.com", false, false),
        ("x_forwarded_host", b"mcp.example.com", false, true),
        ("x-original-host", b"other.example.com", false, true),
        ("x-http-host-override", b"other.example.com", false, true),
        ("x-host", b"other.example.com", false, true),
        ("x-forwarded-server", b"other", false, true),
        ("x-forwarded-prefix", b"/admin", false, true),
        ("x-forwarded-path", b"/admin", false, true),
        ("x-forwarded-uri", b"/admin", false, true),
        ("x-script-name", b"/admin", false, true),
        ("forwarded", b"host=other.example.com", false, true),
        ("x-forwarded-for", b"192.0.2.1", false, false),
        ("x-forwarded-proto", b"https", false, false),
    ] {
        let headers = list(&[at, (name, value)]);
        for (judges_host, goes) in [(false, under_paths), (true, under_hosts)] {
            let gone: Vec<String> = super::steering::detours(&headers, judges_host).collect();
            assert_eq!(
                gone,
                [name].get(usize::from(!goes)..).unwrap_or_default(),
                "{name} {judges_host}"
            );
        }
    }
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
        let value = parse_body(body.as_bytes(), Bounds::DOCUMENT).unwrap();
        let Body::Single(message) = Body::read(&value).unwrap() else { panic!("one message") };
        let outcome = post(pairs).unwrap().agrees_with(&message);
        outcome.map_or_else(|refusal| refusal.detail.into_owned(), |()| String::new())
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
