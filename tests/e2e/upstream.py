"""A recording MCP-ish server: it keeps every byte that reaches it, and answers as a test says.

It runs in a thread of its own. A connection that delivers any request byte makes an `Arrival`, be it
only half a request line, so "nothing reached the upstream" covers headers too. By default a message
with an id is answered with a result that holds the marker `ran`; `answer(path, handler)` scripts a path.
Handlers are coroutines; they wait for a test through a `Gate`, never by sleeping.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import ssl
import threading
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import h2.config
import h2.connection
import h2.errors
import h2.events
import h2.exceptions

RAN = b'"ran"'
Headers = list[tuple[bytes, bytes]]
Fields = Sequence[tuple[bytes, bytes]]
Handler = Callable[["Arrival", "Reply"], Awaitable[None]]


@dataclass
class Arrival:
    """One request as it came in, complete or not."""

    connection: int
    raw: bytearray = field(default_factory=bytearray)
    method: bytes = b""
    target: bytes = b""
    headers: Headers = field(default_factory=list)
    body: bytes = b""
    trailers: Headers = field(default_factory=list)
    complete: bool = False
    # The peer went away before it had sent the whole request, or had the whole answer.
    aborted: bool = False
    # What the handler has answered so far, without framing.
    answer: bytes = b""

    @property
    def path(self) -> str:
        """The target without its query."""
        return self.target.decode("latin-1").split("?", 1)[0]

    def header(self, name: str) -> list[bytes]:
        """All values of a header, in order."""
        return [value for key, value in self.headers if key.lower() == name.encode()]

    def message(self) -> object:
        """The body as JSON, None where it is not."""
        try:
            return json.loads(self.body)
        except (ValueError, RecursionError):
            return None

    def __str__(self) -> str:
        head = bytes(self.raw[:400]).decode("latin-1")
        return f"connection {self.connection}, {len(self.raw)} bytes: {head!r}, body {self.body[:200]!r}"


class Gate:
    """Something that a handler waits for until a test opens it."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._event = asyncio.Event()

    def open(self) -> None:
        """Lets every waiter through, from any thread."""
        self._loop.call_soon_threadsafe(self._event.set)

    async def passed(self) -> None:
        """Waits until the gate is open; gives up after half a minute so that nothing hangs for ever."""
        await asyncio.wait_for(self._event.wait(), 30)


class Reply:
    """How a handler answers one request. What is sent to a peer that has gone is dropped."""

    protocol = ""

    def __init__(self, arrival: Arrival, transport: asyncio.Transport) -> None:
        self.gone = asyncio.Event()
        self.arrival = arrival
        self.transport = transport

    async def whole(self, status: int, body: bytes, content_type: str = "application/json", headers: Fields = ()) -> None:
        """Answers in one piece, with a content-length."""
        length = [(b"content-length", str(len(body)).encode())]
        self.start(status, [(b"content-type", content_type.encode()), *length, *headers], framed=False)
        if body:
            self.write(body, framed=False)
        self.end(framed=False)

    async def json(self, body: object, status: int = 200, headers: Fields = ()) -> None:
        """Answers with JSON."""
        await self.whole(status, json.dumps(body, separators=(",", ":")).encode(), headers=headers)

    def start(self, status: int, headers: Fields, *, framed: bool = True) -> None:
        """Sends the head of an answer; `framed` answers have no content-length."""
        raise NotImplementedError

    def write(self, data: bytes, *, framed: bool = True) -> None:
        """Sends a piece of the body."""
        raise NotImplementedError

    def end(self, trailers: Fields = (), *, framed: bool = True) -> None:
        """Ends the answer."""
        raise NotImplementedError

    def reset(self) -> None:
        """Cuts the connection (HTTP/1) or the stream (HTTP/2)."""
        raise NotImplementedError

    async def close(self) -> None:
        """Ends an answer that the end of the connection ends."""
        raise NotImplementedError

    async def taken(self) -> None:
        """Returns once the peer has read all that was sent, so that what comes next is a read of its own."""
        deadline = time.monotonic() + 10
        while not self.gone.is_set() and _unread(self.transport):
            assert time.monotonic() < deadline, "the peer does not read"
            await asyncio.sleep(0)

    async def stream(self) -> None:
        """Starts an event stream."""
        self.start(200, [(b"content-type", b"text/event-stream"), (b"cache-control", b"no-cache")])


