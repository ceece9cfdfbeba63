//! Where counts are kept, and what is told of decisions.

use mcp_policy::policy::log_key::LogKey;
use mcp_policy::policy::settings::{AuditTarget, OnError, ServiceError};

use super::Presence::{Default, Optional, Required};
use super::{FieldKind, ObjectSpec, PLAIN, field, words};

pub(super) const SECTIONS: &[ObjectSpec] = &[
    ObjectSpec {
        id: "access_log",
        title: "Access log",
        about: "What access logs can print of a decision.",
        fields: &[field(
            "keys",
            FieldKind::List(&FieldKind::Words(&words(&LogKey::WORDS))),
            Required,
            "The keys of filter state that are left, each as `wasm.<key>`. Each costs some time; `[]` leaves none. Audit lines have a setting of their own.",
            r#"["mcp_decision", "mcp_reason", "mcp_tool"]"#,
        )],
        ..PLAIN
    },
    ObjectSpec {
        id: "audit",
        title: "Audit",
        about: "One line of JSON for each decision. `audit.schema.json` beside the schema of policies describes it.",
        fields: &[
            field(
                "to",
                FieldKind::Either(&[
                    FieldKind::Words(&words(&AuditTarget::WORDS)),
                    FieldKind::List(&FieldKind::Words(&words(&AuditTarget::WORDS))),
                ]),
                Default(r#""access_log""#),
                "Where the lines go: `access_log` puts them into filter state, as `wasm.mcp_audit`, which Envoy's access log prints when the request is over; `log` writes them to Envoy's own log at once.",
                r#"["access_log", "log"]"#,
            ),
            field(
                "arguments",
                FieldKind::Words(&["none", "keys", "redacted", "full"]),
                Default(r#""none""#),
                "What a line says of arguments beside their digest: their names (`keys`), their values but for those in `redact`, or all values. More than 8192 bytes are left out.",
                r#""keys""#,
            ),
            field(
                "redact",
                FieldKind::List(&FieldKind::Text),
                Optional,
                "With `\"arguments\": \"redacted\"`: JSON Pointers (RFC 6901) to values that are left out. A key that a lenient reader takes for one of a pointer is that one; a pointer goes through lists into each of their elements; and a string in which it would have to go on is left out as a whole.",
                r#"["/password", "/card/number"]"#,
            ),
            field(
                "chain",
                FieldKind::Flag,
                Default("false"),
                "Whether each line holds a digest over itself and the line before it, for each worker thread, so that `mcp-policy audit verify` finds what was changed or taken out.",
                "true",
            ),
        ],
        rules: r#"{"if":{"properties":{"arguments":{"const":"redacted"}},"required":["arguments"]},"then":{"required":["redact"]},"else":{"properties":{"redact":false}}}"#,
        ..PLAIN
    },
    ObjectSpec {
        id: "metrics",
        title: "Metrics",
        about: "Metrics for Prometheus, among Envoy's statistics.",
        fields: &[field("enabled", FieldKind::Flag, Required, "Whether they are kept.", "false")],
        ..PLAIN
    },
    ObjectSpec {
        id: "tracing",
        title: "Tracing",
        about: "How traces of clients are joined.",
        fields: &[field(
            "from_meta",
            FieldKind::Flag,
            Required,
            "Whether `traceparent` in a request's `_meta` becomes the header that the server gets, where the client sent no such header. It needs headers that are held. Filter state has it as `wasm.mcp_traceparent`.",
            "true",
        )],
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
            field(
                "service",
                FieldKind::Object("service"),
                Optional,
                "The rate limit service of the mesh, for limits with `\"count_in\": \"service\"`.",
                r#"{"cluster": "ratelimit"}"#,
            ),
        ],
        ..PLAIN
    },
    ObjectSpec {
        id: "service",
        title: "The rate limit service",
        about: "Counts for all Envoys together, asked by gRPC (`envoy.service.ratelimit.v3.RateLimitService`).",
        fields: &[
            field(
                "cluster",
                FieldKind::Text,
                Required,
                "Envoy's cluster of it, which speaks HTTP/2.",
                r#""ratelimit""#,
            ),
            field(
                "domain",
                FieldKind::Text,
                Default(r#""mcp_policy""#),
                "The domain of its limits.",
                r#""agents""#,
            ),
            field(
                "timeout",
                FieldKind::Whole(1, 10_000),
                Default("250"),
                "How long an answer is waited for, in milliseconds.",
                "100",
            ),
            field(
                "on_error",
                FieldKind::Words(&words(&ServiceError::WORDS)),
                Default(r#""deny""#),
                "What becomes of a call of which no answer comes that can be understood: it is denied, passes uncounted, or counts in this Envoy alone by the same maximum.",
                r#""local""#,
            ),
            field(
                "switch",
                FieldKind::Whole(1, 60),
                Optional,
                "Lets the service switch calls off: each caller's calls of each name ask it at least every so many seconds whether the policy, the name or the caller is.",
                "5",
            ),
        ],
        ..PLAIN
    },
];
