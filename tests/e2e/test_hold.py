"""Holding headers: what reaches the upstream of a denied call, and that no request ever hangs.

Every combination of `allow_on_headers_stop_iteration` (on, off) and `requests.hold_headers`, for calls
of every shape. What each promises is in envoy/README.md.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest

from client import H1, H2, Response, post_bytes
from fleet import Change, Listener, with_native_buffer, with_trailers, without_hold
from gateway import Gateway, call, serving
from judge import error_of
from upstream import RAN, Arrival, Upstream

POLICY = {"version": "1", "default": "allow", "tools": {"delete_account": {"action": "deny"}}}
DENIED = call("delete_account", '{"account":"42"}').encode()
ALLOWED = call("search", id="8").encode()
# Longer than `auto` waits for a body before it lets the headers go, and than one turn of the filter's timer.
SLOW = 0.25
# Longer than `always` waits for the first body of all.
VERY_SLOW = 1.5


@dataclass(frozen=True)
class Setting:
    """One way to deploy the filter."""

    name: str
    mode: str
    changes: tuple[Change, ...] = ()
    # What may reach the upstream of a denied call: nothing, or headers and never a byte of the body.
    headers_may_pass: bool = False


SETTINGS = [
    Setting("flag on, auto", "auto"),
    Setting("flag on, always", "always"),
    Setting("flag on, never", "never", headers_may_pass=True),
    Setting("flag on, never, then Envoy's buffer", "never", (with_native_buffer,)),
    Setting("flag off, auto", "auto", (without_hold,), headers_may_pass=True),
    Setting("flag off, never", "never", (without_hold,), headers_may_pass=True),
    Setting("flag off, never, then Envoy's buffer", "never", (without_hold, with_native_buffer)),
    Setting("flag off, auto, then Envoy's buffer", "auto", (without_hold, with_native_buffer)),
]
BLOCKED = Setting("flag off, always", "always", (without_hold,))


@pytest.fixture(scope="module")
def gateway(upstream: Upstream) -> Iterator[Gateway]:
    listeners = {}
    for setting in [*SETTINGS, BLOCKED]:
        policy = {**POLICY, "requests": {"hold_headers": setting.mode}}
        listeners[setting.name] = Listener(policy, *setting.changes)
        listeners[f"{setting.name}, trailers"] = Listener(policy, *setting.changes, with_trailers)
        listeners[f"{setting.name}, untouched"] = Listener(policy, *setting.changes)
        listeners[f"{setting.name}, overtaken"] = Listener(policy, *setting.changes)
        for shape in FIRST_SHAPES:
            name = f"{setting.name}, untouched by {shape.__name__}"
            listeners[name] = Listener(policy, *setting.changes)
            listeners[f"{name}, trailers"] = Listener(policy, *setting.changes, with_trailers)
    with serving(upstream, listeners) as gateway:
        # The first body that comes through proves that headers can be held, or that they cannot.
        for name in listeners:
            if not any(word in name for word in ("untouched", "overtaken")) and BLOCKED.name not in name:
                with H1(gateway.port(name)) as connection:
                    connection.send(post_bytes(ALLOWED))
                    assert not connection.receive().fault
        yield gateway


def whole(gateway: Gateway, listener: str, body: bytes) -> Response:
    with H1(gateway.port(listener)) as connection:
        connection.send(post_bytes(body))
        return connection.receive()


def in_segments(gateway: Gateway, listener: str, body: bytes) -> Response:
    head, _, _ = post_bytes(body).partition(b"\r\n\r\n")
    with H1(gateway.port(listener)) as connection:
        connection.send(head + b"\r\n\r\n", body[:30], body[30:], paced=True)
        return connection.receive()


def in_chunks(gateway: Gateway, listener: str, body: bytes, end: bytes = b"0\r\n\r\n") -> Response:
    head = b"POST /mcp HTTP/1.1\r\nhost: mcp.test\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n"
    chunks = [b"%x\r\n%b\r\n" % (len(piece), piece) for piece in (body[:30], body[30:])]
    with H1(gateway.port(listener)) as connection:
        connection.send(head, *chunks, end, paced=True)
        return connection.receive()


def with_h1_trailers(gateway: Gateway, listener: str, body: bytes) -> Response:
    return in_chunks(gateway, f"{listener}, trailers", body, b"0\r\nx-end: 1\r\n\r\n")


def at_once_with_h1_trailers(gateway: Gateway, listener: str, body: bytes) -> Response:
    head = b"POST /mcp HTTP/1.1\r\nhost: mcp.test\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n"
    with H1(gateway.port(f"{listener}, trailers")) as connection:
        connection.send(head + b"%x\r\n%b\r\n0\r\nx-end: 1\r\n\r\n" % (len(body), body))
        return connection.receive()


HEAD = [
    (b":method", b"POST"),
    (b":scheme", b"http"),
    (b":path", b"/mcp"),
    (b":authority", b"mcp.test"),
    (b"content-type", b"application/json"),
]


def over_h2(gateway: Gateway, listener: str, body: bytes) -> Response:
    with H2(gateway.port(listener)) as connection:
        return connection.receive(connection.request(HEAD, [body[:30], body[30:]]))


def with_h2_trailers(gateway: Gateway, listener: str, body: bytes) -> Response:
    with H2(gateway.port(listener)) as connection:
        return connection.receive(connection.request(HEAD, [body], [(b"x-end", b"1")]))


def slow(gateway: Gateway, listener: str, body: bytes) -> Response:
    """The body comes a while after the headers. The wait is the stimulus, nothing is synchronised by it."""
    head, _, _ = post_bytes(body).partition(b"\r\n\r\n")
    with H1(gateway.port(listener)) as connection:
        connection.send(head + b"\r\n\r\n")
        time.sleep(SLOW)
        connection.send(body[:30])
        time.sleep(SLOW)
        connection.send(body[30:])
        return connection.receive()


def slow_over_h2(gateway: Gateway, listener: str, body: bytes) -> Response:
    with H2(gateway.port(listener)) as connection:
        stream = connection.request(HEAD, None)
        time.sleep(SLOW)
        connection.data(stream, body, end=True)
        return connection.receive(stream)


def slow_with_trailers(gateway: Gateway, listener: str, body: bytes) -> Response:
    with H2(gateway.port(listener)) as connection:
        stream = connection.request(HEAD, None)
        time.sleep(SLOW)
        connection.data(stream, body, end=False)
        time.sleep(SLOW)
        connection.trailers(stream, [(b"x-end", b"1")])
        return connection.receive(stream)


Shape = Callable[[Gateway, str, bytes], Response]
SHAPES: list[Shape] = [
    whole,
    in_segments,
    in_chunks,
    with_h1_trailers,
    at_once_with_h1_trailers,
    over_h2,
    with_h2_trailers,
    slow,
    slow_over_h2,
    slow_with_trailers,
]
FIRST_SHAPES: list[Shape] = [whole, at_once_with_h1_trailers, with_h2_trailers]
all_settings = pytest.mark.parametrize("setting", SETTINGS, ids=lambda setting: setting.name)
all_shapes = pytest.mark.parametrize("send", SHAPES, ids=lambda shape: shape.__name__)


def check_denied(setting: Setting, response: Response, arrivals: list[Arrival]) -> None:
    assert not response.hung, "the request hangs"
    error = error_of(response)
    assert (response.status, error["reason"], error["id"]) == (200, "tool_denied", "7")
    if setting.headers_may_pass:
        for arrival in arrivals:
            assert not arrival.complete and b"jsonrpc" not in arrival.raw and b"account" not in arrival.raw, arrival
    else:
        assert not arrivals, "something of a denied call reached the upstream"


@all_settings
@all_shapes
def test_a_denied_call(gateway: Gateway, setting: Setting, send: Shape) -> None:
    before = gateway.upstream.count()
    check_denied(setting, send(gateway, setting.name, DENIED), gateway.arrivals(before))


@all_settings
@all_shapes
def test_an_allowed_call(gateway: Gateway, setting: Setting, send: Shape) -> None:
    before = gateway.upstream.count()
    response = send(gateway, setting.name, ALLOWED)
    assert not response.hung, "the request hangs"
    assert RAN in response.body
    [arrival] = gateway.arrivals(before)
    assert arrival.complete and arrival.body == ALLOWED


@all_settings
def test_a_denied_call_as_the_first_request_of_all(gateway: Gateway, setting: Setting) -> None:
    """Nothing is proven yet: it may not hang, and no byte of its body may get through."""
    before = gateway.upstream.count()
    response = whole(gateway, f"{setting.name}, untouched", DENIED)
    check_denied(setting, response, gateway.arrivals(before))


@all_settings
@pytest.mark.parametrize("send", FIRST_SHAPES, ids=lambda shape: shape.__name__)
def test_an_allowed_call_as_the_first_request_of_all(gateway: Gateway, setting: Setting, send: Shape) -> None:
    before = gateway.upstream.count()
    response = send(gateway, f"{setting.name}, untouched by {send.__name__}", ALLOWED)
    assert not response.hung, "the request hangs"
    if b"headers_not_held" in response.body:
        # Envoy would hand the trailers on without the body: refused loudly, until holding is given up.
        assert setting.mode == "auto" and without_hold in setting.changes and "trailers" in send.__name__
        assert response.status == 503
        assert not any(arrival.body for arrival in gateway.arrivals(before))
        return
    [arrival] = gateway.arrivals(before)
    assert RAN in response.body and arrival.body == ALLOWED, arrival


@all_settings
def test_a_stream_and_the_end_of_a_session(gateway: Gateway, setting: Setting) -> None:
    preflight = "origin: http://a.test\r\naccess-control-request-method: POST"
    for method, header in [("GET", "accept: text/event-stream"), ("DELETE", "mcp-session-id: 1"), ("OPTIONS", preflight)]:
        with H1(gateway.port(setting.name)) as connection:
            connection.send(f"{method} /mcp HTTP/1.1\r\nhost: mcp.test\r\n{header}\r\n\r\n".encode())
            response = connection.receive(method)
            assert (response.status, response.fault) == (200, "")


@all_settings
def test_a_body_that_never_comes_reaches_nobody(gateway: Gateway, setting: Setting) -> None:
    before = gateway.upstream.count()
    with H1(gateway.port(setting.name)) as connection:
        head, _, _ = post_bytes(DENIED).partition(b"\r\n\r\n")
        connection.send(head + b"\r\n\r\n" + DENIED[:50])
        connection.finish()
        response = connection.receive()
    assert not response.hung
    for arrival in gateway.arrivals(before):
        assert setting.headers_may_pass and b"jsonrpc" not in arrival.raw, arrival


# The first body on a worker thread decides what the filter believes of Envoy. A caller who is slow on
# purpose must not be able to make it believe the wrong thing.
@pytest.mark.parametrize("setting", [each for each in SETTINGS if each.mode != "never"], ids=lambda setting: setting.name)
def test_callers_who_are_slow_on_purpose_teach_it_nothing_wrong(gateway: Gateway, setting: Setting) -> None:
    listener = f"{setting.name}, untouched"
    crowd = [H1(gateway.port(listener)) for _ in range(5)]
    try:
        head, _, _ = post_bytes(ALLOWED).partition(b"\r\n\r\n")
        for connection in crowd:
            connection.send(head + b"\r\n\r\n")
        time.sleep(SLOW)
        for connection in crowd:
            connection.send(ALLOWED)
            assert RAN in connection.receive().body
    finally:
        for connection in crowd:
            connection.close()
    whole(gateway, listener, ALLOWED)
    before = gateway.upstream.count()
    check_denied(setting, whole(gateway, listener, DENIED), gateway.arrivals(before))


@pytest.mark.parametrize("mode", ["auto", "always"])
def test_a_body_that_has_begun_is_not_let_go_because_another_came_first(gateway: Gateway, mode: str) -> None:
    """One is held, another proves that headers can be held, and the first one's body begins: the timer must forget it."""
    listener = f"flag on, {mode}, overtaken"
    before = gateway.upstream.count()
    head = b"POST /mcp HTTP/1.1\r\nhost: mcp.test\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n"
    with H1(gateway.port(listener)) as connection, H1(gateway.port(listener)) as other:
        connection.send(head)
        other.send(post_bytes(ALLOWED))
        assert RAN in other.receive().body
        connection.send(b"%x\r\n%b\r\n" % (len(DENIED), DENIED))
        time.sleep(VERY_SLOW)
        connection.send(b"0\r\n\r\n")
        response = connection.receive()
    [arrival] = gateway.arrivals(before)
    assert arrival.body == ALLOWED
    assert error_of(response)["reason"] == "tool_denied"


