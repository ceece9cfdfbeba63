//! No request costs much more than its bytes do, whatever names it holds and however large the policy is: instructions of the built
//! filter are counted, beside those for an honest request of the same length.

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
    let small = cost(&tools_call("1", "other", Some("{}")));
    let million = 1_000_000;
    let text = |piece: &str| piece.repeat(million / piece.len());
    let plain = cost(&tools_call("1", "other", Some(&format!(r#"{{"a":"{}"}}"#, text("x")))));
    let uris = |count: usize, piece: &str| {
        let uri = format!("\"memo://{}\",", piece.repeat(60 / piece.len()));
        let uris = uri.repeat(count);
        message(
            "subscriptions/listen",
            &format!(r#"{{"notifications":{{"resourceSubscriptions":[{}"memo://a"]}}}}"#, uris),
        )
    };
    let keys = |key: &str| {
        let keys: String = (0..30_000).map(|at| format!("\"{key}{at}{key}\":1,")).collect();
        message("ping", &format!("{{{keys}\"a\":1}}"))
    };
    let batch = |name: &str| {
        let calls: Vec<String> =
            (0..64).map(|id| tools_call(&id.to_string(), name, Some("{}"))).collect();
        format!("[{}]", calls.join(","))
    };
    let long = "a".repeat(980);
    let mut wrong = Vec::new();
    // Small requests may cost what comparing one name with the policy costs.
    for (what, body, most) in [
        ("a name that shows nothing", tools_call("1", &text("\u{200b}"), Some("{}")), 3 * plain),
        ("a name of letters", tools_call("1", &text("a"), Some("{}")), 3 * plain),
        ("a name of marks", tools_call("1", &text("\u{301}\u{323}"), Some("{}")), 3 * plain),
        ("a method that shows nothing", message(&text("\u{200b}"), "{}"), 3 * plain),
        ("a method of marks", message(&text("\u{301}\u{323}"), "{}"), 3 * plain),
        (
            "a key that shows nothing",
            message("ping", &format!("{{\"{}\":1}}", text("\u{200b}"))),
            3 * plain,
        ),
        (
            "a key of marks",
            message("ping", &format!("{{\"{}\":1}}", text("\u{301}\u{323}"))),
            3 * plain,
        ),
        ("many keys", keys("abcdefgh"), 3 * plain),
        ("many keys in other letters", keys("\u{f6}\u{e9}\u{200b}\u{ac00}"), 3 * plain),
        (
            "a long URI",
            message("resources/read", &format!(r#"{{"uri":"memo://{}"}}"#, text("%41"))),
            3 * plain,
        ),
        ("many subscriptions", uris(14_000, "a"), 3 * plain),
        ("as many subscriptions as are compared", uris(500, "abca"), 3 * plain),
        ("a batch of long names", batch(&long), 3 * plain),
        ("one long name", tools_call("1", &"abxc".repeat(250), Some("{}")), small + plain / 8),
        (
            "one long name that shows nothing",
            tools_call("1", &"\u{200b}".repeat(340), Some("{}")),
            small + plain / 8,
        ),
    ] {
        let found = cost(&body);
        println!("{what}: {} bytes, {found} of {plain} ({small})", body.len());
        if found > most {
            wrong.push(format!("{what}: {found}, at most {most}"));
        }
    }
    super::check(&wrong);
}
