"""An agent with the Python SDK, `mcp` 2.x: runs the sessions that its argument describes and prints what it was shown."""

import asyncio
import json
import sys
from typing import Any

import httpx2
from mcp import Client, MCPError
from mcp.client.sse import sse_client
from mcp.client.streamable_http import streamable_http_client
from mcp.types import Tool


async def run(url: str, mode: Any, token: str, calls: list[dict[str, Any]], patience: float) -> dict[str, Any]:
    headers = {"authorization": f"Bearer {token}"}
    async with httpx2.AsyncClient(headers=headers, timeout=patience) as http:
        transport: Any = streamable_http_client(url, http_client=http)
        if mode == "http+sse":
            transport, mode = sse_client(url, headers), "legacy"
        async with Client(transport, mode=mode, read_timeout_seconds=patience) as client:
            tools = await tools_of(client)
            outcomes = [await outcome(client, **each) for each in calls]
            again = await tools_of(client)
            return {
                "revision": client.protocol_version,
                "tools": [tool.model_dump(mode="json", by_alias=True, exclude_none=True) for tool in tools],
                "outcomes": outcomes,
                "tools_again": [tool.name for tool in again],
            }


async def tools_of(client: Client) -> list[Tool]:
    found: list[Tool] = []
    cursor: str | None = None
    while True:
        page = await client.list_tools(cursor=cursor)
        found += page.tools
        if (cursor := page.next_cursor) is None:
            return found


async def outcome(client: Client, tool: str, arguments: dict[str, Any]) -> dict[str, Any]:
    """What the agent's program gets: a result, or an error with the text that it prints as."""
    try:
        result = await client.call_tool(tool, arguments)
    except MCPError as error:
        return {"raised": type(error).__name__, "text": str(error), "code": error.code, "message": error.message}
    return {"result": result.model_dump(mode="json", by_alias=True, exclude_none=True)}


async def main() -> None:
    print(json.dumps([await run(**session) for session in json.loads(sys.argv[1])]))


asyncio.run(main())
