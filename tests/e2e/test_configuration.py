"""A bad policy: told with its place, and never in force; the old one stays."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import rig

import cli
from client import post
from dynamic import GOOD, Dynamic
from fleet import Fleet, Listener, Policy, assert_healthy
from gateway import call, until
from judge import error_of
from upstream import RAN

ONE = {"version": "1", "default": "deny"}
LIMIT = {"counter": "c", "window": "hour", "max": 1}


def tool(**entry: Any) -> Policy:
    return {**ONE, "tools": {"search": entry}}


def condition(**fields: Any) -> Policy:
    return tool(require=[{"conditions": [{"path": "args.a", "op": "eq", "value": 1, **fields}]}])


def limit(**fields: Any) -> Policy:
    return tool(limits=[{**LIMIT, **fields}])


# A bad configuration, and what the log must say of it: the place, what was found, and what to do.
BAD: dict[str, tuple[Policy | str, list[str]]] = {
    "an unknown field": (tool(limts=[]), ["tools.search.limts", "`limts`", "did you mean `limits`"]),
    "an unknown field at the top": ({**ONE, "tool": {}}, ["`tool`", "did you mean `tools`"]),
    "an unknown field of a condition": (
        condition(pth="x"),
        ["tools.search.require[0].conditions[0].pth", "did you mean `path`"],
    ),
    "an unknown operator": (condition(op="equals"), ["tools.search.require[0].conditions[0].op", "`equals`"]),
    "a near operator": (condition(op="regx", value="x"), ["conditions[0].op", "`regx`", "did you mean `regex`"]),
    "an unknown window": (limit(window="mnute"), ["tools.search.limits[0].window", "`mnute`", "`minute`"]),
    "an unknown action": (tool(action="denny"), ["tools.search.action", "`denny`", "did you mean `deny`"]),
    "an unknown default": ({**ONE, "default": "denied"}, ["default", "`denied`", "`deny`"]),
    "an unknown scope": (limit(scope="grants"), ["tools.search.limits[0].scope", "`grants`", "did you mean `grant`"]),
    "a policy without default": ({"version": "1", "tools": {"search": {}}}, ["default", "required|missing"]),
    "a version that does not exist": ({"version": "2", "default": "deny"}, ["version", "2"]),
    "a version that is a number": ({"version": 1, "default": "deny"}, ["version", "number", "string"]),
    "a list where an object belongs": ({**ONE, "tools": []}, ["tools", "list|array", "object"]),
    "text where a number belongs": (limit(max="many"), ["tools.search.limits[0].max", "string|`many`|text", "number"]),
    "a negative max": (limit(max=-1), ["tools.search.limits[0].max", "-1"]),
    "a pattern that does not compile": (condition(op="regex", value="(x"), ["tools.search.require[0].conditions[0].value"]),
    "a pattern that is too large": (condition(op="regex", value="(a{1000}){1000}"), ["conditions[0].value"]),
    "a value of the wrong type": (condition(op="lt", value="7"), ["conditions[0].value", "number"]),
    "a counter with two windows": (
        tool(limits=[LIMIT, {**LIMIT, "window": "day"}]),
        ["tools.search.limits[1]", "`c`", "window|`day`|`hour`"],
    ),
    "a path to a name of callers that has no source": (condition(path="identity.team"), ["conditions[0].path", "identity.keys"]),
    "a path to a header that cannot be": (condition(path="header.x a"), ["conditions[0].path", "header"]),
    "a path that is none": (condition(path="arguments.a"), ["conditions[0].path", "arguments.a"]),
    "a duplicate key": ('{"version":"1","default":"deny","default":"allow"}', ["default", "duplicate|twice"]),
    "a duplicate tool by an escape": (
        '{"version":"1","default":"deny","tools":{"search":{},"s\\u0065arch":{"action":"deny"}}}',
        ["search", "duplicate|twice"],
    ),
    "no JSON at all": ("version: 1", ["JSON|json"]),
    "JSON that breaks off": ('{"version":"1",', ["JSON|json|line|end"]),
    "nothing": ("", ["empty|nothing|JSON|missing"]),
    "two documents": ('{"version":"1","default":"deny"}{}', ["JSON|json|after|more"]),
    "a byte order mark": ('\ufeff{"version":"1","default":"deny"}', ["JSON|json|byte order mark|BOM"]),
    "a bad setting": ({**ONE, "requests": {"max_body_bytes": 0}}, ["requests.max_body_bytes", "0"]),
    "an unknown setting": (
        {**ONE, "requests": {"hold_header": "auto"}},
        ["requests.hold_header", "did you mean `hold_headers`"],
    ),
    "an unknown way to hold": ({**ONE, "requests": {"hold_headers": "yes"}}, ["requests.hold_headers", "`yes`", "`always`"]),
}


def governs(dynamic: Dynamic) -> None:
    """The good policy is in force."""
    assert error_of(post(dynamic.port, call("delete_account")))["reason"] == "tool_denied"
    assert error_of(post(dynamic.port, call("other")))["reason"] == "tool_not_allowed"


def matches(log: str, wanted: list[str]) -> list[str]:
    """The wanted texts that the log lacks; `a|b` stands for either."""
    return [text for text in wanted if not any(either in log for either in text.split("|"))]


@pytest.mark.parametrize("name", BAD)
def test_a_bad_update_is_told_and_the_old_policy_stays(dynamic: Dynamic, name: str) -> None:
    policy, wanted = BAD[name]
    log = dynamic.refuse(policy)
    assert not matches(log, wanted), f"the log does not say {matches(log, wanted)}:\n{log}"
    governs(dynamic)


def test_all_problems_are_told_at_once(dynamic: Dynamic) -> None:
    log = dynamic.refuse(
        {**ONE, "modes": "x", "tools": {"a": {"action": "denny"}, "b": {"limits": [{**LIMIT, "window": "mnute"}]}}}
    )
    assert not matches(log, ["`modes`", "tools.a.action", "tools.b.limits[0].window"]), log


def struct(config: rig.Config) -> None:
    """The policy as a Struct: what Envoy's documentation suggests, and what reaches a filter as protobuf bytes."""
    policy = json.loads(rig.plugin(config)["configuration"]["value"])
    rig.plugin(config)["configuration"] = {"@type": "type.googleapis.com/google.protobuf.Struct", "value": policy}


