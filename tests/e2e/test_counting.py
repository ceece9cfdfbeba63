"""Counters: exact under four workers, given back when they should be, and bounded in memory."""

from __future__ import annotations

import http.client
import itertools
import json
import re
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from client import H1, H2, Response, post, post_bytes
from fleet import Listener, Policy, answering, deserted, held, mesh, silent
from gateway import Gateway, call, serving
from judge import error_of, errors_of
from storm import request, storm
from upstream import RAN, Arrival, Gate, Reply, Upstream

WORKERS = 4
CONNECTIONS = 64
# The counted calls of one storm, and how many of them the limit admits.
CALLS = 12_800
MAX = 5_000
CALLERS = 500_000
# What half a million callers may add to Envoy's memory: the table of `counters.max_entries` and what V8 and the allocator make of it.
RSS_GROWTH_BOUND_KIB = 44 * 1024
# `counters.max_entries` by default, and where a crowd is to fill the tables; one address can have twice as many.
ENTRIES, SIEGED = 65_536, 1024

REACHED = b'"reason":"limit_reached"'
CROWDED = b'"reason":"too_many_callers"'
ANSWER = '{"jsonrpc":"2.0","id":7,"result":"ran"}'


def limited(**limit: Any) -> Policy:
    """A policy with one limit on every call of `search`."""
    return held(
        {"version": "1", "default": "allow", "tools": {"search": {"limits": [{"counter": "c", "window": "month", **limit}]}}}
    )


# --- Exactness ----------------------------------------------------------------------------------

# Each runs three times, each time with counters of its own.
STORMS: dict[str, Policy] = {
    "one grant": limited(max=MAX),
    "one grant, sliding": limited(max=MAX, algorithm="sliding"),
    # So long a window that nothing comes back during a storm.
    "one grant, a bucket": limited(max=MAX, window="8784h", algorithm="bucket"),
    "all callers together": limited(max=MAX, scope="global"),
    "one session": {**limited(max=MAX, scope="session"), "sessions": {"trusted": True}},
    "weights": limited(max=MAX, increment_from="args.n"),
    "two limits, the narrower second": held(
        {
            "version": "1",
            "default": "allow",
            "all_tools": {"limits": [{"counter": "all", "window": "month", "max": MAX, "scope": "global"}]},
            "tools": {"search": {"limits": [{"counter": "own", "window": "month", "max": MAX + 500}]}},
        }
    ),
}
RUNS = 3


@pytest.fixture(scope="module")
def busy(upstream: Upstream) -> Iterator[Gateway]:
    """Four workers, and listeners whose router answers by itself."""
    listeners = {
        f"{name}, run {run}": Listener(policy, answering(200, ANSWER), silent)
        for name, policy in STORMS.items()
        for run in range(RUNS)
    }
    listeners["warm"] = Listener(limited(max=1), answering(200, ANSWER), silent)
    listeners["crowd"] = Listener(limited(max=1000), answering(200, ANSWER), silent)
    listeners["seconds"] = Listener(limited(max=3, window="second"), answering(200, ANSWER), silent)
    listeners["drops"] = Listener(limited(max=3, window="second", algorithm="bucket"), answering(200, ANSWER), silent)
    listeners["siege"] = Listener({**limited(max=5), "counters": {"max_entries": SIEGED}}, answering(200, ANSWER), silent)
    with serving(upstream, listeners, concurrency=WORKERS) as gateway:
        yield gateway


@pytest.mark.parametrize("run", range(RUNS))
@pytest.mark.parametrize("name", STORMS)
def test_a_limit_admits_exactly_its_max(busy: Gateway, name: str, run: int) -> None:
    credentials = itertools.count() if name == "all callers together" else itertools.repeat(0)
    amounts = itertools.cycle(['{"n":1}', '{"n":0.5}']) if name == "weights" else itertools.repeat("{}")
    share = CALLS // CONNECTIONS

    def requests() -> Iterator[bytes]:
        for _ in range(share):
            fields = (b"authorization", b"Bearer %d" % next(credentials)), (b"mcp-session-id", b"s")
            yield request(call("search", next(amounts)).encode(), *fields)

    port = busy.port(f"{name}, run {run}")
    answers, admitted, reached = storm(port, [requests() for _ in range(CONNECTIONS)], [RAN, REACHED])
    assert admitted + reached == answers == CALLS, "some answers are neither"
    if name == "weights":
        # Whatever the order, less than one of the larger amounts is left.
        assert MAX <= admitted <= 2 * MAX
        left = error_of(busy.call(f"{name}, run {run}", arguments='{"n":1}', authorization="Bearer 0"))["data"]["remaining"]
        assert left in (0, 0.5)
    else:
        assert admitted == MAX


