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

#[test]
fn names_cost_what_their_bytes_cost() {
    let mut vm = Vm::configured(&Arc::<Shared>::default(), &large());
    let mut cost = |body: &str| {
        let before = vm.steps();
        vm.send(&Request::post("", body));
        vm.steps() - before
    };
    let text = |piece: &str| piece.repeat(1_000_000 / piece.len());
    let innocent = |value: &str| tools_call("1", "other", Some(&format!(r#"{{"a":{value}}}"#)));
    let quoted = |text: &str| format!("\"{text}\"");
    let uris = |count: usize, piece: &str| {
        let uri = format!("\"memo://{}\",", piece.repeat(60 / piece.len()));
        format!("[{}\"memo://a\"]", uri.repeat(count))
    };
    let listen = |uris: &str| {
        let params = format!(r#"{{"notifications":{{"resourceSubscriptions":{uris}}}}}"#);
        message("subscriptions/listen", &params)
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
        if found > 4 * parsed {
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
    super::check(&wrong);
}
