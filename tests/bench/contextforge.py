"""ContextForge as a user would set it up: one process on SQLite, one server behind it, and a virtual server with a hundred tools.

It is in a virtual environment of its own, `.tools/contextforge`, which is made when it is first needed.
"""

from __future__ import annotations

import json
import secrets
import subprocess
import sys
import time
import urllib.error
import urllib.request
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

from variants import ROOT, rig

PACKAGE = "mcp-contextforge-gateway==1.0.7.post20260921"
FOLDER = ROOT / ".tools" / "contextforge"
ADMIN = "admin@example.com"


class Gateway(NamedTuple):
    """Where it is, and what calls through it need."""

    port: int
    pid: int
    path: str
    token: str


def install() -> None:
    """Makes the virtual environment, if it is not there."""
    if not (FOLDER / "bin" / "mcpgateway").is_file():
        subprocess.run([sys.executable, "-m", "venv", "--clear", FOLDER], check=True)
        subprocess.run([FOLDER / "bin" / "pip", "install", "--quiet", PACKAGE], check=True)


def started(stack: ExitStack, folder: Path, server: str) -> Gateway:
    """Starts it before a server, with its own limits of rates off."""
    install()
    (port,) = rig.free_ports(1)
    password = "A1-" + secrets.token_hex(16)
    settings = {
        "DATABASE_URL": f"sqlite:///{folder}/contextforge.db",
        "PLATFORM_ADMIN_EMAIL": ADMIN,
        "PLATFORM_ADMIN_PASSWORD": password,
        "BASIC_AUTH_PASSWORD": password,
        "PASSWORD_CHANGE_ENFORCEMENT_ENABLED": "false",
        "JWT_SECRET_KEY": secrets.token_hex(32),
        "AUTH_ENCRYPTION_SECRET": secrets.token_hex(32),
        "CACHE_TYPE": "memory",
        "LOG_LEVEL": "ERROR",
        "SSRF_ALLOW_LOCALHOST": "true",
        "TOOL_RATE_LIMIT": str(10**9),
        "RATE_LIMITING_ENABLED": "false",
        "ENVIRONMENT": "development",
        "MCPGATEWAY_UI_ENABLED": "false",
        "HOME": str(folder),
        "PATH": f"{FOLDER}/bin:/usr/bin:/bin",
    }
    argv = [str(FOLDER / "bin" / "mcpgateway"), "--host", "127.0.0.1", "--port", str(port), "--timeout-keep-alive", "3600", "--no-access-log"]
    process = rig.Process(argv, folder, name="contextforge", env=settings)
    process.start()
    stack.callback(process.stop)
    address = f"http://127.0.0.1:{port}"
    wait(address)
    token = asked(f"{address}/auth/email/login", {"email": ADMIN, "password": password})["access_token"]
    asked(f"{address}/gateways", {"name": "backend", "url": server, "transport": "STREAMABLEHTTP"}, token)
    tools = [tool["id"] for tool in asked(f"{address}/tools?limit=0", None, token)]
    governed = asked(f"{address}/servers", {"server": {"name": "governed", "associated_tools": tools}}, token)
    return Gateway(port, process.pid, f"/servers/{governed['id']}/mcp", token)


def renamed(body: str) -> str:
    """A call, by the name that the gateway gives the server's tool."""
    call = json.loads(body)
    call["params"]["name"] = "backend-" + call["params"]["name"].replace("_", "-")
    return json.dumps(call)


def wait(address: str) -> None:
    """Until it is up."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        try:
            urllib.request.urlopen(f"{address}/health", timeout=2).close()
            return
        except OSError:
            time.sleep(0.2)
    raise rig.RigError("ContextForge has not come up")


def asked(url: str, what: dict[str, Any] | None, token: str = "") -> Any:
    """What its API answers."""
    headers = {"content-type": "application/json", **({"authorization": f"Bearer {token}"} if token else {})}
    data = None if what is None else json.dumps(what).encode()
    try:
        with urllib.request.urlopen(urllib.request.Request(url, data, headers), timeout=60) as answer:
            return json.load(answer)
    except urllib.error.HTTPError as problem:
        raise rig.RigError(f"ContextForge answers {url} with {problem.code}: {problem.read()[:300]!r}") from problem
