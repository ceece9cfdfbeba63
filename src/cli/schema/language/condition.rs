//! Conditions.

use super::Presence::{Default, Optional, Required};
use super::{FieldKind, ObjectSpec, PLAIN, field};

/// What a condition compares with: a value, or another field.
const PAIRED: &str = r#"{"oneOf":[{"required":["value"]},{"required":["from"]}]}"#;

pub(super) const SECTIONS: &[ObjectSpec] = &[
    ObjectSpec {
        id: "condition",
        title: "A condition",
        about: "A comparison of an argument, a counter, a name of the caller, a header or the name of what is called with a value, or with another of these. It is true, false or undecidable (another type than the operator needs); undecidable denies.",
        fields: &[
            field(
                "path",
                FieldKind::Path,
                Required,
                "What is compared. `args.<name>` is an argument, with further steps `.name`, `[0]`, `[*]` (any element) and `[\"odd.key\"]`. `state.<tool key>.<counter>` is a counter. `identity.<key>` of `identity.keys`, and `identity.grant`, say who calls. `header.<name>` is a header of the request. `tool` is the name of the tool (`resource`, `prompt` and `method` in those sections). `now` is the time of the call.",
                r#""args.items[0].price""#,
            ),
            field("op", FieldKind::Operator, Required, "How the value is compared.", r#""lte""#),
            field(
                "value",
                FieldKind::Operand,
                Optional,
                "What the operator compares with, of the type that it takes. Required, unless there is `from`.",
                "10000",
            ),
            field(
                "from",
                FieldKind::FieldPath,
                Optional,
                "Another field of the request to compare with, instead of `value`: a path without `[*]` that is no counter. For `in` and `not_in` it leads to a list. Where there is nothing, the condition is undecidable.",
                r#""args.account.limit""#,
            ),
            field(
                "every",
                FieldKind::Flag,
                Default("false"),
                "Of a path with `[*]`: whether every element has to meet the condition, and not just one. A list without elements is absent.",
                "true",
            ),
        ],
        rules: PAIRED,
        ..PLAIN
    },
    ObjectSpec {
        id: "hours",
        title: "Hours",
        about: "Hours of days of the week, for `during` and `not_during`. Days, hours, or both.",
        fields: &[
            field(
                "days",
                FieldKind::List(&FieldKind::Text),
                Optional,
                "`mon` to `sun`, and what lies between two of them: `mon-fri`. Every day where it is left out.",
                r#"["mon-fri"]"#,
            ),
            field(
                "hours",
                FieldKind::List(&FieldKind::Text),
                Optional,
                "From one time of day to another, which is the first that is outside: `09:00-17:30`. At most to `24:00`. The whole day where it is left out.",
                r#"["09:00-12:00", "13:00-17:30"]"#,
            ),
            field(
                "timezone",
                FieldKind::Text,
                Default(r#""UTC""#),
                "A zone of the IANA database by its name, `UTC`, or how far the clock is ahead of it.",
                r#""Europe/Berlin""#,
            ),
        ],
        rules: r#"{"anyOf":[{"required":["days"]},{"required":["hours"]}],"properties":{"days":{"minItems":1,"items":{"pattern":"^(mon|tue|wed|thu|fri|sat|sun)(-(mon|tue|wed|thu|fri|sat|sun))?$"}},"hours":{"minItems":1,"items":{"pattern":"^([01][0-9]|2[0-3]):[0-5][0-9]-(([01][0-9]|2[0-3]):[0-5][0-9]|24:00)$"}},"timezone":{"pattern":"^([A-Z][A-Za-z0-9_+/-]*|[+-](0[0-9]|1[0-4]):[0-5][0-9])$"}}}"#,
        ..PLAIN
    },
];
