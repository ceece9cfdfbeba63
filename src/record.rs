//! What is put on record of a decision: the filter state that Envoy's access log can print.

use std::borrow::Cow;

use crate::denial::Denial;
use crate::identity::Caller;
use crate::listing::Cause;
use crate::matcher::fold::legible;
use crate::mcp::Refusal;
use crate::mcp::call::Kind;
use crate::mcp::message::Request;
use crate::policy::compiled::{Config, Policy};
use crate::reason::Reason;
use crate::reply::echoed;

/// The record of one request. Every field is a value of its own in the filter state, under `wasm.mcp_<field>`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Record {
    /// `allow`, `deny`, `ask` where the answer is a question, `would_deny` and `would_ask` in shadow, `refuse`, `pass` where no policy governs the message, or `withheld` for what the server said.
    pub decision: &'static str,
    /// The JSON-RPC method, or `batch`.
    pub method: String,
    /// The tool, resource or prompt, with the name of its field.
    pub name: Option<(&'static str, String)>,
    /// The reason of a denial or refusal.
    pub reason: &'static str,
    /// JSON Pointer to the line of the policy.
    pub rule: String,
    /// The policy.
    pub policy: String,
    /// Why a response is withheld; a word.
    pub cause: &'static str,
    /// Who approved the call, and by which id: `user:…`, `approver:…`, `token:…`.
    pub approval: String,
    /// A line for the operator, where one is needed.
    pub warning: String,
    /// The caller's grant; a digest where it is a credential.
    pub grant: String,
    /// The caller's further names: `team=sre,tenant=acme`.
    pub identity: String,
}

impl Record {
    /// The record of a request that the strict front door refuses.
    #[must_use]
    pub fn refused(refusal: &Refusal) -> Record {
        Record { decision: "refuse", reason: refusal.reason.label(), ..Record::default() }
    }

    /// The record of a response, or a part of one, that is withheld. What is on record of the request stays.
    #[must_use]
    pub fn withheld(cause: &Cause, policy: &str) -> Record {
        let reason = Reason::ListUnreadable.label();
        let (word, text) = (cause.word(), cause.text());
        let warning = format!(
            "mcp_policy: withheld what a server said under policy `{}`: {text} [{reason}, {word}]",
            echoed(policy)
        );
        Record { decision: "withheld", reason, cause: word, warning, ..Record::default() }
    }

    /// The record of a message that the policy has no rules for.
    #[must_use]
    pub fn passed(method: &str, policy: &str) -> Record {
        Record {
            decision: "pass",
            method: echoed(method),
            policy: policy.to_owned(),
            ..Record::default()
        }
    }

    /// The same record, with who sent the request.
    #[must_use]
    pub fn of(self, caller: &Caller, config: &Config) -> Record {
        // A name must not look like two.
        let name =
            |(key, text): (&str, String)| format!("{key}={}", echoed(&text).replace(',', "%2C"));
        let names: Vec<String> = caller.names(config).map(name).collect();
        Record { grant: echoed(caller.label()), identity: names.join(","), ..self }
    }

    /// The record of a request that the policy has rules for.
    #[must_use]
    pub fn governed(
        decision: &'static str,
        request: &Request<'_>,
        denial: Option<&Denial>,
        policy: Option<&Policy>,
    ) -> Record {
        let field = |kind| match kind {
            Kind::Resource => "mcp_resource",
            Kind::Prompt => "mcp_prompt",
            Kind::Tool | Kind::Method => "mcp_tool",
        };
        Record {
            decision,
            method: echoed(request.method),
            name: request.call.as_ref().map(|call| (field(call.kind), echoed(call.name))),
            reason: denial.map_or("", |denial| denial.reason.label()),
            rule: denial.zip(policy).map_or("", |(denial, policy)| denial.pointer(policy)).into(),
            policy: policy.map_or("", |policy| &policy.name).to_owned(),
            ..Record::default()
        }
    }

    /// The names and values that are not empty, as [`legible`] has them. In a name, a line break would forge lines of an access log.
    pub fn fields(&self) -> impl Iterator<Item = (&'static str, Cow<'_, str>)> {
        let (field, name) = self.name.as_ref().map_or(("", ""), |(field, name)| (*field, name));
        [
            ("mcp_decision", self.decision),
            ("mcp_method", &self.method),
            (field, name),
            ("mcp_reason", self.reason),
            ("mcp_cause", self.cause),
            ("mcp_rule", &self.rule),
            ("mcp_policy", &self.policy),
            ("mcp_approval", &self.approval),
            ("mcp_grant", &self.grant),
            ("mcp_identity", &self.identity),
        ]
        .into_iter()
        .filter(|(_, value)| !value.is_empty())
        .map(|(name, value)| (name, legible(value)))
    }
}

#[cfg(test)]
mod tests {
    use super::Record;

    #[test]
    fn no_name_forges_a_line() {
        for (name, shown) in [
            ("plain é 工具", "plain é 工具"),
            ("a\r\nmcp_decision=allow", "a\\u{d}\\u{a}mcp_decision=allow"),
            ("a\u{85}b\u{2028}c\u{2029}d", "a\\u{85}b\\u{2028}c\\u{2029}d"),
            ("a\u{202e}b\u{2066}c\u{200f}", "a\\u{202e}b\\u{2066}c\\u{200f}"),
            ("a\u{200b}\u{1d173}\0\u{1b}[2J", "a\\u{200b}\\u{1d173}\\u{0}\\u{1b}[2J"),
        ] {
            let record = Record {
                method: name.to_owned(),
                name: Some(("mcp_tool", name.to_owned())),
                rule: name.to_owned(),
                policy: name.to_owned(),
                grant: name.to_owned(),
                identity: name.to_owned(),
                approval: name.to_owned(),
                ..Record::default()
            };
            assert_eq!(record.fields().count(), 7);
            for (field, value) in record.fields() {
                assert_eq!(value, shown, "{field}");
            }
        }
    }
}
