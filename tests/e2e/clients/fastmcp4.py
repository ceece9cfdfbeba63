"""An agent with fastmcp 4.x: runs the sessions that its argument describes and prints what it was shown."""

import asyncio
import json
import sys
import urllib.request
from typing import Any

from fastmcp import Client
from fastmcp.client.elicitation import ElicitResult
from fastmcp.client.transports import StreamableHttpTransport
from mcp import MCPError


async def run(
    url: str, mode: Any, token: str, lists: list[str], steps: list[Any], patience: float, answer: str, gate: str
) -> dict[str, Any]:
    asked: list[str] = []

    async def elicit(message: str, _kind: Any, params: Any, _context: Any) -> ElicitResult:
        asked.append(message)
        await passed(gate)
        properties = params.requested_schema["properties"]
        content = {name: field["type"] == "boolean" or "Ada" for name, field in properties.items()}
        return ElicitResult(action=answer, content=content if answer == "accept" else None)  # type: ignore[arg-type]

    transport = StreamableHttpTransport(url, headers={"authorization": f"Bearer {token}"})
    handler = elicit if answer else None
    async with Client(transport, mode=mode, timeout=patience, elicitation_handler=handler) as client:
        return {
            "revision": client.protocol_version,
            "lists": {kind: await listed(client) for kind in lists if kind == "tools"},
            "outcomes": [await outcome(client, **step) for step in steps],
            "tools_again": [tool["name"] for tool in await listed(client)],
            "asked": asked,
        }


async def passed(gate: str) -> None:
    """Waits for what somebody waits for before answering."""
    if gate:
        await asyncio.to_thread(urllib.request.urlopen, gate)


async def listed(client: Any) -> list[dict[str, Any]]:
    return [tool.model_dump(mode="json", by_alias=True, exclude_none=True) for tool in await client.list_tools()]


async def outcome(client: Any, kind: str, name: str, arguments: dict[str, Any]) -> dict[str, Any]:
    """What the agent's program gets: a result, or an error with the text that it prints as."""
    assert kind == "tool"
    try:
        result = await client.call_tool_mcp(name, arguments)
    except MCPError as error:
        return {"raised": type(error).__name__, "text": str(error), "code": error.code}
    return {"result": result.model_dump(mode="json", by_alias=True, exclude_none=True)}


async def main() -> None:
    print(json.dumps([await run(**session) for session in json.loads(sys.argv[1])]))


asyncio.run(main())
