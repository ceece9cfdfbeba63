"""What else somebody could put before an MCP server to let a hundred tools through, beside mcp-policy, on the same calls.

    .tools/venv/bin/python tests/bench/peers.py            the table, in a few minutes
                                     ... --keep     also writes docs/peers.md and docs/peers.svg
                                     ... --quick    a rough one

Each is configured as its documentation says, with one worker. What is counted is the CPU time of all processes that it needs beside the MCP server,
and what a call waits longer than one straight to the server. Everything runs on one CPU, all at once, in turns of short rounds.
"""

from __future__ import annotations

import argparse
import os
import random
import re
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import bench
import contextforge
import measure
from measure import LOAD, ROOT, Load, Plan, progress
from variants import ALONE, BASE, CALLS, FULL, NAMES, NATIVE, RESULT, TOOLS, TYPES, Variant, Work, call_body, request, rig

DOCS = ROOT / "docs"
GATEWAYS = Path(__file__).with_name("gateways.py")

# Envoy's Lua has no JSON reader, so a pattern has to do: a body with two `name` keys, or an escaped one, is read otherwise than servers read it.
LUA = """
local allowed = { %s }
function envoy_on_request(handle)
  local body = handle:body()
  local text = body and body:getBytes(0, body:length()) or ""
  if string.find(text, '"method"%%s*:%%s*"tools/call"') then
    local name = string.match(text, '"params"%%s*:%%s*{%%s*"name"%%s*:%%s*"([^"]*)"')
    if not (name and allowed[name]) then
      handle:respond({ [":status"] = "403" }, "denied")
    end
  end
end
"""


def lua() -> Variant:
    """A script in Envoy."""
    source = LUA % ", ".join(f'["{tool}"] = true' for tool in TOOLS)
    lua = {"@type": f"{TYPES}.lua.v3.Lua", "default_source_code": {"inline_string": source}}
    return Variant("Envoy + a Lua script", [{"name": "envoy.filters.http.lua", "typed_config": lua}])


def authorized(port: int) -> Variant:
    """A service that Envoy asks."""
    service = {
        "server_uri": {"uri": f"http://127.0.0.1:{port}", "cluster": "authorizer", "timeout": "1s"},
        "path_prefix": "/authorize",
    }
    ask = {
        "@type": f"{TYPES}.ext_authz.v3.ExtAuthz",
        "http_service": service,
        "with_request_body": {"max_request_bytes": 1 << 20, "allow_partial_message": False},
    }

    def reached(config: rig.Config) -> None:
        endpoint = {"endpoint": {"address": {"socket_address": {"address": "127.0.0.1", "port_value": port}}}}
        cluster = {"name": "authorizer", "type": "STATIC", "load_assignment": {"cluster_name": "authorizer", "endpoints": [{"lb_endpoints": [endpoint]}]}}
        config["static_resources"]["clusters"].append(cluster)

    return Variant("Envoy + ext_authz, a service in Rust", [{"name": "envoy.filters.http.ext_authz", "typed_config": ask}], changes=reached)


# --- Who is measured --------------------------------------------------------------------------


