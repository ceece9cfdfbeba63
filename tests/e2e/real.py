"""Small servers on the products that people run, for the attacks of test_attacks.py.

with ExitStack() as stack:
    server = start(stack, ["sdk1"], directory)["sdk1"]      # a row of SERVERS
    server.port
    server.ran()                                            # what ran so far, in the server's own words
"""

from __future__ import annotations

import json
import os
import shutil
import signal
from collections.abc import Callable, Iterable
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import rig

from servers import CLIENTS, NODE, environment

PROGRAMS = Path(__file__).with_name("products")
# The MCP SDK's two generations for Python; what else is in Python runs on the first.
PYTHON1 = str(CLIENTS / "bin" / "python")
PYTHON2 = str(rig.TOOLS / "venv" / "bin" / "python")
SUPERGATEWAY = str(CLIENTS / "node_modules" / "supergateway" / "dist" / "index.js")


@dataclass(frozen=True)
class Product:
    """How a server is started, given its directory and port, and how it is spoken to."""

    argv: Callable[[Path, int], list[str]]
    # The era of its clients: with a session, or 2026-07-28 without one.
    modern: bool = False
    # Whether it does without sessions.
    stateless: bool = False
    # stdio servers behind supergateway need no credentials, but a shell.
    shell: bool = False


@dataclass(frozen=True)
class Server:
    """One that runs."""

    port: int
    directory: Path
    product: Product

    def ran(self) -> list[dict[str, Any]]:
        """What ran so far, in order."""
        file = self.directory / "ran"
        return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []

    def open(self, gate: str, text: str = "") -> None:
        """Makes a file that the server waits for, whole at once."""
        made = self.directory / f"{gate}.new"
        made.write_text(text)
        made.rename(self.directory / gate)

    def close(self, gate: str) -> None:
        """Removes it again."""
        (self.directory / gate).unlink(missing_ok=True)


def _python(python: str, product: str, *options: str) -> Callable[[Path, int], list[str]]:
    program = str(PROGRAMS / "server.py")
    return lambda directory, port: [python, program, product, str(directory), "http", str(port), *options]


def _stdio(directory: Path) -> list[str]:
    return [PYTHON1, str(PROGRAMS / "server.py"), "sdk1", str(directory), "stdio"]


def _mcp_proxy(directory: Path, port: int) -> list[str]:
    return [str(CLIENTS / "bin" / "mcp-proxy"), "--port", str(port), "--pass-environment", "--", *_stdio(directory)]


def _supergateway(directory: Path, port: int) -> list[str]:
    command = " ".join(_stdio(directory))
    options = ["--outputTransport", "streamableHttp", "--stateful", "--logLevel", "none"]
    return [str(NODE), SUPERGATEWAY, "--stdio", command, "--port", str(port), *options]


def _routes(framework: str) -> Callable[[Path, int], list[str]]:
    return lambda directory, port: [PYTHON1, str(PROGRAMS / "routes.py"), framework, str(directory), str(port)]


def _typescript(directory: Path, port: int) -> list[str]:
    # Node looks for packages from where a program lies.
    (directory / "node_modules").symlink_to(CLIENTS / "node_modules")
    program = shutil.copy(PROGRAMS / "server.mjs", directory)
    return [str(NODE), str(program), str(directory), str(port)]


SERVERS: dict[str, Product] = {
    "sdk1": Product(_python(PYTHON1, "sdk1", "--lenient")),
    "sdk1 json": Product(_python(PYTHON1, "sdk1", "--json")),
    "sdk1 long list": Product(_python(PYTHON1, "sdk1", "--json", "--stateless", "--tools", "1030"), stateless=True),
    "sdk1 guarded": Product(_python(PYTHON1, "sdk1", "--json", "--stateless", "--auth", "known"), stateless=True),
    "sdk2": Product(_python(PYTHON2, "sdk2", "--lenient")),
    "fastmcp 3": Product(_python(PYTHON1, "fastmcp")),
    "fastmcp 4": Product(_python(PYTHON2, "fastmcp")),
    "fastmcp login": Product(_python(PYTHON1, "fastmcp", "--json", "--stateless", "--auth", "oauth"), stateless=True),
    "mcp-proxy": Product(_mcp_proxy),
    "supergateway": Product(_supergateway, shell=True),
    "typescript": Product(_typescript),
    "fastapi-mcp": Product(_routes("fastapi")),
    "litestar-mcp": Product(_routes("litestar"), modern=True),
}


def start(stack: ExitStack, names: Iterable[str], parent: Path) -> dict[str, Server]:
    """Starts servers, all at once, and returns when they are up."""
    running: dict[str, Server] = {}
    processes: dict[int, rig.Process] = {}
    for name in names:
        directory = parent / name.replace(" ", "-")
        directory.mkdir()
        [port] = rig.free_ports(1)
        product = SERVERS[name]
        path = {"PATH": "/usr/bin:/bin"} if product.shell else {}
        process = rig.Process(product.argv(directory, port), directory, name="server", env=environment(directory, **path))
        processes[port] = stack.enter_context(process)
        running[name] = Server(port, directory, product)
    stack.callback(_end, processes.values())
    for port, process in processes.items():
        process.wait_until(partial(rig.listens, port))
    return running


def _end(processes: Iterable[rig.Process]) -> None:
    """Ends all: some would wait for requests that an attack has left without an answer."""
    for process in processes:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
