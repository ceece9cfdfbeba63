"""An agent with the Python SDK, `mcp` 1.x: runs the sessions that its argument describes and prints what it was shown."""

import asyncio
import json
import sys
from datetime import timedelta
from typing import Any

from mcp import ClientSession, McpError
from mcp.client.sse import sse_client
from mcp.client.streamable_http import streamablehttp_client
from mcp.types import PaginatedRequestParams, Tool


async def run(url: str, mode: str, token: str, calls: list[dict[str, Any]], patience: float) -> dict[str, Any]:
    headers = {"authorization": f"Bearer {token}"}
    connect = {"legacy": streamablehttp_client, "http+sse": sse_client}[mode]
    async with connect(url, headers) as (reading, writing, *_):
        async with ClientSession(reading, writing, timedelta(seconds=patience)) as client:
            greeting = await client.initialize()
            tools = await tools_of(client)
            outcomes = [await outcome(client, **each) for each in calls]
            again = await tools_of(client)
    return {
        "revision": str(greeting.protocolVersion),
        "tools": [tool.model_dump(mode="json", by_alias=True, exclude_none=True) for tool in tools],
        "outcomes": outcomes,
        "tools_again": [tool.name for tool in again],
    }


async def tools_of(client: ClientSession) -> list[Tool]:
    found: list[Tool] = []
    cursor: str | None = None
    while True:
        page = await client.list_tools(params=PaginatedRequestParams(cursor=cursor))
        found += page.tools
        if (cursor := page.nextCursor) is None:
            return found


async def outcome(client: ClientSession, tool: str, arguments: dict[str, Any]) -> dict[str, Any]:
    """What the agent's program gets: a result, or an error with the text that it prints as."""
    try:
        result = await client.call_tool(tool, arguments)
    except McpError as error:
        return {
            "raised": type(error).__name__,
            "text": str(error),
            "code": error.error.code,
            "message": error.error.message,
        }
    return {"result": result.model_dump(mode="json", by_alias=True, exclude_none=True)}


async def main() -> None:
    print(json.dumps([await run(**session) for session in json.loads(sys.argv[1])]))


asyncio.run(main())
