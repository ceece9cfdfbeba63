"""What policies say of fields, places, hours and loops, on a real Envoy: the corpus of decisions says it row by row."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import datetime, timedelta, timezone
from typing import Any
from zoneinfo import ZoneInfo

import pytest

import rig
from client import H1, Response, post, post_bytes
from fleet import Listener, Policy
from gateway import Gateway, call, serving, until
from judge import error_of
from upstream import Arrival, Reply, Upstream

WORKERS = 4
MOST = 3
RESULT = {"jsonrpc": "2.0", "id": 7, "result": {"content": [], "note": "ran"}}
NOW = datetime.now(timezone.utc)
DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


def entry(entry: dict[str, Any]) -> Policy:
    """A policy of one tool."""
    return {"version": "1", "default": "deny", "tools": {"search": entry}}


def condition(**condition: Any) -> Policy:
    """A tool that requires one thing."""
    return entry({"require": [{"conditions": [condition]}]})


def limits(*limits: dict[str, Any], **further: Any) -> Policy:
    """Every tool, under these limits."""
    return {"version": "1", "default": "allow", "all_tools": {"limits": list(limits)}, **further}


def days_around(now: datetime) -> list[str]:
    """Yesterday, today and tomorrow: a test that runs over midnight is still in them."""
    return [DAYS[(now.weekday() + by) % 7] for by in (-1, 0, 1)]


BERLIN = NOW.astimezone(ZoneInfo("Europe/Berlin"))
OPEN = {"days": days_around(BERLIN), "timezone": "Europe/Berlin"}
SHUT = {**OPEN, "days": [day for day in DAYS if day not in OPEN["days"]]}
YESTERDAY, TOMORROW = ((NOW + timedelta(days=by)).isoformat(timespec="seconds") for by in (-1, 1))

# A policy, arguments, headers, and what becomes of the call: a reason, or nothing where it runs.
ROWS: dict[str, tuple[Policy, str, dict[str, str], str | None]] = {
    "a field that equals another": (condition(path="args.a", op="eq", **{"from": "args.b"}), '{"a":"x","b":"x"}', {}, None),
    "a field that does not": (condition(path="args.a", op="eq", **{"from": "args.b"}), '{"a":"x","b":"y"}', {}, "requirement_not_met"),
    "a field that equals a header": (condition(path="args.a", op="eq", **{"from": "header.x-team"}), '{"a":"x"}', {"x_team": "x"}, None),
    "a field without its header": (condition(path="args.a", op="eq", **{"from": "header.x-team"}), '{"a":"x"}', {}, "value_undecidable"),
    "every element": (condition(path="args.l[*]", op="lte", value=2, every=True), '{"l":[1,2]}', {}, None),
    "not every element": (condition(path="args.l[*]", op="lte", value=2, every=True), '{"l":[1,3]}', {}, "requirement_not_met"),
    "a host of the list": (condition(path="args.u", op="host_in", value=["*.example.com"]), '{"u":"https://a.example.com/x"}', {}, None),
    "a host that two readers find": (condition(path="args.u", op="host_in", value=["*.example.com"]), '{"u":"https://evil.org\\\\@a.example.com/"}', {}, "value_undecidable"),
    "an address in a network": (condition(path="args.a", op="not_cidr", value=["private"]), '{"a":"::ffff:10.0.0.1"}', {}, "requirement_not_met"),
    "a path below": (condition(path="args.p", op="path_under", value="/data"), '{"p":"/data/x"}', {}, None),
    "a path that climbs": (condition(path="args.p", op="path_under", value="/data"), '{"p":"/data/../etc"}', {}, "value_undecidable"),
    "in these hours": (entry({"during": OPEN}), "{}", {}, None),
    "outside of these hours": (entry({"during": SHUT}), "{}", {}, "requirement_not_met"),
    "after its time has begun": (entry({"not_before": YESTERDAY}), "{}", {}, None),
    "before its time": (entry({"not_before": TOMORROW}), "{}", {}, "requirement_not_met"),
    "after its time": (entry({"not_after": YESTERDAY}), "{}", {}, "requirement_not_met"),
    "a freeze": (entry({"action": "deny", "not_before": YESTERDAY, "not_after": TOMORROW}), "{}", {}, "denied_by_condition"),
    "a freeze that is over": (entry({"action": "deny", "not_after": YESTERDAY}), "{}", {}, None),
    "a limit of other hours": (limits({"counter": "c", "window": "day", "max": 0, "during": SHUT}), "{}", {}, None),
    "a limit of these hours": (limits({"counter": "c", "window": "day", "max": 0, "during": OPEN}), "{}", {}, "limit_reached"),
}


def short_route(config: rig.Config) -> None:
    """Envoy gives up a call that takes longer than half a second."""
    for host in rig.hcm(config)["route_config"]["virtual_hosts"]:
        for route in host["routes"]:
            if "route" in route:
                route["route"]["timeout"] = "0.5s"


@pytest.fixture(scope="module")
def gateway(upstream: Upstream) -> Iterator[Gateway]:
    listeners = {name: Listener(policy) for name, (policy, *_) in ROWS.items()}
    listeners["equal calls"] = Listener(limits({"counter": "loop", "window": "5m", "max": 2, "per": "call"}))
    listeners["names"] = Listener(limits({"counter": "names", "window": "5m", "max": 2, "per": "name"}))
    flying = limits({"counter": "flying", "concurrent": MOST}, tools={"asks": {"action": "require_approval"}})
    listeners["in flight"] = Listener(flying)
    listeners["in flight, for a short time"] = Listener(flying, short_route)
    with serving(upstream, listeners, concurrency=WORKERS) as gateway:
        yield gateway


def reason(response: Response) -> str | None:
    """Why a call was denied; nothing where it ran."""
    return None if b'"ran"' in response.body else error_of(response)["data"]["reason"]


@pytest.mark.parametrize("name", ROWS)
def test_what_is_said_is_so(gateway: Gateway, name: str) -> None:
    _, arguments, headers, expected = ROWS[name]
    assert reason(gateway.call(name, arguments=arguments, **headers)) == expected


def test_equal_calls_are_counted_over_all_workers(gateway: Gateway) -> None:
    spellings = ['{"a":1,"b":"x"}', '{"b":"\\u0078","a":1.0}', '{ "a" : 1e0, "b" : "x" }', '{"b":"x","a":1}']
    reasons = [reason(gateway.call("equal calls", arguments=arguments)) for arguments in spellings]
    assert reasons == [None, None, "limit_reached", "limit_reached"]
    assert reason(gateway.call("equal calls", arguments='{"a":2,"b":"x"}')) is None
    assert reason(gateway.call("equal calls", tool="other", arguments='{"a":1,"b":"x"}')) is None
    assert reason(gateway.call("equal calls", arguments='{"a":1,"b":"x"}', authorization="Bearer b")) is None


def test_names_are_counted_over_all_workers(gateway: Gateway) -> None:
    tools = ["a", "b", "a", "c", "b", "a", "d"]
    reasons = [reason(gateway.call("names", tool=tool)) for tool in tools]
    assert reasons == [None, None, None, "limit_reached", None, None, "limit_reached"]
    assert reason(gateway.call("names", tool="c", authorization="Bearer b")) is None


# --- In flight ------------------------------------------------------------------------------------

# How the streams that are in flight end.
ENDINGS = ["complete", "trailers", "client resets", "server resets", "server closes", "after a stream of events", "time-out"]


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_place_comes_back_however_a_stream_ends(gateway: Gateway, ending: str) -> None:
    listener = "in flight, for a short time" if ending == "time-out" else "in flight"
    gate = gateway.upstream.gate()
    path = "/" + ending.replace(" ", "-")

    async def held(arrival: Arrival, reply: Reply) -> None:
        if ending == "after a stream of events":
            await reply.stream()
            reply.write(b": still here\n\n")
        await gate.passed()
        if ending == "trailers":
            reply.start(200, [(b"content-type", b"application/json"), (b"trailer", b"x-end")])
            reply.write(json.dumps(RESULT).encode())
            reply.end([(b"x-end", b"1")])
        elif ending == "server resets":
            reply.reset()
        elif ending == "server closes":
            await reply.close()
        elif ending == "after a stream of events":
            reply.end()
        else:
            await reply.json(RESULT)

    gateway.upstream.answer(path, held)
    credential = ("authorization", f"Bearer {path[1:]}")
    before = gateway.upstream.count()

    def fresh() -> str | None:
        return reason(gateway.call(listener, authorization=credential[1]))

    with ExitStack() as open_connections:
        connections = [open_connections.enter_context(H1(gateway.port(listener))) for _ in range(MOST)]
        for connection in connections:
            connection.send(post_bytes(call("search"), [credential], path=path))
        gateway.upstream.wait(lambda _: gateway.upstream.count() >= before + MOST)
        if ending != "time-out":
            # Whatever worker is asked; a call that waits for nothing takes no place, nor does one that is denied.
            assert [fresh() for _ in range(8)] == ["limit_reached"] * 8
            denied = error_of(gateway.call(listener, authorization=credential[1]))["data"]
            assert (denied["limit"], denied["remaining"]) == (MOST, 0)
            assert "windowSeconds" not in denied and denied["retryAfterMs"] == 1000
            asked = gateway.call(listener, tool="asks", authorization="Bearer another")
            assert reason(asked) == "approval_required"
        if ending == "client resets":
            open_connections.close()
        elif ending != "time-out":
            gate.open()
            for connection in connections:
                connection.receive()
        else:
            for connection in connections:
                assert connection.receive().status == 504
        until(lambda: fresh() is None, f"a place after {ending}")
    gate.open()
    # All of them come back, and none twice: as many fly again as flew before.
    again = gateway.upstream.gate()

    async def once_more(arrival: Arrival, reply: Reply) -> None:
        await again.passed()
        await reply.json(RESULT)

    gateway.upstream.answer(path + "-again", once_more)
    before = gateway.upstream.count()
    with ExitStack() as open_connections:
        for flying in range(MOST):
            connection = open_connections.enter_context(H1(gateway.port(listener)))
            connection.send(post_bytes(call("search"), [credential], path=path + "-again"))
            gateway.upstream.wait(lambda _: gateway.upstream.count() > before + flying)
        assert fresh() == "limit_reached"
        again.open()


def test_a_batch_takes_a_place_for_each_of_its_calls(gateway: Gateway) -> None:
    def batch(calls: int) -> str | None:
        body = "[" + ",".join(call("search", id=str(at)) for at in range(calls)) + "]"
        response = post(gateway.port("in flight"), body, [("authorization", "Bearer batch"), ("mcp-protocol-version", "2025-03-26")])
        return None if b"limit_reached" not in response.body else "limit_reached"

    assert [batch(MOST), batch(MOST + 1), batch(MOST)] == [None, "limit_reached", None]
