"""The corpus of bypass attempts against any MCP gateway, before a server that records what reaches it.

    .tools/venv/bin/python tests/against/against.py --gateway http://127.0.0.1:4444/mcp --upstream 9000

Set the gateway up before `http://127.0.0.1:9000/mcp`, which this starts, so that it denies the tool `delete_account` and lets all
others through. Then each row of tests/e2e/data/bypass.yaml that calls the denied tool in some spelling is sent through it:

    stopped   nothing of it reached the server, or no reading of what reached it names the tool
    arrived   the server got it in a form in which a lenient reader finds the denied call
    ran       the server, which reads JSON as the SDKs do, ran the denied tool
    shut      after this row honest calls did not get through either, so it says nothing

`--header` adds a header (a credential), `--list` prints the rows that were not stopped, `--only` chooses classes.
gateways.py starts some gateways from the registries by itself and keeps the table.
Exit codes: 0 everything was stopped, 1 something was not, 2 the gateway does not deny the tool, or lets nothing through.
"""

from __future__ import annotations

import argparse
import base64
import gzip
import json
import re
import sys
import urllib.parse
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "envoy"), str(ROOT / "tests" / "e2e")]

from attempts import Attempt, load  # noqa: E402
from client import H1, Response, post_bytes  # noqa: E402
from upstream import Arrival, Reply, Upstream  # noqa: E402

DENIED, ALLOWED = "delete_account", "search"
PATIENCE = 3.0
_TOOLS = [{"name": name, "description": name, "inputSchema": {"type": "object"}} for name in (ALLOWED, DENIED)]


# --- The server behind the gateway ------------------------------------------------------------


async def mcp_server(arrival: Arrival, reply: Reply) -> None:
    """Answers as an MCP server without sessions would; what it got is on record."""
    if arrival.method != b"POST":
        await reply.whole(405, b"")
        return
    message = arrival.message()
    if isinstance(message, list):
        await reply.json([_answer(each) for each in message if isinstance(each, dict) and "id" in each])
    elif not isinstance(message, dict) or "id" not in message:
        await reply.whole(202, b"")
    else:
        await reply.json(_answer(message))


def _answer(message: dict[str, Any]) -> dict[str, Any]:
    results: dict[object, Any] = {
        "initialize": {"protocolVersion": "2025-06-18", "capabilities": {"tools": {}}, "serverInfo": {"name": "recording", "version": "1"}},
        "ping": {},
        "tools/list": {"tools": _TOOLS},
        "tools/call": {"content": [{"type": "text", "text": "ran"}]},
        "resources/list": {"resources": []},
        "resources/templates/list": {"resourceTemplates": []},
        "prompts/list": {"prompts": []},
    }
    method = message.get("method")
    if isinstance(method, str) and method in results:
        return {"jsonrpc": "2.0", "id": message["id"], "result": results[method]}
    return {"jsonrpc": "2.0", "id": message["id"], "error": {"code": -32601, "message": "Method not found"}}


def ran(arrival: Arrival, tool: str) -> bool:
    """Whether the server ran the tool: it reads JSON as Python does, the last of equal keys, of a POST to its endpoint."""
    if arrival.method != b"POST" or arrival.path != "/mcp":
        return False
    message = arrival.message()
    calls = message if isinstance(message, list) else [message]
    return any(_calls(each, tool) for each in calls)


def _calls(message: object, tool: str) -> bool:
    if not isinstance(message, dict) or message.get("method") != "tools/call":
        return False
    params = message.get("params")
    return isinstance(params, dict) and params.get("name") == tool


# --- What some reader finds in bytes ----------------------------------------------------------