def test_all_workers_take_part(busy: Gateway) -> None:
    body = request(call("search").encode())
    storm(busy.port("warm"), [iter([body] * 10) for _ in range(CONNECTIONS)], [])
    taken = busy.envoy.stats(r"^listener\..*worker_\d.downstream_cx_total$")
    workers = {name.split("worker_")[1][0] for name, count in taken.items() if count}
    assert len(workers) == WORKERS, taken


@pytest.mark.parametrize("port", ["seconds", "drops"])
def test_counts_last_as_long_as_time_passes(busy: Gateway, port: str) -> None:
    """By Envoy's monotonic clock: if it stood still, nothing would come back after the first second."""
    body = request(call("search").encode(), (b"authorization", b"Bearer a"))
    passed, began = 0, time.monotonic()
    while time.monotonic() - began < 5:
        passed += storm(busy.port(port), [iter([body])], [RAN])[1]
        time.sleep(0.01)
    assert 3 * 4 <= passed <= 3 * 7


# --- Memory -------------------------------------------------------------------------------------


def test_half_a_million_callers_do_not_fill_the_memory(busy: Gateway) -> None:
    """Each brings a new credential, as an attacker would."""

    def crowd(callers: range) -> None:
        body = call("search").encode()

        def requests(own: range) -> Iterator[bytes]:
            return (request(body, (b"authorization", b"Bearer %d" % caller)) for caller in own)

        streams = [requests(callers[start::CONNECTIONS]) for start in range(CONNECTIONS)]
        # One address has room for those that `max_entries` promises, and at most for as many again.
        answers, ran, crowded = storm(busy.port("crowd"), streams, [RAN, CROWDED], timeout=300)
        assert answers == ran + crowded == len(callers)
        assert ENTRIES <= ran <= 2 * ENTRIES

    # The memory that any load takes, whoever calls: buffers, compiled code, the heaps of the VMs.
    warm = (request(call("search").encode(), (b"authorization", b"Bearer warm")) for _ in range(20_000))
    storm(busy.port("warm"), [itertools.islice(warm, 20_000 // CONNECTIONS) for _ in range(CONNECTIONS)], [])
    before = busy.envoy.rss_kib()
    crowd(range(CALLERS))
    growth = busy.envoy.rss_kib() - before
    print(f"RSS {before} KiB, then {growth} KiB more")
    assert growth < RSS_GROWTH_BOUND_KIB


def test_a_crowd_takes_nothing_from_others(busy: Gateway) -> None:
    """With limits of five a day, calls with ever new tokens once raised every count until nobody got a call."""

    def five(caller: str, address: str, calls: int = 5) -> str:
        letters = ""
        for _ in range(calls):
            connection = http.client.HTTPConnection("127.0.0.1", busy.port("siege"), 10, (address, 0))
            connection.request(
                "POST", "/mcp", call("search"), {"content-type": "application/json", "authorization": f"Bearer {caller}"}
            )
            body = connection.getresponse().read()
            letters += "a" if RAN in body else "d" if REACHED in body else "c" if CROWDED in body else "?"
            connection.close()
        return letters

    assert five("known", "127.0.0.1", 1) + five("known-elsewhere", "127.0.0.2", 1) == "aa"
    body = call("search").encode()
    share = 30_000 // CONNECTIONS

    def requests(start: int) -> Iterator[bytes]:
        return (request(body, (b"authorization", b"Bearer invented-%d-%d" % (start, at))) for at in range(share))

    answers, ran, crowded = storm(busy.port("siege"), [requests(start) for start in range(CONNECTIONS)], [RAN, CROWDED])
    print(f"{answers} invented callers: {ran} ran, {crowded} found no room")
    assert ran + crowded == answers and ran <= 2 * SIEGED
    assert five("known", "127.0.0.1") == "aaaad", "the known keep theirs, also behind the same address"
    assert five("known-elsewhere", "127.0.0.2") == "aaaad"
    assert [five(f"new-{number}", "127.0.0.2") for number in range(50)] == ["aaaaa"] * 50
    assert five("new", "127.0.0.1", 1) == "c", "this is what remains"


# --- Scopes, and all or none --------------------------------------------------------------------


@pytest.fixture(scope="module")
def gateway(upstream: Upstream) -> Iterator[Gateway]:
    listeners = {
        "grant": Listener(limited(max=3)),
        "global": Listener(limited(max=3, scope="global")),
        "session": Listener(limited(max=3, scope="session")),
        "trusted": Listener({**limited(max=3, scope="session"), "sessions": {"trusted": True}}),
        "tenths": Listener(limited(max=1, increment_from="args.n")),
        "pool": Listener(POOL),
        "ruled": Listener(RULED),
        "batch": Listener(limited(max=3)),
        "batch successes": Listener(limited(max=2, count="successes")),
        "successes": Listener(limited(max=1, count="successes")),
        "attempts": Listener(limited(max=1)),
        "refusing": Listener(REFUSING),
        "deserted": Listener(limited(max=1, count="successes"), deserted),
        "mesh": Listener(limited(max=1, count="successes"), mesh),
        "rules": Listener(held({"version": "1", "tools": {"search": {"rules": [{"name": "r", "rate_limit": "1/hour"}]}}})),
        "rules that ask": Listener(
            held({"version": "1", "tools": {"search": {"rules": [{"rate_limit": "1/hour", "count": "successes"}]}}})
        ),
    }
    with serving(upstream, listeners) as gateway:
        yield gateway


POOL: Policy = held(
    {
        "version": "1",
        "default": "allow",
        "tools": {
            "both": {
                "limits": [{"counter": "wide", "window": "month", "max": 5}, {"counter": "narrow", "window": "month", "max": 3}]
            },
            "wide": {"limits": [{"counter": "wide", "window": "month", "max": 5}]},
        },
    }
)
# Room for a handful, and two calls for all together.
REFUSING: Policy = {
    **held(
        {
            "version": "1",
            "default": "allow",
            "all_tools": {"limits": [{"counter": "all", "window": "month", "max": 2, "scope": "global"}]},
            "tools": {"search": {"limits": [{"counter": "own", "window": "month", "max": 1}]}},
        }
    ),
    "counters": {"max_entries": 1},
}
RULED: Policy = held(
    {
        "version": "1",
        "tools": {
            "charge": {
                "rules": [
                    {
                        "name": "daily",
                        "conditions": [{"path": "state.charge.spent", "op": "lte", "value": 100}],
                        "state": {"counter": "spent", "window": "day", "increment_from": "args.amount"},
                    }
                ]
            },
            "*": {"rules": [{"name": "all", "rate_limit": "1000/hour"}]},
        },
    }
)


def outcomes(gateway: Gateway, listener: str, calls: int, tool: str = "search", arguments: str = "{}", **headers: str) -> str:
    """One letter per call: `a`dmitted or `d`enied by a limit."""
    letters = ""
    for _ in range(calls):
        body = gateway.call(listener, tool, arguments, **headers).body
        letters += "a" if RAN in body else "d" if REACHED in body else f"?{body!r}"
    return letters


def test_a_grant_is_a_credential(gateway: Gateway) -> None:
    assert outcomes(gateway, "grant", 4, authorization="Bearer a") == "aaad"
    assert outcomes(gateway, "grant", 4, authorization="Bearer b") == "aaad"
    # Everyone who brings none is one and the same.
    assert (
        outcomes(gateway, "grant", 2)
        + outcomes(gateway, "grant", 2, mcp_session_id="x", user_agent="y", x_forwarded_for="9.9.9.9")
        == "aaad"
    )


def test_global_is_everybody(gateway: Gateway) -> None:
    assert (
        outcomes(gateway, "global", 2, authorization="Bearer a") + outcomes(gateway, "global", 2, authorization="Bearer b")
        == "aaad"
    )
    assert outcomes(gateway, "global", 1) == "d"


def test_a_session_that_nobody_vouches_for_starts_no_new_count(gateway: Gateway) -> None:
    letters = "".join(
        outcomes(gateway, "session", 1, authorization="Bearer a", mcp_session_id=f"invented-{number}") for number in range(4)
    )
    assert letters == "aaad"


def test_a_trusted_session_counts_by_itself_within_its_caller(gateway: Gateway) -> None:
    assert outcomes(gateway, "trusted", 4, authorization="Bearer a", mcp_session_id="1") == "aaad"
    assert outcomes(gateway, "trusted", 4, authorization="Bearer a", mcp_session_id="2") == "aaad"
    assert outcomes(gateway, "trusted", 4, authorization="Bearer b", mcp_session_id="1") == "aaad"
    assert outcomes(gateway, "trusted", 4, authorization="Bearer b") == "aaad"


def test_ten_tenths_are_one(gateway: Gateway) -> None:
    assert outcomes(gateway, "tenths", 11, arguments='{"n":0.1}') == "a" * 10 + "d"
    assert outcomes(gateway, "tenths", 1, arguments='{"n":0.000001}') == "d"


def test_all_limits_of_a_call_or_none(gateway: Gateway) -> None:
    assert outcomes(gateway, "pool", 13, "both") == "aaa" + "d" * 10
    # The ten that the narrow limit denied have taken nothing from the wide one.
    assert outcomes(gateway, "pool", 3, "wide") == "aad"


def test_a_rule_counts_all_callers_together(gateway: Gateway) -> None:
    assert outcomes(gateway, "ruled", 1, "charge", '{"amount":60}', authorization="Bearer a") == "a"
    assert outcomes(gateway, "ruled", 1, "charge", '{"amount":41}', authorization="Bearer b") == "d"
    assert outcomes(gateway, "ruled", 1, "charge", '{"amount":40}', authorization="Bearer b") == "a"


def test_a_batch_counts_every_call_or_none(gateway: Gateway) -> None:
    def batch(*calls: str) -> Response:
        return post(gateway.port("batch"), f"[{','.join(calls)}]", [("authorization", "Bearer batch")])

    four = [call("search", id=str(number)) for number in range(4)]
    reasons = {error["id"]: error["reason"] for error in errors_of(batch(*four))}
    assert reasons == {"0": "batch_refused", "1": "batch_refused", "2": "batch_refused", "3": "limit_reached"}
    # All of it was taken back, so three fit, and then none does.
    assert batch(*four[:3]).body.count(RAN) == 3
    assert outcomes(gateway, "batch", 1, authorization="Bearer batch") == "d"


# --- Given back ---------------------------------------------------------------------------------

ERROR = {"jsonrpc": "2.0", "id": 7, "error": {"code": -32000, "message": "no"}}
RESULT = {"jsonrpc": "2.0", "id": 7, "result": {"content": [], "isError": False}}
Script = Callable[[Reply], Any]


async def _json(reply: Reply, message: object, status: int = 200) -> None:
    await reply.json(message, status)


async def _chunked(reply: Reply, *pieces: bytes, kind: bytes = b"application/json", trailers: bool = False) -> None:
    reply.start(200, [(b"content-type", kind)])
    for piece in pieces:
        reply.write(piece)
    reply.end([(b"x-end", b"1")] if trailers else [])


def _data(message: object, end: bytes = b"\n") -> bytes:
    return b"event: message" + end + b"data: " + json.dumps(message).encode() + end + end


PROGRESS = {"jsonrpc": "2.0", "method": "notifications/progress", "params": {"progressToken": 1, "progress": 1}}
SSE = b"text/event-stream"
_TEXT = json.dumps(ERROR).encode()
_EVENT = _data(ERROR)

# What the server answers, and whether the call is given back.
ANSWERS: dict[str, tuple[Script, bool]] = {
    "500": (lambda reply: _json(reply, {}, 500), True),
    # What another proxy behind us says of a call does not tell whether it ran.
    "502 of a proxy": (lambda reply: _json(reply, ERROR, 502), False),
    "503 of a proxy": (lambda reply: _json(reply, {}, 503), False),
    "504 of a proxy": (lambda reply: _json(reply, {}, 504), False),
    "404": (lambda reply: _json(reply, {}, 404), True),
    "400 with JSON-RPC": (lambda reply: _json(reply, ERROR, 400), True),
    "an error": (lambda reply: _json(reply, ERROR), True),
    "an error, its id last": (lambda reply: _json(reply, {"error": ERROR["error"], "id": 7, "jsonrpc": "2.0"}), True),
    "an error in chunks": (lambda reply: _chunked(reply, _TEXT[:9], _TEXT[9:30], _TEXT[30:]), True),
    "an error one byte at a time": (lambda reply: _chunked(reply, *[_TEXT[at : at + 1] for at in range(len(_TEXT))]), True),
    "an error with a charset": (lambda reply: _chunked(reply, _TEXT, kind=b"application/json; charset=utf-8"), True),
    "an error in an event": (lambda reply: _chunked(reply, _EVENT, kind=SSE), True),
    "an error in an event with CRLF": (lambda reply: _chunked(reply, _data(ERROR, b"\r\n"), kind=SSE), True),
    "an error after progress": (lambda reply: _chunked(reply, b": hello\n\n", _data(PROGRESS), _EVENT, kind=SSE), True),
    "an error in an event in pieces": (lambda reply: _chunked(reply, _EVENT[:20], _EVENT[20:40], _EVENT[40:], kind=SSE), True),
    "an error in an event over two lines": (
        lambda reply: _chunked(
            reply, b'data: {"jsonrpc":"2.0","id":7,\ndata: "error":{"code":1,"message":"no"}}\n\n', kind=SSE
        ),
        True,
    ),
    "an error after a priming event": (lambda reply: _chunked(reply, b"id: 1\ndata: \n\n", b"id: 2\n", _EVENT, kind=SSE), True),
    "a request of the server's own with the same id, then a result": (
        lambda reply: _chunked(
            reply, _data({"jsonrpc": "2.0", "id": 7, "method": "elicitation/create", "params": {}}), _data(RESULT), kind=SSE
        ),
        False,
    ),
    "a result": (lambda reply: _json(reply, RESULT), False),
    "a result that says isError": (lambda reply: _json(reply, {**RESULT, "result": {"content": [], "isError": True}}), False),
    "a result that speaks of an error": (
        lambda reply: _json(reply, {**RESULT, "result": {"error": ERROR["error"], "text": '"error":{'}}),
        False,
    ),
    "a result in an event": (lambda reply: _chunked(reply, _data(PROGRESS), _data(RESULT), kind=SSE), False),
    "202": (lambda reply: reply.whole(202, b""), False),
    "an error for another request": (lambda reply: _chunked(reply, _data({**ERROR, "id": 8}), _data(RESULT), kind=SSE), False),
    "an error with the id as text": (
        lambda reply: _chunked(reply, _data({**ERROR, "id": "7"}), _data(RESULT), kind=SSE),
        False,
    ),
    "a result longer than is looked at": (lambda reply: _json(reply, {**RESULT, "result": "x" * 300_000}), False),
    "neither": (lambda reply: _json(reply, {"jsonrpc": "2.0", "id": 7}), False),
    "broken JSON": (lambda reply: reply.whole(200, b'{"jsonrpc":"2.0","id":7,"error":{"code":1'), False),
    "an unfinished event": (lambda reply: _chunked(reply, _EVENT[:-8], kind=SSE), False),
    "plain text": (lambda reply: reply.whole(200, _TEXT, "text/plain"), False),
}


def script(upstream: Upstream, path: str, answer: Script) -> None:
    async def handler(arrival: Arrival, reply: Reply) -> None:
        await answer(reply)

    upstream.answer(path, handler)


@pytest.mark.parametrize("name", ANSWERS)
def test_what_the_server_answers_decides_what_is_given_back(gateway: Gateway, name: str) -> None:
    answer, given_back = ANSWERS[name]
    script(gateway.upstream, "/scripted", answer)
    who = {"authorization": "Bearer " + re.sub(r"\W+", "-", name)}
    response = gateway.call("successes", path="/scripted", **who)
    assert not response.fault, response
    arrival = gateway.upstream.arrivals()[-1]
    assert response.body == arrival.answer, "the answer was changed on its way"
    assert outcomes(gateway, "successes", 2, **who) == ("ad" if given_back else "dd")


@pytest.mark.parametrize("status", [401, 403])
def test_what_the_server_refuses_leaves_no_trace(gateway: Gateway, status: int) -> None:
    """Else made-up credentials would use up what others have: the limit of all together, and the room for callers."""
    path = f"/refusing/{status}"
    script(gateway.upstream, path, lambda reply: _json(reply, {}, status))
    for number in range(100):
        response = gateway.call("refusing", path=path, authorization=f"Bearer made-up-{number}")
        assert response.status == status, response
    assert gateway.call("refusing", path=path).status == status
    assert outcomes(gateway, "refusing", 2, authorization=f"Bearer honest-{status}") == "ad"


@pytest.mark.parametrize("listener", ["attempts", "rules", "rules that ask"])
def test_nothing_is_given_back_unless_the_author_asks(gateway: Gateway, listener: str) -> None:
    script(gateway.upstream, "/scripted", lambda reply: _json(reply, ERROR))
    first = gateway.call(listener, path="/scripted", authorization="Bearer rules")
    assert b'"error"' in first.body
    assert outcomes(gateway, listener, 2, authorization="Bearer rules") == ("ad" if listener == "rules that ask" else "dd")


def test_a_batch_gives_back_the_calls_that_failed(gateway: Gateway) -> None:
    async def half(reply: Reply) -> None:
        await reply.json([{**RESULT, "id": 1}, {**ERROR, "id": 2}])

    script(gateway.upstream, "/scripted", half)
    listener, who = gateway.port("batch successes"), [("authorization", "Bearer half")]
    assert b'"result"' in post(listener, f"[{call('search', id='1')},{call('search', id='2')}]", who, path="/scripted").body
    assert outcomes(gateway, "batch successes", 2, authorization="Bearer half") == "ad"


def test_an_error_that_comes_twice_is_given_back_once(gateway: Gateway) -> None:
    script(gateway.upstream, "/scripted", lambda reply: _chunked(reply, _EVENT, _EVENT, kind=SSE))
    assert outcomes(gateway, "batch successes", 1, authorization="Bearer double") == "a"
    assert b'"error"' in gateway.call("batch successes", path="/scripted", authorization="Bearer double").body
    assert outcomes(gateway, "batch successes", 2, authorization="Bearer double") == "ad"


@pytest.mark.parametrize("kind", [b"application/json", SSE], ids=["JSON", "SSE"])
def test_response_trailers_end_a_response_too(kind: bytes) -> None:
    body = _TEXT if kind != SSE else _EVENT

    async def error(arrival: Arrival, reply: Reply) -> None:
        await _chunked(reply, body, kind=kind, trailers=True)

    with Upstream("h2") as upstream:
        upstream.answer("/scripted", error)
        with serving(upstream, {"h2": Listener(limited(max=1, count="successes"))}, change=_h2_upstream) as gateway:
            response = gateway.call("h2", path="/scripted")
            assert response.body == body and not response.fault
            assert outcomes(gateway, "h2", 2) == "ad"


def _h2_upstream(config: dict[str, Any]) -> None:
    options = {
        "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
        "explicit_http_config": {"http2_protocol_options": {}},
    }
    config["static_resources"]["clusters"][0]["typed_extension_protocol_options"] = {
        "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": options
    }


@pytest.mark.parametrize("listener", ["successes", "attempts"])
def test_a_stream_is_not_delayed_by_being_looked_at(gateway: Gateway, listener: str) -> None:
    gates: list[Gate] = [gateway.upstream.gate() for _ in range(2)]

    async def steps(arrival: Arrival, reply: Reply) -> None:
        await reply.stream()
        reply.write(_data(PROGRESS))
        await gates[0].passed()
        reply.write(_EVENT[:20])
        await gates[1].passed()
        reply.write(_EVENT[20:])
        reply.end()

    gateway.upstream.answer("/steps", steps)
    with H1(gateway.port(listener)) as connection:
        connection.send(post_bytes(call("search"), [("authorization", "Bearer steps")], path="/steps"))
        response = Response()
        connection.head(response)
        assert response.status == 200
        # Each piece is here before the server is let on to the next one, even half an event.
        assert connection.chunk() == _data(PROGRESS)
        gates[0].open()
        assert connection.chunk() == _EVENT[:20]
        gates[1].open()
        assert connection.chunk() == _EVENT[20:]
        assert connection.chunk() is None
    assert outcomes(gateway, listener, 2, authorization="Bearer steps") == ("ad" if listener == "successes" else "dd")


def test_a_get_stream_is_not_delayed(gateway: Gateway) -> None:
    gate = gateway.upstream.gate()

    async def steps(arrival: Arrival, reply: Reply) -> None:
        await reply.stream()
        reply.write(b": open\n\n")
        await gate.passed()
        reply.end()

    gateway.upstream.answer("/listen", steps)
    with H1(gateway.port("successes")) as connection:
        connection.send(b"GET /listen HTTP/1.1\r\nhost: h\r\naccept: text/event-stream\r\n\r\n")
        connection.head(Response())
        assert connection.chunk() == b": open\n\n"
        gate.open()
        assert connection.chunk() is None


async def _never(arrival: Arrival, reply: Reply) -> None:
    await reply.gone.wait()


async def _begun(arrival: Arrival, reply: Reply) -> None:
    await reply.stream()
    reply.write(_data(PROGRESS))
    await reply.gone.wait()


@pytest.mark.parametrize("protocol", ["h1", "h2"])
@pytest.mark.parametrize("server", [_never, _begun], ids=["before the answer", "within the answer"])
def test_a_client_that_leaves_gets_nothing_back(gateway: Gateway, server: Any, protocol: str) -> None:
    """Else a caller would run a tool, leave before its answer, and run it again for ever."""
    path, who = f"/leave/{server.__name__}/{protocol}", f"Bearer leave-{server.__name__}-{protocol}"
    gateway.upstream.answer(path, server)
    before = gateway.upstream.count()
    if protocol == "h1":
        with H1(gateway.port("successes")) as connection:
            connection.send(post_bytes(call("search"), [("authorization", who)], path=path))
            gateway.upstream.wait(lambda arrivals: any(each.complete for each in arrivals[before:]))
            if server is _begun:
                connection.head(Response())
    else:
        with H2(gateway.port("successes")) as connection:
            head = [(b":method", b"POST"), (b":scheme", b"http"), (b":path", path.encode()), (b":authority", b"h")]
            fields = [(b"content-type", b"application/json"), (b"authorization", who.encode())]
            connection.request(head + fields, [call("search").encode()])
            gateway.upstream.wait(lambda arrivals: any(each.complete for each in arrivals[before:]))
    gateway.upstream.wait(lambda arrivals: any(each.aborted for each in arrivals[before:] if each.path == path))
    assert outcomes(gateway, "successes", 1, authorization=who) == "d"


def test_a_server_that_is_down_has_not_run_the_call(gateway: Gateway) -> None:
    for _ in range(3):
        response = gateway.call("deserted", authorization="Bearer down")
        assert response.status == 503 and REACHED not in response.body


def test_a_server_that_hangs_up_after_it_has_read_the_call_is_not_a_way_to_call_for_ever(gateway: Gateway) -> None:
    async def hang_up(arrival: Arrival, reply: Reply) -> None:
        reply.reset()

    gateway.upstream.answer("/reset", hang_up)
    response = gateway.call("successes", path="/reset", authorization="Bearer reset")
    assert response.status == 503
    # The call may have run: only the server's own word gives it back.
    assert outcomes(gateway, "successes", 1, authorization="Bearer reset") == "d"


@pytest.mark.parametrize("listener", ["successes", "mesh"])
def test_a_caller_s_own_time_out_gives_nothing_back(gateway: Gateway, listener: str) -> None:
    """Under `mesh` Envoy would obey the header, and answer 504 while the tool still runs."""
    gate = gateway.upstream.gate()

    async def late(arrival: Arrival, reply: Reply) -> None:
        await gate.passed()
        await reply.json(RESULT)

    gateway.upstream.answer("/late", late)
    before = gateway.upstream.count()
    with H1(gateway.port(listener)) as connection:
        fields = [
            ("authorization", "Bearer late"),
            ("x-envoy-upstream-rq-timeout-ms", "1"),
            ("x-envoy-upstream-rq-per-try-timeout-ms", "1"),
        ]
        connection.send(post_bytes(call("search"), fields, path="/late"))
        gateway.upstream.wait(lambda arrivals: any(each.complete for each in arrivals[before:]))
        assert outcomes(gateway, listener, 1, authorization="Bearer late") == "d"
        gate.open()
        assert connection.receive().status == 200
    assert outcomes(gateway, listener, 1, authorization="Bearer late") == "d"
