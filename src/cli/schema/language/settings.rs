//! What stands beside a policy.

use mcp_policy::policy::approvals::SingleUse;
use mcp_policy::policy::settings::{Batch, Denials, HoldHeaders};

use super::Presence::{Default, Optional, Required};
use super::policy::POLICY;
use super::{FieldKind, ObjectSpec, PLAIN, SETTINGS, field, words};

pub(super) const SECTIONS: &[ObjectSpec] = &[
    ObjectSpec {
        id: "candidate",
        title: "The candidate",
        about: "A policy that is tried beside the one in force: it decides the same calls and touches nothing. Its pointers are pointers into itself.",
        fields: POLICY,
        rules: r#"{"anyOf":[{"required":["default"]},{"required":["tools"],"properties":{"tools":{"minProperties":1,"additionalProperties":{"required":["rules"],"maxProperties":1}}}}]}"#,
        ..PLAIN
    },
    ObjectSpec {
        id: "bare",
        title: "A policy that stands alone",
        about: "What a policy has beside the other fields where it is the whole configuration. Where there are several, they are named by their keys.",
        fields: &[field(
            "name",
            FieldKind::Text,
            Default(r#""default""#),
            "Its name in replies, logs and metrics, and a part of what its counts are kept under. 1 to 64 bytes.",
            r#""billing""#,
        )],
        ..PLAIN
    },
    ObjectSpec {
        id: SETTINGS,
        title: "Settings",
        about: "How requests and responses are read and counts are kept. They stand beside the fields of a policy, or beside `policies`.",
        fields: &[
            field(
                "requests",
                FieldKind::Object("requests"),
                Optional,
                "How requests are read.",
                r#"{"batch": "deny"}"#,
            ),
            field(
                "responses",
                FieldKind::Object("responses"),
                Optional,
                "How responses are read.",
                r#"{"max_list_bytes": 16777216}"#,
            ),
            field(
                "approvals",
                FieldKind::Object("approvals"),
                Optional,
                "What it takes to ask somebody for approval.",
                r#"{"approver": {"cluster": "approver"}}"#,
            ),
            field(
                "sessions",
                FieldKind::Object("sessions"),
                Optional,
                "Whether MCP sessions can be told apart.",
                r#"{"pin": true}"#,
            ),
            field(
                "counters",
                FieldKind::Object("counters"),
                Optional,
                "Where counts are kept.",
                r#"{"on_error": "allow"}"#,
            ),
            field(
                "denials",
                FieldKind::Object("denials"),
                Optional,
                "How a denied tool call is answered.",
                r#"{"as": "tool_result"}"#,
            ),
            field(
                "access_log",
                FieldKind::Object("access_log"),
                Optional,
                "What access logs can print of a decision; without it all there is.",
                r#"{"keys": ["mcp_decision", "mcp_reason", "mcp_tool"]}"#,
            ),
            field(
                "audit",
                FieldKind::Object("audit"),
                Optional,
                "One line of JSON for each decision; without it there is none.",
                r#"{"arguments": "keys", "chain": true}"#,
            ),
            field(
                "metrics",
                FieldKind::Object("metrics"),
                Optional,
                "Metrics for Prometheus.",
                r#"{"enabled": false}"#,
            ),
            field(
                "tracing",
                FieldKind::Object("tracing"),
                Optional,
                "How traces of clients are joined.",
                r#"{"from_meta": true}"#,
            ),
            field(
                "identity",
                FieldKind::Object("identity"),
                Optional,
                "Where the names of callers come from; by default a caller is the digest of his `authorization` header.",
                r#"{"grant": {"jwt_claim": "client_id"}}"#,
            ),
        ],
        ..PLAIN
    },
    ObjectSpec {
        id: "requests",
        title: "Requests",
        about: "How requests are read.",
        fields: &[
            field(
                "max_body_bytes",
                FieldKind::Whole(1, 16_777_216),
                Default("1048576"),
                "The longest body that is read; a longer one is refused. Its JSON may have a value for each 4 bytes of this, and at least 131072.",
                "65536",
            ),
            field(
                "max_depth",
                FieldKind::Whole(1, 512),
                Default("128"),
                "How many levels of objects and arrays the JSON of a body may have; a deeper one is refused.",
                "200",
            ),
            field(
                "batch",
                FieldKind::Words(&words(&Batch::WORDS)),
                Default(r#""decide""#),
                "Whether each element of a batch is decided, or all batches are refused.",
                r#""deny""#,
            ),
            field(
                "paths",
                FieldKind::List(&FieldKind::Text),
                Optional,
                "The paths, or globs of paths, that speak MCP; a request to any other is refused, whatever its HTTP method. Without it every path does.",
                r#"["/mcp"]"#,
            ),
            field(
                "pass",
                FieldKind::List(&FieldKind::Text),
                Optional,
                "What passes unread beside MCP: `discovery` (a GET of the documents under `/.well-known/` that say where to log in), `oauth` (the endpoints of a server that is its own authorization server), and paths or globs of your own, by every HTTP method. By default `discovery`; with `bindings`, nothing.",
                r#"["discovery", "oauth", "/docs/*"]"#,
            ),
            field(
                "hold_headers",
                FieldKind::Words(&words(&HoldHeaders::WORDS)),
                Default(r#""auto""#),
                "Whether a request's headers wait until its body is judged; see `envoy/README.md`.",
                r#""always""#,
            ),
        ],
        rules: r#"{"properties":{"paths":{"minItems":1,"items":{"pattern":"^/"}},"pass":{"items":{"pattern":"^(discovery|oauth|/([^*?].*)?)$"}}}}"#,
        ..PLAIN
    },
    ObjectSpec {
        id: "responses",
        title: "Responses",
        about: "How responses are read.",
        fields: &[field(
            "max_list_bytes",
            FieldKind::Whole(1, 67_108_864),
            Default("8388608"),
            "The longest list that is read, as a body or as the data of one event; a longer one is withheld.",
            "16777216",
        )],
        ..PLAIN
    },
    ObjectSpec {
        id: "sessions",
        title: "Sessions",
        about: "Whether MCP sessions can be told apart.",
        fields: &[
            field(
                "pin",
                FieldKind::Flag,
                Default("false"),
                "`true`: a session id works only for the caller to whom the server gave it. Needs a secret in the environment of the VM.",
                "true",
            ),
            field(
                "secrets",
                FieldKind::List(&FieldKind::Text),
                Default(r#"["MCP_POLICY_SESSION_SECRET", "MCP_POLICY_SESSION_SECRET_OLD"]"#),
                "With `pin`: the environment variables that hold secrets; the first one seals, all of them open.",
                r#"["SESSION_SECRET"]"#,
            ),
            field(
                "trusted",
                FieldKind::Flag,
                Default("false"),
                "The server refuses session ids that it did not issue, so limits of scope `session` may count by them. Not with `pin`.",
                "true",
            ),
        ],
        rules: r#"{"properties":{"secrets":{"minItems":1,"items":{"pattern":"^[A-Za-z0-9_]+$"}}},"dependentRequired":{"secrets":["pin"]},
            "not":{"required":["pin","trusted"],"properties":{"pin":{"const":true},"trusted":{"const":true}}}}"#,
        ..PLAIN
    },
    ObjectSpec {
        id: "approvals",
        title: "Approvals",
        about: "What it takes to ask somebody. Where only `user` approves, and by a secret of the default name, nothing of it has to be said.",
        fields: &[
            field(
                "secrets",
                FieldKind::List(&FieldKind::Text),
                Default(r#"["MCP_POLICY_APPROVAL_SECRET", "MCP_POLICY_APPROVAL_SECRET_OLD"]"#),
                "The environment variables of the VM that hold secrets of at least 32 bytes; the first one seals what clients carry for the filter, all of them open it. Required where `user` approves.",
                r#"["APPROVAL_SECRET"]"#,
            ),
            field(
                "max_entries",
                FieldKind::Whole(1, 2_097_152),
                Default("65536"),
                "How many used approvals have room. Where there is none, calls wait for an approval that cannot be used yet.",
                "4096",
            ),
            field(
                "asks",
                FieldKind::Either(&[FieldKind::Rate, FieldKind::Object("rate_limit")]),
                Optional,
                "How often one caller may make somebody look; what joins a request that somebody is thinking about already counts for nothing.",
                r#""10/hour""#,
            ),
            field(
                "cooldown",
                FieldKind::Length(0, 2_592_000),
                Default("60"),
                "For how long a call that was declined is refused without asking.",
                r#""5m""#,
            ),
            field(
                "wait",
                FieldKind::Length(0, 50),
                Default("25"),
                "How long a call is held while an approver thinks. Envoy's `stream_idle_timeout` has to be longer.",
                r#""25s""#,
            ),
            field(
                "single_use",
                FieldKind::Words(&words(&SingleUse::WORDS)),
                Default(r#""any""#),
                "`any`: what the user approved is good once at each Envoy that has the secret. `envoy`: only at the one that asked, and not after it has started anew; others ask again.",
                r#""envoy""#,
            ),
            field(
                "legacy",
                FieldKind::Flag,
                Default("false"),
                "`true`: users at clients of 2025-06-18 and 2025-11-25 are asked too, by an elicitation on a stream that is closed and resumed. Whether such a client can ask is not known beforehand.",
                "true",
            ),
            field(
                "tokens",
                FieldKind::Object("approval_tokens"),
                Optional,
                "Where approvals stand that were given beforehand.",
                r#"{"longest": "1h"}"#,
            ),
            field(
                "approver",
                FieldKind::Object("approver"),
                Optional,
                "The service that asks somebody. Required where `approver` approves.",
                r#"{"cluster": "approver"}"#,
            ),
        ],
        rules: r#"{"properties":{"secrets":{"minItems":1,"items":{"pattern":"^[A-Za-z0-9_]+$"}}}}"#,
        ..PLAIN
    },
    ObjectSpec {
        id: "approval_tokens",
        title: "Tokens that approve",
        about: "Approvals that were given beforehand: `authorization_details` (RFC 9396) in a JWT that Envoy's `jwt_authn` has verified.",
        fields: &[
            field(
                "payload",
                FieldKind::Text,
                Default(r#""mcp_approval""#),
                "`payload_in_metadata` of the provider.",
                r#""mcp_approval""#,
            ),
            field(
                "longest",
                FieldKind::Length(1, 2_592_000),
                Default("86400"),
                "The longest that a token may still be valid when it is used.",
                r#""1h""#,
            ),
            field(
                "pin_policy",
                FieldKind::Flag,
                Default("false"),
                "`true`: a token has to name the policy by its digest, so that a change of the policy voids it.",
                "true",
            ),
        ],
        ..PLAIN
    },
    ObjectSpec {
        id: "approver",
        title: "The approver",
        about: "A service that speaks AuthZEN 1.0 access evaluation and its Access Request and Approval Profile.",
        fields: &[
            field("cluster", FieldKind::Text, Required, "Envoy's cluster.", r#""approver""#),
            field(
                "authority",
                FieldKind::Text,
                Optional,
                "`:authority` of the questions; by default the cluster's name.",
                r#""approvals.internal""#,
            ),
            field(
                "path",
                FieldKind::Text,
                Default(r#""/access/v1/evaluation""#),
                "The path of evaluations.",
                r#""/access/v1/evaluation""#,
            ),
            field(
                "requests",
                FieldKind::Text,
                Default(r#""/access/v1/requests""#),
                "The path of access requests; their states lie below it.",
                r#""/access/v1/requests""#,
            ),
            field(
                "authorization",
                FieldKind::Text,
                Optional,
                "The environment variable of the VM that holds the `authorization` header.",
                r#""APPROVER_AUTHORIZATION""#,
            ),
            field(
                "timeout",
                FieldKind::Length(1, 30),
                Default("2"),
                "How long one answer may take.",
                r#""2s""#,
            ),
            field(
                "send",
                FieldKind::Words(&["arguments", "digest"]),
                Default(r#""arguments""#),
                "Whether the approver gets the arguments, or only their digest.",
                r#""digest""#,
            ),
            field(
                "links",
                FieldKind::List(&FieldKind::Text),
                Default("[]"),
                "What an address must begin with that the approver gives and the agent is told.",
                r#"["https://approvals.example.com/"]"#,
            ),
        ],
        rules: r#"{"properties":{"path":{"pattern":"^/[^?#%]*$"},"requests":{"pattern":"^/[^?#%]*$"},"links":{"items":{"pattern":"^https://[^@?#\\\\/]+/"}},"authorization":{"pattern":"^[A-Za-z0-9_]+$"},"cluster":{"pattern":"^[!-~]{1,256}$"},"authority":{"pattern":"^[!-~]{1,256}$"}}}"#,
        ..PLAIN
    },
    ObjectSpec {
        id: "denials",
        title: "Denials",
        about: "How a denied tool call is answered.",
        fields: &[field(
            "as",
            FieldKind::Words(&words(&Denials::WORDS)),
            Required,
            "`error`: with a JSON-RPC error; `tool_result`: with a result that has `isError`, which more agents show to the model.",
            r#""tool_result""#,
        )],
        ..PLAIN
    },
];
