"""An agent logs in at a server that is its own authorization server: a real FastMCP, and its own client."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import rig
from fastmcp import Client
from fastmcp.utilities.tests import HeadlessOAuth

from fleet import Fleet, Listener, Policy, held, to_server
from servers import environment

POLICY: Policy = {"version": "1", "default": "deny", "tools": {"search": {}, "delete_account": {"action": "deny", "reason": "No."}}}
BOUND: Policy = {"policies": {"p": POLICY}, "bindings": [{"match": {"path": "/mcp"}, "policy": "p"}]}
OPEN = {"requests": {"pass": ["discovery", "oauth"]}}
POLICIES: dict[str, Policy] = {
    "bare": {**POLICY, **OPEN},
    "placed": {**POLICY, "requests": {"paths": ["/mcp"], **OPEN["requests"]}},
    "bound": {**BOUND, **OPEN},
    "by_default": POLICY,
    "bound_by_default": BOUND,
}


@pytest.fixture(scope="module")
def urls(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """Where agents connect to, by policy; each server knows itself by that address."""
    directory = tmp_path_factory.mktemp("oauth")
    ports = dict(zip(POLICIES, rig.free_ports(len(POLICIES)), strict=True))
    fleet = Fleet(ports["bare"])
    for name, policy in POLICIES.items():
        fleet.add(name, Listener(held(policy), to_server(name, ports[name])))
    with ExitStack() as stack:
        stack.enter_context(fleet.run(1))
        urls = {name: f"http://localhost:{fleet.port(name)}" for name in POLICIES}
        script = str(Path(__file__).with_name("oauth_server.py"))
        started = []
        for name, url in urls.items():
            argv = [sys.executable, script, str(ports[name]), url]
            process = rig.Process(argv, directory, name=f"oauth-{name}", env=environment(directory))
            started.append((stack.enter_context(process), ports[name]))
        for process, port in started:
            process.wait_until(lambda port=port: rig.listens(port))
        yield {name: f"{url}/mcp" for name, url in urls.items()}


async def visit(url: str) -> tuple[list[str], str, str]:
    """Logs in, and what the agent then sees: the tools, and what becomes of an allowed and of a denied call."""
    async with Client(url, auth=HeadlessOAuth(url)) as client:
        tools = [tool.name for tool in await client.list_tools()]
        found: Any = await client.call_tool("search", {"q": "x"})
        try:
            denied = str(await client.call_tool("delete_account"))
        except Exception as error:  # noqa: BLE001 - whatever the SDK makes of a denial
            denied = str(error)
        return tools, str(found.data), denied


@pytest.mark.parametrize("name", ["bare", "placed", "bound"])
def test_an_agent_logs_in(urls: dict[str, str], name: str) -> None:
    tools, found, denied = asyncio.run(visit(urls[name]))
    assert sorted(tools) == ["delete_account", "search"]
    assert found == "found x"
    assert "No." in denied


@pytest.mark.parametrize("name", ["by_default", "bound_by_default"])
def test_a_login_needs_the_setting(urls: dict[str, str], name: str) -> None:
    """The endpoints are no MCP: the default refuses them, in an answer that ends."""
    with pytest.raises(BaseException) as failed:
        asyncio.run(asyncio.wait_for(visit(urls[name]), 30))
    assert not isinstance(failed.value, TimeoutError)
