//! What an approver is asked: subject, action, resource and context, as AuthZEN has them, with the mapping of its binding for MCP.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::value::RawValue;

use super::answer::Requestable;
use super::key_of;
use crate::approval::call::CallDigest;
use crate::json::written;

/// A call as the approver sees it. Nothing in it depends on when it is asked: the profile compares it member by member.
#[derive(Clone, Debug)]
pub struct Question {
    /// Who calls, as he is logged: never a credential.
    pub caller: String,
    /// Whether something verified that name.
    pub verified: bool,
    /// His further names.
    pub names: Vec<(String, String)>,
    /// The method.
    pub method: String,
    /// What the name is a name of.
    pub kind: &'static str,
    /// The name.
    pub name: String,
    /// Where the call goes.
    pub server: String,
    /// Its arguments, in their canonical text; none where only their digest is told.
    pub arguments: Option<String>,
    /// Their digest.
    pub arguments_digest: String,
    /// The policy that asks.
    pub policy: String,
    /// Its digest.
    pub policy_digest: String,
    /// The rule that asks.
    pub rule: String,
    /// What its author says.
    pub reason: Option<String>,
    /// The digest of the call.
    pub call: CallDigest,
    /// `X-Request-Id`.
    pub request_id: Option<String>,
    /// By what a request refers to the evaluation that asked for it.
    pub denial: Option<Requestable>,
}

#[derive(Serialize)]
struct Evaluation<'q> {
    subject: AskedSubject<'q>,
    action: AskedAction<'q>,
    resource: AskedResource<'q>,
    context: AskedContext<'q>,
    #[serde(skip_serializing_if = "Option::is_none")]
    denial: Option<&'q Requestable>,
    #[serde(skip_serializing_if = "Option::is_none")]
    client: Option<Client>,
}

#[derive(Serialize)]
struct AskedSubject<'q> {
    r#type: &'static str,
    id: &'q str,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    properties: BTreeMap<&'q str, &'q str>,
}

#[derive(Serialize)]
struct AskedAction<'q> {
    name: &'q str,
}

#[derive(Serialize)]
struct AskedResource<'q> {
    r#type: &'q str,
    id: &'q str,
    properties: AskedServer<'q>,
}

#[derive(Serialize)]
struct AskedServer<'q> {
    server: &'q str,
}

#[derive(Serialize)]
struct AskedContext<'q> {
    #[serde(skip_serializing_if = "Option::is_none")]
    arguments: Option<&'q RawValue>,
    arguments_digest: &'q str,
    caller_verified: bool,
    policy: &'q str,
    policy_digest: &'q str,
    rule: &'q str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'q str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    approval: Option<&'q RawValue>,
}

#[derive(Serialize)]
struct Client {
    id: &'static str,
}

impl Question {
    /// Whether the call may run; by an approval, where there is one.
    pub(super) fn evaluation(&self, approval: Option<&str>) -> String {
        written(&Evaluation { denial: None, client: None, ..self.body(approval) })
    }

    /// That somebody be asked.
    pub(super) fn request(&self) -> String {
        written(&self.body(None))
    }

    /// Requests that are sent twice are one.
    pub(super) fn idempotency_key(&self) -> String {
        let evaluation = self.denial.as_ref().map_or("", |denial| &denial.evaluation_id);
        key_of(&[&self.call.0, evaluation.as_bytes()])
    }

    fn body<'q>(&'q self, approval: Option<&'q str>) -> Evaluation<'q> {
        let properties = self.names.iter().map(|(name, value)| (&**name, &**value)).collect();
        // Both were read as JSON, so these are their bytes.
        let raw = |text: Option<&'q str>| text.and_then(|text| serde_json::from_str(text).ok());
        Evaluation {
            subject: AskedSubject { r#type: "identity", id: &self.caller, properties },
            action: AskedAction { name: &self.method },
            resource: AskedResource {
                r#type: self.kind,
                id: &self.name,
                properties: AskedServer { server: &self.server },
            },
            context: AskedContext {
                arguments: raw(self.arguments.as_deref()),
                arguments_digest: &self.arguments_digest,
                caller_verified: self.verified,
                policy: &self.policy,
                policy_digest: &self.policy_digest,
                rule: &self.rule,
                reason: self.reason.as_deref(),
                approval: raw(approval),
            },
            denial: self.denial.as_ref(),
            client: Some(Client { id: "mcp-policy" }),
        }
    }
}
