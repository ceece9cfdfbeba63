//! A decision allocates nothing: counted, not believed.
#![expect(unsafe_code, reason = "a counting allocator is the only way to count allocations")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use mcp_policy::decision::{Matched, decide};
use mcp_policy::json::Bounds;
use mcp_policy::matcher::work::Work;
use mcp_policy::mcp::message::{Body, Message, parse_body};
use mcp_policy::policy::compiled::Config;
use mcp_policy::time::UnixMillis;

use crate::world::{named, tools_call};

thread_local! {
    static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
}

struct Counting;

// SAFETY: every call goes to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        // SAFETY: as the caller promised.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as the caller promised.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[test]
fn deciding_allocates_nothing() {
    let policy = r#"{"version":"1","default":"deny","hide":["x*"],"tools":{
        "pay":{"require":[{"conditions":[{"path":"args.amount","op":"lte","value":10.5},{"path":"args.to[*]","op":"glob","value":"a*z"}]}],
               "deny_if":[{"conditions":[{"path":"args.note","op":"regex","value":"(?i)drop\\s+table"},{"path":"args.kind","op":"in","value":["a","b",1]}]}],
               "limits":[{"counter":"c","window":"day","max":3,"increment_from":"args.amount"}]},
        "p*":{"deny_if":[{"conditions":[{"path":"args.amount","op":"gt","value":10}]}]},
        "pal":{"require":[{"conditions":[{"path":"args.amount","op":"lte","from":"args.amount"},{"path":"args.note","op":"contains","from":"args.kind"},{"path":"tool","op":"in","from":"args.to"}]},
                          {"conditions":[{"path":"identity.grant","op":"neq","from":"tool"}]},
                          {"conditions":[{"path":"args.url","op":"host_in","value":["*.example.com","private"]},{"path":"now","op":"not_during","value":{"days":["mon"],"timezone":"+01:00"}},{"path":"now","op":"before","value":"2026-12-01T00:00:00Z"},{"path":"args.ip","op":"cidr","value":["10.0.0.0/8"]},{"path":"args.note","op":"length_lte","value":30},
                                         {"path":"args.file","op":"path_under","value":"/data"},{"path":"args.to[*]","op":"count_lte","value":3},{"path":"args.to[*]","op":"eq","value":"abz","every":true}]}]},
        "*":{"require":[{"conditions":[{"path":"args.missing","op":"exists","value":false}]}]}}}"#;
    let config = Config::load(policy.as_bytes(), "").unwrap().config;
    for arguments in [
        r#"{"amount":3,"to":["abz"],"note":"hello","kind":"c"}"#,
        r#"{"amount":3,"to":["pal","abz"],"note":"a b","kind":"b","url":"https://A.Example.com/x","ip":"10.1.2.3","file":"/Data/x"}"#,
        r#"{"amount":11}"#,
        r#"{"amount":"3"}"#,
        r#"{"amount":3,"to":["abz"],"note":"DROP table x","kind":"b"}"#,
    ] {
        for tool in ["pay", "pal", "Pay", "unlisted", "xx"] {
            let body = tools_call("1", tool, Some(arguments));
            let value = parse_body(body.as_bytes(), Bounds::DOCUMENT).unwrap();
            let Ok(Body::Single(Message::Request(request))) = Body::read(&value) else {
                panic!("a request")
            };
            let matched = Matched::of(&config.policy, request.call.unwrap()).unwrap();
            let caller = named(&config, "Bearer a");
            // The first decision fills the cache that a regular expression keeps.
            let first = decide(&matched, &caller, UnixMillis(0), &Work::of(body.len()), &());
            let before = ALLOCATIONS.get();
            let second = decide(&matched, &caller, UnixMillis(0), &Work::of(body.len()), &());
            assert_eq!(ALLOCATIONS.get() - before, 0, "{tool} {arguments}");
            assert_eq!(first, second);
        }
    }
}
