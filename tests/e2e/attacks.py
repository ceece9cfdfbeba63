"""Attackers before the servers of real.py: one Envoy with a listener for each place, and a listener past the filter.

place = Place("sdk1", {...policy...}, "what it is about")
scene = world.scene(place, governed=True)          # or False: the same server without the filter
with Agent(scene) as agent:                        # a session of its own, where the server has sessions
    agent.call("search")
    scene.ran()                                    # what ran since the scene began
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import rig

from client import H1, Response, post_bytes
from fleet import Fleet, Listener, Policy, held, to_server
from gateway import until
from real import SERVERS, Server, start

NEWEST = "2026-07-28"
_HANDSHAKE = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "attacker", "version": "1"}}
_META = {
    "io.modelcontextprotocol/protocolVersion": NEWEST,
    "io.modelcontextprotocol/clientCapabilities": {},
    "io.modelcontextprotocol/clientInfo": {"name": "attacker", "version": "1"},
}


@dataclass(frozen=True)
class Place:
    """A listener before a server. Those of one policy with different `about` count apart."""

    server: str
    policy: Policy = field(hash=False)
    about: str

    @property
    def listener(self) -> str:
        """Its name, also in statistics, where Envoy writes some characters otherwise."""
        return re.sub(r"\W", "_", f"{self.server} {self.about}", flags=re.ASCII)

    def __str__(self) -> str:
        return f"{self.server}, {self.about}"


@dataclass
class Scene:
    """A server behind a listener, from now on."""

    server: Server
    port: int

    def __post_init__(self) -> None:
        self._before = len(self.server.ran())

    def ran(self, tool: str | None = None) -> list[dict[str, Any]]:
        """What ran at the server since this scene began: all, or one tool."""
        return [each for each in self.server.ran()[self._before :] if tool in (None, each["tool"])]

    def send(self, head: str, body: bytes = b"", source: str = "127.0.0.1") -> Response:
        """A request on a connection of its own: method and path, further lines of the head as they stand, a body."""
        first, *lines = head.split("\n")
        if body:
            lines.append(f"content-length: {len(body)}")
        text = "\r\n".join([f"{first} HTTP/1.1", f"host: localhost:{self.port}", *lines, "", ""])
        with H1(self.port, source=source) as connection:
            connection.send(text.encode() + body)
            return connection.receive(first.split(" ")[0])


class Agent:
    """A client with a session that sends what it is told to."""

    def __init__(self, scene: Scene, *headers: tuple[str, str], path: str = "/mcp", handshake: bool = True, source: str = "127.0.0.1") -> None:
        self._scene, self._source, self._path = scene, source, path
        self._headers = [("host", f"localhost:{scene.port}"), *headers]
        self._modern = scene.server.product.modern
        self._stack = ExitStack()
        self.session: str | None = None
        if handshake and not self._modern:
            assert self.shake_hands()

    def shake_hands(self) -> bool:
        """Opens a session, as the revisions before 2026-07-28 have it; False if that is refused."""
        answer = self.ask("initialize", json.dumps(_HANDSHAKE))
        assert not answer.fault, answer
        if answer.status != 200:
            return False
        self.session = answer.header("mcp-session-id")
        if self.session:
            self._headers.append(("mcp-session-id", self.session))
        self._headers.append(("mcp-protocol-version", str(_HANDSHAKE["protocolVersion"])))
        self.ask("notifications/initialized", id=None)
        return True

    def __enter__(self) -> Agent:
        return self

    def __exit__(self, *_exc: object) -> None:
        self._stack.close()

    def post(self, body: str, headers: Iterable[tuple[str, str]] = ()) -> H1:
        """Sends a body on a connection of its own, which stays open as long as the agent."""
        connection = self._stack.enter_context(H1(self._scene.port, source=self._source))
        connection.send(post_bytes(body, [*self._headers, *headers], path=self._path))
        return connection

    def send(self, method: str, params: str = "{}", id: str | None = "1") -> H1:
        """Sends a message. Its parameters and its id are JSON text, and stay as they are spelled."""
        headers = []
        if self._modern:
            headers = [("mcp-protocol-version", NEWEST), ("mcp-method", method)]
            if isinstance(name := json.loads(params).get("name"), str) and name.isascii():
                headers.append(("mcp-name", name))
            params = f'{{"_meta":{json.dumps(_META)},{params[1:]}'.replace(",}", "}")
        with_id = "" if id is None else f'"id":{id},'
        return self.post(f'{{"jsonrpc":"2.0",{with_id}"method":"{method}","params":{params}}}', headers)

    def ask(self, method: str, params: str = "{}", id: str | None = "1") -> Response:
        """Sends a message and reads the answer."""
        return self.send(method, params, id).receive()

    def start(self, tool: str, arguments: str = "{}", id: str = "1") -> H1:
        """Sends a call, and returns when its tool runs, or when it has been answered otherwise."""
        before = len(self._scene.ran(tool))
        connection = self.send("tools/call", params(tool, arguments), id)
        until(lambda: len(self._scene.ran(tool)) > before or connection.is_answered(), f"{tool} to run")
        return connection

    def call(self, tool: str, arguments: str = "{}", id: str = "1") -> Response:
        """Calls a tool."""
        return self.ask("tools/call", params(tool, arguments), id)

    def line(self, method: str, *more: str) -> Response:
        """A request without a body in this session."""
        lines = [f"{name}: {value}" for name, value in self._headers if name != "host"]
        return self._scene.send("\n".join([f"{method} {self._path}", *lines, *more]), source=self._source)

    def listen(self, *more: str) -> H1:
        """Opens the stream of a GET, and returns when it has begun."""
        connection = self._stack.enter_context(H1(self._scene.port, source=self._source))
        fields = [f"{name}: {value}" for name, value in self._headers]
        head = [f"GET {self._path} HTTP/1.1", *fields, "accept: text/event-stream", *more]
        connection.send("\r\n".join([*head, "", ""]).encode())
        response = Response()
        connection.head(response)
        assert response.status == 200, response
        return connection


def params(tool: str, arguments: str = "{}") -> str:
    """The parameters of a tools/call."""
    return f'{{"name":{json.dumps(tool, ensure_ascii=False)},"arguments":{arguments}}}'


class World:
    """The servers, and an Envoy before them."""

    def __init__(self, servers: dict[str, Server], fleet: Fleet, envoy: rig.Envoy) -> None:
        self.envoy = envoy
        self._servers = servers
        self._fleet = fleet

    def scene(self, place: Place, governed: bool) -> Scene:
        """The place, or the same server without the filter."""
        listener = place.listener if governed else plain(place.server)
        return Scene(self._servers[place.server], self._fleet.port(listener))


def plain(server: str) -> str:
    """The name of the listener without a filter."""
    return re.sub(r"\W", "_", f"plain {server}")


@contextmanager
def serving(directory: Path, wanted: Iterable[str]) -> Iterator[dict[str, Server]]:
    """Runs these servers."""
    with ExitStack() as stack:
        running = start(stack, [name for name in SERVERS if name in set(wanted)], directory)
        yield running
        for server in running.values():
            # Servers end when their tools have.
            server.open("never")


@contextmanager
def before(servers: dict[str, Server], places: Iterable[Place]) -> Iterator[World]:
    """Runs an Envoy with these places, and checks at the end that it lived."""
    fleet = Fleet(next(iter(servers.values())).port)
    for name, server in servers.items():
        fleet.add(plain(name), Listener(None, to_server(plain(name), server.port)))
    for each in {place.listener: place for place in places}.values():
        fleet.add(each.listener, Listener(held(each.policy), to_server(each.listener, servers[each.server].port)))
    with fleet.run() as envoy:
        yield World(servers, fleet, envoy)
