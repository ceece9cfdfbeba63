//! A gateway file: which servers stand behind one Envoy.

use mcp_policy::policy::binding::Unmatched;
use mcp_policy::rate::limiter::Mode;

use super::Presence::{Default, Optional, Required};
use super::{FieldKind, KeyKind, ObjectSpec, PLAIN, field, words};

/// The sections that policies do not have.
pub(super) const SECTIONS: &[ObjectSpec] = &[
    ObjectSpec {
        id: "gateway",
        title: "A gateway file",
        about: "The MCP servers behind one Envoy, for `mcp-policy render`. Settings stand beside `servers`, as they would beside `policies`.",
        fields: &[
            field(
                "version",
                FieldKind::Words(&["1"]),
                Required,
                "The version of this language.",
                r#""1""#,
            ),
            field(
                "name",
                FieldKind::Text,
                Optional,
                "Names the deployment, and with it the scope of its counters (`vm_id`): keep it, and they go on. After the file, if not given.",
                r#""agents""#,
            ),
            field(
                "servers",
                FieldKind::Named(&FieldKind::Object("server"), KeyKind::Servers),
                Required,
                "The servers, by names of your choice: lower-case letters, digits and `-`.",
                r#"{"git": {"url": "http://127.0.0.1:8000/mcp", "policy": "git.yaml"}}"#,
            ),
            field(
                "mode",
                FieldKind::Words(&words(&Mode::WORDS)),
                Default(r#""enforce""#),
                "`shadow` puts all policies in shadow, whatever they say themselves.",
                r#""shadow""#,
            ),
            field(
                "unmatched",
                FieldKind::Words(&words(&Unmatched::WORDS)),
                Default(r#""deny""#),
                "What becomes of requests to no server's `path`. With `pass` they pass unread, where a `host` leads them to a server.",
                r#""pass""#,
            ),
        ],
        rules: r#"{"properties":{"servers":{"minProperties":1},
            "name":{"pattern":"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$"}}}"#,
        ..PLAIN
    },
    ObjectSpec {
        id: "server",
        title: "Server",
        about: "One MCP server: where it is, where agents reach it, and what governs it.",
        fields: &[
            field(
                "url",
                FieldKind::Text,
                Required,
                "Where the server speaks MCP. With `https` it must show a certificate for the name in it.",
                r#""https://mcp.example.com/mcp""#,
            ),
            field(
                "policy",
                FieldKind::Text,
                Required,
                "The file of its policy, seen from the gateway file. It is called in logs as the file is, without the ending.",
                r#""policies/git.yaml""#,
            ),
            field(
                "path",
                FieldKind::Text,
                Optional,
                "Where agents reach it: `/NAME/mcp` if not given, or with a `host` the path of `url`. The server sees the path of `url`.",
                r#""/git/mcp""#,
            ),
            field(
                "host",
                FieldKind::Text,
                Optional,
                "The host by which agents reach it, without port. All of that host leads to this server; what is not its `path` is refused unless a setting lets it pass.",
                r#""git.example.com""#,
            ),
            field(
                "callers",
                FieldKind::Objects("callers"),
                Optional,
                "Callers whom another policy governs. The first that fits counts.",
                r#"[{"identity": {"team": "sre"}, "policy": "git-sre.yaml"}]"#,
            ),
            field(
                "ca",
                FieldKind::Text,
                Optional,
                "The file, where Envoy runs, with the authorities that may vouch for it. The system's, if not given (`--ca`).",
                r#""/etc/envoy/ca.pem""#,
            ),
            field(
                "sni",
                FieldKind::Text,
                Optional,
                "The name that the server is asked for, and that its certificate must be for, if that is not the one in `url`.",
                r#""mcp.internal""#,
            ),
            field(
                "host_header",
                FieldKind::Text,
                Optional,
                "What the server reads as `host`: the host and port in `url`, if not given.",
                r#""mcp.internal:8000""#,
            ),
            field(
                "keep_host",
                FieldKind::Flag,
                Default("false"),
                "`true`: the server reads the host that the agent wrote.",
                "true",
            ),
        ],
        rules: r#"{"properties":{"url":{"pattern":"^https?://[^/?#@]+(/[^?#]*)?$"},"path":{"pattern":"^/[^*?#]*$"},
            "host":{"pattern":"^[a-z0-9_-][a-z0-9._-]*$"},"sni":{"pattern":"^[a-z0-9_-][a-z0-9._-]*$"},
            "policy":{"minLength":1},"ca":{"minLength":1},"host_header":{"pattern":"^[^\\s/@?#]+$"}}}"#,
        ..PLAIN
    },
    ObjectSpec {
        id: "callers",
        title: "Callers of a server",
        about: "A policy for callers of these names.",
        fields: &[
            field(
                "identity",
                FieldKind::Named(&FieldKind::Text, KeyKind::Identity),
                Required,
                "Names of the caller, by key of `identity.keys`; all must be theirs.",
                r#"{"team": "sre"}"#,
            ),
            field(
                "policy",
                FieldKind::Text,
                Required,
                "The file of their policy.",
                r#""policies/git-sre.yaml""#,
            ),
        ],
        rules: r#"{"properties":{"identity":{"minProperties":1},"policy":{"minLength":1}}}"#,
        ..PLAIN
    },
];