@dataclass
class Peer:
    """Something that calls go through, beside the same calls straight to the server behind it."""

    name: str
    port: int
    pids: list[int]
    straight: Peer | None = None
    calls: int = 300
    gateway: contextforge.Gateway | None = None
    rows: tuple[int, int] = (0, 0)
    cpu: list[float] = field(default_factory=list)  # By round: microseconds for a call, of all its processes.
    waits: list[float] = field(default_factory=list)  # Microseconds that one call alone waits.
    errors: int = 0

    def connect(self, load: Load) -> None:
        """Callers for it: many at once, and one alone."""
        many, alone = (load.row(self.port, self.requests(work), work.answer, self.pids) for work in (CALLS, ALONE))
        self.rows = (many, alone)

    def requests(self, work: Work) -> list[list[str]]:
        """The requests of each caller."""
        return [[self.request(body, caller) for body in work.bodies] for caller in range(work.callers)]

    def request(self, body: str, caller: int) -> str:
        """A request as this one wants it."""
        if self.gateway is None:
            return request(body, caller)
        text = request(contextforge.renamed(body), caller)
        text = text.replace("POST /mcp ", f"POST {self.gateway.path} ", 1)
        text = re.sub("Mcp-Session-Id: .*\r\n", "", text)
        return re.sub("Authorization: .*\r\n", f"Authorization: Bearer {self.gateway.token}\r\n", text)

    def round(self, load: Load) -> None:
        """One round."""
        many = load.round([self.rows[0]], self.calls)[self.rows[0]]
        alone = load.round([self.rows[1]], self.calls // 3)[self.rows[1]]
        self.cpu.append(sum(many["cpu"]) / 1000)
        self.waits.append(alone["wait"] / 1000)
        self.errors += many["wrong"] + alone["wrong"]

    def added_waits(self) -> list[float]:
        """What a call waits longer than one straight to the server, round by round."""
        assert self.straight is not None
        return [own - straight for own, straight in zip(self.waits, self.straight.waits, strict=True)]


def helper(stack: ExitStack, name: str, argv: list[str]) -> subprocess.Popen[str]:
    """A process that ends with the benchmark."""
    child = subprocess.Popen(argv, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True)

    def end() -> None:
        child.terminate()
        try:
            child.wait(timeout=10)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()

    stack.callback(end)
    progress(f"starting {name}")
    return child


def in_python(stack: ExitStack, what: str, *rest: str) -> tuple[int, int]:
    """One of the Python servers: its port and its process."""
    (port,) = rig.free_ports(1)
    child = helper(stack, what, [sys.executable, str(GATEWAYS), what, str(port), *rest])
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return port, child.pid
        except OSError:
            time.sleep(0.1)
    raise rig.RigError(f"the {what} in Python has not come up")


def denies(peer: Peer) -> bool:
    """Whether a call of a tool that is not on the list gets something else than the server's answer."""
    with socket.create_connection(("127.0.0.1", peer.port), timeout=10) as connection:
        connection.sendall(peer.request(call_body("unlisted", 0), 0).encode())
        answer = connection.recv(65536)
    return b'"ok"' not in answer and answer.startswith(b"HTTP/1.1 ")


def peers(stack: ExitStack, wasm: Path, load: Load) -> list[Peer]:
    """All of them, ready."""
    service = helper(stack, "the authorizer", [str(LOAD), "authorize", *TOOLS])
    assert service.stdout
    authorizer = int(service.stdout.readline())
    straight = Peer("straight to the server", load.ports[0], [])
    found = [straight]
    started: list[tuple[Variant, rig.Envoy]] = []
    for variant in (BASE, NATIVE, NAMES, FULL, lua(), authorized(authorizer)):
        envoy = rig.Envoy(variant.config(wasm, load.ports[0]))
        stack.enter_context(measure.ended(envoy))
        started.append((variant, envoy))
    for variant, envoy in started:
        envoy.wait_until_ready()
        asked = [service.pid] if "ext_authz" in variant.name else []
        name = "Envoy alone, nothing decided" if variant is BASE else variant.name
        found.append(Peer(name, envoy.port, [envoy._envoy_pid(), *asked], straight))
    server, _ = in_python(stack, "server")
    gateway, pid = in_python(stack, "gateway", f"http://127.0.0.1:{server}/mcp")
    python = Peer("straight to a server of fastmcp", server, [], calls=30)
    found += [python, Peer("fastmcp's proxy with a middleware", gateway, [pid], python, calls=30)]
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="mcp-policy-peers-")))
    forge = contextforge.started(stack, folder, f"http://127.0.0.1:{server}/mcp")
    found.append(Peer("ContextForge, a virtual server", forge.port, [forge.pid], python, calls=30, gateway=forge))
    for peer in found:
        if peer.straight and "nothing decided" not in peer.name and not denies(peer):
            raise rig.RigError(f"{peer.name}: a tool that is not listed passes")
        peer.connect(load)
    return found


def measured(wasm: Path, plan: Plan) -> list[Peer]:
    """Runs the rounds."""
    with ExitStack() as stack:
        load = stack.enter_context(Load([RESULT]))
        found = peers(stack, wasm, load)
        cpu = max(os.sched_getaffinity(0))
        measure.pin([load.pid, *{pid for peer in found for pid in peer.pids}], cpu)
        for peer in found:
            peer.round(load)
            peer.cpu.clear()
            peer.waits.clear()
        for number in range(plan.rounds):
            progress(f"round {number + 1} of {plan.rounds}")
            for peer in random.sample(found, len(found)):
                peer.round(load)
    progress("")
    return found


# --- The report -------------------------------------------------------------------------------

