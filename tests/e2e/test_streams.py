"""Streams stay streams under a policy that filters lists: what the server says arrives before it says the next thing.

The server waits for the client's word before each step, so a filter that held anything back would wait for ever.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import product
from typing import Any

import pytest
import rig

from client import H1, H2, Response, post_bytes
from fleet import Listener, held, silent, without_hold
from gateway import Gateway, call, serving
from test_responses import to_h2
from upstream import Arrival, Gate, Reply, Upstream

CLOSED: dict[str, Any] = {"version": "1", "default": "deny", "tools": {"search": {}}}
COUNTED = {"search": {"limits": [{"counter": "c", "window": "day", "max": 1000, "count": "successes"}]}}
OPEN: dict[str, Any] = {"version": "1", "default": "allow", "tools": COUNTED}
POLICIES = {"filtering": CLOSED, "filtering and counting": {**CLOSED, "tools": COUNTED}, "counting": OPEN}
PROGRESS = b'id: %d\r\ndata: {"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":7,"progress":1}}\r\n\r\n'
LIST = b'data: {"jsonrpc":"2.0","id":7,"result":{"tools":[{"name":"search"}]}}\n\n'
# Each step is a write of the server's, and what the client must have of it before the server goes on.
EVENTS = [
    (b": keep-alive\n\n", b": keep-alive\n\n"),
    (PROGRESS % 1, PROGRESS % 1),
    (b": half", b""),
    (b" a comment\r", b": half a comment\r"),
    (b"\nretry: 3\n", b"\nretry: 3\n"),
    (PROGRESS % 2 + PROGRESS % 3, PROGRESS % 2 + PROGRESS % 3),
    (b"event: message\ndata: {", b"event: message\n"),
    (b"}\n\n", b"data: {}\n\n"),
    (LIST, LIST),
    # What is long and no list so far does not wait for its end.
    (b'data: {"x":"' + b"A" * 70_000, b'data: {"x":"' + b"A" * 70_000),
    (b"A", b"A"),
    (b'"}\n\n', b'"}\n\n'),
    (b": after the answer\n\n", b": after the answer\n\n"),
]
# What nobody looks at passes byte by byte, whatever it is.
UNTOUCHED = [(bytes([byte]), bytes([byte])) for byte in b'data: {"a\r\n'] + [(b"\0\xff", b"\0\xff")]
LISTING = '{"jsonrpc":"2.0","id":7,"method":"tools/list"}'


@dataclass(frozen=True)
class Stream:
    """A request, and the steps of its answer."""

    request: bytes
    steps: list[tuple[bytes, bytes]]

    def path(self) -> str:
        """Where the request goes."""
        return self.request.split(b" ")[1].decode()


STREAMS = {
    "a call": Stream(post_bytes(call("search"), path="/call"), EVENTS),
    "a list with progress": Stream(post_bytes(LISTING, path="/list"), EVENTS),
    "a GET": Stream(b"GET /get HTTP/1.1\r\nhost: mcp.test\r\naccept: text/event-stream\r\n\r\n", EVENTS),
    "a resumed GET": Stream(b"GET /resumed HTTP/1.1\r\nhost: mcp.test\r\naccept: text/event-stream\r\nlast-event-id: 3\r\n\r\n", EVENTS),
}


class Script:
    """Sends the steps of the stream, each when the client says so."""

    def __init__(self) -> None:
        self.gates: list[Gate] = []
        self.steps: list[bytes] = []

    def arm(self, server: Upstream, steps: list[bytes]) -> None:
        """Closes the gates anew."""
        self.steps, self.gates = steps, [server.gate() for _ in steps]

    async def __call__(self, arrival: Arrival, reply: Reply) -> None:
        """A handler of the upstream."""
        await reply.stream()
        for gate, step in zip(self.gates, self.steps):
            await gate.passed()
            reply.write(step)
        reply.end()


SCRIPT = Script()


@pytest.fixture(scope="module")
def gateway(upstream: Upstream) -> Iterator[Gateway]:
    with Upstream("h2") as over_h2:
        listeners = {}
        for name, policy in POLICIES.items():
            listeners[f"{name}, h1"] = Listener(held(policy))
            listeners[f"{name}, h2"] = Listener(held(policy), to_h2(over_h2.port))
        listeners["not held, h1"] = Listener(held(CLOSED, "never"), without_hold)
        for server in (upstream, over_h2):
            for stream in [*STREAMS.values(), *UNREAD.values()]:
                server.answer(stream.path(), SCRIPT)
        gate_of["h1"], gate_of["h2"] = upstream, over_h2
        with serving(upstream, listeners) as gateway:
            yield gateway


gate_of: dict[str, Upstream] = {}


# Under a policy that filters no list nobody looks at an answer.
UNREAD = {
    "a call, unread": Stream(post_bytes(call("search"), path="/unread"), UNTOUCHED),
    "a call with progress, unread": Stream(post_bytes(call("search"), path="/progress"), [(step, step) for step, _ in EVENTS]),
}
FILTERING = ["filtering, h1", "filtering, h2", "filtering and counting, h1", "not held, h1"]
STEPS = [*product(FILTERING, STREAMS), *product(["counting, h1", "counting, h2"], UNREAD)]


@pytest.mark.parametrize(("listener", "name"), STEPS)
def test_each_step_arrives_before_the_next_is_made(gateway: Gateway, listener: str, name: str) -> None:
    stream = {**STREAMS, **UNREAD}[name]
    server = gate_of[listener[-2:]]
    SCRIPT.arm(server, [step for step, _ in stream.steps])
    with H1(gateway.port(listener)) as connection:
        connection.send(stream.request)
        head = Response()
        connection.head(head)
        assert head.status == 200 and head.header("content-type") == "text/event-stream"
        for gate, (_, expected) in zip(SCRIPT.gates, stream.steps):
            gate.open()
            got = b""
            while len(got) < len(expected):
                got += connection.chunk() or pytest.fail(f"the stream ended before {expected!r}")
            assert got == expected
        assert connection.chunk() is None


@pytest.mark.parametrize("name", STREAMS)
def test_streams_to_an_http2_client(gateway: Gateway, name: str) -> None:
    """The same over HTTP/2, where each event that arrives lets the server go on."""
    stream = STREAMS[name]
    steps = [(step, expected) for step, expected in stream.steps if expected]
    if len(steps) < len(stream.steps):
        steps = [(PROGRESS % number, PROGRESS % number) for number in range(3)]
    SCRIPT.arm(gate_of["h2"], [step for step, _ in steps])
    head, _, body = stream.request.partition(b"\r\n\r\n")
    lines = [line.split(b": ", 1) for line in head.split(b"\r\n")[1:]]
    fields = [(key, value) for key, value in lines if key not in (b"host", b"content-length")]
    method = head.split(b" ")[0]
    pseudo = [(b":method", method), (b":scheme", b"http"), (b":path", stream.path().encode()), (b":authority", b"mcp.test")]
    with H2(gateway.port("filtering, h2")) as connection:
        number = connection.request(pseudo + fields, [body] if body else [])
        expected = b""
        for gate, (_, part) in zip(SCRIPT.gates, steps):
            gate.open()
            expected += part
            response = connection.until(number, lambda response: len(response.body) >= len(expected))
            assert response.body == expected, response
        assert connection.receive(number).body == expected


def test_nothing_was_reset(gateway: Gateway) -> None:
    """Envoy's own account of all these streams."""
    trouble = r"rq_5xx|rq_.x_reset$|rq_reset_after_downstream_response_started|rq_timeout|wasm.*fail"
    counted = {name: count for name, count in gateway.envoy.stats(trouble).items() if count}
    assert not counted


