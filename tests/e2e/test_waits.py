"""Calls that wait for an answer from outside, on a real Envoy. The approver is the upstream, at a path of its own."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
import rig

from client import H1, Response, post_bytes
from fleet import Listener, with_approver, with_trailers, without_hold
from gateway import Gateway, call, serving, until
from judge import error_of
from upstream import RAN, Arrival, Gate, Reply, Upstream

QUESTIONS = "/access/v1/evaluation"
POLICY = {
    "version": "1",
    "default": "deny",
    "tools": {
        "pay": {
            "action": "require_approval",
            "approval": "approver",
            "limits": [{"counter": "c", "window": "day", "max": 2, "scope": "global"}],
        },
        "free": {},
    },
    "approvals": {"cooldown": 0, "wait": "2s", "approver": {"cluster": "approver", "timeout": "2s"}},
}

LISTENERS = {
    name: Listener(POLICY, *changes)
    for name, changes in {
        "yes": (), "no": (), "nonsense": (), "late": (), "gone": (), "held": (without_hold,), "trailers": (with_trailers,), "huge": (),
        "held, trailers": (without_hold, with_trailers),
    }.items()
}


@pytest.fixture(scope="module")
def gateway(upstream: Upstream) -> Iterator[Gateway]:
    with serving(upstream, LISTENERS, change=with_approver) as gateway:
        yield gateway


def answer(gateway: Gateway, body: bytes, status: int = 200) -> None:
    async def say(_: Arrival, reply: Reply) -> None:
        await reply.whole(status, body)

    gateway.upstream.answer(QUESTIONS, say)


def pay(gateway: Gateway, listener: str) -> Response:
    with H1(gateway.port(listener)) as connection:
        connection.send(post_bytes(call("pay")))
        return connection.receive()


def pay_with_trailers(gateway: Gateway, listener: str) -> Response:
    head = b"POST /mcp HTTP/1.1\r\nhost: mcp.test\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n"
    body = call("pay").encode()
    with H1(gateway.port(listener)) as connection:
        connection.send(head + b"%x\r\n%b\r\n0\r\nx-end: 1\r\n\r\n" % (len(body), body))
        return connection.receive()


def outcome(gateway: Gateway, listener: str) -> tuple[str, list[Arrival], list[Arrival]]:
    """What the client reads, what was asked, and what ran."""
    since = gateway.upstream.count()
    response = (pay_with_trailers if "trailers" in listener else pay)(gateway, listener)
    arrivals = gateway.arrivals(since)
    asked = [each for each in arrivals if each.path == QUESTIONS]
    # Where headers are not held, those of a denied call go ahead; its body never does.
    ran = [each for each in arrivals if each.path == "/mcp" and each.body]
    said = "ran" if RAN in response.body else error_of(response)["reason"]
    return said, asked, ran


@pytest.mark.parametrize("listener", ["yes", "held", "trailers"])
def test_a_yes_lets_the_call_run_once_and_the_limit_holds(gateway: Gateway, listener: str) -> None:
    answer(gateway, b'{"decision":true}')
    for expected in ("ran", "ran", "limit_reached"):
        said, asked, ran = outcome(gateway, listener)
        assert said == expected
        # Nobody is asked for what a limit refuses.
        assert len(asked) == len(ran) == (1 if expected == "ran" else 0)
        for each in asked:
            question = json.loads(bytes(each.body))
            assert question["resource"] == {"type": "tool", "id": "pay", "properties": {"server": "mcp.test/mcp"}}
        for each in ran:
            assert bytes(each.body).decode() == call("pay"), "forwarded byte for byte"


def test_after_a_pause_of_everything_a_call_with_trailers_runs_whole_or_not_at_all(gateway: Gateway) -> None:
    answer(gateway, b'{"decision":true}')
    for _ in range(5):
        said, _, ran = outcome(gateway, "held, trailers")
        assert said in ("ran", "headers_not_held", "limit_reached")
        assert [bytes(each.body).decode() for each in ran] == ([call("pay")] if said == "ran" else [])


@pytest.mark.parametrize(
    ("listener", "status", "body", "reason"),
    [
        ("no", 200, b'{"decision":false}', "approval_declined"),
        ("no", 503, b'{"decision":true}', "approver_unavailable"),
        ("nonsense", 200, b'{"decision":true', "approver_unavailable"),
        ("nonsense", 200, b"\xff\xfe", "approver_unavailable"),
        ("huge", 200, b'{"decision":true,"context":"' + b"x" * 3_000_000 + b'"}', "approver_unavailable"),
    ],
)
def test_whatever_else_comes_does_not(gateway: Gateway, listener: str, status: int, body: bytes, reason: str) -> None:
    answer(gateway, body, status)
    for _ in range(3):
        said, asked, ran = outcome(gateway, listener)
        # And nothing stays counted, or the third would meet the limit.
        assert (said, len(asked), ran) == (reason, 1, [])


def answer_behind_a_gate(gateway: Gateway) -> Gate:
    """Lets the approver say yes once the gate is open, and nothing before."""
    gate = gateway.upstream.gate()

    async def sleep(_: Arrival, reply: Reply) -> None:
        await gate.passed()
        await reply.whole(200, b'{"decision":true}')

    gateway.upstream.answer(QUESTIONS, sleep)
    return gate


def test_an_approver_that_says_nothing_is_not_waited_for_longer_than_its_time(gateway: Gateway) -> None:
    gate = answer_behind_a_gate(gateway)
    said, asked, ran = outcome(gateway, "late")
    assert (said, len(asked), ran) == ("approver_unavailable", 1, [])
    gate.open()
    assert gateway.arrivals(gateway.upstream.count()) == []


def test_who_leaves_while_it_waits_leaves_no_count(gateway: Gateway) -> None:
    gate = answer_behind_a_gate(gateway)
    since = gateway.upstream.count()
    for number in range(1, 6):
        with H1(gateway.port("gone")) as connection:
            connection.send(post_bytes(call("pay")))
            gateway.upstream.wait(lambda arrivals, number=number: len([a for a in arrivals[since:] if a.path == QUESTIONS and a.complete]) >= number)
        # The limit is two: a count that stayed would stop the third from asking.
        until(lambda number=number: gone(gateway) >= number, "the end of the stream")
    gate.open()
    answer(gateway, b'{"decision":true}')
    assert [outcome(gateway, "gone")[0] for _ in range(3)] == ["ran", "ran", "limit_reached"]
    assert len([each for each in gateway.upstream.arrivals(since) if each.path == "/mcp"]) == 2


def gone(gateway: Gateway) -> int:
    """How many clients have left while their calls waited."""
    return sum(1 for line in gateway.envoy.access_log() if line["details"] == "downstream_remote_disconnect")
