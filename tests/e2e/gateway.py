"""A running Envoy before a recording upstream, and how to know what a request made arrive there."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import rig

from client import H1, Response, post, post_bytes
from fleet import Fleet, Listener
from upstream import Arrival, Upstream

PATIENCE = 10.0


@dataclass
class Gateway:
    """An Envoy with a listener per policy, and a way past the filter for the sentinel."""

    fleet: Fleet
    envoy: rig.Envoy
    upstream: Upstream
    sentinel: H1

    def port(self, listener: str) -> int:
        """Where a listener listens."""
        return self.fleet.port(listener)

    def call(
        self, listener: str, tool: str = "search", arguments: str = "{}", *, id: str = "7", path: str = "/mcp", **headers: str
    ) -> Response:
        """One honest call. Header names are written with underscores: `mcp_session_id="a"`."""
        fields = [(name.replace("_", "-"), value) for name, value in headers.items()]
        return post(self.port(listener), call(tool, arguments, id), fields, path=path)

    def arrivals(self, since: int) -> list[Arrival]:
        """What has arrived at the upstream since that count, with nothing still on its way.

        A request that is sent after all others, by the same worker, has been there and back: whatever
        Envoy's only worker had to say about them lies in the upstream's sockets by now.
        """
        self.sentinel.send(post_bytes("{}", path="/sentinel"))
        answer = self.sentinel.receive()
        assert not answer.fault, answer
        self.upstream.settle()
        return [each for each in self.upstream.arrivals(since) if each.path != "/sentinel"]

    def logged(self, path: str) -> dict[str, Any]:
        """The access log's line of the only request with this path, as soon as it is written."""

        def lines() -> list[dict[str, Any]]:
            return [line for line in self.envoy.access_log() if line["path"] == path]

        until(lambda: bool(lines()), f"the log of {path}")
        [line] = lines()
        return line


def call(tool: str, arguments: str = "{}", id: str = "7") -> str:
    """The body of a tools/call."""
    return f'{{"jsonrpc":"2.0","id":{id},"method":"tools/call","params":{{"name":{json.dumps(tool)},"arguments":{arguments}}}}}'


def until(condition: Callable[[], bool], what: str, seconds: float = PATIENCE) -> None:
    """Polls for something that cannot announce itself, such as a line in a file."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"waited {seconds:.0f} s in vain for: {what}"
        time.sleep(0.01)


@contextmanager
def serving(
    upstream: Upstream,
    listeners: Mapping[str, Listener],
    *,
    concurrency: int = 1,
    change: Callable[[rig.Config], object] | None = None,
) -> Iterator[Gateway]:
    """Runs an Envoy with these listeners; `change` edits what is not a listener."""
    fleet = Fleet(upstream.port)
    if change is not None:
        change(fleet.config)
    for name, listener in listeners.items():
        fleet.add(name, listener)
    fleet.add("sentinel", Listener(None))
    with fleet.run(concurrency) as envoy, H1(fleet.port("sentinel")) as sentinel:
        yield Gateway(fleet, envoy, upstream, sentinel)
