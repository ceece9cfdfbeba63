use super::{Duplicates, FaultKind, Value, parse, written};

fn fault(text: &str) -> Option<FaultKind> {
    parse(text, Duplicates::Refuse).err().map(|fault| fault.kind)
}

#[test]
fn reads_what_rfc_8259_allows() {
    for text in [
        "null",
        " true ",
        "-0",
        "0",
        "1.5e+3",
        "1E400",
        "\"\\u0041\\ud83d\\ude00\"",
        "[]",
        "{}",
        "[1,[2,{\"a\":null}]]",
        "\t\r\n{\"a\" : [ 1 , 2 ] }\n",
        "\"\u{feff}\u{7f}\"",
    ] {
        assert_eq!(fault(text), None, "{text}");
    }
}

#[test]
fn refuses_everything_else() {
    for text in [
        "",
        " ",
        "nul",
        "truex",
        "01",
        "1.",
        ".5",
        "+1",
        "1e",
        "--1",
        "NaN",
        "Infinity",
        "'a'",
        "[1,]",
        "{\"a\":1,}",
        "{a:1}",
        "[1 2]",
        "\"\n\"",
        "\"\\x\"",
        "\"\\ud800\"",
        "\"\\udc00\"",
        "\"\\ud800\\u0041\"",
        "\"\\u00g0\"",
        "\"abc",
        "{} {}",
        "1 2",
        "\u{feff}{}",
        "{}\u{0}",
        "/**/1",
        "[1]//",
        "\"\\u+123\"",
    ] {
        assert_eq!(fault(text), Some(FaultKind::Syntax), "{text:?}");
    }
}

#[test]
fn bounds_depth_and_size() {
    let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    assert_eq!(fault(&nested(64)), None);
    assert_eq!(fault(&nested(65)), Some(FaultKind::Depth));
    assert_eq!(fault(&"[".repeat(1_000_000)), Some(FaultKind::Depth));
    assert_eq!(fault(&format!("[{}0]", "0,".repeat(131_071))), Some(FaultKind::Size));
    assert_eq!(fault(&format!("[{}0]", "0,".repeat(131_069))), None);
}

#[test]
fn finds_duplicates_however_written() {
    let many: String = (0..40).map(|n| format!("\"k{n}\":0,")).collect();
    for (text, expected) in [
        ("{\"a\":1,\"a\":1}".to_owned(), true),
        ("{\"a\":1,\"\\u0061\":1}".to_owned(), true),
        ("[{\"x\":{\"a\":1,\"a\":1}}]".to_owned(), true),
        ("{\"a\":1,\"A\":1}".to_owned(), false),
        (format!("{{{many}\"k7\":1}}"), true),
        (format!("{{{many}\"z\":1}}"), false),
    ] {
        assert_eq!(fault(&text) == Some(FaultKind::Duplicate), expected, "{text}");
        assert!(parse(&text, Duplicates::Keep).is_ok());
    }
}

#[test]
fn keeps_the_bytes_of_members() {
    let text = r#"{"id": "a\u0062", "n": 1.0}"#;
    let value = parse(text, Duplicates::Refuse).unwrap();
    let object = value.as_object().unwrap();
    assert_eq!(object.member("id").unwrap().raw, r#""a\u0062""#);
    assert_eq!(object.get("id").unwrap().as_str(), Some("ab"));
    assert_eq!(object.member("n").unwrap().raw, "1.0");
}

#[test]
fn written_strings_read_back() {
    let text = "a\"\\\u{0}\u{1f}\n\u{7f}é😀\u{2028}";
    let out = written(&text);
    assert_eq!(parse(&out, Duplicates::Refuse).unwrap(), Value::String(text.into()));
}

#[test]
fn values_are_written_as_they_were_read() {
    let text = r#"{"a":1.0,"a":[1e400,-0,123456789012345678901234567890.5],"":{"b":null,"c":[true,"\u00e9\n"]}}"#;
    let value = parse(text, Duplicates::Keep).unwrap();
    assert_eq!(written(&value), text.replace("\\u00e9", "é"));
}
