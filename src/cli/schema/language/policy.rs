//! A policy, its entries, and their conditions.

use mcp_policy::policy::approvals::ApprovalWay;
use mcp_policy::policy::entry::{Action, CountIn, DefaultAction, Listing};
use mcp_policy::policy::pinning::PINS;
use mcp_policy::rate::limiter::Mode;

use super::Presence::{Default, Optional, Required};
use super::{
    FieldKind, FieldSpec, KeyKind, NOT_AFTER, NOT_BEFORE, ObjectSpec, PLAIN, field, words,
};

/// Who can approve.
const WAYS: FieldKind = FieldKind::Words(&words(&ApprovalWay::WORDS));

/// What entries of every section have.
const ENTRY: &[FieldSpec] = &[
    field(
        "action",
        FieldKind::Words(&words(&Action::WORDS)),
        Default(r#""allow""#),
        "What the entry does before anything else is looked at.",
        r#""deny""#,
    ),
    field(
        "reason",
        FieldKind::Text,
        Optional,
        "What the agent reads when `action` denies or asks for approval, or does not allow at this time.",
        r#""Deleting is not an agent's job.""#,
    ),
    field(
        "during",
        FieldKind::Object("hours"),
        Optional,
        "When `action` holds: an entry that allows then denies at all other times, and one that denies or asks does so only then. What else the entry says holds always.",
        r#"{"days": ["mon-fri"], "hours": ["09:00-17:30"], "timezone": "Europe/Berlin"}"#,
    ),
    NOT_BEFORE,
    NOT_AFTER,
    field(
        "mode",
        FieldKind::Words(&words(&Mode::WORDS)),
        Default(r#""enforce""#),
        "`shadow`: what this entry denies is recorded, and passes.",
        r#""shadow""#,
    ),
    field(
        "require",
        FieldKind::Objects("requirement"),
        Optional,
        "Requirements: each one's conditions must all hold.",
        r#"[{"conditions": [{"path": "args.amount", "op": "lte", "value": 10000}]}]"#,
    ),
    field(
        "deny_if",
        FieldKind::Objects("denial"),
        Optional,
        "Denials: a call for which all conditions of one hold is denied.",
        r#"[{"conditions": [{"path": "args.force", "op": "eq", "value": true}]}]"#,
    ),
    field(
        "ask_if",
        FieldKind::Objects("question"),
        Optional,
        "Questions: a call for which all conditions of one hold needs approval. One that cannot be decided is denied.",
        r#"[{"conditions": [{"path": "args.amount", "op": "gt", "value": 10000}]}]"#,
    ),
    field(
        "approval",
        FieldKind::Either(&[WAYS, FieldKind::List(&WAYS), FieldKind::Object("approval")]),
        Optional,
        "Who can approve a call that the entry asks about, by `action` or `ask_if`; any one of them is enough. Where it is left out, nobody can, and such a call is denied.",
        r#""user""#,
    ),
    field(
        "limits",
        FieldKind::Objects("limit"),
        Optional,
        "How often, or how much.",
        r#"[{"counter": "refunds", "window": "day", "max": 20}]"#,
    ),
    field(
        "rate_limit",
        FieldKind::Either(&[FieldKind::Rate, FieldKind::Object("rate_limit")]),
        Optional,
        "A limit on a counter of this entry's own, with scope `grant`.",
        r#""10/minute""#,
    ),
    field(
        "decode_json_strings",
        FieldKind::Flag,
        Optional,
        "How the server takes a string that is JSON text of an object, an array or null. `true`: a top-level argument is read as what its text holds. `false`: a string is a string. Unless the entry says it, a condition on such a string cannot be decided, and denies.",
        "true",
    ),
];

/// The fields of every policy.
pub(super) const POLICY: &[FieldSpec] = &[
    field("version", FieldKind::Words(&["1"]), Required, "The version of the language.", r#""1""#),
    field("description", FieldKind::Text, Optional, "Free text.", r#""For billing agents.""#),
    field(
        "default",
        FieldKind::Words(&words(&DefaultAction::WORDS)),
        Optional,
        "What becomes of tools that no entry lists. Required, unless every entry of `tools` has `rules` and nothing else; then it is `allow`.",
        r#""deny""#,
    ),
    field(
        "mode",
        FieldKind::Words(&words(&Mode::WORDS)),
        Default(r#""enforce""#),
        "`shadow`: decide, count and record what would be denied, but let the call pass. Malformed requests are refused even so.",
        r#""shadow""#,
    ),
    field(
        "hide",
        FieldKind::List(&FieldKind::Pattern),
        Optional,
        "Tools that answer as if they did not exist.",
        r#"["delete_account", "internal_*"]"#,
    ),
    field(
        "tools_list",
        FieldKind::Words(&words(&Listing::WORDS)),
        Default(r#""listed""#),
        "What `tools/list`, and the lists of the other sections, show: `listed` what is listed, also if it is denied whatever the arguments are; `callable` without the latter; `all` everything that is not hidden.",
        r#""callable""#,
    ),
    field(
        "pins",
        FieldKind::Words(&words(&PINS)),
        Optional,
        "`first_use`: a tool whose entry has no `definition` is shown and called only as long as a server defines it as it did when a list was seen first.",
        r#""first_use""#,
    ),
    field(
        "all_tools",
        FieldKind::Object("all_tools"),
        Optional,
        "What every call counts against.",
        r#"{"limits": [{"counter": "calls", "window": "minute", "max": 100}]}"#,
    ),
    field(
        "tools",
        FieldKind::Named(&FieldKind::Object("tool_entry"), KeyKind::Tools),
        Optional,
        "An entry for each tool, by its exact name, by a glob (`*` any run of characters, `?` exactly one), or `\"*\"` for every tool. All entries that match a call apply, and any of them can deny.",
        r#"{"search": {}, "delete_*": {"action": "deny"}}"#,
    ),
    field(
        "methods",
        FieldKind::Object("section"),
        Optional,
        "What holds for requests and notifications by their method, before the other sections: `tools/call`, `initialize`, `tasks/*`, …",
        r#"{"tasks/*": {"action": "deny"}}"#,
    ),
    field(
        "count_in",
        FieldKind::Words(&words(&CountIn::WORDS)),
        Default(r#""envoy""#),
        "Where limits count that do not say so themselves.",
        r#""envoy""#,
    ),
    field(
        "resources",
        FieldKind::Object("section"),
        Optional,
        "What holds for reading and subscribing to resources, by their URI.",
        r#"{"default": "deny", "file:///data/*": {}}"#,
    ),
    field(
        "prompts",
        FieldKind::Object("section"),
        Optional,
        "What holds for prompts, by their name.",
        r#"{"hide": ["internal_*"], "review": {"rate_limit": "10/minute"}}"#,
    ),
];

pub(super) const SECTIONS: &[ObjectSpec] = &[
    ObjectSpec {
        id: "policy",
        title: "The policy",
        about: "Says which tools an agent may call, with which arguments, and how often.",
        fields: POLICY,
        more: &[field(
            "candidate",
            FieldKind::Object("candidate"),
            Optional,
            "Another policy, which decides the same calls beside this one and touches nothing. What it decides otherwise is on record and counted.",
            r#"{"version": "1", "default": "deny"}"#,
        )],
        rules: r#"{"anyOf":[{"required":["default"]},{"required":["tools"],"properties":{"tools":{"minProperties":1,"additionalProperties":{"required":["rules"],"maxProperties":1}}}}]}"#,
        ..PLAIN
    },
    ObjectSpec {
        id: "tool_entry",
        title: "A tool entry",
        about: "What holds for calls of one tool. `{}` lists the tool, and allows it.",
        fields: ENTRY,
        more: &[
            field(
                "rules",
                FieldKind::Objects("rule"),
                Optional,
                "The same in the rules dialect: a list in which the order of checks is free.",
                r#"[{"rate_limit": "5/hour"}]"#,
            ),
            field(
                "definition",
                FieldKind::Digest,
                Optional,
                "The digest of the definition that somebody has read. The tool is on lists only with this definition, and its calls are denied once a list has shown another. `mcp-policy scan --pin` writes it. Not for globs.",
                r#""sha-256:7dlFKRqZxDBRCTR1z5ceUjRS0oVpKxFPlxQtVt8LStU""#,
            ),
        ],
        ..PLAIN
    },
    ObjectSpec {
        id: "section",
        title: "Another section",
        about: "`methods`, `resources` and `prompts`. Every member but these two is an entry, by the name or a glob of names of what it is about. Without the section everything that it would be about passes.",
        fields: &[
            field(
                "default",
                FieldKind::Either(&[
                    FieldKind::Words(&words(&DefaultAction::WORDS)),
                    FieldKind::Object("entry"),
                ]),
                Default(r#""allow""#),
                "What becomes of what no entry lists; with an object it is an entry of that name.",
                r#""deny""#,
            ),
            field(
                "hide",
                FieldKind::Either(&[
                    FieldKind::List(&FieldKind::Pattern),
                    FieldKind::Object("entry"),
                ]),
                Optional,
                "What answers as if it did not exist; with an object it is an entry of that name.",
                r#"["file:///data/keys/*"]"#,
            ),
        ],
        others: Some("entry"),
        ..PLAIN
    },
    ObjectSpec {
        id: "entry",
        title: "An entry of another section",
        about: "As a tool entry, but for rules.",
        fields: ENTRY,
        ..PLAIN
    },
    ObjectSpec {
        id: "requirement",
        title: "A requirement",
        about: "One of `require`.",
        fields: &[
            field(
                "conditions",
                FieldKind::Objects("condition"),
                Required,
                "All must hold, else the call is denied. At least one.",
                r#"[{"path": "args.reason", "op": "exists", "value": true}]"#,
            ),
            field(
                "on_deny",
                FieldKind::Text,
                Optional,
                "What the agent reads then.",
                r#""Refunds over $100.00 need a person.""#,
            ),
        ],
        rules: r#"{"properties":{"conditions":{"minItems":1}}}"#,
        ..PLAIN
    },
    ObjectSpec {
        id: "denial",
        title: "A denial",
        about: "One of `deny_if`.",
        fields: &[
            field(
                "conditions",
                FieldKind::Objects("condition"),
                Required,
                "The call is denied if all hold; without any, always.",
                r#"[{"path": "args.paths[*]", "op": "not_regex", "value": "^/data/"}]"#,
            ),
            field(
                "on_deny",
                FieldKind::Text,
                Optional,
                "What the agent reads then.",
                r#""Only files below /data.""#,
            ),
        ],
        ..PLAIN
    },
    ObjectSpec {
        id: "question",
        title: "A question",
        about: "One of `ask_if`.",
        fields: &[
            field(
                "conditions",
                FieldKind::Objects("condition"),
                Required,
                "The call needs approval if all hold. At least one.",
                r#"[{"path": "args.amount", "op": "gt", "value": 10000}]"#,
            ),
            field(
                "reason",
                FieldKind::Text,
                Optional,
                "What is read by who is asked, and by the agent if nobody can be.",
                r#""Refunds over $100.00 need a person.""#,
            ),
        ],
        rules: r#"{"properties":{"conditions":{"minItems":1}}}"#,
        ..PLAIN
    },
    ObjectSpec {
        id: "approval",
        title: "An approval",
        about: "Who can approve a call, and what an approval is good for: this very call, as it will run, by this caller, under this policy.",
        fields: &[
            field(
                "by",
                FieldKind::Either(&[WAYS, FieldKind::List(&WAYS)]),
                Required,
                "`token`: an approval that was given beforehand, in a token that Envoy has verified. `approver`: a service that asks somebody. `user`: the user at the agent, whom the agent's own program asks; that is a confirmation, and no second person.",
                r#"["token", "user"]"#,
            ),
            field(
                "expires",
                FieldKind::Length(1, 2_592_000),
                Default("300"),
                "How long a question, and the answer to it, hold.",
                r#""5m""#,
            ),
            field(
                "once",
                FieldKind::Flag,
                Default("true"),
                "`false`: one approval by the user is good for any number of identical calls, until it expires.",
                "false",
            ),
            field(
                "text",
                FieldKind::Text,
                Optional,
                "What a person who is asked reads in the place of the entry's reason.",
                r#""Closes the account for good.""#,
            ),
            field(
                "show",
                FieldKind::List(&FieldKind::ArgumentPath),
                Optional,
                "Arguments that the user is shown first. All of them follow, as they will run.",
                r#"["args.id", "args.owner.name"]"#,
            ),
        ],
        rules: r#"{"properties":{"by":{"minItems":1}}}"#,
        ..PLAIN
    },
];
