"""An external processor (ext_proc), as Envoy calls one: it lets everything pass, or puts another body in the place of a request's.

Its messages are made by hand. A request of Envoy's is one member, whose number tells what it is about; the answer has the number before.
"""

from __future__ import annotations

import struct

import h2.events

from upstream import H2Connection, Upstream

_HEADERS = [(b":status", b"200"), (b"content-type", b"application/grpc")]
# Members of ProcessingRequest.
_REQUEST_BODY = 4


class Processor(Upstream):
    """The server; `replacing` is what stands in the place of each request's body, if anything."""

    def __init__(self, replacing: bytes | None = None) -> None:
        super().__init__("h2")
        self._connection = _Processing
        self.replacing = replacing


class _Processing(H2Connection):
    """One connection of Envoy's, with a stream for each request."""

    def _on(self, event: h2.events.Event) -> None:
        assert isinstance(self._server, Processor)
        if isinstance(event, h2.events.RequestReceived):
            self._texts: dict[int, bytes] = getattr(self, "_texts", {})
            self._texts[event.stream_id] = b""
            self.machine.send_headers(event.stream_id, _HEADERS)
        elif isinstance(event, h2.events.DataReceived):
            self.machine.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            text = self._texts[event.stream_id] + event.data
            while len(text) >= 5 and len(text) >= (end := 5 + struct.unpack_from(">I", text, 1)[0]):
                self.machine.send_data(event.stream_id, _message(_answer(text[5:end], self._server.replacing)))
                text = text[end:]
            self._texts[event.stream_id] = text
        elif isinstance(event, h2.events.StreamEnded):
            self.machine.send_headers(event.stream_id, [(b"grpc-status", b"0")], end_stream=True)


def _message(data: bytes) -> bytes:
    return b"\0" + struct.pack(">I", len(data)) + data


def _member(number: int, data: bytes) -> bytes:
    size, length = b"", len(data)
    while length > 127:
        size, length = size + bytes([length & 127 | 128]), length >> 7
    return bytes([number << 3 | 2]) + size + bytes([length]) + data


def _answer(request: bytes, replacing: bytes | None) -> bytes:
    about = request[0] >> 3
    if about == _REQUEST_BODY and replacing is not None:
        # BodyResponse.response.body_mutation.body
        return _member(about - 1, _member(1, _member(3, _member(1, replacing))))
    return _member(about - 1, b"")
