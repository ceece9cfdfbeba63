"""Many callers at once, by HTTP/2: a hundred requests on their way on each connection, and only the answers' marks counted.

HTTP/2 because its frames can be written ahead and read in bulk: a million calls are a matter of a minute.
The few frames that are needed are made by hand, for the `h2` library would be the slowest part of the test.
"""

from __future__ import annotations

import select
import socket
import struct
import time
from collections.abc import Iterator, Sequence

# As many as the shipped configuration allows on one connection, and a little less.
_ON_THEIR_WAY = 90
_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_DATA, _HEADERS, _SETTINGS, _PING, _GOAWAY, _WINDOW_UPDATE = 0, 1, 4, 6, 7, 8
_END_STREAM, _END_HEADERS = 1, 4
_WHOLE_WINDOW = struct.pack(">I", 2**31 - 1 - 65535)


def storm(
    port: int,
    streams: Sequence[Iterator[bytes]],
    marks: Sequence[bytes],
    timeout: float = 60,
    source: str = "127.0.0.1",
    on_their_way: int = _ON_THEIR_WAY,
) -> list[int]:
    """Sends the requests of each stream (made by `request`) on a connection of its own, all at once, until all are answered.

    Returns how many answers there were, and how many of them contained each mark.
    """
    poll = select.epoll()
    connections: dict[int, _Connection] = {}
    counts = [0] * (1 + len(marks))
    deadline = time.monotonic() + timeout
    try:
        for stream in streams:
            connection = _Connection(port, stream, source, on_their_way)
            connections[connection.socket.fileno()] = connection
            poll.register(connection.socket.fileno(), select.EPOLLIN)
            connection.fill()
        while connections:
            assert time.monotonic() < deadline, f"only {counts[0]} answers within {timeout:.0f} s"
            for number, _ in poll.poll(1):
                connection = connections[number]
                for body in connection.answers():
                    counts[0] += 1
                    for at, mark in enumerate(marks, 1):
                        counts[at] += mark in body
                if not connection.fill():
                    poll.unregister(number)
                    connections.pop(number).socket.close()
    finally:
        for connection in connections.values():
            connection.socket.close()
        poll.close()
    return counts


def request(body: bytes, *fields: tuple[bytes, bytes]) -> bytes:
    """A POST of JSON without its stream's number: the parts of its two frames."""
    # Indexed fields of HPACK's static table, then literals that are kept out of the dynamic one.
    block = b"\x83\x86\x84" + _literal(1, b"mcp.test") + _literal(31, b"application/json")
    for name, value in fields:
        block += _literal(_NAMES[name], value) if name in _NAMES else b"\x00" + _text(name) + _text(value)
    return struct.pack(">HH", len(block), len(body)) + block + body


_NAMES = {b"authorization": 23}


def _literal(index: int, value: bytes) -> bytes:
    return (bytes([index]) if index < 15 else bytes([15, index - 15])) + _text(value)


def _text(value: bytes) -> bytes:
    assert len(value) < 127
    return bytes([len(value)]) + value


def _frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


class _Connection:
    def __init__(self, port: int, requests: Iterator[bytes], source: str, on_their_way: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), 10, (source, 0))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.sendall(_PREFACE + _frame(_SETTINGS, 0, 0, b"") + _frame(_WINDOW_UPDATE, 0, 0, _WHOLE_WINDOW))
        self._requests = requests
        self._on_their_way = on_their_way
        self._next = 1
        self._waiting = 0
        self._buffer = b""
        self._bodies: dict[int, bytes] = {}

    def fill(self) -> bool:
        """Sends as many requests as may be on their way; False when all are sent and answered."""
        frames: list[bytes] = []
        while self._waiting < self._on_their_way and (parts := next(self._requests, None)) is not None:
            head, _ = struct.unpack_from(">HH", parts)
            frames.append(_frame(_HEADERS, _END_HEADERS, self._next, parts[4 : 4 + head]))
            frames.append(_frame(_DATA, _END_STREAM, self._next, parts[4 + head :]))
            self._next += 2
            self._waiting += 1
        if frames:
            # What is on its way fits into the socket's buffers, so this does not wait for the peer to read.
            self.socket.sendall(b"".join(frames))
        return self._waiting > 0

    def answers(self) -> list[bytes]:
        """Reads what is there; the bodies of the answers that it completes."""
        data = self.socket.recv(1 << 18)
        assert data, "Envoy closed a connection"
        self._buffer += data
        whole: list[bytes] = []
        at, buffer = 0, self._buffer
        while len(buffer) - at >= 9:
            length = int.from_bytes(buffer[at : at + 3], "big")
            if len(buffer) - at < 9 + length:
                break
            kind, flags = buffer[at + 3], buffer[at + 4]
            stream = int.from_bytes(buffer[at + 5 : at + 9], "big")
            payload = buffer[at + 9 : at + 9 + length]
            at += 9 + length
            if kind == _DATA:
                self._bodies[stream] = self._bodies.get(stream, b"") + payload
                if flags & _END_STREAM:
                    whole.append(self._bodies.pop(stream))
            elif kind in (_SETTINGS, _PING) and not flags & 1:
                self.socket.sendall(_frame(kind, 1, 0, payload if kind == _PING else b""))
            else:
                assert kind in (_HEADERS, _SETTINGS, _WINDOW_UPDATE), f"frame {kind} of Envoy's: {payload!r}"
        self._buffer = buffer[at:]
        self._waiting -= len(whole)
        return whole