def readings(body: bytes) -> Iterator[str]:
    """The texts that some server could take these bytes for."""
    for unpacked in (body, *_unpacked(body)):
        for charset in ("utf-8", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le", "utf-32-be", "utf-7", "cp037"):
            text = unpacked.decode(charset, "ignore")
            yield re.sub(r"\\u([0-9a-fA-F]{4})", lambda found: chr(int(found[1], 16)), text)


def _unpacked(body: bytes) -> Iterator[bytes]:
    unpackers: list[Callable[[bytes], bytes]] = [gzip.decompress, zlib.decompress, lambda packed: zlib.decompress(packed, -15), base64.b64decode]
    for unpack in unpackers:
        try:
            yield unpack(body)
        except (OSError, EOFError, ValueError, zlib.error):
            continue


def names(body: bytes, tool: str) -> bool:
    """Whether some reader finds the name of the tool, in any case and with invisible characters."""
    plain = (re.sub(r"[^a-z_]", "", text.lower()) for text in readings(body))
    return any(tool in text for text in plain)


# --- The gateway ------------------------------------------------------------------------------


@dataclass
class MeasuredGateway:
    """A gateway, and how a client talks to it."""

    url: str
    headers: list[tuple[str, str]] = field(default_factory=list)
    session: list[tuple[str, str]] = field(default_factory=list)
    # Gateways that put a server's name before the names of its tools.
    renamed: dict[str, str] = field(default_factory=dict)

    @property
    def port(self) -> int:
        """Where it listens."""
        return urllib.parse.urlsplit(self.url).port or 80

    @property
    def path(self) -> str:
        """The path of its endpoint."""
        return urllib.parse.urlsplit(self.url).path or "/"

    def ask(self, method: str, params: dict[str, Any] | None = None, id: int | None = 1) -> Response:
        """One honest message."""
        message: dict[str, Any] = {"jsonrpc": "2.0", "method": method, "params": params or {}}
        if id is not None:
            message["id"] = id
        with H1(self.port, 20) as connection:
            connection.send(post_bytes(json.dumps(message), [*self.headers, *self.session], path=self.path))
            return connection.receive()

    def call(self, tool: str) -> Response:
        """An honest call."""
        return self.ask("tools/call", {"name": self.renamed.get(tool, tool), "arguments": {}})

    def shake_hands(self) -> None:
        """Opens a session, if the gateway has sessions."""
        self.session = []
        about = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "against", "version": "1"}}
        answer = self.ask("initialize", about)
        if session := answer.header("mcp-session-id"):
            self.session = [("mcp-session-id", session), ("mcp-protocol-version", "2025-06-18")]
        self.ask("notifications/initialized", id=None)

    def request(self, attempt: Attempt) -> list[bytes]:
        """The bytes of an attempt, as this gateway's client would send them."""
        asked = attempt.request
        if asked.raw is not None:
            return [asked.raw]
        given = {name.lower() for name, _ in asked.headers}
        more = [(name.encode(), value.encode()) for name, value in [*self.headers, *self.session] if name.encode() not in given]
        path = asked.path.replace("/mcp", self.path, 1) if asked.path.startswith("/mcp") else asked.path
        body, pieces = self._named(asked.body), asked.pieces and [self._named(piece) for piece in asked.pieces]
        return replace(asked, headers=[*asked.headers, *more], path=path, body=body, pieces=pieces).segments()

    def _named(self, body: bytes) -> bytes:
        for name, own in self.renamed.items():
            body = body.replace(name.encode(), own.encode())
        return body


def attempts(only: list[str]) -> list[Attempt]:
    """The rows that call the denied tool, in some spelling, and reach a server that nothing guards."""
    rows = [each for each in load().attempts if each.policy == "guarded" and each.over == "h1" and each.control == "reaches"]
    rows = [each for each in rows if each.expect.get("upstream", "none") == "none" and each.request.pipelined is None]
    rows = [each for each in rows if each.listener in ("shipped", "bare") and not only or each.kind in only]
    return [each for each in rows if each.kind != "honest" and each.request.raw is None and names(each.request.body, DENIED)]


@dataclass
class Measured:
    """What became of the rows."""

    verdicts: dict[str, Counter[str]]
    through: list[tuple[str, str]]

    @property
    def total(self) -> Counter[str]:
        """All classes together."""
        return sum(self.verdicts.values(), Counter())


class NotDenied(Exception):
    """The gateway is not set up as it has to be."""


