"""How long the filter keeps a stream waiting: the first byte of a stream of events, and each event after it.

    .tools/venv/bin/python tests/bench/streams.py              a table, in a minute or two
                                          ... --rounds 2000   a finer one

One Envoy with a listener that has the filter, under a policy that filters lists, and one that has not, before one
server. Requests take turns, so a machine whose speed drifts drifts for both. The server's clock is the client's: the
delay of an event is the time from its writing to its reading, that of a first byte the time from the request.
What costs processor time is measured by bench.py; that nothing is held back is proven by tests/e2e/test_streams.py.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path[:0] = [str(ROOT / "envoy"), str(ROOT / "tests" / "e2e")]

from client import H1, Response, post_bytes  # noqa: E402
from fleet import Listener, held, silent  # noqa: E402
from gateway import call, serving  # noqa: E402
from upstream import Arrival, Reply, Upstream  # noqa: E402

POLICY = {"version": "1", "default": "deny", "tools": {"search": {}}}
EVENT = b'id: 1\ndata: {"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":7,"progress":1}}\n\n'
EVENTS = 5
REQUESTS = {
    "tools/call": post_bytes(call("search"), path="/stream"),
    "tools/list": post_bytes('{"jsonrpc":"2.0","id":7,"method":"tools/list"}', path="/stream"),
    "GET": b"GET /stream HTTP/1.1\r\nhost: mcp.test\r\naccept: text/event-stream\r\n\r\n",
}
VARIANTS = ["no filter", "filter"]

_written: list[float] = []


async def stream(_: Arrival, reply: Reply) -> None:
    """Events one by one, each when the one before has left the server."""
    await reply.stream()
    for _ in range(EVENTS):
        _written.append(time.perf_counter())
        reply.write(EVENT)
        await reply.taken()
    reply.end()


def measured(connection: H1, request: bytes) -> tuple[float, list[float]]:
    """Microseconds to the first byte of the head, and from each event's writing to its reading."""
    _written.clear()
    start = time.perf_counter()
    connection.send(request)
    connection.more()
    first = time.perf_counter()
    connection.head(Response())
    delays, got = [], b""
    while (chunk := connection.chunk()) is not None:
        got += chunk
        while len(delays) < len(got) // len(EVENT):
            delays.append((time.perf_counter() - _written[len(delays)]) * 1e6)
    assert got == EVENT * EVENTS, got
    return (first - start) * 1e6, delays


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=500, help="requests of each kind through each listener")
    rounds = parser.parse_args().rounds
    with Upstream() as upstream:
        upstream.answer("/stream", stream)
        listeners = {"no filter": Listener(None, silent), "filter": Listener(held(POLICY), silent)}
        with serving(upstream, listeners) as gateway:
            connections = {name: H1(gateway.port(name)) for name in VARIANTS}
            firsts: dict[tuple[str, str], list[float]] = {}
            events: dict[tuple[str, str], list[float]] = {}
            for number in range(rounds + 20):
                for kind, request in REQUESTS.items():
                    for name in VARIANTS if number % 2 else VARIANTS[::-1]:
                        first, delays = measured(connections[name], request)
                        if number >= 20:
                            firsts.setdefault((kind, name), []).append(first)
                            events.setdefault((kind, name), []).extend(delays)
            for connection in connections.values():
                connection.close()
    print(f"{rounds} requests of each kind, {EVENTS} events each; microseconds, median (95th percentile)\n")
    print("| request | what | no filter | filter | ratio of the medians |\n| --- | --- | ---: | ---: | ---: |")
    for kind in REQUESTS:
        for what, times in (("first byte", firsts), ("an event", events)):
            without, with_filter = (times[kind, name] for name in VARIANTS)
            ratio = statistics.median(with_filter) / statistics.median(without)
            print(f"| {kind} | {what} | {_told(without)} | {_told(with_filter)} | {ratio:.2f} |")


def _told(times: list[float]) -> str:
    return f"{statistics.median(times):.0f} ({statistics.quantiles(times, n=20)[-1]:.0f})"


if __name__ == "__main__":
    main()
