"""An MCP server on the official SDK, with tools from a file and as many pages as one wants.

    python mcp_server.py TOOLS.json stdio
    python mcp_server.py TOOLS.json http PORT [--sse] [--page N] [--token TOKEN] [--forever]

TOOLS.json is a list of tools as `tools/list` has them. A call answers with its own name and arguments.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import anyio
import mcp_types as types
import uvicorn
from mcp.server.lowlevel import Server
from mcp.server.sse import SseServerTransport
from mcp.server.stdio import stdio_server
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Mount, Route


def make(tools: list[dict[str, Any]], page: int, forever: bool) -> Server[Any]:
    """The server; `forever` makes a list that never ends."""

    async def list_tools(_ctx: Any, params: types.PaginatedRequestParams | None) -> types.ListToolsResult:
        start = int(params.cursor or 0) if params else 0
        more = forever or start + page < len(tools)
        listed = [types.Tool.model_validate(tool) for tool in tools[start : start + page]]
        return types.ListToolsResult(tools=listed, next_cursor=str(start + page) if more else None)

    async def call_tool(_ctx: Any, params: types.CallToolRequestParams) -> types.CallToolResult:
        text = json.dumps({"ran": params.name, "arguments": params.arguments})
        return types.CallToolResult(content=[types.TextContent(type="text", text=text)])

    return Server("scanned", version="1", on_list_tools=list_tools, on_call_tool=call_tool)


def sse_app(server: Server[Any]) -> Starlette:
    """The transport of revision 2024-11-05."""
    transport = SseServerTransport("/messages/")

    async def connect(request: Request) -> Response:
        async with transport.connect_sse(request.scope, request.receive, request._send) as (read, write):
            await server.run(read, write, server.create_initialization_options())
        return Response()

    return Starlette(routes=[Route("/sse", connect), Mount("/messages/", transport.handle_post_message)])


def guarded(app: Any, token: str) -> Any:
    """Asks for a bearer token."""

    async def check(scope: Any, receive: Any, send: Any) -> None:
        headers = dict(scope.get("headers", []))
        if scope["type"] != "http" or headers.get(b"authorization") == f"Bearer {token}".encode():
            await app(scope, receive, send)
        else:
            await Response("no", 401, {"www-authenticate": 'Bearer realm="mcp"'})(scope, receive, send)

    return check


async def stdio(server: Server[Any]) -> None:
    async with stdio_server() as (read, write):
        await server.run(read, write, server.create_initialization_options())


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("tools", type=Path)
    parser.add_argument("transport", choices=["stdio", "http"])
    parser.add_argument("port", type=int, nargs="?", default=0)
    parser.add_argument("--sse", action="store_true")
    parser.add_argument("--page", type=int, default=1000)
    parser.add_argument("--token")
    parser.add_argument("--forever", action="store_true")
    options = parser.parse_args()
    server = make(json.loads(options.tools.read_text()), options.page, options.forever)
    if options.transport == "stdio":
        anyio.run(stdio, server)
        return
    app: Any = sse_app(server) if options.sse else server.streamable_http_app()
    if options.token:
        app = guarded(app, options.token)
    uvicorn.run(app, host="127.0.0.1", port=options.port, log_level="warning", lifespan="auto")


if __name__ == "__main__":
    main()