def test_always_where_the_flag_is_on_waits_for_a_very_slow_first_body(gateway: Gateway) -> None:
    """The slowest honest client may be the first: it must not be told that the filter is set up wrongly."""
    head, _, _ = post_bytes(ALLOWED).partition(b"\r\n\r\n")
    with H1(gateway.port("flag on, always, untouched")) as connection:
        connection.send(head + b"\r\n\r\n")
        time.sleep(VERY_SLOW)
        connection.send(ALLOWED)
        response = connection.receive()
    assert RAN in response.body, response


@pytest.mark.wasm_only("headers can always wait for the module")
@all_shapes
def test_always_where_the_flag_is_off_refuses_every_post(gateway: Gateway, send: Shape) -> None:
    before = gateway.upstream.count()
    response = send(gateway, BLOCKED.name, ALLOWED if send is whole else DENIED)
    assert not response.hung, "the request hangs"
    error = error_of(response)
    assert (response.status, error["code"]) == (503, -32603)
    assert error["id"] in ("null", "7", "8")
    assert not gateway.arrivals(before)


@pytest.mark.wasm_only("headers can always wait for the module")
def test_always_where_the_flag_is_off_names_the_flag_in_the_log(gateway: Gateway) -> None:
    whole(gateway, BLOCKED.name, ALLOWED)
    assert "allow_on_headers_stop_iteration" in gateway.envoy.log()


def test_always_where_the_flag_is_off_lets_streams_pass(gateway: Gateway) -> None:
    with H1(gateway.port(BLOCKED.name)) as connection:
        connection.send(b"GET /mcp HTTP/1.1\r\nhost: mcp.test\r\naccept: text/event-stream\r\n\r\n")
        assert connection.receive("GET").status == 200
