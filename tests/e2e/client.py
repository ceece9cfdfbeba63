"""Clients that send exactly the bytes they are told to: HTTP/1.1 over a raw socket, HTTP/2 through `h2`.

They are strict about what comes back: an answer that is not a complete, well-framed HTTP response is
reported as incomplete, with what was wrong. `paced` segments are sent only when Envoy has read the one
before, which the kernel's socket table tells, so each is a read of its own without any sleeping.
"""

from __future__ import annotations

import contextlib
import select
import socket
import ssl
import struct
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import h2.config
import h2.connection
import h2.events
import h2.exceptions

from upstream import Headers, dechunk

TIMEOUT = 10.0
_SOCKETS = Path("/proc/net/tcp")


@dataclass
class Response:
    """What came back. `fault` says why it is not a complete response, and is empty when it is one."""

    status: int = 0
    headers: Headers = field(default_factory=list)
    body: bytes = b""
    trailers: Headers = field(default_factory=list)
    interim: list[int] = field(default_factory=list)
    fault: str = ""
    hung: bool = False

    def header(self, name: str) -> str | None:
        """The only value of a header, None where there is none."""
        values = [value for key, value in self.headers if key.lower() == name.encode()]
        assert len(values) <= 1, f"{name} came {len(values)} times: {values}"
        return values[0].decode("latin-1") if values else None

    def __str__(self) -> str:
        shown = self.body if len(self.body) < 600 else self.body[:600] + b"..."
        return f"{self.status} {self.fault or 'complete'} {self.header('content-type')} {shown!r}"


class H1:
    """One HTTP/1.1 connection."""

    def __init__(self, port: int, timeout: float = TIMEOUT, source: str = "127.0.0.1") -> None:
        self.timeout = timeout
        self.buffer = bytearray()
        self.closed = False
        self._peer = port
        self._socket = socket.create_connection(("127.0.0.1", port), timeout, (source, 0))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def __enter__(self) -> H1:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()

    def close(self) -> None:
        """Ends the connection with a reset, so that it does not linger in the kernel's tables."""
        _reset(self._socket)

    def finish(self) -> None:
        """Says that nothing more will be sent; answers still come in."""
        self._socket.shutdown(socket.SHUT_WR)

    def send(self, *segments: bytes, paced: bool = False) -> None:
        """Sends segments; those that the peer no longer wants are dropped, its answer counts."""
        for number, segment in enumerate(segments):
            try:
                if self.closed:
                    return
                if paced and number:
                    _wait_until_read(self._socket, self._peer, self.timeout)
                self._send(segment)
            except (BrokenPipeError, ConnectionResetError):
                self.closed = True
                return

    def _send(self, data: bytes) -> None:
        """Sends all of it, reading on the way so that neither side waits for the other for ever."""
        view = memoryview(data)
        deadline = time.monotonic() + self.timeout
        while view:
            readable, writable, _ = select.select([self._socket], [self._socket], [], max(0, deadline - time.monotonic()))
            if readable and self._read() and not writable:
                continue
            if self.closed:
                return
            if writable:
                view = view[self._socket.send(view[:65536]) :]
            elif time.monotonic() > deadline:
                raise TimeoutError("the peer does not read")

    def _read(self) -> bool:
        try:
            data = self._socket.recv(65536)
        except ConnectionResetError:
            data = b""
        self.buffer += data
        self.closed = self.closed or not data
        return bool(data)

    def is_answered(self) -> bool:
        """Whether anything has come, without waiting for it."""
        return bool(self.buffer) or self.closed or bool(select.select([self._socket], [], [], 0)[0])

    def more(self) -> bool:
        """Waits for more bytes in the buffer; False when the peer has closed."""
        if self.closed:
            return False
        self._socket.settimeout(self.timeout)
        return self._read()

    def receive(self, method: str = "POST") -> Response:
        """Reads the answer to a request with this method."""
        response = Response()
        try:
            self._receive(method, response)
        except TimeoutError:
            response.fault, response.hung = f"no answer within {self.timeout:.0f} s, only {bytes(self.buffer)!r}", True
        except (ValueError, EOFError) as error:
            response.fault = str(error) or repr(error)
        return response

    def head(self, response: Response) -> None:
        """Reads a status line and headers into `response`, and what came before them (1xx)."""
        while True:
            while (end := self.buffer.find(b"\r\n\r\n")) < 0:
                if not self.more():
                    raise EOFError(f"closed by the peer after {bytes(self.buffer)!r}")
            first, *lines = bytes(self.buffer[:end]).split(b"\r\n")
            del self.buffer[: end + 4]
            version, _, rest = first.partition(b" ")
            if version not in (b"HTTP/1.1", b"HTTP/1.0") or not rest[:3].isdigit():
                raise ValueError(f"not a status line: {first!r}")
            response.status = int(rest[:3])
            response.headers = [_field(line) for line in lines]
            if response.status >= 200 or response.status == 101:
                return
            response.interim.append(response.status)

    def _receive(self, method: str, response: Response) -> None:
        self.head(response)
        length = response.header("content-length")
        coding = response.header("transfer-encoding")
        if length is not None and coding is not None:
            raise ValueError("both content-length and transfer-encoding")
        if method == "HEAD" or response.status in (101, 204, 304):
            return
        if coding is not None:
            if coding != "chunked":
                raise ValueError(f"transfer-encoding {coding}")
            while (found := dechunk(self.buffer, 0)) is None:
                if not self.more():
                    raise EOFError(f"closed within a chunked body: {bytes(self.buffer)!r}")
            response.body, response.trailers, end = found
            del self.buffer[:end]
        elif length is not None:
            while len(self.buffer) < int(length):
                if not self.more():
                    raise EOFError(f"closed after {len(self.buffer)} of {length} bytes")
            response.body = bytes(self.buffer[: int(length)])
            del self.buffer[: int(length)]
        else:
            while self.more():
                pass
            response.body = bytes(self.buffer)
            self.buffer.clear()

    def chunk(self) -> bytes | None:
        """Reads one chunk of a chunked body as soon as it is there, None at its end."""
        while (end := self.buffer.find(b"\r\n")) < 0:
            if not self.more():
                raise EOFError("closed within a chunked body")
        size = int(self.buffer[:end], 16)
        while len(self.buffer) < end + 4 + size:
            if not self.more():
                raise EOFError("closed within a chunk")
        data = bytes(self.buffer[end + 2 : end + 2 + size])
        del self.buffer[: end + 4 + size]
        return data or None


