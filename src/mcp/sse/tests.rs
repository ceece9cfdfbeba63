use super::{EventStream, EventVerdict};

/// The data of the events, and what passes.
fn pass(
    stream: &str,
    chunk: usize,
    verdict: impl Fn(&str) -> EventVerdict,
) -> (Vec<String>, String) {
    let mut found = Vec::new();
    let mut out = Vec::new();
    let mut events = EventStream::new(40);
    for chunk in stream.as_bytes().chunks(chunk) {
        out.extend(events.push(chunk, &mut |data| {
            let data = data.map_or("too large".into(), String::from_utf8_lossy).into_owned();
            let verdict = verdict(&data);
            found.push(data);
            verdict
        }));
    }
    (found, String::from_utf8(out).unwrap())
}

#[test]
fn frames_every_dialect_in_every_chunking() {
    let half = "0123456789".repeat(2);
    let long = half.repeat(3);
    for (stream, expected, passed) in [
        ("data: a\n\n", vec!["a"], None),
        ("data: a\r\n\r\ndata:b\r\rdata\n\n", vec!["a", "b", ""], None),
        ("\u{feff}data: é\n\n", vec!["é"], None),
        (": comment\nevent: message\nid: 1\ndata: a\nid: 2\ndata: b\n\n", vec!["a\nb"], None),
        (": waiting", vec![], Some("")),
        (": waiting\n", vec![], None),
        ("\n\r\n\r", vec![], None),
        ("data: unfinished\n", vec![], Some("")),
        ("id: 1\ndata: unfinished", vec![], Some("id: 1\n")),
        ("id: 1\ndata: \n\ndata:  x\n\n", vec!["", " x"], None),
        ("dataset: a\n\ndata: b\n\n", vec!["b"], None),
        ("data: a\n\r\ndata: b\r\n\n", vec!["a", "b"], None),
        (&format!("data: {long}\n\ndata: b\n\n"), vec!["too large", "b"], Some("\ndata: b\n\n")),
        (
            &format!("id: 1\ndata: {half}\ndata: {half}\r\n\r\ndata: b\n\n"),
            vec!["too large", "b"],
            Some("id: 1\n\r\ndata: b\n\n"),
        ),
    ] {
        for chunk in 1..8 {
            let drop_large = |data: &str| {
                if data == "too large" { EventVerdict::Drop } else { EventVerdict::Pass }
            };
            let (found, out) = pass(stream, chunk, drop_large);
            assert_eq!(found, expected, "{stream:?} by {chunk}");
            assert_eq!(out, passed.unwrap_or(stream), "{stream:?} by {chunk}");
        }
    }
}

#[test]
fn a_line_with_two_readings_spoils_its_event() {
    for line in [
        "\u{feff}\u{feff}data: a",
        "\u{ef}\u{bb}\u{bf}data: a",
        " data: a",
        "\0data: a",
        ": x\u{b}data: a",
        "event: x\u{2028}\u{2028}data: a",
        "data: 1\u{85} data: a",
        "data : a",
        "Data: a",
        ":\0",
    ] {
        for chunk in 1..8 {
            let stream = format!("{line}\ndata: b\n\ndata: c\n\n");
            let (found, out) = pass(&stream, chunk, |_| EventVerdict::Pass);
            assert_eq!(found, ["too large", "c"], "{line:?}");
            assert_eq!(out, "\ndata: c\n\n", "{line:?}");
        }
    }
    for line in ["event: data", "metadata: x", ": \u{e9} data", "data: \u{2028}datum"] {
        let stream = format!("{line}\n\n");
        let (found, out) = pass(&stream, 3, |_| EventVerdict::Pass);
        assert!(!found.contains(&"too large".to_owned()), "{line:?}");
        assert_eq!(out, stream);
    }
}

#[test]
fn no_event_grows_without_bound() {
    for lines in ["data: a\n".repeat(99), format!("data: a\n{}", ": x\n".repeat(99))] {
        for start in ["", "data: 0123456789012345678901234567890123456789\n"] {
            let stream = format!("{start}{lines}");
            let mut events = EventStream::new(40);
            assert_eq!(events.push(stream.as_bytes(), &mut |_| EventVerdict::Pass), b"");
            assert!(events.holds() <= 80, "{stream}");
            let mut found = Vec::new();
            let out = events.push(b"\n", &mut |data| {
                found.push(data.is_none());
                EventVerdict::Pass
            });
            assert_eq!((found, &*out), (vec![true], &b"\n"[..]));
        }
    }
}

