"""What a refused caller reads, and what the operator reads of it in the access log."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

from client import H1, H2, Response, post, post_bytes
from fleet import Listener, held
from gateway import Gateway, call, serving
from judge import error_of, errors_of
from upstream import RAN, Upstream

SECRET = "Bearer s3cret-credential-7f3a"
CARD = "4000-1234-5678-9010"

POLICY: dict[str, Any] = {
    "version": "1",
    "default": "deny",
    "hide": ["secret_tool", "listed_secret"],
    "all_tools": {"limits": [{"counter": "all", "window": "week", "max": 100000}]},
    "tools": {
        "search": {},
        "listed_secret": {},
        "never": {"action": "deny", "reason": "Nobody does this."},
        "never_said_why": {"action": "deny"},
        "drop_*": {"action": "deny"},
        "a/b~c": {"action": "deny"},
        "ask": {"action": "require_approval"},
        "ask_nicely": {"action": "require_approval", "reason": "Ask the finance team."},
        "pay": {
            "require": [
                {"conditions": [{"path": "args.card", "op": "exists", "value": True}]},
                {"conditions": [{"path": "args.amount", "op": "lte", "value": 100}], "on_deny": "Over 100 needs a person."},
            ],
            "deny_if": [{"conditions": [{"path": "args.currency", "op": "eq", "value": "XBT"}]}],
        },
        "convert": {
            "deny_if": [
                {"conditions": [{"path": "args.to", "op": "eq", "value": "XBT"}], "on_deny": "No coins."},
                {"conditions": [{"path": "args.to", "op": "eq", "value": "XAU"}]},
            ]
        },
        "ruled": {
            "rules": [
                {
                    "name": "small",
                    "conditions": [{"path": "args.amount", "op": "lte", "value": 50}],
                    "on_deny": "Keep it small.",
                },
                {"name": "not on Mondays", "action": "deny", "on_deny": "Out of order."},
            ]
        },
        "twice": {"limits": [{"counter": "twice", "window": "hour", "max": 2}]},
        "twice_said": {"limits": [{"counter": "said", "window": "day", "max": 0, "on_deny": "Not today."}]},
        "hourly": {"rate_limit": "1/hour"},
        "counted": {"limits": [{"counter": "spent", "window": "week", "max": 10, "increment_from": "args.amount"}]},
        "shadowed": {"action": "deny", "mode": "shadow"},
    },
}
SHADOW: dict[str, Any] = {"version": "1", "default": "deny", "mode": "shadow", "tools": {"listed": {}}}
NAMED: dict[str, Any] = {"policies": {"billing": POLICY}, "requests": {"hold_headers": "always"}}


@pytest.fixture(scope="module")
def gateway(upstream: Upstream) -> Iterator[Gateway]:
    listeners = {"main": Listener(held(POLICY)), "shadow": Listener(held(SHADOW)), "named": Listener(NAMED)}
    with serving(upstream, listeners) as gateway:
        yield gateway


# Tool, arguments, reason, code, rule and the exact text; None leaves the text to a test of its own.
DENIALS: list[tuple[str, str, str, int, str, str | None]] = [
    ("other", "{}", "tool_not_allowed", 403, "/default", "Tool `other` is not allowed by policy."),
    ("Search", "{}", "name_not_exact", 403, "/tools/search", "Tool `Search` is not allowed by policy."),
    ("never", "{}", "tool_denied", 403, "/tools/never/action", "Nobody does this."),
    (
        "never_said_why",
        "{}",
        "tool_denied",
        403,
        "/tools/never_said_why/action",
        "Tool `never_said_why` is not allowed by policy.",
    ),
    ("drop_table", "{}", "tool_denied", 403, "/tools/drop_*/action", "Tool `drop_table` is not allowed by policy."),
    ("a/b~c", "{}", "tool_denied", 403, "/tools/a~1b~0c/action", "Tool `a/b~c` is not allowed by policy."),
    ("ask", "{}", "approval_required", 428, "/tools/ask/action", "Tool `ask` requires approval."),
    ("ask_nicely", "{}", "approval_required", 428, "/tools/ask_nicely/action", "Ask the finance team."),
    (
        "pay",
        "{}",
        "requirement_not_met",
        403,
        "/tools/pay/require/0",
        "Tool `pay` requires a condition on `args.card` that this call does not meet.",
    ),
    (
        "pay",
        f'{{"card":"{CARD}","amount":101}}',
        "requirement_not_met",
        403,
        "/tools/pay/require/1",
        "Over 100 needs a person.",
    ),
    ("pay", f'{{"card":"{CARD}"}}', "requirement_not_met", 403, "/tools/pay/require/1", "Over 100 needs a person."),
    ("pay", f'{{"card":"{CARD}","amount":"{CARD}"}}', "value_undecidable", 403, "/tools/pay/require/1", None),
    (
        "pay",
        f'{{"card":"{CARD}","amount":1,"currency":"XBT"}}',
        "denied_by_condition",
        403,
        "/tools/pay/deny_if/0",
        "Tool `pay` is denied by policy for these arguments.",
    ),
    ("convert", '{"to":"XBT"}', "denied_by_condition", 403, "/tools/convert/deny_if/0", "No coins."),
    (
        "convert",
        '{"to":"XAU"}',
        "denied_by_condition",
        403,
        "/tools/convert/deny_if/1",
        "Tool `convert` is denied by policy for these arguments.",
    ),
    ("convert", '{"to":7}', "value_undecidable", 403, "/tools/convert/deny_if/0", None),
    ("ruled", '{"amount":51}', "requirement_not_met", 403, "/tools/ruled/rules/0", "Keep it small."),
    ("ruled", '{"amount":5}', "tool_denied", 403, "/tools/ruled/rules/1", "Out of order."),
    ("counted", '{"amount":-1}', "invalid_increment", 403, "/tools/counted/limits/0", None),
    ("counted", "{}", "invalid_increment", 403, "/tools/counted/limits/0", None),
    ("twice_said", "{}", "limit_reached", 429, "/tools/twice_said/limits/0", "Not today."),
]


@pytest.mark.parametrize(("tool", "arguments", "reason", "code", "rule", "text"), DENIALS, ids=lambda value: str(value)[:40])
def test_a_denial(gateway: Gateway, tool: str, arguments: str, reason: str, code: int, rule: str, text: str | None) -> None:
    before = gateway.upstream.count()
    response = gateway.call("main", tool, arguments, id='"a/\\u00e9"', authorization=SECRET)
    error = error_of(response, sse=False)
    assert response.status == 200
    assert (error["id"], error["code"], error["reason"]) == ('"a/\\u00e9"', code, reason)
    assert error["data"]["tool"] == tool
    assert error["data"]["rule"] == rule
    assert error["data"]["policy"]
    assert re.fullmatch(r"[0-9a-f-]{36}", error["data"]["requestId"])
    limit = {"counter", "limit", "remaining", "windowSeconds"} if code == 429 else set()
    assert set(error["data"]) - {"retryAfterMs"} == {"reason", "tool", "policy", "policyDigest", "rule", "requestId"} | limit
    if text is not None:
        assert error["message"] == text
    for secret in (CARD, SECRET, SECRET.split()[1]):
        assert secret not in response.body.decode(), "a reply reveals a value"
    assert not gateway.arrivals(before)


@pytest.mark.parametrize(
    ("tool", "arguments", "path", "found"),
    [
        ("pay", '{"card":"x","amount":"7"}', "args.amount", "string"),
        ("pay", '{"card":"x","amount":true}', "args.amount", "boolean"),
        ("pay", '{"card":"x","amount":[7]}', "args.amount", "list|array"),
        ("pay", '{"card":"x","amount":{}}', "args.amount", "object"),
        ("convert", '{"to":7}', "args.to", "number"),
        ("counted", '{"amount":"7"}', "args.amount", "string"),
        ("counted", '{"amount":-7}', "args.amount", "negative"),
        ("counted", "{}", "args.amount", "nothing|absent|missing"),
    ],
)
def test_what_cannot_be_checked_is_told_by_path_and_type(
    gateway: Gateway, tool: str, arguments: str, path: str, found: str
) -> None:
    error = error_of(gateway.call("main", tool, arguments))
    assert path in error["message"] and re.search(found, error["message"]), error["message"]
    assert "Over 100" not in error["message"], "on_deny replaces what could not be checked"


def test_a_hidden_tool_that_no_entry_lists_answers_as_any_other_that_none_lists(gateway: Gateway) -> None:
    def answer(tool: str) -> tuple[int, list[tuple[bytes, bytes]], str]:
        response = gateway.call("main", tool)
        text = re.sub(r'"requestId":"[^"]*"', '"requestId":""', response.body.decode())
        headers = [each for each in response.headers if each[0].lower() not in (b"date", b"content-length", b"x-request-id")]
        return response.status, headers, text.replace(tool, "NAME")

    found = answer("secret_tool")
    assert found == answer("no_such_tool") and "not allowed by policy" in found[2]
    _, line = logged(gateway, "/log/hidden", "main", "secret_tool")
    assert (line["mcp_reason"], line["mcp_rule"]) == ("tool_hidden", "/hide/0")


def test_a_hidden_tool_that_an_entry_lists_answers_as_if_it_did_not_exist(gateway: Gateway) -> None:
    response = gateway.call("main", "listed_secret")
    assert json.loads(response.body) == {
        "jsonrpc": "2.0",
        "id": 7,
        "error": {"code": -32602, "message": "Unknown tool: listed_secret"},
    }


def test_a_reached_limit_says_when_to_come_back(gateway: Gateway) -> None:
    for _ in range(2):
        assert RAN in gateway.call("main", "twice", authorization="Bearer limited").body
    error = error_of(gateway.call("main", "twice", authorization="Bearer limited"))
    data = error["data"]
    assert (error["code"], data["counter"], data["limit"], data["remaining"], data["windowSeconds"]) == (
        429,
        "twice",
        2,
        0,
        3600,
    )
    assert 0 < data["retryAfterMs"] <= 3600_000
    found = re.fullmatch(r"Limit reached for tool `twice`: at most 2 per hour; retry in (\d+) s\.", error["message"])
    assert found and abs(int(found[1]) * 1000 - data["retryAfterMs"]) <= 1000, error["message"]


def test_a_rate_limit_says_the_same(gateway: Gateway) -> None:
    assert RAN in gateway.call("main", "hourly", authorization="Bearer hourly").body
    error = error_of(gateway.call("main", "hourly", authorization="Bearer hourly"))
    assert (error["code"], error["reason"], error["data"]["rule"]) == (429, "limit_reached", "/tools/hourly/rate_limit")
    assert error["data"]["limit"] == 1


def test_an_amount_that_does_not_fit_tells_what_is_left(gateway: Gateway) -> None:
    assert RAN in gateway.call("main", "counted", '{"amount":7.5}', authorization="Bearer spender").body
    error = error_of(gateway.call("main", "counted", '{"amount":3}', authorization="Bearer spender"))
    assert (error["data"]["limit"], error["data"]["remaining"]) == (10, 2.5)
    assert RAN in gateway.call("main", "counted", '{"amount":2.5}', authorization="Bearer spender").body


def test_an_amount_that_never_fits_promises_no_time(gateway: Gateway) -> None:
    error = error_of(gateway.call("main", "counted", '{"amount":11}', authorization="Bearer waiter"))
    assert error["reason"] == "limit_reached" and "retryAfterMs" not in error["data"], error


def test_the_policy_is_told_by_its_name(gateway: Gateway) -> None:
    assert error_of(gateway.call("named", "never"))["data"]["policy"] == "billing"


ACCEPTS = {
    "text/event-stream": True,
    "TEXT/EVENT-STREAM": True,
    "text/event-stream;q=0.9": True,
    "text/event-stream, application/json": False,
    "application/json, text/event-stream": False,
    "application/json": False,
    "*/*": False,
    "text/event-stream, */*": False,
    "text/event-stream, application/*;q=0.1": False,
    "text/html": False,
}


@pytest.mark.parametrize(("accept", "sse"), ACCEPTS.items())
def test_the_framing_follows_what_the_client_accepts(gateway: Gateway, accept: str, sse: bool) -> None:
    response = gateway.call("main", "never", accept=accept)
    error = error_of(response, sse=sse)
    assert (response.status, error["id"], error["message"]) == (200, "7", "Nobody does this.")


def test_a_batch_is_framed_for_the_client_too(gateway: Gateway) -> None:
    body = f"[{call('never', id='1')},{call('search', id='2')}]"
    for accept, kind in (("application/json", "application/json"), ("text/event-stream", "text/event-stream")):
        response = post(gateway.port("main"), body, [("accept", accept)])
        assert response.header("content-type") == kind
        assert {error["id"]: error["reason"] for error in errors_of(response)} == {"1": "tool_denied", "2": "batch_refused"}


@pytest.mark.parametrize(("length", "reason"), [(1_024, "tool_not_allowed"), (50_000, "name_unreadable")])
def test_a_caller_s_long_name_is_not_repeated_in_full(gateway: Gateway, length: int, reason: str) -> None:
    response = gateway.call("main", "x" * length)
    assert error_of(response)["reason"] == reason
    assert len(response.body) < 1000


def test_a_long_id_comes_back_in_full(gateway: Gateway) -> None:
    own = '"' + "é" * 20_000 + '"'
    assert error_of(gateway.call("main", "never", id=own))["id"] == own


def test_odd_names_come_back_as_valid_json(gateway: Gateway) -> None:
    for name in ('quo"te', "back\\slash", "line\nbreak", "tab\t", "nul\0", "del\x7f", "é😀", "\u2028", "`tick`", "</script>"):
        error = error_of(gateway.call("main", name))
        assert error["reason"] in ("tool_not_allowed", "name_not_exact", "invalid_params"), error


def test_over_http_2(gateway: Gateway) -> None:
    body = call("never").encode()
    with H2(gateway.port("main")) as connection:
        head = [(b":method", b"POST"), (b":scheme", b"http"), (b":path", b"/mcp"), (b":authority", b"mcp.test")]
        fields = [(b"content-type", b"application/json"), (b"accept", b"application/json")]
        # Many on one connection, the denied and the allowed mixed: each gets its own answer.
        streams = [
            connection.request(head + fields, [body if number % 2 else call("search", id=str(number)).encode()])
            for number in range(40)
        ]
        for number, stream in enumerate(streams):
            response = connection.receive(stream)
            assert not response.fault
            if number % 2:
                assert error_of(response)["reason"] == "tool_denied"
            else:
                assert json.loads(response.body) == {"jsonrpc": "2.0", "id": number, "result": "ran"}


def test_many_on_one_connection(gateway: Gateway) -> None:
    with H1(gateway.port("main")) as connection:
        for number in range(40):
            tool = "never" if number % 2 else "search"
            connection.send(post_bytes(call(tool, id=str(number))))
            response = connection.receive()
            assert json.loads(response.body)["id"] == number
            assert (RAN in response.body) == (tool == "search")


# --- The access log ---------------------------------------------------------------------------


def logged(
    gateway: Gateway, path: str, listener: str, tool: str, arguments: str = "{}", **headers: str
) -> tuple[Response, dict[str, Any]]:
    response = gateway.call(listener, tool, arguments, path=path, **headers)
    return response, gateway.logged(path)


def test_the_log_of_a_denial(gateway: Gateway) -> None:
    response, line = logged(gateway, "/log/denied", "main", "never", f'{{"card":"{CARD}"}}', authorization=SECRET)
    assert (line["status"], line["details"], line["upstream"]) == (200, "mcp_policy_denied", None)
    assert (line["mcp_decision"], line["mcp_reason"], line["mcp_rule"]) == ("deny", "tool_denied", "/tools/never/action")
    assert (line["mcp_method"], line["mcp_tool"]) == ("tools/call", "never")
    assert line["mcp_policy"] == error_of(response)["data"]["policy"]
    assert line["request_id"] == error_of(response)["data"]["requestId"]
    assert re.fullmatch(r"[0-9a-f]{16,64}", line["mcp_grant"])


def test_the_log_of_an_allowed_call(gateway: Gateway) -> None:
    _, line = logged(gateway, "/log/allowed", "main", "search", authorization=SECRET)
    assert (line["status"], line["details"]) == (200, "via_upstream")
    assert (line["mcp_decision"], line["mcp_tool"], line["mcp_reason"]) == ("allow", "search", None)


def test_no_name_forges_a_line_of_the_log(gateway: Gateway) -> None:
    """The log of the tests is JSON, where a line break is an escape anyway: what counts is the value, which a log of texts writes as it is."""
    _, line = logged(gateway, "/log/forged", "main", "x\r\nmcp_decision=allow\u2028\u202e")
    assert line["mcp_tool"] == "x\\u{d}\\u{a}mcp_decision=allow\\u{2028}\\u{202e}"
    assert line["mcp_decision"] != "allow"


def test_the_log_tells_callers_apart_without_naming_them(gateway: Gateway) -> None:
    _, first = logged(gateway, "/log/grant/1", "main", "search", authorization=SECRET)
    _, again = logged(gateway, "/log/grant/2", "main", "never", authorization=SECRET)
    _, other = logged(gateway, "/log/grant/3", "main", "search", authorization="Bearer other")
    _, nobody = logged(gateway, "/log/grant/4", "main", "search")
    assert first["mcp_grant"] == again["mcp_grant"]
    assert len({line["mcp_grant"] for line in (first, other, nobody)}) == 3


@pytest.mark.parametrize(("listener", "tool"), [("main", "shadowed"), ("shadow", "unlisted")])
def test_a_call_in_shadow_passes_and_never_looks_like_an_allowed_one(gateway: Gateway, listener: str, tool: str) -> None:
    response, line = logged(gateway, f"/log/shadow/{listener}", listener, tool)
    assert RAN in response.body
    assert line["mcp_decision"] == "would_deny" and line["mcp_reason"] in ("tool_denied", "tool_not_allowed")
    assert line["mcp_rule"]


def test_shadow_does_not_open_the_front_door(gateway: Gateway) -> None:
    before = gateway.upstream.count()
    response = post(
        gateway.port("shadow"), '{"jsonrpc":"2.0","id":7,"method":"ping","method":"tools/call","params":{"name":"x"}}'
    )
    assert (response.status, error_of(response)["reason"]) == (200, "duplicate_key")
    assert not gateway.arrivals(before)


def test_the_log_of_a_refusal(gateway: Gateway) -> None:
    response = post(gateway.port("main"), "{", path="/log/refused")
    line = gateway.logged("/log/refused")
    assert (response.status, line["details"], line["mcp_reason"]) == (400, "mcp_policy_denied", "invalid_json")
    assert line["mcp_decision"] not in ("allow", "pass", None)


def test_the_log_of_what_calls_no_tool(gateway: Gateway) -> None:
    post(gateway.port("main"), '{"jsonrpc":"2.0","id":1,"method":"ping"}', path="/log/ping")
    line = gateway.logged("/log/ping")
    assert (line["details"], line["mcp_method"]) == ("via_upstream", "ping")
    assert line["mcp_decision"] not in ("allow", "deny")


def test_no_credential_and_no_argument_is_in_any_log(gateway: Gateway) -> None:
    logged(
        gateway,
        "/log/last",
        "main",
        "pay",
        f'{{"card":"{CARD}","amount":"{CARD}"}}',
        authorization=SECRET,
        mcp_session_id=SECRET,
    )
    everything = gateway.envoy.stdout_path.read_text() + gateway.envoy.log()
    assert SECRET.split()[1] not in everything and CARD not in everything
