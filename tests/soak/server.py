"""The server behind the soaked Envoy: it counts the calls that reach it, and on some paths it resets, slows and lies."""

from __future__ import annotations

import asyncio
import gzip
import json
import random
import threading
from collections import Counter
from typing import Any

from upstream import Arrival, Handler, Reply, Upstream, ran

# The policies hide it, and no answer may show it.
SECRET = "secret_tool"
CROWD = b"Bearer crowd"
TOOLS = {"tools": [{"name": SECRET, "inputSchema": {"type": "object"}}, {"name": "fixed", "inputSchema": {"type": "object"}}]}


class Server(Upstream):
    """Keeps no request, only how many calls of each caller came. Made-up callers are counted together."""

    def __init__(self) -> None:
        super().__init__()
        self._lock = threading.Lock()
        self._calls: Counter[tuple[bytes, str]] = Counter()
        self.total = 0
        for name, liar in LIARS.items():
            self.answer(f"/lie/{name}", liar)
        self.answer("/never", never)

    def calls(self, credential: str, tool: str) -> int:
        """How many calls of a tool came with this `authorization`."""
        with self._lock:
            return self._calls[credential.encode(), tool]

    def crowd(self) -> int:
        """How many calls of made-up callers came."""
        with self._lock:
            return self._calls[CROWD, ""]

    def _arrived(self, connection: int) -> Arrival:
        return Arrival(connection)

    def _aborted(self, arrival: Arrival) -> None:
        arrival.aborted = True

    def _completed(self, arrival: Arrival) -> None:
        arrival.complete = True
        credential = b"".join(arrival.header("authorization"))
        message = arrival.message()
        with self._lock:
            self.total += 1
            if credential.startswith(CROWD):
                self._calls[CROWD, ""] += 1
            elif isinstance(message, dict) and message.get("method") == "tools/call":
                self._calls[credential, message["params"]["name"]] += 1

    def _handler(self, arrival: Arrival) -> Handler:
        return self._scripts.get(arrival.path, obliging)


async def obliging(arrival: Arrival, reply: Reply) -> None:
    """Lists its tools, fails where the arguments ask for it, and else runs."""
    message: Any = arrival.message()
    if isinstance(message, dict) and message.get("method") == "tools/list":
        await reply.json(_answer(arrival, result=TOOLS))
    elif isinstance(message, dict) and message.get("params", {}).get("arguments", {}).get("fail"):
        await reply.json(_answer(arrival, error={"code": -32000, "message": "failed"}))
    else:
        await ran(arrival, reply)


async def never(arrival: Arrival, reply: Reply) -> None:
    """No answer, until the caller leaves."""
    await reply.gone.wait()


# --- What goes wrong with servers -------------------------------------------------------------


def _answer(arrival: Arrival, **more: object) -> dict[str, object]:
    message: Any = arrival.message()
    return {"jsonrpc": "2.0", "id": message.get("id") if isinstance(message, dict) else None, **more}


def _list(arrival: Arrival) -> bytes:
    return json.dumps(_answer(arrival, result=TOOLS)).encode()


async def _reset(arrival: Arrival, reply: Reply) -> None:
    reply.reset()


async def _reset_within_a_list(arrival: Arrival, reply: Reply) -> None:
    reply.start(200, [(b"content-type", b"application/json")])
    reply.write(_list(arrival)[:40])
    reply.reset()


async def _reset_within_an_event(arrival: Arrival, reply: Reply) -> None:
    await reply.stream()
    reply.write(b"data: " + _list(arrival)[:60])
    await reply.taken()
    reply.reset()


async def _slow(arrival: Arrival, reply: Reply) -> None:
    await asyncio.sleep(random.uniform(0.1, 2))
    await obliging(arrival, reply)


async def _drip(arrival: Arrival, reply: Reply) -> None:
    await reply.stream()
    text = b": hello\n\nevent: message\ndata: " + _list(arrival) + b"\n\n"
    for at in range(0, len(text), 7):
        reply.write(text[at : at + 7])
        await asyncio.sleep(0.02)
    reply.end()


async def _another_id(arrival: Arrival, reply: Reply) -> None:
    await reply.json({"jsonrpc": "2.0", "id": 999, "result": TOOLS})


async def _a_list_for_everything(arrival: Arrival, reply: Reply) -> None:
    await reply.whole(200, _list(arrival))


async def _a_list_as_text(arrival: Arrival, reply: Reply) -> None:
    await reply.whole(200, _list(arrival), "text/plain")


async def _packed(arrival: Arrival, reply: Reply) -> None:
    await reply.whole(200, gzip.compress(_list(arrival)), headers=[(b"content-encoding", b"gzip")])


async def _packed_in_secret(arrival: Arrival, reply: Reply) -> None:
    await reply.whole(200, gzip.compress(_list(arrival)))


async def _no_json(arrival: Arrival, reply: Reply) -> None:
    await reply.whole(200, b"<html>" + _list(arrival)[:20])


async def _half_a_body(arrival: Arrival, reply: Reply) -> None:
    reply.start(200, [(b"content-type", b"application/json"), (b"content-length", b"5000")], framed=False)
    reply.write(_list(arrival), framed=False)
    await reply.close()


async def _more_than_said(arrival: Arrival, reply: Reply) -> None:
    reply.start(200, [(b"content-type", b"application/json"), (b"content-length", b"2")], framed=False)
    reply.write(b"{}" + _list(arrival), framed=False)
    await reply.close()


async def _no_http(arrival: Arrival, reply: Reply) -> None:
    reply.transport.write(b"\x16\x03\x01 not HTTP\r\n\r\n")
    await reply.close()


async def _interim(arrival: Arrival, reply: Reply) -> None:
    reply.start(103, [], framed=False)
    await obliging(arrival, reply)


async def _trailers(arrival: Arrival, reply: Reply) -> None:
    await reply.stream()
    reply.write(b"data: " + _list(arrival) + b"\n\n")
    reply.end([(b"x-end", b"1")])


async def _large(arrival: Arrival, reply: Reply) -> None:
    text = "x" * 3_000_000
    await reply.json(_answer(arrival, result={"content": [{"type": "text", "text": text}]}))


async def _deep(arrival: Arrival, reply: Reply) -> None:
    await reply.whole(200, b'{"jsonrpc":"2.0","id":7,"result":' + b"[" * 5000 + b"]" * 5000 + b"}")


async def _unavailable(arrival: Arrival, reply: Reply) -> None:
    await reply.whole(503, b"no", "text/plain")


LIARS: dict[str, Handler] = {
    "reset": _reset,
    "reset-within-a-list": _reset_within_a_list,
    "reset-within-an-event": _reset_within_an_event,
    "slow": _slow,
    "drip": _drip,
    "another-id": _another_id,
    "a-list-for-everything": _a_list_for_everything,
    "a-list-as-text": _a_list_as_text,
    "packed": _packed,
    "packed-in-secret": _packed_in_secret,
    "no-json": _no_json,
    "half-a-body": _half_a_body,
    "more-than-said": _more_than_said,
    "no-http": _no_http,
    "interim": _interim,
    "trailers": _trailers,
    "large": _large,
    "deep": _deep,
    "unavailable": _unavailable,
}
