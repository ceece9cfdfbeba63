//! What stands beside a policy.

use mcp_policy::policy::binding::Unmatched;
use mcp_policy::policy::settings::{Batch, Denials, HoldHeaders, OnError};

use super::Presence::{Default, Optional, Required};
use super::{FieldKind, KeyKind, ObjectSpec, PLAIN, SETTINGS, field, words};

pub(super) const SECTIONS: &[ObjectSpec] = &[
    ObjectSpec {
        id: "plugin",
        title: "The plugin configuration",
        about: "What the filter is configured with: a policy with the settings beside its own fields, or this form with the settings beside `policies`.",
        fields: &[
            field(
                "policies",
                FieldKind::Named(&FieldKind::Object("policy"), KeyKind::Policies),
                Required,
                "Policies, by names of your choice, which replies and logs tell.",
                r#"{"billing": {"version": "1", "default": "deny"}}"#,
            ),
            field(
                "bindings",
                FieldKind::Objects("binding"),
                Optional,
                "Which policy governs which request. Required where there are several policies; without it the only one governs all.",
                r#"[{"match": {"path": "/billing/*"}, "policy": "billing"}]"#,
            ),
            field(
                "unmatched",
                FieldKind::Words(&words(&Unmatched::WORDS)),
                Default(r#""deny""#),
                "What becomes of requests that no binding matches. Only with `bindings`.",
                r#""pass""#,
            ),
        ],
        rules: r#"{"properties":{"policies":{"minProperties":1}},"dependentRequired":{"unmatched":["bindings"]},
            "if":{"properties":{"policies":{"minProperties":2}}},"then":{"required":["bindings"]}}"#,
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
        id: "counters",
        title: "Counters",
        about: "Where counts are kept.",
        fields: &[
            field(
                "max_entries",
                FieldKind::Whole(1, 2_097_152),
                Default("65536"),
                "How many pairs of caller and counter have room, for each kind of callers (verified, addresses, sessions, unverified); each may take about 230 bytes of shared memory.",
                "4096",
            ),
            field(
                "on_error",
                FieldKind::Words(&words(&OnError::WORDS)),
                Default(r#""deny""#),
                "What becomes of a call whose counter cannot be changed.",
                r#""allow""#,
            ),
        ],
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
