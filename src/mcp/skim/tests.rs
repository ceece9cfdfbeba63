use super::{Skim, Wanted};

const ALL: Wanted = Wanted([true; 4]);

/// What a text is taken for, and its id.
fn skimmed(text: &[u8], chunk: usize) -> (&'static str, Option<String>, Option<usize>) {
    let mut skim = Skim::new(ALL);
    let mut turned = None;
    for (at, bytes) in text.chunks(chunk).enumerate() {
        turned = turned.or(skim.push(bytes).map(|used| at * chunk + used));
    }
    let what = match (skim.is_broken(), skim.may_hold_list()) {
        (true, _) => "broken",
        (_, true) => "list",
        _ if skim.has_prose() => "prose",
        _ if skim.is_whole() => "whole",
        _ => "open",
    };
    (what, skim.id().map(str::to_owned), turned)
}

#[test]
fn finds_lists_and_nothing_else() {
    for (text, expected) in [
        (r#"{"id":7,"result":{"tools":[]}}"#, "list"),
        (r#"{"id":7,"result":{"x":{"tools":[]},"prompts":null}}"#, "list"),
        (r#" [1,[{"result" : { "resourceTemplates" :"#, "list"),
        (r#"{"id":7,"r\u0065sult":{"\u0074ools":[]}}"#, "list"),
        (r#"{"Result":{"TOOLS":[]}}"#, "list"),
        (r#"{"result":{"tool\u017f":[]}}"#, "list"),
        ("{\"result\":{\"ｔｏｏｌｓ\":[]}}", "list"),
        ("{\"result\":{\"to\u{200b}ols  \":[]}}", "list"),
        ("{\"result\":{\"tools\0\":[]}}", "list"),
        (r#"{"result":{"\ud800tools":[]}}"#, "list"),
        (r#"{"result":{"t\ud83dools":[]}}"#, "list"),
        (r#"{"result":[[{"name":"a"}]]}"#, "list"),
        (r#"{"x":"\"}{","result":{"tools":[]}}"#, "list"),
        (r#"{"x":["}]"],"y":{"z":[{}]},"result":{"tools":[]}}"#, "list"),
        (r#"{"result":{"a":1}}{"result":{"tools":1}}"#, "list"),
        ("\u{feff}{\"result\":{\"tools\":[]}}", "list"),
        ("hi\n{\"result\":{\"tools\":[]}}", "list"),
        (r#"{"result":["tools",1]}"#, "whole"),
        (r#"{"result":{"content":[],"structuredContent":{"tools":[]}}}"#, "whole"),
        (r#"{"result":{"capabilities":{"tools":{}}}}"#, "whole"),
        (r#"{"method":"x","params":{"result":{"tools":[]},"tools":[]},"tools":[]}"#, "whole"),
        (r#"{"a":1,"a":2,"result":{"b":NaN,"b":-Infinity}}"#, "whole"),
        (r#"{"result":{"toolset":1,"tool":2,"tools2":3}}"#, "whole"),
        (r#"{"result":"tools"} "#, "whole"),
        (r#"{"result":{"tool"#, "open"),
        ("", "open"),
        ("secret", "prose"),
        ("{}x", "prose"),
        ("{'result':{}}", "broken"),
        ("{\"a\":1/**/}", "broken"),
        ("{\"a\":[{1/**/}]}", "broken"),
        ("{\"a\":[}}", "broken"),
        ("{\0\"\0", "broken"),
        ("{result:1}", "broken"),
        ("{\"a\":1,,}", "broken"),
        ("{\"a\" 1}", "broken"),
    ] {
        for chunk in [1, 2, 7, 1000] {
            assert_eq!(skimmed(text.as_bytes(), chunk).0, expected, "{text} by {chunk}");
        }
        let whole = skimmed(text.as_bytes(), 1000);
        assert_eq!(skimmed(text.as_bytes(), 1), whole, "{text}");
    }
    assert_eq!(skimmed(b"{\"result\":{\"t\xffools\":[]}}", 3).0, "broken");
    assert_eq!(skimmed(b"{\"result\":{\"tools\xe2\":[]}}", 3).0, "broken");
    assert_eq!(skimmed(b"{\"result\":{\"a\":\"\xff\"}}", 3).0, "whole");
    let deep =
        format!("{{\"a\":{}1{},\"result\":{{\"x\":1}}}}", "[".repeat(9999), "]".repeat(9999));
    assert_eq!(skimmed(deep.as_bytes(), 100).0, "whole");
}

#[test]
fn long_keys_are_judged_in_little_memory() {
    let disguised =
        format!("{{\"result\":{{\"{}tools{}\":[]}}}}", "\\u200b".repeat(9999), " ".repeat(9999));
    assert_eq!(skimmed(disguised.as_bytes(), 100).0, "list");
    let other = format!("{{\"result\":{{\"tools{}x\":[]}}}}", " ".repeat(9999));
    assert_eq!(skimmed(other.as_bytes(), 100).0, "whole");
}

#[test]
fn only_what_is_wanted_is_found() {
    let mut skim = Skim::new(Wanted([true, false, false, false]));
    skim.push(br#"{"result":{"prompts":[]}}"#);
    assert!(!skim.may_hold_list());
}

#[test]
fn remembers_the_one_id() {
    for (text, expected) in [
        (r#"{"id":7,"result":{"tools":[]}}"#, Some("7")),
        (r#"{"result":{},"id" : "\u0061\"b" }"#, Some(r#""\u0061\"b""#)),
        (r#"{"id":7"#, None),
        (r#"{"id":7 "#, Some("7")),
        (r#"{"id":7,"id":8}"#, None),
        (r#"{"id":7,"ID":8}"#, None),
        (r#"{"i\u200bd":8}"#, None),
        (r#"{"id":{"x":1}}"#, None),
        (r#"[{"id":7}]"#, None),
        (r#"{"id":7}{"id":8}"#, None),
        (r#"{"id":7}x"#, None),
        (r#"{"x":{"id":7}}"#, None),
    ] {
        for chunk in [1, 3, 1000] {
            assert_eq!(skimmed(text.as_bytes(), chunk).1.as_deref(), expected, "{text}");
        }
    }
    let long = format!("{{\"id\":\"{}\",", "x".repeat(999));
    assert_eq!(skimmed(long.as_bytes(), 9).1, None);
}

#[test]
fn a_line_ends_in_no_string() {
    for (text, broken) in
        [("{\"a\":1,", false), ("{\"a\":\"b", true), ("{\"a", true), ("hi", false)]
    {
        let mut skim = Skim::new(ALL);
        skim.push(text.as_bytes());
        assert_eq!(skim.line_break().is_some(), broken, "{text}");
    }
}
