"""Real MCP servers, and an Envoy before them that must end as clean as it began.

with serving_python(directory) as port, governing({"plain": Route(port), "open": Route(port, POLICY)}) as routes:
    routes.url("open")
"""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import demo
import rig

from fleet import Fleet, Listener, Policy, held, to_server, with_secret
from gateway import until

CLIENTS = rig.TOOLS / "clients"
NODE = CLIENTS / "bin" / "node"
NPM = CLIENTS / "node_modules" / "@modelcontextprotocol"


def environment(home: Path, **more: str) -> dict[str, str]:
    """What a program of somebody else's gets to see: no settings or proxies of the user's shell."""
    if not NODE.exists():
        raise rig.RigError("no .tools/clients: run `envoy/tools.sh clients`")
    kept = {name: os.environ[name] for name in demo.KEPT_VARIABLES if name in os.environ}
    return {"HOME": str(home), **kept, **more}


# --- The servers ------------------------------------------------------------------------------


@contextmanager
def serving_typescript(directory: Path, transport: str = "streamableHttp") -> Iterator[int]:
    """server-everything of npm: up to 2025-11-25, event streams with ids. `transport` may be `sse`, that of 2024-11-05."""
    [port] = rig.free_ports(1)
    argv = [str(NODE), str(NPM / "server-everything" / "dist" / "index.js"), transport]
    with _serving(argv, directory, f"server-everything-{transport}", port, PORT=str(port)):
        yield port


@contextmanager
def serving_python(directory: Path) -> Iterator[int]:
    """The everything-server of the Python SDK: all revisions, the one that the conformance suite is run against."""
    [port] = rig.free_ports(1)
    argv = [str(rig.TOOLS / "venv" / "bin" / "python"), "-m", "mcp_everything_server", "--port", str(port)]
    path = str(CLIENTS / "everything-server")
    with _serving([*argv, "--log-level", "WARNING"], directory, "everything-server", port, PYTHONPATH=path):
        yield port


@contextmanager
def serving_prometheus(directory: Path) -> Iterator[demo.Demo]:
    """prometheus-mcp-server before a Prometheus, as the demo runs them."""
    with ExitStack() as stack:
        programs = demo.Demo(directory)
        asyncio.run(programs.start(stack))
        yield programs


@contextmanager
def _serving(argv: list[str], directory: Path, name: str, port: int, **variables: str) -> Iterator[None]:
    with rig.Process(argv, directory, name=name, env=environment(directory, **variables)) as process:
        process.wait_until(lambda: rig.listens(port))
        yield


# --- The Envoy before them --------------------------------------------------------------------


@dataclass(frozen=True)
class Route:
    """A listener before the server on that port. Without a policy there is no filter in it."""

    port: int
    policy: Policy | None = None
    path: str = "/mcp"


class Routes:
    """A running Envoy with a listener, and a set of statistics, for each route."""

    def __init__(self, fleet: Fleet, envoy: rig.Envoy, routes: Mapping[str, Route]) -> None:
        self._fleet = fleet
        self._envoy = envoy
        self._routes = routes

    def url(self, name: str) -> str:
        """Where agents connect to. Servers that guard against DNS rebinding let `localhost` pass."""
        return f"http://localhost:{self._fleet.port(name)}{self._routes[name].path}"

    def check(self) -> None:
        """Nothing that an agent met on the way was of Envoy's or the filter's making."""

        def all_logged() -> bool:
            begun = self._envoy.stats(r"^http\..*\.downstream_rq_total$")
            return len(self._envoy.access_log()) == sum(begun[f"http.{name}.downstream_rq_total"] for name in self._routes)

        # The agents have left, so every request ends, and is in the log soon after.
        until(all_logged, "every request to end")
        lines = self._envoy.access_log()
        odd = Counter((str(line["flags"]), str(line["details"])) for line in lines if not _is_clean(line))
        assert not odd, f"requests that ended otherwise than by the server, the client or the policy: {dict(odd)}"
        plain = {route.port: name for name, route in self._routes.items() if route.policy is None}
        for name, route in self._routes.items():
            http = self._envoy.stats(rf"^http\.{name}\.downstream_")
            prefix = f"http.{name}.downstream_"
            assert http[prefix + "rq_tx_reset"] == 0, f"{name} reset a stream of a client's"
            errors = self._envoy.stats(rf"^http\.{plain[route.port]}\.downstream_rq_5xx")
            assert http[prefix + "rq_5xx"] <= sum(errors.values()), f"{name} answered 5xx where the server did not"


def _is_clean(line: dict[str, object]) -> bool:
    # The client may go whenever it likes: that is how a listening stream ends.
    if line["details"] == "downstream_remote_disconnect" or line["flags"] == "DC":
        return True
    by_server = line["details"] == "via_upstream" and line["upstream"] is not None
    by_policy = line["details"] == "mcp_policy_denied" and line["upstream"] is None
    return line["flags"] in (None, "-") and (by_server or by_policy)


@contextmanager
def governing(routes: Mapping[str, Route], concurrency: int = 2) -> Iterator[Routes]:
    """Runs an Envoy with these routes. Every server needs one without a policy, to compare with."""
    fleet = Fleet(next(iter(routes.values())).port)
    for name, route in routes.items():
        changes = [to_server(name, route.port)]
        if route.policy and "sessions" in route.policy:
            changes.append(with_secret)
        fleet.add(name, Listener(route.policy and held(route.policy), *changes))
    with fleet.run(concurrency) as envoy:
        found = Routes(fleet, envoy, routes)
        yield found
        found.check()
