//! A policy, its entries, and their conditions.

use super::Presence::{Default, Optional, Required};
use super::{Field, Keys, Kind, PLAIN, Section, field};

/// Who can approve.
const WAYS: &[&str] = &["token", "approver", "user"];

/// What entries of every section have.
const ENTRY: &[Field] = &[
    field(
        "action",
        Kind::Words(&["allow", "deny", "require_approval"]),
        Default(r#""allow""#),
        "What the entry does before anything else is looked at.",
        r#""deny""#,
    ),
    field(
        "reason",
        Kind::Text,
        Optional,
        "What the agent reads when `action` denies or asks for approval.",
        r#""Deleting is not an agent's job.""#,
    ),
    field(
        "mode",
        Kind::Words(&["enforce", "shadow"]),
        Default(r#""enforce""#),
        "`shadow`: what this entry denies is recorded, and passes.",
        r#""shadow""#,
    ),
    field(
        "require",
        Kind::Objects("requirement"),
        Optional,
        "Requirements: each one's conditions must all hold.",
        r#"[{"conditions": [{"path": "args.amount", "op": "lte", "value": 10000}]}]"#,
    ),
    field(
        "deny_if",
        Kind::Objects("denial"),
        Optional,
        "Denials: a call for which all conditions of one hold is denied.",
        r#"[{"conditions": [{"path": "args.force", "op": "eq", "value": true}]}]"#,
    ),
    field(
        "ask_if",
        Kind::Objects("question"),
        Optional,
        "Questions: a call for which all conditions of one hold needs approval. One that cannot be decided is denied.",
        r#"[{"conditions": [{"path": "args.amount", "op": "gt", "value": 10000}]}]"#,
    ),
    field(
        "approval",
        Kind::Either(&[
            Kind::Words(WAYS),
            Kind::List(&Kind::Words(WAYS)),
            Kind::Object("approval"),
        ]),
        Optional,
        "Who can approve a call that the entry asks about, by `action` or `ask_if`; any one of them is enough. Where it is left out, nobody can, and such a call is denied.",
        r#""user""#,
    ),
    field(
        "limits",
        Kind::Objects("limit"),
        Optional,
        "How often, or how much.",
        r#"[{"counter": "refunds", "window": "day", "max": 20}]"#,
    ),
    field(
        "rate_limit",
        Kind::Either(&[Kind::Rate, Kind::Object("rate_limit")]),
        Optional,
        "A limit on a counter of this entry's own, with scope `grant`.",
        r#""10/minute""#,
    ),
    field(
        "decode_json_strings",
        Kind::Flag,
        Optional,
        "How the server takes a string that is JSON text of an object, an array or null. `true`: a top-level argument is read as what its text holds. `false`: a string is a string. Unless the entry says it, a condition on such a string cannot be decided, and denies.",
        "true",
    ),
];

pub(super) const SECTIONS: &[Section] = &[
    Section {
        id: "policy",
        title: "The policy",
        about: "Says which tools an agent may call, with which arguments, and how often.",
        fields: &[
            field(
                "version",
                Kind::Words(&["1"]),
                Required,
                "The version of the language.",
                r#""1""#,
            ),
            field(
                "description",
                Kind::Text,
                Optional,
                "Free text.",
                r#""What the billing agents may do.""#,
            ),
            field(
                "default",
                Kind::Words(&["allow", "deny"]),
                Optional,
                "What becomes of tools that no entry lists. Required, unless every entry of `tools` has `rules` and nothing else; then it is `allow`.",
                r#""deny""#,
            ),
            field(
                "mode",
                Kind::Words(&["enforce", "shadow"]),
                Default(r#""enforce""#),
                "`shadow`: decide, count and record what would be denied, but let the call pass. Malformed requests are refused even so.",
                r#""shadow""#,
            ),
            field(
                "hide",
                Kind::List(&Kind::Pattern),
                Optional,
                "Tools that answer as if they did not exist.",
                r#"["delete_account", "internal_*"]"#,
            ),
            field(
                "tools_list",
                Kind::Words(&["listed", "callable", "all"]),
                Default(r#""listed""#),
                "What `tools/list`, and the lists of the other sections, show: `listed` what is listed, also if it is denied whatever the arguments are; `callable` without the latter; `all` everything that is not hidden.",
                r#""callable""#,
            ),
            field(
                "all_tools",
                Kind::Object("all_tools"),
                Optional,
                "What every call counts against.",
                r#"{"limits": [{"counter": "calls", "window": "minute", "max": 100}]}"#,
            ),
            field(
                "tools",
                Kind::Named(&Kind::Object("tool_entry"), Keys::Tools),
                Optional,
                "An entry for each tool, by its exact name, by a glob (`*` any run of characters, `?` exactly one), or `\"*\"` for every tool. All entries that match a call apply, and any of them can deny.",
                r#"{"search": {}, "delete_*": {"action": "deny"}}"#,
            ),
            field(
                "methods",
                Kind::Object("section"),
                Optional,
                "What holds for requests and notifications by their method, before the other sections: `tools/call`, `initialize`, `tasks/*`, …",
                r#"{"tasks/*": {"action": "deny"}}"#,
            ),
            field(
                "resources",
                Kind::Object("section"),
                Optional,
                "What holds for reading and subscribing to resources, by their URI.",
                r#"{"default": "deny", "file:///data/*": {}}"#,
            ),
            field(
                "prompts",
                Kind::Object("section"),
                Optional,
                "What holds for prompts, by their name.",
                r#"{"hide": ["internal_*"], "review": {"rate_limit": "10/minute"}}"#,
            ),
        ],
        rules: r#"{"anyOf":[{"required":["default"]},{"required":["tools"],"properties":{"tools":{"minProperties":1,"additionalProperties":{"required":["rules"],"maxProperties":1}}}}]}"#,
        ..PLAIN
    },
    Section {
        id: "tool_entry",
        title: "A tool entry",
        about: "What holds for calls of one tool. `{}` lists the tool, and allows it.",
        fields: ENTRY,
        more: &[field(
            "rules",
            Kind::Objects("rule"),
            Optional,
            "The same in the rules dialect: a list in which the order of checks is free.",
            r#"[{"rate_limit": "5/hour"}]"#,
        )],
        ..PLAIN
    },
    Section {
        id: "section",
        title: "Another section",
        about: "`methods`, `resources` and `prompts`. Every member but these two is an entry, by the name or a glob of names of what it is about. Without the section everything that it would be about passes.",
        fields: &[
            field(
                "default",
                Kind::Either(&[Kind::Words(&["allow", "deny"]), Kind::Object("entry")]),
                Default(r#""allow""#),
                "What becomes of what no entry lists; with an object it is an entry of that name.",
                r#""deny""#,
            ),
            field(
                "hide",
                Kind::Either(&[Kind::List(&Kind::Pattern), Kind::Object("entry")]),
                Optional,
                "What answers as if it did not exist; with an object it is an entry of that name.",
                r#"["file:///data/keys/*"]"#,
            ),
        ],
        others: Some("entry"),
        ..PLAIN
    },
    Section {
        id: "entry",
        title: "An entry of another section",
        about: "As a tool entry, but for rules.",
        fields: ENTRY,
        ..PLAIN
    },
    Section {
        id: "requirement",
        title: "A requirement",
        about: "One of `require`.",
        fields: &[
            field(
                "conditions",
                Kind::Objects("condition"),
                Required,
                "All must hold, else the call is denied. At least one.",
                r#"[{"path": "args.reason", "op": "exists", "value": true}]"#,
            ),
            field(
                "on_deny",
                Kind::Text,
                Optional,
                "What the agent reads then.",
                r#""Refunds over $100.00 need a person.""#,
            ),
        ],
        rules: r#"{"properties":{"conditions":{"minItems":1}}}"#,
        ..PLAIN
    },
    Section {
        id: "denial",
        title: "A denial",
        about: "One of `deny_if`.",
        fields: &[
            field(
                "conditions",
                Kind::Objects("condition"),
                Required,
                "The call is denied if all hold; without any, always.",
                r#"[{"path": "args.paths[*]", "op": "not_regex", "value": "^/data/"}]"#,
            ),
            field(
                "on_deny",
                Kind::Text,
                Optional,
                "What the agent reads then.",
                r#""Only files below /data.""#,
            ),
        ],
        ..PLAIN
    },
    Section {
        id: "question",
        title: "A question",
        about: "One of `ask_if`.",
        fields: &[
            field(
                "conditions",
                Kind::Objects("condition"),
                Required,
                "The call needs approval if all hold. At least one.",
                r#"[{"path": "args.amount", "op": "gt", "value": 10000}]"#,
            ),
            field(
                "reason",
                Kind::Text,
                Optional,
                "What is read by who is asked, and by the agent if nobody can be.",
                r#""Refunds over $100.00 need a person.""#,
            ),
        ],
        rules: r#"{"properties":{"conditions":{"minItems":1}}}"#,
        ..PLAIN
    },
    Section {
        id: "approval",
        title: "An approval",
        about: "Who can approve a call, and what an approval is good for: this very call, as it will run, by this caller, under this policy.",
        fields: &[
            field(
                "by",
                Kind::Either(&[Kind::Words(WAYS), Kind::List(&Kind::Words(WAYS))]),
                Required,
                "`token`: an approval that was given beforehand, in a token that Envoy has verified. `approver`: a service that asks somebody. `user`: the user at the agent, whom the agent's own program asks; that is a confirmation, and no second person.",
                r#"["token", "user"]"#,
            ),
            field(
                "expires",
                Kind::Length(1, 2_592_000),
                Default("300"),
                "How long a question, and the answer to it, hold.",
                r#""5m""#,
            ),
            field(
                "once",
                Kind::Flag,
                Default("true"),
                "`false`: one approval by the user is good for any number of identical calls, until it expires.",
                "false",
            ),
        ],
        rules: r#"{"properties":{"by":{"minItems":1}}}"#,
        ..PLAIN
    },
    Section {
        id: "condition",
        title: "A condition",
        about: "A comparison of an argument, a counter, a name of the caller or a header with a value. It is true, false or undecidable (another type than the operator needs); undecidable denies.",
        fields: &[
            field(
                "path",
                Kind::Path,
                Required,
                "`args.<name>` with further `.name`, `[0]`, `[*]` (any element) and `[\"odd.key\"]` steps, `state.<tool key>.<counter>`, `identity.<key>` of `identity.keys`, `identity.grant`, or `header.<name>` of the request.",
                r#""args.items[0].price""#,
            ),
            field("op", Kind::Operator, Required, "How the value is compared.", r#""lte""#),
            field(
                "value",
                Kind::Operand,
                Required,
                "What the operator compares with, of the type that it takes.",
                "10000",
            ),
        ],
        ..PLAIN
    },
    Section {
        id: "all_tools",
        title: "What holds for all tools",
        about: "For every call, whatever its tool.",
        fields: &[field(
            "limits",
            Kind::Objects("limit"),
            Optional,
            "Limits that every call counts against.",
            r#"[{"counter": "calls", "window": "minute", "max": 100}]"#,
        )],
        ..PLAIN
    },
];