HEADER = ["what", "calls per CPU second", "µs of CPU a call", "µs that a call waits longer", "errors"]


def figures(peer: Peer) -> tuple[float, float]:
    """Microseconds of CPU for a call, and what it waits longer: medians."""
    return statistics.median(peer.cpu), statistics.median(peer.added_waits())


def table(found: list[Peer]) -> list[str]:
    """The table, in Markdown."""
    lines = ["| " + " | ".join(HEADER) + " |", "| --- |" + " ---: |" * (len(HEADER) - 1)]
    for peer in found:
        if peer.straight:
            cpu, wait = figures(peer)
            lines.append(f"| {peer.name} | {1e6 / cpu:,.0f} | {cpu:,.0f} | {wait:,.0f} | {peer.errors} |")
    return lines


def plot(found: list[Peer]) -> str:
    """Bars of calls per CPU second on a logarithmic scale, as SVG."""
    import math

    bars = [(peer.name, 1e6 / figures(peer)[0]) for peer in found if peer.straight]
    left, width, row = 270, 420, 30
    least, most = 10 ** math.floor(math.log10(min(value for _, value in bars))), max(value for _, value in bars)
    height = 50 + row * len(bars)
    style = "text{font:13px sans-serif;fill:#222}.v{fill:#555}rect{fill:#8aa}.own{fill:#275}"
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{left + width + 90}" height="{height}" role="img" aria-label="calls per CPU second">',
        f'<style>{style}</style><rect width="100%" height="100%" style="fill:#fff"/>',
        f'<text x="{left}" y="20">calls per CPU second (logarithmic)</text>',
    ]
    for at, (name, value) in enumerate(bars):
        y = 35 + row * at
        length = width * math.log(value / least) / math.log(most / least)
        own = ' class="own"' if "mcp-policy" in name else ""
        lines.append(f'<text x="{left - 8}" y="{y + 16}" text-anchor="end">{name}</text>')
        lines.append(f'<rect{own} x="{left}" y="{y}" width="{length:.0f}" height="22"/>')
        lines.append(f'<text class="v" x="{left + length + 6:.0f}" y="{y + 16}">{value:,.0f}</text>')
    return "\n".join([*lines, "</svg>", ""])


PAGE = """# Beside what else there is

The same job done in other ways: let calls of a hundred tools through to an MCP server and nothing else, on the same calls of 300 bytes, in one run.
We count the CPU time of all processes that a way needs beside the MCP server, and how much longer one call alone waits than straight to the server.
[peers.py](../tests/bench/peers.py) has each way's configuration, and measures it anew: `make peers`. Compare the ways with one another, not with another day's.

![calls per CPU second](peers.svg)

{table}

They do not all do the same. Envoy's own filters read the call as JSON and compare the name. The Lua script looks for the name by a pattern, since Envoy's Lua
has no JSON reader. A second `name` behind the first, or one that is spelled with an escape, gets past it: the server got both when we tried. The service in Rust reads the
method and the name, as serde reads them, and looks at nothing else. The proxy in Python ends the client's session and opens one of its own to the server. mcp-policy refuses what could be read in two ways, and holds
the headers until the body is judged. It looks at each answer for lists, and leaves a record of the decision.

{setting}
"""


def main() -> None:
    """Measures, and prints the table."""
    parser = argparse.ArgumentParser(description="Measures what else could let a hundred tools through.")
    parser.add_argument("--quick", action="store_true", help="fewer rounds")
    parser.add_argument("--keep", action="store_true", help="write docs/peers.md and docs/peers.svg")
    options = parser.parse_args()
    plan = Plan(1, 5 if options.quick else 20, 300)
    measure.build()
    found = measured(rig.WASM, plan)
    setting = bench.setting(rig.WASM, plan)
    print("\n".join([*setting, "", *table(found)]))
    if any(peer.errors for peer in found):
        raise rig.RigError("calls were not answered as they should be: these numbers mean nothing")
    if options.keep:
        DOCS.mkdir(exist_ok=True)
        (DOCS / "peers.md").write_text(PAGE.format(table="\n".join(table(found)), setting="\n".join(setting)))
        (DOCS / "peers.svg").write_text(plot(found))


if __name__ == "__main__":
    try:
        main()
    except (rig.RigError, OSError, subprocess.CalledProcessError) as problem:
        sys.exit(f"peers.py: {problem}")
    except KeyboardInterrupt:
        sys.exit(130)