class _H1Reply(Reply):
    protocol = "h1"

    def __init__(self, arrival: Arrival, transport: asyncio.Transport) -> None:
        super().__init__(arrival, transport)
        self._bodyless = arrival.method == b"HEAD"

    def _send(self, data: bytes) -> None:
        if not self.transport.is_closing():
            self.transport.write(data)

    def start(self, status: int, headers: Fields, *, framed: bool = True) -> None:
        lines = [b"HTTP/1.1 %d Answer" % status, *(name + b": " + value for name, value in headers)]
        if framed:
            lines.append(b"transfer-encoding: chunked")
        self._send(b"\r\n".join(lines) + b"\r\n\r\n")

    def write(self, data: bytes, *, framed: bool = True) -> None:
        if not self._bodyless:
            self.arrival.answer += data
            self._send(b"%x\r\n%b\r\n" % (len(data), data) if framed else data)

    def end(self, trailers: Fields = (), *, framed: bool = True) -> None:
        if framed and not self._bodyless:
            self._send(b"0\r\n" + b"".join(b"%b: %b\r\n" % pair for pair in trailers) + b"\r\n")

    def reset(self) -> None:
        self.transport.abort()

    async def close(self) -> None:
        self.transport.close()


class _H2Reply(Reply):
    protocol = "h2"

    def __init__(self, arrival: Arrival, connection: H2Connection, stream: int) -> None:
        super().__init__(arrival, connection.transport)
        self._connection = connection
        self._stream = stream

    def _send(self, send: Callable[[h2.connection.H2Connection], None]) -> None:
        with contextlib.suppress(h2.exceptions.ProtocolError):
            send(self._connection.machine)
        self._connection.flush()

    def start(self, status: int, headers: Fields, *, framed: bool = True) -> None:
        self._send(lambda machine: machine.send_headers(self._stream, [(b":status", str(status).encode()), *headers]))

    def write(self, data: bytes, *, framed: bool = True) -> None:
        self.arrival.answer += data
        # Envoy's window is wider than any answer of ours, its frames are not.
        for at in range(0, len(data), 16384):
            self._send(lambda machine, at=at: machine.send_data(self._stream, data[at : at + 16384]))

    def end(self, trailers: Fields = (), *, framed: bool = True) -> None:
        if trailers:
            self._send(lambda machine: machine.send_headers(self._stream, trailers, end_stream=True))
        else:
            self._send(lambda machine: machine.end_stream(self._stream))

    def reset(self) -> None:
        self._send(lambda machine: machine.reset_stream(self._stream, h2.errors.ErrorCodes.INTERNAL_ERROR))


_SOCKETS = Path("/proc/net/tcp")


def _unread(transport: asyncio.Transport) -> bool:
    """Whether bytes that were sent to a local peer still lie in a queue. Where the kernel does not tell: no."""
    if transport.get_write_buffer_size():
        return True
    own, peer = transport.get_extra_info("sockname"), transport.get_extra_info("peername")
    if peer is None or not _SOCKETS.exists():
        return False
    wanted = f"0100007F:{peer[1]:04X} 0100007F:{own[1]:04X} ".encode()
    row = next((line for line in _SOCKETS.read_bytes().splitlines() if wanted in line), None)
    # local, remote, state, then transmit and receive queue as tx:rx.
    return row is not None and not row.split()[4].endswith(b":00000000")


class _Connection(asyncio.Protocol):
    """What both protocols share: the recording."""

    def __init__(self, server: Upstream) -> None:
        self._server = server
        self._tasks: set[asyncio.Task[None]] = set()
        self._replies: set[Reply] = set()
        self.transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self.number = self._server._connected(transport)

    def connection_lost(self, exc: Exception | None) -> None:
        for reply in self._replies:
            reply.gone.set()
            self._server._aborted(reply.arrival)
        self._server._disconnected(self.transport)

    def _run(self, arrival: Arrival, reply: Reply, then: Callable[[], None] | None = None) -> None:
        async def handle() -> None:
            try:
                await self._server._handler(arrival)(arrival, reply)
            finally:
                self._replies.discard(reply)
                if then is not None:
                    then()

        self._replies.add(reply)
        task = asyncio.ensure_future(handle())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