def measure(gateway: MeasuredGateway, upstream: Upstream, only: list[str], denies: bool = True) -> Measured:
    """Sends all rows. Raises `NotDenied` where an honest call does not pass, or the plain one is not denied but should be."""
    gateway.shake_hands()
    _check(gateway, upstream, denies)
    verdicts: dict[str, Counter[str]] = {}
    through = []
    for attempt in attempts(only):
        before = upstream.count()
        with H1(gateway.port, PATIENCE) as connection:
            connection.send(*gateway.request(attempt), paced=True)
            if attempt.request.half_close:
                connection.finish()
            connection.receive(attempt.request.method)
        # What is behind the answer of an honest call has arrived; and a gateway that lets nobody through stops nothing.
        served = _serves(gateway, upstream)
        verdict = _verdict(upstream.arrivals(before)) if served else "shut"
        verdicts.setdefault(attempt.kind, Counter())[verdict] += 1
        if verdict != "stopped":
            through.append((verdict, str(attempt)))
    return Measured(verdicts, through)


def _serves(gateway: MeasuredGateway, upstream: Upstream) -> bool:
    """Whether an honest call still gets through, if need be in a new session."""
    for _ in range(2):
        before = upstream.count()
        gateway.call(ALLOWED)
        upstream.settle()
        if any(ran(each, ALLOWED) for each in upstream.arrivals(before)):
            return True
        gateway.shake_hands()
    return False


def _verdict(arrivals: list[Arrival]) -> str:
    if any(ran(each, DENIED) for each in arrivals):
        return "ran"
    return "arrived" if any(names(each.body, DENIED) for each in arrivals) else "stopped"


def _check(gateway: MeasuredGateway, upstream: Upstream, denies: bool) -> None:
    before = upstream.count()
    answer = gateway.call(ALLOWED)
    if not any(ran(each, ALLOWED) for each in upstream.arrivals(before)):
        raise NotDenied(f"an honest call of `{ALLOWED}` does not reach the server: {answer}")
    before = upstream.count()
    gateway.call(DENIED)
    if denies and any(ran(each, DENIED) for each in upstream.arrivals(before)):
        raise NotDenied(f"a plain call of `{DENIED}` reaches the server: the gateway has to deny it")


# --- The table --------------------------------------------------------------------------------


def table(measured: dict[str, Measured]) -> str:
    """Rows that were not stopped, by class and gateway; first a line for all of them."""
    kinds = sorted({kind for each in measured.values() for kind in each.verdicts})
    heads = ["class", "rows", *measured]
    lines = [f"| {' | '.join(heads)} |", f"|{'---|' * len(heads)}"]
    rows = sum(next(iter(measured.values())).total.values())
    lines.append(f"| **all** | {rows} | {' | '.join(f'**{_cell(each.total)}**' for each in measured.values())} |")
    for kind in kinds:
        counted = [each.verdicts.get(kind, Counter()) for each in measured.values()]
        lines.append(f"| {kind} | {sum(counted[0].values())} | {' | '.join(_cell(each) for each in counted)} |")
    return "\n".join(lines)


def _cell(counted: Counter[str]) -> str:
    parts = [f"{counted[verdict]} {verdict}" for verdict in ("ran", "arrived", "shut") if counted[verdict]]
    return ", ".join(parts) or "0"


def main() -> int:
    """Measures the gateway that the user names."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--gateway", required=True, metavar="URL", help="the gateway's MCP endpoint, on this machine")
    arguments.add_argument("--upstream", required=True, type=int, metavar="PORT", help="where the recording server listens")
    arguments.add_argument("--header", action="append", default=[], metavar="NAME:VALUE", help="sent with every request")
    arguments.add_argument("--only", action="append", default=[], metavar="CLASS", help="a class of the corpus")
    arguments.add_argument("--list", action="store_true", help="print the rows that were not stopped")
    asked = arguments.parse_args()
    pairs = [line.split(":", 1) for line in asked.header]
    gateway = MeasuredGateway(asked.gateway, [(name.strip().lower(), value.strip()) for name, value in pairs])
    with Upstream(port=asked.upstream) as upstream:
        upstream.answer("/mcp", mcp_server)
        try:
            measured = measure(gateway, upstream, asked.only)
        except NotDenied as why:
            print(why, file=sys.stderr)
            return 2
    print(table({asked.gateway: measured}))
    if asked.list:
        print(*(f"{verdict}  {name}" for verdict, name in measured.through), sep="\n")
    return int(bool(measured.through))


if __name__ == "__main__":
    sys.exit(main())
