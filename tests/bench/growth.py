"""How start, memory and updates grow with the policy.

    .tools/venv/bin/python tests/bench/growth.py            the tables, in a minute or two
                                      ... --keep     also writes tests/bench/results-growth.md

Start: from the start of Envoy until it serves. Memory: of the whole process, with one worker and with four. Update: a file that Envoy watches is
replaced while callers call one after another, each with a connection of his own; the call is of a tool that only the new policy has, so that
each answer tells which policy decided. What a call costs under large policies, `make bench ARGS=--all` measures.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import bench
from measure import Plan, progress
from variants import LIMITED, RESULT, TOOLS, Variant, call_body, many_policies, many_tools, policy, request, rig

RESULTS = Path(__file__).with_name("results-growth.md")
CALLERS = 4
TYPE = "type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm"
NEW = "new_tool"


def large() -> dict[str, Any]:
    """5,000 tools, of which 1,000 have a regex of their own."""

    def entry(number: int) -> dict[str, Any]:
        if number >= 1_000:
            return {}
        regex = rf"(?i)^/srv/account_{number:04}/(reports|invoices)/[a-z0-9_-]+\.(json|csv)$"
        return {"require": [{"conditions": [{"path": "args.path", "op": "regex", "value": regex}]}]}

    tools = {f"another_{number:04}": entry(number) for number in range(4_999)}
    return {**policy({}), "tools": {NEW: {}, **tools}}


SIZES = [
    Variant("no filter"),
    Variant("one tool", policy=policy({}, TOOLS[:1])),
    Variant("100 tools, three conditions, a limit", policy=policy(LIMITED)),
    Variant("10,000 tools, of which 100 have conditions", policy=many_tools(10_000).policy),
    Variant("1,000 policies by path", policy=many_policies(1_000).policy),
    Variant("5,000 tools, 1,000 regexes", policy=large()),
]


# --- The server -------------------------------------------------------------------------------


class Answering(asyncio.Protocol):
    """A connection that gets the same answer to everything."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """It begins."""
        self._transport, self._read = transport, b""

    def data_received(self, data: bytes) -> None:
        """More of a request."""
        self._read += data
        head, end, body = self._read.partition(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0]) if end else 0
        if end and len(body) >= length:
            self._read = b""
            answer = f"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {len(RESULT)}\r\n\r\n{RESULT}"
            self._transport.write(answer.encode())  # type: ignore[attr-defined]


async def serve() -> None:
    """Says its port, and answers until it is ended."""
    listener = await asyncio.get_running_loop().create_server(Answering, "127.0.0.1", 0)
    print(listener.sockets[0].getsockname()[1], flush=True)
    await listener.serve_forever()


@contextmanager
def server() -> Iterator[int]:
    """The same in a process of its own; its port."""
    child = subprocess.Popen([sys.executable, __file__, "--serve"], stdout=subprocess.PIPE, text=True)
    try:
        assert child.stdout
        yield int(child.stdout.readline())
    finally:
        child.terminate()
        child.wait()


# --- Start and memory -------------------------------------------------------------------------


def started(variant: Variant, upstream: int, workers: int) -> tuple[float, float]:
    """Seconds until it serves, and MiB once every worker has served."""
    envoy = rig.Envoy(variant.config(rig.WASM, upstream), concurrency=workers)
    begun = time.perf_counter()
    try:
        envoy.start()
        envoy.wait_until_ready()
        seconds = time.perf_counter() - begun
        for _ in range(8 * workers):
            call(envoy.port, TOOLS[0])
        return seconds, envoy.rss_kib() / 1024
    finally:
        envoy.stop()


def call(port: int, tool: str) -> bytes:
    """One call on a connection of its own."""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.sendall(request(call_body(tool, 0), 0).encode())
        return connection.recv(65536)


def start_table(upstream: int, rounds: int) -> list[str]:
    """The table, in Markdown."""
    lines = ["| policy | bytes | seconds to ready | MiB, one worker | MiB, each worker more |", "| --- | ---: | ---: | ---: | ---: |"]
    for variant in SIZES:
        progress(f"starting with {variant.name}")
        one = [started(variant, upstream, 1) for _ in range(rounds)]
        _, four = started(variant, upstream, 4)
        seconds, memory = (statistics.median(each) for each in zip(*one, strict=True))
        size = f"{len(json.dumps(variant.policy)):,}" if variant.policy else ""
        lines.append(f"| {variant.name} | {size} | {seconds:.2f} | {memory:.0f} | {(four - memory) / 3:.0f} |")
    return lines


# --- Updates ----------------------------------------------------------------------------------


class Caller(threading.Thread):
    """Calls one after another."""

    def __init__(self, port: int, number: int, ended: threading.Event) -> None:
        super().__init__(daemon=True)
        self._connection = socket.create_connection(("127.0.0.1", port), timeout=30)
        self._request = request(call_body(NEW, number), number).encode()
        self._ended = ended
        # When each call was sent, how long it took, and whether the new policy decided.
        self.calls: list[tuple[float, float, bool]] = []

    def run(self) -> None:
        """Until it is over."""
        while not self._ended.is_set():
            begun = time.perf_counter()
            self._connection.sendall(self._request)
            answer = b""
            while b"\r\n\r\n" not in answer or not (answer.endswith(b"}") or answer.endswith(b"0\r\n\r\n")):
                if not (more := self._connection.recv(65536)):
                    raise rig.RigError(f"Envoy closed a connection after {answer!r}")
                answer += more
            self.calls.append((begun, time.perf_counter() - begun, b'"result"' in answer))


def discovered(config: rig.Config, path: Path) -> None:
    """The filter comes from a file that Envoy watches."""
    config["node"] = {"id": "growth", "cluster": "growth"}
    filters = rig.hcm(config)["http_filters"]
    at = next(at for at, each in enumerate(filters) if each["name"] == "mcp_policy")
    push(path, filters[at]["typed_config"], 1)
    source = {"config_source": {"path_config_source": {"path": str(path)}, "resource_api_version": "V3"}, "type_urls": [TYPE]}
    filters[at] = {"name": "mcp_policy", "config_discovery": source}


def push(path: Path, filter_config: dict[str, Any], version: int) -> None:
    """Puts the filter into the file, by a rename, which is what Envoy notices."""
    resource = {"@type": "type.googleapis.com/envoy.config.core.v3.TypedExtensionConfig", "name": "mcp_policy", "typed_config": filter_config}
    new = path.with_suffix(".new")
    new.write_text(json.dumps({"version_info": str(version), "resources": [resource]}))
    os.replace(new, path)


@contextmanager
def calling(port: int) -> Iterator[list[Caller]]:
    """Callers who call until it is left."""
    ended = threading.Event()
    callers = [Caller(port, number, ended) for number in range(CALLERS)]
    for caller in callers:
        caller.start()
    try:
        yield callers
    finally:
        ended.set()
        for caller in callers:
            caller.join(timeout=30)


def until(what: Callable[[], bool], name: str) -> None:
    """Waits for something to be so."""
    deadline = time.monotonic() + 60
    while not what():
        if time.monotonic() > deadline:
            raise rig.RigError(f"{name}: not within a minute")
        time.sleep(0.02)


def update(upstream: int, variant: Variant) -> tuple[float, float, float]:
    """Seconds until the new policy decides, the longest call meanwhile, and the longest in the same time before, in milliseconds."""
    old = Variant("old", policy=policy({}))
    with tempfile.TemporaryDirectory(prefix="mcp-policy-growth-") as folder:
        path = Path(folder) / "filter.json"
        config = old.config(rig.WASM, upstream)
        discovered(config, path)
        new = next(each for each in rig.hcm(variant.config(rig.WASM, upstream))["http_filters"] if each["name"] == "mcp_policy")
        with rig.Envoy(config, concurrency=2) as envoy, calling(envoy.port) as callers:
            until(lambda: all(len(caller.calls) > 100 for caller in callers), "calls")
            quiet = time.perf_counter()
            time.sleep(2)
            begun = time.perf_counter()
            push(path, new["typed_config"], 2)
            until(lambda: all(caller.calls[-1][2] for caller in callers), "the new policy")
            time.sleep(1)
    calls = [each for caller in callers for each in caller.calls]
    taken = min(sent + took for sent, took, is_new in calls if is_new) - begun
    longest = max(took for sent, took, _ in calls if sent + took > begun)
    before = max(took for sent, took, _ in calls if quiet < sent and sent + took < begun)
    return taken, 1000 * longest, 1000 * before


def update_table(upstream: int) -> list[str]:
    """The table, in Markdown."""
    lines = ["| new policy | seconds until it decides | longest call meanwhile, ms | longest call before, ms |", "| --- | ---: | ---: | ---: |"]
    small = Variant("101 tools", policy=policy({}, [*TOOLS, NEW]))
    names = Variant("10,001 tools", policy=policy({}, [NEW, *(f"another_{at:05}" for at in range(10_000))]))
    for variant in (small, names, SIZES[-1]):
        progress(f"updating to {variant.name}")
        taken, longest, before = update(upstream, variant)
        lines.append(f"| {variant.name} | {taken:.2f} | {longest:.0f} | {before:.0f} |")
    return lines


def main() -> None:
    """Measures, and prints the tables."""
    parser = argparse.ArgumentParser(description="Measures how start, memory and updates grow with the policy.")
    parser.add_argument("--keep", action="store_true", help=f"write {RESULTS.name}")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        asyncio.run(serve())
        return
    plan = Plan(2, 1, 8)
    with server() as port:
        starts, updates = start_table(port, plan.starts), update_table(port)
    progress("")
    lines = [*bench.setting(rig.WASM, plan), "", *starts, "", *updates]
    print("\n".join(lines))
    if options.keep:
        RESULTS.write_text("\n".join(["# How start, memory and updates grow with the policy", "", "Written by [growth.py](growth.py), which says how.", "", *lines, ""]))


if __name__ == "__main__":
    try:
        main()
    except (rig.RigError, OSError) as problem:
        sys.exit(f"growth.py: {problem}")
    except KeyboardInterrupt:
        sys.exit(130)
