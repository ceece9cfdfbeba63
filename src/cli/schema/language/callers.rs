//! Who calls, and which policy governs the call.

use super::Presence::{Default, Optional, Required};
use super::{Keys, Kind, PLAIN, Section, field};

/// One source of a name, or several of which the first that yields a name counts.
const SOURCES: Kind = Kind::Either(&[Kind::Object("source"), Kind::Objects("source")]);

pub(super) const SECTIONS: &[Section] = &[
    Section {
        id: "binding",
        title: "A binding",
        about: "The first binding whose `match` holds says which policy governs a request.",
        fields: &[
            field(
                "match",
                Kind::Object("match"),
                Required,
                "What must hold.",
                r#"{"path": "/payments/*"}"#,
            ),
            field("policy", Kind::Text, Required, "The name of the policy.", r#""payments""#),
        ],
        ..PLAIN
    },
    Section {
        id: "match",
        title: "A match",
        about: "Everything that it names must hold; `{}` always does.",
        fields: &[
            field(
                "host",
                Kind::Text,
                Optional,
                "`:authority` in lower case without port, or a glob.",
                r#""*.example.com""#,
            ),
            field(
                "path",
                Kind::Text,
                Optional,
                "`:path` without its query, or a glob.",
                r#""/payments/*""#,
            ),
            field("route", Kind::Text, Optional, "The name of Envoy's route.", r#""payments""#),
            field(
                "metadata",
                Kind::Named(&Kind::Named(&Kind::Text, Keys::Metadata), Keys::Metadata),
                Optional,
                "Texts in the metadata of Envoy's route, by namespace and key.",
                r#"{"mcp": {"server": "payments"}}"#,
            ),
            field(
                "identity",
                Kind::Named(&Kind::Text, Keys::Identity),
                Optional,
                "Names of the caller.",
                r#"{"team": "sre"}"#,
            ),
        ],
        ..PLAIN
    },
    Section {
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
                Kind::Named(&SOURCES, Keys::Identity),
                Optional,
                "Further names, for scopes, bindings and conditions.",
                r#"{"team": {"jwt_claim": "team"}}"#,
            ),
            field(
                "required",
                Kind::Flag,
                Default("false"),
                "`true`: callers whom no source names are denied.",
                "true",
            ),
        ],
        rules: r#"{"properties":{"keys":{"propertyNames":{"pattern":"^[A-Za-z0-9_-]{1,64}$","not":{"enum":["grant","session","global","address","anonymous"]}}}}}"#,
        ..PLAIN
    },
    Section {
        id: "source",
        title: "A source of names",
        about: "Exactly one of `jwt_claim`, `header`, `peer`, `credential` and `source`. [Why each can be trusted](README.md#callers).",
        fields: &[
            field(
                "jwt_claim",
                Kind::Either(&[Kind::Text, Kind::List(&Kind::Text)]),
                Optional,
                "A claim of the token that Envoy's `jwt_authn` has verified; `act.sub` where it is nested, or as a list where names have dots.",
                r#""client_id""#,
            ),
            field(
                "payload",
                Kind::Text,
                Default(r#""jwt_payload""#),
                "With `jwt_claim`: `payload_in_metadata` of the provider.",
                r#""jwt_payload""#,
            ),
            field(
                "header",
                Kind::Text,
                Optional,
                "A header that your own proxies set, and remove where clients send it.",
                r#""x-agent-id""#,
            ),
            field(
                "peer",
                Kind::Words(&["spiffe", "subject", "digest"]),
                Optional,
                "The client certificate that Envoy has verified.",
                r#""spiffe""#,
            ),
            field(
                "credential",
                Kind::Text,
                Optional,
                "The digest of a header's value, in its canonical spelling: who has the credential is the caller. Nothing here verifies it.",
                r#""x-api-key""#,
            ),
            field("source", Kind::Words(&["ip"]), Optional, "The client's address.", r#""ip""#),
            field(
                "use_remote_address",
                Kind::Flag,
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