#[test]
fn an_event_without_an_end_is_judged_too() {
    for (stream, verdict, expected) in [
        ("data: a", EventVerdict::Pass, "data: a"),
        ("id: 1\ndata: a\r\n", EventVerdict::Pass, "data: a\r\n"),
        ("data: a", EventVerdict::Replace("x\ny".into()), "data: x\ndata: y\n"),
        ("data: a\n", EventVerdict::Drop, ""),
        (": a", EventVerdict::Drop, ": a"),
        (" data: a", EventVerdict::Replace("x".into()), "data: x\n"),
        ("data: a\n\n", EventVerdict::Drop, ""),
        ("", EventVerdict::Drop, ""),
    ] {
        let mut events = EventStream::new(40);
        events.push(stream.as_bytes(), &mut |_| EventVerdict::Drop);
        let out = events.finish(&mut |_| verdict.clone());
        assert_eq!(String::from_utf8(out).unwrap(), expected, "{stream:?}");
    }
}

#[test]
fn replaces_data_and_nothing_else() {
    for (stream, passed) in [
        ("data: a\n\n", "data: x\ndata: y\n\n"),
        (
            "id: 1\r\ndata: a\r\nevent: e\r\ndata: a\r\n\r\n",
            "id: 1\r\ndata: x\r\ndata: y\r\nevent: e\r\n\r\n",
        ),
        ("data: a\r\rdata: b\n\n", "data: x\rdata: y\r\rdata: x\ndata: y\n\n"),
    ] {
        for chunk in 1..8 {
            let (_, out) = pass(stream, chunk, |_| EventVerdict::Replace("x\ny".into()));
            assert_eq!(out, passed, "{stream:?} by {chunk}");
        }
    }
    assert_eq!(pass("id: 1\ndata: a\n\ndata: b\n\n", 1, |_| EventVerdict::Drop).1, "id: 1\n\n\n");
}

/// The events that a reader of the standard finds: type and data.
fn events(stream: &str) -> Vec<(String, String)> {
    let (mut kind, mut data) = (String::new(), None::<String>);
    let mut found = Vec::new();
    let lines = stream.replace("\r\n", "\n").replace('\r', "\n");
    for line in lines.split_inclusive('\n').filter_map(|line| line.strip_suffix('\n')) {
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "" => {
                let kind = std::mem::take(&mut kind);
                found.extend(data.take().map(|data| (kind, data)));
            }
            "event" => kind = value.to_owned(),
            "data" => {
                data = Some(data.map_or(value.to_owned(), |data| format!("{data}\n{value}")));
            }
            _ => {}
        }
    }
    found
}

#[test]
fn an_event_that_changes_changes_no_other() {
    let lines = ["data:a", "data:b", "event:e", ""];
    let lines = lines.map(|line| ["\n", "\r", "\r\n"].map(|end| format!("{line}{end}")));
    let mut streams = vec![String::new()];
    for _ in 0..4 {
        let longer = |stream: &String| {
            lines.as_flattened().iter().map(|line| format!("{stream}{line}")).collect::<Vec<_>>()
        };
        streams = streams.iter().flat_map(longer).collect();
    }
    for verdict in [EventVerdict::Pass, EventVerdict::Replace("x\ny".into()), EventVerdict::Drop] {
        for stream in streams
            .iter()
            .flat_map(|stream| [format!("{stream}data:c\n\n"), format!("{stream}\ndata:c\n\n")])
        {
            let of =
                |data: &str| if data.contains('a') { verdict.clone() } else { EventVerdict::Pass };
            let expected: Vec<(String, String)> = events(&stream)
                .into_iter()
                .filter_map(|(kind, data)| match of(&data) {
                    EventVerdict::Pass => Some((kind, data)),
                    EventVerdict::Replace(data) => Some((kind, data)),
                    EventVerdict::Drop => None,
                })
                .collect();
            let mut way = EventStream::new(400);
            let mut judge = |data: Option<&[u8]>| of(&String::from_utf8_lossy(data.unwrap()));
            let mut out = way.push(stream.as_bytes(), &mut judge);
            out.extend(way.finish(&mut judge));
            let out = String::from_utf8(out).unwrap();
            assert_eq!(events(&out), expected, "{stream:?} {verdict:?} {out:?}");
        }
    }
}