# --- An answer before the request -------------------------------------------------------------


class Hasty(threading.Thread):
    """A server that answers when it has the headers, and tells its tools when it has the body."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.port = self.socket.getsockname()[1]

    def run(self) -> None:
        """Serves until its socket is closed."""
        while True:
            try:
                connection, _ = self.socket.accept()
            except OSError:
                return
            with connection:
                connection.settimeout(10)
                self._serve(connection)

    def _serve(self, connection: socket.socket) -> None:
        data = b""
        try:
            while b"\r\n\r\n" not in data:
                data += connection.recv(65536)
            connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")
            while not data.endswith(b"}"):
                more = connection.recv(65536)
                if not more:
                    return
                data += more
            event = b'data: {"jsonrpc":"2.0","id":7,"result":{"tools":[{"name":"secret_tool"}]}}\n\n'
            connection.sendall(b"%x\r\n%b\r\n0\r\n\r\n" % (len(event), event))
        except (OSError, TimeoutError):
            return


def to(port: int) -> Callable[[rig.Config], None]:
    """The server of all listeners is there."""

    def change(config: rig.Config) -> None:
        endpoint = rig.cluster(config)["load_assignment"]["endpoints"][0]["lb_endpoints"][0]["endpoint"]
        endpoint["address"]["socket_address"]["port_value"] = port

    return change


@pytest.mark.parametrize(("listener", "told"), [("never", False), ("no filter", True)])
def test_an_answer_before_the_request_is_not_read_and_so_not_given(upstream: Upstream, listener: str, told: bool) -> None:
    hasty = Hasty()
    hasty.start()
    listeners = {"never": Listener(held(CLOSED, "never"), without_hold, silent), "no filter": Listener(None, silent)}
    with serving(upstream, listeners, change=to(hasty.port)) as gateway, H1(gateway.port(listener), 5) as connection:
        head, _, body = post_bytes(LISTING).partition(b"\r\n\r\n")
        connection.send(head + b"\r\n\r\n")
        response = Response()
        connection.head(response)
        assert response.status == 200
        connection.send(body)
        while connection.more():
            if bytes(connection.buffer).endswith(b"0\r\n\r\n"):
                break
        assert (b"secret_tool" in connection.buffer) == told, bytes(connection.buffer)
    hasty.socket.close()