class _H1Connection(_Connection):
    def __init__(self, server: Upstream) -> None:
        super().__init__(server)
        self._buffer = bytearray()
        self._arrival: Arrival | None = None
        self._answering = False

    def data_received(self, data: bytes) -> None:
        if self._arrival is None:
            self._arrival = self._server._arrived(self.number)
        self._arrival.raw += data
        self._buffer += data
        self._advance()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        if self._arrival is not None:
            self._server._aborted(self._arrival)

    def _advance(self) -> None:
        """Takes the next complete request off the buffer, one at a time."""
        if self._answering or not self._buffer:
            return
        if self._arrival is None:
            self._arrival = self._server._arrived(self.number)
            self._arrival.raw += self._buffer
        arrival = self._arrival
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            return
        if not arrival.method:
            _read_head(arrival, bytes(self._buffer[:end]))
        taken = _read_body(arrival, self._buffer, end + 4)
        if taken is None:
            return
        del self._buffer[:taken]
        self._arrival, self._answering = None, True
        self._server._completed(arrival)
        reply = _H1Reply(arrival, self.transport)
        self._run(arrival, reply, then=self._answered)

    def _answered(self) -> None:
        self._answering = False
        self._advance()


def _read_head(arrival: Arrival, head: bytes) -> None:
    first, *lines = head.split(b"\r\n")
    method, _, rest = first.partition(b" ")
    arrival.method, arrival.target = method, rest.rpartition(b" ")[0]
    for line in lines:
        name, _, value = line.partition(b":")
        arrival.headers.append((name, value.strip()))


def _read_body(arrival: Arrival, buffer: bytearray, start: int) -> int | None:
    """Reads the body that begins at `start`; returns where it ends, None while it is not all there."""
    if any(b"chunked" in value for value in arrival.header("transfer-encoding")):
        found = dechunk(buffer, start)
        if found is None:
            return None
        arrival.body, arrival.trailers, end = found
        return end
    lengths = arrival.header("content-length")
    end = start + (int(lengths[0]) if lengths else 0)
    if len(buffer) < end:
        return None
    arrival.body = bytes(buffer[start:end])
    return end


def dechunk(buffer: bytes | bytearray, start: int) -> tuple[bytes, Headers, int] | None:
    """Decodes chunked transfer coding: body, trailers and where they end; None while incomplete."""
    body = bytearray()
    while True:
        line_end = buffer.find(b"\r\n", start)
        if line_end < 0:
            return None
        size = int(bytes(buffer[start:line_end]).split(b";")[0], 16)
        start = line_end + 2
        if size == 0:
            break
        if len(buffer) < start + size + 2:
            return None
        body += buffer[start : start + size]
        start += size + 2
    trailers: Headers = []
    while True:
        line_end = buffer.find(b"\r\n", start)
        if line_end < 0:
            return None
        line = bytes(buffer[start:line_end])
        start = line_end + 2
        if not line:
            return bytes(body), trailers, start
        name, _, value = line.partition(b":")
        trailers.append((name, value.strip()))


class H2Connection(_Connection):
    def __init__(self, server: Upstream) -> None:
        super().__init__(server)
        config = h2.config.H2Configuration(client_side=False, header_encoding=None, validate_inbound_headers=False)
        self.machine = h2.connection.H2Connection(config)
        self._arrivals: dict[int, Arrival] = {}
        self._open: dict[int, Reply] = {}

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self.machine.initiate_connection()
        self.flush()

    def flush(self) -> None:
        """Sends what the protocol machine has ready."""
        data = self.machine.data_to_send()
        if data and not self.transport.is_closing():
            self.transport.write(data)

    def data_received(self, data: bytes) -> None:
        for event in self.machine.receive_data(data):
            self._on(event)
        self.flush()

    def _on(self, event: h2.events.Event) -> None:
        if isinstance(event, h2.events.RequestReceived):
            arrival = self._server._arrived(self.number)
            self._arrivals[event.stream_id] = arrival
            arrival.headers = [(bytes(name), bytes(value)) for name, value in event.headers]
            arrival.method = arrival.header(":method")[0]
            arrival.target = arrival.header(":path")[0]
            arrival.raw += b"\r\n".join(name + b": " + value for name, value in arrival.headers)
        elif isinstance(event, h2.events.DataReceived):
            self._arrivals[event.stream_id].body += event.data
            self.machine.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        elif isinstance(event, h2.events.TrailersReceived):
            self._arrivals[event.stream_id].trailers = [(bytes(name), bytes(value)) for name, value in event.headers]
        elif isinstance(event, h2.events.StreamEnded):
            arrival = self._arrivals[event.stream_id]
            self._server._completed(arrival)
            reply = _H2Reply(arrival, self, event.stream_id)
            self._open[event.stream_id] = reply
            self._run(arrival, reply)
        elif isinstance(event, h2.events.StreamReset):
            if event.stream_id in self._open:
                self._open[event.stream_id].gone.set()
            if event.stream_id in self._arrivals:
                self._server._aborted(self._arrivals[event.stream_id])


