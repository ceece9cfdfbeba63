"""What the benchmark of peers runs in Python: an MCP server, and a gateway before it.

    gateways.py server PORT                 the server: a hundred tools
    gateways.py gateway PORT SERVER-URL     fastmcp's proxy, with a middleware that lets a hundred names through
"""

from __future__ import annotations

import logging
import sys
from typing import Any

from fastmcp import FastMCP
from fastmcp.exceptions import ToolError
from fastmcp.server import create_proxy
from fastmcp.server.middleware import CallNext, Middleware, MiddlewareContext

NAMES = [f"tool_{number:02}" for number in range(100)]


def server() -> FastMCP:
    """Tools that do nothing."""
    mcp: FastMCP = FastMCP("server")

    def settle(path: str, amount: float, currency: str, labels: list[str], note: str) -> str:
        return "ok"

    for name in NAMES:
        mcp.tool(settle, name=name)
    return mcp


class Names(Middleware):
    """The calls of these tools go on, and no others; lists show these alone."""

    async def on_call_tool(self, context: MiddlewareContext[Any], call_next: CallNext[Any, Any]) -> Any:
        if context.message.name not in ALLOWED:
            raise ToolError(f"{context.message.name} is not allowed")
        return await call_next(context)

    async def on_list_tools(self, context: MiddlewareContext[Any], call_next: CallNext[Any, Any]) -> Any:
        return [tool for tool in await call_next(context) if tool.name in ALLOWED]


ALLOWED = frozenset(NAMES)


def main() -> None:
    """Serves until it is ended."""
    what, port, *rest = sys.argv[1:]
    mcp = server() if what == "server" else create_proxy(rest[0], name="gateway")
    if what == "gateway":
        mcp.add_middleware(Names())
    logging.disable(logging.WARNING)
    mcp.run(
        transport="http",
        host="127.0.0.1",
        port=int(port),
        stateless_http=True,
        json_response=True,
        show_banner=False,
        uvicorn_config={"log_level": "error", "access_log": False, "timeout_keep_alive": 3600},
    )


if __name__ == "__main__":
    main()
