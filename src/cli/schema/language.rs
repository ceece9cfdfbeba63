//! The language as tables: every object, its fields, their types and what they mean. The JSON Schemas and the reference page
//! are written from here; tests hold the tables to what the compiler of policies accepts.

/// An object of the language.
pub(super) struct Section {
    /// Its name in the schema, and its anchor in the reference.
    pub(super) id: &'static str,
    pub(super) title: &'static str,
    /// What it is, in Markdown.
    pub(super) about: &'static str,
    pub(super) fields: &'static [Field],
    /// What must hold between its fields: members of a JSON Schema, as JSON; may be empty.
    pub(super) rules: &'static str,
}

/// A field of an object.
pub(super) struct Field {
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    pub(super) presence: Presence,
    /// What it means, in Markdown.
    pub(super) about: &'static str,
    /// A value, as JSON.
    pub(super) example: &'static str,
}

/// Whether a field must be there, and what holds where it is not.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Presence {
    Required,
    /// May be left out; then nothing is said.
    Optional,
    /// May be left out; then this holds, as JSON.
    Default(&'static str),
}

/// What a field holds.
pub(super) enum Kind {
    Text,
    Flag,
    /// Zero or more, at most six decimals.
    Amount,
    /// More than zero, at most six decimals.
    Increment,
    Whole(u32, u32),
    Words(&'static [&'static str]),
    /// A tool's name, or a pattern of names.
    ToolName,
    /// `args.…`
    ArgumentPath,
    /// `args.…` or `state.…`
    Path,
    Window,
    /// `10/minute`
    Rate,
    /// What a condition compares with.
    Operand,
    /// An object, by its section.
    Object(&'static str),
    /// A list of objects, by their section.
    Objects(&'static str),
    List(&'static Kind),
    /// An object with keys of the author's own.
    Named(&'static str, Keys),
    Either(&'static [Kind]),
}

/// What the author's own keys are.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Keys {
    Tools,
    Policies,
}

/// The settings that stand beside a policy, or beside `policies`.
pub(super) const SETTINGS: &str = "settings";

/// The object of this name.
pub(super) fn section(id: &str) -> Option<&'static Section> {
    SECTIONS.iter().find(|section| section.id == id)
}

use Presence::{Default, Optional, Required};

const fn field(
    name: &'static str,
    kind: Kind,
    presence: Presence,
    about: &'static str,
    example: &'static str,
) -> Field {
    Field { name, kind, presence, about, example }
}

/// Everything, in the order of the reference.
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
                Kind::List(&Kind::ToolName),
                Optional,
                "Tools that answer as if they did not exist.",
                r#"["delete_account", "internal_*"]"#,
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
                Kind::Named("tool_entry", Keys::Tools),
                Optional,
                "An entry for each tool, by its exact name, by a glob (`*` any run of characters, `?` exactly one), or `\"*\"` for every tool. All entries that match a call apply, and any of them can deny.",
                r#"{"search": {}, "delete_*": {"action": "deny"}}"#,
            ),
        ],
        rules: r#"{"anyOf":[{"required":["default"]},{"required":["tools"],"properties":{"tools":{"minProperties":1,"additionalProperties":{"required":["rules"],"maxProperties":1}}}}]}"#,
    },
    Section {
        id: "tool_entry",
        title: "A tool entry",
        about: "What holds for calls of one tool. `{}` lists the tool, and allows it.",
        fields: &[
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
                "rules",
                Kind::Objects("rule"),
                Optional,
                "The same in the rules dialect: a list in which the order of checks is free.",
                r#"[{"rate_limit": "5/hour"}]"#,
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
                "A limit on a counter of this entry's own, with scope `session`.",
                r#""10/minute""#,
            ),
            field(
                "decode_json_strings",
                Kind::Flag,
                Default("false"),
                "`true`: a top-level argument that is a string holding a JSON object or array is read as that.",
                "true",
            ),
        ],
        rules: "",
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
        rules: "",
    },
    Section {
        id: "condition",
        title: "A condition",
        about: "A comparison of an argument, or of a counter, with a value. It is true, false or undecidable (another type than the operator needs); undecidable denies.",
        fields: &[
            field(
                "path",
                Kind::Path,
                Required,
                "`args.<name>` with further `.name`, `[0]`, `[*]` (any element) and `[\"odd.key\"]` steps, or `state.<tool key>.<counter>`.",
                r#""args.items[0].price""#,
            ),
            field(
                "op",
                Kind::Words(&[
                    "eq",
                    "neq",
                    "in",
                    "not_in",
                    "lt",
                    "lte",
                    "gt",
                    "gte",
                    "regex",
                    "not_regex",
                    "contains",
                    "not_contains",
                    "exists",
                    "starts_with",
                    "ends_with",
                    "glob",
                ]),
                Required,
                "The operator. `regex` searches (unanchored, RE2 syntax); `glob` matches the whole; `contains` looks for a substring, or for an element of a list.",
                r#""lte""#,
            ),
            field(
                "value",
                Kind::Operand,
                Required,
                "What the operator compares with: a number for `lt` `lte` `gt` `gte`, a list for `in` and `not_in`, a boolean for `exists`, a string for `regex`, `glob` and their like.",
                "10000",
            ),
        ],
        rules: r#"{"allOf":[
            {"if":{"properties":{"op":{"enum":["lt","lte","gt","gte"]}},"required":["op"]},"then":{"properties":{"value":{"type":"number"}}}},
            {"if":{"properties":{"op":{"enum":["in","not_in"]}},"required":["op"]},"then":{"properties":{"value":{"type":"array","minItems":1}}}},
            {"if":{"properties":{"op":{"enum":["regex","not_regex","starts_with","ends_with","glob"]}},"required":["op"]},"then":{"properties":{"value":{"type":"string"}}}},
            {"if":{"properties":{"op":{"enum":["eq","neq","contains","not_contains"]}},"required":["op"]},"then":{"properties":{"value":{"type":["string","number","boolean"]}}}},
            {"if":{"properties":{"op":{"const":"exists"}},"required":["op"]},"then":{"properties":{"value":{"type":"boolean"}}}}]}"#,
    },
    Section {
        id: "limit",
        title: "A limit",
        about: "A call is admitted if the count and its increment are not more than `max`. All limits of a call are counted, or none.",
        fields: &[
            field(
                "counter",
                Kind::Text,
                Required,
                "Its name. Limits of one policy that share a name share the count, and must agree on window, scope and algorithm.",
                r#""refunds""#,
            ),
            field(
                "window",
                Kind::Window,
                Required,
                "`second`, `minute`, `hour`, `day`, `week` or `month` (calendar, UTC), whole seconds, or a length such as `90s`, `5m`, `12h`.",
                r#""day""#,
            ),
            field("max", Kind::Amount, Required, "The most that the window admits.", "20"),
            field(
                "scope",
                Kind::Words(&["grant", "session", "global"]),
                Default(r#""grant""#),
                "Who counts together: each caller for himself; each MCP session, where `sessions.trusted` is set; all callers.",
                r#""global""#,
            ),
            field("increment", Kind::Increment, Default("1"), "How much a call counts.", "5"),
            field(
                "increment_from",
                Kind::ArgumentPath,
                Optional,
                "Counts the number in this argument instead; a call where it is no number of zero or more is denied.",
                r#""args.amount""#,
            ),
            field(
                "count",
                Kind::Words(&["attempts", "successes"]),
                Default(r#""attempts""#),
                "`successes`: given back when the server answers with an error.",
                r#""successes""#,
            ),
            field(
                "algorithm",
                Kind::Words(&["fixed", "sliding"]),
                Default(r#""fixed""#),
                "`sliding`: the previous window counts with the share of it that still lies within one window's length.",
                r#""sliding""#,
            ),
            field(
                "on_deny",
                Kind::Text,
                Optional,
                "What the agent reads when the limit is reached.",
                r#""Twenty refunds a day are enough.""#,
            ),
        ],
        rules: r#"{"not":{"required":["increment","increment_from"]}}"#,
    },
    Section {
        id: "rate_limit",
        title: "A rate",
        about: "The long form of `10/minute`.",
        fields: &[
            field("max", Kind::Amount, Required, "The most that the window admits.", "10"),
            field("window", Kind::Window, Required, "As in a limit.", "60"),
        ],
        rules: "",
    },
    Section {
        id: "rule",
        title: "A rule",
        about: "One of `rules`: an assertion, something that counts, or both. What a rule counts is given back when the server answers with an error.",
        fields: &[
            field("name", Kind::Text, Optional, "What people call it.", r#""daily cap""#),
            field(
                "action",
                Kind::Words(&["evaluate", "deny"]),
                Default(r#""evaluate""#),
                "`deny`: always denies, and has nothing else but a text.",
                r#""deny""#,
            ),
            field(
                "conditions",
                Kind::Objects("condition"),
                Optional,
                "All must hold, else the call is denied. A `lt` or `lte` on the rule's own counter is that counter's limit, checked after the increment.",
                r#"[{"path": "state.create_charge.spend", "op": "lte", "value": 1000000}]"#,
            ),
            field(
                "state",
                Kind::Object("state"),
                Optional,
                "What the rule counts.",
                r#"{"counter": "spend", "window": "day", "increment_from": "args.amount"}"#,
            ),
            field(
                "rate_limit",
                Kind::Either(&[Kind::Rate, Kind::Object("rate_limit")]),
                Optional,
                "A limit of the rule's own, over all callers. It goes with neither `conditions` nor `state`.",
                r#""5/hour""#,
            ),
            field(
                "on_deny",
                Kind::Text,
                Optional,
                "What the agent reads when the rule denies.",
                r#""The day's budget is spent.""#,
            ),
            field("reason", Kind::Text, Optional, "Another word for `on_deny`.", r#""Tomorrow.""#),
        ],
        rules: r#"{"anyOf":[{"required":["state"]},{"required":["rate_limit"]},{"required":["conditions"],"properties":{"conditions":{"minItems":1}}},{"required":["action"],"properties":{"action":{"const":"deny"}}}],
            "allOf":[{"not":{"required":["on_deny","reason"]}},
            {"if":{"required":["rate_limit"]},"then":{"properties":{"conditions":false,"state":false}}},
            {"if":{"required":["action"],"properties":{"action":{"const":"deny"}}},"then":{"properties":{"conditions":false,"state":false,"rate_limit":false}}}]}"#,
    },
    Section {
        id: "state",
        title: "A rule's counter",
        about: "Belongs to the tool key, so that conditions read it as `state.<tool key>.<counter>`; one under `\"*\"` belongs to the whole policy, as `state._global.<counter>`.",
        fields: &[
            field("counter", Kind::Text, Required, "Its name.", r#""spend""#),
            field("window", Kind::Window, Required, "As in a limit.", r#""day""#),
            field("increment", Kind::Increment, Default("1"), "How much a call counts.", "5"),
            field(
                "increment_from",
                Kind::ArgumentPath,
                Optional,
                "Counts the number in this argument instead.",
                r#""args.amount""#,
            ),
            field(
                "scope",
                Kind::Words(&["grant", "session", "global"]),
                Default(r#""global""#),
                "Who counts together, as in a limit.",
                r#""grant""#,
            ),
        ],
        rules: r#"{"not":{"required":["increment","increment_from"]}}"#,
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
        rules: "",
    },
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