async def ran(arrival: Arrival, reply: Reply) -> None:
    """The default answer: what an obliging MCP server would do with this request."""
    if arrival.method == b"GET":
        await reply.stream()
        reply.write(b'data: {"jsonrpc":"2.0","method":"notifications/ran"}\n\n')
        reply.end()
        return
    if arrival.method not in (b"POST", b"HEAD"):
        await reply.whole(200, b"{}")
        return
    message = arrival.message()
    if isinstance(message, dict) and ("id" not in message or "method" not in message):
        await reply.whole(202, b"")
        return
    ids = [part.get("id") for part in message if isinstance(part, dict)] if isinstance(message, list) else []
    if ids:
        await reply.json([{"jsonrpc": "2.0", "id": each, "result": "ran"} for each in ids])
        return
    own = message.get("id") if isinstance(message, dict) else None
    await reply.json({"jsonrpc": "2.0", "id": own, "result": "ran"})


class Upstream:
    """The server. A context manager; `port` is where it listens (0: where nobody else does), over TLS if it is given a context."""

    def __init__(self, protocol: str = "h1", tls: ssl.SSLContext | None = None, port: int = 0) -> None:
        self._tls = tls
        self._connection = {"h1": _H1Connection, "h2": H2Connection}[protocol]
        self._scripts: dict[str, Handler] = {}
        self._arrivals: list[Arrival] = []
        self._transports: set[asyncio.Transport] = set()
        self._connections = 0
        self._changed = threading.Condition()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True, name=f"upstream-{protocol}")
        self._socket = socket.create_server(("127.0.0.1", port), backlog=1024)
        self.port: int = self._socket.getsockname()[1]

    def __enter__(self) -> Upstream:
        self._thread.start()
        serving = self._loop.create_server(lambda: self._connection(self), sock=self._socket, ssl=self._tls)
        asyncio.run_coroutine_threadsafe(serving, self._loop).result(10)
        return self

    def __exit__(self, *_exc: object) -> None:
        async def finish() -> None:
            for task in asyncio.all_tasks():
                if task is not asyncio.current_task():
                    task.cancel()
            for transport in list(self._transports):
                transport.abort()

        asyncio.run_coroutine_threadsafe(finish(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._socket.close()

    def answer(self, path: str, handler: Handler) -> None:
        """Scripts the answers of one path; the body of the request does not matter."""
        self._scripts[path] = handler

    def gate(self) -> Gate:
        """Something that handlers of this server can wait for."""
        return Gate(self._loop)

    def settle(self) -> None:
        """Returns once everything that lay in the server's sockets has been recorded."""

        async def turns() -> None:
            # Accepting, announcing, watching and reading a connection take one turn each.
            for _ in range(10):
                await asyncio.sleep(0)

        asyncio.run_coroutine_threadsafe(turns(), self._loop).result(10)

    def arrivals(self, since: int = 0) -> list[Arrival]:
        """Everything that has arrived, in order, from number `since` on."""
        with self._changed:
            return self._arrivals[since:]

    def count(self) -> int:
        """How many requests, whole or not, have arrived."""
        with self._changed:
            return len(self._arrivals)

    def wait(self, condition: Callable[[list[Arrival]], bool], seconds: float = 10) -> list[Arrival]:
        """Waits until the arrivals meet a condition, and returns them."""
        deadline = time.monotonic() + seconds
        with self._changed:
            while not condition(self._arrivals):
                left = deadline - time.monotonic()
                assert left > 0, "the upstream waited in vain; it has:\n" + "\n".join(map(str, self._arrivals[-5:]))
                self._changed.wait(left)
            return list(self._arrivals)

    def _handler(self, arrival: Arrival) -> Handler:
        return self._scripts.get(arrival.path, ran)

    def _connected(self, transport: asyncio.Transport) -> int:
        # asyncio does this by itself only for sockets that name their protocol.
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._transports.add(transport)
        self._connections += 1
        return self._connections

    def _disconnected(self, transport: asyncio.Transport) -> None:
        self._transports.discard(transport)

    def _arrived(self, connection: int) -> Arrival:
        arrival = Arrival(connection)
        with self._changed:
            self._arrivals.append(arrival)
            self._changed.notify_all()
        return arrival

    def _completed(self, arrival: Arrival) -> None:
        with self._changed:
            arrival.complete = True
            self._changed.notify_all()

    def _aborted(self, arrival: Arrival) -> None:
        with self._changed:
            arrival.aborted = True
            self._changed.notify_all()