class Tls(H1):
    """One HTTP/1.1 connection over TLS."""

    def __init__(self, port: int, context: ssl.SSLContext, timeout: float = TIMEOUT) -> None:
        super().__init__(port, timeout)
        self._socket = context.wrap_socket(self._socket)

    def _send(self, data: bytes) -> None:
        self._socket.sendall(data)


def _reset(connection: socket.socket) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def _field(line: bytes) -> tuple[bytes, bytes]:
    name, colon, value = line.partition(b":")
    if not colon or not name or name != name.strip():
        raise ValueError(f"not a header: {line!r}")
    return name, value.strip()


def _wait_until_read(connection: socket.socket, peer: int, timeout: float) -> None:
    """Waits until the local peer's receive queue is empty. Where the kernel does not tell, does nothing."""
    if not _SOCKETS.exists():
        return
    own = connection.getsockname()[1]
    wanted = f"0100007F:{peer:04X} 0100007F:{own:04X} ".encode()
    deadline = time.monotonic() + timeout
    while True:
        row = next((line for line in _SOCKETS.read_bytes().splitlines() if wanted in line), None)
        # local, remote, state, then transmit and receive queue as tx:rx.
        if row is None or row.split()[4].endswith(b":00000000"):
            return
        if time.monotonic() > deadline:
            raise TimeoutError("the peer does not read")


