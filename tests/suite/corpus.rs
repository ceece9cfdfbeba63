//! Reads the corpus of decisions, `tests/data/decisions/*.yaml`.
//!
//! The files are plain YAML: no anchors, no tags, one document, and a key that nothing reads is an
//! error that names its file and row. A plain scalar is what JSON would read, and else a string;
//! a quoted one is always a string.

use std::path::Path;

use saphyr_parser::{Event, Parser, ScalarStyle};
use serde_json::{Map, Value};

/// A policy and the calls made under it, in order; no two rows share a name.
pub(crate) struct Row {
    pub(crate) file: String,
    pub(crate) name: String,
    pub(crate) policy: Value,
    pub(crate) calls: Vec<Case>,
}

/// One request and what must become of it: a call of a tool, or whatever `request` says.
pub(crate) struct Case {
    pub(crate) method: String,
    /// The JSON text of `params`; none if the request has no such member.
    pub(crate) params: Option<String>,
    /// Whether nobody waits for an answer.
    pub(crate) notification: bool,
    /// The `authorization` value; empty for anonymous callers.
    pub(crate) caller: String,
    /// Milliseconds since the epoch.
    pub(crate) at: u64,
    pub(crate) expect: Expect,
}

/// A decision: `allow`, or `deny` with a reason and a JSON Pointer to the line that denied.
#[derive(Debug)]
pub(crate) struct Expect {
    pub(crate) decision: String,
    pub(crate) reason: Option<String>,
    pub(crate) rule: Option<String>,
    /// The exact text that the agent reads, where the row says it.
    pub(crate) message: Option<String>,
    /// `result` or `modern result` where the denial is a tool's result, not an error.
    pub(crate) form: Option<String>,
}

impl Case {
    /// The request as a body with this id.
    pub(crate) fn body(&self, id: &str) -> String {
        let id = if self.notification { String::new() } else { format!("\"id\":{id},") };
        let params =
            self.params.as_ref().map_or(String::new(), |text| format!(",\"params\":{text}"));
        let method = Value::from(&*self.method);
        format!(r#"{{"jsonrpc":"2.0",{id}"method":{method}{params}}}"#)
    }
}

/// All rows of all files, in the order of the files' names.
pub(crate) fn rows() -> Vec<Row> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/decisions");
    let files = folder.read_dir().unwrap();
    let mut files: Vec<_> = files.map(|file| file.unwrap().path()).collect();
    files.sort();
    let mut rows: Vec<Row> = Vec::new();
    for path in files {
        let file = path.file_name().unwrap().to_string_lossy();
        let yaml = read(&file, &std::fs::read_to_string(&path).unwrap());
        for value in yaml.as_array().expect(&file) {
            let row = row(&file, value);
            let again = rows.iter().any(|other| other.name == row.name);
            assert!(!again, "{file}: another row is named {}", row.name);
            rows.push(row);
        }
    }
    rows
}

fn row(file: &str, row: &Value) -> Row {
    let place = format!("{file}: {}", row["name"]);
    known(&place, row, "name policy calls tags");
    assert!(row["policy"].is_object(), "{place}: no policy");
    let calls = row["calls"].as_array().expect(&place).iter();
    Row {
        file: file.to_owned(),
        name: text(&place, row, "name").expect(&place),
        policy: row["policy"].clone(),
        calls: calls.map(|call| case(&place, call)).collect(),
    }
}

fn case(place: &str, call: &Value) -> Case {
    known(place, call, "tool arguments request caller at expect");
    let (at, expect) = (&call["at"], &call["expect"]);
    known(place, expect, "decision reason rule message as");
    let expect = Expect {
        decision: text(place, expect, "decision").expect(place),
        reason: text(place, expect, "reason"),
        rule: text(place, expect, "rule"),
        message: text(place, expect, "message"),
        form: text(place, expect, "as"),
    };
    let told = (&expect.reason, &expect.rule, &expect.message, &expect.form);
    let complete = match expect.decision.as_str() {
        "allow" => told == (&None, &None, &None, &None),
        decision => decision == "deny" && told.0.is_some() && told.1.is_some(),
    };
    assert!(complete, "{place}: deny with reason and rule, or allow");
    assert!(at.is_null() || at.is_u64(), "{place}: not a time: {at}");
    let (method, params) = match text(place, call, "tool") {
        Some(tool) => {
            assert!(call.get("request").is_none(), "{place}: a tool and a request");
            let arguments = text(place, call, "arguments");
            let arguments =
                arguments.map_or(String::new(), |text| format!(",\"arguments\":{text}"));
            let params = format!("{{\"name\":{}{arguments}}}", Value::from(tool));
            ("tools/call".to_owned(), Some(params))
        }
        None => {
            known(place, &call["request"], "method params notification");
            let request = |key| text(place, &call["request"], key);
            (request("method").expect(place), request("params"))
        }
    };
    Case {
        method,
        params,
        notification: call["request"]["notification"] == true,
        caller: text(place, call, "caller").unwrap_or_default(),
        at: at.as_u64().unwrap_or(0),
        expect,
    }
}

fn known(place: &str, map: &Value, keys: &str) {
    let mut unknown = map.as_object().expect(place).keys();
    let unknown = unknown.find(|key| !keys.split(' ').any(|known| known == *key));
    assert_eq!(unknown, None, "{place}: unknown key");
}

fn text(place: &str, map: &Value, key: &str) -> Option<String> {
    let value = map.get(key)?;
    assert!(value.is_string(), "{place}: {key} is not a text: {value}");
    value.as_str().map(str::to_owned)
}

fn read(file: &str, yaml: &str) -> Value {
    let events = Parser::new_from_str(yaml).map(|event| event.expect(file).0);
    // The stream and its document start; at the end the document and the stream must end.
    let mut events = events.skip(2);
    let value = node(file, &mut events).expect(file);
    assert_eq!(events.nth(1), Some(Event::StreamEnd), "{file}: goes on");
    value
}

/// The next value, or none at the end of a list or map.
fn node<'a>(file: &str, events: &mut impl Iterator<Item = Event<'a>>) -> Option<Value> {
    let event = events.next().expect(file);
    if let Event::Scalar(text, style, 0, None) = event {
        let json = if text == "~" { "null" } else { &text };
        let plain = serde_json::from_str(json).ok();
        let plain = plain.filter(|_| style == ScalarStyle::Plain);
        return Some(plain.unwrap_or_else(|| text.into()));
    }
    if matches!(event, Event::SequenceStart(0, None)) {
        return Some(std::iter::from_fn(|| node(file, events)).collect());
    }
    if matches!(event, Event::MappingStart(0, None)) {
        let mut map = Map::new();
        while let Some(key) = node(file, events) {
            let key = key.as_str().expect(file).to_owned();
            let before = map.insert(key, node(file, events).expect(file));
            assert_eq!(before, None, "{file}: a key stands twice: {map:?}");
        }
        return Some(Value::Object(map));
    }
    let end = matches!(event, Event::SequenceEnd | Event::MappingEnd);
    assert!(end, "{file}: not read here: {event:?}");
    None
}
