//! A call that several entries ask about, as authors see it: whose approval is enough, and what comes of it.

use mcp_policy::policy::compiled::Config;
use mcp_policy::rehearsal::approver::Consent;
use mcp_policy::rehearsal::{SimulatedRequest, Simulator};
use mcp_policy::time::UnixMillis;

use crate::world::tools_call;

fn simulator(tools: &str) -> Simulator {
    let policy = format!(
        r#"{{"version":"1","default":"deny","tools":{tools},"approvals":{{"cooldown":0,"approver":{{"cluster":"approver"}}}}}}"#
    );
    Simulator::new(Config::load(policy.as_bytes(), "test").unwrap().config)
}

fn call(tool: &str) -> SimulatedRequest {
    SimulatedRequest::new(tools_call("1", tool, Some(r#"{"工具":"\u0061"}"#)), UnixMillis(0))
        .by(Some("alice".to_owned()))
}

#[test]
fn an_approval_has_to_be_enough_for_every_entry_that_asks() {
    for (exact, glob, decision, asks, enough) in [
        (r#""user""#, r#""user""#, "ask", Some("user"), vec!["user"]),
        (r#"["user","approver"]"#, r#"["token","user"]"#, "ask", Some("user"), vec!["user"]),
        (
            r#"["user","approver"]"#,
            r#"["approver","token","user"]"#,
            "ask",
            Some("approver"),
            vec!["approver", "user"],
        ),
        (r#"["token","approver"]"#, r#"["user","token"]"#, "deny", None, vec!["token"]),
        (r#""user""#, r#""approver""#, "deny", None, vec![]),
    ] {
        let simulator = simulator(&format!(
            r#"{{"close 工具":{{"action":"require_approval","approval":{exact}}},
                "close*":{{"ask_if":[{{"conditions":[{{"path":"args.工具","op":"eq","value":"a"}}]}}],"approval":{glob}}}}}"#
        ));
        let verdict = simulator.send(&call("close 工具"));
        assert_eq!(verdict.decision, decision, "{exact} {glob} {verdict:?}");
        assert_eq!((verdict.reason.as_str(), verdict.asks), ("approval_required", asks));
        assert_eq!(verdict.approval_by, enough, "{exact} {glob}");
        assert_eq!(verdict.rule, "/tools/close 工具/action");
        if decision == "deny" {
            assert_eq!(verdict.code, Some(428));
        }
        let (verdict, asked) = simulator.play(&call("close 工具"), Consent::Accept, &());
        assert_eq!((verdict.is_forwarded(), asked), (decision == "ask", decision == "ask"));
    }
}

#[test]
fn each_yes_is_for_one_run_and_a_refused_limit_uses_nothing_up() {
    for way in ["user", "approver"] {
        let simulator = simulator(&format!(
            r#"{{"a":{{"action":"require_approval","approval":"{way}","limits":[{{"counter":"c","window":"day","max":3}}]}}}}"#
        ));
        let play = |consent| {
            let (verdict, _) = simulator.play(&call("a"), consent, &());
            (verdict.decision, verdict.reason)
        };
        let is = |decision: &str, reason: &str| (decision.to_owned(), reason.to_owned());
        for consent in [Consent::Decline, Consent::Decline, Consent::Decline] {
            assert_eq!(play(consent), is("deny", "approval_declined"), "{way}");
        }
        let pending = match way {
            "user" => is("ask", "approval_required"),
            _ => is("deny", "approval_pending"),
        };
        assert_eq!(play(Consent::Pending), pending);
        assert_eq!(play(Consent::Accept), is("allow", ""), "{way}");
        // It runs once, and the second time is refused.
        assert_eq!(play(Consent::Used), is("deny", "approval_used"));
        assert_eq!(play(Consent::Accept), is("allow", ""), "what was refused counts nothing");
        assert_eq!(play(Consent::Accept), is("deny", "limit_reached"), "{way}");
    }
}
