"""A fleet: several Envoys before one rate limit service, which counts in a real Redis, and everything that can break in it.

with running(redis=True) as service, Envoys(service, {"limited": Listener(policy)}) as envoys:
    tally = crowd(envoys.ports("limited"), calls, [RAN])         # 64 connections to each Envoy
    service.be("slow 500")                                        # see tests/rls/src/control.rs
    service.shut(1)                                               # the second Envoy no longer reaches it
    envoys.kill(0)

The service is the small program in tests/rls: Envoy's protocol in front of Kuadrant's `limitador` crate.
"""

from __future__ import annotations

import asyncio
import copy
import json
import os
import shutil
import signal
import socket
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import rig
import yaml

from fleet import Change, Fleet, Listener, answering, assert_healthy, silent, with_native_buffer

ENVOYS, WORKERS, CONNECTIONS = 3, 4, 64
CLUSTER, DOMAIN = "ratelimit", "mcp"
# What answers calls that pass.
ANSWERER, ANSWER = "answerer", '{"jsonrpc":"2.0","id":7,"result":"ran"}'
RLS = Path(os.environ.get("MCP_POLICY_RLS", rig.ROOT / "target" / "rls" / "debug" / "rls"))


# --- Redis and the service ----------------------------------------------------------------------


class Redis(rig.Process):
    """Debian's redis-server, with nothing on disk."""

    def __init__(self, directory: Path) -> None:
        [self.port] = rig.free_ports(1)
        program = shutil.which("redis-server") or str(rig.TOOLS / "redis" / "redis-server")
        if not Path(program).is_file():
            raise rig.RigError("no redis-server: put it on PATH, or run `envoy/tools.sh redis`")
        where = ["--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(directory)]
        argv = [program, *where, "--save", "", "--appendonly", "no"]
        super().__init__(argv, directory, name="redis")

    @property
    def url(self) -> str:
        """Where it is."""
        return f"redis://127.0.0.1:{self.port}"

    def __enter__(self) -> Redis:
        super().__enter__()
        self.wait_until(lambda: rig.listens(self.port))
        return self

    def pause(self) -> None:
        """Stops it where it is: connections stay, and nothing is answered."""
        os.kill(self.pid, signal.SIGSTOP)

    def go_on(self) -> None:
        """Lets it go on, with all that has been sent to it."""
        os.kill(self.pid, signal.SIGCONT)

    def stop(self) -> None:
        """Ends it, also when it is paused."""
        if self._child is not None:
            self.go_on()
        super().stop()

    def info(self, section: str) -> dict[str, str]:
        """What it says of itself: `memory`, `cpu`, `commandstats`."""
        text = self.ask("INFO", section)
        return dict(line.split(":", 1) for line in text.splitlines() if ":" in line)

    def ask(self, *words: str) -> str:
        """A command, and its answer as text."""
        with socket.create_connection(("127.0.0.1", self.port), 10) as connection, connection.makefile("rb") as answers:
            parts = b"".join(b"$%d\r\n%s\r\n" % (len(word.encode()), word.encode()) for word in words)
            connection.sendall(b"*%d\r\n%s" % (len(words), parts))
            first = answers.readline().decode().strip()
            assert not first.startswith("-"), first
            return answers.read(int(first[1:])).decode() if first.startswith("$") else first[1:]


class Service(rig.Process):
    """The rate limit service, with a door for each Envoy and a port on which it is told how to behave."""

    def __init__(
        self, directory: Path, *, doors: int = ENVOYS, redis: str | None = None, manner: str = "exact", limits: Any = None, overrides: bool = True
    ) -> None:
        *self.doors, self._control = rig.free_ports(doors + 1)
        env = {
            **os.environ,
            "RLS_PORTS": ",".join(map(str, self.doors)),
            "RLS_CONTROL": str(self._control),
            "RLS_MANNER": manner,
        }
        if not overrides:
            env["RLS_OVERRIDES"] = "ignore"
        if redis is not None:
            env["RLS_REDIS"] = redis
        if limits is not None:
            file = directory / f"limits-{self._control}.json"
            file.write_text(json.dumps(limits))
            env["RLS_LIMITS"] = str(file)
        if not RLS.is_file():
            raise rig.RigError(f"{RLS} does not exist: run `make rls`")
        super().__init__([str(RLS)], directory, name=f"rls-{self._control}", env=env)

    def start(self) -> None:
        """Starts it, and waits until it can be asked."""
        super().start()
        self.wait_until(lambda: rig.listens(self._control))

    def be(self, behaviour: str) -> None:
        """How it answers from now on: `ok`, `slow 500`, `garbage`, `reset`, ..."""
        self._say(f"be {behaviour}")

    def shut(self, door: int) -> None:
        """Nobody listens behind this door any more, and its connections are reset."""
        self._say(f"shut {self.doors[door]}")

    def mute(self, door: int) -> None:
        """Not a byte passes this door any more, and nobody is told."""
        self._say(f"mute {self.doors[door]}")

    def reopen(self, door: int) -> None:
        """All is well again with this door."""
        self._say(f"open {self.doors[door]}")

    def limit(self, limits: Any) -> None:
        """The limits of its file, as Envoy's `ratelimit` reads them."""
        self._say(f"limits {json.dumps(limits)}")

    def told(self) -> dict[str, Any]:
        """How many `questions`, `ok`, `over` and `faults` there were, and what was `granted` by key."""
        return self._say("told")

    def granted(self) -> int:
        """The weight of all that it granted."""
        return sum(self.told()["granted"].values())

    def questions(self) -> list[dict[str, Any]]:
        """The last 200 questions, as it read them."""
        return self._say("questions")

    def forget(self) -> None:
        """Begins `told` and `questions` anew. What is counted stays."""
        self._say("forget")

    def cpu_seconds(self) -> float:
        """CPU time that it has taken so far."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def _say(self, line: str) -> Any:
        with socket.create_connection(("127.0.0.1", self._control), 10) as connection, connection.makefile("rb") as answers:
            connection.sendall(line.encode() + b"\n")
            answer = json.loads(answers.readline())
        assert not (isinstance(answer, dict) and "error" in answer), answer
        return answer


@contextmanager
def running(*, redis: bool = False, **settings: Any) -> Iterator[Service]:
    """A service, in memory or on a Redis of its own, which is then its attribute `redis`."""
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="mcp-policy-rls-")))
        database = stack.enter_context(Redis(directory)) if redis else None
        service = Service(directory, redis=database.url if database else None, **settings)
        service.redis = database  # type: ignore[attr-defined]
        stack.enter_context(service)
        yield service


# --- Envoys -------------------------------------------------------------------------------------


PAGE = rig.ROOT / "envoy" / "FLEET.md"


def service_cluster(port: int) -> rig.Config:
    """The cluster of a rate limit service, as envoy/FLEET.md prints it, but for its address."""
    text = PAGE.read_text().split("```yaml\n")[1].split("```")[0]
    [cluster] = yaml.safe_load(text)
    cluster["type"] = "STATIC"
    [endpoints] = cluster["load_assignment"]["endpoints"]
    endpoints["lb_endpoints"][0]["endpoint"]["address"]["socket_address"] = {"address": "127.0.0.1", "port_value": port}
    return cluster


class Envoys:
    """Envoys with the same listeners, each with a door of its own to the service. What passes is answered by Envoy."""

    def __init__(
        self, service: Service, listeners: Mapping[str, Listener], *, count: int = ENVOYS, workers: int = WORKERS
    ) -> None:
        self._workers = workers
        self._fleets: list[Fleet] = []
        for door in service.doors[:count]:
            fleet = Fleet(1)
            fleet.config["static_resources"]["clusters"].append(service_cluster(door))
            # Envoy's own filter lets pass what no route forwards, so that who answers is another listener.
            fleet.add(ANSWERER, Listener(None, with_native_buffer, answering(200, ANSWER), silent))
            [endpoints] = rig.cluster(fleet.config)["load_assignment"]["endpoints"]
            endpoints["lb_endpoints"][0]["endpoint"]["address"]["socket_address"]["port_value"] = fleet.port(ANSWERER)
            for name, listener in listeners.items():
                fleet.add(name, Listener(listener.policy, silent, *listener.changes))
            self._fleets.append(fleet)
        self._running: list[rig.Envoy | None] = [None] * count

    def __enter__(self) -> Envoys:
        try:
            for number in range(len(self._fleets)):
                self.begin(number)
            for number in range(len(self._fleets)):
                self[number].wait_until_ready()
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(self, *_exc: object) -> None:
        try:
            for envoy in filter(None, self._running):
                assert_healthy(envoy)
        finally:
            self._stop()

    def _stop(self) -> None:
        for envoy in filter(None, self._running):
            envoy.stop()

    def __getitem__(self, number: int) -> rig.Envoy:
        envoy = self._running[number]
        assert envoy is not None, f"Envoy {number} is not running"
        return envoy

    def ports(self, name: str) -> list[int]:
        """Where each of them has this listener."""
        return [fleet.port(name) for fleet in self._fleets]

    def begin(self, number: int) -> None:
        """Starts one; `wait_until_ready` says when it serves."""
        envoy = rig.Envoy(copy.deepcopy(self._fleets[number].config), concurrency=self._workers)
        envoy.start()
        self._running[number] = envoy

    def kill(self, number: int) -> None:
        """Ends one at once, as a machine that fails does."""
        envoy = self[number]
        os.kill(envoy._envoy_pid(), signal.SIGKILL)
        envoy.stop()
        self._running[number] = None

    def cpu_seconds(self) -> float:
        """CPU time of all of them."""
        return sum(envoy.cpu_seconds() for envoy in filter(None, self._running))


def natively_limited(
    *actions: dict[str, Any], weight: int | None = None, limit: tuple[int, str] | None = None, deny: bool = True, timeout: str = "10s"
) -> Change:
    """Envoy's own `ratelimit` filter, with these actions. `limit` goes with each question, as ours does."""

    def change(config: rig.Config) -> None:
        service = {"transport_api_version": "V3", "grpc_service": {"envoy_grpc": {"cluster_name": CLUSTER}}}
        native = {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.ratelimit.v3.RateLimit",
            "domain": DOMAIN,
            "timeout": timeout,
            "failure_mode_deny": deny,
            "rate_limit_service": service,
        }
        filters = rig.hcm(config)["http_filters"]
        filters.insert(-1, {"name": "envoy.filters.http.ratelimit", "typed_config": native})
        entry: dict[str, Any] = {"actions": list(actions)}
        if weight is not None:
            entry["hits_addend"] = {"number": weight}
        if limit is not None:
            value = {"limit": {"requests_per_unit": limit[0], "unit": limit[1]}}
            metadata = {
                "@type": "type.googleapis.com/envoy.extensions.filters.http.set_metadata.v3.Config",
                "metadata": [{"metadata_namespace": "mcp", "value": value}],
            }
            filters.insert(-2, {"name": "envoy.filters.http.set_metadata", "typed_config": metadata})
            entry["limit"] = {"dynamic_metadata": {"metadata_key": {"key": "mcp", "path": [{"key": "limit"}]}}}
        # In the filter and not at the route, where Envoy does not read the weight.
        native["rate_limits"] = [entry]
        # Its own answers have no body, and `crowd` counts bodies.
        failed = {"status_code_filter": {"comparison": {"op": "GE", "value": {"default_value": 400, "runtime_key": "none"}}}}
        text = {"text_format_source": {"inline_string": "status %RESPONSE_CODE%"}}
        rig.hcm(config)["local_reply_config"] = {"mappers": [{"filter": failed, "body_format_override": text}]}

    return change


# --- Callers ------------------------------------------------------------------------------------


@dataclass
class Tally:
    """What came back: how many answers had each mark, how many calls were lost with their connection, and other answers."""

    marks: dict[bytes, int]
    lost: int = 0
    others: list[bytes] = field(default_factory=list)

    @property
    def answers(self) -> int:
        """How many answers there were."""
        return sum(self.marks.values()) + len(self.others)


def crowd(
    ports: Sequence[int],
    calls: Iterator[bytes],
    marks: Sequence[bytes],
    *,
    connections: int = CONNECTIONS,
    events: Mapping[int, Callable[[], object]] | None = None,
    timeout: float = 120,
) -> Tally:
    """Sends calls, made by `client.post_bytes`, over so many connections to each port, until there are no more.

    `events` happen after so many answers, while all goes on. A call whose connection breaks is lost: it is not sent again.
    """
    return asyncio.run(asyncio.wait_for(_crowd(ports, calls, marks, connections, dict(events or {})), timeout))


async def _crowd(
    ports: Sequence[int], calls: Iterator[bytes], marks: Sequence[bytes], connections: int, events: dict[int, Callable[[], object]]
) -> Tally:
    tally = Tally(dict.fromkeys(marks, 0))
    happening: list[asyncio.Task[object]] = []

    async def caller(port: int) -> None:
        stream: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        while (call := next(calls, None)) is not None:
            stream = stream or await _connected(port)
            try:
                stream[1].write(call)
                body = await _body(stream[0])
            except (ConnectionError, asyncio.IncompleteReadError):
                tally.lost += 1
                stream = None
                continue
            mark = next((mark for mark in marks if mark in body), None)
            if mark is None:
                tally.others.append(body)
            else:
                tally.marks[mark] += 1
            for at in [at for at in events if at <= tally.answers]:
                happening.append(asyncio.create_task(asyncio.to_thread(events.pop(at))))
        if stream is not None:
            stream[1].close()

    await asyncio.gather(*(caller(port) for port in ports for _ in range(connections)))
    await asyncio.gather(*happening)
    assert not events, "the calls were through before all had happened"
    return tally


async def _connected(port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    while True:
        try:
            return await asyncio.open_connection("127.0.0.1", port)
        except ConnectionError:
            # An Envoy that was killed is on its way back.
            await asyncio.sleep(0.02)


async def _body(reader: asyncio.StreamReader) -> bytes:
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    if b"\r\ntransfer-encoding: chunked" in head:
        body = b""
        while size := int(await reader.readuntil(b"\r\n"), 16):
            body += (await reader.readexactly(size + 2))[:-2]
        await reader.readexactly(2)
        return body
    return await reader.readexactly(int(head.partition(b"\r\ncontent-length: ")[2].split(b"\r\n")[0]))
