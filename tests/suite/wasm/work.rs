//! No request costs much more than its bytes do, whatever names it holds and however large the policy is: instructions of the built
//! filter are counted, beside those for a request with the same bytes where nothing compares them.

use std::fmt::Write as _;
use std::sync::Arc;

use super::host::{Request, Shared, Vm};
use crate::world::tools_call;

/// A large policy: keys, lines of `hide` and globs that every name is compared with.
fn large() -> String {
    let mut tools = String::new();
    let mut hide = String::new();
    let mut resources = String::new();
    for at in 0..1000 {
        let _ = write!(tools, r#""tool_{at}":{{}},"#);
        let _ = write!(hide, r#""secret_{at}","#);
        let _ = write!(resources, r#""memo://keys/{at}":{{"action":"deny"}},"#);
    }
    for at in 0..100 {
        let _ = write!(tools, r#""*a{at}*b?c*d":{{}},"#);
        let _ = write!(resources, r#""memo://*a{at}*b?c*d":{{"action":"deny"}},"#);
    }
    format!(
        r#"{{"version":"1","default":"allow","hide":[{hide}"x"],"tools":{{{tools}"t":{{}}}},
        "resources":{{{resources}"memo://x":{{}}}},"prompts":{{"p":{{}}}},"methods":{{"m":{{}}}}}}"#
    )
}

fn message(method: &str, params: &str) -> String {
    format!(r#"{{"jsonrpc":"2.0","id":1,"method":"{method}","params":{params}}}"#)
}

/// A megabyte of this.
fn text(piece: &str) -> String {
    piece.repeat(1_000_000 / piece.len())
}

fn quoted(text: &str) -> String {
    format!("\"{text}\"")
}

/// A value where nothing compares it.
fn innocent(value: &str) -> String {
    tools_call("1", "other", Some(&format!(r#"{{"a":{value}}}"#)))
}

fn listen(uris: &str) -> String {
    let params = format!(r#"{{"notifications":{{"resourceSubscriptions":{uris}}}}}"#);
    message("subscriptions/listen", &params)
}

#[test]
fn names_cost_what_their_bytes_cost() {
    let mut vm = Vm::configured(&Arc::<Shared>::default(), &large());
    let mut cost = |body: &str| {
        let before = vm.steps();
        vm.send(&Request::post("", body));
        vm.steps() - before
    };
    let uris = |count: usize, piece: &str| {
        let uri = format!("\"memo://{}\",", piece.repeat(60 / piece.len()));
        format!("[{}\"memo://a\"]", uri.repeat(count))
    };
    let keys = |key: &str| {
        let keys: String = (0..15_000).map(|at| format!("\"{key}{at}{key}\":1,")).collect();
        format!("{{{keys}\"a\":1}}")
    };
    let mut wrong = Vec::new();
    let (hidden, marks) = (text("\u{200b}"), text("\u{301}\u{323}"));
    let mut row = |what: &str, body: &str, same: &str| {
        let (found, parsed) = (cost(body), cost(same));
        println!("{what}: {} bytes, {found} instructions, {parsed} to read them", body.len());
        if found > 5 * parsed {
            wrong.push(format!("{what}: {found}, {parsed} to read it"));
        }
    };
    for (what, text) in
        [("what does not show", &hidden), ("marks", &marks), ("letters", &text("a"))]
    {
        let same = innocent(&quoted(text));
        row(&format!("a tool of {what}"), &tools_call("1", text, Some("{}")), &same);
        row(&format!("a method of {what}"), &message(text, "{}"), &same);
        row(&format!("a key of {what}"), &message("ping", &format!("{{\"{text}\":1}}")), &same);
        let uri = message("resources/read", &format!(r#"{{"uri":"memo://{text}"}}"#));
        row(&format!("a URI of {what}"), &uri, &same);
    }
    for (what, key) in [
        ("letters", "nbcdefgh"),
        ("other letters", "n\u{f6}\u{e9}\u{200b}\u{ac00}"),
        ("wide letters", "ｐｒｏｔｏｃｏｌ"),
    ] {
        row(&format!("keys of {what}"), &message("ping", &keys(key)), &innocent(&keys(key)));
    }
    row("too many subscriptions", &listen(&uris(14_000, "a")), &innocent(&uris(14_000, "a")));
    // Within the bounds each name is compared with each glob: no more than reading a body of a megabyte costs.
    let most = innocent(&quoted(&text("\u{301}\u{323}")));
    let calls = |name: &str| {
        (0..64).map(|id| tools_call(&id.to_string(), name, Some("{}"))).collect::<Vec<_>>()
    };
    for (what, body) in [
        ("subscriptions within the bound", listen(&uris(500, "abca"))),
        ("a batch of long names", format!("[{}]", calls(&"abxc".repeat(240)).join(","))),
        (
            "a batch of names that do not show",
            format!("[{}]", calls(&"\u{200b}".repeat(320)).join(",")),
        ),
        ("one long name", tools_call("1", &"abxc".repeat(250), Some("{}"))),
    ] {
        row(what, &body, &most);
    }
    super::check(&wrong);
}