class H2:
    """One HTTP/2 connection with prior knowledge, one request at a time."""

    def __init__(self, port: int, timeout: float = TIMEOUT) -> None:
        config = h2.config.H2Configuration(
            header_encoding=None,
            validate_outbound_headers=False,
            normalize_outbound_headers=False,
            validate_inbound_headers=False,
        )
        self.machine = h2.connection.H2Connection(config)
        self._socket = socket.create_connection(("127.0.0.1", port), timeout)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._responses: dict[int, Response] = {}
        self._ended: set[int] = set()
        self.timeout = timeout
        self.machine.initiate_connection()
        self.flush()

    def __enter__(self) -> H2:
        return self

    def __exit__(self, *_exc: object) -> None:
        _reset(self._socket)

    def flush(self) -> None:
        """Sends what the protocol machine has ready."""
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self._socket.sendall(self.machine.data_to_send())

    def request(self, headers: Headers, frames: Sequence[bytes] | None = (), trailers: Headers | None = None) -> int:
        """Sends one request, each of `frames` as a DATA frame of its own; None leaves it open. Returns its stream."""
        stream = self.machine.get_next_available_stream_id()
        self._responses[stream] = Response()
        bare = frames is not None and not frames and trailers is None
        self.machine.send_headers(stream, headers, end_stream=bare)
        self.flush()
        for number, frame in enumerate(frames or ()):
            last = number == len(frames or ()) - 1 and trailers is None
            self.data(stream, frame, end=last)
        if trailers is not None:
            self.trailers(stream, trailers)
        return stream

    def trailers(self, stream: int, trailers: Headers) -> None:
        """Ends a request with trailers."""
        if not self._is_over(stream):
            with contextlib.suppress(h2.exceptions.ProtocolError):
                self.machine.send_headers(stream, trailers, end_stream=True)
        self.flush()

    def data(self, stream: int, data: bytes, *, end: bool) -> None:
        """Sends one DATA frame."""
        # A frame longer than the peer allows goes out in pieces; an empty one is still a frame.
        pieces = [data[at : at + 16384] for at in range(0, len(data), 16384)] or [b""]
        for number, piece in enumerate(pieces):
            while not self._is_over(stream) and self.machine.local_flow_control_window(stream) < len(piece):
                if not self._read():
                    return
            if self._is_over(stream):
                return
            try:
                self.machine.send_data(stream, piece, end_stream=end and number == len(pieces) - 1)
            except h2.exceptions.ProtocolError:
                return
            self.flush()

    def _is_over(self, stream: int) -> bool:
        return stream in self._ended

    def receive(self, stream: int) -> Response:
        """Reads the answer on this stream."""
        return self.until(stream, lambda _: False)

    def until(self, stream: int, enough: Callable[[Response], bool]) -> Response:
        """Reads the answer on this stream until there is enough of it, or all."""
        response = self._responses[stream]
        try:
            while not self._is_over(stream) and not enough(response):
                if not self._read():
                    response.fault = response.fault or "closed by the peer"
                    break
        except TimeoutError:
            response.fault, response.hung = f"no answer within {self.timeout:.0f} s", True
        if not response.fault and not response.status:
            response.fault = "no status"
        return response

    def _read(self) -> bool:
        try:
            data = self._socket.recv(65536)
        except ConnectionResetError:
            data = b""
        if not data:
            return False
        for event in self.machine.receive_data(data):
            self._on(event)
        self.flush()
        return True

    def _on(self, event: h2.events.Event) -> None:
        stream = getattr(event, "stream_id", None)
        if isinstance(event, h2.events.ConnectionTerminated):
            for each, response in self._responses.items():
                if each not in self._ended:
                    response.fault = f"connection ended by the peer: {event.error_code}"
                    self._ended.add(each)
        if stream not in self._responses:
            return
        response = self._responses[stream]
        if isinstance(event, (h2.events.ResponseReceived, h2.events.InformationalResponseReceived)):
            headers = [(bytes(name), bytes(value)) for name, value in event.headers]
            status = int(dict(headers)[b":status"])
            if isinstance(event, h2.events.InformationalResponseReceived):
                response.interim.append(status)
            else:
                response.status = status
                response.headers = [pair for pair in headers if not pair[0].startswith(b":")]
        elif isinstance(event, h2.events.DataReceived):
            response.body += event.data
            self.machine.acknowledge_received_data(event.flow_controlled_length, stream)
        elif isinstance(event, h2.events.TrailersReceived):
            response.trailers = [(bytes(name), bytes(value)) for name, value in event.headers]
        elif isinstance(event, h2.events.StreamReset):
            # A reset after a whole answer only says that the rest of the request is not wanted.
            if stream not in self._ended:
                response.fault = f"stream reset by the peer: {event.error_code}"
            self._ended.add(stream)
        elif isinstance(event, h2.events.StreamEnded):
            self._ended.add(stream)


def post(
    port: int, body: bytes | str, headers: Iterable[tuple[str, str]] = (), *, path: str = "/mcp", timeout: float = TIMEOUT
) -> Response:
    """One honest POST of JSON on a connection of its own."""
    with H1(port, timeout) as connection:
        connection.send(post_bytes(body, headers, path=path))
        return connection.receive()


def post_bytes(body: bytes | str, headers: Iterable[tuple[str, str]] = (), *, path: str = "/mcp") -> bytes:
    """The bytes of an honest POST of JSON. A given header replaces the usual one of that name."""
    data = body.encode() if isinstance(body, str) else body
    fields = {
        "host": "mcp.test",
        "content-type": "application/json",
        "accept": "application/json, text/event-stream",
        "content-length": str(len(data)),
        **{name.lower(): value for name, value in headers},
    }
    head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    return f"POST {path} HTTP/1.1\r\n{head}\r\n".encode() + data
