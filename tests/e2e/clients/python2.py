"""An agent with the Python SDK, `mcp` 2.x: runs the sessions that its argument describes and prints what it was shown."""

import asyncio
import json
import sys
import urllib.request
from typing import Any

import httpx2
from mcp import Client, MCPError
from mcp.client.sse import sse_client
from mcp.client.streamable_http import streamable_http_client
from mcp_types import ElicitResult


async def run(
    url: str, mode: Any, token: str, lists: list[str], steps: list[Any], patience: float, answer: str, gate: str
) -> dict[str, Any]:
    headers = {"authorization": f"Bearer {token}"}
    asked: list[str] = []

    async def elicit(_context: Any, params: Any) -> ElicitResult:
        asked.append(params.message)
        await passed(gate)
        content: Any = filled(params.requested_schema) if answer == "accept" else None
        return ElicitResult(action=answer, content=content)  # type: ignore[arg-type]

    async with httpx2.AsyncClient(headers=headers, timeout=patience) as http:
        transport: Any = streamable_http_client(url, http_client=http)
        if mode == "http+sse":
            transport, mode = sse_client(url, headers), "legacy"
        callback = elicit if answer else None
        async with Client(transport, mode=mode, read_timeout_seconds=patience, elicitation_callback=callback) as client:
            return {
                "revision": client.protocol_version,
                "lists": {kind: await listed(client, kind) for kind in lists},
                "outcomes": [await outcome(client, **step) for step in steps],
                "tools_again": [tool["name"] for tool in await listed(client, "tools")],
                "asked": asked,
            }


async def passed(gate: str) -> None:
    """Waits for what somebody waits for before answering."""
    if gate:
        await asyncio.to_thread(urllib.request.urlopen, gate)


def filled(form: Any) -> dict[str, Any]:
    """A form as somebody fills it in who agrees to all and is called Ada."""
    return {name: field["type"] == "boolean" or "Ada" for name, field in form["properties"].items()}


async def listed(client: Client, kind: str) -> list[dict[str, Any]]:
    ask: Any = {
        "tools": client.list_tools,
        "resources": client.list_resources,
        "resourceTemplates": client.list_resource_templates,
        "prompts": client.list_prompts,
    }[kind]
    found: list[dict[str, Any]] = []
    cursor: str | None = None
    while True:
        page = await ask(cursor=cursor, cache_mode="refresh")
        found += page.model_dump(mode="json", by_alias=True, exclude_none=True)[kind]
        if (cursor := page.next_cursor) is None:
            return found


async def outcome(client: Client, kind: str, name: str, arguments: dict[str, Any]) -> dict[str, Any]:
    """What the agent's program gets: a result, or an error with the text that it prints as."""
    try:
        if kind == "tool":
            result: Any = await client.call_tool(name, arguments)
        elif kind == "resource":
            result = await client.read_resource(name)
        else:
            result = await client.get_prompt(name, arguments)
    except MCPError as error:
        return {"raised": type(error).__name__, "text": str(error), "code": error.code}
    return {"result": result.model_dump(mode="json", by_alias=True, exclude_none=True)}


async def main() -> None:
    print(json.dumps([await run(**session) for session in json.loads(sys.argv[1])]))


asyncio.run(main())
