//! What stands beside a policy.

use super::Presence::{Default, Optional, Required};
use super::{Keys, Kind, SETTINGS, Section, field};

pub(super) const SECTIONS: &[Section] = &[
    Section {
        id: "plugin",
        title: "The plugin configuration",
        about: "What the filter is configured with: a policy with the settings beside its own fields, or this form with the settings beside `policies`.",
        fields: &[field(
            "policies",
            Kind::Named("policy", Keys::Policies),
            Required,
            "One policy, by a name of your choice, which replies and logs tell.",
            r#"{"billing": {"version": "1", "default": "deny"}}"#,
        )],
        rules: r#"{"properties":{"policies":{"minProperties":1,"maxProperties":1}}}"#,
    },
    Section {
        id: SETTINGS,
        title: "Settings",
        about: "How requests are read and counts are kept. They stand beside the fields of a policy, or beside `policies`.",
        fields: &[
            field(
                "requests",
                Kind::Object("requests"),
                Optional,
                "How requests are read.",
                r#"{"batch": "deny"}"#,
            ),
            field(
                "sessions",
                Kind::Object("sessions"),
                Optional,
                "Whether MCP sessions can be told apart.",
                r#"{"trusted": true}"#,
            ),
            field(
                "counters",
                Kind::Object("counters"),
                Optional,
                "Where counts are kept.",
                r#"{"on_error": "allow"}"#,
            ),
        ],
        rules: "",
    },
    Section {
        id: "requests",
        title: "Requests",
        about: "How requests are read.",
        fields: &[
            field(
                "max_body_bytes",
                Kind::Whole(1, 16_777_216),
                Default("1048576"),
                "The longest body that is read; a longer one is refused.",
                "65536",
            ),
            field(
                "batch",
                Kind::Words(&["decide", "deny"]),
                Default(r#""decide""#),
                "Whether each element of a batch is decided, or all batches are refused.",
                r#""deny""#,
            ),
            field(
                "hold_headers",
                Kind::Words(&["auto", "always", "never"]),
                Default(r#""auto""#),
                "Whether a request's headers wait until its body is judged; see `envoy/README.md`.",
                r#""always""#,
            ),
        ],
        rules: "",
    },
    Section {
        id: "sessions",
        title: "Sessions",
        about: "Whether MCP sessions can be told apart.",
        fields: &[field(
            "trusted",
            Kind::Flag,
            Default("false"),
            "The server refuses session ids that it did not issue, so limits of scope `session` may count by them.",
            "true",
        )],
        rules: "",
    },
    Section {
        id: "counters",
        title: "Counters",
        about: "Where counts are kept.",
        fields: &[
            field(
                "max_entries",
                Kind::Whole(1, 2_097_152),
                Default("65536"),
                "How many pairs of caller and counter are kept apart; each may take about 130 bytes of shared memory.",
                "4096",
            ),
            field(
                "on_error",
                Kind::Words(&["deny", "allow"]),
                Default(r#""deny""#),
                "What becomes of a call whose counter cannot be changed.",
                r#""allow""#,
            ),
        ],
        rules: "",
    },
];