@pytest.mark.wasm_only("of a Struct Envoy hands the module the JSON text, which it cannot tell from a StringValue")
def test_a_struct_is_refused_and_the_log_names_string_value(dynamic: Dynamic) -> None:
    assert "StringValue" in dynamic.refuse(GOOD, struct)
    governs(dynamic)


def test_a_good_update_takes_over_and_the_counts_go_on(dynamic: Dynamic) -> None:
    def letters(calls: int) -> str:
        return "".join(
            "a" if RAN in post(dynamic.port, call("search"), [("authorization", "Bearer u")]).body else "d"
            for _ in range(calls)
        )

    assert letters(3) == "aaa"
    more = json.loads(json.dumps(GOOD))
    more["tools"]["search"]["limits"][0]["max"] = 7
    more["tools"]["delete_account"] = {}
    assert dynamic.push(more) == "success"
    until(lambda: RAN in post(dynamic.port, call("delete_account")).body, "the new policy")
    assert letters(5) == "aaaad", "a new policy must neither forget what was counted nor count it twice"
    assert dynamic.push(GOOD) == "success"
    until(lambda: b"tool_denied" in post(dynamic.port, call("delete_account")).body, "the old policy again")
    assert letters(1) == "d"
    assert_healthy(dynamic.envoy)


START = {
    "an unknown field": (tool(limts=[]), (), ["tools.search.limts", "did you mean `limits`"]),
    "a Struct": (GOOD, (struct,), ["StringValue"]),
    "a failure policy that would let it be": (
        limit(window="mnute"),
        (lambda config: rig.plugin(config).update(failure_policy="FAIL_OPEN"),),
        ["`mnute`"],
    ),
}


STRUCT = pytest.mark.wasm_only("of a Struct Envoy hands the module the JSON text, which it cannot tell from a StringValue")


@pytest.mark.parametrize("name", [pytest.param(name, marks=[STRUCT] if name == "a Struct" else []) for name in START])
def test_envoy_does_not_start_with_a_bad_policy(name: str) -> None:
    policy, changes, wanted = START[name]
    fleet = Fleet(1)
    fleet.add("bad", Listener(policy, *changes))
    with pytest.raises(rig.RigError, match="exited with 1") as raised, fleet.run():
        pass
    assert not matches(str(raised.value), wanted), raised.value


@pytest.mark.parametrize("file", cli.SHIPPED, ids=lambda file: file.name)
def test_the_policies_that_are_shipped_load(dynamic: Dynamic, file: Path) -> None:
    assert dynamic.push(file.read_text()) == "success", dynamic.envoy.log_tail()
    assert dynamic.push(GOOD) == "success"
