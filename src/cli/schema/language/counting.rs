//! Limits, and rules with what they count.

use mcp_policy::policy::entry::{CountIn, RULE_ACTIONS, Refund};
use mcp_policy::rate::algorithm::Algorithm;
use mcp_policy::rate::table::Per;

use super::Presence::{Default, Optional, Required};
use super::{FieldKind, NOT_AFTER, NOT_BEFORE, ObjectSpec, PLAIN, field, words};

pub(super) const SECTIONS: &[ObjectSpec] = &[
    ObjectSpec {
        id: "all_tools",
        title: "What holds for all tools",
        about: "For every call, whatever its tool.",
        fields: &[field(
            "limits",
            FieldKind::Objects("limit"),
            Optional,
            "Limits that every call counts against.",
            r#"[{"counter": "calls", "window": "minute", "max": 100}]"#,
        )],
        ..PLAIN
    },
    ObjectSpec {
        id: "limit",
        title: "A limit",
        about: "A call is admitted if the count and its increment are not more than `max`. All limits of a call are counted, or none.",
        fields: &[
            field(
                "counter",
                FieldKind::Text,
                Required,
                "Its name. Limits of one policy that share a name share the count, and must agree on window, scope and algorithm, and those with a bucket on `max`.",
                r#""refunds""#,
            ),
            field(
                "window",
                FieldKind::Window,
                Optional,
                "`second`, `minute`, `hour`, `day`, `week` or `month` (calendar, UTC), whole seconds, or a length such as `90s`, `5m`, `12h`.",
                r#""day""#,
            ),
            field(
                "max",
                FieldKind::Amount,
                Optional,
                "The most that the window admits; of a bucket, what comes back to it in the length of one.",
                "20",
            ),
            field(
                "concurrent",
                FieldKind::Whole(1, 1_000_000),
                Optional,
                "The most calls that are in flight at once, in the place of `window` and `max`: a call counts until its stream has ended.",
                "4",
            ),
            field(
                "per",
                FieldKind::Words(&words(&Per::WORDS)),
                Optional,
                "What is counted apart. `call`: each call with the same name and arguments, so that the limit breaks a loop. `name`: how many different names are called, at most 32.",
                r#""call""#,
            ),
            field(
                "scope",
                FieldKind::Scope,
                Default(r#""grant""#),
                "Who counts together: each caller for himself; each MCP session, where `sessions.pin` or `sessions.trusted` is set; all callers; all callers of one address (of IPv6, of one /64 network); or all callers of one name, by a key of `identity.keys`. For addresses, Envoy's connection manager needs `use_remote_address`.",
                r#""global""#,
            ),
            field("increment", FieldKind::Increment, Default("1"), "How much a call counts.", "5"),
            field(
                "increment_from",
                FieldKind::ArgumentPath,
                Optional,
                "Counts the number in this argument instead; a call where it is no number of zero or more is denied.",
                r#""args.amount""#,
            ),
            field(
                "count",
                FieldKind::Words(&words(&Refund::WORDS)),
                Default(r#""attempts""#),
                "`successes`: given back when the server answers with an error. That trusts the agent, which can choose what answer comes after a call has run.",
                r#""successes""#,
            ),
            field(
                "algorithm",
                FieldKind::Words(Algorithm::WORDS),
                Default(r#""fixed""#),
                "`sliding`: the previous window counts with the share of it that still lies within one window's length. `bucket`: a token bucket of size `burst`, to which `max` comes back in the length of a window, bit by bit.",
                r#""sliding""#,
            ),
            field(
                "burst",
                FieldKind::Amount,
                Optional,
                "The size of a bucket, which is the most that it admits at once; without it `max`. Only with `bucket`.",
                "40",
            ),
            field(
                "count_in",
                FieldKind::Words(&words(&CountIn::WORDS)),
                Optional,
                "Where it counts: in this Envoy, or with `counters.service` in the rate limit service, for all Envoys together. Without it as the policy says.",
                r#""service""#,
            ),
            field(
                "lease",
                FieldKind::Whole(2, 1_000_000),
                Optional,
                "How many are taken of the rate limit service at a time, to be spent in this Envoy without asking. What is not spent by the end of the window is lost.",
                "10",
            ),
            field(
                "during",
                FieldKind::Object("hours"),
                Optional,
                "When it counts and holds; at other times a call passes it by, uncounted.",
                r#"{"days": ["mon-fri"], "hours": ["09:00-17:30"], "timezone": "Europe/Berlin"}"#,
            ),
            NOT_BEFORE,
            NOT_AFTER,
            field(
                "on_deny",
                FieldKind::Text,
                Optional,
                "What the agent reads when the limit is reached.",
                r#""Twenty refunds a day are enough.""#,
            ),
        ],
        rules: r#"{"anyOf":[{"required":["window","max"]},{"required":["concurrent"],"properties":{"window":false,"max":false,"increment":false,"increment_from":false,"count":false,"algorithm":false,"burst":false,"count_in":{"const":"envoy"},"lease":false,"per":false}}],"not":{"required":["increment","increment_from"]},"if":{"properties":{"algorithm":{"const":"bucket"}},"required":["algorithm"]},"then":{"properties":{"window":{"not":{"const":"month"}},"max":{"exclusiveMinimum":0}}},"else":{"properties":{"burst":false}}}"#,
        ..PLAIN
    },
    ObjectSpec {
        id: "rate_limit",
        title: "A rate",
        about: "The long form of `10/minute`.",
        fields: &[
            field("max", FieldKind::Amount, Required, "The most that the window admits.", "10"),
            field("window", FieldKind::Window, Required, "As in a limit.", "60"),
        ],
        ..PLAIN
    },
    ObjectSpec {
        id: "rule",
        title: "A rule",
        about: "One of `rules`: an assertion, something that counts, or both.",
        fields: &[
            field("name", FieldKind::Text, Optional, "What people call it.", r#""daily cap""#),
            field(
                "action",
                FieldKind::Words(&words(&RULE_ACTIONS)),
                Default(r#""evaluate""#),
                "`deny`: always denies, and has nothing else but a text.",
                r#""deny""#,
            ),
            field(
                "conditions",
                FieldKind::Objects("condition"),
                Optional,
                "All must hold, else the call is denied. A `lt` or `lte` on the rule's own counter is that counter's limit, checked after the increment.",
                r#"[{"path": "state.create_charge.spend", "op": "lte", "value": 1000000}]"#,
            ),
            field(
                "state",
                FieldKind::Object("state"),
                Optional,
                "What the rule counts.",
                r#"{"counter": "spend", "window": "day", "increment_from": "args.amount"}"#,
            ),
            field(
                "rate_limit",
                FieldKind::Either(&[FieldKind::Rate, FieldKind::Object("rate_limit")]),
                Optional,
                "A limit of the rule's own, over all callers. It goes with neither `conditions` nor `state`.",
                r#""5/hour""#,
            ),
            field(
                "count",
                FieldKind::Words(&words(&Refund::WORDS)),
                Default(r#""attempts""#),
                "As in a limit, for what the rule counts. Only with `state` or `rate_limit`.",
                r#""successes""#,
            ),
            field(
                "on_deny",
                FieldKind::Text,
                Optional,
                "What the agent reads when the rule denies.",
                r#""The day's budget is spent.""#,
            ),
            field(
                "reason",
                FieldKind::Text,
                Optional,
                "Another word for `on_deny`.",
                r#""Tomorrow.""#,
            ),
        ],
        rules: r#"{"anyOf":[{"required":["state"]},{"required":["rate_limit"]},{"required":["conditions"],"properties":{"conditions":{"minItems":1}}},{"required":["action"],"properties":{"action":{"const":"deny"}}}],
            "allOf":[{"not":{"required":["on_deny","reason"]}},
            {"if":{"required":["count"]},"then":{"anyOf":[{"required":["state"]},{"required":["rate_limit"]}]}},
            {"if":{"required":["rate_limit"]},"then":{"properties":{"conditions":false,"state":false}}},
            {"if":{"required":["action"],"properties":{"action":{"const":"deny"}}},"then":{"properties":{"conditions":false,"state":false,"rate_limit":false}}}]}"#,
        ..PLAIN
    },
    ObjectSpec {
        id: "state",
        title: "A rule's counter",
        about: "Belongs to the tool key, so that conditions read it as `state.<tool key>.<counter>`; one under `\"*\"` belongs to the whole policy, as `state._global.<counter>`.",
        fields: &[
            field("counter", FieldKind::Text, Required, "Its name.", r#""spend""#),
            field("window", FieldKind::Window, Required, "As in a limit.", r#""day""#),
            field("increment", FieldKind::Increment, Default("1"), "How much a call counts.", "5"),
            field(
                "increment_from",
                FieldKind::ArgumentPath,
                Optional,
                "Counts the number in this argument instead.",
                r#""args.amount""#,
            ),
            field(
                "scope",
                FieldKind::Scope,
                Default(r#""global""#),
                "Who counts together, as in a limit.",
                r#""grant""#,
            ),
        ],
        rules: r#"{"not":{"required":["increment","increment_from"]}}"#,
        ..PLAIN
    },
];
