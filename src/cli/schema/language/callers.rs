//! Who calls, and which policy governs the call.

use mcp_policy::policy::binding::Unmatched;
use mcp_policy::policy::callers::Peer;
use mcp_policy::rate::limiter::Mode;

use super::Presence::{Default, Optional, Required};
use super::{FieldKind, KeyKind, ObjectSpec, PLAIN, field, words};

/// One source of a name, or several of which the first that yields a name counts.
const SOURCES: FieldKind =
    FieldKind::Either(&[FieldKind::Object("source"), FieldKind::Objects("source")]);

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
                "What becomes of requests that no binding matches. Only with `bindings`.",
                r#""pass""#,
            ),
        ],
        rules: r#"{"properties":{"policies":{"minProperties":1}},"dependentRequired":{"unmatched":["bindings"]},
            "if":{"properties":{"policies":{"minProperties":2}}},"then":{"required":["bindings"]}}"#,
        ..PLAIN
    },
    ObjectSpec {
        id: "binding",
        title: "A binding",
        about: "The first binding whose `match` holds says which policy governs a request.",
        fields: &[
            field(
                "match",
                FieldKind::Object("match"),
                Required,
                "What must hold.",
                r#"{"path": "/payments/*"}"#,
            ),
            field("policy", FieldKind::Text, Required, "The name of the policy.", r#""payments""#),
        ],
        ..PLAIN
    },
    ObjectSpec {
        id: "match",
        title: "A match",
        about: "Everything that it names must hold; `{}` always does.",
        fields: &[
            field(
                "host",
                FieldKind::Text,
                Optional,
                "`:authority` in lower case without port, or a glob.",
                r#""*.example.com""#,
            ),
            field(
                "path",
                FieldKind::Text,
                Optional,
                "`:path` without its query, or a glob.",
                r#""/payments/*""#,
            ),
            field(
                "route",
                FieldKind::Text,
                Optional,
                "The name of Envoy's route.",
                r#""payments""#,
            ),
            field(
                "metadata",
                FieldKind::Named(
                    &FieldKind::Named(&FieldKind::Text, KeyKind::Metadata),
                    KeyKind::Metadata,
                ),
                Optional,
                "Texts in the metadata of Envoy's route, by namespace and key.",
                r#"{"mcp": {"server": "payments"}}"#,
            ),
            field(
                "identity",
                FieldKind::Named(&FieldKind::Text, KeyKind::Identity),
                Optional,
                "Names of the caller.",
                r#"{"team": "sre"}"#,
            ),
        ],
        ..PLAIN
    },
    ObjectSpec {
        id: "identity",
        title: "Identity",
        about: "Where the names of callers come from.",
        fields: &[
            field(
                "grant",
                SOURCES,
                Default(r#"{"credential": "authorization"}"#),
                "What the caller is called: by the first source that yields a name; else `anonymous`, with all others like him.",
                r#"[{"jwt_claim": "client_id"}, {"header": "x-agent-id"}]"#,
            ),
            field(
                "keys",
                FieldKind::Named(&SOURCES, KeyKind::Identity),
                Optional,
                "Further names, for scopes, bindings and conditions.",
                r#"{"team": {"jwt_claim": "team"}}"#,
            ),
            field(
                "required",
                FieldKind::Flag,
                Default("false"),
                "`true`: callers whom no source names are denied.",
                "true",
            ),
        ],
        rules: r#"{"properties":{"keys":{"propertyNames":{"pattern":"^[A-Za-z0-9_-]{1,64}$","not":{"enum":["grant","session","global","address","anonymous"]}}}}}"#,
        ..PLAIN
    },
    ObjectSpec {
        id: "source",
        title: "A source of names",
        about: "Exactly one of `jwt_claim`, `header`, `peer`, `credential` and `source`. [Why each can be trusted](README.md#callers).",
        fields: &[
            field(
                "jwt_claim",
                FieldKind::Either(&[FieldKind::Text, FieldKind::List(&FieldKind::Text)]),
                Optional,
                "A claim of the token that Envoy's `jwt_authn` has verified; `act.sub` where it is nested, or as a list where names have dots.",
                r#""client_id""#,
            ),
            field(
                "payload",
                FieldKind::Text,
                Default(r#""jwt_payload""#),
                "With `jwt_claim`: `payload_in_metadata` of the provider.",
                r#""jwt_payload""#,
            ),
            field(
                "header",
                FieldKind::Text,
                Optional,
                "A header that your own proxies set, and remove where clients send it.",
                r#""x-agent-id""#,
            ),
            field(
                "peer",
                FieldKind::Words(&words(&Peer::WORDS)),
                Optional,
                "The client certificate that Envoy has verified.",
                r#""spiffe""#,
            ),
            field(
                "credential",
                FieldKind::Text,
                Optional,
                "The digest of a header's value, in its canonical spelling: who has the credential is the caller. Nothing here verifies it.",
                r#""x-api-key""#,
            ),
            field(
                "source",
                FieldKind::Words(&["ip"]),
                Optional,
                "The client's address.",
                r#""ip""#,
            ),
            field(
                "use_remote_address",
                FieldKind::Flag,
                Optional,
                "With `source`, and required then: `true` says that Envoy's connection manager has it too.",
                "true",
            ),
        ],
        rules: r#"{"oneOf":[{"required":["jwt_claim"]},{"required":["header"]},{"required":["peer"]},{"required":["credential"]},{"required":["source","use_remote_address"],"properties":{"use_remote_address":{"const":true}}}],
            "dependentRequired":{"payload":["jwt_claim"],"use_remote_address":["source"]}}"#,
        ..PLAIN
    },
];
